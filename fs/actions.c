#include "fs/actions.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "fs/clock.h"

static const char *const names[PFS_ACTIONS] = {
	[PFS_ACTION_COMPACT] = "compact", [PFS_ACTION_SYNC] = "sync", [PFS_ACTION_TRAIN] = "train"};

struct state {
	pthread_mutex_t busy; /* who does it; before actions->lock */
	/* actions->lock */
	unsigned running;
	bool *unwanted;	      /* of the one that is at work; else NULL */
	uint64_t done, total; /* of it */
	int64_t changed_ns, ended_ns;
	char last[256]; /* how the last one ended */
};

struct pfs_actions {
	struct pfs_store *store;
	const struct pfs_logger *logger;
	pthread_mutex_t lock;
	bool ending; /* lock */
	struct state states[PFS_ACTIONS];
};

int pfs_actions_new(struct pfs_actions **out, struct pfs_store *store,
		    const struct pfs_logger *logger)
{
	struct pfs_actions *actions = calloc(1, sizeof(*actions));

	*out = actions;
	if (!actions)
		return -ENOMEM;
	actions->store = store;
	actions->logger = logger;
	pthread_mutex_init(&actions->lock, NULL);
	for (int i = 0; i < PFS_ACTIONS; i++) {
		pthread_mutex_init(&actions->states[i].busy, NULL);
		actions->states[i].changed_ns = pfs_realtime_ns();
	}
	return 0;
}

void pfs_actions_free(struct pfs_actions *actions)
{
	if (!actions)
		return;
	for (int i = 0; i < PFS_ACTIONS; i++)
		pthread_mutex_destroy(&actions->states[i].busy);
	pthread_mutex_destroy(&actions->lock);
	free(actions);
}

/* ---- compact ---- */

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
	struct pfs_actions *actions = arg;
	struct state *state = &actions->states[PFS_ACTION_COMPACT];

	pthread_mutex_lock(&actions->lock);
	state->done = done;
	state->total = total;
	pthread_mutex_unlock(&actions->lock);
}

static int compact(struct pfs_actions *actions, const bool *unwanted, char *text, size_t cap)
{
	struct pfs_compact_result r;
	int err = pfs_store_compact(actions->store, on_progress, actions, unwanted, &r);

	if (!err && r.values == 0 && r.pages_before == r.pages_after)
		snprintf(text, cap,
			 "nothing to compact: %" PRIu64 " page%s, bytes on disk %" PRIu64,
			 r.pages_after, pfs_plural(r.pages_after), r.disk_after);
	else if (!err)
		snprintf(text, cap,
			 "moved %" PRIu64 " document%s (%" PRIu64 " byte%s); pages %" PRIu64
			 " -> %" PRIu64 ", bytes on disk %" PRIu64 " -> %" PRIu64,
			 r.values, pfs_plural(r.values), r.bytes, pfs_plural(r.bytes),
			 r.pages_before, r.pages_after, r.disk_before, r.disk_after);
	return err == -ECANCELED ? -EINTR : err;
}

/* ---- train ---- */

static int train(struct pfs_actions *actions, char *text, size_t cap)
{
	struct pfs_train_result r;
	int err = pfs_train(actions->store, false, &r);

	if (!err)
		snprintf(text, cap,
			 "dictionary %" PRIu32 " of %" PRIu64 " bytes from %" PRIu64
			 " points; others take %" PRIu64 " bytes with it, %" PRIu64
			 " before, %" PRIu64 " as they are",
			 r.number, r.length, r.samples, r.packed, r.before, r.raw);
	else if (err == -EALREADY)
		snprintf(text, cap, "nothing to do: a new dictionary would be no better");
	else if (err == -ENODATA)
		snprintf(text, cap,
			 "too few points, or they have too little in common for a dictionary");
	else if (err == -EPERM)
		snprintf(text, cap, "dictionaries are off (dict=off)");
	else if (err == -EOPNOTSUPP)
		snprintf(text, cap, "%s", PFS_WITHOUT_TRAINER);
	return err == -EALREADY ? 0 : err;
}

static int sync_all(struct pfs_actions *actions, char *text, size_t cap)
{
	int err = pfs_sync(actions->store);

	if (!err)
		snprintf(text, cap, "everything is durable");
	return err;
}

/* ---- all ---- */

static void change_running(struct pfs_actions *actions, struct state *state, int by)
{
	pthread_mutex_lock(&actions->lock);
	state->running += (unsigned)by;
	state->changed_ns = pfs_realtime_ns();
	pthread_mutex_unlock(&actions->lock);
}

static void keep_result(struct pfs_actions *actions, struct state *state, const char *text)
{
	pthread_mutex_lock(&actions->lock);
	state->unwanted = NULL;
	state->done = state->total = 0;
	state->ended_ns = state->changed_ns = pfs_realtime_ns();
	snprintf(state->last, sizeof(state->last), "%s", text);
	pthread_mutex_unlock(&actions->lock);
}

/* -EINTR: it is not to begin. */
static int begin(struct pfs_actions *actions, struct state *state, bool *unwanted)
{
	int err = 0;

	pthread_mutex_lock(&actions->lock);
	if (actions->ending || __atomic_load_n(unwanted, __ATOMIC_RELAXED))
		err = -EINTR;
	else
		state->unwanted = unwanted;
	pthread_mutex_unlock(&actions->lock);
	return err;
}

void pfs_actions_stop(struct pfs_actions *actions)
{
	pthread_mutex_lock(&actions->lock);
	actions->ending = true;
	for (int i = 0; i < PFS_ACTIONS; i++)
		if (actions->states[i].unwanted)
			__atomic_store_n(actions->states[i].unwanted, true, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&actions->lock);
}

int pfs_action_do(struct pfs_actions *actions, enum pfs_action action, bool *unwanted)
{
	struct state *state = &actions->states[action];
	char text[sizeof(state->last) - 16] = "", line[sizeof(state->last)];
	int err;

	if (pthread_mutex_trylock(&state->busy) != 0) {
		if (action == PFS_ACTION_COMPACT)
			return -EBUSY;
		pthread_mutex_lock(&state->busy);
	}
	change_running(actions, state, 1);
	err = begin(actions, state, unwanted);
	if (err)
		;
	else if (action == PFS_ACTION_COMPACT)
		err = compact(actions, unwanted, text, sizeof(text));
	else if (action == PFS_ACTION_TRAIN)
		err = train(actions, text, sizeof(text));
	else
		err = sync_all(actions, text, sizeof(text));
	if (err && !text[0])
		snprintf(text, sizeof(text), "%s",
			 err == -EBUSY ? "another compaction is at work" : strerror(-err));
	snprintf(line, sizeof(line), "%s: %s", err ? "failed" : "done", text);
	keep_result(actions, state, line);
	pthread_mutex_unlock(&state->busy);
	change_running(actions, state, -1);
	if (err && err != -EINTR)
		pfs_logf(actions->logger, PFS_LOG_WARNING, ".payloadfs/%s: %s", names[action],
			 text);
	return err;
}

static void format_time(char *text, size_t cap, int64_t ns)
{
	const struct timespec t = pfs_timespec_from_ns(ns);
	struct tm tm;

	if (!gmtime_r(&t.tv_sec, &tm) || !strftime(text, cap, "%Y-%m-%dT%H:%M:%SZ", &tm))
		text[0] = '\0';
}

size_t pfs_action_text(struct pfs_actions *actions, enum pfs_action action,
		       char text[PFS_ACTION_TEXT_MAX], int64_t *changed_ns)
{
	struct state *state = &actions->states[action];
	char time[32];
	int len;

	pthread_mutex_lock(&actions->lock);
	if (!state->running)
		len = snprintf(text, PFS_ACTION_TEXT_MAX, "idle\n");
	else if (state->total)
		len = snprintf(text, PFS_ACTION_TEXT_MAX,
			       "running: %" PRIu64 " of %" PRIu64 " bytes\n", state->done,
			       state->total);
	else
		len = snprintf(text, PFS_ACTION_TEXT_MAX, "running\n");
	if (state->ended_ns) {
		format_time(time, sizeof(time), state->ended_ns);
		len += snprintf(text + len, PFS_ACTION_TEXT_MAX - (size_t)len, "%s %s\n", time,
				state->last);
	}
	*changed_ns = state->changed_ns;
	pthread_mutex_unlock(&actions->lock);
	return (size_t)len;
}
