/* What servers, databases and batch jobs do, each in one program that ends with 0 only when all of it worked. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void must(int holds, const char *what)
{
	if (!holds) {
		dprintf(2, "%s: %s\n", what, strerror(errno));
		_exit(1);
	}
}

static void become(int id)
{
	gid_t none[1] = { id };

	must(setgroups(1, none) == 0, "setgroups");
	must(setgid(id) == 0, "setgid");
	must(setuid(id) == 0, "setuid");
}

static int ended(pid_t child)
{
	int status = -1;

	must(waitpid(child, &status, 0) == child, "waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* As a web server: port 80 as root, a worker without privileges that waits for requests, files, a log. */
static void worker(int listening, int log)
{
	struct epoll_event event = { .events = EPOLLIN }, got;
	char request[256] = "";
	int epoll = epoll_create1(EPOLL_CLOEXEC), file, one;
	struct stat about;

	become(101);
	must(epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &event) == 0, "epoll_ctl");
	must(epoll_wait(epoll, &got, 1, 2000) == 1, "epoll_wait");
	one = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	must(one >= 0, "accept4");
	must(recv(one, request, sizeof(request) - 1, 0) > 0, "recv");
	file = open("/usr/share/nginx/html/index.html", O_RDONLY | O_CLOEXEC);
	must(file >= 0 && fstat(file, &about) == 0, "the page");
	must(sendfile(one, file, NULL, about.st_size) == about.st_size, "sendfile");
	must(write(log, "GET /\n", 6) == 6, "the log");
	must(shutdown(one, SHUT_WR) == 0, "shutdown");
	_exit(0);
}

static int web(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(80), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), log, client, yes = 1;
	char page[64] = "";
	pid_t child;

	must(mkdir("/run/shop", 0755) == 0 || errno == EEXIST, "mkdir");
	must(unlink("/run/shop/access.log") == 0 || errno == ENOENT, "unlink");
	log = open("/run/shop/access.log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	must(log >= 0 && fchown(log, 101, 101) == 0, "the log's owner");
	must(listening >= 0, "socket");
	must(setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0, "setsockopt");
	must(bind(listening, (struct sockaddr *)&at, sizeof(at)) == 0, "bind");
	must(listen(listening, 16) == 0, "listen");
	child = fork();
	must(child >= 0, "fork");
	if (child == 0)
		worker(listening, log);
	close(listening);
	client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(client >= 0 && connect(client, (struct sockaddr *)&at, sizeof(at)) == 0, "connect");
	must(send(client, "GET / HTTP/1.0\r\n\r\n", 18, MSG_NOSIGNAL) == 18, "send");
	must(recv(client, page, sizeof(page) - 1, MSG_WAITALL) > 0 && strcmp(page, "hello\n") == 0, "the answer");
	return ended(child);
}

/* As a database: its own files, made durable; memory that processes share; a socket in a folder; a signal to end. */
static int backend(const char *path, int *shared, const sigset_t *end)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), one;
	char question[8] = "";

	strncpy(at.sun_path, path, sizeof(at.sun_path) - 1);
	must(listening >= 0 && bind(listening, (struct sockaddr *)&at, sizeof(at)) == 0, "bind");
	must(listen(listening, 4) == 0, "listen");
	__atomic_store_n(shared, 1, __ATOMIC_SEQ_CST);
	one = accept(listening, NULL, NULL);
	must(one >= 0 && recv(one, question, 4, MSG_WAITALL) == 4, "the question");
	must(send(one, "rows", 4, MSG_NOSIGNAL) == 4, "the rows");
	return sigwaitinfo(end, NULL) != SIGTERM;
}

static int database(void)
{
	static const char socket_path[] = "/var/run/postgresql/.s.PGSQL.5432", data[] = "/var/lib/postgresql/data";
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	sigset_t end;
	struct timespec little = { 0, 2000000 };
	int *shared, file, client, segment, folder;
	char row[8] = "", answer[8] = "";
	pid_t child;

	must(chown(data, 999, 999) == 0 && chown("/var/run/postgresql", 999, 999) == 0, "chown");
	become(999);
	must(chdir(data) == 0, "chdir");
	file = open("wal.new", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	must(file >= 0 && ftruncate(file, 8192) == 0, "the log");
	must(pwrite(file, "row1", 4, 4096) == 4 && fdatasync(file) == 0, "pwrite");
	must(pread(file, row, 4, 4096) == 4 && strcmp(row, "row1") == 0, "pread");
	must(rename("wal.new", "wal") == 0, "rename");
	folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(folder >= 0 && fsync(folder) == 0, "fsync");
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(shared != MAP_FAILED, "mmap");
	segment = shmget(IPC_PRIVATE, 56, IPC_CREAT | 0600);
	must(segment >= 0 && shmat(segment, NULL, 0) != (void *)-1, "shmat");
	must(shmctl(segment, IPC_RMID, NULL) == 0, "shmctl");
	must(unlink(socket_path) == 0 || errno == ENOENT, "unlink");
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	must(sigprocmask(SIG_BLOCK, &end, NULL) == 0, "sigprocmask");
	child = fork();
	must(child >= 0, "fork");
	if (child == 0)
		_exit(backend(socket_path, shared, &end));
	do {
		must(nanosleep(&little, NULL) == 0, "nanosleep");
		must(waitpid(child, NULL, WNOHANG) == 0, "the backend");
	} while (!__atomic_load_n(shared, __ATOMIC_SEQ_CST));
	strncpy(at.sun_path, socket_path, sizeof(at.sun_path) - 1);
	client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(client >= 0 && connect(client, (struct sockaddr *)&at, sizeof(at)) == 0, "connect");
	must(send(client, "ask?", 4, MSG_NOSIGNAL) == 4, "send");
	must(recv(client, answer, 4, MSG_WAITALL) == 4 && strcmp(answer, "rows") == 0, "the answer");
	must(kill(child, SIGTERM) == 0, "kill");
	return ended(child);
}

/* As a batch job: reads all input, works in scratch space, puts the result in place whole. */
static int batch(void)
{
	int in = open("/input/numbers", O_RDONLY | O_CLOEXEC), scratch, out;
	char text[256] = "", line[32];
	long sum = 0;

	must(in >= 0 && read(in, text, sizeof(text) - 1) > 0, "the input");
	for (char *at = strtok(text, "\n"); at; at = strtok(NULL, "\n"))
		sum += atol(at);
	scratch = open("/tmp/scratch", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	must(scratch >= 0, "scratch");
	snprintf(line, sizeof(line), "%ld\n", sum);
	must(write(scratch, line, strlen(line)) == (ssize_t)strlen(line), "write");
	must(lseek(scratch, 0, SEEK_SET) == 0 && read(scratch, text, sizeof(text)) > 0, "lseek");
	out = open("/output/.sum.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	must(out >= 0 && write(out, line, strlen(line)) == (ssize_t)strlen(line) && fsync(out) == 0, "the output");
	must(rename("/output/.sum.new", "/output/sum") == 0, "rename");
	return strcmp(line, "42\n") != 0;
}

int main(int argc, char **argv)
{
	must(argc == 2, "usage");
	if (strcmp(argv[1], "web") == 0)
		return web();
	if (strcmp(argv[1], "database") == 0)
		return database();
	must(strcmp(argv[1], "batch") == 0, "usage");
	return batch();
}
