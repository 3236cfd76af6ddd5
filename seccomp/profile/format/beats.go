package format

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/abi"
	"porthole/near"
	"porthole/seccomp/profile"
	"porthole/tree"
)

var beats = &Form{
	Name: "beats", Title: "Elastic Beats (filebeat.yml, seccomp)", Source: "elastic/go-seccomp-bpf 1.6.0, filter.go; Beats' reference, \"seccomp\"",
	Keeps: []string{"default_action, syscalls with names, names_with_args and action"},
	Loses: []string{
		"an errno other than EPERM",
		"conditions, comments, flags, a listener",
		"calls of other architectures: a Beat's filter gives them the default action, and those of x32 ENOSYS, where a container's runtime kills",
		"numbers newer than the newest that is named get the default action; here they get ENOSYS where that refuses",
		"names that the machine does not have make the Beat refuse the whole policy; here they are no rule",
	},
	guess: func(_ string, text []byte) bool {
		return !isJSON(text) && hasLine(text, "default_action:", "seccomp.default_action:", "seccomp:")
	},
	read: readBeats, write: writeBeats,
}

// beatActions are the words of go-seccomp-bpf (actionNames).
var beatActions = map[string]specs.LinuxSeccompAction{
	"kill_thread": specs.ActKillThread, "kill_process": specs.ActKillProcess, "trap": specs.ActTrap, "errno": specs.ActErrno,
	"trace": specs.ActTrace, "log": specs.ActLog, "allow": specs.ActAllow,
}

// beatOps are its operations; bits are written with masks.
var beatOps = map[string]specs.LinuxSeccompOperator{
	"equal": specs.OpEqualTo, "notequal": specs.OpNotEqual, "greaterthan": specs.OpGreaterThan, "lessthan": specs.OpLessThan,
	"greaterorequal": specs.OpGreaterEqual, "lessorequal": specs.OpLessEqual, "bitsset": specs.OpMaskedEqual, "bitsnotset": specs.OpMaskedEqual,
}

func readBeats(name string, text []byte) (*Document, error) {
	root, err := readTree(name, text)
	if err != nil {
		return nil, err
	}
	d := &Document{Profile: &profile.Profile{}, places: map[string]place{}}
	policy := root
	switch {
	case root.Has("seccomp"):
		policy = root.Get("seccomp")
	case root.Has("seccomp.default_action") || root.Has("seccomp.syscalls"):
		return d, d.policy(name, root, "seccomp.")
	}
	return d, d.policy(name, policy, "")
}

// policy reads a policy whose keys begin with prefix.
func (d *Document) policy(name string, n *tree.Node, prefix string) error {
	p := d.Profile
	action := func(n *tree.Node) specs.LinuxSeccompAction {
		word := strings.ToLower(n.Text())
		a, ok := beatActions[word]
		if !ok {
			n.Fail("unknown action %q%s", n.Text(), meant(near.Names(word, slices.Sorted(maps.Keys(beatActions)), 1)))
		}
		return a
	}
	if e := n.Get(prefix + "enabled").Bool(); e != nil && !*e {
		d.lose(n.Get(prefix+"enabled"), "enabled", "the Beat installs no filter")
	}
	if def := n.Get(prefix + "default_action"); def.Set() {
		p.Default = action(def)
		d.places["defaultAction"] = place{def.Line, def.Column}
	} else {
		return syntax(name, n, "no default_action in it")
	}
	for _, g := range n.Get(prefix + "syscalls").List() {
		act := g.Get("action")
		if !act.Set() {
			g.Fail("no action in it")
			continue
		}
		a := action(act)
		if names := g.Get("names"); names.Set() {
			var e profile.Entry
			e.Action = a
			path := d.entry(g)
			for j, v := range names.List() {
				e.Names = append(e.Names, d.call(v, fmt.Sprintf("%s.names[%d]", path, j)))
			}
			p.Entries = append(p.Entries, e)
		}
		for _, v := range g.Get("names_with_args").List() {
			entries, err := d.withArgs(name, v, a)
			if err != nil {
				return err
			}
			p.Entries = append(p.Entries, entries...)
		}
	}
	d.settle()
	d.Open = p.Default == specs.ActAllow || p.Default == specs.ActLog
	for _, v := range n.Unread() {
		if prefix != "" && !strings.HasPrefix(v.Path, prefix) || v == n {
			continue // the rest of a Beat's configuration
		}
		return syntax(name, v, "unknown key")
	}
	if err := n.Err(); err != nil {
		return asSyntax(name, err)
	}
	return nil
}

// settle takes a call out of entries after one that decides it whatever its arguments. For a Beat the first that
// matches decides; a profile skips entries that say what the default says.
func (d *Document) settle() {
	p := d.Profile
	last := map[string]int{} // the last entry that names a call
	for i, e := range p.Entries {
		for _, n := range e.Names {
			last[n] = i
		}
	}
	decided := map[string]bool{}
	for i := range p.Entries {
		e := &p.Entries[i]
		e.Names = slices.DeleteFunc(e.Names, func(n string) bool { return decided[n] })
		for _, n := range e.Names {
			switch {
			case len(e.Args) == 0:
				decided[n] = true
			case last[n] > i && saysDefault(p, *e):
				path := fmt.Sprintf("syscalls[%d]", i)
				at := d.places[path]
				d.Losses = append(d.Losses, Loss{path, fmt.Sprintf("for %s it says what the default says, which a profile skips: a later entry decides", n), at.line, at.column})
			}
		}
	}
}

// entry notes where the next entry stands, and returns its path.
func (d *Document) entry(n *tree.Node) string {
	path := fmt.Sprintf("syscalls[%d]", len(d.Profile.Entries))
	d.places[path] = place{n.Line, n.Column}
	return path
}

// call reads a name, with a warning for one that is none.
func (d *Document) call(n *tree.Node, path string) string {
	s := n.Text()
	d.places[path] = place{n.Line, n.Column}
	if s != "" && !abi.Known(s) {
		if len(d.Warnings) == maxWarnings {
			n.Fail("after %d warnings: this is no profile", maxWarnings)
			return s
		}
		d.unknown(s, path, place{n.Line, n.Column})
	}
	return s
}

// withArgs reads a name with tests, all of which must hold. Bits of which any may be set become an entry each.
func (d *Document) withArgs(name string, n *tree.Node, act specs.LinuxSeccompAction) ([]profile.Entry, error) {
	call := d.call(n.Get("name"), fmt.Sprintf("syscalls[%d].names[0]", len(d.Profile.Entries)))
	all := [][]specs.LinuxSeccompArg{nil}
	seen := map[uint64]bool{}
	for _, c := range n.Get("arguments").List() {
		number := func(keys ...string) uint64 {
			for _, key := range keys {
				if v := c.Get(key); v.Set() {
					r := v.Rat()
					if r == nil || !r.IsInt() || !r.Num().IsUint64() {
						v.Fail("want a whole number from 0 to %d", uint64(math.MaxUint64))
						return 0
					}
					return r.Num().Uint64()
				}
			}
			return 0
		}
		index, value := number("argument", "position"), number("value")
		op := c.Get("operation")
		word := strings.ToLower(op.Text())
		if _, ok := beatOps[word]; !ok {
			c.Fail("unknown operation %q; there are Equal, NotEqual, GreaterThan, LessThan, GreaterOrEqual, LessOrEqual, BitsSet, BitsNotSet", op.Text())
			continue
		}
		if index > 5 {
			c.Fail("a system call has arguments 0 to 5")
			continue
		}
		if seen[index] {
			return nil, syntax(name, c, "a second test of argument %d that must hold too: a profile takes two tests of one argument to mean either", index)
		}
		seen[index] = true
		arg := specs.LinuxSeccompArg{Index: uint(index), Value: value, Op: beatOps[word]}
		switch word {
		case "bitsnotset":
			arg.ValueTwo = 0
		case "bitsset": // any of them
			var more [][]specs.LinuxSeccompArg
			for m := value; m != 0; m &= m - 1 {
				one := specs.LinuxSeccompArg{Index: uint(index), Value: m & -m, ValueTwo: m & -m, Op: specs.OpMaskedEqual}
				for _, args := range all {
					more = append(more, append(args[:len(args):len(args)], one))
				}
			}
			if len(more) > 1000 || len(more)+len(d.Profile.Entries) > maxListed {
				return nil, syntax(name, c, "more than 1000 ways for its bits to be set, or %d with all before it", maxListed)
			}
			all = more
			continue
		}
		for i := range all {
			all[i] = append(all[i][:len(all[i]):len(all[i])], arg)
		}
	}
	var out []profile.Entry
	for i, args := range all {
		path := fmt.Sprintf("syscalls[%d]", len(d.Profile.Entries)+i)
		d.places[path] = place{n.Line, n.Column}
		e := profile.Entry{}
		e.Names, e.Action, e.Args = []string{call}, act, args
		out = append(out, e)
	}
	return out, nil
}

func writeBeats(p *profile.Profile) ([]byte, []Loss, error) {
	p, losses, err := plain(p, "a Beat")
	if err != nil {
		return nil, nil, err
	}
	lose := func(path, format string, args ...any) {
		losses = append(losses, Loss{Path: path, Msg: fmt.Sprintf(format, args...)})
	}
	words := map[specs.LinuxSeccompAction]string{specs.ActKill: "kill_thread"}
	for w, a := range beatActions {
		words[a] = w
	}
	ops := map[specs.LinuxSeccompOperator]string{
		specs.OpEqualTo: "Equal", specs.OpNotEqual: "NotEqual", specs.OpGreaterThan: "GreaterThan", specs.OpLessThan: "LessThan",
		specs.OpGreaterEqual: "GreaterOrEqual", specs.OpLessEqual: "LessOrEqual",
	}
	if words[p.Default] == "" {
		return nil, nil, fmt.Errorf("%s: defaultAction: a Beat knows no %s", p.Name, p.Default)
	}
	if n := errnoOf(p.Default, p.DefaultErrno); n != 1 && p.Default == specs.ActErrno {
		lose("defaultErrnoRet", "the answer by default is EPERM, not %d", n)
	}
	lose("architectures", "calls of other architectures get the default action, those of x32 ENOSYS")
	if len(p.Flags) > 0 || p.ListenerPath != "" {
		lose("flags", "flags and listener have no word")
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "seccomp:\n  default_action: %s\n  syscalls:\n", words[p.Default])
	groups := 0
	for i, e := range active(p, &losses) {
		path := fmt.Sprintf("syscalls[%d]", i)
		if len(e.Names) == 0 {
			continue
		}
		word := words[e.Action]
		if word == "" {
			lose(path, "a Beat knows no %s; the entry is left out", e.Action)
			continue
		}
		if n := errnoOf(e.Action, e.ErrnoRet); e.Action == specs.ActErrno && n != 1 {
			lose(path+".errnoRet", "the answer is EPERM, not %d", n)
		}
		alternatives := [][]specs.LinuxSeccompArg{e.Args}
		twice := false
		for j, a := range e.Args {
			twice = twice || slices.ContainsFunc(e.Args[:j], func(o specs.LinuxSeccompArg) bool { return o.Index == a.Index })
		}
		if twice {
			alternatives = nil
			for _, a := range e.Args {
				alternatives = append(alternatives, []specs.LinuxSeccompArg{a})
			}
		}
		bad := slices.IndexFunc(e.Args, func(a specs.LinuxSeccompArg) bool {
			return a.Op == specs.OpMaskedEqual && a.ValueTwo&a.Value != 0 && a.Value&(a.Value-1) != 0
		})
		if bad >= 0 {
			lose(fmt.Sprintf("%s.args[%d]", path, bad), "a Beat tests whether any bit of a mask is set or none is, no other pattern; the entry is left out")
			continue
		}
		groups++
		if len(e.Args) == 0 {
			fmt.Fprintf(&b, "  - action: %s\n    names:\n", word)
			for _, n := range e.Names {
				fmt.Fprintf(&b, "    - %s\n", scalar(n))
			}
			continue
		}
		fmt.Fprintf(&b, "  - action: %s\n    names_with_args:\n", word)
		for _, n := range e.Names {
			for _, args := range alternatives {
				fmt.Fprintf(&b, "    - name: %s\n      arguments:\n", scalar(n))
				for _, a := range args {
					op, v := ops[a.Op], a.Value
					if a.Op == specs.OpMaskedEqual {
						op = map[bool]string{true: "BitsNotSet", false: "BitsSet"}[a.ValueTwo&a.Value == 0]
					}
					fmt.Fprintf(&b, "      - argument: %d\n        operation: %s\n        value: %s\n", a.Index, op, strconv.FormatUint(v, 10))
				}
			}
		}
	}
	if groups == 0 {
		return nil, nil, fmt.Errorf("%s: no entry is left, and a Beat refuses a policy without one", p.Name)
	}
	return b.Bytes(), losses, nil
}
