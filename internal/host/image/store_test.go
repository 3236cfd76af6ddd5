package image

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	scratchimage "github.com/google/go-containerregistry/pkg/v1/empty"
	ocilayout "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

func TestPull(t *testing.T) {
	host := serve(t, nil)
	push(t, host+"/team/app:1", testImage(t))
	s := newStore(t)
	var p noted
	i, err := s.Pull(bg, host+"/team/app:1", anyPlatform, &p)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Env: []string{"PATH=/bin", "A=b"}, Entrypoint: []string{"/entry"}, Cmd: []string{"arg"}, User: "42:7",
		WorkingDir: "/var", StopSignal: "SIGINT", Labels: map[string]string{"k": "v"},
		Volumes: []string{"/data", "/var/cache"}, ExposedPorts: []string{"80/tcp"},
		Health: &Health{Test: []string{"CMD", "true"}, Interval: time.Minute, Retries: 3},
	}
	if d := cmp.Diff(want, i.Config()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{host + "/team/app:1"}, i.Names); d != "" {
		t.Error(d)
	}
	id, _ := testImage(t).ConfigName()
	manifest, _ := testImage(t).Digest()
	if i.ID != id.String() || i.Manifest != manifest.String() || !i.Created.Equal(day) || i.Platform.Architecture != "amd64" {
		t.Errorf("%+v", i)
	}
	if len(i.Layers) != 3 || i.Size == 0 || !p.acts["Pull complete"] {
		t.Errorf("%d layers, %d bytes, %v", len(i.Layers), i.Size, p.acts)
	}
	for _, ref := range []string{host + "/team/app:1", i.ID, i.ID[:15], i.ID[7:19], host + "/team/app@" + i.Manifest, i.Manifest} {
		if got, err := s.Resolve(ref); err != nil || got.ID != i.ID {
			t.Errorf("%s: %v", ref, err)
		}
	}
	for _, ref := range []string{host + "/team/app", host + "/team/app:2", "nothing", "0000"} {
		if _, err := s.Resolve(ref); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", ref, err)
		}
	}

	p = noted{}
	if _, err := s.Pull(bg, host+"/team/app@"+i.Manifest, anyPlatform, &p); err != nil {
		t.Fatal(err)
	}
	if p.acts["Downloading"] || !p.acts["Already exists"] {
		t.Errorf("pulled again: %v", p.acts)
	}
	if all, err := s.List(); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
	// The store is a layout that others read.
	other, err := ocilayout.FromPath(s.root)
	if err != nil {
		t.Fatal(err)
	}
	got, err := other.Image(manifest)
	if err != nil {
		t.Fatal(err)
	}
	ls, err := got.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range ls {
		r, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, r)
		r.Close()
	}
}

func index3(t *testing.T) v1.ImageIndex {
	amd, arm := testImage(t), testImage(t, archiveOf(t, item{name: "arm"}))
	x := v1.ImageIndex(scratchimage.Index)
	for _, a := range []struct {
		arch, variant string
		image         v1.Image
	}{{"amd64", "", amd}, {"arm", "v6", testImage(t, archiveOf(t, item{name: "v6"}))}, {"arm", "v7", arm}, {"unknown", "", amd}} {
		os := "linux"
		if a.arch == "unknown" {
			os = "unknown"
		}
		x = mutate.AppendManifests(x, mutate.IndexAddendum{Add: a.image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: os, Architecture: a.arch, Variant: a.variant}}})
	}
	return x
}

func TestPullIndex(t *testing.T) {
	host := serve(t, nil)
	push(t, host+"/multi", index3(t))
	top, _ := index3(t).Digest()
	s := newStore(t)
	for platform, file := range map[string]string{"linux/amd64": "usr", "linux/arm": "arm", "linux/arm/v6": "v6", "arm/v7": "arm"} {
		want, err := ParsePlatform(platform)
		if err != nil {
			t.Fatal(err)
		}
		i, err := s.Pull(bg, host+"/multi", want, Quiet{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(filepath.Join(i.Layers[0], file)); err != nil {
			t.Errorf("%s: %v", platform, err)
		}
		if d := cmp.Diff([]string{host + "/multi@" + top.String()}, i.Digests); d != "" {
			t.Error(d)
		}
	}
	_, err := s.Pull(bg, host+"/multi", Platform{OS: "linux", Architecture: "s390x"}, Quiet{})
	if err == nil || !strings.Contains(err.Error(), "no image for linux/s390x; there is one for linux/amd64, linux/arm/v6, linux/arm/v7") {
		t.Error(err)
	}
}

// tamper changes what a registry answers for blobs.
func tamper(change func(w http.ResponseWriter, body []byte)) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/sha256:") {
				h.ServeHTTP(w, r)
				return
			}
			rec := &recorder{header: http.Header{}}
			h.ServeHTTP(rec, r)
			change(w, rec.body)
		})
	}
}

type recorder struct {
	header http.Header
	body   []byte
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) WriteHeader(int)     {}
func (r *recorder) Write(b []byte) (int, error) {
	r.body = append(r.body, b...)
	return len(b), nil
}

func TestPullDamaged(t *testing.T) {
	layer := func(b []byte) bool { return len(b) > 2 && b[0] == 0x1f }
	for name, tt := range map[string]struct {
		change func(http.ResponseWriter, []byte)
		want   string
	}{
		"one bit of a layer": {func(w http.ResponseWriter, b []byte) {
			if layer(b) {
				b[len(b)/2] ^= 1
			}
			w.Write(b)
		}, "error verifying sha256 checksum"},
		"one bit of the config": {func(w http.ResponseWriter, b []byte) {
			if !layer(b) {
				b[len(b)/2] ^= 1
			}
			w.Write(b)
		}, "error verifying sha256 checksum"},
		"half a layer": {func(w http.ResponseWriter, b []byte) {
			if layer(b) {
				b = b[:len(b)/2]
			}
			w.Write(b)
		}, "error verifying sha256 checksum"},
		"connection lost": {func(w http.ResponseWriter, b []byte) {
			if layer(b) {
				w.Header().Set("Content-Length", "9999")
			}
			w.Write(b)
		}, "unexpected EOF"},
		"a longer layer": {func(w http.ResponseWriter, b []byte) {
			if layer(b) {
				b = append(b, 0)
			}
			w.Write(b)
		}, "error verifying sha256 checksum"},
		"none": {func(w http.ResponseWriter, b []byte) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}, "the registry says 503 Service Unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			host := serve(t, tamper(tt.change))
			push(t, host+"/app", testImage(t))
			s := newStore(t)
			_, err := s.Pull(bg, host+"/app", anyPlatform, Quiet{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("%v; want %s", err, tt.want)
			}
			t.Log(err)
			if err := s.collect(bg); err != nil { // the config was good, and stays until then
				t.Fatal(err)
			}
			bare(t, s)
		})
	}
}

func TestPullWrongDiffID(t *testing.T) {
	image := testImage(t)
	file, _ := image.ConfigFile()
	file = file.DeepCopy()
	file.RootFS.DiffIDs[1].Hex = strings.Repeat("0", 64)
	image, err := mutate.ConfigFile(image, file)
	if err != nil {
		t.Fatal(err)
	}
	host := serve(t, nil)
	push(t, host+"/app", image)
	s := newStore(t)
	if _, err := s.Pull(bg, host+"/app", anyPlatform, Quiet{}); err == nil || !strings.Contains(err.Error(), "and the config says sha256:0000") {
		t.Fatal(err)
	}
	if err := s.collect(bg); err != nil {
		t.Fatal(err)
	}
	bare(t, s)
}

func TestPullMissing(t *testing.T) {
	host := serve(t, nil)
	s := newStore(t)
	if _, err := s.Pull(bg, host+"/none:1", anyPlatform, Quiet{}); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// Two processes that pull the same image get it once.
func TestPullTogether(t *testing.T) {
	var fetched atomic.Int32
	host := serve(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
				fetched.Add(1)
				time.Sleep(20 * time.Millisecond)
			}
			h.ServeHTTP(w, r)
		})
	})
	push(t, host+"/app", testImage(t))
	s := newStore(t)
	errs := make(chan error)
	for range 3 {
		go func() {
			out, err := again(t, 0, "pull", s.root, host+"/app")
			if err != nil {
				err = errors.New(out)
			}
			errs <- err
		}()
	}
	for range 3 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	// The config is small, and may be fetched by each.
	if n := fetched.Load(); n > 3+3 {
		t.Errorf("%d blobs fetched", n)
	}
	if all, err := s.List(); err != nil || len(all) != 1 || !all[0].whole() {
		t.Errorf("%v, %v", all, err)
	}
	if left, _ := os.ReadDir(s.path("tmp")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A pull that is killed leaves what the next one sweeps, and nothing else.
func TestPullKilled(t *testing.T) {
	stuck, release := make(chan bool, 1), make(chan bool)
	host := serve(t, tamper(func(w http.ResponseWriter, b []byte) {
		if len(b) > 2 && b[0] != 0x1f {
			w.Write(b)
			return
		}
		w.Write(b[:len(b)/2])
		w.(http.Flusher).Flush()
		select {
		case stuck <- true:
		default:
		}
		<-release
	}))
	push(t, host+"/app", testImage(t))
	s := newStore(t)
	cmd := command(t, 0, "pull", s.root, host+"/app")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-stuck
	if err := s.Sweep(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(s.path("tmp")); len(left) != 1 {
		t.Errorf("what is being written: %v", left)
	}
	cmd.Process.Kill()
	cmd.Wait()
	close(release)
	if left, _ := os.ReadDir(s.path("tmp")); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	if err := s.Sweep(); err != nil {
		t.Error(err)
	}
	if err := s.collect(bg); err != nil {
		t.Error(err)
	}
	bare(t, s)
}

func TestRemove(t *testing.T) {
	host := serve(t, nil)
	base, top := archiveOf(t, item{name: "base", body: "b"}), archiveOf(t, item{name: "closed/", kind: '5', mode: 0o500}, item{name: "closed/f", body: "t"})
	push(t, host+"/one", testImage(t, base))
	push(t, host+"/two", testImage(t, base, top))
	s := newStore(t)
	one, err := s.Pull(bg, host+"/one", anyPlatform, Quiet{})
	if err != nil {
		t.Fatal(err)
	}
	two, err := s.Pull(bg, host+"/two", anyPlatform, Quiet{})
	if err != nil {
		t.Fatal(err)
	}
	if one.Layers[0] != two.Layers[0] {
		t.Error("a layer of both was unpacked twice")
	}
	if err := s.Tag(bg, two.ID, "second:name"); err != nil {
		t.Fatal(err)
	}
	remove := func(ref string, force bool, users map[string]string) string {
		done, err := s.Remove(bg, ref, force, users)
		if err != nil {
			return err.Error()
		}
		return strings.Join(done, "; ")
	}
	expect := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	expect(remove(host+"/one", false, map[string]string{one.ID: "web"}), host+"/one is used by container web")
	expect(remove(two.ID, false, nil), two.ID+" has several names ("+host+"/two:latest, docker.io/library/second:name): name one, or use --force")
	expect(remove("second:name", false, map[string]string{two.ID: "web"}), "Untagged: second:name")
	expect(remove("second:name", false, nil), "second:name: no such image")
	expect(remove(two.ID[:15], false, nil), "Untagged: "+host+"/two:latest; Deleted: "+two.ID)
	if !one.whole() || two.whole() {
		t.Error("the layer of both should stay, the other go")
	}
	expect(remove(host+"/one:latest", false, nil), "Untagged: "+host+"/one:latest; Deleted: "+one.ID)
	bare(t, s)
}

// A tag that moves leaves the old image nameless, and not gone.
func TestTagMoves(t *testing.T) {
	host := serve(t, nil)
	s := newStore(t)
	var got []*Image
	for _, b := range []string{"old", "new"} {
		push(t, host+"/app", testImage(t, archiveOf(t, item{name: b})))
		i, err := s.Pull(bg, host+"/app", anyPlatform, Quiet{})
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, i)
	}
	now, err := s.Resolve(host + "/app")
	if err != nil || now.ID != got[1].ID {
		t.Errorf("%v, %v", now, err)
	}
	old, err := s.Resolve(got[0].ID)
	if err != nil || len(old.Names) != 0 || !old.whole() {
		t.Errorf("%v, %v", old, err)
	}
}

// What a crash has spoilt, before it was all on the disk, is made again.
func TestAfterCrash(t *testing.T) {
	host := serve(t, nil)
	push(t, host+"/app", testImage(t))
	s := newStore(t)
	i, err := s.Pull(bg, host+"/app", anyPlatform, Quiet{})
	if err != nil {
		t.Fatal(err)
	}
	mark := filepath.Join(filepath.Dir(i.Layers[0]), "diff")
	good, err := os.ReadFile(mark)
	if err != nil || strings.Count(string(good), " ") != 1 {
		t.Fatalf("%q, %v", good, err)
	}
	blobs, err := os.ReadDir(s.path("blobs/sha256"))
	if err != nil {
		t.Fatal(err)
	}
	for _, spoilt := range []string{"", strings.TrimSpace(string(good)) + " another-boot\n"} {
		os.WriteFile(mark, []byte(spoilt), 0o600)
		removeAll(filepath.Join(i.Layers[0], "etc"))
		for _, b := range blobs {
			if b.Name() != i.Manifest[7:] && b.Name() != i.ID[7:] {
				os.Truncate(s.path("blobs/sha256", b.Name()), 0)
			}
		}
		if _, err := s.Pull(bg, host+"/app", anyPlatform, Quiet{}); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(mark); err != nil || string(got) != string(good) {
			t.Errorf("%q, %v", got, err)
		}
		if _, err := os.Stat(filepath.Join(i.Layers[0], "etc/shadow")); err != nil {
			t.Error(err)
		}
	}
}
