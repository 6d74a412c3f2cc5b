// Command guest is the first and only program of the virtual machine in which
// test/gpio proves drivers/gpio on real kernel lines. As process 1 it mounts
// what it needs, says what the lines were found like, runs itself as 64-bit
// and as 32-bit program, and waits for the end. What it says to its host are
// lines of the console that begin with DAVY:
//
//	DAVY boot LINE DIRECTION LEVEL   what a line is like when the machine starts
//	DAVY ok NAME: WHAT               a proof that held, with what was seen
//	DAVY FAIL NAME: WHAT             one that did not
//	DAVY want press                  the host is to press the power button
//	DAVY end                         there is no more
//
// Imports: drivers, drivers/gpio, drivers/tag.
package main

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"davy/drivers/gpio"
)

func main() {
	switch {
	case os.Getpid() == 1:
		first()
	case len(os.Args) == 2:
		prove(os.Args[1] == "unplug")
	case len(os.Args) == 4:
		other(os.Args[1], os.Args[2], os.Args[3])
	}
}

func say(format string, args ...any) {
	fmt.Println("DAVY " + strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " | "))
}

// forever stands still, which the runtime would take for a deadlock if it knew.
func forever() {
	for {
		_ = unix.Pause() // it returns after a signal
	}
}

// first is process 1.
func first() {
	for _, m := range [][2]string{{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}} {
		_ = os.Mkdir(m[1], 0o755)
		if err := unix.Mount(m[0], m[1], m[0], 0, ""); err != nil {
			say("FAIL mount %s: %v", m[1], err)
		}
	}
	for _, name := range []string{"RELAY1", "RELAY2"} {
		say("boot %s %s", name, state(name))
	}
	for _, what := range []string{"prove", "unplug"} { // the chip comes back with another number
		for _, program := range []string{"/proof64", "/proof32"} {
			c := exec.Command(program, what)
			c.Stdout, c.Stderr = os.Stdout, os.Stderr
			if err := c.Run(); err != nil {
				say("FAIL %s %s: %v", program, what, err)
			}
		}
	}
	say("end")
	forever() // the host resets the machine or ends it; process 1 must not end
}

// state says direction and level of a line that nobody has, by taking it as it is.
func state(name string) string {
	c, err := gpio.OpenChip("gpiochip0")
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	names, err := c.Names()
	if err != nil {
		return err.Error()
	}
	if len(names[name]) != 1 {
		return fmt.Sprintf("%d lines of this name", len(names[name]))
	}
	offset := names[name][0]
	info, err := c.Info(offset)
	if err != nil {
		return err.Error()
	}
	direction := "input"
	if info.Output {
		direction = "output"
	}
	line, err := c.Take(offset)
	if err != nil {
		return direction + " " + err.Error()
	}
	defer line.Close()
	level, err := line.Level()
	if err != nil {
		return direction + " " + err.Error()
	}
	return direction + " " + level.String()
}

// logger logs to the console, where the host sees it.
func logger() *slog.Logger { return slog.New(slog.NewTextHandler(os.Stdout, nil)) }
