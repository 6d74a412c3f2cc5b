package config

import (
	"strings"
	"unicode/utf8"
)

// splitLines cuts at line feeds and drops one carriage return before each.
func splitLines(data []byte) []string {
	lines := strings.Split(string(data), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimSuffix(l, "\r")
	}
	return lines
}

// decode returns data as UTF-8; what is not is named once and replaced.
func (s *sheet) decode(data []byte) []byte {
	if len(data) >= 2 && (data[0] == 0xff && data[1] == 0xfe || data[0] == 0xfe && data[1] == 0xff) {
		s.note(Place{s.name, 1, 1}, 1, "yaml-utf16", "yaml-utf8")
		return nil
	}
	if bom := "\xef\xbb\xbf"; strings.HasPrefix(string(data), bom) {
		s.note(Place{s.name, 1, 1}, 1, "yaml-bom", "yaml-bom")
		data = data[len(bom):]
	}
	if utf8.Valid(data) {
		return data
	}
	out := make([]byte, 0, len(data))
	line, col, gbk, first := 1, 1, true, Place{}
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			if first.Line == 0 {
				first = Place{s.name, line, col}
			}
			if pair := i+1 < len(data) && data[i] >= 0x81 && data[i] != 0xff && data[i+1] >= 0x40 && data[i+1] != 0x7f && data[i+1] != 0xff; pair {
				n = 2
			} else {
				gbk = false
			}
			out = append(out, "\uFFFD"...)
		} else {
			out = append(out, data[i:i+n]...)
		}
		if col++; r == '\n' {
			line, col = line+1, 1
		}
		i += n
	}
	code := "yaml-not-utf8"
	if gbk {
		code = "yaml-gbk"
	}
	s.note(first, 1, code, "yaml-utf8")
	return out
}

func isWord(rs []rune) bool {
	for _, c := range rs {
		if !wordRune(c) {
			return false
		}
	}
	return len(rs) > 0 && (rs[0] < '0' || rs[0] > '9')
}

func wordRune(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.'
}

// unseen reports a character that no one can see and that would make a line
// read differently from what it is.
func unseen(c rune) bool {
	return c < ' ' && c != '\t' || c >= 0x7f && c < 0xa0 || c >= 0x200b && c <= 0x200f || c == 0x2028 || c == 0x2029 ||
		c >= 0x202a && c <= 0x202e || c >= 0x2060 && c <= 0x2069 || c == 0xfeff || c == 0xfffe || c == 0xffff || c == lostMark
}

func hexRune(c rune) string {
	const digits = "0123456789ABCDEF"
	out := []byte("U+")
	for shift := 20; shift >= 0; shift -= 4 {
		if d := c >> shift & 15; d != 0 || shift < 16 {
			out = append(out, digits[d])
		}
	}
	return string(out)
}
