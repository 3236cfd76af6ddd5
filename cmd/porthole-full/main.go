//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0
//go:debug decoratemappings=0

// Porthole-full is the whole of porthole: every command that people type. The program porthole starts
// containers itself, and becomes this one for all the rest.
package main

import (
	"os"

	"porthole/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
