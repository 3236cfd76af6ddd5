// Package image is where root filesystems come from: this machine's own (Host), and images
// from registries, archives, layouts and directories, kept in a Store.
//
// Every origin of an image is a source: a manifest, and blobs by digest. The Store is the one
// sink: it checks each digest, keeps the blobs as an OCI layout and unpacks each layer once,
// ready to be a lower directory of an overlay. Nothing is mounted here: a container's root is
// a plan.Root, put together in the container's own mount namespace.
//
// Registries are spoken to by package registry, which the Store is handed where it may fetch. The layer format
// is read here: moby/go-archive can't mark a directory opaque for an ordinary user, and takes over overlay's own
// attributes from a layer, which then redirect paths.
package image

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"porthole/plan"
)

// ErrNotFound says that the store has no such image.
var ErrNotFound = errors.New("no such image")

// Image is one image whose layers are unpacked on this machine.
type Image struct {
	ID       string   // digest of its config, as Docker counts: "sha256:…"; "" for a plain directory
	Manifest string   // digest of its manifest
	Names    []string // tags, in full: "docker.io/library/ubuntu:18.04"
	Digests  []string // "docker.io/library/ubuntu@sha256:…", as the registry knows it
	Created  time.Time
	Platform Platform
	Size     int64    // bytes, unpacked
	Layers   []string // directories, the lowest first

	config    Config
	manifests []string // digests of every manifest that has this config, in the list of a store
}

// Config returns what the image asks for its containers.
func (i *Image) Config() Config { return i.config }

// Root returns the image as a container's root filesystem: an overlay of its layers, written to
// upper with work beside it on the same filesystem; both "" is a fresh one in scratch.
func (i *Image) Root(upper, work string) plan.Root {
	lower := slices.Clone(i.Layers)
	slices.Reverse(lower)
	st := stat(lower[0])
	if os.Geteuid() != 0 { // in the user namespace to come, what is ours is root's
		st.Uid, st.Gid = 0, 0
	}
	return plan.Root{Layers: []plan.Layer{{
		Target: "/", Lower: lower, Upper: upper, Work: work,
		Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid,
	}}}
}

// source is where an image comes from.
type source interface {
	// manifest returns the image's manifest as it was written.
	manifest(context.Context) ([]byte, error)
	// blob opens the content of a digest that the manifest names. The caller closes it and checks it.
	blob(context.Context, descriptor) (io.ReadCloser, error)
}

// descriptor is OCI's: content named by digest.
type descriptor struct {
	MediaType   string            `json:"mediaType,omitempty"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Platform    *Platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// manifest is OCI's image manifest, and Docker's schema 2; or an index of several, if Manifests isn't empty.
type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType,omitempty"`
	Config        *descriptor  `json:"config,omitempty"`
	Layers        []descriptor `json:"layers,omitempty"`
	Manifests     []descriptor `json:"manifests,omitempty"`
}

// Media types that are written here; those that are read are told by content.
const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar"
)

func parseManifest(raw []byte) (m manifest, err error) {
	if err := json.Unmarshal(raw, &m); err != nil {
		return m, fmt.Errorf("manifest: %w", err)
	}
	if m.SchemaVersion == 1 {
		return m, errors.New("manifest of schema 1: Docker and OCI have given it up")
	}
	all := append(slices.Clone(m.Layers), m.Manifests...)
	if m.Config != nil {
		all = append(all, *m.Config)
	}
	if len(all) == 0 {
		return m, errors.New("manifest: names neither a config nor manifests")
	}
	for _, d := range all {
		if !isDigest(d.Digest) {
			return m, fmt.Errorf("manifest: %q is no sha256 digest", d.Digest)
		}
		if d.Size < 0 {
			return m, fmt.Errorf("manifest: size %d of %s", d.Size, d.Digest)
		}
	}
	return m, nil
}

// isDigest says whether s is "sha256:" and 64 lower-case hexadecimal digits, safe as a file name.
func isDigest(s string) bool {
	digits, ok := strings.CutPrefix(s, "sha256:")
	_, err := hex.DecodeString(digits)
	return ok && err == nil && len(digits) == 64 && digits == strings.ToLower(digits)
}

// Platform is what an image was built for.
type Platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant,omitempty"`
}

func (p Platform) String() string {
	return strings.TrimSuffix(p.OS+"/"+p.Architecture+"/"+p.Variant, "/")
}
