// Puts libseccomp behind a line protocol: one request per line, one line back.
//
//   version                         -> MAJOR.MINOR.MICRO
//   names ARCH                      -> NAME=NUMBER ...           (one name for each number)
//   number ARCH NAME                -> NUMBER | unknown
//   begin DEFAULT ARCH...           -> ok | error CALL CODE      (the first ARCH is the native one)
//   rule ACTION NAME [ARG OP A B]... -> ok | unknown | error CALL CODE
//   build LEVEL                     -> NANOSECONDS HEX           (8 bytes per instruction)
//   load HEX                        -> NANOSECONDS               (of seccomp(2), in a process of its own)
//
// Numbers are hexadecimal, except OP, an index of the operators below, and nanoseconds.

#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_INSNS 4096

static const enum scmp_compare OPERATORS[] = {
	SCMP_CMP_NE, SCMP_CMP_LT, SCMP_CMP_LE, SCMP_CMP_EQ, SCMP_CMP_GE, SCMP_CMP_GT, SCMP_CMP_MASKED_EQ,
};

static scmp_filter_ctx filter;
static long long spent;

static long long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static unsigned long long number(void)
{
	char *word = strtok(NULL, " ");
	return word ? strtoull(word, NULL, 16) : 0;
}

static void say(const char *call, int code)
{
	if (code < 0)
		printf("error %s %d\n", call, code);
	else
		puts("ok");
}

static void names(void)
{
	static const unsigned BASES[] = { 0, 4000, 5000, 6000, 0xf0000, 0x40000000 };
	unsigned arch = number();
	for (unsigned base = 0; base < sizeof(BASES) / sizeof(*BASES); base++)
		for (unsigned at = 0; at < 1000; at++) {
			int nr = BASES[base] + at;
			char *name = seccomp_syscall_resolve_num_arch(arch, nr);
			if (name)
				printf("%s=%x ", name, nr);
			free(name);
		}
	puts("");
}

static void number_of(void)
{
	unsigned arch = number();
	char *name = strtok(NULL, " ");
	int nr = seccomp_syscall_resolve_name_arch(arch, name ? name : "");
	if (nr < 0)
		puts("unknown");
	else
		printf("%x\n", nr);
}

static void begin(void)
{
	long long start = now();
	if (filter)
		seccomp_release(filter);
	filter = seccomp_init(number());
	if (!filter) {
		puts("error seccomp_init 0");
		return;
	}
	int code = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);
	unsigned arch = number();
	if (arch != seccomp_arch_native()) {
		code = code ? code : seccomp_arch_remove(filter, SCMP_ARCH_NATIVE);
		code = code ? code : seccomp_arch_add(filter, arch);
	}
	while (!code && (arch = number())) {
		code = seccomp_arch_add(filter, arch);
		code = code == -EEXIST ? 0 : code;
	}
	spent = now() - start;
	say("seccomp_arch_add", code);
}

static void rule(void)
{
	struct scmp_arg_cmp args[6];
	unsigned count = 0, action = number();
	char *name = strtok(NULL, " "), *arg;
	while (count < 6 && (arg = strtok(NULL, " "))) {
		args[count].arg = strtoul(arg, NULL, 16);
		char *op = strtok(NULL, " ");
		args[count].op = OPERATORS[op ? atoi(op) % 7 : 0];
		args[count].datum_a = number();
		args[count].datum_b = number();
		count++;
	}
	long long start = now();
	int nr = seccomp_syscall_resolve_name(name ? name : "");
	if (nr == __NR_SCMP_ERROR) {
		puts("unknown");
		return;
	}
	int code = seccomp_rule_add_array(filter, action, nr, count, args);
	spent += now() - start;
	say("seccomp_rule_add", code);
}

static void build(void)
{
	static struct sock_filter insns[16 * MAX_INSNS];
	size_t size = sizeof(insns);
	long long start = now();
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, number());
	int code = seccomp_export_bpf_mem(filter, insns, &size);
	spent += now() - start;
	if (code < 0) {
		printf("error seccomp_export_bpf_mem %d\n", code);
		return;
	}
	printf("%lld ", spent);
	for (size_t at = 0; at < size / sizeof(*insns); at++)
		printf("%04x%02x%02x%08x", insns[at].code, insns[at].jt, insns[at].jf, insns[at].k);
	puts("");
}

// The child tells the time through shared memory and ends by a fault: the filter may deny all else.
static void load(void)
{
	static struct sock_filter insns[MAX_INSNS];
	const char *hex = strtok(NULL, " ");
	unsigned short len = 0;
	unsigned code, jt, jf, k;
	while (hex && len < MAX_INSNS && sscanf(hex, "%4x%2x%2x%8x", &code, &jt, &jf, &k) == 4) {
		insns[len++] = (struct sock_filter){ code, jt, jf, k };
		hex += 16;
	}
	long long *took = mmap(NULL, sizeof(*took), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (took == MAP_FAILED) {
		puts("error mmap 0");
		return;
	}
	*took = -1;
	pid_t child = fork();
	if (child == 0) {
		struct sock_fprog program = { len, insns };
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		prctl(PR_SET_DUMPABLE, 0);
		long long start = now();
		long code = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
		long long end = now();
		if (code == 0)
			*took = end - start;
		__builtin_trap();
	}
	if (child > 0)
		waitpid(child, NULL, 0);
	if (*took < 0)
		puts("error seccomp 0");
	else
		printf("%lld\n", *took);
	munmap(took, sizeof(*took));
}

int main(void)
{
	static char line[1 << 17];
	const struct scmp_version *version = seccomp_version();
	seccomp_api_set(7);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = 0;
		char *word = strtok(line, " ");
		if (!word)
			puts("error empty 0");
		else if (!strcmp(word, "version"))
			printf("%u.%u.%u\n", version->major, version->minor, version->micro);
		else if (!strcmp(word, "names"))
			names();
		else if (!strcmp(word, "number"))
			number_of();
		else if (!strcmp(word, "begin"))
			begin();
		else if (!strcmp(word, "rule"))
			rule();
		else if (!strcmp(word, "build"))
			build();
		else if (!strcmp(word, "load"))
			load();
		else
			puts("error unknown 0");
		fflush(stdout);
	}
	return 0;
}
