package escape

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// attack is one way out. try returns what it got on the runtime of a cell: "" where it was held. weak is the same attack
// on a set-up in which it has to succeed, so that it is known to be able to.
type attack struct {
	cve, story string // several that one attack stands for have a + between them
	try        func(c *cell) string
	weak       func(c *cell) string
}

// attacks are those of runc and crun, 2016 to 2026, and one that every sandbox with a terminal knows.
// What each was is told by their projects' advisories and by the commits that mended them.
var attacks = []attack{
	{"CVE-2016-9962", "a process in the container traces, or takes the files of, one that is on its way in", newcomers, newcomersWeak},
	{"CVE-2017-5226", "a program types commands into the terminal that its container was started from, by TIOCSTI", typing, typingWeak},
	{"CVE-2019-5736", "a process in the container gets at the runtime's own program by /proc/PID/exe and overwrites it", overwriting, newcomersWeak},
	{"CVE-2019-16884", "an image has a volume at /proc, with files that take the labels and limits which should reach the kernel", fakeProc, fakeProcWeak},
	{"CVE-2019-18837", "an image has links to the host where mounts go", linkedPlaces, exchangedWeak},
	{"CVE-2019-19921+CVE-2023-27561", "/proc is a link into a volume that somebody exchanges: procfs goes where the volume says, its masks do not", exchangedProc, unmasked},
	{"CVE-2021-30465", "a directory on the way to a mount is exchanged for a link to the host after it was checked", exchangedMounts, exchangedWeak},
	{"CVE-2021-43784", "a value longer than 65535 bytes is read as the namespaces and maps that come after it", longValues, nil},
	{"CVE-2022-29162+CVE-2022-27650", "containers, exec and exec --cap start with inheritable capabilities, which programs with file capabilities pick up", inheritable, inheritableWeak},
	{"CVE-2023-25809", "an ordinary user's container may write to the control groups of its user, beneath a /sys that is read-only", groups, groupsWeak},
	{"CVE-2023-28642", "/proc is a link within the image: procfs goes there, its masks and labels do not", linkedProc, unmasked},
	{"CVE-2024-21626", "the working directory is a directory of the host's that the runtime still has open", workingDirectory, workingDirectoryWeak},
	{"CVE-2024-45310", "the directories that are made for a mount are made outside, when a shared volume is exchanged meanwhile", exchangedPlaces, exchangedWeak},
	{"CVE-2025-31133", "/dev/null is a link: masking bind-mounts what the link leads to, open for writing", maskSource, unmasked},
	{"CVE-2025-52565+CVE-2026-88264", "/dev/console or /dev/pts is a link: the terminal is mounted over its end, or a file made there, or what it leads to handed in", console, unmasked},
	{"CVE-2025-52881", "what is written to /proc (sysctls, labels) is led to another file by mounts that share /proc's places", redirected, nil},
	{"CVE-2026-30892", "exec -u 1 runs as uid 0", execUser, nil},
	{"CVE-2026-41579+CVE-2026-47766", "an image has /dev as a link to the host, where ptmx is removed, and links and devices are made", linkedDev, nil},
	{"CVE-2026-88265", "with nothing mounted at /dev, the image's /dev/null is a link whose end becomes a standard file", nullFiles, nil},
}

// thorough, in the environment, tries longer, and on Debian's runc and crun too.
const thorough = "PORTHOLE_THOROUGH"

func TestEscapes(t *testing.T) {
	for _, a := range attacks {
		t.Run(a.cve, func(t *testing.T) {
			for _, runtime := range []string{"porthole-oci", "porthole"} {
				t.Run(runtime, func(t *testing.T) {
					c := newCell(t, runtime)
					if got := a.try(c); got != "" {
						t.Errorf("%s\ngot: %s", a.story, got)
					}
					if c.ran+c.refused > 0 {
						t.Logf("%d ran, %d were refused: %s", c.ran, c.refused, strings.TrimSpace(c.last))
					} else if !c.skipped {
						t.Error("nothing was tried")
					}
				})
			}
			if a.weak != nil {
				t.Run("weak", func(t *testing.T) {
					if got := a.weak(newCell(t, "porthole-oci")); got == "" {
						t.Error("the attack does not succeed where it ought to")
					} else {
						t.Log("got:", got)
					}
				})
			}
			if os.Getenv(thorough) == "" {
				return
			}
			for _, runtime := range []string{"runc", "crun"} {
				t.Run(runtime, func(t *testing.T) {
					if got := a.try(newCell(t, runtime)); got != "" {
						t.Log("got:", got)
					}
				})
			}
		})
	}
}

// try starts a container and says what its program has got. flags are what asks porthole run for the same;
// without any it is not asked.
func (c *cell) try(s *specs.Spec, flags ...string) string {
	c.t.Helper()
	if !strings.HasPrefix(c.runtime, "porthole") && (c.fell || time.Since(c.begun) > 5*time.Second) {
		return "" // enough is known of it
	}
	said, code, asked := c.start(s, flags...)
	if !asked {
		return ""
	}
	if code == 0 {
		c.ran++
	} else {
		c.refused++
		c.last = said
	}
	got := c.got(said)
	c.fell = c.fell || got != ""
	return got
}

// plain is for a container that porthole run makes without further flags.
const plain = "--interactive=false"

// start is try before it is judged.
func (c *cell) start(s *specs.Spec, flags ...string) (said string, code int, asked bool) {
	c.t.Helper()
	if c.runtime == "porthole" {
		if len(flags) == 0 {
			c.skipped = true
			return "", 0, false
		}
		line := append([]string{"run", "--rm", "--network", "host", "--security-opt", "seccomp=unconfined", "-e", "OUTSIDE=" + c.outside}, flags...)
		said, code = c.do(append(append(line, "dir:"+c.rootfs), s.Process.Args...)...)
		return said, code, true
	}
	c.config(s)
	c.made++
	id := "c" + string(rune('a'+c.made%26))
	if s.Process.Terminal {
		said, code = c.terminal(id)
	} else {
		said, code = c.do("run", id)
	}
	if !strings.HasPrefix(c.runtime, "porthole") {
		c.do("delete", "--force", id)
	}
	return said, code, true
}

// linked has a link of the image's at a place, for as long as f takes.
func (c *cell) linked(at, to string, f func()) {
	c.t.Helper()
	at = filepath.Join(c.rootfs, at)
	c.replace(at, to)
	f()
	c.check(os.RemoveAll(at))
	if filepath.Dir(at) == c.rootfs {
		c.mkdir(at)
	}
}

// outward are links that lead to a directory of the host's, spelt in the ways that have deceived somebody.
func (c *cell) outward() []string {
	return []string{
		c.outside,
		strings.Repeat("../", 24) + c.outside[1:],
		"/proc/self/root" + c.outside,
		"/proc/1/root" + c.outside,
		"/proc/self/cwd/../outside", // the bundle is where runtimes are started
		"/proc/self/fd/3" + c.outside,
	}
}

// exchange swaps places in the volume for links to the outside that lie beside them, until it is stopped. It returns how often.
func exchange(pairs ...[2]string) (stop func() int) {
	end, ended := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-end:
				ended <- n
				return
			default:
			}
			for _, p := range pairs {
				unix.Renameat2(unix.AT_FDCWD, p[0], unix.AT_FDCWD, p[1], unix.RENAME_EXCHANGE)
				n++
			}
		}
	}()
	return func() int { close(end); return <-ended }
}

// rounds repeats a try, some hundred times or for as long as a test may take, until it gets something.
func (c *cell) rounds(try func() string) (got string) {
	most := 1500 * time.Millisecond
	if os.Getenv(thorough) != "" {
		most = 5 * time.Second
	}
	begun := time.Now()
	for n := 0; n < 300 && time.Since(begun) < most && got == ""; n++ {
		got = try()
	}
	return got
}

// TestListed sees that no attack is listed twice, and that each is told.
func TestListed(t *testing.T) {
	var seen []string
	for _, a := range attacks {
		for _, cve := range strings.Split(a.cve, "+") {
			if slices.Contains(seen, cve) || a.story == "" {
				t.Errorf("%s: twice, or without its story", cve)
			}
			seen = append(seen, cve)
		}
	}
	page, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, cve := range seen {
		if !strings.Contains(string(page), cve) {
			t.Errorf("docs/security.md does not name %s", cve)
		}
	}
}

// terminal is a run with a terminal, whose master we are sent; what was said is what came of it.
func (c *cell) terminal(id string) (said string, code int) {
	c.t.Helper()
	socket := c.dir + "/s"
	os.Remove(socket)
	listener, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	c.check(err)
	defer unix.Close(listener)
	c.check(unix.Bind(listener, &unix.SockaddrUnix{Name: socket}))
	c.check(unix.Listen(listener, 1))
	if said, code = c.do("create", "--console-socket", socket, id); code != 0 {
		return said, code
	}
	defer c.do("delete", "--force", id)
	conn, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	c.check(err)
	defer unix.Close(conn)
	text, oob := make([]byte, 100), make([]byte, 100)
	_, n, _, _, err := unix.Recvmsg(conn, text, oob, unix.MSG_CMSG_CLOEXEC)
	c.check(err)
	msgs, err := unix.ParseSocketControlMessage(oob[:n])
	c.check(err)
	fds, err := unix.ParseUnixRights(&msgs[0])
	c.check(err)
	master := os.NewFile(uintptr(fds[0]), "master")
	defer master.Close()
	all := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(master) // ends with EIO when the last user of the terminal is gone
		all <- string(b)
	}()
	if said, code = c.do("start", id); code != 0 {
		return said, code
	}
	select {
	case out := <-all:
		return out, 0
	case <-time.After(10 * time.Second):
		c.t.Errorf("%s: the terminal stays open", c.runtime)
		return "", 1
	}
}
