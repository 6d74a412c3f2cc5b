// Package scan reaches TLS through the configuration. It uses a library that is another's, too.
package scan

import (
	_ "davy/agent/config"

	_ "go.yaml.in/yaml/v4"
	_ "golang.org/x/sys/unix"
)

// TODO: this has to go.
var todo = "TODO in a text is not a comment"
