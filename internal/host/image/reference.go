package image

import (
	"fmt"
	"strings"
)

// Reference names an image, in full.
type Reference struct {
	Domain string // "docker.io", "localhost:5000"
	Path   string // "library/ubuntu"
	Tag    string // "latest" where neither it nor a digest was given
	Digest string // "sha256:…"
}

// String is the full form: "docker.io/library/ubuntu:18.04".
func (r Reference) String() string {
	s := r.Domain + "/" + r.Path
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest
	}
	return s
}

// Familiar is the form that people type: "ubuntu:18.04".
func Familiar(full string) string {
	short, ok := strings.CutPrefix(full, "docker.io/")
	if !ok {
		return full
	}
	if name, ok := strings.CutPrefix(short, "library/"); ok && !strings.Contains(name, "/") {
		return name
	}
	return short
}

// ParseReference reads a name as Docker does (distribution/reference, ParseDockerRef): without
// a domain it is Docker Hub's, without a slash in the "library", without a tag the latest.
func ParseReference(s string) (Reference, error) {
	r := Reference{Domain: "docker.io"}
	bad := func(why string) (Reference, error) {
		return Reference{}, fmt.Errorf("invalid image name %q: %s", s, why)
	}
	name, digest, pinned := strings.Cut(s, "@")
	if r.Digest = digest; pinned && !isDigest(digest) {
		return bad("after @ comes sha256: and 64 hexadecimal digits")
	}
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name, r.Tag = name[:i], name[i+1:]
		if !isTag(r.Tag) {
			return bad("a tag has letters, digits, '_', '.' and '-', and at most 128 of them")
		}
	}
	if first, rest, ok := strings.Cut(name, "/"); ok &&
		(strings.ContainsAny(first, ".:") || first == "localhost" || strings.ToLower(first) != first) {
		r.Domain, name = first, rest
		if !isDomain(first) {
			return bad(fmt.Sprintf("%q is no host name", first))
		}
	}
	if r.Domain == "index.docker.io" {
		r.Domain = "docker.io"
	}
	if len(name) == 64 && isDigest("sha256:"+name) {
		return bad("that is an ID, not a name")
	}
	if len(r.Domain)+len(name) > 254 {
		return bad("longer than 255 characters")
	}
	for _, part := range strings.Split(name, "/") {
		if !isComponent(part) {
			if strings.ToLower(name) != name {
				return bad("repository names are lower case")
			}
			return bad("a name has letters, digits, and between them '.', '_', '__' or dashes")
		}
	}
	if r.Domain == "docker.io" && !strings.Contains(name, "/") {
		name = "library/" + name
	}
	r.Path = name
	if r.Tag == "" && !pinned {
		r.Tag = "latest"
	}
	return r, nil
}

func isTag(s string) bool {
	for i, c := range []byte(s) {
		if !word(c) && c != '_' && (i == 0 || c != '.' && c != '-') {
			return false
		}
	}
	return s != "" && len(s) <= 128
}

// isComponent: [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*
func isComponent(s string) bool {
	run := ""
	for i, c := range []byte(s) {
		if word(c) && (c < 'A' || c > 'Z') {
			run = ""
			continue
		}
		if run += string(c); i == 0 || i == len(s)-1 {
			return false
		}
		if run != "." && run != "_" && run != "__" && strings.Trim(run, "-") != "" {
			return false
		}
	}
	return s != ""
}

func isDomain(s string) bool {
	host, port := s, ""
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		host, port = s[:i], s[i+1:]
		if port == "" || strings.Trim(port, "0123456789") != "" {
			return false
		}
	}
	if inner, ok := strings.CutPrefix(host, "["); ok { // IPv6
		inner, ok = strings.CutSuffix(inner, "]")
		return ok && inner != "" && strings.Trim(strings.ToLower(inner), "0123456789abcdef:") == ""
	}
	for _, label := range strings.Split(host, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !word(c) && c != '-' {
				return false
			}
		}
	}
	return true
}

func word(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
