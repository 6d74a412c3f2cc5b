package people

import (
	"bytes"
	"strings"
)

// heading begins a file that Put begins.
const heading = `# people.yaml: who may do what. Written by "davy person"; "davy apply" makes it live.
# Of a PIN only its argon2id hash is here: let nobody read this file who need not.
`

// Put adds a person to a people.yaml, or writes the one with the same id anew.
// Everything else of the file stays as it is. It knows the form that it writes:
// an id at the beginning of a line, the rest indented below.
func Put(file []byte, p *Person) []byte {
	var b bytes.Buffer
	b.WriteString(p.ID + ":\n  name: " + quoted(p.Name) + "\n")
	if len(p.Roles) > 0 {
		b.WriteString("  roles: [" + strings.Join(p.RoleNames(), ", ") + "]\n")
	}
	if p.PIN.Set() {
		b.WriteString("  pin: " + quoted(p.PIN.String()) + "\n")
	}
	if len(bytes.TrimSpace(file)) == 0 {
		return append([]byte(heading), b.Bytes()...)
	}
	from, to, ok := block(file, p.ID)
	if !ok {
		if from = len(file); file[from-1] != '\n' {
			file = append(bytes.Clone(file), '\n')
			from++
		}
		to = from
	}
	return splice(file, from, to, b.Bytes())
}

// Remove takes a person out of a people.yaml.
func Remove(file []byte, id string) []byte {
	from, to, _ := block(file, id)
	return splice(file, from, to, nil)
}

func splice(file []byte, from, to int, with []byte) []byte {
	out := append([]byte(nil), file[:from]...)
	return append(append(out, with...), file[to:]...)
}

// block finds a person's lines: from the id to the last indented line below it,
// whatever comments stand at the margin between them.
func block(file []byte, id string) (from, to int, ok bool) {
	for at := 0; at < len(file); {
		end := len(file)
		if i := bytes.IndexByte(file[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		line := string(file[at:end])
		switch {
		case !ok && strings.HasPrefix(line, id+":"):
			from, to, ok = at, end, true
		case ok && line[0] == '#': // ends nothing: what is indented below it is still this person's
		case ok && strings.TrimSpace(line) != "" && line[0] != ' ' && line[0] != '\t':
			return from, to, true
		case ok && strings.TrimSpace(line) != "":
			to = end
		}
		at = end
	}
	return from, to, ok
}

// quoted is a text as YAML and agent/config read it.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
