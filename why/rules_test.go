package why

import (
	_ "embed"
	"strings"
	"testing"

	"porthole/abi"
	"porthole/caps"
	"porthole/facts"
)

// Every row names calls, capabilities, errnos, constants, conditions and codes that there are.
func TestRulesAreWellFormed(t *testing.T) {
	calls := map[string]bool{}
	for _, r := range rules {
		for _, c := range names(r.Calls) {
			calls[c] = true
			if !abi.Known(c) {
				t.Errorf("%s: no system call %q", r.Source, c)
			}
		}
		if r.Source == "" || r.Layer == 0 || r.Code == "" {
			t.Errorf("%s %s: source %q, layer %v, code %q", r.Calls, r.Args, r.Source, r.Layer, r.Code)
		}
		for _, w := range strings.FieldsFunc(r.Caps, func(c rune) bool { return c == '|' || c == '+' }) {
			if _, err := caps.Parse(w); err != nil {
				t.Errorf("%s: %v", r.Calls, err)
			}
		}
		if (r.Caps != "") != (r.In != 0) {
			t.Errorf("%s %s: capabilities %q in %d", r.Calls, r.Args, r.Caps, r.In)
		}
		for _, e := range names(r.Errno) {
			if _, err := abi.ParseErrno(e); err != nil {
				t.Errorf("%s: %v", r.Calls, err)
			}
		}
		if r.Errno == "" {
			t.Errorf("%s: no errno", r.Calls)
		}
		if r.Since != "" {
			if _, err := facts.ParseVersion(r.Since); err != nil {
				t.Errorf("%s: %v", r.Calls, err)
			}
		}
		for test := range strings.SplitSeq(r.Args, ",") {
			checkArgs(t, r, test)
		}
		for _, term := range names(r.If) {
			checkTerm(t, r, strings.TrimPrefix(term, "!"))
		}
		if k, ok := FindCode(string(r.Code)); !ok {
			t.Errorf("%s: no code %s", r.Calls, r.Code)
		} else if k.Layer != r.Layer {
			t.Errorf("%s %s %s: %s is %v's and the row %v's", r.Calls, r.Args, r.If, r.Code, k.Layer, r.Layer)
		}
	}
	t.Logf("%d rules for %d calls", len(rules), len(calls))
	if len(rules) < 180 || len(calls) < 180 {
		t.Errorf("%d rules for %d calls", len(rules), len(calls))
	}
}

func checkArgs(t *testing.T, r Rule, test string) {
	if test == "" || test[0] == '@' {
		return
	}
	if test[0] == 's' {
		if !strings.Contains(test, "=") {
			t.Errorf("%s: test %q", r.Calls, test)
		}
		return
	}
	if test[0] < '0' || test[0] > '5' {
		t.Errorf("%s: test %q", r.Calls, test)
		return
	}
	list := strings.TrimLeft(test[1:], "!=&")
	if mask, rest, ok := strings.Cut(strings.TrimPrefix(test[1:], "/"), "="); ok && test[1] == '/' {
		if _, known := number(mask); !known {
			t.Errorf("%s: mask %q", r.Calls, mask)
		}
		list = rest
	}
	for w := range strings.SplitSeq(list, "|") {
		if _, ok := number(w); !ok {
			t.Errorf("%s: no constant %q", r.Calls, w)
		}
	}
}

func checkTerm(t *testing.T, r Rule, term string) {
	switch {
	case term[0] == '?', strings.HasPrefix(term, "rlimit:"), strings.HasPrefix(term, "limited:"), strings.HasPrefix(term, "flag:"):
	case strings.HasPrefix(term, "kernel<"):
		if _, err := facts.ParseVersion(term[len("kernel<"):]); err != nil {
			t.Errorf("%s: %v", r.Calls, err)
		}
	case strings.ContainsAny(term, "=>"):
		if !strings.Contains(term, ">=") && !strings.Contains(term, "==") {
			t.Errorf("%s: condition %q", r.Calls, term)
		}
	default:
		if conditions[term] == nil {
			t.Errorf("%s: no condition is called %q", r.Calls, term)
		}
	}
}

// Every call for which a man page of capabilities, tracing, namespaces, mounts, scheduling, limits
// or keys names a check has a row.
func TestRulesCoverTheManPages(t *testing.T) {
	for _, c := range strings.Fields(`
		acct adjtimex add_key bind bpf capset chmod chown chroot clock_adjtime clock_settime clone clone3 delete_module
		epoll_ctl execve fanotify_init fanotify_mark fchmod fchown fchownat fcntl finit_module fsconfig fsmount fsopen
		getsockopt init_module ioctl ioperm iopl io_uring_setup ioprio_set kcmp kexec_file_load kexec_load keyctl kill
		landlock_restrict_self lchown link linkat listmount mbind migrate_pages mknod mknodat mlock mlock2 mlockall mmap
		mount mount_setattr move_mount move_pages mprotect msgctl nice open open_by_handle_at open_tree openat
		perf_event_open pidfd_getfd pidfd_send_signal pivot_root prctl prlimit64 process_madvise process_vm_readv
		process_vm_writev ptrace quotactl reboot rename request_key sched_setaffinity sched_setattr sched_setparam
		sched_setscheduler seccomp semctl sendmsg setdomainname setfsgid setfsuid setgid setgroups sethostname setns
		setpriority setregid setresgid setresuid setreuid setrlimit setsockopt settimeofday setuid setxattr shmctl shmget
		socket statmount stime swapoff swapon syslog timer_create timerfd_create umount2 unlink unshare userfaultfd
		utimensat vhangup write`) {
		if len(about(c)) == 0 {
			t.Errorf("no rule for %s", c)
		}
	}
}

//go:embed testdata/kernel-rules.txt
var manPages string

// The table agrees with what was gathered from the man pages: each fact's calls have rows, and among
// them ones that answer its errnos and ask for its capability.
func TestRulesAgreeWithTheFacts(t *testing.T) {
	n := 0
	for line := range strings.Lines(manPages) {
		if line[0] == '#' {
			continue
		}
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		var calls []string
		for _, w := range strings.FieldsFunc(f[0], func(c rune) bool { return c == '/' || c == ' ' || c == ',' || c == ';' || c == '(' || c == ')' }) {
			if abi.Known(w) && !(w == "writev" && calls != nil) && !strings.Contains(f[0], "/"+w+" etc") {
				calls = append(calls, w)
			}
		}
		if len(calls) == 0 || f[3] == "-" || strings.HasPrefix(f[3], "(") {
			continue // of files rather than calls, or nothing fails
		}
		var want caps.Set
		for _, w := range strings.FieldsFunc(f[2], func(c rune) bool { return !(c == '_' || 'A' <= c && c <= 'Z') }) {
			if c, err := caps.Parse(w); err == nil && strings.HasPrefix(w, "CAP_") {
				want = want.Add(c)
			}
		}
		for _, c := range calls {
			var asked caps.Set
			answered := map[string]bool{}
			for _, r := range about(c) {
				set, _ := r.capSet()
				asked |= set
				for _, e := range names(r.Errno) {
					answered[e] = true
				}
			}
			n++
			if c == "execve" {
				want = 0 // CAP_DAC_OVERRIDE does not execute what has no x bit at all
			}
			if want != 0 && asked&want == 0 {
				t.Errorf("%s (%s): the facts ask for %v, the rules for %v", c, f[1], want, asked)
			}
			ok := false
			for _, e := range strings.FieldsFunc(f[3], func(c rune) bool { return !('A' <= c && c <= 'Z') }) {
				ok = ok || answered[e]
			}
			if !ok {
				t.Errorf("%s (%s): no rule answers %s", c, f[1], f[3])
			}
		}
	}
	if n < 100 {
		t.Errorf("only %d facts were compared", n)
	}
	t.Logf("%d facts", n)
}
