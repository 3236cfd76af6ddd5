package format

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/seccomp/profile"
	"porthole/tree"
)

var operator = &Form{
	Name: "operator", Title: "Security Profiles Operator, SeccompProfile", Source: "security-profiles-operator, api/seccompprofile v1 and v1beta1",
	Keeps: []string{"tests of arguments, with values below 2⁶³", "flags, listener"},
	Loses: []string{
		"baseProfileName: the operator adds that profile's calls; they are not in this text",
		"conditions: decide them first (`porthole profile resolve`)",
		"the default's errno, if it is not EPERM",
		"an errno of 0, which the operator takes for none, so for EPERM",
		"comments; metadata, status and all else outside spec that says nothing of calls",
	},
	guess: func(_ string, text []byte) bool {
		return hasLine(text, "kind: SeccompProfile", `"kind": "SeccompProfile"`)
	},
	read: readOperator, write: writeOperator,
}

func readOperator(name string, text []byte) (*Document, error) {
	root, err := readTree(name, text)
	if err != nil {
		return nil, err
	}
	if kind := root.Get("kind").Text(); kind != "SeccompProfile" {
		return nil, syntax(name, root.Get("kind"), "want kind SeccompProfile, not %q", kind)
	}
	spec := root.Get("spec")
	if !spec.Set() {
		return nil, syntax(name, root, "no spec in it")
	}
	d := &Document{places: map[string]place{}}
	var b strings.Builder
	b.WriteByte('{')
	for key, v := range spec.Members() {
		switch key {
		case "defaultAction", "architectures", "listenerPath", "listenerMetadata", "syscalls", "flags":
			if b.Len() > 1 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, "%q:", key)
			if err := d.json(&b, name, key, v); err != nil {
				return nil, err
			}
		case "baseProfileName":
			if v.Text() != "" {
				d.lose(v, "spec.baseProfileName", "the calls of %s come in addition: they are not in this text", v.Text())
			}
		case "disabled":
			if v.True() {
				d.lose(v, "spec.disabled", "the operator does not install this profile")
			}
		default:
			return nil, syntax(name, v, "unknown key")
		}
	}
	b.WriteByte('}')
	if err := root.Err(); err != nil {
		return nil, asSyntax(name, err)
	}
	return d, d.parse(name, b.String(), spec)
}

// parse has profile.Parse read a document that was written anew as JSON, and puts messages where its parts
// stood.
func (d *Document) parse(name, doc string, at *tree.Node) error {
	p, warnings, err := profile.Parse(name, []byte(doc))
	var bad *profile.SyntaxError
	if errors.As(err, &bad) {
		d.places[""] = place{at.Line, at.Column}
		bad.Line, bad.Column = d.Place(bad.Path)
		if bad.Path == "" {
			bad.Line, bad.Column = at.Line, at.Column
		}
		return bad
	}
	for i := range warnings {
		warnings[i].Line, warnings[i].Column = d.Place(warnings[i].Path)
	}
	d.Profile, d.Warnings = p, warnings
	return err
}

// json writes a value as JSON, and notes where it stood.
func (d *Document) json(b *strings.Builder, name, path string, v *tree.Node) error {
	d.places[path] = place{v.Line, v.Column}
	switch v.Kind {
	case tree.Map:
		b.WriteByte('{')
		n := 0
		for key, e := range v.Members() {
			// The operator takes an errno of 0 for none.
			if key == "errnoRet" && strings.Trim(e.Text(), "0") == "" {
				if e.Text() != "" {
					d.lose(e, "spec."+path+".errnoRet", "the operator takes 0 for none: the answer is EPERM")
				}
				continue
			}
			if n++; n > 1 {
				b.WriteByte(',')
			}
			b.WriteString(quoted(key) + ":")
			if err := d.json(b, name, path+"."+key, e); err != nil {
				return err
			}
		}
		b.WriteByte('}')
	case tree.List:
		b.WriteByte('[')
		for i, e := range v.List() {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := d.json(b, name, fmt.Sprintf("%s[%d]", path, i), e); err != nil {
				return err
			}
		}
		b.WriteByte(']')
	case tree.Null:
		b.WriteString("null")
	case tree.Bool:
		b.WriteString(strings.ToLower(v.Text()))
	default:
		last := path[strings.LastIndexByte(path, '.')+1:]
		if v.Kind == tree.Number || last == "errnoRet" { // v1alpha1 had that one as a text
			n, ok := tree.ParseNumber(v.Text())
			if !ok || !n.IsInt() || n.Sign() < 0 || !n.Num().IsUint64() {
				return syntax(name, v, "%s; expected a whole number from 0 to %d", v.Text(), uint64(math.MaxUint64))
			}
			b.WriteString(n.Num().String())
			break
		}
		b.WriteString(quoted(v.Text()))
	}
	return nil
}

// quoted is a text in the quotes that JSON and YAML share.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 || r == 0xfeff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// readTree reads a text that is one document.
func readTree(name string, text []byte) (*tree.Node, error) {
	docs, err := tree.Parse(text)
	if err != nil {
		return nil, asSyntax(name, err)
	}
	if len(docs) > 1 {
		return nil, syntax(name, docs[1], "a second document; give one")
	}
	return docs[0], nil
}

func syntax(name string, at *tree.Node, format string, args ...any) error {
	e := &profile.SyntaxError{Name: name, Line: 1, Column: 1, Msg: fmt.Sprintf(format, args...)}
	if at != nil {
		e.Line, e.Column, e.Path = at.Line, at.Column, at.Path
	}
	return e
}

func asSyntax(name string, err error) error {
	e := &profile.SyntaxError{Name: name, Line: 1, Column: 1, Msg: err.Error()}
	var at *tree.Error
	if errors.As(err, &at) {
		e.Line, e.Column, e.Path, e.Msg = max(at.Line, 1), max(at.Column, 1), at.Path, at.Msg
	}
	return e
}

func (d *Document) lose(at *tree.Node, path, format string, args ...any) {
	d.Losses = append(d.Losses, Loss{path, fmt.Sprintf(format, args...), at.Line, at.Column})
}

func writeOperator(p *profile.Profile) ([]byte, []Loss, error) {
	p, losses, err := plain(p, "the operator")
	if err != nil {
		return nil, nil, err
	}
	var b bytes.Buffer
	b.WriteString("apiVersion: security-profiles-operator.x-k8s.io/v1beta1\nkind: SeccompProfile\nmetadata:\n")
	fmt.Fprintf(&b, "  name: %s\nspec:\n  defaultAction: %s\n", objectName(p.Name), p.Default)
	if n := errnoOf(p.Default, p.DefaultErrno); p.DefaultErrno != nil && n != 1 {
		losses = append(losses, Loss{Path: "defaultErrnoRet", Msg: fmt.Sprintf("the answer by default is EPERM, not %d: the operator has no word for it", n)})
	}
	list := func(key string, words []string) {
		if len(words) > 0 {
			fmt.Fprintf(&b, "  %s:\n", key)
		}
		for _, w := range words {
			fmt.Fprintf(&b, "  - %s\n", w)
		}
	}
	var arches, flags []string
	for _, a := range p.Arches {
		arches = append(arches, string(a))
	}
	for _, f := range p.Flags {
		flags = append(flags, string(f))
	}
	list("architectures", arches)
	list("flags", flags)
	if p.Flags != nil && len(flags) == 0 {
		losses = append(losses, Loss{Path: "flags", Msg: "an empty list reads as none given: the runtime chooses"})
	}
	if p.ListenerPath != "" {
		fmt.Fprintf(&b, "  listenerPath: %s\n", quoted(p.ListenerPath))
	}
	if p.ListenerMetadata != "" {
		fmt.Fprintf(&b, "  listenerMetadata: %s\n", quoted(p.ListenerMetadata))
	}
	if len(p.Entries) > 0 {
		b.WriteString("  syscalls:\n")
	}
	for i, e := range p.Entries {
		path := fmt.Sprintf("syscalls[%d]", i)
		at := slices.IndexFunc(e.Args, func(a specs.LinuxSeccompArg) bool { return a.Value > math.MaxInt64 || a.ValueTwo > math.MaxInt64 })
		switch {
		case len(e.Names) == 0:
			losses = append(losses, Loss{Path: path, Msg: "it names no call, and is left out"})
			continue
		case at >= 0:
			losses = append(losses, Loss{Path: fmt.Sprintf("%s.args[%d]", path, at), Msg: "the operator's values end at 2⁶³-1: the entry is left out"})
			continue
		}
		fmt.Fprintf(&b, "  - action: %s\n", e.Action)
		if e.ErrnoRet != nil && *e.ErrnoRet != 0 {
			fmt.Fprintf(&b, "    errnoRet: %d\n", *e.ErrnoRet)
		} else if e.ErrnoRet != nil {
			losses = append(losses, Loss{Path: path + ".errnoRet", Msg: "the operator takes 0 for none: the answer is EPERM"})
		}
		if len(e.Args) > 0 {
			b.WriteString("    args:\n")
		}
		for _, a := range e.Args {
			fmt.Fprintf(&b, "    - index: %d\n      op: %s\n      value: %d\n", a.Index, a.Op, a.Value)
			if a.ValueTwo != 0 {
				fmt.Fprintf(&b, "      valueTwo: %d\n", a.ValueTwo)
			}
		}
		b.WriteString("    names:\n")
		for _, n := range e.Names {
			fmt.Fprintf(&b, "    - %s\n", scalar(n))
		}
	}
	return b.Bytes(), losses, nil
}

// scalar is a name as YAML may have it bare: one that is no other word of YAML's.
func scalar(s string) string {
	for _, r := range s {
		if r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9') {
			return quoted(s)
		}
	}
	if s == "" || strings.Trim(s, "0123456789_ex") == "" || slices.Contains([]string{"null", "true", "false", "yes", "no", "on", "off", "y", "n"}, s) {
		return quoted(s)
	}
	return s
}

// objectName makes a name of Kubernetes' of any.
func objectName(s string) string {
	s = s[strings.LastIndexByte(s, '/')+1:]
	s = strings.TrimSuffix(strings.ToLower(s), ".json")
	var b strings.Builder
	for _, r := range s {
		if ('a' > r || r > 'z') && ('0' > r || r > '9') && r != '.' {
			r = '-'
		}
		b.WriteRune(r)
	}
	if s = strings.Trim(b.String(), "-."); s == "" || len(s) > 253 {
		return "profile"
	}
	return s
}
