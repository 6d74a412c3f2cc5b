package table

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func head(s string) bool { return slices.Contains([]string{"a", "b", "c"}, s) }

// shown is a table in one line: cells as line:col:text, and the faults.
func shown(t Table, faults []Fault) string {
	var b strings.Builder
	for _, row := range t.Rows {
		for _, c := range row {
			fmt.Fprintf(&b, "%d:%d:%q ", c.Line, c.Col, c.Text)
		}
	}
	for _, f := range faults {
		fmt.Fprintf(&b, "%s@%d:%d ", f.Code, f.Line, f.Col)
	}
	return strings.TrimSpace(b.String())
}

func TestRead(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := shown(Read([]byte(in), head)); got != want {
			t.Errorf("%q:\n got %s\nwant %s", in, got, want)
		}
	}
	f("", "")
	f("a,b\r\n1,\r\n", `1:1:"a" 1:2:"b" 2:1:"1" 2:2:""`)
	f("\xef\xbb\xbfa;b\n1,5;2", `1:1:"a" 1:2:"b" 2:1:"1,5" 2:2:"2"`)
	f("a\tb\n", `1:1:"a" 1:2:"b"`)
	f("sep=;\r\nx;y\r\n", `2:1:"x" 2:2:"y"`)
	f("a,\"b\"\n\"x\r\ny\",\"1\"\"2\"\nz\n", "1:1:\"a\" 1:2:\"b\" 2:1:\"x\\ny\" 3:2:\"1\\\"2\" 4:1:\"z\"")
	f("a,b,,,\n,,\n", `1:1:"a" 1:2:"b" 1:3:"" 1:4:"" 1:5:"" 2:1:"" 2:2:"" 2:3:""`)
	f("a,'=1\n''x,'\n", `1:1:"a" 1:2:"=1" 2:1:"'x" 2:2:""`)
	f("a,\"b\nc,d\n", `1:1:"a" 1:2:"\"b" 2:1:"c" 2:2:"d" table-quote-open@1:2`)
	f("a,\"b\"x,c\n\"d\" ,e\n", `1:1:"a" 1:2:"bx" 1:3:"c" 2:1:"d" 2:2:"e" table-quote@1:2`)
	f("\xff\xfea\x00", "table-utf16@1:1")
	f("a,\xff\n\xc4\xe3,b\n", `1:1:"a" 1:2:"`+"\uFFFD"+`" 2:1:"你" 2:2:"b" table-encoding@1:2`)
	f("a,\x81", `1:1:"a" 1:2:"`+"\uFFFD"+`" table-encoding@1:2`)
	f(strings.Repeat("x", MaxBytes+1), "table-too-big@1:1")
	if _, faults := Read([]byte("a"+strings.Repeat(",", MaxCells)+"\nb"), head); len(faults) != 1 || faults[0] != (Fault{FaultBig, 1, MaxCells + 1}) {
		t.Error("cells of a row:", faults)
	}
	if got, faults := Read([]byte(strings.Repeat("a\n", MaxRows+1)), head); len(got.Rows) != MaxRows || len(faults) != 1 || faults[0].Line != MaxRows+1 {
		t.Error("rows:", len(got.Rows), faults)
	}
	if got, faults := Read([]byte("a,"+strings.Repeat("x", MaxText+1)+",b"), head); len(got.Rows[0]) != 3 || len(got.Rows[0][1].Text) != MaxText || len(faults) != 1 || faults[0].Col != 2 {
		t.Error("text:", faults)
	}
}

// The bytes are another implementation's.
func TestGB18030(t *testing.T) {
	data, err := os.ReadFile("testdata/gb18030.csv")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/gb18030.utf8.csv")
	if err != nil {
		t.Fatal(err)
	}
	table, faults := Read(data, head)
	if !table.GBK || len(faults) > 0 || table.Rows[1][0].Text != "氨-150" {
		t.Error(table, faults)
	}
	if again, faults := Read(want, head); !slices.EqualFunc(table.Rows, again.Rows, slices.Equal[[]Cell]) || len(faults) > 0 {
		t.Error("read as UTF-8:", again, faults)
	}
	if got, faults := Read([]byte("a,\xff,b"), head); len(faults) != 1 || faults[0].Code != FaultEncoding || got.Rows[0][2].Text != "b" {
		t.Error("neither:", got, faults)
	}
}

// A cell that a spreadsheet would compute or change begins with an apostrophe.
func TestGuard(t *testing.T) {
	for _, s := range []string{"=1+1", "+1", "-1", "@x", "\tx", "\rx", "'x", "＝1", "MAR-1", "sept 9", "3-4", "1/2", "12:30", "007", "1E5", "true", "FALSE", "1.50", "123456789012"} {
		if got := guarded(s); got != "'"+s {
			t.Errorf("%q is not guarded: %q", s, got)
		}
	}
	for _, s := range []string{"", "1", "10", "0.5", "150 ppm", "NH3-150", "10s", "2 of 3", "March", "mart-1", "x = y", "yes"} {
		if got := guarded(s); got != s {
			t.Errorf("%q is guarded: %q", s, got)
		}
	}
}

func TestWrite(t *testing.T) {
	got := string(Write([][]string{{"a", "b;c", "=x"}, {`"`, "", "一\n二"}}))
	if want := bom + "a,\"b;c\",'=x\r\n\"\"\"\",,\"一\n二\"\r\n"; got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

// Whatever is written is read again, as Excel would save it too.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.StringMatching(`[=+@'"a-c,;\t 0-9氨-]{0,6}`), rapid.StringN(0, 8, 40))
		row := rapid.SliceOfN(text, 1, 5)
		rows := rapid.SliceOfN(row, 1, 5).Draw(t, "rows")
		for i := range rows {
			for k, s := range rows[i] { // what no cell can hold
				rows[i][k] = strings.Map(func(r rune) rune {
					if r == '\r' || r == utf8.RuneError || r == 0xfeff {
						return 'x'
					}
					return r
				}, s)
			}
		}
		rows = append([][]string{{"a", "b", "c"}}, rows...)
		table, faults := Read(Write(rows), head)
		if len(faults) > 0 || len(table.Rows) != len(rows) {
			t.Fatal(faults, len(table.Rows))
		}
		for i, row := range table.Rows {
			var got []string
			for _, c := range row {
				got = append(got, c.Text)
			}
			if !slices.Equal(got, rows[i]) {
				t.Fatalf("row %d: %q, want %q", i, got, rows[i])
			}
		}
	})
}

// Whatever stands in the file: places within it, limits held, no panic.
func FuzzRead(f *testing.F) {
	f.Add([]byte("a,b\r\n\"x\",'=1\r\n"))
	f.Add([]byte("sep=;\na;\"b\n\x81\x30\x81\x30"))
	f.Add([]byte("\xef\xbb\xbfa\t\"\"\"\"b\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		table, faults := Read(data, head)
		lines := bytes.Count(data, []byte("\n")) + 1
		for _, row := range table.Rows {
			if len(row) == 0 || len(row) > MaxCells {
				t.Fatalf("a row of %d cells", len(row))
			}
			for i, c := range row {
				if c.Line < 1 || c.Line > lines || c.Col != i+1 || utf8.RuneCountInString(c.Text) > MaxText || !utf8.ValidString(c.Text) {
					t.Fatalf("%+v of %d lines", c, lines)
				}
			}
		}
		for _, x := range faults {
			if x.Line < 1 || x.Line > lines || x.Col < 1 {
				t.Fatalf("%+v of %d lines", x, lines)
			}
		}
	})
}
