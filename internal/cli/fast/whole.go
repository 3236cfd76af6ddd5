package fast

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// WholeName is the whole program's: it may stand beside this one, under this name, and `make build` also
// puts it behind this one's end, so that `porthole` is one file that can be copied anywhere:
//
//	the program "porthole"; the program "porthole-full"; its length in 16 decimal digits; Mark
const WholeName = "porthole-full"

// Mark ends a file that holds the whole program.
const Mark = "\nporthole-full\n"

// whole becomes the whole program with this one's arguments. It returns where that can't be.
func whole() int {
	err := becomeWhole()
	return Code("", fmt.Errorf("this needs the whole program, %s: %w", WholeName, err))
}

func becomeWhole() error {
	if os.Args[0] == WholeName {
		return errors.New("what stands in its place is this program again")
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer self.Close()
	held, err := held(self)
	if err != nil {
		return err
	}
	path, err := os.Executable()
	if err != nil {
		return err
	}
	args := append([]string{WholeName}, os.Args[1:]...)
	if beside := filepath.Join(filepath.Dir(path), WholeName); held == nil || same(beside, held) {
		if err := unix.Exec(beside, args, os.Environ()); held == nil || !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("execute %s, which belongs beside %s: %w", beside, path, err)
		}
	}
	return execute(held, args)
}

// held is the program behind the end of self; nil where there is none.
func held(self *os.File) (*io.SectionReader, error) {
	fi, err := self.Stat()
	if err != nil {
		return nil, err
	}
	tail := make([]byte, 16+len(Mark))
	if _, err := self.ReadAt(tail, fi.Size()-int64(len(tail))); err != nil {
		return nil, err
	}
	digits, ok := bytes.CutSuffix(tail, []byte(Mark))
	if !ok {
		return nil, nil
	}
	n, err := strconv.ParseInt(string(digits), 10, 64)
	if at := fi.Size() - int64(len(tail)) - n; err == nil && n > 0 && at > 0 {
		return io.NewSectionReader(self, at, n), nil
	}
	return nil, errors.New("the length of the program behind this one is damaged")
}

// same says that the file at path is the program that is held: their first 4 KiB, in which the linker puts
// what tells one build from another, are the same, and so is their length.
func same(path string, held *io.SectionReader) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var ours, theirs [4096]byte
	fi, err := f.Stat()
	if err != nil || fi.Size() != held.Size() {
		return false
	}
	_, err = held.ReadAt(ours[:], 0)
	_, err2 := f.ReadAt(theirs[:], 0)
	return err == nil && err2 == nil && ours == theirs
}

// execute copies a program into memory and becomes it.
func execute(program *io.SectionReader, args []string) error {
	// Without MFD_EXEC a kernel that knows it complains in its log; one that doesn't, refuses it (memfd_create(2)).
	fd, err := unix.MemfdCreate("porthole", unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate("porthole", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return fmt.Errorf("memfd_create: %w (put %s beside this program)", err, WholeName)
	}
	memory := os.NewFile(uintptr(fd), "porthole")
	defer memory.Close()
	if _, err := io.Copy(memory, program); err != nil {
		return err
	}
	err = unix.Exec("/proc/self/fd/"+strconv.Itoa(fd), args, os.Environ())
	return fmt.Errorf("execute it from memory: %w (put %s beside this program)", err, WholeName)
}
