package config

import (
	"slices"
	"strings"
)

// A sheet is one file with its characters judged before YAML sees them. What
// YAML would misread or stumble over is named here and repaired in fixed, so
// that one slip hides no other; a file with a problem never becomes a plan.
type sheet struct {
	name  string
	lines []string      // as in the file, without line ends
	fixed [][]rune      // what the YAML library is given, without comments
	added map[int][]int // by line (from 0): indices in fixed that are not in the file
	lost  map[int]bool  // lines (from 1) that had to be left out
	note  func(p Place, width int, code, hint string, args ...any)

	flow  []bracket // open { and [ at the present place
	block int       // indent of a refused block text that is being skipped; -1 none
	docs  bool      // something stood before: a further --- is a second document
}

type bracket struct {
	open   rune
	at     Place
	indent int
}

// maxLine is the most characters of one line; a longer one is left out.
const maxLine = 2000

// lostMark stands for a value that had to be left out and was reported.
const lostMark = '\uE000'

func newSheet(name string, data []byte, note func(p Place, width int, code, hint string, args ...any)) *sheet {
	s := &sheet{name: name, added: map[int][]int{}, lost: map[int]bool{}, note: note, block: -1}
	s.lines = splitLines(s.decode(data))
	s.fixed = make([][]rune, len(s.lines))
	for i, l := range s.lines {
		s.scan(i, []rune(l))
	}
	s.closeFlow(len(s.lines), -1)
	return s
}

// A row is one line while it is scanned.
type row struct {
	s      *sheet
	no     int // from 0
	in     []rune
	k      int // next character of in
	out    []rune
	added  []int
	indent int
	fresh  bool // a new token may begin here
	key    bool // and it may be a key
	start  int  // index in in where the present token began
}

func (r *row) at(k int) Place { return Place{r.s.name, r.no + 1, k + 1} }

func (r *row) bad(k, width int, code, hint string, args ...any) {
	r.s.note(r.at(k), width, code, hint, args...)
}

func (r *row) put(c ...rune) { r.out = append(r.out, c...) }

func (r *row) add(c rune) {
	r.added = append(r.added, len(r.out))
	r.out = append(r.out, c)
}

// harmless puts what stands between single quotes; one among it would end them.
func (r *row) harmless(text []rune) {
	for _, x := range text {
		if x == '\'' {
			x = '_'
		}
		r.put(x)
	}
}

func (r *row) next(k int) rune {
	if k < len(r.in) {
		return r.in[k]
	}
	return ' '
}

func (s *sheet) scan(no int, in []rune) {
	r := &row{s: s, no: no, in: in, fresh: true, key: true}
	defer func() {
		s.fixed[no] = []rune(strings.TrimRight(string(r.out), " "))
		if len(r.added) > 0 {
			s.added[no] = r.added
		}
	}()
	if len(in) > maxLine {
		r.bad(maxLine, 1, "yaml-long-line", "", "limit", maxLine)
		s.lost[no+1] = true
		return
	}
	if blank := r.lead(); blank {
		return
	}
	if s.block >= 0 {
		if r.indent > s.block {
			r.out = nil
			return
		}
		s.block = -1
	}
	if len(s.flow) > 0 && r.indent <= s.flow[0].indent && !strings.ContainsRune("}]｝］,", in[r.k]) {
		s.closeFlow(no, r.indent)
	}
	if len(s.flow) > 0 {
		r.key = s.flow[len(s.flow)-1].open == '{'
	} else if r.whole() {
		return
	}
	s.docs = true
	for r.k < len(in) && r.step() {
	}
}

// lead takes the blanks that a line begins with and reports whether nothing
// but a comment follows.
func (r *row) lead() bool {
	told := false
	rest := strings.TrimLeft(string(r.in), " \t\u3000\u00a0")
	if rest == "" || rest[0] == '#' {
		return true
	}
	for ; r.k < len(r.in); r.k++ {
		switch c := r.in[r.k]; c {
		case ' ':
			r.put(' ')
			continue
		case '\t':
			if !told {
				r.bad(r.k, 1, "yaml-tab", "yaml-tab")
			}
		case '\u3000', '\u00a0':
			if !told {
				r.bad(r.k, 1, "yaml-odd-blank", "yaml-odd-blank")
			}
			if c == '\u00a0' {
				told = true
				r.put(' ')
				continue
			}
		default:
			r.indent = len(r.out)
			r.start = r.k
			return false
		}
		told = true
		r.put(' ')
		r.add(' ')
	}
	return true
}

// whole handles lines that are not content: document marks and directives.
func (r *row) whole() bool {
	text := strings.TrimRight(string(r.in), " \t")
	switch {
	case text == "---" || text == "..." || strings.HasPrefix(text, "--- "):
		if r.s.docs || text != "---" {
			r.bad(0, 3, "yaml-many-documents", "yaml-many-documents")
		}
		r.out = nil
		return true
	case r.indent == 0 && r.in[0] == '%':
		r.bad(0, 1, "yaml-directive", "")
		r.out = nil
		return true
	}
	return false
}

// closeFlow names the brackets that are open where they cannot be any more
// and closes them at the end of the line before.
func (s *sheet) closeFlow(no, indent int) {
	for len(s.flow) > 0 && (indent < 0 || indent <= s.flow[0].indent) {
		top := s.flow[len(s.flow)-1]
		s.flow = s.flow[:len(s.flow)-1]
		s.unclosed(top)
		last := no - 1
		for last > top.at.Line-1 && len(s.fixed[last]) == 0 {
			last--
		}
		s.added[last] = append(s.added[last], len(s.fixed[last]))
		s.fixed[last] = append(s.fixed[last], closer(top.open))
	}
}

func closer(open rune) rune {
	if open == '{' {
		return '}'
	}
	return ']'
}

// step takes one character or one whole token; false ends the line.
func (r *row) step() bool {
	c := r.in[r.k]
	if unseen(c) {
		r.bad(r.k, 1, "yaml-control", "", "code", hexRune(c))
		r.put('_')
		r.k++
		return true
	}
	switch c {
	case ' ', '\t', '\u00a0', '\u3000':
		return r.blank(c)
	case '#':
		if r.k == 0 || r.in[r.k-1] == ' ' || r.in[r.k-1] == '\t' {
			next := r.next(r.k + 1)
			if r.fresh || next == ' ' || next == '\t' || next == '#' || next == '-' || next == '=' {
				return false // a comment
			}
			r.bad(r.k, 1, "yaml-hash", "yaml-hash")
			c = lostMark // what was meant is not known
		}
	}
	if r.fresh {
		r.start = r.k
		if r.open(c) {
			return true
		}
		r.fresh = false
	}
	r.inside(c)
	return true
}

func (r *row) blank(c rune) bool {
	switch {
	case c == '\t':
		if strings.TrimLeft(string(r.in[r.k:]), " \t") == "" {
			return false
		}
		if rest := strings.TrimLeft(string(r.in[r.k:]), " \t"); rest[0] == '#' {
			return false
		}
		r.bad(r.k, 1, "yaml-tab", "yaml-tab")
		r.put(' ')
	case c != ' ' && r.fresh:
		r.bad(r.k, 1, "yaml-odd-blank", "yaml-odd-blank")
		r.put(' ')
	default:
		r.put(c)
	}
	r.k++
	return true
}

// open handles a character that a token begins with; true if it was taken.
func (r *row) open(c rune) bool {
	next := r.next(r.k + 1)
	solid := next != ' ' && next != '\t'
	switch c {
	case '"', '\'':
		r.quoted(c)
	case '“', '”', '‘', '’', '＂', '＇', '「', '『':
		return r.wideQuote(c)
	case '{', '[', '｛', '［', '【':
		ascii := c
		if c > 0x7f {
			ascii = map[rune]rune{'｛': '{', '［': '[', '【': '['}[c]
			r.wide(c, string(ascii))
		}
		r.s.flow = append(r.s.flow, bracket{ascii, r.at(r.k), r.indent})
		r.put(ascii)
		r.k++
		r.key = ascii == '{'
	case '-', '－', '—', '–', '•':
		if len(r.s.flow) > 0 || solid || !r.key {
			return false
		}
		if c != '-' {
			r.wide(c, "-")
		}
		r.put('-')
		r.k++
	case '?':
		if solid {
			return false
		}
		r.bad(r.k, 1, "yaml-key", "")
		r.put(' ')
		r.k++
	case '&', '*', '!':
		if !solid {
			return false
		}
		if c == '!' && next == '=' {
			r.requote(c)
			break
		}
		r.sigil(c)
	case '%', '@', '`':
		r.requote(c)
	case '>', '|':
		r.blockText(c)
	default:
		return false
	}
	return true
}

// quoted takes a text in quotes up to its end, which must be on this line.
func (r *row) quoted(q rune) {
	for j := r.k + 1; j < len(r.in); j++ {
		switch {
		case q == '"' && r.in[j] == '\\':
			j++
		case r.in[j] == q && q == '\'' && r.next(j+1) == '\'':
			j++
		case r.in[j] == q:
			r.visible(r.in[r.k : j+1])
			r.k = j + 1
			r.fresh = false
			return
		}
	}
	r.bad(r.k, 1, "yaml-quote-open", "yaml-quote-open")
	r.put('\'')
	for _, c := range strings.TrimRight(string(r.in[r.k+1:]), " \t") {
		if c == '\'' {
			c = '_'
		}
		r.put(c)
	}
	r.add('\'')
	r.k = len(r.in)
}

// visible puts text whose characters are taken as they are, but for those
// that nobody can see.
func (r *row) visible(text []rune) {
	for i, c := range text {
		if unseen(c) {
			r.bad(r.k+i, 1, "yaml-control", "", "code", hexRune(c))
			c = '_'
		}
		r.put(c)
	}
}

func (r *row) wide(c rune, want string) {
	r.bad(r.k, 1, "yaml-full-width", "yaml-full-width", "found", string(c), "want", want)
}

// wideQuote handles a value in typographic quotes: only where they enclose
// all of it; a Chinese text may well begin with one.
func (r *row) wideQuote(c rune) bool {
	end := r.tokenEnd()
	last := r.in[end-1]
	if end-r.k < 2 || !strings.ContainsRune("”’“‘＂＇」』", last) || strings.ContainsRune(string(r.in[r.k+1:end-1]), last) {
		return false
	}
	r.wide(c, "\"")
	r.put('\'')
	r.harmless(r.in[r.k+1 : end-1])
	r.put('\'')
	r.k = end
	r.fresh = false
	return true
}

// tokenEnd is where a plain value that begins at k ends on this line.
func (r *row) tokenEnd() int {
	end := r.k
	for j := r.k; j < len(r.in); j++ {
		c := r.in[j]
		if len(r.s.flow) > 0 && strings.ContainsRune(",}]", c) || c == '#' && j > r.k && (r.in[j-1] == ' ' || r.in[j-1] == '\t') {
			break
		}
		if c == ':' && (r.next(j+1) == ' ') && r.key {
			break
		}
		if c != ' ' && c != '\t' {
			end = j + 1
		}
	}
	return max(end, r.k+1)
}

// requote names a value that YAML cannot read without quotes and puts them.
func (r *row) requote(c rune) {
	end := r.tokenEnd()
	text := string(r.in[r.k:end])
	r.bad(r.k, end-r.k, "yaml-needs-quotes", "yaml-needs-quotes", "text", text, "char", string(c))
	r.add('\'')
	r.harmless(r.in[r.k:end])
	r.add('\'')
	r.k = end
	r.fresh = false
}

// sigil names an anchor, an alias or a tag and takes it out.
func (r *row) sigil(c rune) {
	j := r.k
	for j < len(r.in) && !strings.ContainsRune(" \t,]}", r.in[j]) {
		j++
	}
	code := map[rune]string{'&': "yaml-anchor", '*': "yaml-alias", '!': "yaml-tag"}[c]
	r.bad(r.k, j-r.k, code, code, "text", string(r.in[r.k:j]))
	rest := strings.TrimLeft(string(r.in[j:]), " \t")
	value := rest != "" && rest[0] != '#' && !strings.ContainsRune(",]}", rune(rest[0]))
	for i := r.k; i < j; i++ {
		switch {
		case value && c != '*':
			r.put(' ')
		case i == r.k:
			r.put(lostMark)
		default:
			r.put('_')
		}
	}
	r.k = j
	r.fresh = value && c != '*'
	if !value && c == '&' && len(r.s.flow) == 0 { // an anchor before a nested section
		r.out = r.out[:len(r.out)-(j-r.start)]
		r.fresh = true
	}
}

// blockText refuses a text over several lines, or names a comparison that
// YAML takes for one.
func (r *row) blockText(c rune) {
	rest := string(r.in[r.k+1:])
	if i := strings.Index(rest, " #"); i >= 0 {
		rest = rest[:i]
	}
	if head := strings.Trim(rest, " \t"); len(r.s.flow) > 0 || strings.Trim(head, "+-0123456789") != "" {
		r.requote(c)
		return
	}
	r.bad(r.k, 1, "yaml-block-text", "yaml-block-text")
	r.put(lostMark)
	r.k = len(r.in)
	r.s.block = r.indent
}

// inside handles a character that is not the first of its token.
func (r *row) inside(c rune) {
	inFlow := len(r.s.flow) > 0
	next := r.next(r.k + 1)
	r.k++
	switch {
	case c == ':' && (strings.ContainsRune(" \t\u3000\u00a0", next) || inFlow && strings.ContainsRune(",[]{}", next)):
		r.put(':')
		r.fresh, r.key = true, false
	case c == ':' && r.key && next != '/' && isWord(r.in[r.start:r.k-1]) && !r.colonAhead():
		r.bad(r.k-1, 1, "yaml-colon-blank", "yaml-colon-blank", "key", string(r.in[r.start:r.k-1]))
		r.put(':')
		r.add(' ')
		r.fresh, r.key = true, false
	case c == '：' && r.key && isWord(r.in[r.start:r.k-1]):
		r.k--
		r.wide(c, ":")
		r.k++
		r.put(':')
		if next != ' ' {
			r.add(' ')
		}
		r.fresh, r.key = true, false
	case c == ',' && inFlow, c == '，' && inFlow && r.separates():
		if c == '，' {
			r.k--
			r.wide(c, ",")
			r.k++
		}
		r.put(',')
		if c == '，' && next != ' ' {
			r.add(' ')
		}
		r.fresh, r.key = true, r.s.flow[len(r.s.flow)-1].open == '{'
	case inFlow && strings.ContainsRune("}]｝］】", c):
		r.close(c)
	default:
		r.put(c)
	}
}

// close takes a closing bracket. Brackets that were opened within and are not
// closed are named and closed before it.
func (r *row) close(c rune) {
	if wide := strings.ContainsRune("｝］】", c); wide {
		ascii := map[rune]rune{'｝': '}', '］': ']', '】': ']'}[c]
		r.k--
		r.wide(c, string(ascii))
		r.k++
		c = ascii
	}
	match := func(b bracket) bool { return closer(b.open) == c }
	if !slices.ContainsFunc(r.s.flow, match) {
		r.put(c) // for YAML to stumble over
		return
	}
	for {
		top := r.s.flow[len(r.s.flow)-1]
		r.s.flow = r.s.flow[:len(r.s.flow)-1]
		if match(top) {
			r.put(c)
			return
		}
		r.s.unclosed(top)
		r.add(closer(top.open))
	}
}

func (s *sheet) unclosed(b bracket) {
	s.note(b.at, 1, "yaml-bracket-open", "yaml-bracket-open", "open", string(b.open), "close", string(closer(b.open)))
}

// colonAhead reports whether a proper key follows on the line, so that a
// colon without a blank belongs to the key and not to a slip.
func (r *row) colonAhead() bool {
	end := r.tokenEnd()
	return end < len(r.in) && r.in[end] == ':'
}

// separates reports whether a full-width comma stands where the next entry
// begins, and not within a Chinese text.
func (r *row) separates() bool {
	if r.s.flow[len(r.s.flow)-1].open == '[' {
		return true
	}
	rest := []rune(strings.TrimLeft(string(r.in[r.k:]), " \t\u3000"))
	i := 0
	for i < len(rest) && wordRune(rest[i]) {
		i++
	}
	return i > 0 && i < len(rest) && (rest[i] == ':' || rest[i] == '：')
}

// place turns a place in fixed into one in the file. Both count from 1.
func (s *sheet) place(line, col int) Place {
	before := 0
	for _, a := range s.added[line-1] {
		if a < col-1 {
			before++
		}
	}
	return Place{s.name, line, max(col-before, 1)}
}
