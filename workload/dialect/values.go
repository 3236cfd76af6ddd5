package dialect

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/docker/go-units"

	"porthole/workload"
)

func joins(s string) bool {
	return strings.HasPrefix(s, "container:") || strings.HasPrefix(s, "service:") || strings.HasPrefix(s, "ns:")
}

func or(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

func cpuShares(f *Flags) func(string) error {
	return func(s string) error {
		n, err := strconv.ParseInt(s, 0, 64)
		if err == nil && n < 0 {
			return fmt.Errorf("invalid cpu-shares: %d is negative", n)
		}
		f.run.Workload.Limits.CPUShares = uint64(max(n, 0))
		return err
	}
}

// The forms of values are told by hand: the tables of regular expressions cost every start 40 µs, whatever its flags.

const (
	digits  = "0123456789"
	letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// of says that s is not empty and has nothing but bytes of set.
func of(s, set string) bool { return s != "" && strings.Trim(s, set) == "" }

// decimal says that s is a number or a fraction, with an exponent that does not fill memory.
func decimal(s string) bool {
	sign := func(s string) string {
		if s != "" && (s[0] == '+' || s[0] == '-') {
			return s[1:]
		}
		return s
	}
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		if e := sign(s[i+1:]); !of(e, digits) || len(e) > 2 {
			return false
		}
		s = s[:i]
	}
	return of(sign(s), digits+"./")
}

// cpus reads a decimal number of CPUs, exact to a thousand-millionth.
func cpus(f *Flags) func(string) error {
	return func(s string) error {
		var n *big.Rat
		ok := len(s) <= 64 && decimal(s)
		if ok {
			n, ok = new(big.Rat).SetString(s)
		}
		if !ok {
			return fmt.Errorf("failed to parse %v as a rational number", s)
		}
		n.Mul(n, big.NewRat(1e9, 1))
		if !n.IsInt() || !n.Num().IsInt64() {
			return errors.New("value is too precise")
		}
		if n.Sign() < 0 {
			return fmt.Errorf("range of CPUs starts at 0.01, not %s", s)
		}
		f.run.Workload.Limits.NanoCPUs = n.Num().Int64()
		return nil
	}
}

// swap reads --memory-swap, of which -1 is no limit.
func swap(f *Flags) func(string) error {
	return func(s string) (err error) {
		if s == "-1" {
			f.run.Workload.Limits.MemorySwap = -1
			return nil
		}
		f.run.Workload.Limits.MemorySwap, err = units.RAMInBytes(s)
		return err
	}
}

// checkLimits holds limits against each other as Docker's daemon does
// (verifyPlatformContainerResources, daemon/daemon_unix.go).
func checkLimits(l workload.Limits) error {
	const least = 6 << 20
	switch {
	case l.Memory != 0 && l.Memory < least:
		return errors.New("minimum memory limit allowed is 6MB")
	case l.Memory == 0 && l.MemorySwap > 0:
		return errors.New("you should always set the memory limit when using --memory-swap")
	case l.MemorySwap > 0 && l.MemorySwap < l.Memory:
		return errors.New("minimum memoryswap limit should be larger than memory limit")
	case l.NanoCPUs != 0 && l.NanoCPUs < 1e7:
		return errors.New("range of CPUs starts at 0.01")
	case !numberList(l.CpusetCpus):
		return fmt.Errorf("invalid value %s for cpuset cpus", l.CpusetCpus)
	case !numberList(l.CpusetMems):
		return fmt.Errorf("invalid value %s for cpuset mems", l.CpusetMems)
	}
	return nil
}

// numberList says whether s is "", or numbers and ranges of them with commas between: 0-3,7.
func numberList(s string) bool {
	if s == "" {
		return true
	}
	for _, part := range strings.Split(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		a, err := strconv.ParseUint(first, 10, 16)
		b := a
		if err == nil && isRange {
			b, err = strconv.ParseUint(last, 10, 16)
		}
		if err != nil || b < a {
			return false
		}
	}
	return true
}

func pidsLimit(f *Flags) func(string) error {
	return func(s string) error {
		n, err := strconv.ParseInt(s, 0, 64)
		f.run.Workload.Limits.PidsLimit = &n
		return err
	}
}

func oomScoreAdj(f *Flags) func(string) error {
	return func(s string) error {
		v, err := strconv.ParseInt(s, 0, 64)
		n := int(v)
		if err == nil && (n < -1000 || n > 1000) {
			return fmt.Errorf("invalid value %d, range for oom score adj is [-1000, 1000]", n)
		}
		f.run.Workload.Limits.OOMScoreAdj = &n
		return err
	}
}

func ulimit(f *Flags) func(string) error {
	return func(s string) error {
		u, err := units.ParseUlimit(s)
		if err != nil {
			return err
		}
		limit := workload.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard}
		l := &f.run.Workload.Limits.Ulimits
		for i := range *l {
			if (*l)[i].Name == u.Name { // the last one counts
				(*l)[i] = limit
				return nil
			}
		}
		*l = append(*l, limit)
		return nil
	}
}

func stopSignal(f *Flags) func(string) error {
	return func(s string) error {
		f.run.Workload.StopSignal = s
		if s == "" {
			return nil
		}
		_, err := workload.Signal(s)
		return err
	}
}

func stopTimeout(f *Flags) func(string) error {
	return func(s string) error {
		n, err := strconv.ParseInt(s, 0, 64)
		if err == nil && (n < -1 || n > 1<<31-1) {
			return fmt.Errorf("invalid stop timeout: %s seconds", s)
		}
		d := time.Duration(n) * time.Second
		f.run.Workload.StopWait = &d
		return err
	}
}

// sysctls are the kernel parameters that belong to a namespace, as Docker's client lists them.
var sysctls = map[string]bool{
	"kernel.msgmax": true, "kernel.msgmnb": true, "kernel.msgmni": true, "kernel.sem": true,
	"kernel.shmall": true, "kernel.shmmax": true, "kernel.shmmni": true, "kernel.shm_rmid_forced": true,
}

func sysctl(f *Flags) func(string) error {
	return func(s string) error {
		name, v, ok := strings.Cut(s, "=")
		if !ok || !sysctls[name] && !strings.HasPrefix(name, "net.") && !strings.HasPrefix(name, "fs.mqueue.") {
			return fmt.Errorf("sysctl '%s' is not allowed", s)
		}
		if f.run.Workload.Sysctls == nil {
			f.run.Workload.Sysctls = map[string]string{}
		}
		f.run.Workload.Sysctls[name] = v
		return nil
	}
}

// cdi says that s is a qualified device name of the Container Device Interface: vendor/class=device.
func cdi(s string) bool {
	vendor, rest, _ := strings.Cut(s, "/")
	class, name, ok := strings.Cut(rest, "=")
	for _, p := range [...]struct{ s, more string }{{vendor, ".-"}, {class, "-"}, {name, ".:-"}} {
		ok = ok && of(p.s, digits+letters+"_"+p.more) && of(p.s[:1], digits+letters)
	}
	return ok
}

// device reads SOURCE[:TARGET][:rwm].
func device(f *Flags) func(string) error {
	return func(s string) error {
		if cdi(s) {
			return &Refused{"--device", s, "porthole reads no CDI files; name the device nodes"}
		}
		parts := strings.Split(s, ":")
		if len(parts) > 3 || parts[0] == "" {
			return fmt.Errorf("bad format for path: %s", s)
		}
		d := workload.Device{Source: parts[0], Target: parts[0], Access: "rwm"}
		switch {
		case len(parts) == 3:
			d.Target, d.Access = parts[1], parts[2]
			if !validAccess(d.Access) {
				return fmt.Errorf("bad mode specified: %s", d.Access)
			}
		case len(parts) == 2 && validAccess(parts[1]):
			d.Access = parts[1]
		case len(parts) == 2:
			d.Target = parts[1]
		}
		for _, p := range []string{d.Source, d.Target} {
			if !path.IsAbs(p) {
				return fmt.Errorf("%s is not an absolute path", p)
			}
		}
		d.Source, d.Target = path.Clean(d.Source), path.Clean(d.Target)
		f.run.Workload.Devices = append(f.run.Workload.Devices, d)
		return nil
	}
}

func validAccess(s string) bool {
	return of(s, "rwm") && strings.Count(s, "r") < 2 && strings.Count(s, "w") < 2 && strings.Count(s, "m") < 2
}

func deviceRule(f *Flags) func(string) error {
	return func(s string) error {
		if !validRule(s) {
			return fmt.Errorf("invalid device cgroup format '%s'", s)
		}
		f.run.Workload.Devices = append(f.run.Workload.Devices, workload.Device{Rule: s})
		return nil
	}
}

// validRule says that s is TYPE MAJOR:MINOR ACCESS, numbers or *.
func validRule(s string) bool {
	p := strings.Split(s, " ")
	if len(p) != 3 || len(p[0]) != 1 || !of(p[0], "acb") || len(p[2]) > 3 || !of(p[2], "rwm") {
		return false
	}
	major, minor, _ := strings.Cut(p[1], ":")
	return (major == "*" || of(major, digits)) && (minor == "*" || of(minor, digits))
}

func validEnv(s string) error {
	if s == "" || s[0] == '=' {
		return fmt.Errorf("invalid environment variable: %s", s)
	}
	return nil
}

func validLabel(s string) error {
	if name, _, _ := strings.Cut(s, "="); name == "" {
		return fmt.Errorf("invalid label '%s': empty name", s)
	}
	return nil
}

// environment is what the files say and then what -e says. In a file a name alone is taken
// from the caller or left out; -e NAME that the caller does not have takes the image's away.
func environment(files, vars []string, o Outside) (env []workload.EnvVar, err error) {
	for _, file := range files {
		lines, err := keyValues(file, o)
		if err != nil {
			return nil, fmt.Errorf("invalid env file (%s): %w", file, err)
		}
		for _, l := range lines {
			if l.value == nil {
				v, ok := o.env(l.name)
				if !ok {
					continue
				}
				l.value = &v
			}
			env = append(env, workload.EnvVar{Name: l.name, Value: l.value})
		}
	}
	for _, s := range vars {
		name, v, ok := strings.Cut(s, "=")
		if !ok {
			v, ok = o.env(name)
		}
		e := workload.EnvVar{Name: name}
		if ok {
			e.Value = &v
		}
		env = append(env, e)
	}
	return env, nil
}

func labels(files, said []string, o Outside) (m map[string]string, err error) {
	add := func(name, v string) {
		if m == nil {
			m = map[string]string{}
		}
		m[name] = v
	}
	for _, file := range files {
		lines, err := keyValues(file, o)
		if err != nil {
			return nil, fmt.Errorf("invalid label file (%s): %w", file, err)
		}
		for _, l := range lines {
			if l.value == nil {
				l.value = new(string)
			}
			add(l.name, *l.value)
		}
	}
	for _, s := range said {
		name, v, _ := strings.Cut(s, "=")
		add(name, v)
	}
	return m, nil
}

type keyValue struct {
	name  string
	value *string
}

// keyValues reads a file of NAME=VALUE or NAME lines; empty ones and those that begin with # are passed over.
func keyValues(file string, o Outside) (kvs []keyValue, err error) {
	data, err := o.readFile(file)
	if err != nil {
		return nil, err
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSuffix(line, "\r")
		if !utf8.ValidString(line) {
			return nil, fmt.Errorf("invalid utf8 bytes at line %d", i+1)
		}
		line = strings.TrimLeft(line, " \t\v\f")
		if line == "" || line[0] == '#' {
			continue
		}
		name, v, ok := strings.Cut(line, "=")
		if name == "" {
			return nil, fmt.Errorf("no variable name on line '%s'", line)
		}
		if strings.ContainsAny(name, " \t\v\f\r\u0085\u00a0") {
			return nil, fmt.Errorf("variable '%s' contains whitespaces", name)
		}
		kv := keyValue{name: name}
		if ok {
			kv.value = &v
		}
		kvs = append(kvs, kv)
	}
	return kvs, nil
}

// securityOpts reads --security-opt values, NAME=VALUE or, as long ago, NAME:VALUE.
func securityOpts(s *workload.Security, opts []string, o Outside) error {
	for _, opt := range opts {
		name, v, ok := strings.Cut(opt, "=")
		if !ok {
			name, v, ok = strings.Cut(opt, ":")
		}
		if (!ok || v == "") && opt != "no-new-privileges" && opt != "writable-cgroups" {
			return fmt.Errorf("invalid --security-opt: %q", opt)
		}
		switch name {
		case "no-new-privileges", "writable-cgroups":
			yes := true
			if ok {
				var err error
				if yes, err = strconv.ParseBool(v); err != nil {
					return fmt.Errorf("invalid --security-opt: %q", opt)
				}
			}
			if name == "no-new-privileges" {
				s.NoNewPrivs = &yes
			} else {
				s.WritableCgroups = &yes
			}
		case "seccomp":
			s.Seccomp, s.SeccompDoc = v, nil
			if v == "unconfined" || v == "builtin" {
				continue
			}
			doc, err := o.readFile(v)
			if err != nil {
				return fmt.Errorf("opening seccomp profile (%s) failed: %w", v, err)
			}
			s.SeccompDoc = doc // read where it is resolved (package spec), which says what is wrong and where
		case "systempaths":
			if v != "unconfined" {
				return fmt.Errorf("invalid --security-opt: %q", opt)
			}
			s.SystemPaths = v
		case "apparmor":
			s.AppArmor = v
		case "label":
			s.Labels = append(s.Labels, v)
		default:
			return fmt.Errorf("invalid --security-opt: %q", opt)
		}
	}
	return nil
}
