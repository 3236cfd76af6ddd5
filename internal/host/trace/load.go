package trace

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"porthole/internal/host/sys"
)

var errNoPlace = errors.New("this kernel has no such place")

// load loads a program for a place whose type is known. cilium/ebpf would look it up in the kernel's type
// information each time, which takes 20 ms a program.
func (l *layout) load(place string, how ebpf.AttachType, ins asm.Instructions) (*ebpf.Program, error) {
	target, ok := l.Types[place]
	if !ok {
		return nil, fmt.Errorf("%s: %w", place, errNoPlace)
	}
	var code bytes.Buffer
	if err := ins.Marshal(&code, binary.LittleEndian); err != nil {
		return nil, fmt.Errorf("program for %s: %w", place, err)
	}
	fd, log, err := sys.LoadTracing("porthole", code.Bytes(), uint32(how), target)
	if err != nil {
		return nil, fmt.Errorf("program for %s: %w%s", place, err, tail(log))
	}
	return ebpf.NewProgramFromFD(fd)
}

// tail is the end of what the verifier said.
func tail(log string) string {
	if log == "" {
		return ""
	}
	const most = 2000
	return ": " + log[max(0, len(log)-most):]
}

// overTasks runs a program of the kind iter/task on every task of the machine.
func overTasks(prog *ebpf.Program) error {
	it, err := link.AttachIter(link.IterOptions{Program: prog})
	if err != nil {
		return fmt.Errorf("tasks: %w", err)
	}
	defer it.Close()
	r, err := it.Open()
	if err != nil {
		return fmt.Errorf("tasks: %w", err)
	}
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); err != nil {
		return fmt.Errorf("tasks: %w", err)
	}
	return nil
}
