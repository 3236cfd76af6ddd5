package why

import (
	"slices"
	"strings"

	"porthole/caps"
	"porthole/event"
)

// Options bound an Inquiry.
type Options struct {
	NoRun bool // no experiments: nothing is proved then
	Max   int  // at most so many runs; 0: 12, and more where causes stack
}

// An Inquiry finds out by experiment what a program was refused for, and says which run to make
// next. It is a value that is told outcomes; it runs nothing:
//
//	q := why.Begin(scene, first, why.Options{})
//	for x, ok := q.Next(); ok; x, ok = q.Next() {
//		q.Tell(x, lab.Try(x))
//	}
//	e := q.Explain()
//
// It goes so: the run is repeated as it was (control); then with everything lifted that is
// suspected; what new refusals come to light there is lifted too, until the program ends otherwise or
// nothing is left to lift. Then each factor is taken back, alone, and dropped if the end stays
// the same. What remains is the cause, if it still works by itself, each part of it is needed, and
// no run ever ended in two ways.
type Inquiry struct {
	scene   Scene
	first   Outcome
	opt     Options
	answers []Answer
	tried   []Tried

	stage       stage
	lift        []Factor // candidates, as they are known so far; those not yet dropped while taking back
	goal        *Outcome // how the program ends with all of them lifted
	guessed     bool     // the likeliest few have been tried alone
	dropped     int      // how many candidates have been tried taking back
	need        []Factor // those that cannot be taken back
	cause       []Factor // need, once confirmed
	unable      []Factor
	flaky       bool
	vain        bool     // lifting everything changed nothing
	partial     *Outcome // some refusals were gone, and yet it ended as before
	partialLift []Factor
	beyond      bool // with everything lifted it ended otherwise than with what was suspected
	everything  bool // candidates were not enough; Everything was
	asides      []Experiment
}

type stage uint8

const (
	control stage = iota
	lifting
	takingBack
	confirming
	needed
	asides
	done
)

// Begin starts an inquiry into a run that ended as first.
func Begin(s Scene, first Outcome, opt Options) *Inquiry {
	s.Sight = first.Sight
	s.prepare()
	q := &Inquiry{scene: s, first: first, opt: opt}
	q.answers = q.judge(first)
	if !first.failed() { // nobody gave up over what it read, or over what this kernel has not
		q.answers = slices.DeleteFunc(q.answers, func(a Answer) bool { return a.Refusal.Event.Kind == event.Read || a.Layers[0].Layer == Kernel })
	}
	for _, a := range q.answers {
		q.suspect(a)
	}
	if opt.NoRun || len(q.answers) == 0 {
		q.stage = done
	}
	return q
}

// judge finds the refusals of a run and their suspects.
func (q *Inquiry) judge(o Outcome) (out []Answer) {
	for _, r := range Gather(o.Events, q.scene) {
		sus := Suspects(r, *q.scene.of(r.Event, o.Events))
		out = append(out, Answer{Refusal: r, Code: sus[0].Code, Layers: sus})
	}
	return out
}

// suspect adds what would test an answer's layers to the candidates, and says whether that was new.
func (q *Inquiry) suspect(a Answer) bool {
	added := false
	for _, sus := range a.Layers {
		for i, f := range sus.Factors {
			// Of factors that each would do, the first is the one with which the program's own way
			// is kept; the others are asides.
			if i > 0 || q.cannot(f) || slices.Contains(q.lift, f) {
				continue
			}
			q.lift = append(q.lift, f)
			added = true
		}
	}
	return added
}

func (q *Inquiry) cannot(f Factor) bool { return slices.Contains(q.unable, f) }

// Next returns the experiment to make, or false if there is none left. It is to be told
// before the next is asked for.
func (q *Inquiry) Next() (Experiment, bool) {
	if len(q.tried) >= q.most() {
		q.stage = done
	}
	for {
		switch q.stage {
		case control:
			return q.run("control", nil), true
		case lifting:
			if len(q.lift) == 0 && !q.everything {
				q.everything = true
				q.lift = []Factor{{Kind: Everything}}
			}
			return q.run("all", q.lift), true
		case takingBack:
			if few := q.likeliest(); !q.guessed && len(few) > 0 && len(few) < len(q.lift)-1 {
				return q.run("likeliest", few), true
			}
			if q.dropped < len(q.lift) && len(q.lift) > 1 {
				f := q.lift[q.dropped]
				return q.run("without "+f.String(), except(q.lift, f)), true
			}
			q.need = q.lift
			q.stage = confirming
		case confirming:
			// The last run with just these lifted has to be made once more.
			if q.times(q.need) < 2 {
				return q.run("cause", q.need), true
			}
			q.cause, q.stage = slices.Clone(q.need), needed
		case needed:
			if len(q.need) > 1 {
				for _, f := range q.need {
					if rest := except(q.need, f); q.times(rest) == 0 {
						return q.run("cause without "+f.String(), rest), true
					}
				}
			}
			if q.times(nil) < 3 { // once more, now that others have run: time may have passed
				return q.run("control", nil), true
			}
			q.asides, q.stage = q.plan(), asides
		case asides:
			if len(q.asides) == 0 {
				q.stage = done
				continue
			}
			x := q.asides[0]
			return q.run(x.Name, x.Lift), true
		default:
			return Experiment{}, false
		}
	}
}

// most is how many runs may be made: taking back takes one for each thing that was lifted, and what is
// behind others takes one more to come to light.
func (q *Inquiry) most() int {
	if q.opt.Max != 0 {
		return q.opt.Max
	}
	return min(max(12, 8+3*len(q.lift)), 30)
}

func (q *Inquiry) run(name string, lift []Factor) Experiment {
	return Experiment{Name: name, Lift: slices.Clone(lift), Control: len(lift) == 0, Repeat: q.times(lift) + 1}
}

// times is how often a set of factors was lifted so far; the run that it began with is a control.
func (q *Inquiry) times(lift []Factor) int {
	n := 0
	if len(lift) == 0 {
		n = 1
	}
	for _, t := range q.tried {
		if t.Result != NotRun && sameFactors(t.Experiment.Lift, lift) {
			n++
		}
	}
	return n
}

func sameFactors(a, b []Factor) bool {
	if len(a) != len(b) {
		return false
	}
	for _, f := range a {
		if !slices.Contains(b, f) {
			return false
		}
	}
	return true
}

func except(list []Factor, f Factor) (out []Factor) {
	for _, o := range list {
		if o != f {
			out = append(out, o)
		}
	}
	return out
}

// likeliest are the factors of the one refusal that most likely ended the program.
func (q *Inquiry) likeliest() (out []Factor) {
	for i := range q.answers {
		if !q.last(&q.answers[i]) {
			continue
		}
		for _, sus := range q.answers[i].Layers {
			if len(sus.Factors) > 0 && slices.Contains(q.lift, sus.Factors[0]) && !slices.Contains(out, sus.Factors[0]) {
				out = append(out, sus.Factors[0])
			}
		}
	}
	return out
}

// Tell hands in how an experiment ended.
func (q *Inquiry) Tell(x Experiment, o Outcome) {
	if o.Err != nil || len(o.Unable) > 0 {
		q.tried = append(q.tried, Tried{x, o, NotRun})
		q.failed(x, o)
		return
	}
	if q.contradicts(x, o) {
		q.flaky = true
		q.tried = append(q.tried, Tried{x, o, Other})
		q.stage = done
		return
	}
	works := q.works(o)
	t := Tried{x, o, Same}
	switch {
	case works:
		t.Result = Works
	case !q.alikeFirst(o):
		t.Result = Other
	}
	q.tried = append(q.tried, t)

	switch q.stage {
	case control:
		q.stage = lifting
	case lifting:
		q.lifted(o)
	case takingBack:
		if few := q.likeliest(); !q.guessed && sameFactors(x.Lift, few) {
			q.guessed = true
			if works {
				q.lift = few
			}
			return
		}
		if works {
			q.lift = except(q.lift, q.lift[q.dropped])
		} else {
			q.dropped++
		}
	case confirming:
		if !works { // one at a time each could go, but not all of these together
			q.flaky = true
			q.stage = done
		}
	case needed:
		if len(x.Lift) > 0 && works { // it was not needed after all: not one run can be trusted
			q.flaky = true
			q.stage = done
		}
	case asides:
		q.asides = q.asides[1:]
	}
}

// failed goes on without what could not be tried.
func (q *Inquiry) failed(x Experiment, o Outcome) {
	q.unable = append(q.unable, o.Unable...)
	before := len(q.lift)
	q.lift = slices.DeleteFunc(q.lift, q.cannot)
	switch {
	case q.stage == asides:
		q.asides = q.asides[1:]
	case len(o.Unable) == 0 || before == len(q.lift):
		q.stage = done // it is not the factors
	case len(q.lift) == 0 && q.everything:
		q.stage = done
	case q.stage != lifting && q.stage != control:
		q.stage = done
	}
}

// lifted goes on from the run with all candidates lifted.
func (q *Inquiry) lifted(o Outcome) {
	if !o.failed() && q.first.failed() && !(q.everything && q.told()) {
		q.reach(o)
		return
	}
	// Behind what was lifted, or further on in the program, something else may have said no.
	more := false
	for _, a := range q.judge(o) {
		i := slices.IndexFunc(q.answers, func(b Answer) bool { return alike(a.Refusal.Event, b.Refusal.Event) || sameCall(a.Refusal, b.Refusal) })
		if i < 0 {
			a.late = true
			for j := range q.answers { // a filter's rule answers for the call, whatever its arguments
				if b := &q.answers[j]; b.Refusal.Event.Filtered && !b.late && sameName(a.Refusal, b.Refusal) {
					b.Layers = stack(b.Layers, a.Layers)
				}
			}
			q.answers = append(q.answers, a)
		} else {
			q.answers[i].Layers = stack(q.answers[i].Layers, a.Layers)
		}
		more = q.suspect(a) || more
	}
	if more {
		return
	}
	if q.everything {
		if q.partial != nil && (o.ended(*q.partial) && len(q.gone(o)) <= len(q.gone(*q.partial)) || q.told()) {
			// What was suspected has an effect of its own; what more it takes, as root, no factor tells.
			q.beyond = !o.ended(*q.partial)
			q.lift = q.partialLift
			q.reach(*q.partial)
			return
		}
		q.vain = q.alikeFirst(o) || o.ended(q.first) && q.stillRefused(o)
		if !q.vain {
			q.reach(o) // something of it helped: what, no factor tells
			return
		}
		if q.partial != nil {
			q.lift = q.partialLift
			q.reach(*q.partial)
			return
		}
		q.stage = done
		return
	}
	if !q.alikeFirst(o) && (!o.ended(q.first) || !q.first.failed()) { // it ends otherwise, if not well
		q.reach(o)
		return
	}
	if !q.alikeFirst(o) { // some refusals are gone, to no avail
		q.partial, q.partialLift = &o, q.lift
	}
	q.everything = true
	q.lift = []Factor{{Kind: Everything}}
}

// told says that what was suspected has an effect that shows, if none on how the program ends.
func (q *Inquiry) told() bool {
	return q.partial != nil && q.steady() && q.partial.Output != q.first.Output && len(q.gone(*q.partial)) > 0
}

// reach takes a run for what the program does when nothing stands in its way.
func (q *Inquiry) reach(o Outcome) {
	q.goal = &o
	q.stage = takingBack
	// Where a restriction less and a privilege more would each do, the restriction is what was in
	// the way: so privileges are taken back first.
	slices.SortStableFunc(q.lift, func(a, b Factor) int { return privilege(b) - privilege(a) })
	for i := range q.tried {
		if t := &q.tried[i]; t.Result != NotRun && sameFactors(t.Experiment.Lift, q.lift) {
			t.Result = Works
		}
	}
}

// privilege is 1 for a factor that gives the program something, 0 for one that takes an obstacle away.
func privilege(f Factor) int {
	if f.Kind == CapHeld || f.Kind == Root {
		return 1
	}
	return 0
}

// stillRefused says that a run met a refusal of the kind that is inquired into.
func (q *Inquiry) stillRefused(o Outcome) bool {
	for _, r := range Gather(o.Events, q.scene) {
		for _, a := range q.answers {
			if sameCall(r, a.Refusal) && !r.Silent {
				return true
			}
		}
	}
	return false
}

// sameCall says that two refusals are of one call, if by different layers.
func sameCall(a, b Refusal) bool {
	return a.Event.Kind == b.Event.Kind && a.Event.Arch == b.Event.Arch && a.Event.Nr == b.Event.Nr &&
		a.Event.Comm == b.Event.Comm && sameArgs(a.Event, b.Event)
}

// sameName says that two refusals are of one call by one program, if with other arguments.
func sameName(a, b Refusal) bool {
	return a.Event.Kind == b.Event.Kind && a.Event.Arch == b.Event.Arch && a.Event.Nr == b.Event.Nr && a.Event.Comm == b.Event.Comm
}

// stack puts the layers that answered a call once the first were lifted behind those.
func stack(list, behind []Suspect) []Suspect {
	for _, sus := range behind {
		if sus.Layer == None || sus.Layer == Seccomp {
			continue
		}
		i := slices.IndexFunc(list, func(o Suspect) bool { return o.Layer == sus.Layer && o.Code == sus.Code })
		if i >= 0 {
			list[i].Proof = max(list[i].Proof, sus.Proof)
			continue
		}
		sus.Behind = true
		list = append(list, sus)
	}
	return list
}

// alikeFirst says that a run ended as the first did. The output counts only if it tells the first
// run from no repetition of it.
func (q *Inquiry) alikeFirst(o Outcome) bool {
	if q.steady() {
		return o.same(q.first) && len(q.gone(o)) == 0
	}
	return o.ended(q.first) && len(q.gone(o)) == 0
}

// gone are the refusals of the first run that a run without them did not meet.
func (q *Inquiry) gone(o Outcome) (out []Refusal) {
	seen := Gather(o.Events, q.scene)
	for _, r := range Gather(q.first.Events, q.scene) {
		if !slices.ContainsFunc(seen, func(s Refusal) bool { return sameCall(s, r) }) {
			out = append(out, r)
		}
	}
	return out
}

// steady says that every control had the same output.
func (q *Inquiry) steady() bool {
	for _, t := range q.tried {
		if t.Experiment.Control && t.Result != NotRun && t.Outcome.Output != q.first.Output {
			return false
		}
	}
	return q.first.Output != ""
}

// works says that a run ended as the one with everything lifted. Where that one ended otherwise than
// the first, the end decides; where it did not, output and refusals do.
func (q *Inquiry) works(o Outcome) bool {
	switch {
	case q.goal == nil:
		return false
	case !q.goal.ended(q.first):
		return o.ended(*q.goal)
	case q.steady() && q.goal.Output != q.first.Output:
		return o.Output == q.goal.Output && o.ended(*q.goal)
	}
	return o.ended(*q.goal) && len(q.gone(o)) >= len(q.gone(*q.goal))
}

// contradicts says that the same experiment ended otherwise before.
func (q *Inquiry) contradicts(x Experiment, o Outcome) bool {
	if x.Control && !o.ended(q.first) {
		return true
	}
	if x.Control && len(q.gone(o)) > 0 {
		return true
	}
	for _, t := range q.tried {
		if t.Result != NotRun && sameFactors(t.Experiment.Lift, x.Lift) && !t.Outcome.ended(o) {
			return true
		}
		if t.Result != NotRun && sameFactors(t.Experiment.Lift, x.Lift) && q.goal != nil && q.works(t.Outcome) != q.works(o) {
			return true
		}
	}
	return false
}

// plan lists runs that show what is not the cause, and what is often taken for it: each capability
// that the profile or the rules name, held without a change to the filter; and the grant itself.
func (q *Inquiry) plan() (out []Experiment) {
	add := func(name string, f Factor) {
		if !q.cannot(f) && q.times([]Factor{f}) == 0 && !sameFactors(q.cause, []Factor{f}) {
			out = append(out, Experiment{Name: name, Lift: []Factor{f}})
		}
	}
	filter := slices.ContainsFunc(q.cause, func(f Factor) bool { return f.Kind == FilterRule || f.Kind == FilterOff })
	namespaces := false
	for _, f := range q.cause {
		if f.Kind == FilterRule {
			call := Call{Call: f.Call}
			for _, a := range q.answers {
				if c := asked(a.Refusal.Event); c.Name == f.Call.Name {
					call = c
					break
				}
			}
			for i, c := range q.scene.wanted(call) {
				if i < 2 {
					add("held "+short(c), Factor{Kind: CapHeld, Caps: caps.Of(c)})
				}
				if i == 0 && q.scene.opensFilter(call, c) {
					add("granted "+short(c), Factor{Kind: CapGranted, Caps: caps.Of(c)})
				}
			}
			namespaces = f.Call.Name == "ptrace" || f.Call.Name == "mount"
			if len(q.cause) == 1 && len(q.scene.wanted(call)) == 0 { // what is advised whatever it is
				for _, c := range []caps.Cap{caps.CAP_SYS_PTRACE, caps.CAP_SYS_ADMIN} {
					if !q.scene.Caps.Bounding.Has(c) {
						add("granted "+short(c), Factor{Kind: CapGranted, Caps: caps.Of(c)})
					}
				}
			}
		}
	}
	for _, a := range q.answers {
		for _, sus := range a.Layers {
			for i, f := range sus.Factors {
				if i > 0 && sus.Proof >= ByRules {
					add("instead "+f.String(), f)
				}
			}
		}
	}
	for _, f := range q.cause {
		if f.Kind != CapHeld {
			continue
		}
		if missing := f.Caps.Without(q.scene.Caps.Bounding); missing != 0 {
			add("granted "+capNames(missing), Factor{Kind: CapGranted, Caps: missing})
		}
	}
	if !filter && q.scene.Profile != nil {
		add("no filter", Factor{Kind: FilterOff})
	}
	if namespaces && q.scene.UserNS.Initial {
		add("new userns", Factor{Kind: NewUserNS})
	}
	if q.scene.Caps.NoNewPrivs && !slices.ContainsFunc(q.cause, func(f Factor) bool { return f.Kind == NNPOff }) {
		add("no_new_privs off", Factor{Kind: NNPOff})
	}
	return out
}

// Explain says what has been found so far.
func (q *Inquiry) Explain() Explanation {
	e := Explanation{
		Experiments: q.tried, Flaky: q.flaky, Exit: q.first.Exit, Signal: q.first.Signal,
		Refusals: slices.Clone(q.answers), NoEffect: q.vain, Sight: q.first.Sight, scene: q.scene,
	}
	for i := range e.Refusals {
		e.Refusals[i].Layers = slices.Clone(e.Refusals[i].Layers)
	}
	confirmed := q.cause != nil && !q.flaky && q.times(q.cause) >= 2 && q.times(nil) >= 3 && q.indispensable()
	if confirmed && !hasKind(q.cause, Everything) {
		e.Cause = q.cause
	}
	for i := range e.Refusals {
		q.weigh(&e.Refusals[i], e.Cause, confirmed && e.Cause != nil)
	}
	for i := range e.Refusals {
		e.Refusals[i].Quote = quote(q.first.Said, e.Refusals[i].Refusal)
	}
	slices.SortStableFunc(e.Refusals, func(a, b Answer) int { return weight(b) - weight(a) })
	q.verdicts(&e, confirmed)
	for i := range e.Refusals {
		a := &e.Refusals[i]
		var notes []Message
		if a.Grants, a.Avoid, notes = q.grants(&e, a); i == 0 {
			q.together(&e, a)
			e.Grants, e.Avoid, e.Notes = a.Grants, a.Avoid, append(notes, e.Notes...)
		}
		if i == mostGranted {
			break
		}
	}
	return e
}

// quote finds what the program itself said of a refusal: the last line with the error's text.
func quote(said string, r Refusal) string {
	text := r.Event.Errno.Error()
	if r.Event.Errno == 0 {
		return ""
	}
	found := ""
	for line := range strings.Lines(said) {
		if line = strings.TrimSpace(line); len(line) < 300 && strings.Contains(strings.ToLower(line), text) {
			found = line
		}
	}
	return found
}

// mostGranted bounds for how many refusals grants are worked out.
const mostGranted = 3

func hasKind(list []Factor, k FactorKind) bool {
	return slices.ContainsFunc(list, func(f Factor) bool { return f.Kind == k })
}

// indispensable says that each part of the cause was taken back by itself and missed.
func (q *Inquiry) indispensable() bool {
	if len(q.cause) == 1 {
		return true // the controls show it
	}
	for _, f := range q.cause {
		if q.times(except(q.cause, f)) == 0 {
			return false
		}
	}
	return true
}

// weigh says of one refusal whether it mattered, and what of its layers is proved.
func (q *Inquiry) weigh(a *Answer, cause []Factor, confirmed bool) {
	mattered := false
	for i := range a.Layers {
		sus := &a.Layers[i]
		for _, f := range sus.Factors {
			if slices.Contains(cause, f) && q.evident(a, f) {
				mattered = true
				if f.proves(sus.Layer) && !ambiguous(a, i, f) {
					sus.Proof = Proved
				}
			}
		}
	}
	a.Code = a.Layers[0].Code
	a.Known = confirmed
	ends := q.goal != nil && !q.goal.ended(q.first)
	// What failed and fails otherwise now had more than one thing against it.
	failed := q.first.failed() && q.goal != nil && q.goal.failed() && q.last(a)
	a.Fatal = mattered && (ends || failed) || !confirmed && q.first.failed() && q.last(a)
	if a.Refusal.Silent && a.Refusal.Event.Kind == event.Exec && mattered {
		a.Fatal = true // the program runs, but as somebody else than it was made to
	}
	a.Tolerated = confirmed && !a.Fatal
	a.Effect = mattered
}

// ambiguous says that lifting a factor would also silence another layer that is suspected of the
// same refusal, so that it cannot tell them apart: CAP_SYS_PTRACE lifts Yama's no as well as the
// kernel's own.
func ambiguous(a *Answer, i int, f Factor) bool {
	for j, o := range a.Layers {
		if j != i && o.Layer != a.Layers[i].Layer && slices.Contains(o.Factors, f) && !(f.Kind == HostUserNS) {
			return true
		}
	}
	return false
}

// evident says that the runs bear a factor out for this very refusal: there in every control, gone
// in every run with the whole cause lifted, back in every one without the factor. A watcher that sees
// only what filters answer leaves it to how the program ended.
func (q *Inquiry) evident(a *Answer, f Factor) bool {
	if a.Refusal.Event.Kind == event.Nack || a.Refusal.Event.Kind == event.Read {
		return true
	}
	// A filter's answer is gone, too, where the kernel now says no in its place.
	filter := a.Refusal.Event.Filtered && f.proves(Seccomp)
	met := func(o Outcome) bool {
		return slices.ContainsFunc(Gather(o.Events, q.scene), func(r Refusal) bool {
			return sameCall(r, a.Refusal) && (!filter || r.Event.Filtered)
		})
	}
	behind := !met(q.first) // it came to light only when others were lifted
	for _, t := range q.tried {
		switch {
		case t.Result == NotRun || !t.Outcome.Sight.Failed && !a.Refusal.Event.Filtered:
		case t.Experiment.Control && met(t.Outcome) == behind:
			return false
		case sameFactors(t.Experiment.Lift, q.cause) && met(t.Outcome):
			return false
		case sameFactors(t.Experiment.Lift, except(q.cause, f)) && len(q.cause) > 1 && !behind && t.Outcome.Sight.Failed && !met(t.Outcome):
			return false
		}
	}
	return true
}

// failed says that a run ended badly.
func (o Outcome) failed() bool { return o.Exit != 0 || o.Signal != 0 }

// last says that a refusal is the latest of those that were met: without an experiment it is the
// one that most likely ended the program.
func (q *Inquiry) last(a *Answer) bool {
	var newest *Answer
	all := slices.ContainsFunc(q.answers, func(b Answer) bool { return !b.late })
	for i := range q.answers {
		b := &q.answers[i]
		if b.late && all {
			continue // the program, as it was, did not get so far
		}
		if newest == nil || rank(b.Refusal) > rank(newest.Refusal) || rank(b.Refusal) == rank(newest.Refusal) && b.Refusal.Event.Time > newest.Refusal.Event.Time {
			newest = b
		}
	}
	return newest != nil && alike(newest.Refusal.Event, a.Refusal.Event)
}

// rank puts what a program asked for before what it merely tries.
func rank(r Refusal) int {
	name, _ := r.Event.Arch.Name(r.Event.Nr)
	const audit = 9 // NETLINK_AUDIT: few programs end for want of a log
	switch {
	case r.Event.Kind == event.Exec:
		return 4 // all that it does afterwards, it does as somebody else
	case r.Event.Kind == event.Nack && r.Event.Netlink.Protocol == audit:
		return 1
	case r.Event.Kind == event.Read:
		return 0
	case r.Event.Errno.String() == "ENOSYS":
		return 1
	case strings.HasPrefix(name, "open"), name == "access", name == "faccessat", name == "faccessat2", name == "readlink":
		return 2
	}
	return 3
}

// weight orders refusals: the one that mattered first.
func weight(a Answer) int {
	w := rank(a.Refusal)
	if a.Effect {
		w += 20
	}
	if a.Fatal {
		w += 10
	}
	return w
}

// proves says that lifting a factor tests just this layer.
func (f Factor) proves(l Layer) bool {
	switch f.Kind {
	case FilterRule, FilterOff:
		return l == Seccomp
	case CapHeld:
		// Of all that asks for a capability, CAP_DAC_OVERRIDE is asked for by permission bits alone.
		return l == Capability || l == File && f.Caps == caps.Of(caps.CAP_DAC_OVERRIDE)
	case NNPOff:
		return l == NNP
	case Unmask, WritePath, MountFlag, SystemPaths:
		return l == Mount
	case DeviceRule:
		return l == DeviceCgroup
	case RlimitSet:
		return l == Rlimit
	case SysctlSet:
		return l == Sysctl
	case LSMOff:
		return l == LSM
	case FileCapsOff:
		return l == Capability
	case HostUserNS:
		return l == UserNS
	}
	return false
}

// verdicts adds the states in which no layer is to be named, and what could not be seen.
func (q *Inquiry) verdicts(e *Explanation, confirmed bool) {
	if q.flaky {
		e.Notes = append(e.Notes, say("note.flaky"))
	}
	if q.vain && !q.flaky {
		for i := range e.Refusals {
			q.unexplained(&e.Refusals[i], e)
		}
	}
	if q.beyond && confirmed {
		e.Notes = append(e.Notes, say("note.beyond"))
	}
	if hasKind(q.cause, Everything) && confirmed {
		e.Notes = append(e.Notes, say("note.everything"))
	}
	for _, f := range q.unable {
		if !slices.Contains(e.Unable, f) {
			e.Unable = append(e.Unable, f)
		}
	}
	if !q.opt.NoRun && q.cause == nil && !q.flaky && !q.vain && len(q.tried) >= q.most() {
		e.Notes = append(e.Notes, say("note.bounded", "n", itoa(len(q.tried))))
	}
	if q.opt.NoRun && len(e.Refusals) > 0 {
		e.Notes = append(e.Notes, say("note.norun"))
	}
	s := q.first.Sight
	if s.Lost > 0 {
		e.Notes = append(e.Notes, say("note.lost", "n", itoa(s.Lost)))
	}
	if !s.Failed {
		e.Notes = append(e.Notes, say("note.blind.failed"))
	} else if !s.Caps {
		e.Notes = append(e.Notes, say("note.blind.caps"))
	}
}

// unexplained judges a refusal that was there with everything lifted too. What the kernel was seen
// doing stays, and so do rules of the host that no container can lift; otherwise it is nobody's: a
// refusal that real root meets as well. Without real root that cannot be said.
func (q *Inquiry) unexplained(a *Answer, e *Explanation) {
	for _, t := range q.tried {
		if hasKind(t.Experiment.Lift, Everything) && t.Result != NotRun &&
			!slices.ContainsFunc(Gather(t.Outcome.Events, q.scene), func(r Refusal) bool { return sameCall(r, a.Refusal) }) {
			return // gone with everything lifted
		}
	}
	if slices.ContainsFunc(a.Layers, func(s Suspect) bool {
		return s.Proof >= Seen || s.Proof == ByRules && len(s.Factors) == 0 || s.Proof == ByRules && s.Layer == None
	}) {
		e.Notes = append(e.Notes, say("note.host", "call", callOf(a.Refusal.Event).Name))
		return
	}
	sus := Suspect{Layer: None, Code: "P0900", Proof: Proved, Detail: say("detail.none.proved"), Source: "the run with everything lifted"}
	open := q.scene.Rootless || len(q.unable) > 0 || q.kept(a) || q.scene.of(a.Refusal.Event, q.first.Events).nested || slices.ContainsFunc(a.Layers, func(s Suspect) bool { return s.Layer != None && len(s.Factors) == 0 })
	if open {
		sus.Code, sus.Proof, sus.Detail = "P0902", Likely, say("detail.none.likely")
		a.Layers = append(a.Layers, sus)
	} else {
		if remote(a.Refusal.Event.File) {
			sus.Code = "P0901"
		}
		a.Layers = append([]Suspect{sus}, demote(a.Layers)...)
	}
	a.Known = !open
	a.Code = a.Layers[0].Code
	a.Fatal = q.first.failed() && q.last(a)
}

// kept says that the laboratory did not lift everything when it was asked to, so that it shows nothing of this
// refusal: what was left closed are paths, and the call is about one.
func (q *Inquiry) kept(a *Answer) bool {
	at := pathOf(a.Refusal.Event)
	if !strings.HasPrefix(at, "/") {
		return false
	}
	return slices.ContainsFunc(q.tried, func(t Tried) bool {
		return slices.ContainsFunc(t.Outcome.Kept, func(f Factor) bool {
			if f.Kind == SystemPaths {
				return beneath([]string{"/proc", "/sys"}, at) != ""
			}
			return beneath([]string{f.Path}, at) != ""
		})
	})
}

// demote keeps layers that an experiment ruled out as what they are: guesses.
func demote(list []Suspect) (out []Suspect) {
	for _, s := range list {
		if s.Layer != None && s.Proof == Likely {
			continue
		}
		if s.Layer != None {
			s.Behind = true
			out = append(out, s)
		}
	}
	return out
}

func remote(f *event.File) bool {
	return f != nil && (strings.HasPrefix(f.FS, "nfs") || f.FS == "cifs" || f.FS == "smb3" || f.FS == "9p" || strings.HasPrefix(f.FS, "fuse"))
}
