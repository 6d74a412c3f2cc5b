package opcua

import (
	"fmt"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// report logs what becomes of points: transitions only, and few of them. It
// belongs to one goroutine.
type report struct {
	l      *link
	bad    map[tag.ID]told // the points that are bad
	minute time.Time
	lines  int // of this minute
	lost   int // times that the server dropped samples
}

// told is what was last said of a point that is bad.
type told struct {
	status uint32
	reason Reason
}

// tell looks at a sample and says what is new.
func (r *report) tell(p *drivers.Point, x *Sample) {
	if x.Overflow {
		if r.lost++; r.lost&(r.lost-1) == 0 { // at 1, 2, 4, 8 …
			r.l.Log.Warn("opc ua server dropped samples", "link", r.l.Name, "tag", p.Name, "times", r.lost)
		}
	}
	bad := x.Quality.Bad()
	if !bad && len(r.bad) == 0 {
		return
	}
	was, known := r.bad[p.Tag]
	now := told{x.Status, x.Reason}
	if bad == known && (!bad || was == now) {
		return
	}
	if r.bad == nil {
		r.bad = map[tag.ID]told{}
	}
	if bad {
		r.bad[p.Tag] = now
	} else {
		delete(r.bad, p.Tag)
	}
	if time.Since(r.minute) >= time.Minute {
		r.minute, r.lines = time.Now(), 0
	}
	if r.lines++; r.lines > tellMost {
		return
	}
	if bad {
		r.l.Log.Warn("opc ua item bad", "link", r.l.Name, "tag", p.Name, "at", p.Address.String(), "status", fmt.Sprintf("%#08x", x.Status), "reason", x.Reason.String())
	} else {
		r.l.Log.Info("opc ua item good again", "link", r.l.Name, "tag", p.Name)
	}
}
