package gpio

import (
	"strconv"
	"strings"
	"unicode"

	"davy/drivers"
)

// Address is a line of the link's chip. It is comparable.
type Address struct {
	Name     string // "" where the line is named by its number
	Offset   int    // of a line without name, from 0
	Output   bool   // it is an output, or is made one by the first write; never an input
	Inverted bool   // true is the low level
}

// String prints the address as people write it: "line DI1 inverted".
func (a Address) String() string {
	s := "line "
	if a.Output {
		s = "output "
	}
	switch {
	case a.Name == "":
		s += strconv.Itoa(a.Offset)
	case plainName(a.Name):
		s += a.Name
	default:
		s += `"` + a.Name + `"`
	}
	if a.Inverted {
		s += " inverted"
	}
	return s
}

// line is the address without what is made of its level.
func (a Address) line() Address {
	a.Inverted, a.Output = false, false
	return a
}

// plainName reports whether a name can stand without quotes and is not taken for a number.
func plainName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r == '"' }) && !number(s)
}

// number reports whether s is written in ASCII digits only.
func number(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// maxOffset is more lines than any chip has.
const maxOffset = 1<<16 - 1

func wrong(code, hint string, args map[string]any) *drivers.Hint {
	return &drivers.Hint{Code: code, Args: args, Hint: hint}
}

// parseAddress reads
//
//	line DI1               an input by name, as the board's description has it
//	output RELAY1          an output
//	line "P9_12 [gpio]"    a name with blanks, or of digits only
//	line 3                 by number, from 0
//	line DI1 inverted      true where the line is low
func parseAddress(s string) (Address, error) {
	unknown := wrong("gpio.address", "gpio.address", map[string]any{"text": s})
	var a Address
	rest, ok := word(strings.TrimSpace(s), "line")
	if !ok {
		rest, a.Output = word(strings.TrimSpace(s), "output")
	}
	if rest == "" {
		return Address{}, unknown
	}
	if rest[0] == '"' {
		end := strings.IndexByte(rest[1:], '"')
		if end < 1 {
			return Address{}, unknown
		}
		a.Name, rest = rest[1:1+end], rest[2+end:]
		if rest != "" && !unicode.IsSpace(rune(rest[0])) {
			return Address{}, unknown
		}
	} else {
		name := rest
		if i := strings.IndexFunc(rest, unicode.IsSpace); i >= 0 {
			name = rest[:i]
		}
		rest = rest[len(name):]
		if number(name) {
			n, err := strconv.Atoi(name)
			if err != nil || n > maxOffset {
				return Address{}, wrong("gpio.offset", "gpio.address", map[string]any{"text": s, "last": maxOffset})
			}
			a.Offset = n
		} else {
			if strings.ContainsRune(name, '"') {
				return Address{}, unknown
			}
			a.Name = name
		}
	}
	if len(a.Name) >= maxName || strings.ContainsFunc(a.Name, unicode.IsControl) {
		return Address{}, wrong("gpio.name", "gpio.address", map[string]any{"text": s, "longest": maxName - 1})
	}
	switch rest = strings.TrimSpace(rest); {
	case rest == "":
	case strings.EqualFold(rest, "inverted"):
		a.Inverted = true
	default:
		return Address{}, wrong("gpio.suffix", "gpio.address", map[string]any{"text": s, "word": rest})
	}
	return a, nil
}

// word cuts a leading word and the blanks after it.
func word(s, first string) (rest string, ok bool) {
	if len(s) < len(first) || !strings.EqualFold(s[:len(first)], first) {
		return "", false
	}
	rest = s[len(first):]
	if rest != "" && !unicode.IsSpace(rune(rest[0])) {
		return "", false
	}
	return strings.TrimSpace(rest), true
}

// chipName reports whether s is a kernel's name of a chip, "gpiochip0".
func chipName(s string) bool {
	n, ok := strings.CutPrefix(s, "gpiochip")
	return ok && number(n)
}

// parseChip reads a link's target: a chip by its kernel's name or number, by
// path, or by its driver's label. "/dev/gpiochip0" and "0" are "gpiochip0".
func parseChip(s string) (string, error) {
	s = strings.TrimSpace(s)
	short := strings.TrimPrefix(s, "/dev/")
	switch {
	case number(s) && len(s) <= 5:
		return "gpiochip" + s, nil
	case chipName(short):
		return short, nil
	case s == "", strings.ContainsFunc(s, unicode.IsControl),
		strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "/dev/"),
		!strings.HasPrefix(s, "/") && (strings.ContainsRune(s, '/') || len(s) >= maxName):
		return "", wrong("gpio.target", "gpio.target", map[string]any{"text": s})
	}
	return s, nil
}
