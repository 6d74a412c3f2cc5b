package matrix

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"davy/agent/config"
	"davy/agent/i18n"
	"davy/drivers/tag"
	"davy/rules"
)

// leaves calls do with every value within v that is no struct, slice or array,
// and its path without indices; of a text field that is a list of words the list.
func leaves(v reflect.Value, path string, do func(path string, v reflect.Value)) {
	switch {
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			leaves(v.Field(i), strings.TrimPrefix(path+"."+v.Type().Field(i).Name, "."), do)
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		for i := range v.Len() {
			leaves(v.Index(i), path, do)
		}
	default:
		do(path, v)
	}
}

// paths are those of every field of an interlock.
func paths() []string {
	x := rules.Interlock{Channels: make([]rules.Channel, 1), Demands: make([]rules.Demand, 1), Permissives: make([]rules.Permissive, 1), ResetConds: make([]rules.Condition, 1)}
	var all []string
	leaves(reflect.ValueOf(&x).Elem(), "", func(path string, v reflect.Value) { all = append(all, path) })
	slices.Sort(all)
	return slices.Compact(all)
}

// No list of an interlock is left out of paths.
func TestPathsHoldEveryList(t *testing.T) {
	for i := range reflect.TypeFor[rules.Interlock]().NumField() {
		f := reflect.TypeFor[rules.Interlock]().Field(i)
		if !slices.ContainsFunc(paths(), func(p string) bool { return p == f.Name || strings.HasPrefix(p, f.Name+".") }) {
			t.Errorf("paths does not hold %s: make one of it", f.Name)
		}
	}
}

// never are fields that no interlock of a site can have.
var never = map[string]string{
	"Channels.Cond.Op": "", "Demands.Output": "",
	"Test.Second": "a test takes one person", "Test.AlarmOnly": "a test ends by itself",
}

// Every field of rules.Interlock is something else than zero in one of the
// sites that are read back: one that a table lost could not hide behind a
// zero. Who adds a field adds a word for it to a site of these tests.
func TestEveryFieldIsReadBack(t *testing.T) {
	plan := compiled(t, bundleOf(t, site, allOfIt))
	seen := map[string]bool{}
	for i := range plan.Rules.Interlocks {
		leaves(reflect.ValueOf(&plan.Rules.Interlocks[i]).Elem(), "", func(path string, v reflect.Value) {
			seen[path] = seen[path] || !v.IsZero()
		})
	}
	for _, p := range paths() {
		if _, no := never[p]; !seen[p] && !no {
			t.Errorf("no interlock of these tests has %s", p)
		}
	}
}

// Every field that a site can write stands in a site of these tests.
func TestEveryWordIsReadBack(t *testing.T) {
	seen := map[string]bool{}
	for _, x := range config.ReadWritten(bundleOf(t, site, allOfIt), "interlocks") {
		for _, f := range x.Value.Fields {
			seen[f.Name] = true
		}
	}
	for _, f := range config.InterlockFields() {
		if !seen[f] {
			t.Errorf("no interlock of these tests writes %s", f)
		}
	}
}

// other changes a value to another one that the plan has.
func other(v reflect.Value) {
	switch v.Interface().(type) {
	case string:
		v.SetString(v.String() + "-x")
		return
	case []string:
		v.Set(reflect.ValueOf([]string{"manager", "technician"}))
		return
	case time.Duration:
		v.SetInt(v.Int() + int64(time.Second))
		return
	case float64:
		v.SetFloat(v.Float() + 1)
		return
	case rules.Priority, rules.Op:
		v.SetUint(v.Uint()%4 + 1)
		return
	case rules.BadPolicy:
		v.SetUint((v.Uint() + 1) % 3)
		return
	case bool:
		v.SetBool(!v.Bool())
		return
	case int:
		v.SetInt(v.Int() + 1)
		return
	case tag.ID:
		v.SetUint(max(v.Uint(), 2) - 1)
		return
	}
	panic("BUG: another of " + v.Type().String())
}

// Every field of rules.Interlock is told: where one is another, the sheet and what
// Compare compares are others.
func TestEveryFieldIsTold(t *testing.T) {
	b := bundleOf(t, site, allOfIt)
	told := map[string]bool{}
	plan := compiled(t, b)
	m := New(b, plan)
	says := teller{m: m, lang: i18n.En, exact: true}
	facts := func() string {
		var b strings.Builder
		for _, x := range m.plan.Rules.Interlocks {
			fmt.Fprintln(&b, x.Name, says.facts(x))
		}
		return b.String()
	}
	sheet := func() string { // the part of it that tells of interlocks
		p := &page{m: m, tellers: []teller{{m: m, lang: i18n.Zh}, {m: m, lang: i18n.En}}}
		p.matrices()
		return p.b.String()
	}
	shown, before := sheet(), facts()
	for i := range plan.Rules.Interlocks {
		leaves(reflect.ValueOf(&plan.Rules.Interlocks[i]).Elem(), "", func(path string, v reflect.Value) {
			was := reflect.New(v.Type()).Elem()
			was.Set(v)
			other(v)
			if facts() != before && sheet() != shown {
				told[path] = true
			}
			v.Set(was)
		})
	}
	if facts() != before {
		t.Fatal("the test left something changed")
	}
	for _, p := range paths() {
		if !told[p] {
			t.Errorf("the sheet and the comparison do not tell %s", p)
		}
	}
}
