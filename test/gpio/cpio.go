package gpio

import (
	"bytes"
	"fmt"
)

// file is a file of the guest's first file system.
type file struct {
	name string
	mode uint32 // with its kind, as stat has it
	data []byte
	// of a device
	major, minor uint32
}

// archive writes files as the kernel unpacks them: cpio in its newc form.
func archive(files []file) []byte {
	var b bytes.Buffer
	for i, f := range append(files, file{name: "TRAILER!!!"}) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
			i+1, f.mode, 0, 0, 1, 0, len(f.data), 0, 0, f.major, f.minor, len(f.name)+1, 0)
		b.WriteString(f.name)
		b.WriteByte(0)
		pad(&b)
		b.Write(f.data)
		pad(&b)
	}
	return b.Bytes()
}

func pad(b *bytes.Buffer) {
	for b.Len()%4 != 0 {
		b.WriteByte(0)
	}
}
