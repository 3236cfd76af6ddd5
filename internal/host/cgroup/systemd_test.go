package cgroup

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/facts"
)

// What systemd itself makes of all this is asked in .ci/vm-tests/systemd.sh.

func TestUnitNames(t *testing.T) {
	for _, c := range []struct {
		path, unit, slice, dir string
		rootless               bool
	}{
		{path: "system.slice:docker:abc", unit: "docker-abc.scope", slice: "system.slice", dir: "/system.slice/docker-abc.scope"},
		{path: ":porthole:abc", unit: "porthole-abc.scope", slice: "system.slice", dir: "/system.slice/porthole-abc.scope"},
		{path: ":porthole:abc", unit: "porthole-abc.scope", slice: "user.slice", dir: "/user.slice/porthole-abc.scope", rootless: true},
		{path: "kubepods-besteffort-pod12_3.slice:cri-containerd:f0", unit: "cri-containerd-f0.scope", slice: "kubepods-besteffort-pod12_3.slice",
			dir: "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod12_3.slice/cri-containerd-f0.scope"},
		{path: "-.slice:x:y", unit: "x-y.scope", slice: "-.slice", dir: "/x-y.scope"},
		{path: "a.slice::y", unit: "y.scope", slice: "a.slice", dir: "/a.slice/y.scope"},
		{path: "a.slice:x:a-b.slice", unit: "a-b.slice", slice: "a.slice", dir: "/a.slice/a-b.slice"},
	} {
		u, dir, err := newUnit(c.path, c.rootless)
		if err != nil || u.name != c.unit || u.slice != c.slice || dir != c.dir {
			t.Errorf("%s: %+v, %s, %v; want %+v", c.path, u, dir, err, c)
		}
	}
	for path, want := range map[string]string{
		"/plain/path": "want slice:prefix:name", "a.slice:b": "want slice:prefix:name", "a.slice:b:c:d": "want slice:prefix:name", "a.slice:b:": "want slice:prefix:name",
		"a.slice:b:../c": "want slice:prefix:name", "a--b.slice:b:c": `slice "a--b.slice"`, "a:b:c": `slice "a"`, ".slice:b:c": `slice ".slice"`, "-a.slice:b:c": `slice "-a.slice"`,
	} {
		if u, dir, err := newUnit(path, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %s, %v; want %s", path, u, dir, err, want)
		}
	}
}

func TestUnitProperties(t *testing.T) {
	v2 := facts.Cgroup{Mode: facts.CgroupV2, Hierarchies: []facts.Hierarchy{{V2: true, Mount: "/sys/fs/cgroup", Controllers: []string{"cpu", "cpuset", "memory", "pids", "io"}}}}
	v1 := facts.Cgroup{Mode: facts.CgroupV1, Hierarchies: []facts.Hierarchy{{Mount: "/m", Controllers: []string{"cpu", "cpuset", "memory", "pids", "blkio"}}}}
	everything := &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: ptr(int64(1 << 20)), Swap: ptr(int64(3 << 20)), Reservation: ptr(int64(1 << 19))},
		Pids:   &specs.LinuxPids{Limit: ptr(int64(-1))},
		CPU:    &specs.LinuxCPU{Shares: ptr(uint64(1024)), Quota: ptr(int64(12345)), Period: ptr(uint64(50000)), Cpus: "0-1,9", Mems: "0"},
	}
	for _, c := range []struct {
		name string
		r    *specs.LinuxResources
		f    facts.Cgroup
		want map[string]any
	}{
		{"v2", everything, v2, map[string]any{"MemoryMax": uint64(1 << 20), "MemorySwapMax": uint64(2 << 20), "MemoryLow": uint64(1 << 19), "TasksMax": uint64(math.MaxUint64),
			"CPUWeight": uint64(100), "CPUQuotaPeriodUSec": uint64(50000), "CPUQuotaPerSecUSec": uint64(250000), "AllowedCPUs": []byte{3, 2}, "AllowedMemoryNodes": []byte{1}}},
		{"v1", everything, v1, map[string]any{"MemoryLimit": uint64(1 << 20), "TasksMax": uint64(math.MaxUint64),
			"CPUShares": uint64(1024), "CPUQuotaPeriodUSec": uint64(50000), "CPUQuotaPerSecUSec": uint64(250000), "AllowedCPUs": []byte{3, 2}, "AllowedMemoryNodes": []byte{1}}},
		{"no quota", &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(-1))}}, v2, map[string]any{"CPUQuotaPerSecUSec": uint64(math.MaxUint64)}},
		{"quota alone", &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(50000))}}, v2, map[string]any{"CPUQuotaPerSecUSec": uint64(500000)}},
		{"period alone", &specs.LinuxResources{CPU: &specs.LinuxCPU{Period: ptr(uint64(20000))}}, v2, map[string]any{"CPUQuotaPeriodUSec": uint64(20000)}},
		{"by name", &specs.LinuxResources{Unified: map[string]string{"memory.high": "max", "memory.min": "4096", "io.max": "8:0 rbps=1"}}, v2,
			map[string]any{"MemoryHigh": uint64(math.MaxUint64), "MemoryMin": uint64(4096)}},
	} {
		want, err := limits(c.r, c.f)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		list, err := properties(want, nil)
		got := map[string]any{}
		for _, p := range list {
			got[p.name] = p.value
		}
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
	}
	if _, err := properties([]setting{{file: "cpuset.cpus", value: "3-1", field: "linux.resources.cpu.cpus"}}, nil); err == nil || !strings.Contains(err.Error(), "linux.resources.cpu.cpus") {
		t.Errorf("a range that runs backwards: %v", err)
	}
}

func TestUnitDevices(t *testing.T) {
	l, err := devices([]specs.LinuxDeviceCgroup{{Access: "rwm"}, {Allow: true, Type: "b", Major: ptr(int64(8)), Access: "r"}, {Allow: true, Type: "c", Minor: ptr(int64(7)), Access: "w"}})
	if err != nil {
		t.Fatal(err)
	}
	got := l.properties()
	allow := got[2].value.([][2]string)
	for _, want := range [][2]string{{"block-8", "r"}, {"char-*", "m"}, {"/dev/char/1:3", "rwm"}, {"char-136", "rwm"}} {
		if !strings.Contains(strings.Join(flat(allow), ";"), want[0]+" "+want[1]) {
			t.Errorf("%v is not in %v", want, allow)
		}
	}
	if got[0].value != "strict" || len(got[1].value.([][2]string)) != 0 {
		t.Errorf("%v", got)
	}
	if l, err = devices([]specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}); err != nil || l.properties()[0].value != "auto" {
		t.Errorf("all: %v, %v", l.properties(), err)
	}
}

func flat(list [][2]string) (s []string) {
	for _, p := range list {
		s = append(s, p[0]+" "+p[1])
	}
	return s
}

func TestAnnotatedProperties(t *testing.T) {
	const at = "org.systemd.property."
	got, err := annotated(map[string]string{at + "CollectMode": "'inactive-or-failed'", at + "TimeoutStopUSec": "uint64 5", at + "KillMode": `"none"`,
		at + "StopSec": "7", at + "A": "true", at + "B": "int64 -3", at + "C": "['x', 'y']", at + "D": "-4", at + "E": "uint32 9", at + "F": "[]", "other": "x"})
	want := []property{{"A", true}, {"B", int64(-3)}, {"C", []string{"x", "y"}}, {"CollectMode", "inactive-or-failed"}, {"D", int32(-4)}, {"E", uint32(9)}, {"F", []string{}},
		{"KillMode", "none"}, {"StopUSec", uint64(7000000)}, {"TimeoutStopUSec", uint64(5)}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	for _, bad := range []string{"", "plain", "'open", "uint64 -1", "uint32 4294967296", "uint64 x", "[1]", "['a'", "'a'b'", "99999999999", "''x"} {
		if got, err := annotated(map[string]string{at + "X": bad}); err == nil || !strings.Contains(err.Error(), at+"X") {
			t.Errorf("%q: %v, %v", bad, got, err)
		}
	}
	if _, err := annotated(map[string]string{at + "StopSec": "'7'"}); err == nil {
		t.Error("a time that is no number")
	}
}

// What we write is read by godbus, and what godbus writes by us.
func TestWire(t *testing.T) {
	values := []any{"text", true, false, uint32(7), int32(-7), uint64(1 << 40), int64(-1 << 40), []byte{1, 2, 3}, []uint32{1, 2}, []string{"a", "", "ccc"}, []string{}, [][2]string{{"a", "b"}, {"", "c"}}, [][2]string{}}
	for _, v := range values {
		var e encoder
		e.string("odd")
		e.properties([]property{{"Name", v}, {"Next", "x"}})
		var head encoder
		head.b = append(head.b, 'l', busCall, 0, 1)
		head.uint32(uint32(len(e.b)))
		head.uint32(1)
		head.array(8, func() {
			for _, f := range []struct {
				code       byte
				kind, text string
			}{{fieldPath, "o", "/a"}, {fieldMember, "s", "M"}, {fieldSignature, "g", "sa(sv)"}} {
				head.align(8)
				head.b = append(head.b, f.code)
				head.signature(f.kind)
				if f.kind == "g" {
					head.signature(f.text)
				} else {
					head.string(f.text)
				}
			}
		})
		head.align(8)
		m, err := dbus.DecodeMessage(bytes.NewReader(append(head.b, e.b...)))
		if err != nil {
			t.Errorf("%T %v: %v", v, v, err)
			continue
		}
		first := m.Body[1].([][]any)[0]
		got := first[1].(dbus.Variant).Value()
		if p, ok := v.([][2]string); ok {
			list := [][2]string{}
			for _, x := range got.([][]any) {
				list = append(list, [2]string{x[0].(string), x[1].(string)})
			}
			if !reflect.DeepEqual(list, p) {
				t.Errorf("%v is read as %v", v, list)
			}
		} else if !reflect.DeepEqual(got, v) {
			t.Errorf("%T %v is read as %T %v", v, v, got, got)
		}
		if next := m.Body[1].([][]any)[1][0]; next != "Next" {
			t.Errorf("%v: what follows is %v", v, next)
		}
	}

	signal := &dbus.Message{Type: dbus.TypeSignal, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath("/org/freedesktop/systemd1")), dbus.FieldInterface: dbus.MakeVariant(manager), dbus.FieldMember: dbus.MakeVariant("JobRemoved"),
		dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(uint32(0), dbus.ObjectPath("/"), "", "")),
	}, Body: []any{uint32(3), dbus.ObjectPath("/job/3"), "a.scope", "done"}}
	failure := &dbus.Message{Type: dbus.TypeError, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldReplySerial: dbus.MakeVariant(uint32(9)), dbus.FieldErrorName: dbus.MakeVariant("x.y.Z"), dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf("")),
	}, Body: []any{"why"}}
	var in bytes.Buffer
	for _, m := range []*dbus.Message{signal, failure} {
		if err := m.EncodeTo(&in, binary.LittleEndian); err != nil {
			t.Fatal(err)
		}
	}
	b := &bus{fd: -1, in: in.Bytes()}
	m, err := b.receive()
	if err != nil || m.kind != busSignal || m.member != "JobRemoved" || m.body.uint32() != 3 || m.body.string() != "/job/3" || m.body.string() != "a.scope" || m.body.string() != "done" || m.body.err != nil {
		t.Errorf("%+v, %v", m, err)
	}
	if m, err = b.receive(); err != nil || m.kind != busError || m.reply != 9 || m.name != "x.y.Z" || m.body.string() != "why" {
		t.Errorf("%+v, %v", m, err)
	}
}

// Bytes that are no message end in an error, for reading on fails.
func FuzzReceive(f *testing.F) {
	var in bytes.Buffer
	m := &dbus.Message{Type: dbus.TypeError, Headers: map[dbus.HeaderField]dbus.Variant{dbus.FieldReplySerial: dbus.MakeVariant(uint32(9)), dbus.FieldErrorName: dbus.MakeVariant("x.y.Z")}}
	if err := m.EncodeTo(&in, binary.LittleEndian); err != nil {
		f.Fatal(err)
	}
	f.Add(in.Bytes())
	f.Add([]byte("l\x04\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00\x07\x00\x00\x00\x01\x02ao\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b := &bus{fd: -1, in: data}
		for range len(data)/16 + 1 {
			m, err := b.receive()
			if err != nil {
				return
			}
			_ = m.body.string()
		}
		t.Errorf("%d bytes make more messages than they can", len(data))
	})
}

func TestNoSystemd(t *testing.T) {
	u := &unit{socket: t.TempDir() + "/none", name: "a.scope", slice: "system.slice"}
	if _, err := u.dial(); !errors.Is(err, ErrNoSystemd) {
		t.Errorf("%v", err)
	}
	if err := u.stop(); err != nil { // nobody has a unit then
		t.Errorf("stop: %v", err)
	}
}
