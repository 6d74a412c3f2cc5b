package line

import (
	"fmt"
	"testing"
	"time"

	"davy/drivers"
)

func TestTmpSeeds(t *testing.T) {
	for seed := uint64(100); seed < 112; seed++ {
		for n, d := range []func(l *Line) drivers.Driver{
			rtu, func(l *Line) drivers.Driver { l.Edge = true; l.Bridge = true; return rtu(l) }, func(l *Line) drivers.Driver { l.Bridge = true; return ascii(l) },
		} {
			sum := campaign(t, seed*2, 30*time.Minute, d)
			fmt.Println(seed, n, sum.counts, sum.good, sum.wrong, sum.stations[1:])
			if sum.wrong > 0 {
				t.Error(seed, n, sum.first)
			}
		}
	}
}
