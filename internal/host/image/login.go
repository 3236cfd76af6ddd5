package image

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// credentials are a login at a registry: name and password, or an identity token.
type credentials struct{ user, password, token string }

// loginFile is Docker's config.json, and containers-auth.json(5), as far as logins go.
type loginFile struct {
	Auths map[string]struct {
		Auth          string `json:"auth"`
		IdentityToken string `json:"identitytoken"`
	} `json:"auths"`
	CredsStore  string            `json:"credsStore"`
	CredHelpers map[string]string `json:"credHelpers"`
}

// loginFiles are the places where docker login and podman login write, in the order in which they are asked.
func loginFiles() (paths []string) {
	home, _ := os.UserHomeDir()
	if f := os.Getenv("REGISTRY_AUTH_FILE"); f != "" {
		paths = append(paths, f)
	}
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		paths = append(paths, filepath.Join(dir, "config.json"))
	} else if home != "" {
		paths = append(paths, filepath.Join(home, ".docker/config.json"))
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		paths = append(paths, filepath.Join(dir, "containers/auth.json"))
	}
	return paths
}

// findCredentials looks for a login at a registry; none is no error.
func findCredentials(domain string) (credentials, error) {
	for _, path := range loginFiles() {
		raw, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return credentials{}, err
		}
		var f loginFile
		if err := json.Unmarshal(raw, &f); err != nil {
			return credentials{}, fmt.Errorf("%s: %w", path, err)
		}
		c, err := f.find(domain)
		if err != nil {
			return c, fmt.Errorf("%s: %w", path, err)
		}
		if c != (credentials{}) {
			return c, nil
		}
	}
	return credentials{}, nil
}

func (f loginFile) find(domain string) (credentials, error) {
	// Docker Hub goes by an older name there.
	keys := []string{domain, "https://" + domain, "https://" + domain + "/v1/", "https://" + domain + "/v2/"}
	if domain == "docker.io" {
		keys = []string{"https://index.docker.io/v1/", "index.docker.io", "docker.io"}
	}
	for _, key := range keys {
		if helper := f.CredHelpers[key]; helper != "" {
			return ask(helper, key)
		}
	}
	for _, key := range keys {
		a, ok := f.Auths[key]
		if !ok {
			continue
		}
		if a.IdentityToken != "" {
			return credentials{token: a.IdentityToken}, nil
		}
		if a.Auth != "" {
			plain, err := base64.StdEncoding.DecodeString(a.Auth)
			if err != nil {
				return credentials{}, fmt.Errorf("auths: %s: %w", key, err)
			}
			user, password, _ := strings.Cut(string(plain), ":")
			return credentials{user: user, password: strings.TrimRight(password, "\x00")}, nil
		}
	}
	if f.CredsStore != "" {
		return ask(f.CredsStore, keys[0])
	}
	return credentials{}, nil
}

// ask runs a credential helper, docker-credential-NAME.
func ask(helper, server string) (credentials, error) {
	cmd := exec.Command("docker-credential-"+helper, "get")
	cmd.Stdin = strings.NewReader(server)
	out, err := cmd.Output()
	if err != nil {
		if bytes.Contains(out, []byte("credentials not found")) {
			return credentials{}, nil
		}
		return credentials{}, fmt.Errorf("docker-credential-%s: %w: %s", helper, err, bytes.TrimSpace(out))
	}
	var got struct{ Username, Secret string }
	if err := json.Unmarshal(out, &got); err != nil {
		return credentials{}, fmt.Errorf("docker-credential-%s: %w", helper, err)
	}
	if got.Username == "<token>" {
		return credentials{token: got.Secret}, nil
	}
	return credentials{user: got.Username, password: got.Secret}, nil
}
