package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
)

// maxDocument bounds manifests and configs: the distribution spec has registries take 4 MiB.
const maxDocument = 16 << 20

// add takes an image from a source: blobs checked, layers unpacked, then and only then the
// name given to it. from is how the registry knows it, or "".
func (s *Store) add(ctx context.Context, src source, name, from string, p Progress) (*Image, error) {
	if err := s.prepare(); err != nil {
		return nil, err
	}
	unlock, err := s.lock(ctx, addLock, shared)
	if err != nil {
		return nil, err
	}
	defer unlock()
	tmp, done, err := s.temp()
	if err != nil {
		return nil, err
	}
	defer done()

	raw, err := src.manifest(ctx)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(raw)
	if err != nil {
		return nil, err
	}
	if m.Config == nil {
		return nil, errors.New("an index where an image's manifest should be")
	}
	if m.Config.Size > maxDocument {
		return nil, fmt.Errorf("config of %d bytes: at most %d are read", m.Config.Size, maxDocument)
	}
	a := adder{s: s, src: src, tmp: tmp, p: p}
	if err := a.blob(ctx, *m.Config, nil); err != nil {
		return nil, fmt.Errorf("config %s: %w", short(m.Config.Digest), err)
	}
	config, err := os.ReadFile(s.blobPath(m.Config.Digest))
	if err != nil {
		return nil, err
	}
	doc, err := parseDocument(config)
	if err != nil {
		return nil, err
	}
	if len(doc.RootFS.DiffIDs) != len(m.Layers) {
		return nil, fmt.Errorf("the manifest has %d layers and the config %d", len(m.Layers), len(doc.RootFS.DiffIDs))
	}
	for i, l := range m.Layers {
		if err := a.layer(ctx, l, doc.RootFS.DiffIDs[i]); err != nil {
			return nil, fmt.Errorf("layer %s: %w", short(l.Digest), err)
		}
	}

	digest := digestOf(raw)
	if fi, err := os.Stat(s.blobPath(digest)); err != nil || fi.Size() != int64(len(raw)) {
		if err := replace(s.blobPath(digest), raw, tmp); err != nil {
			return nil, err
		}
		a.wrote = true
	}
	// What the index names is on the disk, whatever happens next.
	if err := s.settle(doc.RootFS.DiffIDs, a.wrote, tmp); err != nil {
		return nil, err
	}
	if err := s.edit(ctx, func(x *index) error { return x.add(digest, name, from, s) }); err != nil {
		return nil, err
	}
	a.tellNotes()
	return s.Resolve(digest)
}

// adder is one image on its way into the store.
type adder struct {
	s     *Store
	src   source
	tmp   string
	p     Progress
	n     int  // temporary files so far
	wrote bool // something that wasn't here
	notes []string
}

// short is how people see a digest.
func short(digest string) string { return digest[len("sha256:"):][:12] }

func (a *adder) temp() string {
	a.n++
	return filepath.Join(a.tmp, strconv.Itoa(a.n))
}

// blob brings one blob into the store: exactly its size, and the right digest, or nothing.
func (a *adder) blob(ctx context.Context, d descriptor, seen func(n int64)) error {
	if a.has(d) {
		return nil
	}
	r, err := a.src.blob(ctx, d)
	if err != nil {
		return err
	}
	defer r.Close()
	sum := sha256.New()
	w := io.Writer(sum)
	f, spooled := r.(*os.File)
	if spooled = spooled && filepath.Dir(filepath.Dir(f.Name())) == a.s.path("tmp"); !spooled {
		if f, err = os.OpenFile(a.temp(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return err
		}
		w = io.MultiWriter(f, sum)
	}
	name := f.Name()
	n, err := io.Copy(w, &counted{r: io.LimitReader(r, d.Size+1), ctx: ctx, seen: seen})
	if !spooled {
		err = errors.Join(err, f.Close())
	}
	switch got := digest(sum); {
	case err != nil:
	case n < d.Size:
		err = fmt.Errorf("it ends after %d of %d bytes", n, d.Size)
	case n > d.Size:
		err = fmt.Errorf("it is longer than the %d bytes that the manifest says", d.Size)
	case got != d.Digest:
		err = fmt.Errorf("its content has digest %s", got)
	default:
		a.wrote = true
		err = os.Rename(name, a.s.blobPath(d.Digest))
	}
	if err != nil {
		os.Remove(name)
	}
	return err
}

// has says whether a blob is here, and whole: one that a crash has spoilt is fetched again.
func (a *adder) has(d descriptor) bool {
	f, err := os.Open(a.s.blobPath(d.Digest))
	if err != nil {
		return false
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	return err == nil && n == d.Size && digest(sum) == d.Digest
}

// layer brings one layer into the store, unpacked, unless it is there already.
func (a *adder) layer(ctx context.Context, d descriptor, diffID string) error {
	id := short(d.Digest)
	unlock, err := a.s.lock(ctx, layerLockAt(diffID), exclusive)
	if err != nil {
		return err
	}
	defer unlock()
	final := a.s.layerPath(diffID)
	if _, _, err := a.s.layer(diffID); err == nil {
		a.p.Update(id, "Already exists", 0, 0)
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	a.p.Update(id, "Downloading", 0, d.Size)
	err = a.blob(ctx, d, func(n int64) { a.p.Update(id, "Downloading", n, d.Size) })
	if err != nil {
		return err
	}

	blob, err := os.Open(a.s.blobPath(d.Digest))
	if err != nil {
		return err
	}
	defer blob.Close()
	tmp := a.temp()
	if err := errors.Join(os.Mkdir(tmp, 0o700), os.Mkdir(filepath.Join(tmp, "fs"), 0o755)); err != nil {
		return err
	}
	// Chmod, since a umask may have taken something away.
	if err := os.Chmod(filepath.Join(tmp, "fs"), 0o755); err != nil {
		return err
	}
	in := &counted{r: blob, ctx: ctx, seen: func(n int64) { a.p.Update(id, "Extracting", n, d.Size) }}
	got, size, err := a.unpack(filepath.Join(tmp, "fs"), in)
	if err == nil && got != diffID {
		err = fmt.Errorf("unpacked, it has digest %s, and the config says %s", got, diffID)
	}
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, "diff"), fmt.Appendln(nil, diffID, size, bootID()), 0o600); err != nil {
		return err
	}
	if err := os.Rename(final, a.temp()); err != nil && !errors.Is(err, fs.ErrNotExist) { // one that a crash has spoilt
		return err
	}
	if err := os.Rename(tmp, final); err != nil {
		return err
	}
	a.p.Update(id, "Pull complete", d.Size, d.Size)
	return nil
}

// unpack writes a layer's files and returns the digest of the archive, uncompressed.
func (a *adder) unpack(dir string, in io.Reader) (diffID string, size int64, err error) {
	r, err := decompress(in)
	if err != nil {
		return "", 0, err
	}
	defer r.Close()
	sum := sha256.New()
	tee := io.TeeReader(r, sum)
	size, notes, err := unpack(dir, tee, os.Geteuid() != 0)
	if err != nil {
		return "", size, err
	}
	a.notes = append(a.notes, notes...)
	// What follows the end of the archive counts as well.
	if _, err := io.Copy(io.Discard, tee); err != nil {
		return "", size, err
	}
	return digest(sum), size, nil
}

// tellNotes says each thing once, whatever the number of layers.
func (a *adder) tellNotes() {
	said := map[string]bool{}
	for _, n := range a.notes {
		if !said[n] {
			a.p.Say(n)
		}
		said[n] = true
	}
}

func digest(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }

// counted tells how much was read, and stops when its context does.
type counted struct {
	r    io.Reader
	ctx  context.Context
	n    int64
	seen func(int64)
}

func (c *counted) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(b)
	c.n += int64(n)
	if c.seen != nil {
		c.seen(c.n)
	}
	return n, err
}

// Import makes an image of a root filesystem in a tar archive, compressed or not, under a
// name; "" is none. The image asks for nothing but a platform.
func (s *Store) Import(ctx context.Context, r io.Reader, name string, p Progress) (*Image, error) {
	return s.importAs(ctx, r, name, time.Now().UTC(), p)
}

func (s *Store) importAs(ctx context.Context, r io.Reader, name string, created time.Time, p Progress) (*Image, error) {
	if name != "" {
		ref, err := ParseReference(name)
		if err != nil {
			return nil, err
		}
		name = ref.String()
	}
	if err := s.prepare(); err != nil {
		return nil, err
	}
	tmp, done, err := s.temp()
	if err != nil {
		return nil, err
	}
	defer done()
	file := filepath.Join(tmp, "archive")
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	layer := descriptor{MediaType: typeLayer}
	sum := sha256.New()
	if layer.Size, err = io.Copy(io.MultiWriter(f, sum), &counted{r: r, ctx: ctx}); err != nil {
		return nil, err
	}
	layer.Digest = digest(sum)
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	diffID, err := contentDigest(f)
	if err != nil {
		return nil, err
	}
	if diffID != layer.Digest {
		layer.MediaType += "+gzip"
	}
	var doc document
	doc.Created, doc.OS, doc.Architecture = &created, "linux", runtime.GOARCH
	doc.RootFS.Type, doc.RootFS.DiffIDs = "layers", []string{diffID}
	config, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	src, err := assemble(config, []descriptor{layer}, map[string]string{layer.Digest: file})
	if err != nil {
		return nil, err
	}
	return s.add(ctx, src, name, "", p)
}

// contentDigest is the digest of what r holds, uncompressed.
func contentDigest(r io.Reader) (string, error) {
	d, err := decompress(r)
	if err != nil {
		return "", err
	}
	defer d.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, d); err != nil {
		return "", err
	}
	return digest(sum), nil
}

// FromDir is an image of a directory, used in place and never written to, or of a tar archive,
// which is imported without a name.
func (s *Store) FromDir(ctx context.Context, path string, p Progress) (*Image, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return nil, err
	}
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if fi.IsDir() {
		return &Image{Created: fi.ModTime(), Layers: []string{path}, config: Config{WorkingDir: "/"},
			Platform: Platform{OS: "linux", Architecture: runtime.GOARCH}}, nil
	}
	if !fi.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "image", Path: path, Err: errors.New("neither a directory nor a file")}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// Its own time, so that the same archive is the same image.
	return s.importAs(ctx, f, "", fi.ModTime().UTC(), p)
}

// files is a source whose manifest was written here, of content in files.
type files struct {
	raw    []byte
	memory map[string][]byte
	paths  map[string]string
}

// assemble makes an image of a config and layers, whose content is in the files by digest.
func assemble(config []byte, layers []descriptor, paths map[string]string) (*files, error) {
	c := descriptor{MediaType: typeConfig, Digest: digestOf(config), Size: int64(len(config))}
	raw, err := json.Marshal(manifest{SchemaVersion: 2, MediaType: typeManifest, Config: &c, Layers: layers})
	return &files{raw: raw, memory: map[string][]byte{c.Digest: config}, paths: paths}, err
}

func (f *files) manifest(context.Context) ([]byte, error) { return f.raw, nil }

func (f *files) blob(_ context.Context, d descriptor) (io.ReadCloser, error) {
	if b, ok := f.memory[d.Digest]; ok {
		return io.NopCloser(bytes.NewReader(b)), nil
	}
	return os.Open(f.paths[d.Digest])
}
