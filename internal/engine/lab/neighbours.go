package lab

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// neighbour is a container of another engine that runs, as its monitor shows it: containerd's shim, which
// works in the container's bundle, or conmon, whose command line names it. So no path of an engine's needs to be
// known, and none of its sockets asked.
type neighbour struct {
	owner, id string
	names     []string // by which its engine knows it, beside the id
	pid       int      // its first process
	bundle    string   // the directory with its config.json
}

// neighbours lists them.
func neighbours() (all []neighbour) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var roots []string // of dockerd
	seen := map[string]bool{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		args := commandLine(pid)
		switch name := filepath.Base(args[0]); {
		case name == "dockerd":
			roots = append(roots, flagOf(args, "--data-root", "-g"))
		case strings.HasPrefix(name, "containerd-shim"):
			// One shim may have all containers of a pod: their bundles stand side by side.
			cwd, err := os.Readlink(procFile(pid, "cwd"))
			if dir := filepath.Dir(cwd); err == nil && !seen[dir] {
				seen[dir] = true
				all = append(all, bundles(filepath.Join("/proc", e.Name(), "root", dir), filepath.Base(dir))...)
			}
		case name == "conmon":
			n := neighbour{owner: "podman", id: flagOf(args, "-c", "--cid"), bundle: flagOf(args, "-b", "--bundle"), pid: pidFile(flagOf(args, "-p", "--container-pidfile"))}
			if strings.Contains(n.bundle, "crio") || strings.Contains(flagOf(args, "--exit-dir"), "crio") {
				n.owner = "kubernetes"
			}
			if name := flagOf(args, "-n", "--name"); name != "" {
				n.names = []string{name}
			}
			all = append(all, n)
		}
	}
	for _, root := range append(roots, "/var/lib/docker") {
		all = dockerNames(root, all)
	}
	return slices.DeleteFunc(all, func(n neighbour) bool { return n.pid == 0 })
}

// bundles are those of one containerd namespace.
func bundles(dir, namespace string) (all []neighbour) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		n := neighbour{owner: "containerd", id: e.Name(), bundle: filepath.Join(dir, e.Name())}
		n.pid = pidFile(filepath.Join(n.bundle, "init.pid"))
		switch namespace {
		case "moby":
			n.owner = "docker"
		case "k8s.io":
			n.owner = "kubernetes"
		}
		if s := n.spec(); s != nil {
			pod, name := s.Annotations["io.kubernetes.cri.sandbox-name"], s.Annotations["io.kubernetes.cri.container-name"]
			if name != "" {
				n.names = []string{name, pod + "/" + name}
			}
			if s.Annotations["io.kubernetes.cri.container-type"] == "sandbox" && pod != "" {
				n.names = []string{pod}
			}
		}
		all = append(all, n)
	}
	return all
}

// dockerNames adds the names that Docker gave.
func dockerNames(root string, all []neighbour) []neighbour {
	for i := range all {
		if n := &all[i]; n.owner == "docker" && root != "" {
			var c struct{ Name string }
			data, err := os.ReadFile(filepath.Join(root, "containers", n.id, "config.v2.json"))
			if err == nil && json.Unmarshal(data, &c) == nil && c.Name != "" {
				n.names = append(n.names, strings.TrimPrefix(c.Name, "/"))
			}
		}
	}
	return all
}

// flagOf is the value of a flag in a command line, after a blank or a "=".
func flagOf(args []string, names ...string) string {
	for i, a := range args {
		for _, n := range names {
			if v, ok := strings.CutPrefix(a, n+"="); ok {
				return v
			}
			if a == n && i+1 < len(args) {
				return args[i+1]
			}
		}
	}
	return ""
}

// pidFile reads a number that a monitor wrote; 0 where there is none.
func pidFile(name string) int {
	data, err := os.ReadFile(name)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(data)))
	return n
}

// spec is what the engine handed to its runtime; nil where that can't be read.
func (n neighbour) spec() *specs.Spec {
	data, err := os.ReadFile(filepath.Join(n.bundle, "config.json"))
	s := &specs.Spec{}
	if err != nil || json.Unmarshal(data, s) != nil {
		return nil
	}
	return s
}

// Find returns the first process of a container of another engine, by the beginning of its ID or by the name
// that Docker, Podman, containerd or Kubernetes knows it by ("POD/CONTAINER" where several have one).
func Find(ref string) (pid int, err error) {
	var found []neighbour
	for _, n := range neighbours() {
		exact := n.id == ref || slices.Contains(n.names, ref)
		if exact || len(ref) >= 6 && strings.Trim(ref, "0123456789abcdef") == "" && strings.HasPrefix(n.id, ref) {
			found = append(found, n)
		}
	}
	switch len(found) {
	case 0:
		return 0, fmt.Errorf("%s: no container of that name or ID runs, of porthole's, Docker's, Podman's, containerd's or Kubernetes'", ref)
	case 1:
		return found[0].pid, nil
	}
	var which []string
	for _, n := range found {
		which = append(which, n.owner+" "+n.id)
	}
	return 0, fmt.Errorf("%s is the name, or the beginning of the ID, of %d containers: %s", ref, len(found), strings.Join(which, ", "))
}
