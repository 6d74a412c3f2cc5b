package operate

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"davy/agent/i18n"
)

// prover is a handler that knows two persons.
type prover struct {
	agent
	asked atomic.Int64
	hang  bool
}

func (p *prover) Prove(ctx context.Context, user, person, pin string) ([]string, error) {
	p.asked.Add(1)
	if p.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	want := map[string]string{"li": "731905", "wang": "482917"}[person]
	switch {
	case user == "" || want == "":
		return nil, &Error{Code: UnknownPerson}
	case pin != want:
		return nil, &Error{Code: WrongPIN, Args: map[string]any{"rule": person}}
	}
	return []string{"engineer"}, nil
}

// A command with a proof is that person's; one without is the user's.
func TestProved(t *testing.T) {
	a := &prover{agent: agent{view: night()}}
	path, _ := serveHandler(t, a)
	c := Client{Path: path, Proof: &Proof{Person: "li", PIN: "731905"}}
	cmd := Command{Do: Ack, Rule: "nh3-1.l2", Occurrence: 12, Roles: []string{"manager"}, Session: "mine"}
	if _, err := c.Do(t.Context(), cmd); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Do(t.Context(), cmd); err != nil {
		t.Fatal(err)
	}
	if _, err := (&Client{Path: path}).Do(t.Context(), cmd); err != nil {
		t.Fatal(err)
	}
	if len(a.did) != 3 {
		t.Fatalf("%+v", a.did)
	}
	one, two, claimed := a.did[0], a.did[1], a.did[2]
	if one.Who != (Who{Name: "li", Proved: true}) || len(one.Roles) != 1 || one.Roles[0] != "engineer" {
		t.Errorf("proved: %+v", one)
	}
	if claimed.Who.Proved || claimed.Who.Name == "" || claimed.Roles != nil {
		t.Errorf("claimed: %+v", claimed)
	}
	if len(one.Session) != 32 || one.Session == two.Session || one.Session == claimed.Session || one.Session == "mine" {
		t.Errorf("sessions %q, %q, %q", one.Session, two.Session, claimed.Session)
	}
	// Only asking, and what only shows.
	if _, err := c.Do(t.Context(), Command{Do: Prove}); err != nil || len(a.did) != 3 {
		t.Errorf("%v, did %d", err, len(a.did))
	}
	asked := a.asked.Load()
	if _, err := c.View(t.Context(), Status); err != nil || a.asked.Load() != asked {
		t.Errorf("%v: a view asks for a proof", err)
	}
}

func TestNotProved(t *testing.T) {
	a := &prover{agent: agent{view: night()}}
	path, _ := serveHandler(t, a)
	f := func(p *Proof, cmd Command, want string) {
		t.Helper()
		_, err := (&Client{Path: path, Proof: p}).Do(t.Context(), cmd)
		var said *Error
		if !errors.As(err, &said) || said.Code != want {
			t.Errorf("%v: %v, want %s", p, err, want)
		}
		if said != nil && !i18n.Has(said.Code) {
			t.Errorf("%s has no words", said.Code)
		}
	}
	ok := Command{Do: Arm, Note: "x"}
	f(&Proof{"li", "731906"}, ok, WrongPIN)
	f(&Proof{"li", ""}, ok, WrongPIN)
	f(&Proof{"zhao", "731905"}, ok, UnknownPerson)
	f(&Proof{"", "731905"}, ok, UnknownPerson)
	f(&Proof{"li\u202e", "731905"}, ok, "operate.bad-text")
	f(&Proof{strings.Repeat("l", MaxName+1), "731905"}, ok, "operate.too-long")
	f(&Proof{"li", strings.Repeat("7", MaxName+1)}, ok, "operate.too-long")
	f(nil, Command{Do: Prove}, "refused.needs-person")
	asked := a.asked.Load()
	f(&Proof{"li", "731905"}, Command{Do: Ack}, "operate.rule-and-occurrence")
	if a.asked.Load() != asked {
		t.Error("a command that cannot be costs a proof")
	}
	if len(a.did) != 0 {
		t.Errorf("did %+v", a.did)
	}
	// An agent that cannot prove anybody takes nobody's word for it.
	path, _ = serve(t, &agent{view: night()})
	f(&Proof{"li", "731905"}, ok, NoPeople)
}

// One connection is one person's, and ends after some wrong proofs.
func TestSessionOfOne(t *testing.T) {
	a := &prover{agent: agent{view: night()}}
	path, _ := serveHandler(t, a)
	c := dial(t, path)
	in := bufio.NewReader(c)
	say := func(person, pin, want string) {
		t.Helper()
		if _, err := fmt.Fprintf(c, `{"do":"arm","note":"x","proof":{"person":%q,"pin":%q}}`+"\n", person, pin); err != nil {
			t.Fatal(err)
		}
		line, err := in.ReadString('\n')
		var got answer
		if err == nil {
			err = json.Unmarshal([]byte(line), &got)
		}
		code := ""
		if got.Error != nil {
			code = got.Error.Code
		}
		if err != nil || code != want || strings.Contains(line, pin) {
			t.Fatalf("%s: %s, %v; want %q", person, line, err, want)
		}
	}
	say("li", "731905", "")
	say("wang", "482917", "refused.other-person")
	say("li", "000000", WrongPIN)
	say("li", "731905", "")
	for range MaxWrong {
		say("li", "000000", WrongPIN)
	}
	_ = c.SetReadDeadline(time.Now().Add(Idle / 2)) // not because nothing came for so long
	if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("after %d wrong proofs: %v", MaxWrong, err)
	}
	if len(a.did) != 2 || a.did[0].Session != a.did[1].Session {
		t.Errorf("%+v", a.did)
	}
}

// A proof that waits keeps nobody else waiting, and ends with the server.
func TestProofHoldsNobodyUp(t *testing.T) {
	a := &prover{agent: agent{view: night()}, hang: true}
	path, stop := serveHandler(t, a)
	done := make(chan error, 1)
	go func() {
		_, err := (&Client{Path: path, Proof: &Proof{"li", "731905"}}).Do(context.Background(), Command{Do: Arm, Note: "x"})
		done <- err
	}()
	for a.asked.Load() == 0 {
		select {
		case err := <-done:
			t.Fatalf("done without a proof: %v", err)
		default:
		}
		if _, err := (&Client{Path: path}).View(t.Context(), Status); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := (&Client{Path: path}).Do(t.Context(), Command{Do: Arm, Note: "x"}); err != nil {
		t.Error(err)
	}
	stop()
	if err := <-done; err == nil || len(a.did) != 1 {
		t.Errorf("%v, did %d", err, len(a.did))
	}
}

// Whoever prints or logs a proof does not print a PIN.
func TestProofIsNotPrinted(t *testing.T) {
	p := Proof{Person: "li", PIN: "731905"}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "proof", p, "pointer", &p)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "proof", p)
	for _, s := range []string{fmt.Sprint(p), fmt.Sprint(&p), fmt.Sprintf("%v %+v %#v %s", p, p, p, p), log.String()} {
		if strings.Contains(s, "7319") || !strings.Contains(s, "li") {
			t.Error(s)
		}
	}
}
