package days

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"davy/agent/config"
	"davy/agent/wire"
	"davy/drivers"
	"davy/drivers/modbus"
	"davy/drivers/opcua"
	firmware "davy/firmware-configs"
	"davy/test/scale"
)

// The compressor's channels must not belong to the bubble of the first test.
func TestMain(m *testing.M) {
	if _, err := wire.DecodeReadings(wire.EncodeReadings(nil)); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// files copies what fsys holds below name.
func files(t *testing.T, fsys fs.FS, name string) fstest.MapFS {
	t.Helper()
	sub, err := fs.Sub(fsys, name)
	if err != nil {
		t.Fatal(err)
	}
	m := fstest.MapFS{}
	if err := fs.WalkDir(sub, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(sub, p)
		m[p] = &fstest.MapFile{Data: data}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return m
}

// run runs a plant for a span, from a seed.
func run(t *testing.T, plant string, seed uint64, span time.Duration) (tally Tally) {
	t.Helper()
	site := files(t, firmware.Plants(), plant)
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var err error
		tally, err = Run(Options{Seed: seed, Span: span, Dir: dir, Drivers: drivers.Set{"modbus-tcp": modbus.TCP{}, "modbus-rtu": modbus.RTU{}, "opcua": opcua.Driver{}}, Compile: func(set drivers.Set, n int, key []byte) (*config.Plan, *config.Bundle, error) {
			site["receiver.pub"] = &fstest.MapFile{Data: []byte("ed25519:" + base64.StdEncoding.EncodeToString(key) + "\n")}
			site["site.yaml"] = &fstest.MapFile{Data: bytes.Replace(site["site.yaml"].Data, []byte("time_zone: Asia/Shanghai"), []byte("time_zone: Asia/Shanghai "+strings.Repeat(" ", n%7)), 1)}
			b, problems := config.ReadSite(site, ".", firmware.Library)
			plan, more := config.Compile(b, set)
			if plan == nil {
				var w strings.Builder
				_ = problems.Join(more).Write(&w, "en", b) // only to explain
				return nil, nil, fmt.Errorf("%s does not compile:\n%s", plant, w.String())
			}
			return plan, b, nil
		}})
		if err != nil {
			t.Errorf("DAYS_SEED=%d repeats it: %v", seed, err)
		}
	})
	return tally
}

// The cold store with its agent: ten minutes at scale 1 and what it takes until
// all is quiet again, three days at 432.
func TestDays(t *testing.T) {
	seeds := []uint64{0, 1}[:min(scale.Of(1), 2)] // one where it must be short
	if one := os.Getenv("DAYS_SEED"); one != "" {
		seed, err := strconv.ParseUint(one, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seeds = []uint64{seed}
	}
	for _, seed := range seeds {
		began := time.Now()
		tally := run(t, "ammonia-cold-store", seed, time.Duration(scale.Of(10))*time.Minute)
		t.Logf("days: seed %d in %v: %+v", seed, time.Since(began).Round(time.Second/10), tally)
	}
}
