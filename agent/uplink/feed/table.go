package feed

import (
	"fmt"

	"davy/agent/journal"
	"davy/agent/wire"
	"davy/drivers/tag"
)

// tables finds the tag table of an epoch.
type tables struct {
	journal *journal.Journal
	current func() *wire.Table
	held    []known // the one met last at the end
}

// known is what is known of an epoch's tags.
type known struct {
	epoch wire.Epoch
	table *wire.Table // nil: the journal has none
	byID  map[tag.ID]*wire.TableTag
}

func (k *known) tag(id tag.ID) *wire.TableTag { return k.byID[id] }

// met keeps a table that an event of an epoch carries.
func (t *tables) met(id wire.Epoch, table *wire.Table) *known {
	for i := range t.held {
		if t.held[i].epoch == id {
			t.held = append(t.held[:i], t.held[i+1:]...)
			break
		}
	}
	if len(t.held) == maxTables {
		t.held = t.held[1:]
	}
	k := known{epoch: id, table: table}
	if table != nil {
		k.byID = make(map[tag.ID]*wire.TableTag, len(table.Tags))
		for i := range table.Tags {
			k.byID[table.Tags[i].ID] = &table.Tags[i]
		}
	}
	t.held = append(t.held, k)
	return &t.held[len(t.held)-1]
}

// of returns the table of an epoch, from the journal if it was not met.
func (t *tables) of(id wire.Epoch) (*known, error) {
	for i := range t.held {
		if k := &t.held[i]; k.epoch == id {
			return k, nil
		}
	}
	table, err := t.find(id)
	if err != nil {
		return nil, err
	}
	return t.met(id, table), nil
}

// find looks for the first table among the events of an epoch.
func (t *tables) find(id wire.Epoch) (*wire.Table, error) {
	at := journal.Pos{Epoch: id}
	for {
		items, err := t.journal.Read(wire.EventStream, at, ReadBytes)
		if err != nil {
			return nil, fmt.Errorf("look for the tag table: %w", err)
		}
		for i := range items {
			if items[i].Epoch != id {
				break
			}
			// A block that says nothing to this version may hold up nothing: decode
			// passes over it as well.
			events, _ := wire.DecodeEvents(items[i].Block.Body)
			for k := range events {
				if events[k].Table != nil {
					return events[k].Table, nil
				}
			}
			at = items[i].After()
		}
		if len(items) == 0 || items[len(items)-1].Epoch != id {
			break
		}
	}
	if t.current != nil && id == t.journal.Epoch() {
		return t.current(), nil
	}
	return nil, nil
}
