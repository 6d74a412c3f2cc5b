package i18n

import (
	"strconv"
	"time"
)

// Span says a duration in its one or two largest units, exact to a second,
// below ten seconds to a hundredth and below one to a millisecond. A negative one is said as none.
func (l Lang) Span(d time.Duration) string {
	if d = max(d, 0); d > 0 && d < time.Second {
		return l.Text("operate.span.ms", Args{"n": max(d.Round(time.Millisecond).Milliseconds(), 1)})
	}
	if d > 0 && d < 10*time.Second { // how long a valve took: a second is too coarse
		return l.Text("operate.span.s", Args{"n": strconv.FormatFloat(d.Round(10*time.Millisecond).Seconds(), 'f', -1, 64)})
	}
	d = d.Round(time.Second)
	left := d
	said := ""
	for i, u := range [...]struct {
		key string
		of  time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"min", time.Minute}, {"s", time.Second}} {
		n := int64(left / u.of)
		left %= u.of
		switch {
		case n == 0 && (said != "" || i < 3):
			if said != "" {
				return said
			}
			continue
		case said != "":
			return said + l.Text("operate.span.and", nil) + l.Text("operate.span."+u.key, Args{"n": n})
		}
		said = l.Text("operate.span."+u.key, Args{"n": n})
	}
	return said
}
