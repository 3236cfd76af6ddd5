package engine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"porthole/caps"
	"porthole/seccomp/profile"
	"porthole/workload/dialect"
)

// recorded is one run of testdata/docker-truth.txt, with what it shares with its machine's first run.
type recorded struct {
	machine, release, flags string

	refused, err string            // why it was not created, why it did not start
	facts        map[string]string // "status Uid", "cmd strace", "mount /proc", "sys ptrace_peek" → what follows
}

func readRecorded(t *testing.T) (all []*recorded) {
	t.Helper()
	f, err := os.Open("testdata/docker-truth.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var machine, release string
	var first, r *recorded
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		key, rest, _ := strings.Cut(s.Text(), " ")
		switch key {
		case "", "#", "exit":
		case "machine":
			machine, release, _ = strings.Cut(rest, " ")
			first = nil
		case "run":
			r = &recorded{machine: machine, release: release, flags: rest, facts: map[string]string{}}
			if first != nil {
				r.facts = maps.Clone(first.facts)
			} else {
				first = r
			}
			all = append(all, r)
		case "refused":
			r.refused = rest
		case "error":
			r.err = rest
		case "sys":
			for _, call := range strings.Fields(rest) {
				if name, errno, ok := strings.Cut(call, "="); ok {
					r.facts["sys "+name] = errno
				} else {
					maps.DeleteFunc(r.facts, func(k, _ string) bool { return strings.HasPrefix(k, "sys ") })
				}
			}
		default:
			name, value, _ := strings.Cut(rest, " ")
			if r.facts[key+" "+name] = processNumber.ReplaceAllString(value, "${1}N"); value == "-" {
				delete(r.facts, key+" "+name)
			}
		}
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// ordinary is a shell script that runs the ordinary commands in the recorded order, and prints of each
// its name and exit code, then what it said, lines of output and of errors each marked with the stream.
const ordinary = `
cd /tmp
try() {
	name=$1; shift
	"$@" >/tmp/.out 2>/tmp/.err </dev/null
	echo "cmd $name $?"
	sed 's/^/1/' /tmp/.out; sed 's/^/2/' /tmp/.err
}
grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp|Seccomp_filters):' /proc/self/status | sed 's/^/status /'
try getpcaps sh -c 'getpcaps 1 >/dev/null'
try strace strace -o /dev/null true
sleep 30 & pid=$!
until grep -q sleep /proc/$pid/comm; do :; done
attach() { # ended as timeout ends it, which then says 124
	>/tmp/.attach
	strace -o /dev/null -p $pid 2>>/tmp/.attach & s=$!
	until grep -q -e attached -e attach: /tmp/.attach; do sleep 0.02; done
	! grep -q attached /tmp/.attach || kill $s
	{ wait $s; rc=$?; } 2>/dev/null
	cat /tmp/.attach >&2
	[ $rc = 143 ] && return 124
	return $rc
}
try strace_attach attach
echo 'set debug-file-directory /nonexistent' >.gdb
try gdb_run gdb -nx -q -batch -ix .gdb -ex run true
try gdb_attach gdb -nx -q -batch -ix .gdb -p $pid
kill $pid; wait $pid
try unshare_user unshare -U -r whoami
try unshare_mnt unshare -m true
try setarch_R setarch -R true
try mount_tmpfs mount -t tmpfs x /mnt
try mknod mknod /tmp/nod c 1 3
try hostname hostname porthole-test
>/tmp/c
try chown chown 1 /tmp/c
try nice nice -n -5 true
try dmesg sh -c 'dmesg >/dev/null'
try chroot chroot / true
try proc_write sh -c 'v=$(cat /proc/sys/kernel/core_uses_pid); echo $v >/proc/sys/kernel/core_uses_pid'
try sysro sh -c ': >/sys/kernel/x'
try keyring sh -c 'cat /proc/keys >/dev/null'
try kcore head -c 1 /proc/kcore
try limits sh -c 'ulimit -n; ulimit -c; ulimit -s'
sed 's/^/mounts /' /proc/mounts
try devls ls -l /dev
try attr cat /proc/self/attr/current
try oom cat /proc/self/oom_score_adj
PORTHOLE_PROBE=1 /probe | sed 's/^/sys /'
exit 0
`

// Process numbers, addresses, and what ls says of owner, size and date.
var (
	processNumber = regexp.MustCompile(`([Pp]rocess |PTRACE_ATTACH, |waitpid\()\d+`)
	overlayDirs   = regexp.MustCompile(`lowerdir=.*`)
	address       = regexp.MustCompile(`0x[0-9a-f]+`)
	listing       = regexp.MustCompile(`^(\S{10})\S* +\d+ +\S+ +\S+ +(?:(\d+), +(\d+)|\d+) +\w+ +\d+ +[\d:]+ (.*)$`)
)

// observe turns what the script printed into facts with the recorded ones' names.
func observe(out string) map[string]string {
	seen := map[string]string{}
	var name, rc string
	streams := map[byte]*strings.Builder{}
	done := func() {
		if name != "" {
			say := func(stream byte) string {
				s := processNumber.ReplaceAllString(streams[stream].String(), "${1}N")
				if name != "unshare_user" && name != "unshare_mnt" {
					s = address.ReplaceAllString(s, "0xN")
				}
				if name == "devls" && stream == '1' {
					s = devices(s)
				}
				return strconv.Quote(s)
			}
			seen["cmd "+name] = rc + " " + say('1') + " " + say('2')
		}
		name = ""
	}
	for line := range strings.Lines(out) {
		word, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch {
		case name != "" && (line[0] == '1' || line[0] == '2'):
			streams[line[0]].WriteString(line[1:])
		case word == "cmd":
			done()
			name, rc, _ = strings.Cut(rest, " ")
			streams = map[byte]*strings.Builder{'1': {}, '2': {}}
		case word == "status":
			done()
			field, value, _ := strings.Cut(rest, ":")
			seen["status "+field] = strings.Join(strings.Fields(value), " ")
		case word == "mounts":
			done()
			f := strings.Fields(rest)
			switch seen["mount "+f[1]] = f[2] + " " + f[3]; f[1] {
			case "/":
				seen["mount /"] = overlayDirs.ReplaceAllString(seen["mount /"], "...")
			case "/etc/hosts", "/etc/hostname", "/etc/resolv.conf":
				seen["mount "+f[1]] = "file"
			}
		case word == "sys":
			done()
			call, errno, _ := strings.Cut(rest, "=")
			seen["sys "+call] = errno
		}
	}
	done()
	return seen
}

// devices is what `ls -l /dev` says, without what changes from day to day.
func devices(ls string) string {
	var b strings.Builder
	for line := range strings.Lines(ls) {
		if m := listing.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			b.WriteString(m[1])
			if m[2] != "" {
				b.WriteString(" " + m[2] + "," + m[3])
			}
			b.WriteString(" " + m[4] + "\n")
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// nodes are a listing's devices, but for those that every container has its own of.
func nodes(listing string) string {
	if l, err := strconv.Unquote(strings.TrimSuffix(strings.TrimPrefix(listing, "0 "), ` ""`)); err == nil {
		listing = l
	}
	var all []string
	for line := range strings.Lines(listing) {
		if name := strings.TrimSpace(line[strings.LastIndexByte(strings.TrimSpace(line), ' ')+1:]); (line[0] == 'c' || line[0] == 'b') && name != "console" && name != "ptmx" {
			all = append(all, strings.TrimSpace(line))
		}
	}
	return strings.Join(all, "\n")
}

var reasons = []reason{
	{why: "what our own bounding set lacks is left out with a warning; Docker 20.10 did not look and its start failed, 29 refuses the name",
		fit: func(k kind, d difference) bool {
			return d.key == "error" && d.got == "" && !k.bounding.Has(caps.CAP_SYS_RESOURCE) &&
				(strings.Contains(d.want, "unable to apply caps: operation not permitted") || strings.HasSuffix(d.want, `not available in the current environment: "CAP_SYS_RESOURCE"`))
		}, needed: func(k kind) bool { return !k.bounding.Has(caps.CAP_SYS_RESOURCE) }},
	{why: "root has capabilities here that it lacked there",
		fit: func(k kind, d difference) bool {
			if d.key == "error" {
				return d.got == "" && strings.Contains(d.want, "CAP_SYS_RESOURCE") || strings.Contains(d.want, "unable to apply caps")
			}
			want, err1 := caps.ParseHex(d.want)
			got, err2 := caps.ParseHex(d.got)
			return strings.HasPrefix(d.key, "status Cap") && err1 == nil && err2 == nil &&
				got != want && got.Intersect(recordedOn.bounding) == want
		}, needed: func(k kind) bool { return k.bounding&^recordedOn.bounding != 0 }},
	{why: "the newest client's words",
		fit: func(_ kind, d difference) bool {
			return d.release == "docker:20.10.24" && d.key == "error" && strings.Replace(d.want, "whitelisted", "allowed", 1) == d.got
		}},
	{why: "directories are masked as runc does since 1.5: with an empty file system that has no room",
		fit: func(_ kind, d difference) bool {
			return d.release == "docker:20.10.24" && d.got == d.want+",size=4k,nr_inodes=1"
		}},
	{why: "this machine's user database has a group for uid 1000; the recorded image did not know that user",
		fit: func(k kind, d difference) bool {
			return strings.HasPrefix(d.flags, "-u 1000") &&
				(d.key == "status Groups" && d.got == k.userGroup || d.key == "status Gid" && strings.HasPrefix(d.got, k.userGroup+" "))
		}, needed: func(k kind) bool { return k.userGroup != "" && k.userGroup != "0" }},
	{why: "the image host covers /run, which tells of what runs on this machine",
		fit: func(_ kind, d difference) bool { return d.key == "mount /run" && d.want == "" }},
	{why: "no control group is made in a v1 hierarchy in which the container limits nothing",
		fit: func(k kind, d difference) bool {
			return (d.key == "mount /sys/fs/cgroup/cpuset" || d.key == "mount /sys/fs/cgroup/blkio") && d.got == ""
		}},
	{why: "the init is executed from memory: there is no file of it to mount",
		fit: func(_ kind, d difference) bool {
			return d.flags == "--init" && d.key == "mount /usr/sbin/docker-init" && d.got == ""
		}},
	{why: "recorded on another kind of machine, where the kernel offered other things",
		fit: func(k kind, d difference) bool {
			return k.differs() && d.key != "error" && !strings.HasPrefix(d.key, "status ")
		}, needed: kind.differs},
}

// Every recorded run, on porthole: what is refused, who the first process is, what is mounted, how ordinary
// commands fare, and what the kernel answers to probing calls. -v prints the table of differences.
func TestAgreesWithDocker(t *testing.T) {
	e := open(t)
	for _, program := range []string{"strace", "gdb", "getpcaps", "unshare", "setarch", "hostname"} {
		if !installed(program) {
			t.Skipf("needs %s", program)
		}
	}
	probe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ls, err := exec.Command("ls", "-l", "/dev").Output()
	if err != nil {
		t.Fatal(err)
	}
	k := thisMachine(e.facts)
	t.Logf("recorded on %+v\nthis machine %+v", recordedOn, k)
	c := &comparison{kind: k, reasons: reasons}
	elsewhere := 0
	t.Run("run", func(t *testing.T) {
		for _, r := range readRecorded(t) {
			if r.machine != "host" {
				elsewhere++ // with another kernel, shell and LSM
				continue
			}
			t.Run(strings.ReplaceAll(r.release+" "+r.flags, "/", "|"), func(t *testing.T) {
				t.Parallel()
				out, err := e.observe(r, probe)
				want, got := r.facts, observe(out)
				delete(got, "mount /probe")
				if err != nil || r.refused != "" || r.err != "" {
					want, got = map[string]string{"error": r.refused + r.err}, map[string]string{"error": ""}
					if err != nil {
						got["error"] = err.Error()
					}
				}
				if own := "cmd devls"; strings.Contains(want[own], "this machine's devices") {
					want = maps.Clone(want)
					want[own], got[own] = nodes(devices(string(ls))), nodes(got[own])
				}
				c.compare(t, r.release, r.flags, want, got)
			})
		}
	})
	c.report(t, 150, 20000)
	t.Logf("%d runs were recorded on another kind of machine", elsewhere)
}

// observe runs the script under a recorded run's flags and returns what it printed.
func (e *Engine) observe(r *recorded, probe string) (string, error) {
	args := append(shellWords(r.flags), "-v", probe+":/probe:ro", "host", "sh", "-c", ordinary)
	run, err := dialect.Docker(args, dialect.Outside{ReadFile: readProfile})
	if err != nil {
		return "", err
	}
	run.Workload.As = r.release
	return e.output(run)
}

// output runs what a command line said and returns what it wrote.
func (e *Engine) output(run dialect.Run) (string, error) {
	return capture(func(s Streams) (int, error) {
		return e.Run(context.Background(), run.Workload, RunOptions{Remove: true, Streams: s})
	})
}

// capture returns what a program wrote. An exit code other than 0 is an error.
func capture(run func(Streams) (int, error)) (string, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return "", err
	}
	said := make(chan string, 1)
	go func() {
		data, _ := io.ReadAll(read)
		read.Close()
		said <- string(data)
	}()
	code, err := run(Streams{Out: write, Err: write})
	write.Close()
	if err == nil && code != 0 {
		err = exited(code)
	}
	return <-said, err
}

// exited is a program's own exit code, other than 0.
type exited int

func (e exited) Error() string { return fmt.Sprintf("exit code %d", int(e)) }
func (e exited) ExitCode() int { return int(e) }

var profileFile = regexp.MustCompile(`^PROFILES/docker-v(.*)\.json$`)

// readProfile gives the profile of a release, as its document.
func readProfile(name string) ([]byte, error) {
	m := profileFile.FindStringSubmatch(name)
	if m == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("no such file or directory")}
	}
	p, err := profile.Builtin("docker:" + m[1])
	if err != nil {
		return nil, err
	}
	var doc bytes.Buffer
	err = p.Write(&doc, profile.Docker)
	return doc.Bytes(), err
}

func installed(program string) bool {
	for _, dir := range []string{"/usr/bin", "/bin", "/usr/sbin", "/sbin"} {
		if _, err := os.Stat(filepath.Join(dir, program)); err == nil {
			return true
		}
	}
	return false
}

// shellWords splits a line at blanks, and keeps '…' together.
func shellWords(line string) (words []string) {
	for part := range strings.FieldsSeq(line) {
		words = append(words, strings.ReplaceAll(part, "'", ""))
	}
	return words
}
