package caps

// SetCaps returns s after capset (cap_capset, security/commoncap.c). Capabilities that
// the kernel does not know are left out.
func (s State) SetCaps(effective, permitted, inheritable Set) (State, error) {
	effective, permitted, inheritable = effective&All, permitted&All, inheritable&All
	if more := inheritable &^ (s.Inheritable | s.Permitted); more != 0 && !s.Effective.Has(CAP_SETPCAP) {
		return s, refuse("to make inheritable what is not permitted takes CAP_SETPCAP", more)
	}
	if more := inheritable &^ (s.Inheritable | s.Bounding); more != 0 {
		return s, refuse("what the bounding set lacks cannot become inheritable", more)
	}
	if more := permitted &^ s.Permitted; more != 0 {
		return s, refuse("the permitted set cannot grow", more)
	}
	if more := effective &^ permitted; more != 0 {
		return s, refuse("what is not permitted cannot be effective", more)
	}
	s.Effective, s.Permitted, s.Inheritable = effective, permitted, inheritable
	s.Ambient &= permitted & inheritable
	return s, nil
}

// DropBounding returns s after prctl(PR_CAPBSET_DROP) (cap_prctl_drop, security/commoncap.c).
// What a process already holds it keeps.
func (s State) DropBounding(c Cap) (State, error) {
	if !s.Effective.Has(CAP_SETPCAP) {
		return s, refuse("to drop from the bounding set takes CAP_SETPCAP", Of(CAP_SETPCAP))
	}
	if c > Last {
		return s, invalid("no such capability")
	}
	s.Bounding = s.Bounding.Remove(c)
	return s, nil
}

// RaiseAmbient returns s after prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE)
// (cap_task_prctl, security/commoncap.c).
func (s State) RaiseAmbient(c Cap) (State, error) {
	switch {
	case c > Last:
		return s, invalid("no such capability")
	case !(s.Permitted & s.Inheritable).Has(c):
		return s, refuse("only what is both permitted and inheritable can be ambient", Of(c))
	case s.Securebits&SECBIT_NO_CAP_AMBIENT_RAISE != 0:
		return s, refuse("SECBIT_NO_CAP_AMBIENT_RAISE is set", 0)
	}
	s.Ambient = s.Ambient.Add(c)
	return s, nil
}

// LowerAmbient returns s after prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER).
func (s State) LowerAmbient(c Cap) (State, error) {
	if c > Last {
		return s, invalid("no such capability")
	}
	s.Ambient = s.Ambient.Remove(c)
	return s, nil
}

// ClearAmbient returns s after prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL).
func (s State) ClearAmbient() State {
	s.Ambient = 0
	return s
}

// The switches of Securebits, and those that anybody may change (SECURE_ALL_BITS,
// SECURE_ALL_UNPRIVILEGED, include/uapi/linux/securebits.h). Each one's lock is the next bit.
const (
	secureBits       = SECBIT_NOROOT | SECBIT_NO_SETUID_FIXUP | SECBIT_KEEP_CAPS | SECBIT_NO_CAP_AMBIENT_RAISE | secureEverybody
	secureEverybody  = SECBIT_EXEC_RESTRICT_FILE | SECBIT_EXEC_DENY_INTERACTIVE
	secureLocks      = secureBits << 1
	securePrivileged = (secureBits | secureLocks) &^ (secureEverybody | secureEverybody<<1)
)

// SetSecurebits returns s after prctl(PR_SET_SECUREBITS) (cap_task_prctl,
// security/commoncap.c, of Linux 6.14 and later, which has the SECBIT_EXEC_ bits).
func (s State) SetSecurebits(bits Securebits) (State, error) {
	changed := s.Securebits ^ bits
	switch {
	case s.Securebits&secureLocks>>1&changed != 0:
		return s, refuse("a locked securebit cannot change", 0)
	case s.Securebits&secureLocks&^bits != 0:
		return s, refuse("a lock of securebits cannot be undone", 0)
	case bits&^(secureBits|secureLocks) != 0:
		return s, refuse("no such securebit", 0)
	case !s.Effective.Has(CAP_SETPCAP) && (changed == 0 || changed&securePrivileged != 0):
		return s, refuse("to set securebits takes CAP_SETPCAP", Of(CAP_SETPCAP))
	}
	s.Securebits = bits
	return s, nil
}

// SetKeepCaps returns s after prctl(PR_SET_KEEPCAPS).
func (s State) SetKeepCaps(keep bool) (State, error) {
	if s.Securebits&SECBIT_KEEP_CAPS_LOCKED != 0 {
		return s, refuse("SECBIT_KEEP_CAPS is locked", 0)
	}
	s.Securebits &^= SECBIT_KEEP_CAPS
	if keep {
		s.Securebits |= SECBIT_KEEP_CAPS
	}
	return s, nil
}

// SetNoNewPrivs returns s after prctl(PR_SET_NO_NEW_PRIVS), which nothing undoes.
func (s State) SetNoNewPrivs() State {
	s.NoNewPrivs = true
	return s
}
