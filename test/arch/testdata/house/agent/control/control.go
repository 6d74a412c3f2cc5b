// Package control is of the decider. It opens the database by itself.
package control

import (
	_ "davy/agent/journal"
)
