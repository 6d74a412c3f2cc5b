package config

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"davy/agent/i18n"
	"davy/agent/people"
)

// MaxProblems is how many problems are written; of the others their number.
const MaxProblems = 200

// OK reports whether nothing among p keeps a plan from being made.
func (p Problems) OK() bool {
	return !slices.ContainsFunc(p, func(x Problem) bool { return !x.Warn })
}

// Counts returns how many are errors and how many are warnings.
func (p Problems) Counts() (errors, warnings int) {
	for _, x := range p {
		if x.Warn {
			warnings++
		} else {
			errors++
		}
	}
	return errors, warnings
}

// Join returns the problems of p and q together, sorted, each once.
func (p Problems) Join(q Problems) Problems {
	all := append(slices.Clone(p), q...)
	all.tidy()
	return all
}

// tidy sorts by place and drops what is said twice of one place.
func (p *Problems) tidy() {
	slices.SortStableFunc(*p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(fileOrder(a.Place.File), fileOrder(b.Place.File)), cmp.Compare(a.Place.File, b.Place.File),
			cmp.Compare(a.Place.Line, b.Place.Line), cmp.Compare(a.Place.Col, b.Place.Col), cmp.Compare(a.Code, b.Code))
	})
	*p = slices.CompactFunc(*p, func(a, b Problem) bool {
		return a.Place == b.Place && a.Code == b.Code && fmt.Sprint(a.Args) == fmt.Sprint(b.Args)
	})
}

func fileOrder(name string) int {
	switch name {
	case SiteFile:
		return 0
	case RulesFile:
		return 1
	}
	return 2
}

// Text returns what is wrong, in words.
func (p Problem) Text(l i18n.Lang) string { return noUser(l.Text("problem."+p.Code, p.Args)) }

// Remedy returns the hint in words, "" where there is none.
func (p Problem) Remedy(l i18n.Lang) string {
	if p.Hint == "" {
		return ""
	}
	return l.Text("hint."+p.Hint, p.Args)
}

// Write prints the problems for a person: the place, the words, the line and
// a caret with the remedy, at most MaxProblems of them. b gives the lines; it
// may be nil.
func (p Problems) Write(w io.Writer, lang i18n.Lang, b *Bundle) error {
	out := bufio.NewWriter(w)
	files := map[string][]string{}
	for i, x := range p {
		if i == MaxProblems {
			fmt.Fprintln(out, lang.Text("config.and-more", i18n.Args{"n": len(p) - i}))
			break
		}
		x.write(out, lang, b, files)
	}
	return out.Flush()
}

func (p Problem) write(w io.Writer, lang i18n.Lang, b *Bundle, files map[string][]string) {
	text := p.Text(lang)
	if p.Warn {
		text = lang.Text("config.warning", i18n.Args{"text": text})
	}
	remedy := p.Remedy(lang)
	switch {
	case p.Place.File == "":
		fmt.Fprintln(w, text)
	case p.Place.Line == 0:
		fmt.Fprintf(w, "%s: %s\n", p.Place.File, text)
	default:
		fmt.Fprintf(w, "%s:%d:%d: %s\n", p.Place.File, p.Place.Line, p.Place.Col, text)
	}
	line, ok := lineOf(b, files, p.Place)
	switch line = unspoken(people.Masked(line)); {
	case p.Code == badPINHash || p.Code == badPINCost || p.Code == badLogin:
		line = hidden(line, p.Place.Col)
	case p.private:
		line = personLine(line)
	}
	if !ok {
		if remedy != "" {
			fmt.Fprintf(w, "      %s\n", remedy)
		}
		return
	}
	shown, pad, width := layOut(line, p.Place.Col, p.Width)
	fmt.Fprintf(w, "%5d | %s\n", p.Place.Line, shown)
	caret := strings.Repeat(" ", pad) + strings.Repeat("^", width)
	if remedy != "" {
		caret += " " + remedy
	}
	fmt.Fprintf(w, "      | %s\n", caret)
}

// personLine hides what of a line of the persons' file may be a PIN that somebody
// wrote in plain, at a field of whatever name: what stands behind its first
// key, but for names and roles.
func personLine(line string) string {
	key, _, is := strings.Cut(line, ":")
	switch strings.TrimSpace(key) {
	case "name", "roles":
		return line
	}
	if !is {
		return hidden(line, 1)
	}
	return hidden(line, utf8.RuneCountInString(key)+2)
}

// hidden returns a line with everything from a column on hidden, as wide.
func hidden(line string, col int) string {
	rs := []rune(line)
	for i := max(col-1, 0); i < len(rs); i++ {
		rs[i] = '*'
	}
	return string(rs)
}

func lineOf(b *Bundle, files map[string][]string, p Place) (string, bool) {
	if p.Line == 0 {
		return "", false
	}
	lines, have := files[p.File]
	if !have {
		if data, ok := b.File(p.File); ok {
			lines = splitLines((&sheet{note: func(Place, int, string, string, ...any) {}}).decode(data))
		}
		files[p.File] = lines
	}
	if p.Line > len(lines) {
		return "", false
	}
	return lines[p.Line-1], true
}

// shownWidth is how much of a long line is shown, in columns of the terminal.
const shownWidth = 160

// layOut returns a line as it is shown (tabs and control characters made
// visible as one blank each), the columns before the caret and its width:
// East Asian wide characters take two.
func layOut(line string, col, width int) (shown string, pad, caret int) {
	rs := []rune(strings.ToValidUTF8(line, "\uFFFD"))
	for i, r := range rs {
		if r < ' ' || r == 0x7f || r == '\uFEFF' || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			rs[i] = ' '
		}
	}
	from := min(max(col-1, 0), len(rs))
	to := min(from+max(width, 1), len(rs))
	start := 0
	if cells(rs) > shownWidth && from > shownWidth/2 {
		start = from - shownWidth/4
	}
	end := len(rs)
	for end > start && cells(rs[start:end]) > shownWidth {
		end = start + (end-start)*9/10
	}
	to = min(to, max(end, from))
	return string(rs[start:end]), cells(rs[start:from]), max(cells(rs[from:to]), 1)
}

func cells(rs []rune) int {
	n := 0
	for _, r := range rs {
		n += runeCells(r)
	}
	return n
}

// runeCells is how many columns a terminal gives a character. Source: Unicode
// Standard Annex #11, the blocks whose characters are wide or full-width.
func runeCells(r rune) int {
	switch {
	case r >= 0x300 && r <= 0x36f, r >= 0x200b && r <= 0x200f, r >= 0xfe00 && r <= 0xfe0f:
		return 0
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0x303e, r >= 0x3041 && r <= 0xa4cf,
		r >= 0xa960 && r <= 0xa97f, r >= 0xac00 && r <= 0xd7a3, r >= 0xf900 && r <= 0xfaff,
		r >= 0xfe30 && r <= 0xfe6f, r >= 0xff00 && r <= 0xff60, r >= 0xffe0 && r <= 0xffe6,
		r >= 0x1f300 && r <= 0x1f64f, r >= 0x1f900 && r <= 0x1f9ff, r >= 0x20000 && r <= 0x3fffd:
		return 2
	}
	return 1
}

// WriteJSON prints the problems for a program: an array of objects with code,
// file, line, column, text, hint and whether it is a warning.
func (p Problems) WriteJSON(w io.Writer, lang i18n.Lang) error {
	type problem struct {
		Code    string `json:"code"`
		File    string `json:"file,omitempty"`
		Line    int    `json:"line,omitempty"`
		Col     int    `json:"col,omitempty"`
		Text    string `json:"text"`
		Hint    string `json:"hint,omitempty"`
		Warning bool   `json:"warning,omitempty"`
	}
	list := make([]problem, 0, len(p))
	for _, x := range p {
		list = append(list, problem{x.Code, x.Place.File, x.Place.Line, x.Place.Col, x.Text(lang), x.Remedy(lang), x.Warn})
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(list)
}

// String prints a place as people write it: "site.yaml:14:5".
func (p Place) String() string {
	switch {
	case p.File == "":
		return "-"
	case p.Line == 0:
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// makeArgs pairs names with values; a value that came from a file is shortened.
func makeArgs(pairs []any) i18n.Args {
	if len(pairs)%2 != 0 {
		panic("BUG: config: odd number of arguments")
	}
	args := i18n.Args{}
	for i := 0; i < len(pairs); i += 2 {
		v := pairs[i+1]
		if s, ok := v.(string); ok {
			v = clip(s)
		}
		args[pairs[i].(string)] = v
	}
	return args
}

// listing is a list of our own words: it is shown whole.
type listing string

// clip makes a text from a file fit to be shown within a sentence.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if utf8.RuneCountInString(s) > 60 {
		s = string([]rune(s)[:60]) + "…"
	}
	return s
}
