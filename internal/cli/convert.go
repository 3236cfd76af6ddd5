package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"porthole/workload"
	"porthole/workload/dialect"
	"porthole/workload/dialect/document"
)

// converted is what `convert --json` prints.
type converted struct {
	From   string `json:"from"`
	To     string `json:"to"`
	Text   string `json:"text"`
	Losses []lost `json:"losses"`
}

type lost struct {
	In string `json:"in"` // the dialect that has no word for it: "kube"; or "workload", where porthole has none
	document.Loss
}

func (a *app) convert() *cobra.Command {
	var from, to, seccomp string
	var strict, asJSON bool
	var opt document.Options
	cmd := &cobra.Command{
		Use:   "convert --to DIALECT [flags] [FILE|-]",
		Short: "say a workload in another tongue: " + strings.Join(document.Names(), ", "),
		Long: `Reads a workload in one dialect and writes it in another. What is lost on the way is named on standard
error, each with its member's path. docs/dialects has what each dialect keeps.`,
		Example: `  porthole convert --to docker pod.yaml
  porthole convert --to kube --strict compose.yaml --container web
  echo 'docker run --cap-add SYS_PTRACE ubuntu strace true' | porthole convert --to systemd`,
		Args: wants(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if to == "" {
				return fmt.Errorf("--to is wanted: one of %s", strings.Join(document.Names(), ", "))
			}
			out, err := document.Find(to)
			if err != nil {
				return fmt.Errorf("--to: %w", err)
			}
			name := "-"
			if len(args) > 0 {
				name = args[0]
			}
			opt.NamesOnly = out.Name != "oci" && seccomp == "" // these hold the document itself
			opt.Outside = outside()
			in, w, losses, err := readDocument(name, from, opt)
			if err != nil {
				return err
			}
			if seccomp != "" && w.Security.SeccompDoc == nil {
				return errors.New("--seccomp: the workload has no seccomp document of its own")
			}
			opt.File = seccomp
			text, more, err := out.Write(w, opt)
			if err != nil {
				return fmt.Errorf("%s can't be said: %w", name, err)
			}
			if seccomp != "" {
				if err := os.WriteFile(seccomp, w.Security.SeccompDoc, 0o644); err != nil {
					return err
				}
			}
			result := converted{From: in.Name, To: out.Name, Text: string(text), Losses: []lost{}}
			for _, l := range losses {
				result.Losses = append(result.Losses, lost{"workload", l})
			}
			for _, l := range more {
				result.Losses = append(result.Losses, lost{out.Name, l})
			}
			if asJSON {
				if err := printJSON(result); err != nil {
					return err
				}
			} else {
				fmt.Print(result.Text)
				for _, l := range losses {
					fmt.Fprintf(os.Stderr, "porthole: lost: %s\n", place(name, l))
				}
				for _, l := range more {
					fmt.Fprintf(os.Stderr, "porthole: lost: %s\n", l)
				}
			}
			if strict && len(result.Losses) > 0 {
				return exited(1)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&from, "from", "", "the `dialect` that the text is in (default: what the text says)")
	f.StringVar(&to, "to", "", "the `dialect` to write: "+strings.Join(document.Names(), ", "))
	f.StringVar(&opt.Container, "container", "", "which container, service or app of several: a `name`")
	f.StringVar(&seccomp, "seccomp", "", "write the workload's own seccomp document into this `file`, and name it so")
	f.BoolVar(&strict, "strict", false, "exit with 1 if anything is lost")
	f.BoolVar(&asJSON, "json", false, "print the text and every loss as JSON")
	return cmd
}

// place is a loss with where it stands in its file.
func place(file string, l document.Loss) string {
	if l.Line > 0 && file != "-" {
		return fmt.Sprintf("%s:%d: %s", file, l.Line, l)
	}
	return l.String()
}

// readDocument reads the workload in a file, whose dialect is guessed if from does not name it.
func readDocument(name, from string, opt document.Options) (*document.Dialect, workload.Workload, []document.Loss, error) {
	var none workload.Workload
	text, err := readFile(name)
	if err != nil {
		return nil, none, nil, err
	}
	var d *document.Dialect
	if from != "" {
		if d, err = document.Find(from); err != nil {
			return nil, none, nil, fmt.Errorf("--from: %w", err)
		}
	} else if d, err = document.Guess(text); err != nil {
		return nil, none, nil, fmt.Errorf("%s: %w; --from names it", name, err)
	}
	w, losses, err := d.Read(text, opt)
	if err != nil {
		return nil, none, nil, fmt.Errorf("%s: %w", name, err)
	}
	return d, w, losses, nil
}

// filed are the flags with which `run` and `why` take a workload from a file.
type filed struct{ name, container string }

func (f *filed) bind(fs *pflag.FlagSet) {
	fs.StringVarP(&f.name, "file", "f", "", "take the workload from this `file`: a pod, a compose file, a unit, …; further arguments replace its command")
	fs.StringVar(&f.container, "container", "", "with -f: which container of several: a `name`")
}

// beside are docker's flags that may stand beside a file: how it is run, and under whose defaults.
var beside = []string{"rm", "detach", "interactive", "tty", "name", "as", "env"}

// read is the workload of the file, run as docker's flags beside it say. What of it is lost is warned of.
func (f *filed) read(fs *pflag.FlagSet, flags *dialect.Flags, args []string) (dialect.Run, error) {
	if f.name == "" {
		if f.container != "" {
			return dialect.Run{}, errors.New("--container chooses one of a file's: name it with -f")
		}
		return flags.Read(args, outside())
	}
	known := pflag.NewFlagSet("", pflag.ContinueOnError)
	dialect.RunFlags(known)
	var err error
	fs.Visit(func(flag *pflag.Flag) {
		if err == nil && known.Lookup(flag.Name) != nil && !slices.Contains(beside, flag.Name) {
			err = fmt.Errorf("--%s: with -f the file says it; only --%s may stand beside", flag.Name, strings.Join(beside, ", --"))
		}
	})
	if err != nil {
		return dialect.Run{}, err
	}
	r, err := flags.Read([]string{"image"}, outside())
	if err != nil {
		return r, err
	}
	_, w, losses, err := readDocument(f.name, "", document.Options{Container: f.container, Outside: outside()})
	if err != nil {
		return r, err
	}
	for _, l := range losses {
		warn(place(f.name, l))
	}
	say := r.Workload
	w.TTY, w.Stdin = w.TTY || say.TTY, w.Stdin || say.Stdin
	if say.Name != "" {
		w.Name = say.Name
	}
	if say.As != "" {
		w.As = say.As
	}
	if w.Name != "" && !workload.ValidName(w.Name) {
		warn(fmt.Sprintf("%s: %q can't be a container's name: it gets another", f.name, w.Name))
		w.Name = ""
	}
	w.Env = append(w.Env, say.Env...)
	if len(args) > 0 {
		w.Args = args
	}
	r.Workload = w
	return r, nil
}
