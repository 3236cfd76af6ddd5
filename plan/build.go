package plan

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"

	"porthole/abi"
	"porthole/facts"
	"porthole/seccomp/filter"
)

// builder collects a plan's steps. Its methods that add steps are in the order of the plan in
// compile.go and join.go; each stage has a file of its own.
type builder struct {
	s *specs.Spec
	o *Options
	f facts.Facts
	p *Plan

	list *[]Step // where call appends
	args []Arg   // room for the arguments of the steps to come
	why  string  // for steps that give no reason of their own
	from string  // Step.Refer of the steps to come

	strings   map[string]*Mem
	taken     map[string]int // slot names
	directory uint64         // O_DIRECTORY and O_NOFOLLOW of the architecture
	nofollow  uint64

	spaces     spaces         // what happens to each namespace
	options    []mountOptions // of each mount
	heeds      bool           // a mount is to see what the host mounts later: see checkMounts
	foreign    bool           // the mount namespace is not the container's own: see foreign.go
	shielded   bool           // nobody may trace the child before execve
	denyGroups bool           // setgroups(2) is denied in the user namespace that is entered
	gateFirst  bool           // the filter does not let the start gate pass

	nodes   Slot // the parent's filesystem of device nodes, in no place: see makeNode
	root    Slot // the new root
	cwd     Slot
	tty     Slot                  // the terminal's slave
	mask    Slot                  // an empty read-only directory, to be bound over others
	fsAt    map[string]filesystem // what the plan itself mounted at a path, as long as nothing covers it
	clone   map[int]Slot          // source of a mount (or of a layer: layerIndex), opened ahead of its turn
	late    []func()              // read-only flags that wait until everything is in place
	pending []pendingAttr         // attributes that wait for their mount to have a place

	filtered int // index in Child from which the filter is in force; -1: never
}

func newBuilder(f facts.Facts) *builder {
	b := &builder{f: f, p: &Plan{Arch: f.Arch}, strings: map[string]*Mem{}, taken: map[string]int{}, fsAt: map[string]filesystem{}, clone: map[int]Slot{}, filtered: -1}
	b.p.Names = []string{"", "pid", "pidfd", "arrive", "pass", "stdin", "stdout", "stderr", "console", "listener", "init", "target"}
	for _, name := range b.p.Names {
		b.taken[name]++
	}
	b.p.Child = make([]Step, 0, 300) // a container's usual number
	b.list = &b.p.Child
	b.directory, b.nofollow = openBits(f.Arch)
	return b
}

// slot allocates one, and names it.
func (b *builder) slot(name string) Slot {
	b.taken[name]++
	if n := b.taken[name]; n > 1 {
		name += strconv.Itoa(n)
	}
	b.p.Names = append(b.p.Names, name)
	return Slot(len(b.p.Names) - 1)
}

// call appends a system call. Arguments are numbers, strings, *Mem, Slots, Args, or nil for a null pointer.
func (b *builder) call(name string, args ...any) *builder {
	if len(b.args) < len(args) {
		b.args = make([]Arg, 512)
	}
	s := Step{Call: name, Args: b.args[:len(args):len(args)], Why: b.why, Refer: b.from}
	b.args = b.args[len(args):]
	for i, a := range args {
		switch a := a.(type) {
		case int:
			s.Args[i] = Arg{Num: uint64(int64(a))}
		case uint64:
			s.Args[i] = Arg{Num: a}
		case string:
			s.Args[i] = Arg{Kind: ArgMem, Mem: b.str(a)}
		case *Mem:
			s.Args[i] = Arg{Kind: ArgMem, Mem: a}
		case Slot:
			s.Args[i] = Arg{Kind: ArgSlot, Slot: a}
		case Arg:
			s.Args[i] = a
		case nil:
		default:
			panic(fmt.Sprintf("plan: argument %d of %s is a %T", i, name, a))
		}
	}
	*b.list = append(*b.list, s)
	return b
}

// The next ones say more of the step that was just added.

func (b *builder) last() *Step { return &(*b.list)[len(*b.list)-1] }

func (b *builder) because(why string) *builder { b.last().Why = why; return b }
func (b *builder) tag(t string) *builder       { b.last().Tag = t; return b }

// to stores the step's result in a new slot.
func (b *builder) to(name string) Slot { s := b.slot(name); b.last().Into = s; return s }

// or tolerates errors: the plan goes on with the next step.
func (b *builder) or(errs ...abi.Errno) *builder {
	for _, e := range errs {
		b.last().Errs = append(b.last().Errs, Skip{Errno: e})
	}
	return b
}

// label is a place further down that steps skip to.
type label []jump

type jump struct {
	step int
	err  int // index in Errs, or onOK
}

const onOK = -1

// orTo has the plan go on at l after one of these errors.
func (b *builder) orTo(l *label, errs ...abi.Errno) *builder {
	for _, e := range errs {
		*l = append(*l, jump{len(*b.list) - 1, len(b.last().Errs)})
		b.last().Errs = append(b.last().Errs, Skip{Errno: e})
	}
	return b
}

// thenTo has the plan go on at l after success.
func (b *builder) thenTo(l *label) *builder {
	*l = append(*l, jump{len(*b.list) - 1, onOK})
	return b
}

// land puts l here: the next step is where its jumps lead.
func (b *builder) land(l *label) {
	for _, j := range *l {
		s, n := &(*b.list)[j.step], len(*b.list)-1-j.step
		if j.err == onOK {
			s.OK = n
		} else {
			s.Errs[j.err].Steps = n
		}
	}
	*l = nil
}

// in has steps go to another list while do runs.
func (b *builder) in(list *[]Step, do func()) {
	old := b.list
	b.list = list
	do()
	b.list = old
}

// str is a string of C, laid out once however often it is used.
func (b *builder) str(s string) *Mem {
	m := b.strings[s]
	if m == nil {
		m = &Mem{Bytes: append([]byte(s), 0)}
		b.strings[s] = m
	}
	return m
}

// strs is an array of strings, as argv is.
func (b *builder) strs(list []string) *Mem {
	m := &Mem{Bytes: make([]byte, 8*len(list)+8)}
	for i, s := range list {
		m.Ptrs = append(m.Ptrs, Ptr{Off: 8 * i, To: b.str(s)})
	}
	return m
}

// words is an array of 64-bit numbers, or a struct of them; half words are 32-bit ones.
func words(w ...uint64) *Mem {
	m := &Mem{}
	for _, v := range w {
		m.Bytes = binary.LittleEndian.AppendUint64(m.Bytes, v)
	}
	return m
}

func halfWords(w ...uint32) *Mem {
	m := &Mem{}
	for _, v := range w {
		m.Bytes = binary.LittleEndian.AppendUint32(m.Bytes, v)
	}
	return m
}

// openHow is struct open_how (linux/openat2.h).
func openHow(flags, resolve uint64) *Mem { return words(flags, 0, resolve) }

// mountAttr is struct mount_attr (linux/mount.h).
func mountAttr(set, clear, propagation uint64) *Mem { return words(set, clear, propagation, 0) }

// fprog is struct sock_fprog with its program (linux/filter.h).
func fprog(p filter.Program) *Mem {
	code := &Mem{}
	for _, i := range p {
		code.Bytes = binary.LittleEndian.AppendUint16(code.Bytes, i.Code)
		code.Bytes = append(code.Bytes, i.JT, i.JF)
		code.Bytes = binary.LittleEndian.AppendUint32(code.Bytes, i.K)
	}
	m := words(uint64(len(p)), 0)
	m.Ptrs = []Ptr{{Off: 8, To: code}}
	return m
}
