package config

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
)

// Same reports whether the site directory root of fsys still holds every file
// of b as it is there, and no rules, template or profile of its own that b has not from
// it. Then ReadSite would gather b again; where it says no, ReadSite tells. It
// reads the files piece by piece and parses nothing, so that a running agent
// can look every minute.
func (b *Bundle) Same(fsys fs.FS, root string, library fs.FS) bool {
	if _, have := b.File(RulesFile); !have {
		if _, err := fs.Stat(fsys, path.Join(root, RulesFile)); !errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	for _, f := range b.Files {
		same := equal(fsys, path.Join(root, f.Name), f.Data)
		name, borrowed := strings.CutPrefix(f.Name, templateDir+"/")
		if borrowed = borrowed || strings.HasPrefix(name, profileDir+"/"); borrowed && !same && library != nil {
			_, err := fs.Stat(fsys, path.Join(root, f.Name))
			same = errors.Is(err, fs.ErrNotExist) && equal(library, name, f.Data)
		}
		if !same {
			return false
		}
	}
	return true
}

// equal reports whether a file holds exactly data.
func equal(fsys fs.FS, name string, data []byte) bool {
	info, err := fs.Stat(fsys, name) // before opening: opening a pipe waits for its writer
	if err != nil || !info.Mode().IsRegular() || info.Size() != int64(len(data)) {
		return false
	}
	f, err := fsys.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	var piece [16 << 10]byte
	for {
		n, err := f.Read(piece[:])
		if n > len(data) || !bytes.Equal(piece[:n], data[:n]) {
			return false
		}
		data = data[n:]
		if err != nil {
			return err == io.EOF && len(data) == 0
		}
	}
}
