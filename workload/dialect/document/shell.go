package document

import (
	"errors"
	"fmt"
	"strings"
)

// split takes a command line apart as a shell does: blanks, '…', "…", \, comments, and lines joined by \. env is asked
// for $NAME and ${NAME}; nil leaves $ alone. What only a running shell knows (`…`, $(…), pipes) is an error.
func split(s string, env func(string) (string, bool)) (words []string, err error) {
	var b strings.Builder
	in := false // a word, be it empty
	end := func() {
		if in {
			words = append(words, b.String())
		}
		b.Reset()
		in = false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == ' ' || c == '\t' || c == '\r':
			end()
		case c == '\n':
			end()
			if env != nil && len(words) > 0 && strings.TrimSpace(s[i:]) != "" && !strings.HasPrefix(strings.TrimSpace(s[i:]), "#") {
				return nil, errors.New("more than one command; a line goes on behind a \\")
			}
		case c == '#' && !in && env != nil:
			for i+1 < len(s) && s[i+1] != '\n' {
				i++
			}
		case c == '\\':
			if i++; i == len(s) {
				return nil, errors.New("a \\ stands at the end")
			}
			if s[i] == '\r' && i+1 < len(s) && s[i+1] == '\n' {
				i++
			}
			if s[i] != '\n' {
				in = true
				b.WriteByte(s[i])
			}
		case c == '\'':
			j := strings.IndexByte(s[i+1:], '\'')
			if j < 0 {
				return nil, errors.New("a ' has no end")
			}
			in = true
			b.WriteString(s[i+1 : i+1+j])
			i += j + 1
		case c == '"':
			in = true
			for i++; ; i++ {
				if i >= len(s) {
					return nil, errors.New("a \" has no end")
				}
				if s[i] == '"' {
					break
				}
				switch {
				case s[i] == '\\' && i+1 < len(s) && strings.IndexByte("\"\\$`\n", s[i+1]) >= 0:
					if i++; s[i] != '\n' {
						b.WriteByte(s[i])
					}
				case s[i] == '$' && env != nil:
					v, n, err := dollar(s[i+1:], env)
					if err != nil {
						return nil, err
					}
					b.WriteString(v)
					i += n
				case s[i] == '`' && env != nil:
					return nil, errors.New("`…` is for a shell to run")
				default:
					b.WriteByte(s[i])
				}
			}
		case env != nil && c == '$':
			v, n, err := dollar(s[i+1:], env)
			if err != nil {
				return nil, err
			}
			in = true
			b.WriteString(v)
			i += n
		case env != nil && strings.IndexByte("`|&;<>()", c) >= 0:
			return nil, fmt.Errorf("%q is for a shell to read: give one command, or quote it", c)
		default:
			in = true
			b.WriteByte(c)
		}
	}
	end()
	return words, nil
}

// dollar is the value of the variable that s begins with, and how long its name is.
func dollar(s string, env func(string) (string, bool)) (v string, n int, err error) {
	if rest, ok := strings.CutPrefix(s, "{"); ok {
		name := variable(rest)
		if name == "" || !strings.HasPrefix(rest[len(name):], "}") {
			return "", 0, errors.New("${…} of more than a name is for a shell to read")
		}
		v, _ = env(name)
		return v, len(name) + 2, nil
	}
	name := variable(s)
	if name == "" {
		if s == "" || s[0] == ' ' || s[0] == '"' {
			return "$", 0, nil
		}
		return "", 0, fmt.Errorf("$%c is for a shell to read", s[0])
	}
	v, _ = env(name)
	return v, len(name), nil
}

// quote writes a word for a shell.
func quote(s string) string {
	if s != "" && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+=:,./@%^") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// commandLine writes words for a shell, each option on a line of its own; first is how many words the command is.
func commandLine(words []string, first int) string {
	var b strings.Builder
	for i, word := range words {
		switch {
		case i == 0:
		case i >= first && strings.HasPrefix(word, "--"):
			b.WriteString(" \\\n  ")
		default:
			b.WriteByte(' ')
		}
		b.WriteString(quote(word))
	}
	return b.String() + "\n"
}
