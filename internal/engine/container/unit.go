package container

import (
	"fmt"

	"porthole/internal/host/launch"
	"porthole/plan"
)

// holdScope starts a process that waits until release ends it. systemd makes no scope without a process, and the
// container's own is to be born in its group, whose limits are set before: this one stands there meanwhile. It has
// nothing of ours in its memory, and dies with us.
func holdScope() (pid int, release func(), err error) {
	p, err := launch.Start(&plan.Plan{
		Child: []plan.Step{{Call: "ppoll", Args: make([]plan.Arg, 4), Why: "hold the scope"}},
	}, launch.Options{})
	if err != nil {
		return 0, nil, fmt.Errorf("a process to hold the scope: %w", err)
	}
	return p.Pid(), func() {
		p.Kill()
		p.Wait()
		p.Close()
	}, nil
}
