package caps

// Refusal is a kernel's no to a change of State. It is what the methods of State fail with.
type Refusal struct {
	Errno   string // "EPERM" or "EINVAL"
	Why     string
	Missing Set // what would have had to be there, if it was that
}

func (r *Refusal) Error() string {
	if r.Errno == "EINVAL" {
		return "invalid argument: " + r.Why
	}
	return "operation not permitted: " + r.Why
}

func refuse(why string, missing Set) error { return &Refusal{"EPERM", why, missing} }

func invalid(why string) error { return &Refusal{"EINVAL", why, 0} }
