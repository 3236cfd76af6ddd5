package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// layout is an OCI image layout on disk, of which one image was chosen.
type layout struct {
	root   *os.Root
	chosen descriptor
}

// FromLayout brings in an image from an OCI layout, "DIR" or "DIR:TAG", where it isn't here
// yet. It gets no name. The tag may be left out if the layout has one image, or one for this machine.
func (s *Store) FromLayout(ctx context.Context, where string, p Progress) (*Image, error) {
	dir, tag := where, ""
	if _, err := os.Stat(dir); err != nil {
		if i := strings.LastIndexByte(where, ':'); i > strings.LastIndexByte(where, '/') {
			dir, tag = where[:i], where[i+1:]
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	x, err := readIndex(root)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	var fit []descriptor
	var tags []string
	for _, d := range x.Manifests {
		name := d.Annotations[refName]
		tags = append(tags, name)
		if tag == "" || name == tag || strings.HasSuffix(name, ":"+tag) {
			fit = append(fit, d)
		}
	}
	want := Platform{}.orThis()
	l := &layout{root: root}
	if err := l.choose(ctx, fit, want); err != nil {
		if len(fit) == 0 {
			err = fmt.Errorf("no image %q; there are %s", tag, strings.Join(tags, ", "))
		}
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	if i, err := s.Resolve(l.chosen.Digest); err == nil && i.whole() {
		return i, nil
	}
	i, err := s.add(ctx, l, "", "", p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return i, nil
}

// whole says whether an image's layers are all there.
func (i *Image) whole() bool {
	for _, l := range i.Layers {
		if _, err := os.Stat(l); err != nil {
			return false
		}
	}
	return true
}

func readIndex(root *os.Root) (x index, err error) {
	raw, err := root.ReadFile("index.json")
	if err != nil {
		return x, err
	}
	if err := json.Unmarshal(raw, &x); err != nil {
		return x, fmt.Errorf("index.json: %w", err)
	}
	for _, d := range x.Manifests {
		if !isDigest(d.Digest) {
			return x, fmt.Errorf("index.json: %q is no sha256 digest", d.Digest)
		}
	}
	return x, nil
}

// choose settles on one image, through indexes of indexes.
func (l *layout) choose(ctx context.Context, from []descriptor, want Platform) error {
	for range 4 {
		var d descriptor
		var err error
		switch {
		case len(from) == 1:
			d = from[0]
		case len(from) == 0:
			return errors.New("it has no image")
		default:
			if d, err = choose(from, want); err != nil {
				return err
			}
		}
		l.chosen = d
		raw, err := l.manifest(ctx)
		if err != nil {
			return err
		}
		m, err := parseManifest(raw)
		if err != nil {
			return err
		}
		if m.Config != nil {
			return nil
		}
		if d, err = choose(m.Manifests, want); err != nil {
			return err
		}
		from = []descriptor{d}
	}
	return errors.New("too many indexes within one another")
}

func (l *layout) manifest(ctx context.Context) ([]byte, error) {
	r, err := l.blob(ctx, l.chosen)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	raw, err := io.ReadAll(io.LimitReader(r, maxDocument))
	if err != nil {
		return nil, err
	}
	if got := digestOf(raw); got != l.chosen.Digest {
		return nil, fmt.Errorf("manifest %s: its content has digest %s", short(l.chosen.Digest), got)
	}
	return raw, nil
}

func (l *layout) blob(_ context.Context, d descriptor) (io.ReadCloser, error) {
	f, err := l.root.Open(filepath.Join("blobs/sha256", d.Digest[len("sha256:"):]))
	if err != nil {
		return nil, err
	}
	return regular(f)
}

// regular refuses what would block, such as a fifo.
func regular(f *os.File) (io.ReadCloser, error) {
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = &os.PathError{Op: "read", Path: f.Name(), Err: errors.New("not a regular file")}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
