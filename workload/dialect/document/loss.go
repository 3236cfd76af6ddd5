package document

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"porthole/tree"
	"porthole/workload"
)

// Loss is something that a text or a workload says and that is not kept.
type Loss struct {
	Path string `json:"path"`           // of a member of the text, or of Workload where it is written
	What string `json:"lost"`           // its value
	Why  string `json:"because"`        //
	Line int    `json:"line,omitempty"` // in the text
}

func (l Loss) String() string {
	s := l.Path
	if l.What != "" {
		s += ": " + l.What
	}
	if l.Why != "" {
		s += " (" + l.Why + ")"
	}
	return visible(s)
}

// visible writes out what would be a command to a terminal, or a line of its own.
func visible(s string) string {
	if !strings.ContainsFunc(s, unicode.IsControl) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsControl(r) {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// reading is one text being read.
type reading struct {
	d      *Dialect
	o      Options
	w      workload.Workload
	losses []Loss
	shape  func(*tree.Node) string // a member's name in the dialect's tables; nil: its own
	kept   []string                // the shapes of all that was looked at and not lost
	filled int                     // bytes of the variables' values that were put in
}

// MaxFilled bounds what the variables in a text come to: one of them may stand in it a million times.
const MaxFilled = 16 << 20 // bytes

// counted is the value of a variable, or nothing once MaxFilled is reached; then Read fails.
func (r *reading) counted(v string) string {
	if r.filled += len(v); r.filled > MaxFilled {
		return ""
	}
	return v
}

// env is a variable of the caller's.
func (r *reading) env(name string) (string, bool) {
	if r.o.Outside.Env == nil {
		return "", false
	}
	v, ok := r.o.Outside.Env(name)
	return r.counted(v), ok
}

func (r *reading) lose(path, what, why string) {
	r.losses = append(r.losses, Loss{Path: path, What: short(what), Why: why})
}

// drop names a member that was looked at and can't be kept.
func (r *reading) drop(n *tree.Node, why string) {
	if n.Set() {
		n.Pass()
		r.losses = append(r.losses, Loss{n.Path, n.Short(), why, n.Line})
	}
}

// unread names all that nobody looked at. Each has its reason in the dialect's table, or beneath a member that has.
func (r *reading) unread(root *tree.Node) {
	shape := r.shape
	if shape == nil {
		shape = (*tree.Node).Shape
	}
	if r.o.kept != nil {
		for _, n := range root.Read() {
			if !slices.ContainsFunc(r.losses, func(l Loss) bool { return within(n.Path, l.Path) }) {
				r.kept = append(r.kept, shape(n))
			}
		}
	}
	for _, n := range root.Unread() {
		why := "not known to " + r.d.Title
		if row, ok := find(r.d.Lost, shape(n)); ok {
			why = row.Why
			if why == passedOver {
				continue
			}
		}
		r.losses = append(r.losses, Loss{n.Path, n.Short(), why, n.Line})
	}
}

// within says whether path is that of outer, or of something in it.
func within(path, outer string) bool {
	rest, ok := strings.CutPrefix(path, outer)
	return ok && outer != "" && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// passedOver is the reason of members that say nothing of a container: they are not named as lost.
const passedOver = ""

// find returns the row of a shape, or of the nearest thing that it stands in.
func find(rows []Row, shape string) (Row, bool) {
	for s := shape; s != ""; {
		for _, row := range rows {
			if row.Member == s {
				return row, true
			}
		}
		i := strings.LastIndexAny(s, ".[")
		if i < 0 {
			break
		}
		s = s[:i]
	}
	return Row{}, false
}

// writing is one workload being written: whoever writes takes a member out of it, and what remains is lost.
type writing struct {
	workload.Workload
	d      *Dialect
	o      Options
	losses []Loss
}

// take returns what p points to, and leaves nothing there.
func take[T any](p *T) T {
	v := *p
	var zero T
	*p = zero
	return v
}

// takeIf does so if v is one that can be written.
func takeIf[T any](p *T, can bool) (v T) {
	if can {
		v = take(p)
	}
	return v
}

func (w *writing) lose(path, what, why string) {
	w.losses = append(w.losses, Loss{Path: path, What: short(what), Why: why})
}

// loseMount names a mount as lost whole.
func (w *writing) loseMount(i int, why string) {
	m := take(&w.Mounts[i])
	w.lose(fmt.Sprintf("Mounts[%d]", i), fmt.Sprintf("%s %s at %s", m.Type, m.Source, m.Target), why)
}

// left names all that nobody took.
func (w *writing) left() {
	w.walk(reflect.ValueOf(w.Workload), "", "")
	slices.SortStableFunc(w.losses, func(a, b Loss) int { return cmp.Compare(order(a.Path), order(b.Path)) })
}

// order is where a member stands in Workload.
func order(path string) int {
	head, _, _ := strings.Cut(path, ".")
	head, _, _ = strings.Cut(head, "[")
	f, _ := reflect.TypeFor[workload.Workload]().FieldByName(head)
	if len(f.Index) == 0 {
		return 0
	}
	return f.Index[0]
}

func (w *writing) walk(v reflect.Value, path, shape string) {
	if v.IsZero() {
		return
	}
	t := v.Type()
	switch {
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			name := t.Field(i).Name
			if path != "" {
				name = "." + name
			}
			w.walk(v.Field(i), path+name, shape+name)
		}
		return
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		for i := range v.Len() {
			at := fmt.Sprintf("%s[%d]", path, i)
			switch e := v.Index(i).Interface().(type) {
			case workload.Mount:
				w.walk(v.Index(i), at, shape+"[]")
			case workload.Device:
				if e != (workload.Device{}) {
					w.add(at, shape+"[]", strings.Trim(e.Rule+" "+e.Source+":"+e.Target+":"+e.Access, " :"))
				}
			case workload.EnvVar:
				if e != (workload.EnvVar{}) {
					w.add(at, shape+"[]", e.Name)
				}
			case workload.Ulimit:
				if e != (workload.Ulimit{}) {
					w.add(path, shape, fmt.Sprintf("%s=%d:%d", e.Name, e.Soft, e.Hard))
				}
			}
		}
		return
	case t.Kind() == reflect.Map:
		m, _ := v.Interface().(map[string]string)
		for _, k := range slices.Sorted(maps.Keys(m)) {
			w.add(path+"["+k+"]", shape, m[k])
		}
		return
	case t.Kind() == reflect.Pointer:
		v = v.Elem()
	}
	what := fmt.Sprint(v.Interface())
	switch x := v.Interface().(type) {
	case []string:
		if what = strings.Join(x, " "); len(x) == 0 {
			what = "none"
		}
	case []byte:
		what = fmt.Sprintf("a document of %d bytes", len(x))
	case time.Duration:
		what = x.String()
	}
	w.add(path, shape, what)
}

func (w *writing) add(path, shape, what string) {
	why := w.d.Title + " has no word for it"
	if row, ok := find(w.d.Wordless, shape); ok {
		why = row.Why
	}
	w.lose(path, what, why)
}

func short(s string) string {
	s = strings.ReplaceAll(s, "\n", `\n`)
	if r := []rune(s); len(r) > 60 {
		s = string(r[:59]) + "…"
	}
	return s
}

// clone returns w with everything of its own that a writer takes out piece by piece.
func clone(w workload.Workload) workload.Workload {
	w.Env, w.Groups = slices.Clone(w.Env), slices.Clone(w.Groups)
	w.Labels, w.Sysctls = maps.Clone(w.Labels), maps.Clone(w.Sysctls)
	w.Mounts, w.Devices, w.Limits.Ulimits = slices.Clone(w.Mounts), slices.Clone(w.Devices), slices.Clone(w.Limits.Ulimits)
	s := &w.Security
	s.CapAdd, s.CapDrop, s.Labels = slices.Clone(s.CapAdd), slices.Clone(s.CapDrop), slices.Clone(s.Labels)
	return w
}

// notUTF8 is the path of a text in w that isn't UTF-8, or "".
func notUTF8(w workload.Workload) string { return badText(reflect.ValueOf(w), "the workload") }

func badText(v reflect.Value, path string) string {
	switch v.Kind() {
	case reflect.String:
		if !utf8.ValidString(v.String()) {
			return path
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return badText(v.Elem(), path)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if bad := badText(v.Field(i), v.Type().Field(i).Name); bad != "" {
				return bad
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return ""
		}
		for i := range v.Len() {
			if bad := badText(v.Index(i), path); bad != "" {
				return bad
			}
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			if badText(k, path) != "" || badText(v.MapIndex(k), path) != "" {
				return path
			}
		}
	}
	return ""
}
