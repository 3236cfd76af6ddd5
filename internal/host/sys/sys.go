// Package sys holds the system calls that golang.org/x/sys/unix lacks, and with
// them all of the host half's unsafe: memory that other processes share or a
// child copies, structures the kernel fills, execveat.
//
// Functions are thin: one call each, or one idea that takes two. Errors are
// bare errnos; the caller knows what it asked for.
package sys

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Map maps size bytes of fd, or of nothing where flags say MAP_ANONYMOUS, at addr
// (0: anywhere). The caller unmaps them with Unmap. Unlike unix.Mmap it takes
// MAP_FIXED, for a mapping over a part of another one.
func Map(addr uintptr, size, prot, flags, fd int) ([]byte, error) {
	a, _, e := unix.Syscall6(unix.SYS_MMAP, addr, uintptr(size), uintptr(prot), uintptr(flags), uintptr(fd), 0)
	if e != 0 {
		return nil, e
	}
	return Bytes(a, size), nil
}

// Unmap ends a mapping that Map made.
func Unmap(b []byte) error {
	if _, _, e := unix.Syscall(unix.SYS_MUNMAP, Addr(b), uintptr(len(b)), 0); e != 0 {
		return e
	}
	return nil
}

// Addr returns the address of b's first byte, for memory from Map: the garbage
// collector neither moves nor frees that.
func Addr(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// Bytes returns the size bytes at addr, which must lie outside Go's own heap.
func Bytes(addr uintptr, size int) []byte {
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&addr)), size)
}

// Load64 reads 8 bytes of b that another process may write at this moment; off is a multiple of 8.
func Load64(b []byte, off int) uint64 {
	return atomic.LoadUint64((*uint64)(unsafe.Pointer(&b[off : off+8][0])))
}

// Store64 writes 8 bytes of b that another process may read at this moment; off is a multiple of 8.
func Store64(b []byte, off int, v uint64) {
	atomic.StoreUint64((*uint64)(unsafe.Pointer(&b[off : off+8][0])), v)
}

// Load32 reads 4 bytes of b that another process may write at this moment; off is a multiple of 4.
func Load32(b []byte, off int) uint32 {
	return atomic.LoadUint32((*uint32)(unsafe.Pointer(&b[off : off+4][0])))
}
