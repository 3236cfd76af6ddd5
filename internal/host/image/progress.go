package image

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Progress is told what happens while an image comes in. Its methods may be called often.
type Progress interface {
	// Update says how far a layer is: done of total bytes, 0 of 0 where there is nothing to count.
	Update(id, what string, done, total int64)
	// Say passes on a line.
	Say(line string)
}

// Quiet shows nothing.
type Quiet struct{}

// Update does nothing.
func (Quiet) Update(string, string, int64, int64) {}

// Say does nothing.
func (Quiet) Say(string) {}

// NewProgress shows progress on w: on a terminal of that many columns as a bar for each layer, which
// is drawn anew ten times a second; with no columns as a line for each thing that begins.
func NewProgress(w io.Writer, columns int) Progress {
	return &shown{w: w, columns: columns, at: map[string]int{}, was: map[string]string{}}
}

type shown struct {
	mu      sync.Mutex
	w       io.Writer
	columns int
	at      map[string]int    // line of a layer, counted from the first
	was     map[string]string // what a layer did last
	lines   int
	drawn   time.Time
}

func (s *shown) Update(id, what string, done, total int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	begins := s.was[id] != what
	s.was[id] = what
	if s.columns == 0 {
		if begins {
			fmt.Fprintf(s.w, "%s: %s\n", id, what)
		}
		return
	}
	if now := time.Now(); begins || done == total || now.Sub(s.drawn) > 100*time.Millisecond {
		s.drawn = now
		s.draw(id, bar(id, what, done, total, s.columns))
	}
}

// draw puts a layer's line where it stands, or beneath the others.
func (s *shown) draw(id, line string) {
	at, ok := s.at[id]
	if !ok {
		s.at[id] = s.lines
		s.lines++
		fmt.Fprintf(s.w, "%s\n", line)
		return
	}
	up := s.lines - at
	fmt.Fprintf(s.w, "\x1b[%dA\r\x1b[2K%s\r\x1b[%dB", up, line, up)
}

// Say puts a line beneath the layers, which stay as they are.
func (s *shown) Say(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(s.w, line)
	if s.columns > 0 {
		s.lines++
	}
}

// bar is "3153aa388d02: Downloading [=====>    ]  12.6MB/25.7MB", no wider than a line.
func bar(id, what string, done, total int64, columns int) string {
	line := id + ": " + what
	if total > 0 && done < total {
		amount := " " + Bytes(done) + "/" + Bytes(total)
		if room := min(50, columns-len(line)-len(amount)-5); room >= 10 {
			full := int(int64(room) * done / total)
			line += " [" + strings.Repeat("=", full) + ">" + strings.Repeat(" ", room-full) + "]"
		}
		line += amount
	}
	return line[:min(len(line), max(columns-1, 1))]
}

// Bytes writes a size with four digits at most, in powers of 1000 as Docker does: "25.7MB".
func Bytes(n int64) string {
	f, unit := float64(n), 0
	for f >= 1000 && unit < 5 {
		f /= 1000
		unit++
	}
	return fmt.Sprintf("%.4g%s", f, []string{"B", "kB", "MB", "GB", "TB", "PB"}[unit])
}
