package cli

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"porthole/seccomp/profile"
	"porthole/why"
)

func (a *app) profileAllow() *cobra.Command {
	var base, out string
	cmd := &cobra.Command{
		Use:   "allow [flags] RULE…",
		Short: "write a profile that lets some calls through: 'personality arg0==0x40000', 'unshare NEWUSER', ptrace",
		Args:  wants(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.openProfile([]string{base}, "")
			if err != nil {
				return err
			}
			q, err := profile.AllowRule(p, args...)
			if err != nil {
				return err
			}
			if out == "" || out == "-" {
				return q.Write(os.Stdout, profile.Docker)
			}
			f, err := os.Create(out)
			if err != nil {
				return err
			}
			return errors.Join(q.Write(f, profile.Docker), f.Close())
		},
	}
	cmd.Flags().StringVar(&base, "base", "docker", "the `profile` to add to: a built-in one, a file, or -")
	cmd.Flags().StringVar(&base, "as", "docker", "the same as --base")
	cmd.MarkFlagsMutuallyExclusive("base", "as")
	cmd.Flags().StringVarP(&out, "output", "o", "", "write it into this `file` (default: standard output)")
	return cmd
}

func (a *app) profileBlocked() *cobra.Command {
	var c conditions
	var q answering
	var from, form string
	cmd := &cobra.Command{
		Use:   "blocked [flags]" + profileUse,
		Short: "list the calls that a profile refuses or filters: what they could do, what opens them, who else says no",
		Args:  wants(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := q.check(); err != nil {
				return err
			}
			if len(args) == 0 {
				args = []string{from}
			} else if err := unused(cmd.Flags(), "the profile is "+args[0], "as"); err != nil {
				return err
			}
			p, cond, _, err := a.resolved(args, form, &c)
			if err != nil {
				return err
			}
			list := why.Blocked(p, cond)
			return q.write(func(l why.Lang) string { return why.ExplainBlocked(p, list, l) },
				func(l why.Lang) []byte { return why.BlockedJSON(list, l) }, os.Stdout)
		},
	}
	c.bind(cmd)
	bindForm(cmd, &form)
	q.bindOutput(cmd.Flags())
	cmd.Flags().StringVar(&from, "as", "docker", "whose default profile: a `release`")
	return cmd
}
