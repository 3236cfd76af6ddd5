// Command abi writes the tables of porthole/abi (z*.go) from the facts in its facts folder,
// which need no network. With one of these it first takes the facts anew:
//
//	go run ./internal/gen/abi -linux v7.3 -headers DIR -source DIR
//	go run ./internal/gen/abi -linux v6.18 -tracefs DIR
//
// -headers is where a linux-libc-dev package has been unpacked (Debian 13 or newer: one for
// all architectures), -source the same kernel's source tree, -tracefs a mounted tracefs of
// an x86-64 kernel. Constants are evaluated with the machine's C compiler; the texts of
// errors are its libc's.
package main

import (
	"embed"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

//go:embed facts
var committed embed.FS

func main() {
	facts := flag.String("facts", "internal/gen/abi/facts", "the folder of facts that a refresh writes")
	out := flag.String("o", "abi", "the folder of the package that is written")
	headers := flag.String("headers", "", "refresh the facts from the kernel headers in this folder")
	linux := flag.String("linux", "", "the kernel release that -headers is from, as v7.3")
	source := flag.String("source", "", "the kernel's source tree, which -headers needs beside it")
	tracefs := flag.String("tracefs", "", "refresh the argument types from this mounted tracefs")
	flag.Parse()
	if err := run(*facts, *out, *headers, *source, *linux, *tracefs); err != nil {
		fmt.Fprintln(os.Stderr, "abi:", err)
		os.Exit(1)
	}
}

func run(facts, out, headers, source, linux, tracefs string) error {
	read := func(name string) ([]byte, error) { return committed.ReadFile("facts/" + name) }
	if headers != "" || tracefs != "" {
		if err := refresh(facts, headers, source, linux, tracefs); err != nil {
			return err
		}
		read = func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(facts, name)) }
	}
	files, err := generate(read)
	if err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(out, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// A table is one fact file: rows of fields set apart by blanks. Lines that begin with #
// say where the rows are from; the first such line names the kernel release.
type table struct {
	name  string
	linux string
	rows  [][]string
}

// tabbed says whether fields hold blanks, and tabs set them apart: types do.
func (t table) tabbed() bool { return t.name == "traced.txt" || t.name == "defined.txt" }

func parse(name string, text []byte) (table, error) {
	t := table{name: name}
	for i, line := range strings.Split(string(text), "\n") {
		if i == 0 {
			rest, ok := strings.CutPrefix(line, "# linux ")
			if !ok {
				return t, fmt.Errorf("%s:1: want \"# linux vX.Y: …\"", name)
			}
			t.linux, _, _ = strings.Cut(rest, ":")
		}
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		if t.tabbed() {
			t.rows = append(t.rows, strings.Split(line, "\t"))
		} else {
			t.rows = append(t.rows, strings.Fields(line))
		}
	}
	if len(t.rows) == 0 {
		return t, fmt.Errorf("%s: no rows", name)
	}
	return t, nil
}
