podman run --user 1000 --read-only docker.io/library/busybox id
