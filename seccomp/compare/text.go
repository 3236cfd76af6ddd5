package compare

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"porthole/abi"
	"porthole/seccomp"
	"porthole/seccomp/profile"
)

// group are calls that changed alike.
type group struct {
	kind     Kind
	from, to seccomp.Action
	when     string
	args     string // which of their arguments, "" for whichever
	arches   string // the ABIs, where not all of the machine's that have the call
	own      bool   // the machine's own is among them
	calls    []string
	example  string
}

// groups puts together what reads alike: first one call's changes over the ABIs, then calls.
func (r Result) groups() []group {
	type key struct {
		call, when, args string
		from, to         seccomp.Action
	}
	arches := map[key][]abi.Arch{}
	first := map[key]Change{}
	var order []key
	for _, c := range r.Changes {
		name := c.name()
		if c.Call == "" && c.Arch != r.Machine {
			name = unnamed
		}
		k := key{name, c.When.String(), strings.Join(c.Args, "; or "), c.From, c.To}
		if _, seen := arches[k]; !seen {
			order = append(order, k)
			first[k] = c
		}
		arches[k] = append(arches[k], c.Arch)
	}
	var out []group
	place := map[string]int{}
	for _, k := range order {
		c := first[k]
		g := group{kind: c.Kind(), from: c.From, to: c.To, when: k.when, args: k.args, own: slices.Contains(arches[k], r.Machine)}
		var have []abi.Arch
		for _, a := range r.Machine.Siblings() {
			if _, ok := a.Nr(c.Call); ok {
				have = append(have, a)
			}
		}
		arches[k] = slices.Compact(arches[k])
		if len(arches[k]) < len(have) || c.Call == "" && len(r.Machine.Siblings()) > 1 {
			var names []string
			for _, a := range arches[k] {
				names = append(names, a.String())
			}
			g.arches = strings.Join(names, " ")
		}
		id := fmt.Sprint(g.from, g.to, g.when, g.args, g.arches)
		if g.args != "" { // such a line has an example of its own call
			id += k.call
			g.example = example(c)
		}
		i, ok := place[id]
		if !ok {
			i = len(out)
			place[id] = i
			out = append(out, g)
		}
		out[i].calls = append(out[i].calls, k.call)
	}
	for _, g := range out {
		slices.Sort(g.calls)
	}
	slices.SortStableFunc(out, func(a, b group) int {
		return cmp.Or(-cmp.Compare(index(a.own), index(b.own)), cmp.Compare(a.kind, b.kind))
	})
	return out
}

// unnamed stands for the runs of numbers of ABIs other than the machine's own, which are many.
const unnamed = "[numbers without a name]"

// name is the call, or the numbers of a run.
func (c Change) name() string {
	lo, hi := c.Lo&^abi.X32Bit, c.Hi&^abi.X32Bit
	switch {
	case c.Call != "":
		return c.Call
	case c.Lo == c.Hi:
		return fmt.Sprintf("[%d]", lo)
	case c.Hi == abi.X32Bit-1, c.Hi == 2*abi.X32Bit-1, c.Hi == ^uint32(0), c.Hi == ^uint32(0)-1:
		return fmt.Sprintf("[%d and up]", lo)
	}
	return fmt.Sprintf("[%d to %d]", lo, hi)
}

// example is a call that is answered otherwise, as ParseCall reads it.
func example(c Change) string {
	call := profile.Call{Name: c.Call}
	for i := range call.Args {
		if strings.Contains(strings.Join(c.Args, " "), fmt.Sprintf("arg%d", i)) {
			call.Args[i] = profile.Arg{Known: true, Value: c.Example[i]}
		}
	}
	return call.String()
}

// Text is the result as a table: a line for calls that changed alike, calls newly allowed first.
func (r Result) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s → %s, on %v\n", r.A, r.B, r.Machine)
	if r.Only != nil {
		fmt.Fprintf(&b, "under these conditions alone: capabilities %s, Linux %v\n", orNone(names(r.Only.Caps)), r.Only.Kernel)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "%s\n", n)
	}
	if r.Same() {
		b.WriteString("no call is answered otherwise\n")
		return b.String()
	}
	headings := map[Kind]string{Allowed: "now allowed", Refused: "now refused", Other: "answered otherwise"}
	var last group
	for i, g := range r.groups() {
		if i == 0 || g.kind != last.kind || g.own != last.own {
			fmt.Fprintf(&b, "\n%s", headings[g.kind])
			if !g.own {
				fmt.Fprintf(&b, ", for programs of other ABIs alone")
			}
			b.WriteString("\n")
			last = g
		}
		fmt.Fprintf(&b, "  %v → %v", g.from, g.to)
		if g.when != "always" {
			fmt.Fprintf(&b, ", %s", g.when)
		}
		if g.arches != "" {
			fmt.Fprintf(&b, ", by %s only", g.arches)
		}
		b.WriteString("\n")
		b.WriteString(wrap(strings.Join(g.calls, " "), "    ", 110))
		if g.args != "" {
			fmt.Fprintf(&b, "      if %s\n      such as %s\n", g.args, g.example)
		}
	}
	return b.String()
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// wrap breaks words into lines of a width.
func wrap(s, indent string, width int) string {
	var b strings.Builder
	line := indent
	for _, w := range strings.SplitAfter(s, " ") {
		if len(line)+len(strings.TrimRight(w, " ")) > width && strings.TrimSpace(line) != "" {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = indent
		}
		line += w
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
	return b.String()
}

// JSON is the result for programs.
func (r Result) JSON() []byte {
	type conditions struct {
		With        []string `json:"capabilitiesGranted,omitempty"`
		Without     []string `json:"capabilitiesNotGranted,omitempty"`
		MinKernel   string   `json:"minKernel,omitempty"`
		BelowKernel string   `json:"belowKernel,omitempty"`
	}
	type change struct {
		Kind    string     `json:"change"`
		Call    string     `json:"call,omitempty"`
		Arch    string     `json:"arch"`
		Number  uint32     `json:"number"`
		To      *uint32    `json:"lastNumber,omitempty"`
		From    string     `json:"before"`
		Then    string     `json:"after"`
		When    conditions `json:"when"`
		Args    []string   `json:"arguments,omitempty"`
		Example []string   `json:"example"`
	}
	out := struct {
		A       string   `json:"a"`
		B       string   `json:"b"`
		Machine string   `json:"machine"`
		Same    bool     `json:"same"`
		Notes   []string `json:"notes,omitempty"`
		Changes []change `json:"changes"`
	}{r.A, r.B, r.Machine.String(), r.Same(), r.Notes, []change{}}
	for _, c := range r.Changes {
		x := change{Kind: c.Kind().String(), Call: c.Call, Arch: c.Arch.String(), Number: c.Lo, From: c.From.String(), Then: c.To.String(), Args: c.Args}
		if c.Hi != c.Lo {
			x.To = &c.Hi
		}
		x.When.With, x.When.Without = c.When.With.Names(), c.When.Without.Names()
		if c.When.Since.Major > 0 {
			x.When.MinKernel = c.When.Since.String()
		}
		if c.When.Before.Major > 0 {
			x.When.BelowKernel = c.When.Before.String()
		}
		for _, a := range c.Example {
			x.Example = append(x.Example, fmt.Sprintf("%#x", a))
		}
		out.Changes = append(out.Changes, x)
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(out); err != nil { // texts and numbers
		panic("compare: " + err.Error())
	}
	return []byte(b.String())
}
