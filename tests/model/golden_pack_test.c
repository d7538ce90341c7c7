/* What a full compaction does, to the call and to the byte: of stores with all kinds of documents,
 * with dictionaries, where there is room for a copy and where there is none, that is told to stop,
 * beside changes and snapshots, of damaged ones, and where a call fails. Which pages it empties, in
 * what order, what it says of its progress, and what is left are compared with what is written down
 * (golden_test.c says why, and what to do when it is meant to change).
 *
 * unit/pack_test looks at whether what comes of it may be so; this at what it is. */
#include "tests/model/tale.h"

#define DOCS 400u

/* ---- the store ---- */

/* Numbers, UUIDs and scratch files, in an order that is not that of their ids. */
static void name_of(char name[64], unsigned i)
{
	unsigned n = i * 7919 % DOCS;

	if (n % 5 == 3)
		snprintf(name, 64, "%08x-0000-4000-8000-%012x", (unsigned)pfs_mix64(n), n);
	else if (n % 50 == 7)
		snprintf(name, 64, ".%u.swp", n);
	else
		snprintf(name, 64, "%u", n);
}

/* Of all lengths: what is less than the smallest container, what is packed, what is not, a block
 * and more. */
static size_t length_of(unsigned i)
{
	static const size_t lens[] = {0, 5, 9, 30, 100, 600, 900, 2500, 1400, 700};

	switch (i) {
	case 100: return PFS_BLOCK_LEN;
	case 101: return 100000;
	case 113: return 70000;
	case 151: return 30000;
	default: return lens[i % 10];
	}
}

static void put_doc(struct tale *t, unsigned i, unsigned version)
{
	size_t len = length_of(i);
	uint8_t *bytes = malloc(len + 1);
	char name[64];

	name_of(name, i);
	fill_document(bytes, len, 11 * i + version);
	put_one(t, name, bytes, len, i % 7 == 0);
	free(bytes);
}

static void drop(struct tale *t, unsigned i)
{
	struct pfs_key key;
	char name[64];

	name_of(name, i);
	key = key_named(name);
	(void)pfs_remove(t->store, &key, NULL);
}

static void open_it(struct tale *t)
{
	struct pfs_open_options options = {.manual = true,
					   .dict = t->packs ? PFS_DICT_AS_RECORDED : PFS_DICT_OFF,
					   .io = pfs_sim_io(t->sim),
					   .logger = {.fn = tell_log, .arg = t}};
	struct pfs_reason reason;

	assert_int_equal(pfs_store_open(&t->store, STORE, &options, &reason), 0);
}

/* A dictionary of documents; no trainer is needed. */
static void add_dict(struct tale *t, unsigned seed)
{
	uint8_t text[4096];

	fill_document(text, sizeof(text), seed);
	fill_document(text + 2048, 2048, seed + 1);
	assert_int_equal(pfs_dict_add(t->store, text, sizeof(text), 1000, 300), 0);
}

/* Documents that nothing packs but the dictionary made from 2 * n. */
static void put_from_dict(struct tale *t, unsigned n)
{
	uint8_t bytes[700];

	fill_document(bytes, sizeof(bytes), 2 * n + 1);
	for (unsigned i = 0; i < 3; i++) {
		char name[64];

		snprintf(name, sizeof(name), "%u", 100000 + 10 * n + i);
		put_one(t, name, bytes + i, 300 + 150 * i, i == 1);
	}
}

/* Pages with holes, of which some are nearly empty and one is full. */
static void make_store(struct tale *t, unsigned dicts)
{
	open_it(t);
	for (unsigned i = 0; i < DOCS; i++) {
		put_doc(t, i, 0);
		if (i % 90 == 89 && i / 90 < dicts) {
			add_dict(t, 2 * i);
			put_from_dict(t, i);
		}
	}
	assert_int_equal(pfs_store_checkpoint(t->store), 0);
	for (unsigned i = 0; i < DOCS; i++)
		if (i % 3 == 0 || (i > 60 && i < 110 && i % 8) || (i > 300 && i % 2))
			drop(t, i);
	for (unsigned i = 4; i < DOCS; i += 12)
		put_doc(t, i, 2);
	assert_int_equal(pfs_store_checkpoint(t->store), 0);
}

/* ---- what is done ---- */

struct packing {
	struct tale *t;
	unsigned stop_at, calls; /* of the progress; 0: never */
	bool stop;
	void (*beside)(struct tale *t, unsigned n);
};

static void tell_progress(void *arg, uint64_t done, uint64_t total)
{
	struct packing *p = arg;

	p->calls++;
	fprintf(p->t->out, "%llu/%llu ", (unsigned long long)done, (unsigned long long)total);
	if (p->beside)
		p->beside(p->t, p->calls);
	p->stop = p->calls == p->stop_at;
}

static int pack(struct packing *p)
{
	struct pfs_compact_result r = {1, 1, 1, 1, 1, 1};
	struct tale *t = p->t;
	int err;

	p->calls = 0;
	p->stop = false;
	err = pfs_store_compact(t->store, tell_progress, p, &p->stop, &r);
	fprintf(t->out,
		"\n%d: %llu values, %llu bytes, %llu and %llu pages, %llu and %llu on disk\n", err,
		(unsigned long long)r.values, (unsigned long long)r.bytes,
		(unsigned long long)r.pages_before, (unsigned long long)r.pages_after,
		(unsigned long long)r.disk_before, (unsigned long long)r.disk_after);
	return err;
}

static struct pfs_sim *saved(struct tale *t)
{
	struct pfs_sim *sim = t->sim;

	assert_int_equal(pfs_store_close(t->store), 0);
	t->store = NULL;
	return sim;
}

static void begin_one(struct tale *t, struct pfs_sim *store)
{
	memset(t->stat, 0, sizeof(t->stat));
	the_time = INT64_C(1700000100000000000);
	the_chance = 100;
	t->sim = pfs_sim_kill(store);
	open_it(t);
	watch(t, true);
	forget_calls(t);
}

/* The copy that was packed goes, and the store that it is of comes back. */
static void close_one(struct tale *t, struct pfs_sim *store)
{
	fprintf(t->out, "closed: %d, ", pfs_store_close(t->store));
	fprintf(t->out, "disk %016llx\n", (unsigned long long)pfs_sim_hash(t->sim));
	pfs_sim_free(t->sim);
	t->sim = store;
	t->store = NULL;
}

static void end_one(struct tale *t, struct pfs_sim *store)
{
	watch(t, false);
	tell_calls_in_short(t);
	tell_stat(t);
	tell_pages(t);
	tell_documents(t);
	close_one(t, store);
	forget_calls(t);
	compare_so_far(t);
}

/* ---- cases ---- */

static void twice(struct tale *t, struct pfs_sim *store)
{
	struct packing p = {.t = t};

	fprintf(t->out, "\n== twice ==\n");
	begin_one(t, store);
	(void)pack(&p);
	(void)pack(&p);
	end_one(t, store);
}

static void in_little_room(struct tale *t, struct pfs_sim *store)
{
	/* A copy wants 16 MiB and what it takes itself. */
	static const uint64_t rooms[] = {0,
					 100 * PFS_KIB,
					 3 * PFS_MIB,
					 16 * PFS_MIB + 60 * PFS_KIB,
					 16 * PFS_MIB + 64 * PFS_KIB,
					 16 * PFS_MIB + 68 * PFS_KIB,
					 16 * PFS_MIB + 72 * PFS_KIB,
					 16 * PFS_MIB + 76 * PFS_KIB,
					 17 * PFS_MIB};

	for (unsigned i = 0; i < pfs_array_len(rooms); i++) {
		struct packing p = {.t = t};

		fprintf(t->out, "\n== with room for %llu ==\n", (unsigned long long)rooms[i]);
		begin_one(t, store);
		pfs_sim_set_capacity(t->sim, pfs_sim_used(t->sim) + rooms[i]);
		(void)pack(&p);
		end_one(t, store);
	}
}

static void stopped(struct tale *t, struct pfs_sim *store, uint64_t room)
{
	unsigned calls = 1;

	for (unsigned at = 1; at <= calls; at += 3) {
		struct packing p = {.t = t, .stop_at = at};

		fprintf(t->out, "\n== stopped at %u, with room for %llu ==\n", at,
			(unsigned long long)room);
		begin_one(t, store);
		pfs_sim_set_capacity(t->sim, room ? pfs_sim_used(t->sim) + room : 0);
		(void)pack(&p);
		calls = p.calls == at ? at + 3 : 0;
		p.stop_at = 0;
		(void)pack(&p);
		end_one(t, store);
	}
}

static void change(struct tale *t, unsigned n)
{
	drop(t, n * 31 % DOCS);
	put_doc(t, n * 53 % DOCS, 3);
	if (n % 3 == 0)
		assert_int_equal(pfs_store_checkpoint(t->store), 0);
}

static void beside_changes(struct tale *t, struct pfs_sim *store)
{
	struct pfs_snapshot *snapshot;

	for (unsigned kept = 0; kept < 2; kept++) {
		struct packing p = {.t = t, .beside = change};

		fprintf(t->out, "\n== beside changes%s ==\n", kept ? ", under a snapshot" : "");
		begin_one(t, store);
		snapshot = NULL;
		if (kept)
			assert_int_equal(pfs_snapshot_open(t->store, &snapshot), 0);
		(void)pack(&p);
		p.beside = NULL;
		(void)pack(&p);
		pfs_snapshot_close(snapshot);
		(void)pack(&p);
		end_one(t, store);
	}
}

/* One in each page, and a block of a large one. */
static void damage_values(struct tale *t)
{
	struct pfs_place place;
	struct pfs_key key;
	char name[64];

	name_of(name, 113);
	key = key_named(name);
	assert_int_equal(pfs_place(t->store, &key, &place), 0);
	flip_bit(t->sim, page_name(place.page), place.offset + 20000, 3);
	for (uint32_t n = 0; (n = pfs_pager_next(t->store->pager, n));)
		flip_bit(t->sim, page_name(n), 60000, 3);
}

static void damaged(struct tale *t, struct pfs_sim *store)
{
	for (unsigned way = 0; way < 3; way++) {
		struct packing p = {.t = t};

		fprintf(t->out, "\n== damaged in %s ==\n",
			way == 0   ? "values"
			: way == 1 ? "a slot"
				   : "a page");
		begin_one(t, store);
		watch(t, false);
		if (way == 0)
			damage_values(t);
		else
			flip_bit(t->sim, page_name(1), way == 1 ? pfs_slot_offset(9) + 5 : 20, 2);
		watch(t, true);
		(void)pack(&p);
		watch(t, false);
		tell_what_is_there(t);
		fprintf(t->out, "closed: %d\n", pfs_store_close(t->store));
		pfs_sim_free(t->sim);
		t->sim = store;
		t->store = NULL;
		compare_so_far(t);
	}
}

/* Documents that are packed with it can't be read. */
static void without_dictionary(struct tale *t, struct pfs_sim *store)
{
	struct pfs_sim *without = pfs_sim_kill(store);
	struct packing p = {.t = t};
	char name[32];

	fprintf(t->out, "\n== without a dictionary ==\n");
	snprintf(name, sizeof(name), PFS_DICT_NAME_FMT, 1u);
	remove_file(without, name);
	begin_one(t, without);
	(void)pack(&p);
	watch(t, false);
	tell_what_is_there(t);
	fprintf(t->out, "closed: %d\n", pfs_store_close(t->store));
	pfs_sim_free(t->sim);
	pfs_sim_free(without);
	t->sim = store;
	t->store = NULL;
	compare_so_far(t);
}

static void failing(struct tale *t, struct pfs_sim *store, int err)
{
	struct fault fault = {.done = true};
	struct each each = {0};

	fprintf(t->out, "\n== a step fails with %d ==\n", err);
	for (uint64_t n = 0; fault.done; n += 23) {
		struct packing p = {.t = t};

		each_begin(t, &each);
		begin_one(t, store);
		watch(t, false);
		fault = (struct fault){.left = n, .err = err};
		pfs_sim_on_step(t->sim, fail_one, &fault);
		(void)pack(&p);
		pfs_sim_on_step(t->sim, NULL, NULL);
		tell_what_is_there(t);
		close_one(t, store);
		each_end(t, &each, n);
	}
	free(each.last);
}

static void pack_all(struct tale *t, const char *name, unsigned dicts)
{
	struct pfs_sim *store;

	begin(t, name, 64 * PFS_KIB);
	watch(t, false);
	make_store(t, dicts);
	store = saved(t);
	twice(t, store);
	in_little_room(t, store);
	beside_changes(t, store);
	damaged(t, store);
	if (dicts)
		without_dictionary(t, store);
	stopped(t, store, 0);
	stopped(t, store, 200 * PFS_KIB);
	failing(t, store, -ENOSPC);
	failing(t, store, -EIO);
	t->sim = store;
	end(t);
}

/* Proves: what a full compaction does with a store without dictionaries is what it did. */
static void packing(void **state)
{
	struct tale t = {.min_value_size = 16, .packs = true};

	(void)state;
	pack_all(&t, "packing", 0);
}

/* Proves: the same of one with dictionaries, and larger containers. */
static void packing_with_dictionaries(void **state)
{
	struct tale t = {.min_value_size = 64, .packs = true};

	(void)state;
	pack_all(&t, "packing-with-dictionaries", 2);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packing),
		cmocka_unit_test(packing_with_dictionaries),
	};

	accepts = argc > 1 && strcmp(argv[1], "accept") == 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
