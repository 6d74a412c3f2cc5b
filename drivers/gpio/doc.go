// Package gpio is the driver of a gateway's own lines: digital inputs and
// outputs through the kernel's GPIO character device (v2), and 4–20 mA through
// an ADS1115 on I²C. Its types are those of periph.io's conn.
//
// It promises that an error is an error (never a low level), that an output is
// never read by turning it into an input, and that an edge carries the kernel's
// time and sequence number, so that a lost edge is known. Lines are asked for by
// name; the kernel debounces. An analogue value outside the measuring signal of
// NAMUR NE 43 is bad or limited, never a number that looks right.
//
// What a line does when this process dies, the board restarts or loses power is
// the board's matter: a kernel gives a line back when its descriptor closes, and
// what the pin does then is not defined. The board's file declares it, with how
// it was proved.
//
// Imports: drivers, drivers/tag, periph.io's conn (types).
package gpio
