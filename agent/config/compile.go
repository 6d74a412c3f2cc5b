package config

import (
	"slices"
	"strings"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
	"davy/rules"
	"davy/rules/shift"
)

// Limits of a plan; at each of them a problem says so.
const (
	MaxTags    = 20000 // tags of a plan, the agent's own among them
	MaxRules   = 30000 // alarms and interlocks, the automatic ones among them
	MaxLinks   = 256   // each has a goroutine and a connection
	MaxUplinks = 16
	// MaxWindows is of all computed tags, kept slot by slot: what they have seen is
	// in the latch file, and takes half of it at most.
	MaxWindows = 300
	// MaxShiftValues is of all computed tags, those of a shift: likewise, a fifth.
	MaxShiftValues = 500
	MinScan        = 10 * time.Millisecond
	MaxScan        = time.Hour
	MinTimeout     = 10 * time.Millisecond
	MaxTimeout     = time.Minute
)

// The defaults of what a site need not write.
const (
	DefaultScan       = time.Second
	DefaultTimeout    = 500 * time.Millisecond
	DefaultRecord     = time.Minute
	DefaultKeep       = 30 * 24 * time.Hour
	DefaultSync       = 5 * time.Second
	DefaultSize       = 1 << 30 // bytes of the journal
	DefaultNotWatched = 10 * time.Second
	minTTL            = 3 * time.Second
)

// Compile turns a bundle into a plan. It touches no file, no clock and no
// network, and never panics on what a bundle holds. The plan is nil where any
// problem is more than a warning; the problems are all there are, sorted.
func Compile(b *Bundle, set drivers.Set) (*Plan, Problems) { return newCompiler(b, set).finished() }

// finished compiles, and puts the plan and the problems in order.
func (c *compiler) finished() (*Plan, Problems) {
	c.compile()
	c.problems.tidy()
	if !c.problems.OK() {
		return nil, c.problems
	}
	c.plan.Hash = c.b.Hash()
	// A plan lives as long as the agent: what grew while it was read has little room left over.
	c.plan.Tags, c.plan.Rules.Alarms = slices.Clone(c.plan.Tags), slices.Clone(c.plan.Rules.Alarms)
	return c.plan, c.problems
}

// A compiler holds what is known while a bundle is compiled.
type compiler struct {
	b        *Bundle
	set      drivers.Set
	quiet    bool // for ReadSite: problems are not kept
	problems Problems
	plan     *Plan
	papers   map[string]*paper
	top      map[string][]*node // top-level sections of site.yaml and rules.yaml
	instead  *node              // of CompileWith: the interlocks

	links    []*link
	devices  []*device
	linkOf   map[string]*link
	deviceOf map[string]*device
	outputOf map[string]*output
	ruleKind map[string]ruleKind
	tags     []*tagInfo // indexed by tag.ID
	byName   map[tag.Name]*tagInfo
	outputs  []*output
	formulas map[string]*formula
	taken    map[string]*node // names of rules and outputs
	vague    map[string]bool  // rules that stand in the files and could not be read
	notAfter time.Duration    // not_watched: after
	notPrio  rules.Priority
	windows  int // of all computed tags

	shifts      *shift.Table // nil: the site writes none
	shiftsLost  bool         // it does, and they could not be read
	zoneLost    bool
	shiftValues int // of all computed tags

	guesses int // how often something near was looked for
	gas     map[string]*gas
	schemes map[string]*scheme // files of profiles that were read
}

func newCompiler(b *Bundle, set drivers.Set) *compiler {
	return &compiler{
		b: b, set: set, papers: map[string]*paper{}, byName: map[tag.Name]*tagInfo{},
		taken: map[string]*node{}, vague: map[string]bool{},
		linkOf: map[string]*link{}, deviceOf: map[string]*device{}, outputOf: map[string]*output{}, ruleKind: map[string]ruleKind{},
		tags: []*tagInfo{nil}, plan: &Plan{Tags: make([]Tag, 1), Conditions: map[string]tag.ID{}},
	}
}

// report keeps a problem.
func (c *compiler) report(p Problem) {
	if !c.quiet {
		c.problems = append(c.problems, p)
	}
}

// bad reports what is wrong with a node, which is lost from then on: its
// readers say nothing more of it.
func (c *compiler) bad(n *node, code, hint string, args ...any) {
	if n.lost {
		return
	}
	for x := n; x != nil; x = x.whole {
		x.lost = true
	}
	c.report(Problem{Place: n.place, Width: max(n.width, 1), Code: code, Hint: hint, Args: makeArgs(args)})
}

// badOnce is bad for a section, whose parts are still read.
func (c *compiler) badOnce(n *node, code, hint string, args ...any) {
	c.report(Problem{Place: n.place, Width: max(n.width, 1), Code: code, Hint: hint, Args: makeArgs(args)})
}

// warn reports what does not keep the plan from being made.
func (c *compiler) warn(n *node, code, hint string, args ...any) {
	c.report(Problem{Place: n.place, Width: max(n.width, 1), Code: code, Hint: hint, Args: makeArgs(args), Warn: true})
}

// driverBad reports a driver's refusal in the driver's own words.
func (c *compiler) driverBad(n *node, code string, err error) {
	if h, ok := asHint(err); ok {
		args := []any{}
		for _, k := range sortedKeys(h.Args) {
			args = append(args, k, h.Args[k])
		}
		c.bad(n, h.Code, h.Hint, args...)
		return
	}
	c.bad(n, code, "", "text", n.text, "cause", err.Error())
}

// advised passes on what a driver has to say of an address that it accepts.
func (c *compiler) advised(n *node, a drivers.Address) {
	w, ok := a.(drivers.Warner)
	if !ok {
		return
	}
	if h := w.Warn(); h != nil {
		args := []any{}
		for _, k := range sortedKeys(h.Args) {
			args = append(args, k, h.Args[k])
		}
		c.warn(n, h.Code, h.Hint, args...)
	}
}

// paper returns a file of the bundle as nodes, read once.
func (c *compiler) paper(name string) *paper {
	if p, ok := c.papers[name]; ok {
		return p
	}
	data, ok := c.b.File(name)
	if !ok {
		c.papers[name] = nil
		return nil
	}
	p := readPaper(name, data, c.report)
	c.papers[name] = p
	return p
}

// lostNear reports whether a line that had to be left out may have held what
// is missing from the section n.
func (c *compiler) lostNear(n *node, key string) bool {
	p := c.papers[n.place.File]
	if p == nil || len(p.sheet.lost) == 0 {
		return false
	}
	last := n.end
	for last < len(p.sheet.fixed) && len(p.sheet.fixed[last]) == 0 {
		last++
	}
	for line := n.place.Line; line <= last; line++ {
		if p.sheet.lost[line] && strings.Contains(p.sheet.lines[line-1], key) {
			return true
		}
	}
	return false
}

// lostName reports whether a line that had to be left out mentions a name.
func (c *compiler) lostName(name string) bool {
	for _, p := range c.papers {
		if p == nil {
			continue
		}
		if p.root == nil {
			return true
		}
		for line := range p.sheet.lost {
			if strings.Contains(p.sheet.lines[line-1], name) {
				return true
			}
		}
	}
	return false
}

// siteForm is the sections of a site, in site.yaml or rules.yaml.
var siteForm = form{
	{name: "davy"},
	{name: "gateway"},
	{name: "links", also: []string{"link", "connections"}},
	{name: "devices", also: []string{"device", "stations"}},
	{name: "outputs", also: []string{"output"}},
	{name: "alarms", also: []string{"alarm"}},
	{name: "interlocks", also: []string{"interlock"}},
	{name: "tests", also: []string{"test", "stories"}},
	{name: "uplinks", also: []string{"uplink"}},
	{name: "journal"},
	{name: "not_watched"},
	{name: "people", also: []string{"persons", "person"}},
	{name: "computed"},
}

// sections sorts the top-level sections of both files by their name. Those
// that list named things may stand in both.
func (c *compiler) sections() {
	c.top = map[string][]*node{}
	for _, name := range []string{SiteFile, RulesFile} {
		p := c.paper(name)
		if p == nil {
			if name == SiteFile {
				c.report(Problem{Place: Place{File: SiteFile}, Width: 1, Code: "file-missing", Hint: "file-missing"})
			}
			continue
		}
		f := c.read(p.root, "site", siteForm)
		for _, x := range siteForm {
			n := f.vals[x.name]
			if n == nil {
				continue
			}
			if before := c.top[x.name]; len(before) > 0 && slices.Contains([]string{"gateway", "journal", "not_watched", "people"}, x.name) {
				c.bad(n, "section-twice", "", "name", x.name, "place", before[0].place.String())
				continue
			}
			c.top[x.name] = append(c.top[x.name], n)
		}
	}
	for _, n := range c.top["davy"] {
		c.word(n, "1")
	}
	site := c.papers[SiteFile]
	for _, must := range []string{"davy", "gateway"} {
		if site != nil && site.root != nil && len(c.top[must]) == 0 && !c.lostNear(site.root, must) {
			c.badOnce(&node{place: Place{SiteFile, 1, 1}, width: 1}, "missing-field", "missing-"+must, "field", must, "what", key("site"))
		}
	}
}

func (c *compiler) compile() {
	c.sections()
	if c.instead != nil {
		c.top["interlocks"], c.top["tests"] = []*node{c.instead}, nil
	}
	c.gateway()
	c.compilePeople()
	c.compileLinks()
	c.compileDevices()
	c.compileOutputs()
	c.ownConditions()
	c.notWatched()
	c.compileComputed()
	c.compileAlarms()
	c.approvalCondition()
	c.compileInterlocks()
	c.escalations()
	c.automatic()
	c.compileStories()
	c.compileUplinks()
	c.journal()
	c.requests()
	c.finish()
}

// named returns the entries of a section of named things from both files; a
// name that stands twice is a problem.
func (c *compiler) named(section, what string) []pair {
	var out []pair
	first := map[string]*node{}
	for _, n := range c.top[section] {
		for _, p := range c.nameList(n, what) {
			if before := first[p.key.text]; before != nil {
				c.bad(p.key, "name-taken", "", "name", p.key.text, "place", before.place.String())
				continue
			}
			first[p.key.text] = p.key
			if most := map[string]int{"links": MaxLinks, "uplinks": MaxUplinks}[section]; most > 0 && len(out) == most {
				c.bad(p.key, "too-many", "", "what", key(what), "limit", most)
				return out
			}
			out = append(out, p)
		}
	}
	return out
}

// claim takes a name for a rule or an output; they share one set of names.
func (c *compiler) claim(key *node) bool {
	if before := c.taken[key.text]; before != nil {
		c.bad(key, "name-taken", "", "name", key.text, "place", before.place.String())
		return false
	}
	c.taken[key.text] = key
	return true
}
