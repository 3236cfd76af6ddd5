package spec_test

import (
	"fmt"
	"strings"
	"testing"

	"porthole/abi"
	"porthole/caps"
	"porthole/facts"
	"porthole/spec"
	"porthole/workload/dialect"
)

// machine is one where we are root.
func machine() facts.Facts {
	all, _ := caps.ParseHex("1ffffffffff")
	return facts.Facts{
		Kernel: facts.Version{Major: 6, Minor: 18}, Arch: abi.X86_64, UserNS: facts.UserNS{Initial: true},
		Caps:     caps.State{Bounding: all, Permitted: all, Effective: all},
		Cgroup:   facts.Cgroup{Mode: facts.CgroupV2, Writable: true, SwapLimit: true},
		Features: facts.Features{Seccomp: true, CgroupNS: true, UserNSCreate: true},
	}
}

// A docker command line becomes the spec that Docker 18.09 would have handed its runtime:
// without ptrace, unless the capability that brings it is asked for.
func ExampleMake() {
	for _, line := range []string{"ubuntu strace true", "--cap-add SYS_PTRACE -u 1000 -m 64m ubuntu strace true"} {
		run, err := dialect.Docker(strings.Fields("--as docker:18.09 "+line), dialect.Outside{})
		if err != nil {
			fmt.Println(err)
			return
		}
		s, warnings, err := spec.Make(run.Workload, spec.Image{}, spec.Options{ID: "4f1c0ffee000", CgroupsPath: "/porthole/4f1c"}, machine())
		if err != nil {
			fmt.Println(err)
			return
		}
		ptrace := false
		for _, rule := range s.Linux.Seccomp.Syscalls {
			for _, name := range rule.Names {
				ptrace = ptrace || name == "ptrace"
			}
		}
		fmt.Println(s.Process.Args, "as", s.Process.User.UID, "on", s.Hostname, "with", len(s.Process.Capabilities.Bounding), "capabilities; ptrace:", ptrace)
		if m := s.Linux.Resources.Memory; m != nil {
			fmt.Println("memory", *m.Limit, "and swap", *m.Swap, warnings)
		}
	}
	// Output:
	// [strace true] as 0 on 4f1c0ffee000 with 14 capabilities; ptrace: false
	// [strace true] as 1000 on 4f1c0ffee000 with 15 capabilities; ptrace: true
	// memory 67108864 and swap 134217728 []
}

// Names are looked up in the image's own files, in Docker's words when they are not there.
func ExampleResolveUser() {
	passwd := []byte("ana:x:1000:100::/home/ana:/bin/sh\n")
	u, _ := spec.ResolveUser("ana", passwd, nil)
	fmt.Println(u.UID, u.GID, u.Home)
	_, err := spec.ResolveUser("bob", passwd, nil)
	fmt.Println(err)
	// Output:
	// 1000 100 /home/ana
	// unable to find user bob: no matching entries in passwd file
}

// Whatever a command line says, Make gives a spec or an error.
func FuzzMake(f *testing.F) {
	f.Add("--read-only -v /a:/b:ro --tmpfs /t:size=1 --privileged h sh", true)
	f.Add("--cap-add ALL --sysctl net.x=1 --ipc host --pid host --mount type=tmpfs,dst=/x h sh", false)
	f.Add("--device-cgroup-rule a --ulimit core=-1 --cpus .5 -u 1:2 --group-add 3 h", false)
	f.Fuzz(func(t *testing.T, line string, root bool) {
		run, err := dialect.Docker(strings.Fields(line), dialect.Outside{Dir: "/"})
		if err != nil {
			return
		}
		m := machine()
		if !root {
			m.UID, m.GID, m.Caps.Effective = 1000, 1000, 0
		}
		volumes := map[string]string{}
		for _, v := range spec.Volumes(run.Workload, spec.Image{}) {
			volumes[v.Target] = "/v"
		}
		s, _, err := spec.Make(run.Workload, spec.Image{Cmd: []string{"sh"}}, spec.Options{ID: "x", Volumes: volumes}, m)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, mount := range s.Mounts {
			if mount.Destination == "" || mount.Destination[0] != '/' || seen[mount.Destination] {
				t.Errorf("%q: mounts %q, or twice", line, mount.Destination)
			}
			seen[mount.Destination] = true
		}
		if s.Process == nil || len(s.Process.Args) == 0 {
			t.Errorf("%q: no command", line)
		}
	})
}
