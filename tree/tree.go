// Package tree reads YAML and JSON into values that know where they stand and whether anybody looked at them, and
// writes such values. What a text may ask of memory is bounded: see the limits.
//
// Reading never stops at the first value of a wrong kind: the Node in hand answers with nothing, and the first such
// mistake is its document's error (Node.Err). What nobody looked at is in Unread: so a reader of a dialect can't ignore
// a member in silence.
//
// Start here; parse.go reads, write.go writes.
package tree

import (
	"fmt"
	"iter"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// Limits of what Parse takes.
const (
	MaxBytes  = 4 << 20  // of text, and of its scalars with every alias written out
	MaxDepth  = 64       // of lists and maps in one another
	MaxValues = 200_000  // with every alias written out
	MaxPaths  = 64 << 20 // bytes of all their paths: a long key stands in that of each value beneath it
)

// Kind says what a Node is.
type Kind uint8

// The kinds of Node. The zero Kind is null.
const (
	Null Kind = iota
	Text
	Number
	Bool
	List
	Map
)

func (k Kind) String() string {
	return [...]string{"nothing", "a text", "a number", "true or false", "a list", "a map"}[k]
}

// Node is one value of a document. A nil *Node is one that is not there: all its methods answer with nothing.
type Node struct {
	Path         string // "spec.containers[0].name"; "" is the whole
	Line, Column int    // from 1
	Kind         Kind

	text  string
	keys  []string       // of a map, in its order
	items []*Node        // of a list, or a map's values
	where map[string]int // where its keys are, once there are many
	seen  bool
	open  bool    // its keys are anybody's: labels, say
	up    *Node   // what it stands in
	err   **Error // the document's first
}

// Error is a mistake in a document.
type Error struct {
	Line, Column int
	Path, Msg    string
}

func (e *Error) Error() string {
	at := ""
	if e.Line > 0 {
		at = fmt.Sprintf("line %d, column %d: ", e.Line, e.Column)
	}
	if e.Path != "" {
		at += e.Path + ": "
	}
	return at + e.Msg
}

// Fail notes a mistake in n; the first of a document is its error.
func (n *Node) Fail(format string, args ...any) {
	if n != nil && *n.err == nil {
		*n.err = &Error{n.Line, n.Column, n.Path, fmt.Sprintf(format, args...)}
	}
}

// Err is the first mistake that was noted in n's document, or nil.
func (n *Node) Err() error {
	if n == nil || *n.err == nil {
		return nil
	}
	return *n.err
}

func (n *Node) is(want Kind) bool {
	if n == nil {
		return false
	}
	n.seen = true
	if n.Kind == Null {
		return false
	}
	if n.Kind != want {
		n.Fail("want %s, not %s", want, n.Kind)
		return false
	}
	return true
}

// Get returns the member called key, or nil.
func (n *Node) Get(key string) *Node {
	if !n.is(Map) {
		return nil
	}
	if i := n.find(key); i >= 0 {
		return n.items[i]
	}
	return nil
}

func (n *Node) find(key string) int {
	if n.where == nil {
		return slices.Index(n.keys, key)
	}
	if i, ok := n.where[key]; ok {
		return i
	}
	return -1
}

// add puts a member at the end of a map.
func (n *Node) add(key string, v *Node) {
	v.up = n
	n.keys, n.items = append(n.keys, key), append(n.items, v)
	if n.where == nil && len(n.keys) > 16 {
		n.where = map[string]int{}
		for i, k := range n.keys {
			n.where[k] = i
		}
	} else if n.where != nil {
		n.where[key] = len(n.keys) - 1
	}
}

// At follows several keys.
func (n *Node) At(keys ...string) *Node {
	for _, k := range keys {
		n = n.Get(k)
	}
	return n
}

// Has reports whether there is a member called key that is not null. It does not count as a look.
func (n *Node) Has(key string) bool {
	if n == nil || n.Kind != Map {
		return false
	}
	i := n.find(key)
	return i >= 0 && n.items[i].Kind != Null
}

// Set reports whether n is there and not null. It does not count as a look.
func (n *Node) Set() bool { return n != nil && n.Kind != Null }

// Members are a map's, in its order; for maps whose keys are anybody's.
func (n *Node) Members() iter.Seq2[string, *Node] {
	return func(yield func(string, *Node) bool) {
		if !n.is(Map) {
			return
		}
		n.open = true
		for i, k := range n.keys {
			if !yield(k, n.items[i]) {
				return
			}
		}
	}
}

// List returns a list's elements.
func (n *Node) List() []*Node {
	if !n.is(List) {
		return nil
	}
	return n.items
}

// Text is a scalar as it was written.
func (n *Node) Text() string {
	if n == nil || n.Kind == Null || n.Kind == List || n.Kind == Map {
		n.is(Text)
		return ""
	}
	n.seen = true
	return n.text
}

// Texts are the elements of a list of scalars.
func (n *Node) Texts() (out []string) {
	for _, e := range n.List() {
		out = append(out, e.Text())
	}
	return out
}

// Bool is nil where nothing is said.
func (n *Node) Bool() *bool {
	if !n.Set() {
		n.is(Bool)
		return nil
	}
	n.seen = true
	yes := false
	switch strings.ToLower(n.text) { // "" of a list and a map
	case "true", "yes", "on":
		yes = true
	case "false", "no", "off":
	default:
		n.Fail("want true or false, not %s", n.shown())
		return nil
	}
	return &yes
}

// True reports whether n is true.
func (n *Node) True() bool { b := n.Bool(); return b != nil && *b }

// Int is a whole number; nil where nothing is said.
func (n *Node) Int() *int64 {
	if !n.Set() {
		n.is(Number)
		return nil
	}
	r := n.Rat()
	if r == nil {
		return nil
	}
	if !r.IsInt() || !r.Num().IsInt64() {
		n.Fail("want a whole number, not %s", n.shown())
		return nil
	}
	i := r.Num().Int64()
	return &i
}

// Rat is a number; nil where nothing is said.
func (n *Node) Rat() *big.Rat {
	if !n.Set() {
		n.is(Number)
		return nil
	}
	n.seen = true
	if n.Kind != List && n.Kind != Map {
		if r, ok := ParseNumber(n.text); ok {
			return r
		}
	}
	n.Fail("want a number, not %s", n.shown())
	return nil
}

// ParseNumber reads a decimal number with or without a small exponent, or a whole one in base 8, 16 or 2.
func ParseNumber(s string) (*big.Rat, bool) {
	if len(s) > 64 || s == "" || strings.ContainsAny(s, "/pP_") {
		return nil, false
	}
	digits := strings.TrimLeft(s, "+-")
	if !strings.HasPrefix(digits, "0x") && !strings.HasPrefix(digits, "0X") {
		if i := strings.IndexAny(s, "eE"); i >= 0 {
			if e, err := strconv.Atoi(s[i+1:]); err != nil || e < -30 || e > 30 {
				return nil, false
			}
		}
	}
	return new(big.Rat).SetString(s)
}

func (n *Node) shown() string {
	if n.Kind == List || n.Kind == Map {
		return n.Kind.String()
	}
	if len(n.text) > 40 {
		return strconv.Quote(n.text[:40]) + "…"
	}
	return strconv.Quote(n.text)
}

// Len is how many elements or members n has.
func (n *Node) Len() int {
	if n == nil {
		return 0
	}
	return len(n.items)
}

// Pass counts n and all in it as looked at.
func (n *Node) Pass() {
	if n == nil {
		return
	}
	n.seen = true
	for _, e := range n.items {
		e.Pass()
	}
}

// Unread returns what nobody looked at, the topmost only. What says nothing (null, an empty list or map) is not among it.
func (n *Node) Unread() (out []*Node) {
	if n == nil || n.Kind == Null || (n.Kind == List || n.Kind == Map) && len(n.items) == 0 {
		return nil
	}
	if !n.seen {
		return []*Node{n}
	}
	for _, e := range n.items {
		out = append(out, e.Unread()...)
	}
	return out
}

// Read returns the scalars, and the empty lists and maps, that were looked at.
func (n *Node) Read() (out []*Node) {
	if n == nil || !n.seen {
		return nil
	}
	if len(n.items) == 0 {
		return []*Node{n}
	}
	for _, e := range n.items {
		out = append(out, e.Read()...)
	}
	return out
}

// Short is n in one line, for a message.
func (n *Node) Short() string {
	var b strings.Builder
	n.short(&b)
	s := b.String()
	if r := []rune(s); len(r) > 60 {
		s = string(r[:59]) + "…"
	}
	return s
}

func (n *Node) short(b *strings.Builder) {
	switch {
	case b.Len() > 200:
	case n == nil || n.Kind == Null:
		b.WriteString("null")
	case n.Kind == List:
		b.WriteByte('[')
		for i, e := range n.items {
			if i > 0 {
				b.WriteString(", ")
			}
			e.short(b)
		}
		b.WriteByte(']')
	case n.Kind == Map:
		b.WriteByte('{')
		for i, e := range n.items {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(n.keys[i] + ": ")
			e.short(b)
		}
		b.WriteByte('}')
	default:
		b.WriteString(strings.ReplaceAll(n.text, "\n", `\n`))
	}
}

// Shape is n's path without what differs from text to text: "spec.containers[].name", "metadata.labels.*".
func (n *Node) Shape() string {
	if n == nil || n.up == nil {
		return ""
	}
	switch {
	case n.up.Kind == List:
		return n.up.Shape() + "[]"
	case n.up.open:
		return join(n.up.Shape(), "*")
	}
	key := n.Path
	if n.up.Path != "" {
		key = key[len(n.up.Path)+1:] // see join
	}
	return join(n.up.Shape(), key)
}
