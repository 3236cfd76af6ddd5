package ocicli

import (
	"os/exec"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A device of the host's goes to the container, under another name, with its addresses and turned on; and what fails
// halfway comes back.
func TestNetDevices(t *testing.T) {
	h := newHouse(t)
	ip := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("ip", args...).CombinedOutput()
		if err != nil {
			t.Skipf("ip %s: %v: %s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	ip("link", "add", "phmove0", "type", "veth", "peer", "name", "phstay0")
	defer exec.Command("ip", "link", "del", "phstay0").Run()
	ip("link", "add", "phmove1", "type", "veth", "peer", "name", "phstay1")
	defer exec.Command("ip", "link", "del", "phstay1").Run()
	ip("addr", "add", "10.99.7.1/24", "broadcast", "10.99.7.255", "dev", "phmove0")
	ip("addr", "add", "fd99::7/64", "dev", "phmove0", "nodad")
	ip("link", "set", "phmove0", "up")

	devices := map[string]specs.LinuxNetDevice{"phmove0": {Name: "eth7"}, "phmove1": {}}
	h.config(func(s *specs.Spec) { s.Linux.NetDevices = devices }, "busybox", "ip", "addr")
	out := h.must("run", "c")
	for _, want := range []string{"eth7@", "inet 10.99.7.1/24 brd 10.99.7.255 scope global eth7", "inet6 fd99::7/64 scope global", "phmove1@", "UP"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
	eventually(t, "the device ends with its container", func() bool {
		return exec.Command("ip", "link", "show", "phstay0").Run() != nil && exec.Command("ip", "link", "show", "phstay1").Run() != nil
	})

	ip("link", "add", "phmove0", "type", "veth", "peer", "name", "phstay0")
	ip("link", "add", "phmove1", "type", "veth", "peer", "name", "phstay1")
	ip("addr", "add", "10.99.7.1/24", "dev", "phmove0")
	devices["phmove1"] = specs.LinuxNetDevice{Name: "lo"} // which is there
	h.config(func(s *specs.Spec) { s.Linux.NetDevices = devices }, "true")
	h.fails("linux.netDevices.phmove1", "create", "c")
	if out := ip("addr", "show", "phmove0"); !strings.Contains(out, "10.99.7.1/24") {
		t.Errorf("it has come back without its address: %s", out)
	}
	devices["phmove1"] = specs.LinuxNetDevice{Name: "eth7"}
	h.config(func(s *specs.Spec) { s.Linux.NetDevices = devices }, "true")
	h.fails("is to be eth7 as well", "create", "c")
	h.config(func(s *specs.Spec) { s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"a/b": {}} }, "true")
	h.fails("linux.netDevices.a/b", "create", "c")
	h.empty()
}
