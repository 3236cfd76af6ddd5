package why_test

import (
	"fmt"

	"porthole/abi"
	"porthole/caps"
	"porthole/event"
	"porthole/facts"
	"porthole/spec"
	"porthole/why"
	"porthole/workload"
)

func today() facts.Facts {
	return facts.Facts{
		Kernel: facts.Version{Major: 6, Minor: 18}, Arch: abi.X86_64, Yama: -1, Deep: true,
		Caps:     caps.State{Bounding: caps.All, Permitted: caps.All, Effective: caps.All},
		UserNS:   facts.UserNS{Initial: true},
		Features: facts.Features{Seccomp: true},
	}
}

// Why strace did not work in Docker 18.06, and since when it does.
func ExampleAsk() {
	scene, err := why.Stage(workload.Workload{As: "docker:18.06", Args: []string{"strace"}}, spec.Image{}, today())
	if err != nil {
		fmt.Println(err)
		return
	}
	answer, err := why.Ask("ptrace(TRACEME)", scene)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(answer.Text("en"))
	// Output:
	// ptrace(PTRACE_TRACEME): refused (EPERM)
	//   P0101 no: seccomp: docker:18.06.3-ce allows ptrace only if CAP_SYS_PTRACE was granted
	//         docker:18.06.3-ce syscalls[19] allow [CAP_SYS_PTRACE]
	//   would change at docker 19.03.0: allowed
	//   would change with one rule more (porthole profile allow ptrace --base docker:18.06): allowed
	//   would change with --cap-add SYS_PTRACE: allowed
}

// An inquiry says which run to make next, and is told how it ended.
func ExampleBegin() {
	scene, err := why.Stage(workload.Workload{As: "docker:18.06", Args: []string{"strace"}}, spec.Image{}, today())
	if err != nil {
		fmt.Println(err)
		return
	}
	try := func(lift []why.Factor) why.Outcome { // a laboratory would run the program
		o := why.Outcome{Sight: event.Sight{Filtered: true, Failed: true}}
		for _, f := range lift {
			if f.Kind == why.FilterRule || f.Kind == why.CapGranted {
				return o
			}
		}
		nr, _ := abi.X86_64.Nr("ptrace")
		o.Exit = 1
		o.Events = []event.Event{{Kind: event.Refused, Comm: "strace", Arch: abi.X86_64, Nr: nr, Errno: abi.EPERM, Filtered: true}}
		return o
	}
	q := why.Begin(scene, try(nil), why.Options{})
	for x, ok := q.Next(); ok; x, ok = q.Next() {
		fmt.Println(x.Name, x.Repeat)
		q.Tell(x, try(x.Lift))
	}
	first := q.Explain().Refusals[0].Layers[0]
	fmt.Println(first.Layer, first.Proof)
	// Output:
	// control 2
	// all 1
	// cause 2
	// control 3
	// held SYS_PTRACE 1
	// granted SYS_PTRACE 1
	// new userns 1
	// seccomp proved by experiment
}
