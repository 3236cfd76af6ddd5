package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"porthole/caps"
	"porthole/internal/host/probe"
)

func (a *app) caps() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "caps [flags] [PID]",
		Short: "say in words which capabilities a process has, and in which user namespace",
		Args:  wants(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pid := os.Getppid()
			if len(args) == 1 {
				n, err := strconv.Atoi(args[0])
				if err != nil || n <= 0 {
					return fmt.Errorf("%q is not a process ID", args[0])
				}
				pid = n
			}
			p, err := probe.Process(pid)
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("no such process: %d", pid)
			}
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(p)
			}
			fmt.Print(capsText(p))
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, for programs")
	return cmd
}

// capsText is what `porthole caps` says of one process.
func capsText(p probe.ProcessInfo) string {
	var b strings.Builder
	s := p.Caps
	fmt.Fprintf(&b, "%d (%s): %s\n", p.Pid, p.Name, s.Text())
	where := "the machine's first user namespace: what it may, it may do to the machine"
	switch {
	case p.UserNS.Initial:
	case p.UserNSName == "":
		where = "a user namespace that is not ours to know: the process may do more than we"
	default:
		where = "a user namespace of its own (" + p.UserNSName + "): what it may, it may do to things that belong to that namespace only"
	}
	fmt.Fprintf(&b, "  user         %d (effective %d) in %s\n", s.UID, s.EUID, where)
	row := func(name string, set caps.Set, meaning string) {
		fmt.Fprintf(&b, "  %-12s %016x  %s\n  %12s %s\n", name, uint64(set), meaning, "", describeSet(set, s.Bounding))
	}
	row("effective", s.Effective, "what the kernel checks")
	row("permitted", s.Permitted, "what it may make effective")
	row("inheritable", s.Inheritable, "what an execve may hand on where the file says so")
	row("bounding", s.Bounding, "what an execve can give at most")
	row("ambient", s.Ambient, "what an execve hands on to a program without file capabilities")
	fmt.Fprintf(&b, "  no_new_privs %v\n", p.Caps.NoNewPrivs)
	fmt.Fprintf(&b, "  seccomp      %s\n", p.SeccompText())
	return b.String()
}

func describeSet(set, bounding caps.Set) string {
	switch {
	case set == 0:
		return "none"
	case set == caps.All:
		return "all " + strconv.Itoa(set.Len())
	case set.Len() > caps.All.Len()-8:
		return "all but " + caps.All.Without(set).String()
	}
	return set.String()
}
