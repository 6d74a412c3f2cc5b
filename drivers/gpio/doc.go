// Package gpio is the driver of a gateway's own lines: digital inputs and
// outputs through the kernel's GPIO character device (version 2, Linux 5.10 and
// later), and 4–20 mA through an ADS1115 on I²C. Its types are those of
// periph.io's conn; what speaks to the kernel is its own.
//
// In a site file:
//
//	links:
//	  io: {gpio: gpiochip0}                  # or a path, or the chip's label; mode: poll
//	  ai: {ads1115: /dev/i2c-1 0x48}
//	devices:
//	  di:    {link: io, debounce: 5ms, bias: pull-up, tags: {door: {at: line DI1 inverted}}}
//	  do:    {link: io, may_write: [output RELAY1]}
//	  loops: {link: ai, shunt: 100 Ω, tags: {nh3: {at: channel 0, range: 0 to 100 ppm}}}
//
// # What it promises of lines
//
// An error is an error, never a low level. A line is found by its name; by its
// number only where it has none, or with a warning. What is asked for as an
// input is taken as one only if it is no output now; an output is taken as it
// is, so that reading it changes neither its direction nor its level, and the
// first write makes it an output of that level in one step. Every write is read
// back. One line that is lacking, taken by another or refused spoils no other.
//
// Inputs are subscribed to (mode: edges): each edge comes with the kernel's time
// in Reading.Source, edges that were lost are known by their sequence numbers
// and counted, and every line is read again at its scan period, so that a line
// or a chip that has gone silent is found within one period. The kernel's times
// are CLOCK_MONOTONIC; they become wall time by their age when they are read,
// and a stretch of sleep of the whole machine within that age is not seen. A
// debounced edge has the time at which it was believed, not at which it began.
// With mode: poll a pulse shorter than the scan period is not seen.
//
// A bias that a chip does not have is not refused by the kernel: it is left out
// without a word. Debounce and edges need a line with interrupts; without, the
// point is bad and the log says why.
//
// # Outputs, and who holds them
//
// An output once taken stays taken by this process until it ends: no link that
// is closed, no plan that is replaced and no garbage collection gives it back.
// What a line does when the process dies, the board restarts or loses power is
// the board's matter: a kernel gives a line back when its descriptor closes, and
// what the pin does then is not defined (most chips leave it, some make it an
// input). The board's file in firmware-configs/boards declares it, with how it
// was proved. Two links that both drive one output are two masters; the last
// write counts.
//
// # What it promises of currents
//
// A conversion is believed only when the chip says that it has ended and the
// settings beside the number are still its own. A loop current is judged by the
// bands of NAMUR NE 43 (ne43.go): outside the measuring signal it is uncertain
// with a limit flag, a failure is bad and has no number. A voltage at the end
// of the scale is bad. It cannot know the converter's supply, above which no
// input can go: with a shunt of more than 150 Ω on 3.3 V a failing loop looks
// like 20-odd mA.
//
// # Calls that hang
//
// A chip or a converter behind a bus may hold a call for as long as the kernel
// pleases. All calls run where the link can leave them behind (guard.go): Read
// and Write return within the link's timeout, and nothing else is asked until
// the kernel comes back.
//
// Who owns what: a link belongs to its goroutine; the outputs belong to the
// Driver that New made, one per process. Nothing is durable.
//
// Imports: drivers, drivers/tag, periph.io's conn (types).
package gpio
