package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// entries are the calls whose entry in the kernel has another name (syscall_64.tbl,
// syscall_32.tbl under arch/x86/entry/syscalls).
var entries = map[string]string{
	"stat": "newstat", "fstat": "newfstat", "lstat": "newlstat", "uname": "newuname",
	"sendfile": "sendfile64", "umount2": "umount", "_llseek": "llseek", "_newselect": "select",
	"mmap2": "mmap_pgoff", "setuid32": "setuid", "setgid32": "setgid", "setreuid32": "setreuid",
	"setregid32": "setregid", "setresuid32": "setresuid", "setresgid32": "setresgid",
	"getresuid32": "getresuid", "getresgid32": "getresgid", "setgroups32": "setgroups",
	"getgroups32": "getgroups", "setfsuid32": "setfsuid", "setfsgid32": "setfsgid",
	"chown32": "chown", "lchown32": "lchown", "fchown32": "fchown", "getuid32": "getuid",
	"getgid32": "getgid", "geteuid32": "geteuid", "getegid32": "getegid", "umount": "oldumount",
	"oldstat": "stat", "oldfstat": "fstat", "oldlstat": "lstat",
}

var field = regexp.MustCompile(`(?m)^\tfield:(.*\S)\s*\b(\w+);\toffset:\d+;\tsize:8;`)

// refreshTraced writes "name type argument, …" (fields set apart by tabs) for every call
// that has a tracepoint.
func refreshTraced(dir, tracefs, linux string) error {
	names, err := namesByEntry(dir)
	if err != nil {
		return err
	}
	var rows []string
	for call, entry := range names {
		text, err := os.ReadFile(filepath.Join(tracefs, "events/syscalls/sys_enter_"+entry, "format"))
		if os.IsNotExist(err) {
			continue
		} else if err != nil {
			return err
		}
		row := call
		for _, m := range field.FindAllSubmatch(text, -1) {
			row += fmt.Sprintf("\t%s %s", m[1], m[2])
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return fmt.Errorf("%s: no system call tracepoints", tracefs)
	}
	slices.Sort(rows)
	return write(dir, "traced.txt", linux, "events/syscalls/sys_enter_*/format in tracefs on x86-64.", rows)
}

var sysDefine = regexp.MustCompile(`(?s)\bSYSCALL_DEFINE(\d)\((\w+)\s*(?:,([^()]*(?:\([^()]*\)[^()]*)*))?\)\s*\n?\{`)

// refreshDefined writes the same for calls that traced.txt lacks, from the kernel's source.
func refreshDefined(dir, source, linux string) error {
	text, err := os.ReadFile(filepath.Join(dir, "traced.txt"))
	if err != nil {
		return err
	}
	traced, err := parse("traced.txt", text)
	if err != nil {
		return err
	}
	defined := map[string]string{}
	err = filepath.WalkDir(source, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".c" {
			return err
		}
		if rel, _ := filepath.Rel(source, path); strings.HasPrefix(rel, "arch/") && !strings.HasPrefix(rel, "arch/x86/") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range sysDefine.FindAllSubmatch(text, -1) {
			row := ""
			list := strings.Split(string(m[3]), ",")
			if string(m[1]) == "0" {
				list = nil
			}
			for i := 0; i+1 < len(list); i += 2 {
				typ := strings.ReplaceAll(list[i], "__user", "")
				typ = strings.Join(strings.Fields(strings.ReplaceAll(typ, "*", " * ")), " ")
				row += "\t" + typ + " " + strings.TrimSpace(list[i+1])
			}
			if _, ok := defined[string(m[2])]; !ok {
				defined[string(m[2])] = row
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	names, err := namesByEntry(dir)
	if err != nil {
		return err
	}
	var rows []string
	for call, entry := range names {
		row, ok := defined[entry]
		if ok && !slices.ContainsFunc(traced.rows, func(r []string) bool { return r[0] == call }) {
			rows = append(rows, call+row)
		}
	}
	slices.Sort(rows)
	return write(dir, "defined.txt", linux, "SYSCALL_DEFINE in the kernel's source, for calls that had no tracepoint.", rows)
}

// namesByEntry has every call in calls.txt, with its entry's name.
func namesByEntry(dir string) (map[string]string, error) {
	text, err := os.ReadFile(filepath.Join(dir, "calls.txt"))
	if err != nil {
		return nil, err
	}
	calls, err := parse("calls.txt", text)
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, row := range calls.rows {
		names[row[0]] = row[0]
	}
	maps.Copy(names, entries)
	return names, nil
}
