package config

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// Limits of what is read from one file. At each of them a problem says so and
// the rest of the file is not judged.
const (
	maxDepth  = 12  // sections within sections; the form needs 7
	maxSyntax = 12  // YAML's own errors that are got over in one file
	maxNotes  = 500 // problems of characters and of YAML that are kept of one file
)

// A node is one piece of a file: a text as it stands there, a section of keys
// and values, or a list. It has its place. Lost means that a problem with it
// was reported, so that no reader reports its consequences.
type node struct {
	kind   kind
	text   string
	quoted bool
	flow   bool
	lost   bool
	place  Place
	width  int // characters
	end    int // its last line
	pairs  []pair
	items  []*node
	whole  *node // of a piece: what it was cut from
	cell   bool  // its place is a cell's of a table: that of its pieces is the same
}

type kind uint8

const (
	scalar kind = iota
	section
	list
)

type pair struct{ key, val *node }

// A paper is a file as nodes.
type paper struct {
	sheet *sheet
	root  *node // a section, or nil
}

// readPaper turns a file into nodes, with every problem of its characters and
// its YAML. Nothing here knows what the fields mean.
func readPaper(name string, data []byte, report func(Problem)) *paper {
	count := 0
	note := func(p Place, width int, code, hint string, args ...any) {
		if count++; count <= maxNotes {
			report(Problem{Place: p, Width: max(width, 1), Code: code, Hint: hint, Args: makeArgs(args), Warn: code == "yaml-bom"})
		}
	}
	s := newSheet(name, data, note)
	p := &paper{sheet: s}
	for range maxSyntax {
		top, err := parse(s)
		if err == nil {
			p.root = p.convert(top, note)
			return p
		}
		if !s.giveUp(err, note) {
			return p
		}
	}
	return p
}

// parse hands the repaired text to the YAML library. A panic of the library is
// an error like another: the text may come from anyone.
func parse(s *sheet) (top *yaml.Node, err error) {
	defer func() {
		if v := recover(); v != nil {
			top, err = nil, errors.New("yaml library panicked")
		}
	}()
	var b strings.Builder
	for _, l := range s.fixed {
		for _, r := range l {
			b.WriteRune(r)
		}
		b.WriteByte('\n')
	}
	text := b.String()
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var doc yaml.Node
	if err := yaml.Load([]byte(text), &doc, yaml.WithUniqueKeys(false)); err != nil {
		return nil, err
	}
	if doc.Kind == yaml.DocumentNode && len(doc.Content) == 1 {
		return doc.Content[0], nil
	}
	return nil, nil
}

// syntax maps what the library says to our own words. Its English sentences
// are never shown; a sentence that is not known here is "yaml-broken".
var syntax = []struct {
	says, code string
	context    bool // the place is where the construct began
}{
	{"did not find expected ',' or '}'", "yaml-bracket-open", true},
	{"did not find expected ',' or ']'", "yaml-bracket-open", true},
	{"found unexpected end of stream", "yaml-quote-open", true},
	{"could not find expected ':'", "yaml-no-colon", true},
	{"mapping values are not allowed", "yaml-unexpected-colon", false},
	{"did not find expected key", "yaml-indent", false},
	{"did not find expected '-' indicator", "yaml-indent", false},
	{"block sequence entries are not allowed", "yaml-indent", false},
	{"mapping keys are not allowed", "yaml-indent", false},
	{"found character that cannot start any token", "yaml-character", false},
	{"did not find expected node content", "yaml-character", false},
	{"exceeded max depth", "yaml-deep", false},
}

// giveUp reports a syntax error and leaves its line out; false if that does
// not help.
func (s *sheet) giveUp(err error, note func(Place, int, string, string, ...any)) bool {
	var le *yaml.LoadError
	code, mark := "yaml-broken", yaml.Mark{}
	if errors.As(err, &le) {
		mark = le.Mark
		for _, x := range syntax {
			if strings.Contains(le.Message, x.says) {
				code = x.code
				if x.context && le.ContextMark.Line > 0 {
					mark = le.ContextMark
				}
				break
			}
		}
	}
	line := min(max(mark.Line, 1), len(s.fixed))
	col := max(mark.Column, 1)
	for line > 1 && len(s.fixed[line-1]) == 0 {
		line--
		col = len(s.fixed[line-1])
	}
	if len(s.fixed[line-1]) == 0 {
		note(Place{File: s.name, Line: line, Col: 1}, 1, code, hintOf(code))
		return false
	}
	at := s.place(line, min(col, len(s.fixed[line-1])))
	args := []any{}
	if code == "yaml-bracket-open" {
		open := "{"
		if strings.Contains(le.Message, "']'") {
			open = "["
		}
		args = []any{"open", open, "close", string(closer(rune(open[0])))}
	}
	note(at, 1, code, hintOf(code), args...)
	// The line goes; if it opens a section, so does what stands under it.
	head := s.fixed[line-1]
	depth := indentOf(head)
	s.drop(line)
	if head[len(head)-1] == ':' {
		for n := line + 1; n <= len(s.fixed) && (len(s.fixed[n-1]) == 0 || indentOf(s.fixed[n-1]) > depth); n++ {
			s.drop(n)
		}
	}
	return true
}

func (s *sheet) drop(line int) {
	if len(s.fixed[line-1]) > 0 {
		s.lost[line] = true
		s.fixed[line-1], s.added[line-1] = nil, nil
	}
}

func indentOf(rs []rune) int {
	n := 0
	for n < len(rs) && rs[n] == ' ' {
		n++
	}
	return n
}

func hintOf(code string) string {
	switch code {
	case "yaml-broken", "yaml-deep":
		return ""
	}
	return code
}

// convert makes a file's nodes. The top must be a section.
func (p *paper) convert(top *yaml.Node, note func(Place, int, string, string, ...any)) *node {
	if top == nil {
		if len(p.sheet.lost) == 0 {
			note(Place{File: p.sheet.name, Line: 1, Col: 1}, 1, "file-empty", "")
		}
		return nil
	}
	cv := &converter{p.sheet, note}
	n := cv.node(top, 0)
	if n.kind != section {
		if !n.lost && len(p.sheet.lost) == 0 {
			note(n.place, n.width, "file-no-sections", "file-no-sections")
		}
		return nil
	}
	return n
}

type converter struct {
	s    *sheet
	note func(Place, int, string, string, ...any)
}

func (cv *converter) node(y *yaml.Node, depth int) *node {
	n := &node{place: cv.s.place(max(y.Line, 1), max(y.Column, 1)), width: 1, end: y.Line}
	refuse := func(code string) {
		cv.note(n.place, n.width, code, hintOf(code), "text", y.Value)
		n.lost = true
	}
	if y.Anchor != "" {
		refuse("yaml-anchor")
	}
	if y.Style&yaml.TaggedStyle != 0 {
		refuse("yaml-tag")
	}
	if depth > maxDepth && y.Kind != yaml.ScalarNode {
		refuse("yaml-deep")
		return n
	}
	n.flow = y.Style&yaml.FlowStyle != 0
	switch y.Kind {
	case yaml.ScalarNode:
		cv.scalar(y, n, refuse)
	case yaml.MappingNode:
		n.kind = section
		cv.section(y, n, depth)
	case yaml.SequenceNode:
		n.kind = list
		for _, item := range y.Content {
			x := cv.node(item, depth+1)
			n.end = max(n.end, x.end)
			if x.kind == scalar && x.text == "" && !x.quoted && !x.lost {
				cv.note(x.place, 1, "yaml-no-value", "yaml-no-value", "key", "-")
				x.lost = true
			}
			n.items = append(n.items, x)
		}
	default:
		refuse("yaml-alias")
	}
	return n
}

// scalar takes a text as it stands in the file. What the library hands over
// for a text without quotes is compared with the line: a difference means
// that the text went over several lines.
func (cv *converter) scalar(y *yaml.Node, n *node, refuse func(string)) {
	n.text = y.Value
	n.quoted = y.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0
	n.width = max(utf8.RuneCountInString(y.Value), 1)
	switch {
	case strings.ContainsRune(y.Value, lostMark):
		n.lost = true
	case strings.ContainsRune(y.Value, '\uFFFD'):
		n.lost = true // the encoding was reported
	case y.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		refuse("yaml-block-text")
	case n.quoted:
		n.width += 2
		if strings.ContainsAny(y.Value, "\n\r\t") {
			refuse("yaml-many-lines")
		}
	case y.Line >= 1 && y.Line <= len(cv.s.fixed) && y.Value != "":
		line := cv.s.fixed[y.Line-1]
		want := []rune(y.Value)
		if from := y.Column - 1; from < 0 || from+len(want) > len(line) || !slices.Equal(line[from:from+len(want)], want) {
			n.width = max(len(line)-max(from, 0), 1)
			refuse("yaml-many-lines")
		}
	}
}

func (cv *converter) section(y *yaml.Node, n *node, depth int) {
	first := map[string]*node{}
	for i := 0; i+1 < len(y.Content); i += 2 {
		k := cv.node(y.Content[i], depth+1)
		v := cv.node(y.Content[i+1], depth+1)
		n.end = max(n.end, k.end, v.end)
		switch {
		case k.kind != scalar:
			cv.note(k.place, 1, "yaml-key", "")
			continue
		case k.text == "<<" && !k.quoted:
			cv.note(k.place, 2, "yaml-merge", "yaml-merge")
			continue
		case k.lost:
			continue
		}
		if v.kind == scalar && v.text == "" && !v.quoted && !v.lost {
			if n.flow && i > 0 && y.Content[i+1].Line == y.Content[i].Line && !isWord([]rune(k.text)) {
				cv.note(k.place, k.width, "yaml-comma", "yaml-comma", "text", k.text)
				continue
			}
			cv.note(k.place, k.width, "yaml-no-value", "yaml-no-value", "key", k.text)
			v.lost = true
		}
		if before, twice := first[k.text]; twice {
			cv.note(k.place, k.width, "duplicate-key", "", "key", k.text, "line", before.place.Line)
			continue
		}
		first[k.text] = k
		n.pairs = append(n.pairs, pair{k, v})
	}
}

// get returns the value of a key of a section, or nil.
func (n *node) get(key string) *node {
	if n == nil || n.kind != section {
		return nil
	}
	for _, p := range n.pairs {
		if p.key.text == key {
			return p.val
		}
	}
	return nil
}

// pair returns an entry of a section, or nil.
func (n *node) pair(key string) *pair {
	if n == nil || n.kind != section {
		return nil
	}
	for i := range n.pairs {
		if n.pairs[i].key.text == key {
			return &n.pairs[i]
		}
	}
	return nil
}

// piece returns the characters from byte i to byte j of a text as a node of
// their own, with their place.
func (n *node) piece(i, j int) *node {
	from := utf8.RuneCountInString(n.text[:i])
	x := &node{text: n.text[i:j], quoted: n.quoted, lost: n.lost, place: n.place, end: n.end, whole: n, cell: n.cell}
	x.width = max(utf8.RuneCountInString(x.text), 1)
	if n.cell {
		return x
	}
	x.place.Col += from
	if n.quoted {
		x.place.Col++
	}
	return x
}
