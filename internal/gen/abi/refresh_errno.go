package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

var errnoDefinition = regexp.MustCompile(`(?m)^#define\s+(E[A-Z0-9]+)\s+(?:(\d+)|(E[A-Z0-9]+))\b(?:.*/\* (.*) \*/)?`)

// inside are the error numbers that no program should ever see, but a tracer at a
// call's exit does (include/linux/errno.h). The words are ours.
var inside = []string{
	"512 ERESTARTSYS restarted if the signal's action says so",
	"513 ERESTARTNOINTR always restarted after the signal",
	"514 ERESTARTNOHAND restarted if no handler ran",
	"515 ENOIOCTLCMD no such ioctl command",
	"516 ERESTART_RESTARTBLOCK restarted by restart_syscall",
	"517 EPROBE_DEFER driver asks to be probed later",
	"518 EOPENSTALE open found a stale dentry",
	"519 ENOPARAM unknown parameter",
	"524 ENOTSUPP operation is not supported",
}

// refreshErrnos writes "number NAME text", and "=NAME ALIAS" for second names. Texts are
// the C library's strerror, or the header's comment where it has none; first letter lowered.
func refreshErrnos(dir, headers, linux string) error {
	var rows []string
	var second []string
	numbers, comments := map[string]int{}, map[string]string{}
	for _, h := range []string{"errno-base.h", "errno.h"} {
		text, err := os.ReadFile(filepath.Join(headers, "usr/include/asm-generic", h))
		if err != nil {
			return err
		}
		for _, m := range errnoDefinition.FindAllSubmatch(text, -1) {
			if name := string(m[1]); len(m[3]) > 0 {
				second = append(second, fmt.Sprintf("=%s %s", m[3], name))
			} else if numbers[name], err = strconv.Atoi(string(m[2])); err != nil {
				return err
			} else {
				comments[name] = string(m[4])
			}
		}
	}
	// A libc's name, not the kernel's.
	second = append(second, "=EOPNOTSUPP ENOTSUP")
	names := make([]string, 0, len(numbers))
	for name := range numbers {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return numbers[a] - numbers[b] })
	var c strings.Builder
	c.WriteString("#include <stdio.h>\n#include <string.h>\nint main(void) {\n")
	for _, name := range names {
		fmt.Fprintf(&c, "puts(strerror(%d));\n", numbers[name])
	}
	c.WriteString("}\n")
	texts, err := compileAndRun(c.String())
	if err != nil {
		return err
	}
	for i, name := range names {
		if strings.HasPrefix(texts[i], "Unknown error") {
			texts[i] = comments[name]
		}
		rows = append(rows, fmt.Sprintf("%d %s %s", numbers[name], name, lowerFirst(texts[i])))
	}
	rows = append(append(rows, inside...), second...)
	return write(dir, "errnos.txt", linux, "asm-generic/errno-base.h and errno.h; texts: strerror; from 512: include/linux/errno.h.", rows)
}

// lowerFirst lowers the first letter of a text that does not begin with an abbreviation.
func lowerFirst(s string) string {
	r := []rune(s)
	if len(r) > 1 && unicode.IsLower(r[1]) {
		r[0] = unicode.ToLower(r[0])
	}
	return string(r)
}

// write makes a fact file: its first line names the release and the source.
func write(dir, name, linux, source string, rows []string) error {
	text := fmt.Sprintf("# linux %s: %s\n%s\n", linux, source, strings.Join(rows, "\n"))
	return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)
}

// compileAndRun returns the lines that a C program prints.
func compileAndRun(source string, flags ...string) ([]string, error) {
	dir, err := os.MkdirTemp("", "facts")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "facts.c")
	if err := os.WriteFile(file, []byte(source), 0o644); err != nil {
		return nil, err
	}
	cc := exec.Command("cc", append(flags, "-w", "-o", filepath.Join(dir, "facts"), file)...)
	if out, err := cc.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cc: %w\n%s", err, out)
	}
	cmd := exec.Command(filepath.Join(dir, "facts"))
	cmd.Env = []string{"LC_ALL=C"}
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	return strings.Split(string(bytes.TrimSuffix(out, []byte("\n"))), "\n"), nil
}
