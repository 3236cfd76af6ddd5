package ocicli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"porthole/facts"
	"porthole/internal/engine/container"
)

const killSignal = unix.SIGKILL

// shown is a container's state as runc prints it (containerState, list.go).
type shown struct {
	OCIVersion  string            `json:"ociVersion"`
	ID          string            `json:"id"`
	Pid         int               `json:"pid"`
	Status      string            `json:"status"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Owner       string            `json:"owner"`
}

func show(s *container.State) shown {
	st := s.OCI(s.Status)
	out := shown{OCIVersion: st.Version, ID: s.ID, Pid: st.Pid, Status: string(s.Status), Bundle: st.Bundle, Created: s.Made.UTC(), Annotations: st.Annotations}
	if s.Bundle != nil {
		out.Rootfs, out.Owner = s.Bundle.Rootfs, "#"+strconv.Itoa(s.Bundle.UID)
		if u, err := user.LookupId(out.Owner[1:]); err == nil {
			out.Owner = u.Username
		}
	}
	return out
}

func (a *app) state(f *flags) error {
	id, err := f.id()
	if err != nil {
		return err
	}
	s, _, _, err := a.open(id)
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(show(s), "", "  ")
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(append(data, '\n'))
	return err
}

// signalOf reads a signal: a number, or a name with or without SIG.
func signalOf(s string) (unix.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil {
		if n < 0 || n > 64 {
			return 0, fmt.Errorf("unknown signal %q", s)
		}
		return unix.Signal(n), nil
	}
	up := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if sig := unix.SignalNum("SIG" + up); sig != 0 {
		return sig, nil
	}
	for prefix, base := range map[string]int{"RTMIN": 34, "RTMAX": 64} { // as the C library numbers them
		if rest, ok := strings.CutPrefix(up, prefix); ok {
			n := 0
			if rest != "" {
				var err error
				if n, err = strconv.Atoi(rest); err != nil {
					break
				}
			}
			if base+n >= 34 && base+n <= 64 {
				return unix.Signal(base + n), nil
			}
		}
	}
	return 0, fmt.Errorf("unknown signal %q", s)
}

func (a *app) kill(f *flags) error {
	all := f.Bool("all", false, "every process of the container")
	f.alias("all", "a")
	ids, err := f.ids(1, 2)
	if err != nil {
		return err
	}
	sig := unix.SIGTERM
	if len(ids) == 2 {
		if sig, err = signalOf(ids[1]); err != nil {
			return err
		}
	}
	s, _, fa, err := a.open(ids[0])
	if err != nil {
		return err
	}
	// Without a pid namespace of its own no end of a first process ends the others (zap_pid_ns_processes,
	// kernel/pid_namespace.c): they are killed with it, and even where it has gone before them.
	shared := sig == unix.SIGKILL && s.Bundle != nil && s.Bundle.SharedPIDs && s.Status != container.Creating
	if *all || shared && (s.Status != container.Stopped || populated(s, fa)) {
		return killAll(s, sig, fa)
	}
	if s.Status == container.Stopped || s.Status == container.Creating {
		return errNotRunning
	}
	err = s.Signal(sig)
	if errors.Is(err, container.ErrGone) {
		return errNotRunning
	}
	if err == nil && sig == unix.SIGKILL && s.Status == container.Paused {
		// In v1 a frozen process dies when it thaws.
		g, e := s.Group(fa)
		if err = e; e == nil && g != nil {
			err = g.Thaw()
		}
	}
	return err
}

// populated says that there are processes in a container's group.
func populated(s *container.State, fa facts.Facts) bool {
	g, err := s.Group(fa)
	if err != nil || g == nil {
		return false
	}
	pids, err := g.PIDs()
	return err == nil && len(pids) > 0
}

func killAll(s *container.State, sig unix.Signal, fa facts.Facts) error {
	g, err := s.Group(fa)
	if err != nil {
		return err
	}
	if g == nil {
		if err := s.Signal(sig); !errors.Is(err, container.ErrGone) {
			return err
		}
		return nil
	}
	if sig == unix.SIGKILL {
		return g.Kill()
	}
	pids, err := g.PIDs()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, sig); err != nil && err != unix.ESRCH {
			return fmt.Errorf("signal %s to process %d: %w", unix.SignalName(sig), pid, err)
		}
	}
	return nil
}

func (a *app) delete(f *flags) error {
	force := f.Bool("force", false, "kill what runs, and take away whatever there is")
	f.alias("force", "f")
	id, err := f.id()
	if err != nil {
		return err
	}
	if err := checkID(id); err != nil {
		return err
	}
	wait := patience
	if *force {
		wait = time.Second
	}
	claim, err := container.TakeWithin(a.root, id, wait)
	if errors.Is(err, container.ErrOwned) && *force {
		claim, err = a.wrest(id)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return a.leftovers(id, *force)
	}
	if err != nil {
		return err
	}
	defer claim.Release()
	return a.deleteHeld(claim, *force)
}

// wrest takes a container from a command that is still at work on it, and has been for too long.
func (a *app) wrest(id string) (*container.Claim, error) {
	dir := filepath.Join(a.root, id)
	fa, err := a.facts()
	if err != nil {
		return nil, err
	}
	// Without its child it has nothing left to do.
	if s, err := container.Load(dir); err == nil {
		if err := container.Wreck(dir, s, fa); err != nil {
			a.log.warn(err)
		}
	}
	claim, err := container.TakeWithin(a.root, id, time.Second)
	if errors.Is(err, container.ErrOwned) {
		if err := container.Evict(a.root, id); err != nil {
			return nil, err
		}
		claim, err = container.TakeWithin(a.root, id, time.Second)
	}
	return claim, err
}

// leftovers is a delete of what is not there: an error, unless only that it is gone is asked for.
func (a *app) leftovers(id string, force bool) error {
	if !force {
		return errNotExist
	}
	// A command may have died as it made the directory and had no lock yet, or in the midst of a removal.
	dir := filepath.Join(a.root, id)
	if _, err := os.Lstat(dir); err == nil {
		fa, err := a.facts()
		if err != nil {
			return err
		}
		s, err := container.Load(dir)
		if err != nil {
			s = lost(dir, id)
		}
		a.log.warn(container.Wreck(dir, s, fa))
	}
	return errors.Join(os.RemoveAll(dir), os.RemoveAll(container.BuriedDir(a.root, id)))
}

// lost stands for a state that cannot be read: what config.json says is where the container's group was to be.
func lost(dir, id string) *container.State {
	path := ""
	if data, err := os.ReadFile(filepath.Join(dir, configFile)); err == nil {
		if spec, err := parse(data); err == nil {
			path = spec.Linux.CgroupsPath
		}
	}
	return container.Unknown(id, path)
}

func (a *app) deleteHeld(claim *container.Claim, force bool) error {
	fa, err := a.facts()
	if err != nil {
		return err
	}
	s, err := container.Load(claim.Dir)
	switch {
	case err != nil && !force && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; `%s delete --force %s` takes away what there is", err, name, claim.ID)
	case err != nil:
		s = lost(claim.Dir, claim.ID)
	default:
		if err := s.Stand(claim.Dir, fa); err != nil && !force {
			return err
		}
		if !force && s.Status != container.Stopped && s.Status != container.Created {
			return fmt.Errorf("cannot delete container %s that is not stopped: %s", claim.ID, s.Status)
		}
	}
	err = container.Wreck(claim.Dir, s, fa)
	if err != nil && !force {
		return err
	}
	a.log.warn(err)
	a.log.warn(s.StoppedHooks(context.Background()))
	return claim.Remove()
}

func (a *app) list(f *flags) error {
	format := f.String("format", "table", "table or json")
	f.alias("format", "f")
	quiet := f.Bool("quiet", false, "IDs only")
	f.alias("quiet", "q")
	if _, err := f.ids(0, 0); err != nil {
		return err
	}
	all, err := a.containers()
	if err != nil {
		return err
	}
	switch {
	case *quiet:
		for _, c := range all {
			fmt.Println(c.ID)
		}
		return nil
	case *format == "json":
		return json.NewEncoder(os.Stdout).Encode(all)
	case *format != "table":
		return errors.New("invalid format option")
	}
	w := tabwriter.NewWriter(os.Stdout, 12, 1, 3, ' ', 0)
	fmt.Fprint(w, "ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER\n")
	for _, c := range all {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", c.ID, c.Pid, c.Status, c.Bundle, c.Created.Format(time.RFC3339Nano), c.Owner)
	}
	return w.Flush()
}

// containers are all those beneath our root; one whose state cannot be read is told of and left out.
func (a *app) containers() ([]shown, error) {
	entries, err := os.ReadDir(a.root)
	if err != nil && (a.named || !errors.Is(err, fs.ErrNotExist)) { // one that nobody named is made by the first container
		return nil, err
	}
	fa, err := a.facts()
	if err != nil {
		return nil, err
	}
	var all []shown
	for _, d := range entries {
		if !d.IsDir() || checkID(d.Name()) != nil {
			continue
		}
		dir := filepath.Join(a.root, d.Name())
		s, err := container.Load(dir)
		if err == nil {
			err = s.Stand(dir, fa)
		}
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				a.log.warn(fmt.Errorf("container %s: %w", d.Name(), err))
			}
			continue
		}
		all = append(all, show(s))
	}
	return all, nil
}

func (a *app) ps(f *flags) error {
	format := f.String("format", "table", "table or json")
	f.alias("format", "f")
	rest, err := f.parse(f.args, false)
	if err == nil && len(rest) > 1 && strings.HasPrefix(rest[1], "-") && f.Parsed() {
		// Options of our own may follow the ID; others are ps's.
		if more, e := f.parse(rest[1:], false); e == nil {
			rest = append(rest[:1], more...)
		}
	}
	if err != nil {
		return err
	}
	if len(rest) == 0 {
		return fmt.Errorf("ps: want: %s ps %s", name, f.usage)
	}
	s, _, fa, err := a.open(rest[0])
	if err != nil {
		return err
	}
	g, err := s.Group(fa)
	if err != nil {
		return err
	}
	pids := []int{}
	if g != nil {
		if pids, err = g.PIDs(); err != nil {
			return err
		}
	} else if s.Status != container.Stopped {
		pids = append(pids, s.Pid)
	}
	switch *format {
	case "json":
		if pids == nil {
			pids = []int{}
		}
		return json.NewEncoder(os.Stdout).Encode(pids)
	case "table":
		return table(pids, rest[1:])
	}
	return errors.New("invalid format option")
}

// table prints those lines of ps(1) that are about pids.
func table(pids []int, args []string) error {
	if len(args) == 0 {
		args = []string{"-ef"}
	}
	out, err := exec.Command("ps", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ps: %w: %s", err, out)
	}
	lines := strings.Split(string(out), "\n")
	at := slices.Index(strings.Fields(lines[0]), "PID")
	if at < 0 {
		return errors.New("ps: couldn't find PID field in ps output")
	}
	fmt.Println(lines[0])
	for _, line := range lines[1:] {
		if fields := strings.Fields(line); len(fields) > at {
			if pid, err := strconv.Atoi(fields[at]); err == nil && slices.Contains(pids, pid) {
				fmt.Println(line)
			}
		}
	}
	return nil
}

func (a *app) pause(f *flags) error { return a.hold(f, true) }

func (a *app) resume(f *flags) error { return a.hold(f, false) }

// hold freezes a container's group, or lets it go on.
func (a *app) hold(f *flags, freeze bool) error {
	id, err := f.id()
	if err != nil {
		return err
	}
	s, _, fa, err := a.open(id)
	if err != nil {
		return err
	}
	switch {
	case !freeze && s.Status != container.Paused:
		return errNotPaused
	case freeze && s.Status != container.Running && s.Status != container.Created:
		return errNotRunning
	}
	g, err := s.Group(fa)
	if err != nil {
		return err
	}
	if g == nil {
		return errors.New("the container has no control group that could be held")
	}
	if freeze {
		return g.Freeze()
	}
	return g.Thaw()
}
