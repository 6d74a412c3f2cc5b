package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"davy/agent/accept"
	"davy/agent/cli"
	"davy/agent/operate"
)

// proofAgent is an agent that knows the PIN of li, and refuses a proof with a code.
type proofAgent struct {
	view   operate.View
	refuse string
	did    []operate.Command
	asked  int
}

func (a *proofAgent) View(context.Context) (*operate.View, error) { return &a.view, nil }

func (a *proofAgent) Do(_ context.Context, c operate.Command) (*operate.Result, error) {
	a.did = append(a.did, c)
	return nil, nil
}

func (a *proofAgent) Prove(_ context.Context, _, person, pin string) ([]string, error) {
	a.asked++
	if a.refuse != "" || person != "li" || pin != "731905" {
		return nil, &operate.Error{Code: a.refuse, Args: map[string]any{"rule": person, "seconds": 2}}
	}
	return []string{"engineer"}, nil
}

// serve runs the agent, and returns its state directory.
func (a *proofAgent) serve(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "davy") // a short path, for the socket
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := &operate.Server{Path: filepath.Join(dir, "davy.sock"), Handler: a}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = os.RemoveAll(dir)
	})
	for c := (operate.Client{Path: s.Path}); ; {
		if _, err := c.View(t.Context(), operate.Status); err == nil {
			return dir
		}
		select {
		case err := <-done:
			done <- err
			t.Fatal(err)
		default:
		}
	}
}

// withPIN runs davy with the PIN of li on a descriptor.
func withPIN(t *testing.T, args ...string) (exit int, out, errs string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Dup(int(r.Fd())) // davy's own
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.WriteString("731905\n")
	_, _ = r.Close(), w.Close()
	var o, e bytes.Buffer
	exit = program().Main(append(args, "--person", "li", "--pin-fd", strconv.Itoa(fd), "--lang", "en"), &o, &e)
	return exit, o.String(), e.String()
}

func nightView() operate.View {
	alarm := func(name string, p operate.Priority, s operate.AlarmState) operate.Alarm {
		return operate.Alarm{Name: name, Priority: p, State: s, Occurrence: 3}
	}
	return operate.View{Alarms: []operate.Alarm{
		alarm("a", operate.High, operate.Unacked), alarm("b", operate.Critical, operate.Unacked),
		alarm("c", operate.Low, operate.Acked), alarm("d", operate.Low, operate.ReturnedUnacked), alarm("e", operate.Low, operate.Shelved),
	}}
}

// What a person acknowledges all at once is that person's, and not the user's
// who is logged in.
func TestAckAllProved(t *testing.T) {
	a := &proofAgent{view: nightView()}
	exit, out, errs := withPIN(t, "ack", "--all", "--state", a.serve(t))
	var names []string
	for _, c := range a.did {
		names = append(names, c.Rule)
		if c.Who != (operate.Who{Name: "li", Proved: true}) {
			t.Errorf("%s by %+v", c.Rule, c.Who)
		}
	}
	if exit != cli.Done || !slices.Equal(names, []string{"a", "d"}) || !strings.Contains(out, "2 alarms acknowledged\n") || !strings.Contains(out, "davy ack b 3") {
		t.Errorf("%d, %v, %q, %q", exit, names, out, errs)
	}
}

// One wrong PIN is one wrong try, however many alarms wait.
func TestAckAllNotProved(t *testing.T) {
	a := &proofAgent{view: nightView(), refuse: operate.WrongPIN}
	exit, out, errs := withPIN(t, "ack", "--all", "--state", a.serve(t))
	if exit != cli.Failed || len(a.did) > 0 || a.asked != 1 || !strings.Contains(errs, "wrong PIN") || strings.Contains(out, "acknowledged") {
		t.Errorf("%d, did %v, asked %d, %q, %q", exit, a.did, a.asked, out, errs)
	}
}

// A proof that the agent refuses takes back nothing of what is accepted already;
// who is told so knows what the next start will bring.
func TestLiveNotProved(t *testing.T) {
	for _, code := range []string{operate.PINWait, operate.WrongPIN, operate.UnknownPerson, operate.NoPIN} {
		a := &proofAgent{refuse: code}
		err := liveAt(t, a)
		said, ok := err.(*cli.Error)
		if !ok || said.Key != "davy.apply.not-live" || len(a.did) > 0 {
			t.Errorf("%s: %v, did %v", code, err, a.did)
		}
	}
}

// An agent that runs a site from before there were persons takes the new one.
func TestLiveWithoutPersons(t *testing.T) {
	a := &proofAgent{refuse: operate.NoPeople}
	if err := liveAt(t, a); err != nil || len(a.did) != 1 || a.did[0].Do != operate.Reload || a.did[0].Who.Proved {
		t.Errorf("%v, did %+v", err, a.did)
	}
}

// liveAt calls live with a proof of li, against an agent.
func liveAt(t *testing.T, a *proofAgent) (err error) {
	t.Helper()
	p := program()
	for i := range p.Commands {
		if p.Commands[i].Name == "apply" {
			p.Commands[i].Run = func(c *cli.Call) error {
				err = live(c, &accept.Acceptance{Hash: strings.Repeat("0", 64), Who: "li", Proved: true}, nil, &operate.Proof{Person: "li", PIN: "731905"})
				return nil
			}
		}
	}
	p.Main([]string{"apply", "site", "--state", a.serve(t)}, &bytes.Buffer{}, &bytes.Buffer{})
	return err
}

// Of nothing the JSON is an empty list, whatever was asked for.
func TestNothingIsAList(t *testing.T) {
	state := (&proofAgent{}).serve(t)
	for _, args := range [][]string{{"alarms"}, {"alarms", "--shelved"}, {"log"}} {
		var out, errs bytes.Buffer
		if exit := program().Main(append(args, "--json", "--state", state), &out, &errs); exit != cli.Done || out.String() != "[]\n" {
			t.Errorf("%v: %d, %q, %q", args, exit, out.String(), errs.String())
		}
	}
}
