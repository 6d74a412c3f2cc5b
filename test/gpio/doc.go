// Package gpio proves drivers/gpio on real lines of a real kernel: the eight
// of the PL061 of an arm64 virtual machine, under Debian's own kernel.
//
// The test builds its guest as a 64-bit and as a 32-bit ARM program, packs both
// into the first file system of the machine, gives the machine's lines names in
// its device tree, and starts it. The guest proves what the driver promises and
// says on the console what it saw; the host presses the power button, which is
// line 3, when it is asked to, and restarts the machine to see what becomes of
// the outputs. The kernel is Debian's package, fetched once by kernel.sh into
// .cache/gpio; the emulator is qemu-system-aarch64 of Debian's qemu-system-arm.
// Nothing is skipped: where one of the two is missing the test fails and says so.
//
// It assumes that the emulated chip does what the real one does; what a relay
// on a real board does at the same occasions has to be seen there.
//
// Imports: drivers, drivers/gpio, drivers/tag (the guest).
package gpio
