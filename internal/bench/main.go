// Command bench runs porthole beside other runtimes, in turn, and prints what each takes: CPU of a
// command and of all the processes it waited for, from its start to its end, wall time, and peak memory.
// `make bench` runs it; docs/bench.md says how to read it.
//
// It also is, under other first arguments, the contestants that are no program of their own:
// the floor (floor.go) and the caller of system calls (calls.go).
package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	parts := []func(*bench) error{(*bench).starts, (*bench).execs, (*bench).many, (*bench).filters, (*bench).explained, (*bench).watched}
	switch {
	case len(args) == 2 && args[0] == "floor":
		return floor(args[1])
	case len(args) > 1 && args[0] == "own":
		return own(args[1:])
	case len(args) == 3 && args[0] == "why":
		parts, args = []func(*bench) error{(*bench).explained, (*bench).watched}, args[1:]
	case len(args) == 2 && args[0] == "calls":
		return calls(args[1] == "filtered")
	case len(args) == 3 && args[0] == "oci":
		parts, args = oci, args[1:]
	case len(args) != 2:
		return fmt.Errorf("usage: bench [oci|why] PORTHOLE ROUNDS (as root)")
	}
	rounds, err := strconv.Atoi(args[1])
	if err != nil || rounds < 1 {
		return fmt.Errorf("%q is no number of rounds", args[1])
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("the other runtimes want root")
	}
	dir, err := os.MkdirTemp("", "porthole-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{porthole: args[0], dir: dir, rounds: rounds}
	for _, part := range parts {
		if err := part(b); err != nil {
			return err
		}
	}
	return nil
}

type bench struct {
	porthole string
	dir      string
	rounds   int
}

// starts compares `run` with other runtimes, from start to everything removed.
func (b *bench) starts() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	bundle, err := newBundle(b.dir+"/true", "true")
	if err != nil {
		return err
	}
	root := "--root=" + b.dir + "/porthole"
	c := []*contestant{
		{name: "porthole run --rm host true", args: []string{b.porthole, "run", root, "--rm", "host", "true"}},
		{name: "the floor: clone, mounts, exec", args: []string{self, "floor", bundle.dir + "/rootfs"}},
	}
	for _, r := range runtimes() {
		c = append(c, &contestant{name: r.name + " run", dir: bundle.dir, apart: true, args: r.command(b.dir, "run", "bench")})
	}
	if err := contest(c, b.rounds); err != nil {
		return err
	}
	table("A container that runs true, Docker's default configuration", c)
	judge("CPU of run, ms (least)", c[0].cpu.least()/1000, 8)
	judge("peak memory of run, MiB", float64(c[0].peak)/1024, 12)
	for _, other := range c[2:] {
		if other.runtime("crun") {
			judge("CPU of run against crun's, median of pairs", c[0].against(other), 1.0/3)
		}
	}
	return nil
}

// execs compares one more process in a container that runs.
func (b *bench) execs() error {
	root := "--root=" + b.dir + "/porthole"
	background := &contestant{args: []string{b.porthole, "run", root, "--rm", "-d", "--name", "bench", "host", "sleep", "1000"}}
	if err := background.once(); err != nil {
		return err
	}
	defer command(b.porthole, "rm", root, "-f", "bench").Run()
	c := []*contestant{{name: "porthole exec CONTAINER true", args: []string{b.porthole, "exec", root, "bench", "true"}}}
	bundle, err := newBundle(b.dir+"/sleep", "sleep", "1000")
	if err != nil {
		return err
	}
	for _, r := range runtimes() {
		run := &contestant{name: r.name + " run -d", dir: bundle.dir, apart: true, args: r.command(b.dir, "run", "-d", "bench-"+r.name)}
		if err := run.once(); err != nil {
			return err
		}
		defer apart(func() error {
			return command(r.program, r.command(b.dir, "delete", "-f", "bench-"+r.name)[1:]...).Run()
		})
		c = append(c, &contestant{name: r.name + " exec", dir: bundle.dir, apart: true, args: r.command(b.dir, "exec", "bench-"+r.name, "true")})
	}
	if err := contest(c, b.rounds); err != nil {
		return err
	}
	table("One more process in a container", c)
	judge("CPU of exec, ms (least)", c[0].cpu.least()/1000, 5)
	return nil
}

// many starts a hundred containers one after the other, and sees whether the last ones take longer.
func (b *bench) many() error {
	one := &contestant{args: []string{b.porthole, "run", "--root=" + b.dir + "/porthole", "--rm", "host", "true"}}
	for range 100 {
		if err := one.once(); err != nil {
			return err
		}
	}
	first, last := one.cpu[:20], one.cpu[80:]
	fmt.Printf("\nA hundred containers, one after the other: CPU of the first twenty %.1f ms (least), of the last twenty %.1f\n",
		first.least()/1000, last.least()/1000)
	judge("the last twenty against the first", last.least()/first.least(), 1.15)
	return nil
}

// judge says whether a target is met.
func judge(what string, got, most float64) {
	verdict := "met"
	if got > most {
		verdict = "MISSED"
	}
	fmt.Printf("  target: %-48s %8.2f, at most %.2f: %s\n", what, got, most, verdict)
}

func table(title string, c []*contestant) {
	fmt.Printf("\n%s (%d rounds, in turn)\n", title, len(c[0].cpu))
	fmt.Printf("  %-32s %10s %10s %10s %10s %9s %8s\n", "", "CPU µs", "median", "wall µs", "median", "peak KiB", "ours/its")
	for _, x := range c {
		fmt.Printf("  %-32s %10.0f %10.0f %10.0f %10.0f %9d %8.2f\n",
			x.name, x.cpu.least(), x.cpu.median(), x.wall.least(), x.wall.median(), x.peak, c[0].against(x))
	}
}

// series are measurements of one kind, in microseconds.
type series []float64

func (s series) least() float64 { return slices.Min(s) }

func (s series) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	return sorted[len(sorted)/2]
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
