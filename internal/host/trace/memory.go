package trace

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// memory reads what stands at addr in a thread's memory: size bytes, or a string, of up to 4096.
func memory(tid int, addr uint64, size int, text bool) (string, error) {
	if addr == 0 {
		return "", unix.EFAULT
	}
	want := size
	if text {
		want = unix.PathMax
	}
	buf := make([]byte, want)
	// Page by page, since a string may end just before memory that is not there.
	page := uint64(os.Getpagesize())
	got := 0
	for got < want {
		n := min(want-got, int(page-(addr+uint64(got))%page))
		local := []unix.Iovec{{Base: &buf[got]}}
		local[0].SetLen(n)
		remote := []unix.RemoteIovec{{Base: uintptr(addr) + uintptr(got), Len: n}}
		m, err := unix.ProcessVMReadv(tid, local, remote, 0)
		if m <= 0 || err != nil {
			if text || got == 0 || err == nil {
				if err == nil {
					err = unix.EFAULT
				}
				return "", err
			}
			break
		}
		if text {
			if end := strings.IndexByte(string(buf[got:got+m]), 0); end >= 0 {
				return string(buf[:got+end]), nil
			}
		}
		got += m
	}
	return string(buf[:got]), nil
}
