package registry

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
)

// Nothing is sent in the clear beyond this machine, whatever the registry is called.
func TestGuarded(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:5000": true, "127.0.0.1:5000": true, "127.9.9.9": true, "[::1]:5000": true,
		"10.0.0.1:5000": false, "192.168.1.1": false, "example.com": false, "localhost.example.com": false, "127.0.0.1.example.com": false, "": false,
	} {
		if got := loopback(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
	req := httptest.NewRequest("GET", "http://me:secret@10.0.0.1/v2/", nil)
	_, err := guarded{}.RoundTrip(req) // without a transport: it would panic where it sent anything
	if err == nil || !strings.Contains(err.Error(), "isn't https") || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}

func TestMissing(t *testing.T) {
	s := httptest.NewServer(registry.New())
	defer s.Close()
	r, err := Open(strings.TrimPrefix(s.URL, "http://"), "none")
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := r.Manifest(context.Background(), "latest"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%q, %v", raw, err)
	}
	b, err := r.Blob(context.Background(), "sha256:"+strings.Repeat("0", 64))
	if err == nil {
		_, err = io.ReadAll(b)
		b.Close()
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Open("ex ample", "x"); err == nil {
		t.Error("a domain with a space was taken")
	}
}
