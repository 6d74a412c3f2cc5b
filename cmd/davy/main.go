// Command davy is the edge agent: it watches a plant's devices, decides alarms
// and interlocks on the spot, keeps every record in a journal and gets it to
// the regulator. README.md shows how to start; `davy help` lists the commands.
//
// main is a table: one file per command. What the commands share is in
// context.go (state directory, drivers, the person at the keyboard).
package main

import (
	"os"

	"davy/agent/cli"
	"davy/drivers/opcua"
)

// version is set by the linker.
var version = "0.1.0-dev"

func main() {
	os.Exit(program().Main(os.Args[1:], os.Stdout, os.Stderr))
}

func program() *cli.Program {
	state := cli.Flag{Name: "state", Value: "DIR", Default: defaultState}
	who, pin := cli.Flag{Name: "person", Value: "ID"}, cli.Flag{Name: "pin-fd", Value: "N"}
	length, reason := cli.Flag{Name: "for", Value: "TIME"}, cli.Flag{Name: "because", Value: "TEXT"}
	return &cli.Program{Name: "davy", Commands: []cli.Command{
		{Name: "check", Min: 1, Max: 1, JSON: true, Run: check, Flags: []cli.Flag{{Name: "state", Value: "DIR"}}},
		{Name: "test", Min: 1, Max: 1, JSON: true, Run: test, Flags: []cli.Flag{
			{Name: "filter", Value: "TEXT"},
			{Name: "junit", Value: "FILE"},
			{Name: "watch"},
			{Name: "explore"},
			{Name: "seed", Value: "N", Default: "1"},
			{Name: "for", Value: "TIME", Default: "30s"},
		}},
		{Name: "matrix", Min: 1, Max: 1, Run: matrixCommand, Flags: []cli.Flag{{Name: "csv"}, {Name: "both"}, {Name: "date", Value: "DAY"}, {Name: "read", Value: "FILE"}, {Name: "compare"}}},
		{Name: "replay", Min: 1, Max: 1, JSON: true, Run: replayCommand, Flags: []cli.Flag{
			{Name: "rules", Value: "NEW"},
			{Name: "last", Value: "TIME"},
			{Name: "from", Value: "TIME"},
			{Name: "to", Value: "TIME"},
			state,
			{Name: "journal", Value: "FILE"},
			{Name: "renamed", Value: "NEW=OLD,…"},
		}},
		{Name: "apply", Min: 1, Max: 1, Run: apply, Flags: []cli.Flag{state, who, pin, {Name: "reason", Value: "TEXT"}, {Name: "yes"}, {Name: "drop", Value: "RULE,…"}}},
		{Name: "run", Min: 0, Max: 1, Run: run, Flags: []cli.Flag{state, {Name: "log-level", Value: "LEVEL", Default: "info"}}},
		{Name: "status", JSON: true, Run: status, Flags: []cli.Flag{state}},
		{Name: "alarms", JSON: true, Run: alarms, Flags: []cli.Flag{state, {Name: "all"}, {Name: "shelved"}, {Name: "suppressed"}, {Name: "out-of-service"}, {Name: "load"}}},
		{Name: "read", Min: 1, Max: 1, JSON: true, Run: read, Flags: []cli.Flag{state}},
		{Name: "browse", Min: 1, Max: 1, Run: browse, Flags: []cli.Flag{state, {Name: "trust", Value: "FILE"}, {Name: "security", Value: "TEXT"}, {Name: "login", Value: "TEXT"}, {Name: "max", Value: "N", Default: "500"}, {Name: "yes"}}},
		{Name: "ack", Max: 2, Run: ack, Flags: []cli.Flag{state, who, pin, {Name: "note", Value: "TEXT"}, {Name: "all"}}},
		{Name: "reset", Min: 2, Max: 2, Run: reset, Flags: []cli.Flag{state, who, pin, {Name: "note", Value: "TEXT"}}},
		{Name: "shelve", Min: 2, Max: 2, Run: shelve, Flags: []cli.Flag{state, who, pin, length, reason}},
		{Name: "unshelve", Min: 1, Max: 1, Run: unshelve, Flags: []cli.Flag{state, who, pin}},
		{Name: "silence", Run: silence, Flags: []cli.Flag{state, who, pin}},
		{Name: "remove", Min: 1, Max: 1, Run: remove, Flags: []cli.Flag{state, who, pin, reason}},
		{Name: "restore", Min: 1, Max: 1, Run: restore, Flags: []cli.Flag{state, who, pin}},
		{Name: "bypass", Min: 1, Max: 1, Run: bypass, Flags: []cli.Flag{state, who, pin, {Name: "channel", Value: "NAME"}, length, reason, {Name: "end"}}},
		{Name: "confirm", Min: 1, Max: 1, Run: confirm, Flags: []cli.Flag{state, who, pin, {Name: "channel", Value: "NAME"}, reason}},
		{Name: "force", Min: 1, Max: 1, Run: force, Flags: []cli.Flag{state, who, pin, {Name: "value", Value: "VALUE"}, length, reason, {Name: "end"}}},
		{Name: "test-mode", Min: 1, Max: 1, Run: testMode, Flags: []cli.Flag{state, who, pin, length, reason, {Name: "end"}, {Name: "result", Value: "RESULT"}}},
		{Name: "arm", Run: arm, Flags: []cli.Flag{state, who, pin, {Name: "reason", Value: "TEXT"}}},
		{Name: "disarm", Run: disarm, Flags: []cli.Flag{state, who, pin, {Name: "reason", Value: "TEXT"}}},
		{Name: "log", JSON: true, Run: logCommand, Flags: []cli.Flag{state, {Name: "last", Value: "N", Default: "50"}}},
		{Name: "secret", Min: 1, Max: 2, JSON: true, Run: secretCommand, Flags: []cli.Flag{state}},
		{Name: "person", Min: 2, Max: 3, JSON: true, Run: personCommand, Flags: []cli.Flag{{Name: "name", Value: "TEXT"}, {Name: "roles", Value: "ROLE,…"}, pin}},
		{Name: "journal", Min: 1, Max: 2, JSON: true, Run: journalCommand, Flags: []cli.Flag{
			state,
			{Name: "evidence", Value: "FILE"},
			{Name: "from", Value: "TIME"},
			{Name: "to", Value: "TIME"},
			{Name: "epoch", Value: "ID,…"},
			{Name: "streams", Value: "STREAM,…"},
			{Name: "gateway", Value: "ID"},
			{Name: "authority", Value: "KEY"},
			{Name: "receiver", Value: "KEY"},
			{Name: "certificate", Value: "FILE,…"},
			{Name: "device", Value: "FINGERPRINT"},
			{Name: "strict"},
			{Name: "out", Value: "FILE"},
		}},
		{Name: "keys", Min: 1, Max: 1, JSON: true, Run: keys, Flags: []cli.Flag{state}},
		{Name: "version", JSON: true, Run: showVersion},
		{Name: "keep", Hidden: true, Run: keepCommand, Flags: []cli.Flag{state, {Name: "log-level", Value: "LEVEL", Default: "info"}}},
		{Name: opcua.Command, Hidden: true, Run: opcuaWorker},
	}}
}
