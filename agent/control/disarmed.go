package control

import (
	"davy/agent/ring"
	"davy/rules"
)

// firstOfAgent is the first kind that is the agent's own: below it are those of the rules.
const firstOfAgent = ring.AgentStarted

// ofPlant reports whether events of a kind are about the plant: those of a
// rule, an output or a device. While the outputs are disarmed each of these is
// an event of a test, and Loop.record, through which every event goes, gives it
// the flag: to the log, the journal, and with the event to the receiver's table.
// What the agent says of itself (its start, a new plan, arming and disarming) is
// no test, whatever is armed.
func ofPlant(k rules.Kind) bool {
	switch k {
	case ring.OutputWritten, ring.OutputFailed, ring.OutputUnknown, ring.DeviceEvent:
		return true
	}
	return k < firstOfAgent
}
