package image

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// archive is what a tar file held: regular files, spooled into the store, by their names.
type archive struct {
	dir   string
	paths map[string]string
	links map[string]string
}

// Load brings in the images of an archive, compressed or not: what docker save writes today
// (manifest.json, or an OCI layout), and what it wrote before Docker 1.10 (repositories). It
// returns their names as people type them, or the IDs of those without, in the archive's order;
// those before an error too.
func (s *Store) Load(ctx context.Context, r io.Reader, p Progress) ([]string, error) {
	if err := s.prepare(); err != nil {
		return nil, err
	}
	dir, done, err := s.temp()
	if err != nil {
		return nil, err
	}
	defer done()
	a := &archive{dir: dir, paths: map[string]string{}, links: map[string]string{}}
	if err := a.spool(ctx, r); err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	saved, err := a.images(ctx)
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	var got []string
	for _, i := range saved {
		if len(i.names) == 0 {
			image, err := s.add(ctx, i.source, "", "", p)
			if err != nil {
				return got, fmt.Errorf("archive: %w", err)
			}
			got = append(got, image.ID)
		}
		for _, n := range i.names {
			if _, err := s.add(ctx, i.source, n, "", p); err != nil {
				return got, fmt.Errorf("archive: %s: %w", Familiar(n), err)
			}
			got = append(got, Familiar(n))
		}
	}
	return got, nil
}

// spool writes the archive's files out, under numbers: their names are only ever looked up.
func (a *archive) spool(ctx context.Context, r io.Reader) error {
	d, err := decompress(&counted{r: r, ctx: ctx})
	if err != nil {
		return err
	}
	defer d.Close()
	for tr, n := tar.NewReader(d), 0; ; n++ {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		name := path.Clean("/" + h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			file := filepath.Join(a.dir, strconv.Itoa(n))
			f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return err
			}
			_, err = io.Copy(f, tr)
			if err := errors.Join(err, f.Close()); err != nil {
				return err
			}
			a.paths[name] = file
		case tar.TypeSymlink: // Docker once linked equal layers
			a.links[name] = path.Join(path.Dir(name), h.Linkname)
		case tar.TypeLink:
			a.links[name] = path.Clean("/" + h.Linkname)
		}
	}
}

// file is where a name of the archive was spooled.
func (a *archive) file(name string) (string, error) {
	at := path.Clean("/" + name)
	for range 8 {
		if file, ok := a.paths[at]; ok {
			return file, nil
		}
		to, ok := a.links[at]
		if !ok {
			break
		}
		at = to
	}
	return "", fmt.Errorf("it has no file %q", name)
}

func (a *archive) read(name string) ([]byte, error) {
	file, err := a.file(name)
	if err != nil {
		return nil, err
	}
	fi, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if fi.Size() > maxDocument {
		return nil, fmt.Errorf("%s has %d bytes: at most %d are read", name, fi.Size(), maxDocument)
	}
	return os.ReadFile(file)
}

// saved is one image of an archive.
type saved struct {
	source source
	names  []string
}

func (a *archive) images(ctx context.Context) ([]saved, error) {
	for _, form := range []struct {
		file string
		read func(context.Context, []byte) ([]saved, error)
	}{
		{"manifest.json", a.docker},
		{"index.json", a.oci},
		{"repositories", a.legacy},
	} {
		if _, err := a.file(form.file); err != nil {
			continue
		}
		raw, err := a.read(form.file)
		if err != nil {
			return nil, err
		}
		images, err := form.read(ctx, raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", form.file, err)
		}
		return images, nil
	}
	return nil, errors.New("neither manifest.json, index.json nor repositories is in it: it holds no images (a root filesystem is brought in by import)")
}

// fullNames normalises names, all of which must be valid.
func fullNames(names []string) (full []string, err error) {
	for _, n := range names {
		r, err := ParseReference(n)
		if err != nil {
			return nil, err
		}
		full = append(full, r.String())
	}
	return full, nil
}

// docker reads manifest.json: docker save since 1.10.
func (a *archive) docker(_ context.Context, raw []byte) (all []saved, err error) {
	var images []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(raw, &images); err != nil {
		return nil, err
	}
	for _, i := range images {
		config, err := a.read(i.Config)
		if err != nil {
			return nil, err
		}
		src, err := a.assemble(config, i.Layers)
		if err != nil {
			return nil, err
		}
		names, err := fullNames(i.RepoTags)
		if err != nil {
			return nil, err
		}
		all = append(all, saved{src, names})
	}
	return all, nil
}

// assemble makes an image of a config and the names of its layers' files.
func (a *archive) assemble(config []byte, names []string) (*files, error) {
	var layers []descriptor
	paths := map[string]string{}
	for _, n := range names {
		file, err := a.file(n)
		if err != nil {
			return nil, err
		}
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		sum := sha256.New()
		size, err := io.Copy(sum, f)
		f.Close()
		if err != nil {
			return nil, err
		}
		d := descriptor{MediaType: typeLayer, Digest: digest(sum), Size: size}
		paths[d.Digest] = file
		layers = append(layers, d)
	}
	return assemble(config, layers, paths)
}

// oci reads an OCI layout.
func (a *archive) oci(ctx context.Context, raw []byte) (all []saved, err error) {
	var x index
	if err := json.Unmarshal(raw, &x); err != nil {
		return nil, err
	}
	here := Platform{}.orThis()
	for _, d := range x.Manifests {
		if !isDigest(d.Digest) {
			return nil, fmt.Errorf("%q is no sha256 digest", d.Digest)
		}
		m := &spooled{a: a, chosen: d}
		raw, err := m.manifest(ctx)
		if err != nil {
			return nil, err
		}
		parsed, err := parseManifest(raw)
		if err != nil {
			return nil, err
		}
		if parsed.Config == nil {
			if m.chosen, err = choose(parsed.Manifests, here); err != nil {
				return nil, err
			}
		}
		var names []string
		// containerd and buildkit write the whole name beside the tag.
		for _, key := range []string{"io.containerd.image.name", refName} {
			if n := d.Annotations[key]; n != "" && len(names) == 0 && (key != refName || strings.ContainsAny(n, "/:")) {
				if names, err = fullNames([]string{n}); err != nil {
					return nil, err
				}
			}
		}
		all = append(all, saved{m, names})
	}
	return all, nil
}

// spooled is an image of an OCI layout in an archive.
type spooled struct {
	a      *archive
	chosen descriptor
}

func (m *spooled) manifest(ctx context.Context) ([]byte, error) {
	raw, err := m.a.read("blobs/sha256/" + m.chosen.Digest[len("sha256:"):])
	if err == nil && digestOf(raw) != m.chosen.Digest {
		err = fmt.Errorf("manifest %s: its content has digest %s", short(m.chosen.Digest), digestOf(raw))
	}
	return raw, err
}

func (m *spooled) blob(_ context.Context, d descriptor) (io.ReadCloser, error) {
	file, err := m.a.file("blobs/sha256/" + d.Digest[len("sha256:"):])
	if err != nil {
		return nil, err
	}
	return os.Open(file)
}

// legacy reads repositories: names, tags and the IDs of their topmost layers, each of which has
// a directory with a document that names its parent (docker save before 1.10).
func (a *archive) legacy(_ context.Context, raw []byte) (all []saved, err error) {
	var names map[string]map[string]string
	if err := json.Unmarshal(raw, &names); err != nil {
		return nil, err
	}
	byTop := map[string][]string{}
	for name, tags := range names {
		for tag, top := range tags {
			byTop[top] = append(byTop[top], name+":"+tag)
		}
	}
	for _, top := range slices.Sorted(maps.Keys(byTop)) {
		src, err := a.chain(top)
		if err != nil {
			return nil, err
		}
		slices.Sort(byTop[top])
		full, err := fullNames(byTop[top])
		if err != nil {
			return nil, err
		}
		all = append(all, saved{src, full})
	}
	return all, nil
}

// chain follows a legacy image down to its base and writes the config that it would have today.
func (a *archive) chain(top string) (*files, error) {
	var layers, diffIDs []string
	var newest map[string]json.RawMessage
	for id := top; id != ""; {
		raw, err := a.read(id + "/json")
		if err != nil {
			return nil, err
		}
		var doc map[string]json.RawMessage
		if err := json.Unmarshal(raw, &doc); err != nil {
			return nil, fmt.Errorf("%s/json: %w", id, err)
		}
		if newest == nil {
			newest = doc
		}
		file, err := a.file(id + "/layer.tar")
		if err != nil {
			return nil, err
		}
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		diffID, err := contentDigest(f)
		f.Close()
		if err != nil {
			return nil, err
		}
		layers, diffIDs = append(layers, id+"/layer.tar"), append(diffIDs, diffID)
		if len(layers) > 1000 {
			return nil, errors.New("more than 1000 layers")
		}
		id = ""
		if p, ok := doc["parent"]; ok {
			if err := json.Unmarshal(p, &id); err != nil {
				return nil, err
			}
		}
	}
	slices.Reverse(layers)
	slices.Reverse(diffIDs)
	for _, key := range []string{"id", "parent", "container", "container_config", "Size", "docker_version"} {
		delete(newest, key)
	}
	rootfs, err := json.Marshal(map[string]any{"type": "layers", "diff_ids": diffIDs})
	if err != nil {
		return nil, err
	}
	newest["rootfs"] = rootfs
	config, err := json.Marshal(newest)
	if err != nil {
		return nil, err
	}
	return a.assemble(config, layers)
}
