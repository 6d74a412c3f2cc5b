package scale

import "testing"

func TestOf(t *testing.T) {
	f := func(n int, scale string, want int) {
		t.Helper()
		if got := of(n, scale); got != want {
			t.Errorf("of(%d, %q) = %d, want %d", n, scale, got, want)
		}
	}
	f(1000, "", 1000)
	f(1000, "0.05", 50)
	f(3, "0.05", 1)
	f(0, "", 1)
	f(1000, "10", 10000)
	f(1<<30, "10", 1<<31-1)

	for _, bad := range []string{"0", "-1", "NaN", "much"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("scale %q was taken", bad)
				}
			}()
			of(1, bad)
		}()
	}
}
