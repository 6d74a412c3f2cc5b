package gpio

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	periph "periph.io/x/conn/v3/gpio"

	"davy/drivers"
	"davy/drivers/tag"
)

// DefaultTimeout is a link's, where none is given.
const DefaultTimeout = time.Second

// MaxDebounce is more than any contact needs; a longer delay is a rule's matter.
const MaxDebounce = time.Second

// Driver is "gpio" in a site file.
//
// Links made by one Driver share the outputs that they have taken: an output
// stays taken until the process ends, whatever becomes of its link, because
// nobody knows what the pin does when it is given back. A zero Driver can
// parse and plan, but opens nothing.
type Driver struct{ held *held }

// New makes the driver of a process.
func New() Driver { return Driver{held: &held{}} }

var _ drivers.Pusher = Driver{}

// settings are the options of a link.
type settings struct {
	poll bool // inputs are asked at their scan periods only
}

// lineOptions are the options of a device: of all its inputs.
type lineOptions struct {
	pull     periph.Pull
	debounce time.Duration
}

// LinkFields returns mode: "edges" (the default) or "poll".
func (Driver) LinkFields() []drivers.Field {
	return []drivers.Field{{Name: "mode"}}
}

// DeviceFields returns debounce ("5ms") and bias ("pull-up", "pull-down", "off").
func (Driver) DeviceFields() []drivers.Field {
	return []drivers.Field{{Name: "debounce"}, {Name: "bias", Also: []string{"pull"}}}
}

// Subscribes reports whether the link's inputs speak by themselves.
func (Driver) Subscribes(link drivers.Settings) bool {
	o, _ := link.Options.(settings)
	return !o.poll
}

// ParseLink reads a chip: "gpiochip0", "0", "/dev/gpio/di" or its label, and the mode.
func (Driver) ParseLink(target string, fields drivers.Fields) (drivers.Settings, error) {
	var errs []error
	chip, err := parseChip(target)
	if err != nil {
		errs = append(errs, &drivers.FieldError{Err: err})
	}
	var o settings
	switch mode := strings.TrimSpace(fields["mode"]); mode {
	case "", "edges":
	case "poll":
		o.poll = true
	default:
		errs = append(errs, &drivers.FieldError{Field: "mode", Err: wrong("gpio.mode", "gpio.mode", map[string]any{"text": mode})})
	}
	return drivers.Settings{Target: chip, Options: o}, errors.Join(errs...)
}

// pullOf is a bias by its word; "" leaves what the board has.
func pullOf(word string) (periph.Pull, bool) {
	switch word {
	case "":
		return periph.PullNoChange, true
	case "pull-up":
		return periph.PullUp, true
	case "pull-down":
		return periph.PullDown, true
	case "off":
		return periph.Float, true
	}
	return periph.PullNoChange, false
}

// ParseDevice reads debounce and bias.
func (Driver) ParseDevice(fields drivers.Fields) (any, error) {
	if len(fields) == 0 {
		return nil, nil
	}
	var errs []error
	var o lineOptions
	if s := strings.TrimSpace(fields["debounce"]); s != "" {
		d, err := time.ParseDuration(strings.ReplaceAll(s, " ", ""))
		if err != nil || d < 0 || d > MaxDebounce || d%time.Microsecond != 0 {
			errs = append(errs, &drivers.FieldError{Field: "debounce", Err: wrong("gpio.debounce", "gpio.debounce", map[string]any{"text": s, "longest": MaxDebounce.String()})})
		}
		o.debounce = d
	}
	pull, ok := pullOf(strings.TrimSpace(fields["bias"]))
	if !ok {
		errs = append(errs, &drivers.FieldError{Field: "bias", Err: wrong("gpio.bias", "gpio.bias", map[string]any{"text": fields["bias"]})})
	}
	o.pull = pull
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return o, nil
}

// ParseAddress reads "line DI1", "line 3", "output RELAY1", each with "inverted".
func (Driver) ParseAddress(s string) (drivers.Address, error) {
	a, err := parseAddress(s)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// ParseType reads "bool", the natural one.
func (Driver) ParseType(_ drivers.Address, s string) (drivers.Type, error) {
	if s = strings.TrimSpace(s); s != "" && s != "bool" {
		return drivers.Type{}, wrong("gpio.type", "gpio.type", map[string]any{"text": s})
	}
	return drivers.Type{Kind: tag.Bool, Bits: 1}, nil
}

// request is what is read at one time.
type request struct {
	points []drivers.Point
	cost   time.Duration
	text   string
}

func (r *request) Points() []drivers.Point { return r.points }
func (r *request) Cost() time.Duration     { return r.cost }
func (r *request) String() string          { return r.text }

// byPeriod makes one request of the points of each period, in the order given.
func byPeriod(points []drivers.Point, cost time.Duration) []drivers.Request {
	sorted := slices.Clone(points)
	slices.SortStableFunc(sorted, func(p, q drivers.Point) int { return cmp.Compare(p.Period, q.Period) })
	var out []drivers.Request
	for len(sorted) > 0 {
		n := 1
		for n < len(sorted) && sorted[n].Period == sorted[0].Period {
			n++
		}
		text := sorted[0].Address.String()
		if n > 1 {
			text += fmt.Sprintf(" and %d more", n-1)
		}
		out = append(out, &request{points: sorted[:n:n], cost: cost * time.Duration(n), text: text})
		sorted = sorted[n:]
	}
	return out
}

// unfit says what a line or a channel cannot have.
func unfit(p *drivers.Point) error {
	if p.Decimals != nil || p.State != nil || len(p.Invalid) > 0 || len(p.Codes) > 0 || len(p.Texts) > 0 {
		return wrong("gpio.plain", "", map[string]any{"tag": string(p.Name), "at": p.Address.String()})
	}
	return nil
}

// Plan puts the points of one period together: the kernel answers at once, and
// a line that is lacking spoils no other.
func (Driver) Plan(_ drivers.Settings, points []drivers.Point) ([]drivers.Request, error) {
	var errs []error
	seen := map[Address]*drivers.Point{}
	for i := range points {
		p := &points[i]
		a := address(p)
		args := map[string]any{"tag": string(p.Name), "at": a.String()}
		if err := unfit(p); err != nil {
			errs = append(errs, err)
		}
		if p.Scaled() {
			errs = append(errs, wrong("gpio.scale", "", args))
		}
		if p.Write && !a.Output {
			a.Output = true
			args["output"] = a.String()
			errs = append(errs, wrong("gpio.write", "gpio.write", args))
			continue
		}
		first := seen[a.line()]
		if first == nil {
			seen[a.line()] = p
		} else if args["first"] = string(first.Name); address(first).Output != a.Output {
			errs = append(errs, wrong("gpio.both", "gpio.both", args))
		} else if !a.Output && optionsOf(first) != optionsOf(p) {
			errs = append(errs, wrong("gpio.twice", "gpio.twice", args))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return byPeriod(points, 0), nil
}

func address(p *drivers.Point) Address {
	a, ok := p.Address.(Address)
	if !ok {
		panic("BUG: gpio: address of another driver")
	}
	return a
}

func optionsOf(p *drivers.Point) lineOptions {
	o, _ := p.Options.(lineOptions)
	return o
}

// Open makes a link, a drivers.Subscriber. The chip is opened when it is first
// asked; one that is away is found then.
func (d Driver) Open(_ context.Context, cfg drivers.LinkConfig) (drivers.Link, error) {
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if d.held == nil {
		panic("BUG: gpio: Open of a Driver that New did not make")
	}
	return &link{LinkConfig: cfg, held: d.held, guard: d.held.stuck.guard(cfg.Target)}, nil
}
