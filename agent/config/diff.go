package config

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"davy/agent/people"
	"davy/rules"
)

// FileDiff is how one file of two bundles differs. Files that are equal have none.
type FileDiff struct {
	Name   string
	Before bool // the old bundle has it
	After  bool // the new one has it
	Lines  []DiffLine
}

// DiffLine is one line of a difference. Op is ' ' both have it, '-' only the
// old, '+' only the new, '@' lines left out (Text is empty). Old and New are
// line numbers from 1, 0 where there is none.
type DiffLine struct {
	Op   byte
	Text string
	Old  int
	New  int
}

const (
	diffAround = 3       // equal lines shown around a change
	maxDiff    = 4 << 20 // cells of the comparison; beyond it a stretch is shown as replaced whole
)

// Diff returns the files of old and new that differ, line by line. Either may be nil.
func Diff(old, new *Bundle) []FileDiff {
	var names []string
	for _, b := range []*Bundle{old, new} {
		if b == nil {
			continue
		}
		for _, f := range b.Files {
			names = append(names, f.Name)
		}
	}
	slices.Sort(names)
	var out []FileDiff
	for _, name := range slices.Compact(names) {
		a, before := old.File(name)
		b, after := new.File(name)
		if before == after && bytes.Equal(a, b) {
			continue
		}
		out = append(out, FileDiff{name, before, after, diffLines(diffable(a), diffable(b))})
	}
	return out
}

// WriteDiff prints differences in the unified form. Of a hash of a PIN it shows
// that it is another.
func WriteDiff(w io.Writer, files []FileDiff) error {
	out := bufio.NewWriter(w)
	for _, f := range files {
		from, to := f.Name, f.Name
		if !f.Before {
			from = "/dev/null"
		}
		if !f.After {
			to = "/dev/null"
		}
		fmt.Fprintf(out, "--- %s\n+++ %s\n", from, to)
		for i, l := range f.Lines {
			if l.Op == '@' {
				if i+1 < len(f.Lines) {
					fmt.Fprintf(out, "@@ -%d +%d @@\n", l.Old, l.New)
				}
				continue
			}
			fmt.Fprintf(out, "%c%s\n", l.Op, people.Masked(clean(l.Text)))
		}
	}
	return out.Flush()
}

// clean keeps a line from moving the cursor of a terminal.
func clean(s string) string {
	rs := []rune(s)
	for i, r := range rs {
		if unseen(r) {
			rs[i] = '·'
		}
	}
	return string(rs)
}

func diffable(data []byte) []string {
	if len(data) == 0 {
		return nil
	}
	if !utf8.Valid(data) {
		data = bytes.ToValidUTF8(data, []byte("\uFFFD"))
	}
	lines := splitLines(data)
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

func diffLines(a, b []string) []DiffLine {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	var all []DiffLine
	keep := func(i, j int) { all = append(all, DiffLine{' ', a[i], i + 1, j + 1}) }
	for i := range head {
		keep(i, i)
	}
	x, y := a[head:len(a)-tail], b[head:len(b)-tail]
	i, j := 0, 0
	drop := func() { all = append(all, DiffLine{'-', x[i], head + i + 1, 0}); i++ }
	add := func() { all = append(all, DiffLine{'+', y[j], 0, head + j + 1}); j++ }
	if len(x)*len(y) <= maxDiff && len(x) < maxDiff && len(y) < maxDiff {
		common := lcs(x, y)
		w := len(y) + 1
		for i < len(x) && j < len(y) {
			switch {
			case x[i] == y[j]:
				keep(head+i, head+j)
				i, j = i+1, j+1
			case common[(i+1)*w+j] >= common[i*w+j+1]:
				drop()
			default:
				add()
			}
		}
	}
	for i < len(x) {
		drop()
	}
	for j < len(y) {
		add()
	}
	for k := range tail {
		keep(len(a)-tail+k, len(b)-tail+k)
	}
	return trimDiff(all)
}

// lcs is the table of longest common subsequences of the ends of x and y.
func lcs(x, y []string) []int32 {
	w := len(y) + 1
	t := make([]int32, (len(x)+1)*w)
	for i := len(x) - 1; i >= 0; i-- {
		for j := len(y) - 1; j >= 0; j-- {
			if x[i] == y[j] {
				t[i*w+j] = t[(i+1)*w+j+1] + 1
			} else {
				t[i*w+j] = max(t[(i+1)*w+j], t[i*w+j+1])
			}
		}
	}
	return t
}

// trimDiff leaves out equal lines that are not near a change.
func trimDiff(all []DiffLine) []DiffLine {
	near := make([]bool, len(all))
	for i, l := range all {
		if l.Op == ' ' {
			continue
		}
		for k := max(0, i-diffAround); k <= min(len(all)-1, i+diffAround); k++ {
			near[k] = true
		}
	}
	var out []DiffLine
	gap := true
	for i, l := range all {
		if !near[i] {
			gap = true
			continue
		}
		if gap {
			oldAt, newAt := l.Old, l.New
			for k := i; k < len(all) && (oldAt == 0 || newAt == 0); k++ {
				oldAt, newAt = max(oldAt, all[k].Old), max(newAt, all[k].New)
			}
			out = append(out, DiffLine{Op: '@', Old: oldAt, New: newAt})
		}
		out, gap = append(out, l), false
	}
	return out
}

// DroppedRules are the names of old's rules that new has no longer, or only
// with less effect: an interlock that demands fewer outputs, or whose outputs
// are gone. They are sorted. old may be nil. NotApproved is none: it goes with what
// nobody had approved.
func DroppedRules(old, new *Plan) []string {
	if old == nil {
		return nil
	}
	alarms, locks := map[string]bool{}, map[string]rules.Interlock{}
	if new != nil {
		for _, a := range new.Rules.Alarms {
			alarms[a.Name] = true
		}
		for _, x := range new.Rules.Interlocks {
			locks[x.Name] = x
		}
	}
	var out []string
	for _, a := range old.Rules.Alarms {
		if !alarms[a.Name] && a.Name != NotApproved {
			out = append(out, a.Name)
		}
	}
	for _, x := range old.Rules.Interlocks {
		y, still := locks[x.Name]
		for _, d := range x.Demands {
			still = still && slices.ContainsFunc(y.Demands, func(z rules.Demand) bool { return z.Output == d.Output })
		}
		if !still {
			out = append(out, x.Name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
