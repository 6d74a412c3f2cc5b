package history

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"davy/drivers/tag"
)

// Every value is read back from what it was written as.
func TestValuesComeBack(t *testing.T) {
	f32, _ := tag.Float32Value(0.1)
	f64, _ := tag.Float64Value(-1e-17)
	for _, v := range []tag.Value{{}, tag.BoolValue(true), tag.BoolValue(false), tag.IntValue(-1 << 63), tag.EnumValue(7), tag.TextValue(3), f32, f64} {
		if got, err := parseValue(v.String(), v.Kind()); err != nil || got != v {
			t.Errorf("%v %s: %v, %v", v.Kind(), v, got, err)
		}
	}
	for s, kind := range map[string]tag.Kind{"x": tag.Int, "1.5": tag.Int, "NaN": tag.Float64, "1e99": tag.Float32, "text#-1": tag.Text, "ja": tag.Bool} {
		if v, err := parseValue(s, kind); !errors.Is(err, ErrExport) || v != (tag.Value{}) {
			t.Errorf("%q as %v: %v, %v", s, kind, v, err)
		}
	}
	for s, want := range map[string]tag.Kind{"true": tag.Bool, "-": tag.Float64, "12.5": tag.Float64, "text#2": tag.Text} {
		if got := kindOf(s); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}

const (
	epochA = "0a000000000000000000000000000000"
	epochB = "0b000000000000000000000000000000"
)

func line(epoch, rest string) string { return `{"epoch":"` + epoch + `",` + rest + "}\n" }

func event(n, wall string) string {
	return `"stream":"event","number":` + n + `,"event":{"Kind":1,"At":{"Wall":` + wall + `,"Mono":1}},"value":"-"`
}

func reading(n, wall string) string {
	return `"stream":"reading","number":` + n + `,"reading":{"Tag":1,"Quality":2147487744,"Received":{"Wall":` + wall + `,"Mono":1}},"value":"2"`
}

// What is no export is refused with the line; nothing is guessed.
func TestWhatIsNoExport(t *testing.T) {
	good := line(epochA, event("1", "5")) + line(epochA, reading("1", "6"))
	for name, c := range map[string]struct{ text, want string }{
		"empty":              {"", ""},
		"good":               {good, ""},
		"other order":        {strings.Replace(good, `"stream":"event","number":1,`, `"number":1,"stream":"event",`, 1), ""},
		"no JSON":            {good + "hello\n", ":3: "},
		"cut short":          {good + `{"epoch":"0a`, "cut short"},
		"two of one epoch":   {good + line(epochB, event("1", "7")) + line(epochA, event("2", "8")), "do not stand together"},
		"two of one stream":  {good + line(epochA, event("2", "7")), "do not stand together"},
		"neither":            {line(epochA, `"stream":"event","number":1`), "an event or a reading"},
		"no epoch":           {line("xx", event("1", "5")), "epoch"},
		"a very long line":   {good + `{"epoch":"` + strings.Repeat("0", MaxLine+2) + "\"}\n", "a line of more than"},
		"an event as number": {line(epochA, `"stream":"event","number":1,"event":5`), ":1: "},
	} {
		file := filepath.Join(t.TempDir(), "export")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := OpenExport(file)
		if (err == nil) != (c.want == "") || err != nil && (!errors.Is(err, ErrExport) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A hole between two numbers ends a block, so that it can be seen.
func TestNumbersThatAreMissing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "export")
	text := line(epochA, event("1", "5")) + line(epochA, reading("1", "6")) + line(epochA, reading("2", "7")) + line(epochA, reading("9", "8")) + line(epochA, reading("10", "9"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := OpenExport(file)
	if err != nil {
		t.Fatal(err)
	}
	if e := f.Epochs(); len(e) != 1 || e[0].From != 5 || e[0].To != 9 {
		t.Errorf("%+v", e)
	}
	var got [][2]uint64
	for blocks := f.Readings(0); ; {
		b, err := blocks.Next(0)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, [2]uint64{b.First, uint64(len(b.Records))})
	}
	if len(got) != 2 || got[0] != [2]uint64{1, 2} || got[1] != [2]uint64{9, 2} {
		t.Errorf("%v", got)
	}
	if b, err := f.Readings(0).Next(9); err != nil || b.First != 10 {
		t.Errorf("after 9: %+v, %v", b, err)
	}
}
