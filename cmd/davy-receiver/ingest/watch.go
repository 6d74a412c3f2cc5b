package ingest

import (
	"context"
	"time"

	"davy/agent/wire"
	"davy/cmd/davy-receiver/store"
)

// What is watched for between messages.
const (
	WatchEvery      = 5 * time.Second
	DefaultSilent   = 15 * time.Minute
	DefaultWithheld = 10 * time.Minute
	// MaxUnwatched is how long may be between two looks. After more (the database
	// failed, the machine slept, its clock was set) this receiver did not listen.
	MaxUnwatched = time.Minute
)

// Hears says whether there is a connection over which messages can come; at
// first there is. Without one nothing is known of any gateway.
func (i *Ingest) Hears(can bool) { i.deaf.Store(!can) }

// Watch names the gateways that are silent and the records that do not come,
// and tells those gateways where to go on that a restored receiver has to tell.
// What fails is tried again the next time.
func (i *Ingest) Watch(ctx context.Context) {
	resumes, err := i.watch(ctx)
	if err != nil && ctx.Err() == nil {
		i.counts.Failed.Add(1)
		i.o.Log.Error("gateways not looked after, trying again", "err", err)
		return
	}
	i.sendAll(ctx, resumes)
}

func (i *Ingest) watch(ctx context.Context) ([]store.Receipt, error) {
	b, err := i.begin(ctx)
	if err != nil {
		return nil, err
	}
	if past := b.Wall() - i.watched; i.deaf.Load() || past < 0 || past > int64(MaxUnwatched) {
		i.since = b.Wall()
	}
	err = b.Silence(i.o.Silent, i.since)
	if err == nil {
		err = b.Stuck(i.o.Withheld, i.since)
	}
	var resumes []store.Receipt
	if err == nil {
		resumes, err = b.Resumes(func(r *wire.Resume) []byte {
			r.Certificate = i.o.Certificate
			s := wire.Sign(wire.ResumeKind, r.Encode(nil), i.o.Key)
			return s.Encode(nil)
		})
	}
	if err != nil {
		b.Rollback()
		return nil, err
	}
	if err := b.Commit(); err != nil {
		return nil, err
	}
	i.watched = b.Wall()
	return resumes, nil
}
