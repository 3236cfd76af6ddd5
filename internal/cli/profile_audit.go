package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"porthole/internal/cli/fast"
	"porthole/seccomp/audit"
	"porthole/seccomp/profile"
)

func (a *app) profileAudit() *cobra.Command {
	var c conditions
	var form, failOn string
	var asJSON, sarif bool
	cmd := &cobra.Command{
		Use:   "audit [flags] FILE…",
		Short: "find rules of profiles that do not do what they say, with place and remedy",
		Long: `Look for rules of seccomp profiles that do not do what they say (docs/audit.md). FILE is a document in any form, or a
release (docker:29.4.2). Exit code 1: something was found that is as bad as --fail-on or worse.`,
		Args: wants(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			bar := audit.Error + 1
			if failOn != "never" {
				var err error
				if bar, err = audit.ParseSeverity(failOn); err != nil {
					return fmt.Errorf("--fail-on: %w, never", err)
				}
			}
			if asJSON && sarif {
				return errors.New("--json and --sarif both want standard output")
			}
			given, err := c.resolve()
			if err != nil {
				return err
			}
			var reports []audit.Report
			var worst audit.Severity
			for _, name := range args {
				found, err := auditFile(name, form, audit.Options{Given: given})
				if err != nil {
					return err
				}
				reports = append(reports, audit.Report{File: name, Findings: found})
				worst = max(worst, audit.Worst(found))
			}
			switch {
			case sarif:
				_, err = os.Stdout.Write(audit.SARIF(reports, version))
			case asJSON:
				_, err = os.Stdout.Write(audit.JSON(reports))
			default:
				_, err = os.Stdout.WriteString(auditText(reports))
			}
			if err == nil && worst >= bar {
				return fast.ExitError(1)
			}
			return err
		},
	}
	c.bind(cmd)
	bindForm(cmd, &form)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, for programs")
	cmd.Flags().BoolVar(&sarif, "sarif", false, "as SARIF 2.1.0, for code hosts and editors")
	cmd.Flags().StringVar(&failOn, "fail-on", "warning", "exit with 1 from this `severity` on: note, warning, error, never")
	return cmd
}

// auditFile audits one document. One that is none is a finding, too.
func auditFile(name, form string, o audit.Options) ([]audit.Finding, error) {
	d, err := openDocument(name, form)
	var bad *profile.SyntaxError
	if errors.As(err, &bad) {
		return []audit.Finding{audit.Syntax(bad)}, nil
	}
	if err != nil {
		return nil, err
	}
	o.Place = d.Place
	o.Open = d.Open
	found, err := audit.Profile(d.Profile, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, l := range d.Losses { // what the form says and the profile that was audited does not
		fmt.Fprintf(os.Stderr, "not audited: %s:%d:%d: %s\n", name, l.Line, l.Column, l)
	}
	return found, nil
}

func auditText(reports []audit.Report) string {
	var b strings.Builder
	counts := map[audit.Severity]int{}
	for _, r := range reports {
		for _, f := range r.Findings {
			fmt.Fprintf(&b, "%s:%v\n", r.File, f)
			counts[f.Severity]++
		}
	}
	var parts []string
	for s := audit.Error; s >= audit.Note; s-- {
		if n := counts[s]; n == 1 {
			parts = append(parts, fmt.Sprintf("1 %v", s))
		} else if n > 1 {
			parts = append(parts, fmt.Sprintf("%d %vs", n, s))
		}
	}
	if parts == nil {
		parts = []string{"nothing found"}
	}
	fmt.Fprintln(&b, strings.Join(parts, ", "))
	return b.String()
}
