package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"
)

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
	Test          []string
	Interval      time.Duration
	Timeout       time.Duration
	StartPeriod   time.Duration
	StartInterval time.Duration
	Retries       int
}

// defaultPath is what Docker gives an image that sets no PATH
// (DefaultPathEnvUnix, moby oci/defaults.go).
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// document is an image's config file, OCI's and Docker's.
type document struct {
	Created *time.Time `json:"created,omitempty"`
	Platform
	Config struct {
		Env          []string            `json:",omitempty"`
		Entrypoint   []string            `json:",omitempty"`
		Cmd          []string            `json:",omitempty"`
		User         string              `json:",omitempty"`
		WorkingDir   string              `json:",omitempty"`
		StopSignal   string              `json:",omitempty"`
		Shell        []string            `json:",omitempty"`
		Labels       map[string]string   `json:",omitempty"`
		Volumes      map[string]struct{} `json:",omitempty"`
		ExposedPorts map[string]struct{} `json:",omitempty"`
		Healthcheck  *Health             `json:",omitempty"`
	} `json:"config"`
	RootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
	History []json.RawMessage `json:"history,omitempty"`
}

func parseDocument(raw []byte) (d document, err error) {
	if err := json.Unmarshal(raw, &d); err != nil {
		return d, fmt.Errorf("config: %w", err)
	}
	if d.OS != "" && d.OS != "linux" {
		return d, fmt.Errorf("the image is for %s", d.Platform)
	}
	if len(d.RootFS.DiffIDs) == 0 {
		return d, errors.New("config: rootfs.diff_ids is empty: an image without layers")
	}
	for _, id := range d.RootFS.DiffIDs {
		if !isDigest(id) {
			return d, fmt.Errorf("config: rootfs.diff_ids: %q is no sha256 digest", id)
		}
	}
	return d, nil
}

func (d document) config() Config {
	c := d.Config
	return Config{
		Env: c.Env, Entrypoint: c.Entrypoint, Cmd: c.Cmd, User: c.User, WorkingDir: c.WorkingDir,
		StopSignal: c.StopSignal, Shell: c.Shell, Labels: c.Labels, Health: c.Healthcheck,
		Volumes:      slices.Sorted(maps.Keys(c.Volumes)),
		ExposedPorts: slices.Sorted(maps.Keys(c.ExposedPorts)),
	}
}

// ParsePlatform reads "linux/arm64", "linux/arm/v7", "arm/v7" or "arm64"; "" is this machine's.
func ParsePlatform(s string) (Platform, error) {
	if s == "" {
		return Platform{}.orThis(), nil
	}
	parts := strings.Split(strings.ToLower(s), "/")
	if len(parts) == 1 || len(parts) == 2 && strings.HasPrefix(parts[0], "arm") {
		parts = append([]string{"linux"}, parts...)
	}
	if len(parts) > 3 || slices.Contains(parts, "") {
		return Platform{}, fmt.Errorf("platform %q: want OS/ARCH or OS/ARCH/VARIANT, such as linux/arm64", s)
	}
	p := Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	switch p.Architecture {
	case "x86_64", "x86-64":
		p.Architecture = "amd64"
	case "aarch64":
		p.Architecture = "arm64"
	case "i386", "i686", "x86":
		p.Architecture = "386"
	case "armhf":
		p.Architecture, p.Variant = "arm", "v7"
	case "armel":
		p.Architecture, p.Variant = "arm", "v6"
	}
	if p.OS != "linux" {
		return p, fmt.Errorf("platform %s: only linux runs here", p)
	}
	return p, nil
}

// orThis is p, or where p is zero, this machine's platform.
func (p Platform) orThis() Platform {
	if p == (Platform{}) {
		return Platform{OS: "linux", Architecture: runtime.GOARCH}
	}
	return p
}

// choose picks from an index the image for a platform: the first of the same variant, or,
// where none was asked for, the first of the architecture with the newest variant.
func choose(all []descriptor, want Platform) (descriptor, error) {
	var best *descriptor
	var have []string
	for i, d := range all {
		p := d.Platform
		if p == nil || p.OS == "unknown" { // attestations
			continue
		}
		have = append(have, p.String())
		if p.OS != want.OS || p.Architecture != want.Architecture {
			continue
		}
		// arm64 is v8 where it says nothing.
		same := p.Variant == want.Variant || want.Architecture == "arm64" && p.Variant+want.Variant == "v8"
		if same {
			return d, nil
		}
		if want.Variant == "" && (best == nil || p.Variant > best.Platform.Variant) {
			best = &all[i]
		}
	}
	switch {
	case best != nil:
		return *best, nil
	case have == nil && len(all) == 1:
		return all[0], nil
	}
	return descriptor{}, fmt.Errorf("no image for %s; there is one for %s", want, strings.Join(have, ", "))
}
