package tag

// NE107 is the set of NAMUR NE 107 signals that stand at a device.
type NE107 uint8

// The four signals of NE 107. A device shows one; Davy keeps the set.
const (
	Failure            NE107 = 1 << iota // F
	CheckFunction                        // C: somebody works on it
	OutOfSpecification                   // S
	MaintenanceNeeded                    // M
)

// String prints the set in the order of urgency, "FC"; "-" is the empty set.
func (s NE107) String() string {
	out := ""
	for i, letter := range "FCSM" {
		if s>>i&1 == 1 {
			out += string(letter)
		}
	}
	if out == "" {
		return "-"
	}
	return out
}

// Foreign is a quality in the words of three standards: an OPC UA StatusCode,
// the NE 107 signals and the data flag of HJ 212-2017 (N normal, F stopped,
// M maintenance, S put in by hand, D fault, C calibration, T above the
// measuring range, B communication). The three together say what a Quality
// says, and nothing else does: Quality and Foreign turn into each other
// without loss. Each alone says less.
//
// In the OPC UA code stands the reason, and the limit flags as its limit bits.
// NE 107 M is the Maintenance flag, C the Test flag. HJ 212 S is the Forced
// flag: what was forced is never sent as measured. N is sent only for a plain
// good value that is neither forced nor of a test.
type Foreign struct {
	OPCUA uint32
	NE107 NE107
	HJ212 byte
}

// The bits of an OPC UA StatusCode that say something of the value.
const (
	opcLimits  = 3 << 8  // 1 low, 2 high, 3 constant
	opcIsValue = 1 << 10 // InfoType DataValue: the limit bits mean something
)

// abroad says for each reason what the three standards call it. The codes are
// those of OPC UA part 4 and part 8; each stands once.
var abroad = [...]Foreign{
	NeverRead:       {0x80320000, Failure, 'B'},                      // BadWaitingForInitialData
	NoCommunication: {0x80310000, Failure, 'B'},                      // BadNoCommunication
	DeviceFault:     {0x808B0000, Failure, 'D'},                      // BadDeviceFailure
	SensorFault:     {0x808C0000, Failure, 'D'},                      // BadSensorFailure
	Stale:           {0x800A0000, Failure, 'B'},                      // BadTimeout
	Configuration:   {0x80890000, Failure, 'D'},                      // BadConfigurationError
	OutOfService:    {0x808D0000, CheckFunction, 'F'},                // BadOutOfService
	FunctionCheck:   {0x80AF0000, CheckFunction, 'C'},                // BadInvalidState: it does not measure now
	OutOfRange:      {0x803C0000, Failure | OutOfSpecification, 'D'}, // BadOutOfRange
	Initial:         {0x40920000, OutOfSpecification, 'D'},           // UncertainInitialValue
	LastUsable:      {0x40900000, OutOfSpecification, 'B'},           // UncertainLastUsableValue
	Substituted:     {0x40910000, OutOfSpecification, 'D'},           // UncertainSubstituteValue
	NotAccurate:     {0x40930000, OutOfSpecification, 'D'},           // UncertainSensorNotAccurate
	RangeExceeded:   {0x40940000, OutOfSpecification, 'T'},           // UncertainEngineeringUnitsExceeded
	SubNormal:       {0x40950000, OutOfSpecification, 'D'},           // UncertainSubNormal
	UncertainPlain:  {0x40000000, OutOfSpecification, 'D'},           // Uncertain
	Plain:           {0x00000000, 0, 'N'},                            // Good
	LocalOverride:   {0x00960000, 0, 'M'},                            // GoodLocalOverride
}

// Foreign returns q in the words of the three standards. A q that is not
// Valid is sent as a device fault.
func (q Quality) Foreign() Foreign {
	if !q.Valid() {
		q = BadDeviceFault
	}
	f := abroad[q.Reason()]
	if limits := q & Constant; limits != 0 {
		f.OPCUA |= opcIsValue | uint32(limits)<<8
	}
	if q&Test != 0 {
		if f.NE107&CheckFunction != 0 {
			f.NE107 |= Failure // where C stands for the reason already, F beside it says that both hold
		}
		f.NE107 |= CheckFunction
	}
	if q&Maintenance != 0 {
		f.NE107 |= MaintenanceNeeded
	}
	switch {
	case q&Forced != 0:
		f.HJ212 = 'S'
	case q&Test != 0 && !q.Bad():
		f.HJ212 = 'C'
	case q.Reason() == OutOfService && q&Maintenance != 0:
		f.HJ212 = 'M'
	case q.Reason() == RangeExceeded && q&Constant == LimitLow:
		f.HJ212 = 'D' // T is above the range only
	}
	return f
}

// Quality returns the quality that f says; ok is false where no quality has
// this f, and then the answer is the worse of what its parts say alone.
func (f Foreign) Quality() (q Quality, ok bool) {
	q, ok = FromOPCUA(f.OPCUA)
	if ok {
		if f.HJ212 == 'S' {
			q |= Forced
		}
		if f.NE107&MaintenanceNeeded != 0 {
			q |= Maintenance
		}
		if q.Foreign() == f {
			return q, true
		}
		if q |= Test; q.Foreign() == f {
			return q, true
		}
	}
	q, _ = FromOPCUA(f.OPCUA)
	h, _ := FromHJ212(f.HJ212)
	for _, other := range []Quality{FromNE107(f.NE107), h} {
		if other.Status() < q.Status() {
			q = other
		}
	}
	return q, false
}

// FromOPCUA returns the quality of a StatusCode alone. exact is true for the
// codes that Foreign sends; of any other the severity is kept, as a device
// fault, an uncertain or a good value without a reason.
func FromOPCUA(code uint32) (q Quality, exact bool) {
	flags := Quality(0)
	if code&opcIsValue != 0 {
		flags = Quality(code & opcLimits >> 8)
	}
	for r, f := range abroad {
		if f.OPCUA == code&0xffff0000 {
			q = MakeQuality(Reason(r).Status(), Reason(r), flags)
			return q, q.Foreign().OPCUA == code
		}
	}
	switch code >> 30 {
	case 0:
		return GoodQuality | flags, false
	case 1:
		return MakeQuality(Uncertain, UncertainPlain, flags), false
	}
	return BadDeviceFault | flags, false // 3 is reserved: bad
}

// FromNE107 returns the quality of a set of signals alone.
func FromNE107(s NE107) (q Quality) {
	switch {
	case s&(Failure|OutOfSpecification) == Failure|OutOfSpecification:
		q = BadRange
	case s&Failure != 0:
		q = BadDeviceFault
	case s&OutOfSpecification != 0:
		q = MakeQuality(Uncertain, UncertainPlain, 0)
	case s&CheckFunction != 0:
		q = MakeQuality(Bad, FunctionCheck, 0)
	default:
		q = GoodQuality
	}
	if s&CheckFunction != 0 && q.Reason() != FunctionCheck {
		q |= Test
	}
	if s&MaintenanceNeeded != 0 {
		q |= Maintenance
	}
	return q
}

// FromHJ212 returns the quality of a data flag alone; ok is false for a letter
// that is none, which is a device fault.
func FromHJ212(flag byte) (q Quality, ok bool) {
	switch flag {
	case 'N':
		return GoodQuality, true
	case 'F':
		return MakeQuality(Bad, OutOfService, 0), true
	case 'M':
		return MakeQuality(Bad, OutOfService, Maintenance), true
	case 'S':
		return MakeQuality(Uncertain, Substituted, Forced), true
	case 'D':
		return BadDeviceFault, true
	case 'C':
		return MakeQuality(Bad, FunctionCheck, 0), true
	case 'T':
		return MakeQuality(Uncertain, RangeExceeded, LimitHigh), true
	case 'B':
		return BadNoComm, true
	}
	return BadDeviceFault, false
}
