package workload

import (
	"fmt"
	"strconv"
	"strings"
)

// Signals are Linux's by name, without SIG, and their numbers on every architecture
// here (signal(7); mips, alpha and sparc, which differ, are none of them).
var Signals = map[string]int{
	"ABRT": 6, "ALRM": 14, "BUS": 7, "CHLD": 17, "CLD": 17, "CONT": 18, "FPE": 8, "HUP": 1,
	"ILL": 4, "INT": 2, "IO": 29, "IOT": 6, "KILL": 9, "PIPE": 13, "POLL": 29, "PROF": 27,
	"PWR": 30, "QUIT": 3, "SEGV": 11, "STKFLT": 16, "STOP": 19, "SYS": 31, "TERM": 15,
	"TRAP": 5, "TSTP": 20, "TTIN": 21, "TTOU": 22, "URG": 23, "USR1": 10, "USR2": 12,
	"VTALRM": 26, "WINCH": 28, "XCPU": 24, "XFSZ": 25,
}

const rtMin, rtMax = 34, 64 // as C libraries number them: 32 and 33 are their own

// Signal returns the number of a signal as Docker lets it be written: "TERM", "SIGTERM",
// "term", "15", "RTMIN+3", "RTMAX-1".
func Signal(s string) (int, error) {
	if n, err := strconv.Atoi(s); err == nil {
		if n < 1 || n > rtMax {
			return 0, fmt.Errorf("invalid signal: %s", s)
		}
		return n, nil
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if n, ok := Signals[name]; ok {
		return n, nil
	}
	for prefix, base := range map[string]int{"RTMIN": rtMin, "RTMAX": rtMax} {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		off := 0
		if rest != "" {
			var err error
			if off, err = strconv.Atoi(rest); err != nil || rest[0] != '+' && rest[0] != '-' {
				break
			}
		}
		if n := base + off; n >= rtMin && n <= rtMax {
			return n, nil
		}
	}
	return 0, fmt.Errorf("invalid signal: %s", s)
}
