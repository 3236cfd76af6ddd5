// Reads a policy as libseccomp_test.go writes it and prints the program that libseccomp
// makes of it, raw:
//
//	default ACTION
//	arch NAME
//	rule ACTION NAME [ARG OP VALUE MASK]...
//
// With arguments, names of architectures, it reads names of system calls instead and prints
// each with its numbers there; those below 0 are libseccomp's own.
#include <errno.h>
#include <inttypes.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void die(const char *what, const char *arg, int rc)
{
	fprintf(stderr, "%s %s: %s\n", what, arg, strerror(-rc));
	exit(1);
}

int main(int argc, char **argv)
{
	static const enum scmp_compare ops[] = { 0, SCMP_CMP_NE, SCMP_CMP_LT, SCMP_CMP_LE,
		SCMP_CMP_EQ, SCMP_CMP_GE, SCMP_CMP_GT, SCMP_CMP_MASKED_EQ };
	scmp_filter_ctx ctx = NULL;
	char line[4096], word[128];
	uint32_t act;
	int rc, at, n;

	if (argc > 1) {
		while (scanf("%127s", word) == 1) {
			printf("%s", word);
			for (n = 1; n < argc; n++)
				printf(" %d", seccomp_syscall_resolve_name_arch(seccomp_arch_resolve_name(argv[n]), word));
			printf("\n");
		}
		return 0;
	}
	seccomp_api_set(6); // whatever the running kernel can do
	while (fgets(line, sizeof line, stdin)) {
		if (sscanf(line, "default %" SCNx32, &act) == 1) {
			if (!(ctx = seccomp_init(act)))
				die("seccomp_init", line, -EINVAL);
			if ((rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2)))
				die("optimize", "2", rc);
		} else if (sscanf(line, "arch %127s", word) == 1) {
			rc = seccomp_arch_add(ctx, seccomp_arch_resolve_name(word));
			if (rc && rc != -EEXIST)
				die("seccomp_arch_add", word, rc);
		} else if (sscanf(line, "rule %" SCNx32 " %127s%n", &act, word, &at) == 2) {
			struct scmp_arg_cmp c[6];
			unsigned arg, op, k = 0;
			uint64_t value, mask;
			int nr = seccomp_syscall_resolve_name(word);
			if (nr == __NR_SCMP_ERROR)
				die("unknown", word, -ENOSYS);
			for (; k < 6 && sscanf(line + at, " %u %u %" SCNx64 " %" SCNx64 "%n", &arg, &op, &value, &mask, &n) == 4; at += n, k++) {
				c[k].arg = arg;
				c[k].op = ops[op];
				c[k].datum_a = op == 7 ? mask : value;
				c[k].datum_b = value;
			}
			if ((rc = seccomp_rule_add_array(ctx, act, nr, k, c)))
				die("seccomp_rule_add_array", line, rc);
		}
	}
	if ((rc = seccomp_export_bpf(ctx, 1)))
		die("seccomp_export_bpf", "", rc);
	return 0;
}
