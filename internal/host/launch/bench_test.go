package launch

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"porthole/plan"

	"golang.org/x/sys/unix"
)

// cpu reports the CPU time of this process and its children for each of b's rounds.
func cpu(b *testing.B) func() {
	used := func() (t int64) {
		for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
			var r unix.Rusage
			unix.Getrusage(who, &r)
			t += r.Utime.Nano() + r.Stime.Nano()
		}
		return t
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N)/1000, "cpu-µs/op") }
}

// BenchmarkTrue is a bare plan: from Start to /bin/true reaped.
func BenchmarkTrue(b *testing.B) {
	p := &plan.Plan{Child: []plan.Step{execve("/bin/true")}}
	var executed time.Duration
	done := cpu(b)
	for b.Loop() {
		began := time.Now()
		pr, err := Start(p, Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := pr.Executed(b.Context()); err != nil {
			b.Fatal(err)
		}
		executed += time.Since(began)
		pr.Wait()
		pr.Close()
	}
	done()
	b.ReportMetric(float64(executed.Microseconds())/float64(b.N), "µs/execve")
}

// BenchmarkSteps is what the loop itself takes: a thousand getppid.
func BenchmarkSteps(b *testing.B) {
	p := &plan.Plan{}
	for range 1000 {
		p.Child = append(p.Child, step("getppid"))
	}
	done := cpu(b)
	for b.Loop() {
		pr, err := Start(p, Options{})
		if err != nil {
			b.Fatal(err)
		}
		pr.Wait()
		pr.Close()
	}
	done()
}

// BenchmarkClone is Start and the end of an empty plan, by how much memory the parent has in use.
func BenchmarkClone(b *testing.B) {
	for _, mib := range []int{0, 16, 256, 1024} {
		b.Run(fmt.Sprintf("%dMiB", mib), func(b *testing.B) {
			hold := make([]byte, mib<<20)
			for i := 0; i < len(hold); i += 4096 {
				hold[i] = 1
			}
			p := &plan.Plan{Child: []plan.Step{step("exit_group", num(0))}}
			done := cpu(b)
			for b.Loop() {
				pr, err := Start(p, Options{})
				if err != nil {
					b.Fatal(err)
				}
				pr.Wait()
				pr.Close()
			}
			done()
			runtime.KeepAlive(hold)
		})
	}
	// Reserved is not used: address space without page tables costs nothing.
	b.Run("1GiB-reserved", func(b *testing.B) {
		m, err := unix.Mmap(-1, 0, 1<<30, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
		if err != nil {
			b.Fatal(err)
		}
		defer unix.Munmap(m)
		p := &plan.Plan{Child: []plan.Step{step("exit_group", num(0))}}
		done := cpu(b)
		for b.Loop() {
			pr, err := Start(p, Options{})
			if err != nil {
				b.Fatal(err)
			}
			pr.Wait()
			pr.Close()
		}
		done()
	})
}
