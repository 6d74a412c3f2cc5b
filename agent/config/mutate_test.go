package config

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"davy/agent/i18n"
	"davy/rules"
	"davy/rules/ruletest"
	"davy/test/scale"
)

// nasty are pieces that people and programs leave in files.
var nasty = []string{
	"", " ", ":", ": ", "{", "}", "[", "]", ",", "#x", " # x", "'", "\"", "-", "- ", "：", "，", "“", "%", ">= 5", "|", "&a", "*a", "!b", "\t", "0", "-1", "1e308",
	"1e-308", "99999d", "null", "~", "true", "nh3-1", "nh3-1.gas", "fan1", "NH3-150", "io1", "plc", "coil 0", "holding 65535", "holding 65536", "ref 0", "1 of 1", "0 of 0", "all", "any",
	"left out", "bad", "0x8000 = fault", "..-16385", "bits 0..3 = 8", "bit 4", "{0: good}", "[a:502, b:502]", "secret x", "none", "9600 8E1", "text 4", "enum", "ppm", "°C", "10s", "0s", "by operator", "automatic", "never", "every", "unknown", "protective", "stays", "\u00a0", "\u3000", "\ufeff", "\x00", "\xff", "---", "? x",
}

// mutant changes a few places of a text.
func mutant(r *rand.Rand, text string) string {
	for range 1 + r.IntN(4) {
		lines := strings.Split(text, "\n")
		i := r.IntN(len(lines))
		switch words := strings.Split(lines[i], " "); r.IntN(8) {
		case 0:
			lines[i] = ""
		case 1:
			lines[i] = lines[r.IntN(len(lines))]
		case 2:
			lines[i] = " " + lines[i]
		case 3:
			lines[i] = strings.TrimPrefix(lines[i], " ")
		case 4:
			at := r.IntN(len(lines[i]) + 1)
			lines[i] = lines[i][:at] + nasty[r.IntN(len(nasty))] + lines[i][at:]
		case 5:
			at := r.IntN(len(lines[i]) + 1)
			lines[i] = lines[i][:at]
		default:
			words[r.IntN(len(words))] = nasty[r.IntN(len(nasty))]
			lines[i] = strings.Join(words, " ")
		}
		text = strings.Join(lines, "\n")
	}
	return text
}

// Any few changes of a good site give a plan that the engine takes, or
// problems that can be shown; never a panic.
func TestMutants(t *testing.T) {
	good, _, _ := readDir(t, "example")
	plans := 0
	for seed := range uint64(scale.Of(1000)) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := &Bundle{}
		for _, f := range good.Files {
			data := f.Data
			if r.IntN(3) > 0 && utf8.Valid(data) {
				data = []byte(mutant(r, string(data)))
			}
			b.Put(f.Name, data)
		}
		plan, problems := compileOrTell(t, seed, b)
		if plan == nil {
			if problems.OK() {
				t.Fatalf("seed %d: no plan and no problem", seed)
			}
			continue
		}
		plans++
		if _, err := rules.New(plan.Rules); err != nil {
			t.Fatalf("seed %d: the engine refuses: %v", seed, err)
		}
		for _, s := range plan.Stories {
			for _, f := range ruletest.Run(plan.Rules, s, func(i int, protective bool) string {
				if protective {
					return plan.Outputs[i].ProtectiveName
				}
				return plan.Outputs[i].IdleName
			}).Failures {
				if strings.Contains(f.Code, "unknown") {
					t.Fatalf("seed %d: a story that compiles speaks of what is not there: %+v", seed, f)
				}
			}
		}
		var out strings.Builder
		if err := plan.Report().Write(&out, i18n.Zh); err != nil {
			t.Fatal(err)
		}
	}
	least := 20
	if scale.Of(1000) < 1000 { // of a few mutants, one that compiles must do
		least = 1
	}
	if n := scale.Of(1000); plans < least || plans > n*9/10 {
		t.Errorf("%d of %d mutants compile: the test no longer tests both", plans, n)
	}
}

func compileOrTell(t *testing.T, seed uint64, b *Bundle) (plan *Plan, problems Problems) {
	defer func() {
		if v := recover(); v != nil {
			t.Fatalf("seed %d: panic: %v", seed, v)
		}
	}()
	plan, problems = Compile(b, testSet())
	var out strings.Builder
	for _, l := range []i18n.Lang{i18n.Zh, i18n.En} {
		if err := problems.Write(&out, l, b); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Contains(out.String(), "⟨") {
		t.Fatalf("seed %d: words are missing:\n%s", seed, out.String())
	}
	return plan, problems
}
