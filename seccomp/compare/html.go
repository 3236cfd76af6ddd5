package compare

import (
	"fmt"
	"html"
	"slices"
	"strings"

	"porthole/abi"
	"porthole/seccomp"
)

// HTML is the result as one page that needs nothing else: every call of every ABI a cell, its left half
// coloured by what A answers and its right by what B does; cells that changed are framed. Cells must have
// been asked for: see Options.Show.
func (r Result) HTML() string {
	changes := map[string][]Change{}
	for _, c := range r.Changes {
		changes[fmt.Sprint(c.Arch, c.Call)] = append(changes[fmt.Sprint(c.Arch, c.Call)], c)
	}
	var b strings.Builder
	e := html.EscapeString
	fmt.Fprintf(&b, pageHead, e(r.A), e(r.B), e(r.A), e(r.B), e(r.Machine.String()))
	fmt.Fprintf(&b, "<p>The colours are for Linux %v and these capabilities: %s.</p>\n", r.Show.Kernel, e(orNone(names(r.Show.Caps))))
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "<p>%s</p>\n", e(n))
	}
	b.WriteString(`<p class="key">`)
	for _, k := range key {
		fmt.Fprintf(&b, `<span><i class="%s"></i>%s</span> `, k.class, k.text)
	}
	b.WriteString("<span><i class=\"c\"></i>changed, under the conditions that the colours show or others</span></p>\n")
	b.WriteString(`<p><label><input type="checkbox" id="only"> only what changed</label> <input id="find" placeholder="find a call" autocomplete="off"></p>` + "\n")

	for _, a := range r.Machine.Siblings() {
		var cells []Cell
		changed := 0
		for _, c := range r.Cells {
			if c.Arch == a {
				cells = append(cells, c)
				if c.Changed {
					changed++
				}
			}
		}
		if len(cells) == 0 {
			continue
		}
		slices.SortFunc(cells, func(a, b Cell) int { return strings.Compare(a.Call, b.Call) })
		fmt.Fprintf(&b, "<h2>%v <small>%d of %d calls changed</small></h2>\n<div class=\"grid\">\n", a, changed, len(cells))
		for _, c := range cells {
			class := "s"
			if c.Changed {
				class = "s c"
			}
			fmt.Fprintf(&b, `<b class="%s" tabindex="0" data-n="%s" title="%s"><i class="%s"></i><i class="%s"></i>%s</b>`+"\n",
				class, e(c.Call), e(c.describe(r.A, r.B, changes[fmt.Sprint(c.Arch, c.Call)])), classOf(c.A), classOf(c.B), e(c.Call))
		}
		b.WriteString("</div>\n")
		for _, c := range r.Changes {
			if c.Call == "" && c.Arch == a {
				fmt.Fprintf(&b, "<p>numbers without a name %s: %v → %v, %s</p>\n", e(c.name()), c.From, c.To, e(c.When.String()))
			}
		}
	}
	b.WriteString(pageEnd)
	return b.String()
}

// describe is what hovering shows.
func (c Cell) describe(a, b string, changes []Change) string {
	lines := []string{fmt.Sprintf("%s, number %d", c.Call, c.Nr&^abi.X32Bit)}
	for i, side := range [][]Answer{c.A, c.B} {
		for _, x := range side {
			s := fmt.Sprintf("%s: %v", []string{a, b}[i], x.Action)
			if len(x.Args) > 0 {
				s += " if " + strings.Join(x.Args, "; or ")
			}
			lines = append(lines, s)
		}
	}
	for _, x := range changes {
		s := fmt.Sprintf("changed: %v → %v, %v", x.From, x.To, x.When)
		if len(x.Args) > 0 {
			s += ", if " + strings.Join(x.Args, "; or ")
		}
		lines = append(lines, s)
	}
	return strings.Join(lines, "\n")
}

// key are the colours.
var key = []struct{ class, text string }{
	{"a", "allowed"}, {"m", "by its arguments"}, {"w", "logged, traced or asked about"},
	{"p", "refused"}, {"n", "refused with ENOSYS, as if the kernel had no such call"}, {"k", "kills or traps"},
}

func classOf(answers []Answer) string {
	if len(answers) != 1 {
		return "m"
	}
	switch a := answers[0].Action; a.Kind() {
	case seccomp.Allow:
		return "a"
	case seccomp.Log, seccomp.Trace, seccomp.Notify:
		return "w"
	case seccomp.Errno:
		if a == seccomp.Errno|38 {
			return "n"
		}
		return "p"
	}
	return "k"
}

const pageHead = `<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>%s → %s</title>
<style>
:root{color-scheme:light dark;--a:#7cc77c;--m:#e6cf5a;--w:#77aee0;--p:#dd7b6f;--n:#a99bc9;--k:#5d5d66;--fg:#222;--bg:#fff;--line:#ccc}
@media(prefers-color-scheme:dark){:root{--a:#3f7d45;--m:#8f7f22;--w:#386a99;--p:#96443b;--n:#665a86;--k:#17171b;--fg:#eee;--bg:#24242a;--line:#555}}
body{font:14px/1.4 system-ui,sans-serif;margin:1.5em;color:var(--fg);background:var(--bg)}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(11.5em,1fr));gap:3px}
.s{position:relative;font-weight:normal;font-size:12px;padding:2px 5px;overflow:hidden;text-overflow:ellipsis;white-space:nowrap;border:2px solid transparent;border-radius:3px;isolation:isolate}
.s i{position:absolute;z-index:-1;top:0;bottom:0;left:0;width:50%%}.s i+i{left:50%%}
.s.c{border-color:var(--fg);font-weight:bold}.s:hover,.s:focus{outline:2px solid var(--fg)}
.a{background:var(--a)}.m{background:var(--m)}.w{background:var(--w)}.p{background:var(--p)}.n{background:var(--n)}.k{background:var(--k)}
.key i{display:inline-block}.key i{width:1em;height:1em;vertical-align:-2px;margin-right:.3em;border:1px solid var(--line)}.key i.c{border:2px solid var(--fg)}.key span{margin-right:1em}
small{font-weight:normal}.hide{display:none}
#say{position:sticky;bottom:0;background:var(--bg);border-top:1px solid var(--line);padding:.5em 0;min-height:4.5em;white-space:pre-wrap;font:12px/1.4 ui-monospace,monospace}
</style>
<h1>%s → %s</h1>
<p>Seen on %s: the left half of a cell is what the first answers, the right half the second. Point at a cell to read it.</p>
`

const pageEnd = `<div id="say"></div>
<script>
const cells=[...document.querySelectorAll('.s')],say=document.getElementById('say'),only=document.getElementById('only'),find=document.getElementById('find');
for(const c of cells)for(const ev of ['mouseenter','focus'])c.addEventListener(ev,()=>say.textContent=c.title);
function show(){for(const c of cells)c.classList.toggle('hide',only.checked&&!c.classList.contains('c')||!c.dataset.n.includes(find.value.trim()))}
only.addEventListener('change',show);find.addEventListener('input',show);
</script>
`
