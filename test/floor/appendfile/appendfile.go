// Package appendfile is a reference: the least that keeps a batch through a
// power cut. It appends the bytes to a file that grows, and asks the kernel to
// put them on the disk. It knows no number, checksum, second reader, end of a
// file or lost write; nothing that is kept can be written with less. Figures of
// the journal are taken against it; change it only in a commit of its own, with
// the figures before and after.
//
// Imports: golang.org/x/sys/unix.
package appendfile

import (
	"os"

	"golang.org/x/sys/unix"
)

// File is one file that grows.
type File struct{ f *os.File }

// Create makes a file.
func Create(path string) (*File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &File{f}, nil
}

// Append appends b and syncs so many times.
func (a *File) Append(b []byte, syncs int) error {
	if _, err := a.f.Write(b); err != nil {
		return err
	}
	for range syncs {
		if err := unix.Fdatasync(int(a.f.Fd())); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the file.
func (a *File) Close() error { return a.f.Close() }
