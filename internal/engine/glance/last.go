package glance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"porthole/event"
	"porthole/workload"
)

// Last is a run that failed, kept so that it can be explained afterwards.
type Last struct {
	Workload workload.Workload
	Exit     int
	Ended    time.Time
	Refused  []event.Event // by the filter, each call once
}

const lastFile = "last.json"

// ErrNoLast says that no run is kept.
var ErrNoLast = errors.New("no run has failed here yet")

// Save keeps a run beneath root, in place of the one before. Only we may read it: a workload may
// hold secrets in its environment.
func (l Last) Save(root string) error {
	data, err := json.Marshal(l)
	if err != nil {
		return err
	}
	tmp := filepath.Join(root, fmt.Sprintf(".%s.%d", lastFile, os.Getpid()))
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(root, lastFile)); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return nil
}

// LoadLast returns the run that Save kept; ErrNoLast where there is none.
func LoadLast(root string) (Last, error) {
	var l Last
	data, err := os.ReadFile(filepath.Join(root, lastFile))
	if errors.Is(err, fs.ErrNotExist) {
		return l, ErrNoLast
	}
	if err != nil {
		return l, err
	}
	if err := json.Unmarshal(data, &l); err != nil {
		return l, fmt.Errorf("%s: %w", filepath.Join(root, lastFile), err)
	}
	return l, nil
}
