package why

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"porthole/caps"
)

var placeholder = regexp.MustCompile(`\{[a-z]+\}`)

// Every language has the same keys, and in each the same parameters.
func TestLanguages(t *testing.T) {
	en := readTable("en")
	if len(Languages()) < 3 || len(en) < 300 {
		t.Fatalf("%d languages, %d keys", len(Languages()), len(en))
	}
	for _, l := range Languages() {
		other := readTable(l)
		for k, v := range en {
			w, ok := other[k]
			if !ok {
				t.Errorf("%s: no %s", l, k)
				continue
			}
			a, b := placeholder.FindAllString(v, -1), placeholder.FindAllString(w, -1)
			slices.Sort(a)
			slices.Sort(b)
			if !slices.Equal(slices.Compact(a), slices.Compact(b)) {
				t.Errorf("%s: %s has %v, English has %v", l, k, b, a)
			}
			if strings.TrimSpace(w) == "" {
				t.Errorf("%s: %s is empty", l, k)
			}
		}
		for k := range other {
			if _, ok := en[k]; !ok {
				t.Errorf("%s: %s is no key of English", l, k)
			}
		}
	}
}

// Whatever the tables of rules, codes, factors and harms name can be said.
func TestEverythingCanBeSaid(t *testing.T) {
	en := readTable("en")
	need := func(key string) {
		if _, ok := en[key]; !ok {
			t.Errorf("no %s", key)
		}
	}
	for _, r := range rules {
		for _, term := range names(r.If) {
			if w, open := strings.CutPrefix(term, "?"); open {
				need("when." + w)
			}
		}
		if r.In != 0 {
			need("where." + r.In.String())
		}
		if _, ok := FindCode(string(r.Code)); !ok {
			t.Errorf("%s: no code %s", r.Calls, r.Code)
		}
	}
	for w := range conditions {
		if !slices.Contains([]string{"userns", "chroot", "nnp", "masked", "setgroups-denied", "unmapped"}, w) {
			need("when." + w)
		}
	}
	for _, k := range codes {
		need(string(k.Code) + ".title")
		need(string(k.Code) + ".text")
	}
	for k := FilterRule; k <= Everything; k++ {
		need("factor." + k.String())
	}
	for _, h := range harms {
		need("harm." + h.family)
	}
	for c := range caps.Last + 1 {
		need("cap." + short(c))
	}
	for _, l := range Layers() {
		need("layer." + l.String())
		need("head." + l.String())
	}
}

func TestFindLang(t *testing.T) {
	for in, want := range map[string]Lang{"de_DE.UTF-8": "de", "zh_CN.GB18030": "zh", "C": "en", "": "en", "en_US": "en", "DE": "de", "zh-Hans": "zh"} {
		if got, ok := FindLang(in); got != want || !ok {
			t.Errorf("FindLang(%q) = %q, %v", in, got, ok)
		}
	}
	if l, ok := FindLang("tlh"); ok || l != "en" {
		t.Errorf("FindLang(tlh) = %q, %v", l, ok)
	}
}
