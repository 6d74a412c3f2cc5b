package config

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/fstest"
	"time"
)

func TestSame(t *testing.T) {
	templates := fstest.MapFS{"acme/gas.yaml": {Data: []byte("davy: 1\ntags: {}\n")}, "acme/other.yaml": {Data: []byte("davy: 1\ntags: {}\n")}}
	site := func() fstest.MapFS {
		return fstest.MapFS{
			"s/site.yaml":  {Data: []byte("davy: 1\ndevices:\n  d: {template: acme/gas}\n  e: {template: own/one}\n")},
			"s/rules.yaml": {Data: []byte("alarms: {}\n")}, "s/templates/own/one.yaml": {Data: []byte("davy: 1\ntags: {}\n")},
			"s/notes.txt": {Data: []byte("nobody's")},
		}
	}
	b, _ := ReadSite(site(), "s", templates)
	if b == nil || len(b.Files) != 4 {
		t.Fatalf("%+v", b)
	}
	for name, c := range map[string]struct {
		change func(m, t fstest.MapFS)
		want   bool
	}{
		"nothing":               {func(m, t fstest.MapFS) {}, true},
		"a file of nobody":      {func(m, t fstest.MapFS) { m["s/notes.txt"].Data = []byte("x") }, true},
		"another template":      {func(m, t fstest.MapFS) { t["acme/other.yaml"].Data = nil }, true},
		"a byte more":           {func(m, t fstest.MapFS) { m["s/site.yaml"].Data = append(m["s/site.yaml"].Data, '\n') }, false},
		"a byte less":           {func(m, t fstest.MapFS) { m["s/rules.yaml"].Data = []byte("alarms: {}") }, false},
		"another byte":          {func(m, t fstest.MapFS) { m["s/rules.yaml"].Data = []byte("alarms: []\n") }, false},
		"no rules":              {func(m, t fstest.MapFS) { delete(m, "s/rules.yaml") }, false},
		"no site":               {func(m, t fstest.MapFS) { delete(m, "s/site.yaml") }, false},
		"its template":          {func(m, t fstest.MapFS) { m["s/templates/own/one.yaml"].Data = nil }, false},
		"the firmware's":        {func(m, t fstest.MapFS) { t["acme/gas.yaml"].Data = []byte("davy: 1\n") }, false},
		"one of its own before": {func(m, t fstest.MapFS) { m["s/templates/acme/gas.yaml"] = &fstest.MapFile{Data: []byte("davy: 1\n")} }, false},
	} {
		m, f := site(), fstest.MapFS{}
		for name, x := range templates {
			f[name] = &fstest.MapFile{Data: x.Data}
		}
		c.change(m, f)
		if got := b.Same(m, "s", f); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	none, _ := ReadSite(fstest.MapFS{"site.yaml": {Data: []byte("davy: 1\n")}}, ".", nil)
	if none.Same(fstest.MapFS{"site.yaml": {Data: []byte("davy: 1\n")}, "rules.yaml": {}}, ".", nil) {
		t.Error("rules that were not there before")
	}
}

// A pipe in the place of a file is something else, and is not opened: that would
// wait for its writer, for ever.
func TestSameOpensNoPipe(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "site.yaml")
	if err := os.WriteFile(file, []byte("davy: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, _ := ReadSite(os.DirFS(dir), ".", nil)
	if b == nil || !b.Same(os.DirFS(dir), ".", nil) {
		t.Fatalf("%+v", b)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan bool, 1)
	go func() { done <- b.Same(os.DirFS(dir), ".", nil) }()
	select {
	case same := <-done:
		if same {
			t.Error("a pipe is the file that was there")
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits for a writer")
		if f, err := os.OpenFile(file, os.O_WRONLY, 0); err == nil {
			_ = f.Close()
		}
		<-done
	}
}
