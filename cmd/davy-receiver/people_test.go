package main

import (
	"testing"

	"davy/agent/i18n"
	"davy/agent/wire"
	"davy/cmd/davy-receiver/store"
)

// The name of a person stands beside the id only where it came, and only of one
// who is proved: a user of the gateway may have the same name as an id.
func TestNamesOfPersons(t *testing.T) {
	table := &wire.Table{People: []wire.Person{{ID: "li-1", Name: "李伟"}, {ID: "wang", Name: "Wang"}}}
	f := func(e wire.Event, people *wire.Table, who, second, said string) {
		t.Helper()
		x := lineOf("GW-1", &store.Event{Event: e, People: people})
		if x.WhoName != who || x.SecondName != second || x.what(i18n.En) != said {
			t.Errorf("%q, %q, %s; want %q, %q, %s", x.WhoName, x.SecondName, x.what(i18n.En), who, second, said)
		}
	}
	ack := wire.Event{Kind: 3, Rule: "a", Who: "li-1", Proved: true}
	words := i18n.En.Text("operate.event.alarm-acked", i18n.Args{"rule": "a"}) + ", "
	f(ack, table, "李伟", "", words+"li-1 (李伟)")
	f(ack, nil, "", "", words+"li-1")
	f(ack, &wire.Table{}, "", "", words+"li-1")
	ack.Who = "zhao"
	f(ack, table, "", "", words+"zhao")
	ack.Who, ack.Proved = "wang", false
	f(ack, table, "", "", words+"wang")
}
