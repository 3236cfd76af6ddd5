package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"porthole/abi"
	"porthole/facts"
	"porthole/internal/cli/fast"
	"porthole/internal/host/probe"
	"porthole/internal/host/trace"
	"porthole/seccomp"
	"porthole/seccomp/filter"
	"porthole/seccomp/profile"
	"porthole/seccomp/profile/format"
	"porthole/spec"
)

func (a *app) profile() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "profile",
		Short: "look into seccomp profiles: show, resolve, decide, compile, disasm, diff, audit, allow, blocked",
	}
	holder(cmd)
	cmd.AddCommand(a.profileShow(), a.profileResolve(), a.profileDecide(), a.profileCompile(), a.profileDisasm(), a.profileDiff(), a.profileAudit(),
		a.profileAllow(), a.profileBlocked())
	return cmd
}

// conditions are the flags that decide a profile's conditions.
type conditions struct {
	capAdd, capDrop []string
	kernel, arch    string
}

func (c *conditions) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&c.capAdd, "cap-add", nil, "a `capability` that the container is granted")
	f.StringArrayVar(&c.capDrop, "cap-drop", nil, "a `capability` that is taken away")
	f.StringVar(&c.kernel, "kernel", "", "`version` of the kernel (default: this machine's)")
	f.StringVar(&c.arch, "arch", "", "`architecture` (default: this machine's)")
}

func (c *conditions) resolve() (profile.Conditions, error) {
	var out profile.Conditions
	set, err := spec.Capabilities("docker", c.capAdd, c.capDrop)
	if err != nil {
		return out, err
	}
	out.Caps = set
	f, err := probe.Facts()
	if err != nil {
		return out, err
	}
	out.Arch, out.Kernel = f.Arch, f.Kernel
	if c.kernel != "" {
		if out.Kernel, err = facts.ParseVersion(c.kernel); err != nil {
			return out, err
		}
	}
	if c.arch != "" {
		if out.Arch, err = abi.ParseArch(c.arch); err != nil {
			return out, err
		}
	}
	return out, nil
}

func warnProfile(ws []profile.Warning) {
	for _, w := range ws {
		warn(w.String())
	}
}

// resolved opens a profile and decides its conditions.
func (a *app) resolved(args []string, form string, c *conditions) (*profile.Profile, profile.Conditions, seccomp.Policy, error) {
	p, err := a.openProfile(args, form)
	if err != nil {
		return nil, profile.Conditions{}, seccomp.Policy{}, err
	}
	cond, err := c.resolve()
	if err != nil {
		return nil, cond, seccomp.Policy{}, err
	}
	policy, warnings := p.Resolve(cond)
	warnProfile(warnings)
	return p, cond, policy, nil
}

// compiled opens a profile, and compiles what it comes to.
func (a *app) compiled(args []string, form string, c *conditions) (filter.Program, error) {
	_, _, policy, err := a.resolved(args, form, c)
	if err != nil {
		return nil, err
	}
	return filter.Compile(policy)
}

const profileUse = " [PROFILE|FILE|pid:N|-]"

func (a *app) profileShow() *cobra.Command {
	var from, to string
	cmd := &cobra.Command{
		Use:   "show [flags]" + profileUse,
		Short: "print a profile as Docker's JSON, or in another form (default: docker)",
		Args:  wants(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.openProfile(args, from)
			if err != nil {
				return err
			}
			return writeProfile(os.Stdout, p, to)
		},
	}
	bindForm(cmd, &from)
	cmd.Flags().StringVar(&to, "to", "docker", "the `form` to print: "+strings.Join(format.Names(), ", "))
	return cmd
}

func (a *app) profileResolve() *cobra.Command {
	var c conditions
	var from, to string
	cmd := &cobra.Command{
		Use:   "resolve [flags]" + profileUse,
		Short: "print what a profile comes to under these conditions, as OCI's linux.seccomp",
		Args:  wants(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, cond, _, err := a.resolved(args, from, &c)
			if err != nil {
				return err
			}
			if to == "" {
				return printJSON(p.OCI(cond))
			}
			q, err := profile.FromOCI(p.OCI(cond))
			if err != nil {
				return err
			}
			q.Name = p.Name
			return writeProfile(os.Stdout, q, to)
		},
	}
	c.bind(cmd)
	bindForm(cmd, &from)
	cmd.Flags().StringVar(&to, "to", "", "print it in this `form` instead: "+strings.Join(format.Names(), ", "))
	return cmd
}

func (a *app) profileDecide() *cobra.Command {
	var c conditions
	var from string
	cmd := &cobra.Command{
		Use:   "decide [flags] CALL…",
		Short: "say what a profile does with calls such as 'personality(0x40000)', and by which rule",
		Args:  wants(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.openProfile([]string{from}, "")
			if err != nil {
				return err
			}
			cond, err := c.resolve()
			if err != nil {
				return err
			}
			for _, text := range args {
				call, err := profile.ParseCall(text)
				if err != nil {
					return err
				}
				x, err := p.Explain(call, cond)
				if err != nil {
					return err
				}
				fmt.Print(x)
			}
			return nil
		},
	}
	c.bind(cmd)
	cmd.Flags().StringVar(&from, "profile", "docker", "the `profile` to ask: a built-in one, a file, or -")
	cmd.Flags().StringVar(&from, "as", "docker", "the same as --profile")
	cmd.MarkFlagsMutuallyExclusive("profile", "as")
	return cmd
}

func (a *app) profileCompile() *cobra.Command {
	var c conditions
	var out, form string
	cmd := &cobra.Command{
		Use:   "compile [flags]" + profileUse,
		Short: "write the filter as the kernel takes it: an array of struct sock_filter",
		Args:  wants(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			prog, err := a.compiled(args, form, &c)
			if err != nil {
				return err
			}
			if out == "" || out == "-" {
				if out == "" && fast.IsTerminal(os.Stdout) {
					return errors.New("a filter is binary: name a file with -o, or send standard output somewhere (`porthole profile disasm` prints it to read)")
				}
				_, err = os.Stdout.Write(prog.Bytes())
				return err
			}
			if err := os.WriteFile(out, prog.Bytes(), 0o644); err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "%s: %d instructions\n", out, len(prog))
			return nil
		},
	}
	c.bind(cmd)
	bindForm(cmd, &form)
	cmd.Flags().StringVarP(&out, "output", "o", "", "write it into this `file`")
	return cmd
}

func (a *app) profileDisasm() *cobra.Command {
	var c conditions
	var form string
	cmd := &cobra.Command{
		Use:   "disasm [flags]" + profileUse + "|FILE.bpf",
		Short: "print the filter that a profile compiles to, or one compiled before, to read",
		Args:  wants(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pid, isProcess := pidOf(args)
			isProgram := len(args) == 1 && strings.HasSuffix(args[0], ".bpf")
			if isProcess || isProgram {
				if err := unused(cmd.Flags(), args[0]+" is a program already", "from", "cap-add", "cap-drop", "kernel", "arch"); err != nil {
					return err
				}
			}
			if isProgram {
				data, err := readFile(args[0])
				if err != nil {
					return err
				}
				prog, err := filter.Read(data)
				if err != nil {
					return fmt.Errorf("%s: %w", args[0], err)
				}
				fmt.Print(prog.Disassemble())
				return nil
			}
			if isProcess {
				progs, err := trace.Filters(pid, a.traceCache())
				if err != nil {
					return err
				}
				for i, p := range progs {
					if len(progs) > 1 {
						fmt.Printf("; filter %d of %d, the one installed last first\n", i+1, len(progs))
					}
					fmt.Print(p.Disassemble())
				}
				return nil
			}
			prog, err := a.compiled(args, form, &c)
			if err != nil {
				return err
			}
			fmt.Print(prog.Disassemble())
			return nil
		},
	}
	c.bind(cmd)
	bindForm(cmd, &form)
	return cmd
}
