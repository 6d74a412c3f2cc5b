package operate

import (
	"bytes"
	"strings"
	"testing"

	"davy/agent/i18n"
	"davy/rules"
)

// What is shown of a permissive that does not hold, and of channels that do
// not agree; of an interlock that is not armed no permissive is due.
func TestPermissivesAreShown(t *testing.T) {
	alarm := func(name, of string, text rules.Text) Alarm {
		a := rules.AlarmView{Name: name, Of: of, Text: text, State: rules.Unacked, Standing: true, Priority: rules.High, Occurrence: 1, Raised: stamp("2026-03-02 03:00:00")}
		return AlarmOf(&a, names)
	}
	lock := func(name string, state rules.InterlockState) Interlock {
		return InterlockOf(&rules.InterlockView{
			Name: name, Text: rules.Text{Zh: "氯气联锁", En: "Chlorine"}, State: state,
			NotPermitted: []rules.PermissiveView{{Name: "caustic.level"}, {Name: "fan1.ready", Unknown: true}},
		})
	}
	v := night()
	v.Interlocks = []Interlock{lock("CL2", rules.Armed), lock("REST", rules.Unarmed)}
	v.Alarms = []Alarm{
		alarm("CL2.caustic.level.not-permitted", "not-permitted", rules.Text{Zh: "碱液液位", En: "Caustic level"}),
		alarm("CL2.discrepancy", "discrepancy", rules.Text{Zh: "氯气联锁", En: "Chlorine"}),
	}
	for l, want := range map[i18n.Lang][]string{
		i18n.En: {"Caustic level: this permissive does not hold", "Chlorine: the channels do not agree", "not permitted", "caustic.level, fan1.ready not known"},
		i18n.Zh: {"碱液液位：允许条件不满足", "氯气联锁：各通道不一致", "允许条件不满足", "caustic.level，fan1.ready 未知"},
	} {
		p := Paper{Lang: l, Zone: zone}
		var b bytes.Buffer
		if err := p.Status(&b, v); err != nil {
			t.Fatal(err)
		}
		if err := p.Alarms(&b, v); err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(b.String(), w) {
				t.Errorf("%s lacks %q:\n%s", l, w, b.String())
			}
		}
		for line := range strings.Lines(b.String()) {
			if strings.Contains(line, "REST") && strings.Contains(line, "caustic") {
				t.Errorf("%s: %s", l, line)
			}
		}
	}
}
