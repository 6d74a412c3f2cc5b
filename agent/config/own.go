package config

import (
	"errors"
	"slices"
	"strings"

	"davy/drivers"
)

// ownFields adds to a form what the drivers of the set have of their own. What
// belongs to other kinds only is in the form too, so that it can be named; with
// the kind not known ("") nobody's is refused.
func (c *compiler) ownFields(f form, kind string, of func(drivers.Driver) []drivers.Field) form {
	shared := len(f)
	for _, k := range sortedDrivers(c.set) {
		for _, x := range of(c.set[k]) {
			i := slices.IndexFunc(f, func(y field) bool { return y.name == x.Name })
			switch {
			case i < 0:
				f = append(f, field{name: x.Name, of: k, also: x.Also})
			case i < shared:
				panic("BUG: config: driver " + k + " has a field " + x.Name + ", which is taken")
			default:
				f[i].of += ", " + k
			}
		}
	}
	for i := shared; i < len(f); i++ {
		if kind == "" || slices.Contains(strings.Split(f[i].of, ", "), kind) {
			f[i].of = ""
		} else {
			f[i].also = nil
		}
	}
	return f
}

func sortedDrivers(set drivers.Set) []string {
	var out []string
	for k := range set {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// with adds those of more that the form does not have.
func (f form) with(more ...field) form {
	for _, x := range more {
		if !slices.ContainsFunc(f, func(y field) bool { return y.name == x.name }) {
			f = append(f, x)
		}
	}
	return f
}

// ownValues are a driver's own fields as they are written, each with its place;
// ok is false where one of them could not be read. The content of a file stands
// for its name.
func (c *compiler) ownValues(f fields, own []drivers.Field) (values drivers.Fields, at map[string]*node, ok bool) {
	values, at, ok = drivers.Fields{}, map[string]*node{}, true
	for _, x := range own {
		n := f.get(x.Name)
		if n == nil {
			continue
		}
		read := c.joined
		if x.File {
			read = func(n *node) (string, bool) { return c.content(x.Name, n) }
		}
		s, fine := read(n)
		if !fine {
			ok = false
			continue
		}
		values[x.Name], at[x.Name] = s, n
		if !x.File {
			c.secrets(n)
		}
	}
	return values, at, ok
}

// secrets keeps the names that follow the word secret in a value.
func (c *compiler) secrets(n *node) {
	toks := c.lex(n)
	for i := range toks {
		if i > 0 && toks[i-1].text == "secret" && toks[i].text != "," {
			c.plan.Secrets = append(c.plan.Secrets, Secret{toks[i].text, toks[i].place})
		}
	}
}

// MissingSecret is the warning that a secret is not stored here.
func MissingSecret(x Secret) Problem {
	return Problem{Place: x.Place, Width: max(len(x.Name), 1), Code: "secret-missing", Hint: "secret-missing", Args: makeArgs([]any{"name", x.Name}), Warn: true}
}

// joined reads one value, or a list of values, which are joined with ", ".
func (c *compiler) joined(n *node) (string, bool) {
	if n == nil || n.lost || n.kind != list {
		return c.plain(n)
	}
	var parts []string
	for _, item := range n.items {
		s, ok := c.plain(item)
		if !ok {
			n.lost = true
			return "", false
		}
		parts = append(parts, s)
	}
	if len(parts) == 0 {
		c.bad(n, "list-empty", "")
		return "", false
	}
	return strings.Join(parts, ", "), true
}

// content reads the files that a field names, one after the other where there
// is a list.
func (c *compiler) content(name string, n *node) (string, bool) {
	items := []*node{n}
	if n.kind == list && !n.lost {
		items = n.items
	}
	var out strings.Builder
	for _, item := range items {
		s, ok := c.plain(item)
		if !ok {
			n.lost = true
			return "", false
		}
		data, have := c.b.File(s)
		if !have {
			c.bad(item, "field-file-missing", "field-file-missing", "field", name, "name", s)
			n.lost = true
			return "", false
		}
		out.Write(data)
	}
	if len(items) == 0 {
		c.bad(n, "list-empty", "")
		return "", false
	}
	return out.String(), true
}

// ownBad reports what a driver says of its own fields, each at its field; what
// is of none stands at target.
func (c *compiler) ownBad(target *node, at map[string]*node, code string, err error) {
	for _, err := range split(err) {
		n, code := target, code
		var fe *drivers.FieldError
		if errors.As(err, &fe) {
			err = fe.Err
			if own := at[fe.Field]; own != nil {
				n, code = own, "bad-field"
			}
		}
		c.driverBad(n, code, err)
	}
}

// split takes errors that were joined apart.
func split(err error) []error {
	j, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var out []error
	for _, e := range j.Unwrap() {
		out = append(out, split(e)...)
	}
	return out
}

// linkFiles are the files that fields of links may name, for ReadSite, which
// knows no drivers: every value that could be a file's name.
func (c *compiler) linkFiles() []string {
	var out []string
	for _, file := range []string{SiteFile, RulesFile} {
		p := c.paper(file)
		if p == nil || p.root.get("links") == nil {
			continue
		}
		for _, l := range p.root.get("links").pairs {
			for _, x := range l.val.pairs {
				for _, n := range append([]*node{x.val}, x.val.items...) {
					if n.kind == scalar && goodName(n.text) && !slices.Contains(out, n.text) {
						out = append(out, n.text)
					}
				}
			}
		}
	}
	return out
}
