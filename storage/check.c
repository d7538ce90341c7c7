/* Checking a store's directory without opening the store. */
#include "storage/check.h"
#include "storage/dict.h"

#include <stdarg.h>
#include <stdlib.h>

#include "storage/io_http.h"
#include "storage/published.h"
#include "storage/quarantine.h"

#define TRIALS_MAX (8 * PFS_GIB) /* bytes summed in the search for damaged bits, in all */

/* ---- findings, progress ---- */

void pfs_check_say(struct pfs_check *check, bool fatal, const char *where, uint64_t off,
		   const struct pfs_key *key, const char *fmt, ...)
{
	struct pfs_finding finding = {.fatal = fatal, .offset = off};
	va_list args;

	if (key)
		finding.key = *key;
	snprintf(finding.where, sizeof(finding.where), "%s", where);
	va_start(args, fmt);
	vsnprintf(finding.text, sizeof(finding.text), fmt, args);
	va_end(args);
	check->result->findings++;
	if (check->fn)
		check->fn(check->arg, &finding);
	else
		pfs_logf(check->logger, fatal ? PFS_LOG_ERROR : PFS_LOG_INFO, "%s at byte %llu: %s",
			 where, (unsigned long long)off, finding.text);
	check->fault = (struct pfs_fault){0};
}

void pfs_check_advance(struct pfs_check *check, uint64_t bytes)
{
	check->done += bytes;
	check->total = pfs_max_u64(check->total, check->done);
	if (check->progress)
		check->progress(check->arg, check->done, check->total);
}

/* ---- superblock ---- */

/* Both copies, one by one: the store opens with one, but then has none to lose. */
static int check_copies(struct pfs_check *check)
{
	struct pfs_super copies[PFS_SUPER_COPIES];
	bool valid[PFS_SUPER_COPIES];
	struct pfs_super_disk disk[PFS_SUPER_COPIES];
	struct pfs_file *file;
	int err = check->dir->ops->open(check->dir, PFS_SUPER_NAME, 0, &file);

	if (err)
		return err;
	for (unsigned i = 0; i < PFS_SUPER_COPIES; i++) {
		uint64_t off = (uint64_t)i * PFS_SUPER_STRIDE;

		valid[i] = file->ops->read(file, &disk[i], sizeof(disk[i]), off) ==
				   (ssize_t)sizeof(disk[i]) &&
			   pfs_super_decode(&copies[i], &disk[i]);
		if (!valid[i])
			pfs_check_say(
				check, true, PFS_SUPER_NAME, off, NULL,
				"this copy of the superblock is damaged; the other one is used");
	}
	file->ops->close(file);
	if (!valid[0] || !valid[1])
		return 0;
	if (copies[0].generation == copies[1].generation &&
	    memcmp(&disk[0], &disk[1], sizeof(disk[0])) != 0)
		pfs_check_say(check, true, PFS_SUPER_NAME, PFS_SUPER_STRIDE, NULL,
			      "the copies of the superblock differ and have the same generation");
	if (copies[0].generation != copies[1].generation) {
		check->fault.kind = PFS_FAULT_STALE;
		pfs_check_say(
			check, false, PFS_SUPER_NAME,
			copies[0].generation < copies[1].generation ? 0 : PFS_SUPER_STRIDE, NULL,
			"this copy of the superblock is older; the next opening writes it again");
	}
	return 0;
}

static int read_super(struct pfs_check *check, const char *path, struct pfs_reason *reason)
{
	struct pfs_super *super = &check->super;
	int err = pfs_super_read(check->dir, super, check->logger);

	if (err) {
		char why[sizeof(reason->text)];

		pfs_super_explain(super, err, path, why, sizeof(why));
		return pfs_refuse(reason, err, "%s", why);
	}
	check->clean = super->open_epoch == super->clean_epoch;
	return 0;
}

/* ---- files ---- */

static int add_page(struct pfs_check *check, uint32_t number, uint64_t size)
{
	size_t cap = check->page_cap ? check->page_cap * 2 : 64;
	struct pfs_checked_page *grown;

	if (check->page_count == check->page_cap) {
		grown = realloc(check->pages, cap * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		check->pages = grown;
		check->page_cap = cap;
	}
	check->pages[check->page_count++] =
		(struct pfs_checked_page){.number = number, .file_size = size};
	check->total += size;
	return 0;
}

static int add_segment(struct pfs_check *check, uint32_t number)
{
	size_t cap = check->segment_cap ? check->segment_cap * 2 : 16;
	uint32_t *grown;

	if (check->segment_count == check->segment_cap) {
		grown = realloc(check->segments, cap * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		check->segments = grown;
		check->segment_cap = cap;
	}
	check->segments[check->segment_count++] = number;
	return 0;
}

static uint64_t size_of(struct pfs_check *check, const char *name)
{
	struct pfs_file *file;
	uint64_t size = 0;
	int err = check->dir->ops->open(check->dir, name, 0, &file);

	if (err)
		return 0;
	err = file->ops->size(file, &size);
	file->ops->close(file);
	return err ? 0 : size;
}

/* Whether name is the canonical one of a file with a number. */
static bool is_numbered(const char *name, const char *scan, const char *fmt, uint32_t max,
			uint32_t *number)
{
	char canonical[32], rest;

	if (sscanf(name, scan, number, &rest) != 1 || *number > max)
		return false;
	snprintf(canonical, sizeof(canonical), fmt, *number);
	return strcmp(name, canonical) == 0;
}

bool pfs_check_is_page_name(const char *name, uint32_t *number)
{
	return is_numbered(name, "page-%8x%c", PFS_PAGE_NAME_FMT, PFS_PAGE_NUMBER_MAX, number) &&
	       *number != 0;
}

static bool is_known(const char *name)
{
	static const char *const known[] = {PFS_SUPER_NAME, PFS_LOCK_NAME, PFS_INDEX_NAME,
					    "reserve", "socket"};
	size_t len = strlen(name);

	for (size_t i = 0; i < pfs_array_len(known); i++) {
		if (strcmp(name, known[i]) == 0)
			return true;
	}
	return pfs_quarantine_is_name(name) || (len > 4 && strcmp(name + len - 4, ".tmp") == 0);
}

static int found_file(void *arg, const char *name)
{
	struct pfs_check *check = arg;
	uint32_t number;

	if (pfs_check_is_page_name(name, &number))
		return add_page(check, number, size_of(check, name));
	if (pfs_dict_is_name(name, &number))
		return pfs_check_add_dict(check, number);
	if (is_numbered(name, "journal-%4x%c", PFS_SEGMENT_NAME_FMT, 0xffff, &number))
		return add_segment(check, number);
	if (!is_known(name))
		pfs_check_say(check, false, name, 0, NULL, "this file is no part of a store");
	if (strcmp(name, PFS_INDEX_NAME) == 0)
		check->total += size_of(check, name);
	return 0;
}

static int by_page_number(const void *a, const void *b)
{
	const struct pfs_checked_page *x = a, *y = b;

	return pfs_order(x->number, y->number);
}

struct pfs_checked_page *pfs_check_find_page(struct pfs_check *check, uint32_t number)
{
	struct pfs_checked_page key = {.number = number};

	if (check->page_count == 0)
		return NULL;
	return bsearch(&key, check->pages, check->page_count, sizeof(key), by_page_number);
}

/* A page file that must be there and is not. number 0: which one is not known. */
static void miss_page(struct pfs_check *check, uint32_t number, uint32_t count)
{
	char where[32] = "pages";

	if (number)
		snprintf(where, sizeof(where), PFS_PAGE_NAME_FMT, number);
	check->fault.kind = PFS_FAULT_GONE;
	check->counts_known = false;
	if (count == 1)
		pfs_check_say(check, true, where, 0, NULL,
			      "there is no such file; what it held can't be named");
	else
		pfs_check_say(check, true, where, 0, NULL,
			      "%u files are missing; what they held can't be named", count);
}

static void miss_absent(struct pfs_check *check, uint32_t highest)
{
	uint32_t next = 1;

	for (size_t i = 0; i <= check->page_count; i++) {
		uint32_t number = i < check->page_count ? check->pages[i].number : highest + 1;

		for (number = number > highest ? highest + 1 : number; next < number; next++)
			miss_page(check, next, 1);
		next = number + 1;
	}
}

/* Compares the files with those that there must be. */
static void check_set(struct pfs_check *check)
{
	const struct pfs_page_set *set = &check->super.pages;
	struct pfs_page_set seen = {0};
	uint32_t missing, number;
	char where[32];

	for (size_t i = 0; i < check->page_count; i++) {
		if (check->pages[i].number <= set->highest)
			pfs_page_set_add(&seen, check->pages[i].number);
	}
	missing = set->count - seen.count;
	if (missing == 0 && set->mix == seen.mix)
		return;
	number = pfs_page_set_difference(set, &seen);
	if (seen.count == set->count + 1 && pfs_check_find_page(check, number)) {
		pfs_check_find_page(check, number)->retired = true;
		snprintf(where, sizeof(where), PFS_PAGE_NAME_FMT, number);
		pfs_check_say(check, false, where, 0, NULL,
			      "it holds nothing; the next opening removes it");
		return;
	}
	if (set->count > seen.count && missing == set->highest - seen.count) {
		miss_absent(check, set->highest);
	} else if (set->count > seen.count) {
		miss_page(check, missing == 1 ? number : 0, missing);
	} else {
		check->fault.kind = PFS_FAULT_SET;
		pfs_check_say(check, true, PFS_SUPER_NAME, 128, NULL,
			      "the page files are not those that it names");
	}
}

static void check_doubt(struct pfs_check *check)
{
	if (!check->super.doubt)
		return;
	check->fault.kind = PFS_FAULT_DOUBT;
	pfs_check_say(check, true, PFS_SUPER_NAME, 76, NULL,
		      "the store had documents whose ids can't be told, or its repair was not "
		      "finished: check --repair");
}

/* ---- the whole ---- */

int pfs_check_files(struct pfs_check *check)
{
	int err = check->dir->ops->list(check->dir, found_file, check);

	if (err)
		return err;
	if (check->page_count)
		qsort(check->pages, check->page_count, sizeof(*check->pages), by_page_number);
	check->result->pages = check->page_count;
	check->trials = TRIALS_MAX;
	check->counts_known = true;
	check->raw = malloc(PFS_BLOCK_LEN);
	check->probe = malloc(PFS_CHECK_PREFIX);
	return check->raw && check->probe ? 0 : -ENOMEM;
}

int pfs_check_all(struct pfs_check *check)
{
	int err = pfs_check_files(check);

	if (err)
		return err;
	err = check_copies(check);
	if (!err)
		err = pfs_check_dicts(check);
	if (!err)
		err = pfs_check_journal(check);
	check_set(check);
	check_doubt(check);
	for (size_t i = 0; i < check->page_count && !err; i++)
		err = pfs_check_page(check, &check->pages[i]);
	pfs_check_suspects(check);
	if (!err)
		pfs_check_dict_numbers(check);
	if (!err)
		err = pfs_check_duplicates(check);
	if (!err)
		err = pfs_check_index(check);
	if (!err)
		pfs_check_advance(check, check->total - check->done);
	return err;
}

static int check_dir(struct pfs_check *check, const char *path, struct pfs_reason *reason)
{
	/* First of all: a directory that is no store is left as it is, without even a lock file. */
	int err = read_super(check, path, reason);

	if (err)
		return err;
	err = check->dir->ops->lock(check->dir, PFS_LOCK_NAME, false);
	if (err == -EWOULDBLOCK)
		return pfs_refuse(reason, -EBUSY,
				  "%s: another process is using this store; unmount it or use its "
				  "mount point",
				  path);
	if (err)
		return pfs_refuse(reason, err, "%s: can't be locked: %s", path, strerror(-err));
	err = read_super(check, path, reason);
	if (err)
		return err;
	err = pfs_check_all(check);
	return err ? pfs_refuse(reason, err, "%s: can't be checked: %s", path, strerror(-err)) : 0;
}

void pfs_check_end(struct pfs_check *check)
{
	for (size_t i = 0; i < check->page_count; i++) {
		free(check->pages[i].live);
		free(check->pages[i].odd);
	}
	free(check->pages);
	free(check->segments);
	pfs_check_free_dicts(check);
	free(check->raw);
	free(check->probe);
	pfs_check_set_free(&check->named);
	pfs_check_set_free(&check->whole);
	pfs_check_set_free(&check->sound);
	pfs_check_set_free(&check->renewed);
	free(check->moved);
	free(check->suspects);
	pfs_check_set_free(&check->seen);
	pfs_check_set_free(&check->twice);
	check->pages = NULL;
	check->segments = NULL;
	check->moved = NULL;
	check->moved_count = 0;
	check->suspects = NULL;
	check->suspect_count = check->suspect_cap = 0;
	check->page_count = check->page_cap = check->segment_count = check->segment_cap = 0;
	check->raw = check->probe = NULL;
}

/* Everything of the current generation. */
static int check_published(const char *path, const struct pfs_io *io,
			   const struct pfs_logger *logger, pfs_finding_fn *fn,
			   pfs_progress_fn *progress, void *arg, struct pfs_check_result *result,
			   struct pfs_reason *reason)
{
	struct pfs_published_options options = {.io = io};
	struct pfs_published *published;
	int err;

	if (logger)
		options.logger = *logger;
	err = pfs_published_open(&published, path, &options, reason);

	if (err)
		return err;
	err = pfs_published_check(published, fn, progress, arg, NULL, result);
	pfs_published_close(published);
	return err ? pfs_refuse(reason, err, "%s: can't be checked: %s", path, strerror(-err)) : 0;
}

int pfs_check(const char *path, const struct pfs_io *io, const struct pfs_logger *logger,
	      pfs_finding_fn *fn, pfs_progress_fn *progress, void *arg,
	      struct pfs_check_result *result, struct pfs_reason *reason)
{
	struct pfs_check check = {
		.logger = logger,
		.fn = fn,
		.progress = progress,
		.arg = arg,
		.result = result,
	};
	int err;

	*result = (struct pfs_check_result){0};
	if (reason)
		reason->text[0] = '\0';
	if (!io)
		io = pfs_io_for(path, NULL, NULL);
	if (pfs_published_is_here(path, io))
		return check_published(path, io, logger, fn, progress, arg, result, reason);
	err = pfs_super_open_dir(io, path, 0, &check.dir, reason);
	if (err)
		return err;
	err = check_dir(&check, path, reason);
	check.dir->ops->close_dir(check.dir);
	pfs_check_end(&check);
	return err;
}
