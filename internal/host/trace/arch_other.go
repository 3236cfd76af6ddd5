//go:build !amd64 && !arm64

package trace

// registers are not known here: Attach fails, and the other way remains.
var registers machine
