package document

import (
	"bufio"
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"porthole/caps"
	"porthole/workload"
)

// What a docker line says, and what the config.json says that Docker 29.7.2 made of it, is the same workload. The records
// have the first config whole and of the others what differs; their machine had no CAP_SYS_RESOURCE to give, and a cgroup
// hierarchy of version 1, in which no namespace is made by itself.
func TestDocker29(t *testing.T) {
	data, err := os.ReadFile("testdata/docker29.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	type config map[string]any
	var first config
	n := 0
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); n++ {
		var r struct {
			Flags   []string
			Config  config
			Differs config
		}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = r.Config
		}
		made := maps.Clone(first)
		for _, part := range []string{"process", "linux"} {
			have, _ := first[part].(map[string]any)
			have = maps.Clone(have)
			more, _ := r.Differs[part].(map[string]any)
			maps.Copy(have, more)
			gone, _ := r.Differs["gone"].([]any)
			for _, g := range gone {
				name, _ := g.(string)
				if key, of := strings.CutPrefix(name, "process."); of == (part == "process") {
					delete(have, key)
				}
			}
			made[part] = have
		}
		for _, part := range []string{"root", "mounts"} {
			if v, ok := r.Differs[part]; ok {
				made[part] = v
			}
		}
		process, _ := made["process"].(map[string]any)
		process["args"] = []string{"true"}
		text, err := json.Marshal(made)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := oci().Read(text, nobody)
		if err != nil {
			t.Fatalf("%v: %v", r.Flags, err)
		}
		line := append(append([]string{"docker", "run"}, r.Flags...), "host", "true")
		want, _, err := docker().Read([]byte(quoteWords(line)), nobody)
		if err != nil {
			t.Fatalf("%v: %v", r.Flags, err)
		}
		a, b := seen(want), seen(got)
		if d := cmp.Diff(a, b, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%v (-the line +the config):\n%s", r.Flags, d)
		}
	}
	if n < 40 {
		t.Errorf("only %d records", n)
	}
}

// seen is what of a workload a config.json shows, in one way of saying it.
func seen(w workload.Workload) map[string]any {
	s := w.Security
	user := w.User
	if user != "" && !strings.Contains(user, ":") {
		user += ":0"
	}
	cgroup := w.NS.Cgroup
	if cgroup == "" {
		cgroup = "host"
	}
	var devices []workload.Device
	for _, d := range w.Devices {
		if d.Rule == "" {
			devices = append(devices, d)
		}
	}
	return map[string]any{
		"caps": capSet(w).Remove(caps.CAP_SYS_RESOURCE).String(), "privileged": s.Privileged, "user": user, "filter": s.Seccomp != "unconfined",
		"nnp": s.NoNewPrivs != nil && *s.NoNewPrivs, "paths": s.SystemPaths, "masked": slices.Sorted(slices.Values(s.MaskedPaths)),
		"pid": w.NS.PID, "ipc": w.NS.IPC, "uts": w.NS.UTS, "cgroup": cgroup, "network": w.NS.Network, "sysctls": w.Sysctls,
		"ulimits": w.Limits.Ulimits, "devices": devices, "readonly": w.Root.ReadOnly, "shm": w.Limits.ShmSize,
	}
}
