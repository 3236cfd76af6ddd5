package profile_test

import (
	"fmt"

	"porthole/abi"
	"porthole/caps"
	"porthole/facts"
	"porthole/seccomp/profile"
)

// Why does strace not work in Docker 18.09?
func Example() {
	p, err := profile.Builtin("docker:18.09")
	if err != nil {
		fmt.Println(err)
		return
	}
	call, err := profile.ParseCall("ptrace(PTRACE_TRACEME, 0)")
	if err != nil {
		fmt.Println(err)
		return
	}
	x, err := p.Explain(call, profile.Conditions{Caps: 0xa80425fb, Arch: abi.X86_64, Kernel: facts.Version{Major: 6, Minor: 18}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(x)
	fmt.Println(p.Entries[x.Missing[0].Entry].String())
	// Output:
	// ptrace(PTRACE_TRACEME, 0): ERRNO(EPERM)
	//   ERRNO(EPERM): the default, as no entry in effect matches
	//   would be ALLOW with CAP_SYS_PTRACE granted (syscalls[19])
	// allow [CAP_SYS_PTRACE]: kcmp process_vm_readv process_vm_writev ptrace
}

func ExampleProfile_Resolve() {
	p, warnings, err := profile.Parse("web.json", []byte(`{
		"defaultAction": "SCMP_ACT_ERRNO",
		"syscalls": [
			{"names": ["openat", "wirte"], "action": "SCMP_ACT_ALLOW"},
			{"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}}
		]
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, w := range warnings {
		fmt.Println("warning:", w)
	}
	for _, c := range []caps.Set{0, caps.Of(caps.CAP_SYS_ADMIN)} {
		policy, _ := p.Resolve(profile.Conditions{Arch: abi.X86_64, Caps: c})
		nr, _ := abi.X86_64.Nr("mount")
		fmt.Println(len(policy.Rules), policy.Decide(abi.X86_64, nr, [6]uint64{}).Action)
	}
	// Output:
	// warning: syscalls[0].names[1]: no system call is called "wirte", skipped; did you mean write?
	// 1 ERRNO(EPERM)
	// 2 ALLOW
}
