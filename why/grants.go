package why

import (
	"slices"
	"strings"

	"porthole/caps"
	"porthole/event"
	"porthole/facts"
	"porthole/seccomp/profile"
)

// The orders in which grants are offered: how much they open, roughly.
const (
	orderNothing = 10 * iota
	orderRelease
	orderRule
	orderImage
	orderOwn // something of the container's own: a limit, a device, a sysctl of its namespaces
	orderSession
	orderCap
	orderUnmask
	orderRoot
	orderAdmin // a capability that is many in one
	orderLSM
	orderHost
)

// reaching are capabilities that are checked for the machine itself, or lead there.
var reaching = caps.Of(caps.CAP_SYS_TIME, caps.CAP_SYSLOG, caps.CAP_SYS_BOOT, caps.CAP_SYS_MODULE, caps.CAP_SYS_RAWIO,
	caps.CAP_SYS_ADMIN, caps.CAP_DAC_READ_SEARCH, caps.CAP_BPF, caps.CAP_PERFMON, caps.CAP_WAKE_ALARM, caps.CAP_BLOCK_SUSPEND,
	caps.CAP_SYS_PACCT, caps.CAP_AUDIT_CONTROL, caps.CAP_AUDIT_READ, caps.CAP_MAC_ADMIN, caps.CAP_MAC_OVERRIDE, caps.CAP_SYS_NICE, caps.CAP_SYS_RESOURCE)

// grants lists what would help, least first, and what is often advised instead.
func (q *Inquiry) grants(e *Explanation, a *Answer) ([]Grant, []Advice, []Message) {
	g := granter{s: &q.scene, call: asked(a.Refusal.Event), path: pathOf(a.Refusal.Event), q: questionOf(a.Refusal, &q.scene)}
	layers := slices.Clone(a.Layers)
	if e.Flaky { // experiments say nothing then, and what was seen, or follows, still does
		layers = slices.DeleteFunc(layers, func(s Suspect) bool { return s.Proof < ByRules })
		if len(layers) == 0 {
			return nil, nil, nil
		}
	}
	if e.Cause != nil && a.Effect { // proved: only what was needed has to be granted
		caused := func(s Suspect) bool {
			return slices.ContainsFunc(s.Factors, func(f Factor) bool { return slices.Contains(e.Cause, f) })
		}
		layers = slices.DeleteFunc(layers, func(s Suspect) bool {
			switch {
			case len(s.Factors) == 0 || caused(s):
				return false
			case slices.ContainsFunc(s.Factors, q.cannot): // it could not be tried, and would do as well
				return !slices.ContainsFunc(layers, func(o Suspect) bool { return o.Source == s.Source && caused(o) })
			}
			// What answers after the filter and for certain was not needed only if the run ended well.
			return !(s.Behind && s.Proof >= ByRules && q.goal != nil && q.goal.failed())
		})
	}
	// A guess beside something surer is no reason to grant anything.
	layers = slices.DeleteFunc(layers, func(s Suspect) bool {
		return s.Proof == Likely && s.Source != a.Layers[0].Source && s.Layer != a.Layers[0].Layer && !(s.Behind && s.Layer == Sysctl)
	})
	if a.Tolerated && !a.Fatal && !a.Refusal.Silent {
		g.add(Grant{What: say("grant.nothing", "call", g.call.Name), Order: orderNothing})
	}
	g.collect(layers)
	g.instead(layers)
	for i := range g.list {
		if g.list[i].Proof = q.proven(g.list[i]); e.Flaky {
			g.list[i].Proof = ByRules
		}
	}
	slices.SortStableFunc(g.list, func(a, b Grant) int { return a.Order - b.Order })
	if makesUser(g.call.Call) && slices.ContainsFunc(layers, func(s Suspect) bool { return s.Layer == Seccomp }) {
		g.notes = append(g.notes, say("note.userns", "list", g.s.usernsFacts()), say("note.procmount"))
	}
	for _, t := range q.tried { // the capability alone does not do, its --cap-add would
		if len(t.Experiment.Lift) != 1 || t.Experiment.Lift[0].Kind != CapHeld || t.Result != Same || len(e.Cause) != 1 || e.Cause[0].Kind != FilterRule {
			continue
		}
		if c := t.Experiment.Lift[0].Caps.List()[0]; a.Effect && q.scene.opensFilter(g.call, c) {
			key := "note.capfilter"
			if g.q.who.EUID != 0 && len(g.list) > 0 && slices.Contains(g.list[0].Flags, "--cap-add") {
				key = "note.capinert"
			}
			g.notes = append(g.notes, say(key, "comm", a.Refusal.Event.Comm, "flag", short(c), "uid", itoa(g.q.who.EUID)))
			break
		}
	}
	return g.list, g.avoid, g.notes
}

// usernsFacts are the settings that forbid user namespaces where they are there: what is often blamed.
func (s *Scene) usernsFacts() string {
	var out []string
	for _, name := range []string{"user.max_user_namespaces", "kernel.unprivileged_userns_clone", "kernel.apparmor_restrict_unprivileged_userns"} {
		v, ok := s.sysctl(name)
		if !ok {
			v = "–"
		}
		out = append(out, name+" = "+v)
	}
	return strings.Join(out, "; ")
}

// proven says how sure it is that a grant helps: an experiment may have tried just that.
func (q *Inquiry) proven(g Grant) Proof {
	for _, t := range q.tried {
		if t.Result == Works && len(t.Experiment.Lift) == 1 && g.factor.Kind != 0 && t.Experiment.Lift[0] == g.factor {
			return Proved
		}
	}
	return ByRules
}

// asked is an event's call with its strings.
func asked(e event.Event) Call { return Call{Call: callOf(e), Strings: e.Strings} }

// granter collects grants for one refusal.
type granter struct {
	s     *Scene
	call  Call
	path  string
	q     *question
	list  []Grant
	avoid []Advice
	notes []Message
}

func (g *granter) add(one Grant) {
	if !slices.ContainsFunc(g.list, func(o Grant) bool { return slices.Equal(o.Flags, one.Flags) && o.What.Key == one.What.Key }) {
		g.list = append(g.list, one)
	}
}

func (g *granter) shun(flags, key string, p ...string) {
	if !slices.ContainsFunc(g.avoid, func(o Advice) bool { return o.Flags == flags }) {
		g.avoid = append(g.avoid, Advice{flags, say(key, p...)})
	}
}

func (g *granter) collect(layers []Suspect) {
	var filter, capability bool
	for _, sus := range layers {
		filter = filter || sus.Layer == Seccomp
		capability = capability || sus.Layer == Capability && sus.Proof >= ByRules
	}
	if filter && layers[0].Code == "P0108" {
		g.add(Grant{What: say("grant.outer"), Order: orderRule})
	} else if filter {
		g.filterGrants(capability)
	}
	for _, sus := range layers {
		switch sus.Layer {
		case Capability:
			g.capGrants(sus, filter)
		case UserNS:
			g.usernsGrants(sus)
		case NNP:
			g.nnpGrants(sus)
		case LSM:
			g.lsmGrants(sus)
		case Yama:
			g.add(Grant{What: say("grant.yama.child"), Order: orderNothing})
			g.add(Grant{What: say("grant.yama.ptracer"), Order: orderRule})
			g.capGrant(caps.CAP_SYS_PTRACE, orderCap)
			g.shun("sysctl -w kernel.yama.ptrace_scope=0", "avoid.host.wide")
		case Mount:
			g.mountGrants(sus)
		case DeviceCgroup:
			g.deviceGrants(sus)
		case Sysctl:
			g.sysctlGrants(sus)
		case Rlimit:
			g.rlimitGrants(sus)
		case File:
			if strings.Contains(sus.Source, "IS_IMMUTABLE") {
				g.add(Grant{Flags: []string{"chattr", "-ia", g.path}, Command: true, What: say("grant.immutable"), Order: orderNothing})
				continue
			}
			g.add(Grant{What: say("grant.file", "path", g.path), Order: orderNothing})
			g.groupGrant()
			if sus.Proof >= ByRules && g.q.who.EUID == 0 && slices.ContainsFunc(sus.Factors, func(f Factor) bool { return f.Kind == CapHeld }) {
				g.capAdd(caps.CAP_DAC_OVERRIDE, orderCap) // root, but without root's way with files
			} else {
				g.shun("--cap-add DAC_OVERRIDE", "avoid.toomuch")
			}
		case None:
			if sus.Code == "P0901" {
				g.add(Grant{What: say("grant.remote"), Order: orderNothing})
			} else if sus.Proof >= ByRules {
				g.add(Grant{What: say("grant.none"), Order: orderNothing})
			} else {
				g.add(Grant{What: say("grant.elsewhere"), Order: orderNothing})
			}
			g.shun("--privileged", "avoid.useless")
		case Kernel:
			g.add(Grant{What: say("grant.kernel", "call", g.call.Name), Order: orderNothing})
		}
	}
	if filter {
		g.shun("--security-opt seccomp=unconfined", "avoid.unconfined", "n", itoa(len(g.blocked())))
	}
	if !slices.ContainsFunc(g.list, func(o Grant) bool { return slices.Contains(o.Flags, "SYS_ADMIN") }) && filter {
		if v := judge(g.call, sceneWith(g.s, caps.CAP_SYS_ADMIN)); v.Verdict == Allowed {
			g.shun("--cap-add SYS_ADMIN", "avoid.toomuch")
		} else if !g.s.Caps.Bounding.Has(caps.CAP_SYS_ADMIN) {
			g.shun("--cap-add SYS_ADMIN", "avoid.useless")
		}
	}
	if !g.s.Privileged {
		g.shun("--privileged", "avoid.privileged")
	}
}

func sceneWith(s *Scene, c caps.Cap) *Scene {
	t := s.granted(caps.Of(c))
	return &t
}

// blocked are the calls that the scene's filter refuses for all arguments.
func (g *granter) blocked() []string {
	if g.s.Profile == nil {
		return nil
	}
	none := &profile.Profile{Default: "SCMP_ACT_ALLOW"}
	before, _ := g.s.Profile.Resolve(g.s.Conditions)
	after, _ := none.Resolve(g.s.Conditions)
	return profile.Opened(before, after, g.s.Conditions.Arch)
}

// filterGrants open a call in the filter; with needsCap a capability is missing too, so that the
// filter alone would not do.
func (g *granter) filterGrants(needsCap bool) {
	s := g.s
	if s.Profile == nil {
		return
	}
	if r, ok := s.laterRelease(g.call); ok && !needsCap {
		g.add(Grant{What: say("grant.release", "release", r), Order: orderRelease})
	}
	if needsCap {
		return
	}
	cmd := g.allowCommand()
	rule := orderRule
	for i, c := range s.wanted(g.call) {
		if c == caps.CAP_SYS_ADMIN && i > 0 {
			continue // a smaller one is there
		}
		if s.opensFilter(g.call, c) {
			// Where it opens just this call, and nobody holds it for want of being root, it is no more than the rule.
			t := s.granted(caps.Of(c))
			order := orderCap
			if opens := s.Profile.Opens(s.Conditions, t.Conditions); s.Caps.EUID != 0 && len(opens) == 1 {
				order, rule = orderRule, orderRule+2
			}
			g.capAdd(c, order)
		}
	}
	g.add(Grant{
		Flags: cmd, Command: true, What: say("grant.rule"), Order: rule, Opens: []string{g.call.Name},
		factor: Factor{Kind: FilterRule, Call: ruleCall(g.call.Call, s)},
	})
}

// allowCommand writes a profile in which the call is allowed.
func (g *granter) allowCommand() []string {
	s := g.s
	rule := profile.AllowExpr(ruleCall(g.call.Call, s))
	cmd := []string{"porthole", "profile", "allow", rule}
	cmd = append(cmd, companions[g.call.Name]...)
	if makesUser(g.call.Call) { // whoever unshares one goes on to clone into others
		if other := strings.Replace(rule, "unshare ", "clone ", 1); other != rule {
			cmd = append(cmd, other)
		} else {
			cmd = append(cmd, strings.Replace(rule, "clone ", "unshare ", 1))
		}
	}
	if s.As != "" {
		cmd = append(cmd, "--base", s.As)
	}
	return append(cmd, ">", "p.json")
}

// companions are calls without which another is of no use.
var companions = map[string][]string{
	"io_uring_setup": {"io_uring_enter", "io_uring_register"},
}

// makesUser says that a call makes a user namespace.
func makesUser(c profile.Call) bool {
	const newUser = 0x10000000
	return (c.Name == "unshare" || c.Name == "clone") && c.Args[0].Known && c.Args[0].Value&newUser != 0
}

// opensFilter says whether the filter, were a capability granted, would let the call through.
func (s *Scene) opensFilter(c Call, k caps.Cap) bool {
	t := s.granted(caps.Of(k))
	return t.opens(c.Call)
}

// laterRelease is the first release of the scene's engine from which on the call is let through.
func (s *Scene) laterRelease(c Call) (string, bool) {
	here, err := profile.FindRelease(s.Profile.Name)
	if err != nil {
		return "", false
	}
	q := &question{call: c.Name, arch: s.Facts.Arch, who: &s.Caps}
	var newer []profile.Release
	closed := map[string]bool{}
	err = profile.Each(here.Engine, func(rs []profile.Release, p *profile.Profile) bool {
		t := *s
		t.Profile = p.About(c.Name, s.Conditions)
		_, some, _ := t.filterStatic(c, q)
		for _, r := range rs {
			if r.Compare(here) > 0 {
				newer = append(newer, r)
				closed[r.Version] = some != no
			}
		}
		return true
	})
	if err != nil {
		return "", false
	}
	slices.SortFunc(newer, func(a, b profile.Release) int { return b.Compare(a) })
	found := ""
	for _, r := range newer { // from the newest down, as long as it is open
		if closed[r.Version] {
			break
		}
		found = r.Engine + " " + r.Version
	}
	return found, found != ""
}

// capAdd adds --cap-add, with what it brings along.
func (g *granter) capAdd(c caps.Cap, order int) {
	s := g.s
	if c == caps.CAP_SYS_ADMIN {
		order = max(order, orderAdmin)
	}
	if !s.Caps.Bounding.Has(c) {
		gr := Grant{
			Flags: []string{"--cap-add", short(c)}, What: say("grant.cap", "cap", c.String(), "key", "cap."+short(c)), Caps: c.String(),
			Host: reaching.Has(c) && s.UserNS.Initial, Order: order, factor: Factor{Kind: CapGranted, Caps: caps.Of(c)},
		}
		if s.Profile != nil {
			t := s.granted(caps.Of(c))
			gr.Opens = s.Profile.Opens(s.Conditions, t.Conditions)
		}
		g.add(gr)
		if passing.Has(c) && order >= orderCap {
			g.add(Grant{
				Flags: []string{"porthole", "exec", "--cap-add", short(c), "CONTAINER", "…"}, Command: true, Caps: c.String(),
				What: say("grant.session"), Order: order - 1, Host: gr.Host,
			})
		}
	}
}

// capWithRule is for a call that the filter does not open with a capability, and the kernel not without it.
func (g *granter) capWithRule(c caps.Cap) {
	s := g.s
	with := []string{}
	if !s.Caps.Bounding.Has(c) {
		with = append(with, "--cap-add", short(c))
	}
	if s.Caps.EUID != 0 && g.q.who.EUID != 0 {
		with = append(with, "--user", "0")
	}
	g.add(Grant{
		Flags: g.allowCommand(), With: with, Command: true, What: say("grant.both", "cap", c.String(), "call", g.call.Name), Caps: c.String(),
		Opens: []string{g.call.Name}, Order: orderCap, Host: reaching.Has(c) && s.UserNS.Initial,
	})
}

// capGrant adds what makes a capability effective, not only granted.
func (g *granter) capGrant(c caps.Cap, order int) {
	s := g.s
	if s.Caps.EUID == 0 && g.q.who.EUID != 0 && !strings.HasPrefix(s.As, "podman") { // it was root, and became somebody else
		gr := Grant{What: say("grant.stayroot", "cap", c.String(), "uid", itoa(g.q.who.EUID)), Caps: c.String(), Order: orderNothing}
		if !s.Caps.Bounding.Has(c) {
			gr.Flags, gr.Order, gr.Host = []string{"--cap-add", short(c)}, max(order, orderRoot), reaching.Has(c) && s.UserNS.Initial
		}
		g.add(gr)
		return
	}
	if s.Caps.EUID == 0 || strings.HasPrefix(s.As, "podman") || g.q.who.EUID == 0 {
		g.capAdd(c, order)
		return
	}
	order = orderRoot
	if c == caps.CAP_SYS_ADMIN {
		order = orderAdmin + 1
	}
	host := reaching.Has(c) && s.UserNS.Initial
	flags := []string{"--user", "0"}
	session := []string{"porthole", "exec", "-u", "0", "CONTAINER", "…"}
	if !s.Caps.Bounding.Has(c) {
		flags = []string{"--cap-add", short(c), "--user", "0"}
		session = []string{"porthole", "exec", "--cap-add", short(c), "-u", "0", "CONTAINER", "…"}
	}
	if passing.Has(c) || s.Caps.Bounding.Has(c) {
		g.add(Grant{Flags: session, Command: true, Caps: c.String(), What: say("grant.session.root", "cap", c.String()), Order: order - 1, Host: host})
	}
	g.add(Grant{Flags: flags, Caps: c.String(), What: say("grant.root", "cap", c.String()), Order: order, Host: host})
}

func (g *granter) capGrants(sus Suspect, filter bool) {
	switch sus.Code {
	case "P0301":
		missing := missingOf(g.q)
		g.add(Grant{Flags: []string{"RUN", "setcap", "-r", g.path}, Command: true, What: say("grant.setcap", "path", g.path), Order: orderImage,
			factor: Factor{Kind: FileCapsOff, Path: g.path}})
		if missing != 0 {
			var flags []string
			for _, c := range missing.List() {
				flags = append(flags, "--cap-add", short(c))
			}
			g.add(Grant{Flags: flags, Caps: orNone(missing), What: say("grant.filecaps", "caps", orNone(missing)), Order: orderCap,
				Host: missing&reaching != 0 && g.s.UserNS.Initial, factor: Factor{Kind: CapHeld, Caps: missing}})
		}
		if v, _ := g.s.sysctl("net.ipv4.ping_group_range"); missing == caps.Of(caps.CAP_NET_RAW) && strings.HasSuffix(g.path, "ping") {
			if pingRange(g.s, g.q) == no {
				g.notes = append(g.notes, say("note.ping", "value", v))
			} else if f, ok := sysctlFactor("net.ipv4.ping_group_range"); ok {
				g.add(Grant{Flags: []string{"--sysctl", f.Name + "=" + f.Value}, What: say("grant.ping"), Order: orderCap + 1})
			}
		}
		g.shun("chmod, chown", "avoid.mode")
		return
	case "P0304":
		g.add(Grant{What: say("grant.rootful"), Order: orderHost, Host: true})
		g.shun("--cap-add, --privileged", "avoid.userns")
		return
	}
	for _, f := range sus.Factors {
		if f.Kind != CapHeld {
			continue
		}
		for _, c := range f.Caps.List() {
			if filter && !g.s.opensFilter(g.call, c) {
				g.capWithRule(c)
				continue
			}
			g.capGrant(c, orderCap)
		}
	}
	g.limitGrants()
	if sus.Code == "P0303" {
		g.shun("--cap-add", "avoid.nonroot")
	}
}

func (g *granter) usernsGrants(sus Suspect) {
	switch sus.Code {
	case "P0601":
		g.add(Grant{What: say("grant.userns.create"), Order: orderNothing})
		g.shun("sysctl -w kernel.unprivileged_userns_clone=1", "avoid.absent")
	case "P0602":
		g.add(Grant{What: say("grant.userns.ids"), Order: orderOwn})
		g.shun("--cap-add", "avoid.useless")
	case "P0603":
		g.add(Grant{Flags: []string{"nsenter", "-U", "--preserve-credentials", "…"}, Command: true, What: say("grant.userns.setgroups"), Order: orderNothing})
	case "P0604":
		g.add(Grant{Flags: []string{"nsenter", "-U", "…"}, Command: true, What: say("grant.userns.join"), Order: orderNothing})
	case "P0606":
		g.add(Grant{What: say("grant.userns.map"), Order: orderOwn})
	case "P0304":
		g.add(Grant{What: say("grant.rootful"), Order: orderHost, Host: true})
	}
}

func (g *granter) nnpGrants(sus Suspect) {
	if sus.Code == "P0503" {
		g.add(Grant{What: say("grant.nnp.set"), Order: orderNothing})
		return
	}
	g.add(Grant{Flags: []string{"porthole", "exec", "-u", "0", "CONTAINER", "…"}, Command: true, What: say("grant.exec.root"), Order: orderSession})
	g.add(Grant{Flags: []string{"--user", "0"}, What: say("grant.user"), Order: orderRoot})
	g.add(Grant{Flags: []string{"--security-opt", "no-new-privileges=false"}, What: say("grant.nnp.off"), Order: orderAdmin, factor: Factor{Kind: NNPOff}})
	g.shun("--cap-add SETUID", "avoid.useless")
	g.notes = append(g.notes, say("note.nnp"))
}

func (g *granter) lsmGrants(sus Suspect) {
	switch sus.Code {
	case "P0702":
		g.add(Grant{Flags: []string{"--security-opt", "label=disable"}, What: say("grant.selinux"), Order: orderLSM})
	case "P0704":
		g.add(Grant{What: say("grant.lockdown"), Order: orderHost, Host: true})
	default:
		g.add(Grant{Flags: []string{"--security-opt", "apparmor=PROFILE"}, What: say("grant.apparmor.profile", "call", g.call.Name), Order: orderOwn})
		g.add(Grant{Flags: []string{"--security-opt", "apparmor=unconfined"}, What: say("grant.apparmor.off"), Order: orderLSM, factor: Factor{Kind: LSMOff}})
		g.shun("--cap-add ALL", "avoid.lsm")
	}
}

func (g *granter) mountGrants(sus Suspect) {
	switch sus.Code {
	case "P0401":
		if key, ok := strings.CutPrefix(g.path, "/proc/sys/"); ok {
			key = strings.ReplaceAll(key, "/", ".")
			if flag, ok := map[string]string{"kernel.hostname": "--hostname", "kernel.domainname": "--domainname"}[key]; ok {
				g.add(Grant{Flags: []string{flag, "NAME"}, What: say("instead." + flag[2:]), Order: orderNothing})
				return
			}
			if namespaced(g.path) {
				g.add(Grant{Flags: []string{"--sysctl", key + "=VALUE"}, What: say("grant.sysctl.own", "sysctl", key), Order: orderOwn})
			} else {
				g.add(Grant{Flags: []string{"sysctl", "-w", key + "=VALUE"}, Command: true, What: say("grant.sysctl.host", "sysctl", key), Order: orderHost, Host: true})
			}
			return
		}
		place, mounted := g.s.place(g.path)
		switch {
		case strings.HasPrefix(g.path, "/sys/"):
			g.add(Grant{Flags: []string{"-v", g.path + ":" + g.path}, What: say("grant.mount.sys", "path", g.path), Order: orderHost, Host: true})
			return
		case strings.HasPrefix(g.path, "/proc/"):
			g.add(Grant{Flags: []string{"--security-opt", "systempaths=unconfined"}, What: say("grant.systempaths"), Order: orderUnmask, Host: true})
			return
		}
		if g.s.RootRO && (!mounted || place.Path == "/") {
			g.add(Grant{Flags: []string{"--tmpfs", dirOf(g.path)}, What: say("grant.tmpfs"), Order: orderOwn})
			g.add(Grant{What: say("grant.readonly.off"), Order: orderUnmask})
			return
		}
		g.add(Grant{What: say("grant.mount.rw", "path", g.path), Order: orderOwn})
	case "P0402":
		g.add(Grant{What: say("grant.proc.bind"), Order: orderNothing})
		if at := g.s.covered(); at != "" {
			g.add(Grant{What: say("grant.proc.uncover", "path", at), Order: orderOwn})
		}
		g.add(Grant{Flags: []string{"--security-opt", "systempaths=unconfined"}, What: say("grant.systempaths"), Order: orderUnmask, factor: Factor{Kind: SystemPaths}})
		g.shun("seccomp=…", "avoid.seccomp.memory")
	case "P0409":
		if strings.HasPrefix(g.s.As, "podman") {
			g.add(Grant{Flags: []string{"--security-opt", "unmask=" + beneath(g.s.Masked, g.path)}, What: say("grant.unmask", "path", g.path), Order: orderUnmask, Host: true})
			return
		}
		g.add(Grant{Flags: []string{"--security-opt", "systempaths=unconfined"}, What: say("grant.systempaths"), Order: orderUnmask, Host: true})
	case "P0410":
		g.add(Grant{What: say("grant.overlay", "path", g.path), Order: orderOwn})
	case "P0403":
		g.add(Grant{Flags: []string{"--device", g.path}, What: say("grant.device.node"), Order: orderOwn})
		g.add(g.remounted("dev", Grant{What: say("grant.mount.dev"), Order: orderUnmask}))
	case "P0404":
		at := g.path
		if at == "" && len(sus.Factors) > 0 && sus.Factors[0].Path != "" {
			at = sus.Factors[0].Path
			g.add(Grant{Flags: []string{"--tmpfs", at + ":exec"}, What: say("grant.mount.exec", "path", at), Order: orderOwn, factor: sus.Factors[0]})
			return
		}
		g.add(g.remounted("exec", Grant{What: say("grant.mount.exec", "path", at), Order: orderOwn}))
	case "P0408":
		g.add(g.remounted("suid", Grant{What: say("grant.mount.suid", "path", g.path), Order: orderUnmask}))
	default:
		g.add(Grant{What: say("grant.mount.rw", "path", g.path), Order: orderOwn})
	}
}

// remounted adds the flag of run that gives the mount in question an option, where it is a tmpfs of the container's own.
func (g *granter) remounted(option string, gr Grant) Grant {
	at := ""
	if g.q.file != nil {
		at = g.q.file.Mount
	}
	if p, ok := g.s.place(g.path); ok && p.Type == "tmpfs" && p.Path != "/dev" && (at == "" || at == p.Path) {
		gr.Flags = []string{"--tmpfs", p.Path + ":" + option}
	}
	return gr
}

func dirOf(p string) string {
	if i := strings.LastIndexByte(p, '/'); i > 0 {
		return p[:i]
	}
	return "/"
}

func (g *granter) deviceGrants(sus Suspect) {
	if strings.HasPrefix(g.path, "/dev/") {
		g.add(Grant{Flags: []string{"--device", g.path}, What: say("grant.device", "path", g.path), Order: orderOwn, Host: true})
	}
	if n, ok := deviceName(g.q); ok {
		kind, _, _ := strings.Cut(n, ":")
		g.add(Grant{Flags: []string{"--device-cgroup-rule", kind + ":* rwm"}, What: say("grant.device.rule"), Order: orderOwn + 1, Host: true,
			factor: Factor{Kind: DeviceRule, Name: n, Path: g.path}})
	}
	g.shun("chmod 666", "avoid.device")
}

func (g *granter) sysctlGrants(sus Suspect) {
	own := false
	for _, f := range sus.Factors {
		if f.Kind == SysctlSet && (!strings.HasPrefix(f.Name, "net.") || g.s.Isolated["net"]) {
			own = true
			g.add(Grant{Flags: []string{"--sysctl", f.Name + "=" + f.Value}, What: say("grant.sysctl.own", "sysctl", f.Name), Order: orderOwn, factor: f})
		}
	}
	name := param(sus.Detail, "sysctl")
	name, _, _ = strings.Cut(name, " ")
	switch sus.Code {
	case "P0201":
		if g.s.Facts.Kernel.AtLeast(facts.Version{Major: 5, Minor: 8}) && g.s.UserNS.Initial {
			g.capGrant(caps.CAP_PERFMON, orderCap)
		}
		g.hostSysctl("kernel.perf_event_paranoid=1")
		g.shun("--cap-add SYS_ADMIN", "avoid.toomuch")
	case "P0202":
		if name == "net.ipv4.ip_unprivileged_port_start" {
			g.capGrant(caps.CAP_NET_BIND_SERVICE, orderCap)
			g.add(Grant{What: say("grant.port"), Order: orderNothing})
		}
	case "P0204":
		g.hostSysctl(name + "=MORE")
		g.shun("df, rm", "avoid.quota")
	case "P0605":
		g.hostSysctl("user.max_user_namespaces=MORE")
	case "P0203":
		if name != "" && !own {
			g.hostSysctl(name + "=VALUE")
		}
	case "P0206", "P0205":
		if key, ok := strings.CutPrefix(g.path, "/proc/sys/"); ok {
			g.hostSysctl(strings.ReplaceAll(key, "/", ".") + "=VALUE")
		}
	}
}

func (g *granter) hostSysctl(set string) {
	name, _, _ := strings.Cut(set, "=")
	g.add(Grant{Flags: []string{"sysctl", "-w", set}, Command: true, What: say("grant.sysctl.host", "sysctl", name), Order: orderHost, Host: true})
}

func param(m Message, name string) string {
	for i := 0; i+1 < len(m.P); i += 2 {
		if m.P[i] == name {
			return m.P[i+1]
		}
	}
	return ""
}

func (g *granter) rlimitGrants(sus Suspect) {
	name := param(sus.Detail, "limit")
	switch {
	case sus.Code == "P0804" && name == "pids.max":
		g.add(Grant{Flags: []string{"--pids-limit", "MORE"}, What: say("grant.pids"), Order: orderOwn, factor: Factor{Kind: RlimitSet, Name: "pids", Value: "-1:-1"}})
	case sus.Code == "P0804" && name == "cpuset.cpus":
		g.add(Grant{Flags: []string{"--cpuset-cpus", "LIST"}, What: say("grant.cpuset"), Order: orderOwn})
	case sus.Code == "P0804":
		g.add(Grant{Flags: []string{"--cpu-rt-runtime", "MICROSECONDS"}, What: say("grant.rt"), Order: orderOwn, Host: true})
		g.shun("--cap-add SYS_NICE", "avoid.useless")
	case sus.Code == "P0805":
		g.add(Grant{Flags: []string{"--memory", "MORE"}, What: say("grant.memory"), Order: orderOwn})
	case sus.Code == "P0802":
		g.add(Grant{Flags: []string{"--ulimit", name + "=N:N"}, What: say("grant.ulimit.hard"), Order: orderOwn})
	case g.s.Rootless:
		g.add(Grant{What: say("grant.ulimit.rootless", "limit", name), Order: orderOwn})
	default:
		g.add(Grant{Flags: []string{"--ulimit", name + "=-1:-1"}, What: say("grant.ulimit"), Order: orderOwn, factor: Factor{Kind: RlimitSet, Name: name, Value: "-1:-1"}})
	}
}

// groupGrant is for a file whose group may do what others may not: a device, a socket of an engine.
func (g *granter) groupGrant() {
	const readWrite = 6
	f := g.q.file
	if f == nil || f.GID <= 0 || f.Mode>>3&readWrite != readWrite || f.Mode&readWrite == readWrite || g.q.who.EUID == 0 {
		return
	}
	gid := itoa(f.GID)
	g.add(Grant{Flags: []string{"--group-add", gid}, What: say("grant.group", "gid", gid, "path", g.path), Order: orderOwn})
}

// limitFlags are the flags of run that set a limit as a factor does.
func limitFlags(f Factor) []string {
	switch f.Name {
	case "pids":
		return []string{"--pids-limit", "MORE"}
	case "memory":
		return []string{"--memory", "MORE"}
	}
	if f.Value == "max:max" {
		return []string{"--ulimit", f.Name + "=N:N"}
	}
	return []string{"--ulimit", f.Name + "=" + f.Value}
}
