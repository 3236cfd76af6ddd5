package document

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"porthole/workload/dialect"
)

// fuzz feeds a dialect's reader. Whatever it reads it can write, or says why not; and what is written then is read again,
// with nothing lost that was not named.
func fuzz(f *testing.F, d *Dialect) {
	files, err := filepath.Glob("testdata/" + d.Name + "/*")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, ".golden") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), chosen[path.Base(file)])
	}
	f.Fuzz(func(t *testing.T, text, container string) {
		o := caller
		o.Container = container
		w, _, err := d.Read([]byte(text), o)
		if err != nil {
			return
		}
		again, losses, err := d.Write(w, caller)
		if err != nil {
			return
		}
		got, _, err := d.Read(again, somewhere)
		if err != nil {
			t.Fatalf("read, written and not read again: %v\n%s", err, again)
		}
		for _, l := range losses {
			if strings.HasPrefix(l.Path, "Args") || strings.HasPrefix(l.Path, "Entrypoint") {
				return
			}
		}
		if d := cmp.Diff(append(w.Entrypoint, w.Args...), append(got.Entrypoint, got.Args...), asSets); d != "" {
			t.Fatalf("the command differs:\n%s\n%s", d, again)
		}
	})
}

func FuzzDocker(f *testing.F)     { fuzz(f, docker()) }
func FuzzCompose(f *testing.F)    { fuzz(f, compose()) }
func FuzzKube(f *testing.F)       { fuzz(f, kube()) }
func FuzzMarathon(f *testing.F)   { fuzz(f, marathon()) }
func FuzzSystemd(f *testing.F)    { fuzz(f, systemd()) }
func FuzzOCI(f *testing.F)        { fuzz(f, oci()) }
func FuzzBubblewrap(f *testing.F) { fuzz(f, bubblewrap()) }

func FuzzGuess(f *testing.F) {
	for _, s := range []string{"docker run x", "a: 1", "{}", "[Service]", "bwrap x", "- a", "apiVersion: v1\nkind: Pod"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := Guess([]byte(text)); (d == nil) == (err == nil) {
			t.Fatalf("%v, %v", d, err)
		}
	})
}

// What a text could do to memory is refused by a limit's name, before much of it is used.
func TestLimits(t *testing.T) {
	bomb := "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
	for i := range 12 {
		bomb += fmt.Sprintf("a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i+1, i+1, i, i, i, i, i, i, i, i, i)
	}
	for _, c := range []struct{ name, text, want string }{
		{"100 MB of blanks", strings.Repeat(" ", 100<<20), "MaxBytes"},
		{"100 MB of a list", "[" + strings.Repeat("1,", 50<<20), "MaxBytes"},
		{"a bomb of aliases", bomb + "services: {a: {image: x, command: *a12}}\napiVersion: v1\nkind: Pod\nid: x\nociVersion: 1\n", "MaxValues"},
		{"an alias of itself", "a: &a [*a]\n", "Max"},
		{"a merge of itself", "a: &a {<<: *a}\n", "Max"},
		{"deep in YAML", strings.Repeat("[", 100_000), "MaxDepth"},
		{"deep in JSON", `{"a":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + "}", "MaxDepth"},
		{"deep in blocks", deep(5000), "MaxDepth"},
		{"many values", "a: [" + strings.Repeat("1,", 250_000) + "]", "MaxValues"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for _, d := range All() {
				_, _, err := d.Read([]byte(c.text), caller)
				if err == nil {
					t.Errorf("%s read it", d.Name)
					continue
				}
				lines := d.Name == "docker" || d.Name == "bwrap" || d.Name == "systemd" // no YAML
				if !strings.Contains(err.Error(), c.want) && !(lines && c.want != "MaxBytes") {
					t.Errorf("%s: %v; want %s", d.Name, err, c.want)
				}
			}
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 2<<30 {
				t.Errorf("%d MiB were used", used>>20)
			}
		})
	}
	// A thousand variables that hold one another are no bomb either.
	pod := "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: b, env: [{name: V0, value: " + strings.Repeat("x", 1000) + "}"
	for i := range 40 {
		pod += fmt.Sprintf(", {name: V%d, value: $(V%d)$(V%d)$(V%d)}", i+1, i, i, i)
	}
	if _, _, err := kube().Read([]byte(pod+"]}]}"), caller); err == nil || !strings.Contains(err.Error(), "MaxFilled") {
		t.Errorf("variables: %v", err)
	}
}

// What a text may ask of time is bounded, too: nothing in it is gone through again for each of its like.
func TestLong(t *testing.T) {
	list := func(head, item, tail string) string {
		var b strings.Builder
		b.WriteString(head)
		for i := range 40_000 {
			b.WriteString(strings.ReplaceAll(item, "#", strconv.Itoa(i)))
		}
		return b.String() + tail
	}
	const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: a\n    image: b\n    args:\n"
	value := strings.Repeat("v", 1000)
	o := Options{Outside: dialect.Outside{Env: func(string) (string, bool) { return value, true }}}
	for _, c := range []struct{ name, dialect, text, want string }{
		{"a bracket that never closes", "kube", pod + "    - '" + strings.Repeat("$(", 1<<20) + "'\n", ""},
		{"a list beside what is not kept", "kube", list(pod, "    - a#\n", list("  volumes:\n", "  - {name: v#}\n", "")), ""},
		{"volumes by name", "compose", list("services:\n  a:\n    image: b\n    volumes:\n", "    - va#:/v#\n", list("volumes:\n", "  va#: {}\n", "")), ""},
		{"a long text by aliases", "compose", "x-a: &a " + value + value + value + value + "\nservices:\n  a:\n    image: b\n    labels:\n" + list("", "      a#: *a\n", ""), "MaxBytes"},
		{"the caller's variables", "compose", list("services:\n  a:\n    image: b\n    command:\n", "    - $V\n", ""), "MaxFilled"},
		{"the caller's variables, in a line", "docker", list("docker run b", " $V", ""), "MaxFilled"},
		{"variables of the unit's own", "systemd", list("[Service]\nEnvironment=V="+value+"\nExecStart=/b", " ${V}", ""), "MaxFilled"},
		{"a line that goes on", "systemd", "[Service]\nExecStart=/b\nEnvironment=" + strings.Repeat("\\\n", 1<<21-1000) + "A=b\n", ""},
		{"a path of megabytes", "systemd", "[Service]\nExecStart=/b\nBindPaths=/" + strings.Repeat("a", 4<<20-100) + "\n", ""},
		{"mounts over one another", "bwrap", list("bwrap", " --bind /a /b# --remount-ro /b#", " true"), ""},
		{"devices and their rules", "oci", list(`{"ociVersion":"1","process":{"args":["a"]},"linux":{"devices":[`, `{"minor":#},`, `{}],"resources":{`) + list(`"devices":[`, `{"minor":#},`, `{}]}}}`), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := Find(c.dialect)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			_, _, err = d.Read([]byte(c.text), o)
			if took := time.Since(start); took > 10*time.Second { // a tenth of that, on a slow machine
				t.Errorf("%v for %d bytes", took, len(c.text))
			}
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v; want %q", err, c.want)
			}
		})
	}
}

func deep(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
		if b.Len() > 3<<20 {
			break
		}
	}
	return b.String()
}
