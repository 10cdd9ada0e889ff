/* Runs a workload once for each line of /variants, "NAME CAPABILITIES FILTER": without these capabilities (a mask in
   hexadecimal) and behind this filter (raw classic BPF). Writes "NAME STATUS" for each; a signal is 128 and more. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE 3

static void start(char **argv, uint64_t without, const char *path)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct have[2];
	static struct sock_filter code[4096];
	struct sock_fprog program = { 0, code };
	int file = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = read(file, code, sizeof(code));

	if (file < 0 || got <= 0 || syscall(SYS_capget, &head, have))
		_exit(120);
	for (int half = 0; half < 2; half++) {
		uint32_t gone = without >> 32 * half;

		have[half].effective &= ~gone;
		have[half].permitted &= ~gone;
		have[half].inheritable &= ~gone;
	}
	program.len = got / sizeof(*code);
	if (syscall(SYS_capset, &head, have) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		_exit(121);
	alarm(PATIENCE);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program))
		_exit(122);
	syscall(SYS_execve, argv[1], argv + 1, (char *[]){ NULL });
	syscall(SYS_exit_group, 123);
}

int main(int argc, char **argv)
{
	FILE *variants = fopen("/variants", "re");
	char name[128], path[256];
	unsigned long long without;

	if (argc < 3 || !variants)
		return 2;
	while (fscanf(variants, "%127s %llx %255s", name, &without, path) == 3) {
		int status = -1;
		pid_t child = fork();

		if (child == 0) {
			setpgid(0, 0);
			start(argv, without, path);
		}
		if (child < 0 || waitpid(child, &status, 0) != child)
			return 3;
		kill(-child, SIGKILL);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		printf("%s %d\n", name, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
		fflush(stdout);
	}
	return 0;
}
