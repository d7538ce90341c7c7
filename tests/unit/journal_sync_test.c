/* Group commit: who waits on a thread and who does not, who leads, and what each is told. */
#include <semaphore.h>
#include <time.h>

#include "storage/journal_internal.h"
#include "tests/unit/journal_helpers.h"

#define LATER_MAX 8
#define INTERRUPTIONS 3 /* of each wait, before it is one */

/* In place of the system's: a wait is interrupted, and leaves that in errno when it is over. */
int sem_wait(sem_t *sem)
{
	static _Thread_local unsigned interruptions;
	const struct timespec never = {.tv_sec = INT32_MAX};

	if (interruptions++ % (INTERRUPTIONS + 1) < INTERRUPTIONS) {
		errno = EINTR;
		return -1;
	}
	while (sem_timedwait(sem, &never))
		assert_int_equal(errno, EINTR);
	errno = EINTR;
	return 0;
}

/* One that asks by pfs_journal_sync_then. */
struct later {
	struct pfs_sync_wait wait;
	struct pfs_journal *journal;
	unsigned told;
	int err;
	bool was_durable; /* when it was told */
	sem_t end;
};

static void tell(struct pfs_sync_wait *wait, int err)
{
	struct later *l = (struct later *)wait;

	/* Whoever is told may take his time: nobody's lock is held. */
	assert_int_equal(pthread_mutex_lock(&l->journal->lock), 0);
	l->told++;
	pthread_mutex_unlock(&l->journal->lock);
	l->err = err;
	l->was_durable = pfs_journal_durable(l->journal) >= l->wait.seq;
	sem_post(&l->end);
}

static void sync_to(struct later *l, struct log *log, uint64_t seq)
{
	*l = (struct later){.wait = {.seq = seq, .done = tell}, .journal = log->journal};
	sem_init(&l->end, 0, 0);
	pfs_journal_sync_then(log->journal, &l->wait);
}

static void sync_later(struct later *l, struct log *log)
{
	sync_to(l, log, UINT64_MAX);
}

static void expect_told(const struct later *l, int err)
{
	assert_int_equal(l->told, 1);
	assert_int_equal(l->err, err);
	assert_true(err || l->was_durable);
}

/* ---- a leader that stays ---- */

struct crowd {
	struct log *log;
	struct later later[LATER_MAX];
	unsigned come[3]; /* so many ask while the first, second and third sync is made */
	unsigned syncs, asked;
	unsigned fail_at; /* this sync fails; 0: none */
};

/* Others append and ask while a sync is made: it is not theirs, which began before. */
static int come_meanwhile(void *arg, const struct pfs_sim_step *step)
{
	struct crowd *c = arg;

	if (step->kind != PFS_SIM_SYNC)
		return 0;
	c->syncs++;
	assert_true(c->syncs <= pfs_array_len(c->come));
	if (c->syncs > 1) {
		struct later durable;

		/* Nothing to wait for. */
		sync_to(&durable, c->log, pfs_journal_durable(c->log->journal));
		expect_told(&durable, 0);
	}
	for (unsigned i = 0; i < c->come[c->syncs - 1]; i++) {
		append(c->log);
		sync_later(&c->later[c->asked], c->log);
		assert_int_equal(c->later[c->asked++].told, 0);
	}
	return c->syncs == c->fail_at ? -EIO : 0;
}

/* Proves: whoever asks while a sync is made is told after the next one, which is for all of them
 * and is made by the first one's thread; nobody is told before what he asked for is durable. */
static void one_thread_syncs_for_all_that_come(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct crowd c = {.come = {5, 2, 0}};
	struct later first;
	struct log log;

	(void)state;
	c.log = &log;
	log_open(&log, sim);
	append_many(&log, 3);
	pfs_sim_on_step(sim, come_meanwhile, &c);
	sync_later(&first, &log);
	pfs_sim_on_step(sim, NULL, NULL);
	expect_told(&first, 0);
	assert_int_equal(c.asked, 7);
	for (unsigned i = 0; i < c.asked; i++)
		expect_told(&c.later[i], 0);
	assert_int_equal(c.syncs, 3);
	assert_int_equal(pfs_journal_durable(log.journal), 10);
	/* Nothing to do: told at once, without a sync. */
	sync_later(&first, &log);
	expect_told(&first, 0);
	assert_int_equal(c.syncs, 3);
	log_close(&log);
	expect_replayed(sim, 1, 10);
	pfs_sim_free(sim);
}

/* Proves: a sync that fails is told to all that wait, also to those it was not for, and to all that
 * come later; nothing is tried again. */
static void a_failed_sync_is_told_to_all(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct crowd c = {.come = {2, 3, 0}, .fail_at = 2};
	struct later first;
	struct log log;

	(void)state;
	c.log = &log;
	log_open(&log, sim);
	append_many(&log, 3);
	pfs_sim_on_step(sim, come_meanwhile, &c);
	sync_later(&first, &log);
	expect_told(&first, 0);
	for (unsigned i = 0; i < 5; i++)
		expect_told(&c.later[i], -EIO);
	sync_later(&first, &log);
	expect_told(&first, -EIO);
	assert_int_equal(pfs_journal_sync(log.journal, 1), -EIO);
	assert_int_equal(c.syncs, 2);
	assert_int_equal(pfs_journal_durable(log.journal), 3);
	pfs_sim_on_step(sim, NULL, NULL);
	log_close(&log);
	pfs_sim_free(sim);
}

/* ---- what is synced ---- */

struct synced {
	char names[8][32];
	unsigned count;
	unsigned fail_at; /* the sync that fails; 0: none */
	/* What is done while the first is made. */
	void (*meanwhile)(struct log *log);
	struct log *log;
};

static int note_sync(void *arg, const struct pfs_sim_step *step)
{
	struct synced *s = arg;

	if (step->kind != PFS_SIM_SYNC)
		return 0;
	assert_true(s->count < pfs_array_len(s->names));
	snprintf(s->names[s->count++], sizeof(s->names[0]), "%s", step->name);
	if (s->count == 1 && s->meanwhile) {
		void (*meanwhile)(struct log * log) = s->meanwhile;

		s->meanwhile = NULL;
		pfs_sim_on_step(s->log->sim, NULL, NULL);
		meanwhile(s->log);
		pfs_sim_on_step(s->log->sim, note_sync, s);
	}
	return s->count == s->fail_at ? -EIO : 0;
}

static void expect_synced(struct synced *s, unsigned count, const char *first)
{
	assert_int_equal(s->count, count);
	if (count)
		assert_string_equal(s->names[0], first);
	s->count = 0;
}

/* Proves: of the segments exactly those are synced that have bytes which are not durable, the
 * oldest first; none is synced for what is durable; and when one fails, none behind it is. */
static void only_what_was_written_is_synced(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct synced s = {.count = 0};
	struct log log;

	(void)state;
	log_open(&log, sim);
	append(&log);
	assert_int_equal(pfs_journal_rotate(log.journal), 0);
	append(&log);
	assert_int_equal(pfs_journal_rotate(log.journal), 0);
	append(&log);
	pfs_sim_on_step(sim, note_sync, &s);
	assert_int_equal(pfs_journal_sync(log.journal, 0), 0);
	expect_synced(&s, 0, "");
	assert_int_equal(pfs_journal_sync(log.journal, 1), 0);
	assert_string_equal(s.names[1], "journal-0001");
	assert_string_equal(s.names[2], "journal-0002");
	expect_synced(&s, 3, "journal-0000");
	assert_int_equal(pfs_journal_durable(log.journal), 3);
	assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), 0);
	expect_synced(&s, 0, "");
	append(&log);
	assert_int_equal(pfs_journal_sync(log.journal, 4), 0);
	expect_synced(&s, 1, "journal-0002");
	/* What ends a segment is no record of anybody, and is synced with the next. */
	pfs_sim_on_step(sim, NULL, NULL);
	assert_int_equal(pfs_journal_rotate(log.journal), 0);
	append(&log);
	pfs_sim_on_step(sim, note_sync, &s);
	s.fail_at = 1;
	assert_int_equal(pfs_journal_sync(log.journal, 5), -EIO);
	expect_synced(&s, 1, "journal-0002");
	assert_int_equal(pfs_journal_durable(log.journal), 4);
	assert_int_equal(pfs_journal_sync(log.journal, 1), -EIO);
	expect_synced(&s, 0, "");
	pfs_sim_on_step(sim, NULL, NULL);
	log_close(&log);
	pfs_sim_free(sim);
}

static void begin_another(struct log *log)
{
	assert_int_equal(pfs_journal_rotate(log->journal), 0);
	append(log);
	/* What is durable needs no sync, and no end of one. */
	assert_int_equal(pfs_journal_sync(log->journal, 1), 0);
}

static int fail_writes(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	return step->kind == PFS_SIM_WRITE ? -EIO : 0;
}

/* A write that can't be undone. */
static void fail_meanwhile(struct log *log)
{
	struct pfs_journal_pos pos;

	pfs_sim_on_step(log->sim, fail_writes, NULL);
	assert_int_equal(append_to(log, false, &pos), -EIO);
	pfs_sim_on_step(log->sim, NULL, NULL);
	assert_true(pfs_journal_has_failed(log->journal));
}

/* Proves: a segment that is begun while a sync is made is none of it. */
static void what_comes_later_is_synced_later(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct synced s = {.meanwhile = begin_another};
	struct log log;

	(void)state;
	s.log = &log;
	log_open(&log, sim);
	append(&log);
	assert_int_equal(pfs_journal_sync(log.journal, 1), 0);
	append(&log);
	pfs_sim_on_step(sim, note_sync, &s);
	assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), 0);
	expect_synced(&s, 1, "journal-0000");
	assert_int_equal(pfs_journal_durable(log.journal), 2);
	assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), 0);
	assert_string_equal(s.names[1], "journal-0001");
	expect_synced(&s, 2, "journal-0000"); /* which has its end now */
	pfs_sim_on_step(sim, NULL, NULL);
	log_close(&log);
	pfs_sim_free(sim);
}

/* Proves: when the journal fails while a sync is made, all that wait are told that, and nothing is
 * synced any more. */
static void a_failure_meanwhile_is_told(void **state)
{
	(void)state;
	for (unsigned later = 0; later < 2; later++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct synced s = {.meanwhile = fail_meanwhile};
		struct later waits;
		struct log log;

		s.log = &log;
		log_open(&log, sim);
		append(&log);
		pfs_sim_on_step(sim, note_sync, &s);
		if (later) {
			sync_later(&waits, &log);
			expect_told(&waits, -EIO);
		} else {
			assert_int_equal(pfs_journal_sync(log.journal, 1), -EIO);
		}
		assert_int_equal(pfs_journal_sync(log.journal, UINT64_MAX), -EIO);
		expect_synced(&s, 1, "journal-0000");
		pfs_sim_on_step(sim, NULL, NULL);
		log_close(&log);
		pfs_sim_free(sim);
	}
}

static void tell_and_fail(struct pfs_sync_wait *wait, int err)
{
	tell(wait, err);
	/* As another thread's write may, at this moment. */
	__atomic_store_n(&((struct later *)wait)->journal->failed, true, __ATOMIC_RELEASE);
}

static struct later *comes_meanwhile;

static void come(struct log *log)
{
	append(log);
	sync_later(comes_meanwhile, log);
}

/* Proves: a journal that fails between two syncs makes no second one. */
static void a_failure_between_syncs_is_told(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct synced s = {.meanwhile = come};
	struct later first, second;
	struct log log;

	(void)state;
	s.log = &log;
	log_open(&log, sim);
	append(&log);
	comes_meanwhile = &second;
	first = (struct later){.wait = {.seq = 1, .done = tell_and_fail}, .journal = log.journal};
	sem_init(&first.end, 0, 0);
	pfs_sim_on_step(sim, note_sync, &s);
	pfs_journal_sync_then(log.journal, &first.wait);
	expect_told(&first, 0);
	expect_told(&second, -EIO);
	expect_synced(&s, 1, "journal-0000");
	pfs_sim_on_step(sim, NULL, NULL);
	log_close(&log);
	pfs_sim_free(sim);
}

/* ---- a leader that does not stay ---- */

struct passing {
	struct log log;
	struct later later;
	pthread_t threads[2], last; /* last: that made the last sync */
	unsigned syncs;
	int err; /* of pfs_journal_sync in the first thread */
	bool failing, later_first;
};

static void *sync_here(void *arg)
{
	struct passing *p = arg;

	p->err = pfs_journal_sync(p->log.journal, UINT64_MAX);
	return NULL;
}

static void *sync_then_here(void *arg)
{
	struct passing *p = arg;

	sync_later(&p->later, &p->log);
	return NULL;
}

static unsigned waiting(struct pfs_journal *journal)
{
	unsigned n = 0;

	pthread_mutex_lock(&journal->lock);
	for (const struct pfs_sync_wait *w = journal->waiting; w; w = w->next)
		n++;
	pthread_mutex_unlock(&journal->lock);
	return n;
}

/* While the first sync is made, a thread of each kind comes, one after the other. */
static int both_kinds_come(void *arg, const struct pfs_sim_step *step)
{
	void *(*const kinds[])(void *) = {sync_here, sync_then_here};
	struct passing *p = arg;

	if (step->kind != PFS_SIM_SYNC)
		return 0;
	p->last = pthread_self();
	if (p->syncs++ == 0) {
		append(&p->log);
		for (unsigned i = 0; i < pfs_array_len(kinds); i++) {
			assert_int_equal(
				pthread_create(&p->threads[i], NULL, kinds[i ^ p->later_first], p),
				0);
			while (waiting(p->log.journal) <= i)
				sched_yield();
		}
	}
	return p->failing ? -EIO : 0;
}

static void pass_on(bool later_first, bool failing)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct passing p = {.later_first = later_first, .failing = failing, .err = 1};
	int want = failing ? -EIO : 0;

	log_open(&p.log, sim);
	append_many(&p.log, 3);
	pfs_sim_on_step(sim, both_kinds_come, &p);
	assert_int_equal(pfs_journal_sync(p.log.journal, UINT64_MAX), want);
	pthread_join(p.threads[0], NULL);
	pthread_join(p.threads[1], NULL);
	pfs_sim_on_step(sim, NULL, NULL);
	assert_int_equal(p.err, want);
	expect_told(&p.later, want);
	assert_int_equal(p.syncs, failing ? 1 : 2);
	assert_int_equal(pthread_equal(p.last, pthread_self()) != 0, failing);
	assert_int_equal(pfs_journal_durable(p.log.journal), failing ? 0 : 4);
	log_close(&p.log);
	pfs_sim_free(sim);
}

/* Proves: a caller that only wants its own records durable is not kept for those of others; the
 * lead goes to one of them, and all are told, also of a failure. */
static void the_lead_is_passed_on(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++)
		pass_on(i & 1, i & 2);
}

/* ---- many of both kinds ---- */

struct mix {
	struct log log;
	pthread_mutex_t commit;
	unsigned failed, number;
};

static void *append_and_sync(void *arg)
{
	struct mix *m = arg;
	bool later = __atomic_fetch_add(&m->number, 1, __ATOMIC_RELAXED) % 3 != 0;

	for (unsigned i = 0; i < 200; i++) {
		struct later l = {.err = 0};
		uint64_t seq;
		int err = 0;

		pthread_mutex_lock(&m->commit);
		seq = append(&m->log).seq;
		pthread_mutex_unlock(&m->commit);
		if (later) {
			sync_later(&l, &m->log);
			while (sem_wait(&l.end))
				assert_int_equal(errno, EINTR);
			err = l.err;
		} else {
			err = pfs_journal_sync(m->log.journal, seq);
		}
		if (err || pfs_journal_durable(m->log.journal) < seq)
			__atomic_fetch_add(&m->failed, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Proves: threads that ask in both ways at once are all told once, when their records are durable
 * (ThreadSanitizer watches); nobody leads afterwards. */
static void both_kinds_at_once(void **state)
{
	struct mix m = {.commit = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP};
	struct pfs_sim *sim = pfs_sim_new();
	pthread_t threads[6];

	(void)state;
	log_open(&m.log, sim);
	for (size_t t = 0; t < pfs_array_len(threads); t++)
		assert_int_equal(pthread_create(&threads[t], NULL, append_and_sync, &m), 0);
	for (size_t t = 0; t < pfs_array_len(threads); t++)
		pthread_join(threads[t], NULL);
	assert_int_equal(m.failed, 0);
	assert_int_equal(pfs_journal_durable(m.log.journal), 1200);
	assert_false(m.log.journal->syncing || m.log.journal->leader_stays);
	assert_null(m.log.journal->waiting);
	log_close(&m.log);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_thread_syncs_for_all_that_come),
		cmocka_unit_test(a_failed_sync_is_told_to_all),
		cmocka_unit_test(only_what_was_written_is_synced),
		cmocka_unit_test(what_comes_later_is_synced_later),
		cmocka_unit_test(a_failure_meanwhile_is_told),
		cmocka_unit_test(a_failure_between_syncs_is_told),
		cmocka_unit_test(the_lead_is_passed_on),
		cmocka_unit_test(both_kinds_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
