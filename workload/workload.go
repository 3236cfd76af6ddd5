// Package workload says what a user asks for, in no tool's dialect: image, command,
// user, capabilities, profile, mounts, limits.
//
// Workload is one of the house's narrow waists: each dialect (docker flags, a pod, …)
// reads and writes it and knows no other (package workload/dialect); package spec takes it
// on to a container. Pointers and nil slices mean "not said", so that a dialect's own
// default can hold.
package workload

import "time"

// Workload is one container, as asked for.
type Workload struct {
	Name  string // container's name; "" lets the engine choose
	Image string // as given: "host", "ubuntu:18.04", "oci:DIR", "dir:PATH"
	As    string // whose defaults: "docker", "docker:18.09", "podman", "containerd"; "" is docker's newest

	Entrypoint []string // nil: the image's; empty and not nil: none
	Args       []string // nil: the image's command
	Env        []EnvVar
	Dir        string // working directory; "" is the image's, or /
	User       string // "uid", "name", "uid:gid", "name:group"; "" is the image's
	Groups     []string
	Hostname   string
	Labels     map[string]string

	TTY, Stdin bool
	Init       bool // run a small init as pid 1 that reaps and passes signals on
	StopSignal string
	StopWait   *time.Duration

	Security Security
	Root     Root
	Mounts   []Mount
	Devices  []Device
	NS       Namespaces
	Limits   Limits
	Sysctls  map[string]string
}

// EnvVar sets a variable; without Value it is taken from the caller's own environment, if it is there.
type EnvVar struct {
	Name  string
	Value *string
}

// Security is Docker's security model.
type Security struct {
	CapAdd, CapDrop []string // as spelled; "ALL" too
	Privileged      bool
	// Seccomp: "" is the default of As; "unconfined"; "builtin"; else a document's text
	// is in SeccompDoc and Seccomp names where it came from.
	Seccomp    string
	SeccompDoc []byte
	NoNewPrivs *bool
	// SystemPaths "unconfined" leaves nothing masked or read-only.
	SystemPaths                string
	MaskedPaths, ReadonlyPaths []string // nil: the defaults
	AppArmor                   string   // profile name, "unconfined", or ""
	WritableCgroups            *bool    // the container may write its own cgroup tree
	Labels                     []string // SELinux label options, "disable" among them
}

// Root is the root filesystem's treatment.
type Root struct {
	ReadOnly bool
}

// Mount is one mount over the root filesystem.
type Mount struct {
	Type         MountType
	Source       string // path, volume name, or "" for an anonymous volume
	Target       string
	ReadOnly     bool
	Options      []string // further options of the type, as the OCI spec spells them
	Propagation  string   // private, rslave, …; "" is the default
	NonRecursive bool     // a bind mount of the source alone
	CreateSource bool     // -v makes a missing source directory, --mount refuses
	NoCopy       bool     // a volume: do not fill it from the image
	Relabel      string   // "z" shared, "Z" private: an SELinux label for the source; "" leaves it
	// SubReadOnly says whether mounts beneath a read-only one are read-only too: "" where the
	// kernel can, "no" leaves them writable, "yes" fails where the kernel cannot.
	SubReadOnly string
	Size        int64   // tmpfs: bytes; 0 is no limit said
	Mode        *uint32 // tmpfs: mode of its root
	Refer       string  // what the user typed: "-v /a:/b:ro"
}

// MountType says what is mounted.
type MountType string

// The types of mount.
const (
	Bind   MountType = "bind"
	Volume MountType = "volume"
	Tmpfs  MountType = "tmpfs"
)

// Device is a device node passed in, or a rule about devices.
type Device struct {
	Source, Target, Access string // --device: host path, path inside, "rwm"
	Rule                   string // --device-cgroup-rule, "c 1:3 rwm"; the other fields are empty then
}

// Namespaces say for each kind which namespace is used: "" is the default,
// "private", "host", "container:NAME", "none" where the kind knows it.
type Namespaces struct {
	PID, IPC, UTS, User, Cgroup, Network string
}

// Limits bound what the container uses. Zero or nil: not said.
type Limits struct {
	Memory      int64 // bytes
	MemorySwap  int64 // memory plus swap, bytes; -1 is no limit
	NanoCPUs    int64 // --cpus × 1e9
	CPUShares   uint64
	CpusetCpus  string
	CpusetMems  string
	PidsLimit   *int64 // -1 or 0 is no limit
	Ulimits     []Ulimit
	OOMScoreAdj *int
	ShmSize     int64 // bytes; 0 is the default, 64 MiB
}

// Ulimit is a resource limit by its short name ("nofile"); -1 is unlimited.
type Ulimit struct {
	Name       string
	Soft, Hard int64
}

// ValidName says whether s may name a container or a volume, by Docker's rule: [a-zA-Z0-9][a-zA-Z0-9_.-]+
func ValidName(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case i > 0 && (c == '_' || c == '.' || c == '-'):
		default:
			return false
		}
	}
	return len(s) > 1
}
