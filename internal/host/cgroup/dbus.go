package cgroup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bus is a connection to a systemd, over its own socket: no message bus stands between, so nobody is to be greeted
// and no signal to be asked for. It speaks as much of the D-Bus protocol (specification 0.43, "Message
// Protocol") as a unit's life takes; godbus, and the net package with it, would cost every start of ours 0.2 ms.
type bus struct {
	fd     int
	serial uint32
	in     []byte    // read, and not yet looked at
	heard  []message // signals that came before somebody waited for them
}

// message is one message that came.
type message struct {
	kind   byte // 2 return, 3 error, 4 signal
	reply  uint32
	member string // of a signal
	name   string // of an error
	body   decoder
}

// busPatience is how long systemd may take for an answer.
const busPatience = 30 * time.Second

// dial connects to the systemd whose socket is at path.
func dial(path string) (*bus, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	b := &bus{fd: fd}
	limit := unix.NsecToTimeval(int64(busPatience))
	err = errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit), unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit))
	if err == nil {
		err = b.meet(path)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("systemd at %s: %w", path, err)
	}
	return b, nil
}

// meet authenticates by the credentials that the kernel has of us. No name is given: in a user namespace we do not
// know ours (sd-bus does the same).
func (b *bus) meet(path string) error {
	if err := unix.Connect(b.fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return err
	}
	if err := b.send([]byte("\x00AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")); err != nil {
		return err
	}
	for _, want := range []string{"DATA", "OK"} {
		for !strings.Contains(string(b.in), "\r\n") {
			if err := b.more(); err != nil {
				return err
			}
		}
		line, rest, _ := strings.Cut(string(b.in), "\r\n")
		if b.in = []byte(rest); !strings.HasPrefix(line, want) {
			return fmt.Errorf("it answers %q to our greeting", line)
		}
	}
	return nil
}

func (b *bus) close() { unix.Close(b.fd) }

func (b *bus) send(data []byte) error {
	for len(data) > 0 {
		n, err := unix.SendmsgN(b.fd, data, nil, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// more reads what there is.
func (b *bus) more() error {
	var buf [4096]byte
	for {
		n, err := unix.Read(b.fd, buf[:])
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return os.ErrDeadlineExceeded
		case err != nil:
			return err
		case n == 0:
			return io.ErrUnexpectedEOF
		default:
			b.in = append(b.in, buf[:n]...)
			return nil
		}
	}
}

// Kinds of messages, and of the fields in their headers.
const (
	busCall, busReturn, busError, busSignal = 1, 2, 3, 4

	fieldPath, fieldInterface, fieldMember, fieldError, fieldReply, fieldDestination, fieldSignature = 1, 2, 3, 4, 5, 6, 8
)

// call calls a method of systemd's manager, and returns the answer's body. signature is that of what fill writes.
func (b *bus) call(iface, member, signature string, fill func(*encoder)) (decoder, error) {
	var body, head encoder
	fill(&body)
	b.serial++
	head.b = append(head.b, 'l', busCall, 0, 1)
	head.uint32(uint32(len(body.b)))
	head.uint32(b.serial)
	head.array(8, func() {
		for _, f := range []struct {
			code            byte
			kind, signature string
		}{{fieldPath, "o", "/org/freedesktop/systemd1"}, {fieldInterface, "s", iface}, {fieldMember, "s", member}, {fieldDestination, "s", "org.freedesktop.systemd1"}, {fieldSignature, "g", signature}} {
			head.align(8)
			head.b = append(head.b, f.code)
			head.signature(f.kind)
			if f.kind == "g" {
				head.signature(f.signature)
			} else {
				head.string(f.signature)
			}
		}
	})
	head.align(8)
	if err := b.send(append(head.b, body.b...)); err != nil {
		return decoder{}, fmt.Errorf("systemd: %s: %w", member, err)
	}
	for {
		m, err := b.receive()
		switch {
		case err != nil:
			return decoder{}, fmt.Errorf("systemd: %s: %w", member, err)
		case m.kind == busSignal:
			b.heard = append(b.heard, m)
		case m.reply != b.serial:
		case m.kind == busError:
			return decoder{}, &busFailure{member, m.name, m.body.string()}
		default:
			return m.body, nil
		}
	}
}

// busFailure is systemd's refusal.
type busFailure struct{ member, name, text string }

func (e *busFailure) Error() string {
	return fmt.Sprintf("systemd: %s: %s (%s)", e.member, e.text, e.name)
}

// signal returns the next signal of a name, that has come or is to come.
func (b *bus) signal(member string) (decoder, error) {
	for {
		for i, m := range b.heard {
			if m.member == member {
				b.heard = append(b.heard[:i], b.heard[i+1:]...)
				return m.body, nil
			}
		}
		m, err := b.receive()
		if err != nil {
			return decoder{}, fmt.Errorf("systemd: waiting for %s: %w", member, err)
		}
		if m.kind == busSignal {
			b.heard = append(b.heard, m)
		}
	}
}

// maxMessage is what a message may be long (D-Bus specification).
const maxMessage = 128 << 20

func (b *bus) receive() (message, error) {
	for len(b.in) < 16 {
		if err := b.more(); err != nil {
			return message{}, err
		}
	}
	if b.in[0] != 'l' {
		return message{}, errors.New("not a message in this machine's byte order")
	}
	body, fields := binary.LittleEndian.Uint32(b.in[4:]), binary.LittleEndian.Uint32(b.in[12:])
	head := (16 + int(fields) + 7) &^ 7
	if body > maxMessage || fields > maxMessage {
		return message{}, errors.New("a message that is longer than any may be")
	}
	for len(b.in) < head+int(body) {
		if err := b.more(); err != nil {
			return message{}, err
		}
	}
	m := message{kind: b.in[1], body: decoder{b: b.in[head : head+int(body)]}}
	for d := (decoder{b: b.in[:16+fields], at: 16}); d.at < len(d.b) && d.err == nil; {
		d.align(8)
		code := d.byte()
		switch kind := d.signature(); {
		case kind == "u" && code == fieldReply:
			m.reply = d.uint32()
		case kind == "u":
			d.uint32()
		case kind == "g":
			d.signature()
		case kind == "s" && code == fieldMember:
			m.member = d.string()
		case kind == "s" && code == fieldError:
			m.name = d.string()
		case kind == "s" || kind == "o":
			d.string()
		default:
			return message{}, fmt.Errorf("a header field of kind %q", kind)
		}
	}
	b.in = b.in[head+int(body):]
	return m, nil
}

// encoder writes values as the protocol has them: little-endian, each aligned to its size.
type encoder struct{ b []byte }

func (e *encoder) align(n int) {
	for len(e.b)%n != 0 {
		e.b = append(e.b, 0)
	}
}

func (e *encoder) uint32(v uint32) {
	e.align(4)
	e.b = binary.LittleEndian.AppendUint32(e.b, v)
}

func (e *encoder) uint64(v uint64) {
	e.align(8)
	e.b = binary.LittleEndian.AppendUint64(e.b, v)
}

func (e *encoder) bool(v bool) { e.uint32(map[bool]uint32{true: 1}[v]) }

func (e *encoder) string(s string) {
	e.uint32(uint32(len(s)))
	e.b = append(append(e.b, s...), 0)
}

func (e *encoder) signature(s string) { e.b = append(append(append(e.b, byte(len(s))), s...), 0) }

// array writes what item does as an array whose elements are aligned to n.
func (e *encoder) array(n int, items func()) {
	e.uint32(0)
	length := len(e.b) - 4
	e.align(n)
	start := len(e.b)
	items()
	binary.LittleEndian.PutUint32(e.b[length:], uint32(len(e.b)-start))
}

// variant writes a value with its type: what properties of units are.
func (e *encoder) variant(v any) {
	switch v := v.(type) {
	case string:
		e.signature("s")
		e.string(v)
	case bool:
		e.signature("b")
		e.bool(v)
	case uint32:
		e.signature("u")
		e.uint32(v)
	case int32:
		e.signature("i")
		e.uint32(uint32(v))
	case uint64:
		e.signature("t")
		e.uint64(v)
	case int64:
		e.signature("x")
		e.uint64(uint64(v))
	case []byte:
		e.signature("ay")
		e.array(1, func() { e.b = append(e.b, v...) })
	case []uint32:
		e.signature("au")
		e.array(4, func() {
			for _, n := range v {
				e.uint32(n)
			}
		})
	case []string:
		e.signature("as")
		e.array(4, func() {
			for _, s := range v {
				e.string(s)
			}
		})
	case [][2]string:
		e.signature("a(ss)")
		e.array(8, func() {
			for _, p := range v {
				e.align(8)
				e.string(p[0])
				e.string(p[1])
			}
		})
	default:
		panic(fmt.Sprintf("cgroup: no D-Bus type for %T", v))
	}
}

// decoder reads them. What is beyond the end is zero, and an error.
type decoder struct {
	b   []byte
	at  int
	err error
}

func (d *decoder) take(n int) []byte {
	if d.err != nil || n < 0 || n > len(d.b)-d.at {
		d.err = io.ErrUnexpectedEOF
		return make([]byte, min(max(n, 0), 8))
	}
	d.at += n
	return d.b[d.at-n : d.at]
}

func (d *decoder) align(n int)    { d.at = (d.at + n - 1) &^ (n - 1) }
func (d *decoder) byte() byte     { return d.take(1)[0] }
func (d *decoder) uint32() uint32 { d.align(4); return binary.LittleEndian.Uint32(d.take(4)) }

func (d *decoder) string() string {
	n := int(d.uint32())
	s := string(d.take(n))
	d.take(1)
	if d.err != nil {
		return ""
	}
	return s
}

func (d *decoder) signature() string {
	s := string(d.take(int(d.byte())))
	d.take(1)
	return s
}
