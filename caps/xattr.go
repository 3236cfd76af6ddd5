package caps

import (
	"encoding/binary"
	"fmt"
)

// The attribute security.capability (struct vfs_ns_cap_data, include/uapi/linux/capability.h),
// in little-endian words:
//
//	magic: revision<<24 | effective
//	permitted, inheritable: bits 0 to 31
//	permitted, inheritable: bits 32 to 63   revisions 2 and 3
//	rootid                                  revision 3
const (
	xattrEffective = 1
	xattrRevision  = 24
)

// xattrSizes are the attribute's sizes by revision.
var xattrSizes = [...]int{1: 12, 2: 20, 3: 24}

// ParseXattr reads the value of a file's security.capability attribute, of any of its
// three revisions. Capabilities newer than Last are kept. It fails where the kernel would
// (get_vfs_caps_from_disk, security/commoncap.c), which lets no such file be executed.
func ParseXattr(value []byte) (FileCaps, error) {
	if len(value) < 4 {
		return FileCaps{}, fmt.Errorf("security.capability: %d bytes are too few", len(value))
	}
	word := func(i int) Set { return Set(binary.LittleEndian.Uint32(value[4*i:])) }
	magic := word(0)
	revision := int(magic >> xattrRevision)
	if revision == 0 || revision >= len(xattrSizes) {
		return FileCaps{}, fmt.Errorf("security.capability: unknown revision %d", revision)
	}
	if len(value) != xattrSizes[revision] {
		return FileCaps{}, fmt.Errorf("security.capability: %d bytes, but revision %d has %d", len(value), revision, xattrSizes[revision])
	}
	f := FileCaps{Present: true, Permitted: word(1), Inheritable: word(2), Effective: magic&xattrEffective != 0}
	if revision > 1 {
		f.Permitted |= word(3) << 32
		f.Inheritable |= word(4) << 32
	}
	if revision > 2 {
		f.RootID = int(word(5))
	}
	return f, nil
}

// Xattr returns f as a value for security.capability: of revision 2, or 3 if f is for
// another namespace than the one above all.
func (f FileCaps) Xattr() []byte {
	revision := 2
	if f.RootID != 0 {
		revision = 3
	}
	magic := uint32(revision) << xattrRevision
	if f.Effective {
		magic |= xattrEffective
	}
	words := []uint32{magic, uint32(f.Permitted), uint32(f.Inheritable), uint32(f.Permitted >> 32), uint32(f.Inheritable >> 32), uint32(f.RootID)}
	value := make([]byte, 0, xattrSizes[3])
	for _, w := range words {
		value = binary.LittleEndian.AppendUint32(value, w)
	}
	return value[:xattrSizes[revision]]
}

// String returns f as getcap and getpcaps write it: "cap_net_raw=ep".
func (f FileCaps) String() string {
	e := Set(0)
	if f.Effective {
		e = f.Permitted | f.Inheritable
	}
	return text(e, f.Inheritable, f.Permitted)
}
