package config

import (
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"davy/agent/i18n"
	"davy/agent/people"
)

const (
	peopleSite = "davy: 1\ngateway: {id: GW-1, name: x}\npeople: people.yaml\n"
	pinHash    = "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"
	twoPersons = "A-017:\n  name: 李伟 #2\n  roles: [shift-leader, operator]\n  pin: " + pinHash + "\n\nchen: {name: Chen}\n"
)

func readPeople(t *testing.T, site, persons string) (*Bundle, *Plan, Problems) {
	t.Helper()
	fsys := fstest.MapFS{SiteFile: {Data: []byte(site)}}
	if persons != "" {
		fsys["people.yaml"] = &fstest.MapFile{Data: []byte(persons)}
	}
	b, p := ReadSite(fsys, ".", nil)
	plan, q := Compile(b, testSet())
	return b, plan, p.Join(q)
}

func TestPeople(t *testing.T) {
	b, plan, problems := readPeople(t, peopleSite, strings.Replace(twoPersons, "李伟 #2", "'李伟 #2'", 1))
	if plan == nil || len(problems) != 1 || problems[0].Code != "person-without-pin" || problems[0].Place.String() != "people.yaml:6:1" {
		t.Fatalf("%v", codes(problems))
	}
	if _, have := b.File("people.yaml"); !have {
		t.Error("the persons are no part of the plan")
	}
	p := &plan.People
	li := p.Find("A-017")
	if len(p.Persons) != 2 || li == nil || li.Name != "李伟 #2" || !slices.Equal(li.Roles, []people.Role{people.Operator, people.ShiftLeader}) || li.PIN.String() != pinHash {
		t.Errorf("%+v", p.Persons)
	}
	if p.File != "people.yaml" || p.NamesToRegulator || p.Apply != nil || p.Able(nil) != 1 {
		t.Errorf("%+v", p)
	}
	alone, q := ReadPeople(b, "")
	if len(q) != 1 || len(alone.Persons) != 2 || alone.File != "people.yaml" {
		t.Errorf("alone: %+v, %v", alone, codes(q))
	}
	other := &Bundle{}
	for _, f := range b.Files {
		other.Put(f.Name, f.Data)
	}
	other.Put("people.yaml", []byte("A-017: {name: x, pin: "+strings.Replace(pinHash, "MDE", "MDF", 1)+"}\n"))
	if other.Hash() == b.Hash() {
		t.Error("another PIN is the same plan")
	}

	_, plan, problems = readPeople(t, strings.Replace(peopleSite, "people.yaml", "{file: people.yaml, apply: [ehs, operator], names_to_regulator: yes}", 1), twoPersons[:strings.Index(twoPersons, " #2")]+twoPersons[strings.Index(twoPersons, " #2")+3:])
	if plan == nil || !plan.People.NamesToRegulator || !slices.Equal(plan.People.Apply, []people.Role{people.Operator, people.EHS}) {
		t.Errorf("%v", codes(problems))
	}
	if _, plan, problems = readPeople(t, "davy: 1\ngateway: {id: GW-1, name: x}\n", ""); plan == nil || !plan.People.Empty() || len(problems) != 0 {
		t.Errorf("nobody: %v", codes(problems))
	}
}

func TestPeopleProblems(t *testing.T) {
	good := "A-017:\n  name: 李伟\n  roles: [operator]\n  pin: " + pinHash + "\n"
	for _, x := range []struct{ from, to, want string }{
		{"name: 李伟\n", "«nmae: 李伟\n", "missing-field unknown-field"},
		{"name: 李伟\n", "name: «''\n", "text-empty"},
		{"name: 李伟\n", "name: «{zh: 李, en: Li}\n", "not-a-value"},
		{"name: 李伟\n", "name: «" + strings.Repeat("李", people.MaxNameText+1) + "\n", "text-too-long"},
		{"A-017:\n", "«李伟:\n", "bad-person-id"},
		{"A-017:\n", "«" + strings.Repeat("a", 49) + ":\n", "bad-person-id"},
		{"A-017:\n", "a-017: {name: x}\n«A-017:\n", "person-alike warning-person-without-pin"},
		{"A-017:\n", "A-017: {name: x}\n«A-017:\n", "duplicate-key warning-person-without-pin"},
		{"roles: [operator]", "roles: [«oprator]", "bad-word"},
		{"roles: [operator]", "roles: [operator, «hero]", "bad-word"},
		{"roles: [operator]", "roles: «{operator: yes}", "not-a-value"},
		{"roles: [operator]", "roles: ehs", ""},
		{"  pin: " + pinHash + "\n", "", "people-nobody-applies warning-person-without-pin"},
		{"pin: " + pinHash, "pin: «731905", "bad-pin-hash"},
		{"pin: " + pinHash, "pin: «[731905]", "not-a-value"},
		{"m=19456,t=2", "m=4194304,t=2", "bad-pin-cost"},
		{"m=19456,t=2", "m=8,t=1", "bad-pin-cost"},
		{"pin:", "«password:", "unknown-field warning-person-without-pin"},
		{good, "# nobody\n", "file-empty"},
		{good, "{}\n", "warning-people-nobody"},
		{good, "«- a\n", "file-no-sections"},
		{good, "«[a\n", "file-no-sections yaml-bracket-open"},
	} {
		to, at := strings.Replace(x.to, "«", "", 1), Place{}
		text := strings.Replace(good, x.from, to, 1)
		if text == good {
			t.Fatalf("%q is not there", x.from)
		}
		if i := strings.Index(strings.Replace(good, x.from, x.to, 1), "«"); i >= 0 {
			at = Place{"people.yaml", 1 + strings.Count(text[:i], "\n"), 1 + len([]rune(text[strings.LastIndex(text[:i], "\n")+1:i]))}
		}
		b, _, problems := readPeople(t, peopleSite, text)
		got, found := marked(problems, at)
		if !found || strings.Join(got, " ") != x.want {
			t.Errorf("%q: %v, want %s at %v", x.to, codes(problems), x.want, at)
		}
		var out strings.Builder
		if err := problems.Write(&out, i18n.Zh, b); err != nil || strings.Contains(out.String(), "731905") && !strings.Contains(x.to, "[731905]") || strings.Contains(out.String(), "MDEy") {
			t.Errorf("a PIN is shown:\n%s", out.String())
		}
	}
	// The site itself.
	for in, want := range map[string]string{
		"people: nobody.yaml":                                    "people-file-missing warning-file-not-read",
		"people: {apply: [operator]}":                            "missing-field warning-file-not-read",
		"people: {file: people.yaml, apply: [manager]}":          "people-nobody-applies",
		"people: {file: people.yaml, apply: [boss]}":             "bad-word",
		"people: {file: people.yaml, names: yes}":                "unknown-field",
		"people: {file: people.yaml, names_to_regulator: maybe}": "bad-word",
		"people: [people.yaml]":                                  "not-a-value warning-file-not-read",
		"people: ../people.yaml":                                 "people-file-missing warning-file-not-read",
		"persons: people.yaml":                                   "unknown-field warning-file-not-read",
	} {
		_, _, problems := readPeople(t, strings.Replace(peopleSite, "people: people.yaml", in, 1), good)
		if got, _ := marked(problems, Place{}); strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", in, codes(problems), want)
		}
	}
}

// A permit that nobody can use is said where it is written.
func TestPermitRoles(t *testing.T) {
	good := "A-017: {name: x, roles: [operator], pin: '" + pinHash + "'}\n"
	f := func(site, roles string, want []string, problem string) {
		t.Helper()
		b := &Bundle{}
		b.Put(SiteFile, []byte(site))
		b.Put("people.yaml", []byte(good))
		c := newCompiler(b, nil)
		c.sections()
		c.compilePeople()
		got := c.permitRoles(readPaper("rules.yaml", []byte("roles: "+roles+"\n"), c.report).root.get("roles"))
		if codes, _ := marked(c.problems, Place{}); !slices.Equal(got, want) || strings.Join(codes, " ") != problem {
			t.Errorf("%s: %v, %v", roles, got, codes)
		}
	}
	f(peopleSite, "[ehs, operator]", []string{"operator", "ehs"}, "")
	f(peopleSite, "ehs", []string{"ehs"}, "warning-permit-for-nobody")
	f(peopleSite, "[]", nil, "")
	f(peopleSite, "hero", nil, "bad-word")
	f("davy: 1\ngateway: {id: GW-1, name: x}\n", "operator", []string{"operator"}, "warning-permit-without-people")
}

// What `davy person` writes is what is read, whatever stood there before.
func TestPutReads(t *testing.T) {
	hash, err := people.ParseHash(pinHash)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		file, want := []byte(rapid.SampledFrom([]string{"", "# mine\n", "zz9: {name: x}\n", "zz9:\n  name: x\n\n  # of zz9\n"}).Draw(t, "before")), map[string]people.Person{}
		for range rapid.IntRange(1, 8).Draw(t, "edits") {
			p := people.Person{
				ID:    rapid.SampledFrom([]string{"a", "ab", "A-017", "x_1"}).Draw(t, "id"),
				Name:  rapid.StringMatching(`[a-zA-Z'":#{}\[\]\\,&*!|>%@ 张伟·-]{0,8}[a-z张'"#]`).Draw(t, "name"),
				Roles: rapid.SampledFrom([][]people.Role{nil, {people.EHS}, {people.Operator, people.Engineer}}).Draw(t, "roles"),
				PIN:   hash,
			}
			if rapid.Bool().Draw(t, "remove") {
				file = people.Remove(file, p.ID)
				delete(want, p.ID)
			} else {
				file = people.Put(file, &p)
				want[p.ID] = p
			}
		}
		b := &Bundle{}
		b.Put(SiteFile, []byte(peopleSite))
		b.Put("people.yaml", file)
		got, problems := ReadPeople(b, "")
		for _, p := range problems {
			if !p.Warn && p.Code != "people-nobody-applies" && p.Code != "file-empty" {
				t.Fatalf("%s:\n%s", codes(problems), file)
			}
		}
		for i := range got.Persons {
			p := &got.Persons[i]
			w, have := want[p.ID]
			if p.ID != "zz9" && (!have || p.Name != w.Name || !slices.Equal(p.Roles, w.Roles) || p.PIN.String() != w.PIN.String()) {
				t.Fatalf("%+v, want %+v:\n%s", p, w, file)
			}
			delete(want, p.ID)
		}
		if len(want) > 0 {
			t.Fatalf("lost %v:\n%s", want, file)
		}
	})
}

// A comment at the margin is part of no form that Put writes and ends nobody's
// lines: what stands below it must not become the person's above.
func TestChangedAroundComments(t *testing.T) {
	const before = "zhang:\n  name: Zhang\nli:\n  name: Li\n# of Li\n\n  roles: [engineer]\n  pin: '" + pinHash + "'\n# of Wang\nwang:\n  name: Wang\n"
	zhang, wang := people.Person{ID: "zhang", Name: "Zhang"}, people.Person{ID: "wang", Name: "Wang"}
	li := people.Person{ID: "li", Name: "Li", Roles: []people.Role{people.EHS}}
	for what, x := range map[string]struct {
		file []byte
		want []people.Person
	}{
		"removed": {people.Remove([]byte(before), "li"), []people.Person{wang, zhang}},
		"put":     {people.Put([]byte(before), &li), []people.Person{li, wang, zhang}},
	} {
		b := &Bundle{}
		b.Put(SiteFile, []byte(peopleSite))
		b.Put("people.yaml", x.file)
		got, _ := ReadPeople(b, "")
		if !reflect.DeepEqual(got.Persons, x.want) || !strings.Contains(string(x.file), "# of Wang\nwang:") {
			t.Errorf("%s: %+v\n%s", what, got.Persons, x.file)
		}
	}
}

// The persons are gathered, compared and shown like any file of a site, their hashes not.
func TestPeopleOfTheBundle(t *testing.T) {
	dir := fstest.MapFS{SiteFile: {Data: []byte(peopleSite)}, "people.yaml": {Data: []byte(twoPersons)}}
	b, _ := ReadSite(dir, ".", nil)
	if !b.Same(dir, ".", nil) {
		t.Error("the same is another")
	}
	before := twoPersons
	dir["people.yaml"] = &fstest.MapFile{Data: []byte(strings.Replace(before, "MDEy", "MDEz", 1))}
	if b.Same(fs.FS(dir), ".", nil) {
		t.Error("another PIN is the same site")
	}
	c, _ := ReadSite(dir, ".", nil)
	var out strings.Builder
	if err := WriteDiff(&out, Diff(b, c)); err != nil || strings.Contains(out.String(), "MDE") || strings.Count(out.String(), "$argon2id$***") != 2 {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// A PIN that somebody wrote in plain is in no message, whatever the field is called.
func TestNoPINIsShown(t *testing.T) {
	for _, persons := range []string{
		"chen:\n  name: Chen\n  pni: secret77\n",
		"chen:\n  name: Chen\n  pin:secret77\n",
		"chen: {name: Chen, roles: [nobody], pin: secret77}\n",
		"chen: {pin: secret77, naem: x}\n",
		"chen: secret77\n",
		"chen:\n  name: Chen\n  pin: secret77\n  roles: [operater]\n",
		"chen:\n  name: Chen\n  password: 'secret77\n",
		"secret77\n",
	} {
		b, _, problems := readPeople(t, peopleSite, persons)
		if len(problems) == 0 {
			t.Errorf("nothing is wrong with %q", persons)
		}
		for _, lang := range []i18n.Lang{i18n.Zh, i18n.En} {
			var out strings.Builder
			if err := problems.Write(&out, lang, b); err != nil || strings.Contains(out.String(), "secret77") {
				t.Errorf("%q, %v:\n%s", persons, err, out.String())
			}
		}
	}
}
