package planbench

import "testing"

// Forty other maps than the bench's, of every kind: no plan takes longer than
// it has to.
func TestNoPlanTakesLongerThanItHasTo(t *testing.T) {
	all, err := measure(40, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.ours != s.least || s.maps != 40 || s.small < 10 || s.perByte <= 0 || s.fixed <= s.perByte {
			t.Errorf("%+v", s)
		}
	}
}
