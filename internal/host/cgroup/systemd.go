package cgroup

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"porthole/facts"
)

// Unit is a group that systemd makes for us: a scope, or a slice. It keeps the limits as the unit's properties too,
// so that it does not take them back when it next looks at its configuration, and it delegates what is beneath.
type Unit struct {
	// Path is OCI's linux.cgroupsPath as engines write it for systemd: "slice:prefix:name", for the scope
	// prefix-name.scope, or the slice name where that ends in ".slice". An empty slice is system.slice, or
	// user.slice for an ordinary user.
	Path string
	// Pid is a process to put into the scope at first: there is none without.
	Pid int
	// Annotations are the container's. Those called org.systemd.property.NAME are properties of the unit, written
	// as GVariant's text: "uint64 5000000", "'inactive-or-failed'".
	Annotations map[string]string
}

// ErrNoSystemd says that systemd does not run here.
var ErrNoSystemd = errors.New("systemd is not this machine's init")

// unit is one on one systemd.
type unit struct {
	socket, slice, name string
}

// newUnit reads a path as Unit has it, and returns also where systemd puts the unit in each hierarchy.
func newUnit(at string, rootless bool) (u *unit, dir string, err error) {
	parts := strings.Split(at, ":")
	if len(parts) != 3 || parts[2] == "" || strings.Contains(at, "/") {
		return nil, "", fmt.Errorf("control group path %q: want slice:prefix:name, which --systemd-cgroup takes", at)
	}
	u = &unit{socket: "/run/systemd/private", slice: parts[0], name: parts[2]}
	if !strings.HasSuffix(u.name, ".slice") {
		if parts[1] != "" {
			u.name = parts[1] + "-" + u.name
		}
		u.name += ".scope"
	}
	if rootless {
		u.socket = os.Getenv("XDG_RUNTIME_DIR") + "/systemd/private"
	}
	if u.slice == "" {
		u.slice = map[bool]string{false: "system.slice", true: "user.slice"}[rootless]
	}
	if dir, err = expand(u.slice); err != nil {
		return nil, "", err
	}
	return u, path.Join(dir, u.name), nil
}

// expand turns a slice into the directories that it lies in: a-b.slice is in a.slice (systemd.slice(5)).
func expand(slice string) (string, error) {
	name, ok := strings.CutSuffix(slice, ".slice")
	if slice == "-.slice" {
		return "/", nil
	}
	dir, prefix := "/", ""
	for part := range strings.SplitSeq(name, "-") {
		ok = ok && part != ""
		prefix += part
		dir += prefix + ".slice/"
		prefix += "-"
	}
	if !ok {
		return "", fmt.Errorf("slice %q: want a name as in \"system.slice\", with single dashes between its parts", slice)
	}
	return dir, nil
}

// dial connects to the unit's systemd.
func (u *unit) dial() (*bus, error) {
	b, err := dial(u.socket)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, fmt.Errorf("%w: %w", ErrNoSystemd, err)
	}
	return b, err
}

const manager = "org.freedesktop.systemd1.Manager"

// root is the group of systemd itself, which an ordinary user's has beneath the machine's.
func (b *bus) root() (string, error) {
	d, err := b.call("org.freedesktop.DBus.Properties", "Get", "ss", func(e *encoder) {
		e.string(manager)
		e.string("ControlGroup")
	})
	if err != nil {
		return "", err
	}
	if kind := d.signature(); kind != "s" {
		return "", fmt.Errorf("systemd: ControlGroup is of type %q", kind)
	}
	return d.string(), d.err
}

// property is one of a unit's, and what is set of it.
type property struct {
	name  string
	value any
}

func (e *encoder) properties(list []property) {
	e.array(8, func() {
		for _, p := range list {
			e.align(8)
			e.string(p.name)
			e.variant(p.value)
		}
	})
}

// start makes the unit, with a process in it where it is a scope.
func (u *unit) start(b *bus, c Unit, limits []property) error {
	list := []property{
		{"Description", "container " + u.name},
		{"DefaultDependencies", false},
		{"MemoryAccounting", true}, {"CPUAccounting", true}, {"IOAccounting", true}, {"TasksAccounting", true},
	}
	if strings.HasSuffix(u.name, ".slice") {
		list = append(list, property{"Wants", []string{u.slice}})
	} else {
		list = append(list, property{"Slice", u.slice}, property{"Delegate", true}, property{"PIDs", []uint32{uint32(c.Pid)}})
	}
	asked, err := annotated(c.Annotations)
	if err != nil {
		return err
	}
	list = append(append(list, limits...), asked...)
	for again := true; ; again = false {
		err := b.job("StartTransientUnit", "ssa(sv)a(sa(sv))", func(e *encoder) {
			e.string(u.name)
			e.string("replace")
			e.properties(list)
			e.array(8, func() {})
		})
		var failure *busFailure
		if !again || !errors.As(err, &failure) || failure.name != "org.freedesktop.systemd1.UnitExists" {
			return err
		}
		// One that has failed is kept for those who want to know why. One that runs is somebody else's.
		if b.reset(u.name) != nil {
			return err
		}
	}
}

// stop takes the unit away. One that is gone, as a scope is when its last process has ended, is no error.
func (u *unit) stop() error {
	b, err := u.dial()
	if errors.Is(err, ErrNoSystemd) {
		return nil
	}
	if err != nil {
		return err
	}
	defer b.close()
	err = b.job("StopUnit", "ss", func(e *encoder) {
		e.string(u.name)
		e.string("replace")
	})
	var failure *busFailure
	if errors.As(err, &failure) && failure.name == "org.freedesktop.systemd1.NoSuchUnit" {
		return nil
	}
	_ = b.reset(u.name) // one that has not failed cannot be reset, and need not be
	return err
}

func (b *bus) reset(name string) error {
	_, err := b.call(manager, "ResetFailedUnit", "s", func(e *encoder) { e.string(name) })
	return err
}

// set changes properties of a unit that runs, until the machine's next start.
func (u *unit) set(list []property) error {
	b, err := u.dial()
	if err != nil {
		return err
	}
	defer b.close()
	_, err = b.call(manager, "SetUnitProperties", "sba(sv)", func(e *encoder) {
		e.string(u.name)
		e.bool(true)
		e.properties(list)
	})
	return err
}

// job calls a method that begins a job, and waits for the job's end.
func (b *bus) job(member, signature string, fill func(*encoder)) error {
	d, err := b.call(manager, member, signature, fill)
	if err != nil {
		return err
	}
	for job := d.string(); d.err == nil; {
		s, err := b.signal("JobRemoved") // id, job, unit, result
		if err != nil {
			return err
		}
		s.uint32()
		if s.string() != job {
			continue
		}
		if unit, result := s.string(), s.string(); result != "done" {
			return fmt.Errorf("systemd: %s: %s has ended as %q", member, unit, result)
		}
		return s.err
	}
	return d.err
}

// units are the properties that a file's value is also (systemd.resource-control(5)).
var units = map[string]string{
	"memory.max": "MemoryMax", "memory.high": "MemoryHigh", "memory.low": "MemoryLow", "memory.min": "MemoryMin", "memory.swap.max": "MemorySwapMax",
	"pids.max": "TasksMax", "cpu.weight": "CPUWeight", "cpuset.cpus": "AllowedCPUs", "cpuset.mems": "AllowedMemoryNodes",
	"memory.limit_in_bytes": "MemoryLimit", "cpu.shares": "CPUShares", "blkio.weight": "BlockIOWeight",
}

// properties are the limits, and the devices where there is a list, as systemd keeps them. What it knows nothing of is in the
// group's files alone.
func properties(want []setting, l *deviceList) (list []property, err error) {
	quota, period := int64(0), uint64(0)
	for _, s := range want {
		switch s.file {
		case "cpu.max": // "QUOTA PERIOD", either of which may be missing
			fields := strings.Fields(s.value)
			switch fields[0] {
			case "max":
				quota = -1
			case strings.TrimSpace(keepQuota):
			default:
				if quota, err = strconv.ParseInt(fields[0], 10, 64); err != nil {
					return nil, &LimitError{Flag: s.flag, Field: s.field, Why: err.Error()}
				}
			}
			if len(fields) > 1 {
				if period, err = strconv.ParseUint(fields[1], 10, 64); err != nil {
					return nil, &LimitError{Flag: s.flag, Field: s.field, Why: err.Error()}
				}
			}
		case "cpu.cfs_quota_us":
			quota, _ = strconv.ParseInt(s.value, 10, 64)
		case "cpu.cfs_period_us":
			period, _ = strconv.ParseUint(s.value, 10, 64)
		case "cpuset.cpus", "cpuset.mems":
			mask, err := bits(s.value)
			if err != nil {
				return nil, &LimitError{Flag: s.flag, Field: s.field, Why: err.Error()}
			}
			list = append(list, property{units[s.file], mask})
		default:
			name := units[s.file]
			if name == "" {
				continue
			}
			n := uint64(math.MaxUint64) // infinity
			if s.value != "max" && s.value != "-1" {
				if n, err = strconv.ParseUint(s.value, 10, 64); err != nil {
					return nil, &LimitError{Flag: s.flag, Field: s.field, Why: err.Error()}
				}
			}
			list = append(list, property{name, n})
		}
	}
	if period != 0 {
		list = append(list, property{"CPUQuotaPeriodUSec", period})
	}
	switch {
	case quota < 0:
		list = append(list, property{"CPUQuotaPerSecUSec", uint64(math.MaxUint64)})
	case quota > 0:
		if period == 0 {
			period = 100000
		}
		// systemd counts in hundredths of a CPU; one too many, lest the group's own value does not fit in.
		perSec := (uint64(quota)*1000000/period + 9999) / 10000 * 10000
		list = append(list, property{"CPUQuotaPerSecUSec", perSec})
	}
	return append(list, l.properties()...), nil
}

// properties are the devices that systemd is to let through. It has no words for some lists: those are enforced by us alone.
func (l *deviceList) properties() []property {
	if l == nil {
		return nil
	}
	if l.open {
		return []property{{"DevicePolicy", "auto"}, {"DeviceAllow", [][2]string{}}}
	}
	var allow [][2]string
	for _, d := range l.sorted() {
		kind := map[byte]string{'b': "block", 'c': "char"}[d.kind]
		name := fmt.Sprintf("/dev/%s/%d:%d", kind, d.major, d.minor)
		switch {
		case d.major == anyNumber && d.minor == anyNumber:
			name = kind + "-*"
		case d.major == anyNumber:
			continue
		case d.minor == anyNumber:
			name = fmt.Sprintf("%s-%d", kind, d.major)
		}
		allow = append(allow, [2]string{name, l.exceptions[d].String()})
	}
	// The empty list takes away what was allowed before.
	return []property{{"DevicePolicy", "strict"}, {"DeviceAllow", [][2]string{}}, {"DeviceAllow", allow}}
}

// bits turns a list of numbers as in "0-2,7" into a mask, least byte first.
func bits(text string) ([]byte, error) {
	var mask []byte
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		first, last, is := strings.Cut(part, "-")
		if !is {
			last = first
		}
		from, err := strconv.ParseUint(first, 10, 16)
		to, err2 := strconv.ParseUint(last, 10, 16)
		if err != nil || err2 != nil || from > to {
			return nil, fmt.Errorf("%q: want numbers as in \"0-2,7\"", text)
		}
		for n := from; n <= to; n++ {
			for int(n/8) >= len(mask) {
				mask = append(mask, 0)
			}
			mask[n/8] |= 1 << (n % 8)
		}
	}
	if len(mask) == 0 {
		return nil, fmt.Errorf("%q: no number is in it", text)
	}
	return mask, nil
}

// annotated reads the properties that annotations ask for.
func annotated(annotations map[string]string) ([]property, error) {
	var list []property
	for _, key := range sorted(annotations) {
		name, ok := strings.CutPrefix(key, "org.systemd.property.")
		if !ok {
			continue
		}
		v, err := variant(annotations[key])
		if err == nil && name == "" {
			err = errors.New("no property is named")
		}
		if err != nil {
			return nil, fmt.Errorf("annotations[%q]: %w", key, err)
		}
		// systemd has times in microseconds, whatever unit files say: TimeoutStopSec there is TimeoutStopUSec here.
		if base, ok := strings.CutSuffix(name, "Sec"); ok && !strings.HasSuffix(name, "USec") {
			n, ok := v.(uint64)
			if i, is := v.(int32); is && i >= 0 {
				n, ok = uint64(i), true
			}
			if !ok || n > math.MaxUint64/1000000 {
				return nil, fmt.Errorf("annotations[%q]: want a number of seconds", key)
			}
			name, v = base+"USec", n*1000000
		}
		list = append(list, property{name, v})
	}
	return list, nil
}

// variant reads a value in GVariant's text format, of the types that units have.
func variant(text string) (any, error) {
	text = strings.TrimSpace(text)
	kind, number, typed := strings.Cut(text, " ")
	quoted := func(s string) (string, bool) {
		if len(s) < 2 || s[0] != '\'' && s[0] != '"' || s[len(s)-1] != s[0] {
			return "", false
		}
		in := s[1 : len(s)-1]
		return in, !strings.ContainsAny(in, s[:1]+`\`)
	}
	switch {
	case text == "":
	case text == "true", text == "false":
		return text == "true", nil
	case typed && kind == "uint64":
		return as[uint64](strconv.ParseUint(strings.TrimSpace(number), 10, 64))
	case typed && kind == "int64":
		return as[int64](strconv.ParseInt(strings.TrimSpace(number), 10, 64))
	case typed && kind == "uint32":
		return as[uint32](strconv.ParseUint(strings.TrimSpace(number), 10, 32))
	case typed && kind == "int32", strings.Trim(text, "-0123456789") == "":
		return as[int32](strconv.ParseInt(strings.TrimSpace(strings.TrimPrefix(text, "int32")), 10, 32))
	case strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]"):
		list := []string{}
		if strings.TrimSpace(text[1:len(text)-1]) == "" {
			return list, nil
		}
		for part := range strings.SplitSeq(text[1:len(text)-1], ",") {
			s, ok := quoted(strings.TrimSpace(part))
			if !ok {
				return nil, fmt.Errorf("%s: want strings in quotes", text)
			}
			list = append(list, s)
		}
		return list, nil
	default:
		if s, ok := quoted(text); ok {
			return s, nil
		}
	}
	return nil, fmt.Errorf("%q: want true, false, a number as in \"uint64 5\", 'text' or ['text', 'text']", text)
}

func as[T uint64 | int64 | uint32 | int32, F uint64 | int64](v F, err error) (any, error) {
	return T(v), err
}

// begin has systemd make the group, before its directories are filled and its limits written.
func (g *Group) begin(c Config, want []setting, l *deviceList) error {
	u, dir, err := newUnit(c.Unit.Path, c.Rootless)
	if err != nil {
		return err
	}
	b, err := u.dial()
	if err != nil {
		return err
	}
	defer b.close()
	root := "/"
	if c.Rootless {
		if root, err = b.root(); err != nil {
			return err
		}
	}
	list, err := properties(want, l)
	if err != nil {
		return err
	}
	g.path, g.unit = path.Join(root, dir), u
	return u.start(b, *c.Unit, list)
}

// UnitGroup is Find for a group that systemd made, or was to make: its directories are known by the unit's path.
func UnitGroup(paths map[string]string, at string, rootless bool, f facts.Cgroup) (*Group, error) {
	u, dir, err := newUnit(at, rootless)
	if err != nil {
		return nil, err
	}
	g, err := Open(paths, f)
	if err != nil {
		return nil, err
	}
	if len(g.places) == 0 {
		if g = Find(dir, rootless, f); g == nil {
			g = &Group{facts: f, path: dir}
		}
	}
	g.unit, g.rootless = u, rootless
	return g, nil
}
