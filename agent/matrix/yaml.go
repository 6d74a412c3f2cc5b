package matrix

import (
	"strings"

	"davy/agent/config"
)

// YAML writes interlocks as the section of a site: `interlocks:` and what is
// below it.
func YAML(interlocks []config.WrittenField) []byte {
	var b strings.Builder
	b.WriteString("interlocks:\n")
	for _, x := range interlocks {
		b.WriteString("  " + quoted(x.Name) + ":\n")
		for _, f := range x.Value.Fields {
			if f.Value.Items == nil {
				b.WriteString("    " + f.Name + ": " + flow(f.Value) + "\n")
				continue
			}
			b.WriteString("    " + f.Name + ":\n")
			for _, item := range f.Value.Items {
				b.WriteString("      - " + flow(item) + "\n")
			}
		}
	}
	if len(interlocks) == 0 {
		b.WriteString("  {}\n")
	}
	return []byte(b.String())
}

// flow writes a value on one line.
func flow(w config.Written) string {
	if w.Fields == nil {
		return quoted(w.Text)
	}
	var parts []string
	for _, f := range w.Fields {
		parts = append(parts, f.Name+": "+flow(f.Value))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// quoted puts a text into quotes unless YAML and a person read it alike without.
func quoted(s string) string {
	plain := s != "" && strings.TrimSpace(s) == s
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		switch {
		case letter || r >= 0x3400 && r <= 0x9fff:
		case i > 0 && strings.ContainsRune(" .-_/<>=%°", r):
		default:
			plain = false
		}
	}
	if plain {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}
