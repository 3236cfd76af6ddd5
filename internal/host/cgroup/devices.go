package cgroup

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"porthole/facts"
)

// access to a device, in the bits that eBPF programs see (BPF_DEVCG_ACC_*, include/uapi/linux/bpf.h).
type access uint8

const (
	mknod access = 1 << iota
	readDev
	writeDev
	anyAccess = mknod | readDev | writeDev
)

func (a access) String() string {
	s := ""
	for _, x := range []struct {
		bit  access
		name string
	}{{readDev, "r"}, {writeDev, "w"}, {mknod, "m"}} {
		if a&x.bit != 0 {
			s += x.name
		}
	}
	return s
}

func parseAccess(s string) (a access, err error) {
	for _, c := range s {
		i := strings.IndexRune("mrw", c)
		if i < 0 {
			return 0, fmt.Errorf("access %q: want letters of rwm", s)
		}
		a |= 1 << i
	}
	return a, nil
}

const anyNumber = -1 // "*"

// device is one or many devices of a kind.
type device struct {
	kind         byte // 'b' or 'c'
	major, minor int64
}

func (d device) String() string {
	number := func(n int64) string {
		if n == anyNumber {
			return "*"
		}
		return strconv.FormatInt(n, 10)
	}
	return string(d.kind) + " " + number(d.major) + ":" + number(d.minor)
}

// covers says whether d names every device that e names, meets whether there is one that both name.
func (d device) covers(e device) bool {
	return d.kind == e.kind && (d.major == anyNumber || d.major == e.major) && (d.minor == anyNumber || d.minor == e.minor)
}

func (d device) meets(e device) bool {
	return d.kind == e.kind && (d.major == anyNumber || e.major == anyNumber || d.major == e.major) &&
		(d.minor == anyNumber || e.minor == anyNumber || d.minor == e.minor)
}

// deviceList is what the kernel's device group holds (struct dev_cgroup, security/device_cgroup.c):
// a default, and what is excepted from it. Rules in order become one.
type deviceList struct {
	open       bool // devices that are no exception may be used
	exceptions map[device]access
	named      []device // the exceptions in the order in which rules came to them
}

// always are the devices that each container may use, whatever its rules: those that OCI says it
// finds in /dev, the terminals, and nodes of any kind to make but not to open (runc's AllowedDevices).
var always = []struct {
	device
	access
}{
	{device{'c', anyNumber, anyNumber}, mknod},
	{device{'b', anyNumber, anyNumber}, mknod},
	{device{'c', 1, 3}, anyAccess},           // null
	{device{'c', 1, 5}, anyAccess},           // zero
	{device{'c', 1, 7}, anyAccess},           // full
	{device{'c', 1, 8}, anyAccess},           // random
	{device{'c', 1, 9}, anyAccess},           // urandom
	{device{'c', 5, 0}, anyAccess},           // tty
	{device{'c', 5, 2}, anyAccess},           // ptmx
	{device{'c', 136, anyNumber}, anyAccess}, // pts/*
}

// devices folds OCI's rules, each of which overrides those before it, into a list.
// Before the first nothing is allowed; after the last what a container always may use is.
func devices(rules []specs.LinuxDeviceCgroup) (*deviceList, error) {
	l := &deviceList{exceptions: map[device]access{}}
	for i, r := range rules {
		if err := l.rule(r); err != nil {
			return nil, &LimitError{Flag: "--device-cgroup-rule", Field: fmt.Sprintf("linux.resources.devices[%d]", i), Why: err.Error()}
		}
	}
	for _, d := range always {
		if err := l.change(true, d.device, d.access); err != nil {
			return nil, &LimitError{Flag: "--device-cgroup-rule", Field: "linux.resources.devices", Why: err.Error()}
		}
	}
	return l, nil
}

func (l *deviceList) rule(r specs.LinuxDeviceCgroup) error {
	d := device{major: anyNumber, minor: anyNumber}
	for _, n := range []struct {
		from *int64
		to   *int64
	}{{r.Major, &d.major}, {r.Minor, &d.minor}} {
		if n.from == nil || *n.from == anyNumber {
			continue
		}
		if *n.from < 0 || *n.from > 1<<32-1 {
			return fmt.Errorf("device number %d: want 0 to %d", *n.from, uint32(1<<32-1))
		}
		*n.to = *n.from
	}
	a := anyAccess
	if r.Access != "" {
		var err error
		if a, err = parseAccess(r.Access); err != nil {
			return err
		}
	}
	switch r.Type {
	case "", "a":
		if d.major == anyNumber && d.minor == anyNumber && a == anyAccess {
			l.open = r.Allow
			clear(l.exceptions)
			return nil
		}
		// The kernel would take this for all devices, and any access to them.
		for _, d.kind = range []byte("bc") {
			if err := l.change(r.Allow, d, a); err != nil {
				return err
			}
		}
		return nil
	case "c", "u", "b":
		d.kind = r.Type[0]
		if d.kind == 'u' { // unbuffered character device, as mknod(1) has it
			d.kind = 'c'
		}
		return l.change(r.Allow, d, a)
	}
	return fmt.Errorf("device type %q: want c, b or a", r.Type)
}

// change allows or denies access. What goes beyond the default is an exception; what goes back
// to it takes exceptions away, which the kernel can for all that d covers but not for a part of a wider one.
func (l *deviceList) change(allow bool, d device, a access) error {
	if allow != l.open {
		for e, has := range l.exceptions {
			if e.covers(d) && has&a == a {
				return nil // said already
			}
		}
		if _, ok := l.exceptions[d]; !ok {
			l.named = append(slices.DeleteFunc(l.named, func(e device) bool { return e == d }), d)
		}
		l.exceptions[d] |= a
		return nil
	}
	for e, has := range l.exceptions {
		switch {
		case has&a == 0 || !d.meets(e):
		case !d.covers(e):
			return fmt.Errorf("%s %s cannot be taken out of %s %s: the kernel keeps a list without order", d, a, e, has)
		case has&^a == 0:
			delete(l.exceptions, e)
		default:
			l.exceptions[e] = has &^ a
		}
	}
	return nil
}

// sorted lists the exceptions, those of rules first and in their order: so the kernel keeps and shows them, and OCI's
// own suite expects them in devices.list.
func (l *deviceList) sorted() []device {
	list := make([]device, 0, len(l.exceptions))
	for d := range l.exceptions {
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b device) int {
		return cmp.Or(cmp.Compare(slices.Index(l.named, a), slices.Index(l.named, b)),
			cmp.Compare(a.kind, b.kind), cmp.Compare(a.major, b.major), cmp.Compare(a.minor, b.minor))
	})
	return list
}

// setDevices makes the list hold for the group; nil changes nothing.
func (g *Group) setDevices(l *deviceList) error {
	if l == nil {
		return nil
	}
	refuse := func(err error, why string) error {
		return &LimitError{Flag: "--device", Field: "linux.resources.devices", Why: why, Err: err}
	}
	if p, ok := g.at("devices"); ok {
		if err := l.write(p.dir); err != nil {
			return refuse(err, "")
		}
		return nil
	}
	for _, p := range g.places {
		if p.V2 && g.facts.Mode == facts.CgroupV2 {
			if err := l.attach(p.dir); err != nil {
				return refuse(err, "needs an eBPF program on "+p.dir)
			}
			return nil
		}
	}
	if l.open && len(l.exceptions) == 0 {
		return nil
	}
	return refuse(nil, "needs the devices controller of cgroup v1, or cgroup v2 with eBPF, and neither is there")
}

// write brings a v1 group from the list that it has, as made from its parent's or set
// before, to l, and never denies on the way what both allow.
func (l *deviceList) write(dir string) error {
	text, err := read(dir, "devices.list")
	if err != nil {
		return err
	}
	now, err := parseDevices(text)
	if err != nil {
		return fmt.Errorf("%s/devices.list: %w", dir, err)
	}
	allow, err := unix.Open(dir+"/devices.allow", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s/devices.allow: %w", dir, err)
	}
	defer unix.Close(allow)
	deny, err := unix.Open(dir+"/devices.deny", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s/devices.deny: %w", dir, err)
	}
	defer unix.Close(deny)
	change := func(yes bool, what string) error {
		if yes {
			return writeTo(allow, dir, "devices.allow", what)
		}
		return writeTo(deny, dir, "devices.deny", what)
	}
	// An open group does not list its exceptions, so it is begun afresh.
	if now.open || l.open {
		if err := change(l.open, "a"); err != nil {
			return err
		}
		clear(now.exceptions)
	}
	for _, d := range l.sorted() {
		if more := l.exceptions[d] &^ now.exceptions[d]; more != 0 {
			if err := change(!l.open, d.String()+" "+more.String()); err != nil {
				return err
			}
		}
	}
	for _, d := range now.sorted() {
		if less := now.exceptions[d] &^ l.exceptions[d]; less != 0 {
			if err := change(l.open, d.String()+" "+less.String()); err != nil {
				return err
			}
		}
	}
	return nil
}

// parseDevices reads devices.list: "a *:* rwm" for an open group, else a line for each exception.
func parseDevices(text string) (*deviceList, error) {
	l := &deviceList{exceptions: map[device]access{}}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			return nil, fmt.Errorf("%q: want a type, a device and an access", line)
		}
		if fields[0] == "a" {
			l.open = true
			continue
		}
		major, minor, _ := strings.Cut(fields[1], ":")
		d := device{kind: fields[0][0]}
		var errs [3]error
		for i, n := range []struct {
			s  string
			to *int64
		}{{major, &d.major}, {minor, &d.minor}} {
			if *n.to = anyNumber; n.s != "*" {
				*n.to, errs[i] = strconv.ParseInt(n.s, 10, 64)
			}
		}
		var a access
		a, errs[2] = parseAccess(fields[2])
		if err := errors.Join(errs[:]...); err != nil {
			return nil, err
		}
		l.exceptions[d] |= a
	}
	return l, nil
}
