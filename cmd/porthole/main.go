//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0
//go:debug decoratemappings=0

// Porthole runs containers under Docker's security model, and shows what was refused in
// them, by which layer, and why.
package main

import (
	"os"

	"porthole/internal/cli/fast"
)

func main() { os.Exit(fast.Main(os.Args[1:])) }
