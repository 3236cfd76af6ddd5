package lab

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"regexp"
	"sync"
	"time"

	"porthole/workload"
)

const (
	maxOutput = 1 << 20 // bytes of output that count; the rest is passed on and forgotten
	maxInput  = 1 << 20 // bytes of input that can be given again
)

// capture stands between a run and the streams of whoever asked for it: what is written is passed
// on and kept, what is read is kept for the repetitions.
type capture struct {
	child [3]*os.File // for the Runner
	ours  []*os.File  // to close, once it is over
	out   tail
	pumps sync.WaitGroup
	in    *replay
	bare  bool // nothing was captured: the terminal is the program's own
}

// replay is a program's input: recorded in the first run, played in the others.
type replay struct {
	mu     sync.Mutex
	data   []byte
	more   bool // there was more than is kept
	played bool
	text   string // what that run wrote
}

func (r *replay) overflown() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.more
}

// again is the same input, to be played.
func (r *replay) again() *replay {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &replay{data: bytes.Clone(r.data), played: true}
}

func (r *replay) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(len(b), maxInput-len(r.data))
	r.data = append(r.data, b[:n]...)
	r.more = r.more || n < len(b)
	return len(b), nil
}

// newCapture makes the streams of a run of w. std is where they lead, nil into nowhere.
func newCapture(std [3]*os.File, w workload.Workload, in *replay) (*capture, error) {
	c := &capture{in: in}
	if w.TTY && !in.played {
		c.child, c.bare = std, true
		return c, nil
	}
	if w.Stdin {
		r, p, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		c.child[0] = r
		c.ours = append(c.ours, r)
		var from io.Reader = bytes.NewReader(nil)
		switch {
		case in.played:
			from = bytes.NewReader(in.data)
		case std[0] != nil:
			from = io.TeeReader(std[0], in)
		}
		go func() { // nobody waits for it: it ends with the input, or with the program
			io.Copy(p, from)
			p.Close()
		}()
	}
	for fd := 1; fd <= 2; fd++ {
		r, p, err := os.Pipe()
		if err != nil {
			c.finish()
			return nil, err
		}
		c.child[fd] = p
		c.ours = append(c.ours, p)
		var to io.Writer = &c.out
		if std[fd] != nil {
			to = io.MultiWriter(&c.out, std[fd])
		}
		c.pumps.Go(func() {
			if _, err := io.Copy(to, r); err != nil {
				io.Copy(&c.out, r) // whoever read our output went away
			}
			r.Close()
		})
	}
	return c, nil
}

// finish waits for the output's end and returns its hash, "" where it was not taken.
func (c *capture) finish() string {
	for _, f := range c.ours {
		f.Close()
	}
	if c.bare {
		return ""
	}
	done := make(chan struct{})
	go func() { c.pumps.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(2 * time.Second): // something that outlives the container holds the pipe
	}
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.in.text = string(c.out.data)
	sum := sha256.Sum256(plain(c.out.data))
	return hex.EncodeToString(sum[:8])
}

// tail keeps the first maxOutput bytes written to it.
type tail struct {
	mu   sync.Mutex
	data []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, b[:min(len(b), maxOutput-len(t.data))]...)
	return len(b), nil
}

// Whatever differs from run to run by nature: addresses, times and measures, pids and other long
// numbers, temporary names.
var noise = sync.OnceValue(func() []blur {
	return []blur{
		{regexp.MustCompile(`0x[0-9a-fA-F]+`), "ADDR"},
		{regexp.MustCompile(`\b[0-9a-f]{12,}\b`), "HEX"},
		{regexp.MustCompile(`\b\d{1,4}[-/:]\d\d([-/:]\d\d)*([.,]\d+)?\b`), "TIME"},
		{regexp.MustCompile(`\d+([.,]\d+)+`), "MEASURE"},
		{regexp.MustCompile(`(/tmp/[\w-]*[.\-_])\w{5,}`), "${1}TMP"},
		{regexp.MustCompile(`(?i)\b(pid|process|thread|lwp|tid)([ :=#]+)\d+`), "${1}${2}N"},
		{regexp.MustCompile(`\d{4,}`), "N"},
		{regexp.MustCompile(`[ \t]+`), " "},
	}
})

type blur struct {
	re *regexp.Regexp
	by string
}

// plain is output without what differs by nature.
func plain(b []byte) []byte {
	for _, n := range noise() {
		b = n.re.ReplaceAll(b, []byte(n.by))
	}
	return b
}
