package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"porthole/abi"
	"porthole/caps"
	"porthole/internal/engine"
	"porthole/internal/host/probe"
	"porthole/seccomp/profile"
	"porthole/seccomp/profile/format"
	"porthole/workload/dialect/document"
)

// completer offers words that begin as what has been typed.
type completer func(typed string) ([]string, cobra.ShellCompDirective)

// byFlag are the flags whose values shells complete, of whatever command.
var byFlag = map[string]completer{
	"cap-add": completeCap, "cap-drop": completeCap,
	"as": completeRelease, "profile": completeProfile, "base": completeProfile,
	"syscall": completeCall,
	"lang":    words(func() []string { return strings.Split(languages(), ", ") }),
	"arch":    words(archNames),
	"fail-on": words(func() []string { return []string{"note", "warning", "error", "never"} }),
}

// byCommand are the commands whose arguments shells complete.
var byCommand = map[string]completer{
	"profile show": completeProfile, "profile resolve": completeProfile, "profile compile": completeProfile, "profile disasm": completeProfile,
	"profile blocked": completeProfile, "profile diff": completeProfile, "profile audit": completeProfile,
	"profile decide": completeCall, "profile allow": completeCall,
}

// arguments are a command's that shells complete by what is on this machine.
type arguments struct {
	names completer
	first bool // the first alone: a command of the user's follows
}

// ofMachine are the commands whose arguments are containers and images that are here.
func (a *app) ofMachine() map[string]arguments {
	containers := func(all bool) func() []string { return func() []string { return a.containerNames(all) } }
	running, all := words(containers(false)), words(containers(true))
	images := words(func() []string { return append(a.imageNames(), "host") })
	either := words(func() []string { return append(append(a.imageNames(), "host"), a.containerNames(false)...) })
	return map[string]arguments{
		"exec": {running, true}, "kill": {running, false}, "stop": {running, false}, "wait": {running, false},
		"logs": {all, true}, "rm": {all, false}, "inspect": {all, false},
		"run": {images, true}, "plan": {images, true}, "why": {either, true}, "rmi": {words(a.imageNames), false},
	}
}

// quietly opens the engine for a shell that asks: what can't be told is not.
func (a *app) quietly() *engine.Engine {
	f, err := probe.Facts()
	if err != nil {
		return nil
	}
	e, err := a.engineOn(f, func(string) {})
	if err != nil {
		return nil
	}
	return e
}

func (a *app) containerNames(all bool) (names []string) {
	if e := a.quietly(); e != nil {
		list, _ := e.List(all)
		for _, c := range list {
			names = append(names, c.Name)
		}
	}
	return names
}

func (a *app) imageNames() (names []string) {
	if e := a.quietly(); e != nil {
		list, _ := e.Images()
		for _, i := range list {
			if i.Tag != "" && i.Tag != "<none>" {
				names = append(names, i.Repository+":"+i.Tag)
			}
		}
	}
	return names
}

// complete teaches every command what cobra's shell scripts ask for: names of capabilities, system calls, releases,
// forms and dialects, and of what is here. Starts that complete nothing do without.
func (a *app) complete(root *cobra.Command) {
	here := a.ofMachine()
	var walk func(cmd *cobra.Command, path string)
	walk = func(cmd *cobra.Command, path string) {
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			c := byFlag[f.Name]
			if strings.HasPrefix(path, "profile ") && (f.Name == "from" || f.Name == "to") {
				c = words(format.Names)
			}
			if path == "convert" && (f.Name == "from" || f.Name == "to") {
				c = words(document.Names)
			}
			if c == nil {
				return
			}
			// It fails for a flag that has one already, and for none that is there.
			_ = cmd.RegisterFlagCompletionFunc(f.Name, func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
				return c(typed)
			})
		})
		if c := byCommand[path]; c != nil {
			cmd.ValidArgsFunction = func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
				return c(typed)
			}
		}
		if c, ok := here[path]; ok {
			cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
				if c.first && len(args) > 0 {
					return nil, cobra.ShellCompDirectiveDefault
				}
				return c.names(typed)
			}
		}
		for _, sub := range cmd.Commands() {
			walk(sub, strings.TrimPrefix(path+" "+sub.Name(), " "))
		}
	}
	walk(root, "")
}

func starting(list []string, typed string) []string {
	return slices.DeleteFunc(list, func(s string) bool { return !strings.HasPrefix(s, typed) })
}

func words(list func() []string) completer {
	return func(typed string) ([]string, cobra.ShellCompDirective) {
		return starting(list(), typed), cobra.ShellCompDirectiveNoFileComp
	}
}

func archNames() (out []string) {
	for _, a := range abi.All {
		out = append(out, profile.DockerArch(a))
	}
	return out
}

// completeCap offers capabilities as Docker takes them, in the letters that were begun with, and ALL.
func completeCap(typed string) ([]string, cobra.ShellCompDirective) {
	upper := strings.ToUpper(typed)
	var out []string
	for _, c := range append(caps.Set(caps.All).Names(), "CAP_ALL") {
		name, short := c, strings.TrimPrefix(c, "CAP_")
		if !strings.HasPrefix(upper, "CAP_") || short == "ALL" {
			name = short
		}
		if !strings.HasPrefix(name, upper) {
			continue
		}
		if typed != upper && typed == strings.ToLower(typed) {
			name = strings.ToLower(name)
		}
		out = append(out, name)
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completeRelease offers engines, and the versions of one that is named.
func completeRelease(typed string) ([]string, cobra.ShellCompDirective) {
	var out []string
	for _, r := range profile.Releases() {
		if strings.Contains(typed, ":") {
			out = append(out, r.String())
		} else if !slices.Contains(out, r.Engine) {
			out = append(out, r.Engine)
		}
	}
	return starting(out, typed), cobra.ShellCompDirectiveNoFileComp
}

// completeProfile offers releases and files.
func completeProfile(typed string) ([]string, cobra.ShellCompDirective) {
	out, _ := completeRelease(typed)
	return out, cobra.ShellCompDirectiveDefault
}

// completeCall offers system calls; their arguments may follow.
func completeCall(typed string) ([]string, cobra.ShellCompDirective) {
	var out []string
	for _, a := range abi.All {
		for _, name := range a.Calls() {
			if strings.HasPrefix(name, typed) && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
