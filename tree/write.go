package tree

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Pair is one member of an Object.
type Pair struct {
	Key   string
	Value any
}

// Object is a map to be written, in its own order. Values are nil, bool, int, int64, uint64, string, json.Number,
// []string, []any, Object and *Object.
type Object []Pair

// Add adds a member that is not there yet; Put looks for it first.
func (o *Object) Add(key string, v any) { *o = append(*o, Pair{key, v}) }

// Put adds a member, or replaces the one of that name.
func (o *Object) Put(key string, v any) {
	for i := range *o {
		if (*o)[i].Key == key {
			(*o)[i].Value = v
			return
		}
	}
	o.Add(key, v)
}

// Say adds a member unless v is empty: "", false, 0, nil, or without elements.
func (o *Object) Say(key string, v any) {
	switch v := v.(type) {
	case nil:
		return
	case string:
		if v == "" {
			return
		}
	case bool:
		if !v {
			return
		}
	case int64:
		if v == 0 {
			return
		}
	case []string:
		if len(v) == 0 {
			return
		}
	case []any:
		if len(v) == 0 {
			return
		}
	case Object:
		if len(v) == 0 {
			return
		}
	}
	o.Put(key, v)
}

// YAML writes o as a YAML document. A text that YAML 1.1 or 1.2 would take for something else is quoted.
func (o Object) YAML() ([]byte, error) {
	return yaml.Dump(yamlOf(o), yaml.WithIndent(2), yaml.WithLineWidth(-1))
}

func yamlOf(v any) *yaml.Node {
	scalar := func(tag, s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: s} }
	switch v := v.(type) {
	case nil:
		return scalar("!!null", "null")
	case string:
		n := scalar("!!str", v)
		switch {
		case strings.Contains(v, "\n") && printable(v):
			n.Style = yaml.LiteralStyle
		case !plain(v):
			n.Style = yaml.DoubleQuotedStyle
		}
		return n
	case bool:
		return scalar("!!bool", strconv.FormatBool(v))
	case []string:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for _, e := range v {
			n.Content = append(n.Content, yamlOf(e))
		}
		return n
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for _, e := range v {
			n.Content = append(n.Content, yamlOf(e))
		}
		return n
	case *Object:
		return yamlOf(*v)
	case Object:
		n := &yaml.Node{Kind: yaml.MappingNode}
		if len(v) == 0 {
			n.Style = yaml.FlowStyle
		}
		for _, p := range v {
			n.Content = append(n.Content, yamlOf(p.Key), yamlOf(p.Value))
		}
		return n
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			return scalar("!!float", v.String())
		}
		return scalar("!!int", v.String())
	}
	return scalar("!!int", fmt.Sprint(v)) // int, int64, uint64
}

// plain says whether a text is one in every YAML without quotes.
func plain(s string) bool {
	if s == "" {
		return false
	}
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null":
		return false
	}
	for i, c := range s {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', i > 0 && '0' <= c && c <= '9', c == '/', c == '_':
		case i > 0 && (c == '.' || c == '-' || c == '+' || c == '=' || c == ',' || c == '@' || c == '%'):
		case i > 0 && (c == ':' || c == ' ') && i+1 < len(s) && s[i+1] != ' ' && s[i+1] != '#':
		default:
			return false
		}
	}
	return true
}

// printable says whether a text of several lines can stand as it is in a literal block.
func printable(s string) bool {
	if strings.HasPrefix(s, " ") || strings.HasPrefix(s, "\n") || strings.HasSuffix(s, "\n\n") {
		return false
	}
	for _, line := range strings.Split(strings.TrimSuffix(s, "\n"), "\n") {
		if line == "" || strings.TrimSpace(line) != line && strings.TrimRight(line, " \t") != line {
			return false
		}
		for _, c := range line {
			if c < ' ' || c > '~' {
				return false
			}
		}
	}
	return true
}

// JSON writes o as a JSON document, two blanks to each depth.
func (o Object) JSON() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(o)
	return b.Bytes(), err
}

// MarshalJSON writes o in its own order.
func (o Object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for i, p := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := enc.Encode(p.Key); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := enc.Encode(p.Value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}
