package image

// Config is what an image asks for its containers: the defaults under the user's flags.
type Config struct {
	Env        []string
	Entrypoint []string
	Cmd        []string
	User       string
	WorkingDir string
	StopSignal string
	Shell      []string
	Labels     map[string]string
	// Volumes and ExposedPorts are sorted: "/var/lib/data", "80/tcp".
	Volumes      []string
	ExposedPorts []string
	Health       *Health
}

// Health is how to ask a container whether it is well; durations are nanoseconds, 0 is the default.
type Health struct {
	Test                                          []string
	Interval, Timeout, StartPeriod, StartInterval int64
	Retries                                       int
}

// defaultPath is what Docker gives an image that sets no PATH
// (DefaultPathEnvUnix, moby oci/defaults.go).
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
