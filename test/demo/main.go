// Command demo plays an ammonia leak with a dead detector and an uplink outage
// in it, on a bench plant, and says in plain words what happened. `make demo`
// runs it.
//
// It starts the real programs on loopback (bench plant, receiver with its own
// broker, agent) and does what the world does to them: a fault here, a cable
// there, a kill -9. It decides nothing about the outcome: every figure of its
// last line is read from the agent's journal, from the receiver's store and
// from the plant's own log after the agent has ended.
//
// Environment: DEMO_SECONDS (default 90; the script is compressed into that
// time), DEMO_FAULT=drop-one (a receiver that lies about one event: the demo
// must find it and fail), DEMO_BIN (binaries that are built already),
// DEMO_PICTURE (a file for the picture of what was said). The
// language comes from the environment or --lang.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"davy/agent/i18n"
	"davy/agent/operate"
	"davy/test/rig"
)

func main() {
	lang := i18n.FromEnv()
	for i, a := range os.Args[1:] {
		if l, ok := i18n.Parse(strings.TrimPrefix(a, "--lang=")); ok && (strings.HasPrefix(a, "--lang=") || i > 0 && os.Args[i] == "--lang") {
			lang = l
		}
	}
	seconds := 90.0
	short := os.Getenv("DEMO_SECONDS")
	if short != "" {
		s, err := strconv.ParseFloat(short, 64)
		if err != nil || s < minSeconds || s > 3600 {
			fmt.Fprintln(os.Stderr, lang.Text("demo.seconds", i18n.Args{"min": minSeconds, "value": short}))
			os.Exit(2)
		}
		seconds = s
	}
	d := &demo{lang: lang, total: time.Duration(seconds * float64(time.Second)), fault: os.Getenv("DEMO_FAULT"), terminal: short == "" && isTerminal(os.Stdout)}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	done := make(chan int, 1)
	go func() { done <- d.run() }()
	var code int
	select {
	case code = <-done:
	case <-stop:
		code = 1
	}
	if d.bench != nil {
		d.bench.Close()
	}
	os.Exit(code)
}

const minSeconds = 25

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

type demo struct {
	lang     i18n.Lang
	total    time.Duration
	fault    string
	terminal bool
	bench    *rig.Bench
	proxy    *rig.Proxy
	began    time.Time
	held     bool
	said     []string // for the picture
}

func (d *demo) run() int {
	d.held = true
	if err := d.play(); err != nil {
		d.clearLine()
		fmt.Fprintln(os.Stderr, d.lang.Text("demo.broken", i18n.Args{"error": err}))
		return 1
	}
	t, err := d.totals()
	if err != nil {
		fmt.Fprintln(os.Stderr, d.lang.Text("demo.broken", i18n.Args{"error": err}))
		return 1
	}
	return d.finish(t)
}

// say narrates: a time, a line.
func (d *demo) say(key string, args i18n.Args) {
	d.clearLine()
	at := 0.0
	if !d.began.IsZero() {
		at = time.Since(d.began).Seconds()
	}
	d.print(fmt.Sprintf("%6.1f s  %s", at, d.lang.Text("demo."+key, args)))
}

// print says one line.
func (d *demo) print(line string) {
	d.said = append(d.said, line)
	fmt.Println(line)
}

func (d *demo) clearLine() {
	if d.terminal {
		fmt.Print("\r\x1b[K")
	}
}

// expect waits for what must follow; it holds or the demo has failed, but the
// story goes on so that the person sees all of it.
func (d *demo) expect(limit time.Duration, key string, args i18n.Args, cond func(*operate.View) bool) *operate.View {
	var seen *operate.View
	err := d.bench.See(limit, key, func(v *operate.View) bool {
		d.progress()
		seen = v
		return cond(v)
	})
	if err != nil {
		d.held = false
		d.say("not-held", i18n.Args{"what": i18n.Key("demo." + key), "error": strings.SplitN(err.Error(), "\n", 2)[0]})
		return seen
	}
	if args == nil {
		args = i18n.Args{}
	}
	d.say(key, args)
	return seen
}

// until waits for a share of the demo's time.
func (d *demo) until(share float64) {
	end := d.began.Add(time.Duration(share * float64(d.total)))
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for time.Now().Before(end) {
		d.progress()
		<-t.C
	}
}

// progress draws the line at the bottom of a terminal.
func (d *demo) progress() {
	if !d.terminal || d.began.IsZero() {
		return
	}
	const width = 40
	share := min(time.Since(d.began).Seconds()/d.total.Seconds(), 1)
	n := int(share * width)
	fmt.Printf("\r[%s%s] %3.0f %%", strings.Repeat("█", n), strings.Repeat("·", width-n), share*100)
}

// result is the last line.
type result struct {
	Recorded       map[string]uint64 `json:"recorded"`
	Received       map[string]uint64 `json:"received"`
	Gaps           uint64            `json:"gaps"`
	Alarms         int64             `json:"alarms"`
	Trips          int64             `json:"trips"`
	FirstOut       string            `json:"first_out"`
	OutageS        float64           `json:"outage_s"`
	TripResponseMs float64           `json:"trip_response_ms"`
	Receipts       int64             `json:"receipts"`
	Complete       bool              `json:"complete"`
}

func (d *demo) finish(t *result) int {
	for _, why := range d.judge(t) {
		d.held = false
		fmt.Println("  ✗ " + why)
	}
	line, err := json.Marshal(t)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if d.held {
		d.print(d.lang.Text("demo.held", nil))
	} else {
		d.print(d.lang.Text("demo.failed", nil))
	}
	d.print(string(line))
	if path := os.Getenv("DEMO_PICTURE"); path != "" {
		if err := picture(path, d.said); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if !d.held || !t.Complete {
		return 1
	}
	return 0
}
