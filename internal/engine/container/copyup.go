package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"porthole/plan"
)

// oblige does what an engine's container needs while its child waits at a gate.
func (c *Container) oblige(ctx context.Context, g plan.GateID) error {
	switch g {
	case plan.GateCopyUp:
		up := c.plan.CopyUps[c.copied]
		c.copied++
		if err := c.copyUp(up.Dest, func() (int, error) { return c.proc.Fetch(up.Mount) }); err != nil {
			return fmt.Errorf("tmpcopyup: %s: %w", up.Dest, err)
		}
	case plan.GateNetwork:
		if err := moveNetDevices(c.oci.NetDevices, c.State.Pid); err != nil {
			return err
		}
		return c.runCreateHooks(ctx)
	}
	return nil
}

// copyUp fills a mount that is in no place yet with what it will cover. The files are looked at from the host's side,
// beneath the root filesystem whatever links there are.
func (c *Container) copyUp(dest string, mount func() (int, error)) error {
	root, err := unix.Open(c.oci.Bundle.Rootfs, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(root)
	from, err := unix.Openat2(root, strings.TrimPrefix(dest, "/"), &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(from)
	to, err := mount()
	if err != nil {
		return err
	}
	defer unix.Close(to)
	src, err := os.OpenRoot("/proc/self/fd/" + strconv.Itoa(from))
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenRoot("/proc/self/fd/" + strconv.Itoa(to))
	if err != nil {
		return err
	}
	defer dst.Close()
	return fs.WalkDir(src.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		return copyOne(src, dst, name, d)
	})
}

// copyOne copies a directory without what is in it, a file or a link. Other files are left out.
func copyOne(src, dst *os.Root, name string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	st := info.Sys().(*syscall.Stat_t)
	switch {
	case d.IsDir():
		err = dst.Mkdir(name, 0o700)
	case info.Mode()&fs.ModeSymlink != 0:
		var text string
		if text, err = src.Readlink(name); err == nil {
			err = dst.Symlink(text, name)
		}
	case info.Mode().IsRegular():
		err = copyFile(src, dst, name)
	default:
		return nil
	}
	if err == nil {
		err = dst.Lchown(name, int(st.Uid), int(st.Gid))
	}
	if err == nil && info.Mode()&fs.ModeSymlink == 0 {
		err = errors.Join(dst.Chmod(name, info.Mode()), dst.Chtimes(name, info.ModTime(), info.ModTime()))
	}
	return err
}

func copyFile(src, dst *os.Root, name string) error {
	in, err := src.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := dst.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
