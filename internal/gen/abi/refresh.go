package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// refresh writes the fact files anew, those for which it was given a source.
func refresh(dir, headers, source, linux, tracefs string) error {
	if linux == "" {
		return errors.New("-linux is missing: which release are these from?")
	}
	switch {
	case headers != "" && tracefs != "":
		return errors.New("-headers and -tracefs are of two kernels: give them one after the other, each with its -linux")
	case tracefs != "":
		return refreshTraced(dir, tracefs, linux)
	case source == "":
		return errors.New("-source is missing: -headers alone lacks what libcs define")
	}
	if err := refreshCalls(dir, headers, linux); err != nil {
		return err
	}
	if err := refreshErrnos(dir, headers, linux); err != nil {
		return err
	}
	if err := refreshConsts(dir, headers, source, linux); err != nil {
		return err
	}
	return refreshDefined(dir, source, linux)
}

// unistd are the headers that number the calls of each ABI, beneath usr/lib/linux/uapi.
var unistd = map[string][]string{
	"x86_64":  {"x86/asm/unistd_64.h"},
	"x86":     {"x86/asm/unistd_32.h"},
	"x32":     {"x86/asm/unistd_x32.h"},
	"aarch64": {"arm64/asm/unistd_64.h"},
	"arm":     {"arm/asm/unistd-eabi.h", "arm/asm/unistd.h"},
	"riscv64": {"riscv/asm/unistd_64.h"},
	"ppc64le": {"powerpc/asm/unistd_64.h"},
	"s390x":   {"s390/asm/unistd_64.h"},
}

// A definition is a number, a base and an offset, or (on arm) another name. The private
// calls of arm start at 0x0f0000 (__ARM_NR_BASE).
var definition = regexp.MustCompile(`(?m)^#define __(ARM_)?NR_([a-z_]\w*)\s+\(?(?:__(\w+)\s*\+\s*)?(?:(\d+)\)?|__NR_(\w+))\s*$`)

func refreshCalls(dir, headers, linux string) error {
	calls := map[string][]string{}
	for a, arch := range archs {
		for _, h := range unistd[arch] {
			text, err := os.ReadFile(filepath.Join(headers, "usr/lib/linux/uapi", h))
			if err != nil {
				return err
			}
			found := definition.FindAllSubmatch(text, -1)
			if len(found) == 0 {
				return fmt.Errorf("%s: no system calls", h)
			}
			for _, m := range found {
				name, nr := string(m[2]), string(m[4])
				switch {
				case len(m[5]) > 0:
					nr = "=" + calls[string(m[5])][a]
				case len(m[1]) > 0:
					n, err := strconv.ParseUint(nr, 0, 16)
					if err != nil {
						return fmt.Errorf("%s: %s: %w", h, name, err)
					}
					nr = fmt.Sprint(0x0f0000 + n)
				}
				if calls[name] == nil {
					calls[name] = slices.Repeat([]string{"-"}, len(archs))
				}
				calls[name][a] = nr
			}
		}
	}
	names := make([]string, 0, len(calls))
	for name := range calls {
		names = append(names, name)
	}
	slices.Sort(names)
	var b bytes.Buffer
	fmt.Fprintf(&b, "# linux %s: the asm/unistd*.h of each architecture, as linux-libc-dev has them.\n", linux)
	fmt.Fprint(&b, "# x32 without __X32_SYSCALL_BIT; -: not there; =: a second name of that number.\n#")
	for _, a := range archs {
		fmt.Fprintf(&b, " %s", a)
	}
	b.WriteByte('\n')
	for _, name := range names {
		fmt.Fprint(&b, name)
		for _, nr := range calls[name] {
			fmt.Fprint(&b, " ", nr)
		}
		b.WriteByte('\n')
	}
	return os.WriteFile(filepath.Join(dir, "calls.txt"), b.Bytes(), 0o644)
}
