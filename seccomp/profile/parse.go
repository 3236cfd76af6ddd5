package profile

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/abi"
	"porthole/caps"
	"porthole/facts"
	"porthole/seccomp"
)

// Parse reads a profile as Docker and Podman write it, or OCI's linux.seccomp: bare, within
// {"linux": …}, or in a whole config.json. name stands in messages and in Profile.Name.
//
// An error is a *SyntaxError. What Docker would skip in silence is either a Warning or, where
// skipping it would make the filter let more through than its author wrote, an error:
//
//   - An unknown key of a condition, of an argument or of archMap is an error: a test would be lost.
//   - So is one of a rule, unless it holds a text and its name is like no key that narrows a
//     rule: that is a comment. At the top, one that looks like "syscalls" is an error too.
//   - Any other unknown key is a Warning with the nearest key. In a config.json, whatever stands
//     outside linux.seccomp is not looked at.
//   - A key given twice is an error, as is a document without a defaultAction, which Docker
//     takes to mean no filter at all.
//   - A key in other letters ("Names") is read as Docker reads it, with a Warning.
//   - A name that is no system call on any architecture is kept, with a Warning: it is no rule.
//   - A capability must be spelled as Docker spells it, CAP_ and capitals: it compares letters.
func Parse(name string, data []byte) (*Profile, []Warning, error) {
	d := &decoder{name: name, src: string(data)}
	if len(data) > maxSize {
		return nil, nil, &SyntaxError{name, 1, 1, "", fmt.Sprintf("%d bytes long; the most is %d", len(data), maxSize)}
	}
	root, f := scan(d.src)
	if f != nil {
		line, column := place(d.src, f.off)
		return nil, nil, &SyntaxError{name, line, column, f.path, f.msg}
	}
	p := d.document(root)
	if d.err != nil {
		return nil, nil, d.err
	}
	if n := d.more - maxWarnings; n > 0 {
		d.warnings = append(d.warnings, Warning{Msg: fmt.Sprintf("%d more warnings", n)})
	}
	p.Name = name
	return p, d.warnings, nil
}

// What runc refuses (libcontainer/seccomp, InitSeccomp).
var (
	errNotify      = errors.New("SCMP_ACT_NOTIFY cannot be the default: the runtime's own calls would wait for an answer")
	errNotifyWrite = errors.New("SCMP_ACT_NOTIFY for write: the runtime could not hand its listener over")
)

// decoder turns values into a Profile. Its first error stays; what is read after it is dropped.
type decoder struct {
	name, src string
	path      []elem
	oci       bool // inside a config.json, where no conditions are
	warnings  []Warning
	more      int // how many there would be
	err       error
}

// elem is a step into a document: a key, or an index where key is "".
type elem struct {
	key   string
	index int
}

func (d *decoder) where() string {
	var b strings.Builder
	for _, e := range d.path {
		switch {
		case e.key == "":
			fmt.Fprintf(&b, "[%d]", e.index)
		case b.Len() > 0:
			b.WriteString("." + short(e.key))
		default:
			b.WriteString(short(e.key))
		}
	}
	return b.String()
}

func (d *decoder) fail(off int, format string, args ...any) {
	if d.err == nil {
		line, column := place(d.src, off)
		d.err = &SyntaxError{d.name, line, column, d.where(), fmt.Sprintf(format, args...)}
	}
}

// maxWarnings bounds what is said of one document. Ten times as many and it is no profile.
const maxWarnings = 100

func (d *decoder) warn(off int, format string, args ...any) {
	if d.more++; d.more > 10*maxWarnings {
		d.fail(off, "after %d warnings: this is no profile", d.more-1)
	}
	if d.err != nil || d.more > maxWarnings {
		return
	}
	line, column := place(d.src, off)
	d.warnings = append(d.warnings, Warning{d.where(), fmt.Sprintf(format, args...), line, column})
}

// want says whether v is of a kind; null stands for its zero value, as in Go's reader.
func (d *decoder) want(v value, k kind) bool {
	if v.kind != k && v.kind != null {
		d.fail(v.off, "%v; expected %v", v.kind, k)
	}
	return v.kind == k && d.err == nil
}

// object hands every key of v to read, in Docker's spelling, or to unknown.
func (d *decoder) object(v value, keys []string, read func(key string, v value), unknown func(v value)) {
	if !d.want(v, object) {
		return
	}
	seen := make([]*value, len(keys))
	for i := range v.elems {
		e := &v.elems[i]
		d.path = append(d.path, elem{key: e.key})
		k := slices.Index(keys, e.key)
		if k < 0 {
			if k = slices.IndexFunc(keys, func(s string) bool { return strings.EqualFold(s, e.key) }); k >= 0 {
				d.warn(e.koff, "read as %q", keys[k])
			}
		}
		switch {
		case k < 0 && e.key == "": // no path element can hold it
			d.path = d.path[:len(d.path)-1]
			d.fail(e.koff, "a key without a name")
			return
		case k < 0:
			unknown(*e)
		case seen[k] != nil:
			line, column := place(d.src, seen[k].koff)
			d.fail(e.koff, "given twice, first at %d:%d: which one counts depends on the reader", line, column)
		default:
			seen[k] = e
			read(keys[k], *e)
		}
		if d.err != nil {
			return
		}
		d.path = d.path[:len(d.path)-1]
	}
}

func (d *decoder) list(v value, read func(i int, v value)) {
	if !d.want(v, array) {
		return
	}
	for i, e := range v.elems {
		d.path = append(d.path, elem{index: i})
		if e.kind == null {
			d.fail(e.off, "null in a list")
		}
		read(i, e)
		if d.err != nil {
			return
		}
		d.path = d.path[:len(d.path)-1]
	}
}

func (d *decoder) text(v value) string {
	if !d.want(v, text) {
		return ""
	}
	return v.text
}

func (d *decoder) uint(v value, most uint64) uint64 {
	if !d.want(v, number) {
		return 0
	}
	n, err := strconv.ParseUint(v.text, 10, 64)
	if err != nil || n > most {
		d.fail(v.off, "%s; expected a whole number from 0 to %d", short(v.text), most)
	}
	return n
}

// lost refuses an unknown key that would have narrowed something.
func (d *decoder) lost(keys []string) func(value) {
	return func(v value) {
		d.fail(v.koff, "unknown key%s", didYouMean(closest(v.key, keys, 1)))
	}
}

// The keys of a document, in Docker's order.
var (
	topKeys = []string{"defaultAction", "defaultErrnoRet", "defaultErrno", "architectures", "archMap", "flags",
		"listenerPath", "listenerMetadata", "syscalls"}
	archMapKeys = []string{"architecture", "subArchitectures"}
	entryKeys   = []string{"names", "name", "action", "errnoRet", "errno", "args", "comment", "includes", "excludes"}
	filterKeys  = []string{"caps", "arches", "minKernel"}
	argKeys     = []string{"index", "value", "valueTwo", "op"}
	// narrowing are the keys without which a rule would match more, wherever they belong.
	narrowing = slices.Concat([]string{"args", "includes", "excludes"}, filterKeys, argKeys)
)

// document finds the seccomp object in what was read.
func (d *decoder) document(root value) *Profile {
	if root.kind != object {
		d.fail(root.off, "%v; expected a profile, an object", root.kind)
		return nil
	}
	for _, key := range []string{"linux", "seccomp"} {
		i := slices.IndexFunc(root.elems, func(v value) bool { return v.key == key })
		config := d.oci || slices.ContainsFunc(root.elems, func(v value) bool { return v.key == "ociVersion" })
		switch {
		case i < 0 && config:
			d.fail(root.off, "no %q in it: such a container runs without a filter", key)
			return nil
		case i < 0:
			return d.profile(root)
		}
		d.oci = true
		d.path = append(d.path, elem{key: key})
		root = root.elems[i]
		if root.kind != object {
			d.fail(root.off, "%v; expected an object", root.kind)
			return nil
		}
	}
	return d.profile(root)
}

func (d *decoder) profile(v value) *Profile {
	p := &Profile{}
	var errno, arches value
	d.object(v, topKeys, func(key string, v value) {
		switch key {
		case "defaultAction":
			p.Default = d.action(v)
			if p.Default == specs.ActNotify {
				d.fail(v.off, "%v", errNotify)
			}
		case "defaultErrnoRet":
			p.DefaultErrno = d.errnoRet(v)
		case "defaultErrno":
			errno = v
		case "architectures":
			arches = v
			p.Arches = d.arches(v)
		case "archMap":
			d.list(v, func(_ int, v value) { p.ArchMap = append(p.ArchMap, d.archMap(v)) })
		case "flags":
			if v.kind == array {
				p.Flags = []specs.LinuxSeccompFlag{}
			}
			d.list(v, func(_ int, v value) { p.Flags = append(p.Flags, d.flag(v)) })
		case "listenerPath":
			p.ListenerPath = d.text(v)
		case "listenerMetadata":
			p.ListenerMetadata = d.text(v)
		case "syscalls":
			if v.kind == array {
				p.Entries = make([]Entry, 0, len(v.elems))
			}
			d.list(v, func(_ int, v value) { p.Entries = append(p.Entries, d.entry(v)) })
			if len(p.Entries) == 0 {
				p.Entries = nil
			}
		}
	}, func(v value) {
		if like := closest(v.key, topKeys, 1); len(like) > 0 && like[0] == "syscalls" {
			d.lost(like)(v)
		} else {
			d.warn(v.koff, "unknown key, skipped%s", didYouMean(like))
		}
	})
	d.errno(errno, &p.DefaultErrno)
	switch {
	case d.err != nil:
	case p.Default == "":
		d.fail(v.off, "no defaultAction: Docker would take this document to mean no filter at all")
	case len(p.Arches) > 0 && len(p.ArchMap) > 0:
		d.fail(arches.koff, "both architectures and archMap are given; use one")
	}
	return p
}

func (d *decoder) archMap(v value) (m ArchMap) {
	d.object(v, archMapKeys, func(key string, v value) {
		switch key {
		case "architecture":
			m.Arch = d.arch(v)
		case "subArchitectures":
			m.Sub = d.arches(v)
		}
	}, d.lost(archMapKeys))
	if m.Arch == "" {
		d.fail(v.off, "no architecture in it")
	}
	return m
}

func (d *decoder) entry(v value) (e Entry) {
	var name, names, errno value
	d.object(v, entryKeys, func(key string, v value) {
		switch key {
		case "names":
			names = v
			if v.kind == array {
				e.Names = make([]string, 0, len(v.elems))
			}
			d.list(v, func(_ int, v value) { e.Names = append(e.Names, d.call(v)) })
		case "name":
			if name = v; d.text(v) != "" {
				e.Names = []string{d.call(v)}
			}
		case "action":
			e.Action = d.action(v)
		case "errnoRet":
			e.ErrnoRet = d.errnoRet(v)
		case "errno":
			errno = v
		case "args":
			d.list(v, func(_ int, v value) { e.Args = append(e.Args, d.arg(v)) })
		case "comment":
			e.Comment = d.text(v)
		case "includes":
			e.Includes = d.filter(v)
		case "excludes":
			e.Excludes = d.filter(v)
		}
	}, func(v value) {
		like := closest(v.key, narrowing, 1)
		if v.kind != text || len(like) > 0 {
			d.lost(entryKeys)(v)
		}
		d.warn(v.koff, "unknown key, taken for a comment")
	})
	d.errno(errno, &e.ErrnoRet)
	if name.text != "" && len(names.elems) > 0 {
		d.fail(name.koff, "both name and names are given; use names")
	}
	if d.err == nil && e.Action == "" {
		d.fail(v.off, "no action in it")
	}
	if len(e.Names) == 0 {
		e.Names = nil
		d.warn(v.off, "names no system call")
	}
	if e.Action == specs.ActNotify && slices.Contains(e.Names, "write") {
		d.fail(v.off, "%v", errNotifyWrite)
	}
	return e
}

// call reads a system call's name. One that is none stays in the document, as a rule for nothing.
func (d *decoder) call(v value) string {
	s := d.text(v)
	switch {
	case s == "":
		d.fail(v.off, "an empty name")
	case !abi.Known(s):
		d.warn(v.off, "%s", unknownCall(s))
	}
	return s
}

func unknownCall(name string) string {
	return fmt.Sprintf("no system call is called %q, skipped%s", short(name), didYouMean(abi.Nearest(short(name), 1)))
}

func (d *decoder) arg(v value) (a specs.LinuxSeccompArg) {
	d.object(v, argKeys, func(key string, v value) {
		switch key {
		case "index":
			a.Index = uint(d.uint(v, 5))
		case "value":
			a.Value = d.uint(v, ^uint64(0))
		case "valueTwo":
			a.ValueTwo = d.uint(v, ^uint64(0))
		case "op":
			s := d.text(v)
			if _, err := seccomp.ParseOp(short(s)); err != nil {
				d.fail(v.off, "%v", err)
			}
			a.Op = specs.LinuxSeccompOperator(s)
		}
	}, d.lost(argKeys))
	if d.err == nil && a.Op == "" {
		d.fail(v.off, "no op in it")
	}
	return a
}

func (d *decoder) filter(v value) (f Filter) {
	d.object(v, filterKeys, func(key string, v value) {
		switch key {
		case "caps":
			d.list(v, func(_ int, v value) { f.Caps |= d.cap(v) })
		case "arches":
			d.list(v, func(_ int, v value) {
				s := d.text(v)
				if !slices.Contains(dockerArches, s) {
					d.fail(v.off, "unknown architecture %q%s", short(s), nearArch(short(s)))
				}
				f.Arches = append(f.Arches, s)
			})
		case "minKernel":
			f.MinKernel = d.minKernel(v)
		}
	}, d.lost(filterKeys))
	if d.oci && !f.empty() {
		d.fail(v.off, "a config.json holds no conditions: a runtime would skip this one")
	}
	return f
}

// cap reads a capability. A name that Docker would never find granted is an error.
func (d *decoder) cap(v value) caps.Set {
	s := d.text(v)
	c, err := caps.Parse(short(s))
	switch {
	case d.err != nil:
		return 0
	case err != nil:
		var names []string
		for _, c := range caps.Set(caps.All).List() {
			names = append(names, c.String())
		}
		d.fail(v.off, "unknown capability %q%s", short(s), didYouMean(closest(s, names, 1)))
		return 0
	case s != c.String():
		d.fail(v.off, "%q; Docker compares letter by letter: write %q", s, c.String())
	}
	return caps.Of(c)
}

// minKernel reads "4.8" as Docker does: two numbers to 255, not both 0 (moby/profiles,
// KernelVersion.UnmarshalJSON). An empty text is no condition.
func (d *decoder) minKernel(v value) facts.Version {
	s := d.text(v)
	if s == "" {
		return facts.Version{}
	}
	major, minor, _ := strings.Cut(s, ".")
	x, err1 := strconv.ParseUint(major, 10, 8)
	y, err2 := strconv.ParseUint(minor, 10, 8)
	if errors.Join(err1, err2) != nil || x+y == 0 {
		d.fail(v.off, `%q; expected a kernel version of two numbers, as "4.8"`, short(s))
	}
	return facts.Version{Major: int(x), Minor: int(y)}
}

func (d *decoder) action(v value) specs.LinuxSeccompAction {
	s := d.text(v)
	if s == "" && d.err == nil {
		return ""
	}
	if _, err := seccomp.ParseAction(short(s)); err != nil {
		d.fail(v.off, "%v", err)
	}
	return specs.LinuxSeccompAction(s)
}

// errnoRet reads a number of 16 bits, all that a filter can return beside its action.
func (d *decoder) errnoRet(v value) *uint {
	if !d.want(v, number) {
		return nil
	}
	n := uint(d.uint(v, 0xffff))
	return &n
}

// errno reads Podman's errno, a name or a number in quotes, which stands for errnoRet.
func (d *decoder) errno(v value, ret **uint) {
	if !d.want(v, text) || v.text == "" {
		return
	}
	d.path = append(d.path, elem{key: v.key})
	n, err := strconv.ParseUint(v.text, 10, 16)
	if err != nil {
		e, err := abi.ParseErrno(short(v.text))
		if err != nil {
			d.fail(v.off, "%v", err)
			return
		}
		n = uint64(e)
	}
	if *ret != nil && uint64(**ret) != n {
		d.fail(v.off, "%q is %d, but the number given beside it is %d: Podman reads the one, Docker the other", v.text, n, **ret)
	}
	u := uint(n)
	*ret = &u
	d.path = d.path[:len(d.path)-1]
}

func (d *decoder) arches(v value) (list []specs.Arch) {
	d.list(v, func(_ int, v value) { list = append(list, d.arch(v)) })
	return list
}

func (d *decoder) arch(v value) specs.Arch {
	a := specs.Arch(d.text(v))
	if !slices.Contains(ociArches, a) && d.err == nil {
		names := make([]string, len(ociArches))
		for i, a := range ociArches {
			names[i] = string(a)
		}
		d.fail(v.off, "unknown architecture %q%s", short(string(a)), didYouMean(closest(string(a), names, 1)))
	}
	return a
}

func (d *decoder) flag(v value) specs.LinuxSeccompFlag {
	s := d.text(v)
	if _, ok := flags[specs.LinuxSeccompFlag(s)]; !ok {
		var names []string
		for f := range flags {
			names = append(names, string(f))
		}
		slices.Sort(names)
		d.fail(v.off, "unknown flag %q%s", short(s), didYouMean(closest(s, names, 1)))
	}
	return specs.LinuxSeccompFlag(s)
}
