package image

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
)

// compression is a way to compress of which a program has the reader: see RegisterCompression.
type compression struct {
	magic string
	read  func(io.Reader) (io.ReadCloser, error)
}

var compressions []compression

// What compressed files begin with (RFC 1952, 2.3.1; bzip2's manual).
const (
	MagicGzip  = "\x1f\x8b"
	MagicBzip2 = "BZh"
)

// RegisterCompression has read decompress what begins with magic, as the program with every command does for gzip and bzip2. A
// program that only starts containers goes without: their tables cost every start 35 µs.
func RegisterCompression(magic string, read func(io.Reader) (io.ReadCloser, error)) {
	compressions = append(compressions, compression{magic, read})
}

// ErrCompressed says that something is to be unpacked that this program cannot read.
var ErrCompressed = errors.New("this program reads no compressed layers")

// decompress reads what r holds: gzip and bzip2 where they are registered, zstd and xz by the programs of
// that name, and anything else as it is. The caller closes the result, and r after it.
func decompress(r io.Reader) (io.ReadCloser, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	magic, err := b.Peek(6)
	if err != nil && err != io.EOF {
		return nil, err
	}
	for _, c := range compressions {
		if bytes.HasPrefix(magic, []byte(c.magic)) {
			return c.read(b)
		}
	}
	switch {
	case bytes.HasPrefix(magic, []byte(MagicGzip)), bytes.HasPrefix(magic, []byte(MagicBzip2)):
		return nil, ErrCompressed
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return program(b, "zstd", "-dcq")
	case bytes.Equal(magic, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		return program(b, "xz", "-dcq")
	}
	return io.NopCloser(b), nil
}

// piped is the output of a program.
type piped struct {
	io.ReadCloser
	cmd    *exec.Cmd
	stderr bytes.Buffer
}

func program(in io.Reader, name string, args ...string) (io.ReadCloser, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("it is compressed with %s, and there is no program %[1]s here to read it", name)
	}
	p := &piped{cmd: exec.Command(path, args...)}
	p.cmd.Stdin, p.cmd.Stderr = in, &p.stderr
	if p.ReadCloser, err = p.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	return p, p.cmd.Start()
}

// Read reports the program's failure instead of an early end.
func (p *piped) Read(b []byte) (int, error) {
	n, err := p.ReadCloser.Read(b)
	if err == io.EOF {
		if werr := p.wait(); werr != nil {
			err = werr
		}
	}
	return n, err
}

func (p *piped) wait() error {
	if p.cmd.ProcessState != nil {
		if !p.cmd.ProcessState.Success() {
			return fmt.Errorf("%s: %s", p.cmd.Path, bytes.TrimSpace(p.stderr.Bytes()))
		}
		return nil
	}
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w: %s", p.cmd.Path, err, bytes.TrimSpace(p.stderr.Bytes()))
	}
	return nil
}

func (p *piped) Close() error {
	p.ReadCloser.Close() // it dies of SIGPIPE if it had more to say
	p.wait()
	return nil
}
