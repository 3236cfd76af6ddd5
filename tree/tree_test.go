package tree

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func parse(t *testing.T, text string) *Node {
	t.Helper()
	docs, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return docs[0]
}

const sample = `
# of everything
name: web
count: 0x10
share: 1.5e1
on: yes
empty: null
none: {}
list: [a, "1", {deep: true}]
base: &base {a: 1, b: [x]}
user:
  <<: *base
  b: 2
`

func TestLooks(t *testing.T) {
	n := parse(t, sample)
	if n.Get("name").Text() != "web" || *n.Get("count").Int() != 16 || *n.Get("share").Int() != 15 || !n.Get("on").True() {
		t.Errorf("%s", n.Short())
	}
	if n.Get("empty").Set() || n.Get("gone").Set() || n.At("gone", "further").Text() != "" || n.Get("gone").Int() != nil {
		t.Error("what is not there is something")
	}
	if got := n.At("user", "b").Text() + n.At("user", "a").Text(); got != "21" {
		t.Errorf("merged: %s", got)
	}
	var left []string
	for _, u := range n.Unread() {
		left = append(left, u.Path)
	}
	if !slices.Equal(left, []string{"list", "base"}) {
		t.Errorf("unread: %v", left)
	}
	deep := n.Get("list").List()[2].Get("deep")
	if deep.Path != "list[2].deep" || deep.Shape() != "list[].deep" || deep.Line != 9 {
		t.Errorf("%s, %s, line %d", deep.Path, deep.Shape(), deep.Line)
	}
	if err := n.Err(); err != nil {
		t.Error(err)
	}
	n.Get("list").Text()
	n.Get("name").Int()
	if err := n.Err(); err == nil || err.Error() != "line 9, column 7: list: want a text, not a list" {
		t.Errorf("the first mistake: %v", err)
	}
}

func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"":                      "the text is empty",
		"---\n---\n":            "the text is empty",
		"a: 1\na: 2":            `line 2, column 4: the key "a" stands there twice`,
		`{"a": 1, "a": 2}`:      "stands there twice",
		`{"a": 1} x`:            "",
		"{\"a\": \n [}":         "",
		"a: b: c":               "not YAML",
		"\xff":                  "not UTF-8",
		"? [a]\n: 1":            "a key must be a text",
		"a: {<<: 1}":            "<< must bring a map",
		"a: *nobody":            "not YAML",
		strings.Repeat("[", 99): "MaxDepth",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", text, err, want)
		}
	}
}

// A node knows where it stands and what it is called, in YAML and JSON, merged or not, however many there are.
func TestPlaces(t *testing.T) {
	var many strings.Builder
	many.WriteString("{\"long\": \"" + strings.Repeat("x", 100_000) + "\",\n")
	for i := range 20_000 {
		fmt.Fprintf(&many, "\"k%d\": %d,\n", i, i)
	}
	many.WriteString("\"last\": [{\"deep\": true}]}")
	n := parse(t, many.String())
	deep := n.Get("last").List()[0].Get("deep")
	if k := n.Get("k19999"); k.Line != 20_001 || k.Shape() != "k19999" || *k.Int() != 19_999 {
		t.Errorf("%s on line %d is %s", k.Shape(), k.Line, k.Short())
	}
	if deep.Line != 20_002 || deep.Shape() != "last[].deep" || n.Len() != 20_002 {
		t.Errorf("%s on line %d of %d members", deep.Shape(), deep.Line, n.Len())
	}
	n = parse(t, "one: &a {in: {x: 1}}\ntwo: {<<: [*a, {y: 2}]}\nfree: {b: 1, c: 2}\n")
	if x := n.At("two", "in", "x"); x.Path != "two.in.x" || x.Shape() != "two.in.x" {
		t.Errorf("merged: %s, %s", x.Path, x.Shape())
	}
	if !n.Get("two").Has("y") || n.Get("one").Has("y") {
		t.Error("a merge that is a list of maps")
	}
	var got []string
	for k, v := range n.Get("free").Members() {
		got = append(got, k+"="+v.Text()+" "+v.Shape())
	}
	if want := []string{"b=1 free.*", "c=2 free.*"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// What a text may ask of memory is bounded.
func TestLimits(t *testing.T) {
	for name, c := range map[string]struct{ text, limit string }{
		"bytes":               {strings.Repeat(" ", MaxBytes+1), "MaxBytes"},
		"lists in lists":      {strings.Repeat("[", MaxDepth+2) + strings.Repeat("]", MaxDepth+2), "MaxDepth"},
		"values":              {"[" + strings.Repeat("1,", MaxValues) + "1]", "MaxValues"},
		"an alias in itself":  {"a: &a [*a]", "MaxDepth"},
		"a text by aliases":   {"a: &a " + strings.Repeat("x", 1<<20) + "\nb: [*a, *a, *a, *a]", "MaxBytes"},
		"a key's length":      {`{"` + strings.Repeat("k", 1<<20) + `": [` + strings.Repeat("1,", 100) + "1]}", "MaxPaths"},
		"keys in one another": {strings.Repeat(`{"`+strings.Repeat("k", 60_000)+`": `, 60) + "1" + strings.Repeat("}", 60), "MaxPaths"},
	} {
		_, err := Parse([]byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.limit) {
			t.Errorf("%s: %v; want %s", name, err, c.limit)
		}
	}
}

func TestNumbers(t *testing.T) {
	for s, ok := range map[string]bool{"1": true, "-1.5": true, "0x10": true, "0o17": true, "1e9": true, "": false, "1/2": false, "1e99": false, "1_0": false,
		"x": false, "1p5": false, strings.Repeat("9", 65): false} {
		if _, got := ParseNumber(s); got != ok {
			t.Errorf("%q: %t", s, got)
		}
	}
}

// Whatever text is written is read back the same, as YAML and as JSON, and every reader takes it for a text.
func TestRoundTrip(t *testing.T) {
	g := rand.New(rand.NewPCG(1, 2))
	letters := []rune("aZ09 \t\n\r\x00\x7f'\"\\:#,-?[]{}&*!|>%@`=~<é€😀\u0085\u2028yesnoNull.+_/")
	words := []string{"", "yes", "No", "null", "~", "1", "1.0", "0x1", "1e3", ".inf", "2001-01-01", "12:30", "=", "<<", "- a", "a: b", "a #b", " a", "a ", "a\n", "\na", "a\n\nb\n", "é", "true", "0o7", "010"}
	for range 5000 {
		var b strings.Builder
		for range g.IntN(12) {
			b.WriteRune(letters[g.IntN(len(letters))])
		}
		words = append(words, b.String())
	}
	for _, w := range words {
		o := Object{{"k" + w, w}, {"list", []string{w}}, {"in", Object{{"k", []any{Object{{"v", w}}}}}}}
		for _, write := range []func() ([]byte, error){o.YAML, o.JSON} {
			text, err := write()
			if err != nil {
				t.Fatalf("%q: %v", w, err)
			}
			n := parse(t, string(text))
			list := n.Get("list").List()
			if len(list) != 1 || n.Get("k"+w).Text() != w || list[0].Text() != w || n.At("in", "k").List()[0].Get("v").Text() != w {
				t.Fatalf("%q was written as\n%s", w, text)
			}
			if n.Get("k"+w).Kind != Text {
				t.Fatalf("%q was written as no text:\n%s", w, text)
			}
		}
	}
	var o Object
	o.Put("a", 1)
	o.Put("a", 2)
	for _, empty := range []any{nil, "", false, int64(0), []string{}, []any{}, Object{}} {
		o.Say("b", empty)
	}
	o.Say("c", "x")
	if text, err := o.YAML(); err != nil || string(text) != "a: 2\nc: x\n" {
		t.Errorf("%s, %v", text, err)
	}
	text, err := Object{{"a", int64(5)}, {"b", true}, {"c", json.Number("1.50")}, {"d", nil}, {"e", Object{}}, {"f", uint64(7)}}.YAML()
	if want := "a: 5\nb: true\nc: 1.50\nd: null\ne: {}\nf: 7\n"; err != nil || string(text) != want {
		t.Errorf("%s, %v", text, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{sample, `{"a": [1, "\ud83d\ude00", null, true]}`, "a: &a [*a]", "--- 1\n--- {b: c}\n", "a: |\n  b\n  c\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		docs, err := Parse([]byte(text))
		for _, d := range docs {
			if err != nil {
				t.Fatal("nodes and an error")
			}
			_ = fmt.Sprint(d.Unread(), d.Short())
			d.Pass()
			if left := d.Unread(); left != nil {
				t.Fatalf("%q: %s is not passed", text, left[0].Path)
			}
		}
	})
}
