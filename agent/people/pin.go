package people

import (
	"errors"
	"slices"
	"strings"
)

// Why a PIN is not taken; each has words under "person.pin.<Error>".
var (
	ErrShort = errors.New("short")
	ErrLong  = errors.New("long")
	ErrASCII = errors.New("characters") // not what every keyboard has: full-width digits of an input method, blanks, controls
	ErrPlain = errors.New("trivial")    // what is tried first
	ErrOwn   = errors.New("own")        // the person's own id or name
)

// first are what people take and guessers try first, beside what patterned
// finds. Upper and lower case are the same here.
var first = []string{
	"123321", "147258", "258369", "147258369", "159357", "159753", "789456", "456789", "1314520", "5201314", "147852", "123654", "741852",
	"password", "passw0rd", "p@ssw0rd", "qwerty", "qwertyuiop", "qwer1234", "qwe123", "1q2w3e", "1q2w3e4r", "asdfgh", "asdfghjkl", "zxcvbn", "zxcvbnm",
	"abc123", "123abc", "a12345", "a123456", "a1234567", "123456a", "admin1", "admin123", "letmein", "welcome", "woaini", "operator",
}

// CheckPIN says why a PIN cannot be a person's; nil: it can.
func CheckPIN(pin string, p *Person) error {
	switch {
	case strings.ContainsFunc(pin, func(r rune) bool { return r <= ' ' || r > '~' }):
		return ErrASCII
	case len(pin) < MinPIN:
		return ErrShort
	case len(pin) > MaxPIN:
		return ErrLong
	}
	low := strings.ToLower(pin)
	for _, own := range []string{p.ID, p.Name} {
		if own = strings.ToLower(own); len(own) >= 4 && strings.Contains(low, own) || own == low {
			return ErrOwn
		}
	}
	if slices.Contains(first, low) || patterned(low) {
		return ErrPlain
	}
	return nil
}

// patterned reports a text of fewer than three different characters, one that
// is a shorter one again and again, a row up or down (also over 9 to 0), and a
// row of doubled characters.
func patterned(s string) bool {
	kinds := map[byte]bool{}
	for i := range len(s) {
		kinds[s[i]] = true
	}
	if len(kinds) < 3 {
		return true
	}
	for n := 1; n <= len(s)/2; n++ {
		if len(s)%n == 0 && strings.Repeat(s[:n], len(s)/n) == s {
			return true
		}
	}
	doubled := len(s)%2 == 0
	var once []byte
	for i := 0; i+1 < len(s); i += 2 {
		doubled = doubled && s[i] == s[i+1]
		once = append(once, s[i])
	}
	return row(s) || doubled && row(string(once))
}

func row(s string) bool {
	up, down := true, true
	for i := 1; i < len(s); i++ {
		a, b := s[i-1], s[i]
		up = up && (b == a+1 || a == '9' && b == '0')
		down = down && (b == a-1 || a == '0' && b == '9')
	}
	return up || down
}
