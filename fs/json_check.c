#include "fs/json_check.h"

#include <inttypes.h>
#include <stdlib.h>

#include "fs/clock.h"
#include "fs/point_set.h"
#include "fs/thread.h"
#include "storage/json_scan.h"
#include "storage/monotonic.h"

#define BATCH 64 /* points of a step */
#define TICK_NS PFS_NSEC_PER_SEC
#define LAST_LOOK_NS PFS_NSEC_PER_SEC /* at most so long when the thread ends */

struct pfs_json_check {
	struct pfs_store *store;
	const struct pfs_logger *logger;
	pthread_t thread;
	bool started; /* only of start and stop */

	pthread_mutex_t lock;
	pthread_cond_t wake; /* monotonic clock */
	bool stopping;	     /* under lock, like all that follows */

	/* When each point was changed, of the monotonic clock; a multiple of 2. One more: it was
	 * not changed but found by a look through the store. */
	struct pfs_point_set pending;
	size_t pending_cursor;
	/* A fingerprint of the bytes of each point that is not valid. */
	struct pfs_point_set invalid;
	struct pfs_json_stat stat;
	bool overflowed; /* changes were not noted: the store is to be gone through */
	unsigned logged; /* lines since window_ns */
	uint64_t unlogged;
	int64_t window_ns;

	bool through; /* the store is being gone through; changed by the thread alone */

	uint64_t cookie; /* only of the thread: up to where it has come */
};

int pfs_json_check_new(struct pfs_json_check **out, struct pfs_store *store,
		       const struct pfs_logger *logger)
{
	struct pfs_json_check *check = calloc(1, sizeof(*check));

	*out = check;
	if (!check)
		return -ENOMEM;
	check->store = store;
	check->logger = logger;
	check->pending.max = PFS_JSON_PENDING_MAX;
	check->invalid.max = PFS_JSON_INVALID_MAX;
	pthread_mutex_init(&check->lock, NULL);
	pfs_monotonic_cond_init(&check->wake);
	return 0;
}

void pfs_json_check_free(struct pfs_json_check *check)
{
	if (!check)
		return;
	pfs_point_set_free(&check->pending);
	pfs_point_set_free(&check->invalid);
	pthread_cond_destroy(&check->wake);
	pthread_mutex_destroy(&check->lock);
	free(check);
}

/* ---- noting ---- */

/* Under lock. */
static bool has_work(const struct pfs_json_check *check)
{
	return check->pending.count || check->overflowed || check->through || check->unlogged;
}

static void note_at(struct pfs_json_check *check, const struct pfs_key *key, int64_t now_ns)
{
	bool idle;

	pthread_mutex_lock(&check->lock);
	idle = !has_work(check);
	if (pfs_point_set_put(&check->pending, key, now_ns & ~INT64_C(1)) != 0)
		check->overflowed = true;
	if (idle)
		pthread_cond_signal(&check->wake);
	pthread_mutex_unlock(&check->lock);
}

void pfs_json_check_note(struct pfs_json_check *check, const struct pfs_key *key)
{
	if (check && pfs_key_is_point(key))
		note_at(check, key, pfs_now_monotonic());
}

/* Notes a point that was found by going through the store, unless its change is noted. False: there
 * is no room. */
static bool nominate(struct pfs_json_check *check, const struct pfs_key *key, int64_t now_ns)
{
	bool noted = true;

	pthread_mutex_lock(&check->lock);
	if (!pfs_point_set_find(&check->pending, key))
		noted = pfs_point_set_put(&check->pending, key, now_ns | 1) == 0;
	pthread_mutex_unlock(&check->lock);
	return noted;
}

/* ---- looking ---- */

/* FNV-1a: tells whether an invalid payload is another than at the last look. */
static int64_t fingerprint(const uint8_t *p, size_t len)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
	return (int64_t)hash;
}

/* What a look has found. */
struct look {
	struct pfs_key key;
	bool there;
	const char *why; /* NULL: valid */
	size_t off;
	int64_t fingerprint; /* of an invalid one */
};

/* 0; -ENOMEM: it can't be looked at now. One that is damaged is as if it were not there: the store
 * tells of it. */
static int look_at(struct pfs_json_check *check, const struct pfs_key *key, struct look *look)
{
	void *data;
	size_t len;
	int err = pfs_get(check->store, key, &data, &len, NULL);

	*look = (struct look){.key = *key};
	if (err)
		return err == -ENOMEM ? err : 0;
	look->there = true;
	look->why = pfs_json_fault(data, len, &look->off);
	if (look->why)
		look->fingerprint = fingerprint(data, len);
	free(data);
	return 0;
}

/* Under lock. True: the line may be logged. */
static bool within_rate(struct pfs_json_check *check)
{
	if (check->logged < PFS_JSON_LOGGED_MAX) {
		check->logged++;
		return true;
	}
	check->unlogged++;
	return false;
}

/* Begins another window when it is time (or now, at the end), and tells what the last one has left
 * out. */
static void turn_window(struct pfs_json_check *check, int64_t now_ns, bool now)
{
	uint64_t left_out = 0;

	pthread_mutex_lock(&check->lock);
	if (now || now_ns - check->window_ns >= PFS_JSON_LOG_WINDOW_NS) {
		left_out = check->unlogged;
		check->unlogged = 0;
		check->logged = 0;
		check->window_ns = now_ns;
	}
	pthread_mutex_unlock(&check->lock);
	if (left_out)
		pfs_logf(check->logger, PFS_LOG_WARNING,
			 "%" PRIu64
			 " more payload%s found that %s not valid JSON (`payloadctl check "
			 "--json-payloads` names them)",
			 left_out, left_out == 1 ? " was" : "s were", left_out == 1 ? "is" : "are");
}

/* Keeps the result of a look at what was pending. */
static void conclude(struct pfs_json_check *check, const struct look *look, bool was_changed)
{
	char name[PFS_NAME_MAX + 1];
	bool tell = false;

	pthread_mutex_lock(&check->lock);
	check->stat.checked += look->there;
	if (!look->why) {
		pfs_point_set_remove(&check->invalid, &look->key);
	} else if (!pfs_point_set_find(&check->pending, &look->key)) {
		int64_t *before = pfs_point_set_find(&check->invalid, &look->key);

		/* Else it has been changed meanwhile, and may have been half there. */
		if (was_changed || !before || *before != look->fingerprint) {
			check->stat.invalid_seen++;
			check->stat.last = look->key;
			check->stat.last_off = look->off;
			check->stat.last_why = look->why;
			tell = within_rate(check);
		}
		/* Without room or memory it is not counted among those that are invalid now. */
		pfs_point_set_put(&check->invalid, &look->key, look->fingerprint);
	}
	pthread_mutex_unlock(&check->lock);
	if (!tell)
		return;
	pfs_key_format(name, &look->key);
	pfs_logf(check->logger, PFS_LOG_WARNING, "%s: not valid JSON at byte %zu: %s", name,
		 look->off, look->why);
}

static bool is_stopping(struct pfs_json_check *check)
{
	bool stopping;

	pthread_mutex_lock(&check->lock);
	stopping = check->stopping;
	pthread_mutex_unlock(&check->lock);
	return stopping;
}

/* Looks at up to BATCH points that were not changed after value_max; returns how many there were.
 * deadline_ns: those that are not reached until then are noted again. */
static size_t look_at_pending(struct pfs_json_check *check, int64_t value_max, int64_t now_ns,
			      int64_t deadline_ns)
{
	struct pfs_point_taken *taken = malloc(BATCH * sizeof(*taken));
	struct look look;
	size_t n;

	if (!taken)
		return 0;
	pthread_mutex_lock(&check->lock);
	n = pfs_point_set_take(&check->pending, &check->pending_cursor, value_max, taken, BATCH);
	pthread_mutex_unlock(&check->lock);
	for (size_t i = 0; i < n; i++) {
		bool late = deadline_ns ? pfs_now_monotonic() >= deadline_ns : is_stopping(check);

		if (!late && look_at(check, &taken[i].key, &look) == 0)
			conclude(check, &look, !(taken[i].value & 1));
		else if (taken[i].value & 1)
			nominate(check, &taken[i].key, now_ns);
		else
			note_at(check, &taken[i].key, now_ns);
	}
	free(taken);
	return n;
}

/* ---- going through the store ---- */

/* What is known to be invalid may have been mended or removed. */
static void nominate_invalid(struct pfs_json_check *check, int64_t now_ns)
{
	struct pfs_key keys[BATCH];
	size_t cursor = 0, n;

	do {
		pthread_mutex_lock(&check->lock);
		n = pfs_point_set_copy(&check->invalid, &cursor, keys, BATCH);
		pthread_mutex_unlock(&check->lock);
		for (size_t i = 0; i < n; i++)
			nominate(check, &keys[i], now_ns);
	} while (n);
}

/* One step. What it finds is noted, and looked at once more when it has been quiet. */
static void go_through(struct pfs_json_check *check, int64_t now_ns)
{
	struct pfs_listed names[BATCH];
	ssize_t n = pfs_list(check->store, check->cookie, names, BATCH);

	if (n <= 0) {
		pthread_mutex_lock(&check->lock);
		check->through = false;
		pthread_mutex_unlock(&check->lock);
		return;
	}
	for (ssize_t i = 0; i < n && !is_stopping(check); i++) {
		struct look look;

		if (!pfs_key_is_point(&names[i].key))
			continue;
		/* Without memory or room it goes on from here the next time. */
		if (look_at(check, &names[i].key, &look) != 0 ||
		    (look.why && !nominate(check, &names[i].key, now_ns)))
			return;
		check->cookie = names[i].cookie;
	}
	check->cookie = names[n - 1].cookie;
}

/* Whether there is room for what a step through the store may find. */
static bool may_go_through(struct pfs_json_check *check, bool *begin)
{
	bool may;

	pthread_mutex_lock(&check->lock);
	may = check->pending.count < PFS_JSON_PENDING_MAX / 2 && !check->stopping;
	*begin = may && !check->through && check->overflowed;
	if (*begin) {
		check->overflowed = false;
		check->through = true;
	}
	may = may && check->through;
	pthread_mutex_unlock(&check->lock);
	return may;
}

bool pfs_json_check_step(struct pfs_json_check *check, int64_t now_ns)
{
	bool begin;

	turn_window(check, now_ns, false);
	if (look_at_pending(check, now_ns - PFS_JSON_QUIET_NS, now_ns, 0) == BATCH)
		return true;
	if (!may_go_through(check, &begin))
		return false;
	if (begin) {
		check->cookie = 0;
		nominate_invalid(check, now_ns);
	}
	go_through(check, now_ns);
	return check->through;
}

/* ---- the thread ---- */

/* The last look, when nothing is changed any more. */
static void finish(struct pfs_json_check *check)
{
	int64_t now_ns = pfs_now_monotonic(), deadline_ns = now_ns + LAST_LOOK_NS;
	uint64_t left;
	bool more;

	while (pfs_now_monotonic() < deadline_ns &&
	       look_at_pending(check, INT64_MAX, now_ns, deadline_ns) > 0)
		;
	turn_window(check, now_ns, true);
	pthread_mutex_lock(&check->lock);
	left = check->pending.count;
	more = check->overflowed || check->through;
	pthread_mutex_unlock(&check->lock);
	if (left || more)
		pfs_logf(check->logger, PFS_LOG_INFO,
			 "json=check: %s%" PRIu64 " changed payloads were not looked at before the "
			 "end (`payloadctl check --json-payloads` looks at all)",
			 more ? "more than " : "", left);
}

static void *run(void *arg)
{
	struct pfs_json_check *check = arg;

	pthread_mutex_lock(&check->lock);
	while (!check->stopping) {
		struct timespec next;
		int64_t now_ns;
		bool more;

		if (!has_work(check)) {
			pthread_cond_wait(&check->wake, &check->lock);
			continue;
		}
		pthread_mutex_unlock(&check->lock);
		now_ns = pfs_now_monotonic();
		more = pfs_json_check_step(check, now_ns);
		next = pfs_timespec_from_ns(now_ns + TICK_NS);
		pthread_mutex_lock(&check->lock);
		while (!more && !check->stopping &&
		       pthread_cond_timedwait(&check->wake, &check->lock, &next) != ETIMEDOUT)
			;
	}
	pthread_mutex_unlock(&check->lock);
	finish(check);
	return NULL;
}

int pfs_json_check_start(struct pfs_json_check *check)
{
	int err = pfs_thread_start(&check->thread, run, check);

	check->started = err == 0;
	return err;
}

void pfs_json_check_stop(struct pfs_json_check *check)
{
	if (!check || !check->started)
		return;
	pthread_mutex_lock(&check->lock);
	check->stopping = true;
	pthread_cond_signal(&check->wake);
	pthread_mutex_unlock(&check->lock);
	pthread_join(check->thread, NULL);
	check->started = false;
}

void pfs_json_check_stat(struct pfs_json_check *check, struct pfs_json_stat *out)
{
	pthread_mutex_lock(&check->lock);
	*out = check->stat;
	out->invalid = check->invalid.count;
	pthread_mutex_unlock(&check->lock);
}
