package opcua

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/server"
	"github.com/gopcua/opcua/ua"
	"github.com/gopcua/opcua/uasc"

	"davy/drivers/tag"
)

// uri is the namespace of the cells.
const uri = "urn:test:cells"

// names are the cells, of two devices behind one server.
var names = []string{"a.0", "a.1", "a.2", "a.3", "a.4", "b.0", "b.1", "b.2", "b.3", "b.4"}

// flag is the node that may be written.
const flag = "w"

// spoil makes another answer of the right one to a read of cells; before is the
// answer to the read before it.
type spoil func(right, before *ua.ReadResponse) ua.Response

// cells is the namespace, and the service that reads it.
type cells struct {
	srv      *server.Server
	index    uint16
	standard server.NameSpace

	mu     sync.Mutex
	began  map[string][]int64 // when each count of a cell began, Mono
	spoil  spoil
	lack   map[string]*ua.DataValue // in place of a cell's value
	flag   bool
	before *ua.ReadResponse
}

// listen starts a server on loopback with a proxy before it, and returns both
// and what ends them.
func listen(ctx context.Context, now func() tag.Stamp) (*cells, *proxy, func() error, error) {
	c, addr, err := start(ctx, now)
	if err != nil {
		return nil, nil, nil, err
	}
	p, err := newProxy(addr, lateBy)
	if err != nil {
		return nil, nil, nil, errors.Join(err, c.srv.Close())
	}
	for _, e := range c.srv.Endpoints() { // it tells only of those that it is asked for by name
		e.EndpointURL, e.Server.DiscoveryURLs = "opc.tcp://"+p.addr, []string{"opc.tcp://" + p.addr}
	}
	return c, p, func() error {
		p.close()
		return c.srv.Close()
	}, nil
}

// host is where servers listen. A connection from here comes from 127.0.0.1, so
// that none takes the port that was found free for a server.
const host = "127.0.1.1"

// start starts the server itself and returns where it is.
func start(ctx context.Context, now func() tag.Stamp) (*cells, string, error) {
	c := &cells{began: map[string][]int64{}, lack: map[string]*ua.DataValue{}}
	for _, n := range names {
		c.began[n] = []int64{now().Mono}
	}
	probe, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, "", err
	}
	port := probe.Addr().(*net.TCPAddr).Port
	if err := probe.Close(); err != nil {
		return nil, "", err
	}
	c.srv = server.New(
		server.EndPoint(host, port), server.EnableSecurity("None", ua.MessageSecurityModeNone),
		server.EnableAuthMode(ua.UserTokenTypeAnonymous),
	)
	c.srv.AddNamespace(c)
	if c.standard, err = c.srv.Namespace(0); err != nil {
		return nil, "", err
	}
	c.srv.RegisterHandler(id.ReadRequest_Encoding_DefaultBinary, c.read)
	return c, net.JoinHostPort(host, strconv.Itoa(port)), c.srv.Start(ctx)
}

// read answers a ReadRequest. The library calls it from one goroutine.
func (c *cells) read(_ *uasc.SecureChannel, r ua.Request, _ uint32) (ua.Response, error) {
	req, ok := r.(*ua.ReadRequest)
	if !ok || c.srv.Session(req.RequestHeader) == nil {
		return &ua.ServiceFault{ResponseHeader: header(r.Header().RequestHandle, ua.StatusBadSessionIDInvalid)}, nil
	}
	right := &ua.ReadResponse{ResponseHeader: header(req.RequestHeader.RequestHandle, ua.StatusOK), DiagnosticInfos: []*ua.DiagnosticInfo{}}
	ours := false
	for _, n := range req.NodesToRead {
		ns, err := c.srv.Namespace(int(n.NodeID.Namespace()))
		if err != nil {
			right.Results = append(right.Results, &ua.DataValue{EncodingMask: ua.DataValueStatusCode, Status: ua.StatusBadNodeIDUnknown})
			continue
		}
		ours = ours || n.NodeID.Namespace() == c.index && n.NodeID.StringID() != flag
		right.Results = append(right.Results, ns.Attribute(n.NodeID, n.AttributeID))
	}
	if !ours {
		return right, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.before
	if c.before = right; c.spoil == nil || before == nil {
		return right, nil
	}
	return c.spoil(right, before), nil
}

func header(handle uint32, status ua.StatusCode) *ua.ResponseHeader {
	return &ua.ResponseHeader{
		Timestamp: time.Now(), RequestHandle: handle, ServiceResult: status,
		ServiceDiagnostics: &ua.DiagnosticInfo{}, StringTable: []string{}, AdditionalHeader: ua.NewExtensionObject(nil),
	}
}

// behave has reads of cells answered so, until nil.
func (c *cells) behave(s spoil) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spoil = s
}

// without has a cell answered with v; nil: no cell.
func (c *cells) without(v *ua.DataValue, cells ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.lack)
	for _, n := range cells {
		c.lack[n] = v
	}
}

// change gives a cell a value that no cell held before.
func (c *cells) change(i int, at tag.Stamp) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.began[names[i]] = append(c.began[names[i]], at.Mono)
}

// held reports whether a cell held v at some instant of [from, to].
func (c *cells) held(i int, v tag.Value, from, to tag.Stamp) bool {
	n := int64(v.Float())
	cell, count := int(n>>32)-1, int(n&0xffffffff)
	c.mu.Lock()
	defer c.mu.Unlock()
	began := c.began[names[i]]
	if v.Kind() != tag.Float64 || float64(n) != v.Float() || cell != i || count >= len(began) {
		return false
	}
	return began[count] <= to.Mono && (count+1 == len(began) || began[count+1] >= from.Mono)
}

// written is what the node that may be written holds.
func (c *cells) written() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flag
}

// What the library asks of a namespace.
func (c *cells) Name() string                      { return uri }
func (c *cells) ID() uint16                        { return c.index }
func (c *cells) SetID(i uint16)                    { c.index = i }
func (c *cells) AddNode(*server.Node) *server.Node { return nil }
func (c *cells) Node(*ua.NodeID) *server.Node      { return nil }
func (c *cells) Objects() *server.Node             { return c.standard.Objects() }
func (c *cells) Root() *server.Node                { return c.standard.Root() }
func (c *cells) Browse(*ua.BrowseDescription) *ua.BrowseResult {
	return &ua.BrowseResult{StatusCode: ua.StatusBadNodeIDUnknown}
}

func good(v any) *ua.DataValue {
	return &ua.DataValue{
		EncodingMask: ua.DataValueValue | ua.DataValueSourceTimestamp | ua.DataValueServerTimestamp, Value: ua.MustVariant(v),
		SourceTimestamp: time.Now(), ServerTimestamp: time.Now(),
	}
}

func status(s ua.StatusCode) *ua.DataValue {
	return &ua.DataValue{EncodingMask: ua.DataValueStatusCode, Status: s}
}

func (c *cells) Attribute(n *ua.NodeID, a ua.AttributeID) *ua.DataValue {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := n.StringID()
	i := slices.Index(names, name)
	switch {
	case i < 0 && name != flag:
		return status(ua.StatusBadNodeIDUnknown)
	case a == ua.AttributeIDDataType && name == flag:
		return good(ua.NewNumericNodeID(0, id.Boolean))
	case a != ua.AttributeIDValue:
		return status(ua.StatusBadAttributeIDInvalid)
	case name == flag:
		return good(c.flag)
	case c.lack[name] != nil:
		return c.lack[name]
	}
	return good(float64(int64(i+1)<<32 | int64(len(c.began[name])-1)))
}

func (c *cells) SetAttribute(n *ua.NodeID, a ua.AttributeID, v *ua.DataValue) ua.StatusCode {
	on, ok := v.Value.Value().(bool)
	if n.StringID() != flag || a != ua.AttributeIDValue || !ok {
		return ua.StatusBadNotWritable
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flag = on
	return ua.StatusOK
}

// The spoilt answers.
func refuse(code ua.StatusCode) spoil {
	return func(right, _ *ua.ReadResponse) ua.Response {
		return &ua.ServiceFault{ResponseHeader: header(right.ResponseHeader.RequestHandle, code)}
	}
}

// items gives every value of a request a status, with the value that it has all the same.
func items(code ua.StatusCode) spoil {
	return func(right, _ *ua.ReadResponse) ua.Response {
		for i, v := range right.Results {
			bad := *v
			bad.Status, bad.EncodingMask = code, v.EncodingMask|ua.DataValueStatusCode
			right.Results[i] = &bad
		}
		return right
	}
}

func short(right, _ *ua.ReadResponse) ua.Response {
	right.Results = right.Results[:len(right.Results)-1]
	return right
}

func long(right, _ *ua.ReadResponse) ua.Response {
	right.Results = append(slices.Clone(right.Results), right.Results[0])
	return right
}

// another is the answer to the request before, in place of this one's.
func another(_, before *ua.ReadResponse) ua.Response { return before }

// write is the answer to another kind of request.
func write(right, _ *ua.ReadResponse) ua.Response {
	return &ua.WriteResponse{ResponseHeader: right.ResponseHeader, Results: make([]ua.StatusCode, len(right.Results)), DiagnosticInfos: []*ua.DiagnosticInfo{}}
}
