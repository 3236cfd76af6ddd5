package why

import (
	"encoding/json"
	"fmt"
	"strings"

	"porthole/event"
	"porthole/event/decode"
	"porthole/seccomp/profile"
)

// The JSON that --json prints; docs/why-json.md documents it. Sentences are in the language asked
// for; codes, names and flags are not.
type (
	Document struct {
		Exit     int           `json:"exit"`
		Signal   int           `json:"signal,omitempty"`
		Flaky    bool          `json:"flaky,omitempty"`
		Refusals []JSONRefusal `json:"refusals"`
		Notes    []string      `json:"notes,omitempty"`
		Lost     int           `json:"lost_events,omitempty"`
	}
	JSONRefusal struct {
		Code        Code             `json:"code"`
		Title       string           `json:"title"`
		Call        string           `json:"call"`
		Errno       string           `json:"errno"`
		Process     JSONProcess      `json:"process"`
		Count       int              `json:"count"`
		Fatal       bool             `json:"fatal"`
		Tolerated   bool             `json:"tolerated"`
		Silent      bool             `json:"silent,omitempty"`
		Layers      []JSONLayer      `json:"layers"`
		Experiments []JSONExperiment `json:"experiments"`
		Grants      []JSONGrant      `json:"grants"`
		Avoid       []JSONAdvice     `json:"avoid"`
	}
	JSONProcess struct {
		Comm string `json:"comm"`
		PID  int    `json:"pid"`
		Exe  string `json:"exe,omitempty"`
	}
	JSONLayer struct {
		Name   Layer  `json:"name"`
		Code   Code   `json:"code"`
		Detail string `json:"detail"`
		Proof  Proof  `json:"proof"`
		Behind bool   `json:"behind,omitempty"`
		Source string `json:"source"`
	}
	JSONExperiment struct {
		Name    string   `json:"name"`
		Lift    []string `json:"lift"`
		Control bool     `json:"control,omitempty"`
		Repeat  int      `json:"repeat"`
		Result  Result   `json:"result"`
		Exit    int      `json:"exit"`
		Signal  int      `json:"signal,omitempty"`
		Cause   bool     `json:"cause,omitempty"`
	}
	JSONGrant struct {
		Flags       []string `json:"flags"`
		Command     bool     `json:"command,omitempty"`
		With        []string `json:"with,omitempty"`
		What        string   `json:"what"`
		Opens       []string `json:"opens"`
		Capability  string   `json:"capability,omitempty"`
		ReachesHost bool     `json:"reaches_host"`
		Proof       Proof    `json:"proof"`
	}
	JSONAdvice struct {
		Flags string `json:"flags"`
		Why   string `json:"why"`
	}
)

// JSON is the explanation as --json prints it, indented, with a newline at its end.
func (e Explanation) JSON(l Lang) []byte {
	t := readTable(l)
	d := Document{Exit: e.Exit, Signal: e.Signal, Flaky: e.Flaky, Refusals: []JSONRefusal{}, Lost: e.Sight.Lost}
	var tried []JSONExperiment
	for _, x := range e.Experiments {
		tried = append(tried, jsonExperiment(x, e.Cause))
	}
	for i, a := range e.Refusals {
		ev := a.Refusal.Event
		r := JSONRefusal{
			Code: a.Code, Title: t.say(headline(a, a.Layers[0])), Call: callText(ev), Process: JSONProcess{ev.Comm, ev.PID, ev.Exe},
			Count: a.Refusal.Count, Fatal: a.Fatal, Tolerated: a.Tolerated && !a.Fatal, Silent: a.Refusal.Silent,
			Layers: t.layers(a.Layers), Experiments: []JSONExperiment{}, Grants: []JSONGrant{}, Avoid: []JSONAdvice{},
		}
		if ev.Errno != 0 {
			r.Errno = ev.Errno.String()
		}
		grants, avoid := a.Grants, a.Avoid
		if i == 0 {
			grants, avoid = e.Grants, e.Avoid
		}
		for n, x := range e.Experiments {
			if i == 0 || x.Experiment.Control || concerns(x.Experiment, a) {
				r.Experiments = append(r.Experiments, tried[n])
			}
		}
		for _, g := range grants {
			j := JSONGrant{Flags: g.Flags, Command: g.Command, With: g.With, What: t.say(g.What), Opens: g.Opens, Capability: g.Caps, ReachesHost: g.Host, Proof: g.Proof}
			if j.Flags == nil {
				j.Flags = []string{}
			}
			if j.Opens == nil {
				j.Opens = []string{}
			}
			r.Grants = append(r.Grants, j)
		}
		for _, v := range avoid {
			r.Avoid = append(r.Avoid, JSONAdvice{v.Flags, t.say(v.Why)})
		}
		d.Refusals = append(d.Refusals, r)
	}
	d.Notes = e.noted(t)
	return indented(d)
}

// callText is the call as strace writes it.
func callText(ev event.Event) string {
	if ev.Kind == event.Starved {
		return "" // nobody made one
	}
	if ev.Kind == event.Exec {
		s, _ := strings.CutSuffix(decode.Line(ev), " (AT_SECURE)")
		return strings.TrimSuffix(s, " = 0")
	}
	return decode.Call(ev)
}

func indented(v any) []byte {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic("why: " + err.Error()) // nothing in these types can fail
	}
	return append(b, '\n')
}

func (t table) layers(list []Suspect) []JSONLayer {
	out := []JSONLayer{}
	for _, s := range list {
		out = append(out, JSONLayer{s.Layer, s.Code, t.say(s.Detail), s.Proof, s.Behind, s.Source})
	}
	return out
}

func jsonExperiment(x Tried, cause []Factor) JSONExperiment {
	j := JSONExperiment{
		Name: x.Experiment.Name, Lift: []string{}, Control: x.Experiment.Control, Repeat: x.Experiment.Repeat,
		Result: x.Result, Exit: x.Outcome.Exit, Signal: x.Outcome.Signal, Cause: cause != nil && sameFactors(cause, x.Experiment.Lift),
	}
	for _, f := range x.Experiment.Lift {
		j.Lift = append(j.Lift, f.String())
	}
	return j
}

// concerns says that an experiment lifted something that a refusal hangs on.
func concerns(x Experiment, a Answer) bool {
	for _, s := range a.Layers {
		for _, f := range s.Factors {
			for _, g := range x.Lift {
				if f == g {
					return true
				}
			}
		}
	}
	return false
}

// StaticDocument is what --json prints for a call that nobody made.
type StaticDocument struct {
	Call    string       `json:"call"`
	Verdict Verdict      `json:"verdict"`
	Errno   string       `json:"errno,omitempty"`
	Layers  []JSONLayer  `json:"layers"`
	Changes []JSONChange `json:"changes"`
	Notes   []string     `json:"notes,omitempty"`
}

// JSONChange is what would turn a verdict.
type JSONChange struct {
	What    string  `json:"what"`
	At      string  `json:"at"`
	Verdict Verdict `json:"verdict"`
	Errno   string  `json:"errno,omitempty"`
}

// JSON is the answer as --json prints it.
func (a Static) JSON(l Lang) []byte {
	d := StaticDocument{Call: a.Call.String(), Verdict: a.Verdict, Layers: readTable(l).layers(a.Layers), Changes: []JSONChange{}}
	if a.Errno != 0 {
		d.Errno = a.Errno.String()
	}
	for _, c := range a.Changes {
		j := JSONChange{What: c.What, At: c.At, Verdict: c.Verdict}
		if c.Errno != 0 {
			j.Errno = c.Errno.String()
		}
		d.Changes = append(d.Changes, j)
	}
	for _, n := range a.Notes {
		d.Notes = append(d.Notes, readTable(l).say(n))
	}
	return indented(d)
}

// JSONBlocked is a row of `porthole profile blocked --json`.
type JSONBlocked struct {
	Name   string   `json:"name"`
	Action string   `json:"action"`
	Unless []string `json:"unless"`
	Harm   string   `json:"harm"`
	Opens  []string `json:"opened_by"`
	Kernel []string `json:"kernel_asks"`
	Gates  []string `json:"gates"`
	Source string   `json:"source,omitempty"`
}

// BlockedJSON is the table of Blocked as --json prints it.
func BlockedJSON(list []BlockedCall, l Lang) []byte {
	t := readTable(l)
	out := []JSONBlocked{}
	for _, b := range list {
		out = append(out, JSONBlocked{
			b.Name, b.Action.String(), orEmptyList(b.Tests), t.say(b.Harm), orEmptyList(b.Opens.Names()), orEmptyList(b.Kernel.Names()), orEmptyList(b.Gates), b.Source,
		})
	}
	return indented(out)
}

func orEmptyList(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// ExplainBlocked is the table of Blocked as text, a call a line with what opens it, and what it could
// do beneath.
func ExplainBlocked(p *profile.Profile, list []BlockedCall, l Lang) string {
	t := readTable(l)
	w := &writer{t: t}
	w.line("%s", t.say(say("blocked.head", "profile", p.Name, "n", itoa(len(list)))))
	for _, b := range list {
		s := b.Name + " → " + b.Action.String()
		if len(b.Tests) > 0 {
			n := min(len(b.Tests), 6)
			s += "; " + t.say(say("blocked.unless", "tests", joinList(b.Tests[:n], t["or"])))
		}
		w.wrapped("", s)
		w.wrapped("    ", t.say(b.Harm))
		if b.Opens != 0 {
			w.wrapped("    ", t.say(say("blocked.opens", "caps", joinList(b.Opens.Names(), t["or"]))))
		} else {
			w.wrapped("    ", t.say(say("blocked.closed")))
		}
		if b.Kernel != 0 {
			w.wrapped("    ", t.say(say("blocked.kernel", "caps", joinList(b.Kernel.Names(), ", "))))
		}
		if len(b.Gates) > 0 {
			w.wrapped("    ", t.say(say("blocked.gates", "gates", joinList(b.Gates, ", "))))
		}
	}
	return w.String()
}

func joinList(list []string, sep string) string {
	s := ""
	for i, one := range list {
		if i > 0 {
			s += sep
		}
		s += one
	}
	return s
}

// UnmarshalText reads what MarshalText wrote.
func (r *Result) UnmarshalText(b []byte) error {
	for i, n := range resultNames {
		if n != "" && n == string(b) {
			*r = Result(i)
			return nil
		}
	}
	return fmt.Errorf("no result is called %q", b)
}
