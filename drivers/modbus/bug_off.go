//go:build !davybug

package modbus

// seeded is a bug that the fuzzing has to find; see FuzzDecode.
const seeded = false
