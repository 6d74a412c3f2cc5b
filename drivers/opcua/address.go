package opcua

import (
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"

	"davy/drivers"
)

// Limits of an address.
const (
	maxAddress = 1024 // bytes of `at:`
	maxElement = 1 << 20
)

// baseURI is the namespace that every server has at index 0.
const baseURI = "http://opcfoundation.org/UA/"

// Address is a node, or something of one. It is comparable.
type Address struct {
	What    What
	Element int    // of an Element: its index, from 0
	URI     string // of the namespace; "": Space is its index
	Space   uint16 // 0 is the namespace of OPC UA itself
	Type    IDType
	ID      string // canonical: decimal, text, GUID in upper case, or base64
}

// What says what of the node is meant.
type What uint8

// What an address can mean.
const (
	Node       What = iota // the node's value
	Element                // one element of its value, an array
	Conditions             // the number of active alarms and conditions that the node notifies of
)

// IDType is the letter of an identifier.
type IDType byte

// The types of an identifier.
const (
	Numeric IDType = 'i'
	Text    IDType = 's'
	GUID    IDType = 'g'
	Opaque  IDType = 'b'
)

// Node returns the node's id as the standard writes it, with the index that
// its namespace has now: "ns=2;s=LT-101".
func (a Address) Node(space uint16) string {
	id := string(rune(a.Type)) + "=" + a.ID
	if space == 0 {
		return id
	}
	return "ns=" + strconv.Itoa(int(space)) + ";" + id
}

// A URI in a node id is written with these two characters escaped (OPC UA part 6).
var (
	escape   = strings.NewReplacer("%", "%25", ";", "%3B")
	unescape = strings.NewReplacer("%25", "%", "%3B", ";", "%3b", ";")
)

// String prints the address as people write it.
func (a Address) String() string {
	s := a.Node(a.Space)
	if a.URI != "" {
		s = "nsu=" + escape.Replace(a.URI) + ";" + a.Node(0)
	}
	switch a.What {
	case Element:
		return "element " + strconv.Itoa(a.Element) + " of " + s
	case Conditions:
		return "conditions of " + s
	}
	return s
}

// Warn says that a namespace is written by its index, which another server,
// or this one after a change, gives to another namespace; nil where all is well.
func (a Address) Warn() *drivers.Hint {
	if a.URI != "" || a.Space == 0 {
		return nil
	}
	return hint("opcua.index", "opcua.index", map[string]any{"at": a.String(), "space": int(a.Space)})
}

func hint(code, remedy string, args map[string]any) *drivers.Hint {
	return &drivers.Hint{Code: code, Args: args, Hint: remedy}
}

// ParseAddress reads
//
//	nsu=urn:plant:dcs;s=LT-101     a node, its namespace by name
//	ns=2;s=LT-101                  by the server's index: accepted, see Warn
//	i=2258                         of OPC UA itself
//	element 3 of nsu=…;s=Levels    one element of an array, from 0
//	conditions of nsu=…;s=Area1    how many alarms and conditions are active there
//
// with s= (text), i= (number), g= (GUID) and b= (base64) as the standard has them.
func (Driver) ParseAddress(s string) (drivers.Address, error) {
	a, err := parseAddress(s)
	if err != nil {
		return nil, err
	}
	return a, nil
}

func parseAddress(s string) (a Address, err error) {
	refuse := func(code string) (Address, error) {
		return Address{}, hint("opcua."+code, "opcua.address", map[string]any{"text": s})
	}
	text := strings.TrimSpace(s)
	if len(text) > maxAddress || !utf8.ValidString(text) {
		return refuse("address-long")
	}
	if rest, ok := strings.CutPrefix(text, "conditions of "); ok {
		a.What, text = Conditions, strings.TrimSpace(rest)
	} else if rest, ok := strings.CutPrefix(text, "element "); ok {
		number, node, ok := strings.Cut(rest, " of ")
		n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 32)
		if !ok || err != nil || n > maxElement {
			return refuse("element")
		}
		a.What, a.Element, text = Element, int(n), strings.TrimSpace(node)
	}
	if rest, ok := strings.CutPrefix(text, "nsu="); ok {
		uri, id, ok := strings.Cut(rest, ";")
		if !ok || uri == "" {
			return refuse("address")
		}
		if a.URI, text = unescape.Replace(uri), id; a.URI == baseURI {
			a.URI = ""
		}
	} else if rest, ok := strings.CutPrefix(text, "ns="); ok {
		number, id, ok := strings.Cut(rest, ";")
		n, err := strconv.ParseUint(number, 10, 16)
		if !ok || err != nil {
			return refuse("address")
		}
		a.Space, text = uint16(n), id
	}
	if len(text) < 3 || text[1] != '=' {
		return refuse("address")
	}
	if a.Type = IDType(text[0]); !a.identifier(text[2:]) {
		return refuse("identifier")
	}
	return a, nil
}

// identifier takes an identifier in its canonical form; false: it is none.
func (a *Address) identifier(id string) bool {
	switch a.Type {
	case Numeric:
		n, err := strconv.ParseUint(id, 10, 32)
		a.ID = strconv.FormatUint(n, 10)
		return err == nil && id[0] != '+'
	case Text:
		a.ID = id
		return true
	case GUID:
		a.ID = strings.ToUpper(id)
		return guid(a.ID)
	case Opaque:
		b, err := base64.StdEncoding.DecodeString(id)
		a.ID = base64.StdEncoding.EncodeToString(b)
		return err == nil
	}
	return false
}

// guid reports whether s is 8-4-4-4-12 hex digits in upper case.
func guid(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (c == '-') || !dash && !(c >= '0' && c <= '9' || c >= 'A' && c <= 'F') {
			return false
		}
	}
	return true
}
