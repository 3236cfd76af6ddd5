package profile

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// What a document may measure. Docker's own is 13 KB and 6 deep.
const (
	maxSize  = 4 << 20
	maxDepth = 64
)

// A value of a JSON text that remembers where it stands.
type value struct {
	kind  kind
	off   int     // of its first byte
	text  string  // of a string, decoded; of a number or a bool, as written
	elems []value // of an array; of an object, each with its key
	key   string
	koff  int // of the key's first byte
}

type kind uint8

const (
	null kind = iota
	boolean
	number
	text
	array
	object
)

func (k kind) String() string {
	return [...]string{"null", "true or false", "a number", "a text", "a list", "an object"}[k]
}

// scanner reads one JSON text (RFC 8259). It takes what encoding/json takes, and no deeper
// than maxDepth.
type scanner struct {
	s   string
	pos int
}

// fault is where and why a text is no JSON; path grows from the inside out.
type fault struct {
	off       int
	path, msg string
}

func (f *fault) in(elem string) *fault {
	if strings.HasPrefix(f.path, "[") || f.path == "" {
		f.path = elem + f.path
	} else {
		f.path = elem + "." + f.path
	}
	return f
}

func scan(s string) (value, *fault) {
	p := &scanner{s: s}
	v, f := p.value(0)
	if f != nil {
		return v, f
	}
	if p.space(); p.pos < len(s) {
		return v, p.fault("the document ends before this")
	}
	return v, nil
}

func (p *scanner) fault(format string, args ...any) *fault {
	return &fault{off: p.pos, msg: fmt.Sprintf(format, args...)}
}

// expected is the fault of another character, or of none, where what was to stand.
func (p *scanner) expected(what string) *fault {
	if p.pos >= len(p.s) {
		return p.fault("the document ends here; expected %s", what)
	}
	r, _ := utf8.DecodeRuneInString(p.s[p.pos:])
	return p.fault("%q; expected %s", r, what)
}

func (p *scanner) space() {
	for p.pos < len(p.s) && strings.IndexByte(" \t\r\n", p.s[p.pos]) >= 0 {
		p.pos++
	}
}

// next skips blanks and says which byte follows, 0 at the end.
func (p *scanner) next() byte {
	if p.space(); p.pos < len(p.s) {
		return p.s[p.pos]
	}
	return 0
}

func (p *scanner) value(depth int) (value, *fault) {
	c := p.next()
	v := value{off: p.pos}
	if depth > maxDepth {
		return v, p.fault("nested deeper than %d", maxDepth)
	}
	switch {
	case c == '{' || c == '[':
		return v, p.list(&v, depth)
	case c == '"':
		v.kind = text
		return v, p.string(&v.text)
	case c == '-' || '0' <= c && c <= '9':
		v.kind = number
		return v, p.number(&v.text)
	}
	for _, word := range [...]string{"null", "true", "false"} {
		if strings.HasPrefix(p.s[p.pos:], word) {
			if word != "null" {
				v.kind, v.text = boolean, word
			}
			p.pos += len(word)
			return v, nil
		}
	}
	return v, p.expected("a value")
}

// list reads an object or an array from its bracket on.
func (p *scanner) list(v *value, depth int) *fault {
	v.kind = array
	end, what := byte(']'), "',' or ']'"
	if p.s[p.pos] == '{' {
		v.kind = object
		end, what = '}', "',' or '}'"
	}
	p.pos++
	if p.next() == end {
		p.pos++
		return nil
	}
	for i := 0; ; i++ {
		var key string
		koff := p.pos
		if v.kind == object {
			if p.next() != '"' {
				return p.expected("a key in quotes")
			}
			koff = p.pos
			if f := p.string(&key); f != nil {
				return f
			}
			if p.next() != ':' {
				return p.expected("':'").in(key)
			}
			p.pos++
		}
		e, f := p.value(depth + 1)
		if f != nil {
			if v.kind == array {
				key = "[" + strconv.Itoa(i) + "]"
			}
			return f.in(key)
		}
		e.key, e.koff = key, koff
		v.elems = append(v.elems, e)
		switch p.next() {
		case end:
			p.pos++
			return nil
		case ',':
			p.pos++
		default:
			return p.expected(what)
		}
	}
}

func (p *scanner) string(out *string) *fault {
	p.pos++
	for start := p.pos; ; p.pos++ {
		switch {
		case p.pos >= len(p.s):
			return p.expected("the end of a text that began earlier")
		case p.s[p.pos] == '"':
			*out = valid(p.s[start:p.pos])
			p.pos++
			return nil
		case p.s[p.pos] == '\\':
			return p.escaped(start, out)
		case p.s[p.pos] < ' ':
			return p.expected("no control character inside a text")
		}
	}
}

// escaped goes on with a text that began at start, from its first backslash.
func (p *scanner) escaped(start int, out *string) *fault {
	b := []byte(p.s[start:p.pos])
	for {
		switch {
		case p.pos >= len(p.s):
			return p.expected("the end of a text that began earlier")
		case p.s[p.pos] < ' ':
			return p.expected("no control character inside a text")
		case p.s[p.pos] == '"':
			p.pos++
			*out = valid(string(b))
			return nil
		case p.s[p.pos] != '\\':
			b = append(b, p.s[p.pos])
			p.pos++
			continue
		}
		p.pos++
		if p.pos >= len(p.s) {
			return p.expected("the end of a text that began earlier")
		}
		if i := strings.IndexByte(`"\/bfnrt`, p.s[p.pos]); i >= 0 {
			b = append(b, "\"\\/\b\f\n\r\t"[i])
			p.pos++
			continue
		}
		r, ok := p.hex4()
		if !ok {
			return p.expected(`one of "\/bfnrt, or u and four hexadecimal digits, after a backslash`)
		}
		if utf16.IsSurrogate(r) {
			before := p.pos
			if strings.HasPrefix(p.s[p.pos:], `\u`) {
				p.pos++
				low, _ := p.hex4()
				r = utf16.DecodeRune(r, low)
			}
			if !utf8.ValidRune(r) || r == utf8.RuneError {
				r, p.pos = utf8.RuneError, before
			}
		}
		b = utf8.AppendRune(b, r)
	}
}

// valid replaces every byte that is no UTF-8, as encoding/json does.
func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}

// hex4 reads u and four hexadecimal digits.
func (p *scanner) hex4() (rune, bool) {
	if len(p.s)-p.pos < 5 || p.s[p.pos] != 'u' {
		return utf8.RuneError, false
	}
	n, err := strconv.ParseUint(p.s[p.pos+1:p.pos+5], 16, 16)
	if err != nil || strings.Contains(p.s[p.pos+1:p.pos+5], "_") {
		return utf8.RuneError, false
	}
	p.pos += 5
	return rune(n), true
}

func (p *scanner) number(out *string) *fault {
	start := p.pos
	if p.s[p.pos] == '-' {
		p.pos++
	}
	if p.pos < len(p.s) && p.s[p.pos] == '0' {
		p.pos++
	} else if !p.digits() {
		return p.expected("a digit")
	}
	if p.pos < len(p.s) && p.s[p.pos] == '.' {
		if p.pos++; !p.digits() {
			return p.expected("a digit")
		}
	}
	if p.pos < len(p.s) && p.s[p.pos]|0x20 == 'e' {
		p.pos++
		if p.pos < len(p.s) && (p.s[p.pos] == '+' || p.s[p.pos] == '-') {
			p.pos++
		}
		if !p.digits() {
			return p.expected("a digit")
		}
	}
	*out = p.s[start:p.pos]
	return nil
}

// digits skips at least one.
func (p *scanner) digits() bool {
	start := p.pos
	for p.pos < len(p.s) && '0' <= p.s[p.pos] && p.s[p.pos] <= '9' {
		p.pos++
	}
	return p.pos > start
}

// place returns the line and column of byte off, both from 1, the column in characters.
func place(s string, off int) (line, column int) {
	off = min(off, len(s))
	start := strings.LastIndexByte(s[:off], '\n') + 1
	return 1 + strings.Count(s[:off], "\n"), 1 + utf8.RuneCountInString(s[start:off])
}

// Locate returns the line and column, from 1, of a part of a JSON text: of the member's key, or the list's
// element. Path is as messages have it: "syscalls[12].args[0].op". Where the last steps are not there, the
// place is that of what they would stand in; false if none is, or the text is no JSON.
func Locate(doc, path string) (line, column int, ok bool) { return Locator(doc)(path) }

// Locator is Locate for many parts of one text, which it reads once.
func Locator(doc string) func(path string) (line, column int, ok bool) {
	var root value
	if len(doc) <= maxSize {
		if v, f := scan(doc); f == nil {
			root = v
		}
	}
	return func(path string) (line, column int, ok bool) { return locate(doc, root, path) }
}

func locate(doc string, v value, path string) (line, column int, ok bool) {
	off, found := 0, false
	for path != "" {
		path = strings.TrimPrefix(path, ".")
		step := path
		if i := strings.IndexAny(path[1:], ".["); i >= 0 {
			step = path[:i+1]
		}
		path = path[len(step):]
		next := -1
		if rest, isIndex := strings.CutPrefix(step, "["); isIndex {
			n, err := strconv.Atoi(strings.TrimSuffix(rest, "]"))
			if err == nil && v.kind == array && n < len(v.elems) {
				next, off = n, v.elems[n].off
			}
		} else if v.kind == object {
			for i, e := range v.elems {
				if strings.EqualFold(e.key, step) {
					next, off = i, e.koff
				}
			}
		}
		if next < 0 {
			break
		}
		v, found = v.elems[next], true
	}
	if !found {
		return 0, 0, false
	}
	line, column = place(doc, off)
	return line, column, true
}
