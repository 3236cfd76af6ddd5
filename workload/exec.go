package workload

// Exec is one more process in a running container, as asked for. Docker's own exec knows
// all of it but CapAdd, CapDrop, Seccomp and NoNewPrivs: those hold for this session alone,
// so that a debugger gets what it needs and the container does not.
type Exec struct {
	Container string // name or id
	Args      []string
	Env       []EnvVar
	Dir       string // "" is the container's
	User      string // "" is the container's

	TTY, Stdin, Detach bool

	Privileged      bool
	CapAdd, CapDrop []string // on top of the container's own
	// Seccomp: "" is the container's; else as Security.Seccomp and SeccompDoc.
	Seccomp    string
	SeccompDoc []byte
	NoNewPrivs *bool // nil: the container's
}
