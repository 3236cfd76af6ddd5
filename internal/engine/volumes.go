package engine

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"porthole/spec"
)

func (e *Engine) volume(name string) string { return filepath.Join(e.root, "volumes", name) }

// makeVolumes makes the directories of volumes that are not there yet.
func (e *Engine) makeVolumes(r *Record, vs []spec.Volume) error {
	for target, dir := range e.volumeDirs(r, vs) {
		if _, err := os.Stat(dir); err == nil {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(dir), 0o701); err != nil {
			return err
		}
		// Made aside and renamed: a volume that is there is a whole one.
		tmp, err := os.MkdirTemp(filepath.Dir(dir), ".new")
		if err != nil {
			return err
		}
		if err := os.Chmod(tmp, 0o755); err != nil {
			return err
		}
		for _, v := range vs {
			if v.Target == target && v.Copy {
				if err := e.fillVolume(r, target, tmp); err != nil {
					return errors.Join(err, os.RemoveAll(tmp))
				}
			}
		}
		if err := os.Rename(tmp, dir); err != nil && !errors.Is(err, os.ErrExist) {
			return errors.Join(err, os.RemoveAll(tmp))
		}
	}
	return nil
}

// fillVolume copies what the image has at target into a new volume's directory.
func (e *Engine) fillVolume(r *Record, target, dir string) error {
	if r.Image == "host" {
		return nil // this machine's own files are not what a volume is to start with
	}
	img, err := e.local(r.Image)
	if err != nil {
		return err
	}

	return img.CopyTo(target, dir)
}

// dropVolumes removes a container's anonymous volumes.
func (e *Engine) dropVolumes(id string) error {
	entries, err := os.ReadDir(filepath.Join(e.root, "volumes"))
	if err != nil {
		return nil // there are none
	}
	var errs []error
	for _, d := range entries {
		if strings.HasPrefix(d.Name(), id+"-") {
			errs = append(errs, os.RemoveAll(e.volume(d.Name())))
		}
	}
	return errors.Join(errs...)
}
