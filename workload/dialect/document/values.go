package document

import (
	"fmt"
	"math/big"
	"path"
	"regexp"
	"strconv"
	"strings"

	"porthole/tree"
	"porthole/workload"
)

// unnamed is what a workload without a name is called where a name must be; it is read back as none.
const unnamed = "unnamed"

func ptr[T any](v T) *T { return &v }

// label says whether s is an RFC 1123 label, which names of Kubernetes, Marathon and machines are.
func label(s string) bool {
	return len(s) <= 63 && regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`).MatchString(s)
}

// userIDs takes a "uid" or "uid:gid" of numbers apart.
func userIDs(user string) (uid, gid *int64, ok bool) {
	u, g, both := strings.Cut(user, ":")
	number := func(s string) *int64 {
		n, err := strconv.ParseUint(s, 10, 31)
		if err != nil || strconv.FormatUint(n, 10) != s {
			return nil
		}
		return ptr(int64(n))
	}
	if uid = number(u); uid == nil {
		return nil, nil, false
	}
	if both {
		if gid = number(g); gid == nil {
			return nil, nil, false
		}
	}
	return uid, gid, true
}

// quantity reads Kubernetes' numbers: "100m", "1.5", "64Mi", "1G", "1e3" (apimachinery, resource.Quantity).
func quantity(n *tree.Node) *big.Rat {
	s := n.Text()
	if s == "" {
		return nil
	}
	digits := strings.TrimRight(s, "numkMGTPEi")
	if strings.HasSuffix(s, "E") && strings.Trim(digits, "0123456789.+-") != "" {
		digits = s
	}
	unit, ok := map[string]*big.Rat{
		"": big.NewRat(1, 1), "n": big.NewRat(1, 1e9), "u": big.NewRat(1, 1e6), "m": big.NewRat(1, 1e3),
		"k": big.NewRat(1e3, 1), "M": big.NewRat(1e6, 1), "G": big.NewRat(1e9, 1), "T": big.NewRat(1e12, 1), "P": big.NewRat(1e15, 1), "E": big.NewRat(1e18, 1),
		"Ki": big.NewRat(1<<10, 1), "Mi": big.NewRat(1<<20, 1), "Gi": big.NewRat(1<<30, 1), "Ti": big.NewRat(1<<40, 1), "Pi": big.NewRat(1<<50, 1), "Ei": big.NewRat(1<<60, 1),
	}[s[len(digits):]]
	r, num := tree.ParseNumber(digits)
	if !ok || !num || r.Sign() < 0 {
		n.Fail("%q is no quantity such as 100m, 1.5 or 64Mi", s)
		return nil
	}
	return r.Mul(r, unit)
}

// whole rounds r up to a whole number, as Kubernetes does.
func whole(n *tree.Node, r *big.Rat) int64 {
	if r == nil {
		return 0
	}
	i := new(big.Int).Add(r.Num(), new(big.Int).Sub(r.Denom(), big.NewInt(1)))
	i.Quo(i, r.Denom())
	if !i.IsInt64() {
		n.Fail("%s is too large", n.Text())
		return 0
	}
	return i.Int64()
}

func times(r *big.Rat, n int64) *big.Rat {
	if r == nil {
		return nil
	}
	return new(big.Rat).Mul(r, big.NewRat(n, 1))
}

// bytesOf says a number of bytes with the largest unit that holds it whole.
func bytesOf(n int64) string {
	for _, u := range []struct {
		name string
		size int64
	}{{"Gi", 1 << 30}, {"Mi", 1 << 20}, {"Ki", 1 << 10}} {
		if n >= u.size && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

// decimal says n thousand-millionths as a decimal number.
func decimal(n int64) string {
	return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%d.%09d", n/1e9, n%1e9), "0"), ".")
}

// seccompFile reads the document that a text names. Without it nothing may run: no filter is not what was asked for.
func (r *reading) seccompFile(n *tree.Node, name string, s *workload.Security) {
	s.Seccomp, s.SeccompDoc = name, nil
	if r.o.NamesOnly {
		return
	}
	doc, err := r.o.readFile(name)
	if err != nil {
		n.Fail("the seccomp profile can't be read: %v", err)
		return
	}
	s.SeccompDoc = doc
}

func (o Options) readFile(name string) ([]byte, error) {
	if o.Outside.ReadFile == nil {
		return nil, fmt.Errorf("open %s: no files here", name)
	}
	return o.Outside.ReadFile(name)
}

// abs finds a path of the caller's.
func (o Options) abs(p string) string {
	if rest, ok := strings.CutPrefix(p, "~/"); ok && o.Outside.Env != nil {
		if home, ok := o.Outside.Env("HOME"); ok {
			p = path.Join(home, rest)
		}
	}
	if path.IsAbs(p) {
		return path.Clean(p)
	}
	return path.Join("/", o.Outside.Dir, p)
}

// seccompName takes the filter of a workload for a text that names a file: "", "unconfined", "builtin", or the file's
// name. A document that no file holds can't be named.
func (w *writing) seccompName() string {
	s := &w.Security
	name := take(&s.Seccomp)
	doc := take(&s.SeccompDoc)
	if doc == nil || name == "unconfined" || name == "builtin" {
		return name
	}
	if w.o.File != "" {
		return w.o.File
	}
	if have, err := w.o.readFile(name); err != nil || string(have) != string(doc) {
		w.loseFilter(name, len(doc), "the text names a file, and none holds it; `convert --seccomp FILE` writes one")
	}
	return name
}

func (w *writing) loseFilter(name string, size int, why string) {
	w.lose("Security.Seccomp", name, why)
	w.lose("Security.SeccompDoc", fmt.Sprintf("a document of %d bytes", size), why)
}

// capName spells a capability as Kubernetes and systemd's neighbours do, without CAP_ or with it.
func capName(s string, prefix bool) string {
	s = strings.TrimPrefix(strings.ToUpper(s), "CAP_")
	if prefix && s != "ALL" {
		s = "CAP_" + s
	}
	return s
}

// named finds one of several containers by its name, or by what follows the / in it. It fails where want is none of
// them or several, and where want is "" and there are several.
func named(names []string, want string) (int, error) {
	all := names[:min(len(names), 20)]
	there := strings.Join(all, ", ")
	if len(names) > len(all) {
		there += ", …"
	}
	if want == "" {
		if len(names) == 1 {
			return 0, nil
		}
		return 0, fmt.Errorf("it holds %d containers: choose one with --container: %s", len(names), there)
	}
	found := -1
	for i, n := range names {
		_, last, _ := strings.Cut(n, "/")
		if n != want && last != want {
			continue
		}
		if found >= 0 && names[found] != want {
			return 0, fmt.Errorf("several containers are called %s: choose one of %s", want, there)
		}
		if found < 0 || n == want {
			found = i
		}
	}
	if found < 0 {
		return 0, fmt.Errorf("no container is called %s; there are %s", want, there)
	}
	return found, nil
}
