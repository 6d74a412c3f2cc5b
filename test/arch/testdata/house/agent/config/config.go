// Package config brings TLS into the decider. It does so two steps away.
package config

import (
	_ "crypto/tls"
	_ "davy/drivers"
)
