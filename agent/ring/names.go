package ring

import (
	"fmt"

	"davy/rules"
)

// kinds are the names of events, stable: they are in JSON and in the keys of words.
var kinds = map[rules.Kind]string{
	rules.AlarmRaised: "alarm-raised", rules.AlarmReturned: "alarm-returned", rules.AlarmAcked: "alarm-acked",
	rules.AlarmReset: "alarm-reset", rules.InterlockArmed: "interlock-armed", rules.InterlockTripped: "interlock-tripped",
	rules.InterlockReset: "interlock-reset", rules.InterlockDegraded: "interlock-degraded",
	rules.InterlockRestored: "interlock-restored", rules.OutputDemanded: "output-demanded",
	rules.OutputReleased: "output-released", rules.InterlockTrippedAtStart: "interlock-tripped-at-start",
	rules.AlarmShelved: "alarm-shelved", rules.AlarmUnshelved: "alarm-unshelved", rules.AlarmSuppressed: "alarm-suppressed",
	rules.AlarmUnsuppressed: "alarm-unsuppressed", rules.AlarmRemoved: "alarm-removed", rules.AlarmRestored: "alarm-restored",
	rules.AlarmRealarmed: "alarm-realarmed", rules.SoundSilenced: "sound-silenced", rules.InterlockUnarmed: "interlock-unarmed",
	rules.BypassAsked: "bypass-asked", rules.BypassBegan: "bypass-began", rules.BypassReminded: "bypass-reminded",
	rules.BypassEnded: "bypass-ended", rules.BypassOverdue: "bypass-overdue", rules.InterlockRecorded: "interlock-recorded",
	rules.OutputProved: "output-proved", rules.OutputEscalated: "output-escalated", rules.PointRemoved: "point-removed",
	rules.PointRestored: "point-restored", rules.ForceBegan: "force-began", rules.ForceEnded: "force-ended",
	rules.TestBegan: "test-began", rules.TestEnded: "test-ended",
	AgentStarted: "agent-started", AgentStopped: "agent-stopped", PlanApplied: "plan-applied",
	OutputsArmed: "outputs-armed", OutputsDisarmed: "outputs-disarmed", CommandRefused: "command-refused",
	LatchLost: "latch-lost", OutputUnknown: "output-unknown", ClockStepped: "clock-stepped",
	OutputWritten: "output-written", OutputFailed: "output-failed", DeviceEvent: "device-event", PersonRefused: "person-refused",
	RuleChanged:  "rule-changed",
	EpochStarted: "epoch-started", TagTable: "tag-table", GapRecorded: "gap-recorded", ReceiptRefused: "receipt-refused",
	JournalDamaged: "journal-damaged", ClockNoted: "clock-noted", UplinkWithdrawn: "uplink-withdrawn",
}

// KindName names a kind of event; "kind-N" if it is not known here.
func KindName(k rules.Kind) string {
	if s, ok := kinds[k]; ok {
		return s
	}
	return fmt.Sprintf("kind-%d", k)
}
