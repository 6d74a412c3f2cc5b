package tag

// Quality says how far a value can be relied on: a status, the reason for it,
// and flags. The zero Quality is bad: never read.
//
//	bits 31..30 status   bits 15..8 reason   bits 7..0 flags
type Quality uint32

// Status is the coarse part of a quality. A greater status is better.
type Status uint8

// The three statuses.
const (
	Bad       Status = 0
	Uncertain Status = 1
	Good      Status = 2
)

// Reason says why a quality is what it is.
type Reason uint8

// The reasons. Those up to OutOfRange are of bad qualities, those from
// Initial of uncertain ones, those from Plain of good ones.
const (
	NeverRead       Reason = iota // nothing was read since the start
	NoCommunication               // the device did not answer
	DeviceFault                   // the device refused or answered nonsense
	SensorFault                   // the sensor behind the device (open wire, NE43, NaN)
	Stale                         // the last reading outlived its time to live
	Configuration                 // what is configured is not there (illegal address)
	OutOfService                  // declared out of service by a person
	FunctionCheck                 // calibration, bump test, inhibit
	OutOfRange                    // a value that the instrument cannot deliver

	Initial        // warm-up
	LastUsable     // the last usable value, the source being gone
	Substituted    // put in by a person or a rule
	NotAccurate    // the sensor says it is not accurate
	RangeExceeded  // outside the engineering range
	SubNormal      // fewer sources than needed
	UncertainPlain // no reason given

	Plain         // nothing to say
	LocalOverride // the value is overridden at the device
)

// The flags of a quality.
const (
	LimitLow    Quality = 1 << iota // the value is clamped at its low limit
	LimitHigh                       // the value is clamped at its high limit; both together: constant
	Forced                          // forced by a person
	Test                            // of a tested, drilled or disarmed point
	Maintenance                     // the device wants maintenance
	Constant    = LimitLow | LimitHigh
)

// Common qualities.
const (
	BadNeverRead   Quality = 0
	BadNoComm      Quality = Quality(Bad)<<30 | Quality(NoCommunication)<<8
	BadDeviceFault Quality = Quality(Bad)<<30 | Quality(DeviceFault)<<8
	BadSensor      Quality = Quality(Bad)<<30 | Quality(SensorFault)<<8
	BadStale       Quality = Quality(Bad)<<30 | Quality(Stale)<<8
	BadConfig      Quality = Quality(Bad)<<30 | Quality(Configuration)<<8
	BadRange       Quality = Quality(Bad)<<30 | Quality(OutOfRange)<<8
	GoodQuality    Quality = Quality(Good)<<30 | Quality(Plain)<<8
)

// MakeQuality puts a quality together; a reason that does not belong to the
// status is a programmer's error and panics.
func MakeQuality(s Status, r Reason, flags Quality) Quality {
	if r.Status() != s {
		panic("BUG: tag: reason does not belong to status")
	}
	return Quality(s)<<30 | Quality(r)<<8 | flags&0xff
}

// Status returns the status a reason belongs to.
func (r Reason) Status() Status {
	switch {
	case r < Initial:
		return Bad
	case r < Plain:
		return Uncertain
	}
	return Good
}

// Status returns good, uncertain or bad.
func (q Quality) Status() Status { return Status(q >> 30) }

// Reason returns why.
func (q Quality) Reason() Reason { return Reason(q >> 8) }

// Flags returns the flags alone.
func (q Quality) Flags() Quality { return q & 0xff }

// Good reports whether the status is good.
func (q Quality) Good() bool { return q.Status() == Good }

// Bad reports whether the status is bad.
func (q Quality) Bad() bool { return q.Status() == Bad }

// Usable reports whether the value may be judged: good or uncertain, and not
// a last-usable or forced value, nor one of a device that warms up: these count
// as bad in a vote unless a group says otherwise.
func (q Quality) Usable() bool {
	return q.Status() != Bad && q.Reason() != LastUsable && q.Reason() != Initial && q&Forced == 0
}

// OverRange reports whether the quality says that what is measured lies above
// what the instrument can show, whatever the number: clamped at its high limit,
// or bad for being above its range.
func (q Quality) OverRange() bool {
	return q&Constant == LimitHigh && q&Forced == 0 && (q.Usable() || q.Reason() == OutOfRange)
}

// Valid reports whether q is a quality that MakeQuality can make.
func (q Quality) Valid() bool {
	r := q.Reason()
	return r <= LocalOverride && q.Status() == r.Status() && q&0x3fff0000 == 0 && q&0xe0 == 0
}
