package control

import (
	_ "davy/agent/journal"
	_ "davy/cmd/davy"
	_ "davy/drivers/tag"
	_ "davy/rules"
	_ "davy/test/bench"
	_ "davy/test/scale"

	_ "go.etcd.io/bbolt"
	_ "pgregory.net/rapid"
)
