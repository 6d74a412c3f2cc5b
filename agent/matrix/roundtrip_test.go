package matrix

import (
	"reflect"
	"testing"

	"davy/agent/config"
	"davy/agent/i18n"
)

// backAgain reads a table and compares the rules that it gives, in both ways,
// with those of the plan.
func backAgain(t failer, b *config.Bundle, plan *config.Plan, csv []byte) {
	t.Helper()
	read, problems := Read("m.csv", csv, plan)
	if len(problems) > 0 {
		t.Fatalf("read:\n%s\n%s", told(problems, b), csv)
	}
	other, problems := config.CompileWith(b, testSet(), read)
	if other == nil {
		t.Fatalf("compile:\n%s\n%s", told(problems, b), csv)
	}
	if !reflect.DeepEqual(plan.Rules.Interlocks, other.Rules.Interlocks) {
		t.Fatalf("not the same rules:\n%+v\n%+v\n%s", plan.Rules.Interlocks, other.Rules.Interlocks, csv)
	}
	if d := Compare(New(b, plan), With(b, other, read), i18n.En); len(d) > 0 {
		t.Fatalf("equal rules differ: %v", d)
	}
	text := YAML(read)
	third, problems := config.Compile(withInterlocks(b, text), testSet())
	if third == nil {
		t.Fatalf("the text:\n%s\n%s", told(problems, withInterlocks(b, text)), text)
	}
	if !reflect.DeepEqual(plan.Rules.Interlocks, third.Rules.Interlocks) {
		t.Fatalf("the text gives other rules:\n%+v\n%+v\n%s", plan.Rules.Interlocks, third.Rules.Interlocks, text)
	}
}

func TestBackAgain(t *testing.T) {
	b := bundleOf(t, site, allOfIt)
	plan := compiled(t, b)
	for _, lang := range []i18n.Lang{i18n.Zh, i18n.En} {
		backAgain(t, b, plan, New(b, plan).CSV(lang, Sheet{Version: "1", Date: "2026-03-02"}))
	}
}
