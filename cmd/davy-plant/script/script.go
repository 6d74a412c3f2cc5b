// Package script reads what is to happen to the plant: commands, one a line,
// in a script with their time before them ("at 12s leak start 40"), on the
// control line without.
//
// It promises to report every mistake of a script in one go, each with its
// line, its cause and its remedy, and to carry nothing out. What a command
// means is the business of cmd/davy-plant/bench.
//
// Imports: agent/i18n.
package script

import (
	"bufio"
	"cmp"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"davy/agent/i18n"
)

// Limits: a longer line (bytes) or script (commands) is a problem.
const (
	MaxLine  = 1000
	MaxLines = 10000
	MaxTime  = 31 * 24 * time.Hour
)

// Command is one parsed command. Form is its entry in Forms, which says what
// of the rest is set.
type Command struct {
	Form     string // "leak start RATE"
	Source   string // as it was written, spaces tidied
	Unit     string
	Tag      string
	Table    string
	Number   float64
	Address  int
	Code     int
	Node     string
	Status   uint32
	Duration time.Duration
	Text     string
}

// Line is a command with its time from the start of the plant.
type Line struct {
	Line int
	At   time.Duration
	Do   Command
}

// Names are what the commands may name.
type Names struct {
	Units []string
	Tags  []string
	Nodes []string // of the OPC UA server
}

// Forms are all commands. Words in capitals stand for what people put there.
var Forms = []string{
	"leak start RATE",
	"leak stop",
	"dead UNIT",
	"mute UNIT",
	"alive UNIT",
	"late UNIT DURATION",
	"late UNIT off",
	"freeze UNIT",
	"thaw UNIT",
	"wrong-function UNIT",
	"wrong-function UNIT off",
	"short UNIT",
	"short UNIT off",
	"long UNIT",
	"long UNIT off",
	"garbled UNIT",
	"garbled UNIT off",
	"duplicate UNIT",
	"duplicate UNIT off",
	"split UNIT",
	"split UNIT off",
	"wrong-station UNIT",
	"wrong-station UNIT off",
	"reset UNIT",
	"reset UNIT off",
	"half-open UNIT",
	"half-open UNIT off",
	"exception UNIT TABLE ADDRESS CODE",
	"exception UNIT off",
	"condition UNIT normal",
	"condition UNIT warm-up",
	"condition UNIT fault",
	"power UNIT off",
	"power UNIT on",
	"connection reset",
	"connection refuse",
	"connection refuse DURATION",
	"connection accept",
	"connection never-speaks",
	"connection speaks",
	"line drop EVERY",
	"line garble EVERY",
	"line duplicate EVERY",
	"line noise EVERY",
	"line delay DURATION",
	"line echo",
	"line sound",
	"line unplug",
	"line plug",
	"opcua status NODE STATUS",
	"opcua freeze",
	"opcua freeze off",
	"opcua silent",
	"opcua silent off",
	"opcua hang",
	"opcua hang off",
	"opcua overflow",
	"opcua overflow off",
	"opcua blip",
	"opcua refuse",
	"opcua refuse DURATION",
	"opcua accept",
	"opcua restart",
	"hold TAG NUMBER",
	"release TAG",
	"release all",
	"step NUMBER",
	"step off",
	"compressor start",
	"compressor stop",
	"compressor trip",
	"compressor reset",
	"load NUMBER",
	"load auto",
	"fill RATE",
	"fan jam",
	"fan free",
	"clear",
	"mark TEXT",
	"state",
	"help",
}

// Problem is one mistake, for a person.
type Problem struct {
	Line int    // 0: the control line
	Code string // words under "davy-plant.problem.<Code>"
	Args i18n.Args
	Hint string // words under "davy-plant.hint.<Hint>"
}

// In returns cause and remedy in l, one line each.
func (p Problem) In(l i18n.Lang) (cause, remedy string) {
	cause = l.Text("davy-plant.problem."+p.Code, p.Args)
	if p.Line > 0 {
		cause = l.Text("davy-plant.problem.at-line", i18n.Args{"line": p.Line, "cause": cause})
	}
	return cause, l.Text("davy-plant.hint."+p.Hint, p.Args)
}

func (p Problem) Error() string { c, r := p.In(i18n.En); return c + "; " + r }

// Parse reads a script. Lines that are empty or begin with # are skipped. The
// lines come back in the order of their times, those of one time as written.
func Parse(r io.Reader, names Names) ([]Line, []Problem) {
	var lines []Line
	var problems []Problem
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, 256), MaxLine)
	n := 0
	for sc.Scan() {
		n++
		text := strings.TrimSpace(strings.TrimPrefix(sc.Text(), "\ufeff"))
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		if len(lines) == MaxLines {
			return lines, append(problems, Problem{Line: n, Code: "too-many", Args: i18n.Args{"max": MaxLines}, Hint: "split"})
		}
		f := strings.Fields(text)
		if f[0] != "at" || len(f) < 3 {
			problems = append(problems, Problem{Line: n, Code: "no-time", Args: i18n.Args{"text": text}, Hint: "time-first"})
			continue
		}
		at, err := time.ParseDuration(f[1])
		if err != nil || at < 0 || at > MaxTime {
			problems = append(problems, Problem{Line: n, Code: "bad-time", Args: i18n.Args{"word": f[1]}, Hint: "duration"})
			continue
		}
		c, p := ParseCommand(strings.Join(f[2:], " "), names)
		if p != nil {
			p.Line = n
			problems = append(problems, *p)
			continue
		}
		lines = append(lines, Line{n, at, c})
	}
	if err := sc.Err(); err != nil {
		problems = append(problems, Problem{Line: n + 1, Code: "unreadable", Args: i18n.Args{"cause": err.Error(), "max": MaxLine}, Hint: "line-length"})
	}
	slices.SortStableFunc(lines, func(a, b Line) int { return cmp.Compare(a.At, b.At) })
	return lines, problems
}

// ParseCommand reads one command without a time.
func ParseCommand(text string, names Names) (Command, *Problem) {
	f := strings.Fields(text)
	if len(f) == 0 {
		return Command{}, &Problem{Code: "empty", Hint: "help"}
	}
	if len(text) > MaxLine {
		return Command{}, &Problem{Code: "too-long", Args: i18n.Args{"length": len(text), "max": MaxLine}, Hint: "line-length"}
	}
	var best *Problem
	reached := -1
	var verbs, forms []string
	for _, form := range Forms {
		w := strings.Fields(form)
		if !slices.Contains(verbs, w[0]) {
			verbs = append(verbs, w[0])
		}
		if w[0] != f[0] {
			continue
		}
		forms = append(forms, form)
		c, n, p := match(w, f, names)
		if p == nil {
			c.Form, c.Source = form, strings.Join(f, " ")
			return c, nil
		}
		if n > reached {
			best, reached = p, n
		}
	}
	if best == nil {
		return Command{}, &Problem{Code: "unknown-command", Args: i18n.Args{"word": f[0], "near": near(f[0], verbs)}, Hint: "near"}
	}
	best.Args["forms"] = strings.Join(forms, " | ")
	return Command{}, best
}

// match fits words to a form; on failure it says how many words fitted and why the next did not.
func match(form, f []string, names Names) (c Command, n int, p *Problem) {
	bad := func(code, hint string) (Command, int, *Problem) {
		word := ""
		if n < len(f) {
			word = f[n]
		}
		return c, n, &Problem{Code: code, Args: i18n.Args{"word": word, "want": strings.Join(form, " ")}, Hint: hint}
	}
	for n = 1; n < len(form); n++ {
		if n >= len(f) {
			return bad("missing", "form")
		}
		word, ok := f[n], true
		switch form[n] {
		case "UNIT":
			c.Unit = word
			if !slices.Contains(names.Units, word) {
				_, _, p := bad("unknown-unit", "near")
				p.Args["near"] = strings.Join(names.Units, ", ")
				return c, n, p
			}
		case "TAG":
			c.Tag = word
			if !slices.Contains(names.Tags, word) && word != "all" {
				_, _, p := bad("unknown-tag", "near")
				p.Args["near"] = near(word, names.Tags)
				return c, n, p
			}
			ok = word != "all"
		case "NODE":
			c.Node = word
			if !slices.Contains(names.Nodes, word) {
				_, _, p := bad("unknown-node", "near")
				p.Args["near"] = near(word, names.Nodes)
				return c, n, p
			}
		case "STATUS":
			c.Status, ok = status(word)
		case "EVERY":
			var a uint64
			a, ok = number(word, 65535)
			c.Number, ok = float64(a), ok && a > 0
		case "TABLE":
			c.Table = word
			ok = slices.Contains([]string{"coil", "discrete", "input", "holding"}, word)
		case "ADDRESS":
			var a uint64
			a, ok = number(word, 65535)
			c.Address = int(a)
		case "CODE":
			var a uint64
			a, ok = number(word, 11)
			c.Code, ok = int(a), ok && a > 0
		case "RATE", "NUMBER":
			v, err := strconv.ParseFloat(word, 64)
			ok = err == nil && v >= -10000 && v <= 10000
			c.Number = v
			if form[n] == "RATE" && form[0] == "leak" {
				ok = ok && v >= 0
			}
		case "DURATION":
			d, err := time.ParseDuration(word)
			if ok = err == nil && d > 0 && d <= time.Hour; !ok && word != "off" {
				return bad("bad-time", "duration")
			}
			c.Duration = d
		case "TEXT":
			c.Text = strings.Join(f[n:], " ")
			return c, len(f), nil
		default:
			ok = word == form[n]
		}
		if !ok {
			return bad("not-here", "form")
		}
	}
	if len(f) > n {
		return bad("too-much", "form")
	}
	return c, n, nil
}

// status reads an OPC UA status code: "good", "uncertain", "bad", or its number.
func status(s string) (uint32, bool) {
	switch s {
	case "good":
		return 0, true
	case "uncertain":
		return 0x40000000, true
	case "bad":
		return 0x80000000, true
	}
	v, err := strconv.ParseUint(s, 0, 32)
	return uint32(v), err == nil
}

func number(s string, limit uint64) (uint64, bool) {
	v, err := strconv.ParseUint(s, 10, 32)
	return v, err == nil && v <= limit
}

// near returns the word of all that is closest to s.
func near(s string, all []string) string {
	best, least := "", 1<<30
	for _, w := range all {
		if d := distance(s, w); d < least {
			best, least = w, d
		}
	}
	return best
}

// distance is the number of single-letter changes between a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost++
			}
			diag = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
