package config

import (
	"strconv"
	"strings"

	"davy/drivers/tag"
	"davy/rules/ruletest"
)

// StoryText writes a story as an entry of `tests:` in rules.yaml. Read back it
// is the same story. It has what a search makes: values, qualities and
// expectations; ramps and acts are not written.
func (p *Plan) StoryText(s *ruletest.Story) string {
	var b strings.Builder
	b.WriteString("  - name: {zh: " + quoted(s.Name.Zh) + ", en: " + quoted(s.Name.En) + "}\n    story:\n")
	for i := range s.Steps {
		st := &s.Steps[i]
		b.WriteString("      - at: " + spell(st.At) + "\n")
		if len(st.Set) > 0 {
			b.WriteString("        set: {")
			for k := range st.Set {
				if k > 0 {
					b.WriteString(", ")
				}
				b.WriteString(string(p.Tags[st.Set[k].Tag].Name) + ": " + p.setText(&st.Set[k]))
			}
			b.WriteString("}\n")
		}
		if len(st.Expect) > 0 {
			b.WriteString("        expect: {")
			for k := range st.Expect {
				if k > 0 {
					b.WriteString(", ")
				}
				b.WriteString(st.Expect[k].Key + ": " + st.Expect[k].Want)
			}
			b.WriteString("}\n")
		}
	}
	return b.String()
}

func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// setText writes `140 ppm bad`.
func (p *Plan) setText(s *ruletest.Set) string {
	text := p.valueText(s.Tag, s.Value)
	for _, word := range []string{"bad", "stale", "sensor", "test", "uncertain", "forced", "warm-up", "calibration", "over-range", "under-range"} {
		if qualities[word] == s.Quality {
			return strings.TrimSpace(text + " " + word)
		}
	}
	return text
}

// valueText writes a value of a tag as the files do.
func (p *Plan) valueText(id tag.ID, v tag.Value) string {
	t := &p.Tags[id]
	if v.Kind() == tag.None {
		return ""
	}
	for _, n := range t.Names {
		if float64(n.Code) == v.Float() {
			return n.Name
		}
	}
	switch v.Kind() {
	case tag.Bool:
		if v.Float() == 1 {
			return "on"
		}
		return "off"
	case tag.Enum, tag.Text:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	}
	bits := 64
	if v.Kind() == tag.Float32 {
		bits = 32
	}
	return strings.TrimSpace(strconv.FormatFloat(v.Float(), 'f', -1, bits) + " " + t.Unit)
}
