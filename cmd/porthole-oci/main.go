//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0
//go:debug decoratemappings=0

// Porthole-oci is the OCI runtime that engines call: Docker, Podman, containerd and, through it, Kubernetes.
package main

import (
	"os"

	"porthole/internal/ocicli"
)

func main() { os.Exit(ocicli.Main(os.Args[1:])) }
