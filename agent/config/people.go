package config

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"davy/agent/people"
)

// People is who may do what at this site. Empty, everybody is claimed: who is
// logged in at the gateway, and no more is known.
type People struct {
	people.Roll
	File string // of the bundle; "" the site names none
	// NamesToRegulator: an authority asked for persons' names; else it gets ids.
	NamesToRegulator bool
	Place            Place
}

var peopleForm = form{
	{name: "file", must: true},
	{name: "apply", also: []string{"may_apply"}},
	{name: "names_to_regulator", also: []string{"names", "names-to-regulator"}},
}

var personForm = form{
	{name: "name", must: true},
	{name: "roles", also: []string{"role"}},
	{name: "pin", also: []string{"password", "hash", "pin_hash"}},
}

// compilePeople reads `people: people.yaml`, or with more to say
// `people: {file: people.yaml, apply: [engineer], names_to_regulator: yes}`,
// and the persons of that file.
func (c *compiler) compilePeople() {
	if len(c.top["people"]) == 0 {
		return
	}
	n, p := c.top["people"][0], &c.plan.People
	p.Place = n.place
	file := n
	if n.kind == section {
		f := c.read(n, "people", peopleForm)
		file = f.get("file")
		p.Apply = c.roleList(f.get("apply"))
		p.NamesToRegulator = c.yes(f.get("names_to_regulator"), false)
	}
	name, ok := c.plain(file)
	if !ok {
		return
	}
	p.File = name
	if _, have := c.b.File(name); !have {
		c.bad(file, "people-file-missing", "people-file", "name", name)
		return
	}
	c.persons(c.paper(name).root)
	c.private(name)
	switch {
	case file.lost || n.lost || c.lostIn(name):
	case p.Empty():
		c.warn(file, "people-nobody", "people-file")
	case p.Able(p.Apply) == 0:
		c.bad(n, "people-nobody-applies", "people-nobody-applies", "roles", listing(roleWords(p.Apply)))
	}
}

// private lets no problem of the persons' file show more of its line than it must.
func (c *compiler) private(file string) {
	for i := range c.problems {
		p := &c.problems[i]
		if p.private || p.Place.File != file {
			continue
		}
		p.private = true
		if _, is := p.Args["text"]; is && p.Code != "bad-word" && p.Code != "bad-person-id" { // a role, an id
			p.Args["text"] = "…"
		}
	}
}

// lostIn reports whether something of a file could not be read.
func (c *compiler) lostIn(file string) bool {
	return slices.ContainsFunc(c.problems, func(p Problem) bool { return p.Place.File == file && !p.Warn })
}

// persons reads the persons of a file, by their ids.
func (c *compiler) persons(root *node) {
	if !c.isSection(root, "people") {
		return
	}
	roll := &c.plan.People.Roll
	first := map[string]*node{} // by the id in small letters
	for _, x := range root.pairs {
		id := x.key.text
		switch before := first[strings.ToLower(id)]; {
		case x.key.lost:
			continue
		case !people.ID(id):
			c.bad(x.key, "bad-person-id", "bad-person-id", "text", id, "limit", people.MaxID)
			continue
		case before != nil:
			c.bad(x.key, "person-alike", "person-alike", "name", before.text, "place", before.place.String())
			continue
		case len(roll.Persons) == people.MaxPersons:
			c.bad(x.key, "too-many", "", "what", key("people"), "limit", people.MaxPersons)
			return
		}
		first[strings.ToLower(id)] = x.key
		roll.Persons = append(roll.Persons, c.person(x))
	}
	slices.SortFunc(roll.Persons, func(a, b people.Person) int { return strings.Compare(a.ID, b.ID) })
}

func (c *compiler) person(x pair) people.Person {
	p := people.Person{ID: x.key.text}
	f := c.read(x.val, "person", personForm)
	if n := f.get("name"); n != nil && c.isScalar(n) {
		t, _ := c.prose(n)
		if p.Name = t.Zh; utf8.RuneCountInString(p.Name) > people.MaxNameText {
			c.bad(n, "text-too-long", "", "limit", people.MaxNameText)
		}
	}
	p.Roles = c.roleList(f.get("roles"))
	n := f.get("pin")
	switch s, ok := c.plain(n); {
	case n == nil && !x.val.lost && x.val.kind == section && !c.lostNear(x.val, "pin"):
		c.warn(x.key, "person-without-pin", "person-pin", "name", p.ID)
	case ok:
		var err error
		if p.PIN, err = people.ParseHash(s); errors.Is(err, people.ErrCost) {
			c.bad(n, badPINCost, "person-pin", "name", p.ID)
		} else if err != nil {
			c.bad(n, badPINHash, "person-pin", "name", p.ID)
		}
	}
	return p
}

// What stands at these may be a PIN itself: it is not shown.
const (
	badPINHash = "bad-pin-hash"
	badPINCost = "bad-pin-cost"
)

// roleList reads one role or a list of them: of the closed list of people.Roles,
// in its order, each once. nil: none is written, or something was reported.
func (c *compiler) roleList(n *node) []people.Role {
	if n == nil || n.lost {
		return nil
	}
	items := []*node{n}
	if n.kind == list {
		items = n.items
	}
	var have []string
	for _, x := range items {
		if s, ok := c.word(x, roleNames()...); ok {
			have = append(have, s)
		}
	}
	var out []people.Role
	for _, r := range people.Roles() {
		if slices.Contains(have, string(r)) {
			out = append(out, r)
		}
	}
	return out
}

// permitRoles reads the roles of a permit, and warns where nobody could be
// proved to have one of them: a permit that nobody can use. To be called after
// compilePeople.
func (c *compiler) permitRoles(n *node) []string {
	roles := c.roleList(n)
	if n != nil && !n.lost {
		c.permitted(n, roles)
	}
	var out []string
	for _, r := range roles {
		out = append(out, string(r))
	}
	return out
}

// permitted warns at n where nobody with any of the roles can be proved.
func (c *compiler) permitted(n *node, roles []people.Role) {
	switch p := &c.plan.People; {
	case len(c.top["people"]) == 0: // said once: one file mends them all
		if !slices.ContainsFunc(c.problems, func(p Problem) bool { return p.Code == "permit-without-people" }) {
			c.warn(n, "permit-without-people", "people-file")
		}
	case p.Able(roles) == 0 && !c.lostIn(p.File):
		c.warn(n, "permit-for-nobody", "permit-for-nobody", "roles", listing(roleWords(roles)))
	}
}

func roleNames() []string {
	var out []string
	for _, r := range people.Roles() {
		out = append(out, string(r))
	}
	return out
}

// roleWords lists roles as the files write them; none is every proved person.
func roleWords(roles []people.Role) string {
	if len(roles) == 0 {
		return "*"
	}
	var out []string
	for _, r := range roles {
		out = append(out, string(r))
	}
	return strings.Join(out, ", ")
}

// peopleFile is the file that `people:` names, "" none, for ReadSite.
func (c *compiler) peopleFile() string {
	for _, file := range []string{SiteFile, RulesFile} {
		p := c.paper(file)
		if p == nil {
			continue
		}
		n := p.root.get("people")
		if n != nil && n.kind == section {
			n = n.get("file")
		}
		if n != nil && n.kind == scalar && goodName(n.text) {
			return n.text
		}
	}
	return ""
}

// ReadPeople reads only the persons of a bundle, whatever else is wrong with
// it; the problems are those of the persons. Where the site names no file of
// persons it is file ("" none). Where the problems are not OK the persons are
// those that could be read.
func ReadPeople(b *Bundle, file string) (*People, Problems) {
	c := newCompiler(b, nil)
	c.quiet = true
	c.sections()
	c.quiet = false
	c.compilePeople()
	if _, have := b.File(file); have && len(c.top["people"]) == 0 {
		c.persons(c.paper(file).root)
		c.private(file)
	}
	c.problems.tidy()
	return &c.plan.People, c.problems
}

// OpenPeople is the warning that everybody on the machine can read the file of
// the persons.
func OpenPeople(p *People) Problem {
	return Problem{Place: p.Place, Width: len(p.File), Code: "people-open", Hint: "people-open", Args: makeArgs([]any{"name", p.File}), Warn: true}
}
