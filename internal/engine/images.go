package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"porthole/internal/host/image"
)

// image finds the image of a new container: a directory or layout named by its path, one from the
// store, or, where that has none of the name, one fetched from its registry.
func (e *Engine) image(ctx context.Context, ref string) (*image.Image, error) {
	if img, err := e.local(ref); err == nil || !errors.Is(err, image.ErrNotFound) {
		return img, err
	}
	store, err := e.store()
	if err != nil {
		return nil, err
	}
	if e.Registry == nil {
		return nil, fmt.Errorf("%s: %w", ref, image.ErrNoRegistry)
	}
	if e.Progress != nil {
		e.Progress.Say("Unable to find image '" + image.Familiar(ref) + "' locally")
	}
	return store.Pull(ctx, ref, image.Platform{}, e.progress())
}

// local is image without the registry.
func (e *Engine) local(ref string) (*image.Image, error) {
	store, err := e.store()
	if err != nil {
		return nil, err
	}
	kind, path, _ := strings.Cut(ref, ":")
	switch kind {
	case "dir":
		img, err := store.FromDir(context.Background(), path, e.progress())
		return img, named(ref, path, err)
	case "oci":
		img, err := store.FromLayout(context.Background(), path, e.progress())
		return img, named(ref, path, err)
	}
	return store.Resolve(ref)
}

// named says of which image an error is: ref, and of path no more than that.
func named(ref, path string, err error) error {
	if lost := (*os.PathError)(nil); errors.As(err, &lost) && lost.Path == path {
		err = lost.Err
	}
	if err != nil {
		return fmt.Errorf("image %s: %w", ref, err)
	}
	return nil
}

func (e *Engine) progress() image.Progress {
	if e.Progress == nil {
		return image.Quiet{}
	}
	return e.Progress
}

// Pull fetches an image from a registry, and returns its full name. platform "" is this machine's.
func (e *Engine) Pull(ctx context.Context, ref, platform string) (string, error) {
	store, err := e.store()
	if err != nil {
		return "", err
	}
	var p image.Platform
	if platform != "" {
		if p, err = image.ParsePlatform(platform); err != nil {
			return "", err
		}
	}
	if _, err := store.Pull(ctx, ref, p, e.progress()); err != nil {
		return "", err
	}
	r, err := image.ParseReference(ref)
	return r.String(), err
}

// Load takes in the images of an archive that `docker save` made, and returns their names, or the IDs of those without.
func (e *Engine) Load(ctx context.Context, in io.Reader) ([]string, error) {
	store, err := e.store()
	if err != nil {
		return nil, err
	}
	return store.Load(ctx, in, e.progress())
}

// Import makes an image of a root filesystem's tar archive, and returns its ID.
func (e *Engine) Import(ctx context.Context, in io.Reader, name string) (string, error) {
	store, err := e.store()
	if err != nil {
		return "", err
	}
	img, err := store.Import(ctx, in, name, e.progress())
	if err != nil {
		return "", err
	}
	return img.ID, nil
}

// ImageInfo is one row of `porthole images`.
type ImageInfo struct {
	Repository, Tag string
	ID              string
	Created         time.Time
	Size            int64 // bytes, unpacked
}

// Images lists the images that are here, one row for each of their names.
func (e *Engine) Images() ([]ImageInfo, error) {
	store, err := e.store()
	if err != nil {
		return nil, err
	}
	all, err := store.List()
	if err != nil {
		return nil, err
	}
	var rows []ImageInfo
	for _, i := range all {
		row := ImageInfo{Repository: "<none>", Tag: "<none>", ID: i.ID, Created: i.Created, Size: i.Size}
		if len(i.Names) == 0 {
			rows = append(rows, row)
		}
		for _, name := range i.Names {
			row.Repository, row.Tag = image.Familiar(name), "<none>"
			if at := strings.LastIndexByte(row.Repository, ':'); at > strings.LastIndexByte(row.Repository, '/') {
				row.Repository, row.Tag = row.Repository[:at], row.Repository[at+1:]
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// RemoveImage takes away a name, and the image with its last one. It says line by line what it did.
// An image that containers use stays; force takes it from those that have stopped.
func (e *Engine) RemoveImage(ctx context.Context, ref string, force bool) ([]string, error) {
	store, err := e.store()
	if err != nil {
		return nil, err
	}
	all, err := e.List(true)
	if err != nil {
		return nil, err
	}
	users := map[string]string{}
	for _, c := range all {
		if c.ImageID == "" || force && runs(c.Record, c.State) != nil {
			continue
		}
		users[c.ImageID] = c.Name
	}
	return store.Remove(ctx, ref, force, users)
}

// ShortImageID is an image's ID as people are shown it, or the whole of it.
func ShortImageID(id string, whole bool) string {
	if whole {
		return id
	}
	return short(strings.TrimPrefix(id, "sha256:"))
}
