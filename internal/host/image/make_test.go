package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	gcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	scratchimage "github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	registries "porthole/internal/host/registry"
)

// Images are made, pushed and saved by go-containerregistry, so that another reading of the
// formats than ours is on the other side.

var day = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)

// item is an entry of a tar archive, in short.
type item struct {
	name  string
	kind  byte // TypeReg
	mode  int64
	uid   int
	body  string
	link  string
	xattr map[string]string
	dev   [2]int64
}

func (i item) header() *tar.Header {
	h := &tar.Header{Name: i.name, Typeflag: i.kind, Mode: i.mode, Uid: i.uid, Gid: i.uid, Linkname: i.link,
		Devmajor: i.dev[0], Devminor: i.dev[1], ModTime: day, Format: tar.FormatPAX}
	if h.Typeflag == 0 {
		h.Typeflag = tar.TypeReg
	}
	if h.Mode == 0 {
		h.Mode = 0o644
		if h.Typeflag == tar.TypeDir {
			h.Mode = 0o755
		}
	}
	if h.Typeflag == tar.TypeReg {
		h.Size = int64(len(i.body))
	}
	for k, v := range i.xattr {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[paxXattr+k] = v
	}
	return h
}

func archiveOf(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, i := range items {
		if err := w.WriteHeader(i.header()); err != nil {
			t.Fatalf("%s: %v", i.name, err)
		}
		io.WriteString(w, i.body)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write(b)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return z.Bytes()
}

// cap_net_raw=ep, as struct vfs_cap_data of revision 2 (include/uapi/linux/capability.h).
const netRaw = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// The layers of the test image: the second and third take back and replace parts of the first.
var layers = [][]item{{
	{name: "./", kind: tar.TypeDir, mode: 0o555},
	{name: "bin", kind: tar.TypeSymlink, link: "usr/bin"},
	{name: "usr/", kind: tar.TypeDir},
	{name: "usr/bin/", kind: tar.TypeDir, mode: 0o555},
	{name: "usr/bin/su", mode: 0o4755, body: "setuid"},
	{name: "usr/bin/ping", mode: 0o755, body: "capable", xattr: map[string]string{"security.capability": netRaw, "user.note": "kept"}},
	{name: "usr/bin/ping6", kind: tar.TypeLink, link: "usr/bin/ping", mode: 0o755, xattr: map[string]string{"security.capability": netRaw, "user.note": "kept"}},
	{name: "bin/through-link", body: "through"},
	{name: "etc/", kind: tar.TypeDir},
	{name: "etc/passwd", body: "root:x:0:0::/:/bin/sh\n"},
	{name: "etc/shadow", mode: 0o640, uid: 42, body: "secret"},
	{name: "var/", kind: tar.TypeDir},
	{name: "var/cache/", kind: tar.TypeDir, mode: 0o2775, uid: 7},
	{name: "var/cache/old", body: "old"},
	{name: "var/cache/older/", kind: tar.TypeDir},
	{name: "var/cache/older/deep", body: "deep"},
	{name: "var/gone", body: "gone"},
	{name: "var/gone-dir/", kind: tar.TypeDir},
	{name: "var/gone-dir/f", body: "f"},
	{name: "var/becomes-dir", body: "file"},
	{name: "var/becomes-file/", kind: tar.TypeDir},
	{name: "var/becomes-file/f", body: "f"},
	{name: "var/anew/", kind: tar.TypeDir},
	{name: "var/anew/before", body: "before"},
	{name: "run/", kind: tar.TypeDir},
	{name: "run/fifo", kind: tar.TypeFifo, mode: 0o600},
	{name: "dev/", kind: tar.TypeDir},
	{name: "dev/null", kind: tar.TypeChar, mode: 0o666, dev: [2]int64{1, 3}},
	{name: "tmp/", kind: tar.TypeDir, mode: 0o1777},
	{name: "closed/", kind: tar.TypeDir, mode: 0o500, uid: 3},
	{name: "closed/inner/", kind: tar.TypeDir, mode: 0o010},
	{name: "closed/inner/f", body: "inner"},
	{name: strings.Repeat("long/", 30), kind: tar.TypeDir},
	{name: strings.Repeat("long/", 30) + "ümläut \n", body: "odd"},
}, {
	{name: "var/", kind: tar.TypeDir},
	{name: "var/.wh.gone"},
	{name: "var/.wh.gone-dir"},
	{name: "var/cache/", kind: tar.TypeDir, mode: 0o755},
	{name: "var/cache/.wh..wh..opq"},
	{name: "var/cache/new", body: "new"},
	{name: "var/becomes-dir/", kind: tar.TypeDir},
	{name: "var/becomes-dir/f", body: "f"},
	{name: "var/becomes-file", body: "file"},
	{name: "var/.wh.anew"},
	{name: "var/anew/", kind: tar.TypeDir},
	{name: "var/anew/after", body: "after"},
}, {
	{name: "etc/passwd", body: "root:x:0:0:changed:/:/bin/sh\n"},
	{name: "var/again/", kind: tar.TypeDir},
	{name: "var/again/f", body: "f"},
	{name: "var/gone", body: "back"},
}}

// testImage is an image of those layers.
func testImage(t testing.TB, archives ...[]byte) v1.Image {
	t.Helper()
	if archives == nil {
		for _, l := range layers {
			archives = append(archives, archiveOf(t, l...))
		}
	}
	image := v1.Image(scratchimage.Image)
	for _, b := range archives {
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil })
		if err != nil {
			t.Fatal(err)
		}
		if image, err = mutate.AppendLayers(image, l); err != nil {
			t.Fatal(err)
		}
	}
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Created = "linux", "amd64", v1.Time{Time: day}
	file.Config = v1.Config{
		Env: []string{"PATH=/bin", "A=b"}, Entrypoint: []string{"/entry"}, Cmd: []string{"arg"}, User: "42:7",
		WorkingDir: "/var", StopSignal: "SIGINT", Labels: map[string]string{"k": "v"},
		Volumes:      map[string]struct{}{"/var/cache": {}, "/data": {}},
		ExposedPorts: map[string]struct{}{"80/tcp": {}},
		Healthcheck:  &v1.HealthConfig{Test: []string{"CMD", "true"}, Interval: time.Minute, Retries: 3},
	}
	if image, err = mutate.ConfigFile(image, file); err != nil {
		t.Fatal(err)
	}
	return image
}

// serve starts a registry on loopback, with a handler before it.
func serve(t testing.TB, before func(http.Handler) http.Handler) (host string) {
	t.Helper()
	h := gcr.New(gcr.Logger(log.New(io.Discard, "", 0)))
	if before != nil {
		h = before(h)
	}
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func push(t testing.TB, ref string, what remote.Taggable) {
	t.Helper()
	r, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	switch what := what.(type) {
	case v1.Image:
		err = remote.Write(r, what, remote.WithTransport(transport))
	case v1.ImageIndex:
		err = remote.WriteIndex(r, what, remote.WithTransport(transport))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func newStore(t testing.TB) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	s.Registry = openRegistry
	t.Cleanup(func() { removeAll(s.root) })
	return s
}

var anyPlatform = Platform{OS: "linux", Architecture: "amd64"}

// bare checks that a store holds nothing at all.
func bare(t testing.TB, s *Store) {
	t.Helper()
	for _, dir := range []string{"blobs/sha256", "layers", "tmp"} {
		entries, err := os.ReadDir(s.path(dir))
		if err != nil || len(entries) > 0 {
			t.Errorf("%s: %v, %v", dir, entries, err)
		}
	}
	if all, err := s.List(); err != nil || len(all) > 0 {
		t.Errorf("images: %v, %v", all, err)
	}
}

// noted records what is said.
type noted struct {
	lines []string
	acts  map[string]bool
}

func (n *noted) Update(_, what string, _, _ int64) {
	if n.acts == nil {
		n.acts = map[string]bool{}
	}
	n.acts[what] = true
}
func (n *noted) Say(line string) { n.lines = append(n.lines, line) }

var bg = context.Background()

func openRegistry(domain, path string) (Repository, error) { return registries.Open(domain, path) }
