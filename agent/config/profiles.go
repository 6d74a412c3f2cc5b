package config

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"davy/agent/i18n"
	"davy/rules"
)

// profileDir holds the profiles of a site that has its own, and of the library.
const profileDir = "profiles"

func profilePath(name string) string { return path.Join(profileDir, name+templateExt) }

// shipped are the profiles of firmware-configs that alarms may name, for who
// writes one wrong; a test holds them to the files.
var shipped = []string{"ammonia", "gb50493", "gbz21", "gbzt223", "isa182", "ne43"}

// A sourced number is one with its unit as the source writes it, how sure it
// is, and where it is from: "20 mg/m³ verified houwei".
type sourced struct {
	v       float64
	unit    string
	how     string // a product, as it is printed: "20 mg/m³ × 50 %"; "" it is none
	mark    string // verified: a public source says so; memory: to be confirmed; derived: reckoned or chosen by us
	sources []string
}

var marks = []string{"verified", "memory", "derived"}

// written is the number as the source writes it.
func (s *sourced) written() string {
	if s.how != "" {
		return s.how
	}
	return strings.TrimSuffix(decimal(s.v)+" "+s.unit, " ")
}

func decimal(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// A scheme is one file of profiles: a standard, or what goes with one.
type scheme struct {
	name     string
	title    rules.Text
	sources  map[string]string // key → where
	caveats  []rules.Text
	profiles map[string]*profile
	words    map[string]*level // of the levels that limits of exposure become
	action   *sourced          // % of a day's limit that is the action level; nil none
}

// A profile is what a scheme proposes for one substance or kind of signal.
type profile struct {
	scheme  *scheme
	name    string
	text    rules.Text
	gas     *gas
	levels  map[string]*level // by the names of limitKinds
	idlh    *sourced
	confirm rules.Text // what must be confirmed; may be empty

	deadband   *sourced // in % it is of the range
	raiseAfter *sourced
	clearAfter *sourced
	latch      bool
	ready      *sourced // longest warm-up
	test       *sourced // longest calibration, bump test or inhibit

	mac, twa, stel *sourced // limits of exposure; no alarm levels
}

// A level is one proposed limit.
type level struct {
	at        *sourced // nil where only the words of the level stand
	text      rules.Text
	priority  rules.Priority
	noShelve  bool
	overRange bool     // a value beyond the instrument's range counts as this level
	ofIDLH    *sourced // % of the IDLH, where no detector fits the limit
}

func (p *profile) full() string { return p.scheme.name + "/" + p.name }

// level returns the proposed limit of a kind, nil where there is none.
func (p *profile) level(kind string) *level {
	if p == nil || p.levels[kind] == nil || p.levels[kind].at == nil {
		return nil
	}
	return p.levels[kind]
}

// schemeForm is what a file of profiles may hold.
var schemeForm = form{
	{name: "davy"},
	{name: "title", must: true},
	{name: "sources", must: true},
	{name: "caveats"},
	{name: "levels"},
	{name: "idlh"},
	{name: "action"},
	{name: "deadband"},
	{name: "raise_after"},
	{name: "clear_after"},
	{name: "ready_within"},
	{name: "test_within"},
	{name: "profiles", must: true},
}

var profileForm = form{
	{name: "text"},
	{name: "gas"},
	{name: "high"},
	{name: "high-high"},
	{name: "low"},
	{name: "low-low"},
	{name: "levels"},
	{name: "idlh"},
	{name: "deadband"},
	{name: "raise_after"},
	{name: "clear_after"},
	{name: "ready_within"},
	{name: "test_within"},
	{name: "latch"},
	{name: "mac"},
	{name: "twa"},
	{name: "stel"},
	{name: "confirm"},
}

var levelForm = form{{name: "text", must: true}, {name: "priority", must: true}, {name: "shelve"}, {name: "over_range"}}

// profileHead reads what every file of profiles begins with.
func (c *compiler) profileHead(f fields, name string) *scheme {
	s := &scheme{name: name, sources: map[string]string{}, profiles: map[string]*profile{}}
	if n := f.get("davy"); n != nil {
		c.word(n, "1")
	}
	s.title, _ = c.prose(f.get("title"))
	for _, x := range c.nameList(f.get("sources"), "sources") {
		if c.isScalar(x.val) {
			s.sources[x.key.text] = x.val.text
		}
	}
	if n := f.get("caveats"); n != nil && c.isList(n, "- {zh: …, en: …}") {
		for _, item := range n.items {
			if t, ok := c.prose(item); ok {
				s.caveats = append(s.caveats, t)
			}
		}
	}
	return s
}

// scheme reads a file of profiles, once; nil where the bundle has none or it
// could not be read at all.
func (c *compiler) scheme(name string) *scheme {
	if s, seen := c.schemes[name]; seen {
		return s
	}
	if c.schemes == nil {
		c.schemes = map[string]*scheme{}
	}
	c.schemes[name] = nil
	p := c.paper(profilePath(name))
	if p == nil || p.root == nil {
		return nil
	}
	f := c.read(p.root, "profile-file", schemeForm)
	s := c.profileHead(f, name)
	c.schemes[name] = s
	words := map[string]*level{}
	c.levelWords(f.get("levels"), words)
	s.words, s.action = words, c.sourced(s, f.get("action"), "%")
	share := fields{form: form{}}
	if n := f.get("idlh"); n != nil {
		share = c.read(n, "idlh", form{{name: "high", must: true}, {name: "high-high", must: true}})
	}
	for _, x := range c.nameList(f.get("profiles"), "profiles") {
		s.profiles[x.key.text] = c.readProfile(s, f, words, share, x)
	}
	return s
}

// levelWords adds what the levels are called and how urgent they are.
func (c *compiler) levelWords(n *node, words map[string]*level) {
	if n == nil || !c.isSection(n, "levels") {
		return
	}
	var kinds form
	for _, k := range limitKinds[:4] {
		kinds = append(kinds, field{name: k.name})
	}
	f := c.read(n, "levels", kinds)
	for _, k := range kinds {
		n := f.get(k.name)
		if n == nil {
			continue
		}
		g := c.read(n, "level", levelForm)
		l := &level{}
		l.text, _ = c.prose(g.get("text"))
		l.priority, _ = c.priority(g.get("priority"))
		l.noShelve = !c.yes(g.get("shelve"), true)
		l.overRange = c.yes(g.get("over_range"), false)
		words[k.name] = l
	}
}

func (c *compiler) readProfile(s *scheme, file fields, words map[string]*level, share fields, x pair) *profile {
	f := c.read(x.val, "profile", profileForm)
	p := &profile{scheme: s, name: x.key.text, levels: map[string]*level{}}
	if n := f.get("gas"); n != nil {
		if _, ok := c.plain(n); ok {
			p.gas = c.gasNamed(n)
		}
	}
	switch n := f.get("text"); {
	case n != nil:
		p.text, _ = c.prose(n)
	case p.gas != nil:
		p.text = both("config.gas-subject", i18n.Args{"gas": p.gas.text.Zh}, i18n.Args{"gas": p.gas.text.En})
	case f.get("gas") == nil && !x.val.lost:
		c.badOnce(x.val, "missing-field", "missing-field", "field", "text", "what", key("profile"))
	}
	own := map[string]*level{}
	c.levelWords(f.get("levels"), own)
	for _, k := range limitKinds[:4] {
		n := f.get(k.name)
		if n == nil {
			continue
		}
		l := own[k.name]
		if l == nil {
			l = words[k.name]
		}
		if l == nil {
			c.bad(n, "level-no-words", "", "level", k.name)
			continue
		}
		mine := *l
		mine.at = c.sourced(s, n, "")
		if share.vals[k.name] != nil {
			mine.ofIDLH = c.sourced(s, share.vals[k.name], "%")
		}
		p.levels[k.name] = &mine
	}
	either := func(name string) *node {
		if n := f.get(name); n != nil {
			return n
		}
		return file.get(name)
	}
	p.idlh = c.sourced(s, f.get("idlh"), "mg/m³")
	p.deadband = c.sourced(s, either("deadband"), "")
	p.raiseAfter = c.sourcedDelay(s, either("raise_after"))
	p.clearAfter = c.sourcedDelay(s, either("clear_after"))
	p.ready = c.sourcedDelay(s, either("ready_within"))
	p.test = c.sourcedDelay(s, either("test_within"))
	p.latch = c.yes(f.get("latch"), false)
	p.mac, p.twa, p.stel = c.sourced(s, f.get("mac"), "mg/m³"), c.sourced(s, f.get("twa"), "mg/m³"), c.sourced(s, f.get("stel"), "mg/m³")
	if n := f.get("confirm"); n != nil {
		p.confirm, _ = c.prose(n)
	}
	return p
}

// sourced reads `20 mg/m³ verified houwei`: a number that is not negative, its
// unit, how sure it is, and keys of the file's sources. want is the unit that
// it must have, "" any.
func (c *compiler) sourced(s *scheme, n *node, want string) *sourced {
	const form = "20 mg/m³ verified SOURCE"
	if _, ok := c.plain(n); !ok {
		return nil
	}
	v, toks, ok := c.number(c.lex(n), n)
	if !ok {
		return nil
	}
	u, at, toks := unit(toks)
	switch {
	case u == "" || slices.Contains(marks, u):
		c.bad(n, "bad-form", "write-form", "text", n.text, "form", form)
		return nil
	case want != "" && u != want:
		c.bad(at, "unit-differs", "", "have", u, "want", want)
		return nil
	case v < 0:
		c.bad(n, "bad-number", "", "text", n.text)
		return nil
	case len(toks) < 2:
		c.bad(n, "no-source", "no-source", "text", n.text)
		return nil
	}
	mark, ok := c.word(toks[0], marks...)
	if !ok {
		return nil
	}
	out := &sourced{v: v, unit: u, mark: mark}
	for _, x := range toks[1:] {
		if _, known := s.sources[x.text]; !known {
			c.bad(x, "unknown-source", "no-source", "name", x.text)
			return nil
		}
		out.sources = append(out.sources, x.text)
	}
	return out
}

// sourcedDelay reads `2 s derived fit`, within the bounds of a delay that the
// site writes itself: no profile makes an alarm later than that.
func (c *compiler) sourcedDelay(s *scheme, n *node) *sourced {
	d := c.sourced(s, n, "s")
	if d != nil && d.v > maxDelay.Seconds() {
		c.bad(n, "out-of-bounds", "", "text", n.text, "low", spell(0), "high", spell(maxDelay))
		return nil
	}
	return d
}

// span is a sourced number of seconds.
func (s *sourced) span() time.Duration { return time.Duration(s.v * float64(time.Second)) }

// origin is how sure a number is and where it is from: "verified houwei".
func (s *sourced) origin() Origin { return Origin{s.mark, strings.Join(s.sources, " ")} }

// profileNamed returns the profile that an alarm names; what is unknown is a problem.
func (c *compiler) profileNamed(n *node) *profile {
	s, ok := c.plain(n)
	if !ok {
		return nil
	}
	if !templateName(s) {
		c.bad(n, "bad-form", "write-form", "text", s, "form", "gb50493/nh3")
		return nil
	}
	file, name, _ := strings.Cut(s, "/")
	if _, have := c.b.File(profilePath(file)); !have {
		if near := c.nearest(file, shipped); near != "" && near != file {
			c.bad(n, "unknown-profile", "did-you-mean", "name", s, "want", near+"/"+name)
		} else {
			c.bad(n, "unknown-profile", "unknown-profile", "name", s, "list", listing(strings.Join(shipped, ", ")))
		}
		return nil
	}
	x := c.scheme(file)
	switch {
	case x == nil || c.papers[profilePath(file)].sheet == nil:
		n.lost = true // what is wrong with the file was said
		return nil
	case x.profiles[name] != nil:
		return x.profiles[name]
	}
	if c.guesses > maxGuesses {
		c.bad(n, "unknown-profile", "", "name", s)
		return nil
	}
	names := sortedNames(x.profiles)
	if near := c.nearest(name, names); near != "" {
		c.bad(n, "unknown-profile", "did-you-mean", "name", s, "want", file+"/"+near)
	} else {
		c.bad(n, "unknown-profile", "known-are", "name", s, "list", listing(strings.Join(names[:min(len(names), maxListed)], ", ")))
	}
	return nil
}

// maxListed is how many names a hint lists.
const maxListed = 60

func sortedNames[T any](m map[string]T) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// profileFiles are the files of profiles that a site needs, for ReadSite: those
// that its alarms name, and the gas constants where a profile or a tag names a gas.
func (c *compiler) profileFiles() []string {
	var out []string
	add := func(name string) {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	tags := func(n *node) {
		if n == nil {
			return
		}
		for _, t := range n.pairs {
			if t.val.get("gas") != nil {
				add(gasFile)
			}
		}
	}
	for _, file := range []string{SiteFile, RulesFile} {
		p := c.paper(file)
		if p == nil {
			continue
		}
		if alarms := p.root.get("alarms"); alarms != nil {
			for _, a := range alarms.pairs {
				if n := a.val.get("profile"); n != nil && n.kind == scalar && templateName(n.text) {
					name, _, _ := strings.Cut(n.text, "/")
					add(name)
					add(gasFile)
				}
			}
		}
		if devices := p.root.get("devices"); devices != nil {
			for _, d := range devices.pairs {
				tags(d.val.get("tags"))
			}
		}
	}
	for _, name := range c.templateNames() {
		if p := c.paper(templatePath(name)); p != nil && p.root != nil {
			tags(p.root.get("tags"))
		}
	}
	return out
}
