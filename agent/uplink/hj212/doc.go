// Package hj212 gets readings and alarms to a host that speaks HJ 212-2017
// over TCP: real-time data, minute, hour and day data, and the log.
//
// What it promises. The statistics of a period are a function of what the
// journal holds of it, and of nothing else: sent again, or asked for by the
// host, they are the same; should the journal get more readings of a period
// that was sent, it is sent again. A period is sent when it is over, and its
// readings count as given when the host has answered each packet of it (9014).
// A reading of a period that is not over counts as given once every period that
// is over was answered: its value is in the journal, and after a restart the
// periods that were open (those of the last Settle too) are looked at again. So
// a host that takes connections and answers nothing moves the cursor no further
// than the end of one period, and an hour is sent at least once, in order, also
// after an outage; the real-time data of an outage is not sent later, and the
// single readings never are: what confirms here proves nothing of them, only
// a Davy receiver does. What takes long to compute holds up no event: Send says
// feed.ErrLater meanwhile.
//
// What it does not promise. A host's answer is not signed, and the line is
// neither encrypted nor authenticated. Nothing from outside ever writes: what
// would set a clock, a period, a password or a device is refused (see
// Settings). DataTime is the gateway's wall time.
//
// The mean of a minute is weighted with how long each reading stood, because
// the journal keeps a reading when it changed: with readings at even distance
// it is the arithmetic mean of formulas 15 and 23 of appendix D. Hours are made
// from minutes and days from hours, as formulas 16, 17, 24 and 25 have it.
// Not made: converted values (-ZsAvg), means weighted with a flow (formula 12),
// states of equipment (2021, 2041). Where the standard has a number it stands in
// a constant with its place; where it has none, in Options.
//
// Who owns what: a Destination lives as long as its uplink and may be asked
// from anywhere. Connect makes a session, which owns its connection and its
// three goroutines (reads, talks, works periods off); Close ends them all.
// Nothing is durable here.
//
// Imports: i18n, uplink/feed, wire, rules, ring (numbers of event kinds), drivers/tag.
package hj212
