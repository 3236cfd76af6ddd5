package plan

import (
	"errors"

	"github.com/opencontainers/runtime-spec/specs-go"

	"porthole/facts"
)

// Join returns the plan of a process that enters a running container.
func Join(process *specs.Process, opt JoinOptions, f facts.Facts) (*Plan, error) {
	return nil, errors.New("exec: not yet")
}
