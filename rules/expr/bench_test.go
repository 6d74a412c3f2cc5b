package expr

import (
	"testing"

	"davy/drivers/tag"
)

func BenchmarkEval(b *testing.B) {
	p := compile(b, "a > 25 && (b < 10 || c) && abs(d - e) > 3")
	in := image(b, "a=26 b=11 c=1 d=1 e=5")
	for b.Loop() {
		if v, _ := p.Eval(nil, in, tag.Stamp{}); !v.True() {
			b.Fatal("not true")
		}
	}
}

func BenchmarkWindow(b *testing.B) {
	p := compile(b, "avg_over(a, 15min) > 3")
	in, st, now := image(b, "a=26"), p.NewState(), int64(0)
	for b.Loop() {
		now += 1e9
		in[1].Value, _ = tag.Float64Value(float64(now % 7e9))
		p.Eval(st, in, tag.Stamp{Mono: now})
	}
}
