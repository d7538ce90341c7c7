/* Group commit: who syncs the journal, and who is told.
 *
 * One caller at a time leads: it syncs for all who have come so far and tells them. There are two
 * kinds of callers. One of pfs_journal_sync_then that leads goes on as long as others have come
 * meanwhile, so that these need not wait on threads of their own. One of pfs_journal_sync has
 * something else to do when its own records are durable, and passes the lead on to one that waits
 * on its thread.
 *
 * GC1: while somebody waits, somebody leads. GC2: who waits without a thread is told by a leader
 * that stays; so as long as the leader does not, everybody waits on a thread, and a leader that
 * stays leaves only when nobody waits. */
#include <errno.h>
#include <semaphore.h>

#include "storage/journal_internal.h"

/* One that waits on its thread. */
struct thread_wait {
	struct pfs_sync_wait base;
	sem_t wake;
	int err;
	bool leads; /* instead of being told: it leads from now on */
};

static void wake_thread(struct pfs_sync_wait *wait, int err)
{
	struct thread_wait *w = (struct thread_wait *)wait;

	w->err = err;
	sem_post(&w->wake);
}

/* Under lock. */
static void enqueue(struct pfs_journal *journal, struct pfs_sync_wait *wait)
{
	struct pfs_sync_wait **end = &journal->waiting;

	while (*end)
		end = &(*end)->next;
	wait->next = NULL;
	*end = wait;
}

/* Under lock, which is let go of. True: the lead was passed on to the caller. */
static bool wait_on_thread(struct pfs_journal *journal, uint64_t seq, int *err)
{
	struct thread_wait w = {.base = {.seq = seq, .done = wake_thread}};

	sem_init(&w.wake, 0, 0);
	enqueue(journal, &w.base);
	pthread_mutex_unlock(&journal->lock);
	while (sem_wait(&w.wake) && errno == EINTR)
		;
	sem_destroy(&w.wake);
	*err = w.err;
	return w.leads;
}

/* The oldest live segment with a number in [from, to] that has bytes which are not synced. Lock. */
static struct pfs_segment *unsynced(const struct pfs_journal *journal, uint64_t from, uint64_t to)
{
	struct pfs_segment *segment = journal->live;

	while (segment && (segment->number < from || segment->synced >= segment->used))
		segment = segment->next;
	return segment && segment->number <= to ? segment : NULL;
}

/* Syncs segments in order up to what was appended when it began. Called by the leader, without the
 * lock. A segment can be declared dead meanwhile, so each is looked for anew. */
static int sync_segments(struct pfs_journal *journal, uint64_t *target)
{
	struct pfs_segment *segment;
	uint64_t to, from = 0;
	int err = 0;

	pthread_mutex_lock(&journal->lock);
	*target = journal->appended;
	to = journal->last ? journal->last->number : 0;
	while (!err && (segment = unsynced(journal, from, to)) != NULL) {
		uint64_t used = segment->used;

		from = segment->number + 1;
		journal->in_sync = segment;
		pthread_mutex_unlock(&journal->lock);
		err = pfs_file_sync(segment->file);
		pthread_mutex_lock(&journal->lock);
		journal->in_sync = NULL;
		if (!err)
			segment->synced = used;
	}
	pthread_mutex_unlock(&journal->lock);
	return err;
}

/* Under lock: takes out who has nothing to wait for any more. */
static struct pfs_sync_wait *take_finished(struct pfs_journal *journal, bool failed)
{
	struct pfs_sync_wait *finished = NULL, **last = &finished, **at = &journal->waiting;

	while (*at) {
		struct pfs_sync_wait *wait = *at;

		if (!failed && wait->seq > journal->durable) {
			at = &wait->next;
			continue;
		}
		*at = wait->next;
		wait->next = NULL;
		*last = wait;
		last = &wait->next;
	}
	return finished;
}

/* One sync, by the leader. Under lock, which is let go of meanwhile. */
static void lead_once(struct pfs_journal *journal)
{
	struct pfs_sync_wait *wait, *next;
	bool failed = pfs_journal_has_failed(journal);
	uint64_t target;
	int err;

	if (!failed) {
		pthread_mutex_unlock(&journal->lock);
		err = sync_segments(journal, &target);
		pthread_mutex_lock(&journal->lock);
		if (err)
			__atomic_store_n(&journal->failed, true, __ATOMIC_RELEASE);
		else
			__atomic_store_n(&journal->durable, target, __ATOMIC_RELEASE);
		failed = pfs_journal_has_failed(journal);
	}
	wait = take_finished(journal, failed);
	pthread_mutex_unlock(&journal->lock);
	for (; wait; wait = next) {
		next = wait->next; /* the wait is its owner's again once it is told */
		wait->done(wait, failed ? -EIO : 0);
	}
	pthread_mutex_lock(&journal->lock);
}

/* Under lock. 0: the caller has to wait; 1: it is durable; -EIO. */
static int is_done(const struct pfs_journal *journal, uint64_t seq)
{
	if (pfs_journal_has_failed(journal))
		return -EIO;
	return journal->durable >= seq;
}

/* Under lock: the end of leading for one that does not stay. */
static void pass_lead(struct pfs_journal *journal)
{
	struct thread_wait *w = (struct thread_wait *)journal->waiting;

	if (!w) {
		journal->syncing = false;
		return;
	}
	journal->waiting = w->base.next;
	w->leads = true;
	sem_post(&w->wake);
}

int pfs_journal_sync(struct pfs_journal *journal, uint64_t seq)
{
	int err, done;

	pthread_mutex_lock(&journal->lock);
	seq = pfs_min_u64(seq, journal->appended);
	done = is_done(journal, seq);
	if (!done && journal->syncing) {
		if (!wait_on_thread(journal, seq, &err))
			return err;
		pthread_mutex_lock(&journal->lock);
	} else if (done) {
		pthread_mutex_unlock(&journal->lock);
		return done < 0 ? done : 0;
	}
	journal->syncing = true;
	while ((done = is_done(journal, seq)) == 0)
		lead_once(journal);
	pass_lead(journal);
	pthread_mutex_unlock(&journal->lock);
	return done < 0 ? done : 0;
}

void pfs_journal_sync_then(struct pfs_journal *journal, struct pfs_sync_wait *wait)
{
	int err, done;

	pthread_mutex_lock(&journal->lock);
	wait->seq = pfs_min_u64(wait->seq, journal->appended);
	done = is_done(journal, wait->seq);
	if (done) {
		pthread_mutex_unlock(&journal->lock);
		wait->done(wait, done < 0 ? done : 0);
		return;
	}
	if (journal->syncing && !journal->leader_stays) {
		if (!wait_on_thread(journal, wait->seq, &err)) {
			wait->done(wait, err);
			return;
		}
		pthread_mutex_lock(&journal->lock);
		journal->syncing = false; /* it is ours */
	}
	enqueue(journal, wait);
	if (!journal->syncing) {
		journal->syncing = journal->leader_stays = true;
		while (journal->waiting)
			lead_once(journal);
		journal->syncing = journal->leader_stays = false;
	}
	pthread_mutex_unlock(&journal->lock);
}
