package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// registry is an image in a registry, read as the OCI distribution spec has it.
type registry struct {
	ref    Reference
	want   Platform
	base   string // "https://registry-1.docker.io/v2/library/ubuntu"
	client *http.Client
	auth   string // what the Authorization header says, "" at first
	login  credentials
	found  string // digest of what the name stands for: an index, or the manifest itself
}

// Pull brings in an image from its registry, for a platform, the zero one being this machine's;
// what is here already isn't fetched again. The credentials are those of docker login, and of podman login.
func (s *Store) Pull(ctx context.Context, name string, want Platform, p Progress) (*Image, error) {
	ref, err := ParseReference(name)
	if err != nil {
		return nil, err
	}
	r := &registry{ref: ref, want: want.orThis()}
	if r.login, err = findCredentials(ref.Domain); err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = time.Minute
	defer transport.CloseIdleConnections()
	r.client = &http.Client{Transport: transport}
	if err := r.connect(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", Familiar(ref.String()), err)
	}
	raw, err := r.resolve(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Familiar(ref.String()), err)
	}
	keep := ref.String()
	if ref.Digest != "" {
		keep = ""
	}
	from := Reference{Domain: ref.Domain, Path: ref.Path, Digest: r.found}
	i, err := s.add(ctx, &pulled{r, raw}, keep, from.String(), p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Familiar(ref.String()), err)
	}
	return i, nil
}

// pulled is a registry's image whose manifest was chosen.
type pulled struct {
	*registry
	raw []byte
}

func (p *pulled) manifest(context.Context) ([]byte, error) { return p.raw, nil }

func (p *pulled) blob(ctx context.Context, d descriptor) (io.ReadCloser, error) {
	resp, err := p.get(ctx, p.base+"/blobs/"+d.Digest, "")
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// connect finds the registry's address: https, or, on this machine itself, http if that is what it speaks.
func (r *registry) connect(ctx context.Context) error {
	host := r.ref.Domain
	if host == "docker.io" {
		host = "registry-1.docker.io"
	}
	r.base = "https://" + host + "/v2/" + r.ref.Path
	if !loopback(host) {
		return nil
	}
	resp, err := r.do(ctx, "https://"+host+"/v2/", "")
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.base = "http://" + host + "/v2/" + r.ref.Path
		return nil
	}
	return resp.Body.Close()
}

// loopback says whether a registry may be spoken to in the clear: localhost and 127.0.0.0/8, as Docker has it.
func loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

const accepted = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, " +
	"application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"

// resolve fetches the manifest of the image for the wanted platform.
func (r *registry) resolve(ctx context.Context) ([]byte, error) {
	at := r.ref.Digest
	if at == "" {
		at = r.ref.Tag
	}
	raw, err := r.document(ctx, at)
	if err != nil {
		return nil, err
	}
	r.found = digestOf(raw)
	m, err := parseManifest(raw)
	if err != nil || m.Config != nil {
		return raw, err
	}
	d, err := choose(m.Manifests, r.want)
	if err != nil {
		return nil, err
	}
	return r.document(ctx, d.Digest)
}

// document fetches a manifest or index by tag or digest.
func (r *registry) document(ctx context.Context, at string) ([]byte, error) {
	resp, err := r.get(ctx, r.base+"/manifests/"+at, accepted)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument))
	if err != nil {
		return nil, err
	}
	want := at
	if !isDigest(at) {
		want = resp.Header.Get("Docker-Content-Digest")
	}
	if got := digestOf(raw); isDigest(want) && got != want {
		return nil, fmt.Errorf("manifest %s: its content has digest %s", short(want), got)
	}
	return raw, nil
}

// get is a GET that logs in when asked to. The caller closes the body.
func (r *registry) get(ctx context.Context, address, accept string) (*http.Response, error) {
	resp, err := r.do(ctx, address, accept)
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		challenges := resp.Header.Values("WWW-Authenticate")
		resp.Body.Close()
		if err := r.authorize(ctx, challenges); err != nil {
			return nil, err
		}
		resp, err = r.do(ctx, address, accept)
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, refusedBy(resp, r.login)
	}
	return resp, nil
}

func (r *registry) do(ctx context.Context, address, accept string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "porthole")
	// A layer comes as it was written, not unpacked on the way.
	req.Header.Set("Accept-Encoding", "identity")
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	if r.auth != "" {
		req.Header.Set("Authorization", r.auth)
	}
	return r.client.Do(req)
}

// refusedBy words a registry's error: its own message, and what 401 to 404 mean for a pull.
func refusedBy(resp *http.Response, login credentials) error {
	var body struct {
		Errors []struct{ Code, Message string }
	}
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	json.Unmarshal(raw, &body)
	said := resp.Status
	if len(body.Errors) > 0 {
		said = strings.ToLower(strings.ReplaceAll(body.Errors[0].Code, "_", " ")) + ": " + body.Errors[0].Message
	}
	switch resp.StatusCode {
	case http.StatusNotFound:
		return fmt.Errorf("the registry has no such image (%s): %w", said, ErrNotFound)
	case http.StatusUnauthorized, http.StatusForbidden:
		if login.user == "" && login.token == "" {
			return fmt.Errorf("the registry has no such image, or wants a login (%s)", said)
		}
		return fmt.Errorf("the registry refuses this login (%s)", said)
	case http.StatusTooManyRequests:
		return fmt.Errorf("the registry allows no more pulls for now (%s)", said)
	}
	return fmt.Errorf("the registry says %s", said)
}

// authorize answers a challenge: a token from the service that it names, or name and password.
func (r *registry) authorize(ctx context.Context, challenges []string) error {
	for _, c := range challenges {
		scheme, params := parseChallenge(c)
		switch {
		case scheme == "bearer" && params["realm"] != "":
			return r.token(ctx, params)
		case scheme == "basic" && r.login.user != "":
			req := http.Request{Header: http.Header{}}
			req.SetBasicAuth(r.login.user, r.login.password)
			r.auth = req.Header.Get("Authorization")
			return nil
		case scheme == "basic":
			return errors.New("the registry wants a login (docker login, or podman login)")
		}
	}
	return fmt.Errorf("the registry wants a login of a kind that is not known here: %q", challenges)
}

// parseChallenge splits `Bearer realm="https://…",service="…"` (RFC 9110, 11.6.1).
func parseChallenge(c string) (scheme string, params map[string]string) {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(c), " ")
	params = map[string]string{}
	for rest = strings.TrimSpace(rest); rest != ""; rest = strings.TrimLeft(rest, ", ") {
		key, after, ok := strings.Cut(rest, "=")
		if !ok {
			break
		}
		var value string
		if after, ok = strings.CutPrefix(after, `"`); ok {
			value, rest, _ = strings.Cut(after, `"`)
		} else {
			value, rest, _ = strings.Cut(after, ",")
		}
		params[strings.ToLower(strings.TrimSpace(key))] = value
	}
	return strings.ToLower(scheme), params
}

// token fetches a bearer token for pulling, as the distribution project's token specification has it.
func (r *registry) token(ctx context.Context, params map[string]string) error {
	realm, err := url.Parse(params["realm"])
	if err != nil {
		return fmt.Errorf("the registry's token service: %w", err)
	}
	if realm.Scheme != "https" && !(realm.Scheme == "http" && strings.HasPrefix(r.base, "http:")) {
		return fmt.Errorf("the registry's token service %s isn't https: no login is sent there", realm.Redacted())
	}
	scope := params["scope"]
	if scope == "" {
		scope = "repository:" + r.ref.Path + ":pull"
	}
	q := url.Values{"service": {params["service"]}, "scope": {scope}}
	method, body := http.MethodGet, ""
	if r.login.token != "" {
		q.Set("grant_type", "refresh_token")
		q.Set("refresh_token", r.login.token)
		q.Set("client_id", "porthole")
		method, body = http.MethodPost, q.Encode()
	} else {
		for key, old := range realm.Query() {
			q[key] = old
		}
		realm.RawQuery = q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, realm.String(), bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "porthole")
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	} else if r.login.user != "" {
		req.SetBasicAuth(r.login.user, r.login.password)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refusedBy(resp, r.login)
	}
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&answer); err != nil {
		return fmt.Errorf("the registry's token service: %w", err)
	}
	if answer.Token == "" {
		answer.Token = answer.AccessToken
	}
	if answer.Token == "" {
		return errors.New("the registry's token service gave no token")
	}
	r.auth = "Bearer " + answer.Token
	return nil
}
