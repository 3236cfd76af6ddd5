package engine

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// LogOptions say which part of a log is wanted.
type LogOptions struct {
	Follow     bool   // go on until the container stops
	Timestamps bool   // before each line, RFC 3339 with nanoseconds
	Tail       string // how many of the last lines; "" or "all": every one
}

const logFile = "log.json"

// Logs copies what a container wrote to out and err, in the order in which it was written.
func (e *Engine) Logs(ref string, opt LogOptions, out, errs io.Writer) error {
	r, err := e.find(ref)
	if err != nil {
		return err
	}
	tail := -1
	if opt.Tail != "" && opt.Tail != "all" {
		if tail, err = strconv.Atoi(opt.Tail); err != nil {
			return fmt.Errorf("--tail %q: a number of lines, or all", opt.Tail)
		}
	}
	f, err := os.Open(filepath.Join(e.dir(r.ID), logFile))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("container %s keeps no log: it runs in the foreground with --rm", r.Name)
	}
	if err != nil {
		return err
	}
	defer f.Close()

	if tail >= 0 {
		if err := skipToTail(f, tail); err != nil {
			return err
		}
	}
	in := bufio.NewReader(f)
	var held []byte // a record whose end has not been written yet
	for {
		rec, err := in.ReadBytes('\n')
		held = append(held, rec...)
		if err == nil {
			if err := printLog(held, opt.Timestamps, out, errs); err != nil {
				return err
			}
			held = held[:0]
			continue
		}
		if !errors.Is(err, io.EOF) {
			return err
		}
		if !opt.Follow {
			return nil
		}
		running, err := e.running(r.ID)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if !running {
			// What came between the last read and the end is still to be shown.
			opt.Follow = false
			continue
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func printLog(rec []byte, stamps bool, out, errs io.Writer) error {
	var l logLine
	if err := json.Unmarshal(rec, &l); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	to := out
	if l.Stream == "stderr" {
		to = errs
	}
	if stamps {
		l.Log = l.Time.Format(time.RFC3339Nano) + " " + l.Log
	}
	_, err := io.WriteString(to, l.Log)
	return err
}

// skipToTail leaves f before its last n records, reading backwards from its end.
func skipToTail(f *os.File, n int) error {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil || n == 0 {
		return err
	}
	const block = 64 << 10
	buf := make([]byte, block)
	for pos, seen := end, 0; pos > 0; {
		size := min(pos, block)
		pos -= size
		if _, err := f.ReadAt(buf[:size], pos); err != nil {
			return err
		}
		for at := len(buf[:size]); at > 0; {
			at = bytes.LastIndexByte(buf[:at], '\n')
			if at < 0 {
				break
			}
			if pos+int64(at) == end-1 {
				continue // the newline that ends the last record
			}
			if seen++; seen == n {
				_, err := f.Seek(pos+int64(at)+1, io.SeekStart)
				return err
			}
		}
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}
