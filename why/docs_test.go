package why

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// docs/why has a page for each code, made from the same table; -update writes them anew.
func TestPagesAreCurrent(t *testing.T) {
	dir := filepath.Join("..", "docs", "why")
	want := map[string]string{}
	index := "# What the codes of `porthole why` mean\n\n`porthole why --explain P0101` says the same on a terminal. These pages are made from the table in\n`why/code.go` and `why/lang/en.txt` (`go test ./why -update`).\n\n| code | what it says |\n| --- | --- |\n"
	en := readTable("en")
	for _, k := range Codes() {
		want[string(k.Code)+".md"] = k.Page()
		index += "| [" + string(k.Code) + "](" + string(k.Code) + ".md) | " + en[string(k.Code)+".title"] + " |\n"
	}
	want["README.md"] = index
	if *update {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range want {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, ok := want[e.Name()]; !ok {
			t.Errorf("docs/why/%s is about no code", e.Name())
		}
	}
	for name, text := range want {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != text {
			t.Errorf("docs/why/%s is not current (go test ./why -update): %v", name, err)
		}
	}
}

func TestExplain(t *testing.T) {
	for _, l := range Languages() {
		for _, k := range Codes() {
			s, ok := Explain(strings.ToLower(string(k.Code)), l)
			if !ok || len(s) < 60 {
				t.Errorf("%s in %s: %q", k.Code, l, s)
			}
		}
	}
	if _, ok := Explain("P9999", "en"); ok {
		t.Error("P9999 is explained")
	}
}

// docs/why-json.md tells of every field of the JSON, and of no other.
func TestSchemaIsDocumented(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "docs", "why-json.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[reflect.Type]bool{}
	fields := map[string]bool{}
	var walk func(reflect.Type)
	walk = func(ty reflect.Type) {
		for ty.Kind() == reflect.Slice {
			ty = ty.Elem()
		}
		if ty.Kind() != reflect.Struct || seen[ty] {
			return
		}
		seen[ty] = true
		for i := range ty.NumField() {
			name, _, _ := strings.Cut(ty.Field(i).Tag.Get("json"), ",")
			fields[name] = true
			if !bytes.Contains(doc, []byte("`"+name+"`")) {
				t.Errorf("%v: %s is not documented", ty, name)
			}
			walk(ty.Field(i).Type)
		}
	}
	walk(reflect.TypeFor[Document]())
	walk(reflect.TypeFor[StaticDocument]())
	walk(reflect.TypeFor[JSONBlocked]())
	walk(reflect.TypeFor[SceneDocument]())
	for line := range strings.Lines(string(doc)) {
		if rest, ok := strings.CutPrefix(line, "| `"); ok {
			if name, _, _ := strings.Cut(rest, "`"); !fields[name] {
				t.Errorf("the document tells of %s, which is no field", name)
			}
		}
	}
	// What is printed can be read back, and says the same.
	e := samples[0].tell(t)
	var d Document
	if err := json.Unmarshal(e.JSON("en"), &d); err != nil {
		t.Fatal(err)
	}
	r := d.Refusals[0]
	if r.Code != "P0101" || r.Errno != "EPERM" || !r.Fatal || r.Layers[0].Name != Seccomp || r.Layers[0].Proof != Proved || len(r.Experiments) == 0 || len(r.Grants) == 0 {
		t.Errorf("%+v", r)
	}
}
