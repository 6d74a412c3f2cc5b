package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"davy/agent/export"
)

// Salvage gets what is left of a journal whose pages are damaged, and says what is not.
func TestSalvage(t *testing.T) {
	r := newRecorded(t)
	r.open()
	r.record(60)
	r.witness()
	r.close()
	r.open()
	r.record(5)
	r.witness()
	r.close()
	files, err := filepath.Glob(filepath.Join(journalDir(r.state), "*.seg"))
	r.must(err)
	sound := map[string][]byte{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		r.must(err)
		sound[f] = b
	}
	salvage := func(from string) (int, *export.Report, string) {
		path := filepath.Join(t.TempDir(), "s.davy")
		code, _, errs := r.davy("salvage", from, "--out", path, "--lang", "en")
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("exit %d: %s", code, errs)
		}
		_, rep := r.verify(path, "--receiver", r.receiverKey())
		return code, rep, errs
	}
	code, all, errs := salvage(r.state)
	if code != 0 || all.Readings != 65*20 || len(wrongOf(all)) > 0 {
		t.Fatalf("a sound journal: exit %d %s %+v", code, errs, all)
	}
	for f, b := range sound { // the tree of pages is gone: both headers, and every branch
		bad := slices.Clone(b)
		clear(bad[:2*4096])
		for p := 0; p+4096 <= len(bad); p += 4096 {
			if bad[p+8] == 1 {
				clear(bad[p : p+4096])
			}
		}
		r.must(os.WriteFile(f, bad, 0o600))
	}
	code, rep, errs := salvage(journalDir(r.state))
	if rep.Readings != all.Readings {
		t.Errorf("without the tree of pages: exit %d, %d readings of %d: %s %+v", code, rep.Readings, all.Readings, errs, wrongOf(rep))
	}
	for f, b := range sound { // and one page in three
		bad := slices.Clone(b)
		for p := 4 * 4096; p+4096 <= len(bad); p += 3 * 4096 {
			clear(bad[p : p+4096])
		}
		r.must(os.WriteFile(f, bad, 0o600))
	}
	code, rep, errs = salvage(journalDir(r.state))
	if code != 1 || rep.Readings == 0 || rep.Readings >= all.Readings || !strings.Contains(errs, "no block of leaf ") || rep.Whole {
		t.Errorf("a third of the pages gone: exit %d, %d readings of %d: %s", code, rep.Readings, all.Readings, errs)
	}
	t.Logf("%d of %d readings\n%s", rep.Readings, all.Readings, errs)
	for f, b := range sound {
		r.must(os.WriteFile(f, b, 0o600))
	}
}
