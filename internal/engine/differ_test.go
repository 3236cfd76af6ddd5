package engine

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"os/user"
	"slices"
	"strings"
	"sync"
	"testing"

	"porthole/caps"
	"porthole/facts"
)

// kind is what the facts depend on of the machine that they were recorded on.
type kind struct {
	kernel         facts.Version
	cgroup         facts.CgroupMode
	apparmor, yama bool
	bounding       caps.Set
	userGroup      string // of uid 1000
}

// recordedOn is the machine that docker-truth.txt calls host.
var recordedOn = kind{kernel: facts.Version{Major: 6, Minor: 18}, cgroup: facts.CgroupHybrid, bounding: 0x1fffeffffff}

func thisMachine(f facts.Facts) kind {
	k := kind{kernel: facts.Version{Major: f.Kernel.Major, Minor: f.Kernel.Minor}, cgroup: f.Cgroup.Mode, apparmor: f.AppArmor, bounding: f.Caps.Bounding}
	_, err := os.Stat("/proc/sys/kernel/yama")
	k.yama = err == nil
	if u, err := user.LookupId("1000"); err == nil {
		k.userGroup = u.Gid
	}
	return k
}

func (k kind) differs() bool {
	k.userGroup = ""
	return k != recordedOn
}

// difference is something that is otherwise on porthole than it is, or was, under Docker. What is
// not there at all is "".
type difference struct {
	release, flags string
	key, want, got string
}

// A reason is why something may be otherwise.
type reason struct {
	why    string
	fit    func(k kind, d difference) bool
	needed func(k kind) bool // nil: everywhere; where a reason is needed and fits nothing, it is out of date
}

// comparison counts what is alike, and lists what is not, each with its reason. Runs may be compared in parallel.
type comparison struct {
	kind    kind
	reasons []reason

	mu         sync.Mutex
	runs, same int
	used       map[int]int
	table      []string
}

// compare fails t for every difference between want, which Docker says, and got that has no reason.
func (c *comparison) compare(t *testing.T, release, flags string, want, got map[string]string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs++
	if got["error"] != "" && want["error"] == "" && len(want) > 2 {
		t.Errorf("Docker ran it; porthole said: %s (exit code %s)", got["error"], got["exit"])
		return
	}
	keys := maps.Clone(want)
	maps.Copy(keys, got)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		d := difference{release, flags, key, want[key], got[key]}
		if d.want == d.got {
			c.same++
			continue
		}
		i := slices.IndexFunc(c.reasons, func(r reason) bool { return r.fit(c.kind, d) })
		if i < 0 {
			t.Errorf("%s\n\tDocker   %s\n\tporthole %s", d.key, d.want, d.got)
			continue
		}
		if c.used == nil {
			c.used = map[int]int{}
		}
		c.used[i]++
		c.table = append(c.table, fmt.Sprintf("%s run %s\n\t%s\n\t\tDocker   %s\n\t\tporthole %s\n\t\tbecause  %s\n",
			d.release, d.flags, d.key, d.want, d.got, c.reasons[i].why))
	}
}

// report prints the table. It fails where fewer runs were compared or fewer facts alike than there should be, and
// for reasons that nothing needs, unless a user asked for some runs alone.
func (c *comparison) report(t *testing.T, runs, same int) {
	t.Helper()
	slices.Sort(c.table)
	t.Logf("%s%d runs, %d facts alike, %d differences with a reason", strings.Join(c.table, ""), c.runs, c.same, len(c.table))
	for i, r := range c.reasons {
		t.Logf("%4d differences: %s", c.used[i], r.why)
	}
	if strings.Contains(flag.Lookup("test.run").Value.String(), "/") {
		return
	}
	if c.runs < runs || c.same < same && !c.kind.differs() {
		t.Errorf("only %d runs were compared, and %d facts alike", c.runs, c.same)
	}
	for i, r := range c.reasons {
		if c.used[i] == 0 && (r.needed == nil || r.needed(c.kind)) {
			t.Errorf("no longer needed: %s", r.why)
		}
	}
}
