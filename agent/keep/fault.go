//go:build !davyfault

package keep

// faultyDisk is nil in every binary that is not built to test a failing disk.
func faultyDisk() func(op string) error { return nil }
