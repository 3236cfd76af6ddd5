package why

import (
	"fmt"
	"slices"
	"strings"

	"porthole/abi"
	"porthole/caps"
	"porthole/event"
	"porthole/event/decode"
)

// Text is the explanation as a person reads it: for each refusal that mattered code and headline, the
// call, the rule, what was tested, what helps and what does not. Others follow in a line each.
func (e Explanation) Text(l Lang) string {
	t := readTable(l)
	w := &writer{t: t}
	if len(e.Refusals) == 0 {
		w.line("%s", t.say(say("text.nothing")))
		for _, n := range e.noted(t) {
			w.wrapped(t["text.note"]+": ", n)
		}
		return w.String()
	}
	told, rest := e.told()
	for i, as := range told {
		if i > 0 {
			w.line("")
		}
		w.answer(e, as, i == 0)
	}
	if len(rest) > 0 {
		w.line("")
		w.line("%s", t.say(say("text.also", "n", itoa(len(rest)))))
		for _, a := range rest {
			w.line("  %s %s: %s", a.Code, t["layer."+a.Layers[0].Layer.String()], outcomeOf(a.Refusal))
		}
	}
	return w.String()
}

// told are the refusals that are told at length: the first, and others that an experiment showed to
// matter. Those of one reason are told together.
func (e Explanation) told() (told [][]Answer, rest []Answer) {
	for i, a := range e.Refusals {
		j := slices.IndexFunc(told, func(o []Answer) bool { return alikeReason(o[0], a) })
		switch {
		case j >= 0 && a.Effect == told[j][0].Effect:
			told[j] = append(told[j], a)
		case i == 0 || a.Effect && len(told) < 4:
			told = append(told, []Answer{a})
		default:
			rest = append(rest, a)
		}
	}
	return told, rest
}

// alikeReason says that two calls were refused by the same place for the same reason.
func alikeReason(a, b Answer) bool {
	x, y := a.Layers[0], b.Layers[0]
	return x.Layer == y.Layer && x.Code == y.Code && x.Source == y.Source && x.Proof == y.Proof && slices.Equal(x.Factors, y.Factors) && len(x.Factors) > 0
}

type writer struct {
	strings.Builder
	t table
}

func (w *writer) line(format string, args ...any) {
	s := strings.TrimRight(fmt.Sprintf(format, args...), " ")
	w.WriteString(s + "\n")
}

// columns is how wide a line may grow.
const columns = 100

// wrapped writes a text after a head, broken where it grows wide, the further lines beneath the first.
func (w *writer) wrapped(head, text string) {
	indent := strings.Repeat(" ", width(head))
	line, used := head, width(head)
	empty := true
	for _, word := range pieces(text) {
		if n := width(strings.TrimRight(word, " ")); !empty && used+n > columns {
			w.line("%s", line)
			line, used, empty = indent, width(head), true
		}
		line += word
		used += width(word)
		empty = false
	}
	w.line("%s", line)
}

// pieces are what a line may be broken after: blanks and wide characters, but not before what ends a
// sentence.
func pieces(s string) (out []string) {
	cur := ""
	r := []rune(s)
	for i, c := range r {
		cur += string(c)
		if c == ' ' || wide(c) && (i+1 == len(r) || !strings.ContainsRune("，。；：、）！？」", r[i+1])) {
			out = append(out, cur)
			cur = ""
		}
	}
	return append(out, cur)
}

// answer tells of a refusal, and of others for the same reason.
func (w *writer) answer(e Explanation, as []Answer, first bool) {
	a := as[0]
	t, sus, ev := w.t, a.Layers[0], a.Refusal.Event
	severity := t["text.error"]
	head := t.say(headline(a, sus))
	if a.Tolerated && !a.Fatal {
		severity = t["text.warning"]
		head += t.say(say("text.carriedon", "comm", ev.Comm))
	}
	w.line("%s[%s]: %s", severity, a.Code, head)
	for i, one := range as {
		mark := "  --> "
		if i > 0 {
			mark = "      "
		}
		who := one.Refusal.Event.Comm
		if pid := one.Refusal.Event.PID; pid > 0 {
			who += " (pid " + itoa(pid) + ")"
		}
		w.line("%s%s   %s", mark, who, outcomeOf(one.Refusal))
	}
	for _, m := range remarks(a, e) {
		w.wrapped("   |  ", t.say(m))
	}
	if a.Quote != "" {
		w.wrapped("   |  ", t.say(say("text.quote", "comm", ev.Comm, "quote", a.Quote)))
	}
	label := "  " + t["text.rule"] + ": "
	w.wrapped(label, t.say(sus.Detail))
	w.wrapped(strings.Repeat(" ", width(label)), sus.Source)
	w.line("%s[%s]", strings.Repeat(" ", width(label)), t["proof."+itoa(int(sus.Proof))])
	for _, b := range a.Layers[1:] {
		if b.Layer == None {
			continue
		}
		key := "text.behind"
		if !b.Behind {
			key = "text.together"
		}
		w.wrapped("  "+t[key]+": ", t["layer."+b.Layer.String()]+": "+t.say(b.Detail)+" ["+t["proof."+itoa(int(b.Proof))]+"]")
	}
	if first {
		w.experiments(e, a)
	}
	if first {
		w.help(e.Grants, e.Avoid)
		for _, n := range e.noted(t) {
			w.wrapped("  "+t["text.note"]+": ", n)
		}
	}
}

// noted are the notes, and what could not be tried.
func (e Explanation) noted(t table) (out []string) {
	for _, n := range e.Notes {
		out = append(out, t.say(n))
	}
	w := &writer{t: t}
	var untried []string
	why := ""
	for _, f := range e.Unable {
		if e.Cause != nil && len(e.Refusals) > 0 && !slices.ContainsFunc(e.Refusals[0].Layers, func(s Suspect) bool { return slices.Contains(s.Factors, f) }) {
			continue // another refusal's, and the cause is known
		}
		s, _, _ := strings.Cut(w.factor(f), ", ")
		s, _, _ = strings.Cut(s, "，")
		untried = append(untried, s)
	}
	for _, x := range e.Experiments {
		if x.Outcome.Err != nil && why == "" {
			why = " (" + x.Outcome.Err.Error() + ")"
		}
	}
	if untried != nil {
		out = append(out, t.say(say("note.unable", "factor", strings.Join(untried, "; ")+why)))
	}
	return out
}

// headline names the layer.
func headline(a Answer, sus Suspect) Message {
	ev := a.Refusal.Event
	c := asked(ev)
	key := "head." + sus.Layer.String()
	if sus.Code == "P0301" || sus.Code == "P0502" || sus.Code == "P0305" || sus.Code == "P0205" || sus.Code == "P0805" {
		key = "head." + string(sus.Code)
	}
	return say(key, "call", brief(c), "comm", ev.Comm, "path", pathOf(ev), "caps", param(sus.Detail, "caps"), "name", firstWord(param(sus.Detail, "sysctl")), "limit", param(sus.Detail, "limit"))
}

func firstWord(s string) string { s, _, _ = strings.Cut(s, " "); return s }

// brief is a call with the arguments that tell what it is for: paths, and flags that have names.
func brief(c Call) string {
	out := Call{Call: c.Call, Strings: map[int]string{}}
	params := abi.Params(c.Name)
	for i := range out.Args {
		if i >= len(params) || params[i].Group == "" || i > 0 && out.Args[i].Value == 0 || strings.HasSuffix(abi.Flags(params[i].Group, out.Args[i].Value), "CLOEXEC") {
			out.Args[i].Known = false
		}
	}
	for i, s := range c.Strings {
		if i < len(params) && (params[i].Kind == abi.KindPath || params[i].Kind == abi.KindString || params[i].Kind == abi.KindFD) {
			out.Strings[i] = s
		}
	}
	s := out.String()
	return strings.NewReplacer("_, ", "", "(_)", "()").Replace(s)
}

// outcomeOf is the call as it was made and what came back, as strace writes it.
func outcomeOf(r Refusal) string {
	s := decode.Line(r.Event)
	if r.Count > 1 {
		s += " ×" + itoa(r.Count)
	}
	return s
}

// remarks say what was seen of the refusal.
func remarks(a Answer, e Explanation) (out []Message) {
	ev := a.Refusal.Event
	switch {
	case ev.Filtered:
		out = append(out, say("remark.filtered"))
	case a.Refusal.Silent && ev.Kind == event.Exec && ev.Became != nil && ev.File != nil && ev.File.Mode&0o4000 != 0:
		out = append(out, say("remark.stayed", "uid", itoa(ev.Became.EUID)))
	case a.Refusal.Silent:
		out = append(out, say("remark.silent"))
	}
	for _, d := range a.Refusal.Denied {
		out = append(out, say("remark.denied", "cap", d.Cap.String()))
	}
	if f := ev.File; f != nil && f.Caps.Present {
		out = append(out, say("remark.filecaps", "caps", fileCaps(f), "bounding", orEmpty(whoOf(ev, e).Bounding.String())))
		if ev.Errno != 0 {
			out = append(out, say("remark.never", "path", pathOf(ev)))
		}
	} else if f != nil && f.Mode&0o4000 != 0 {
		out = append(out, say("remark.setuid", "uid", itoa(f.UID), "mode", fmt.Sprintf("%04o", f.Mode&0o7777)))
	}
	return out
}

func orEmpty(s string) string {
	if s == "" {
		return "text.empty"
	}
	return s
}

func fileCaps(f *event.File) string {
	s := strings.ToLower(f.Caps.Permitted.String()) + "="
	if f.Caps.Effective {
		s += "e"
	}
	return s + "p"
}

// experiments prints what was tried, each once, with how often.
func (w *writer) experiments(e Explanation, a Answer) {
	if len(e.Experiments) == 0 {
		return
	}
	t := w.t
	w.line("  %s", t["text.tested"])
	type row struct{ label, result string }
	var rows []row
	controls, agreed := 1, 1
	var done [][]Factor
	var cause, alone, parts []row
	for _, x := range e.Experiments {
		lift := x.Experiment.Lift
		if x.Experiment.Control {
			if x.Result != NotRun {
				controls++
				if x.Result == Same {
					agreed++
				}
			}
			continue
		}
		if x.Result == NotRun || slices.ContainsFunc(done, func(d []Factor) bool { return sameFactors(d, lift) }) {
			continue
		}
		done = append(done, lift)
		one := row{w.lifted(lift), w.result(x, a)}
		switch {
		case e.Cause != nil && sameFactors(lift, e.Cause):
			one.result += "   " + t["text.cause"]
			cause = append(cause, one)
		case len(lift) == 1:
			alone = append(alone, one)
		case e.Cause == nil || !includes(lift, e.Cause): // more than the cause tells nothing more
			parts = append(parts, one)
		}
	}
	rows = slices.Concat(cause, parts, alone)
	first := Tried{Outcome: Outcome{Exit: e.Exit, Signal: e.Signal, Events: []event.Event{a.Refusal.Event}}, Result: Same}
	rows = append(rows, row{t.say(say("factor.control", "n", itoa(agreed), "m", itoa(controls))), w.result(first, a)})
	most := 0
	for _, r := range rows {
		most = max(most, min(width(r.label), 74))
	}
	for _, r := range rows {
		label := r.label
		for { // too long for a line: broken behind a "+"
			i := strings.LastIndex(label[:min(len(label), most+1)], " + ")
			if width(label) <= most || i < 0 {
				break
			}
			w.line("    %s", label[:i+2])
			label = "  " + label[i+3:]
		}
		w.line("    %s %s %s", label, strings.Repeat(".", max(2, most+3-width(label))), r.result)
	}
}

// includes says that all of part are in list.
func includes(list, part []Factor) bool {
	return !slices.ContainsFunc(part, func(f Factor) bool { return !slices.Contains(list, f) })
}

// lifted says what an experiment lifted.
func (w *writer) lifted(lift []Factor) string {
	var out []string
	for _, f := range lift {
		s := w.factor(f)
		if len(lift) > 1 { // what stays the same is said of one thing alone
			s, _, _ = strings.Cut(s, ", ")
			s, _, _ = strings.Cut(s, "，")
		}
		out = append(out, s)
	}
	return strings.Join(out, " + ")
}

// factor says what lifting it means.
func (w *writer) factor(f Factor) string {
	list := "CAP_" + strings.ReplaceAll(capNames(f.Caps), ",", ", CAP_")
	return w.t.say(say("factor."+f.Kind.String(), "call", brief(Call{Call: f.Call}), "caps", list, "flag", capNames(f.Caps), "path", f.Path, "name", f.Name, "value", f.Value))
}

// result is how an experiment ended, in a word.
func (w *writer) result(x Tried, a Answer) string {
	if x.Result == NotRun {
		return w.t["result.notrun"]
	}
	if x.Result == Works && x.Outcome.failed() {
		return w.t.say(say("result.further", "n", itoa(x.Outcome.Exit), "said", lastLine(x.Outcome.Said)))
	}
	if x.Result == Works {
		for _, ev := range x.Outcome.Events { // it went on after another refusal
			if ev.Kind == event.Refused && !ev.Filtered && ev.Nr == a.Refusal.Event.Nr && ev.Arch == a.Refusal.Event.Arch && ev.Comm == a.Refusal.Event.Comm && ev.Errno != a.Refusal.Event.Errno {
				return w.t.say(say("result.works.after", "errno", ev.Errno.String()))
			}
		}
		return w.t["result.works"]
	}
	for _, ev := range x.Outcome.Events {
		if ev.Kind == event.Refused && ev.Nr == a.Refusal.Event.Nr && ev.Arch == a.Refusal.Event.Arch && ev.Comm == a.Refusal.Event.Comm {
			return ev.Errno.String()
		}
	}
	if a.Refusal.Event.Kind == event.Exec && x.Result == Same {
		return w.t["result.same"]
	}
	if x.Outcome.Signal != 0 {
		return w.t.say(say("result.signal", "n", itoa(x.Outcome.Signal)))
	}
	return w.t.say(say("result.exit", "n", itoa(x.Outcome.Exit)))
}

// lastLine is the last line of what a program said, not too long.
func lastLine(said string) string {
	said = strings.TrimSpace(said)
	said = said[strings.LastIndexByte(said, '\n')+1:]
	if r := []rune(said); len(r) > 60 {
		said = string(r[:60]) + "…"
	}
	if said != "" {
		said = ": " + said
	}
	return said
}

// help prints grants, least first, and what to avoid.
func (w *writer) help(grants []Grant, avoid []Advice) {
	t := w.t
	if len(grants) > 0 {
		w.line("%s", t["text.help"])
	}
	for i, g := range grants {
		head := fmt.Sprintf("  %d. ", i+1)
		text := t.say(g.What)
		if flags := g.Line(); flags != "" {
			w.line("%s%s", head, flags)
			head = strings.Repeat(" ", len(head)+2)
		}
		if g.Host {
			text += " " + t["text.host"]
		}
		w.wrapped(head, text)
		if opens := others(g); len(opens) > 0 {
			w.wrapped(strings.Repeat(" ", 7)+t["text.opens"]+": ", strings.Join(opens, ", "))
		}
	}
	for _, v := range avoid {
		w.wrapped("  "+t["text.avoid"]+": ", v.Flags+": "+t.say(v.Why))
	}
}

// others are the calls that a capability brings along.
func others(g Grant) []string {
	if g.Caps == "" {
		return nil
	}
	const most = 12
	if len(g.Opens) > most {
		return append(slices.Clone(g.Opens[:most]), fmt.Sprintf("… (%d)", len(g.Opens)))
	}
	return g.Opens
}

// Line is what to paste: the flags, quoted where the shell needs it.
func (g Grant) Line() string {
	var out []string
	for _, f := range g.Flags {
		if f != ">" && strings.ContainsAny(f, " *&|<>()$") {
			f = "'" + f + "'"
		}
		out = append(out, f)
	}
	s := strings.Join(out, " ")
	if g.Command && len(g.Flags) > 3 && g.Flags[0] == "porthole" && g.Flags[1] == "profile" {
		s += "   --security-opt seccomp=p.json"
		if len(g.With) > 0 {
			s += " " + strings.Join(g.With, " ")
		}
	}
	return s
}

// Text is the answer to a question about a call that nobody made.
func (a Static) Text(l Lang) string {
	t := readTable(l)
	w := &writer{t: t}
	errno := ""
	if a.Errno != 0 {
		errno = " (" + a.Errno.String() + ")"
	}
	w.line("%s: %s%s", a.Call, t["verdict."+a.Verdict.String()], errno)
	for _, s := range a.Layers {
		key := "text.first"
		if s.Behind {
			key = "text.behind"
		} else if s.Proof == Likely {
			key = "text.might"
		}
		w.wrapped("  "+string(s.Code)+" "+t[key]+" ", t["layer."+s.Layer.String()]+": "+t.say(s.Detail))
		w.wrapped("        ", s.Source)
	}
	if len(a.Layers) == 0 {
		w.line("  %s", t["text.nolayer"])
	}
	for _, c := range a.Changes {
		errno = ""
		if c.Errno != 0 {
			errno = " (" + c.Errno.String() + ")"
		}
		w.line("  %s", t.say(say("text.change."+c.What, "at", c.At, "verdict", t["verdict."+c.Verdict.String()]+errno)))
	}
	for _, n := range a.Notes {
		w.wrapped("  "+t["text.note"]+": ", t.say(n))
	}
	return w.String()
}

// Explain is a code at length: title, text, layer, source. ok is false for a code that is none.
func Explain(code string, l Lang) (string, bool) {
	k, ok := FindCode(code)
	if !ok {
		return "", false
	}
	t := readTable(l)
	w := &writer{t: t}
	w.line("%s: %s", k.Code, t[string(k.Code)+".title"])
	w.line("")
	w.wrapped("", t[string(k.Code)+".text"])
	w.line("")
	w.line("%s: %s", t["text.layer"], t["layer."+k.Layer.String()])
	w.line("%s: %s", t["text.source"], k.Source)
	return w.String(), true
}

// Page is a code as a page of Markdown, in English.
func (k Kind) Page() string {
	t := readTable("en")
	w := &writer{t: t}
	w.line("# %s: %s", k.Code, t[string(k.Code)+".title"])
	w.line("")
	w.wrapped("", t[string(k.Code)+".text"])
	w.line("")
	w.line("Layer: %s (`%s` in `--json`).", t["layer."+k.Layer.String()], k.Layer)
	w.line("Source: %s.", k.Source)
	var rows []string
	for i := range rules {
		if r := &rules[i]; r.Code == k.Code {
			calls := names(r.Calls)
			if len(calls) > 4 {
				calls = append(slices.Clone(calls[:4]), "…")
			}
			rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s |", "`"+strings.Join(calls, "`, `")+"`", strings.ReplaceAll(strings.ReplaceAll(r.Caps, "|", " or "), "+", " and "), r.Errno, r.Source))
		}
	}
	if len(rows) > 0 && len(rows) <= 40 {
		w.line("")
		w.line("| calls | capability that lifts it | errno | source |")
		w.line("| --- | --- | --- | --- |")
		for _, r := range rows {
			w.line("%s", r)
		}
	} else if len(rows) > 40 {
		w.line("")
		w.line("%d of the kernel's rules answer so: see the table in `why/rules_table.go`.", len(rows))
	}
	return w.String()
}

// whoOf is who made a call.
func whoOf(ev event.Event, e Explanation) caps.State {
	if ev.Who != nil {
		return *ev.Who
	}
	return e.scene.Caps
}
