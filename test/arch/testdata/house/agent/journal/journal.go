// Package journal is of the keeper. It may hold the database and nothing of the decider.
package journal

import (
	_ "davy/agent/output"

	_ "go.etcd.io/bbolt"
)
