package image

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	scratchimage "github.com/google/go-containerregistry/pkg/v1/empty"
	ocilayout "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// twoSaved is an archive as docker save writes it: two images, one with two names.
func twoSaved(t *testing.T) []byte {
	t.Helper()
	other := testImage(t, archiveOf(t, layers[0]...), archiveOf(t, item{name: "other"}))
	images := map[name.Tag]v1.Image{}
	for ref, i := range map[string]v1.Image{"app:1": testImage(t), "localhost:5000/x/app:2": testImage(t), "other": other} {
		tag, err := name.NewTag(ref)
		if err != nil {
			t.Fatal(err)
		}
		images[tag] = i
	}
	var b bytes.Buffer
	if err := tarball.MultiWrite(images, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestLoad(t *testing.T) {
	for name, archive := range map[string][]byte{"plain": twoSaved(t), "gzip": gzipped(t, twoSaved(t))} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			names, err := s.Load(bg, bytes.NewReader(archive), Quiet{})
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(names)
			if d := cmp.Diff([]string{"app:1", "localhost:5000/x/app:2", "other:latest"}, names); d != "" {
				t.Error(d)
			}
			one, err := s.Resolve("app:1")
			if err != nil {
				t.Fatal(err)
			}
			id, _ := testImage(t).ConfigName()
			if one.ID != id.String() || len(one.Names) != 2 || !one.whole() {
				t.Errorf("%+v", one)
			}
			if all, err := s.List(); err != nil || len(all) != 2 {
				t.Errorf("%v, %v", all, err)
			}
			if left, _ := os.ReadDir(s.path("tmp")); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// What Docker wrote before 1.10: a directory for each layer, whose document names its parent.
func TestLoadLegacy(t *testing.T) {
	base, top := archiveOf(t, layers[0]...), archiveOf(t, layers[1]...)
	archive := archiveOf(t,
		item{name: "aaaa/", kind: '5'}, item{name: "aaaa/VERSION", body: "1.0"},
		item{name: "aaaa/json", body: `{"id":"aaaa","created":"2014-01-01T00:00:00Z","os":"linux","architecture":"amd64"}`},
		item{name: "aaaa/layer.tar", body: string(base)},
		item{name: "bbbb/json", body: `{"id":"bbbb","parent":"aaaa","created":"2015-01-01T00:00:00Z","os":"linux","architecture":"amd64","config":{"Cmd":["sh"],"User":"u"}}`},
		item{name: "bbbb/layer.tar", body: string(top)},
		item{name: "cccc/json", body: `{"id":"cccc","parent":"bbbb","os":"linux","config":{"Cmd":["c"]}}`},
		item{name: "cccc/layer.tar", kind: '2', link: "../bbbb/layer.tar"},
		item{name: "repositories", body: `{"old/app":{"1":"bbbb","2":"cccc"}}`})
	s := newStore(t)
	names, err := s.Load(bg, bytes.NewReader(archive), Quiet{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"old/app:1", "old/app:2"}, names); d != "" {
		t.Error(d)
	}
	i, err := s.Resolve("old/app:1")
	if err != nil {
		t.Fatal(err)
	}
	if c := i.Config(); len(i.Layers) != 2 || c.User != "u" || !slices.Equal(c.Cmd, []string{"sh"}) || i.Created.Year() != 2015 {
		t.Errorf("%+v %+v", i, c)
	}
	if i, err = s.Resolve("old/app:2"); err != nil || len(i.Layers) != 3 || i.Layers[1] != i.Layers[2] {
		t.Errorf("%+v, %v", i, err)
	}
}

func writeLayout(t *testing.T, images ...any) string {
	t.Helper()
	dir := t.TempDir()
	p, err := ocilayout.Write(dir, scratchimage.Index)
	if err != nil {
		t.Fatal(err)
	}
	for n, i := range images {
		mark := ocilayout.WithAnnotations(map[string]string{refName: fmt.Sprint("v", n+1)})
		switch i := i.(type) {
		case v1.Image:
			err = p.AppendImage(i, mark)
		case v1.ImageIndex:
			err = p.AppendIndex(i, mark)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFromLayout(t *testing.T) {
	one := testImage(t, archiveOf(t, item{name: "one"}))
	id, _ := one.ConfigName()
	dir := writeLayout(t, one, testImage(t))
	s := newStore(t)
	for range 2 {
		i, err := s.FromLayout(bg, dir+":v1", Quiet{})
		if err != nil || i.ID != id.String() || len(i.Names) != 0 || !i.whole() {
			t.Fatalf("%+v, %v", i, err)
		}
	}
	if _, err := s.FromLayout(bg, dir+":v3", Quiet{}); err == nil || !strings.Contains(err.Error(), `no image "v3"; there are v1, v2`) {
		t.Error(err)
	}
	if _, err := s.FromLayout(bg, writeLayout(t, index3(t)), Quiet{}); err != nil {
		t.Error(err)
	}
	if _, err := s.FromLayout(bg, t.TempDir(), Quiet{}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	// One bit of a layer.
	ls, _ := one.Layers()
	h, _ := ls[0].Digest()
	file := filepath.Join(dir, "blobs/sha256", h.Hex)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	os.WriteFile(file, b, 0o644)
	s = newStore(t)
	if _, err := s.FromLayout(bg, dir+":v1", Quiet{}); err == nil || !strings.Contains(err.Error(), "its content has digest") {
		t.Error(err)
	}
}

// A layout in an archive, as podman and buildkit write it.
func TestLoadLayout(t *testing.T) {
	dir := writeLayout(t, testImage(t))
	raw, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var x index
	if err := json.Unmarshal(raw, &x); err != nil {
		t.Fatal(err)
	}
	x.Manifests[0].Annotations["io.containerd.image.name"] = "docker.io/library/app:v1"
	raw, _ = json.Marshal(x)
	os.WriteFile(filepath.Join(dir, "index.json"), raw, 0o644)
	out, err := exec.Command("tar", "-C", dir, "-cf", "-", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(t)
	names, err := s.Load(bg, bytes.NewReader(out), Quiet{})
	if err != nil || !slices.Equal(names, []string{"app:v1"}) {
		t.Fatal(names, err)
	}
	if i, err := s.Resolve("app:v1"); err != nil || !i.whole() {
		t.Error(i, err)
	}
}

func TestLoadBad(t *testing.T) {
	layer := string(archiveOf(t, item{name: "f"}))
	for _, tt := range []struct {
		name  string
		items []item
		want  string
	}{
		{"a root filesystem", layers[0], "it holds no images"},
		{"no such config", []item{{name: "manifest.json", body: `[{"Config":"../../etc/passwd","Layers":[]}]`}}, `no file "../../etc/passwd"`},
		{"half a document", []item{{name: "manifest.json", body: `[{"Config":`}}, "manifest.json: unexpected end of JSON input"},
		{"no layers", []item{{name: "manifest.json", body: `[{"Config":"c","Layers":[]}]`}, {name: "c", body: `{"rootfs":{}}`}}, "an image without layers"},
		{"a wrong diff ID", []item{{name: "manifest.json", body: `[{"Config":"c","Layers":["l"]}]`}, {name: "l", body: layer},
			{name: "c", body: `{"rootfs":{"diff_ids":["` + digestOf(nil) + `"]}}`}}, "and the config says " + digestOf(nil)},
		{"a diff ID that is a path", []item{{name: "manifest.json", body: `[{"Config":"c","Layers":["l"]}]`}, {name: "l", body: layer},
			{name: "c", body: `{"rootfs":{"diff_ids":["sha256:../../../../etc"]}}`}}, "is no sha256 digest"},
		{"links in a circle", []item{{name: "manifest.json", kind: '2', link: "x"}, {name: "x", kind: '2', link: "manifest.json"}}, "it holds no images"},
		{"another system's", []item{{name: "manifest.json", body: `[{"Config":"c","Layers":["l"]}]`}, {name: "l", body: layer},
			{name: "c", body: `{"os":"windows","architecture":"amd64","rootfs":{"diff_ids":["` + digestOf([]byte(layer)) + `"]}}`}}, "the image is for windows/amd64"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t)
			_, err := s.Load(bg, bytes.NewReader(archiveOf(t, tt.items...)), Quiet{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v; want %s", err, tt.want)
			}
			if err := s.collect(bg); err != nil {
				t.Error(err)
			}
			bare(t, s)
		})
	}
}

func TestImport(t *testing.T) {
	archive := archiveOf(t, layers[0]...)
	forms := map[string][]byte{"plain": archive, "gzip": gzipped(t, archive)}
	for _, p := range []string{"xz", "zstd", "bzip2"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Logf("no %s here", p)
			continue
		}
		cmd := exec.Command(p, "-c")
		cmd.Stdin = bytes.NewReader(archive)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		forms[p] = out
	}
	for name, b := range forms {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			i, err := s.Import(bg, bytes.NewReader(b), "my/root:1", Quiet{})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(i.Names, []string{"docker.io/my/root:1"}) || filepath.Base(filepath.Dir(i.Layers[0])) != digestOf(archive)[7:39] {
				t.Errorf("%+v", i)
			}
			if body, err := i.ReadFile("etc/passwd"); err != nil || string(body) != layers[0][9].body {
				t.Errorf("%q, %v", body, err)
			}
		})
	}
	s := newStore(t)
	if _, err := s.Import(bg, bytes.NewReader(gzipped(t, archive)[:500]), "", Quiet{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	bare(t, s)
}

func TestFromDir(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "file"), []byte("in dir"), 0o644)
	s := newStore(t)
	i, err := s.FromDir(bg, dir, Quiet{})
	if err != nil || !slices.Equal(i.Layers, []string{dir}) {
		t.Fatal(i, err)
	}
	if b, err := i.ReadFile("/file"); err != nil || string(b) != "in dir" {
		t.Errorf("%q, %v", b, err)
	}
	file := filepath.Join(t.TempDir(), "root.tar")
	os.WriteFile(file, archiveOf(t, layers[0]...), 0o644)
	var ids []string
	for range 2 {
		i, err := s.FromDir(bg, file, Quiet{})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, i.ID)
	}
	if ids[0] != ids[1] {
		t.Error("the same archive became two images")
	}
	if _, err := s.FromDir(bg, file+".none", Quiet{}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// guarded is a registry behind a login: a token service, or name and password.
func guarded(t *testing.T, basic bool) string {
	t.Helper()
	token := func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		r.ParseForm()
		known := user == "me" && password == "secret" || r.Form.Get("grant_type") == "refresh_token" && r.Form.Get("refresh_token") == "identity"
		if !known || r.Form.Get("scope") != "repository:app:pull" || r.Form.Get("service") != "test" {
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, `{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}`)
			return
		}
		io.WriteString(w, `{"access_token":"good"}`)
	}
	open := false
	host := serve(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			user, password, _ := r.BasicAuth()
			switch {
			case r.URL.Path == "/token":
				token(w, r)
			case open || r.Header.Get("Authorization") == "Bearer good" || basic && user == "me" && password == "secret":
				h.ServeHTTP(w, r)
			case basic:
				w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
				w.WriteHeader(http.StatusUnauthorized)
			default:
				w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="test",scope="repository:app:pull"`)
				w.WriteHeader(http.StatusUnauthorized)
			}
		})
	})
	open = true
	push(t, host+"/app", testImage(t, archiveOf(t, item{name: "f"})))
	open = false
	return host
}

func TestLogin(t *testing.T) {
	auth := base64.StdEncoding.EncodeToString([]byte("me:secret"))
	helper := t.TempDir()
	os.WriteFile(filepath.Join(helper, "docker-credential-test"), []byte(`#!/bin/sh
read -r server
case $server in
127.*) echo '{"Username":"<token>","Secret":"identity"}' ;;
*) echo "credentials not found in native keychain"; exit 1 ;;
esac
`), 0o755)
	t.Setenv("PATH", helper+":"+os.Getenv("PATH"))
	t.Setenv("XDG_RUNTIME_DIR", "")
	t.Setenv("REGISTRY_AUTH_FILE", "")
	for _, tt := range []struct {
		name   string
		basic  bool
		config string // HOST stands for the registry
		want   string
	}{
		{"token, with a password", false, `{"auths":{"HOST":{"auth":"` + auth + `"}}}`, ""},
		{"token, with an identity token", false, `{"auths":{"https://HOST/v1/":{"identitytoken":"identity"}}}`, ""},
		{"token, from a helper", false, `{"credHelpers":{"HOST":"test"}}`, ""},
		{"token, from the store", false, `{"credsStore":"test"}`, ""},
		{"basic", true, `{"auths":{"HOST":{"auth":"` + auth + `"}}}`, ""},
		{"basic, none", true, `{}`, "wants a login"},
		{"token, none", false, `{}`, "the registry has no such image, or wants a login (unauthorized: incorrect username or password)"},
		{"token, another's", false, `{"auths":{"elsewhere:1":{"auth":"` + auth + `"}}}`, "wants a login"},
		{"token, wrong", false, `{"auths":{"HOST":{"auth":"bWU6d3Jvbmc="}}}`, "the registry refuses this login"},
		{"half a file", false, `{"auths":`, "config.json): unexpected EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host := guarded(t, tt.basic)
			dir := t.TempDir()
			t.Setenv("DOCKER_CONFIG", dir)
			os.WriteFile(filepath.Join(dir, "config.json"), []byte(strings.ReplaceAll(tt.config, "HOST", host)), 0o600)
			_, err := newStore(t).Pull(bg, host+"/app", anyPlatform, Quiet{})
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v; want %q", err, tt.want)
			}
		})
	}
}

// go-containerregistry's reading of names is ours.
func TestReference(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("0a", 32)
	for _, s := range []string{
		"ubuntu", "ubuntu:18.04", "library/ubuntu", "docker.io/ubuntu", "index.docker.io/library/ubuntu:x", "user/app", "user/app:1.0-rc_1",
		"localhost/app", "localhost:5000/app", "127.0.0.1:5000/a/b/c:tag", "ghcr.io/o/r", "example.com/app" + digest, "app" + digest,
		"app:tag" + digest, "a__b", "a--b", "a.b", "a-b_c", "[::1]:5000/app",
		"", ":tag", "UPPER", "a//b", "a/", "/a", "a:", "a:-x", "a@sha256:12", "a:b:c", "-a", "a-", "a..b", "a___b", "a b", "a:b c", "../a", "a/../b",
		"ex_ample.com/app", "example.com:port/app", strings.Repeat("a", 300), "a:" + strings.Repeat("t", 129),
	} {
		r, err := ParseReference(s)
		theirs, theirErr := name.ParseReference(s)
		if (err == nil) != (theirErr == nil) {
			if known := map[string]bool{ // go-containerregistry is laxer than Docker's own grammar, or stricter
				"a..b": true, "a___b": true, "-a": true, "a-": true, "ex_ample.com/app": true, "a//b": true, "a/../b": true, "../a": true, "/a": true, "a/": true,
				"a": true, "[::1]:5000/app": true, "example.com:port/app": true, "a:-x": true,
			}; !known[s] {
				t.Errorf("%q: ours %v, theirs %v", s, err, theirErr)
			}
			continue
		}
		if err != nil {
			continue
		}
		want := strings.Replace(theirs.Name(), "index.docker.io/", "docker.io/", 1)
		got := r
		if r.Digest != "" {
			got.Tag = ""
		}
		if got.String() != want {
			t.Errorf("%q: %s, and %s", s, got, want)
		}
	}
	for _, s := range []string{"a..b", "a___b", "-a", "a-", "a//b", "../a", "/a", "a/", "a:-x", "ex_ample.com/app"} {
		if r, err := ParseReference(s); err == nil {
			t.Errorf("%q is valid: %s", s, r)
		}
	}
	for full, short := range map[string]string{
		"docker.io/library/ubuntu:18.04": "ubuntu:18.04", "docker.io/user/app:1": "user/app:1", "ghcr.io/o/r:1": "ghcr.io/o/r:1",
	} {
		if got := Familiar(full); got != short {
			t.Errorf("%s: %s", full, got)
		}
	}
}

func TestReadFile(t *testing.T) {
	s := newStore(t)
	host := serve(t, nil)
	push(t, host+"/links", testImage(t,
		archiveOf(t, item{name: "etc/", kind: '5'}, item{name: "etc/passwd", kind: '2', link: "../usr/etc/passwd"}, item{name: "usr/etc/passwd", body: "low"},
			item{name: "gone/f", body: "f"}, item{name: "opaque/f", body: "f"}, item{name: "out", kind: '2', link: "../../../../etc/passwd"},
			item{name: "loop", kind: '2', link: "loop"}, item{name: "d/f", body: "f"}, item{name: "pipe", kind: '6'}, item{name: "same", body: "low"}),
		archiveOf(t, item{name: "usr/etc/passwd", body: "high"}, item{name: ".wh.gone"}, item{name: "opaque/.wh..wh..opq"}, item{name: "d", body: "file"}, item{name: "usr/other"})))
	i, err := s.Pull(bg, host+"/links", anyPlatform, Quiet{})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"etc/passwd": "high", "/etc/../etc/passwd": "high", "out": "high", "gone/f": "", "opaque/f": "", "d/f": "", "d": "file", "pipe": "", "etc": "",
		"missing/x": "", "same": "low", "/": "", "../../etc/passwd": "high",
	} {
		got, err := i.ReadFile(path)
		if err != nil || string(got) != want || (got == nil) != (want == "") {
			t.Errorf("%s: %q, %v; want %q", path, got, err, want)
		}
	}
	if _, err := i.ReadFile("loop"); err == nil {
		t.Error("a loop of links was read")
	}
	for path, want := range map[string]string{
		"out": "low", "etc/passwd": "low", "same": "low", "usr": "", "missing": "", "missing/x": "", "same/x": "", "loop": "", "pipe": "",
	} {
		got, err := ReadIn(i.Layers[0], path)
		if err != nil || string(got) != want || (got == nil) != (want == "") {
			t.Errorf("ReadIn %s: %q, %v; want %q", path, got, err, want)
		}
	}
}

// What is copied out of an image is what its merged tree has there.
func TestCopyTo(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: owners, overlay")
	}
	host := serve(t, nil)
	push(t, host+"/app", testImage(t))
	s := newStore(t)
	i, err := s.Pull(bg, host+"/app", anyPlatform, Quiet{})
	if err != nil {
		t.Fatal(err)
	}
	root := i.Root("", "")
	root.Scratch = scratch(t, 0)
	merged := inRoot(t, 0, trial{Root: root})
	for _, target := range []string{"/", "/var", "/var/cache", "/usr/bin", "/bin", "/nothing", "/closed"} {
		dir := t.TempDir()
		t.Cleanup(func() { removeAll(dir) })
		if err := i.CopyTo(target, dir); err != nil {
			t.Fatal(err)
		}
		got, err := again(t, 0, "list", dir)
		if err != nil {
			t.Fatal(got)
		}
		var want []string
		prefix := strings.TrimPrefix(target, "/")
		if target == "/bin" {
			prefix = "usr/bin"
		}
		for _, line := range strings.Split(merged, "\n") {
			name, rest, _ := strings.Cut(line, `" `)
			name = strings.TrimPrefix(name, `"`)
			switch {
			case prefix == "" && line != "":
				want = append(want, line)
			case name == prefix && line != "":
				want = append(want, `"" `+rest)
			case strings.HasPrefix(name, prefix+"/"):
				want = append(want, `"`+strings.TrimPrefix(name, prefix+"/")+`" `+rest)
			}
		}
		// Hard links become files of their own.
		for n := range want {
			want[n] = strings.Replace(want[n], " = ping", "", 1)
		}
		lines := strings.Split(strings.TrimSpace(got), "\n")
		if target == "/nothing" {
			lines = nil
		}
		if d := cmp.Diff(want, lines); d != "" {
			t.Errorf("%s: %s", target, d)
		}
	}
}

func TestProgress(t *testing.T) {
	var b bytes.Buffer
	p := NewProgress(&b, 0)
	for _, n := range []int64{0, 5, 10} {
		p.Update("aaaa", "Downloading", n, 10)
	}
	p.Update("aaaa", "Pull complete", 10, 10)
	p.Say("done")
	if got, want := b.String(), "aaaa: Downloading\naaaa: Pull complete\ndone\n"; got != want {
		t.Errorf("plain: %q", got)
	}
	b.Reset()
	p = NewProgress(&b, 60)
	p.Update("aaaa", "Downloading", 0, 10e6)
	p.Update("bbbb", "Already exists", 0, 0)
	p.(*shown).drawn = time.Time{}
	p.Update("aaaa", "Downloading", 5e6, 10e6)
	p.Update("aaaa", "Pull complete", 10e6, 10e6)
	want := "aaaa: Downloading [>                      ] 0B/10MB\nbbbb: Already exists\n"
	lines := strings.SplitAfter(b.String(), "\n")
	if !strings.HasPrefix(lines[0], "aaaa: Downloading [>") || !strings.HasSuffix(lines[0], "] 0B/10MB\n") || lines[1] != "bbbb: Already exists\n" {
		t.Errorf("%q; want like %q", lines, want)
	}
	rest := strings.Join(lines[2:], "")
	if !strings.HasPrefix(rest, "\x1b[2A\r\x1b[2Kaaaa: Downloading [=") || !strings.HasSuffix(rest, "\x1b[2A\r\x1b[2Kaaaa: Pull complete\r\x1b[2B") {
		t.Errorf("%q", rest)
	}
	for _, columns := range []int{1, 10, 20, 40, 60, 200} {
		if line := bar("3153aa388d02", "Downloading", 3, 7, columns); len(line) >= max(columns, 2) {
			t.Errorf("%d columns: %q", columns, line)
		}
	}
}
