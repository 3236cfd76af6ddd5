package cli

import "testing"

// A command that is made alone is the one that was asked for, and among all of them there is no other.
func TestCommands(t *testing.T) {
	a := &app{}
	all := a.command(nil).Commands()
	if len(all) < 20 {
		t.Fatalf("%d commands", len(all))
	}
	for _, c := range all {
		if c.Name() == "completion" || c.Name() == "help" { // cobra's, which are about all
			continue
		}
		alone := a.command([]string{c.Name()}).Commands()
		if len(alone) != 1 || alone[0].Name() != c.Name() {
			t.Errorf("%s: %d commands are made", c.Name(), len(alone))
		}
	}
}
