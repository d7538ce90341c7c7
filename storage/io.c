/* Reading from mappings. The guard lives here and not in a backend because it is the same for all
 * of them. */
#include "storage/io.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

/* Whether leaving the handler restores the signal mask, which costs a system call at every copy.
 * The handler is installed so that nothing needs restoring; but ThreadSanitizer puts its own around
 * it, which blocks everything. */
#ifdef PFS_TSAN
#define SAVE_MASK 1
#else
#define SAVE_MASK 0
#endif

/* What the running pfs_map_copy of this thread reads; from NULL: none runs. Set and read by one
 * thread and its signal handler only. initial-exec: reaching it from the handler must not allocate.
 */
struct guard {
	const uint8_t *volatile from;
	const uint8_t *volatile to;
	sigjmp_buf retreat;
};
static _Thread_local struct guard guard __attribute__((tls_model("initial-exec")));

/* Written once, before the handler can run. */
static struct sigaction previous;
static uintptr_t page_mask;
static pthread_once_t installed = PTHREAD_ONCE_INIT;

/* A SIGBUS that is not ours: what would have happened without us. */
static void pass_on(int sig, siginfo_t *info, void *context)
{
	bool fault = info->si_code > 0 && info->si_code != BUS_MCEERR_AO;
	struct sigaction fatal = {.sa_handler = SIG_DFL};

	if (previous.sa_flags & SA_SIGINFO) {
		previous.sa_sigaction(sig, info, context);
		return;
	}
	if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
		previous.sa_handler(sig);
		return;
	}
	if (previous.sa_handler == SIG_IGN && !fault)
		return;
	/* A fault strikes again when we return and then finds the default action, in its own place.
	 */
	sigaction(SIGBUS, &fatal, NULL);
	if (!fault)
		raise(SIGBUS);
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	const uint8_t *from = guard.from;
	uintptr_t addr = (uintptr_t)info->si_addr;

	/* The kernel may report no more than the page. */
	if (from && info->si_code > 0 && addr >= ((uintptr_t)from & page_mask) &&
	    addr < (uintptr_t)guard.to)
		siglongjmp(guard.retreat, 1);
	pass_on(sig, info, context);
}

static void install(void)
{
	struct sigaction own = {.sa_sigaction = on_sigbus};

	page_mask = ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
	/* NODEFER: the handler is left by siglongjmp without restoring the mask, which is the cheap
	 * kind. */
	own.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
	sigemptyset(&own.sa_mask);
	sigaction(SIGBUS, NULL, &previous);
	sigaction(SIGBUS, &own, NULL);
}

int pfs_map_copy(void *dst, const void *src, size_t len)
{
	if (len == 0)
		return 0;
	pthread_once(&installed, install);
	if (sigsetjmp(guard.retreat, SAVE_MASK)) {
		guard.from = NULL;
		return -EIO;
	}
	guard.to = (const uint8_t *)src + len;
	guard.from = src;
	atomic_signal_fence(memory_order_seq_cst);
	memcpy(dst, src, len);
	atomic_signal_fence(memory_order_seq_cst);
	guard.from = NULL;
	return 0;
}
