//go:build clients

package ocicli

import (
	"fmt"
	"os"
	"testing"
)

// podman makes what Podman wants to find, and D/p, which is Podman with a mount namespace of its own: each command
// line sees the control groups as the daemons of the other tests do. before is what else the shell does first, and
// become the words in front of the command.
func (c *client) podman(before, become, options string) {
	c.t.Helper()
	// Fewer than Podman's own, for root may be unable to raise them.
	const limits = `default_ulimits = ["nofile=1024:1024", "nproc=16384:16384"]`
	c.must(`mkdir -p root run tmp home/.config/containers && printf '{"default":[{"type":"insecureAcceptAnything"}]}' > home/.config/containers/policy.json && : > registries.conf &&` +
		` printf '[storage]\ndriver = "overlay"\nrunroot = "` + c.dir + `/run"\ngraphroot = "` + c.dir + `/root"\n' > storage.conf && printf '[storage]\ndriver = "overlay"\n' > home/.config/containers/storage.conf &&` +
		` printf '[containers]\n` + limits + `\n[engine]\nevents_logger = "file"\ncgroup_manager = "cgroupfs"\nruntime_supports_json = ["crun", "runc", "porthole-oci"]\nruntime_supports_nocgroup = ["crun", "porthole-oci"]\n' > containers.conf`)
	c.must("cat > p <<'E'\n#!/bin/sh\nexec unshare -m --propagation shared sh -c '" + c.hide() + before + "cd /; exec \"$@\"' - " + become + " podman " + options + " \"$@\"\nE\nchmod +x p")
	c.call = c.dir + "/p"
	c.must("$C import $D/img.tar bb")
	c.t.Cleanup(func() {
		c.shell("$C pod rm -fa -t 0; $C rm -fa -t 0")
		c.shell(`for d in /sys/fs/cgroup/*/libpod_parent; do [ "$(stat -f -c %T $d)" != tmpfs ] || { rm -rf $d; rmdir ${d%/*}; }; done`)
	})
}

const alone = "--network none "

// podmanLines are for root and an ordinary user alike.
var podmanLines = script(
	is(`^uid=0\(root\) gid=0\(root\)\n$`, "$C $R run --rm "+alone+"bb id"),
	same(
		"$C $R run --rm "+alone+"bb sh -c 'exit 9'",
		"script -qec \"$C $R run --rm -it "+alone+"bb sh -c 'tty; sleep .3'\" /dev/null </dev/null",
		"$C $R run --rm "+alone+"--privileged bb grep CapEff /proc/self/status",
		"$C $R run --rm "+alone+"--init --init-path /usr/bin/catatonit bb ps",
		"$C $R run --rm "+alone+"--user 1000 --read-only --tmpfs /etc bb sh -c 'touch /x 2>/dev/null || echo read-only; cat /etc/group'",
		"$C $R run --rm "+alone+"-v $V:/v:ro bb sh -c 'cat /v/file; touch /v/x 2>/dev/null || echo read-only'",
		"$C $R run --rm "+alone+"-v named:/v bb sh -c 'echo x > /v/a; ls -ln /v | cut -c1-40'; $C volume rm named",
		"$C $R run --rm "+alone+"--cap-drop ALL --security-opt no-new-privileges bb grep -E 'Cap|NoNew|Seccomp:' /proc/self/status",
		"$C $R run --rm "+alone+"--security-opt seccomp=unconfined --hostname hh bb sh -c 'grep Seccomp: /proc/self/status; hostname'",
		"$C $R run -d --name a "+alone+"bb sh -c 'trap \"echo bye; exit 5\" TERM; echo up; while :; do sleep 0.1; done' | wc -l",
		"$C $R exec a id", "$C $R exec -u 5 -w /tmp -e A=b a sh -c 'id; pwd; echo $A; exit 6'",
		"script -qec \"$C $R exec -it a sh -c 'tty; sleep .3'\" /dev/null </dev/null",
		"script -qec \"stty rows 33 cols 99; ( sleep 1.2; stty rows 44 cols 111 </dev/tty ) & $C $R exec -it a sh -c 'sleep .4; stty size; sleep 2; stty size'\" /dev/null </dev/null",
		"$C $R exec -d a sleep 44 | wc -l",
		"$C $R exec -i a cat <vol/file", "$C $R exec --privileged a grep CapEff /proc/self/status",
		"$C $R run --rm --network container:a --pid container:a --ipc container:a bb sh -c 'ps > /tmp/ps; grep -c \"[e]cho up\" /tmp/ps'",
		"$C $R stop -t 3 a", "$C $R logs a", "$C $R inspect -f '{{.State.ExitCode}} {{.State.Status}}' a",
		"$C $R start a", "$C $R kill a; $C $R wait a", "$C $R rm -f -t 0 a",
		"$C $R run -d --name r --restart on-failure:2 "+alone+"bb sh -c 'echo r; exit 3' | wc -l; sleep 3; $C logs r; $C inspect -f '{{.RestartCount}} {{.State.ExitCode}}' r; $C $R rm -f -t 0 r",

		// A pod: its infra container holds the namespaces that the others share.
		"$C $R pod create --name pd --share pid,ipc,net,uts --network none --hostname inpod | wc -l",
		"$C $R run -d --pod pd --name p1 bb sh -c 'while :; do sleep 0.1; done' | wc -l",
		"$C $R run --rm --pod pd bb sh -c 'ps | grep -c -E \"catatonit|while\"; hostname; ls /dev/shm'",
		"for n in pid ipc net uts; do for c in p1 $($C $R pod inspect pd -f '{{.InfraContainerID}}'); do readlink /proc/$($C $R inspect -f '{{.State.Pid}}' $c)/ns/$n; done | sort -u | wc -l; done",
		"$C $R pod ps --format '{{.Name}} {{.Status}} {{.NumberOfContainers}}'",
		"$C $R pod stop -t 1 pd 2>/dev/null; $C $R pod start pd; sleep .5; $C $R ps --format '{{.Names}}' | grep -c p1",
		// Where a controller is not mounted Podman 4.3 makes plain directories, which it cannot remove, and says so in many ways.
		"for i in 1 2 3 4 5; do $C $R pod rm -f -t 0 pd >/dev/null 2>&1 && break; sleep .5; done; $C pod ps -q | wc -l",

		// What kube play makes of a pod as Kubernetes has it.
		"$C $R kube play --network none $D/pod.yaml >/dev/null 2>&1; sleep 1; $C $R inspect -f '{{.State.Status}}' kp-one kp-two",
		"$C $R logs kp-one", "$C $R exec kp-one /bin/cat /v/a", "$C $R exec kp-one /bin/sh -c 'id; grep -E \"Cap|NoNew|Seccomp:\" /proc/self/status'",
		"$C $R healthcheck run kp-one; echo $?; $C $R inspect kp-one -f '{{.State.Health.Status}}'",
		"$C $R kube down $D/pod.yaml >/dev/null 2>&1; $C $R ps -aq | wc -l",
		"$C $R rm -fa -t 0", "$C $R pod rm -fa",
	),
	loose("$C $R run --rm "+alone+"bb nonexist", "$C $R run --rm "+alone+"bb /etc/passwd", "$C $R run -d --name b "+alone+"--health-cmd 'test -e /tmp/well' bb sleep 100",
		"$C $R healthcheck run b", "$C $R exec b touch /tmp/well", "$C $R healthcheck run b", "$C $R exec b nonexist", "$C $R exec b /etc/passwd", "$C $R top b", "$C $R rm -f -t 0 b"),
)

const pod = `cat > pod.yaml <<'E'
apiVersion: v1
kind: Pod
metadata: {name: kp}
spec:
  restartPolicy: Never
  volumes: [{name: v, emptyDir: {}}]
  containers:
  - name: one
    image: localhost/bb
    command: [/bin/sh, -c, "trap 'exit 0' TERM; id -u; grep CapEff /proc/self/status; echo $A > /tmp/a; while :; do sleep 0.1; done"]
    env: [{name: A, value: b}]
    volumeMounts: [{name: v, mountPath: /v}]
    livenessProbe: {exec: {command: [/bin/cat, /tmp/a]}}
    securityContext: {runAsUser: 7, capabilities: {drop: [ALL], add: [SYS_PTRACE]}, allowPrivilegeEscalation: false}
  - name: two
    image: localhost/bb
    command: [/bin/sh, -c, "echo b > /v/a; while :; do sleep 0.1; done"]
    volumeMounts: [{name: v, mountPath: /v}]
E
chmod 644 pod.yaml && chmod 1777 vol`

func TestPodman(t *testing.T) {
	c := newClient(t, "podman", "conmon", "catatonit")
	c.must(pod)
	c.env = []string{"CONTAINERS_REGISTRIES_CONF=" + c.dir + "/registries.conf", "CONTAINERS_STORAGE_CONF=" + c.dir + "/storage.conf", "CONTAINERS_CONF=" + c.dir + "/containers.conf", "TMPDIR=" + c.dir + "/tmp"}
	c.podman("", "", "--root "+c.dir+"/root --runroot "+c.dir+"/run --tmpdir "+c.dir+"/tmp --cgroup-manager=cgroupfs --events-backend=file --storage-driver=overlay")
	c.compare("crun", "--runtime "+c.dir+"/porthole-oci", "--runtime /usr/bin/crun", script(podmanLines, same(
		"$C $R run --rm "+alone+"--uidmap 0:100000:65536 bb sh -c 'cat /proc/self/uid_map; id'",
		"$C $R run --rm "+alone+"--cpuset-cpus 0 --pids-limit 40 --memory 40m bb sh -c 'nproc; cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/memory/memory.limit_in_bytes'",
		"$C $R run -d --name a "+alone+"-m 64m bb sleep 100 | wc -l",
		"$C $R pause a", "$C $R ps -a --format '{{.Names}} {{.State}}'", "$C $R unpause a",
		"$C $R stats --no-stream --format '{{.Name}}' a",
		"$C $R update -m 100m a", "$C $R exec a cat /sys/fs/cgroup/memory/memory.limit_in_bytes",
		"$C $R rm -f -t 0 a",
		"$C $R run --rm --cgroups=disabled "+alone+"bb sh -c 'sort /proc/self/cgroup'",
		"$C $R run --rm --group-add keep-groups "+alone+"bb id -G",
		"$C $R run --rm --device-cgroup-rule 'c 1:11 r' --cap-add SYSLOG "+alone+"bb sh -c 'mknod /k c 1 11 && head -c 1 </k | wc -c; mknod /m c 1 1 && head -c 1 /m'",
		"$C $R run --rm --systemd=always "+alone+"bb sh -c 'cut -d\" \" -f5 /proc/self/mountinfo | grep -E \"^/(run|tmp|var/log/journal)\" | sort; echo $container'",
		"$C $R create --name o "+alone+"bb echo cloned | wc -l; $C $R container clone o o2 | wc -l; $C $R start -a o2; $C $R rm o o2 | wc -l",
	)))
	c.clean()
}

// An ordinary user's Podman calls its runtime in a user namespace of theirs.
func TestPodmanRootless(t *testing.T) {
	c := newClient(t, "podman", "conmon", "catatonit", "newuidmap", "slirp4netns", "setpriv")
	c.addUser()
	c.must(pod)
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Fatalf("slirp4netns needs it: %v", err)
	}
	c.must(fmt.Sprintf("mkdir mine && chmod 700 mine && mknod tun c 10 200 && chmod 666 tun && chown %d:%d mine", uid, uid))
	t.Cleanup(func() { c.shell("kill $(cat mine/libpod/tmp/pause.pid)") }) // the process that keeps the user's namespaces
	c.podman(fmt.Sprintf("mount --bind %s/tun /dev/net/tun; [ -O %s/home ] && chown -R %d:%d %s/home; ", c.dir, c.dir, uid, uid, c.dir),
		fmt.Sprintf("setpriv --reuid %d --regid %d --init-groups env -i HOME=%s/home USER=%s PATH=/usr/sbin:/usr/bin:/sbin:/bin XDG_RUNTIME_DIR=%s/mine CONTAINERS_CONF=%s/containers.conf CONTAINERS_REGISTRIES_CONF=%s/registries.conf",
			uid, uid, c.dir, someone, c.dir, c.dir, c.dir), "")
	c.compare("crun", "--runtime "+c.dir+"/porthole-oci", "--runtime /usr/bin/crun", script(podmanLines, same(
		"$C $R run --rm bb sh -c 'cat /proc/self/uid_map /proc/self/gid_map; ip -o a | grep -c inet; cat /proc/self/setgroups'",
		"$C $R run --rm --userns=keep-id "+alone+"bb sh -c 'id; cat /proc/self/uid_map; touch /tmp/x; ls -ln /tmp | cut -c1-40'",
		"$C $R run --rm --userns=keep-id "+alone+"-v $V:/v bb sh -c 'touch /v/kept && ls -ln /v | cut -c1-40; rm /v/kept'",
		"$C $R run -d --name k --userns=keep-id "+alone+"bb sleep 100 | wc -l; $C $R exec k id; $C $R exec -u 0 k id; $C $R rm -f -t 0 k",
		"$C $R run --rm --userns=nomap "+alone+"bb id", "$C $R run --rm --userns=auto "+alone+"bb cat /proc/self/uid_map",
		"$C $R run --rm --uidmap 0:1:1000 "+alone+"bb sh -c 'id; cat /proc/self/uid_map'",
		"$C $R run --rm --pid host --uts host --network host bb id",
		"$C $R run --rm "+alone+"bb sh -c 'mkdir /m; mount -t tmpfs x /m 2>&1; mount -t proc x /m 2>&1'",
	)))
	c.clean()
}
