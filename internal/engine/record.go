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

	"golang.org/x/sys/unix"

	"porthole/internal/engine/container"
	"porthole/internal/host/sys"
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

// validID keeps a damaged link in names/ from leading anywhere else.
func validID(id string) bool {
	b, err := hex.DecodeString(id)
	return err == nil && len(b) == 32
}

func (e *Engine) containers() string   { return filepath.Join(e.root, "containers") }
func (e *Engine) dir(id string) string { return filepath.Join(e.containers(), id) }

// scratch is a directory that stays empty: over it each container mounts a tmpfs that nobody else sees.
func (e *Engine) scratch() string { return filepath.Join(e.root, "scratch") }

func (e *Engine) nameFile(name string) string { return filepath.Join(e.root, "names", name) }

// takeName reserves name for id; whoever comes second is told who has it.
func (e *Engine) takeName(name, id string) error {
	if !workload.ValidName(name) {
		return fmt.Errorf("invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", name)
	}
	// There with all that it says, or not at all.
	if unix.Symlink(id, e.nameFile(name)) == nil {
		return nil
	}
	names := filepath.Join(e.root, "names")
	if err := os.MkdirAll(names, 0o711); err != nil {
		return err
	}
	// What is found is judged and replaced before anybody else looks at it.
	lock, err := container.Lock(names)
	if err != nil {
		return err
	}
	defer lock.Close()
	for range 2 {
		err := os.Symlink(id, e.nameFile(name))
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		if holder := e.holder(name); holder != "" {
			if _, err := os.Stat(e.dir(holder)); err == nil {
				return fmt.Errorf("the container name %q is already in use by container %s; remove (porthole rm %s) or rename it", name, short(holder), name)
			}
		}
		os.Remove(e.nameFile(name)) // its container is gone
	}
	return fmt.Errorf("the container name %q cannot be taken: %s is in the way", name, e.nameFile(name))
}

// holder is the ID of the container that has a name; "" where none has.
func (e *Engine) holder(name string) string {
	id, err := os.Readlink(e.nameFile(name))
	if err != nil || !validID(id) {
		return ""
	}
	return id
}

// giveBack is dropName for a container whose directory is still where it was: nobody takes a name from that.
func (e *Engine) giveBack(name, id string) {
	if name != "" && e.holder(name) == id {
		unix.Unlink(e.nameFile(name))
	}
}

// dropName gives name back if it is id's.
func (e *Engine) dropName(name, id string) {
	if name == "" {
		return
	}
	if e.holder(name) != id {
		return
	}
	lock, err := container.Lock(filepath.Dir(e.nameFile(name)))
	if err != nil {
		return // whoever wants the name finds that its container is gone
	}
	defer lock.Close()
	if e.holder(name) == id {
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
	data, err := container.Marshal(r)
	if err != nil {
		return err
	}
	return container.WriteFile(dir, recordFile, data)
}

func (e *Engine) record(id string) (*Record, error) {
	data, err := sys.ReadFile(filepath.Join(e.dir(id), recordFile))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: %s", ErrNotFound, short(id))
		}
		return nil, err
	}
	r := &Record{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, hintForce(fmt.Errorf("%s: %w", filepath.Join(e.dir(id), recordFile), err))
	}
	return r, nil
}

// find reads the record of the container that a name, an ID or the unambiguous beginning of one means.
func (e *Engine) find(ref string) (*Record, error) {
	id, err := e.resolve(ref)
	if err != nil {
		return nil, err
	}
	return e.record(id)
}

// resolve turns a name, an ID or the unambiguous beginning of one into an ID.
func (e *Engine) resolve(ref string) (string, error) {
	if workload.ValidName(ref) {
		if id := e.holder(ref); id != "" {
			if _, err := os.Stat(e.dir(id)); err == nil {
				return id, nil
			}
		}
	}
	ids, err := e.ids()
	if err != nil {
		return "", err
	}
	var hit []string
	for _, id := range ids {
		if id == ref {
			return id, nil
		}
		if ref != "" && strings.HasPrefix(id, ref) {
			hit = append(hit, id)
		}
	}
	switch len(hit) {
	case 0:
		return "", fmt.Errorf("%w: %s", ErrNotFound, ref)
	case 1:
		return hit[0], nil
	}
	return "", fmt.Errorf("%s is the beginning of %d containers' IDs; give more of it", ref, len(hit))
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

// records are all containers', newest first. One that vanishes meanwhile is left out, and one that cannot be
// read with a warning.
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
			e.warn(err.Error())
			continue
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
