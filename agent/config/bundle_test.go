package config

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"davy/rules"
)

func TestBundleEncoding(t *testing.T) {
	b := &Bundle{}
	b.Put("site.yaml", []byte("davy: 1\n"))
	b.Put("keys/r.pub", nil)
	b.Put("rules.yaml", []byte("x"))
	b.Put("rules.yaml", []byte("y"))
	if names := []string{b.Files[0].Name, b.Files[1].Name, b.Files[2].Name}; !slices.Equal(names, []string{"keys/r.pub", "rules.yaml", "site.yaml"}) {
		t.Errorf("order %v", names)
	}
	raw := b.Encode()
	if b.Hash() != sha256.Sum256(raw) {
		t.Error("hash is not that of the bytes")
	}
	again, err := DecodeBundle(raw)
	if err != nil || !bytes.Equal(again.Encode(), raw) {
		t.Fatalf("decode: %v", err)
	}
	if data, ok := again.File("rules.yaml"); !ok || string(data) != "y" {
		t.Errorf("rules.yaml: %q %v", data, ok)
	}
	if _, ok := again.File("other"); ok {
		t.Error("a file that is not there")
	}
	for i := range raw { // cut short anywhere, or one byte changed to another length or order
		if x, err := DecodeBundle(raw[:i]); err == nil && bytes.Equal(x.Encode(), raw) {
			t.Fatalf("cut at %d passes", i)
		} else if err != nil && !errors.Is(err, ErrBundle) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	swapped := &Bundle{Files: []File{{"b", nil}, {"a", nil}}}
	twice := &Bundle{Files: []File{{"a", nil}, {"a", nil}}}
	outside := &Bundle{Files: []File{{"../a", nil}}}
	long := []byte(bundleHeading + "\x81\x00a\x00") // a length in more bytes than it needs
	for _, bad := range [][]byte{swapped.Encode(), twice.Encode(), outside.Encode(), long, nil, []byte("davy"), []byte(bundleHeading + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")} {
		if _, err := DecodeBundle(bad); !errors.Is(err, ErrBundle) {
			t.Errorf("%q passes: %v", bad, err)
		}
	}
}

const smallSite = "davy: 1\ngateway: {id: A, name: a}\n"

func TestReadSite(t *testing.T) {
	site := fstest.MapFS{
		"plants/x/site.yaml": {Data: []byte(smallSite + `links: {plc: {modbus-tcp: 10.0.0.1}}
devices:
  a: {link: plc, station: 1, template: v/own}
  b: {link: plc, station: 2, template: v/std}
  c: {link: plc, station: 3, template: v/none}
uplinks: {r: {mqtt: "tls://h:8883", receipts: key keys/r.pub}}
`)},
		"plants/x/rules.yaml":           {Data: []byte("alarms: {}\n")},
		"plants/x/rule.yaml":            {Data: []byte("typo")},
		"plants/x/people.yml":           {Data: []byte("typo")},
		"plants/x/readme.txt":           {Data: []byte("no")},
		"plants/x/keys/r.pub":           {Data: []byte("key")},
		"plants/x/templates/v/own.yaml": {Data: []byte("own")},
	}
	shared := fstest.MapFS{"v/own.yaml": {Data: []byte("not this one")}, "v/std.yaml": {Data: []byte("std")}}
	b, p := ReadSite(site, "plants/x", shared)
	var names []string
	for _, f := range b.Files {
		names = append(names, f.Name)
	}
	if want := []string{"keys/r.pub", "rules.yaml", "site.yaml", "templates/v/own.yaml", "templates/v/std.yaml"}; !slices.Equal(names, want) {
		t.Errorf("files %v", names)
	}
	if data, _ := b.File("templates/v/own.yaml"); string(data) != "own" {
		t.Errorf("the site's own template does not go first: %q", data)
	}
	if want := []string{"warning file-not-read people.yml", "warning file-not-read rule.yaml"}; !slices.Equal(codes(p), want) {
		t.Errorf("problems %v", codes(p))
	}
	_, q := Compile(b, testSet())
	if !slices.Contains(codes(q), "unknown-template site.yaml:7:40") {
		t.Errorf("the template that is nowhere: %v", codes(q))
	}
}

func TestReadSiteRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name, data string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(name, to string) {
		t.Helper()
		os.Remove(filepath.Join(dir, name))
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	read := func() (*Bundle, []string) {
		b, p := ReadSite(os.DirFS(dir), ".", nil)
		return b, codes(p)
	}
	if b, got := read(); b != nil || !slices.Equal(got, []string{"file-missing site.yaml"}) {
		t.Errorf("empty directory: %v", got)
	}
	write("site.yaml", smallSite)
	if b, got := read(); b == nil || len(got) > 0 {
		t.Errorf("small site: %v", got)
	}
	write("rules.yaml", strings.Repeat("#", MaxFile+1))
	if b, got := read(); b == nil || !slices.Equal(got, []string{"file-too-big rules.yaml"}) {
		t.Errorf("too big: %v", got)
	}
	outside := filepath.Join(t.TempDir(), "secret.yaml")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{outside, "../secret.yaml", "sub/../../secret.yaml"} {
		link("rules.yaml", to)
		if b, got := read(); b == nil || !slices.Equal(got, []string{"file-outside rules.yaml"}) {
			t.Errorf("link to %s: %v", to, got)
		}
	}
	link("hop.yaml", outside)
	link("rules.yaml", "hop.yaml") // within the site, and from there out of it
	if b, got := read(); b == nil || !slices.Contains(got, "file-outside rules.yaml") {
		t.Errorf("link over a link: %v", got)
	}
	os.Remove(filepath.Join(dir, "hop.yaml"))
	write("real.txt", "alarms: {}\n")
	link("rules.yaml", "real.txt")
	if b, got := read(); len(got) > 0 {
		t.Errorf("link within the site: %v", got)
	} else if data, _ := b.File(RulesFile); string(data) != "alarms: {}\n" {
		t.Errorf("link within the site: %q", data)
	}
	os.Remove(filepath.Join(dir, "rules.yaml"))
	if err := os.Mkdir(filepath.Join(dir, "rules.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	if b, got := read(); b == nil || !slices.Equal(got, []string{"file-not-regular rules.yaml"}) {
		t.Errorf("a directory: %v", got)
	}
	os.Remove(filepath.Join(dir, "rules.yaml"))
	if err := syscall.Mkfifo(filepath.Join(dir, "rules.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, got := read(); b == nil || !slices.Equal(got, []string{"file-not-regular rules.yaml"}) {
		t.Errorf("a pipe: %v", got)
	}
}

// A file that breaks in the middle of being read is a problem, not half a file.
func TestReadSiteUnreadable(t *testing.T) {
	b, p := ReadSite(broken{fstest.MapFS{"site.yaml": {Data: []byte(smallSite)}, "rules.yaml": {Data: []byte("x")}}}, ".", nil)
	if b == nil || !slices.Equal(codes(p), []string{"file-unreadable rules.yaml"}) {
		t.Errorf("got %v", codes(p))
	}
}

type broken struct{ fstest.MapFS }

func (b broken) Open(name string) (fs.File, error) {
	if name == "rules.yaml" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return b.MapFS.Open(name)
}

func TestDiff(t *testing.T) {
	lines := func(from, to int) string {
		var b strings.Builder
		for i := from; i <= to; i++ {
			b.WriteString("line " + strings.Repeat("x", i) + "\n")
		}
		return b.String()
	}
	a, b := &Bundle{}, &Bundle{}
	a.Put("same.yaml", []byte("same"))
	b.Put("same.yaml", []byte("same"))
	a.Put("gone.yaml", []byte("gone\n"))
	b.Put("new.yaml", []byte("new\x1b[31m\n"))
	a.Put("site.yaml", []byte(lines(1, 20)))
	b.Put("site.yaml", []byte(lines(1, 9)+"changed\n"+lines(11, 20)+"added\n"))
	var out bytes.Buffer
	if err := WriteDiff(&out, Diff(a, b)); err != nil {
		t.Fatal(err)
	}
	golden(t, "diff.golden.txt", out.String())
	if d := Diff(a, a); len(d) != 0 {
		t.Errorf("a bundle differs from itself: %v", d)
	}
	if d := Diff(nil, a); len(d) != 3 || d[0].Before {
		t.Errorf("from nothing: %v", d)
	}
	// Whatever the lines, the difference applied to the old gives the new.
	for _, x := range [][2]string{{"a b c", "c b a"}, {"", "x"}, {"x", ""}, {"a a a b", "a b a"}, {"q w e r t", "q e r z t y"}} {
		old, new := strings.Fields(x[0]), strings.Fields(x[1])
		var got, before []string
		for _, l := range diffLines(old, new) {
			switch l.Op {
			case ' ':
				got, before = append(got, l.Text), append(before, l.Text)
			case '+':
				got = append(got, l.Text)
			case '-':
				before = append(before, l.Text)
			}
		}
		if !slices.Equal(got, new) || !slices.Equal(before, old) {
			t.Errorf("%v: got %v from %v", x, got, before)
		}
	}
}

func TestDroppedRules(t *testing.T) {
	b, old, _ := readDir(t, "example")
	compile := func(from, to string) *Plan {
		t.Helper()
		c := &Bundle{Files: slices.Clone(b.Files)}
		data, _ := c.File(RulesFile)
		text := strings.ReplaceAll(string(data), from, to)
		if text == string(data) {
			t.Fatalf("no %q", from)
		}
		c.Put(RulesFile, []byte(text))
		plan, p := Compile(c, testSet())
		if plan == nil {
			t.Fatalf("%v", codes(p))
		}
		return plan
	}
	for _, x := range []struct {
		new  *Plan
		want []string
	}{
		{old, nil},
		{compile("at: 130 °C", "at: 131 °C"), nil},
		{compile("NH3-150", "NH3-151"), []string{"NH3-150"}},
		{compile("      - demand: siren1 after 5s\n", ""), []string{"NH3-150"}},
	} {
		if got := DroppedRules(old, x.new); !slices.Equal(got, x.want) {
			t.Errorf("got %v, want %v", got, x.want)
		}
	}
	// A plan without profiles drops the alarm that nobody approved them: that is the remedy, and no loss.
	with, _ := Compile(putProfiles(bundleOf(computedSite, "alarms: {x: {watch: d.a, profile: gb50493/nh3}}\n"), "gb50493", gasFile), testSet())
	if with == nil || !slices.ContainsFunc(with.Rules.Alarms, func(a rules.Alarm) bool { return a.Name == NotApproved }) {
		t.Fatal("no such plan")
	}
	if got := DroppedRules(with, old); slices.Contains(got, NotApproved) || !slices.Contains(got, "x.high") {
		t.Errorf("without profiles: %v", got)
	}
	if got := DroppedRules(nil, old); got != nil {
		t.Errorf("from nothing: %v", got)
	}
	if got := DroppedRules(old, nil); !slices.Contains(got, "comp1-discharge.high") || !slices.Contains(got, "NH3-150") {
		t.Errorf("to nothing: %v", got)
	}
}
