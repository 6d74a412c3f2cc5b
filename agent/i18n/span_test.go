package i18n

import (
	"testing"
	"time"
)

func TestSpan(t *testing.T) {
	f := func(d time.Duration, zh, en string) {
		t.Helper()
		if z, e := Zh.Span(d), En.Span(d); z != zh || e != en {
			t.Errorf("%v: %q and %q, want %q and %q", d, z, e, zh, en)
		}
	}
	f(-time.Hour, "0 秒", "0 s")
	f(0, "0 秒", "0 s")
	f(time.Microsecond, "1 毫秒", "1 ms")
	f(350*time.Millisecond, "350 毫秒", "350 ms")
	f(1350*time.Millisecond, "1.35 秒", "1.35 s")
	f(3*time.Second, "3 秒", "3 s")
	f(9999*time.Millisecond, "10 秒", "10 s")
	f(90*time.Second, "1 分钟 30 秒", "1 min 30 s")
	f(8*time.Hour, "8 小时", "8 h")
	f(8*time.Hour+30*time.Second, "8 小时", "8 h")
	f(49*time.Hour+59*time.Minute, "2 天 1 小时", "2 d 1 h")
}
