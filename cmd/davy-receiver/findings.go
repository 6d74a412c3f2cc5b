package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"davy/agent/cli"
	"davy/agent/i18n"
	"davy/cmd/davy-receiver/store"
)

// sayFindings prints what was found, the oldest first, and what to do about it.
func sayFindings(c *cli.Call, all []store.Finding) {
	if len(all) == 0 {
		return
	}
	rows := [][]string{head(c.Lang, "found", "over", "gateway", "epoch", "what")}
	stands := map[string]bool{}
	for i := range all {
		f := &all[i]
		gateway := f.Gateway
		if gateway == "" {
			gateway = "-"
		}
		stands[f.Kind] = stands[f.Kind] || f.Ended == 0
		rows = append(rows, []string{when(f.Wall), when(f.Ended), gateway, short(f.EpochName), found(c.Lang, f)})
	}
	table(c.Out, rows)
	for _, kind := range store.Kinds() {
		if key := "davy-receiver.found." + kind + ".hint"; stands[kind] && kind != store.Restored {
			c.Say(key, nil)
		}
	}
}

// found says what was found in words.
func found(l i18n.Lang, f *store.Finding) string {
	args := i18n.Args{}
	switch f.Kind {
	case store.LogFork:
		args["first"], args["last"] = f.First, f.Last
	case store.LogShort:
		args["other"], args["first"], args["last"] = short(f.OtherName), f.First, f.Last
		if f.First == 0 {
			return l.Text("davy-receiver.found.log-short.none", args)
		}
	case store.Rollback:
		args["other"] = short(f.OtherName)
	case store.Clone:
		args["other"] = short(f.OtherName)
	case store.Boots:
		args["boots"] = f.Note
	case store.Silent:
		args["since"] = when(f.First)
	case store.Clock:
		args["by"] = l.Span(time.Duration(max(f.First, -f.First)))
		return l.Text(pick(f.First > 0, "davy-receiver.found.clock.ahead", "davy-receiver.found.clock.behind"), args)
	case store.Withheld, store.Hole:
		args["stream"], args["numbers"] = f.Stream, span(uint64(f.First), uint64(f.Last))
	case store.Restored:
		args["was"] = short(f.Note)
	}
	return l.Text("davy-receiver.found."+f.Kind, args)
}

// foundShort names kinds of findings in a column.
func foundShort(l i18n.Lang, kinds []string) string {
	if len(kinds) == 0 {
		return "-"
	}
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = l.Text("davy-receiver.finding."+k, nil)
	}
	return strings.Join(names, l.Text("operate.comma", nil))
}

// short is the beginning of an epoch's or a store's id, "-" of none.
func short(s string) string {
	if s == "" {
		return "-"
	}
	return s[:min(8, len(s))]
}

func span(from, to uint64) string {
	if from == to {
		return fmt.Sprint(from)
	}
	return fmt.Sprintf("%d..%d", from, to)
}

// verify holds what is stored against what was signed and witnessed.
func verify(ctx context.Context, c *cli.Call) error {
	st, about, err := asked(ctx, c)
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	logs, good := []store.Log{}, true
	for _, g := range about {
		l, err := st.Verify(ctx, g.ID)
		if errors.Is(err, store.ErrOlder) {
			return &cli.Error{Exit: cli.Failed, Key: "davy-receiver.older-db", Args: i18n.Args{"dir": c.Flag("db")}, Hint: "davy-receiver.older-db.hint"}
		}
		if err != nil {
			return err
		}
		logs = append(logs, l...)
	}
	for i := range logs {
		good = good && logs[i].Good()
	}
	switch {
	case c.JSON:
		if err := printJSON(c.Out, map[string]any{"logs": logs}); err != nil {
			return err
		}
	case len(logs) == 0:
		c.Say("davy-receiver.nothing-to-verify", nil)
	default:
		sayLogs(c, logs)
	}
	if (!good || len(logs) == 0) && c.Set("check") {
		return cli.Quiet(cli.Failed)
	}
	return nil
}

func sayLogs(c *cli.Call, logs []store.Log) {
	rows := [][]string{head(c.Lang, "gateway", "epoch", "leaves", "witnessed", "when", "what")}
	for i := range logs {
		l := &logs[i]
		rows = append(rows, []string{
			l.Gateway, short(l.Epoch), fmt.Sprint(l.Leaves), fmt.Sprint(l.Witnessed), when(l.Wall), c.Lang.Text("davy-receiver.log."+l.State, i18n.Args{"n": l.Gone}),
		})
	}
	table(c.Out, rows)
	for i := range logs {
		l := &logs[i]
		for _, w := range l.Which {
			c.Say("davy-receiver.log.gone", i18n.Args{"gateway": l.Gateway, "epoch": short(l.Epoch), "leaves": span(w.From, w.To)})
		}
		for _, r := range l.Rows {
			c.Say("davy-receiver.altered."+r.What, i18n.Args{"gateway": l.Gateway, "epoch": short(l.Epoch), "stream": r.Stream, "numbers": span(r.From, r.To)})
		}
		if n := uint64(len(l.Which)); n == store.MaxNamed || len(l.Rows) == store.MaxNamed {
			c.Say("davy-receiver.log.more", i18n.Args{"gateway": l.Gateway, "epoch": short(l.Epoch), "gone": l.Gone, "altered": l.Altered})
		}
	}
}

// restored is a person's word that the database was restored from a backup.
func restored(ctx context.Context, c *cli.Call) error {
	st, err := openStore(c, false) // it must be there
	if err != nil {
		return err
	}
	if err := st.Close(); err != nil {
		return err
	}
	if st, err = openLocked(c); err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	was, err := st.Restored(ctx, time.Now().UnixNano())
	if err != nil {
		return err
	}
	all, err := st.Gateways(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(c.Out, map[string]any{"store": st.ID(), "was": was, "gateways": len(all)})
	}
	c.Say("davy-receiver.restored", i18n.Args{"id": short(st.ID()), "was": short(was), "n": len(all)})
	return nil
}
