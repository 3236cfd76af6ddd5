package sys

import (
	"os"
	"os/signal"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestRelay(t *testing.T) {
	c, err := Catch([]unix.Signal{unix.SIGUSR1, unix.SIGTERM})
	if err != nil {
		t.Fatal(err)
	}
	second, err := Catch([]unix.Signal{unix.SIGUSR1})
	if err != nil || second.FD() != -1 {
		t.Errorf("a second one: %v %v", second, err)
	}
	second.Stop()
	if s := c.Next(); s != 0 {
		t.Errorf("%v has come from nowhere", s)
	}
	// While a goroutine keeps every register busy.
	stop, sum := make(chan bool), make(chan float64)
	go func() {
		x := 1.0
		for {
			x = x*1.0000001 + 0.5
			select {
			case <-stop:
				sum <- x
				return
			default:
			}
		}
	}()
	var got []unix.Signal
	for range 200 {
		for _, sig := range []unix.Signal{unix.SIGUSR1, unix.SIGTERM} {
			if err := unix.Kill(os.Getpid(), sig); err != nil {
				t.Fatal(err)
			}
			if some, err := Poll([]unix.PollFd{{Fd: int32(c.FD()), Events: unix.POLLIN}}, 10*time.Second); !some || err != nil {
				t.Fatalf("%v did not come: %v", sig, err)
			}
			got = append(got, c.Next())
		}
	}
	close(stop)
	if x := <-sum; x <= 1 {
		t.Error(x)
	}
	for i, s := range got {
		if want := []unix.Signal{unix.SIGUSR1, unix.SIGTERM}[i%2]; s != want {
			t.Fatalf("signal %d is %v, not %v", i, s, want)
		}
	}
	c.Stop()

	// Go's own handler is back.
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, unix.SIGUSR1)
	defer signal.Stop(ch)
	unix.Kill(os.Getpid(), unix.SIGUSR1)
	select {
	case <-ch:
	case <-time.After(10 * time.Second):
		t.Error("after Stop, os/signal gets nothing")
	}
	if c, err := Catch(nil); err != nil || c.FD() < 0 {
		t.Errorf("a next one: %v", err)
	} else {
		c.Stop()
	}
}
