package dialect

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"porthole/workload"
)

// made generates what a command line can say.
type made struct{ *rand.Rand }

func (g made) yes() bool { return g.IntN(3) == 0 }

func pickOne[T any](g made, from ...T) T { return from[g.IntN(len(from))] }

func (g made) word() string {
	const letters = "abcXYZ019_-. ,=:'\"\\é/"
	var b strings.Builder
	b.WriteByte("abcd1"[g.IntN(5)])
	for range g.IntN(8) {
		b.WriteRune([]rune(letters)[g.IntN(len([]rune(letters)))])
	}
	return b.String()
}

func (g made) name() string {
	return "n" + strings.Trim(strings.Repeat(pickOne(g, "a", "B", "7", "_", "."), 1+g.IntN(4)), " ")
}

func (g made) words() (out []string) {
	for range g.IntN(3) {
		out = append(out, g.word())
	}
	return out
}

func (g made) maybe(s string) string {
	if g.yes() {
		return s
	}
	return ""
}

func (g made) env() (vars []workload.EnvVar) {
	for range g.IntN(3) {
		e := workload.EnvVar{Name: "N" + strings.ReplaceAll(g.word(), "=", "")}
		if g.yes() {
			e.Value = ptr(g.word())
		}
		vars = append(vars, e)
	}
	return vars
}

func (g made) mount(i int) workload.Mount {
	m := workload.Mount{Target: "/t" + string(rune('a'+i)) + pickOne(g, "", "/x", "/a,b", `/q"q`), ReadOnly: g.yes()}
	switch g.IntN(3) {
	case 0:
		m.Type, m.Source = workload.Bind, "/s"+pickOne(g, "", "/y", "/c,d", "/e:f")
		m.CreateSource = g.yes()
		m.Propagation = g.maybe(pickOne(g, propagations...))
		switch {
		case g.yes():
			m.NonRecursive = true
		case m.ReadOnly && g.yes():
			m.SubReadOnly = "no"
		case m.ReadOnly && g.yes():
			m.SubReadOnly, m.Propagation = "yes", "rprivate"
		case m.CreateSource && !strings.Contains(m.Source, ":"):
			m.Relabel = pickOne(g, "", "z", "Z")
		}
	case 1:
		m.Type, m.NoCopy = workload.Volume, g.yes()
		if g.yes() {
			m.Source = g.name()
			m.Relabel = pickOne(g, "", "z", "Z")
		}
	default:
		m.Type = workload.Tmpfs
		if g.yes() {
			m.Size, m.Mode = 1+g.Int64N(1<<40), ptr(uint32(g.IntN(0o10000)))
		} else if !m.ReadOnly && g.yes() {
			m.Options = []string{"exec", "size=1m"}
		}
	}
	return m
}

func (g made) run() Run {
	w := workload.Workload{
		Image: pickOne(g, "host", "ubuntu:18.04", "-odd", "dir:/x y"), As: g.maybe("docker:18.09"), Name: g.maybe(g.name()), Args: g.words(), Env: g.env(),
		Dir: g.maybe("/w w"), User: g.maybe(g.word()), Groups: g.words(), Hostname: g.maybe(g.word()), TTY: g.yes(), Stdin: g.yes(), Init: g.yes(),
		StopSignal: g.maybe("SIGRTMIN+3"),
		Security: workload.Security{CapAdd: g.words(), CapDrop: g.words(), Privileged: g.yes(), Seccomp: g.maybe(pickOne(g, "unconfined", "builtin", "p.json")),
			SystemPaths: g.maybe("unconfined"), AppArmor: g.maybe(g.word()), Labels: g.words()},
		Root: workload.Root{ReadOnly: g.yes()},
		NS: workload.Namespaces{PID: g.maybe("host"), IPC: pickOne(g, "", "host", "none", "private"), UTS: g.maybe("host"), User: g.maybe("host"),
			Cgroup: pickOne(g, "", "host", "private"), Network: pickOne(g, "", "host", "none")},
	}
	if w.Security.Seccomp == "p.json" {
		w.Security.SeccompDoc, _ = outside.ReadFile("p.json")
	}
	for _, b := range []**bool{&w.Security.NoNewPrivs, &w.Security.WritableCgroups} {
		if g.yes() {
			*b = ptr(g.yes())
		}
	}
	if g.yes() {
		w.Entrypoint = append([]string{}, g.maybe(g.word()))
		if w.Entrypoint[0] == "" {
			w.Entrypoint = []string{}
		}
	}
	if g.yes() {
		w.StopWait = ptr(time.Duration(g.IntN(100)-1) * time.Second)
		w.Labels = map[string]string{"a": g.word(), g.name(): ""}
		w.Sysctls = map[string]string{"net.ipv4.ip_forward": g.word(), "kernel.sem": ""}
	}
	for i := range g.IntN(4) {
		w.Mounts = append(w.Mounts, g.mount(i))
	}
	for range g.IntN(3) {
		w.Devices = append(w.Devices, pickOne(g, workload.Device{Rule: "c 1:* rm"}, workload.Device{Source: "/dev/a b", Target: "/dev/c", Access: pickOne(g, "r", "rw", "mwr")}))
	}
	l := &w.Limits
	if g.yes() {
		l.Memory = 6<<20 + g.Int64N(1<<40)
		l.MemorySwap = pickOne(g, 0, -1, l.Memory+g.Int64N(1<<20))
	}
	if g.yes() {
		l.NanoCPUs, l.CPUShares = 1e7+g.Int64N(1e11), uint64(g.IntN(2000))
		l.PidsLimit, l.OOMScoreAdj = ptr(g.Int64N(100)-1), ptr(g.IntN(2001)-1000)
		l.Ulimits = []workload.Ulimit{{Name: "core", Soft: -1, Hard: -1}, {Name: "nofile", Soft: 5, Hard: 5 + g.Int64N(9)}}
	}
	l.CpusetCpus, l.CpusetMems, l.ShmSize = g.maybe("0-1"), g.maybe("0"), pickOne(g, 0, 1+g.Int64N(1<<40))
	return Run{Workload: w, Detach: g.yes(), Remove: g.yes()}
}

// asWritten leaves out of a comparison what only the writer knows.
var asWritten = cmpopts.IgnoreFields(workload.Mount{}, "Refer")

// nobody has no variables, so that a name alone stays one.
var nobody = Outside{ReadFile: outside.ReadFile, Dir: "/home/u"}

// What is written is read back to the same workload.
func TestDockerRoundTrip(t *testing.T) {
	g := made{rand.New(rand.NewPCG(1, 2))}
	for range 5000 {
		want := g.run()
		line := DockerArgs(want)
		got, err := Docker(line, nobody)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if d := cmp.Diff(want, got, asWritten); d != "" {
			t.Fatalf("%q (-want +got):\n%s", line, d)
		}
	}
}

func TestDockerExecRoundTrip(t *testing.T) {
	g := made{rand.New(rand.NewPCG(3, 4))}
	for range 1000 {
		want := workload.Exec{Container: g.name(), Args: append([]string{"-x"}, g.words()...), Env: g.env(), Dir: g.maybe("/w"), User: g.maybe(g.word()),
			TTY: g.yes(), Stdin: g.yes(), Detach: g.yes(), Privileged: g.yes(), CapAdd: g.words(), CapDrop: g.words(), Seccomp: g.maybe("unconfined")}
		if g.yes() {
			want.NoNewPrivs = ptr(g.yes())
		}
		got, err := DockerExec(DockerExecArgs(want), nobody)
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Fatalf("%q: %v (-want +got):\n%s", DockerExecArgs(want), err, d)
		}
	}
}

// Whatever is read without error is written to a line that reads the same.
func FuzzDocker(f *testing.F) {
	for _, s := range []string{"host", "-it\x00--rm\x00-v\x00/a:/b:ro\x00host\x00ls", "--mount\x00type=tmpfs,dst=/t,tmpfs-size=1k\x00h", "--cpus\x00.5\x00-m\x001g\x00h",
		"--security-opt\x00seccomp=p.json\x00-e\x00A\x00h", "--device\x00/dev/x:r\x00--ulimit\x00core=1:2\x00h", "--tmpfs\x00/t:size=1,ro\x00--env-file\x00env\x00h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		line := strings.Split(s, "\x00")
		want, err := Docker(line, nobody)
		if err != nil {
			return
		}
		again := DockerArgs(want)
		got, err := Docker(again, nobody)
		if err != nil {
			t.Fatalf("%q read, written as %q: %v", line, again, err)
		}
		if d := cmp.Diff(want, got, asWritten, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("%q written as %q (-want +got):\n%s", line, again, d)
		}
	})
}

func FuzzDockerExec(f *testing.F) {
	f.Add("-it\x00-e\x00A=1\x00box\x00sh")
	f.Add("--security-opt\x00seccomp=p.json\x00box\x00sh")
	f.Fuzz(func(t *testing.T, s string) {
		want, err := DockerExec(strings.Split(s, "\x00"), nobody)
		if err != nil {
			return
		}
		got, err := DockerExec(DockerExecArgs(want), nobody)
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); err != nil || d != "" {
			t.Fatalf("%q: %v (-want +got):\n%s", DockerExecArgs(want), err, d)
		}
	})
}

func FuzzEnvFile(f *testing.F) {
	f.Add("A=1\n#x\nB\n")
	f.Fuzz(func(t *testing.T, s string) {
		o := Outside{ReadFile: func(string) ([]byte, error) { return []byte(s), nil }}
		kvs, err := keyValues("f", o)
		for _, kv := range kvs {
			if err == nil && (kv.name == "" || strings.ContainsAny(kv.name, "=\n \t")) {
				t.Errorf("%q gave the name %q", s, kv.name)
			}
		}
	})
}
