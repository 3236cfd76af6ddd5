package why

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"porthole/abi"
	"porthole/caps"
	"porthole/event"
	"porthole/workload"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sample is a story that is told whole: a program, what refused it, and what a laboratory found.
type sample struct {
	name  string
	world func(t *testing.T) *world
	comm  string
}

func perhaps(t *testing.T, w workload.Workload, comm string, steps ...step) *world {
	return &world{scene: defaultScene(t, w), steps: steps, sight: sees}
}

var samples = []sample{
	{"strace-18.09", func(t *testing.T) *world {
		return perhaps(t, workload.Workload{As: "docker:18.09"}, "strace",
			step{call: "ptrace(PTRACE_TRACEME, 0)", blockers: []blocker{{Seccomp, abi.EPERM, 0, allowing("ptrace")}}})
	}, "strace"},
	{"gdb", func(t *testing.T) *world {
		return perhaps(t, workload.Workload{}, "gdb",
			step{call: "personality(ADDR_NO_RANDOMIZE)", tolerated: true, blockers: []blocker{{Seccomp, abi.EPERM, 0, allowing("personality")}}})
	}, "gdb"},
	{"unshare", func(t *testing.T) *world {
		return perhaps(t, workload.Workload{}, "unshare",
			step{call: "unshare(CLONE_NEWUSER)", blockers: []blocker{{Seccomp, abi.EPERM, 0, allowing("unshare")}}})
	}, "unshare"},
	{"perf", func(t *testing.T) *world {
		return perhaps(t, workload.Workload{User: "1000"}, "perf",
			step{call: "perf_event_open(_, 0, -1, -1, 8)", blockers: []blocker{{Seccomp, abi.EPERM, 0, allowing("perf_event_open")}}})
	}, "perf"},
	{"ping", func(t *testing.T) *world {
		ping := &event.File{Path: "/usr/bin/ping", Mode: 0o100755, Caps: caps.FileCaps{Present: true, Permitted: caps.Of(caps.CAP_NET_RAW), Effective: true}}
		return perhaps(t, workload.Workload{User: "1000", Security: workload.Security{CapDrop: []string{"ALL"}}}, "sh",
			step{call: `execve("/usr/bin/ping")`, file: ping, blockers: []blocker{{Capability, abi.EPERM, caps.CAP_NET_RAW, func(l []Factor) bool {
				return has(FileCapsOff)(l) || holding(caps.CAP_NET_RAW)(l)
			}}}})
	}, "sh"},
	{"sudo", func(t *testing.T) *world {
		on := true
		sudo := &event.File{Path: "/usr/bin/sudo", Mode: 0o104755}
		return perhaps(t, workload.Workload{User: "1000", Security: workload.Security{NoNewPrivs: &on}}, "sudo",
			step{call: `execve("/usr/bin/sudo")`, exec: true, file: sudo, blockers: []blocker{{NNP, 0, 0, has(NNPOff)}}})
	}, "sudo"},
	{"mount-apparmor", func(t *testing.T) *world {
		w := perhaps(t, workload.Workload{Security: workload.Security{CapAdd: []string{"SYS_ADMIN"}}}, "mount",
			step{call: `mount("none", "/mnt", "tmpfs", 0)`, blockers: []blocker{{LSM, abi.EACCES, 0, has(LSMOff)}}})
		w.scene.AppArmor, w.scene.LSMKnown = "docker-default", true
		return w
	}, "mount"},
	{"sethostname", func(t *testing.T) *world {
		return perhaps(t, workload.Workload{}, "hostname", obstacles[2].step)
	}, "hostname"},
	{"epoll", func(t *testing.T) *world {
		return perhaps(t, workload.Workload{}, "prog", step{call: "epoll_ctl(3, 1, 4)", blockers: []blocker{{None, abi.EPERM, 0, never}}})
	}, "prog"},
}

func (s sample) tell(t *testing.T) Explanation {
	w := s.world(t)
	name := func(o Outcome) Outcome {
		for i := range o.Events {
			o.Events[i].Comm = s.comm
		}
		return o
	}
	q := Begin(w.scene, name(w.try(t, nil)), Options{})
	for x, ok := q.Next(); ok; x, ok = q.Next() {
		q.Tell(x, name(w.try(t, x.Lift)))
	}
	return q.Explain()
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	path := filepath.Join("testdata", "golden", file)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test ./why -update writes it)", err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

// The stories of the six refusals that everybody meets, and three more, in full; one of them in all languages.
func TestStories(t *testing.T) {
	for _, s := range samples {
		e := s.tell(t)
		text := e.Text("en")
		golden(t, s.name+".txt", text)
		if strings.Contains(text, "{") {
			t.Errorf("%s: a parameter is left: %s", s.name, text)
		}
		for _, l := range Languages() {
			other := e.Text(l)
			if strings.Contains(other, "{") || strings.Contains(other, "detail.") || strings.Contains(other, "grant.") {
				t.Errorf("%s in %s: %s", s.name, l, other)
			}
			if s.name == "strace-18.09" || s.name == "ping" {
				golden(t, s.name+"."+string(l)+".txt", other)
			}
		}
		golden(t, s.name+".json", string(e.JSON("en")))
	}
}

// Every sentence that the code says is in the tables.
func TestEverySentenceIsThere(t *testing.T) {
	en := readTable("en")
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 10 {
		t.Fatal(err, len(files))
	}
	n := 0
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, lead := range []string{`say("`, `t["`, `w.t["`, `, "avoid.`} {
			for _, rest := range strings.Split(string(data), lead)[1:] {
				key, _, _ := strings.Cut(rest, `"`)
				if lead == `, "avoid.` {
					key = "avoid." + key
				}
				if strings.HasSuffix(key, ".") || strings.HasSuffix(f, "_test.go") {
					continue
				}
				n++
				if _, ok := en[key]; !ok {
					t.Errorf("%s says %q", f, key)
				}
			}
		}
	}
	if n < 100 {
		t.Errorf("only %d sentences were found", n)
	}
}
