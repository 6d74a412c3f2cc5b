package hj212

import "fmt"

// What fits between the && of a packet. Table 3 gives all of CP 950 bytes,
// and with the longest head that is more than the 1024 of a data segment: the
// smaller of the two counts.
const (
	longHead  = len("QN=YYYYMMDDhhmmsszzz;ST=xx;CN=xxxx;PW=xxxxxx;MN=xxxxxxxxxxxxxxxxxxxxxxxx;Flag=xx;CP=&&&&")
	MaxCP     = MaxSegment - longHead              // of a packet alone; more is split
	maxPart   = MaxCP - len("PNUM=xxxx;PNO=xxxx;") // of one of several
	maxPieces = 64                                 // packets that are put together again; a longer row is dropped and counted
)

// pack spreads groups over packets. Each begins with the first group, the
// DataTime. A group that fits into no packet is left out; n says how many.
func pack(first Group, groups []Group) (out [][]Group, n int) {
	lead := len(first.append(nil))
	whole := lead
	for _, g := range groups {
		whole += 1 + len(g.append(nil))
	}
	if whole <= MaxCP {
		return [][]Group{append([]Group{first}, groups...)}, 0
	}
	at := []Group{first}
	size := lead
	for _, g := range groups {
		add := 1 + len(g.append(nil))
		if lead+add > maxPart {
			n++
			continue
		}
		if size+add > maxPart {
			out = append(out, at)
			at, size = []Group{first}, lead
		}
		at = append(at, g)
		size += add
	}
	return append(out, at), n
}

// Joiner puts the packets of a split command together. It holds one row at a
// time, of at most maxPieces packets: another command, a packet out of its
// order or of another row drops what is there.
type Joiner struct {
	at      Packet
	Dropped uint64 // packets that were part of a row which never became whole
}

// Add returns the whole command when p is its last packet or all of it.
func (j *Joiner) Add(p Packet) (Packet, bool) {
	if p.PNUM <= 1 && p.PNO <= 1 {
		j.drop()
		return p, true
	}
	if p.PNO < 1 || p.PNO > p.PNUM || p.PNUM > maxPieces {
		j.drop()
		j.Dropped++
		return Packet{}, false
	}
	switch {
	case p.PNO == 1:
		j.drop()
		j.at = p
	case j.at.PNO+1 == p.PNO && j.at.PNUM == p.PNUM && j.at.CN == p.CN && j.at.MN == p.MN && j.at.ST == p.ST:
		for _, g := range p.CP {
			if len(g) > 0 && g[0].Key == "DataTime" {
				continue // each packet repeats it
			}
			j.at.CP = append(j.at.CP, g)
		}
		j.at.PNO = p.PNO
	default:
		j.drop()
		j.Dropped++
		return Packet{}, false
	}
	if j.at.PNO < j.at.PNUM {
		return Packet{}, false
	}
	whole := j.at
	whole.PNUM, whole.PNO = 0, 0
	j.at = Packet{}
	return whole, true
}

func (j *Joiner) drop() {
	j.Dropped += uint64(j.at.PNO)
	j.at = Packet{}
}

// clock gives QNs: local time in milliseconds, each later than the one before,
// also where the wall clock was set back or a summer ended.
type clock struct{ last int64 }

// next returns the QN of a wall time (ns since 1970) that is offset seconds
// east of Greenwich.
func (c *clock) next(wall int64, offset int) string {
	c.last = max(c.last+1, wall/1e6+int64(offset)*1000)
	return printQN(c.last)
}

// printQN prints local milliseconds.
func printQN(ms int64) string {
	return fmt.Sprintf("%s%03d", civil(floorDiv(ms, 1000)), ms-floorDiv(ms, 1000)*1000)
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
