#!/bin/sh
exec bwrap --ro-bind /usr /usr --symlink usr/lib64 /lib64 --ro-bind-try /etc/hosts /etc/hosts --dev-bind-try /dev/dri /dev/dri --bind-try /a /a \
  --proc /proc --dev /dev --mqueue /dev/mqueue --perms 1770 --size 1048576 --tmpfs /tmp --dir /x --remount-ro /usr --dev-bind /dev/kvm /dev/kvm --bind /s /s \
  --unshare-all --share-net --unshare-user --unshare-ipc --unshare-pid --unshare-uts --unshare-cgroup --hostname box --uid 1000 --gid 1000 \
  --new-session --die-with-parent --disable-userns --clearenv --setenv A 'b c' --unsetenv B --chdir /tmp --cap-add CAP_NET_RAW --cap-drop CAP_KILL --seccomp 9 \
  --argv0 x --overlay-src /o --exec-label l -- sh -c 'echo hi' 
