package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// Registry opens a repository of a registry: "docker.io" and "library/ubuntu". The Store has none of its own,
// so that whoever needs none need not link one.
type Registry func(domain, path string) (Repository, error)

// Repository is where an image is fetched from.
type Repository interface {
	// Manifest returns what a tag or a digest stands for: a manifest, or an index of them; fs.ErrNotExist where
	// there is none.
	Manifest(ctx context.Context, at string) ([]byte, error)
	// Blob opens the content of a digest. The caller closes it and checks it.
	Blob(ctx context.Context, digest string) (io.ReadCloser, error)
}

// ErrNoRegistry says that an image isn't here, and that this program can fetch none.
var ErrNoRegistry = errors.New("this program speaks to no registry")

// Pull brings in an image from its registry, for a platform, the zero one being this machine's;
// what is here already isn't fetched again. It fails with ErrNotFound where there is none of the name.
func (s *Store) Pull(ctx context.Context, name string, want Platform, p Progress) (*Image, error) {
	ref, err := ParseReference(name)
	if err != nil {
		return nil, err
	}
	if s.Registry == nil {
		return nil, fmt.Errorf("%s: %w", Familiar(ref.String()), ErrNoRegistry)
	}
	i, err := s.pull(ctx, ref, want.orThis(), p)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Familiar(ref.String()), err)
	}
	return i, nil
}

func (s *Store) pull(ctx context.Context, ref Reference, want Platform, p Progress) (*Image, error) {
	repo, err := s.Registry(ref.Domain, ref.Path)
	if err != nil {
		return nil, err
	}
	at := ref.Digest
	if at == "" {
		at = ref.Tag
	}
	raw, err := fetch(ctx, repo, at)
	if err != nil {
		return nil, err
	}
	from := Reference{Domain: ref.Domain, Path: ref.Path, Digest: digestOf(raw)}
	m, err := parseManifest(raw)
	if err != nil {
		return nil, err
	}
	if m.Config == nil {
		d, err := choose(m.Manifests, want)
		if err != nil {
			return nil, err
		}
		if raw, err = fetch(ctx, repo, d.Digest); err != nil {
			return nil, err
		}
	}
	keep := ref.String()
	if ref.Digest != "" {
		keep = ""
	}
	return s.add(ctx, &pulled{repo, raw}, keep, from.String(), p)
}

// fetch returns a manifest or index, and checks it where it was asked for by digest.
func fetch(ctx context.Context, repo Repository, at string) ([]byte, error) {
	raw, err := repo.Manifest(ctx, at)
	if err != nil {
		return nil, err
	}
	if len(raw) > maxDocument {
		return nil, fmt.Errorf("manifest %s: larger than %d MiB", short(at), maxDocument>>20)
	}
	if got := digestOf(raw); isDigest(at) && got != at {
		return nil, fmt.Errorf("manifest %s: its content has digest %s", short(at), got)
	}
	return raw, nil
}

// pulled is a registry's image whose manifest was chosen.
type pulled struct {
	repo Repository
	raw  []byte
}

func (p *pulled) manifest(context.Context) ([]byte, error) { return p.raw, nil }

func (p *pulled) blob(ctx context.Context, d descriptor) (io.ReadCloser, error) {
	return p.repo.Blob(ctx, d.Digest)
}
