package container

import (
	"encoding/json"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/workload"
)

// Marshal says what encoding/json does, byte for byte.
func TestMarshal(t *testing.T) {
	n, yes, text := int64(-7), true, "a\"b\n<é>"
	ten := 10 * time.Second
	wait := &ten
	for _, v := range []any{
		nil == wait, 0, "", text, []string(nil), []string{}, []byte("bytes"), []byte(nil), map[string]int(nil), map[string]string{},
		map[string]string{"b": text, "a": "", text: "c"}, &n, (*int64)(nil), [2]int{1, 2}, 1.5, []any{1, "x", nil},
		time.Unix(1, 5).UTC(), struct {
			A int    `json:"a,omitempty"`
			B string `json:"-"`
			C *bool  `json:",omitempty"`
			D []int  `json:"d,omitempty"`
			E []int
			F time.Time `json:"f,omitzero"`
			G time.Time `json:"g,omitempty"`
			H struct{}  `json:"h,omitempty"`
			I int       `json:"i,string"`
		}{C: &yes, D: []int{}},
		struct {
			workload.EnvVar
			A *int
		}{},
		State{}, &State{
			Version: 1, ID: "x", Status: Running, Owned: true, Made: time.Now(), Pid: 5, Start: 1 << 63, Cgroup: "/a&b",
			Cgroups: map[string]string{"cpu": "/x", "": "/y"}, Exit: &Exit{Code: 137, Signal: 9, OOM: true}, Finished: time.Now(),
			Bundle: &Bundle{Dir: text, Annotations: map[string]string{"k": "v"}, Hooks: &specs.Hooks{Poststop: []specs.Hook{{Path: "/x", Timeout: new(int)}}}},
		},
		workload.Workload{}, &workload.Workload{
			Name: "n", Args: []string{"sh", "-c", text}, Env: []workload.EnvVar{{Name: "A", Value: &text}, {Name: "B"}},
			Entrypoint: []string{}, Labels: map[string]string{"z": "1", "a": "2"}, StopWait: wait,
			Security: workload.Security{SeccompDoc: []byte("{}"), NoNewPrivs: &yes},
		},
	} {
		want, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Marshal(v); err != nil || string(got) != string(want) {
			t.Errorf("%T: %v\n%s\n%s", v, err, got, want)
		}
	}
}
