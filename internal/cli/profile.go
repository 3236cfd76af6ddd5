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
	"porthole/seccomp"
	"porthole/seccomp/filter"
	"porthole/seccomp/profile"
	"porthole/spec"
)

func (a *app) profile() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "profile",
		Short: "look into seccomp profiles: show, resolve, decide, compile, disasm, allow, blocked",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
	}
	cmd.AddCommand(a.profileShow(), a.profileResolve(), a.profileDecide(), a.profileCompile(), a.profileDisasm(), a.profileAllow(), a.profileBlocked())
	return cmd
}

// conditions are the flags that decide a profile's conditions.
type conditions struct {
	capAdd, capDrop []string
	kernel, arch    string
}

func (c *conditions) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&c.capAdd, "cap-add", nil, "a capability that the container is granted")
	f.StringArrayVar(&c.capDrop, "cap-drop", nil, "one that is taken away")
	f.StringVar(&c.kernel, "kernel", "", "kernel version (default: this machine's)")
	f.StringVar(&c.arch, "arch", "", "architecture (default: this machine's)")
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

// openProfile reads the profile that a user named: a built-in one ("docker:18.09"), "-", or a file.
func openProfile(args []string) (*profile.Profile, error) {
	name := "docker"
	if len(args) > 0 {
		name = args[0]
	}
	if name != "-" {
		if p, err := profile.Builtin(name); err == nil {
			return p, nil
		} else if _, statErr := os.Stat(name); statErr != nil {
			if strings.ContainsAny(name, "/.") && !strings.Contains(name, ":") {
				return nil, fmt.Errorf("%s: no such file", name)
			}
			return nil, err
		}
	}
	data, err := readFile(name)
	if err != nil {
		return nil, err
	}
	p, warnings, err := profile.Parse(name, data)
	warnProfile(warnings)
	return p, err
}

func warnProfile(ws []profile.Warning) {
	for _, w := range ws {
		warn(w.String())
	}
}

// resolved opens a profile and decides its conditions.
func resolved(args []string, c *conditions) (*profile.Profile, profile.Conditions, seccomp.Policy, error) {
	p, err := openProfile(args)
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

const profileUse = " [PROFILE|FILE|-]"

func (a *app) profileShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show" + profileUse,
		Short: "print a profile as Docker's JSON (default: docker)",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := openProfile(args)
			if err != nil {
				return err
			}
			return p.Write(os.Stdout, profile.Docker)
		},
	}
}

func (a *app) profileResolve() *cobra.Command {
	var c conditions
	cmd := &cobra.Command{
		Use:   "resolve" + profileUse,
		Short: "print what a profile comes to under these conditions, as OCI's linux.seccomp",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, cond, _, err := resolved(args, &c)
			if err != nil {
				return err
			}
			return printJSON(p.OCI(cond))
		},
	}
	c.bind(cmd)
	return cmd
}

func (a *app) profileDecide() *cobra.Command {
	var c conditions
	var from string
	cmd := &cobra.Command{
		Use:   "decide [flags] CALL…",
		Short: "say what a profile does with calls such as 'personality(0x40000)', and by which rule",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := openProfile([]string{from})
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
	cmd.Flags().StringVar(&from, "profile", "docker", "a built-in profile, a file, or -")
	cmd.Flags().StringVar(&from, "as", "docker", "the same")
	return cmd
}

func (a *app) profileCompile() *cobra.Command {
	var c conditions
	var out string
	cmd := &cobra.Command{
		Use:   "compile [flags]" + profileUse,
		Short: "write the filter as the kernel takes it: an array of struct sock_filter",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, _, policy, err := resolved(args, &c)
			if err != nil {
				return err
			}
			prog, err := filter.Compile(policy)
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
	cmd.Flags().StringVarP(&out, "output", "o", "", "into this file")
	return cmd
}

func (a *app) profileDisasm() *cobra.Command {
	var c conditions
	cmd := &cobra.Command{
		Use:   "disasm [flags]" + profileUse + "|FILE.bpf",
		Short: "print the filter that a profile compiles to, or one compiled before, to read",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && strings.HasSuffix(args[0], ".bpf") {
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
			_, _, policy, err := resolved(args, &c)
			if err != nil {
				return err
			}
			prog, err := filter.Compile(policy)
			if err != nil {
				return err
			}
			fmt.Print(prog.Disassemble())
			return nil
		},
	}
	c.bind(cmd)
	return cmd
}
