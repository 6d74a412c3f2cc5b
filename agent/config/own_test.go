package config

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"davy/agent/i18n"
	"davy/drivers"
	"davy/drivers/modbus"
	"davy/drivers/tag"
	"davy/rules"
)

// certificate is a server's certificate, DER.
func certificate(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "dcs"}, NotAfter: time.Unix(1<<33, 0)},
		&x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "dcs"}}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// linkSite is one of each kind.
const linkSite = smallSite + `links:
  line1:
    modbus-rtu: /dev/serial/by-path/platform-481aa000.serial
    serial: 9600 8E1
    other_master: refuse
    read_only: yes
  plc:
    modbus-tcp: [192.168.1.20:502, 192.168.1.21:502]
    idle_release: 5s
  dcs:
    opcua: opc.tcp://192.168.1.30:4840
    security: Basic256Sha256, sign and encrypt
    trust: keys/dcs.der
    login: secret dcs-user
  open:
    opcua: opc.tcp://192.168.1.31
    security: none
  board:
    gpio: gpiochip0
    mode: poll
devices:
  a: {link: line1, station: 1, tags: {x: {at: holding 0}}}
  b: {link: plc, station: 1, gaps: no, tags: {x: {at: holding 0}}, may_write: [coil 0]}
outputs:
  o: {drives: b coil 0, idle: off, protective: on}
`

// Each link's own fields reach its driver, files by their content, and what the
// driver says of the link is in the plan.
func TestOwnFieldsOfLinks(t *testing.T) {
	der := certificate(t)
	b, p := ReadSite(fstest.MapFS{"site.yaml": {Data: []byte(linkSite)}, "keys/dcs.der": {Data: der}, "none": {Data: []byte("a file that a word names is no harm")}}, ".", nil)
	if data, have := b.File("keys/dcs.der"); !have || !bytes.Equal(data, der) {
		t.Fatal("the certificate is not in the bundle")
	}
	plan, q := Compile(b, testSet())
	if plan == nil {
		t.Fatalf("%v", codes(p.Join(q)))
	}
	links := map[string]Link{}
	for _, l := range plan.Links {
		links[l.Name] = l
	}
	for name, want := range map[string]struct {
		target     string
		notes      []string
		conditions []string
		readOnly   bool
	}{
		"line1": {"/dev/serial/by-path/platform-481aa000.serial", nil, []string{"other-master"}, true},
		"plc":   {"192.168.1.20:502, 192.168.1.21:502", nil, nil, false},
		"dcs":   {"opc.tcp://192.168.1.30:4840", nil, []string{"untrusted"}, false},
		"open":  {"opc.tcp://192.168.1.31:4840", []string{"link.note.no-security"}, nil, false},
	} {
		l := links[name]
		if l.Target != want.target || !slices.Equal(l.Notes, want.notes) || !slices.Equal(l.Conditions, want.conditions) || l.ReadOnly != want.readOnly || l.Options == nil && name != "plc" {
			t.Errorf("%s: %+v", name, l.Settings)
		}
	}
	for _, name := range []string{"link.line1.other-master", "link.dcs.untrusted"} {
		id := plan.Conditions[name]
		i := slices.IndexFunc(plan.Rules.Alarms, func(a rules.Alarm) bool { return a.Name == name })
		if id == 0 || i < 0 || plan.Rules.Alarms[i].Cond.Tag != id || plan.Rules.Alarms[i].Priority != rules.High || strings.Contains(plan.Tags[id].Text.En, "{") {
			t.Errorf("%s: id %d, alarm %d", name, id, i)
		}
	}
	if plan.Conditions["link.plc.other-master"] != 0 || plan.Conditions["link.open.untrusted"] != 0 {
		t.Error("a condition of a link that cannot have it")
	}
	if s := plan.Secrets; len(s) != 1 || s[0].Name != "dcs-user" || s[0].Place.Line != 15+1 {
		t.Errorf("secrets: %+v", s)
	}
	if plan.Outputs[0].Point.Options == nil || links["plc"].Scans[0].Request.Points()[0].Options == nil {
		t.Error("the device's fields did not reach its points")
	}
	for _, lang := range []i18n.Lang{i18n.Zh, i18n.En} {
		var out strings.Builder
		if err := plan.Report().Write(&out, lang); err != nil {
			t.Fatal(err)
		}
		if note := "! " + lang.Text("link.note.no-security", nil); !strings.Contains(out.String(), note) || strings.Contains(out.String(), "⟨") {
			t.Errorf("the report lacks %q:\n%s", note, out.String())
		}
	}
}

// A name that no driver gave words to is still a condition with its name.
func TestUnknownCondition(t *testing.T) {
	plan, problems := Compile(bundleOf(smallSite+"links: {l: {modbus-tcp: 10.0.0.1}}\n", ""), drivers.Set{"modbus-tcp": talkative{}})
	if plan == nil {
		t.Fatalf("%v", codes(problems))
	}
	if id := plan.Conditions["link.l.low-on-ink"]; id == 0 || plan.Tags[id].Kind != tag.Bool || !strings.Contains(plan.Tags[id].Text.Zh, "low-on-ink") {
		t.Errorf("%+v", plan.Conditions)
	}
}

// talkative is Modbus TCP with a condition that nobody knows.
type talkative struct{ modbus.TCP }

func (talkative) ParseLink(target string, f drivers.Fields) (drivers.Settings, error) {
	s, err := modbus.TCP{}.ParseLink(target, f)
	s.Conditions = append(s.Conditions, "low-on-ink")
	return s, err
}

// Every problem of a link's own fields, as one edit of a good site.
func TestProblemsOfLinks(t *testing.T) {
	der := certificate(t)
	for _, x := range []struct{ from, to, want string }{
		{"    other_master: refuse\n", "    other_master: «perhaps\n", "modbus.other-master"},
		{"serial: 9600 8E1", "serial: «9600 9E1", "modbus.serial-frame"},
		{"    serial: 9600 8E1\n", "", "modbus.serial-missing"},
		{"    idle_release: 5s\n", "    idle_release: 5s\n    «serial: 9600 8E1\n", "field-of-other-kind"},
		{"    idle_release: 5s\n", "    idle_release: «x\n    keep_alive: y\n", "modbus.span modbus.span"},
		{"    idle_release: 5s\n", "    «idle_relase: 5s\n", "unknown-field"},
		{"    idle_release: 5s\n", "    «idle_timeout: 5s\n", "unknown-field"},
		{"    idle_release: 5s\n", "    idle_release: «{a: 5s}\n", "not-a-value"},
		{"[192.168.1.20:502, 192.168.1.21:502]", "«[]", "list-empty"},
		{"[192.168.1.20:502, 192.168.1.21:502]", "«[192.168.1.20:x, 192.168.1.21:502]", "modbus.target"},
		{"[192.168.1.20:502, 192.168.1.21:502]", "[192.168.1.20«：502, 192.168.1.21:502]", "yaml-full-width"},
		{"trust: keys/dcs.der", "trust: «keys/dsc.der", "field-file-missing"},
		{"trust: keys/dcs.der", "trust: «../dcs.der", "field-file-missing"},
		{"    trust: keys/dcs.der\n", "", "opcua.trust-missing"},
		{"security: Basic256Sha256, sign and encrypt", "security: «Basic256Sha265, sign", "opcua.security"},
		{"    security: none\n", "", "opcua.security-missing"},
		{"mode: poll", "mode: «pole", "gpio.mode"},
		{"links:\n", "links:\n  p1: {modbus-tcp: plc.example}\n  p2: {modbus-tcp: «plc.example:502}\n", "link-connections"},
		{"links:\n", "links:\n  p1: {modbus-tcp: plc.example, connections: 2}\n  p2: {modbus-tcp: «plc.example:502}\n", "link-connections"},
		{"links:\n", "links:\n  p1: {modbus-tcp: plc.example, connections: 2}\n  p2: {modbus-tcp: plc.example:502, connections: 2}\n  p3: {modbus-tcp: «plc.example:502, connections: 2}\n", "link-connections"},
		{"gpio: gpiochip0", "modbus-ascii: /dev/ttyS1\n    «gpio: gpiochip0", "link-two-kinds field-of-other-kind modbus.serial-missing"},
		{"gpio: gpiochip0\n    mode: poll", "modbus-ascii: «/dev/serial/by-path/platform-481aa000.serial\n    serial: 9600 8E1", "link-same-target"},
		{"read_only: yes", "read_only: «perhaps", "bad-word"},
		{"a: {link: line1, station: 1, ", "a: {link: line1, station: 1, may_write: «[coil 0], ", "link-read-only"},
		{"a: {link: line1, station: 1, ", "a: {link: line1, station: 1, watchdog: «holding 3 = 1 every 1s, ", "link-read-only"},
		{"drives: b coil 0", "drives: «a coil 0", "link-read-only"},
		{"gaps: no", "gaps: «maybe", "modbus.device.gaps"},
		{"devices:\n", "devices:\n  t: {link: dcs, tags: {«x: {at: nsu=urn:x;s=A, state: {at: nsu=urn:x;s=B, type: bool, 0: good}}}}\n", "opcua.state"},
		{"devices:\n", "devices:\n  t: {link: dcs, tags: {x: {at: «ns=2;s=A, type: float32}}}\n", "warning-opcua.index"},
		{"devices:\n", "devices:\n  t: {link: dcs, stale_after: «10s, tags: {x: {at: nsu=urn:x;s=A, type: float32}}}\n", "warning-stale-after-pushed"},
		{"gaps: no", "«debounce: 5ms", "field-of-other-kind"},
	} {
		text, at := edit(t, SiteFile, linkSite, x.from, x.to)
		b := bundleOf(text, "")
		b.Put("keys/dcs.der", der)
		_, problems := Compile(b, testSet())
		got, found := marked(problems, at)
		for _, p := range problems {
			for _, l := range []i18n.Lang{i18n.Zh, i18n.En} {
				if s := p.Text(l) + p.Remedy(l); strings.Contains(s, "⟨") {
					t.Errorf("%s: words are missing: %s", p.Code, s)
				}
			}
		}
		want := strings.Split(x.want, " ")
		slices.Sort(want)
		if !slices.Equal(got, want) || !found {
			t.Errorf("%q → %q:\n got %v\nwant %v at %s", x.from, x.to, codes(problems), want, at)
		}
	}
}

// A binary that speaks one protocol says of the others that it does not.
func TestOneProtocol(t *testing.T) {
	for links, want := range map[string][]string{
		"{l: {«modbus-rtu: /dev/ttyS1, «serial: 9600 8E1}}":                   {"not-in-this-version", "not-in-this-version"},
		"{l: {modbus-tcp: 10.0.0.1, «opcua: opc.tcp://x:1}}":                  {"not-in-this-version"},
		"{l: {modbus-tcp: 10.0.0.1, «security: none, «other_master: refuse}}": {"not-in-this-version", "not-in-this-version"},
	} {
		before := smallSite + "links: "
		_, problems := Compile(bundleOf(before+strings.ReplaceAll(links, mark, "")+"\n", ""), tcpOnly())
		var got []string
		for i, p := range problems {
			got = append(got, p.Code)
			if at := strings.Index(strings.Replace(links, mark, "", i), mark); p.Place.Line != 3 || p.Place.Col != len("links: ")+at+1 {
				t.Errorf("%s: %s at %s", links, p.Code, p.Place)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v", links, codes(problems))
		}
	}
}
