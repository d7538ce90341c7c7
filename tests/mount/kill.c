/* kill: kills a daemon under load, mounts again and compares, in a loop.
 *
 *	kill BUILD DIRECTORY ROUNDS [SEED]
 *
 * BUILD holds payloadfs and payloadctl; DIRECTORY is made and holds store and mount point. CLIENTS
 * processes change files of their own and some of all, one more uses payloadctl. SIGKILL comes at a
 *random moment: under that load, while the daemon closes after an unmount, and, again and again,
 *while it opens what the kill before has left. Then everything is compared with what the clients
 *knew:
 *
 *  - what an acknowledged operation said is there (G1), bytes, mode and, where it was set, time;
 *  - what was under way has happened or not: never a mix, never another document, never an empty
 *one where one was being written (G3); two names of a rename change together;
 *  - there is no name that nobody made, and no error;
 *  - every CHECK_ROUNDS rounds `payloadctl check` finds nothing, in the store as the kill has left
 *it, and after a clean unmount.
 *
 * Not acknowledged: what returned after the end of the daemon was decided. (Linux lets a close that
 *comes after the daemon's death drop the written pages and return 0 where FLUSH is left
 *unanswered.) A failure keeps the store as it was found, and what the clients did, and prints the
 *seed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kill.h"

#define CHECK_ROUNDS 10
#define HANG_S 120 /* a round that takes longer hangs */
#define STUCK_NS INT64_C(1000000000)

static struct world *w;
static struct judge judge;
static struct client self; /* its random numbers */
static char store[300], kept[300], payloadfs[300];
static pid_t daemon_pid, stuck_pid, clients[CLIENTS + 1];
static int notify = -1;
static uint64_t seed;
static struct {
	uint64_t kills, opening, closing, checks, stuck;
} count;

static void fatal(const char *what)
{
	printf("kill: round %llu: %s: %s\n", (unsigned long long)judge.round, what,
	       strerror(errno));
	fflush(stdout);
	if (daemon_pid > 0)
		kill(daemon_pid, SIGKILL);
	umount2(w->mnt, MNT_DETACH);
	exit(2);
}

/* ---- the daemon ---- */

static void pause_us(uint64_t us)
{
	struct timespec t = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};

	nanosleep(&t, NULL);
}

static void open_notify(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = 60};

	snprintf(address.sun_path, sizeof(address.sun_path), "%.80s/notify", w->dir);
	unlink(address.sun_path);
	notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (notify < 0 || bind(notify, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    setsockopt(notify, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0)
		fatal("notify socket");
	setenv("NOTIFY_SOCKET", address.sun_path, 1);
}

static void start_daemon(void)
{
	char out[300];
	int fd;

	fflush(NULL);
	daemon_pid = fork();
	if (daemon_pid < 0)
		fatal("fork");
	if (daemon_pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		snprintf(out, sizeof(out), "%.256s/daemon.log", w->dir);
		fd = open(out, O_WRONLY | O_CREAT | O_APPEND, 0600);
		dup2(fd, 1);
		dup2(fd, 2);
		execl(payloadfs, "payloadfs", "-f", store, w->mnt, (char *)NULL);
		_exit(127);
	}
}

/* Until systemd would be told that it is ready. */
static void await_daemon(void)
{
	char said[200];
	ssize_t n;

	do {
		n = recv(notify, said, sizeof(said) - 1, 0);
		if (n < 0)
			fatal("the daemon does not get ready");
		said[n] = 0;
	} while (!strstr(said, "READY=1"));
}

static void drain_notify(void)
{
	char said[200];

	while (recv(notify, said, sizeof(said), MSG_DONTWAIT) > 0)
		;
}

static int reap_daemon(void)
{
	int status;

	if (waitpid(daemon_pid, &status, 0) != daemon_pid)
		fatal("waitpid");
	daemon_pid = 0;
	drain_notify();
	return status;
}

/* One that can't end (fs/holder.h says why) holds up its clients, too, until the next daemon cuts
 * it off.
 */
static void kill_daemon(void)
{
	int64_t patience = now_ns() + STUCK_NS;
	pid_t ended;

	atomic_store(&w->dead, true);
	judge.killed_ns = now_ns();
	kill(daemon_pid, SIGKILL);
	count.kills++;
	while ((ended = waitpid(daemon_pid, NULL, WNOHANG)) == 0 && now_ns() < patience)
		pause_us(500);
	if (ended == 0) {
		stuck_pid = daemon_pid;
		count.stuck++;
	}
	daemon_pid = 0;
	drain_notify();
}

/* ---- clients ---- */

static void start_clients(void)
{
	fflush(NULL);
	for (unsigned i = 0; i <= CLIENTS; i++) {
		struct client *c = &w->clients[i];

		c->random = seed * UINT64_C(1000003) + judge.round * 64 + i;
		clients[i] = fork();
		if (clients[i] < 0)
			fatal("fork");
		if (clients[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			alarm(HANG_S);
			_exit(i < CLIENTS ? run_client(w, c) : run_ctl(w, c));
		}
	}
}

static void end_clients(void)
{
	for (unsigned i = 0; i <= CLIENTS; i++) {
		int status;

		if (waitpid(clients[i], &status, 0) != clients[i])
			fatal("waitpid");
		if (status != 0)
			wrong(&judge, "client %u ended with status %x, in %s", i, (unsigned)status,
			      w->clients[i].op.what ? w->clients[i].op.what : "nothing");
	}
}

/* ---- rounds ---- */

static int run_command(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static int run_command(const char *fmt, ...)
{
	char command[1500];
	va_list args;

	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	fflush(NULL);
	return system(command);
}

static void check_store(const char *when)
{
	if (run_command("'%s' check '%s' >'%s/check.out' 2>&1", w->payloadctl, store, w->dir) !=
	    0) {
		wrong(&judge, "the check of the store %s:", when);
		run_command("cat '%s/check.out'", w->dir);
	}
	count.checks++;
}

static void unmount_clean(void)
{
	int status;

	if (umount2(w->mnt, 0) != 0)
		fatal("umount");
	status = reap_daemon();
	if (status)
		wrong(&judge, "the daemon ended with status %x", (unsigned)status);
}

/* The end comes while the clients work, or while the daemon closes after an unmount. */
static void work_and_kill(void)
{
	bool closing = roll(&self, 10) == 0;

	w->bulk = roll(&self, 5) == 0;
	atomic_store(&w->dead, false);
	atomic_store(&w->stop, false);
	atomic_store(&w->syncing, false);
	start_clients();
	pause_us(1000 + roll(&self, w->bulk ? 700000 : 120000));
	if (closing) {
		atomic_store(&w->stop, true);
		end_clients();
		if (umount2(w->mnt, 0) != 0)
			fatal("umount");
		pause_us(roll(&self, 30000));
		count.closing++;
		kill_daemon();
		return;
	}
	kill_daemon();
	if (!stuck_pid)
		end_clients();
}

/* Ends of the daemon while it opens what the one before has left. */
static void kill_while_opening(void)
{
	for (uint64_t n = roll(&self, 3) == 0 ? 1 + roll(&self, 3) : 0; n; n--) {
		start_daemon();
		pause_us(roll(&self, 20000));
		kill_daemon();
		count.opening++;
	}
}

static void keep(void)
{
	run_command("cp -a --sparse=always '%s/daemon.log' '%s/ctl.out' '%s/' 2>/dev/null", w->dir,
		    w->dir, kept);
	for (unsigned i = 0; i <= CLIENTS; i++) {
		struct client *c = &w->clients[i];
		char name[400];
		FILE *f;

		snprintf(name, sizeof(name), "%s/client.%u", kept, i);
		f = fopen(name, "w");
		for (uint64_t k = c->said > HISTORY ? c->said - HISTORY : 0; f && k < c->said; k++)
			fprintf(f, "%s\n", c->history[k % HISTORY]);
		if (f)
			fclose(f);
	}
	printf("seed %llu, round %llu: the store as it was found, and what was done, are in %s\n",
	       (unsigned long long)seed, (unsigned long long)judge.round, kept);
}

static void one_round(void)
{
	alarm(HANG_S);
	work_and_kill();
	if (judge.round % CHECK_ROUNDS == 1 && !stuck_pid)
		check_store("as the kill has left it");
	if (!stuck_pid)
		kill_while_opening();
	run_command("rm -rf '%s/store' && cp -a --sparse=always '%s' '%s/'", kept, store, kept);
	start_daemon();
	await_daemon();
	if (stuck_pid) {
		end_clients();
		if (waitpid(stuck_pid, NULL, 0) != stuck_pid)
			fatal("waitpid");
		stuck_pid = 0;
	}
	compare(w, &judge);
	if (judge.round % CHECK_ROUNDS == 0 && !judge.bad) {
		unmount_clean();
		check_store("after a clean unmount");
		start_daemon();
		await_daemon();
		compare(w, &judge);
	}
}

/* ---- beginning ---- */

static void make_names(void)
{
	for (unsigned i = 0; i < CLIENTS; i++) {
		struct client *c = &w->clients[i];

		c->number = i;
		for (unsigned k = 0; k < NAMES; k++) {
			char *name = c->entries[k].name;

			if (k >= SCRATCH)
				snprintf(name, sizeof(c->entries[k].name), "tmp%u.%u", i, k);
			else if (k % 7 == 3)
				snprintf(name, sizeof(c->entries[k].name),
					 "%08x-0000-4000-8000-%012x", i, k);
			else
				snprintf(name, sizeof(c->entries[k].name), "%u",
					 (i + 1) * 1000 + k);
		}
	}
	w->clients[CLIENTS].number = CLIENTS;
	for (unsigned i = 0; i < CTL_IDS; i++)
		w->ctl.next[i] = NO_VERSION;
}

static void *shared_memory(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	return p;
}

static void make_world(void)
{
	w = shared_memory(sizeof(*w));
	for (unsigned i = 0; i < CLIENTS; i++) {
		struct client *c = &w->clients[i];
		uint8_t *room = shared_memory((size_t)(2 * NAMES + 2 * WORLDS) * DOC_MAX);

		for (unsigned k = 0; k < NAMES; k++, room += 2 * DOC_MAX) {
			c->entries[k].now.bytes = room;
			c->entries[k].before.bytes = room + DOC_MAX;
		}
		for (unsigned k = 0; k < 2 * WORLDS; k++, room += DOC_MAX)
			c->op.world[k / 2][k % 2].bytes = room;
	}
	make_names();
}

static void report(void)
{
	printf("kill: %llu rounds, %llu kills (%llu while opening, %llu while closing, %llu that "
	       "had to be cut off), "
	       "%llu operations acknowledged, %llu under way (%llu had happened, %llu of them in "
	       "part), "
	       "%llu documents compared, %llu checks, %u wrong\n",
	       (unsigned long long)judge.round, (unsigned long long)count.kills,
	       (unsigned long long)count.opening, (unsigned long long)count.closing,
	       (unsigned long long)count.stuck, (unsigned long long)judge.acknowledged,
	       (unsigned long long)(judge.old + judge.new), (unsigned long long)judge.new,
	       (unsigned long long)judge.mixed, (unsigned long long)judge.names,
	       (unsigned long long)count.checks, judge.bad);
	fflush(stdout);
}

static void on_alarm(int sig)
{
	static const char text[] = "kill: a round hangs; the daemon is left as it is\n";

	(void)sig;
	if (write(1, text, sizeof(text) - 1) < 0)
		_exit(3);
	_exit(2);
}

int main(int argc, char *argv[])
{
	uint64_t rounds;

	if (argc < 4) {
		fprintf(stderr, "usage: kill BUILD DIRECTORY ROUNDS [SEED]\n");
		return 2;
	}
	make_world();
	rounds = strtoull(argv[3], NULL, 10);
	seed = argc > 4 ? strtoull(argv[4], NULL, 10) : (uint64_t)time(NULL);
	self.random = seed;
	snprintf(w->dir, sizeof(w->dir), "%.200s", argv[2]);
	snprintf(w->mnt, sizeof(w->mnt), "%.200s/mnt", argv[2]);
	snprintf(store, sizeof(store), "%.200s/store", argv[2]);
	snprintf(payloadfs, sizeof(payloadfs), "%.200s/payloadfs", argv[1]);
	snprintf(w->payloadctl, sizeof(w->payloadctl), "%.200s/payloadctl", argv[1]);
	snprintf(kept, sizeof(kept), "/tmp/payloadfs-kill.XXXXXX");
	if (!mkdtemp(kept) || (mkdir(w->dir, 0700) != 0 && errno != EEXIST) ||
	    mkdir(w->mnt, 0700) != 0)
		fatal(w->dir);
	signal(SIGALRM, on_alarm);
	open_notify();
	start_daemon();
	await_daemon();
	for (judge.round = 1; judge.round <= rounds && !judge.bad; judge.round++) {
		one_round();
		if (judge.round % 100 == 0)
			report();
	}
	judge.round--;
	report();
	if (judge.bad)
		keep();
	else
		run_command("rm -rf '%s'", kept);
	unmount_clean();
	return judge.bad != 0;
}
