package hj212

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Bits of Flag: the edition stands above them.
const (
	flagAnswer  = 1 << 0 // an answer is wanted
	flagNumbers = 1 << 1 // PNUM and PNO are there
	editionBits = 2
)

// Edition is which standard a packet says that it follows.
type Edition uint8

// The editions as Flag has them: 0 is that of 2005.
const (
	Edition2005 Edition = 0
	Edition2017 Edition = 1
	Edition2025 Edition = 2
)

// Field is one name with its value: w01001-Rtd=7.1.
type Field struct{ Key, Value string }

// Group is the fields of one factor.
type Group []Field

// Packet is a data segment.
type Packet struct {
	QN      string // 17 digits: the local time in milliseconds
	ST      string
	CN      int
	PW      string
	MN      string
	Edition Edition
	Answer  bool
	PNUM    int // 0: one packet alone
	PNO     int
	CP      []Group
}

// Get returns the value of the first field of a name.
func (p *Packet) Get(key string) string {
	for _, g := range p.CP {
		for _, f := range g {
			if f.Key == key {
				return f.Value
			}
		}
	}
	return ""
}

// Append appends the data segment as the standard writes it.
func (p *Packet) Append(dst []byte) []byte {
	flag := int(p.Edition) << editionBits
	if p.Answer {
		flag |= flagAnswer
	}
	if p.PNUM > 0 {
		flag |= flagNumbers
	}
	dst = fmt.Appendf(dst, "QN=%s;ST=%s;CN=%04d;PW=%s;MN=%s;Flag=%d;", p.QN, p.ST, p.CN, p.PW, p.MN, flag)
	if p.PNUM > 0 {
		dst = fmt.Appendf(dst, "PNUM=%d;PNO=%d;", p.PNUM, p.PNO)
	}
	dst = append(dst, "CP=&&"...)
	for i, g := range p.CP {
		if i > 0 {
			dst = append(dst, ';')
		}
		dst = g.append(dst)
	}
	return append(dst, "&&"...)
}

func (g Group) append(dst []byte) []byte {
	for i, f := range g {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, f.Key...), '='), f.Value...)
	}
	return dst
}

var errPacket = errors.New("not a packet of HJ 212")

// ParsePacket reads a data segment. It forgives what the standard's own
// examples get wrong (a comma for a semicolon, blanks, no semicolon before
// CP), takes an absent Flag for the edition of 2005 without answer, and leaves
// out fields that it does not know.
func ParsePacket(segment []byte) (Packet, error) {
	text := string(segment)
	head, cp, ok := strings.Cut(text, "CP=&&")
	if !ok {
		return Packet{}, fmt.Errorf("%w: no CP", errPacket)
	}
	cp = strings.TrimRight(cp, " ")
	if cp, ok = strings.CutSuffix(cp, "&&"); !ok {
		return Packet{}, fmt.Errorf("%w: CP has no end", errPacket)
	}
	var p Packet
	seen := map[string]bool{}
	for part := range strings.FieldsFuncSeq(head, func(r rune) bool { return r == ';' || r == ',' }) {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if key != "" && seen[key] {
			return Packet{}, fmt.Errorf("%w: %s twice", errPacket, key)
		}
		seen[key] = true
		var n uint64
		var err error
		switch key {
		case "QN":
			p.QN = value
		case "ST":
			p.ST = value
		case "PW":
			p.PW = value
		case "MN":
			p.MN = value
		case "CN":
			n, err = strconv.ParseUint(value, 10, 14)
			p.CN = int(n)
		case "PNUM":
			n, err = strconv.ParseUint(value, 10, 14)
			p.PNUM = int(n)
		case "PNO":
			n, err = strconv.ParseUint(value, 10, 14)
			p.PNO = int(n)
		case "Flag":
			n, err = strconv.ParseUint(value, 10, 8)
			p.Edition, p.Answer = Edition(n>>editionBits), n&flagAnswer != 0
		}
		if err != nil {
			return Packet{}, fmt.Errorf("%w: %s is %q", errPacket, key, value)
		}
	}
	if p.CN == 0 {
		return Packet{}, fmt.Errorf("%w: no CN", errPacket)
	}
	p.CP = parseGroups(cp)
	return p, nil
}

// parseGroups reads what stands between the && of CP. A value between // and
// // is text, in which commas and semicolons mean nothing.
func parseGroups(cp string) (out []Group) {
	var g Group
	end := func() {
		if len(g) > 0 {
			out = append(out, g)
		}
		g = nil
	}
	for cp != "" {
		n := strings.IndexAny(cp, ",;")
		if at := strings.Index(cp, "=//"); at >= 0 && (n < 0 || at < n) {
			text := at + len("=//")
			if stop := strings.Index(cp[text:], "//"); stop >= 0 {
				after := text + stop + 2
				if n = strings.IndexAny(cp[after:], ",;"); n >= 0 {
					n += after
				}
			}
		}
		part, sep := cp, byte(0)
		if n >= 0 {
			part, sep = cp[:n], cp[n]
			cp = cp[n+1:]
		} else {
			cp = ""
		}
		if key, value, ok := strings.Cut(part, "="); ok {
			g = append(g, Field{strings.TrimSpace(key), strings.TrimSpace(value)})
		}
		if sep != ',' {
			end()
		}
	}
	end()
	return out
}
