package record

import (
	"reflect"
	"testing"

	"davy/agent/ring"
	"davy/agent/wire"
	"davy/drivers/tag"
	"davy/rules"
)

// Every field of an event goes on to the wire: the next one that is added to
// rules.Event fails here until it is carried.
func TestEveryFieldGoesOn(t *testing.T) {
	notAsItIs := map[string]bool{"At": true, "Votes": true, "Record": true} // seen below
	for i := range reflect.TypeFor[rules.Event]().NumField() {
		name := reflect.TypeFor[rules.Event]().Field(i).Name
		var e ring.Event
		f := reflect.ValueOf(&e.Event).Elem().Field(i)
		switch f.Kind() {
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Uint8, reflect.Uint32, reflect.Uint64:
			f.SetUint(3)
		case reflect.Int64:
			f.SetInt(3)
		case reflect.Float64:
			f.SetFloat(3)
		case reflect.String:
			f.SetString("x")
		default:
			if f.Type() == reflect.TypeFor[tag.Value]() {
				f.Set(reflect.ValueOf(tag.IntValue(3)))
			} else if !notAsItIs[name] {
				t.Errorf("%s: nobody looks at a field of this kind", name)
			}
		}
		if notAsItIs[name] {
			continue
		}
		w := event(&e)
		got := reflect.ValueOf(&w).Elem().FieldByName(name)
		if !got.IsValid() || got.IsZero() {
			t.Errorf("%s is not carried to the wire", name)
		}
	}
	at := tag.Stamp{Wall: 5, Mono: 6}
	w := event(&ring.Event{Serial: 4, Samples: 9, Event: rules.Event{
		At: at, Votes: []rules.Vote{{Channel: "c", Last: true}},
		Record: []rules.Sample{{Tag: 2, At: at, Value: tag.IntValue(7), Quality: tag.BadNoComm}},
	}})
	want := wire.Event{
		At: at, Serial: 4, Samples: 9, Votes: []wire.Vote{{Channel: "c", Last: true}},
		Record: []tag.Reading{{Tag: 2, Received: at, Value: tag.IntValue(7), Quality: tag.BadNoComm}},
	}
	if !reflect.DeepEqual(w, want) {
		t.Errorf("got  %+v\nwant %+v", w, want)
	}
}

// While the journal takes nothing the records that wait have a bound: the
// oldest lose their samples, and say how many there were.
func TestRecordsThatWaitAreBounded(t *testing.T) {
	r := &Recorder{wake: make(chan struct{}, 1)}
	const each = 1024
	n := MaxSamples/each + 10
	for i := range n {
		r.Note(wire.Event{Serial: uint64(i + 1), Samples: each, Record: make([]tag.Reading, each)})
	}
	sum := 0
	for i := range r.events {
		sum += len(r.events[i].Record)
		if r.events[i].Samples != each || (len(r.events[i].Record) == 0) != (i < 10) {
			t.Errorf("event %d: %d samples of %d", i, len(r.events[i].Record), r.events[i].Samples)
		}
	}
	if sum > MaxSamples || sum != r.samples || len(r.events) != n {
		t.Errorf("%d events, %d samples, %d counted", len(r.events), sum, r.samples)
	}
	r.taken(n)
	if r.samples != 0 || len(r.events) != 0 {
		t.Errorf("%d samples are counted when all are taken", r.samples)
	}
}
