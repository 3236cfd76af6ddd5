package abi

// Errno is an error number of the kernel (the generic numbering, which every
// architecture here shares).
type Errno uint16
