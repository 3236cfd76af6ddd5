package glance

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"porthole/event"
	"porthole/seccomp"
	"porthole/workload"
)

// What the filter allows or answers otherwise stays as it was, and what is asked for is not the caller's own policy.
func TestAskFor(t *testing.T) {
	p := seccomp.Policy{Default: refusal, Rules: []seccomp.Rule{
		{Name: "read", Action: seccomp.Allow}, {Name: "clone3", Action: seccomp.Errno | seccomp.Action(unix.ENOSYS)}, {Name: "mount", Action: refusal},
	}}
	q := askFor(p, refusal)
	want := []seccomp.Action{seccomp.Allow, seccomp.Errno | seccomp.Action(unix.ENOSYS), seccomp.Notify}
	for i, r := range q.Rules {
		if r.Action != want[i] {
			t.Errorf("%s: %v", r.Name, r.Action)
		}
	}
	if q.Default != seccomp.Notify || p.Default != refusal || p.Rules[2].Action != refusal {
		t.Errorf("%v, of %v", q, p)
	}
	if !HasListener(q) || HasListener(p) {
		t.Error("a listener is seen where there is none, or not where there is one")
	}
}

func TestLast(t *testing.T) {
	root := t.TempDir()
	if _, err := LoadLast(root); !errors.Is(err, ErrNoLast) {
		t.Error(err)
	}
	want := Last{Workload: workload.Workload{Image: "host", Args: []string{"true"}}, Exit: 7, Ended: time.Unix(1e9, 0).UTC(), Refused: []event.Event{{Nr: 101, Comm: "x"}}}
	if err := want.Save(root); err != nil {
		t.Fatal(err)
	}
	got, err := LoadLast(root)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	path := filepath.Join(root, lastFile)
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Error("others may read it:", fi, err)
	}
	if err := os.WriteFile(path, []byte(`{"Exit":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadLast(root); err == nil || errors.Is(err, ErrNoLast) {
		t.Error("half a file:", err)
	}
}
