package cli

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"porthole/internal/cli/fast"
	"porthole/seccomp/compare"
)

func (a *app) profileDiff() *cobra.Command {
	var c conditions
	var form, html string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "diff [flags] A B",
		Short: "say what two profiles do differently: which calls, with which arguments, under which capabilities and kernels",
		Long: `Compare two seccomp profiles by what they do. A and B are documents, releases (docker:18.09, podman, containerd:1.6)
or processes (pid:N). All capabilities and kernels that the profiles ask about are gone through; with --cap-add, --cap-drop
or --kernel, and for a process, one set of conditions alone. Exit code 0: no call is answered otherwise; 1: some is.`,
		Args: wants(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if asJSON && html == "-" {
				return errors.New("--json and --html both want standard output")
			}
			at, err := a.given(&c, args...)
			if err != nil {
				return err
			}
			var sides [2]compare.Side
			for i := range sides {
				if sides[i], err = a.openSide(args[i], form); err != nil {
					return err
				}
			}
			o := compare.Options{Machine: at.Arch}
			f := cmd.Flags()
			if f.Changed("cap-add") || f.Changed("cap-drop") || f.Changed("kernel") || sides[0].Profile == nil || sides[1].Profile == nil {
				o.Only = &at
			}
			if html != "" {
				o.Show = at
			}
			r, err := compare.Diff(sides[0], sides[1], o)
			if err != nil {
				return err
			}
			switch {
			case html == "-":
				_, err = os.Stdout.WriteString(r.HTML())
			case html != "":
				err = os.WriteFile(html, []byte(r.HTML()), 0o644)
			}
			if err == nil && asJSON {
				_, err = os.Stdout.Write(r.JSON())
			} else if err == nil && html != "-" {
				_, err = os.Stdout.WriteString(r.Text())
			}
			if err == nil && !r.Same() {
				return fast.ExitError(1)
			}
			return err
		},
	}
	c.bind(cmd)
	bindForm(cmd, &form)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, for programs")
	cmd.Flags().StringVar(&html, "html", "", "write a page of all calls, coloured by what becomes of them, into this `file` (-: standard output)")
	return cmd
}
