package cgroup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"porthole/facts"
)

func rule(allow bool, s string) specs.LinuxDeviceCgroup {
	r := specs.LinuxDeviceCgroup{Allow: allow}
	var major, minor string
	if n, _ := fmt.Sscanf(strings.Replace(s, ":", " ", 1), "%s %s %s %s", &r.Type, &major, &minor, &r.Access); n == 4 {
		for _, x := range []struct {
			s  string
			to **int64
		}{{major, &r.Major}, {minor, &r.Minor}} {
			if x.s != "*" {
				var v int64
				_, _ = fmt.Sscan(x.s, &v)
				*x.to = &v
			}
		}
	}
	return r
}

func TestDeviceRules(t *testing.T) {
	yes, no := true, false
	type rules []specs.LinuxDeviceCgroup
	for _, c := range []struct {
		name  string
		rules rules
		want  string // of c 10:229 and b 8:0, what is allowed
	}{
		{"no rule denies", nil, "m m"},
		{"deny all", rules{{Allow: false, Access: "rwm"}}, "m m"},
		{"allow all", rules{{Allow: true, Access: "rwm"}}, "rwm rwm"},
		{"deny all, allow one", rules{rule(no, "a *:* rwm"), rule(yes, "c 10:229 rw")}, "rwm m"},
		{"in two rules", rules{rule(yes, "c 10:229 r"), rule(yes, "c 10:229 w")}, "rwm m"},
		{"allowed and denied again", rules{rule(yes, "c 10:229 rwm"), rule(no, "c 10:229 w")}, "rm m"},
		{"a whole major denied again", rules{rule(yes, "c 10:229 rwm"), rule(no, "c 10:* rw")}, "m m"},
		{"all, but one", rules{rule(yes, "a *:* rwm"), rule(no, "c 10:229 rwm")}, "m rwm"},
		{"all, but writing to one", rules{rule(yes, "a *:* rwm"), rule(no, "b 8:0 w")}, "rwm rm"},
		{"deny all after all", rules{rule(yes, "a *:* rwm"), rule(no, "a *:* rwm")}, "m m"},
		{"a type a with a number is not all devices", rules{rule(yes, "a 10:229 r")}, "rm m"},
		{"a type a with an access is not all access", rules{rule(yes, "a *:* r")}, "rm rm"},
		{"denied before it was allowed", rules{rule(no, "c 10:229 rwm"), rule(yes, "c 10:229 rwm")}, "rwm m"},
	} {
		l, err := devices(c.rules)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var got []string
		for _, d := range []device{{'c', 10, 229}, {'b', 8, 0}} {
			var has access
			for _, a := range []access{mknod, readDev, writeDev} {
				if l.allows(d, a) {
					has |= a
				}
			}
			got = append(got, has.String())
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: %q, want %q", c.name, s, c.want)
		}
		for _, d := range always {
			if d.device != (device{'c', anyNumber, anyNumber}) && d.device != (device{'b', anyNumber, anyNumber}) && !l.allows(device{d.kind, d.major, max(d.minor, 0)}, d.access) {
				t.Errorf("%s: %v is not allowed", c.name, d.device)
			}
		}
	}
	for _, c := range []struct {
		name  string
		rules rules
		want  string
	}{
		{"a hole in a wildcard", rules{rule(yes, "c *:* rwm"), rule(no, "c 10:229 rwm")}, "cannot be taken out of"},
		{"access", rules{{Type: "c", Access: "rx"}}, `linux.resources.devices[0]`},
		{"type", rules{{}, {Type: "p"}}, `devices[1]`},
		{"number", rules{{Type: "c", Major: ptr(int64(-2))}}, "want 0 to"},
	} {
		if _, err := devices(c.rules); err == nil || !strings.Contains(err.Error()+fmt.Sprintf("%+v", err.(*LimitError).Field), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// allows says what the kernel does with a list: an access is an exception if one of them holds all
// of it, or, where exceptions forbid, any part of it (match_exception, match_exception_partial).
func (l *deviceList) allows(d device, a access) bool {
	for e, has := range l.exceptions {
		if e.covers(d) && (!l.open && has&a == a || l.open && has&a != 0) {
			return !l.open
		}
	}
	return l.open
}

// run interprets the few instructions that programs are made of.
func run(t *testing.T, p []byte, d device, a access) bool {
	kind := uint32(unix.BPF_DEVCG_DEV_CHAR)
	if d.kind == 'b' {
		kind = unix.BPF_DEVCG_DEV_BLOCK
	}
	ctx := [3]uint32{uint32(a)<<16 | kind, uint32(d.major), uint32(d.minor)}
	var r [11]uint64
	for pc := 0; pc < len(p)/8; pc++ {
		in := p[pc*8 : pc*8+8]
		dst, src := in[1]&15, in[1]>>4
		off := int16(binary.NativeEndian.Uint16(in[2:]))
		imm := int32(binary.NativeEndian.Uint32(in[4:]))
		switch in[0] {
		case ldxWord:
			r[dst] = uint64(ctx[off/4])
		case movImm:
			r[dst] = uint64(imm)
		case movReg:
			r[dst] = r[src]
		case andImm:
			r[dst] &= uint64(imm)
		case rshImm:
			r[dst] >>= imm
		case jeqImm:
			if uint32(r[dst]) == uint32(imm) {
				pc += int(off)
			}
		case jneImm:
			if uint32(r[dst]) != uint32(imm) {
				pc += int(off)
			}
		case exit:
			return r[0] == 1
		default:
			t.Fatalf("instruction %d: %x", pc, in)
		}
	}
	t.Fatal("no answer")
	return false
}

// The program answers as the list does, for lists at random and accesses near their entries; and the
// kernel's verifier takes it.
func TestDeviceProgram(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	numbers := []int64{anyNumber, 0, 1, 5, 1<<31 - 1, 1 << 31, 1<<32 - 1}
	loads := 0
	for range 300 {
		l := &deviceList{open: rnd.Intn(2) == 0, exceptions: map[device]access{}}
		for range rnd.Intn(30) {
			l.exceptions[device{"bc"[rnd.Intn(2)], numbers[rnd.Intn(len(numbers))], numbers[rnd.Intn(len(numbers))]}] = access(1 + rnd.Intn(7))
		}
		p := l.program()
		for range 300 {
			d := device{"bc"[rnd.Intn(2)], numbers[1+rnd.Intn(len(numbers)-1)], numbers[1+rnd.Intn(len(numbers)-1)]}
			a := access(1 + rnd.Intn(7))
			if got, want := run(t, p, d, a), l.allows(d, a); got != want {
				t.Fatalf("%v %v: %v, want %v; open %v, exceptions %v", d, a, got, want, l.open, l.exceptions)
			}
		}
		fd, err := load(p)
		if err == nil {
			unix.Close(fd)
			loads++
		} else if !forbidden(err) && !errors.Is(err, unix.ENOSYS) {
			t.Fatalf("%v: open %v, exceptions %v", err, l.open, l.exceptions)
		}
	}
	if loads == 0 {
		t.Skip("the kernel was not asked: we may not load eBPF programs")
	}
}

// What the kernel lets a real process do: v1 by its list, v2 by the program.
func TestDevicesAreDenied(t *testing.T) {
	versions(t, func(t *testing.T, f facts.Cgroup) {
		dir := t.TempDir()
		g := create(t, Config{Resources: &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"}}}}, f)
		s := newShell(t, g)
		try := func(what, command string, want bool) {
			t.Helper()
			if text, ok := s.say(t, command); ok != want {
				t.Errorf("%s: %v, want %v: %s", what, ok, want, text)
			} else if !ok && !strings.Contains(text, "Operation not permitted") {
				t.Errorf("%s: refused for another reason: %s", what, text)
			}
		}
		try("null", "echo x > /dev/null", true)
		try("zero", "head -c 1 /dev/zero > /dev/null", true)
		try("make kmsg", "mknod "+dir+"/kmsg c 1 11", true)
		try("make mem", "mknod "+dir+"/mem c 1 1", true)
		try("make null", "mknod "+dir+"/null c 1 3", true)
		try("own null", "echo x > "+dir+"/null", true)
		try("read kmsg", "(exec 3< "+dir+"/kmsg)", false)
		try("write kmsg", "echo porthole > "+dir+"/kmsg", false)
		try("read mem", "head -c 1 "+dir+"/mem", false)

		allow := func(rules ...specs.LinuxDeviceCgroup) {
			t.Helper()
			if err := g.Set(&specs.LinuxResources{Devices: append([]specs.LinuxDeviceCgroup{{Access: "rwm"}}, rules...)}); err != nil {
				t.Fatal(err)
			}
		}
		allow(rule(true, "c 1:11 r"))
		try("read kmsg, allowed", "(exec 3< "+dir+"/kmsg)", true)
		try("write kmsg, only reading allowed", "echo porthole > "+dir+"/kmsg", false)
		allow()
		try("read kmsg, denied again", "head -c 1 "+dir+"/kmsg", false)
		if err := g.Set(&specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}, rule(false, "c 1:3 w")}}); err != nil {
			t.Fatal(err)
		}
		try("kmsg, all but one allowed", "(exec 3< "+dir+"/kmsg)", true)
		try("that one", "echo x > "+dir+"/null", true) // null is always given back
		if err := g.Set(&specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}, rule(false, "c 1:11 w")}}); err != nil {
			t.Fatal(err)
		}
		try("reading that one", "(exec 3< "+dir+"/kmsg)", true)
		try("writing to that one", "(exec 3> "+dir+"/kmsg)", false)
		allow()
		try("closed again", "head -c 1 "+dir+"/mem", false)
	})
}

func TestDevicesListReadBack(t *testing.T) {
	f := machine(t)
	if h, ok := f.Find("devices"); !ok || h.V2 {
		t.Skip("needs the devices controller of v1")
	}
	rnd := rand.New(rand.NewSource(2))
	g := create(t, Config{}, f)
	p, _ := g.at("devices")
	for range 100 { // from any list to any other
		l := &deviceList{exceptions: map[device]access{}}
		for range rnd.Intn(10) {
			d := device{"bc"[rnd.Intn(2)], int64(rnd.Intn(3)), int64(rnd.Intn(4) - 1)}
			l.exceptions[d] |= access(1 + rnd.Intn(7))
		}
		if err := l.write(p.dir); err != nil {
			t.Fatal(err)
		}
		text, err := read(p.dir, "devices.list")
		if err != nil {
			t.Fatal(err)
		}
		now, err := parseDevices(text)
		if err != nil || now.open || fmt.Sprint(now.exceptions) != fmt.Sprint(l.exceptions) {
			t.Fatalf("wrote %v, the kernel has %v, %v", l.exceptions, now, err)
		}
	}
}

func FuzzParseDevices(f *testing.F) {
	f.Add("a *:* rwm\n")
	f.Add("c 1:3 rwm\nb *:* m\n")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := parseDevices(text)
		if err == nil && !l.open && strings.TrimSpace(text) != "" && len(l.exceptions) == 0 {
			t.Errorf("%q: nothing, and no error", text)
		}
	})
}
