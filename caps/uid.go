package caps

// Keep stands for an id that SetREUID and SetRESUID leave as it is.
const Keep = -1

// SetUID returns s after setuid (__sys_setuid, kernel/sys.c).
func (s State) SetUID(uid int) (State, error) {
	new := s
	switch {
	case uid < 0:
		return s, invalid("no such uid")
	case s.Effective.Has(CAP_SETUID):
		new.UID, new.SUID = uid, uid
	case uid != s.UID && uid != s.SUID:
		return s, refuseUID()
	}
	new.EUID, new.FSUID = uid, uid
	return new.fixup(s), nil
}

// SetEUID returns s after seteuid, which is SetRESUID with the others kept.
func (s State) SetEUID(euid int) (State, error) {
	if euid < 0 {
		return s, invalid("no such uid")
	}
	return s.SetRESUID(Keep, euid, Keep)
}

// SetREUID returns s after setreuid (__sys_setreuid, kernel/sys.c).
func (s State) SetREUID(ruid, euid int) (State, error) {
	new := s
	privileged := s.Effective.Has(CAP_SETUID)
	if ruid != Keep {
		if new.UID = ruid; ruid != s.UID && ruid != s.EUID && !privileged {
			return s, refuseUID()
		}
	}
	if euid != Keep {
		if new.EUID = euid; euid != s.UID && euid != s.EUID && euid != s.SUID && !privileged {
			return s, refuseUID()
		}
	}
	if ruid != Keep || euid != Keep && euid != s.UID {
		new.SUID = new.EUID
	}
	new.FSUID = new.EUID
	return new.fixup(s), nil
}

// SetRESUID returns s after setresuid (__sys_setresuid, kernel/sys.c).
func (s State) SetRESUID(ruid, euid, suid int) (State, error) {
	set := func(id *int, to int) bool {
		if to == Keep {
			return true
		}
		*id = to
		return to == s.UID || to == s.EUID || to == s.SUID
	}
	new := s
	own := set(&new.UID, ruid)
	own = set(&new.EUID, euid) && own
	own = set(&new.SUID, suid) && own
	if !own && !s.Effective.Has(CAP_SETUID) {
		return s, refuseUID()
	}
	// A call that changes nothing leaves fsuid as it is; one that sets euid to itself
	// while fsuid differs is no such call.
	if new.UID == s.UID && new.SUID == s.SUID && (euid == Keep || euid == s.EUID && euid == s.FSUID) {
		return s, nil
	}
	new.FSUID = new.EUID
	return new.fixup(s), nil
}

// fsCaps are those that follow the file system uid (CAP_FS_SET, include/linux/capability.h).
const fsCaps Set = 1<<CAP_CHOWN | 1<<CAP_MKNOD | 1<<CAP_DAC_OVERRIDE | 1<<CAP_DAC_READ_SEARCH |
	1<<CAP_FOWNER | 1<<CAP_FSETID | 1<<CAP_MAC_OVERRIDE | 1<<CAP_LINUX_IMMUTABLE

// SetFSUID returns s after setfsuid, which never fails: a uid that may not be taken
// leaves s as it is (__sys_setfsuid, kernel/sys.c).
func (s State) SetFSUID(uid int) State {
	own := uid == s.UID || uid == s.EUID || uid == s.SUID
	if uid < 0 || uid == s.FSUID || !own && !s.Effective.Has(CAP_SETUID) {
		return s
	}
	new := s
	new.FSUID = uid
	if s.Securebits&SECBIT_NO_SETUID_FIXUP == 0 {
		switch {
		case s.FSUID == 0:
			new.Effective &^= fsCaps
		case uid == 0:
			new.Effective |= s.Permitted & fsCaps
		}
	}
	return new
}

// fixup makes the sets follow a change of uids from old (cap_emulate_setxuid,
// security/commoncap.c): leaving root empties them, coming and going with the effective
// uid alone empties and fills the effective set.
func (s State) fixup(old State) State {
	if s.Securebits&SECBIT_NO_SETUID_FIXUP != 0 {
		return s
	}
	if (old.UID == 0 || old.EUID == 0 || old.SUID == 0) && s.UID != 0 && s.EUID != 0 && s.SUID != 0 {
		if s.Securebits&SECBIT_KEEP_CAPS == 0 {
			s.Permitted, s.Effective = 0, 0
		}
		s.Ambient = 0
	}
	switch {
	case old.EUID == 0 && s.EUID != 0:
		s.Effective = 0
	case old.EUID != 0 && s.EUID == 0:
		s.Effective = s.Permitted
	}
	return s
}

func refuseUID() error {
	return refuse("a uid that is not one's own takes CAP_SETUID in the effective set", Of(CAP_SETUID))
}
