package engine

import (
	"encoding/json"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Streams are the three standard streams that a session is given by its caller.
// A nil one is /dev/null.
type Streams struct {
	In, Out, Err *os.File
}

// stdio is what stands between a caller's streams and the program's: pipes, and the
// copying that goes on over them. A terminal, a regular file or a device of the caller is
// never itself handed to a container: who holds a terminal can type into it (TIOCSTI,
// CVE-2017-5226), and who holds a file can open it again through /proc/self/fd with more rights.
type stdio struct {
	child [3]*os.File // for the program; closed by started
	made  [3]bool     // those of them that are our own pipes
	pumps sync.WaitGroup
	close []*os.File

	direct bool // harmless files of the caller's are handed on as they are
}

// newStdio connects s, with what is written also kept in log where that is not nil.
// interactive says whether the program reads the caller's input. user is the program's: one who is not
// root could not open the caller's pipe once more, as programs do with /dev/stdout, and gets one that can
// be given to him.
func newStdio(s Streams, interactive bool, log *logWriter, user uint32) (*stdio, error) {
	p := &stdio{direct: user == 0}
	ok := false
	defer func() {
		if !ok {
			p.abandon()
		}
	}()
	in := s.In
	if !interactive {
		in = nil
	}
	if err := p.input(in); err != nil {
		return nil, err
	}
	for i, out := range []*os.File{s.Out, s.Err} {
		if err := p.output(1+i, out, log); err != nil {
			return nil, err
		}
	}
	ok = true
	return p, nil
}

func (p *stdio) input(in *os.File) error {
	if in == nil {
		null, err := os.Open(os.DevNull)
		p.child[0] = null
		return err
	}
	if p.direct && harmless(in) {
		dup, err := duplicate(in)
		p.child[0] = dup
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	p.child[0], p.made[0] = r, true
	// Nobody waits for this one: it ends with the input, or with us.
	go func() {
		io.Copy(w, in)
		w.Close()
	}()
	return nil
}

func (p *stdio) output(fd int, out *os.File, log *logWriter) error {
	if log == nil && (out == nil || p.direct && harmless(out)) {
		var f *os.File
		var err error
		if out == nil {
			f, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		} else {
			f, err = duplicate(out)
		}
		p.child[fd] = f
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	p.child[fd], p.made[fd] = w, true
	p.close = append(p.close, r)
	var to io.Writer = io.Discard
	if out != nil {
		to = out
	}
	if log != nil {
		to = io.MultiWriter(to, log.stream(fd))
	}
	p.pumps.Go(func() {
		if _, err := io.Copy(to, r); err != nil {
			io.Copy(io.Discard, r) // the reader of our output went away: the program must not hang for it
		}
	})
	return nil
}

// started closes our copies of the program's ends, once it has its own.
func (p *stdio) started() {
	for i, f := range p.child {
		if f != nil {
			f.Close()
			p.child[i] = nil
		}
	}
}

// drain waits until everything the program wrote has been passed on. Something that the
// program left behind may keep a pipe open for ever, so the wait ends after grace.
func (p *stdio) drain(grace time.Duration) {
	if len(p.close) == 0 {
		return // nothing goes through us
	}
	done := make(chan struct{})
	go func() { p.pumps.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(grace):
	}
	p.abandon()
}

func (p *stdio) abandon() {
	p.started()
	for _, f := range p.close {
		f.Close()
	}
	p.close = nil
}

// harmless says that f can be handed on as it is: a pipe, a socket or /dev/null, which give no more
// than they are.
func harmless(f *os.File) bool {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return false
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFIFO, unix.S_IFSOCK:
		return true
	case unix.S_IFCHR:
		return st.Rdev == unix.Mkdev(1, 3)
	}
	return false
}

func duplicate(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// logWriter keeps what a container writes, a line a record, as Docker's json-file driver does.
type logWriter struct {
	mu sync.Mutex
	f  *os.File
}

func newLog(path string) (*logWriter, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &logWriter{f: f}, nil
}

func (l *logWriter) Close() error { return l.f.Close() }

// logLine is one record of a log.
type logLine struct {
	Log    string    `json:"log"`
	Stream string    `json:"stream"`
	Time   time.Time `json:"time"`
}

func (l *logWriter) stream(fd int) io.Writer {
	name := "stdout"
	if fd == 2 {
		name = "stderr"
	}
	return &logStream{log: l, name: name}
}

type logStream struct {
	log  *logWriter
	name string
}

// Write keeps b as one record a line; a line cut in two by a read becomes two records, of which
// only the last ends in a newline, so that putting them together again gives what was written.
func (s *logStream) Write(b []byte) (int, error) {
	var out []byte
	now := time.Now().UTC()
	for rest := b; len(rest) > 0; {
		line := rest
		for i, c := range rest {
			if c == '\n' {
				line = rest[:i+1]
				break
			}
		}
		rest = rest[len(line):]
		rec, err := json.Marshal(logLine{Log: string(line), Stream: s.name, Time: now})
		if err != nil {
			return 0, err
		}
		out = append(append(out, rec...), '\n')
	}
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	if _, err := s.log.f.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}
