// Package closures is a reference: limit rules as a person would write them by
// hand in Go, one closure each over a slice of numbers. It knows no quality, no
// delay, no deadband and no state but "over or not", so it is what judging
// costs when nothing is promised. Figures of the rules are taken against it;
// change it only in a commit of its own, with the figures before and after.
//
// Imports: nothing of ours.
package closures

// Rules are limit rules over slots.
type Rules struct {
	rules []func(slots []float64) bool
	over  []bool
}

// Limits makes n rules, the i-th "slot i >= limit".
func Limits(n int, limit float64) *Rules {
	r := &Rules{over: make([]bool, n)}
	for i := range n {
		r.rules = append(r.rules, func(slots []float64) bool { return slots[i] >= limit })
	}
	return r
}

// Step judges every rule and returns how many changed.
func (r *Rules) Step(slots []float64) (changed int) {
	for i, rule := range r.rules {
		if now := rule(slots); now != r.over[i] {
			r.over[i] = now
			changed++
		}
	}
	return changed
}
