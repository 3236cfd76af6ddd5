package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (a *app) man() *cobra.Command {
	var all string
	cmd := &cobra.Command{
		Use:   "man [flags] [COMMAND…]",
		Short: "print a command's manual page, or write all of them into a directory",
		Long:  "Print the manual page of a command, to be read with `porthole man run | man -l -`, or write every command's into a directory such as /usr/local/share/man/man1.",
		RunE: func(_ *cobra.Command, args []string) error {
			root := a.command(nil)
			if all == "" {
				c, rest, err := root.Find(args)
				if err == nil && len(rest) > 0 {
					err = unknownCommand(c, rest[0])
				}
				if err != nil {
					return err
				}
				_, err = os.Stdout.WriteString(manPage(c))
				return err
			}
			if len(args) > 0 {
				return errors.New("--all writes every command's; name none")
			}
			if err := os.MkdirAll(all, 0o755); err != nil {
				return err
			}
			return eachCommand(root, func(c *cobra.Command) error {
				return os.WriteFile(filepath.Join(all, manName(c)+".1"), []byte(manPage(c)), 0o644)
			})
		},
	}
	cmd.Flags().StringVar(&all, "all", "", "write all pages into this `directory`")
	return cmd
}

// eachCommand hands root and all that people type beneath it to do.
func eachCommand(root *cobra.Command, do func(*cobra.Command) error) error {
	if err := do(root); err != nil {
		return err
	}
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			if err := eachCommand(c, do); err != nil {
				return err
			}
		}
	}
	return nil
}

func manName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// manPage is a command's page, in the macros of man(7).
func manPage(c *cobra.Command) string {
	var b strings.Builder
	text := c.Long
	if text == "" {
		text = strings.ToUpper(c.Short[:1]) + c.Short[1:] + "."
	}
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"porthole %s\" \"porthole\"\n", roff(strings.ToUpper(manName(c))), roff(version))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(manName(c)), roff(c.Short))
	use := c.UseLine()
	if c.HasSubCommands() && !strings.Contains(use, "COMMAND") {
		use += " COMMAND …"
	}
	name, rest, _ := strings.Cut(use, " ")
	fmt.Fprintf(&b, ".SH SYNOPSIS\n\\fB%s\\fR %s\n", roff(name), roff(rest))
	fmt.Fprintf(&b, ".SH DESCRIPTION\n%s", paragraphs(text))
	manFlags(&b, "OPTIONS", c.NonInheritedFlags())
	manFlags(&b, "OPTIONS OF EVERY COMMAND", c.InheritedFlags())
	if c.HasSubCommands() {
		b.WriteString(".SH COMMANDS\n")
		for _, s := range c.Commands() {
			if s.IsAvailableCommand() {
				fmt.Fprintf(&b, ".TP\n\\fB%s\\fR(1)\n%s\n", roff(manName(s)), roff(s.Short))
			}
		}
	}
	if c.HasParent() {
		see := []string{`\fB` + roff(manName(c.Parent())) + `\fR(1)`}
		for _, s := range c.Parent().Commands() {
			if s != c && s.IsAvailableCommand() && c.Parent().HasParent() {
				see = append(see, `\fB`+roff(manName(s))+`\fR(1)`)
			}
		}
		fmt.Fprintf(&b, ".SH SEE ALSO\n%s\n", strings.Join(see, ", "))
	}
	return b.String()
}

func manFlags(b *strings.Builder, title string, flags *pflag.FlagSet) {
	first := true
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		if first {
			fmt.Fprintf(b, ".SH %s\n", title)
			first = false
		}
		b.WriteString(".TP\n")
		if f.Shorthand != "" {
			fmt.Fprintf(b, "\\fB\\-%s\\fR, ", roff(f.Shorthand))
		}
		kind, usage := pflag.UnquoteUsage(f)
		fmt.Fprintf(b, "\\fB\\-\\-%s\\fR", roff(f.Name))
		if kind != "" {
			fmt.Fprintf(b, " \\fI%s\\fR", roff(kind))
		}
		b.WriteString("\n" + roff(usage) + "\n")
	})
}

// roff is a text as man(7) takes it: nothing in it is a command.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n", " ", "“", `\(lq`, "”", `\(rq`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}

func paragraphs(text string) string {
	var b strings.Builder
	for i, p := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		for line := range strings.Lines(p) {
			b.WriteString(roff(strings.TrimSpace(line)) + "\n")
		}
	}
	return b.String()
}
