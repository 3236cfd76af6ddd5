// Usage: order RULE…   with RULE one of A, L (allow, log every personality), or A=8, L>4, A<9.
// Adds them to a libseccomp filter in that order and says what personality(8) gets: A, L, E (neither), or EEXIST
// where libseccomp takes no further rule.
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static unsigned word(unsigned off, unsigned nr, unsigned long arg) {
	if (off == offsetof(struct seccomp_data, nr)) return nr;
	if (off == offsetof(struct seccomp_data, arch)) return 0xc000003e;
	if (off == offsetof(struct seccomp_data, args)) return (unsigned)arg;
	if (off == offsetof(struct seccomp_data, args) + 4) return arg >> 32;
	return 0;
}

int main(int argc, char **argv) {
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(1));
	seccomp_arch_remove(ctx, SCMP_ARCH_NATIVE);
	seccomp_arch_add(ctx, SCMP_ARCH_X86_64);
	for (int i = 1; i < argc; i++) {
		unsigned act = argv[i][0] == 'A' ? SCMP_ACT_ALLOW : SCMP_ACT_LOG;
		int rc;
		if (argv[i][1] == 0) {
			rc = seccomp_rule_add(ctx, act, SCMP_SYS(personality), 0);
		} else {
			int op = argv[i][1] == '=' ? SCMP_CMP_EQ : argv[i][1] == '<' ? SCMP_CMP_LT : SCMP_CMP_GT;
			rc = seccomp_rule_add(ctx, act, SCMP_SYS(personality), 1, SCMP_CMP(0, op, strtoul(argv[i] + 2, 0, 0)));
		}
		if (rc == -EEXIST) { puts("EEXIST"); return 0; }
		if (rc < 0) return 1;
	}
	FILE *f = tmpfile();
	if (seccomp_export_bpf(ctx, fileno(f)) < 0) return 1;
	static struct sock_filter p[4096];
	int n = pread(fileno(f), p, sizeof p, 0) / sizeof *p;
	unsigned a = 0;
	for (int pc = 0; pc < n; pc++) {
		struct sock_filter in = p[pc];
		switch (in.code) {
		case BPF_LD | BPF_W | BPF_ABS: a = word(in.k, 135, 8); break;
		case BPF_ALU | BPF_AND | BPF_K: a &= in.k; break;
		case BPF_JMP | BPF_JA: pc += in.k; break;
		case BPF_JMP | BPF_JEQ | BPF_K: pc += a == in.k ? in.jt : in.jf; break;
		case BPF_JMP | BPF_JGT | BPF_K: pc += a > in.k ? in.jt : in.jf; break;
		case BPF_JMP | BPF_JGE | BPF_K: pc += a >= in.k ? in.jt : in.jf; break;
		case BPF_JMP | BPF_JSET | BPF_K: pc += a & in.k ? in.jt : in.jf; break;
		case BPF_RET | BPF_K: puts(in.k == SCMP_ACT_ALLOW ? "A" : in.k == SCMP_ACT_LOG ? "L" : "E"); return 0;
		default: return 1;
		}
	}
	return 1;
}
