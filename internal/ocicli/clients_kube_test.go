//go:build clients

package ocicli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// kube speaks to containerd as a kubelet does.
type kube struct {
	*client
	cri.RuntimeServiceClient
	images cri.ImageServiceClient
	ctx    context.Context
	said   []string // what is to be the same with every runtime
}

// newKube starts containerd with the configuration that deploy/install.sh makes, and its pods' network in a
// namespace of its own.
func newKube(t *testing.T) *kube {
	c := newClient(t, "containerd", "ctr")
	if _, err := os.Stat("/usr/lib/cni/ptp"); err != nil {
		t.Fatalf("%v: Debian's containernetworking-plugins", err)
	}
	deploy, err := filepath.Abs("../../deploy")
	if err != nil {
		t.Fatal(err)
	}
	config := c.dir + "/node/etc/containerd/config.toml"
	if err := os.MkdirAll(filepath.Dir(config), 0o755); err != nil {
		t.Fatal(err)
	}
	base := `version = 2
root = "$D/root"
state = "$D/state"
oom_score = 0
[grpc]
  address = "$D/c.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/library/pause:latest"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$D/cni"
`
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(base, "$D", c.dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	c.must("mkdir -p deploy && cp -r " + deploy + "/* deploy/ && cp porthole-oci deploy/porthole-oci && NODE=$D/node RESTART=no sh deploy/install.sh && sed -i 's#/usr/local/bin#" + c.dir + "/node/usr/local/bin#' " + config)
	c.must(`mkdir cni && printf '{"cniVersion":"0.4.0","name":"po","plugins":[{"type":"ptp","ipMasq":false,"ipam":{"type":"host-local","dataDir":"` + c.dir + `/ipam","subnet":"10.88.77.0/24"}}]}' > cni/10-po.conflist`)
	c.call = "ctr -n k8s.io -a " + c.dir + "/c.sock"
	c.daemon("$C version", "unshare", "-n", "containerd", "--config", config)
	c.must(archive)
	c.must("$C images import --base-name bb bb.tar")
	c.must("sed -i 's#library/bb#library/pause#' save/manifest.json && sed -i 's#\"Env\"#\"Entrypoint\":[\"/bin/sleep\",\"1000000\"],\"Env\"#' save/config.json && tar -C save -cf pause.tar manifest.json config.json layer.tar && $C images import pause.tar")
	conn, err := grpc.NewClient("unix://"+c.dir+"/c.sock", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	k := &kube{client: c, RuntimeServiceClient: cri.NewRuntimeServiceClient(conn), images: cri.NewImageServiceClient(conn), ctx: ctx}
	for range 100 {
		s, err := k.Status(ctx, &cri.StatusRequest{})
		if err == nil && len(s.Status.Conditions) == 2 && s.Status.Conditions[0].Status && s.Status.Conditions[1].Status {
			return k
		}
		time.Sleep(100 * time.Millisecond)
	}
	s, err := k.Status(ctx, &cri.StatusRequest{})
	t.Fatalf("containerd's CRI is not ready: %v, %v", s, err)
	return nil
}

func need[T any](k *kube) func(T, error) T {
	return func(v T, err error) T {
		k.t.Helper()
		if err != nil {
			k.t.Fatal(err)
		}
		return v
	}
}

func (k *kube) say(format string, args ...any) { k.said = append(k.said, fmt.Sprintf(format, args...)) }

// exec is what a probe by exec does.
func (k *kube) exec(id string, argv ...string) {
	r, err := k.ExecSync(k.ctx, &cri.ExecSyncRequest{ContainerId: id, Cmd: argv, Timeout: 10})
	if err != nil {
		k.say("exec %q: %v", argv, err)
		return
	}
	k.say("exec %q: exit %d %q %q", argv, r.ExitCode, r.Stdout, r.Stderr)
}

// pod is a sandbox's configuration.
func (k *kube) pod(name string, network cri.NamespaceMode) *cri.PodSandboxConfig {
	return &cri.PodSandboxConfig{
		Metadata: &cri.PodSandboxMetadata{Name: name, Uid: name + "-uid", Namespace: "default"}, Hostname: map[bool]string{true: "", false: "inpod"}[network == cri.NamespaceMode_NODE],
		LogDirectory: k.dir + "/logs/" + name, DnsConfig: &cri.DNSConfig{Servers: []string{"10.0.0.1"}},
		Linux: &cri.LinuxPodSandboxConfig{CgroupParent: "/po-kube", SecurityContext: &cri.LinuxSandboxSecurityContext{
			NamespaceOptions: &cri.NamespaceOption{Network: network, Pid: cri.NamespaceMode_CONTAINER},
			Seccomp:          &cri.SecurityProfile{ProfileType: cri.SecurityProfile_RuntimeDefault},
		}},
	}
}

// container makes and starts one, without capabilities but SYS_PTRACE.
func (k *kube) container(sandbox string, pod *cri.PodSandboxConfig, name string, seccomp *cri.SecurityProfile, argv ...string) string {
	k.t.Helper()
	c := need[*cri.CreateContainerResponse](k)(k.CreateContainer(k.ctx, &cri.CreateContainerRequest{PodSandboxId: sandbox, SandboxConfig: pod, Config: &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: name}, Image: &cri.ImageSpec{Image: "docker.io/library/bb:latest"},
		Command: argv, LogPath: name + ".log", Envs: []*cri.KeyValue{{Key: "A", Value: []byte("b")}},
		Mounts: []*cri.Mount{{ContainerPath: "/v", HostPath: k.dir + "/vol", Readonly: true}},
		Linux: &cri.LinuxContainerConfig{
			Resources: &cri.LinuxContainerResources{MemoryLimitInBytes: 64 << 20, CpuShares: 512, CpuQuota: 50000, CpuPeriod: 100000},
			SecurityContext: &cri.LinuxContainerSecurityContext{
				NamespaceOptions: pod.Linux.SecurityContext.NamespaceOptions, NoNewPrivs: true, Seccomp: seccomp,
				Capabilities: &cri.Capability{DropCapabilities: []string{"ALL"}, AddCapabilities: []string{"SYS_PTRACE"}},
				MaskedPaths:  []string{"/proc/kcore", "/proc/keys"}, ReadonlyPaths: []string{"/proc/sys"},
			},
		},
	}}))
	need[*cri.StartContainerResponse](k)(k.StartContainer(k.ctx, &cri.StartContainerRequest{ContainerId: c.ContainerId}))
	return c.ContainerId
}

// The profile of the pod that has its own: all is allowed but chmod, which is no such call.
const localhost = `{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_AARCH64"],"syscalls":[{"names":["chmod","fchmod","fchmodat","fchmodat2"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]}`

// flow is a pod's whole life under one handler. porthole asks of the container that runs.
func (k *kube) flow(handler string, asks func(id string, pid string)) []string {
	k.t.Helper()
	k.said = nil
	p := k.pod("p-"+handler, cri.NamespaceMode_POD)
	sandbox := need[*cri.RunPodSandboxResponse](k)(k.RunPodSandbox(k.ctx, &cri.RunPodSandboxRequest{Config: p, RuntimeHandler: handler})).PodSandboxId
	defer func() {
		_, _ = k.StopPodSandbox(k.ctx, &cri.StopPodSandboxRequest{PodSandboxId: sandbox})
		_, _ = k.RemovePodSandbox(k.ctx, &cri.RemovePodSandboxRequest{PodSandboxId: sandbox})
	}()
	s := need[*cri.PodSandboxStatusResponse](k)(k.PodSandboxStatus(k.ctx, &cri.PodSandboxStatusRequest{PodSandboxId: sandbox})).Status
	k.say("sandbox %s %v", s.State, strings.HasPrefix(s.Network.Ip, "10.88.77."))

	one := k.container(sandbox, p, "one", &cri.SecurityProfile{ProfileType: cri.SecurityProfile_RuntimeDefault},
		"sh", "-c", `trap 'echo bye; exit 5' TERM; echo up $A; echo err >&2; while :; do sleep 0.1; done`)
	k.exec(one, "grep", "-E", "Cap|NoNew|Seccomp:", "/proc/self/status")
	k.exec(one, "sh", "-c", "id; hostname; cat /v/file; touch /v/x; echo x > /proc/sys/kernel/domainname; cat /proc/keys; wc -c < /proc/kcore")
	k.exec(one, "sh", "-c", "ip -o addr | grep -c 'inet 10.88.77.'")
	k.exec(one, "chown", "1", "/tmp")
	k.exec(one, "unshare", "-U", "true")
	k.exec(one, "chmod", "700", "/tmp")
	k.exec(one, "nonexist")
	// A probe by exec: not well, made well, well; and one that takes too long.
	k.exec(one, "test", "-e", "/tmp/well")
	k.exec(one, "touch", "/tmp/well")
	k.exec(one, "test", "-e", "/tmp/well")
	_, err := k.ExecSync(k.ctx, &cri.ExecSyncRequest{ContainerId: one, Cmd: []string{"sleep", "30"}, Timeout: 1})
	k.say("probe that hangs: %v", err != nil && strings.Contains(err.Error(), "timeout"))

	limits := []string{"sh", "-c", "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.shares cpu/cpu.cfs_quota_us 2>/dev/null || cat memory.max cpu.weight cpu.max"}
	k.exec(one, limits...)
	need[*cri.UpdateContainerResourcesResponse](k)(k.UpdateContainerResources(k.ctx, &cri.UpdateContainerResourcesRequest{ContainerId: one, Linux: &cri.LinuxContainerResources{MemoryLimitInBytes: 96 << 20, CpuShares: 256, CpuQuota: 70000, CpuPeriod: 100000}}))
	k.exec(one, limits...)
	stats, err := k.ContainerStats(k.ctx, &cri.ContainerStatsRequest{ContainerId: one})
	k.say("stats: %v", err == nil && stats.Stats.Memory.WorkingSetBytes.Value > 0 && stats.Stats.Cpu.UsageCoreNanoSeconds.Value > 0)
	if asks != nil {
		status := need[*cri.ContainerStatusResponse](k)(k.ContainerStatus(k.ctx, &cri.ContainerStatusRequest{ContainerId: one, Verbose: true}))
		asks(one, regexp.MustCompile(`"pid":(\d+)`).FindStringSubmatch(status.Info["info"])[1])
	}

	two := k.container(sandbox, p, "two", &cri.SecurityProfile{ProfileType: cri.SecurityProfile_Localhost, LocalhostRef: k.dir + "/localhost.json"}, "sleep", "1000")
	k.exec(two, "chmod", "700", "/tmp")
	k.exec(two, "grep", "Seccomp:", "/proc/self/status")
	// What the profile names may be absent here.
	_, err = k.CreateContainer(k.ctx, &cri.CreateContainerRequest{PodSandboxId: sandbox, SandboxConfig: p, Config: &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: "three"}, Image: &cri.ImageSpec{Image: "docker.io/library/bb:latest"}, Command: []string{"true"},
		Linux: &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{Seccomp: &cri.SecurityProfile{ProfileType: cri.SecurityProfile_Localhost, LocalhostRef: k.dir + "/nonexist.json"}}},
	}})
	k.say("no such profile: %v", err != nil)

	for _, id := range []string{one, two} {
		need[*cri.StopContainerResponse](k)(k.StopContainer(k.ctx, &cri.StopContainerRequest{ContainerId: id, Timeout: 2}))
		status := need[*cri.ContainerStatusResponse](k)(k.ContainerStatus(k.ctx, &cri.ContainerStatusRequest{ContainerId: id})).Status
		k.say("stopped: %s exit %d %s", status.State, status.ExitCode, status.Reason)
		need[*cri.RemoveContainerResponse](k)(k.RemoveContainer(k.ctx, &cri.RemoveContainerRequest{ContainerId: id}))
	}
	logs, err := os.ReadFile(p.LogDirectory + "/one.log")
	k.say("logs: %v %q", err, regexp.MustCompile(`(?m)^\S+ `).ReplaceAllString(string(logs), ""))
	need[*cri.StopPodSandboxResponse](k)(k.StopPodSandbox(k.ctx, &cri.StopPodSandboxRequest{PodSandboxId: sandbox}))
	need[*cri.RemovePodSandboxResponse](k)(k.RemovePodSandbox(k.ctx, &cri.RemovePodSandboxRequest{PodSandboxId: sandbox}))

	// A pod of the node's network, killed hard.
	p = k.pod("h-"+handler, cri.NamespaceMode_NODE)
	host := need[*cri.RunPodSandboxResponse](k)(k.RunPodSandbox(k.ctx, &cri.RunPodSandboxRequest{Config: p, RuntimeHandler: handler})).PodSandboxId
	three := k.container(host, p, "three", &cri.SecurityProfile{ProfileType: cri.SecurityProfile_Unconfined}, "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
	k.exec(three, "sh", "-c", "grep Seccomp: /proc/self/status; readlink /proc/self/ns/net | cut -c1-4")
	need[*cri.StopPodSandboxResponse](k)(k.StopPodSandbox(k.ctx, &cri.StopPodSandboxRequest{PodSandboxId: host}))
	status := need[*cri.ContainerStatusResponse](k)(k.ContainerStatus(k.ctx, &cri.ContainerStatusRequest{ContainerId: three})).Status
	k.say("killed: %s exit %d", status.State, status.ExitCode)
	need[*cri.RemovePodSandboxResponse](k)(k.RemovePodSandbox(k.ctx, &cri.RemovePodSandboxRequest{PodSandboxId: host}))
	list := need[*cri.ListContainersResponse](k)(k.ListContainers(k.ctx, &cri.ListContainersRequest{}))
	k.say("left: %d", len(list.Containers))
	return k.said
}

// A pod under RuntimeClass "porthole", and the same under runc.
func TestKubernetes(t *testing.T) {
	k := newKube(t)
	if err := os.WriteFile(k.dir+"/localhost.json", []byte(localhost), 0o644); err != nil {
		t.Fatal(err)
	}
	porthole, err := filepath.Abs("../../bin/porthole")
	if err != nil {
		t.Fatal(err)
	}
	theirs := k.flow("runc", nil)
	ours := k.flow("porthole", func(id, pid string) {
		for _, who := range []string{"--pid " + pid, id, id[:12]} {
			for ask, want := range map[string]string{
				"":                                    `(?s)CAP_SYS_PTRACE`,
				" --syscall 'mount'":                  `seccomp`,
				" --syscall 'ptrace(PTRACE_TRACEME)'": `allowed|succeed|goes through|lets`,
			} {
				code, out := k.shell(porthole + " why " + who + ask)
				if !regexp.MustCompile(want).MatchString(out) {
					t.Errorf("porthole why %s%s: exit %d: %s; want %s", who, ask, code, out, want)
				}
			}
		}
	})
	same := 0
	for i, line := range ours {
		// containerd hands on what the runtime says of a program that is not there.
		a, b := theirs[min(i, len(theirs)-1)], line
		if strings.Contains(b, "nonexist") {
			a, b = notFound(a), notFound(b)
		}
		if a != b {
			t.Errorf("runc:     %s\nporthole: %s", a, b)
			continue
		}
		same++
	}
	t.Logf("%d of %d answers as with runc", same, len(ours))
	for _, want := range []string{`CapEff:\\t0000000000080000`, `Seccomp:\\t2`, `hostname|inpod`, `exit 5 Error`, `stdout F up b`, `100663296`, `Function not implemented`} {
		if !regexp.MustCompile(want).MatchString(strings.Join(ours, "\n")) {
			t.Errorf("nowhere in the answers: %s", want)
		}
	}
	if t.Failed() {
		t.Logf("porthole:\n%s", strings.Join(ours, "\n"))
	}
	k.clean("k8s.io")
}

func notFound(s string) string {
	return regexp.MustCompile(`^(exec \["nonexist"\]: ).*executable file not found.*`).ReplaceAllString(s, "${1}not found")
}
