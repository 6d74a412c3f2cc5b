// Command bench may print what it likes.
package main

import (
	"fmt"

	_ "davy/agent/journal"
	_ "davy/cmd/davy"
)

func main() { fmt.Println("a figure of ours") }
