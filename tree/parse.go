package tree

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// Parse reads a text of one JSON value, or of one or several YAML documents. Aliases and merge keys (<<) are written
// out. A text that is over a limit is refused with the limit's name; so is one with a key twice.
func Parse(text []byte) ([]*Node, error) {
	if len(text) > MaxBytes {
		return nil, &Error{Msg: fmt.Sprintf("%d bytes long; the most is %d (MaxBytes)", len(text), MaxBytes)}
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(text) {
		return nil, &Error{Msg: "the text is not UTF-8"}
	}
	if t := bytes.TrimLeft(text, " \t\r\n"); len(t) > 0 && (t[0] == '{' || t[0] == '[') {
		n, err := parseJSON(text)
		var syntax *json.SyntaxError
		if err == nil {
			return []*Node{n}, nil
		}
		if !errors.As(err, &syntax) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, err
		}
		// A flow of YAML begins like JSON.
		docs, yamlErr := parseYAML(text)
		if yamlErr != nil {
			if syntax != nil {
				line, column := (&making{text: text}).place(syntax.Offset)
				return nil, &Error{Line: line, Column: column, Msg: "neither JSON (" + syntax.Error() + ") nor YAML"}
			}
			return nil, yamlErr
		}
		return docs, nil
	}
	return parseYAML(text)
}

// making are the nodes of one text being made.
type making struct {
	text   []byte
	values int
	paths  int // bytes of their paths
	texts  int // and of their texts
	err    *Error

	read, line, start int // how far lines are counted, how many have ended by there, and where the last begins
}

// place is the line and column of the byte before off. It counts from where it was asked last: what is asked next lies
// behind that.
func (m *making) place(off int64) (line, column int) {
	for m.read < min(int(off), len(m.text)) {
		if m.text[m.read] == '\n' {
			m.line, m.start = m.line+1, m.read+1
		}
		m.read++
	}
	return m.line + 1, m.read - m.start
}

func (m *making) node(path string, line, column int, kind Kind, depth int) (*Node, error) {
	if m.values++; m.values > MaxValues {
		return nil, &Error{line, column, "", fmt.Sprintf("more than %d values, with aliases written out (MaxValues)", MaxValues)}
	}
	if depth > MaxDepth {
		return nil, &Error{line, column, "", fmt.Sprintf("more than %d lists and maps in one another (MaxDepth)", MaxDepth)}
	}
	if m.paths += len(path); m.paths > MaxPaths {
		return nil, &Error{line, column, "", fmt.Sprintf("keys so long that its values' paths come to more than %d bytes (MaxPaths)", MaxPaths)}
	}
	return &Node{Path: path, Line: line, Column: column, Kind: kind, err: &m.err}, nil
}

func (n *Node) put(key string, v *Node) error {
	if n.find(key) >= 0 {
		return &Error{v.Line, v.Column, n.Path, fmt.Sprintf("the key %q stands there twice", key)}
	}
	n.add(key, v)
	return nil
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func parseYAML(text []byte) (docs []*Node, err error) {
	m := &making{text: text}
	dec, err := yaml.NewLoader(bytes.NewReader(text), yaml.WithPlugin(ours{}))
	if err != nil {
		return nil, err
	}
	for {
		var y yaml.Node
		if err := dec.Load(&y); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, yamlError(err)
		}
		if len(y.Content) == 0 || len(y.Content) == 1 && y.Content[0].ShortTag() == "!!null" {
			continue // an empty document between two ---
		}
		n, err := m.fromYAML(y.Content[0], "", 0)
		if err != nil {
			return nil, err
		}
		docs = append(docs, n)
	}
	if docs == nil {
		return nil, &Error{Msg: "the text is empty"}
	}
	return docs, nil
}

// ours are our limits in the library's own reading; aliases are counted as they are written out.
type ours struct{}

func (ours) CheckDepth(depth int, _ *yaml.DepthContext) error {
	if depth > 2*MaxDepth {
		return fmt.Errorf("more than %d lists and maps in one another (MaxDepth)", MaxDepth)
	}
	return nil
}

func (ours) CheckAlias(int, int) error { return nil }

// yamlError is what the library says, with its place.
func yamlError(err error) error {
	var e *yaml.LoadError
	if !errors.As(err, &e) {
		return &Error{Msg: "not YAML: " + err.Error()}
	}
	msg := "not YAML: " + e.Message
	if e.ContextMsg != "" {
		msg += " (" + e.ContextMsg + ")"
	}
	return &Error{Line: e.Mark.Line, Column: e.Mark.Column, Msg: msg}
}

func (m *making) fromYAML(y *yaml.Node, path string, depth int) (*Node, error) {
	for y.Kind == yaml.AliasNode {
		if depth++; depth > MaxDepth || y.Alias == nil {
			return nil, &Error{y.Line, y.Column, "", fmt.Sprintf("an alias that holds itself, or is more than %d lists and maps deep (MaxDepth)", MaxDepth)}
		}
		y = y.Alias
	}
	n, err := m.node(path, y.Line, y.Column, Text, depth)
	if err != nil {
		return nil, err
	}
	switch y.Kind {
	case yaml.SequenceNode:
		n.Kind = List
		for i, e := range y.Content {
			item, err := m.fromYAML(e, index(path, i), depth+1)
			if err != nil {
				return nil, err
			}
			item.up = n
			n.items = append(n.items, item)
		}
	case yaml.MappingNode:
		n.Kind = Map
		return n, m.members(n, y, depth)
	case yaml.ScalarNode:
		if m.texts += len(y.Value); m.texts > MaxBytes {
			return nil, &Error{y.Line, y.Column, path, fmt.Sprintf("more than %d bytes of text, with aliases written out (MaxBytes)", MaxBytes)}
		}
		n.text = y.Value
		switch y.ShortTag() {
		case "!!null":
			n.Kind = Null
		case "!!bool":
			n.Kind = Bool
		case "!!int", "!!float":
			n.Kind = Number
		}
	default:
		return nil, &Error{y.Line, y.Column, path, "no value"}
	}
	return n, nil
}

// members are a map's own and then, for keys that it has not, those that << brings.
func (m *making) members(n *Node, y *yaml.Node, depth int) error {
	var merged []*yaml.Node
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		if k.ShortTag() == "!!merge" {
			merged = append(merged, v)
			continue
		}
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode {
			return &Error{k.Line, k.Column, n.Path, "a key must be a text"}
		}
		value, err := m.fromYAML(v, join(n.Path, k.Value), depth+1)
		if err != nil {
			return err
		}
		if err := n.put(k.Value, value); err != nil {
			return err
		}
	}
	for _, from := range merged {
		bring, err := m.fromYAML(from, n.Path, depth+1)
		if err != nil {
			return err
		}
		all := []*Node{bring}
		if bring.Kind == List {
			all = bring.items
		}
		for _, b := range all {
			if b.Kind != Map {
				return &Error{from.Line, from.Column, n.Path, "<< must bring a map"}
			}
			for i, k := range b.keys {
				if n.find(k) < 0 {
					b.items[i].move(join(n.Path, k))
					n.add(k, b.items[i])
				}
			}
		}
	}
	return nil
}

// move gives a node that a merge brought the path where it now stands.
func (n *Node) move(path string) {
	n.Path = path
	for i, e := range n.items {
		if n.Kind == Map {
			e.move(join(path, n.keys[i]))
		} else {
			e.move(index(path, i))
		}
	}
}

func parseJSON(text []byte) (*Node, error) {
	m := &making{text: text}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	n, err := m.fromJSON(dec, "", 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		line, column := m.place(dec.InputOffset())
		return nil, &Error{Line: line, Column: column, Msg: "more follows behind the JSON value"}
	}
	return n, nil
}

func (m *making) fromJSON(dec *json.Decoder, path string, depth int) (*Node, error) {
	tok, err := dec.Token()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	line, column := m.place(dec.InputOffset())
	n, err := m.node(path, line, column, Null, depth)
	if err != nil {
		return nil, err
	}
	switch v := tok.(type) {
	case string:
		n.Kind, n.text = Text, v
	case json.Number:
		n.Kind, n.text = Number, v.String()
	case bool:
		n.Kind, n.text = Bool, strconv.FormatBool(v)
	case json.Delim:
		n.Kind = List
		if v == '{' {
			n.Kind = Map
		}
		for i := 0; dec.More(); i++ {
			at, key := index(path, i), ""
			if n.Kind == Map {
				k, err := dec.Token()
				if err != nil {
					return nil, err
				}
				key, _ = k.(string)
				at = join(path, key)
			}
			item, err := m.fromJSON(dec, at, depth+1)
			if err != nil {
				return nil, err
			}
			if n.Kind == List {
				item.up = n
				n.items = append(n.items, item)
			} else if err := n.put(key, item); err != nil {
				return nil, err
			}
		}
		if _, err := dec.Token(); err != nil { // its end
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return n, nil
}
