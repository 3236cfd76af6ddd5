package cli

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Every command has a page with every flag of its, and groff, which man calls, reads them without a warning.
func TestMan(t *testing.T) {
	var pages []string
	check := func(c *cobra.Command) error {
		page := manPage(c)
		pages = append(pages, page)
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && f.Name != "help" && !strings.Contains(page, `\-\-`+roff(f.Name)+`\fR`) {
				t.Errorf("%s: --%s is missing", manName(c), f.Name)
			}
		})
		for _, part := range []string{".TH ", ".SH NAME\n", ".SH SYNOPSIS\n", ".SH DESCRIPTION\n"} {
			if !strings.Contains(page, part) {
				t.Errorf("%s: no %s", manName(c), part)
			}
		}
		return nil
	}
	if err := eachCommand((&app{}).command(nil), check); err != nil {
		t.Fatal(err)
	}
	if len(pages) < 30 {
		t.Errorf("%d pages", len(pages))
	}
	cmd := exec.Command("groff", "-man", "-Kutf8", "-Tutf8", "-ww")
	cmd.Stdin = strings.NewReader(strings.Join(pages, ""))
	var out, warnings strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &warnings
	if err := cmd.Run(); errors.Is(err, exec.ErrNotFound) {
		t.Skip("needs groff to read the pages")
	} else if err != nil || warnings.Len() > 0 {
		t.Errorf("%v\n%s", err, warnings.String())
	}
	for _, want := range []string{"PORTHOLE-RUN(1)", "PORTHOLE-PROFILE-DIFF(1)"} {
		if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), want) {
			t.Errorf("groff shows no %s", want)
		}
	}
}
