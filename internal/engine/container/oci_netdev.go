package container

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// moveNetDevices hands devices of our network namespace to that of process pid, with their lasting addresses, and turns
// them on there, as the runtime spec wants (config-linux.md, "Network Devices"). Where one cannot be moved, those that
// were come back.
func moveNetDevices(devices map[string]specs.LinuxNetDevice, pid int) (err error) {
	if len(devices) == 0 {
		return nil
	}
	space, err := os.Open("/proc/" + strconv.Itoa(pid) + "/ns/net")
	if err != nil {
		return err
	}
	defer space.Close()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer own.Close()
	here, err := rtnetlink(own, own)
	if err != nil {
		return err
	}
	defer here.close()
	there, err := rtnetlink(own, space)
	if err != nil {
		return err
	}
	defer there.close()

	type done struct{ name, was string }
	var moved []done
	defer func() {
		if err != nil {
			for _, d := range slices.Backward(moved) {
				there.move(d.name, d.was, own, here)
			}
		}
	}()
	names := make([]string, 0, len(devices))
	for name := range devices {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names { // before any is moved
		if _, _, err := here.link(name); err != nil {
			return fmt.Errorf("linux.netDevices.%s: %w", name, err)
		}
	}
	for _, name := range names {
		to := devices[name].Name
		if to == "" {
			to = name
		}
		if err := here.move(name, to, space, there); err != nil {
			return fmt.Errorf("linux.netDevices.%s: %w", name, err)
		}
		moved = append(moved, done{to, name})
		if err := there.up(to); err != nil {
			return fmt.Errorf("linux.netDevices.%s: turn it on: %w", name, err)
		}
	}
	return nil
}

// routes is a socket to one network namespace (rtnetlink(7)).
type routes struct {
	fd  int
	seq uint32
}

// rtnetlink opens one to the namespace behind there, from a thread in that behind own.
func rtnetlink(own, there *os.File) (*routes, error) {
	runtime.LockOSThread()
	if own != there {
		if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			return nil, fmt.Errorf("enter the network namespace: %w", err)
		}
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if own != there {
		if back := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); back != nil { // the thread ends with its goroutine
			return nil, errors.Join(err, back)
		}
	}
	runtime.UnlockOSThread()
	if err != nil {
		return nil, fmt.Errorf("rtnetlink: %w", err)
	}
	return &routes{fd: fd}, nil
}

func (r *routes) close() { unix.Close(r.fd) }

// message is a netlink message's type, and what follows its head.
type message struct {
	kind uint16
	body []byte
}

// ask sends a request and returns what comes until the kernel has done.
func (r *routes) ask(kind, flags uint16, body []byte) (got []message, err error) {
	r.seq++
	req := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(body)))
	req = binary.NativeEndian.AppendUint16(req, kind)
	req = binary.NativeEndian.AppendUint16(req, flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	req = binary.NativeEndian.AppendUint32(req, r.seq)
	req = binary.NativeEndian.AppendUint32(req, 0)
	if err := unix.Sendto(r.fd, append(req, body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	buf := make([]byte, 1<<16)
	for {
		n, _, err := unix.Recvfrom(r.fd, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		for b := buf[:n]; len(b) >= unix.NLMSG_HDRLEN; {
			size, kind, seq := int(binary.NativeEndian.Uint32(b)), binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint32(b[8:])
			if size < unix.NLMSG_HDRLEN || size > len(b) {
				return nil, errors.New("rtnetlink: a message cut short")
			}
			body := b[unix.NLMSG_HDRLEN:size]
			b = b[min((size+3)&^3, len(b)):]
			switch {
			case seq != r.seq:
			case kind == unix.NLMSG_ERROR && len(body) >= 4:
				if e := -int32(binary.NativeEndian.Uint32(body)); e != 0 {
					return nil, unix.Errno(e)
				}
				return got, nil
			case kind == unix.NLMSG_DONE:
				return got, nil
			default:
				got = append(got, message{kind, slices.Clone(body)})
			}
		}
	}
}

// attr appends a struct rtattr with its value.
func attr(to []byte, kind uint16, value []byte) []byte {
	to = binary.NativeEndian.AppendUint16(to, uint16(unix.SizeofRtAttr+len(value)))
	to = append(binary.NativeEndian.AppendUint16(to, kind), value...)
	return append(to, make([]byte, -len(value)&3)...)
}

// attrs reads them.
func attrs(b []byte) map[uint16][]byte {
	all := map[uint16][]byte{}
	for len(b) >= unix.SizeofRtAttr {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtAttr || n > len(b) {
			break
		}
		all[binary.NativeEndian.Uint16(b[2:])] = b[unix.SizeofRtAttr:n]
		b = b[min((n+3)&^3, len(b)):]
	}
	return all
}

// ifinfo is struct ifinfomsg.
func ifinfo(index, flags, change uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], index)
	binary.NativeEndian.PutUint32(b[8:], flags)
	binary.NativeEndian.PutUint32(b[12:], change)
	return b
}

func text(s string) []byte { return append([]byte(s), 0) }

// link is a device's number and flags.
func (r *routes) link(name string) (index, flags uint32, err error) {
	got, err := r.ask(unix.RTM_GETLINK, 0, attr(ifinfo(0, 0, 0), unix.IFLA_IFNAME, text(name)))
	if err == nil && (len(got) == 0 || len(got[0].body) < unix.SizeofIfInfomsg) {
		err = unix.ENODEV
	}
	if err != nil {
		return 0, 0, err
	}
	return binary.NativeEndian.Uint32(got[0].body[4:]), binary.NativeEndian.Uint32(got[0].body[8:]), nil
}

func (r *routes) up(name string) error {
	index, _, err := r.link(name)
	if err == nil {
		_, err = r.ask(unix.RTM_NEWLINK, 0, ifinfo(index, unix.IFF_UP, unix.IFF_UP))
	}
	return err
}

// move gives the device name to the namespace behind space, to which there is a socket, as to. Its addresses, which a
// device loses on the way (dev_change_net_namespace, net/core/dev.c), it is given again.
func (r *routes) move(name, to string, space *os.File, there *routes) error {
	index, _, err := r.link(name)
	if err != nil {
		return err
	}
	addresses, err := r.lasting(index)
	if err != nil {
		return fmt.Errorf("its addresses: %w", err)
	}
	req := attr(ifinfo(index, 0, 0), unix.IFLA_NET_NS_FD, binary.NativeEndian.AppendUint32(nil, uint32(space.Fd())))
	if _, err := r.ask(unix.RTM_NEWLINK, 0, attr(req, unix.IFLA_IFNAME, text(to))); err != nil {
		return fmt.Errorf("move it to the container as %s: %w", to, err)
	}
	if index, _, err = there.link(to); err != nil {
		return fmt.Errorf("%s: %w", to, err)
	}
	for _, a := range addresses {
		binary.NativeEndian.PutUint32(a[4:], index)
		if _, err := there.ask(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, a); err != nil && err != unix.EEXIST {
			return fmt.Errorf("give it its address: %w", err)
		}
	}
	return nil
}

// lasting are a device's permanent addresses of global scope, each as a request to make it.
func (r *routes) lasting(index uint32) (list [][]byte, err error) {
	got, err := r.ask(unix.RTM_GETADDR, unix.NLM_F_DUMP, make([]byte, unix.SizeofIfAddrmsg))
	for _, m := range got {
		if m.kind != unix.RTM_NEWADDR || len(m.body) < unix.SizeofIfAddrmsg {
			continue
		}
		head, a := m.body[:unix.SizeofIfAddrmsg], attrs(m.body[unix.SizeofIfAddrmsg:])
		flags := uint32(head[2])
		if f := a[unix.IFA_FLAGS]; len(f) == 4 {
			flags = binary.NativeEndian.Uint32(f)
		}
		if binary.NativeEndian.Uint32(head[4:]) != index || flags&unix.IFA_F_PERMANENT == 0 || head[3] != unix.RT_SCOPE_UNIVERSE {
			continue
		}
		req := slices.Clone(head)
		for _, kind := range []uint16{unix.IFA_ADDRESS, unix.IFA_LOCAL, unix.IFA_BROADCAST} {
			if v := a[kind]; v != nil {
				req = attr(req, kind, v)
			}
		}
		list = append(list, req)
	}
	return list, err
}

// CheckNetDevices refuses names that no device can have (dev_valid_name, net/core/dev.c).
func CheckNetDevices(devices map[string]specs.LinuxNetDevice) error {
	taken := map[string]string{}
	for name, d := range devices {
		to := d.Name
		if to == "" {
			to = name
		}
		for _, n := range []string{name, to} {
			if n == "" || n == "." || n == ".." || len(n) > 15 || strings.ContainsAny(n, "/: \t\n\r\v\f\x00%") {
				return fmt.Errorf("linux.netDevices.%s: %q is no device's name", name, n)
			}
		}
		if other, ok := taken[to]; ok {
			return fmt.Errorf("linux.netDevices.%s: %s is to be %s as well", name, other, to)
		}
		taken[to] = name
	}
	return nil
}
