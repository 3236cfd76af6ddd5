package dialect

import (
	"encoding/csv"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-units"

	"porthole/workload"
)

func (f *Flags) readMounts(w *workload.Workload, o Outside) error {
	at := map[string]int{}
	for _, a := range f.mounts {
		m, err := a.mount, error(nil)
		switch a.flag {
		case "volume":
			m, err = volumeFlag(a.value, o)
		case "mount":
			err = checkMount(&m, o)
		case "tmpfs":
			m, err = tmpfsFlag(a.value)
		}
		if err != nil {
			return fmt.Errorf("--%s %s: %w", a.flag, a.value, err)
		}
		m.Refer = "--" + a.flag + " " + a.value
		m.Target = path.Clean(m.Target)
		if m.Target == "/" {
			return fmt.Errorf("%s: invalid specification: destination can't be '/'", m.Refer)
		}
		// A second --tmpfs of a path replaces the first; anything else is one too many.
		if i, twice := at[m.Target]; twice {
			if a.flag != "tmpfs" || w.Mounts[i].Type != workload.Tmpfs {
				return fmt.Errorf("%s: duplicate mount point: %s", m.Refer, m.Target)
			}
			w.Mounts[i] = m
			continue
		}
		at[m.Target] = len(w.Mounts)
		w.Mounts = append(w.Mounts, m)
	}
	return nil
}

var propagations = []string{"private", "rprivate", "shared", "rshared", "slave", "rslave"}

// volumeFlag reads -v [SOURCE:]TARGET[:MODES].
func volumeFlag(s string, o Outside) (m workload.Mount, err error) {
	parts := strings.Split(s, ":")
	switch {
	case s == "" || len(parts) > 3 || slices.Contains(parts, ""):
		return m, fmt.Errorf("invalid volume specification: '%s'", s)
	case len(parts) == 1:
		m = workload.Mount{Type: workload.Volume, Target: s}
	default:
		m = workload.Mount{Type: workload.Volume, Source: parts[0], Target: parts[1]}
		if strings.HasPrefix(m.Source, ".") || path.IsAbs(m.Source) {
			m.Type, m.Source, m.CreateSource = workload.Bind, o.abs(m.Source), true
		} else if strings.HasPrefix(m.Source, "~") {
			return m, fmt.Errorf("%q: a volume's name cannot begin with ~; write the directory in full", m.Source)
		} else if !workload.ValidName(m.Source) {
			return m, fmt.Errorf("%q includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path", m.Source)
		}
	}
	if !path.IsAbs(m.Target) {
		return m, fmt.Errorf("invalid volume specification: '%s': invalid mount path: '%s' mount path must be absolute", s, m.Target)
	}
	if len(parts) < 3 {
		return m, nil
	}
	// At most one mode of each kind.
	seen := map[string]bool{}
	for _, mode := range strings.Split(parts[2], ",") {
		kind := "propagation"
		switch mode {
		case "rw", "ro":
			kind, m.ReadOnly = "rw", mode == "ro"
		case "z", "Z":
			kind, m.Relabel = "label", mode
		case "nocopy":
			kind, m.NoCopy = mode, true
		case "consistent", "cached", "delegated":
			kind = "consistency" // Docker Desktop's; Linux has one kind of mount
		default:
			if !slices.Contains(propagations, mode) {
				return m, fmt.Errorf("invalid mode: %s", mode)
			}
			m.Propagation = mode
		}
		if seen[kind] {
			return m, fmt.Errorf("invalid mode: %s", parts[2])
		}
		seen[kind] = true
	}
	switch {
	case m.Type == workload.Bind && m.NoCopy:
		return m, fmt.Errorf("invalid mode: %s: nocopy is for volumes", parts[2])
	case m.Type == workload.Volume && m.Propagation != "":
		return m, fmt.Errorf("invalid mode: %s: propagation is for bind mounts", parts[2])
	}
	return m, nil
}

// tmpfsFlag reads --tmpfs TARGET[:OPTIONS].
func tmpfsFlag(s string) (m workload.Mount, err error) {
	target, opts, _ := strings.Cut(s, ":")
	if !path.IsAbs(target) {
		return m, fmt.Errorf("invalid mount path: '%s' mount path must be absolute", target)
	}
	m = workload.Mount{Type: workload.Tmpfs, Target: target}
	if opts == "" {
		return m, nil
	}
	m.Options = strings.Split(opts, ",")
	for _, opt := range m.Options {
		if name, _, data := strings.Cut(opt, "="); data && !slices.Contains(tmpfsData, name) || !data && !slices.Contains(tmpfsFlags, opt) {
			return m, fmt.Errorf("invalid tmpfs option %q", opt)
		}
	}
	return m, nil
}

// What a tmpfs may be told, by Docker's daemon.
var (
	tmpfsData  = []string{"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"}
	tmpfsFlags = append([]string{"defaults", "ro", "rw", "suid", "nosuid", "dev", "nodev", "exec", "noexec", "sync", "async",
		"dirsync", "mand", "nomand", "atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime"},
		propagations...)
)

// mountOption reads --mount type=bind,source=/a,target=/b,readonly and its like.
func mountOption(s string) (m workload.Mount, err error) {
	fields, err := csv.NewReader(strings.NewReader(s)).Read()
	if err != nil {
		return m, err
	}
	m.Type = workload.Volume
	var kinds []string // of the types' own options
	for _, field := range fields {
		key, v, has := strings.Cut(field, "=")
		key = strings.ToLower(key)
		if strings.TrimSpace(key) != key {
			return m, fmt.Errorf("unexpected key '%s' in '%s'", key, field)
		}
		flag := slices.Contains([]string{"readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-src"}, key)
		yes := true
		switch {
		case has && v == "":
			return m, fmt.Errorf("invalid value for '%s': value is empty", key)
		case has && strings.TrimSpace(v) != v:
			return m, fmt.Errorf("invalid value for '%s' in '%s': value should not have whitespace", key, field)
		case !has && !flag:
			return m, fmt.Errorf("invalid field '%s' must be a key=value pair", field)
		case has && flag:
			if yes, err = strconv.ParseBool(v); err != nil {
				return m, fmt.Errorf("invalid value for %s: %s", key, v)
			}
		}
		if kind, _, ok := strings.Cut(key, "-"); ok {
			kinds = append(kinds, kind)
		}
		switch key {
		case "type":
			m.Type = workload.MountType(strings.ToLower(v))
			switch m.Type {
			case workload.Bind, workload.Volume, workload.Tmpfs:
			case "image", "npipe", "cluster":
				return m, &Refused{"--mount", "type=" + v, "porthole mounts bind, volume and tmpfs"}
			default:
				return m, fmt.Errorf("mount type %q unknown; want bind, volume or tmpfs", v)
			}
		case "source", "src":
			m.Source = v
		case "target", "dst", "destination":
			m.Target = v
		case "readonly", "ro":
			m.ReadOnly = yes
		case "consistency":
			// Docker Desktop's; Linux has one kind of mount
		case "bind-propagation":
			if !slices.Contains(propagations, v) {
				return m, fmt.Errorf("invalid value for %s: %s; want %s", key, v, or(propagations))
			}
			m.Propagation = v
		case "bind-nonrecursive":
			m.NonRecursive = yes
		case "bind-recursive":
			switch v {
			case "enabled":
			case "disabled":
				m.NonRecursive = true
			case "writable":
				m.SubReadOnly = "no"
			case "readonly":
				m.SubReadOnly = "yes"
			default:
				return m, fmt.Errorf("invalid value for %s: %s (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")", key, v)
			}
		case "bind-create-src":
			m.CreateSource = yes
		case "volume-nocopy":
			m.NoCopy = yes
		case "volume-driver":
			if v != "local" {
				return m, &Refused{"--mount", field, "volumes are local"}
			}
		case "volume-label", "volume-opt", "volume-subpath", "image-subpath":
			return m, &Refused{"--mount", key, "porthole's volumes are plain directories"}
		case "tmpfs-size":
			if m.Size, err = units.RAMInBytes(v); err != nil {
				return m, fmt.Errorf("invalid value for %s: %s", key, v)
			}
		case "tmpfs-mode":
			n, err := strconv.ParseUint(v, 8, 32)
			if err != nil || n > 0o7777 {
				return m, fmt.Errorf("invalid value for %s: %s", key, v)
			}
			mode := uint32(n)
			m.Mode = &mode
		default:
			return m, fmt.Errorf("unexpected key '%s' in '%s'", key, field)
		}
	}
	for _, kind := range kinds {
		if kind != string(m.Type) {
			return m, fmt.Errorf("cannot mix '%s-*' options with mount type '%s'", kind, m.Type)
		}
	}
	switch {
	case m.Target == "":
		return m, errors.New("target is required")
	case m.SubReadOnly == "yes" && !m.ReadOnly:
		return m, errors.New("option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction")
	case m.SubReadOnly == "yes" && m.Propagation != "rprivate":
		return m, errors.New("option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction")
	}
	return m, nil
}

// checkMount does what Docker's daemon does: --mount's paths must be absolute, once a relative
// source is found in the caller's directory.
func checkMount(m *workload.Mount, o Outside) error {
	invalid := func(what string) error {
		return fmt.Errorf("invalid mount config for type %q: %s", m.Type, what)
	}
	if !path.IsAbs(m.Target) {
		return invalid(fmt.Sprintf("invalid mount path: '%s' mount path must be absolute", m.Target))
	}
	switch m.Type {
	case workload.Bind:
		if m.Source == "" {
			return invalid("field Source must not be empty")
		}
		if !path.IsAbs(m.Source) && !strings.HasPrefix(m.Source, ".") {
			return invalid(fmt.Sprintf("invalid mount path: '%s' mount path must be absolute", m.Source))
		}
		m.Source = o.abs(m.Source)
	case workload.Volume:
		if m.Source != "" && !workload.ValidName(m.Source) {
			return invalid(fmt.Sprintf("%q includes invalid characters for a local volume name", m.Source))
		}
	case workload.Tmpfs:
		if m.Source != "" {
			return invalid("field Source must not be specified")
		}
	}
	return nil
}
