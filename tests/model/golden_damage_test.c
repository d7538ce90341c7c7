/* What a check and a repair say and do, to the byte: two small stores with all that a store can
 * have, one closed and one that died, are damaged in a hundred and more ways, each alone; what is
 * found, what is done about it, how often the disk is read, written and synced for it, and what is
 * left are compared with what is written down (golden_test.c says why, and what to do when it is
 * meant to change).
 *
 * tests/damage looks at every bit, and at whether what comes of it may be so; this at what it is.
 */
#include "tests/model/tale.h"
#include "tests/unit/repair_helpers.h"

#define DOCUMENTS 130u

/* Numbers, UUIDs, a scratch file; small, of several blocks, with a page of its own; records that
 * are packed with a dictionary. */
static void put_documents(struct tale *t)
{
	size_t *lens, len = 0;
	char *samples = train_on_records(t, 1000, &lens);

	for (unsigned i = 0; i < DOCUMENTS; i++) {
		char name[64];

		snprintf(name, sizeof(name), "%u", 3 * i);
		if (i % 4 == 0)
			put_one(t, name, samples + len, lens[i], false);
		else
			put_named(t, name, i % 9 == 5 ? 0 : 40 + 7 * i);
		len += lens[i];
	}
	put_named(t, "c0ffee00-0000-4000-8000-000000000002", 500);
	put_named(t, ".42.swp", 300);
	put_named(t, "1000", 70000);
	put_named(t, "1001", 200000);
	free(samples);
	free(lens);
}

/* Moved to pages, some of it removed and changed again afterwards. */
static void make_store(struct tale *t)
{
	struct pfs_key gone = pfs_key_num(30);

	t->store = open_store(t->sim);
	put_documents(t);
	assert_int_equal(pfs_store_checkpoint(t->store), 0);
	assert_int_equal(pfs_remove(t->store, &gone, NULL), 0);
	put_named(t, "33", 900);
	put_named(t, "36", 10);
	assert_int_equal(pfs_store_checkpoint(t->store), 0);
}

/* Changes that are only in the journal, and then the process dies. */
static void die(struct tale *t)
{
	struct pfs_sim *after;
	struct pfs_key gone = pfs_key_num(39), from = pfs_key_num(42), to = key_named(".x.swp");
	uint32_t object;

	t->store = open_store(t->sim);
	put_named(t, "45", 700);
	put_named(t, "2000", 100);
	put_named(t, "2001", 60000);
	assert_int_equal(pfs_remove(t->store, &gone, NULL), 0);
	assert_int_equal(pfs_rename(t->store, &from, &to, 0, NULL), 0);
	from = pfs_key_num(48);
	assert_int_equal(pfs_lookup(t->store, &from, &object, NULL), 0);
	assert_int_equal(pfs_write(t->store, object, 20, "changed", 7, the_time), 0);
	assert_int_equal(pfs_store_tick(t->store), 0);
	put_named(t, "2002", 300);
	after = pfs_sim_kill(t->sim);
	assert_int_equal(pfs_store_close(t->store), 0);
	pfs_sim_free(t->sim);
	t->sim = after;
}

/* ---- one case ---- */

static void tell_findings(struct tale *t, const struct pfs_finding *at, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char key[PFS_NAME_MAX + 1];

		pfs_key_format(key, &at[i].key);
		fprintf(t->out, "%s%s at %llu [%s]: %s\n", at[i].fatal ? "! " : "", at[i].where,
			(unsigned long long)at[i].offset, key, at[i].text);
	}
}

static void tell_check(struct tale *t)
{
	struct found *found = calloc(1, sizeof(*found));
	struct pfs_reason reason = {0};
	int err = pfs_check(STORE, pfs_sim_io(t->sim), &quiet, keep_finding, keep_progress, found,
			    &found->result, &reason);

	if (err)
		fprintf(t->out, "check: %d %s\n", err, reason.text);
	tell_findings(t, found->at, found->count);
	fprintf(t->out,
		"check: %llu findings, %llu documents, %llu damaged, %llu pages, %llu bytes, %llu "
		"of "
		"%llu\n",
		(unsigned long long)found->result.findings,
		(unsigned long long)found->result.documents,
		(unsigned long long)found->result.damaged, (unsigned long long)found->result.pages,
		(unsigned long long)found->result.bytes, (unsigned long long)found->done,
		(unsigned long long)found->total);
	free(found);
	tell_calls_in_short(t);
}

static void tell_repair(struct tale *t, const struct files_told *before)
{
	struct repaired *done = try_repair(t->sim);
	const struct pfs_repair_result *r = &done->result;

	fprintf(t->out, "repair: %d %s\n", done->err, done->reason.text);
	tell_findings(t, done->at, done->count);
	fprintf(t->out,
		"repair: %llu faults, %llu corrected, %llu lost, %llu unknown, %llu kept, %llu "
		"files, "
		"%llu documents\n",
		(unsigned long long)r->faults, (unsigned long long)r->corrected,
		(unsigned long long)r->lost, (unsigned long long)r->unknown,
		(unsigned long long)r->kept, (unsigned long long)r->files,
		(unsigned long long)r->documents);
	free(done);
	tell_calls_in_short(t);
	watch(t, false);
	tell_files(t, STORE, before);
}

/* What it is without a repair: opened for reading and for writing, and closed again. */
static void tell_opening(struct tale *t, bool read_only, const struct files_told *before)
{
	struct pfs_sim *damaged = t->sim;
	struct pfs_open_options options = {
		.manual = true, .read_only = read_only, .logger = {.fn = tell_log, .arg = t}};
	struct pfs_reason reason = {0};
	int err;

	t->sim = pfs_sim_kill(damaged);
	options.io = pfs_sim_io(t->sim);
	watch(t, true);
	err = pfs_store_open(&t->store, STORE, &options, &reason);
	fprintf(t->out, "opened for %s: %d %s\n", read_only ? "reading" : "writing", err,
		err ? reason.text : "");
	if (!err) {
		tell_what_is_there(t);
		fprintf(t->out, "closed: %d\n", pfs_store_close(t->store));
	}
	tell_calls_in_short(t);
	watch(t, false);
	if (!read_only)
		tell_files(t, STORE, before);
	pfs_sim_free(t->sim);
	t->sim = damaged;
}

static void turn_bit(struct tale *t, const char *name, uint64_t off)
{
	fprintf(t->out, "-- %s: a bit at %llu\n", name, (unsigned long long)off);
	flip_bit(t->sim, name, off, (unsigned)(off % 7));
}

static void clear(struct tale *t, const char *name, uint64_t off, uint64_t len)
{
	uint8_t *zeros = calloc(1, len);

	fprintf(t->out, "-- %s: zeros, %llu from %llu\n", name, (unsigned long long)len,
		(unsigned long long)off);
	write_at(t->sim, name, off, zeros, len);
	free(zeros);
}

static void cut(struct tale *t, const char *name, uint64_t size)
{
	struct pfs_dir *dir;
	struct pfs_file *file = store_file(t->sim, name, &dir);

	fprintf(t->out, "-- %s: cut to %llu\n", name, (unsigned long long)size);
	assert_int_equal(file->ops->truncate(file, size), 0);
	store_file_done(dir, file);
}

static const uint64_t offsets[] = {2, 40, 70, 90, 150, 300, 600, 1100, 2090, 2500, 4200, 9000};

#define WAYS (pfs_array_len(offsets) + 7)

static bool can_be_damaged(uint64_t size, unsigned way)
{
	return way < pfs_array_len(offsets) ? offsets[way] < size
					    : size > 0 || way == pfs_array_len(offsets);
}

static void damage(struct tale *t, const char *name, unsigned way)
{
	uint64_t size = size_at(t->sim, name);

	if (way < pfs_array_len(offsets)) {
		turn_bit(t, name, offsets[way]);
		return;
	}
	switch (way - pfs_array_len(offsets)) {
	case 0:
		remove_file(t->sim, name);
		fprintf(t->out, "-- %s: removed\n", name);
		break;
	case 1: turn_bit(t, name, size - 20); break;
	case 2: turn_bit(t, name, size / 2); break;
	case 3: clear(t, name, 0, pfs_min_u64(size, 512)); break;
	case 4: clear(t, name, size / 3, pfs_min_u64(size - size / 3, 4096)); break;
	case 5: cut(t, name, size - size / 8); break;
	default: cut(t, name, 0);
	}
}

/* All that is to be told of what t->sim is now. Free with free(). */
static char *all_of(struct tale *t, const struct files_told *before)
{
	FILE *out = t->out;
	char *text;
	size_t len;

	t->out = open_memstream(&text, &len);
	tell_opening(t, true, before);
	tell_opening(t, false, before);
	watch(t, true);
	tell_check(t);
	tell_repair(t, before);
	fclose(t->out);
	t->out = out;
	return text;
}

/* Of what is the same as for the case before, or for the whole store, only that is said. */
static void damage_each(struct tale *t, const char *what)
{
	struct files_told *files = files_of(t->sim, STORE);
	struct pfs_sim *store = t->sim;
	char *whole, *last = NULL;

	t->sim = pfs_sim_kill(store);
	whole = all_of(t, files);
	pfs_sim_free(t->sim);
	fprintf(t->out, "\n== %s ==\n%s", what, whole);
	for (size_t n = 0; n < files->count * WAYS; n++) {
		const struct file_told *file = &files->at[n / WAYS];
		unsigned way = (unsigned)(n % WAYS);
		char *text;

		if (!can_be_damaged(file->size, way))
			continue;
		t->sim = pfs_sim_kill(store);
		damage(t, file->name, way);
		text = all_of(t, files);
		fprintf(t->out, "%s",
			strcmp(text, whole) == 0	  ? "as if whole\n"
			: last && strcmp(text, last) == 0 ? "as the one before\n"
							  : text);
		compare_so_far(t);
		free(last);
		last = text;
		pfs_sim_free(t->sim);
	}
	t->sim = store;
	free(last);
	free(whole);
	free(files);
}

/* Proves: what is found in a damaged store, what it shows without a repair, what one makes of it,
 * and what all of that costs, is what it was. */
static void damaged_stores(void **state)
{
	struct tale t = {.min_value_size = 16, .packs = true};

	(void)state;
	if (!pfs_store_trainer())
		fail_msg("built without libzstd, which makes dictionaries");
	begin(&t, "damaged-stores", 64 * PFS_KIB);
	watch(&t, false);
	make_store(&t);
	assert_int_equal(pfs_store_close(t.store), 0);
	damage_each(&t, "a closed store");
	die(&t);
	damage_each(&t, "a store that died");
	t.store = NULL;
	end(&t);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(damaged_stores)};

	accepts = argc > 1 && strcmp(argv[1], "accept") == 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
