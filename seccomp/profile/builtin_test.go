package profile

import (
	"testing"

	"porthole/abi"
	"porthole/facts"
)

func BenchmarkBuiltin(b *testing.B) {
	for b.Loop() {
		if _, err := Builtin("docker"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBuiltinOldest(b *testing.B) {
	for b.Loop() {
		if _, err := Builtin("docker:1.11"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkResolve(b *testing.B) {
	p, err := Builtin("docker")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		p.Resolve(Conditions{Arch: abi.X86_64, Kernel: facts.Version{Major: 6, Minor: 18}})
	}
}

func TestFindRelease(t *testing.T) {
	for ref, want := range map[string]string{
		"docker":                "docker:29.7.2",
		"docker:":               "docker:29.7.2",
		"docker:29.7.2":         "docker:29.7.2",
		"docker:29":             "docker:29.7.2",
		"docker:docker-v29.4.2": "docker:29.4.2",
		"docker:v29.4.2":        "docker:29.4.2",
		"docker:28":             "docker:28.5.2",
		"docker:20.10":          "docker:20.10.27",
		"docker:20.10.2":        "docker:20.10.2",
		"docker:v20.10.24":      "docker:20.10.24",
		"docker:18.09":          "docker:18.09.9",
		"docker:v18.09.0":       "docker:18.09.0",
		"docker:18.09.0-ce":     "docker:18.09.0",
		"docker:18.06":          "docker:18.06.3-ce",
		"docker:18.06.0":        "docker:18.06.0-ce",
		"docker:v18.06.0-ce":    "docker:18.06.0-ce",
		"docker:1.13":           "docker:1.13.1",
		"docker:1.12.6":         "docker:1.12.6",
		"docker:1.1":            `no default profile of docker 1.1 is known; the nearest is of 1.11.0`,
		"docker:1.10.3":         `no default profile of docker 1.10.3 is known; the nearest is of 1.11.0`,
		"docker:17.08":          `no default profile of docker 17.08 is known; the nearest is of 17.07.0-ce and of 17.09.0-ce`,
		"docker:18.09.10":       `no default profile of docker 18.09.10 is known; the nearest is of 18.09.9 and of 19.03.0`,
		"docker:99":             `no default profile of docker 99 is known; the nearest is of 29.7.2`,
		"docker:latest":         `no default profile of docker latest is known; a version is numbers: 29.7.2`,
		"docker:20.10.0-rc1":    `no default profile of docker 20.10.0-rc1 is known; the nearest is of 19.03.15 and of 20.10.0`,
		"docker:?":              `no default profile of docker ? is known; a version is numbers: 29.7.2`,
		"moby/profiles:0.2.4":   "moby/profiles:0.2.4",
		"moby/profiles":         "moby/profiles:0.2.4",
		"podman":                "podman:6.0.2",
		"podman:5":              "podman:5.8.0",
		"podman:4.3":            "podman:4.3.1",
		"containerd":            "containerd:2.4.2",
		"dokcer":                `no default profile is known of "dokcer"; did you mean docker?`,
		"":                      `no default profile is known of ""; there are docker, podman, containerd, moby/profiles`,
	} {
		r, err := FindRelease(ref)
		got := r.String()
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", ref, got, want)
		}
		if _, err2 := Builtin(ref); (err == nil) != (err2 == nil) {
			t.Errorf("%q: %v, but Builtin says %v", ref, err, err2)
		}
	}
}
