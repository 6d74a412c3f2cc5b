package journal

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// A page whose buckets lie within each other is looked through once: it would
// take 2^100 steps else.
func TestSalvageOfBucketsWithinEachOther(t *testing.T) {
	page := make([]byte, boltPage)
	binary.LittleEndian.PutUint16(page[8:], boltLeaf)
	at := 0
	for range 50 { // each bucket says twice that the next one is in it
		binary.LittleEndian.PutUint16(page[at+10:], 2)
		value := at + boltHead + 2*boltElement
		for i := range 2 {
			x := at + boltHead + i*boltElement
			binary.LittleEndian.PutUint32(page[x:], boltBucket)
			binary.LittleEndian.PutUint32(page[x+4:], uint32(value-x))
			binary.LittleEndian.PutUint32(page[x+12:], uint32(boltPage-value))
		}
		at = value + boltNested
	}
	path := filepath.Join(t.TempDir(), "x.seg")
	if err := os.WriteFile(path, page, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Salvage(path)
	if err != nil || len(s.Blocks) > 0 {
		t.Errorf("%v %+v", err, s)
	}
}
