package scan

import (
	"time"

	"davy/agent/config"
	"davy/drivers"
)

// What a quiet station may cost.
const (
	burst        = 8                      // requests of one station and period that are due together
	spread       = 50 * time.Millisecond  // bursts of a link begin within
	putLeast     = time.Millisecond       // a driver that says "now" too often does not keep a processor busy
	quietAfter   = 2                      // requests in a row without an answer, of whatever kind
	quietShare   = 24                     // a probe costs one part in so many of the time between probes: 4 %
	quietLast    = 12 * time.Second       // longest time between two probes
	quietProbe   = 480 * time.Millisecond // what a probe may take then, where the station was never slower
	quietPatient = 5                      // of so many probes one has the link's whole timeout
)

// station is one station of a link: what has its own answers and silences.
type station struct {
	requests []int // its scans
	silent   int   // requests in a row without an answer
	quiet    bool
	took     time.Duration // the last silence
	longest  time.Duration // the longest answer
	probe    int           // which of its requests is the probe
	probes   int           // since it is quiet
	put      bool          // the driver put it off just now
	spared   int64         // while it is quiet no person's read goes to it before, Mono
}

type stationKey struct {
	number int
	device string // where the protocol has no station numbers
}

// stations is the stations of a link, by request.
type stations struct {
	all []*station
	by  []*station
}

// group finds the stations of a link's requests.
func group(scans []config.Scan) stations {
	var s stations
	known := map[stationKey]*station{}
	for i, scan := range scans {
		p := scan.Request.Points()[0]
		key := stationKey{number: p.Station}
		if p.Station == 0 {
			key.device = p.Device
		}
		st := known[key]
		if st == nil {
			st = &station{}
			known[key] = st
			s.all = append(s.all, st)
		}
		st.requests = append(st.requests, i)
		s.by = append(s.by, st)
	}
	return s
}

// phases returns for each request when after the start it is due first. Those of
// one station and period are due together, a burst at a time: the picture of a
// device is of one moment, and the worker wakes once for it. Bursts are spread, so
// that they do not fall together.
func (s *stations) phases(scans []config.Scan) []int64 {
	type kind struct {
		of     *station
		period time.Duration
	}
	asked := map[kind]int{}
	first := map[kind]int{}
	bursts := 0
	number := make([]int64, len(scans))
	for i := range scans {
		k := kind{s.of(i), scans[i].Period}
		if asked[k]%burst == 0 {
			first[k] = bursts
			bursts++
		}
		asked[k]++
		number[i] = int64(first[k])
	}
	for i := range number {
		number[i] = number[i] * int64(spread) / int64(bursts)
	}
	return number
}

func (s *stations) of(i int) *station { return s.by[i] }

// missed notes a request without an answer; true where the station falls quiet by it.
func (s *station) missed(took time.Duration) bool {
	s.silent++
	s.took = took
	if s.quiet {
		s.probes++
		return false
	}
	s.quiet = s.silent >= quietAfter
	s.probes = 0
	return s.quiet
}

// answered notes an answer; true where the station was quiet.
func (s *station) answered(took time.Duration) bool {
	was := s.quiet
	s.longest = max(s.longest, took)
	s.silent, s.quiet, s.probes = 0, false, 0
	return was
}

// putOff has what a driver does not ask now wait until it says; that may be now.
func (s *stations) putOff(i int, l *drivers.Later, due []int64, now int64) {
	s.by[i].put = true
	until := max(l.Until, now+int64(putLeast))
	for n, st := range s.by {
		if l.Line || st == s.by[i] {
			due[n] = max(due[n], until)
		}
	}
}

// pause is how long a quiet station is left alone: longer and longer, and at
// least as long as keeps the share of its probes bounded while others answer.
func (s *stations) pause(st *station, timeout time.Duration) time.Duration {
	others := false
	for _, o := range s.all {
		others = others || !o.quiet && o != st
	}
	grown := min(time.Second<<min(st.probes, 4), probeEvery)
	if !others {
		return grown
	}
	return min(max(grown, quietShare*min(st.took, timeout)), quietLast)
}

// limit is how long request i may take; 0 is the link's timeout. A probe of a
// quiet station has less where the link's timeout would cost its neighbours
// more than their share, but now and then all of it: it may have become slow.
func (s *stations) limit(i int, timeout time.Duration) time.Duration {
	st := s.by[i]
	if !st.quiet || st.probes%quietPatient == quietPatient-1 || timeout <= quietProbe {
		return 0
	}
	return min(timeout, max(quietProbe, 2*st.longest))
}

// none reports whether no station answered the last time it was asked; that of
// request i did not, just now.
func (s *stations) none(i int) bool {
	for _, st := range s.all {
		if st.silent == 0 && st != s.by[i] {
			return false
		}
	}
	return true
}

// wake makes every request of every station due.
func (s *stations) wake(due []int64, now int64) {
	for _, st := range s.all {
		st.answered(0)
	}
	for i := range due {
		due[i] = now
	}
}
