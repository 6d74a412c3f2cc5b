package arch

import "strings"

// Side says in which process a package lives.
type Side int

// The sides. What is on neither is used by both.
const (
	Neither Side = iota
	Decider      // the keeper must not reach it, and it must not reach the keeper
	Bridge       // what the two say to each other: held to the decider's wall, open to both
	Keeper
)

// Package is what one package may import.
type Package struct {
	Path string
	Side Side
	Ours string // packages of this module, separated by spaces; a trailing /... takes everything below
	Libs string // modules of others, or paths in them
}

// House is the truth about imports, from the bottom up. The standard library
// is open to everyone but for what the wall says, and so is the kernel's own
// golang.org/x/sys/unix. Packages in test may import everything of ours and
// what testLibs adds.
var House = []Package{
	// The vocabulary, and what speaks to devices.
	{Path: "drivers/tag"},
	{Path: "drivers", Ours: "drivers/tag"},
	{Path: "drivers/modbus", Ours: "drivers drivers/modbus/serial drivers/tag", Libs: "github.com/goburrow/modbus"},
	{Path: "drivers/modbus/serial", Ours: "drivers"}, // the port of a serial line: termios, RS-485, unplugging
	{Path: "drivers/child"}, // frames between a driver and a child process of the same binary
	{Path: "drivers/opcua", Ours: "drivers drivers/child drivers/tag"},
	{Path: "drivers/opcua/worker", Ours: "drivers drivers/child drivers/opcua drivers/tag", Libs: "github.com/gopcua/opcua"},
	{Path: "drivers/gpio", Ours: "drivers drivers/tag", Libs: "periph.io/x/conn/v3"},
	{Path: "drivers/sim", Ours: "drivers drivers/tag"},
	{Path: "drivers/drivertest", Ours: "drivers drivers/tag"},

	// Deciding, as a pure step.
	{Path: "rules/unit"},
	{Path: "rules/shift"}, // when the shifts of a site begin
	{Path: "rules/expr", Ours: "drivers/tag rules/shift rules/unit"},
	{Path: "rules", Ours: "drivers/tag rules/expr rules/unit"},
	{Path: "rules/load", Ours: "rules drivers/tag"}, // what alarms ask of an operator
	{Path: "rules/ruletest", Ours: "rules drivers/tag"},

	// The agent: what both processes use.
	{Path: "agent/i18n"},
	{Path: "agent/clock", Ours: "drivers/tag"},
	{Path: "agent/supervise", Ours: "drivers/child"},
	{Path: "agent/people", Libs: "golang.org/x/crypto/argon2"},
	{Path: "agent/config", Ours: "agent/i18n agent/people rules rules/expr rules/ruletest rules/shift rules/unit drivers drivers/tag", Libs: "go.yaml.in/yaml/v4"},
	{Path: "agent/ring", Side: Bridge, Ours: "rules drivers/tag"},

	// The decider, and package agent, which joins it.
	{Path: "agent/latch", Side: Decider, Ours: "rules drivers/tag"},
	{Path: "agent/output", Side: Decider, Ours: "agent/config rules drivers drivers/tag"},
	{Path: "agent/scan", Side: Decider, Ours: "agent/config agent/clock agent/output agent/supervise drivers drivers/tag"},
	{Path: "agent/control", Side: Decider, Ours: "agent/config agent/clock agent/latch agent/output agent/ring agent/scan rules rules/load drivers/tag"},
	{Path: "agent/operate", Side: Decider, Ours: "agent/config agent/control agent/clock agent/i18n agent/latch agent/output agent/ring rules rules/load drivers/tag"},

	{Path: "agent", Side: Decider, Ours: "agent/secret agent/accept agent/clock agent/config agent/control agent/latch agent/operate agent/output agent/people agent/ring agent/scan agent/secret agent/supervise rules rules/load rules/ruletest drivers drivers/tag"},

	// The keeper.
	{Path: "agent/wire", Side: Keeper, Ours: "drivers/tag", Libs: "google.golang.org/protobuf/encoding/protowire github.com/klauspost/compress/zstd"},
	{Path: "agent/merkle"}, // the tree of a log that only grows
	{Path: "agent/journal", Side: Keeper, Ours: "agent/merkle agent/ring agent/wire drivers/tag", Libs: "go.etcd.io/bbolt"},
	{Path: "agent/evidence", Side: Keeper, Ours: "agent/merkle agent/wire drivers/tag", Libs: "golang.org/x/mod"},
	{Path: "agent/export", Side: Keeper, Ours: "agent/evidence agent/merkle agent/wire"}, // the evidence file: written and verified
	{Path: "agent/record", Side: Keeper, Ours: "agent/config agent/evidence agent/journal agent/ring agent/wire rules drivers/tag"},
	{Path: "agent/uplink", Side: Keeper, Ours: "agent/clock agent/evidence agent/journal agent/merkle agent/wire drivers/tag"},
	{Path: "agent/uplink/feed", Side: Keeper, Ours: "agent/journal agent/wire drivers/tag"},
	{Path: "agent/uplink/hj212", Side: Keeper, Ours: "agent/i18n agent/ring agent/uplink/feed agent/wire rules drivers/tag"},
	{Path: "agent/uplink/jsonl", Side: Keeper, Ours: "agent/journal agent/ring agent/uplink/feed agent/uplink/mqtt agent/wire rules drivers/tag"},
	{Path: "agent/uplink/sparkplug", Side: Keeper, Ours: "agent/journal agent/uplink/feed agent/uplink/jsonl agent/uplink/mqtt agent/wire drivers/tag", Libs: "google.golang.org/protobuf/encoding/protowire"},
	{Path: "agent/uplink/mqtt", Side: Keeper, Ours: "agent/uplink agent/wire", Libs: "github.com/eclipse/paho.mqtt.golang"},
	{Path: "agent/keep", Side: Keeper, Ours: "agent/clock agent/config agent/evidence agent/journal agent/merkle agent/record agent/ring agent/secret agent/supervise agent/uplink agent/uplink/... agent/wire rules drivers drivers/tag"},

	// What reads the record back: pure, of neither process.
	{Path: "agent/replay", Side: Keeper, Ours: "agent/config agent/people agent/ring agent/wire rules rules/load rules/unit drivers/tag"},
	{Path: "agent/replay/history", Side: Keeper, Ours: "agent/journal agent/replay agent/ring agent/wire rules drivers/tag"},

	// The programs' own parts, and the programs.
	{Path: "agent/accept", Ours: "agent/config agent/i18n rules/ruletest drivers"},
	{Path: "agent/secret", Ours: "agent/accept"},
	{Path: "agent/table", Libs: "golang.org/x/text/encoding/simplifiedchinese"}, // a table as a spreadsheet saved it
	{Path: "agent/matrix", Ours: "agent/config agent/i18n agent/table rules drivers drivers/tag"},
	{Path: "agent/cli", Ours: "agent/i18n"},
	{Path: "firmware-configs"},
	{Path: "cmd/davy", Ours: "agent agent/... rules rules/ruletest drivers drivers/... firmware-configs"},
	{Path: "cmd/davy-receiver/wirepb", Libs: "google.golang.org/protobuf"},
	{Path: "cmd/davy-receiver/gate", Ours: "agent/wire"},
	{Path: "cmd/davy-receiver/store", Ours: "agent/wire agent/evidence agent/merkle cmd/davy-receiver/wirepb drivers/tag", Libs: "modernc.org/sqlite"},
	{Path: "cmd/davy-receiver/ingest", Ours: "agent/wire agent/evidence agent/merkle cmd/davy-receiver/gate cmd/davy-receiver/store cmd/davy-receiver/wirepb rules drivers/tag", Libs: "google.golang.org/protobuf"},
	{Path: "cmd/davy-receiver", Ours: "agent/wire agent/evidence agent/i18n agent/cli agent/clock agent/uplink/mqtt cmd/davy-receiver/... rules drivers/tag", Libs: "github.com/eclipse/paho.mqtt.golang github.com/mochi-mqtt/server/v2"},
	{Path: "cmd/davy-plant/relay"}, // a serial line between two ends that takes its time
	{Path: "cmd/davy-plant/modbus", Ours: "drivers/tag"},
	{Path: "cmd/davy-plant/process", Ours: "drivers/tag"},
	{Path: "cmd/davy-plant/logbook", Ours: "drivers/tag"},
	{Path: "cmd/davy-plant/script", Ours: "agent/i18n drivers/tag"},
	{Path: "cmd/davy-plant/bench", Ours: "cmd/davy-plant/... agent/clock drivers/tag"},
	{Path: "cmd/davy-plant/line", Ours: "cmd/davy-plant/modbus cmd/davy-plant/relay drivers/tag"},
	{Path: "cmd/davy-plant/opcua", Ours: "cmd/davy-plant/... agent/clock", Libs: "github.com/gopcua/opcua"},
	{Path: "cmd/davy-plant/control", Ours: "cmd/davy-plant/... drivers/tag"},
	{Path: "cmd/davy-plant", Ours: "agent/i18n agent/cli agent/clock cmd/davy-plant/... drivers/tag"},
}

// What only tests use, beside what their package may use.
const testLibs = "pgregory.net/rapid github.com/rogpeppe/go-internal github.com/mochi-mqtt/server/v2 " +
	"github.com/goburrow/modbus github.com/gopcua/opcua github.com/klauspost/compress google.golang.org/protobuf golang.org/x/mod"

// What the decider must never hold, whoever brings it in.
var forbidden = []string{"go.etcd.io/bbolt", "github.com/eclipse/paho.mqtt.golang", "net/http", "crypto/tls"}

var house = func() map[string]Package {
	m := map[string]Package{}
	for _, p := range House {
		if _, twice := m[p.Path]; twice {
			panic("BUG: arch: " + p.Path + " stands twice in the table")
		}
		m[p.Path] = p
	}
	return m
}()

// lookup finds a package's line; every package below test has the same one.
func lookup(dir string) (Package, bool) {
	if top(dir) == "test" {
		return Package{
			Path: dir, Ours: "agent agent/... rules rules/... drivers drivers/... cmd/... firmware-configs test/...",
			Libs: testLibs + " github.com/gopcua/opcua github.com/eclipse/paho.mqtt.golang modernc.org/sqlite go.etcd.io/bbolt",
		}, true
	}
	p, ok := house[dir]
	return p, ok
}

// listed reports whether a list of the table holds a path.
func listed(list, path string) bool {
	for one := range strings.FieldsSeq(list) {
		if below, all := strings.CutSuffix(one, "/..."); path == one || all && strings.HasPrefix(path, below+"/") {
			return true
		}
	}
	return false
}

// lib reports whether a list of modules holds the package of one of them.
func lib(list, path string) bool {
	for one := range strings.FieldsSeq(list) {
		if path == one || strings.HasPrefix(path, one+"/") {
			return true
		}
	}
	return false
}

// top returns the first folder of a path.
func top(dir string) string {
	first, _, _ := strings.Cut(dir, "/")
	return first
}
