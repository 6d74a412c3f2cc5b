package journal

import (
	"bytes"
	"math"
	"path/filepath"
	"slices"
	"sort"
	"testing"

	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

func openBlocks(t *testing.T) *bolt.DB {
	db, err := bolt.Open(filepath.Join(t.TempDir(), "x"), 0o600, &bolt.Options{PageSize: pageSize, NoSync: true, FreelistType: bolt.FreelistMapType})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// However blocks are grouped, they are found and gone over as if each lay by
// itself, in the order of their keys.
func TestBlocksAreGoneOver(t *testing.T) {
	db := openBlocks(t)
	rapid.Check(t, func(t *rapid.T) {
		held := map[string][]byte{}
		var keys []string
		next := map[[2]int]uint64{}
		size := rapid.SampledFrom([]int{40, 300, 600, 1100, 1500, 3000, 4000, 6000, 20000})
		for range rapid.IntRange(0, 5).Draw(t, "commits") {
			err := db.Update(func(tx *bolt.Tx) error {
				if len(held) == 0 {
					_ = tx.DeleteBucket(bucketBlocks) // of the check before
					if _, err := tx.CreateBucket(bucketBlocks); err != nil {
						return err
					}
				}
				b := blocksOf(tx)
				for range rapid.IntRange(1, 12).Draw(t, "blocks") {
					epoch, stream := rapid.IntRange(1, 2).Draw(t, "epoch"), rapid.IntRange(1, 2).Draw(t, "stream")
					at := [2]int{epoch, stream}
					next[at] += uint64(rapid.IntRange(1, 300).Draw(t, "first"))
					k := blockKey(uint32(epoch), stream, next[at])
					v := bytes.Repeat([]byte{byte(next[at])}, size.Draw(t, "size"))
					held[string(k)], keys = v, append(keys, string(k))
					if err := b.put(k, v); err != nil {
						return err
					}
				}
				for range rapid.IntRange(0, 2).Draw(t, "removed") {
					if len(keys) == 0 {
						break
					}
					i := rapid.IntRange(0, len(keys)-1).Draw(t, "which")
					if err := b.remove([]byte(keys[i])); err != nil {
						return err
					}
					delete(held, keys[i])
					keys = slices.Delete(keys, i, i+1)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if len(keys) == 0 {
			return
		}
		sort.Strings(keys)
		_ = db.View(func(tx *bolt.Tx) error {
			b := blocksOf(tx)
			for _, k := range keys {
				if !bytes.Equal(b.get([]byte(k)), held[k]) {
					t.Fatalf("%x is not what it was", k)
				}
			}
			if b.get(blockKey(1, 1, math.MaxUint64)) != nil || b.get(blockKey(0, 0, 0)) != nil {
				t.Fatal("a block that is not there was found")
			}
			var got []string
			_ = b.ForEach(func(k, v []byte) error {
				if !bytes.Equal(v, held[string(k)]) {
					t.Fatalf("at %x lies something else", k)
				}
				got = append(got, string(k))
				return nil
			})
			if !slices.Equal(got, keys) {
				t.Fatalf("forward\n%x\n%x", got, keys)
			}
			// A cursor is where a cursor over the plain list would be.
			c, at := b.Cursor(), -1
			for range 40 {
				var k []byte
				switch rapid.IntRange(0, 4).Draw(t, "move") {
				case 0:
					k, _ = c.First()
					at = 0
				case 1:
					k, _ = c.Last()
					at = len(keys) - 1
				case 2:
					to := rapid.SampledFrom(keys).Draw(t, "to")
					if rapid.Bool().Draw(t, "between") {
						to = string(blockKey(uint32(to[3]), int(to[4]), uint64(rapid.IntRange(0, 4000).Draw(t, "number"))))
					}
					k, _ = c.Seek([]byte(to))
					at = sort.SearchStrings(keys, to)
				case 3:
					if at < 0 || at >= len(keys)-1 {
						continue
					}
					k, _ = c.Next()
					at++
				case 4:
					if at < 1 {
						continue
					}
					k, _ = c.Prev()
					at--
				}
				if at == len(keys) {
					if k != nil {
						t.Fatalf("beyond the last is %x", k)
					}
				} else if string(k) != keys[at] {
					t.Fatalf("at %x, not %x", k, keys[at])
				}
			}
			return nil
		})
	})
}

// Pages are filled: blocks take at most a third of a page more each than they
// are long, a page where they are large; and no commit writes much more than
// its own block.
func TestBlocksFillPages(t *testing.T) {
	for _, size := range []int{250, 700, 1000, 1350, 1690, 2030, 3900, 5400, 6100, 9000, 30000} {
		db := openBlocks(t)
		const n = 200
		if err := db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket(bucketBlocks); return err }); err != nil {
			t.Fatal(err)
		}
		for i := range uint64(n) {
			before := db.Stats()
			err := db.Update(func(tx *bolt.Tx) error { return blocksOf(tx).put(blockKey(1, 1, i), make([]byte, size)) })
			if err != nil {
				t.Fatal(err)
			}
			after := db.Stats()
			d := after.Sub(&before)
			// Besides blocks: root, leaf and branches of the groups, free list.
			if got, most := d.TxStats.GetPageAlloc(), int64(max(largeGroup, size+pageSize)+7*pageSize); got > most {
				t.Errorf("%d bytes: block %d: a commit took %d bytes of pages, more than %d", size, i, got, most)
			}
		}
		var used int64
		_ = db.View(func(tx *bolt.Tx) error {
			s := tx.Bucket(bucketBlocks).Stats()
			used = int64(s.LeafPageN+s.LeafOverflowN+s.BranchPageN) * pageSize
			return nil
		})
		spare := pageSize / 3
		if size > largeGroup/2 {
			spare = pageSize
		}
		if each := used / n; each > int64(size+200+spare) {
			t.Errorf("%d bytes: a block takes %d", size, each)
		}
	}
}
