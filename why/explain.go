package why

import "porthole/event"

// Message is a sentence that is still to be said: its key in the language tables, and what
// stands for its {names}.
type Message struct {
	Key string
	P   []string // name, value, name, value …
}

// say makes a Message.
func say(key string, p ...string) Message { return Message{key, p} }

// Refusal is one thing that was refused, however often.
type Refusal struct {
	Event  event.Event   // the first of its kind
	Denied []event.Event // capability checks that failed within it
	Count  int
	// Silent says that no call failed: an execve that brought no privilege, a netlink answer, a
	// sysctl that was read.
	Silent bool
}

// Suspect is a layer that may have said no, or would say it next.
type Suspect struct {
	Layer  Layer
	Code   Code
	Proof  Proof
	Detail Message
	Source string // the kernel's function, a man page, a place in the profile
	// Behind says that another layer answers before this one: it was not asked in this run.
	Behind bool
	// Factors are what an experiment may lift to test it; lifting any one should do. Empty where
	// nothing can be lifted here.
	Factors []Factor
}

// Answer is what there is to say about one refusal.
type Answer struct {
	Refusal Refusal
	Code    Code
	Layers  []Suspect // in the order in which they answer, with their final proof
	// Fatal: without it the program ends otherwise. Known says whether an experiment showed that.
	Fatal, Known bool
	// Tolerated: the program went on and ended as it would have. Effect: lifting it changed something.
	Tolerated, Effect bool
	Quote             string  // what the program said about it, where that was found
	Grants            []Grant // least first; Explanation.Grants are those of the first refusal
	Avoid             []Advice

	late bool // it came to light only when others were lifted
}

// Tried is an experiment with what came of it.
type Tried struct {
	Experiment Experiment
	Outcome    Outcome
	Result     Result
}

// Result is an outcome in a word.
type Result uint8

// The results.
const (
	Same   Result = 1 + iota // as without any change
	Works                    // as with everything lifted
	Other                    // neither: it came further, or failed elsewhere
	NotRun                   // it could not be carried out
)

var resultNames = [...]string{Same: "same", Works: "works", Other: "other", NotRun: "not run"}

func (r Result) String() string { return resultNames[r] }

// MarshalText is String.
func (r Result) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Explanation is all that was found out. Text and JSON say it.
type Explanation struct {
	Refusals     []Answer // first the one that mattered
	Experiments  []Tried
	Cause        []Factor // the smallest set that had to be lifted; nil where none was found
	Flaky        bool     // the same run ended differently: nothing is claimed
	NoEffect     bool     // lifting everything changed nothing
	Grants       []Grant  // least first
	Avoid        []Advice
	Notes        []Message
	Unable       []Factor // what could not be lifted here
	Exit, Signal int
	Sight        event.Sight // of the first run

	scene Scene
}

// Grant is what a user may add or do so that the refusal goes away.
type Grant struct {
	Flags   []string // to paste: "--cap-add", "SYS_PTRACE"; or a whole command line, if Command
	With    []string // flags of run to go with a profile that Flags write
	Command bool     // Flags are a command of their own, and not flags of run
	What    Message
	Opens   []string // system calls that the filter lets through with it, and did not before
	Caps    string   // the capability it gives, by name
	Order   int      // how much it opens, roughly: what they are sorted by
	factor  Factor   // what an experiment lifts to try it
	Host    bool     // it reaches the host: its clock, its log, its modules, its sysctls
	Proof   Proof
}

// Advice is what is often advised and is wrong here, or too much.
type Advice struct {
	Flags string
	Why   Message
}
