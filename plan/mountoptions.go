package plan

import (
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// mountOptions are a mount's options, sorted by what takes them.
type mountOptions struct {
	bind, recursive    bool   // bind, rbind
	set, clear         uint64 // MOUNT_ATTR_* of the mount itself
	deepSet, deepClear uint64 // and of all beneath: rro, …
	propagation        uint64 // MS_SHARED and its like, MS_REC with it; 0: none said
	flags              []string
	data               [][2]string // key=value, for the filesystem
	unknown            []string    // words that may be flags of the filesystem
	mode               bool        // data has a mode
	readOnly           bool
	copyUp             bool // tmpcopyup
	idMap, idMapDeep   bool // idmap, ridmap
}

// attrs are the words that change a mount's attributes: what they set, and what they clear. Each
// also exists with an r in front, for all mounts beneath.
var attrs = map[string]struct{ set, clear uint64 }{
	"ro": {attrRdonly, 0}, "rw": {0, attrRdonly},
	"nosuid": {attrNosuid, 0}, "suid": {0, attrNosuid},
	"nodev": {attrNodev, 0}, "dev": {0, attrNodev},
	"noexec": {attrNoexec, 0}, "exec": {0, attrNoexec},
	"nodiratime": {attrNodiratime, 0}, "diratime": {0, attrNodiratime},
	"nosymfollow": {attrNosymfollow, 0}, "symfollow": {0, attrNosymfollow},
	"noatime": {attrNoatime, attrAtime}, "strictatime": {attrStrictatime, attrAtime}, "relatime": {0, attrAtime},
	"atime": {0, attrAtime}, "norelatime": {0, attrAtime}, "nostrictatime": {0, attrAtime},
}

// superFlags are words that every filesystem takes as they are (vfs_parse_sb_flag, fs/fs_context.c);
// ignored ones say what holds anyway.
var superFlags = map[string]bool{"sync": true, "dirsync": true, "lazytime": true, "mand": true}

var ignored = map[string]bool{
	"defaults": true, "async": true, "loud": true, "silent": true, "nolazytime": true, "nomand": true,
	"iversion": true, "noiversion": true, "remount": true, "newinstance": true,
}

// parseOptions sorts the words.
func parseOptions(m specs.Mount) (o mountOptions) {
	o.bind = m.Type == "bind"
	for _, w := range m.Options {
		key, value, hasValue := strings.Cut(w, "=")
		deep, rest := attrs[strings.TrimPrefix(w, "r")], strings.HasPrefix(w, "r")
		switch a, ok := attrs[w]; {
		case w == "bind":
			o.bind = true
		case w == "rbind":
			o.bind, o.recursive = true, true
		case ok:
			o.set, o.clear = o.set&^a.clear|a.set, o.clear&^a.set|a.clear
		case rest && deep.set|deep.clear != 0:
			o.deepSet, o.deepClear = o.deepSet&^deep.clear|deep.set, o.deepClear&^deep.set|deep.clear
		case propagations[w] != 0:
			o.propagation = propagations[w]
		case superFlags[w]:
			o.flags = append(o.flags, w)
		case ignored[w] || w == "":
		case w == "tmpcopyup":
			o.copyUp = true
		case w == "idmap" || w == "ridmap":
			o.idMap, o.idMapDeep = true, w == "ridmap"
		case hasValue:
			o.data = append(o.data, [2]string{key, value})
			o.mode = o.mode || key == "mode"
		default:
			o.unknown = append(o.unknown, w)
		}
	}
	o.readOnly = o.set&attrRdonly != 0
	return o
}

// MountOptions lists, sorted, the words that porthole itself knows in a mount's options; others are the filesystem's.
func MountOptions() []string {
	words := []string{"bind", "rbind", "tmpcopyup", "idmap", "ridmap"}
	for w := range attrs {
		words = append(words, w, "r"+w)
	}
	for _, m := range []map[string]bool{superFlags, ignored} {
		words = slices.AppendSeq(words, maps.Keys(m))
	}
	words = slices.AppendSeq(words, maps.Keys(propagations))
	slices.Sort(words)
	return slices.Compact(words)
}
