package cgroup

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// write writes a value to one of a group's files, which takes it in one call or not at all.
func write(dir, name, value string) error {
	fd, err := unix.Open(dir+"/"+name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s/%s: %w", dir, name, err)
	}
	defer unix.Close(fd)
	return writeTo(fd, dir, name, value)
}

func writeTo(fd int, dir, name, value string) error {
	for {
		_, err := unix.Write(fd, []byte(value))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("%q to %s/%s: %w", value, dir, name, err)
		}
		return nil
	}
}

// read returns the whole of one of a group's files.
func read(dir, name string) (string, error) {
	fd, err := unix.Open(dir+"/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("%s/%s: %w", dir, name, err)
	}
	defer unix.Close(fd)
	var text []byte
	var buf [4096]byte
	for {
		n, err := unix.Read(fd, buf[:])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return "", fmt.Errorf("%s/%s: %w", dir, name, err)
		case n == 0:
			return string(text), nil
		default:
			text = append(text, buf[:n]...)
		}
	}
}

func exists(dir, name string) bool { return unix.Access(dir+"/"+name, unix.F_OK) == nil }

// readPIDs appends the processes of one group to pids.
func readPIDs(dir string, pids []int) ([]int, error) {
	text, err := read(dir, "cgroup.procs")
	if err != nil {
		return pids, err
	}
	for line := range strings.FieldsSeq(text) {
		if pid, err := strconv.Atoi(line); err == nil && pid > 0 { // 0: one that our pid namespace does not show
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// tree appends the processes of a group and of all beneath it. Groups may vanish meanwhile.
func tree(dir string, pids []int) ([]int, error) {
	pids, err := readPIDs(dir, pids)
	if err != nil {
		return pids, err
	}
	for _, name := range children(dir) {
		pids, _ = tree(dir+"/"+name, pids)
	}
	return pids, nil
}

// children names the groups directly beneath dir.
func children(dir string) []string {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil || st.Nlink == 2 { // cgroupfs counts a link for each (kernfs, fs/kernfs/dir.c)
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}
