package caps

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, name := range []string{"CAP_SYS_PTRACE", "SYS_PTRACE", "sys_ptrace", "cap_sys_ptrace", "Cap_Sys_Ptrace"} {
		if c, err := Parse(name); err != nil || c != CAP_SYS_PTRACE {
			t.Errorf("%s: %s, %v", name, c, err)
		}
	}
	for c := range Cap(64) {
		if got, err := Parse(c.String()); err != nil || got != c {
			t.Errorf("%s: %d, %v, want %d", c, got, err, c)
		}
	}
	for name, message := range map[string]string{
		"SYS_PTRAEC":     `unknown capability "SYS_PTRAEC"; did you mean SYS_PTRACE?`,
		"cap_netraw":     `unknown capability "cap_netraw"; did you mean NET_RAW?`,
		"ALL":            `unknown capability "ALL"; did you mean KILL?`,
		"":               `unknown capability ""`,
		"CAP_":           `unknown capability "CAP_"`,
		"CAP_64":         `unknown capability "CAP_64"`,
		"41":             `unknown capability "41"`,
		"CAP_FROBNICATE": `unknown capability "CAP_FROBNICATE"`,
	} {
		if c, err := Parse(name); err == nil || err.Error() != message {
			t.Errorf("%s: %s, %v, want %s", name, c, err, message)
		}
	}
}

func TestInfos(t *testing.T) {
	seen := map[string]bool{}
	for c := range Last + 1 {
		i := Describe(c)
		if !strings.HasPrefix(i.Name, "CAP_") || i.Name != c.String() || seen[i.Name] {
			t.Errorf("%d: name %q", c, i.Name)
		}
		if !strings.HasSuffix(i.Permits, ".") || i.Source == "" {
			t.Errorf("%s: %+v", c, i)
		}
		seen[i.Name] = true
	}
	if got := Describe(Last + 1); got.Name != "CAP_41" || got.Permits != "" {
		t.Errorf("newer: %+v", got)
	}
}

func TestSet(t *testing.T) {
	s := Of(CAP_KILL, CAP_CHOWN)
	if got := s.String(); got != "CAP_CHOWN,CAP_KILL" {
		t.Error(got)
	}
	if got := s.Hex(); got != "0000000000000021" {
		t.Error(got)
	}
	if got := s.Add(CAP_BPF).Remove(CAP_KILL); got != Of(CAP_CHOWN, CAP_BPF) || got.Has(CAP_KILL) || !got.Has(CAP_BPF) || got.Len() != 2 {
		t.Error(got)
	}
	if s.Union(Of(CAP_BPF)).Without(s) != Of(CAP_BPF) || s.Intersect(Of(CAP_KILL, CAP_BPF)) != Of(CAP_KILL) {
		t.Error("union, without, intersect")
	}
	if !s.Includes(Of(CAP_KILL)) || s.Includes(Of(CAP_BPF)) || !s.Includes(0) {
		t.Error("includes")
	}
	if All.Len() != 41 || All.Hex() != "000001ffffffffff" || Set(0).String() != "" || len(All.List()) != 41 {
		t.Error(All.Hex())
	}
	for _, s := range []Set{0, s, All, ^Set(0)} {
		if got, err := ParseHex(s.Hex()); err != nil || got != s {
			t.Errorf("%s: %s, %v", s.Hex(), got.Hex(), err)
		}
	}
	if got, err := ParseHex(" 0x21\n"); err != nil || got != s {
		t.Error(got, err)
	}
	for _, bad := range []string{"", "0x", "xyz", "-1", "10000000000000000"} {
		if got, err := ParseHex(bad); err == nil {
			t.Errorf("%q: %s", bad, got)
		}
	}
}

// What capsh --print (libcap 2.66) wrote for these states.
func TestText(t *testing.T) {
	full := All.Remove(CAP_SYS_RESOURCE)
	for want, s := range map[string]State{
		"=":                          {},
		"=ep":                        {Effective: All, Permitted: All},
		"=eip":                       {Effective: All, Permitted: All, Inheritable: All},
		"cap_sys_admin=ep":           {Effective: Of(CAP_SYS_ADMIN), Permitted: Of(CAP_SYS_ADMIN)},
		"cap_net_raw=eip cap_kill+p": {Effective: Of(CAP_NET_RAW), Inheritable: Of(CAP_NET_RAW), Permitted: Of(CAP_NET_RAW, CAP_KILL)},
		"cap_net_raw=eip cap_mknod+ip cap_chown+i cap_setpcap+ep cap_kill+p": {
			Effective: Of(CAP_NET_RAW, CAP_SETPCAP), Inheritable: Of(CAP_NET_RAW, CAP_MKNOD, CAP_CHOWN), Permitted: Of(CAP_NET_RAW, CAP_MKNOD, CAP_SETPCAP, CAP_KILL)},
		"=p cap_chown+i-p cap_setpcap+e cap_kill,cap_sys_resource-p": {
			Effective: Of(CAP_SETPCAP), Inheritable: Of(CAP_CHOWN), Permitted: full.Remove(CAP_CHOWN, CAP_KILL)},
		"cap_chown,cap_kill=i":                {Inheritable: Of(CAP_CHOWN, CAP_KILL)},
		"=ep cap_sys_resource-ep":             {Effective: full, Permitted: full},
		"=ep cap_kill+i cap_sys_resource-ep":  {Effective: full, Permitted: full, Inheritable: Of(CAP_KILL)},
		"=ep cap_chown,cap_sys_resource-ep":   {Effective: full.Remove(CAP_CHOWN), Permitted: full.Remove(CAP_CHOWN)},
		"=p cap_setpcap+e cap_sys_resource-p": {Effective: Of(CAP_SETPCAP), Permitted: full},
	} {
		if got := s.Text(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// docker is what Docker gives a container's first process (14 capabilities, none ambient).
var docker = Of(CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_SETPCAP,
	CAP_NET_BIND_SERVICE, CAP_NET_RAW, CAP_SYS_CHROOT, CAP_MKNOD, CAP_AUDIT_WRITE, CAP_SETFCAP)

func TestExec(t *testing.T) {
	root := State{Permitted: docker, Effective: docker, Bounding: docker}
	user := State{Bounding: docker, UID: 1000, EUID: 1000, SUID: 1000, FSUID: 1000}
	nnp := user.SetNoNewPrivs()
	ambient := user
	ambient.Permitted, ambient.Inheritable, ambient.Ambient = Of(CAP_NET_RAW), Of(CAP_NET_RAW), Of(CAP_NET_RAW)
	noroot := root
	noroot.Securebits = SECBIT_NOROOT
	ping := File{Caps: FileCaps{Present: true, Permitted: Of(CAP_NET_RAW), Effective: true}}
	dumbPing := ping
	dumbPing.Caps.Effective = false
	noNet := user
	noNet.Bounding = docker.Remove(CAP_NET_RAW)
	sudo := File{SetUID: true}

	for _, c := range []struct {
		story                string
		from                 State
		file                 File
		permitted, effective Set
		ambient              Set
		euid                 int
		refusedFor           Set
	}{
		{story: "root gets all that the bounding set has", from: root, permitted: docker, effective: docker},
		{story: "an ordinary user has nothing and gets nothing", from: user, euid: 1000},
		{story: "a setuid-root file makes a user root", from: user, file: sudo, permitted: docker, effective: docker},
		{story: "no_new_privs: the setuid bit does nothing, and says nothing", from: nnp, file: sudo, euid: 1000},
		{story: "Debian's ping brings CAP_NET_RAW", from: user, file: ping, permitted: Of(CAP_NET_RAW), effective: Of(CAP_NET_RAW), euid: 1000},
		{story: "ping without its capability in the bounding set is refused", from: noNet, file: ping, refusedFor: Of(CAP_NET_RAW)},
		{story: "one that knows capabilities starts without", from: noNet, file: dumbPing, euid: 1000},
		{story: "no_new_privs: ping starts, and its socket call will fail", from: nnp, file: ping, euid: 1000},
		{story: "ambient capabilities live through execve of a plain file", from: ambient, permitted: Of(CAP_NET_RAW), effective: Of(CAP_NET_RAW), ambient: Of(CAP_NET_RAW), euid: 1000},
		{story: "and end with one that has capabilities of its own", from: ambient, file: File{Caps: FileCaps{Present: true}}, euid: 1000},
		{story: "and with one that changes the user", from: ambient, file: sudo, permitted: docker, effective: docker},
		{story: "without special treatment root is a user", from: noroot},
		{story: "file capabilities of another namespace's root do not count", from: user, file: File{Caps: FileCaps{Present: true, Permitted: Of(CAP_NET_RAW), Effective: true, RootID: 1000}}, euid: 1000},
		{story: "a setuid file whose owner has no name here stays plain", from: user, file: File{SetUID: true, Owner: -1}, euid: 1000},
	} {
		got, err := c.from.Exec(c.file)
		if c.refusedFor != 0 {
			var r *Refusal
			if !errors.As(err, &r) || r.Missing != c.refusedFor || r.Errno != "EPERM" {
				t.Errorf("%s: %v", c.story, err)
			}
			continue
		}
		if err != nil || got.Permitted != c.permitted || got.Effective != c.effective || got.Ambient != c.ambient || got.EUID != c.euid {
			t.Errorf("%s: %+v, %v", c.story, got, err)
		}
		// Whatever a file may bring, on a nosuid mount it is as if it were plain.
		c.file.NoSUID = true
		onNoSUID, err := c.from.Exec(c.file)
		plain, _ := c.from.Exec(File{})
		if err != nil || onNoSUID != plain {
			t.Errorf("%s, on a nosuid mount: %+v, %v, want %+v", c.story, onNoSUID, err, plain)
		}
	}
}

func TestLeavingRoot(t *testing.T) {
	root := State{Permitted: docker, Effective: docker, Bounding: docker, Inheritable: Of(CAP_KILL), Ambient: Of(CAP_KILL)}
	gone, err := root.SetUID(1000)
	if err != nil || gone.Permitted != 0 || gone.Effective != 0 || gone.Ambient != 0 || gone.Inheritable != Of(CAP_KILL) || gone.Bounding != docker {
		t.Errorf("setuid(1000): %+v, %v", gone, err)
	}
	if _, err := gone.SetUID(0); err == nil || !strings.Contains(err.Error(), "CAP_SETUID") {
		t.Errorf("no way back: %v", err)
	}
	keeping, _ := root.SetKeepCaps(true)
	kept, err := keeping.SetUID(1000)
	if err != nil || kept.Permitted != docker || kept.Effective != 0 || kept.Ambient != 0 {
		t.Errorf("with PR_SET_KEEPCAPS: %+v, %v", kept, err)
	}
	away, err := root.SetEUID(1000)
	if err != nil || away.Permitted != docker || away.Effective != 0 {
		t.Errorf("seteuid(1000): %+v, %v", away, err)
	}
	if back, err := away.SetEUID(0); err != nil || back.Effective != docker {
		t.Errorf("seteuid(0) again: %+v, %v", back, err)
	}
	if fs := root.SetFSUID(1000); fs.Effective.Has(CAP_CHOWN) || !fs.Effective.Has(CAP_KILL) || fs.SetFSUID(0) != root {
		t.Errorf("setfsuid there and back: %+v", fs)
	}
}

func TestXattr(t *testing.T) {
	ping := FileCaps{Present: true, Permitted: Of(CAP_NET_RAW), Effective: true}
	for _, c := range []struct {
		story string
		value string
		want  FileCaps
	}{
		// What setcap cap_net_raw=ep writes.
		{"revision 2", "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", ping},
		{"revision 1, of old", "\x01\x00\x00\x01\x00\x20\x00\x00\x00\x00\x00\x00", ping},
		{"revision 3, of a namespace", "\x00\x00\x00\x03\x00\x20\x00\x00\x20\x00\x00\x00\x80\x00\x00\x00\x00\x01\x00\x00\xe8\x03\x00\x00",
			FileCaps{Present: true, Permitted: Of(CAP_NET_RAW, CAP_BPF), Inheritable: Of(CAP_KILL, CAP_CHECKPOINT_RESTORE), RootID: 1000}},
	} {
		got, err := ParseXattr([]byte(c.value))
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v", c.story, got, err)
		}
	}
	if got := ping.String(); got != "cap_net_raw=ep" {
		t.Error(got)
	}
	for _, bad := range []string{"", "\x00\x00", "\x01\x00\x00\x00", "\x01\x00\x00\x04", "\x01\x00\x00\x02\x00", strings.Repeat("\x02", 30)} {
		if got, err := ParseXattr([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}

func FuzzXattr(f *testing.F) {
	f.Add((FileCaps{Permitted: All, Effective: true}).Xattr())
	f.Add((FileCaps{Inheritable: All, RootID: 100000}).Xattr())
	f.Fuzz(func(t *testing.T, value []byte) {
		c, err := ParseXattr(value)
		if err != nil {
			return
		}
		again, err := ParseXattr(c.Xattr())
		if err != nil || again != c {
			t.Fatalf("%+v: %+v, %v", c, again, err)
		}
		if c.RootID != 0 && !bytes.Equal(c.Xattr()[4:], value[4:]) {
			t.Fatalf("%x became %x", value, c.Xattr())
		}
	})
}
