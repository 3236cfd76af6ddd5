# porthole: build, test, show. Everything here sets itself up on a Debian machine with Go.
GO      ?= go
BIN     := bin
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X porthole/internal/cli.version=$(VERSION) -X porthole/internal/ocicli.version=$(VERSION)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

export CGO_ENABLED = 0

.PHONY: all build demo test test-vm test-root test-why test-clients test-conformance test-suites lint generate bench bench-oci man setup clean

all: build

# porthole starts containers; behind its end it holds the whole program, which it becomes for all the rest, so that
# bin/porthole can be copied alone. porthole-full beside it saves the copy into memory.
build:
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/porthole-full ./cmd/porthole-full
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/porthole ./cmd/porthole
	@cat $(BIN)/porthole-full >>$(BIN)/porthole
	@printf '%016d\nporthole-full\n' "$$(stat -c %s $(BIN)/porthole-full)" >>$(BIN)/porthole
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/porthole-oci ./cmd/porthole-oci

# What tests and the demo need from Debian; does nothing where it is all there.
setup:
	@.ci/setup

demo: build
	@.ci/setup strace
	@.ci/demo

test: build setup
	@.ci/test

# The tests of the host half alone, as root.
test-root: build setup
	$(GO) test -count=1 ./internal/... ./caps ./seccomp/...

# Every recorded refusal that this machine can reproduce, and how porthole explains it, in a table.
test-why: build setup
	@.ci/why

# Docker, Podman and containerd, started here, with porthole-oci as their runtime and with others.
test-clients: setup
	@.ci/clients

# The validation programs of OCI's runtime-tools over porthole-oci, runc and crun: the table in docs/conformance.md.
test-conformance: setup
	@.ci/conformance

# The tests that runc and crun have of their own, over porthole-oci and over them: the numbers in docs/conformance.md.
test-suites: setup
	@.ci/runc-suite
	@.ci/crun-suite

lint:
	@.ci/lint

generate:
	$(GO) generate ./...

bench: build setup
	@.ci/bench

# porthole-oci beside crun and runc: create, start and delete; run; exec; state.
bench-oci: build setup
	@.ci/bench-oci

# Manual pages, made from the commands themselves: man bin/man/porthole-run.1
man: build
	$(BIN)/porthole man --all $(BIN)/man

clean:
	rm -rf $(BIN)

# The same on Debian's kernel, with cgroup v2, AppArmor and Yama, in QEMU.
test-vm: build
	@for t in .ci/vm-tests/*.sh; do echo "# $$t"; .ci/vm $$t || exit 1; done
