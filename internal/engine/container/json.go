package container

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Marshal is json.Marshal for a value that a process writes once. encoding/json first compiles an encoder for
// every type that it meets, and for a record of a container that takes ten times what the writing does: 0.3 ms. What
// this does not know, or what would need escapes, it leaves to encoding/json.
func Marshal(v any) ([]byte, error) { return appendJSON(make([]byte, 0, 4096), reflect.ValueOf(v)) }

var marshaler = reflect.TypeFor[json.Marshaler]()

func appendJSON(b []byte, v reflect.Value) ([]byte, error) {
	switch k := v.Kind(); {
	case k == reflect.Pointer && v.IsNil(), k == reflect.Slice && v.IsNil(), k == reflect.Map && v.IsNil():
		return append(b, "null"...), nil
	case k == reflect.Pointer:
		return appendJSON(b, v.Elem())
	case v.Type().Implements(marshaler):
		return fall(b, v)
	case k == reflect.String:
		return appendString(b, v.String())
	case k == reflect.Bool:
		return strconv.AppendBool(b, v.Bool()), nil
	case v.CanInt():
		return strconv.AppendInt(b, v.Int(), 10), nil
	case v.CanUint():
		return strconv.AppendUint(b, v.Uint(), 10), nil
	case k == reflect.Struct:
		return appendStruct(b, v)
	case k == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8:
		return appendList(b, '[', ']', v.Len(), func(b []byte, i int) ([]byte, error) { return appendJSON(b, v.Index(i)) })
	case k == reflect.Map && v.Type().Key().Kind() == reflect.String && !v.Type().Key().Implements(marshaler):
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		return appendList(b, '{', '}', len(keys), func(b []byte, i int) ([]byte, error) {
			b, err := appendString(b, keys[i].String())
			if err != nil {
				return b, err
			}
			return appendJSON(append(b, ':'), v.MapIndex(keys[i]))
		})
	}
	return fall(b, v)
}

func fall(b []byte, v reflect.Value) ([]byte, error) {
	data, err := json.Marshal(v.Interface())
	return append(b, data...), err
}

func appendList(b []byte, open, end byte, n int, item func([]byte, int) ([]byte, error)) ([]byte, error) {
	b = append(b, open)
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = item(b, i); err != nil {
			return b, err
		}
	}
	return append(b, end), nil
}

func appendStruct(b []byte, v reflect.Value) ([]byte, error) {
	t := v.Type()
	start := len(b)
	b = append(b, '{')
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || strings.Contains(options, "string") {
			return fall(b[:start], v)
		}
		x := v.Field(i)
		if !f.IsExported() || name == "-" || strings.Contains(options, "omitzero") && zero(x) ||
			strings.Contains(options, "omitempty") && empty(x) {
			continue
		}
		if name == "" {
			name = f.Name
		}
		if len(b) > start+1 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), name...), `":`...)
		var err error
		if b, err = appendJSON(b, x); err != nil {
			return b, err
		}
	}
	return append(b, '}'), nil
}

func zero(v reflect.Value) bool {
	if z, ok := v.Interface().(interface{ IsZero() bool }); ok {
		return z.IsZero()
	}
	return v.IsZero()
}

func empty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Struct:
		return false
	case reflect.Slice, reflect.Map, reflect.Array:
		return v.Len() == 0
	}
	return v.IsZero()
}

// appendString writes what needs no escape itself.
func appendString(b []byte, s string) ([]byte, error) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || strings.IndexByte(`"\<>&`, c) >= 0 {
			return fall(b, reflect.ValueOf(s))
		}
	}
	return append(append(append(b, '"'), s...), '"'), nil
}
