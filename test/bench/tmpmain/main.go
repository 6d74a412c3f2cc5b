package main

import (
	"fmt"
	"os"

	"davy/test/bench/reactbench"
)

func main() { fmt.Println(reactbench.Run(os.Stdout)) }
