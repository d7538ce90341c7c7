/* fs/control.c, fs/control_write.c, and what stats.json is put together with: the order in which
 * they call the others, all of which are the test's here, and what becomes of each when one of them
 * fails or there is no memory. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "fs/control_impl.h"
#include "tests/unit/fenced.h"
#include "tests/unit/noted_calls.h"

static char calls[4096];

#define note(...) calls_note(calls, sizeof(calls), __VA_ARGS__)
#define expect(want) calls_expect(calls, want)

/* ---- the others ---- */

#define FAILED (-EIO)

static unsigned made, fails_at; /* of the others in their order, from 1; 0: none */

struct pfs_jobs {
	const char *name;
	bool there;
};

static struct pfs_jobs the_jobs[3] = {{"lookups", false}, {"importers", false}, {"doers", false}};
static int submit_err;
static struct {
	pfs_job_fn *fn;
	void *arg;
} queued; /* the last that was submitted */

static int make(const char *what, bool *there)
{
	int err = ++made == fails_at ? FAILED : 0;

	note("%s ", what);
	*there = !err;
	return err;
}

int pfs_jobs_new(struct pfs_jobs **out, unsigned threads_max)
{
	struct pfs_jobs *next = the_jobs;

	while (next->there)
		next++;
	assert_int_equal(threads_max, next == the_jobs ? 2 : 4);
	*out = make(next->name, &next->there) ? NULL : next;
	return *out ? 0 : FAILED;
}

int pfs_jobs_submit(struct pfs_jobs *to, pfs_job_fn *fn, void *arg)
{
	note("to %s ", to->name);
	if (submit_err)
		return submit_err;
	assert_null(queued.fn);
	queued.fn = fn;
	queued.arg = arg;
	return 0;
}

static void run_queued(void)
{
	pfs_job_fn *fn = queued.fn;

	assert_non_null(fn);
	queued.fn = NULL;
	fn(queued.arg);
}

void pfs_jobs_free(struct pfs_jobs *ended)
{
	if (!ended)
		return;
	ended->there = false;
	note("end %s ", ended->name);
}

struct pfs_points {
	bool there;
};

struct pfs_moment {
	unsigned refs;
};

static struct pfs_points points;
static struct pfs_moment the_moment;
static int moment_err;

int pfs_points_new(struct pfs_points **out, struct pfs_store *store,
		   const struct pfs_logger *logger)
{
	(void)store;
	(void)logger;
	*out = make("points", &points.there) ? NULL : &points;
	return *out ? 0 : FAILED;
}

void pfs_points_free(struct pfs_points *ended)
{
	if (ended)
		note("end points ");
}

int pfs_moment_take(struct pfs_points *of, struct pfs_moment **out, pfs_points_stop_fn *stop,
		    void *arg)
{
	assert_ptr_equal(of, &points);
	note("take%s ", stop(arg) ? "n't" : "");
	*out = moment_err ? NULL : &the_moment;
	the_moment.refs += !moment_err;
	return moment_err;
}

void pfs_moment_release(struct pfs_points *of, struct pfs_moment *released)
{
	assert_ptr_equal(of, &points);
	assert_ptr_equal(released, &the_moment);
	the_moment.refs--;
	note("release ");
}

uint64_t pfs_moment_size(const struct pfs_moment *of)
{
	return of == &the_moment ? 77 : 0;
}

int64_t pfs_moment_time(const struct pfs_moment *of)
{
	return of == &the_moment ? INT64_C(5000000007) : 0;
}

int pfs_moment_read(struct pfs_moment *of, uint64_t off, void *buf, size_t len)
{
	(void)of;
	memset(buf, 'x', len);
	note("moment %d+%zu ", (int)off, len);
	return moment_err;
}

struct pfs_actions {
	bool there;
};

static struct pfs_actions actions;
static int action_err;

int pfs_actions_new(struct pfs_actions **out, struct pfs_store *store,
		    const struct pfs_logger *logger)
{
	(void)store;
	(void)logger;
	*out = make("actions", &actions.there) ? NULL : &actions;
	return *out ? 0 : FAILED;
}

void pfs_actions_free(struct pfs_actions *ended)
{
	if (ended)
		note("end actions ");
}

int pfs_action_do(struct pfs_actions *of, enum pfs_action action, bool *unwanted)
{
	(void)of;
	note("do %d%s ", (int)action, *unwanted ? " unwanted" : "");
	return action_err;
}

void pfs_actions_stop(struct pfs_actions *stopped)
{
	assert_ptr_equal(stopped, &actions);
	note("stop actions ");
}

size_t pfs_action_text(struct pfs_actions *of, enum pfs_action action,
		       char text[PFS_ACTION_TEXT_MAX], int64_t *changed_ns)
{
	assert_ptr_equal(of, &actions);
	*changed_ns = 3000000001;
	return (size_t)snprintf(text, PFS_ACTION_TEXT_MAX, "action %d\n", (int)action);
}

struct pfs_invalidator {
	struct pfs_invalidate_ops ops;
};

static struct pfs_invalidator invalidator;

int pfs_invalidator_start(struct pfs_invalidator **out, const struct pfs_invalidate_ops *ops,
			  const struct pfs_logger *logger)
{
	(void)logger;
	invalidator.ops = *ops;
	*out = &invalidator;
	return 0;
}

void pfs_invalidator_end(struct pfs_invalidator *ended)
{
	assert_ptr_equal(ended, &invalidator);
	note("end telling ");
}

void pfs_invalidator_stop(struct pfs_invalidator *stopped)
{
	if (stopped)
		note("stop telling ");
}

int pfs_invalidate_later(struct pfs_invalidator *to, const struct pfs_invalidation *item)
{
	char name[PFS_NAME_MAX + 1];

	assert_ptr_equal(to, &invalidator);
	assert_int_equal(item->gone, 0);
	pfs_key_format(name, &item->key);
	note("drop %s ", name);
	return 0;
}

struct pfs_import {
	bool there;
};

static struct pfs_import the_import;
static int import_err;

int pfs_import_new(struct pfs_import **out, const struct pfs_import_env *env)
{
	assert_ptr_equal(env->jobs, &the_jobs[1]);
	note("stream ");
	*out = import_err ? NULL : &the_import;
	return import_err;
}

void pfs_import_add(struct pfs_import *to, uint64_t off, const void *data, size_t len,
		    pfs_imported_fn *fn, void *arg)
{
	assert_ptr_equal(to, &the_import);
	note("add %d+%.*s ", (int)off, (int)len, (const char *)data);
	fn(arg, 0);
}

int pfs_import_check(struct pfs_import *of)
{
	assert_ptr_equal(of, &the_import);
	note("check ");
	return 0;
}

void pfs_import_free(struct pfs_import *ended)
{
	if (ended)
		note("end stream ");
}

void pfs_root_get(struct pfs_root *root, struct pfs_attr *out)
{
	(void)root;
	*out = (struct pfs_attr){.uid = 71, .gid = 82};
}

void pfs_json_check_stat(struct pfs_json_check *check, struct pfs_json_stat *out)
{
	(void)check;
	memset(out, 0, sizeof(*out));
}

/* ---- libfuse ---- */

struct fuse_req {
	bool undeliverable, interrupted;
	fuse_ino_t ino; /* of the last entry */
	struct stat attr;
	char buf[512];
	size_t len;
};

static struct pfs_control *slow_in; /* whose lookups may be slow when something is replied */

int fuse_reply_err(fuse_req_t req, int err)
{
	(void)req;
	note("error %d%s ", err, slow_in && slow_in->slow_lookups ? " while slow" : "");
	return 0;
}

int fuse_reply_entry(fuse_req_t req, const struct fuse_entry_param *e)
{
	req->ino = e->ino;
	req->attr = e->attr;
	note("entry ");
	return req->undeliverable ? -ENOENT : 0;
}

int fuse_reply_attr(fuse_req_t req, const struct stat *attr, double timeout)
{
	(void)timeout;
	req->attr = *attr;
	note("attr ");
	return 0;
}

int fuse_reply_write(fuse_req_t req, size_t count)
{
	(void)req;
	note("wrote %zu ", count);
	return 0;
}

int fuse_reply_buf(fuse_req_t req, const char *buf, size_t size)
{
	assert_in_range(size, 0, sizeof(req->buf));
	if (size)
		memcpy(req->buf, buf, size);
	req->len = size;
	note("buf ");
	return 0;
}

int fuse_req_interrupted(fuse_req_t req)
{
	return req->interrupted;
}

void fuse_req_interrupt_func(fuse_req_t req, fuse_interrupt_func_t func, void *data)
{
	note("%s ", func ? "heed" : "heedless");
	if (func && req->interrupted)
		func(req, data);
}

/* Of which nothing is needed but its length. */
size_t fuse_add_direntry(fuse_req_t req, char *buf, size_t bufsize, const char *name,
			 const struct stat *stbuf, off_t off)
{
	(void)req;
	(void)stbuf;
	(void)off;
	if (strlen(name) + 1 <= bufsize)
		memcpy(buf, name, strlen(name) + 1);
	return strlen(name) + 1;
}

size_t fuse_add_direntry_plus(fuse_req_t req, char *buf, size_t bufsize, const char *name,
			      const struct fuse_entry_param *e, off_t off)
{
	return fuse_add_direntry(req, buf, bufsize, name, &e->attr, off);
}

/* ---- what they are looked at in ---- */

static int sync_err, stats_err;

static int sync_as_told(struct pfs_store *store)
{
	(void)store;
	note("sync ");
	return sync_err;
}

static struct pfs_control *waiting; /* who waits is told that no lookup is slow any more */

static int wait_as_told(pthread_cond_t *cond, pthread_mutex_t *lock)
{
	(void)cond;
	(void)lock;
	note("wait ");
	assert_non_null(waiting);
	waiting->slow_lookups--;
	return 0;
}

#define pfs_sync(store) sync_as_told(store)
#define pthread_cond_wait(cond, lock) wait_as_told(cond, lock)
#include "fs/control.c"
#include "fs/control_write.c"
#include "fs/histogram.c"
int real_control_stats(struct pfs_control *control, char **out, size_t *len);
#define pfs_control_stats real_control_stats
#include "fs/control_stats.c"
#undef pfs_control_stats
#undef pthread_cond_wait
#undef pfs_sync

int pfs_control_stats(struct pfs_control *control, char **text, size_t *len)
{
	(void)control;
	if (stats_err)
		return stats_err;
	*text = malloc(3);
	if (!*text)
		return -ENOMEM;
	memcpy(*text, "{}\n", 3);
	*len = 3;
	return 0;
}

static int drop(void *arg, fuse_ino_t parent, const char *name, size_t len)
{
	(void)arg;
	assert_true(parent == PFS_CONTROL_DIR);
	note("dropped %.*s ", (int)len, name);
	return -ENOTCONN;
}

static const struct pfs_control_env env = {.drop = drop};

static struct pfs_control *begin(void)
{
	struct pfs_control *control;

	assert_int_equal(pfs_control_new(&control, &env), 0);
	assert_int_equal(pfs_control_start(control), 0);
	calls[0] = '\0';
	return control;
}

#define ENDS "stop actions end lookups end doers end importers stop telling end actions end points "

static void end(struct pfs_control *control)
{
	assert_null(queued.fn);
	pfs_control_free(control);
	expect(ENDS);
	assert_int_equal(fenced_blocks, 0);
}

static int reset(void **state)
{
	(void)state;
	made = fails_at = 0;
	submit_err = moment_err = action_err = import_err = sync_err = stats_err = 0;
	memset(&the_moment, 0, sizeof(the_moment));
	fenced_refuses = false;
	slow_in = NULL;
	return 0;
}

/* An inode that the kernel has. */
static fuse_ino_t look_up(struct pfs_control *control, struct fuse_req *req, const char *name)
{
	char want[64];

	pfs_control_lookup(control, req, PFS_CONTROL_DIR, name);
	if (strcmp(name, "points.ndjson") == 0) {
		expect("to lookups ");
		run_queued();
		snprintf(want, sizeof(want), "take entry drop %s ", name);
	} else {
		snprintf(want, sizeof(want), "entry drop %s ", name);
	}
	expect(want);
	/* The first request drops the name once more: that is done here. */
	find(control, req->ino)->dropped = true;
	return req->ino;
}

/* ---- beginning and end ---- */

/* Proves: whichever part can't be made, that is the error, and those that were made are ended, in
 * order. */
static void a_beginning_that_fails(void **state)
{
	static const char *const want[] = {
		"points ",
		"points actions end points ",
		"points actions lookups stop actions end actions end points ",
		"points actions lookups importers stop actions end lookups end actions end points ",
		("points actions lookups importers doers stop actions end lookups end importers "
		 "end actions end points "),
	};
	struct pfs_control *control;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		fenced_refuse(i);
		assert_int_equal(pfs_control_new(&control, &env), -ENOMEM);
		assert_null(control);
		expect("");
		assert_int_equal(fenced_blocks, 0);
	}
	for (unsigned i = 0; i < pfs_array_len(want); i++) {
		made = 0;
		fails_at = i + 1;
		assert_int_equal(pfs_control_new(&control, &env), FAILED);
		assert_null(control);
		expect(want[i]);
		assert_int_equal(fenced_blocks, 0);
	}
}

/* Proves: the parts are ended in the order in which they need each other, once; what the kernel has
 * is ended with them. */
static void the_end_is_in_order(void **state)
{
	struct fuse_req req = {.ino = 0};
	struct pfs_control *control = begin();

	(void)state;
	pfs_control_stop(NULL);
	pfs_control_free(NULL);
	expect("");
	look_up(control, &req, "points.ndjson");
	pfs_control_write(control, &req, look_up(control, &req, "import"), "abc", 3, 5, NULL);
	expect("stream add 5+abc wrote 3 ");
	look_up(control, &req, "stats.json");
	look_up(control, &req, "sync");
	pfs_control_leave(control);
	expect("end telling ");
	assert_true(control->leaving);
	pfs_control_stop(control);
	expect("stop actions end lookups end doers end importers stop telling release end stream ");
	pfs_control_stop(control);
	expect("");
	pfs_control_free(control);
	expect("end actions end points ");
	assert_int_equal(the_moment.refs, 0);
	assert_int_equal(fenced_blocks, 0);
}

/* Proves: what a FORGET ends is left to those who may wait, a stream to the importers, a moment to
 * the doers; without memory or threads it is ended at once. */
static void what_is_forgotten_is_ended(void **state)
{
	struct fuse_req req = {.ino = 0};
	struct pfs_control *control = begin();
	fuse_ino_t ino;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		ino = look_up(control, &req, "points.ndjson");
		assert_int_equal(the_moment.refs, 1);
		assert_int_equal(req.attr.st_size, 77);
		assert_int_equal(req.attr.st_mtim.tv_sec, 5);
		submit_err = i == 1 ? -EAGAIN : 0;
		if (i == 2)
			fenced_refuse(0);
		pfs_control_forget(control, ino, 1);
		submit_err = 0;
		expect(i == 0 ? "to doers " : i == 1 ? "to doers release " : "release ");
		if (i == 0) {
			run_queued();
			expect("release ");
		}
		assert_int_equal(the_moment.refs, 0);
		ino = look_up(control, &req, "import");
		pfs_control_write(control, &req, ino, "x", 1, 0, NULL);
		pfs_control_write(control, &req, ino, "y", 1, 1, NULL);
		expect("stream add 0+x wrote 1 add 1+y wrote 1 ");
		submit_err = i == 1 ? -EAGAIN : 0;
		if (i == 2)
			fenced_refuse(0);
		pfs_control_forget(control, ino, 1);
		submit_err = 0;
		expect(i == 0	? "to importers "
		       : i == 1 ? "to importers end stream "
				: "end stream ");
		if (i == 0) {
			run_queued();
			expect("end stream ");
		}
	}
	pfs_control_forget(control, ino, 1);
	end(control);
}

/* ---- names ---- */

/* Proves: a name is dropped when no lookup is slow any more, and not at all when the mount is left;
 * what that comes to is passed on. */
static void names_are_dropped_in_time(void **state)
{
	struct pfs_control *control = begin();
	struct pfs_invalidate_ops *ops = &invalidator.ops;

	(void)state;
	assert_int_equal(ops->entry(ops->arg, "sync", 4, 0), -ENOTCONN);
	expect("dropped sync ");
	assert_int_equal(ops->listing(ops->arg), 0);
	waiting = control;
	control->slow_lookups = 2;
	assert_int_equal(ops->entry(ops->arg, "sync", 4, 0), -ENOTCONN);
	expect("wait wait dropped sync ");
	control->slow_lookups = 1;
	control->leaving = true;
	assert_int_equal(ops->entry(ops->arg, "sync", 4, 0), 0);
	control->slow_lookups = 0;
	expect("");
	end(control);
}

/* Proves: a lookup without memory, or of what can't be told, is answered with that, and leaves no
 * inode; one whose answer nobody takes neither. */
static void a_lookup_that_fails(void **state)
{
	struct fuse_req req = {.ino = 0};
	struct pfs_control *control = begin();
	const unsigned blocks = fenced_blocks;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		fenced_refuse(i);
		pfs_control_lookup(control, &req, PFS_CONTROL_DIR, "sync");
		expect("error 12 ");
		fenced_refuse(i);
		pfs_control_lookup(control, &req, PFS_CONTROL_DIR, "stats.json");
		expect("error 12 ");
		assert_int_equal(fenced_blocks, blocks);
	}
	stats_err = -EROFS;
	pfs_control_lookup(control, &req, PFS_CONTROL_DIR, "stats.json");
	expect("error 30 ");
	req.undeliverable = true;
	pfs_control_lookup(control, &req, PFS_CONTROL_DIR, "compact");
	expect("entry drop compact ");
	assert_int_equal(fenced_blocks, blocks);
	pfs_control_lookup(control, &req, PFS_CONTROL_DIR, "nothing");
	pfs_control_lookup(control, &req, PFS_CONTROL_DIR + 1, "sync");
	expect("error 2 error 20 ");
	end(control);
}

/* Proves: a lookup of the points that can't be made, or is not wanted, is answered once, while it
 * still counts as slow, and does not afterwards. */
static void a_lookup_of_points_that_fails(void **state)
{
	static const struct {
		int err;
		const char *said;
	} errs[] = {{-ECANCELED, "take error 4 while slow "},
		    {-EUCLEAN, "take error 5 while slow "},
		    {-ENOMEM, "take error 12 while slow "}};
	struct fuse_req req = {.ino = 0};
	struct pfs_control *control = begin();
	const unsigned blocks = fenced_blocks;

	(void)state;
	slow_in = control;
	fenced_refuse(0);
	pfs_control_lookup(control, &req, PFS_CONTROL_DIR, "points.ndjson");
	expect("error 12 while slow ");
	assert_int_equal(control->slow_lookups, 0);
	submit_err = -EAGAIN;
	pfs_control_lookup(control, &req, PFS_CONTROL_DIR, "points.ndjson");
	expect("to lookups error 11 while slow ");
	assert_int_equal(control->slow_lookups, 0);
	assert_int_equal(fenced_blocks, blocks);
	submit_err = 0;
	for (size_t i = 0; i < pfs_array_len(errs); i++) {
		moment_err = errs[i].err;
		pfs_control_lookup(control, &req, PFS_CONTROL_DIR, "points.ndjson");
		expect("to lookups ");
		assert_int_equal(control->slow_lookups, 1);
		run_queued();
		expect(errs[i].said);
		assert_int_equal(control->slow_lookups, 0);
	}
	moment_err = 0;
	pfs_control_lookup(control, &req, PFS_CONTROL_DIR, "points.ndjson");
	fenced_refuse(0);
	run_queued();
	expect("to lookups take release error 12 while slow ");
	assert_int_equal(the_moment.refs, 0);
	assert_int_equal(fenced_blocks, blocks);
	req.interrupted = true;
	moment_err = -ECANCELED;
	pfs_control_lookup(control, &req, PFS_CONTROL_DIR, "points.ndjson");
	run_queued();
	expect("to lookups taken't error 4 while slow ");
	slow_in = NULL;
	end(control);
}

/* Proves: a moment that the kernel has is the same inode again, and stays when an answer is not
 * taken. */
static void a_moment_is_one_inode(void **state)
{
	struct fuse_req req = {.ino = 0};
	struct pfs_control *control = begin();
	fuse_ino_t ino = look_up(control, &req, "points.ndjson");

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		req.undeliverable = i == 1;
		req.ino = 0;
		pfs_control_lookup(control, &req, PFS_CONTROL_DIR, "points.ndjson");
		run_queued();
		expect("to lookups take release entry drop points.ndjson ");
		assert_true(req.ino == ino);
		assert_int_equal(the_moment.refs, 1);
		assert_int_equal(find(control, ino)->nlookup, 2);
		assert_int_equal(find(control, ino)->users, 0);
	}
	pfs_control_forget(control, ino, 1);
	expect("");
	pfs_control_forget(control, ino, 1);
	expect("to doers ");
	run_queued();
	expect("release ");
	end(control);
}

/* ---- requests ---- */

/* Proves: as many names are listed as there is room for, without a byte beyond; without memory that
 * is the answer. */
static void the_listing_keeps_to_its_room(void **state)
{
	static const char all[] = ".\0..\0stats.json\0points.ndjson\0import\0compact\0sync\0train";
	struct fuse_req req = {.ino = 0};
	struct pfs_control *control = begin();

	(void)state;
	for (unsigned plus = 0; plus < 2; plus++) {
		void (*list_all)(struct pfs_control *, fuse_req_t, fuse_ino_t, size_t, off_t,
				 struct fuse_file_info *) =
			plus ? pfs_control_readdirplus : pfs_control_readdir;

		for (size_t size = 1; size < sizeof(all) + 3; size++) {
			size_t want = 0;

			while (want < sizeof(all) && want + strlen(all + want) + 1 <= size)
				want += strlen(all + want) + 1;
			list_all(control, &req, PFS_CONTROL_DIR, size, 0, NULL);
			expect("buf ");
			assert_int_equal(req.len, want);
			assert_memory_equal(req.buf, all, want);
		}
		fenced_refuse(0);
		list_all(control, &req, PFS_CONTROL_DIR, 100, 0, NULL);
		expect("error 12 ");
	}
	end(control);
}

/* Proves: an action heeds interruptions while it is done, and no longer; its answer is that of the
 * request; without memory or threads it is not done, and that is the answer. */
static void actions_are_answered(void **state)
{
	static const struct {
		int err;
		const char *said;
	} errs[] = {{-EUCLEAN, "heed do 1 heedless error 5 "},
		    {-ENODATA, "heed do 1 heedless error 61 "},
		    {0, "heed do 1 heedless wrote 2 "}};
	struct fuse_req req = {.ino = 0};
	struct pfs_control *control = begin();
	fuse_ino_t ino = look_up(control, &req, "sync");
	const unsigned blocks = fenced_blocks;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(errs); i++) {
		action_err = errs[i].err;
		pfs_control_write(control, &req, ino, "1\n", 2, 0, NULL);
		expect("to doers ");
		assert_int_equal(find(control, ino)->users, 1);
		run_queued();
		expect(errs[i].said);
		assert_int_equal(find(control, ino)->users, 0);
	}
	fenced_refuse(0);
	pfs_control_write(control, &req, ino, "1\n", 2, 0, NULL);
	expect("error 12 ");
	submit_err = -EAGAIN;
	pfs_control_write(control, &req, ino, "1\n", 2, 0, NULL);
	pfs_control_fsync(control, &req, ino);
	expect("to doers error 11 to doers error 11 ");
	submit_err = 0;
	assert_int_equal(find(control, ino)->users, 0);
	assert_int_equal(fenced_blocks, blocks);
	pfs_control_fsync(control, &req, 999);
	expect("error 2 ");
	for (unsigned i = 0; i < 3; i++) {
		sync_err = i == 0 ? 0 : i == 1 ? -EUCLEAN : -EROFS;
		pfs_control_fsync(control, &req, ino);
		run_queued();
		expect(i == 0	? "to doers sync error 0 "
		       : i == 1 ? "to doers sync error 5 "
				: "to doers sync error 30 ");
	}
	req.interrupted = true;
	pfs_control_write(control, &req, ino, "1\n", 2, 0, NULL);
	run_queued();
	expect("to doers heed do 1 unwanted heedless wrote 2 ");
	pfs_control_forget(control, ino, 1);
	assert_null(find(control, ino));
	end(control);
}

/* Proves: what is written to `import` is answered when there is no memory for it, or for its
 * stream, and the inode is let go. */
static void imports_are_answered(void **state)
{
	struct fuse_req req = {.ino = 0};
	struct pfs_control *control = begin();
	fuse_ino_t ino = look_up(control, &req, "import");
	const unsigned blocks = fenced_blocks;

	(void)state;
	fenced_refuse(0);
	pfs_control_write(control, &req, ino, "x", 1, 0, NULL);
	expect("error 12 ");
	import_err = -EMFILE;
	pfs_control_write(control, &req, ino, "x", 1, 0, NULL);
	expect("stream error 24 ");
	assert_int_equal(find(control, ino)->users, 0);
	assert_int_equal(fenced_blocks, blocks);
	import_err = 0;
	pfs_control_write(control, &req, ino, "x", 1, 7, NULL);
	expect("stream add 7+x wrote 1 ");
	pfs_control_fsync(control, &req, ino);
	run_queued();
	expect("to doers check sync error 0 ");
	assert_int_equal(find(control, ino)->users, 0);
	pfs_control_forget(control, ino, 1);
	run_queued();
	expect("to importers end stream ");
	end(control);
}

/* ---- stats.json ---- */

/* Proves: text is put behind what is there, cut off where the room ends, zero byte included. */
static void text_is_cut_at_its_end(void **state)
{
	struct text text = {.p = malloc(16), .cap = 16};

	(void)state;
	put(&text, "%s", "");
	assert_int_equal(text.len, 0);
	put(&text, "%d%s", 12345, "678");
	assert_int_equal(text.len, 8);
	put(&text, "%s", "9abcdef");
	assert_int_equal(text.len, 15);
	assert_string_equal(text.p, "123456789abcdef");
	put(&text, "%s", "more");
	assert_int_equal(text.len, 15);
	assert_string_equal(text.p, "123456789abcdef");
	text.len = 12;
	put(&text, "%s", "much more than there is room for");
	assert_int_equal(text.len, 15);
	assert_string_equal(text.p, "123456789abcmuc");
	free(text.p);
}

#define TEST(name) cmocka_unit_test_setup(name, reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_beginning_that_fails),	  TEST(the_end_is_in_order),
		TEST(what_is_forgotten_is_ended), TEST(names_are_dropped_in_time),
		TEST(a_lookup_that_fails),	  TEST(a_lookup_of_points_that_fails),
		TEST(a_moment_is_one_inode),	  TEST(the_listing_keeps_to_its_room),
		TEST(actions_are_answered),	  TEST(imports_are_answered),
		TEST(text_is_cut_at_its_end),
	};

	return cmocka_run_group_tests_name("parts of the control directory", tests, NULL, NULL);
}
