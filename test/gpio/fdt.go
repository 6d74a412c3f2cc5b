package gpio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
)

// The device tree's words, from its specification (v0.4, chapter 5).
const (
	fdtMagic     = 0xd00dfeed
	fdtBeginNode = 1
	fdtEndNode   = 2
	fdtProp      = 3
	fdtNop       = 4
	fdtEnd       = 9
	fdtHeader    = 40
)

var errTree = errors.New("this is no device tree of version 17")

// nameLines gives the lines of the first node whose name begins with node the
// names that a board's description would give them (gpio-line-names). QEMU's
// own description of its machine names none.
func nameLines(tree []byte, node string, names []string) ([]byte, error) {
	be := binary.BigEndian
	if len(tree) < fdtHeader || be.Uint32(tree) != fdtMagic || be.Uint32(tree[20:]) < 17 {
		return nil, errTree
	}
	total, structs, texts := int(be.Uint32(tree[4:])), int(be.Uint32(tree[8:])), int(be.Uint32(tree[12:]))
	textSize, structSize := int(be.Uint32(tree[32:])), int(be.Uint32(tree[36:]))
	if total > len(tree) || structs+structSize > total || texts+textSize > total {
		return nil, errTree
	}
	at, err := firstProperty(tree[structs:structs+structSize], node)
	if err != nil {
		return nil, err
	}
	value := []byte(strings.Join(names, "\x00") + "\x00")
	var prop []byte
	prop = be.AppendUint32(prop, fdtProp)
	prop = be.AppendUint32(prop, uint32(len(value)))
	prop = be.AppendUint32(prop, uint32(textSize)) // its name is put behind the others
	prop = append(prop, value...)
	prop = append(prop, make([]byte, -len(prop)&3)...)

	// Header and reservations stay; structure and texts move behind them, longer.
	out := bytes.Clone(tree[:min(structs, texts)])
	be.PutUint32(out[8:], uint32(len(out)))
	be.PutUint32(out[36:], uint32(structSize+len(prop)))
	out = append(out, tree[structs:structs+at]...)
	out = append(out, prop...)
	out = append(out, tree[structs+at:structs+structSize]...)
	be.PutUint32(out[12:], uint32(len(out)))
	name := "gpio-line-names\x00"
	be.PutUint32(out[32:], uint32(textSize+len(name)))
	out = append(out, tree[texts:texts+textSize]...)
	out = append(out, name...)
	be.PutUint32(out[4:], uint32(len(out)))
	return out, nil
}

// firstProperty is where the properties of a node begin.
func firstProperty(b []byte, node string) (int, error) {
	be := binary.BigEndian
	for i := 0; i+4 <= len(b); {
		word := be.Uint32(b[i:])
		i += 4
		switch word {
		case fdtBeginNode:
			end := bytes.IndexByte(b[i:], 0)
			if end < 0 {
				return 0, errTree
			}
			name := string(b[i : i+end])
			i += (end + 4) &^ 3
			if strings.HasPrefix(name, node) {
				return i, nil
			}
		case fdtProp:
			if i+8 > len(b) {
				return 0, errTree
			}
			i += 8 + (int(be.Uint32(b[i:]))+3)&^3
		case fdtEndNode, fdtNop:
		case fdtEnd:
			return 0, errors.New("the device tree has no node " + node)
		default:
			return 0, errTree
		}
	}
	return 0, errTree
}
