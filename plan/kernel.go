package plan

import "porthole/abi"

// The kernel's numbers, the same on every architecture here (include/uapi/linux, v6.12:
// mount.h, fcntl.h, openat2.h, sched.h, prctl.h, close_range.h, seccomp.h, keyctl.h; and
// asm-generic/ioctls.h, whose TIOC* x86, arm and riscv share).
const (
	atFDCWD           = -100
	atSymlinkNoFollow = 0x100
	atRecursive       = 0x8000
	atEmptyPath       = 0x1000

	oWronly  = 0x1
	oRdwr    = 0x2
	oCreat   = 0x40
	oExcl    = 0x80
	oNoctty  = 0x100
	oCloexec = 0x80000
	oPath    = 0x200000

	resolveNoXdev       = 0x01
	resolveNoMagiclinks = 0x02
	resolveNoSymlinks   = 0x04
	resolveBeneath      = 0x08
	resolveInRoot       = 0x10

	msRdonly  = 0x1
	msNosuid  = 0x2
	msNodev   = 0x4
	msNoexec  = 0x8
	msRemount = 0x20
	msBind    = 0x1000
	msMove    = 0x2000
	msRec     = 0x4000
	msPrivate = 0x40000
	msSlave   = 0x80000
	msShared  = 0x100000

	msNoatime     = 0x400
	msNodiratime  = 0x800
	msStrictatime = 0x1000000
	msUnbindable  = 0x20000
	mntDetach     = 0x2

	fsopenCloexec     = 0x1
	fsmountCloexec    = 0x1
	fsconfigFlag      = 0
	fsconfigString    = 1
	fsconfigFD        = 5
	fsconfigCreate    = 6
	openTreeClone     = 0x1
	openTreeCloexec   = oCloexec
	moveFromFD        = 0x4  // MOVE_MOUNT_F_EMPTY_PATH
	moveToFD          = 0x40 // MOVE_MOUNT_T_EMPTY_PATH
	attrRdonly        = 0x1
	attrNosuid        = 0x2
	attrNodev         = 0x4
	attrNoexec        = 0x8
	attrAtime         = 0x70 // the field of the next three; 0 in it is relatime
	attrNoatime       = 0x10
	attrStrictatime   = 0x20
	attrNodiratime    = 0x80
	attrNosymfollow   = 0x200000
	sizeofMountAttr   = 32
	closeRangeCloexec = 0x4

	newNS     = 0x20000
	newCgroup = 0x2000000
	newUTS    = 0x4000000
	newIPC    = 0x8000000
	newUser   = 0x10000000
	newPID    = 0x20000000
	newNet    = 0x40000000
	newTime   = 0x80

	cloneParent = 0x8000
	sigKill     = 9
	sigChld     = 17

	prSetPdeathsig   = 1
	prSetDumpable    = 4
	prSetKeepcaps    = 8
	prCapbsetDrop    = 24
	prSetNoNewPrivs  = 38
	prCapAmbient     = 47
	ambientRaise     = 2
	ambientClear     = 4
	capVersion3      = 0x20080522
	seccompSetFilter = 1
	flagTsync        = 0x1  // SECCOMP_FILTER_FLAG_TSYNC
	flagWaitKillable = 0x20 // SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	flagNewListener  = 8    // SECCOMP_FILTER_FLAG_NEW_LISTENER

	keyctlJoinSession = 1
	keyctlSetPerm     = 5

	tiocsctty   = 0x540e
	tiocswinsz  = 0x5414
	tiocsptlck  = 0x40045431
	tiocgptpeer = 0x5441

	afInet       = 2
	sockDgram    = 2
	sockCloexec  = oCloexec
	siocsifflags = 0x8914
	iffUp        = 0x1

	sIFCHR = 0o020000
	sIFBLK = 0o060000
	sIFIFO = 0o010000
)

// Error numbers that plans tolerate, beside those that abi names (asm-generic/errno-base.h).
const (
	e2big   abi.Errno = 7
	enoexec abi.Errno = 8
	eagain  abi.Errno = 11
	ebusy   abi.Errno = 16
	eexist  abi.Errno = 17
	enodev  abi.Errno = 19
	enotdir abi.Errno = 20
	enospc  abi.Errno = 28
	erofs   abi.Errno = 30
	eloop   abi.Errno = 40
	edquot  abi.Errno = 122
)

// The bits of open(2) that differ: arm and powerpc have their own (asm/fcntl.h).
func openBits(a abi.Arch) (directory, nofollow uint64) {
	switch a {
	case abi.ARM64, abi.ARM, abi.PPC64LE:
		return 0x4000, 0x8000
	}
	return 0x10000, 0x20000
}
