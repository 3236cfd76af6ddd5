package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/internal/host/probe"
	"porthole/spec"
	"porthole/workload"
)

// bundle is an OCI bundle: a root filesystem of busybox, and what Docker would ask a runtime for.
type bundle struct{ dir string }

func newBundle(dir string, command ...string) (bundle, error) {
	b := bundle{dir}
	if err := b.fill(); err != nil {
		return b, err
	}
	f, err := probe.Facts()
	if err != nil {
		return b, err
	}
	rootfs := filepath.Join(dir, "rootfs")
	s, _, err := spec.Make(workload.Workload{Image: "busybox", Args: command}, spec.Image{}, spec.Options{
		ID: "bench", Root: rootfs, CgroupsPath: "/" + filepath.Base(filepath.Dir(dir)) + "-" + filepath.Base(dir),
		ResolvConf: "/etc/resolv.conf", Hosts: "/etc/hosts", HostNameFile: "/etc/hostname",
	}, f)
	if err != nil {
		return b, err
	}
	// What Docker 20.10, of the same Debian as the runtimes, says: older ones know no time namespace and no newer version.
	s.Version = "1.0.2"
	s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.TimeNamespace })
	data, err := json.Marshal(s)
	if err != nil {
		return b, err
	}
	return b, os.WriteFile(filepath.Join(dir, "config.json"), data, 0o600)
}

// fill makes the root filesystem.
func (b bundle) fill() error {
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return fmt.Errorf("busybox-static is wanted: %w", err)
	}
	for _, dir := range strings.Fields("bin etc dev proc sys tmp") {
		if err := os.MkdirAll(filepath.Join(b.dir, "rootfs", dir), 0o755); err != nil {
			return err
		}
	}
	bin := filepath.Join(b.dir, "rootfs/bin")
	if err := os.WriteFile(filepath.Join(bin, "busybox"), busybox, 0o755); err != nil {
		return err
	}
	for _, name := range strings.Fields("true sleep sh") {
		if err := os.Symlink("busybox", filepath.Join(bin, name)); err != nil {
			return err
		}
	}
	return nil
}
