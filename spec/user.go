package spec

import (
	"bytes"
	"errors"
	"io"
	"math"
	"slices"

	"github.com/moby/sys/user"
)

// User is who a process runs as, by number.
type User struct {
	UID, GID uint32
	Groups   []uint32 // supplementary; the primary one is not among them unless listed
	Home     string   // "/" where the user database does not say
}

// ResolveUser looks up what --user or an image says, "uid", "name", "uid:gid" or "name:group",
// in the image's own passwd and group files; nil means that there is no such file. The words
// of its errors are Docker's: "unable to find user nosuch: no matching entries in passwd file".
func ResolveUser(spec string, passwd, group []byte) (User, error) {
	u, err := user.GetExecUser(spec, &user.ExecUser{Home: "/"}, reader(passwd), reader(group))
	if err != nil {
		return User{}, err
	}
	who := User{UID: id(u.Uid), GID: id(u.Gid), Home: u.Home}
	for _, g := range u.Sgids {
		who.Groups = append(who.Groups, id(g))
	}
	return who, nil
}

// ResolveGroups looks up what --group-add says. A name needs a group file; the error is
// Docker's: "unable to find group nosuch".
func ResolveGroups(names []string, group []byte) ([]uint32, error) {
	if slices.Contains(names, "") { // of which the parser makes no group, and goes on with it
		return nil, errors.New("--group-add: a group has a name or a number")
	}
	gids, err := user.GetAdditionalGroups(names, reader(group))
	if err != nil {
		return nil, err
	}
	slices.Sort(gids) // they come out of a map
	out := make([]uint32, len(gids))
	for i, g := range gids {
		out[i] = id(g)
	}
	return out, nil
}

// id narrows what the parser has already held to 0 … 2^31-1.
func id(n int) uint32 { return uint32(min(max(n, 0), math.MaxInt32)) }

func reader(file []byte) io.Reader {
	if file == nil {
		return nil
	}
	return bytes.NewReader(file)
}

// unique keeps of each group the first: setgroups(2) would take one twice, and show it twice.
func unique(groups []uint32) (all []uint32) {
	for _, g := range groups {
		if !slices.Contains(all, g) {
			all = append(all, g)
		}
	}
	return all
}
