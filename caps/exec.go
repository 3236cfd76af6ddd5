package caps

// File is what an executable brings to execve.
type File struct {
	SetUID bool // has the set-user-ID bit
	Owner  int  // whose it is, in the process's user namespace; -1 if unmapped there, which disables both bits

	// SetGID says that the file has the set-group-ID bit and the group's execute bit, and
	// belongs to a group that is neither the process's nor a supplementary one of it.
	SetGID bool

	Caps FileCaps // security.capability, if it has one

	// NoSUID says that the mount has nosuid, or is of another user namespace: neither
	// the bits nor file capabilities count (mnt_may_suid, fs/namespace.c).
	NoSUID bool
}

// FileCaps are the capabilities of a file.
type FileCaps struct {
	Present                bool // the file has the attribute, if only with empty sets
	Permitted, Inheritable Set
	Effective              bool // one bit for all: the program knows nothing of capabilities

	// RootID is the owner of the user namespace for which they count, as seen from the
	// process's: 0 counts there. Those set for a namespace above count as well, so that
	// whoever reads a file of the host for a process in a container gives 0 here.
	RootID int
}

// Exec returns s as it is after execve of f, by cap_bprm_creds_from_file
// (security/commoncap.c) and bprm_fill_uid (fs/exec.c) of Linux 7.3. It fails with a
// *Refusal where execve does: EPERM, if the file's effective bit is set and a permitted
// capability of it is outside the bounding set.
//
// The process is not traced by one that lacks CAP_SYS_PTRACE, and shares its fs_struct
// (CLONE_FS) with nobody; a script counts as its interpreter. Earlier kernels took the
// ambient set away whenever the new effective uid was not the real one, even if execve did
// not change it.
func (s State) Exec(f File) (State, error) {
	new := s

	if f.SetUID && f.Owner >= 0 && !f.NoSUID && !s.NoNewPrivs {
		new.EUID = f.Owner
	}
	setGID := f.SetGID && f.Owner >= 0 && !f.NoSUID && !s.NoNewPrivs
	idChanged := new.EUID != s.EUID || setGID

	// get_file_caps: pP' = (X & fP) | (pI & fI).
	new.Permitted = 0
	hasCaps := f.Caps.Present && f.Caps.RootID == 0 && !f.NoSUID
	effective := hasCaps && f.Caps.Effective
	if hasCaps {
		permitted := f.Caps.Permitted & All
		new.Permitted = s.Bounding&permitted | s.Inheritable&f.Caps.Inheritable&All
		if missing := permitted &^ new.Permitted; effective && missing != 0 {
			return s, refuse("the file's capabilities include "+missing.String()+", which the bounding set lacks", missing)
		}
	}

	// handle_privileged_root: root gets all that the bounding set has, except by a
	// setuid-root file that has capabilities of its own.
	becameRoot := new.UID != 0 && new.EUID == 0
	if s.Securebits&SECBIT_NOROOT == 0 && !(hasCaps && becameRoot) {
		if new.UID == 0 || new.EUID == 0 {
			new.Permitted = s.Bounding | s.Inheritable
		}
		if new.EUID == 0 {
			effective = true
		}
	}

	// no_new_privs has ruled the bits out already; whoever would gain by capabilities keeps
	// the real uid and the old permitted set at most.
	if s.NoNewPrivs && !s.Permitted.Includes(new.Permitted) {
		new.EUID = new.UID
		new.Permitted &= s.Permitted
	}

	new.SUID, new.FSUID = new.EUID, new.EUID
	if hasCaps || idChanged {
		new.Ambient = 0
	}
	new.Permitted |= new.Ambient
	new.Effective = new.Ambient
	if effective {
		new.Effective = new.Permitted
	}
	new.Securebits &^= SECBIT_KEEP_CAPS
	return new, nil
}
