package opcua

import (
	"slices"
	"strings"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/server"
	"github.com/gopcua/opcua/ua"

	"davy/cmd/davy-plant/bench"
)

// space is the namespace of the plant: one folder a device, a variable a value.
// Nothing in it changes once it serves; what moves is behind the Source's lock.
type space struct {
	source    Source
	index     uint16
	folders   []string // "comp1"
	variables []bench.Node
	byName    map[string]bench.Node
	standard  server.NameSpace
}

func newSpace(source Source) *space {
	s := &space{source: source, variables: source.Nodes(), byName: map[string]bench.Node{}}
	for _, v := range s.variables {
		s.byName[v.Name] = v
		device, _, _ := strings.Cut(v.Name, ".")
		if !slices.Contains(s.folders, device) {
			s.folders = append(s.folders, device)
		}
	}
	return s
}

// enter hangs the folders below the standard Objects folder.
func (s *space) enter(srv *server.Server) {
	standard, err := srv.Namespace(0)
	if err != nil {
		panic("BUG: opcua: " + err.Error())
	}
	s.standard = standard
	objects := standard.Node(ua.NewNumericNodeID(0, id.ObjectsFolder))
	for _, f := range s.folders {
		objects.AddRef(s.Node(ua.NewStringNodeID(s.index, f)), server.RefTypeIDOrganizes, true)
	}
}

// Name, ID and SetID are the namespace's own.
func (s *space) Name() string   { return URI }
func (s *space) ID() uint16     { return s.index }
func (s *space) SetID(i uint16) { s.index = i }

// AddNode is refused: this namespace is what the plant has.
func (s *space) AddNode(*server.Node) *server.Node { return nil }

// Objects and Root have nothing of this namespace.
func (s *space) Objects() *server.Node { return s.standard.Objects() }
func (s *space) Root() *server.Node    { return s.standard.Root() }

// variable returns a variable by its node id.
func (s *space) variable(n *ua.NodeID) (bench.Node, bool) {
	if n == nil || n.Type() != ua.NodeIDTypeString {
		return bench.Node{}, false
	}
	v, ok := s.byName[n.StringID()]
	return v, ok
}

// folder returns a folder by its node id.
func (s *space) folder(n *ua.NodeID) (string, bool) {
	if n == nil || n.Type() != ua.NodeIDTypeString {
		return "", false
	}
	return n.StringID(), slices.Contains(s.folders, n.StringID())
}

// Node makes the library's form of a node, which it needs for references.
func (s *space) Node(n *ua.NodeID) *server.Node {
	if name, ok := s.folder(n); ok {
		return server.NewNode(n, server.Attributes{
			ua.AttributeIDNodeClass:   server.DataValueFromValue(uint32(ua.NodeClassObject)),
			ua.AttributeIDBrowseName:  server.DataValueFromValue(s.browseName(name)),
			ua.AttributeIDDisplayName: server.DataValueFromValue(text(name)),
			ua.AttributeIDDataType:    server.DataValueFromValue(ua.NewNumericExpandedNodeID(0, id.FolderType)), // what the library gives as type definition
		}, nil, nil)
	}
	if v, ok := s.variable(n); ok {
		return server.NewNode(n, server.Attributes{
			ua.AttributeIDNodeClass:   server.DataValueFromValue(uint32(ua.NodeClassVariable)),
			ua.AttributeIDBrowseName:  server.DataValueFromValue(s.browseName(v.Name)),
			ua.AttributeIDDisplayName: server.DataValueFromValue(text(v.Name)),
			ua.AttributeIDDataType:    server.DataValueFromValue(ua.NewExpandedNodeID(dataType(v), "", 0)),
		}, nil, func() *ua.DataValue { return s.value(v) })
	}
	return nil
}

func text(s string) *ua.LocalizedText {
	return &ua.LocalizedText{EncodingMask: ua.LocalizedTextText, Text: s}
}

func (s *space) browseName(name string) *ua.QualifiedName {
	return &ua.QualifiedName{NamespaceIndex: s.index, Name: name[strings.LastIndexByte(name, '.')+1:]}
}

func dataType(v bench.Node) *ua.NodeID {
	if v.Bool {
		return ua.NewNumericNodeID(0, id.Boolean)
	}
	return ua.NewNumericNodeID(0, id.Float)
}

// value is a variable's value now. One that is bad has none.
func (s *space) value(v bench.Node) *ua.DataValue {
	now := s.source.Sample(v.Name)
	d := &ua.DataValue{
		EncodingMask: ua.DataValueStatusCode | ua.DataValueSourceTimestamp | ua.DataValueServerTimestamp,
		Status:       ua.StatusCode(now.Status), SourceTimestamp: now.At, ServerTimestamp: time.Now(),
	}
	if now.Status&0x80000000 != 0 {
		return d
	}
	d.EncodingMask |= ua.DataValueValue
	if v.Bool {
		d.Value = ua.MustVariant(now.On)
	} else {
		d.Value = ua.MustVariant(now.Number)
	}
	return d
}

// Attribute answers reads.
func (s *space) Attribute(n *ua.NodeID, a ua.AttributeID) *ua.DataValue {
	fail := func(status ua.StatusCode) *ua.DataValue {
		return &ua.DataValue{EncodingMask: ua.DataValueServerTimestamp | ua.DataValueStatusCode, ServerTimestamp: time.Now(), Status: status}
	}
	good := func(v any) *ua.DataValue {
		return &ua.DataValue{
			EncodingMask:    ua.DataValueValue | ua.DataValueServerTimestamp | ua.DataValueStatusCode,
			ServerTimestamp: time.Now(), Value: ua.MustVariant(v),
		}
	}
	v, isVariable := s.variable(n)
	name, isFolder := s.folder(n)
	class := ua.NodeClassObject
	if isVariable {
		name, class = v.Name, ua.NodeClassVariable
	} else if !isFolder {
		return fail(ua.StatusBadNodeIDUnknown)
	}
	switch a {
	case ua.AttributeIDNodeID:
		return good(n)
	case ua.AttributeIDNodeClass:
		return good(int32(class))
	case ua.AttributeIDBrowseName:
		return good(s.browseName(name))
	case ua.AttributeIDDisplayName:
		return good(text(name))
	case ua.AttributeIDDescription:
		return good(text(v.Unit))
	}
	if isFolder {
		if a == ua.AttributeIDEventNotifier {
			return good(byte(0))
		}
		return fail(ua.StatusBadAttributeIDInvalid)
	}
	switch a {
	case ua.AttributeIDValue:
		return s.value(v)
	case ua.AttributeIDDataType:
		return good(dataType(v))
	case ua.AttributeIDValueRank:
		return good(int32(-1))
	case ua.AttributeIDAccessLevel, ua.AttributeIDUserAccessLevel:
		return good(byte(ua.AccessLevelTypeCurrentRead))
	case ua.AttributeIDMinimumSamplingInterval:
		return good(float64(MinSampling / time.Millisecond))
	case ua.AttributeIDHistorizing:
		return good(false)
	}
	return fail(ua.StatusBadAttributeIDInvalid)
}

// SetAttribute refuses: nothing of the compressor is written over OPC UA.
func (s *space) SetAttribute(n *ua.NodeID, _ ua.AttributeID, _ *ua.DataValue) ua.StatusCode {
	if _, ok := s.variable(n); ok {
		return ua.StatusBadNotWritable
	}
	return ua.StatusBadNodeIDUnknown
}

// Browse lists a folder's variables, a variable's type, and what is above both.
func (s *space) Browse(d *ua.BrowseDescription) *ua.BrowseResult {
	var refs []*ua.ReferenceDescription
	add := func(kind uint32, forward bool, to *ua.NodeID, name *ua.QualifiedName, class ua.NodeClass, def uint32) {
		inverse := ua.BrowseDirectionInverse
		if d.BrowseDirection != ua.BrowseDirectionBoth && forward == (d.BrowseDirection == inverse) ||
			d.NodeClassMask != 0 && d.NodeClassMask&uint32(class) == 0 || !wanted(d, kind) {
			return
		}
		refs = append(refs, &ua.ReferenceDescription{
			ReferenceTypeID: ua.NewNumericNodeID(0, kind), IsForward: forward, NodeID: ua.NewExpandedNodeID(to, "", 0),
			BrowseName: name, DisplayName: text(name.Name), NodeClass: class, TypeDefinition: ua.NewNumericExpandedNodeID(0, def),
		})
	}
	if v, ok := s.variable(d.NodeID); ok {
		device, _, _ := strings.Cut(v.Name, ".")
		add(id.HasTypeDefinition, true, ua.NewNumericNodeID(0, id.BaseDataVariableType), &ua.QualifiedName{Name: "BaseDataVariableType"}, ua.NodeClassVariableType, 0)
		add(id.HasComponent, false, ua.NewStringNodeID(s.index, device), s.browseName(device), ua.NodeClassObject, id.FolderType)
		return &ua.BrowseResult{StatusCode: ua.StatusGood, References: refs}
	}
	name, ok := s.folder(d.NodeID)
	if !ok {
		return &ua.BrowseResult{StatusCode: ua.StatusBadNodeIDUnknown}
	}
	add(id.HasTypeDefinition, true, ua.NewNumericNodeID(0, id.FolderType), &ua.QualifiedName{Name: "FolderType"}, ua.NodeClassObjectType, 0)
	add(id.Organizes, false, ua.NewNumericNodeID(0, id.ObjectsFolder), &ua.QualifiedName{Name: "Objects"}, ua.NodeClassObject, id.FolderType)
	for _, v := range s.variables {
		if strings.HasPrefix(v.Name, name+".") {
			add(id.HasComponent, true, ua.NewStringNodeID(s.index, v.Name), s.browseName(v.Name), ua.NodeClassVariable, id.BaseDataVariableType)
		}
	}
	return &ua.BrowseResult{StatusCode: ua.StatusGood, References: refs}
}

// wanted reports whether a browse asks for a kind of reference; of the standard
// hierarchy it knows what this namespace has.
func wanted(d *ua.BrowseDescription, kind uint32) bool {
	if d.ReferenceTypeID == nil || d.ReferenceTypeID.IntID() == 0 || d.ReferenceTypeID.IntID() == kind {
		return true
	}
	if !d.IncludeSubtypes {
		return false
	}
	hierarchical := kind == id.HasComponent || kind == id.Organizes
	switch d.ReferenceTypeID.IntID() {
	case id.References:
		return true
	case id.HierarchicalReferences:
		return hierarchical
	case id.HasChild, id.Aggregates:
		return kind == id.HasComponent
	case id.NonHierarchicalReferences:
		return !hierarchical
	}
	return false
}
