package modbus

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
	"time"

	"davy/drivers"
	"davy/drivers/modbus/serial"
)

// lineOptions is Settings.Options of a line. It never changes.
type lineOptions struct {
	ascii      bool
	device     string          // path of the line; "": it is behind a bridge
	reach      *reach          // of a bridge
	serial     serial.Settings // of a bridge only what a plan reckons with
	allow      bool            // speak although another master does
	echo       bool            // what is sent is heard
	turnaround time.Duration
	lateMax    time.Duration // 0: by what was seen
}

// What the fields of a line may say.
const (
	MaxTurnaround = 10 * time.Second
	gapCharacters = 3.5
	gapBits       = 11 // of a character, whatever its frame
	gapLeast      = 1750 * time.Microsecond
	gapBaud       = 19200 // above it the pause is gapLeast
)

// lineFields are the link fields of a line.
func lineFields() []drivers.Field {
	own := []drivers.Field{
		{Name: "serial", Also: []string{"line", "port", "baud", "baudrate"}},
		{Name: "rs485", Also: []string{"rs_485"}},
		{Name: "other_master", Also: []string{"second_master"}},
		{Name: "echo", Also: []string{"local_echo"}},
		{Name: "turnaround", Also: []string{"turn_around", "thinking_time"}},
		{Name: "late_max", Also: []string{"late"}},
	}
	for _, f := range reachFields() {
		if f.Name != "idle_release" && f.Name != "connections" {
			own = append(own, f)
		}
	}
	return own
}

// bareUSB is a device file whose number changes with the order of plugging in.
var bareUSB = regexp.MustCompile(`^/dev/tty(USB|ACM)\d+$`)

// parseLine reads the target of a line and its fields; see RTU.
func parseLine(target string, fields drivers.Fields, ascii bool) (drivers.Settings, error) {
	o := &lineOptions{ascii: ascii, serial: serial.Default(), turnaround: DefaultTurnaround}
	s := drivers.Settings{Options: o, Exclusive: true, Conditions: []string{"other-master"}}
	var errs []error
	text := strings.TrimSpace(target)
	listens := strings.EqualFold(strings.SplitN(text, " ", 2)[0], "listen")
	address, dials := strings.CutPrefix(text, "tcp://")
	switch {
	case listens || dials:
		if dials {
			text = strings.TrimSuffix(address, "/")
		}
		if i := strings.LastIndexByte(text, ':'); dials && (i < 0 || strings.HasSuffix(text, "]")) {
			errs = append(errs, field("", wrong("modbus.bridge-port", "modbus.line", map[string]any{"text": target})))
			break
		}
		var more []error
		o.reach, s.Target, more = parseReach(text, fields)
		errs = append(errs, more...)
		if dials {
			s.Target = "tcp://" + s.Target
		} else {
			s.Notes = append(s.Notes, "link.note.dials-in")
		}
	case strings.HasPrefix(text, "/") && !strings.ContainsAny(text, " \t"):
		o.device = path.Clean(text)
		s.Target = o.device
		if bareUSB.MatchString(o.device) {
			s.Notes = append(s.Notes, "link.note.bare-usb")
		}
		if _, written := fields["serial"]; !written {
			errs = append(errs, field("serial", wrong("modbus.serial-missing", "modbus.serial", map[string]any{"target": o.device})))
		}
		for _, f := range reachFields() {
			if _, written := fields[f.Name]; written {
				errs = append(errs, field(f.Name, wrong("modbus.bridge-only", "", map[string]any{"field": f.Name, "target": o.device})))
			}
		}
	default:
		errs = append(errs, field("", wrong("modbus.line", "modbus.line", map[string]any{"text": target})))
	}
	errs = append(errs, o.set(fields)...)
	if len(errs) > 0 {
		return drivers.Settings{}, errors.Join(errs...)
	}
	return s, nil
}

// set reads the fields that every line has.
func (o *lineOptions) set(fields drivers.Fields) (errs []error) {
	for name, read := range map[string]func(text string) error{
		"serial": func(text string) (err error) { o.serial, err = serial.Parse(text); return err },
		"rs485": func(text string) (err error) {
			if o.device == "" {
				return wrong("modbus.rs485-bridge", "", map[string]any{"text": text})
			}
			return nil // read below: serial must be there before
		},
		"other_master": func(text string) error {
			o.allow = text == "allow"
			if !o.allow && text != "refuse" {
				return wrong("modbus.other-master", "modbus.other-master", map[string]any{"text": text})
			}
			return nil
		},
		"echo": func(text string) error {
			o.echo = text == "yes"
			if !o.echo && text != "no" {
				return wrong("modbus.echo", "modbus.echo", map[string]any{"text": text})
			}
			return nil
		},
		"turnaround": func(text string) error { return lineTime(text, 0, MaxTurnaround, &o.turnaround) },
		"late_max":   func(text string) error { return lineTime(text, MinLateMax, MaxLateMax, &o.lateMax) },
	} {
		if text, written := fields[name]; written {
			if err := read(strings.ToLower(strings.TrimSpace(text))); err != nil {
				errs = append(errs, field(name, err))
			}
		}
	}
	if text, written := fields["rs485"]; written && o.device != "" {
		r, err := serial.ParseRS485(text)
		if err != nil {
			errs = append(errs, field("rs485", err))
		}
		o.serial.RS485 = r
	}
	if !o.ascii && o.serial.Bits == 7 {
		errs = append(errs, field("serial", wrong("modbus.serial-seven", "modbus.serial", map[string]any{"text": fields["serial"]})))
	}
	return errs
}

func lineTime(text string, least, most time.Duration, into *time.Duration) error {
	d, err := time.ParseDuration(strings.ReplaceAll(text, " ", ""))
	if err != nil || d < least || d > most {
		return wrong("modbus.line-time", "", map[string]any{"text": text, "least": least.String(), "most": most.String()})
	}
	*into = d
	return nil
}

// gap is the pause between two frames of RTU: 3.5 characters, and above 19,200
// baud a fixed time.
func gap(baud int) time.Duration {
	if baud > gapBaud {
		return gapLeast
	}
	return time.Duration(gapCharacters * gapBits * float64(time.Second) / float64(baud))
}

// wire is what a read takes on a line.
func (o *lineOptions) wire() wireCost {
	c := o.serial.Character()
	if o.ascii {
		const request, answer = 1 + 2*7 + 2, 1 + 2*4 + 2
		return wireCost{fixed: (request+answer)*c + o.turnaround, perByte: 2 * c, serial: true}
	}
	const request, answer = 6 + crcSize, 3 + crcSize
	return wireCost{fixed: (request+answer)*c + 2*gap(o.serial.Baud) + o.turnaround, perByte: c, serial: true}
}

// optionsOfLine are the options in Settings; where none were parsed, the
// defaults for the target.
func optionsOfLine(s drivers.Settings, ascii bool) *lineOptions {
	if s.Options == nil {
		return &lineOptions{ascii: ascii, device: s.Target, serial: serial.Default(), turnaround: DefaultTurnaround}
	}
	o, ok := s.Options.(*lineOptions)
	if !ok || o.ascii != ascii {
		panic(fmt.Sprintf("BUG: modbus: settings of %s are another driver's", s.Target))
	}
	return o
}
