package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"

	"porthole/internal/engine/container"
	"porthole/workload"
)

// A container in the background is owned by a monitor: this program again, as `porthole monitor ID`,
// in a session of its own. It is handed the container's lock, so that at no moment nobody holds it, and a
// pipe on which it says that the program runs, or why it does not.
const (
	monitorLock  = 3 // fd
	monitorReady = 4
)

// verdict is what a monitor says of the start.
type verdict struct {
	Error string `json:"error,omitempty"`
	Code  int    `json:"code,omitempty"`
}

// StartError is a container in the background that did not start: the monitor's error, and the exit code
// that goes with it.
type StartError struct {
	Text string
	Code int
}

func (e *StartError) Error() string { return e.Text }

// ExitCode is the code to exit with.
func (e *StartError) ExitCode() int { return e.Code }

// Detach makes a container of w and runs it in the background. It returns the container's ID
// once the program runs.
func (e *Engine) Detach(ctx context.Context, w workload.Workload, remove bool) (id string, err error) {
	if w.Image != "host" {
		// Fetched here, where there is somebody to see the progress.
		if _, err := e.image(ctx, w.Image); err != nil {
			return "", err
		}
	}
	r, claim, err := e.enrol(w, remove)
	if err != nil {
		return "", err
	}
	if err := r.save(claim.Dir); err != nil {
		return "", errors.Join(e.hintStorage(err), e.discard(r, claim))
	}
	ready, theirs, err := os.Pipe()
	if err != nil {
		return "", errors.Join(err, e.discard(r, claim))
	}
	defer ready.Close()
	cmd := exec.Command("/proc/self/exe", "--root", e.root, "monitor", r.ID)
	cmd.Args[0] = "porthole"
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{claim.File(), theirs}
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return "", errors.Join(fmt.Errorf("start the container's monitor: %w", err), e.discard(r, claim))
	}
	claim.Release() // the monitor's now
	said, err := io.ReadAll(ready)
	if err != nil {
		return "", err
	}
	var v verdict
	if err := json.Unmarshal(said, &v); err != nil {
		cmd.Wait()
		e.sweep()
		return "", errors.New("the container's monitor died at the start")
	}
	if v.Error != "" {
		return "", &StartError{v.Error, v.Code}
	}
	return r.ID, cmd.Process.Release()
}

// Monitor runs the container id, whose directory was made and locked by Detach, to its end.
func (e *Engine) Monitor(ctx context.Context, id string) error {
	return e.monitor(ctx, id, RunOptions{})
}

func (e *Engine) monitor(ctx context.Context, id string, opt RunOptions) error {
	claim := container.Inherit(e.containers(), id, monitorLock)
	ready := os.NewFile(monitorReady, "ready")
	unix.CloseOnExec(monitorReady)
	say := func(v verdict) {
		data, _ := json.Marshal(v)
		ready.Write(data)
		ready.Close()
	}
	r, err := e.record(id)
	if err != nil {
		say(verdict{Error: err.Error(), Code: 125})
		return err
	}
	started := false
	opt.Remove, opt.Log = r.Remove, true
	opt.Started = func(string) {
		started = true
		say(verdict{})
	}
	_, err = e.run(ctx, r, claim, opt)
	if err != nil && !started {
		code := 125
		var coded interface{ ExitCode() int }
		if errors.As(err, &coded) {
			code = coded.ExitCode()
		}
		say(verdict{Error: err.Error(), Code: code})
	}
	return err
}
