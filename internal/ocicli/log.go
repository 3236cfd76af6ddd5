package ocicli

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// logger writes records as runc's logrus does, which clients read for the reason of a failure: the last one
// of level error in the file of --log.
type logger struct {
	path, format string
	debug        bool
}

// record is one line, whose order of members is logrus's.
type record struct {
	Level string `json:"level"`
	Msg   string `json:"msg"`
	Time  string `json:"time"`
}

func (l *logger) write(level, msg string) {
	r := record{level, msg, time.Now().Format(time.RFC3339)}
	line, _ := json.Marshal(r)
	if l.format != "json" {
		line = fmt.Appendf(nil, "time=%q level=%s msg=%q", r.Time, r.Level, r.Msg)
	}
	line = append(line, '\n')
	if l.path == "" {
		os.Stderr.Write(line)
		return
	}
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: log: %v\n%s", name, err, line)
		return
	}
	defer f.Close()
	if _, err := f.Write(line); err != nil {
		fmt.Fprintf(os.Stderr, "%s: log: %v\n%s", name, err, line)
	}
}

// fatal tells why a command fails: in the log, and where there is one on standard error too.
func (l *logger) fatal(err error) {
	l.write("error", err.Error())
	if l.path != "" {
		fmt.Fprintln(os.Stderr, err)
	}
}

// warn tells of what went wrong without stopping the command.
func (l *logger) warn(err error) {
	if err != nil {
		l.write("warning", err.Error())
	}
}

// note tells what is otherwise than asked. Without a log an engine may have our standard error in the container's
// own log: then only a user who asked for more gets it.
func (l *logger) note(notes []string) {
	for _, n := range notes {
		if l.path != "" || l.debug {
			l.write("warning", n)
		}
	}
}
