package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"davy/agent/cli"
	"davy/agent/i18n"
	"davy/agent/wire"
	"davy/cmd/davy-receiver/gate"
	"davy/cmd/davy-receiver/store"
)

// openStore opens the database for a command beside a running receiver.
func openStore(c *cli.Call, make bool) (*store.Store, error) {
	dir := c.Flag("db")
	if make {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return nil, err
		}
		return store.Beside(dir, true)
	}
	st, err := store.Beside(dir, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &cli.Error{Exit: cli.Failed, Key: "davy-receiver.no-db", Args: i18n.Args{"dir": dir}, Hint: "davy-receiver.no-db.hint"}
	}
	return st, err
}

// chosen returns the gateways that a command is about: the one that is named,
// or all that are enrolled. A name that nobody enrolled is an error: it is
// misspelt, and "nothing found" would be a false answer.
func chosen(ctx context.Context, c *cli.Call, st *store.Store) ([]store.Gateway, error) {
	all, err := st.Gateways(ctx)
	if err != nil || len(c.Args) == 0 {
		return all, err
	}
	i := slices.IndexFunc(all, func(g store.Gateway) bool { return g.ID == c.Args[0] })
	if i < 0 {
		return nil, &cli.Error{Exit: cli.Failed, Key: "davy-receiver.no-gateway", Args: i18n.Args{"id": c.Args[0], "dir": c.Flag("db")}, Hint: "davy-receiver.no-gateway.hint"}
	}
	return all[i : i+1], nil
}

// asked opens the store for a command that only shows, and says which gateways
// it is about. Who calls it closes the store.
func asked(ctx context.Context, c *cli.Call) (*store.Store, []store.Gateway, error) {
	st, err := openStore(c, false)
	if err != nil {
		return nil, nil, err
	}
	about, err := chosen(ctx, c, st)
	if err != nil {
		return nil, nil, errors.Join(err, st.Close())
	}
	return st, about, nil
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// when shows an instant to a person.
func when(ns int64) string {
	if ns == 0 {
		return "-"
	}
	return time.Unix(0, ns).Format("2006-01-02 15:04:05.000")
}

// table prints rows in columns, by the width that characters have on a screen.
func table(w io.Writer, rows [][]string) {
	var width []int
	for _, r := range rows {
		for i, s := range r {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], i18n.Width(s))
		}
	}
	for _, r := range rows {
		var b strings.Builder
		for i, s := range r {
			if i == len(r)-1 {
				b.WriteString(s)
				break
			}
			b.WriteString(i18n.Pad(s, width[i]+2))
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

func head(l i18n.Lang, keys ...string) []string {
	row := make([]string, len(keys))
	for i, k := range keys {
		row[i] = l.Text("davy-receiver.column."+k, nil)
	}
	return row
}

// enroll enters a gateway by the fingerprint of its key.
func enroll(ctx context.Context, c *cli.Call) error {
	id, print := c.Args[0], c.Args[1]
	if !gate.ValidID(id) {
		return cli.Usage("davy-receiver.bad-gateway", i18n.Args{"id": id})
	}
	if !validFingerprint(print) {
		return &cli.Error{Exit: cli.Wrong, Key: "davy-receiver.bad-fingerprint", Args: i18n.Args{"value": print}, Hint: "davy-receiver.bad-fingerprint.hint"}
	}
	st, err := openStore(c, true)
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	g := store.Gateway{ID: id, Fingerprint: print, Destination: c.Flag("destination"), Enrolled: time.Now().UnixNano()}
	if err := st.Enroll(ctx, g); err != nil {
		return err
	}
	c.Say("davy-receiver.enrolled", i18n.Args{"id": id, "fingerprint": print})
	return nil
}

// validFingerprint reports whether s can be a fingerprint: 52 of A-Z 2-7,
// however grouped.
func validFingerprint(s string) bool {
	n := 0
	for _, r := range strings.ToUpper(s) {
		switch {
		case r >= 'A' && r <= 'Z' || r >= '2' && r <= '7':
			n++
		case r != '-' && r != ' ':
			return false
		}
	}
	return n == 52
}

type gatewayLine struct {
	ID          string `json:"id"`
	Fingerprint string `json:"fingerprint"`
	Destination string `json:"destination,omitempty"`
	Enrolled    int64  `json:"enrolled"`
	Heard       int64  `json:"heard"`
	Armed       bool   `json:"outputs_armed"`
	Clock       bool   `json:"clock_trusted"`
	Receipts    int64  `json:"receipts"`
	// Findings are the kinds of what stands, see gaps; Resume, where this
	// receiver was restored, how often it told the gateway, which has not gone on yet.
	Findings []string `json:"findings"`
	Resume   int64    `json:"resume,omitempty"`
}

// gateways lists who is enrolled, and who sent without being it.
func gateways(ctx context.Context, c *cli.Call) error {
	st, err := openStore(c, false)
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	all, err := st.Gateways(ctx)
	if err != nil {
		return err
	}
	resumes, err := st.Telling(ctx)
	if err != nil {
		return err
	}
	lines := []gatewayLine{}
	for _, g := range all {
		n, _, err := st.ReceiptCount(ctx, g.ID)
		if err != nil {
			return err
		}
		line := gatewayLine{g.ID, g.Fingerprint, g.Destination, g.Enrolled, g.Heard, g.Armed, g.ClockTrusted, n, []string{}, resumes[g.ID]}
		found, err := st.Findings(ctx, g.ID)
		if err != nil {
			return err
		}
		for i := range found {
			if f := &found[i]; f.Ended == 0 && !slices.Contains(line.Findings, f.Kind) {
				line.Findings = append(line.Findings, f.Kind)
			}
		}
		lines = append(lines, line)
	}
	strangers, err := st.Verdicts(ctx)
	if err != nil {
		return err
	}
	if strangers == nil {
		strangers = []store.Verdict{}
	}
	if c.JSON {
		return printJSON(c.Out, map[string]any{"gateways": lines, "strangers": strangers})
	}
	rows := [][]string{head(c.Lang, "gateway", "fingerprint", "heard", "outputs", "clock", "receipts", "found")}
	for _, g := range lines {
		outputs, clock := "-", "-" // nobody knows before it was heard
		if g.Heard != 0 {
			outputs = c.Lang.Text(pick(g.Armed, "davy-receiver.armed", "davy-receiver.disarmed"), nil)
			clock = c.Lang.Text(pick(g.Clock, "davy-receiver.trusted", "davy-receiver.untrusted"), nil)
		}
		rows = append(rows, []string{g.ID, g.Fingerprint, when(g.Heard), outputs, clock, fmt.Sprint(g.Receipts), foundShort(c.Lang, g.Findings)})
	}
	table(c.Out, rows)
	for _, g := range lines {
		if g.Resume > 0 {
			c.Say("davy-receiver.telling", i18n.Args{"gateway": g.ID, "n": g.Resume})
		}
	}
	for _, v := range strangers {
		c.Say("davy-receiver.stranger", i18n.Args{"n": v.N, "gateway": v.Gateway, "verdict": i18n.Key("davy-receiver.verdict." + v.Verdict)})
	}
	return nil
}

func pick(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

// gaps lists every number that has no row, and what does not fit together.
func gaps(ctx context.Context, c *cli.Call) error {
	st, about, err := asked(ctx, c)
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	gateway := ""
	if len(c.Args) > 0 {
		gateway = c.Args[0]
	}
	silent := []string{}
	for _, g := range about {
		if g.Heard == 0 {
			silent = append(silent, g.ID)
		}
	}
	missing, forks, losses := []store.Stretch{}, []store.Fork{}, []store.Loss{}
	chains, err := st.Chains(ctx, gateway)
	if err != nil {
		return err
	}
	bad := len(silent) > 0
	for _, ch := range chains {
		m, err := st.Missing(ctx, ch)
		if err != nil {
			return err
		}
		for _, x := range m {
			bad = bad || x.State != store.Explained
		}
		missing = append(missing, m...)
	}
	f, err := st.Forks(ctx, gateway)
	if err != nil {
		return err
	}
	forks = append(forks, f...)
	l, err := st.Losses(ctx, gateway)
	if err != nil {
		return err
	}
	losses = append(losses, l...)
	bad = bad || len(forks) > 0 || len(losses) > 0
	found, err := st.Findings(ctx, gateway)
	if err != nil {
		return err
	}
	if found == nil {
		found = []store.Finding{}
	}
	for i := range found {
		bad = bad || found[i].Ended == 0 && found[i].Kind != store.Restored
	}
	switch {
	case c.JSON:
		if err := printJSON(c.Out, map[string]any{"missing": missing, "forks": forks, "losses": losses, "never_heard": silent, "findings": found}); err != nil {
			return err
		}
	case len(missing)+len(forks)+len(losses)+len(found) > 0:
		sayGaps(c, missing, forks, losses)
		sayFindings(c, found)
	case len(silent) < len(about):
		c.Say("davy-receiver.no-gaps", nil)
	case len(about) == 0:
		c.Say("davy-receiver.no-gateways", nil)
	}
	if !c.JSON {
		for _, id := range silent {
			c.Say("davy-receiver.never-heard", i18n.Args{"gateway": id})
		}
	}
	if bad && c.Set("check") {
		return cli.Quiet(cli.Failed)
	}
	return nil
}

func sayGaps(c *cli.Call, missing []store.Stretch, forks []store.Fork, losses []store.Loss) {
	if len(missing)+len(forks)+len(losses) == 0 {
		return
	}
	rows := [][]string{head(c.Lang, "gateway", "epoch", "stream", "numbers", "what")}
	for _, m := range missing {
		text := c.Lang.Text("davy-receiver.gap."+m.State, i18n.Args{"cause": m.Cause})
		rows = append(rows, []string{m.Gateway, m.Epoch[:8], m.Stream, span(m.From, m.To), text})
	}
	for _, f := range forks {
		text := c.Lang.Text("davy-receiver.fork."+f.Kind, i18n.Args{"raw": f.Raw, "other": f.Other})
		rows = append(rows, []string{f.Gateway, f.Epoch[:8], f.Stream, span(f.From, f.To), text})
	}
	for _, l := range losses {
		text := c.Lang.Text("davy-receiver.loss", i18n.Args{"parent": l.Parent[:8], "receipted": l.Receipted, "declared": l.Declared})
		rows = append(rows, []string{l.Gateway, l.Epoch[:8], l.Stream, span(l.Declared+1, l.Receipted), text})
	}
	table(c.Out, rows)
}

// export prints the hash of everything stored of a gateway.
func export(ctx context.Context, c *cli.Call) error {
	st, _, err := asked(ctx, c)
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	d, err := st.Digest(ctx, c.Args[0])
	if err != nil {
		return err
	}
	sum := d.Sum()
	if c.JSON {
		return printJSON(c.Out, map[string]any{"gateway": c.Args[0], "records": d.Count, "sha256": hex.EncodeToString(sum[:])})
	}
	c.Say("davy-receiver.exported", i18n.Args{"gateway": c.Args[0], "records": d.Count, "sum": hex.EncodeToString(sum[:])})
	return nil
}

// showKey prints the receiver's public key as a site file takes it.
func showKey(_ context.Context, c *cli.Call) error {
	if c.Args[0] != "show" {
		return cli.Usage("cli.arguments", i18n.Args{"command": "davy-receiver key", "args": i18n.Key("davy-receiver.key.args")})
	}
	key, err := openKey(c)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(c.Out, map[string]any{"key": publicKey(key)})
	}
	_, err = fmt.Fprintln(c.Out, publicKey(key))
	return err
}

var streams = []string{wire.EventStream, wire.ReadingStream, wire.HealthStream}
