package porthole_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// floors is the house: a package imports only from floors beneath its own.
// A new package adds its line here.
var floors = map[string]int{
	"cmd/porthole":      11,
	"cmd/porthole-full": 11,
	"cmd/porthole-oci":  11,

	"internal/cli":    10,
	"internal/ocicli": 10,

	"internal/cli/fast":   9,
	"internal/engine/lab": 9,

	"internal/engine":        8,
	"internal/engine/glance": 8,

	"internal/engine/container": 7,

	"internal/host/launch":   6,
	"internal/host/cgroup":   6,
	"internal/host/network":  6,
	"internal/host/image":    6,
	"internal/host/registry": 6,
	"internal/host/trace":    6,
	"internal/host/probe":    6,

	"workload/dialect/document": 5,

	"plan":          5,
	"why":           5,
	"seccomp/audit": 5,

	"spec":                   4,
	"seccomp/compare":        4,
	"seccomp/profile/format": 4,
	"fit":                    4,
	"event/decode":           4,

	"event":            3,
	"seccomp/profile":  3,
	"seccomp/filter":   3,
	"workload/dialect": 3,

	"seccomp":  2,
	"workload": 2,
	"facts":    2,

	"abi":                  1,
	"caps":                 1,
	"internal/host/sys":    1,
	"internal/host/nofile": 1,

	"near": 0,
	"tree": 0,
}

// tools are programs and test support that stand outside the house: nothing in it imports them.
var tools = map[string]bool{
	"":                      true,
	"internal/bench":        true,
	"internal/escape":       true,
	"internal/gen/abi":      true,
	"internal/gen/profiles": true,
	"internal/leaktest":     true,
}

// pure says that a package is of the pure half: no system calls, files, clock or goroutines.
func pure(pkg string) bool {
	return !strings.HasPrefix(pkg, "internal/") && !strings.HasPrefix(pkg, "cmd/")
}

// forbidden are the standard packages with which a value would stop being one.
var forbidden = map[string]string{
	"os": "files and environment", "os/exec": "processes", "os/signal": "signals", "os/user": "files",
	"net": "sockets", "net/http": "sockets", "syscall": "system calls", "unsafe": "memory",
	"math/rand": "chance", "math/rand/v2": "chance", "crypto/rand": "chance",
	"io/ioutil": "files", "log": "globals", "golang.org/x/sys/unix": "system calls",
	"C": "cgo",
}

type listed struct {
	ImportPath string
	Imports    []string
	GoFiles    []string
}

func list(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,GoFiles", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func TestFloors(t *testing.T) {
	seen := 0
	for _, p := range list(t) {
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, "porthole"), "/")
		if tools[name] {
			continue
		}
		floor, ok := floors[name]
		if !ok {
			t.Errorf("%s has no floor: add its line to floors", name)
			continue
		}
		seen++
		for _, imp := range p.Imports {
			if pure(name) && forbidden[imp] != "" {
				t.Errorf("%s is of the pure half and imports %s (%s)", name, imp, forbidden[imp])
			}
			below, ours := strings.CutPrefix(imp, "porthole/")
			if !ours {
				continue
			}
			if tools[below] {
				t.Errorf("%s imports the tool %s", name, below)
			} else if floors[below] >= floor {
				t.Errorf("%s (floor %d) imports %s (floor %d)", name, floor, below, floors[below])
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d packages were checked", seen)
	}
}
