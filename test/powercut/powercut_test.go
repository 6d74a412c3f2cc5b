package powercut

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "davy/agent/journal" // what is proved: a result is good for this version only
	"davy/test/powercut/work"
)

// The kinds of cut, see the package.
const (
	plain  = "plain"
	frozen = "frozen"
	eio    = "eio"
	lie    = "lie"
)

// What a cut is to hit.
var targets = []string{"commit", "roll", "retention", "cursor"}

const (
	defaultCuts = 10
	leastOf     = 10              // one of so many cuts hits each operation, or the run goes on,
	atMost      = 3               // until it is so many times as long
	longest     = 5 * time.Minute // of a machine, on a host that does other things too
)

// number reads a variable of the environment.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// run is a row of cuts.
type run struct {
	*testing.T
	h      *host
	rnd    *rand.Rand
	nosync bool
	hits   map[string]int
	took   map[string]time.Duration // a usual operation
	kinds  map[string]int
	sums   verdict
}

// disk is one image with what was promised on it.
type disk struct {
	path string
	*ledger
	kind string // of the cut before, "" for none
}

func newRun(t *testing.T, seed uint64, nosync bool) *run {
	h, err := newHost(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &run{
		T: t, h: h, rnd: rand.New(rand.NewPCG(seed, 2)), nosync: nosync, hits: map[string]int{}, kinds: map[string]int{},
		took: map[string]time.Duration{"commit": 4 * time.Millisecond, "roll": 12 * time.Millisecond, "retention": 4 * time.Millisecond, "cursor": 3 * time.Millisecond},
	}
}

func (r *run) disk(name string) *disk {
	path, err := r.h.newImage(name)
	if err != nil {
		r.Fatal(err)
	}
	if keep := os.Getenv("CUT_KEEP"); keep != "" {
		r.Cleanup(func() {
			if r.Failed() {
				if err := command("sh", "-c", "cp --sparse=always "+path+"* "+keep); err != nil {
					r.Error(err)
				}
			}
		})
	}
	return &disk{path: path, ledger: newLedger()}
}

// TestPowerCuts cuts CUTS times (10), as CUT_SEED says, and goes on where some
// operation was not hit often enough. CUT_KINDS=eio,lie cuts only so; CUT_KEEP
// is a directory for the disks of a run that failed.
func TestPowerCuts(t *testing.T) {
	cuts := int(number(t, "CUTS", defaultCuts))
	seed := number(t, "CUT_SEED", uint64(time.Now().UnixNano()))
	t.Logf("CUTS=%d CUT_SEED=%d", cuts, seed)
	r := newRun(t, seed, false)
	honest, liar := r.disk("honest.img"), r.disk("liar.img")
	kinds := []string{plain, frozen, eio, lie}
	if only := os.Getenv("CUT_KINDS"); only != "" {
		kinds = strings.Split(only, ",")
	}
	n := 0
	for ; n < cuts || n < atMost*cuts && r.least() < (cuts+leastOf-1)/leastOf; n++ {
		kind, d := kinds[n%len(kinds)], honest
		if kind == lie {
			d = liar
		}
		target := targets[r.rnd.IntN(len(targets))]
		if r.hits[target] > r.least() {
			target = r.rarest()
		}
		r.cut(d, kind, target)
		if t.Failed() {
			break // what comes now rests on what is wrong
		}
	}
	for _, d := range []*disk{honest, liar} {
		if !t.Failed() {
			r.cut(d, "", "")
		}
	}
	fmt.Printf("cuts=%d commit=%d roll=%d retention=%d cursor=%d elsewhere=%d plain=%d frozen=%d eio=%d lie=%d lost=%d named=%d quarantined=%d seed=%d\n",
		n, r.hits["commit"], r.hits["roll"], r.hits["retention"], r.hits["cursor"], n-r.hits["commit"]-r.hits["roll"]-r.hits["retention"]-r.hits["cursor"],
		r.kinds[plain], r.kinds[frozen], r.kinds[eio], r.kinds[lie], r.sums.lost+uint64(len(r.sums.lostEvents)), r.sums.named, r.sums.quarantined, seed)
	t.Logf("usual: %v", r.took)
	if least := r.least(); least*leastOf < cuts {
		t.Errorf("%d of %d cuts hit a %s: the run proves little of it", least, n, r.rarest())
	}
}

// rarest is the operation that was hit least often, and least how often.
func (r *run) rarest() string {
	return slices.MinFunc(targets, func(a, b string) int { return cmp.Compare(r.hits[a], r.hits[b]) })
}

func (r *run) least() int { return r.hits[r.rarest()] }

// TestNoSync shows that the rig finds a journal that does not sync.
func TestNoSync(t *testing.T) {
	seed := number(t, "CUT_SEED", uint64(time.Now().UnixNano()))
	t.Logf("CUT_SEED=%d", seed)
	r := newRun(t, seed, true)
	d := r.disk("nosync.img")
	for range 2 {
		r.cut(d, plain, "commit")
	}
	r.cut(d, "", "")
	if len(r.sums.lostEvents) == 0 {
		t.Error("a journal that does not sync lost no event: the rig finds nothing")
	}
	fmt.Printf("cuts=2 nosync lost=%d seed=%d\n", len(r.sums.lostEvents), seed)
}

// cut starts a machine on a disk, judges what its journal has, lets it work and
// cuts its power. Without a kind it only judges.
func (r *run) cut(d *disk, kind, target string) {
	if d.kind == lie {
		if err := repair(d.path); err != nil {
			r.Fatalf("e2fsck: %v", err)
		}
	}
	if os.Getenv("CUT_KEEP") != "" {
		if _, err := os.Stat(d.path + ".said"); err == nil {
			if err := os.Rename(d.path+".said", d.path+".said.before"); err != nil {
				r.Fatal(err)
			}
		}
		if err := command("cp", "--sparse=always", d.path, d.path+".before"); err != nil {
			r.Fatal(err)
		}
	}
	env := []string{fmt.Sprintf("CUT_SEED=%d", r.rnd.Uint64())}
	set := func(name string, on bool) {
		if on {
			env = append(env, name+"=1")
		}
	}
	set("CUT_DM", kind == frozen || kind == eio || kind == lie)
	set("CUT_NOSYNC", r.nosync)
	set("CUT_OUTAGE", r.rnd.IntN(3) == 0)
	after := 10 + r.rnd.IntN(100)
	u := r.rnd.Float64() // early rather than late: the plug and dm-flakey take their time too
	within := time.Duration(u * u * float64(r.took[target]) / 3)
	if how := map[string]string{frozen: lie, eio: eio, lie: lie}[kind]; how != "" {
		if kind == eio && r.rnd.IntN(2) == 0 {
			how = "flap"
		}
		env = append(env, fmt.Sprintf("CUT_SPOIL=%s:%s:%d:%v", how, target, after, within))
	}
	m, err := r.h.start(d.path, env...)
	if err != nil {
		r.Fatal(err)
	}
	d.on()
	c := &cutting{run: r, m: m, d: d, kind: kind, target: target, after: after, within: within, mend: kind != frozen && r.rnd.IntN(2) == 0}
	if os.Getenv("CUT_KEEP") != "" {
		if c.book, err = os.Create(d.path + ".said"); err != nil {
			r.Fatal(err)
		}
		defer c.book.Close()
	}
	c.follow()
	m.gone()
	d.off()
	if kind != "" {
		r.kinds[kind]++
		r.hits[c.hit]++
	}
	r.Logf("%s, meant for %s: hit %q", kind, target, c.hit)
	d.kind = kind
	r.report(d, m)
}

// report tells what was wrong, where that is not what was wanted.
func (r *run) report(d *disk, m *machine) {
	for i, text := range d.bad {
		switch {
		case r.nosync && i < 3:
			r.Logf("as it should be: %s", text)
		case r.nosync:
		case i < 10:
			r.Errorf("%s", text)
		}
	}
	if len(d.bad) > 0 && !r.nosync {
		r.Logf("%d things wrong; the machine's console:\n%s", len(d.bad), m.console())
	}
	d.bad = nil
}

// cutting is one machine until its end.
type cutting struct {
	*run
	m            *machine
	d            *disk
	kind, target string
	after        int           // operations before the cut may come
	within       time.Duration // of the one that is cut
	mend         bool          // the disk is to work again before the plug is pulled
	done         int
	now          string // the operation under way
	since        time.Time
	hit          string
	armed        bool
	sick         bool // the disk is not what it was
	over         bool // the plug is out
	last         []string
	book         *os.File // of all lines, beside the disk; nil: none is kept
}

// follow hears the machine until it is gone.
func (c *cutting) follow() {
	end := time.After(longest)
	var then <-chan time.Time // when to go on
	for {
		select {
		case s, ok := <-c.m.lines:
			if !ok {
				if !c.over {
					c.Errorf("the machine ended by itself\n%s", c.m.console())
				}
				return
			}
			if wait, ok := c.hear(s); ok {
				then = time.After(wait)
			}
		case <-then:
			then = nil
			if wait, ok := c.next(); ok {
				then = time.After(wait)
			}
		case <-end:
			c.Errorf("a machine was not done after %v, in %q\n%s\n%s", longest, c.now, strings.Join(c.last, "\n"), c.m.console())
			c.pull()
		}
	}
}

// pull pulls the plug.
func (c *cutting) pull() {
	if !c.over {
		c.m.cut()
	}
	c.over = true
}

// next does what is due: it mends the disk, or pulls the plug.
func (c *cutting) next() (time.Duration, bool) {
	if c.sick && c.mend {
		c.mend = false
		c.m.tell("disk ok")
		return c.pause(), true
	}
	c.pull()
	return 0, false
}

// pause is between two things that happen to a disk.
func (c *cutting) pause() time.Duration { return time.Duration(c.rnd.IntN(200)) * time.Millisecond }

// hear takes in a line; a time, if one has to be waited for.
func (c *cutting) hear(s said) (time.Duration, bool) {
	if c.last = append(c.last, s.text[:min(len(s.text), 80)]); len(c.last) > 20 {
		c.last = c.last[1:]
	}
	if c.book != nil {
		fmt.Fprintln(c.book, s.at.Format("05.000000"), s.text)
	}
	word, rest, _ := strings.Cut(s.text, " ")
	if word == "disk" {
		first := !c.sick
		if rest != "…" && first || rest == "…" && c.kind == frozen {
			c.sick = true
		}
		if rest != "…" && first || rest != "…" && c.kind == frozen {
			return c.pause(), true
		}
		return 0, false
	}
	if c.kind == frozen && c.sick {
		return 0, false // it is off already, and only its memory does not know
	}
	switch word {
	case "mounted":
	case "opened":
		c.judge()
		if c.kind == "" {
			c.pull()
		}
	case "op", "idle":
		if c.now != "" {
			c.took[c.now] = (7*c.took[c.now] + s.at.Sub(c.since)) / 8
		}
		c.done++
		c.now, c.since = rest, s.at
		if !c.sick {
			c.hit = rest
		}
		if c.kind == plain && c.d.opened && !c.armed && c.done > c.after && rest == c.target {
			c.armed = true
			return c.within, true
		}
	case "fail":
		if c.kind != eio {
			c.d.wrong("the guest failed: %s", rest)
		}
	default:
		if answer := c.d.hear(s.text); answer != "" {
			c.m.tell("%s", answer)
		}
	}
	return 0, false
}

// judge reads what the guest found.
func (c *cutting) judge() {
	raw, err := os.ReadFile(filepath.Join(c.h.root, work.Report))
	var f work.Found
	if err == nil {
		err = json.Unmarshal(raw, &f)
	}
	if err != nil {
		c.d.wrong("the guest's report: %v", err)
		return
	}
	v := c.d.ledger.judge(&f, c.d.kind == lie)
	c.d.open(&f)
	c.sums.lost += v.lost
	c.sums.named += v.named
	c.sums.lostEvents = append(c.sums.lostEvents, v.lostEvents...)
	c.sums.quarantined += v.quarantined
	c.Logf("found %d blocks, %d events, after %q: named %d, lost %d", len(f.Blocks), len(f.Events), c.d.kind, v.named, v.lost)
}
