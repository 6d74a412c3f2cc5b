package worker

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"davy/drivers/opcua"
)

// The limits of browsing.
const (
	browseDepth = 12   // objects within objects
	browsePage  = 1000 // references of one answer
)

// Offer is one way in which a server may be spoken to, as it says itself
// without any security: nothing of it is proved.
type Offer struct {
	Policy string // as the site file has it; of an unknown one its URI
	Mode   opcua.Mode
	Known  bool // we speak it
	Legacy bool // SHA-1
	Logins []string
}

// Certificate is what a person compares before the site trusts it.
type Certificate struct {
	DER                 []byte
	SHA256              string // hexadecimal, in pairs with colons
	Subject             string
	NotBefore, NotAfter time.Time
	URI                 string // the application that it is made for
	Bits                int    // of its RSA key; 0: another kind, which no policy of ours takes
}

// Server is what a server says of itself.
type Server struct {
	Name           string
	ApplicationURI string
	Offers         []Offer
	Certificate    *Certificate // nil: it showed none
}

// Ask asks a server, without security, how it may be spoken to.
func Ask(ctx context.Context, target string, timeout time.Duration) (*Server, error) {
	addr, err := address(target)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectSteps*timeout)
	defer cancel()
	offers, err := (&site{target: target, addr: addr, timeout: timeout}).endpoints(ctx)
	if err != nil {
		return nil, err
	}
	s := &Server{}
	for _, e := range offers {
		if e.Server != nil {
			s.ApplicationURI = clip([]byte(e.Server.ApplicationURI))
			if e.Server.ApplicationName != nil {
				s.Name = clip([]byte(e.Server.ApplicationName.Text))
			}
		}
		o := Offer{Policy: clip([]byte(e.SecurityPolicyURI)), Mode: opcua.Mode(min(e.SecurityMode, 4))}
		if p, known := policyOf(e.SecurityPolicyURI); known {
			o.Policy, o.Known, o.Legacy = p.Name, true, p.Legacy
		}
		for _, t := range e.UserIdentityTokens {
			login := strings.ToLower(strings.TrimPrefix(t.TokenType.String(), "UserTokenType"))
			if !slices.Contains(o.Logins, login) {
				o.Logins = append(o.Logins, login)
			}
		}
		s.Offers = append(s.Offers, o)
		if leaf := leafOf(e.ServerCertificate); leaf != nil && s.Certificate == nil {
			s.Certificate = describe(leaf)
		}
	}
	return s, nil
}

// describe says what stands in a certificate.
func describe(der []byte) *Certificate {
	c := &Certificate{DER: der, SHA256: fingerprint(der)}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return c
	}
	c.Subject, c.NotBefore, c.NotAfter = clip([]byte(cert.Subject.String())), cert.NotBefore, cert.NotAfter
	if len(cert.URIs) > 0 {
		c.URI = clip([]byte(cert.URIs[0].String()))
	}
	if key, ok := cert.PublicKey.(*rsa.PublicKey); ok {
		c.Bits = key.N.BitLen()
	}
	return c
}

// Found is a variable of a server.
type Found struct {
	Path    []string // browse names from the objects folder
	Display string
	Address opcua.Address
	Type    string // of a point: "float64", "int", "bool", "text", "" where none holds it
	Array   bool
}

// Walk makes a session as hello says and lists the variables below the objects
// folder, without the server's own, at most limit; more says that there are more.
func Walk(ctx context.Context, hello opcua.Hello, o Options, limit int) (found []Found, more bool, err error) {
	w := New(hello, nil, o)
	site, err := w.site()
	if err != nil {
		return nil, false, err
	}
	opening, cancel := context.WithTimeout(ctx, connectSteps*site.timeout+overdue)
	c, err := site.connect(opening)
	cancel()
	if err != nil {
		return nil, false, err
	}
	defer c.close(ctx)
	space, err := c.learn(ctx)
	if err != nil {
		return nil, false, err
	}
	b := &browser{c: c, limit: limit, seen: map[string]bool{ns0(id.Server).String(): true}, names: make([]string, len(space.namespaces)+1)}
	for uri, i := range space.namespaces {
		if int(i) < len(b.names) {
			b.names[i] = uri
		}
	}
	if err := b.below(ctx, ns0(id.ObjectsFolder), nil); err != nil {
		return nil, false, err
	}
	if err := b.types(ctx, space.perRead); err != nil {
		return nil, false, err
	}
	return b.found, b.more, nil
}

// browser walks a server's tree.
type browser struct {
	c     *channel
	limit int
	seen  map[string]bool
	names []string // of namespaces
	found []Found
	nodes []*ua.NodeID // of found
	more  bool
}

// below lists what is below an object.
func (b *browser) below(ctx context.Context, node *ua.NodeID, path []string) error {
	if len(path) >= browseDepth || b.seen[node.String()] || b.more {
		return nil
	}
	b.seen[node.String()] = true
	refs, err := b.references(ctx, node)
	if err != nil {
		return fmt.Errorf("browse %s: %w", strings.Join(path, "/"), err)
	}
	for _, r := range refs {
		if r == nil || r.NodeID == nil || r.NodeID.ServerIndex != 0 || r.BrowseName == nil {
			continue
		}
		child := ua.NewNodeIDFromExpandedNodeID(r.NodeID)
		at := append(slices.Clip(path), clip([]byte(r.BrowseName.Name)))
		switch r.NodeClass {
		case ua.NodeClassObject:
			if err := b.below(ctx, child, at); err != nil {
				return err
			}
		case ua.NodeClassVariable:
			if b.seen[child.String()] || child.Namespace() == 0 { // of the standard: no plant's
				continue
			}
			if len(b.found) >= b.limit {
				b.more = true
				return nil
			}
			b.seen[child.String()] = true
			f := Found{Path: at, Address: b.address(child)}
			if r.DisplayName != nil {
				f.Display = clip([]byte(r.DisplayName.Text))
			}
			b.found, b.nodes = append(b.found, f), append(b.nodes, child)
		}
		if len(b.seen) > 100*b.limit+1000 {
			b.more = true
			return nil
		}
	}
	return nil
}

// references returns the children of a node, page by page.
func (b *browser) references(ctx context.Context, node *ua.NodeID) ([]*ua.ReferenceDescription, error) {
	res, err := call[*ua.BrowseResponse](ctx, b.c, &ua.BrowseRequest{
		View: &ua.ViewDescription{ViewID: ua.NewTwoByteNodeID(0)}, RequestedMaxReferencesPerNode: browsePage,
		NodesToBrowse: []*ua.BrowseDescription{{
			NodeID: node, BrowseDirection: ua.BrowseDirectionForward, ReferenceTypeID: ns0(id.HierarchicalReferences), IncludeSubtypes: true,
			NodeClassMask: uint32(ua.NodeClassObject | ua.NodeClassVariable), ResultMask: uint32(ua.BrowseResultMaskAll),
		}},
	})
	if err != nil {
		return nil, err
	}
	var refs []*ua.ReferenceDescription
	results := res.Results
	for {
		if len(results) != 1 || results[0] == nil {
			return nil, errors.New("the server answered without a result")
		}
		if status := results[0].StatusCode; uint32(status)>>30 == 2 {
			return refs, nil // not ours to see
		}
		refs = append(refs, results[0].References...)
		point := results[0].ContinuationPoint
		if len(point) == 0 {
			return refs, nil
		}
		enough := len(refs) > b.limit
		next, err := call[*ua.BrowseNextResponse](ctx, b.c, &ua.BrowseNextRequest{ReleaseContinuationPoints: enough, ContinuationPoints: [][]byte{slices.Clone(point)}})
		if err != nil {
			return nil, err
		}
		if enough {
			b.more = b.more || len(b.found) > b.limit
			return refs, nil
		}
		results = next.Results
	}
}

// address is a node's id as a site file has it: its namespace by name.
func (b *browser) address(n *ua.NodeID) opcua.Address {
	a := opcua.Address{Space: n.Namespace()}
	if i := int(n.Namespace()); i > 0 && i < len(b.names) && b.names[i] != "" {
		a.URI, a.Space = b.names[i], 0
	}
	text := n.String()
	if i := strings.LastIndex(text, ";"); n.Namespace() > 0 && i >= 0 && n.Type() != ua.NodeIDTypeString {
		text = text[i+1:]
	}
	switch n.Type() {
	case ua.NodeIDTypeString:
		a.Type, a.ID = opcua.Text, n.StringID()
	case ua.NodeIDTypeGUID:
		a.Type, a.ID = opcua.GUID, strings.TrimPrefix(text, "g=")
	case ua.NodeIDTypeByteString:
		a.Type, a.ID = opcua.Opaque, strings.TrimPrefix(text, "b=")
	default:
		a.Type, a.ID = opcua.Numeric, fmt.Sprint(n.IntID())
	}
	return a
}

// types finds out what point could hold each variable: from its value where it
// has one, else from its declared type.
func (b *browser) types(ctx context.Context, perRead int) error {
	const each = 2
	for first := 0; first < len(b.nodes); first += max(1, perRead/each) {
		part := b.nodes[first:min(first+max(1, perRead/each), len(b.nodes))]
		var what []*ua.ReadValueID
		for _, n := range part {
			what = append(what, value(n, ""), &ua.ReadValueID{NodeID: n, AttributeID: ua.AttributeIDDataType, DataEncoding: &ua.QualifiedName{}})
		}
		values, err := b.c.read(ctx, what...)
		var status ua.StatusCode
		if err != nil && (!errors.As(err, &status) || fatal(status)) {
			return err
		}
		for i := range part {
			f := &b.found[first+i]
			if err != nil {
				continue // one of them cannot be read with the others: no type is named
			}
			kind := ua.TypeIDNull
			if v := values[each*i].Value; v != nil {
				kind, f.Array = v.Type(), v.Has(ua.VariantArrayValues)
			}
			if n, ok := scalar(values[each*i+1]).(*ua.NodeID); ok && kind == ua.TypeIDNull && n.Namespace() == 0 && n.IntID() <= 25 {
				kind = ua.TypeID(n.IntID())
			}
			f.Type = pointType(kind)
		}
	}
	return nil
}

// pointType is the type of a point that holds a built-in type.
func pointType(t ua.TypeID) string {
	switch t {
	case ua.TypeIDBoolean:
		return "bool"
	case ua.TypeIDSByte, ua.TypeIDByte, ua.TypeIDInt16, ua.TypeIDUint16, ua.TypeIDInt32, ua.TypeIDUint32, ua.TypeIDInt64, ua.TypeIDUint64:
		return "int"
	case ua.TypeIDFloat:
		return "float32"
	case ua.TypeIDDouble:
		return "float64"
	case ua.TypeIDString, ua.TypeIDLocalizedText:
		return "text"
	}
	return ""
}
