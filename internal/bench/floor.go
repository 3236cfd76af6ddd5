package main

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"porthole/internal/host/launch"
	"porthole/plan"
)

// floor runs true in rootfs with nothing but namespaces and the mounts that every container has: no
// spec, no control group, no filter, nothing on disk. What a container takes beyond it is up to its engine.
func floor(rootfs string) error {
	p := &plan.Plan{
		Clone: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP,
		Child: []plan.Step{
			mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			mount(rootfs, rootfs, "", unix.MS_BIND|unix.MS_REC, ""),
			{Call: "chdir", Args: []plan.Arg{text(rootfs)}},
			mount("proc", "proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""),
			mount("tmpfs", "dev", "tmpfs", unix.MS_NOSUID|unix.MS_STRICTATIME, "mode=755,size=65536k"),
			{Call: "mkdirat", Args: []plan.Arg{number(unix.AT_FDCWD), text("dev/pts"), number(0o755)}},
			{Call: "mkdirat", Args: []plan.Arg{number(unix.AT_FDCWD), text("dev/shm"), number(0o755)}},
			{Call: "mkdirat", Args: []plan.Arg{number(unix.AT_FDCWD), text("dev/mqueue"), number(0o755)}},
			mount("devpts", "dev/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"),
			mount("shm", "dev/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=1777,size=65536k"),
			mount("mqueue", "dev/mqueue", "mqueue", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""),
			mount("sysfs", "sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC|unix.MS_RDONLY, ""),
			{Call: "pivot_root", Args: []plan.Arg{text("."), text(".")}},
			{Call: "umount2", Args: []plan.Arg{text("."), number(unix.MNT_DETACH)}},
			{Call: "execve", Args: []plan.Arg{text("/bin/true"), argv("true"), argv()}},
		},
	}
	child, err := launch.Start(p, launch.Options{})
	if err != nil {
		return err
	}
	defer child.Close()
	if err := child.Executed(context.Background()); err != nil {
		return err
	}
	status, _, err := child.Wait()
	if err == nil && status != 0 {
		err = fmt.Errorf("true: %#x", status)
	}
	return err
}

func mount(source, target, kind string, flags int, data string) plan.Step {
	return plan.Step{Call: "mount", Args: []plan.Arg{text(source), text(target), text(kind), number(flags), text(data)}}
}

func number(n int) plan.Arg { return plan.Arg{Num: uint64(n)} }

func text(s string) plan.Arg { return plan.Arg{Kind: plan.ArgMem, Mem: cstring(s)} }

func cstring(s string) *plan.Mem { return &plan.Mem{Bytes: append([]byte(s), 0)} }

// argv is a list of strings as execve takes it.
func argv(list ...string) plan.Arg {
	m := &plan.Mem{Bytes: make([]byte, 8*len(list)+8)}
	for i, s := range list {
		m.Ptrs = append(m.Ptrs, plan.Ptr{Off: 8 * i, To: cstring(s)})
	}
	return plan.Arg{Kind: plan.ArgMem, Mem: m}
}
