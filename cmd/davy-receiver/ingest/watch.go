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
)

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
	return resumes, b.Commit()
}
