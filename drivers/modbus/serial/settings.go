package serial

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"davy/drivers"
)

// Settings of a line. The zero value is no line; Default is Modbus's own.
type Settings struct {
	Baud   int  // MinBaud to MaxBaud
	Bits   int  // 7 or 8
	Parity byte // 'N', 'E', 'O'
	Stop   int  // 1 or 2
	RS485  RS485
}

// RS485 is how the UART's driver switches an RS-485 transceiver. On false
// leaves the driver as it is: the transceiver switches itself.
type RS485 struct {
	On            bool
	Low           bool          // RTS is low while sending; else high
	Before, After time.Duration // whole milliseconds, to MaxRTSDelay
	Terminate     bool          // switch the line's termination on, where the board can
}

// Default is what the Modbus specification has every device begin with.
func Default() Settings { return Settings{Baud: 9600, Bits: 8, Parity: 'E', Stop: 1} }

// Parse reads "9600 8E1": speed, data bits, parity, stop bits. The error is a *drivers.Hint.
func Parse(s string) (Settings, error) {
	bad := func(code string) (Settings, error) {
		return Settings{}, &drivers.Hint{
			Code: "modbus.serial-" + code, Hint: "modbus.serial",
			Args: map[string]any{"text": s, "low": MinBaud, "high": MaxBaud},
		}
	}
	fields := strings.Fields(s)
	if len(fields) != 2 || len(fields[1]) != 3 {
		return bad("form")
	}
	baud, err := strconv.Atoi(fields[0])
	if err != nil {
		return bad("form")
	}
	if baud < MinBaud || baud > MaxBaud {
		return bad("speed")
	}
	frame := strings.ToUpper(fields[1])
	bits, parity, stop := frame[0], frame[1], frame[2]
	if bits != '7' && bits != '8' || !strings.ContainsRune("NEO", rune(parity)) || stop != '1' && stop != '2' {
		return bad("frame")
	}
	return Settings{Baud: baud, Bits: int(bits - '0'), Parity: parity, Stop: int(stop - '0')}, nil
}

// String prints "9600 8E1".
func (s Settings) String() string {
	return fmt.Sprintf("%d %d%c%d", s.Baud, s.Bits, s.Parity, s.Stop)
}

// Character is the time of one character on the wire: start bit, data, parity, stop.
func (s Settings) Character() time.Duration {
	bits := 1 + s.Bits + s.Stop
	if s.Parity != 'N' {
		bits++
	}
	return time.Duration(bits) * time.Second / time.Duration(s.Baud)
}

// ParseRS485 reads "rts high, before 0ms, after 0ms, terminate"; every part but
// rts may be left out, and "off" is the zero value. The error is a *drivers.Hint.
func ParseRS485(s string) (RS485, error) {
	bad := &drivers.Hint{Code: "modbus.rs485", Hint: "modbus.rs485", Args: map[string]any{"text": s, "most": MaxRTSDelay.String()}}
	if strings.TrimSpace(strings.ToLower(s)) == "off" {
		return RS485{}, nil
	}
	out := RS485{On: true}
	seen := map[string]bool{}
	for part := range strings.SplitSeq(strings.ToLower(s), ",") {
		fields := strings.Fields(part)
		if len(fields) == 0 || seen[fields[0]] {
			return RS485{}, bad
		}
		seen[fields[0]] = true
		switch {
		case fields[0] == "terminate" && len(fields) == 1:
			out.Terminate = true
		case fields[0] == "rts" && len(fields) == 2 && (fields[1] == "high" || fields[1] == "low"):
			out.Low = fields[1] == "low"
		case (fields[0] == "before" || fields[0] == "after") && len(fields) == 2:
			d, err := time.ParseDuration(fields[1])
			if err != nil || d < 0 || d > MaxRTSDelay || d%time.Millisecond != 0 {
				return RS485{}, bad
			}
			if fields[0] == "before" {
				out.Before = d
			} else {
				out.After = d
			}
		default:
			return RS485{}, bad
		}
	}
	if !seen["rts"] {
		return RS485{}, bad
	}
	return out, nil
}
