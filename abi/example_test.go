package abi_test

import (
	"fmt"

	"porthole/abi"
)

func ExampleArch_Nr() {
	for _, a := range abi.X86_64.Siblings() {
		nr, _ := a.Nr("ptrace")
		fmt.Printf("%s %#x %#x\n", a, a.Audit(), nr)
	}
	// Output:
	// x86_64 0xc000003e 0x65
	// x86 0x40000003 0x1a
	// x32 0xc000003e 0x40000209
}

func ExampleParams() {
	for _, p := range abi.Params("socket") {
		fmt.Printf("%s %s: %d bits, %q\n", p.Type, p.Name, p.Bits(), p.Group)
	}
	fmt.Println(abi.Flags("family", 40), abi.Flags("socktype", 0x80001))
	// Output:
	// int family: 32 bits, "family"
	// int type: 32 bits, "socktype"
	// int protocol: 32 bits, ""
	// AF_VSOCK SOCK_STREAM|SOCK_CLOEXEC
}
