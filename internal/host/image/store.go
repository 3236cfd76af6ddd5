package image

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Store keeps images in a directory:
//
//	oci-layout, index.json, blobs/sha256/…   an OCI image layout, so that other tools can read it
//	layers/HALF/fs                           each layer unpacked, once for all images that have it
//	layers/HALF/diff                         its diff ID, of whose digits HALF are the first 32, and
//	                                         the bytes of its files; half, since what mount(2) takes
//	                                         of an overlay's directories is 4096 characters in all
//	tmp/ID                                   what is being written; renamed when it is whole
//	lock                                     ranges of it are locked, see layerLock
//
// Any number of processes may use it at a time. One that dies leaves only a directory in tmp,
// which the next one that writes removes.
type Store struct {
	root string

	// Registry is where Pull fetches from. Without one it fails with ErrNoRegistry.
	Registry Registry
}

// DefaultRoot is where images are kept: /var/lib/porthole for root, else $XDG_DATA_HOME/porthole
// or ~/.local/share/porthole.
func DefaultRoot() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/porthole", nil
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "porthole"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".local/share/porthole"), nil
}

// Open returns the store in a directory, which need not exist yet.
func Open(root string) (*Store, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	return &Store{root: root}, nil
}

// Annotations of a descriptor in index.json.
const (
	refName = "org.opencontainers.image.ref.name" // the full name
	origin  = "porthole.origin"                   // "docker.io/library/ubuntu@sha256:…", as the registry knows it
)

type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

func (s *Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.root}, parts...)...)
}

// blobPath and layerPath are where the content of a digest goes, which isDigest has passed.
func (s *Store) blobPath(digest string) string {
	return s.path("blobs/sha256", digest[len("sha256:"):])
}

func (s *Store) layerPath(diffID string) string {
	return s.path("layers", diffID[len("sha256:"):][:32])
}

// layer says that a layer is here and whole, and the bytes of its files. It fails with
// fs.ErrNotExist. While its image comes in, what it wrote may not be on the disk yet: its mark
// names the boot in which that is as good, until settle renews it.
func (s *Store) layer(diffID string) (size int64, settled bool, err error) {
	text, err := os.ReadFile(filepath.Join(s.layerPath(diffID), "diff"))
	if err != nil {
		return 0, false, err
	}
	var is, boot string
	n, _ := fmt.Sscan(string(text), &is, &size, &boot)
	switch {
	case n < 2, n == 3 && boot != bootID():
		return 0, false, fs.ErrNotExist
	case is != diffID:
		return 0, false, fmt.Errorf("image store: %s holds layer %s, not %s", s.layerPath(diffID), is, diffID)
	}
	return size, n == 2, nil
}

// bootID is this boot's.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(id))
}

// settle brings all that was written to the disk, if anything was, and says so in these layers' marks.
func (s *Store) settle(diffIDs []string, wrote bool, tmp string) error {
	marks := map[string][]byte{}
	for _, id := range diffIDs {
		size, settled, err := s.layer(id)
		if err != nil {
			return err
		}
		if !settled {
			marks[id] = fmt.Appendln(nil, id, size)
		}
	}
	if !wrote && len(marks) == 0 {
		return nil
	}
	dir, err := os.Open(s.root)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return err
	}
	for id, mark := range marks {
		if err := replace(filepath.Join(s.layerPath(id), "diff"), mark, tmp); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) index() (x index, err error) {
	raw, err := os.ReadFile(s.path("index.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return index{SchemaVersion: 2, MediaType: typeIndex}, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &x)
	}
	if err != nil {
		return x, fmt.Errorf("image store: index.json: %w", err)
	}
	for _, d := range x.Manifests {
		if !isDigest(d.Digest) {
			return x, fmt.Errorf("image store: index.json: %q is no sha256 digest", d.Digest)
		}
	}
	return x, nil
}

// edit changes index.json, with no one else doing so meanwhile.
func (s *Store) edit(ctx context.Context, change func(*index) error) error {
	unlock, err := s.lock(ctx, indexLock, exclusive)
	if err != nil {
		return err
	}
	defer unlock()
	x, err := s.index()
	if err != nil {
		return err
	}
	before, err := json.Marshal(x)
	if err != nil {
		return err
	}
	if err := change(&x); err != nil {
		return err
	}
	raw, err := json.Marshal(x)
	if err != nil || bytes.Equal(raw, before) {
		return err
	}
	tmp, done, err := s.temp()
	if err != nil {
		return err
	}
	defer done()
	return replace(s.path("index.json"), raw, tmp)
}

// replace writes a file so that readers see the old one or the new one. It goes through a
// temporary directory on the same filesystem.
func replace(path string, data []byte, tmp string) error {
	f, err := os.CreateTemp(tmp, "new")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	// The name is given to what is on the disk: for the index, which is all that nothing can mend.
	if filepath.Base(path) == "index.json" {
		err = errors.Join(err, f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// prepare makes the store's directories and sweeps.
func (s *Store) prepare() error {
	if err := os.MkdirAll(s.root, 0o700); err != nil {
		return err
	}
	for _, dir := range []string{"blobs/sha256", "layers", "tmp"} {
		if err := os.MkdirAll(s.path(dir), 0o700); err != nil {
			return err
		}
	}
	if _, err := os.Stat(s.path("oci-layout")); errors.Is(err, fs.ErrNotExist) {
		if err := os.WriteFile(s.path("oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o600); err != nil {
			return err
		}
	}
	return s.Sweep()
}

// Sweep removes what processes that died have left half-written.
func (s *Store) Sweep() error {
	entries, err := os.ReadDir(s.path("tmp"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		id, perr := strconv.ParseInt(e.Name(), 16, 64)
		if perr != nil {
			continue
		}
		unlock, lerr := s.tryLock(tempLock+id, exclusive)
		if lerr != nil {
			continue // it is being written
		}
		err = errors.Join(err, removeAll(s.path("tmp", e.Name())))
		unlock()
	}
	return err
}

// temp makes a directory for one operation. done removes it with all that was left in it.
func (s *Store) temp() (dir string, done func(), err error) {
	var b [8]byte
	rand.Read(b[:])
	id := int64(binary.BigEndian.Uint64(b[:]) >> 8)
	unlock, err := s.tryLock(tempLock+id, exclusive)
	if err != nil {
		return "", nil, err
	}
	dir = s.path("tmp", strconv.FormatInt(id, 16))
	if err := os.Mkdir(dir, 0o700); err != nil {
		unlock()
		return "", nil, err
	}
	return dir, func() { removeAll(dir); unlock() }, nil
}

// removeAll is os.RemoveAll, undeterred by directories without write permission.
func removeAll(path string) error {
	err := removeAt(unix.AT_FDCWD, path)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "remove", Path: path, Err: err}
	}
	return nil
}

// List returns all images, the newest first.
func (s *Store) List() ([]*Image, error) {
	x, err := s.index()
	if err != nil {
		return nil, err
	}
	byDigest := map[string]*Image{}
	var all []*Image
	for _, d := range x.Manifests {
		i := byDigest[d.Digest]
		if i == nil {
			if i, err = s.image(d.Digest); err != nil {
				return nil, err
			}
			// Two manifests of one config (an archive's and a registry's, say, that compress
			// differently) are one image.
			if at := slices.IndexFunc(all, func(o *Image) bool { return o.ID == i.ID }); at >= 0 {
				i = all[at]
			} else {
				all = append(all, i)
			}
			i.manifests = append(i.manifests, d.Digest)
			byDigest[d.Digest] = i
		}
		i.mark(d)
	}
	slices.SortStableFunc(all, func(a, b *Image) int { return b.Created.Compare(a.Created) })
	return all, nil
}

// mark adds what a descriptor of the index says.
func (i *Image) mark(d descriptor) {
	if name := d.Annotations[refName]; name != "" {
		i.Names = append(i.Names, name)
	}
	if o := d.Annotations[origin]; o != "" && !slices.Contains(i.Digests, o) {
		i.Digests = append(i.Digests, o)
	}
}

// image reads one image's manifest and config.
func (s *Store) image(digest string) (*Image, error) {
	raw, err := os.ReadFile(s.blobPath(digest))
	if err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	m, err := parseManifest(raw)
	if err != nil {
		return nil, err
	}
	if m.Config == nil {
		return nil, fmt.Errorf("image store: %s is no image manifest", digest)
	}
	if raw, err = os.ReadFile(s.blobPath(m.Config.Digest)); err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	d, err := parseDocument(raw)
	if err != nil {
		return nil, err
	}
	i := &Image{ID: m.Config.Digest, Manifest: digest, Platform: d.Platform, config: d.config()}
	if d.Created != nil {
		i.Created = *d.Created
	}
	seen := map[string]bool{}
	for _, id := range d.RootFS.DiffIDs {
		i.Layers = append(i.Layers, filepath.Join(s.layerPath(id), "fs"))
		if n, _, err := s.layer(id); err == nil && !seen[id] {
			i.Size += n
		}
		seen[id] = true
	}
	return i, nil
}

// Resolve finds an image by its ID, its name, "name@sha256:…" or the beginning of its ID, in this
// order, as Docker does. It fails with ErrNotFound.
func (s *Store) Resolve(ref string) (*Image, error) {
	all, err := s.List()
	if err != nil {
		return nil, err
	}
	return find(all, ref)
}

func find(all []*Image, ref string) (*Image, error) {
	digits := strings.TrimPrefix(ref, "sha256:")
	for _, i := range all {
		if i.ID == "sha256:"+digits || slices.Contains(i.manifests, "sha256:"+digits) {
			return i, nil
		}
	}
	r, badName := ParseReference(ref)
	for _, i := range all {
		if badName != nil {
			break
		}
		named := Reference{Domain: r.Domain, Path: r.Path, Digest: r.Digest}
		switch {
		case r.Digest != "" && slices.Contains(i.Digests, named.String()):
			return i, nil
		case r.Digest == "" && slices.Contains(i.Names, r.String()):
			return i, nil
		}
	}
	var found *Image
	if strings.Trim(digits, "0123456789abcdef") == "" && digits != "" {
		for _, i := range all {
			if strings.HasPrefix(i.ID, "sha256:"+digits) {
				if found != nil && found.ID != i.ID {
					return nil, fmt.Errorf("%s: more than one image has an ID that begins so", ref)
				}
				found = cmp.Or(found, i)
			}
		}
	}
	if found != nil {
		return found, nil
	}
	if badName != nil && len(digits) != 64 {
		return nil, badName
	}
	return nil, fmt.Errorf("%s: %w", ref, ErrNotFound)
}

// Tag gives an image one more name, which it takes away from the image that has it.
func (s *Store) Tag(ctx context.Context, ref, name string) error {
	if err := s.prepare(); err != nil {
		return err
	}
	i, err := s.Resolve(ref)
	if err != nil {
		return err
	}
	r, err := ParseReference(name)
	if err != nil {
		return err
	}
	if r.Digest != "" {
		return fmt.Errorf("%s: a tag can't have a digest", name)
	}
	return s.edit(ctx, func(x *index) error { return x.add(i.Manifest, r.String(), "", s) })
}

// add puts a manifest into the index under a name; "" is none. The image that had the name stays without.
func (x *index) add(digest, name, from string, s *Store) error {
	fi, err := os.Stat(s.blobPath(digest))
	if err != nil {
		return err
	}
	d := descriptor{MediaType: typeManifest, Digest: digest, Size: fi.Size(), Annotations: map[string]string{}}
	if name != "" {
		d.Annotations[refName] = name
	}
	if from != "" {
		d.Annotations[origin] = from
	}
	x.Manifests = slices.DeleteFunc(x.Manifests, func(o descriptor) bool {
		return o.Digest == digest && o.Annotations[refName] == name && (o.Annotations[origin] == from || from == "" || o.Annotations[origin] == "")
	})
	if name != "" {
		for i, other := range x.Manifests {
			if other.Annotations[refName] == name {
				delete(x.Manifests[i].Annotations, refName)
			}
		}
	}
	x.Manifests = append(x.Manifests, d)
	x.tidy()
	return nil
}

// tidy drops nameless entries of images that have another.
func (x *index) tidy() {
	named := map[string]bool{}
	for _, d := range x.Manifests {
		named[d.Digest] = named[d.Digest] || d.Annotations[refName] != ""
	}
	x.Manifests = slices.DeleteFunc(x.Manifests, func(d descriptor) bool {
		return named[d.Digest] && d.Annotations[refName] == "" && d.Annotations[origin] == ""
	})
}

// Remove takes a name away from an image, and removes the image with its last one. A ref that
// is an ID removes all its names, if it has one only or force is set. An image that a container uses is kept:
// users says, by ID, which container that is. It returns what happened, in Docker's words.
func (s *Store) Remove(ctx context.Context, ref string, force bool, users map[string]string) (done []string, err error) {
	if err := s.prepare(); err != nil {
		return nil, err
	}
	err = s.edit(ctx, func(x *index) error {
		all, err := s.List()
		if err != nil {
			return err
		}
		i, err := find(all, ref)
		if err != nil {
			return err
		}
		names := i.Names
		if r, err := ParseReference(ref); err == nil && slices.Contains(i.Names, r.String()) {
			names = []string{r.String()}
		} else if len(names) > 1 && !force {
			return fmt.Errorf("%s has several names (%s): name one, or use --force", ref, strings.Join(names, ", "))
		}
		last := len(names) == len(i.Names)
		if user := users[i.ID]; last && user != "" {
			return fmt.Errorf("%s is used by container %s", ref, user)
		}
		for _, n := range names {
			done = append(done, "Untagged: "+Familiar(n))
		}
		x.Manifests = slices.DeleteFunc(x.Manifests, func(d descriptor) bool {
			return slices.Contains(i.manifests, d.Digest) && (last || slices.Contains(names, d.Annotations[refName]))
		})
		if last {
			done = append(done, "Deleted: "+i.ID)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return done, s.collect(ctx)
}

// collect removes blobs and layers that no image has. While some process adds an image it does
// nothing: what it leaves, the next one takes.
func (s *Store) collect(ctx context.Context) error {
	unlock, err := s.tryLock(addLock, exclusive)
	if err != nil {
		return nil
	}
	defer unlock()
	unlockIndex, err := s.lock(ctx, indexLock, exclusive)
	if err != nil {
		return err
	}
	defer unlockIndex()
	x, err := s.index()
	if err != nil {
		return err
	}
	keep := map[string]bool{}
	for _, d := range x.Manifests {
		raw, err := os.ReadFile(s.blobPath(d.Digest))
		if err != nil {
			return err
		}
		m, err := parseManifest(raw)
		if err != nil {
			return err
		}
		keep[s.blobPath(d.Digest)] = true
		keep[s.blobPath(m.Config.Digest)] = true
		for _, l := range m.Layers {
			keep[s.blobPath(l.Digest)] = true
		}
		i, err := s.image(d.Digest)
		if err != nil {
			return err
		}
		for _, l := range i.Layers {
			keep[filepath.Dir(l)] = true
		}
	}
	for _, dir := range []string{"blobs/sha256", "layers"} {
		entries, err := os.ReadDir(s.path(dir))
		if err != nil {
			return err
		}
		for _, e := range entries {
			path := s.path(dir, e.Name())
			if keep[path] {
				continue
			}
			// First out of the way, so that a half removed layer is never found.
			tmp, done, err := s.temp()
			if err != nil {
				return err
			}
			err = os.Rename(path, filepath.Join(tmp, "gone"))
			done()
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// digestOf is the digest of bytes.
func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Locks are ranges of one byte in the store's lock file (open file description locks, so that
// they are a process's own even between its goroutines, and end with it).
const (
	indexLock = 0       // index.json is being changed
	addLock   = 1       // shared: an image is being added; exclusive: unused content is being removed
	layerLock = 1 << 57 // and a digest's first seven bytes: the layer is being made
	tempLock  = 1 << 58 // and a number: tmp's directory of that name is in use

	shared    = unix.F_RDLCK
	exclusive = unix.F_WRLCK
)

// errLocked says that someone else has the lock.
var errLocked = errors.New("locked")

func (s *Store) tryLock(at int64, kind int16) (unlock func(), err error) {
	f, err := os.OpenFile(s.path("lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Start: at, Len: 1})
	if err != nil {
		f.Close()
		if err == unix.EAGAIN || err == unix.EACCES {
			err = errLocked
		}
		return nil, err
	}
	return func() { f.Close() }, nil
}

// lock waits for a lock, as long as ctx lasts.
func (s *Store) lock(ctx context.Context, at int64, kind int16) (unlock func(), err error) {
	for {
		unlock, err = s.tryLock(at, kind)
		if err != errLocked {
			return unlock, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// layerLockAt is where a layer's lock is.
func layerLockAt(diffID string) int64 {
	n, _ := strconv.ParseInt(diffID[len("sha256:"):][:14], 16, 64)
	return layerLock + n
}
