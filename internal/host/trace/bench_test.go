package trace

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"porthole/event"
)

// BenchmarkOverhead tells how many times its own CPU time a program takes while it is watched, by us and by
// strace: the median of runs that alternate.
func BenchmarkOverhead(b *testing.B) {
	needRoot(b)
	dir := b.TempDir()
	source := filepath.Join(dir, "x.c")
	if err := os.WriteFile(source, []byte("#include <stdio.h>\n#include <stdlib.h>\nint main(void) { return puts(\"x\") < 0; }\n"), 0o644); err != nil {
		b.Fatal(err)
	}
	for _, x := range []struct {
		name string
		argv []string
	}{
		{"find", []string{"find", "/usr", "-type", "f", "-size", "+100M"}},
		{"compile", []string{"sh", "-c", "for i in 1 2 3 4 5; do cc -O1 -o " + dir + "/x " + source + "; done"}},
	} {
		b.Run(x.name, func(b *testing.B) {
			var plain, ours, strace []float64
			events := 0
			for b.Loop() {
				plain = append(plain, cpu(b, x.argv, nil))
				events = 0
				ours = append(ours, cpu(b, x.argv, func(event.Event) { events++ }))
				if _, err := exec.LookPath("strace"); err == nil && len(strace) < 2 {
					strace = append(strace, cpu(b, append([]string{"strace", "-f", "-o", "/dev/null"}, x.argv...), nil))
				}
			}
			b.ReportMetric(median(plain)*1000, "ms-alone")
			b.ReportMetric(median(ours)/median(plain), "x-watched")
			b.ReportMetric(float64(events), "events")
			if strace != nil {
				b.ReportMetric(median(strace)/median(plain), "x-strace")
			}
		})
	}
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// cpu runs argv under a filter, watched if see is not nil, and returns the seconds of CPU that it took.
func cpu(b *testing.B, argv []string, see func(event.Event)) float64 {
	b.Helper()
	cmd, _, open := gated(b, "acct=1", argv...)
	if see != nil {
		w, err := Attach(context.Background(), Target{PID: cmd.Process.Pid}, Options{See: see, Ring: 8 << 20, Cache: os.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		defer w.Close()
	}
	open()
	cmd.Wait()
	u := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// BenchmarkAttach is what a watcher costs before and after.
func BenchmarkAttach(b *testing.B) {
	needRoot(b)
	for _, ring := range []int{1 << 20, 8 << 20, 64 << 20} {
		b.Run(strconv.Itoa(ring>>20)+"MiB", func(b *testing.B) {
			for b.Loop() {
				w, err := Attach(context.Background(), Target{}, Options{See: func(event.Event) {}, Ring: ring, Cache: os.TempDir()})
				if err != nil {
					b.Fatal(err)
				}
				w.Close()
			}
		})
	}
}
