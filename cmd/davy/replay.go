package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"davy/agent"
	"davy/agent/accept"
	"davy/agent/cli"
	"davy/agent/config"
	"davy/agent/i18n"
	"davy/agent/journal"
	"davy/agent/replay"
	"davy/agent/replay/history"
	"davy/drivers/tag"
)

// Of a replay where nothing else is said, and between two lines of progress.
const (
	replayLast     = 7 * 24 * time.Hour
	replayProgress = 5 * time.Second
)

// replayCommand runs new rules over recorded history.
func replayCommand(c *cli.Call) error {
	if c.Flag("rules") == "" {
		return cli.Usage("davy.replay.needs-rules", nil)
	}
	renamed, err := renamedTags(c)
	if err != nil {
		return err
	}
	bundle, present, accepted, err := presentRules(c)
	if err != nil {
		return err
	}
	fresh, err := newRules(c, bundle)
	if err != nil {
		return err
	}
	zone, err := time.LoadLocation(present.Gateway.TimeZone)
	if err != nil {
		zone = time.UTC
	}
	src, done, err := recordedHistory(c)
	if err != nil {
		return err
	}
	defer done()
	o := replay.Options{Present: present, New: fresh, Source: src, Renamed: renamed}
	if o.From, o.To, err = replayWindow(c, src, zone); err != nil {
		return err
	}
	o.Progress = replaying(c)
	rep, err := replay.Run(o)
	if errors.Is(err, replay.ErrNone) {
		return &cli.Error{Exit: cli.Failed, Key: "davy.replay.nothing", Args: recordSpan(c, src, zone)}
	}
	if err != nil {
		return err
	}
	w := &replayWriter{c: c, rep: rep, zone: zone, present: present, fresh: fresh, accepted: accepted}
	if c.JSON {
		err = encode(c, w.json())
	} else {
		w.write()
	}
	if err == nil && len(rep.Damaged) > 0 {
		return cli.Quiet(cli.Failed) // what was found is whole, but not all there was
	}
	return err
}

// presentRules returns the rules that are live: the accepted site of the state
// directory; without one, or beside an export, the site directory.
func presentRules(c *cli.Call) (*config.Bundle, *config.Plan, string, error) {
	if c.Flag("journal") == "" {
		a, err := agent.LoadAccepted(c.Flag("state"), driverSet())
		if err == nil {
			return a.Bundle, a.Plan, a.Hash, nil
		}
		if !errors.Is(err, accept.ErrNone) {
			return nil, nil, "", err
		}
	}
	bundle, plan, err := compiled(c, "davy.replay.present-wrong")
	return bundle, plan, "", err
}

// newRules compiles what --rules names: a site directory, or a file of rules,
// which takes the place of the present site's rules.yaml.
func newRules(c *cli.Call, present *config.Bundle) (*config.Plan, error) {
	path := c.Flag("rules")
	info, err := os.Stat(path)
	if err != nil {
		return nil, &cli.Error{Exit: cli.Wrong, Key: "davy.replay.no-rules", Args: i18n.Args{"path": path}, Hint: "davy.hint.replay-rules"}
	}
	dir := path
	if !info.IsDir() {
		if dir, err = siteWith(present, path); err != nil {
			return nil, fmt.Errorf("replay %s: %w", path, err)
		}
		defer os.RemoveAll(dir)
	}
	bundle, plan, problems, err := site(c, dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() { // said with the name that the person knows
		var mine config.Problems
		for _, p := range problems {
			if p.Place.File == config.RulesFile {
				p.Place.File = path
			}
			if !p.Warn || p.Place.File == path {
				mine = append(mine, p)
			}
		}
		problems = mine
		if data, ok := bundle.File(config.RulesFile); ok {
			bundle.Put(path, data)
		}
	}
	if err := problems.Write(c.Err, c.Lang, bundle); err != nil {
		return nil, err
	}
	if plan == nil {
		return nil, wrongSite("davy.replay.new-wrong", path, problems)
	}
	return plan, nil
}

// siteWith writes a site to a directory of its own, with other rules.
func siteWith(b *config.Bundle, rulesFile string) (dir string, err error) {
	if dir, err = os.MkdirTemp("", "davy-replay-"); err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	data, err := os.ReadFile(rulesFile)
	if err != nil {
		return "", err
	}
	files := append([]config.File{{Name: config.RulesFile, Data: data}}, b.Files...)
	for i, f := range files {
		if i > 0 && f.Name == config.RulesFile {
			continue
		}
		name := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err = os.MkdirAll(filepath.Dir(name), 0o700); err == nil {
			err = os.WriteFile(name, f.Data, 0o600)
		}
		if err != nil {
			return "", err
		}
	}
	return dir, nil
}

// recordedHistory opens the journal of the state directory, or an export.
func recordedHistory(c *cli.Call) (replay.Source, func(), error) {
	if file := c.Flag("journal"); file != "" {
		f, err := history.OpenExport(file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil, &cli.Error{Exit: cli.Wrong, Key: "davy.replay.no-export", Args: i18n.Args{"path": file}, Hint: "davy.hint.replay-export"}
		case errors.Is(err, history.ErrExport):
			return nil, nil, &cli.Error{Exit: cli.Failed, Key: "davy.replay.not-export", Args: i18n.Args{"path": file}, Cause: err, Hint: "davy.hint.replay-export"}
		}
		return f, func() {}, err
	}
	r, err := journal.OpenReadOnly(journalDir(c.Flag("state")))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, &cli.Error{Exit: cli.Failed, Key: "davy.journal.none", Args: i18n.Args{"state": c.Flag("state")}, Hint: "davy.hint.replay-journal"}
	}
	if err != nil {
		return nil, nil, err
	}
	return history.OfJournal(r), func() { r.Close() }, nil
}

// renamedTags reads --renamed: new=old,…
func renamedTags(c *cli.Call) (map[tag.Name]tag.Name, error) {
	out := map[tag.Name]tag.Name{}
	if c.Flag("renamed") == "" {
		return out, nil
	}
	for one := range strings.SplitSeq(c.Flag("renamed"), ",") {
		now, was, ok := strings.Cut(strings.TrimSpace(one), "=")
		if !ok || now == "" || was == "" || out[tag.Name(now)] != "" {
			return nil, cli.Usage("davy.replay.renamed", i18n.Args{"value": one})
		}
		out[tag.Name(now)] = tag.Name(was)
	}
	return out, nil
}

// replayWindow reads --last, or --from and --to, which are in the site's time. --last
// counts back from the end of the record, or from --to.
func replayWindow(c *cli.Call, src replay.Source, zone *time.Location) (from, to int64, err error) {
	if c.Set("from") && c.Set("last") {
		return 0, 0, cli.Usage("davy.replay.from-or-last", nil)
	}
	if from, err = siteTime(c, "from", zone); err != nil {
		return 0, 0, err
	}
	if to, err = siteTime(c, "to", zone); err != nil {
		return 0, 0, err
	}
	if from != 0 && to != 0 && to <= from {
		return 0, 0, cli.Usage("davy.replay.backwards", i18n.Args{"from": c.Flag("from"), "to": c.Flag("to")})
	}
	if from != 0 {
		return from, to, nil
	}
	span := replayLast
	if c.Set("last") {
		var ok bool
		if span, ok = daysToo(c.Flag("last")); !ok {
			return 0, 0, cli.Usage("davy.replay.last", i18n.Args{"value": c.Flag("last")})
		}
	}
	end := to
	if end == 0 {
		_, end = spanOf(src)
	}
	return max(end-int64(span), 1), to, nil
}

// spanOf is from when to when there is a record; 0 where there is none.
func spanOf(src replay.Source) (first, last int64) {
	for _, e := range src.Epochs() {
		if first == 0 || e.From < first {
			first = e.From
		}
		last = max(last, e.To)
	}
	return first, last
}

func recordSpan(c *cli.Call, src replay.Source, zone *time.Location) i18n.Args {
	first, last := spanOf(src)
	if first == 0 {
		return i18n.Args{"span": i18n.Key("davy.replay.empty")}
	}
	return i18n.Args{"span": c.Lang.Text("davy.replay.span", i18n.Args{"from": clockTime(first, zone), "to": clockTime(last, zone), "zone": zone})}
}

// daysToo reads a time like 7d, 36h, 1d12h or 90min.
func daysToo(s string) (time.Duration, bool) {
	d := time.Duration(0)
	if days, rest, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 0 || n > 36500 {
			return 0, false
		}
		d, s = time.Duration(n)*24*time.Hour, rest
	}
	if s != "" {
		rest, err := time.ParseDuration(strings.Replace(s, "min", "m", 1))
		if err != nil || rest < 0 {
			return 0, false
		}
		d += rest
	}
	return d, d > 0
}

// siteTime reads a time of the site, to the day, the minute or the second, or
// one with a zone of its own.
func siteTime(c *cli.Call, flag string, zone *time.Location) (int64, error) {
	s := c.Flag(flag)
	if s == "" {
		return 0, nil
	}
	for _, form := range []string{time.RFC3339, time.DateTime, "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(form, s, zone); err == nil && t.Unix() > 0 && t.Before(time.Unix(0, math.MaxInt64)) { // else it is none in nanoseconds
			return t.UnixNano(), nil
		}
	}
	return 0, cli.Usage("davy.replay.time", i18n.Args{"flag": "--" + flag, "value": s, "zone": zone})
}

func clockTime(wall int64, zone *time.Location) string {
	return time.Unix(0, wall).In(zone).Format(time.DateTime)
}

// replaying says on standard error how far a long replay is.
func replaying(c *cli.Call) func(replay.Progress) {
	began := time.Now()
	said := began
	return func(p replay.Progress) {
		now := time.Now()
		if now.Sub(said) < replayProgress {
			return
		}
		said = now
		percent := 0
		if p.To > p.From {
			percent = int(100 * float64(p.Wall-p.From) / float64(p.To-p.From))
		}
		fmt.Fprintln(c.Err, c.Lang.Text("davy.replay.progress", i18n.Args{
			"percent": percent, "readings": p.Readings, "rate": int(float64(p.Readings) / now.Sub(began).Seconds()),
		}))
	}
}
