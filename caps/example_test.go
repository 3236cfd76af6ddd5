package caps_test

import (
	"fmt"

	"porthole/caps"
)

// What a setuid-root program gets, with no_new_privs and without.
func ExampleState_Exec() {
	user := caps.State{UID: 1000, EUID: 1000, SUID: 1000, FSUID: 1000, Bounding: caps.Of(caps.CAP_CHOWN, caps.CAP_KILL)}
	sudo := caps.File{SetUID: true, Owner: 0}

	s, _ := user.Exec(sudo)
	fmt.Println(s.EUID, s.Effective)
	s, _ = user.SetNoNewPrivs().Exec(sudo)
	fmt.Println(s.EUID, s.Effective.Len())

	ping := caps.File{Caps: caps.FileCaps{Present: true, Permitted: caps.Of(caps.CAP_NET_RAW), Effective: true}}
	_, err := user.Exec(ping)
	fmt.Println(err)
	// Output:
	// 0 CAP_CHOWN,CAP_KILL
	// 1000 0
	// operation not permitted: the file's capabilities include CAP_NET_RAW, which the bounding set lacks
}

func ExampleParse() {
	c, _ := caps.Parse("sys_ptrace")
	fmt.Println(c)
	_, err := caps.Parse("SYS_PTRAEC")
	fmt.Println(err)
	// Output:
	// CAP_SYS_PTRACE
	// unknown capability "SYS_PTRAEC"; did you mean SYS_PTRACE?
}
