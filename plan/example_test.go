package plan_test

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"

	"porthole/abi"
	"porthole/caps"
	"porthole/facts"
	"porthole/plan"
)

// A shell in a directory, with its own mounts and processes and one capability.
func ExampleCompile() {
	one := []string{"CAP_CHOWN"}
	spec := &specs.Spec{
		Root: &specs.Root{Path: "/srv/alpine"},
		Process: &specs.Process{
			Args: []string{"/bin/sh"}, Cwd: "/",
			Capabilities: &specs.LinuxCapabilities{Bounding: one, Permitted: one, Effective: one},
		},
		Mounts: []specs.Mount{{Destination: "/proc", Type: "proc", Source: "proc"}, {Destination: "/dev", Type: "bind", Source: "/dev", Options: []string{"rbind"}}},
		Linux:  &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: specs.MountNamespace}, {Type: specs.PIDNamespace}}},
	}
	machine := facts.Facts{
		Kernel: facts.Version{Major: 6, Minor: 12}, Arch: abi.X86_64, UserNS: facts.UserNS{Initial: true},
		Caps: caps.State{Permitted: caps.All, Effective: caps.All, Bounding: caps.Of(caps.CAP_CHOWN, caps.CAP_KILL)},
		Features: facts.Features{
			NewMountAPI: true, MountSetattr: true, Openat2: true, CloseRangeCloexec: true,
		},
	}
	p, err := plan.Compile(spec, plan.Options{NoKeyring: true}, machine)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(p)
	// Output:
	// child of clone3(CLONE_NEWNS|CLONE_NEWPID)
	//    1  setsid()                                                        # a session of its own: no terminal of ours signals it
	//    2  umask(0)                                                        # modes are meant as written
	//    3  mount(NULL, "/", NULL, MS_REC|MS_PRIVATE, NULL)                 # what is mounted from here on stays in this namespace
	//    4  open_tree(AT_FDCWD, "/srv/alpine", CLONE|AT_RECURSIVE|CLOEXEC) → $root  # the root filesystem
	//    5  move_mount($root, "", AT_FDCWD, "/srv/alpine", F_EMPTY_PATH)    # pivot_root wants a mount point
	//    6  fsopen("proc", CLOEXEC) → $fs                                   # a proc for /proc
	//    7  fsconfig($fs, SET_STRING, "source", "proc", 0)                  # its name in /proc/mounts
	//    8  fsconfig($fs, CMD_CREATE, NULL, NULL, 0)                        # the filesystem itself
	//    9  fsmount($fs, CLOEXEC, 0) → $proc                                # a mount of it
	//   10  openat2($root, "proc", {O_CLOEXEC|O_PATH, NO_MAGICLINKS|NO_SYMLINKS|IN_ROOT}, 24) → $at-proc [then 13, ENOENT]  # the place for /proc
	//   11  mkdirat($root, "proc", 0755) [EEXIST]                           # the place for it
	//   12  openat2($root, "proc", {O_CLOEXEC|O_PATH, NO_MAGICLINKS|NO_SYMLINKS|IN_ROOT}, 24) → $at-proc  # the place for /proc
	//   13  move_mount($proc, "", $at-proc, "", F_EMPTY_PATH|T_EMPTY_PATH)  # proc at /proc
	//   14  open_tree(AT_FDCWD, "/dev", CLONE|AT_RECURSIVE|CLOEXEC) → $tree  # what is to be seen at /dev
	//   15  openat2($root, "dev", {O_CLOEXEC|O_PATH, NO_MAGICLINKS|NO_SYMLINKS|IN_ROOT}, 24) → $at-dev [then 21, ENOENT]  # the place for /dev
	//   16  openat($tree, ".", O_DIRECTORY|O_CLOEXEC|O_PATH) [ENOTDIR: 18]  # is it a directory?
	//   17  mkdirat($root, "dev", 0755) [then 19, EEXIST: 19]               # the place for it
	//   18  openat($root, "dev", O_RDONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC, 0755) [EEXIST]  # the place for it
	//   19  openat2($root, "dev", {O_CLOEXEC|O_PATH, NO_MAGICLINKS|NO_SYMLINKS|IN_ROOT}, 24) → $at-dev [then 21, ENOENT]  # the place for /dev
	//   20  openat($root, "dev", O_NOFOLLOW|O_CLOEXEC|O_PATH) → $at-dev     # a link that leads nowhere is itself mounted over
	//   21  move_mount($tree, "", $at-dev, "", F_EMPTY_PATH|T_EMPTY_PATH)   # bind /dev
	//   22  fchdir($root)                                                   # into the new root
	//   23  pivot_root(".", ".")                                            # it becomes /, with the old root stacked upon it
	//   24  umount2(".", MNT_DETACH)                                        # and the host's files are gone
	//   25  umask(022)                                                      # what its process starts with
	//   26  close_range(3, 0xffffffff, CLOEXEC)                             # nothing of ours stays open after execve
	//   27  dup3($stdin, 0, 0) [EINVAL]                                     # stdin
	//   28  dup3($stdout, 1, 0) [EINVAL]                                    # stdout
	//   29  dup3($stderr, 2, 0) [EINVAL]                                    # stderr
	//   30  fchdir($root)                                                   # the working directory, opened beneath the root: it cannot be outside
	//   31  prctl(PR_CAPBSET_DROP, CAP_KILL, 0, 0, 0)                       # never again CAP_KILL
	//   32  setgroups(0, NULL)                                              # none of our further groups
	//   33  setresgid(0, 0, 0)                                              # its group
	//   34  setresuid(0, 0, 0)                                              # its user
	//   35  capset({v3}, {effective 0x1, permitted 0x1, inheritable 0x0})   # the capabilities that it keeps
	//   36  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)        # none pass execve by themselves
	//   37  write($arrive, 1, 8)                                            # tell the parent: everything is set up
	//   38  read($pass, buffer, 1)                                          # wait until it is to start; end if the parent is gone
	// ---- gate 3, start: everything is set up
	//   39  execve("/bin/sh", ["/bin/sh"], env[0])                          # /bin/sh
}
