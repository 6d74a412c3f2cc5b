package journal
import ("testing";"time";"math/rand/v2";"os")
func TestZZBig(t *testing.T) {
	w := &bench{rnd: rand.New(rand.NewPCG(1, 2))}
	w.mono.Store(int64(time.Hour))
	dir, _ := os.MkdirTemp("/tmp","jbig"); defer os.RemoveAll(dir)
	o := Options{Dir: dir, Gateway: "GW", Now: w.now, Boot: "b", MaxBytes: 1200<<20, MustConfirm: []string{"r"}}
	j, err := Open(o); must(t, err)
	rd := w.readings(16000)
	for j.Stat().Bytes < 1<<30 { for k := 0; k<4; k++ { must(t, j.Append(Batch{Readings: rd})) } ; must(t, j.Append(Batch{Events: w.events(1,100)})) }
	t.Log(j.Stat().Segments, j.Stat().Records)
	must(t, j.Close())
	for i := 0; i<3; i++ {
	os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0)
	b := time.Now(); j, err = Open(o); must(t, err); t.Log("open", time.Since(b), "fds/segments", j.Stat().Segments)
	b = time.Now(); c, _ := j.Cursor("r"); it, err := c.Next("reading", Pos{}, 64<<10); must(t, err); t.Log("next", len(it), time.Since(b))
	j.Close() }
}
