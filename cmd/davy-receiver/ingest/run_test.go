package ingest

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"davy/cmd/davy-receiver/store"
)

// Run looks after the gateways by itself, also while nothing comes.
func TestRunWatches(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		st, err := store.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Enroll(t.Context(), store.Gateway{ID: "GW-1"}); err != nil {
			t.Fatal(err)
		}
		if _, err := st.Restored(t.Context(), time.Now().UnixNano()); err != nil {
			t.Fatal(err)
		}
		told := 0
		in := New(Options{
			Store: st, Key: key(2), Now: time.Now, Log: slog.New(slog.DiscardHandler),
			Publish: func(context.Context, string, []byte) error { told++; return nil },
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- in.Run(ctx) }()
		time.Sleep(3 * WatchEvery)
		synctest.Wait()
		stop()
		if err := <-done; err != nil || told != 1 {
			t.Errorf("%v: told %d times", err, told)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
}
