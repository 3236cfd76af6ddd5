package image

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/mountinfo"

	"porthole/plan"
)

// show prints a root, a layer a line.
func show(root plan.Root) string {
	var b strings.Builder
	for _, l := range root.Layers {
		fmt.Fprint(&b, "layer ", l.Target)
		switch {
		case l.Lower != nil:
			fmt.Fprintf(&b, " overlay %s %o", strings.Join(l.Lower, ":"), l.Mode)
		case l.Bind != "":
			fmt.Fprint(&b, " bind ", l.Bind)
		case l.Link != "":
			fmt.Fprint(&b, " -> ", l.Link)
		case l.Cover:
			fmt.Fprintf(&b, " cover %o", l.Mode)
		case l.Dir:
			fmt.Fprintf(&b, " dir %o", l.Mode)
		default:
			fmt.Fprint(&b, " file")
		}
		for _, f := range l.Flags {
			fmt.Fprint(&b, " ", f)
		}
		fmt.Fprintln(&b)
	}
	return b.String()
}

func has(t *testing.T, out string, lines ...string) {
	t.Helper()
	all := strings.Split(out, "\n")
	for _, l := range lines {
		if !slices.Contains(all, l) {
			t.Errorf("no line %q in\n%s", l, out)
		}
	}
}

func gone(t *testing.T, paths ...string) {
	t.Helper()
	for _, p := range paths {
		if _, err := os.Lstat(p); err == nil {
			t.Errorf("%s was made on the host", p)
			os.Remove(p)
		}
	}
}

func TestHostAsRoot(t *testing.T) {
	out := inRoot(t, 0, trial{Host: true, Root: plan.Root{Scratch: scratch(t, 0)}, Script: `
		touch /usr/bin/porthole-test /etc/porthole-test /run/porthole-test
		rm /usr/bin/env
		echo root $(stat -c %a:%u /) run $(ls -A /run) proc $(ls -A /proc)
		cmp /bin/ls /usr/bin/ls && echo same`})
	has(t, out, "notes []", "layer / overlay / 755", "root 755:0 run porthole-test proc", "same")
	gone(t, "/usr/bin/porthole-test", "/etc/porthole-test", "/run/porthole-test")
	if _, err := os.Stat("/usr/bin/env"); err != nil {
		t.Error(err)
	}
}

func TestHostFurtherDisks(t *testing.T) {
	dir := scratch(t, 0)
	before := fmt.Sprintf(`
		cd %s
		mkdir -p data/deep under scratch
		echo on-disk > data/file; chown 7:8 data; chmod 2770 data
		mount --bind data /srv; mount -o remount,bind,nosuid,nodev /srv
		mount -t tmpfs none /media
		touch data/one-file; mount --bind data/one-file /etc/hostname
		mount --bind data /opt; mount -t tmpfs none /opt`, dir)
	out := inRoot(t, 0, trial{Host: true, Before: before, Root: plan.Root{Scratch: dir + "/scratch"}, Script: `
		cat /srv/file; stat -c %a:%u:%g /srv
		rm /srv/file; touch /srv/new
		echo x > /etc/hostname || echo read-only
		test -e /opt/file || echo covered`})
	has(t, out, "layer /srv overlay /srv 2770 nosuid nodev", "layer /etc/hostname bind /etc/hostname",
		"on-disk", "2770:7:8", "read-only", "covered")
	if strings.Contains(out, "layer /media") || strings.Contains(out, "layer /opt") {
		t.Errorf("a tmpfs became a layer:\n%s", out)
	}
	if _, err := os.Stat(dir + "/data/file"); err != nil {
		t.Error(err)
	}
	gone(t, dir+"/data/new")
}

func TestHostRootless(t *testing.T) {
	out := inRoot(t, 1000, trial{Host: true, Root: plan.Root{Scratch: scratch(t, 1000)}, Script: `
		id -u
		touch /usr/porthole-test /root/porthole-test /run/porthole-test /tmp/porthole-test
		for f in /*; do echo top ${f#/}; done
		echo modes $(stat -c %a:%u / /tmp /root /run /usr)
		cmp /bin/ls /usr/bin/ls && echo same
		grep -c . /etc/passwd
		touch /usr/bin/porthole-test || echo not mapped`})
	has(t, out, "layer / dir 755", "layer /usr overlay /usr 755", "layer /run dir 755",
		"modes 755:0 1777:0 700:0 755:0 755:0", "same", "not mapped")
	gone(t, "/usr/porthole-test", "/root/porthole-test", "/run/porthole-test", "/tmp/porthole-test")
	top, _ := os.ReadDir("/")
	for _, e := range top {
		if name := e.Name(); name[0] != '.' && (e.IsDir() || e.Type().IsRegular()) {
			has(t, out, "top "+name)
		}
	}
	if strings.Contains(out, "layer /root overlay") {
		t.Error("/root of another user became a layer")
	}
}

// A directory with locked mounts, which the kernel refuses as a lower one, is put together from its entries.
func TestHostRootlessMountsBelow(t *testing.T) {
	dir := scratch(t, 1000)
	before := fmt.Sprintf(`
		cd %s
		mkdir -p disk/b/c disk/b/full disk/other scratch; chown 1000 scratch
		echo deep > disk/b/full/file; echo there > disk/other/file; echo top > disk/file
		chmod 755 .
		mount --bind disk /srv
		mount -t tmpfs none /srv/b/c; touch /srv/b/c/hidden`, dir)
	out := inRoot(t, 1000, trial{Host: true, Before: before, Root: plan.Root{Scratch: dir + "/scratch"}, Script: `
		cat /srv/b/full/file /srv/other/file /srv/file
		echo c: $(ls -A /srv/b/c)
		touch /srv/b/full/new /srv/b/new /srv/new && echo writable
		echo x > /srv/file || echo read-only`})
	has(t, out, "notes []", "layer /srv dir 755", "layer /srv/other overlay /srv/other 755", "layer /srv/b/full overlay /srv/b/full 755",
		"deep", "there", "top", "c:", "writable", "read-only")
}

// A full one is bound as it is; it is left empty if our own directory is in there.
func TestHostRootlessTooFull(t *testing.T) {
	dir := scratch(t, 1000)
	fill := fmt.Sprintf(`
		cd %s; chmod 755 .
		mkdir -p disk/m scratch; chown 1000 scratch
		for i in $(seq 100); do mkdir disk/$i 2>/dev/null || true; done; echo in > disk/1/file
		mount --bind disk /srv; mount -t tmpfs none /srv/m`, dir)
	out := inRoot(t, 1000, trial{Host: true, Before: fill, Root: plan.Root{Scratch: dir + "/scratch"}, Script: `
		cat /srv/1/file; touch /srv/1/x || echo read-only`})
	has(t, out, `notes ["/srv is read-only: filesystems are mounted below it"]`, "in", "read-only")

	out = inRoot(t, 1000, trial{Host: true, Before: fill + "; chmod 1777 /srv", Root: plan.Root{Scratch: dir + "/scratch"}, Script: `
		touch /srv/new; echo has: $(ls -A /srv); stat -c %a /srv`})
	has(t, out, `notes ["/srv is empty: it is too full to be put together around what is mounted below it"]`, "has: new", "1777")

	out = inRoot(t, 1000, trial{Host: true, Before: fill + "; chmod 755 /srv; mkdir /srv/scratch; chown 1000 /srv/scratch",
		Root: plan.Root{Scratch: "/srv/scratch"}, Script: `echo left: $(ls -A /srv)`})
	has(t, out, `notes ["/srv is left out: filesystems and porthole's own directory are below it"]`, "left:")
}

// Without overlay in user namespaces the same pieces are bound, read-only.
func TestHostRootlessWithoutOverlay(t *testing.T) {
	out := inRoot(t, 1000, trial{Host: true, NoOverlay: true, Root: plan.Root{Scratch: scratch(t, 1000)}, Script: `
		touch /usr/x || echo read-only; touch /run/x /tmp/x; cmp /bin/ls /usr/bin/ls && echo same`})
	has(t, out, "layer /usr bind /usr", "read-only", "same",
		`notes ["this kernel has no overlay in user namespaces (Linux 5.11): the host's files are read-only"]`)
}

func TestVisible(t *testing.T) {
	tests := []struct {
		name, mounts, want string
	}{
		{"systemd machine", `
22 28 0:20 / /proc rw - proc proc rw
23 28 0:21 / /sys rw - sysfs sys rw
24 28 0:5 / /dev rw - devtmpfs udev rw
26 28 0:23 / /run rw - tmpfs tmpfs rw
28 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 0:30 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw
31 28 0:31 / /boot/efi rw - autofs systemd-1 rw
32 31 8:15 / /boot/efi rw - vfat /dev/sda15 rw
33 28 0:40 / /tmp rw - tmpfs tmpfs rw
34 28 8:2 / /home rw,nosuid - xfs /dev/sda2 rw
35 34 0:50 / /home/u/.cache/doc rw - fuse.portal portal rw
36 28 7:1 / /snap/core/1 ro - squashfs /dev/loop1 ro`, "/home"},
		{"docker host", `
28 1 8:1 / / rw - btrfs /dev/sda1 rw
29 28 8:1 /@docker /var/lib/docker rw - btrfs /dev/sda1 rw
40 29 0:50 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw
41 28 8:1 /@home /home rw - btrfs /dev/sda1 rw
42 28 8:3 / /mnt/with\040space rw - ext4 /dev/sda3 rw`, "/home,/mnt/with space"},
		{"in a container", `
500 400 0:60 / / rw - overlay overlay rw
501 500 0:61 / /proc rw - proc proc rw
502 500 8:1 /var/lib/docker/containers/x/hosts /etc/hosts rw - ext4 /dev/sda1 rw
503 500 8:1 /data /data rw - ext4 /dev/sda1 rw`, "/data,/etc/hosts"},
		{"covered by a mount at the same place", `
28 1 8:1 / / rw - ext4 /dev/sda1 rw
29 28 8:2 / /data rw - ext4 /dev/sda2 rw
30 29 0:9 / /data rw - tmpfs none rw`, ""},
		{"covered by a mount further up", `
28 1 8:1 / / rw - ext4 /dev/sda1 rw
29 28 8:2 / /srv/a/b rw - ext4 /dev/sda2 rw
30 29 8:4 / /srv/a/b/c rw - ext4 /dev/sda4 rw
31 28 0:9 / /srv/a rw - tmpfs none rw
32 31 8:3 / /srv/a/d rw - ext4 /dev/sda3 rw`, "/srv/a/d"},
		{"twice mounted, with something on the second", `
28 1 8:1 / / rw - ext4 /dev/sda1 rw
29 28 8:2 / /d rw - ext4 /dev/sda2 rw
30 29 8:3 / /d/old rw - ext4 /dev/sda3 rw
31 29 8:4 / /d rw - ext4 /dev/sda4 rw
32 31 8:5 / /d/new rw - ext4 /dev/sda5 rw`, "/d,/d/new"},
		{"names that begin alike", `
28 1 8:1 / / rw - ext4 /dev/sda1 rw
29 28 8:2 / /a-b rw - ext4 /dev/sda2 rw
30 28 8:3 / /a rw - ext4 /dev/sda3 rw
31 30 8:4 / /a/c rw - ext4 /dev/sda4 rw`, "/a,/a/c,/a-b"},
		{"system extension", `
28 1 8:1 / / rw - ext4 /dev/sda1 rw
29 28 0:44 / /usr ro - overlay sysext ro`, "/usr"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			all, err := mountinfo.GetMountsFromReader(strings.NewReader(strings.TrimSpace(tt.mounts)), nil)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, m := range visible(all) {
				if m.Mountpoint != "/" && kept(m) {
					got = append(got, m.Mountpoint)
				}
			}
			slices.Sort(got)
			want := strings.FieldsFunc(tt.want, func(r rune) bool { return r == ',' })
			slices.Sort(want)
			if d := cmp.Diff(strings.Join(want, ","), strings.Join(got, ",")); d != "" {
				t.Error(d)
			}
		})
	}
}

func BenchmarkHost(b *testing.B) {
	for b.Loop() {
		if _, _, _, err := Host(rooted, HostOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHostRootless(b *testing.B) {
	for b.Loop() {
		if _, _, _, err := Host(rootless, HostOptions{NewUser: true}); err != nil {
			b.Fatal(err)
		}
	}
}
