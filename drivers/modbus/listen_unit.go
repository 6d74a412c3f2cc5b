package modbus

import (
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"davy/drivers"
)

// MaxPacket is how long a registration or a heartbeat may be.
const MaxPacket = 64

// unit says which connections that dial in are a link's.
type unit struct {
	address      string // "0.0.0.0:5020", as net.Listen takes it
	registration []byte // what the unit sends first; nil: nothing
	heartbeat    []byte // what it sends now and then, between answers; nil: nothing
	from         []netip.Prefix
	keepAlive    time.Duration
}

// String returns the target: "listen 0.0.0.0:5020", and the registration where there is one.
func (u *unit) String() string {
	if len(u.registration) == 0 {
		return "listen " + u.address
	}
	return "listen " + u.address + " " + strconv.Quote(string(u.registration))
}

// admits reports whether units may dial in from an address; without `from` from all.
func (u *unit) admits(a netip.Addr) bool {
	return len(u.from) == 0 || slices.ContainsFunc(u.from, func(p netip.Prefix) bool { return p.Contains(a) })
}

// packets are what is no answer: the heartbeat, and the registration, which
// some units repeat. Longest first.
func (u *unit) packets() (out [][]byte) {
	for _, p := range [][]byte{u.registration, u.heartbeat} {
		if len(p) > 0 {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b []byte) int { return len(b) - len(a) })
	return out
}

// listenFields are the link fields of units that dial in.
func listenFields() []drivers.Field {
	return []drivers.Field{
		{Name: "registration", Also: []string{"register_packet", "registration_packet", "dtu_id"}},
		{Name: "heartbeat", Also: []string{"heart_beat", "heartbeat_packet"}},
		{Name: "from", Also: []string{"allow", "allowed"}},
	}
}

// parseUnit reads "listen :5020" with its fields. ok is false where the target
// is none of a unit that dials in. ":5020" is every IPv4 address of this
// machine; every address of both kinds is "[::]:5020".
func parseUnit(target string, fields drivers.Fields) (u *unit, ok bool, errs []error) {
	word, rest, _ := strings.Cut(strings.TrimSpace(target), " ")
	if !strings.EqualFold(word, "listen") {
		return nil, false, nil
	}
	u = &unit{}
	host, port, err := net.SplitHostPort(strings.TrimSpace(rest))
	n, perr := strconv.ParseUint(port, 10, 16)
	addr := netip.IPv4Unspecified()
	if err == nil && host != "" && host != "*" {
		addr, err = netip.ParseAddr(host)
	}
	if err != nil || perr != nil || n == 0 {
		errs = append(errs, field("", wrong("modbus.listen", "modbus.listen", map[string]any{"text": target})))
	} else {
		u.address = netip.AddrPortFrom(addr, uint16(n)).String()
	}
	for _, f := range []struct {
		name string
		into *[]byte
	}{{"registration", &u.registration}, {"heartbeat", &u.heartbeat}} {
		text, written := fields[f.name]
		if !written {
			continue
		}
		b, ok := packet(text)
		if !ok {
			errs = append(errs, field(f.name, wrong("modbus.packet", "modbus.packet", map[string]any{"text": text, "most": MaxPacket})))
		}
		*f.into = b
	}
	if text, written := fields["from"]; written {
		parts := list(text)
		if len(parts) == 0 {
			parts = []string{text} // nothing is no filter
		}
		for _, s := range parts {
			p, err := netip.ParsePrefix(s)
			if err != nil {
				var a netip.Addr
				if a, err = netip.ParseAddr(s); err == nil {
					p = netip.PrefixFrom(a, a.BitLen())
				}
			}
			if err != nil {
				errs = append(errs, field("from", wrong("modbus.from", "modbus.from", map[string]any{"text": s})))
				continue
			}
			u.from = append(u.from, p.Masked())
		}
	}
	return u, true, errs
}

// packet reads a text, or bytes as "0xfe01".
func packet(s string) ([]byte, bool) {
	b := []byte(s)
	if rest, ok := strings.CutPrefix(strings.ToLower(s), "0x"); ok {
		var err error
		if b, err = hex.DecodeString(strings.ReplaceAll(rest, " ", "")); err != nil {
			return nil, false
		}
	}
	return b, len(b) > 0 && len(b) <= MaxPacket
}

// list takes "a, b" or "[a, b]" apart.
func list(s string) (out []string) {
	s = strings.TrimSpace(s)
	if inner, ok := strings.CutPrefix(s, "["); ok && strings.HasSuffix(inner, "]") && !strings.Contains(inner[:len(inner)-1], "]") {
		s = inner[:len(inner)-1]
	}
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// field says in which field a mistake is.
func field(name string, err error) error { return &drivers.FieldError{Field: name, Err: err} }
