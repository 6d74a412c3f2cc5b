package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"davy/agent/accept"
	"davy/agent/cli"
	"davy/agent/config"
	"davy/agent/i18n"
	"davy/agent/people"
	firmware "davy/firmware-configs"
)

// roster is the file of a site's persons while it is changed.
type roster struct {
	dir    string
	bundle *config.Bundle
	name   string // of the file
	named  bool   // site.yaml names it
	people *config.People
}

// personCommand changes who may do what in a site directory. Like every change
// of it, it is live when it was applied.
func personCommand(c *cli.Call) error {
	what := c.Args[0]
	change, known := map[string]func(*cli.Call, *roster, *people.Person) error{"list": nil, "add": addPerson, "remove": removePerson, "pin": setPIN, "roles": setRoles}[what]
	if !known || len(c.Args) < 2 || (what == "list") != (len(c.Args) == 2) {
		return cli.Usage("davy.person.what", nil)
	}
	r, problems, err := openRoster(c.Args[1])
	if err != nil {
		return err
	}
	if what == "list" {
		if err := problems.Write(c.Err, c.Lang, r.bundle); err != nil {
			return err
		}
		return listPersons(c, r)
	}
	id := c.Args[2]
	if !people.ID(id) {
		return cli.Usage("davy.person.id", i18n.Args{"limit": people.MaxID})
	}
	p := r.people.Find(id)
	switch {
	case what == "add" && p != nil:
		return &cli.Error{Exit: cli.Failed, Key: "davy.person.there", Args: i18n.Args{"person": id}}
	case what == "add":
		p = &people.Person{ID: id}
	case p == nil:
		if err := problems.Write(c.Err, c.Lang, r.bundle); err != nil { // it may be one of those that could not be read
			return err
		}
		return &cli.Error{Exit: cli.Failed, Key: "davy.person.none", Args: i18n.Args{"person": id, "dir": r.dir}}
	}
	copied := *p
	return change(c, r, &copied)
}

// openRoster reads the persons of a site, whatever else is wrong with it.
func openRoster(dir string) (*roster, config.Problems, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, nil, &cli.Error{Exit: cli.Wrong, Key: "davy.site.none", Args: i18n.Args{"dir": dir}, Hint: "davy.hint.site"}
	}
	bundle, problems := config.ReadSite(os.DirFS(dir), ".", firmware.Devices)
	if bundle == nil {
		return nil, nil, &cli.Error{Exit: cli.Wrong, Key: "davy.person.site", Args: i18n.Args{"dir": dir}, Hint: "davy.hint.site"}
	}
	r := &roster{dir: dir, bundle: bundle}
	var found config.Problems
	r.people, found = config.ReadPeople(bundle, "")
	if r.name, r.named = r.people.File, r.people.File != ""; !r.named {
		r.name = config.PeopleFile
		data, err := os.ReadFile(filepath.Join(dir, r.name))
		if err == nil { // written here before, and not named yet
			r.bundle = bundleWith(bundle, r.name, data)
			r.people, found = config.ReadPeople(r.bundle, r.name)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, &cli.Error{Exit: cli.Failed, Key: "davy.person.unwritten", Args: i18n.Args{"file": r.name}, Cause: err}
		}
	}
	for _, p := range problems { // of the file itself: that it cannot be read
		if p.Place.File == r.name && !p.Warn {
			found = found.Join(config.Problems{p})
		}
	}
	return r, found, nil
}

func bundleWith(b *config.Bundle, name string, data []byte) *config.Bundle {
	out := &config.Bundle{Files: slices.Clone(b.Files)}
	out.Put(name, data)
	return out
}

func addPerson(c *cli.Call, r *roster, p *people.Person) error {
	if p.Name = strings.TrimSpace(c.Flag("name")); p.Name == "" {
		return cli.Usage("davy.person.name", i18n.Args{"person": p.ID})
	}
	var err error
	if p.Roles, err = rolesOf(c); err != nil {
		return err
	}
	if err := newPIN(c, p); err != nil {
		return err
	}
	return r.put(c, p, "davy.person.added")
}

func setPIN(c *cli.Call, r *roster, p *people.Person) error {
	if err := newPIN(c, p); err != nil {
		return err
	}
	return r.put(c, p, "davy.person.pin-set")
}

func setRoles(c *cli.Call, r *roster, p *people.Person) (err error) {
	if p.Roles, err = rolesOf(c); err != nil {
		return err
	}
	return r.put(c, p, "davy.person.roles-set")
}

func removePerson(c *cli.Call, r *roster, p *people.Person) error {
	data, _ := r.bundle.File(r.name)
	return r.write(c, people.Remove(data, p.ID), p, "davy.person.removed")
}

// newPIN asks for a PIN and says what is wrong with it.
func newPIN(c *cli.Call, p *people.Person) error {
	from, err := pinSource(c)
	if err != nil {
		return err
	}
	pin, err := readPIN(c, from, p.ID, true)
	if err != nil {
		return err
	}
	if err := people.CheckPIN(pin, p); err != nil {
		return &cli.Error{Exit: cli.Failed, Key: "davy.pin." + err.Error(), Args: i18n.Args{"least": people.MinPIN, "most": people.MaxPIN}}
	}
	p.PIN = people.NewHash(pin)
	return nil
}

// rolesOf reads --roles operator,ehs; "none" is no role.
func rolesOf(c *cli.Call) ([]people.Role, error) {
	all := c.Flag("roles")
	list := strings.FieldsFunc(all, func(r rune) bool { return strings.ContainsRune(",，、 ", r) })
	bad := slices.IndexFunc(list, func(s string) bool { return !people.Known(s) && (s != "none" || len(list) > 1) })
	if len(list) == 0 || bad >= 0 {
		given := all
		if bad >= 0 {
			given = list[bad]
		}
		return nil, cli.Usage("davy.person.roles", i18n.Args{"value": given, "roles": allRoles{}})
	}
	var out []people.Role
	for _, r := range people.Roles() {
		if slices.Contains(list, string(r)) {
			out = append(out, r)
		}
	}
	return out, nil
}

// allRoles lists the roles with their words.
type allRoles struct{}

// In implements i18n.Texter.
func (allRoles) In(l i18n.Lang) string {
	var out []string
	for _, r := range people.Roles() {
		out = append(out, string(r)+" ("+l.Text("role."+string(r), nil)+")")
	}
	return strings.Join(out, ", ")
}

func (r *roster) put(c *cli.Call, p *people.Person, key string) error {
	data, _ := r.bundle.File(r.name)
	return r.write(c, people.Put(data, p), p, key)
}

// write replaces the file if the persons in it hold together; else nothing is
// written, and what would be wrong is said.
func (r *roster) write(c *cli.Call, data []byte, p *people.Person, key string) error {
	after := bundleWith(r.bundle, r.name, data)
	all, problems := config.ReadPeople(after, r.name)
	if err := problems.Write(c.Err, c.Lang, after); err != nil {
		return err
	}
	if !problems.OK() || all.Find(p.ID) == nil != (key == "davy.person.removed") {
		return &cli.Error{Exit: cli.Wrong, Key: "davy.person.refused", Args: i18n.Args{"file": r.name}}
	}
	if !othersSame(r.people, all, p.ID) {
		return &cli.Error{Exit: cli.Wrong, Key: "davy.person.others", Args: i18n.Args{"file": r.name}}
	}
	if err := writeRoster(r.dir, r.name, data); err != nil {
		return &cli.Error{Exit: cli.Failed, Key: "davy.person.unwritten", Args: i18n.Args{"file": r.name}, Cause: err}
	}
	c.Say(key, i18n.Args{"person": p.ID, "file": filepath.Join(r.dir, r.name), "site": r.dir})
	if !r.named {
		c.Say("davy.person.name-it", i18n.Args{"file": r.name})
	}
	return nil
}

// othersSame reports whether everybody but one person is as before: a file that
// a person wrote may look in a way that people.Put and people.Remove do not know.
func othersSame(before, after *config.People, but string) bool {
	others := func(p *config.People) []people.Person {
		return slices.DeleteFunc(slices.Clone(p.Persons), func(x people.Person) bool { return x.ID == but })
	}
	return slices.EqualFunc(others(before), others(after), func(a, b people.Person) bool {
		return a.ID == b.ID && a.Name == b.Name && slices.Equal(a.Roles, b.Roles) && a.PIN.String() == b.PIN.String()
	})
}

// writeRoster keeps owner and group of the file, or of the directory for a new
// one; others may not read it.
func writeRoster(dir, name string, data []byte) error {
	path, mode := filepath.Join(dir, name), fs.FileMode(0o640)
	like, err := os.Stat(path)
	if err == nil {
		mode = like.Mode().Perm() &^ 0o007
	} else if like, err = os.Stat(dir); err != nil {
		return err
	}
	if err := accept.WriteFile(path, data, mode); err != nil {
		return err
	}
	owner, ok := like.Sys().(*syscall.Stat_t)
	if !ok || os.Getuid() != 0 {
		return nil
	}
	return os.Lchown(path, int(owner.Uid), int(owner.Gid))
}

func listPersons(c *cli.Call, r *roster) error {
	type row struct {
		ID    string   `json:"id"`
		Name  string   `json:"name"`
		Roles []string `json:"roles"`
		PIN   bool     `json:"pin"`
		Apply bool     `json:"apply"`
	}
	rows := []row{}
	for i := range r.people.Persons {
		p := &r.people.Persons[i]
		rows = append(rows, row{p.ID, p.Name, append([]string{}, p.RoleNames()...), p.PIN.Set(), p.PIN.Set() && r.people.MayApply(p)})
	}
	if c.JSON {
		return encode(c, rows)
	}
	if len(rows) == 0 {
		c.Say("davy.person.nobody", i18n.Args{"dir": r.dir})
		return nil
	}
	say := func(key string) string { return c.Lang.Text(key, nil) }
	mark := func(yes bool, key string) string {
		if yes {
			return say(key)
		}
		return "-"
	}
	table := [][]string{{say("davy.person.head.id"), say("davy.person.head.name"), say("davy.person.head.pin"), say("davy.person.head.apply"), say("davy.person.head.roles")}}
	for _, p := range rows {
		var roles []string
		for _, x := range p.Roles {
			roles = append(roles, say("role."+x))
		}
		table = append(table, []string{p.ID, p.Name, mark(p.PIN, "davy.person.pin-is-set"), mark(p.Apply, "davy.person.applies"), strings.Join(roles, say("operate.comma"))})
	}
	writeTable(c, table)
	return nil
}

// writeTable prints rows in columns; the last one is as wide as it is.
func writeTable(c *cli.Call, table [][]string) {
	width := make([]int, len(table[0]))
	for _, row := range table {
		for i, cell := range row {
			width[i] = max(width[i], i18n.Width(cell))
		}
	}
	for _, row := range table {
		line := ""
		for i, cell := range row {
			line += i18n.Pad(cell, width[i]) + "  "
		}
		_, _ = c.Out.Write([]byte(strings.TrimRight(line, " ") + "\n"))
	}
}

// openPeople warns of a file of persons that everybody on the machine can read.
func openPeople(plan *config.Plan, dir string) config.Problems {
	if plan == nil || plan.People.File == "" {
		return nil
	}
	if info, err := os.Stat(filepath.Join(dir, plan.People.File)); err != nil || info.Mode().Perm()&0o004 == 0 {
		return nil
	}
	return config.Problems{config.OpenPeople(&plan.People)}
}
