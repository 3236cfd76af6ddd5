package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// oci compares porthole-oci with other OCI runtimes, all on the same bundles.
var oci = []func(*bench) error{(*bench).ociStarts, (*bench).ociInside, (*bench).ociResident}

// ours and the others, crun among them or not.
func (b *bench) ociRuntimes() []another {
	return append([]another{{"porthole-oci", b.porthole}}, runtimes()...)
}

func (b *bench) ociContest(title string, bundle bundle, commands func(id string) [][]string) ([]*contestant, error) {
	var all []*contestant
	for _, r := range b.ociRuntimes() {
		c := &contestant{name: r.name + " " + title, dir: bundle.dir, apart: true}
		for i, args := range commands("bench-" + r.name) {
			if args = r.command(b.dir, args...); i == 0 {
				c.args = args
			} else {
				c.more = append(c.more, args)
			}
		}
		all = append(all, c)
	}
	if err := contest(all, b.rounds); err != nil {
		return nil, err
	}
	table(title, all)
	return all, nil
}

// ociStarts is a container from nothing to nothing: in three commands as engines do it, and in one.
func (b *bench) ociStarts() error {
	bundle, err := newBundle(b.dir+"/true", "true")
	if err != nil {
		return err
	}
	c, err := b.ociContest("create, start, delete", bundle, func(id string) [][]string {
		return [][]string{{"create", id}, {"start", id}, {"delete", "--force", id}}
	})
	if err != nil {
		return err
	}
	judge("peak memory of create, MiB", float64(c[0].peak)/1024, 10)
	b.judgeCrun("CPU of create, start and delete", c, 0.3)
	if c, err = b.ociContest("run", bundle, func(id string) [][]string { return [][]string{{"run", id}} }); err != nil {
		return err
	}
	b.judgeCrun("CPU of run", c, 0.3)
	return nil
}

func (b *bench) judgeCrun(what string, c []*contestant, most float64) {
	for _, other := range c[1:] {
		if other.runtime("crun") {
			judge(what+" against crun's, median of pairs", c[0].against(other), most)
		}
	}
}

// ociInside is what engines do with a container that runs.
func (b *bench) ociInside() error {
	bundle, err := newBundle(b.dir+"/sleep", "sleep", "1000")
	if err != nil {
		return err
	}
	for _, r := range b.ociRuntimes() {
		id := "bench-" + r.name
		run := &contestant{dir: bundle.dir, apart: true, args: r.command(b.dir, "run", "-d", id)}
		if err := run.once(); err != nil {
			return err
		}
		defer apart(func() error { return command(r.program, r.command(b.dir, "delete", "-f", id)[1:]...).Run() })
		// All would be in the same group.
		if bundle, err = newBundle(b.dir+"/sleep-after-"+r.name, "sleep", "1000"); err != nil {
			return err
		}
	}
	c, err := b.ociContest("exec", bundle, func(id string) [][]string { return [][]string{{"exec", id, "true"}} })
	if err != nil {
		return err
	}
	b.judgeCrun("CPU of exec", c, 2.0/3)
	_, err = b.ociContest("state", bundle, func(id string) [][]string { return [][]string{{"state", id}} })
	return err
}

// ociResident is what of ours stays in memory while a container waits for its start.
func (b *bench) ociResident() error {
	bundle, err := newBundle(b.dir+"/resident", "true")
	if err != nil {
		return err
	}
	pidFile := filepath.Join(b.dir, "pid")
	ours := b.ociRuntimes()[0]
	create := &contestant{dir: bundle.dir, apart: true, args: ours.command(b.dir, "create", "--pid-file", pidFile, "resident")}
	if err := create.once(); err != nil {
		return err
	}
	defer apart(func() error {
		return command(ours.program, ours.command(b.dir, "delete", "-f", "resident")[1:]...).Run()
	})
	pid, err := os.ReadFile(pidFile)
	if err != nil {
		return err
	}
	status, err := os.ReadFile("/proc/" + string(pid) + "/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(status)) {
		if words := strings.Fields(line); words[0] == "VmRSS:" {
			kib, err := strconv.ParseFloat(words[1], 64)
			if err != nil {
				return err
			}
			fmt.Printf("\nA container that waits for its start keeps %.0f KiB resident; one that runs keeps nothing of ours\n", kib)
			judge("resident memory of a created container, MiB", kib/1024, 1)
		}
	}
	return nil
}
