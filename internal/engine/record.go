package engine

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"porthole/internal/engine/container"
	"porthole/spec"
	"porthole/workload"
)

// Record is what the engine remembers of a container beside its state.
type Record struct {
	ID       string
	Name     string
	Created  time.Time
	Image    string // as asked for
	ImageID  string `json:",omitempty"` // digest, where the image has one
	Command  []string
	Remove   bool // --rm
	Keep     bool // its writable layer outlives it, until rm
	Workload workload.Workload
	Defaults spec.Image // what its image asks for
}

const recordFile = "record.json"

// ErrNotFound says that there is no such container.
var ErrNotFound = errors.New("no such container")

// newID makes a container's ID: 64 hexadecimal digits, as Docker's.
func newID() string {
	var b [32]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func (e *Engine) containers() string          { return filepath.Join(e.root, "containers") }
func (e *Engine) dir(id string) string        { return filepath.Join(e.containers(), id) }
func (e *Engine) nameFile(name string) string { return filepath.Join(e.root, "names", name) }

// takeName reserves name for id; whoever comes second is told who has it.
func (e *Engine) takeName(name, id string) error {
	if !workload.ValidName(name) {
		return fmt.Errorf("invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", name)
	}
	if err := os.MkdirAll(filepath.Join(e.root, "names"), 0o711); err != nil {
		return err
	}
	for range 2 {
		f, err := os.OpenFile(e.nameFile(name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = f.WriteString(id)
			return errors.Join(err, f.Close())
		}
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		holder, err := os.ReadFile(e.nameFile(name))
		if err == nil && len(holder) > 0 {
			if _, err := os.Stat(e.dir(string(holder))); err == nil {
				return fmt.Errorf("the container name %q is already in use by container %s; remove (porthole rm %s) or rename it", name, short(string(holder)), name)
			}
		}
		os.Remove(e.nameFile(name)) // its container is gone
	}
	return fmt.Errorf("the container name %q is being taken by another command", name)
}

// dropName gives name back if it is id's.
func (e *Engine) dropName(name, id string) {
	if name == "" {
		return
	}
	if holder, err := os.ReadFile(e.nameFile(name)); err == nil && string(holder) == id {
		os.Remove(e.nameFile(name))
	}
}

// dropNames gives back whatever name is id's.
func (e *Engine) dropNames(id string) {
	entries, _ := os.ReadDir(filepath.Join(e.root, "names"))
	for _, d := range entries {
		e.dropName(d.Name(), id)
	}
}

func (r *Record) save(dir string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return container.WriteFile(dir, recordFile, data)
}

func (e *Engine) record(id string) (*Record, error) {
	data, err := os.ReadFile(filepath.Join(e.dir(id), recordFile))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: %s", ErrNotFound, short(id))
		}
		return nil, err
	}
	r := &Record{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(e.dir(id), recordFile), err)
	}
	return r, nil
}

// find resolves a name, an ID or the unambiguous beginning of one.
func (e *Engine) find(ref string) (*Record, error) {
	if workload.ValidName(ref) {
		if id, err := os.ReadFile(e.nameFile(ref)); err == nil {
			if r, err := e.record(string(id)); err == nil {
				return r, nil
			}
		}
	}
	ids, err := e.ids()
	if err != nil {
		return nil, err
	}
	var hit []string
	for _, id := range ids {
		if id == ref {
			return e.record(id)
		}
		if ref != "" && strings.HasPrefix(id, ref) {
			hit = append(hit, id)
		}
	}
	switch len(hit) {
	case 0:
		return nil, fmt.Errorf("%w: %s", ErrNotFound, ref)
	case 1:
		return e.record(hit[0])
	}
	return nil, fmt.Errorf("%s is the beginning of %d containers' IDs; give more of it", ref, len(hit))
}

// ids lists the containers there are, in no order that means anything.
func (e *Engine) ids() ([]string, error) {
	entries, err := os.ReadDir(e.containers())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, d := range entries {
		if d.IsDir() && !strings.HasPrefix(d.Name(), ".") {
			ids = append(ids, d.Name())
		}
	}
	return ids, nil
}

// records are all containers', newest first. One that vanishes meanwhile is left out.
func (e *Engine) records() ([]*Record, error) {
	ids, err := e.ids()
	if err != nil {
		return nil, err
	}
	var rs []*Record
	for _, id := range ids {
		r, err := e.record(id)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		rs = append(rs, r)
	}
	sort.Slice(rs, func(i, j int) bool { return rs[i].Created.After(rs[j].Created) })
	return rs, nil
}

// short is an ID as people are shown it.
func short(id string) string {
	if len(id) > 12 {
		return id[:12]
	}
	return id
}
