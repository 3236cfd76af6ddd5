package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// watched compares the CPU time that a program itself takes while it is watched by `porthole why` with that of the
// same program unwatched, and under strace -f: on a compile, and on a walk over /usr.
func (b *bench) watched() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	source := filepath.Join(b.dir, "compiled.c")
	var text strings.Builder
	text.WriteString("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <sys/socket.h>\n")
	for i := range 300 {
		fmt.Fprintf(&text, "int f%d(int n, char *s) { int k = 0; for (int i = 0; i < n; i++) k += s[i %% %d] * printf(\"%%d\", i); return k; }\n", i, i+1)
	}
	if err := os.WriteFile(source, []byte(text.String()), 0o644); err != nil {
		return err
	}
	root := "--root=" + b.dir + "/porthole"
	for _, program := range []struct {
		name string
		args []string
	}{
		{"gcc -O1 of a file", []string{"gcc", "-O1", "-c", "-o", "/dev/null", source}},
		{"find /usr", []string{"sh", "-c", "find /usr >/dev/null"}},
	} {
		own := append([]string{self, "own"}, program.args...)
		ways := []struct {
			name string
			args []string
			cpu  series
		}{
			{name: "unwatched", args: append([]string{b.porthole, "run", root, "--rm", "host"}, own...)},
			{name: "porthole why", args: append([]string{b.porthole, "why", root, "--no-run", "host"}, own...)},
			{name: "strace -f", args: append([]string{b.porthole, "run", root, "--rm", "host", "strace", "-f", "-o", "/dev/null"}, own...)},
		}
		rounds := max(b.rounds/3, 3)
		for round := -1; round < rounds; round++ {
			for i := range ways {
				took, err := ownTime(ways[i].args)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", program.name, ways[i].name, err)
				}
				if round >= 0 {
					ways[i].cpu = append(ways[i].cpu, took)
				}
			}
		}
		fmt.Printf("\n%s: CPU time of the program itself, ms (%d rounds)\n%-32s %8s %8s\n", program.name, rounds, "", "least", "median")
		for _, w := range ways {
			fmt.Printf("%-32s %8.1f %8.1f   %.2f\n", w.name, w.cpu.least(), w.cpu.median(), w.cpu.least()/ways[0].cpu.least())
		}
		judge("watched against unwatched", ways[1].cpu.least()/ways[0].cpu.least(), 1.15)
	}
	return nil
}

// ownTime runs a command in which `bench own` says how much CPU time its program took, in milliseconds.
func ownTime(args []string) (float64, error) {
	out, err := command(args[0], args[1:]...).Output()
	if err != nil {
		return 0, err
	}
	_, said, _ := strings.Cut(string(out), ownMark)
	micros, err := strconv.ParseFloat(strings.TrimSpace(said), 64)
	return micros / 1000, err
}

const ownMark = "own CPU time in microseconds: "

// own runs a program and says what it and its children took.
func own(args []string) error {
	if err := command(args[0], args[1:]...).Run(); err != nil {
		return err
	}
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &used); err != nil {
		return err
	}
	fmt.Printf("%s%d\n", ownMark, (used.Utime.Nano()+used.Stime.Nano())/1000)
	return nil
}

// explained measures what `why` adds to the runs that it makes of a command that fails.
func (b *bench) explained() error {
	root := "--root=" + b.dir + "/porthole"
	fails := []string{"host", "unshare", "-r", "true"}
	answer := filepath.Join(b.dir, "answer.json")
	var adds series
	runs := 0
	for round := -1; round < b.rounds; round++ {
		began := time.Now()
		command(b.porthole, append([]string{"run", root, "--rm"}, fails...)...).Run() // it fails, as it is meant to
		once := time.Since(began)
		began = time.Now()
		command(b.porthole, append([]string{"why", root, "--json=" + answer}, fails...)...).Run()
		all := time.Since(began)
		data, err := os.ReadFile(answer)
		if err != nil {
			return err
		}
		var d struct {
			Refusals []struct {
				Experiments []struct{ Result string }
			}
		}
		if err := json.Unmarshal(data, &d); err != nil || len(d.Refusals) == 0 {
			return fmt.Errorf("why unshare: nothing refused (%v)", err)
		}
		runs = 1
		for _, x := range d.Refusals[0].Experiments {
			if x.Result != "not run" {
				runs++
			}
		}
		if round >= 0 {
			adds = append(adds, micros(all-time.Duration(runs)*once)/1000)
		}
	}
	fmt.Printf("\nporthole why host unshare -r true: %d runs, and beside them %.0f ms (median; least %.0f)\n", runs, adds.median(), adds.least())
	judge("ms that why adds to its runs, median", adds.median(), 150)
	return nil
}
