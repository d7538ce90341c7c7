/* storage/store_pack.c, store_survey.c, store_repack.c: a full compaction makes values smaller,
 * lays them in the order of their ids, keeps every byte, leaves alone what is packed already, frees
 * old dictionaries, and may be cut off anywhere. */
#include "storage/store_internal.h"
#include "storage/store_pack.h"
#include "tests/unit/store_helpers.h"

#define DOCS 1200u
#define LEN_MAX (200 * PFS_KIB)

struct world {
	struct pfs_sim *sim;
	struct pfs_store *store;
	uint64_t random;
	struct {
		bool there;
		unsigned version;
	} docs[DOCS];
};

static uint64_t roll(struct world *w, uint64_t n)
{
	w->random += UINT64_C(0x9e3779b97f4a7c15);
	return pfs_mix64(w->random) % n;
}

static struct pfs_store *open_with(struct pfs_sim *sim, bool dict_off)
{
	struct pfs_open_options options = {.manual = true,
					   .io = pfs_sim_io(sim),
					   .logger = quiet,
					   .dict = dict_off ? PFS_DICT_OFF : PFS_DICT_AS_RECORDED};
	struct pfs_reason reason;
	struct pfs_store *store;

	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
	return store;
}

static struct world *new_world(uint64_t page_size, uint64_t random)
{
	struct world *w = calloc(1, sizeof(*w));

	w->sim = pfs_sim_new();
	w->random = random;
	create_store(w->sim, page_size, 16);
	w->store = open_store(w->sim);
	return w;
}

/* Every tenth key is a UUID, of which half have one tag, or a scratch name. */
static struct pfs_key key_of(unsigned i)
{
	char name[64];

	if (i % 40 == 7) {
		struct pfs_key key = {.kind = PFS_KEY_UUID};

		pfs_put_le64(key.uuid, 0xf47ac10b58cc4372 ^ pfs_mix64(i));
		pfs_put_le64(key.uuid + 8, i);
		return key;
	}
	if (i % 20 == 7) {
		snprintf(name, sizeof(name), "f47ac10b-58cc-4372-a567-%012x", i);
		return key_named(name);
	}
	if (i % 20 == 13) {
		snprintf(name, sizeof(name), ".%u.swp", i);
		return key_named(name);
	}
	return pfs_key_num(i);
}

/* Mostly small and alike; some random bytes, some empty, some of several blocks with zeros. */
static size_t make(char *out, unsigned i, unsigned version)
{
	uint64_t r = pfs_mix64(i * 1000 + version);
	size_t len;

	switch (i % 40) {
	case 3:
		len = r % 300;
		fill_document((uint8_t *)out, len, r | 1);
		return len;
	case 11:
		len = 60 * PFS_KIB + r % (100 * PFS_KIB);
		fill_document((uint8_t *)out, len, r & ~UINT64_C(1));
		memset(out + len / 2, 0, len / 4);
		return i % 80 == 11 ? len : 0;
	case 21: return 0;
	default:
		return (size_t)snprintf(
			out, LEN_MAX,
			"{\"package\":\"lib%u\",\"version\":\"%u.%llu-1\",\"architecture\":"
			"\"amd64\",\"section\":\"libs\",\"sha\":\"%016llx\",\"depends\":["
			"\"libc6\",\"libgcc-s1\"],\"text\":\"%.*s\"}",
			i, version, (unsigned long long)(r % 17), (unsigned long long)r,
			(int)(r % 60), "the quick brown fox jumps over the lazy dog and goes on");
	}
}

static void put(struct world *w, unsigned i)
{
	struct pfs_attr attr = {.mode = i % 9 ? 0644 : 0600, .mtime_ns = i + 77};
	struct pfs_key key = key_of(i);
	char *doc = malloc(LEN_MAX);
	size_t len = make(doc, i, ++w->docs[i].version);

	w->docs[i].there = true;
	assert_int_equal(pfs_put(w->store, &key, doc, len, &attr, 0, NULL), 0);
	free(doc);
}

static void drop(struct world *w, unsigned i)
{
	struct pfs_key key = key_of(i);

	if (w->docs[i].there)
		assert_int_equal(pfs_remove(w->store, &key, NULL), 0);
	w->docs[i].there = false;
}

/* A dictionary of documents; no trainer is needed. */
static void add_dict(struct world *w, unsigned seed)
{
	char text[8192], doc[400];
	size_t len = 0;

	for (unsigned i = 0; len + sizeof(doc) < sizeof(text); i++) {
		size_t n = make(doc, 40 * (seed * 100 + i) + 1, seed);

		memcpy(text + len, doc, n);
		len += n;
	}
	assert_int_equal(pfs_dict_add(w->store, text, len, 1000, 300), 0);
}

static void expect_right(struct world *w)
{
	char *want = malloc(LEN_MAX);

	for (unsigned i = 0; i < DOCS; i++) {
		struct pfs_key key = key_of(i);
		struct pfs_attr attr;
		size_t have_len, len;
		void *have;

		assert_int_equal(pfs_get(w->store, &key, &have, &have_len, &attr),
				 w->docs[i].there ? 0 : -ENOENT);
		if (!w->docs[i].there)
			continue;
		len = make(want, i, w->docs[i].version);
		assert_int_equal(have_len, len);
		assert_memory_equal(have, want, len);
		assert_int_equal(attr.mtime_ns, i + 77);
		assert_int_equal(attr.mode, i % 9 ? 0644 : 0600);
		free(have);
	}
	free(want);
}

static struct pfs_compact_result compact(struct world *w)
{
	struct pfs_compact_result result;

	assert_int_equal(pfs_store_compact(w->store, NULL, NULL, NULL, &result), 0);
	return result;
}

static struct pfs_store_stat stat_of(struct world *w)
{
	struct pfs_store_stat stat;

	assert_int_equal(pfs_store_stat(w->store, &stat), 0);
	return stat;
}

static void reopen(struct world *w, bool dict_off)
{
	assert_int_equal(pfs_store_close(w->store), 0);
	expect_healthy(w->sim);
	w->store = open_with(w->sim, dict_off);
}

static void end_world(struct world *w)
{
	expect_right(w);
	reopen(w, false);
	expect_right(w);
	assert_int_equal(pfs_store_close(w->store), 0);
	pfs_sim_free(w->sim);
	free(w);
}

static uint32_t dict_of(struct world *w, unsigned i)
{
	struct pfs_key key = key_of(i);
	struct pfs_place place;

	assert_int_equal(pfs_place(w->store, &key, &place), 0);
	return place.dictionary;
}

/* In no order; dictionaries come meanwhile. */
static void fill(struct world *w, unsigned dicts)
{
	for (unsigned n = 0; n < DOCS; n++) {
		if (dicts && n % (DOCS / dicts) == 0)
			add_dict(w, n + 1);
		put(w, n * 7919 % DOCS);
	}
	for (unsigned n = 0; n < DOCS / 4; n++)
		drop(w, (unsigned)roll(w, DOCS));
	for (unsigned n = 0; n < DOCS / 4; n++)
		put(w, (unsigned)roll(w, DOCS));
	assert_int_equal(pfs_store_checkpoint(w->store), 0);
}

/* How often the slots of a page do not ascend, in the file itself. */
static unsigned disorder(struct world *w)
{
	unsigned wrong = 0;

	for (uint32_t n = 1; n <= pfs_pager_last(w->store->pager); n++) {
		struct pfs_page *page = pfs_pager_find(w->store->pager, n);
		struct pfs_slot before = {0};

		for (uint32_t i = 0; page && i < page->slot_count; i++) {
			struct pfs_slot slot;
			uint8_t bytes[PFS_SLOT_LEN];

			read_at(w->sim, page_name(n), pfs_slot_offset(i), bytes, sizeof(bytes));
			assert_int_equal(pfs_slot_decode(&slot, (struct pfs_slot_disk *)bytes,
							 PFS_PAGE_HEADER_LEN, page->size),
					 0);
			if (!pfs_slot_is_live(&slot))
				continue;
			wrong += before.kind > slot.kind ||
				 (before.kind == slot.kind && before.tag > slot.tag);
			before = slot;
		}
	}
	return wrong;
}

/* ---- */

/* Proves: whatever the values and their dictionaries are, packing keeps every byte, mode and time,
 * makes the store smaller, lays the slots in order, leaves no need for an old dictionary, whose
 * file is removed, and has nothing to do when it is called again. */
static void packing_keeps_every_byte(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 4; round++) {
		struct world *w = new_world(round % 2 ? 64 * PFS_KIB : PFS_MIB, round);
		struct pfs_store_stat before, after;
		struct pfs_compact_result result;
		uint32_t newest;

		fill(w, round);
		newest = w->store->dict ? w->store->dict->number : 0;
		before = stat_of(w);
		assert_true(disorder(w) > DOCS / 10);
		result = compact(w);
		assert_true(result.values > DOCS / 2);
		expect_right(w);
		after = stat_of(w);
		assert_int_equal(after.raw_bytes, before.raw_bytes);
		assert_int_equal(after.points, before.points);
		assert_true(after.container_bytes <
			    before.container_bytes * (round ? 97 : 100) / 100);
		assert_int_equal(disorder(w), 0);
		assert_int_equal(after.dictionaries, round ? 1 : 0);
		for (unsigned i = 0; i < DOCS; i++) {
			if (w->docs[i].there)
				assert_true(dict_of(w, i) == 0 || dict_of(w, i) == newest);
		}
		result = compact(w);
		assert_int_equal(result.values, 0);
		assert_int_equal(result.bytes, 0);
		reopen(w, false);
		result = compact(w);
		assert_int_equal(result.values, 0);
		end_world(w);
	}
}

/* Proves: a store that is to have no dictionaries is packed too, by those values that gain without
 * one; those that have one keep it, and it is not removed. */
static void without_dictionaries_it_packs_too(void **state)
{
	struct world *w = new_world(256 * PFS_KIB, 9);
	struct pfs_store_stat before, after;

	(void)state;
	add_dict(w, 1);
	for (unsigned i = 0; i < DOCS / 2; i++)
		put(w, i);
	reopen(w, true);
	for (unsigned i = DOCS / 2; i < DOCS; i++)
		put(w, i);
	assert_int_equal(pfs_store_checkpoint(w->store), 0);
	before = stat_of(w);
	assert_int_equal(dict_of(w, 1), 1);
	(void)compact(w);
	after = stat_of(w);
	expect_right(w);
	assert_true(after.container_bytes < before.container_bytes);
	assert_int_equal(dict_of(w, 1), 1);
	assert_int_equal(dict_of(w, DOCS - 1), 0);
	assert_int_equal(after.dictionaries, 1);
	assert_int_equal(compact(w).values, 0);
	end_world(w);
}

/* As a repair that had to guess it leaves it. */
static void set_min_value(struct pfs_sim *sim, uint32_t min_value_size)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_super super;
	struct pfs_dir *dir;

	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE, &dir), 0);
	assert_int_equal(pfs_super_read(dir, &super, &quiet), 0);
	super.min_value_size = min_value_size;
	assert_int_equal(pfs_super_write(dir, &super), 0);
	dir->ops->close_dir(dir);
}

/* Proves: values that are packed with an old dictionary, and would not be packed at all nowadays,
 * because they fit the smallest container, keep their bytes: each its own, whatever is packed next.
 */
static void what_is_packed_no_longer_keeps_its_bytes(void **state)
{
	struct world *w = new_world(PFS_MIB, 21);

	(void)state;
	add_dict(w, 1);
	for (unsigned i = 0; i < 300; i++)
		put(w, i);
	add_dict(w, 2);
	assert_int_equal(dict_of(w, 1), 1);
	assert_int_equal(pfs_store_close(w->store), 0);
	set_min_value(w->sim, PFS_MIN_VALUE_MAX);
	w->store = open_store(w->sim);
	(void)compact(w);
	assert_int_equal(dict_of(w, 1), 0);
	expect_right(w);
	end_world(w);
}

/* Changes a document now and then, while everything is packed. */
struct writer {
	struct world *w;
	unsigned calls, changes;
	bool inside;
};

static int write_meanwhile(void *arg, const struct pfs_sim_step *step)
{
	struct writer *writer = arg;
	struct world *w = writer->w;

	/* A step of the journal may be one under the lock that a change needs. */
	if (writer->inside || strncmp(step->name, "page-", 5) != 0 || step->kind != PFS_SIM_WRITE ||
	    ++writer->calls % 3)
		return 0;
	writer->inside = true;
	for (unsigned n = 0; n < 5; n++, writer->changes++) {
		unsigned i = (unsigned)roll(w, DOCS);

		if (roll(w, 3))
			put(w, i);
		else
			drop(w, i);
	}
	writer->inside = false;
	return 0;
}

/* Proves: what is changed and removed while the packing is at work is what its writer made it. */
static void writers_are_not_undone(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 4; round++) {
		struct world *w = new_world(64 * PFS_KIB << round, 20 + round);
		struct writer writer = {w, 0, 0, false};
		struct pfs_compact_result result;

		fill(w, round);
		pfs_sim_on_step(w->sim, write_meanwhile, &writer);
		result = compact(w);
		pfs_sim_on_step(w->sim, NULL, NULL);
		assert_true(writer.changes > 10);
		assert_true(result.values > DOCS / 2);
		expect_right(w);
		assert_int_equal(pfs_store_checkpoint(w->store), 0);
		(void)compact(w);
		end_world(w);
	}
}

/* The disk after a power cut at one step. */
struct cut {
	struct world *w;
	uint64_t at, step;
	struct pfs_sim *image;
	bool kill;
};

static int cut_at(void *arg, const struct pfs_sim_step *step)
{
	struct cut *cut = arg;

	(void)step;
	if (cut->step++ == cut->at)
		cut->image = cut->kill ? pfs_sim_kill(cut->w->sim)
				       : pfs_sim_crash_seed(cut->w->sim, cut->at);
	return 0;
}

/* Proves: after a power cut or a kill at any step of a packing everything that was durable before
 * is there, and another packing finishes what that one began. */
static void it_may_be_cut_off_anywhere(void **state)
{
	uint64_t steps = 0, images = 0;

	(void)state;
	for (uint64_t at = 0; at == 0 || at < steps; at += 1 + steps / (120 / test_sample() + 8)) {
		struct world *w = new_world(256 * PFS_KIB, 40), *after = calloc(1, sizeof(*after));
		struct cut cut = {w, at, 0, NULL, at % 2};

		fill(w, 2);
		assert_int_equal(pfs_sync(w->store), 0);
		pfs_sim_on_step(w->sim, cut_at, &cut);
		(void)compact(w);
		pfs_sim_on_step(w->sim, NULL, NULL);
		steps = cut.step;
		assert_non_null(cut.image);
		images++;
		memcpy(after, w, sizeof(*after));
		after->sim = cut.image;
		after->store = open_store(after->sim);
		expect_right(after);
		(void)compact(after);
		assert_int_equal(disorder(after), 0);
		assert_int_equal(stat_of(after).dictionaries, 1);
		end_world(after);
		end_world(w);
	}
	assert_true(images > 5);
}

static void stop_half_way(void *arg, uint64_t done, uint64_t total)
{
	bool *stop = arg;

	assert_true(done <= total);
	*stop = done > total / 2;
}

/* Proves: a packing that is told to stop ends early, and the next one goes on where it was: it does
 * not move again what is packed. */
static void it_goes_on_where_it_was_stopped(void **state)
{
	struct world *w = new_world(64 * PFS_KIB, 60);
	struct pfs_compact_result first, then;
	bool stop = false;

	(void)state;
	fill(w, 1);
	assert_int_equal(pfs_store_compact(w->store, stop_half_way, &stop, &stop, &first),
			 -ECANCELED);
	assert_true(first.values > DOCS / 8);
	expect_right(w);
	then = compact(w);
	assert_true(then.values > 0 && then.values < DOCS * 9 / 10);
	assert_int_equal(compact(w).values, 0);
	end_world(w);
}

/* Proves: a value that was packed anew does not take the place of one that was put meanwhile, also
 * when that is as long. */
static void what_was_put_meanwhile_stays(void **state)
{
	struct world *w = new_world(64 * PFS_KIB, 70);
	struct pfs_repacker *repacker = pfs_repacker_new(w->store);
	struct pfs_key key = key_of(1);
	char before[600], after[600];
	struct pfs_repacked repacked;
	struct pfs_place place;
	uint32_t object;
	void *have;
	size_t len;
	int err;

	(void)state;
	assert_non_null(repacker);
	len = make(before, 1, 1);
	assert_in_range(len, 10, sizeof(before) - 1);
	memcpy(after, before, len);
	after[len - 3]++;
	assert_int_equal(pfs_put(w->store, &key, before, len, NULL, 0, NULL), 0);
	assert_int_equal(pfs_store_checkpoint(w->store), 0);
	add_dict(w, 1);
	assert_int_equal(pfs_place(w->store, &key, &place), 0);
	assert_int_equal(pfs_repack_slot(repacker, place.page, place.slot, key.kind,
					 pfs_key_tag(&key), &repacked),
			 0);
	assert_true(repacked.better);
	assert_int_equal(pfs_put(w->store, &key, after, len, NULL, 0, NULL), 0);
	assert_int_equal(pfs_lookup(w->store, &key, &object, NULL), 0);
	pfs_write_enter(w->store);
	err = pfs_repack_object(w->store, object, repacked.seq, &repacked.packed);
	pfs_write_leave(w->store);
	assert_int_equal(err, -EAGAIN);
	pfs_packed_free(&repacked.packed);
	assert_int_equal(pfs_get(w->store, &key, &have, &len, NULL), 0);
	assert_memory_equal(have, after, len);
	free(have);
	pfs_repacker_free(repacker);
	assert_int_equal(pfs_store_close(w->store), 0);
	expect_healthy(w->sim);
	pfs_sim_free(w->sim);
	free(w);
}

/* Packs one value anew at every write to a page. */
struct looker {
	struct pfs_store *store;
	struct pfs_repacker *repacker;
	struct pfs_key key;
	struct pfs_place place;
	unsigned looks, torn, damage;
};

static void count_damage(void *arg, enum pfs_log_level level, const char *line)
{
	struct looker *looker = arg;

	if (level == PFS_LOG_ERROR && strstr(line, "damage"))
		looker->damage++;
}

static void look(struct looker *looker)
{
	const struct pfs_place *place = &looker->place;
	struct pfs_repacked repacked;

	looker->looks++;
	assert_int_equal(pfs_repack_slot(looker->repacker, place->page, place->slot,
					 looker->key.kind, pfs_key_tag(&looker->key), &repacked),
			 0);
	/* The container's header verifies, and there is no body that belongs to it. */
	looker->torn += repacked.len && pfs_loaded_guess(looker->store, &looker->repacker->loaded,
							 looker->repacker->raw) == -EUCLEAN;
	if (repacked.better)
		pfs_packed_free(&repacked.packed);
}

static int look_meanwhile(void *arg, const struct pfs_sim_step *step)
{
	if (step->kind == PFS_SIM_WRITE && strncmp(step->name, "page-", 5) == 0)
		look(arg);
	return 0;
}

static void open_looked_at(struct pfs_sim *sim, struct looker *looker)
{
	struct pfs_open_options options = {.manual = true,
					   .io = pfs_sim_io(sim),
					   .logger = {.fn = count_damage, .arg = looker}};
	struct pfs_reason reason;

	assert_int_equal(pfs_store_open(&looker->store, STORE, &options, &reason), 0);
	looker->repacker = pfs_repacker_new(looker->store);
	assert_non_null(looker->repacker);
}

/* Proves: a document in blocks that a checkpoint writes over in place, while compaction reads it,
 * is not reported as damaged; nor is it when it moves elsewhere and its place is given to others.
 */
static void what_is_written_over_is_no_damage(void **state)
{
	struct looker looker = {.key = pfs_key_num(1)};
	struct pfs_sim *sim = pfs_sim_new();
	const struct pfs_key first = pfs_key_num(2), other = pfs_key_num(3);
	struct pfs_store_stat before, after;
	struct pfs_store *store;

	(void)state;
	create_store(sim, PFS_MIB, 16);
	open_looked_at(sim, &looker);
	store = looker.store;
	/* Sequence and time of the page's first document are short. */
	put_document(store, &first, 100, 9);
	put_document(store, &looker.key, 150 * PFS_KIB, 1);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_place(store, &looker.key, &looker.place), 0);
	assert_int_equal(pfs_store_stat(store, &before), 0);
	pfs_sim_on_step(sim, look_meanwhile, &looker);
	put_document(store, &looker.key, 150 * PFS_KIB, 3);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_store_stat(store, &after), 0);
	assert_int_equal(after.in_place, before.in_place + 1);
	assert_true(looker.torn > 0);
	put_document(store, &looker.key, 300 * PFS_KIB, 5);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	put_document(store, &other, 150 * PFS_KIB, 7);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	pfs_sim_on_step(sim, NULL, NULL);
	assert_true(looker.looks > 6);
	assert_int_equal(looker.damage, 0);
	pfs_repacker_free(looker.repacker);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

/* Proves: a document whose blocks are damaged on disk is reported when it is read to be packed. */
static void what_is_damaged_is_reported(void **state)
{
	struct looker looker = {.key = pfs_key_num(1)};
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;

	(void)state;
	create_store(sim, PFS_MIB, 16);
	store = open_store(sim);
	put_document(store, &looker.key, 150 * PFS_KIB, 1);
	assert_int_equal(pfs_store_close(store), 0);
	looker.place = place_of(sim, &looker.key);
	flip_bit(sim, page_name(looker.place.page), looker.place.offset + 100 * PFS_KIB, 3);
	open_looked_at(sim, &looker);
	assert_int_equal(looker.damage, 0);
	look(&looker);
	assert_int_equal(looker.torn, 1);
	assert_int_equal(looker.damage, 1);
	pfs_repacker_free(looker.repacker);
	assert_int_equal(pfs_store_close(looker.store), 0);
	pfs_sim_free(sim);
}

/* Proves: where there is no room for a copy in order, pages are packed one by one all the same. */
static void a_full_disk_is_packed_page_by_page(void **state)
{
	struct world *w = new_world(64 * PFS_KIB, 80);
	struct pfs_compact_result result;
	uint64_t used;

	(void)state;
	for (unsigned n = 0; n < DOCS; n++) {
		struct pfs_key key = pfs_key_num(n * 7919 % DOCS);

		put_document(w->store, &key, 1000, 2 * (uint64_t)n + 1);
	}
	for (unsigned n = 0; n < DOCS; n++) {
		struct pfs_key key = pfs_key_num(n);

		if (n % 3)
			assert_int_equal(pfs_remove(w->store, &key, NULL), 0);
	}
	assert_int_equal(pfs_store_checkpoint(w->store), 0);
	used = pfs_sim_used(w->sim);
	pfs_sim_set_capacity(w->sim, used + 160 * PFS_KIB);
	assert_int_equal(pfs_store_compact(w->store, NULL, NULL, NULL, &result), 0);
	assert_true(result.pages_after < result.pages_before * 2 / 3);
	pfs_sim_set_capacity(w->sim, UINT64_MAX);
	for (unsigned n = 0; n < DOCS; n++) {
		unsigned i = n * 7919 % DOCS;
		struct pfs_key key = pfs_key_num(i);
		uint8_t want[1000];
		void *have;
		size_t len;

		assert_int_equal(pfs_get(w->store, &key, &have, &len, NULL), i % 3 ? -ENOENT : 0);
		if (i % 3)
			continue;
		fill_document(want, sizeof(want), 2 * (uint64_t)n + 1);
		assert_int_equal(len, sizeof(want));
		assert_memory_equal(have, want, len);
		free(have);
	}
	assert_int_equal(pfs_store_close(w->store), 0);
	expect_healthy(w->sim);
	pfs_sim_free(w->sim);
	free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packing_keeps_every_byte),
		cmocka_unit_test(without_dictionaries_it_packs_too),
		cmocka_unit_test(what_is_packed_no_longer_keeps_its_bytes),
		cmocka_unit_test(writers_are_not_undone),
		cmocka_unit_test(it_may_be_cut_off_anywhere),
		cmocka_unit_test(what_was_put_meanwhile_stays),
		cmocka_unit_test(what_is_written_over_is_no_damage),
		cmocka_unit_test(what_is_damaged_is_reported),
		cmocka_unit_test(it_goes_on_where_it_was_stopped),
		cmocka_unit_test(a_full_disk_is_packed_page_by_page),
	};

	return cmocka_run_group_tests_name("packing", tests, NULL, NULL);
}
