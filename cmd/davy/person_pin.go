package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"davy/agent/cli"
	"davy/agent/i18n"
	"davy/agent/operate"
	"davy/agent/people"
)

// maxTyped is how much of a line that somebody types is read; what is longer
// is no PIN.
const maxTyped = 1024

// quietly turns a terminal's echo off until restore is called, or until
// somebody breaks off. What is no terminal is left alone.
func quietly(from *os.File) (restore func(), terminal bool, err error) {
	in := int(from.Fd())
	quiet, err := unix.IoctlGetTermios(in, unix.TCGETS)
	if err != nil { // no terminal
		return func() {}, false, nil
	}
	shown := *quiet
	quiet.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(in, unix.TCSETS, quiet); err != nil {
		return func() {}, true, err
	}
	back := func() { _ = unix.IoctlSetTermios(in, unix.TCSETS, &shown) }
	// Who breaks off gets the terminal back as it was.
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, os.Interrupt, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	done := make(chan struct{})
	go func() {
		select {
		case <-broken:
			back()
			os.Exit(cli.Failed)
		case <-done:
		}
	}()
	return func() { signal.Stop(broken); close(done); back() }, true, nil
}

// pinSource is where PINs come from: standard input, or the descriptor of
// --pin-fd. Never the command line, where every user of the machine could read it.
func pinSource(c *cli.Call) (*os.File, error) {
	s := c.Flag("pin-fd")
	if s == "" {
		return os.Stdin, nil
	}
	fd, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return nil, cli.Usage("davy.pin.fd", i18n.Args{"value": s})
	}
	return os.NewFile(uintptr(fd), "--pin-fd"), nil
}

// readPIN asks for the PIN of a person, twice where it is a new one and
// somebody types it, and shows nothing of it. It takes one line and no more:
// what follows is for who asks next.
func readPIN(c *cli.Call, from *os.File, id string, fresh bool) (string, error) {
	restore, terminal, err := quietly(from)
	if err != nil {
		return "", err
	}
	defer restore()
	ask := func(key string) (string, error) {
		if terminal {
			_, _ = io.WriteString(c.Err, c.Lang.Text(key, i18n.Args{"person": id}))
			defer func() { _, _ = io.WriteString(c.Err, "\n") }()
		}
		return typedLine(from)
	}
	first, err := ask("davy.pin.ask")
	if err != nil || !terminal || !fresh || first == "" {
		return first, err
	}
	again, err := ask("davy.pin.again")
	if err == nil && again != first {
		err = &cli.Error{Exit: cli.Failed, Key: "davy.pin.differ"}
	}
	return first, err
}

// typedLine reads one line, byte by byte, without its end.
func typedLine(from io.Reader) (string, error) {
	var line []byte
	for one := make([]byte, 1); len(line) < maxTyped; {
		n, err := from.Read(one)
		if n == 1 && one[0] == '\n' {
			break
		}
		line = append(line, one[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", &cli.Error{Exit: cli.Failed, Key: "davy.pin.unread", Cause: err}
		}
	}
	return strings.TrimSuffix(string(line), "\r"), nil
}

// proof asks for the PIN of --person; nil without --person.
func proof(c *cli.Call) (*operate.Proof, error) {
	id := c.Flag("person")
	switch {
	case id == "" && c.Flag("pin-fd") != "":
		return nil, cli.Usage("davy.pin.whose", nil)
	case id == "":
		return nil, nil
	case !people.ID(id):
		return nil, cli.Usage("davy.person.id", i18n.Args{"limit": people.MaxID}) // not what was given: it may be a PIN
	}
	from, err := pinSource(c)
	if err != nil {
		return nil, err
	}
	pin, err := readPIN(c, from, id, false)
	if err != nil {
		return nil, err
	}
	return &operate.Proof{Person: id, PIN: pin}, nil
}

// whose says as whom something is done: proved, or as the operating system knows.
func whose(p *operate.Proof, args i18n.Args) i18n.Args {
	args["person"], args["how"] = person(), i18n.Key("davy.claimed")
	if p != nil {
		args["person"], args["how"] = p.Person, i18n.Key("davy.proved")
	}
	return args
}

// notProved reports whether an agent refused a proof: it did not even look at
// the command that came with it.
func notProved(e *operate.Error) bool {
	switch e.Code {
	case operate.NoPeople, operate.UnknownPerson, operate.WrongPIN, operate.NoPIN, operate.PINWait:
		return true
	}
	return false
}

// proveHere checks a proof without a running agent, against the persons of
// the accepted site. Nothing but the time it takes holds a guesser back, and no
// wrong try is recorded: who may call this may read the hashes.
func proveHere(roll *people.Roll, p *operate.Proof) error {
	refuse := func(code string) error { return &operate.Error{Code: code, Args: map[string]any{"rule": p.Person}} }
	gate := people.NewGate(func() int64 { return 1 })
	_, err := gate.Prove(context.Background(), roll, "", p.Person, p.PIN)
	switch {
	case errors.Is(err, people.ErrUnknown):
		return refuse(operate.UnknownPerson)
	case errors.Is(err, people.ErrNoPIN):
		return refuse(operate.NoPIN)
	case errors.Is(err, people.ErrWrong):
		return refuse(operate.WrongPIN)
	}
	return err
}
