package why

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"porthole/abi"
	"porthole/caps"
	"porthole/event"
	"porthole/seccomp"
	"porthole/spec"
	"porthole/workload"
)

// world is a program and the layers that stand in its way: steps it makes one after the other, each of
// which may be refused by several. It is what experiments are tried on here.
type world struct {
	scene Scene
	steps []step
	flaky func() bool // says whether this run fails for no reason
	sight event.Sight
	runs  int
}

type step struct {
	call      string
	blockers  []blocker // in the order in which they answer
	tolerated bool      // the program goes on
	exec      bool      // a setuid program: a blocker keeps the euid, no call fails
	file      *event.File
}

type blocker struct {
	layer Layer
	errno abi.Errno
	cap   caps.Cap // Capability: what is asked for
	// lifted says whether factors take it away.
	lifted func(lift []Factor) bool
}

func has(kind FactorKind) func([]Factor) bool {
	return func(lift []Factor) bool { return hasKind(lift, kind) || hasKind(lift, Everything) }
}

func holding(c caps.Cap) func([]Factor) bool {
	return func(lift []Factor) bool {
		return hasKind(lift, Everything) || slices.ContainsFunc(lift, func(f Factor) bool { return f.Kind == CapHeld && f.Caps.Has(c) })
	}
}

func allowing(call string) func([]Factor) bool {
	return func(lift []Factor) bool {
		return hasKind(lift, Everything) || hasKind(lift, FilterOff) || slices.ContainsFunc(lift, func(f Factor) bool { return f.Kind == FilterRule && f.Call.Name == call })
	}
}

func never([]Factor) bool { return false }

// try runs the program with some things lifted.
func (w *world) try(t testing.TB, lift []Factor) Outcome {
	t.Helper()
	w.runs++
	o := Outcome{Sight: w.sight}
	if w.flaky != nil && w.flaky() {
		o.Exit = 7
	}
	out := ""
	for i, st := range w.steps {
		c, err := ParseCall(st.call)
		if err != nil {
			t.Fatal(err)
		}
		nr, _ := abi.X86_64.Nr(c.Name)
		e := event.Event{Kind: event.Refused, Time: int64(i + 1), PID: 7, TID: 7, Comm: "prog", Arch: abi.X86_64, Nr: nr, Strings: c.Strings, File: st.file}
		for j, a := range c.Args {
			e.Args[j] = a.Value
		}
		refused := false
		for _, b := range st.blockers {
			if b.lifted(lift) || w.granted(c, b, lift) {
				continue
			}
			refused = true
			e.Errno, e.Filtered = b.errno, b.layer == Seccomp
			if (b.layer == Capability || b.layer == Yama) && w.sight.Caps { // Yama asks for CAP_SYS_PTRACE
				d := e
				d.Kind, d.Cap = event.Denied, b.cap
				o.Events = append(o.Events, d)
			}
			break
		}
		who := w.scene.Caps
		if st.exec {
			e.Kind, e.Errno = event.Exec, 0
			who.NoNewPrivs = refused
			e.Who = &who
			got, err := who.Exec(asFile(st.file))
			if err != nil {
				t.Fatal(err)
			}
			e.Became = &got
			o.Events = append(o.Events, e)
		} else if refused {
			if w.sight.Failed || e.Filtered {
				o.Events = append(o.Events, e)
			}
		}
		if refused {
			out += st.call + " failed\n"
			if !st.tolerated {
				o.Exit = 1
				break
			}
		}
	}
	o.Output = out + fmt.Sprint(o.Exit)
	return o
}

// granted says whether a --cap-add among what is lifted opens a blocker: by the filter that it changes, or
// by the capability, which root alone holds.
func (w *world) granted(c Call, b blocker, lift []Factor) bool {
	return slices.ContainsFunc(lift, func(f Factor) bool {
		if f.Kind != CapGranted {
			return false
		}
		if b.layer == Seccomp {
			return w.scene.opensFilter(c, f.Caps.List()[0])
		}
		return b.layer == Capability && w.scene.Caps.EUID == 0 && f.Caps.Has(b.cap)
	})
}

// inquire runs an inquiry to its end.
func (w *world) inquire(t testing.TB, opt Options) (*Inquiry, Explanation) {
	t.Helper()
	q := Begin(w.scene, w.try(t, nil), opt)
	for x, ok := q.Next(); ok; x, ok = q.Next() {
		q.Tell(x, w.try(t, x.Lift))
		if w.runs > 40 {
			t.Fatal("the inquiry does not end")
		}
	}
	return q, q.Explain()
}

var sees = event.Sight{Filtered: true, Failed: true, Caps: true}

func defaultScene(t testing.TB, w workload.Workload) Scene {
	t.Helper()
	w.Image = "host"
	if w.Args == nil {
		w.Args = []string{"true"}
	}
	s, err := Stage(w, spec.Image{}, machine())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// obstacles are steps that one layer each refuses, and what the least is that has to be lifted.
var obstacles = []struct {
	name   string
	step   step
	layers []Layer
	need   []FactorKind
}{
	{"seccomp", step{call: "personality(ADDR_NO_RANDOMIZE)", blockers: []blocker{{Seccomp, abi.EPERM, 0, allowing("personality")}}},
		[]Layer{Seccomp}, []FactorKind{FilterRule}},
	{"capability", step{call: "socket(AF_PACKET, SOCK_RAW, 0)", blockers: []blocker{{Capability, abi.EPERM, caps.CAP_NET_RAW, holding(caps.CAP_NET_RAW)}}},
		[]Layer{Capability}, []FactorKind{CapHeld}},
	{"both", step{call: "sethostname()", blockers: []blocker{
		{Seccomp, abi.EPERM, 0, allowing("sethostname")}, {Capability, abi.EPERM, caps.CAP_SYS_ADMIN, holding(caps.CAP_SYS_ADMIN)},
	}}, []Layer{Seccomp, Capability}, []FactorKind{FilterRule, CapHeld}},
	{"no_new_privs", step{call: `execve("/usr/bin/sudo")`, exec: true, file: &event.File{Path: "/usr/bin/sudo", Mode: 0o104755},
		blockers: []blocker{{NNP, 0, 0, has(NNPOff)}}}, []Layer{NNP}, []FactorKind{NNPOff}},
	{"read-only", step{call: `openat(_, "/proc/sys/net/ipv4/ip_forward", O_WRONLY)`, blockers: []blocker{{Mount, erofs, 0, has(WritePath)}}},
		[]Layer{Mount}, []FactorKind{WritePath}},
	{"device", step{call: `openat(_, "/dev/fuse", O_RDWR)`, file: &event.File{Path: "/dev/fuse", Mode: 0o020666, Dev: 10<<8 | 229},
		blockers: []blocker{{DeviceCgroup, abi.EPERM, 0, has(DeviceRule)}}}, []Layer{DeviceCgroup}, []FactorKind{DeviceRule}},
	{"limit", step{call: "mlock(_, 4096)", blockers: []blocker{{Rlimit, 12, 0, has(RlimitSet)}}},
		[]Layer{Rlimit}, []FactorKind{RlimitSet}},
	{"security module", step{call: `umount2("/mnt", 0)`, blockers: []blocker{{LSM, abi.EACCES, 0, has(LSMOff)}}},
		[]Layer{LSM}, []FactorKind{LSMOff}},
}

func obstructed(t testing.TB, some ...int) *world {
	nnp := slices.ContainsFunc(some, func(i int) bool { return obstacles[i].name == "no_new_privs" })
	w := &world{scene: defaultScene(t, workload.Workload{User: "1000", Security: workload.Security{NoNewPrivs: &nnp, CapDrop: []string{"NET_RAW"}}}), sight: sees}
	w.scene.AppArmor, w.scene.LSMKnown = "docker-default", true
	w.scene.Rlimits["memlock"] = Limit{65536, 65536}
	for _, i := range some {
		w.steps = append(w.steps, obstacles[i].step)
	}
	return w
}

func kinds(fs []Factor) (out []string) {
	for _, f := range fs {
		out = append(out, f.Kind.String())
	}
	slices.Sort(out)
	return out
}

// Every set of up to three obstacles: what must be lifted is found, no more, within the bound on runs,
// and only layers that are there are said to be proved.
func TestInquiryFindsTheLeast(t *testing.T) {
	most := 0
	check := func(some ...int) {
		w := obstructed(t, some...)
		q, e := w.inquire(t, Options{Max: 24})
		most = max(most, w.runs)
		var want []string
		there := map[Layer]bool{}
		name := ""
		for _, i := range some {
			name += obstacles[i].name + "; "
			for _, k := range obstacles[i].need {
				want = append(want, k.String())
			}
			for _, l := range obstacles[i].layers {
				there[l] = true
			}
		}
		slices.Sort(want)
		got := kinds(e.Cause)
		if !slices.Equal(got, want) {
			t.Errorf("%s needs %v, found %v (flaky %v, vain %v)\n%v", name, want, got, e.Flaky, e.NoEffect, history(q))
			return
		}
		proved := map[Layer]bool{}
		for _, a := range e.Refusals {
			for _, s := range a.Layers {
				if s.Proof == Proved {
					proved[s.Layer] = true
					if !there[s.Layer] {
						t.Errorf("%s: %v is said to be proved", name, s.Layer)
					}
				}
			}
		}
		for l := range there {
			if !proved[l] {
				t.Errorf("%s: %v is not proved\n%v", name, l, history(q))
			}
		}
	}
	for i := range obstacles {
		check(i)
		for j := range i {
			check(j, i)
			check(i, j)
			for k := range j {
				check(k, j, i)
			}
		}
	}
	t.Logf("at most %d runs", most)
}

func history(q *Inquiry) string {
	var b strings.Builder
	for _, x := range q.tried {
		fmt.Fprintf(&b, "  %-40s %v exit %d: %v\n", x.Experiment.Name, x.Result, x.Outcome.Exit, x.Experiment.Lift)
	}
	return b.String()
}

// The ordinary bound is enough for one refusal with two layers, illustrations and all.
func TestInquiryIsBounded(t *testing.T) {
	for i := range obstacles {
		w := obstructed(t, i)
		_, e := w.inquire(t, Options{})
		if e.Cause == nil || w.runs > 13 {
			t.Errorf("%s: cause %v after %d runs", obstacles[i].name, e.Cause, w.runs)
		}
	}
	w := obstructed(t, 0)
	if _, e := w.inquire(t, Options{NoRun: true}); w.runs != 1 || e.Refusals[0].Layers[0].Proof != Seen || e.Refusals[0].Layers[0].Layer != Seccomp {
		t.Errorf("--no-run: %d runs, %+v", w.runs, e.Refusals[0].Layers)
	}
}

// A program that fails now and then, beside refusals that it tolerates: nothing wrong may be called
// proved, whatever the runs happened to look like. A layer that was there may be.
func TestFlakyProgramsProveNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	claims, flaky := 0, 0
	for range 600 {
		i, j := r.IntN(len(obstacles)), r.IntN(len(obstacles))
		w := obstructed(t, i)
		w.steps[0].tolerated = r.IntN(2) == 0
		chance := 1 + r.IntN(9)
		w.flaky = func() bool { return r.IntN(10) < chance }
		if j != i && r.IntN(2) == 0 {
			second := obstacles[j].step
			second.tolerated = true
			w.steps = append(w.steps, second)
		}
		_, e := w.inquire(t, Options{})
		if e.Flaky {
			flaky++
		}
		for _, a := range e.Refusals {
			for _, s := range a.Layers {
				if s.Proof != Proved {
					continue
				}
				claims++
				if !slices.Contains(append(slices.Clone(obstacles[i].layers), obstacles[j].layers...), s.Layer) {
					t.Fatalf("%v proved, though it was %v or %v", s.Layer, obstacles[i].layers, obstacles[j].layers)
				}
			}
		}
	}
	if flaky < 200 {
		t.Errorf("only %d of 600 were seen to be flaky", flaky)
	}
	t.Logf("%d flaky, %d true claims", flaky, claims)
}

// What fails with everything lifted too is nobody's refusal; with something that cannot be lifted
// here, it is not decided.
func TestNotAPermissionProblem(t *testing.T) {
	make := func() *world {
		return &world{scene: defaultScene(t, workload.Workload{}), sight: sees,
			steps: []step{{call: "epoll_ctl(3, 1, 4)", blockers: []blocker{{None, abi.EPERM, 0, never}}}}}
	}
	_, e := make().inquire(t, Options{})
	if a := e.Refusals[0]; a.Code != "P0900" || a.Layers[0].Layer != None || a.Layers[0].Proof != Proved {
		t.Errorf("%s %v %v", a.Code, a.Layers[0].Layer, a.Layers[0].Proof)
	}
	w := make()
	w.scene.Rootless = true
	if _, e = w.inquire(t, Options{}); e.Refusals[0].Layers[0].Proof == Proved {
		t.Errorf("rootless: %v is said to be proved", e.Refusals[0].Layers[0].Layer)
	}
	// A file that an NFS server guards.
	w = make()
	w.steps[0].call = `lchown("/data", 1, 1)`
	w.steps[0].file = &event.File{Path: "/data", FS: "nfs4", Mode: 0o40755}
	if _, e = w.inquire(t, Options{}); e.Refusals[0].Code != "P0901" {
		t.Errorf("nfs: %s", e.Refusals[0].Code)
	}
	// A sysctl of the machine's that refuses everybody stays what the rules say, without proof by experiment.
	w = make()
	w.scene.Facts.Sysctl["kernel.io_uring_disabled"] = "2"
	w.steps[0].call = "io_uring_setup(1)"
	w.steps[0].blockers = append([]blocker{{Seccomp, abi.EPERM, 0, allowing("io_uring_setup")}}, w.steps[0].blockers...)
	_, e = w.inquire(t, Options{})
	a := e.Refusals[0]
	if a.Layers[0].Layer != Seccomp || !slices.ContainsFunc(a.Layers, func(s Suspect) bool { return s.Layer == Sysctl && s.Proof == ByRules }) {
		t.Errorf("io_uring: %+v", a.Layers)
	}
	for _, s := range a.Layers {
		if s.Layer == None && s.Proof == Proved {
			t.Error("io_uring: said to be no permission problem")
		}
	}
}

// Yama's no and the kernel's own are both silenced by one capability: neither is proved by it.
func TestOneFactorForTwoLayers(t *testing.T) {
	s := defaultScene(t, workload.Workload{User: "1000"})
	s.Facts.Yama, s.Facts.LSMs = 1, []string{"yama"}
	w := &world{scene: s, sight: sees, steps: []step{{call: "ptrace(PTRACE_ATTACH, 9)", blockers: []blocker{{Yama, abi.EPERM, caps.CAP_SYS_PTRACE, holding(caps.CAP_SYS_PTRACE)}}}}}
	_, e := w.inquire(t, Options{})
	for _, l := range e.Refusals[0].Layers {
		if l.Proof == Proved {
			t.Errorf("%v is said to be proved", l.Layer)
		}
	}
	if e.Refusals[0].Layers[0].Layer != Yama {
		t.Errorf("first %v", e.Refusals[0].Layers[0].Layer)
	}
}

// A refusal that the program goes on after is a warning; lifting it is still shown to let the call through.
func TestTolerated(t *testing.T) {
	w := obstructed(t, 0)
	w.steps[0].tolerated = true
	_, e := w.inquire(t, Options{})
	a := e.Refusals[0]
	if a.Fatal || !a.Tolerated || a.Layers[0].Proof != Proved {
		t.Errorf("fatal %v, tolerated %v, %v", a.Fatal, a.Tolerated, a.Layers[0].Proof)
	}
	if e.Grants[0].What.Key != "grant.nothing" {
		t.Errorf("first grant %s", e.Grants[0].What.Key)
	}
}

// What cannot be lifted here is left out, and said.
func TestUnable(t *testing.T) {
	w := obstructed(t, 0, 7)
	q := Begin(w.scene, w.try(t, nil), Options{})
	for x, ok := q.Next(); ok; x, ok = q.Next() {
		if i := slices.IndexFunc(x.Lift, func(f Factor) bool { return f.Kind == LSMOff || f.Kind == Everything }); i >= 0 {
			q.Tell(x, Outcome{Unable: x.Lift[i : i+1]})
			continue
		}
		q.Tell(x, w.try(t, x.Lift))
	}
	e := q.Explain()
	for _, a := range e.Refusals {
		for _, s := range a.Layers {
			if s.Proof == Proved && s.Layer != Seccomp {
				t.Errorf("%v proved", s.Layer)
			}
		}
	}
	if len(e.Unable) == 0 || !strings.Contains(e.Text("en"), "could not be tried here: ") {
		t.Errorf("unable: %v, in\n%s", e.Unable, e.Text("en"))
	}
}

// A watcher that sees what filters answer and nothing else proves what it can.
func TestBlindWatcher(t *testing.T) {
	for i := range obstacles[:3] {
		w := obstructed(t, i)
		w.sight = event.Sight{Filtered: true}
		_, e := w.inquire(t, Options{})
		for _, a := range e.Refusals {
			for _, s := range a.Layers {
				if s.Proof == Proved && !slices.Contains(obstacles[i].layers, s.Layer) {
					t.Errorf("%s: %v proved", obstacles[i].name, s.Layer)
				}
			}
		}
		if i == 0 && (len(e.Refusals) == 0 || e.Refusals[0].Layers[0].Proof != Proved) {
			t.Errorf("seccomp alone is not proved: %+v", e.Refusals)
		}
	}
}

// The filter's own program is evidence where nothing else was seen.
func TestFilterIsAsked(t *testing.T) {
	s := defaultScene(t, workload.Workload{As: "docker:18.09"})
	nr, _ := abi.X86_64.Nr("ptrace")
	if act, ok := s.decide(abi.X86_64, nr, [6]uint64{}); !ok || act != seccomp.Errno.With(1) {
		t.Errorf("%v %v", act, ok)
	}
}

// A program whose file capabilities no_new_privs silences fails later, for want of what they would have
// given: the flag is the cause, not the capability, though giving that would help as well.
func TestSilencedFileCapabilities(t *testing.T) {
	on := true
	s := defaultScene(t, workload.Workload{User: "1000", Security: workload.Security{NoNewPrivs: &on}})
	ping := &event.File{Path: "/usr/bin/ping", Mode: 0o100755, Caps: caps.FileCaps{Present: true, Permitted: caps.Of(caps.CAP_NET_RAW), Effective: true}}
	either := func(l []Factor) bool { return has(NNPOff)(l) || holding(caps.CAP_NET_RAW)(l) }
	w := &world{scene: s, sight: sees, steps: []step{
		{call: `execve("/usr/bin/ping")`, exec: true, tolerated: true, file: ping, blockers: []blocker{{NNP, 0, 0, has(NNPOff)}}},
		{call: "socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)", blockers: []blocker{{Capability, abi.EPERM, caps.CAP_NET_RAW, either}}},
	}}
	q, e := w.inquire(t, Options{})
	if a := e.Refusals[0]; a.Layers[0].Layer != NNP || a.Layers[0].Proof != Proved || a.Code != "P0502" {
		t.Errorf("%s %v %v\n%s", a.Code, a.Layers[0].Layer, a.Layers[0].Proof, history(q))
	}
}

// What a program says of its failure is quoted.
func TestQuote(t *testing.T) {
	w := obstructed(t, 0)
	first := w.try(t, nil)
	first.Said = "prog: starting\nprog: set personality: Operation not permitted (are you root?)\nbye\n"
	e := Begin(w.scene, first, Options{NoRun: true}).Explain()
	if want := "prog: set personality: Operation not permitted (are you root?)"; e.Refusals[0].Quote != want || !strings.Contains(e.Text("en"), want) {
		t.Errorf("%q\n%s", e.Refusals[0].Quote, e.Text("en"))
	}
}
