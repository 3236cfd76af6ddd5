package launch

import "errors"

func InitFD() (int, error) { return -1, errors.New("x") }
