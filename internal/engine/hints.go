package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// hintForce says what helps where a container's own files cannot be read.
func hintForce(err error) error {
	return fmt.Errorf("%w\n  try: porthole rm -f, which takes it away all the same", err)
}

// hintStorage says why a file of the engine's own could not be written, and what helps.
func (e *Engine) hintStorage(err error) error {
	var file string
	var cause error
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		file, cause = p.Path, p.Err
	} else if l := (*os.LinkError)(nil); errors.As(err, &l) {
		file, cause = l.New, l.Err
	}
	if file == "" || !strings.HasPrefix(file+"/", e.root+"/") && !strings.HasPrefix(e.root+"/", file+"/") {
		return err
	}
	var because string
	switch {
	case errors.Is(cause, unix.ENOSPC):
		because = "the file system with " + e.root + " is full: it has no space left, or no room for more files"
	case errors.Is(cause, unix.EDQUOT):
		because = "the user's quota on the file system with " + e.root + " is used up"
	case errors.Is(cause, unix.EROFS):
		because = "the file system with " + e.root + " is read-only"
	case errors.Is(cause, unix.EACCES), errors.Is(cause, unix.EPERM):
		because = e.root + " is not this user's to write to"
	default:
		return err
	}
	return fmt.Errorf("%w\n  because: %s\n  try: porthole --root with another directory", err, because)
}
