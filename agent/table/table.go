// Package table reads a table as a spreadsheet saved it, and writes one that a
// spreadsheet shows as it stands.
//
// Read takes UTF-8 with or without a byte order mark, and GB18030, which holds
// GBK, as a Chinese Excel saves; lines that end in CR LF or LF; cells in quotes,
// also over several lines; a comma, a semicolon or a tab between cells,
// whichever makes the most of the head; and Excel's own first line "sep=;". Every
// cell knows its line and its number in the line. What is wrong comes as Faults,
// all of them, and the rest is still read.
//
// Write makes no cell that a spreadsheet would take for a formula, a date or
// another number: such a cell begins with an apostrophe, which Read takes off.
//
// Imports: nothing of ours.
package table

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"
)

// Limits of a table. At each of them a Fault says so; what is beyond is not read.
const (
	MaxBytes = 1 << 20 // of a file
	MaxRows  = 10000
	MaxCells = 512  // of a row
	MaxText  = 4000 // characters of a cell
)

// Cell is one cell. Line counts from 1 and is where the cell begins, Col is its
// number in its row, from 1.
type Cell struct {
	Text string
	Line int
	Col  int
}

// Table is what was read; a row has at least one cell.
type Table struct {
	Rows [][]Cell
	GBK  bool // it was not UTF-8
}

// Fault is one thing that is wrong with a file as a table.
type Fault struct {
	Code string // FaultUTF16 and so on
	Line int
	Col  int
}

// The codes of faults.
const (
	FaultBig      = "table-too-big"    // MaxBytes, MaxRows, MaxCells or MaxText
	FaultUTF16    = "table-utf16"      // nothing is read
	FaultEncoding = "table-encoding"   // neither UTF-8 nor GB18030; it is shown as U+FFFD
	FaultOpen     = "table-quote-open" // a quote without its end: the line is taken as it stands
	FaultQuote    = "table-quote"      // text behind the quote that ends a cell
)

const separators = ",;\t"

// Read reads a file. known says of the text of a cell whether it may stand in
// the head of the table; the separator that makes most of them is the table's,
// a comma where none makes more.
func Read(data []byte, known func(text string) bool) (Table, []Fault) {
	if len(data) > MaxBytes {
		return Table{}, []Fault{{FaultBig, 1, 1}}
	}
	if len(data) >= 2 && (data[0] == 0xff && data[1] == 0xfe || data[0] == 0xfe && data[1] == 0xff) {
		return Table{}, []Fault{{FaultUTF16, 1, 1}}
	}
	text := strings.TrimPrefix(string(data), bom)
	gbk := !utf8.ValidString(text)
	if gbk {
		text, _ = simplifiedchinese.GB18030.NewDecoder().String(text) // what is none is U+FFFD, and a fault below
	}
	first, rest, _ := strings.Cut(text, "\n")
	if sep, ok := strings.CutPrefix(strings.TrimSuffix(first, "\r"), "sep="); ok && len(sep) == 1 && strings.Contains(separators, sep) {
		p := &parser{text: rest, sep: sep[0], line: 2}
		p.run()
		return Table{p.rows, gbk}, p.faults
	}
	var best *parser
	most := -1
	for i := range len(separators) {
		p := &parser{text: text, sep: separators[i], line: 1}
		p.run()
		if n := p.most(known); n > most {
			best, most = p, n
		}
	}
	return Table{best.rows, gbk}, best.faults
}

const bom = "\uFEFF"

// A parser reads one text with one separator.
type parser struct {
	text   string
	sep    byte
	at     int // index in text
	line   int
	rows   [][]Cell
	faults []Fault
}

// most is how many known cells the best row has.
func (p *parser) most(known func(string) bool) int {
	most := 0
	for _, row := range p.rows {
		n := 0
		for _, c := range row {
			if known(c.Text) {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

func (p *parser) run() {
	for p.at < len(p.text) {
		if len(p.rows) == MaxRows {
			p.faults = append(p.faults, Fault{FaultBig, p.line, 1})
			return
		}
		p.rows = append(p.rows, p.row())
	}
}

// row takes one row with its line end.
func (p *parser) row() []Cell {
	var row []Cell
	for n := 1; ; n++ {
		c := Cell{Line: p.line, Col: n}
		c.Text = p.cell(n)
		switch {
		case n == MaxCells+1:
			p.faults = append(p.faults, Fault{FaultBig, c.Line, n})
		case n <= MaxCells:
			if strings.ContainsRune(c.Text, utf8.RuneError) {
				p.faults = append(p.faults, Fault{FaultEncoding, c.Line, n})
			}
			row = append(row, c)
		}
		if p.at == len(p.text) {
			return row
		}
		end := p.text[p.at]
		p.at++
		if end == '\n' {
			p.line++
			return row
		}
	}
}

// cell takes one cell and stops before what ends it.
func (p *parser) cell(n int) string {
	line := p.line
	if p.at < len(p.text) && p.text[p.at] == '"' {
		if text, ok := p.quoted(); ok {
			if tail := p.plain(); strings.TrimSpace(tail) != "" {
				p.faults = append(p.faults, Fault{FaultQuote, line, n})
				text += tail
			}
			return p.bounded(text, line, n)
		}
		p.faults = append(p.faults, Fault{FaultOpen, line, n})
	}
	return p.bounded(p.plain(), line, n)
}

// quoted takes a cell in quotes with its end; ok is false where there is none
// within MaxText, and then nothing is taken.
func (p *parser) quoted() (string, bool) {
	var b strings.Builder
	line := p.line
	for i, n := p.at+1, 0; i < len(p.text) && n <= MaxText; n++ {
		r, w := utf8.DecodeRuneInString(p.text[i:])
		switch {
		case r == '"' && strings.HasPrefix(p.text[i+1:], `"`):
			w = 2
		case r == '"':
			p.at, p.line = i+1, line
			return strings.ReplaceAll(b.String(), "\r\n", "\n"), true
		case r == '\n':
			line++
		}
		b.WriteRune(r)
		i += w
	}
	return "", false
}

// plain takes what stands up to the next separator or line end.
func (p *parser) plain() string {
	n := strings.IndexAny(p.text[p.at:], string(rune(p.sep))+"\n")
	if n < 0 {
		n = len(p.text) - p.at
	}
	s := p.text[p.at : p.at+n]
	p.at += n
	if p.at == len(p.text) || p.text[p.at] == '\n' {
		s = strings.TrimSuffix(s, "\r")
	}
	return s
}

// bounded takes the apostrophe off and holds the text to MaxText.
func (p *parser) bounded(s string, line, n int) string {
	s = strings.TrimPrefix(s, "'")
	if utf8.RuneCountInString(s) > MaxText {
		p.faults = append(p.faults, Fault{FaultBig, line, n})
		s = string([]rune(s)[:MaxText])
	}
	return s
}
