// Package scale is how much of a property, a model or a simulation a test
// runs: DAVY_TEST_SCALE times what its author wrote, one where nothing is set.
// Under qemu it is 0.05, where code is eleven to twenty-seven times slower; in
// a soak it is 10. A count never becomes zero: nothing is skipped.
//
// It is the one package of test that tests elsewhere may import.
//
// Imports: nothing of ours.
package scale

import (
	"fmt"
	"math"
	"os"
	"strconv"
)

// Of returns n times the scale, rounded up, at least 1.
func Of(n int) int { return of(n, os.Getenv("DAVY_TEST_SCALE")) }

func of(n int, scale string) int {
	f := 1.0
	if scale != "" {
		var err error
		if f, err = strconv.ParseFloat(scale, 64); err != nil || math.IsNaN(f) || f <= 0 {
			panic(fmt.Sprintf("BUG: DAVY_TEST_SCALE %q is no positive number", scale))
		}
	}
	return int(min(max(math.Ceil(float64(n)*f), 1), math.MaxInt32))
}
