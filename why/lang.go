package why

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Each file is a language: lines "key = text", in which {name} stands for a parameter; a line that
// begins with blanks goes on with the one before. A language more is a file more.
//
//go:embed lang/*.txt
var langFiles embed.FS

// Lang is a language that explanations can be written in, by its file: "en", "de", "zh".
type Lang string

// Languages lists those there are; English comes first.
func Languages() []Lang {
	out := []Lang{"en"}
	entries, _ := fs.ReadDir(langFiles, "lang")
	for _, e := range entries {
		if l := Lang(strings.TrimSuffix(e.Name(), ".txt")); l != "en" {
			out = append(out, l)
		}
	}
	return out
}

// FindLang takes what LANG and --lang say ("de_DE.UTF-8", "zh", "C"). ok is false, and the language
// English, where there is no such file.
func FindLang(s string) (l Lang, ok bool) {
	name := strings.ToLower(s)
	if i := strings.IndexAny(name, "_.-@"); i >= 0 {
		name = name[:i]
	}
	if name == "c" || name == "posix" || name == "" {
		return "en", true
	}
	if slices.Contains(Languages(), Lang(name)) {
		return Lang(name), true
	}
	return "en", false
}

// A table is a language's sentences by key.
type table map[string]string

// readTable reads a language's file; a language that is not there is English.
func readTable(l Lang) table {
	data, err := langFiles.ReadFile("lang/" + string(l) + ".txt")
	if err != nil {
		data, _ = langFiles.ReadFile("lang/en.txt")
	}
	t := table{}
	key := ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case line == "" || line[0] == '#':
		case line[0] == ' ':
			t[key] += " " + strings.TrimSpace(line)
		default:
			k, v, _ := strings.Cut(line, " = ")
			key = strings.TrimSpace(k)
			if n := len(v); n > 1 && v[0] == '"' && v[n-1] == '"' { // with blanks at its ends
				v = v[1 : n-1]
			}
			t[key] = v
		}
	}
	// Chinese is written without blanks between sentences; a line break in the file is none.
	for k, v := range t {
		t[k] = unspace(v)
	}
	return t
}

// unspace takes out blanks between two wide characters.
func unspace(s string) string {
	r := []rune(s)
	out := r[:0]
	for i, c := range r {
		if c == ' ' && i > 0 && i+1 < len(r) && wide(r[i-1]) && wide(r[i+1]) {
			continue
		}
		out = append(out, c)
	}
	return string(out)
}

// say renders a message. A parameter that is itself a key of the table stands for its text.
func (t table) say(m Message) string {
	text, ok := t[m.Key]
	if !ok {
		return m.Key + " " + fmt.Sprint(m.P)
	}
	for i := 0; i+1 < len(m.P); i += 2 {
		v := m.P[i+1]
		switch {
		case m.P[i] == "when":
			v = t.when(v)
		case m.P[i] == "caps":
			v = strings.ReplaceAll(v, " / ", t["or"])
		case m.P[i] == "code":
			v = t[v+".title"]
		default:
			if s, ok := t[v]; ok && strings.Contains(v, ".") {
				v = s
			}
		}
		text = strings.ReplaceAll(text, "{"+m.P[i]+"}", v)
	}
	return strings.TrimSpace(text)
}

// when says open conditions: words of the rules' table, or tests as they are.
func (t table) when(words string) string {
	var out []string
	for _, w := range strings.Fields(words) {
		if s, ok := t["when."+w]; ok {
			w = s
		} else if name, ok := strings.CutPrefix(w, "rlimit:"); ok {
			name, zero := strings.CutSuffix(name, "=0")
			key := "when.rlimit"
			if zero {
				key = "when.rlimit.zero"
			}
			w = t.say(say(key, "limit", "RLIMIT_"+strings.ToUpper(name)))
		}
		out = append(out, w)
	}
	if len(out) == 0 {
		return ""
	}
	return t.say(say("when", "list", strings.Join(out, t["and"])))
}

// wide says that a character takes two columns of a terminal.
func wide(r rune) bool {
	return r >= 0x1100 && (r <= 0x115f || r >= 0x2e80 && r <= 0xa4cf || r >= 0xac00 && r <= 0xd7a3 ||
		r >= 0xf900 && r <= 0xfaff || r >= 0xfe30 && r <= 0xfe6f || r >= 0xff00 && r <= 0xff60 || r >= 0xffe0 && r <= 0xffe6)
}

// width is how many columns a text takes.
func width(s string) (n int) {
	for _, r := range s {
		n++
		if wide(r) {
			n++
		}
	}
	return n
}
