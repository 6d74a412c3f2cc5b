package line

import (
	"errors"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	f := func(s string, want Spec) {
		t.Helper()
		got, err := Parse(s)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", s, got, err)
		}
	}
	f("./tty:9600,8E1", Spec{"./tty", 9600, 11})
	f("./tty:9600", Spec{"./tty", 9600, 11})
	f("./tty:115200,8N1", Spec{"./tty", 115200, 10})
	f("./usb-0:1.2:19200,8O2", Spec{"./usb-0:1.2", 19200, 12})
	f("./tty:9600,7E1", Spec{"./tty", 9600, 10})
	for _, s := range []string{"", "tty", ":9600", "tty:", "tty:fast", "tty:100", "tty:2000000", "tty:9600,9E1", "tty:9600,8X1", "tty:9600,8E3", "tty:9600,8E"} {
		if spec, err := Parse(s); !errors.Is(err, ErrSpec) {
			t.Errorf("%q: %+v, %v", s, spec, err)
		}
	}
	if d := (Spec{Baud: 9600, Bits: 11}).Turn(); d != 7*(11*time.Second/9600)/2 {
		t.Errorf("3.5 characters at 9600 are %v", d)
	}
	if d := (Spec{Baud: 115200, Bits: 11}).Turn(); d != minTurn {
		t.Errorf("at 115200 %v", d)
	}
}
