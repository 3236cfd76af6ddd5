// Package registry fetches manifests and blobs from image registries, with the logins of docker login and
// podman login. It is go-containerregistry, told to send nothing in the clear beyond this machine.
//
// Linking it costs each start of a program 0.7 ms of CPU: programs that start containers leave it out, and give
// what needs a registry to one that has it.
package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Repository is one repository of a registry.
type Repository struct {
	name   name.Repository
	puller *remote.Puller
	login  bool // there is one for this registry
}

// Open returns the repository path at the registry domain ("docker.io" is Docker Hub). Nothing is asked of
// the registry yet; it fails where a login file can't be read.
func Open(domain, path string) (*Repository, error) {
	repo, err := name.NewRepository(domain+"/"+path, name.StrictValidation)
	if err != nil {
		return nil, err
	}
	auth, err := authn.DefaultKeychain.Resolve(repo)
	if err != nil {
		return nil, fmt.Errorf("the login for %s: %w", domain, err)
	}
	web := http.DefaultTransport.(*http.Transport).Clone()
	web.ResponseHeaderTimeout = time.Minute
	web.DisableCompression = true // a layer comes as it was written, not unpacked on the way
	p, err := remote.NewPuller(remote.WithAuth(auth), remote.WithTransport(guarded{web}), remote.WithUserAgent("porthole"))
	if err != nil {
		return nil, err
	}
	return &Repository{name: repo, puller: p, login: auth != authn.Anonymous}, nil
}

// Manifest returns what a tag or digest stands for, as it was written: a manifest or an index. It fails with
// fs.ErrNotExist where there is none, and where the content isn't that of the digest.
func (r *Repository) Manifest(ctx context.Context, at string) ([]byte, error) {
	var ref name.Reference = r.name.Tag(at)
	if strings.HasPrefix(at, "sha256:") {
		ref = r.name.Digest(at)
	}
	d, err := r.puller.Get(ctx, ref)
	if err != nil {
		return nil, r.explain(err)
	}
	return d.Manifest, nil
}

// Blob opens the content of a digest. The caller closes it.
func (r *Repository) Blob(ctx context.Context, digest string) (io.ReadCloser, error) {
	l, err := r.puller.Layer(ctx, r.name.Digest(digest))
	if err != nil {
		return nil, r.explain(err)
	}
	body, err := l.Compressed()
	if err != nil {
		return nil, r.explain(err)
	}
	return body, nil
}

// explain says what a registry's answer means to whoever wanted an image.
func (r *Repository) explain(err error) error {
	var answer *transport.Error
	if !errors.As(err, &answer) {
		return err
	}
	said := fmt.Sprintf("%d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
	if len(answer.Errors) > 0 {
		d := answer.Errors[0]
		said = strings.ToLower(strings.ReplaceAll(string(d.Code), "_", " ")) + ": " + d.Message
	}
	switch answer.StatusCode {
	case http.StatusNotFound:
		return fmt.Errorf("the registry has no such image (%s): %w", said, fs.ErrNotExist)
	case http.StatusUnauthorized, http.StatusForbidden:
		if !r.login {
			return fmt.Errorf("the registry has no such image, or wants a login (%s): docker login, or podman login", said)
		}
		return fmt.Errorf("the registry refuses this login (%s)", said)
	case http.StatusTooManyRequests:
		return fmt.Errorf("the registry allows no more pulls for now (%s)", said)
	}
	return fmt.Errorf("the registry says %s", said)
}

// guarded speaks http, without the s, with this machine alone, as Docker does: go-containerregistry would
// with private networks too.
type guarded struct{ *http.Transport }

func (g guarded) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" && !loopback(req.URL.Host) {
		return nil, fmt.Errorf("%s isn't https: nothing is sent there", req.URL.Redacted())
	}
	return g.Transport.RoundTrip(req)
}

// loopback says whether a host is this machine: localhost and 127.0.0.0/8.
func loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
