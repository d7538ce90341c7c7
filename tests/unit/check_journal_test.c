/* storage/check*.c: stores that were not closed. What a kill or a power cut leaves is no damage;
 * damage in the journal is found. */
#include "storage/crc.h"
#include "storage/journal.h"
#include "storage/page.h"
#include "tests/unit/forged.h"
#include "tests/unit/failing_open.h"
#include "tests/unit/store_helpers.h"

#define DOCUMENTS 24

/* ---- what a crash leaves ---- */

#define QUEUE_MAX 1024

struct cutting {
	struct pfs_sim *sim;
	uint64_t seed, images, remarks;
	/* Looked at when the store has returned: an image can't be opened from inside of it. */
	struct pfs_sim *queue[QUEUE_MAX];
	size_t queued;
};

static void look_at_image(struct cutting *c, struct pfs_sim *image)
{
	struct found *found = check_store(image);

	if (found->fatal) {
		print_found(found);
		fail_msg("image %llu", (unsigned long long)c->images);
	}
	c->images++;
	c->remarks += found->count;
	free(found);
	assert_int_equal(pfs_store_close(open_store(image)), 0);
	expect_healthy(image);
	pfs_sim_free(image);
}

static void look_at_images(struct cutting *c)
{
	while (c->queued)
		look_at_image(c, c->queue[--c->queued]);
}

/* Keeps what a power cut at this step could leave. */
static int cut_here(void *arg, const struct pfs_sim_step *step)
{
	struct cutting *c = arg;

	if (step->kind != PFS_SIM_SYNC && step->number % 3)
		return 0;
	assert_true(c->queued < QUEUE_MAX);
	c->queue[c->queued++] = pfs_sim_crash_seed(c->sim, ++c->seed);
	return 0;
}

static void work(struct cutting *c, struct pfs_store *store, unsigned round)
{
	for (unsigned i = 0; i < DOCUMENTS; i++) {
		struct pfs_key key = pfs_key_num(i % 7), other = pfs_key_num((i + 3) % 7),
			       tmp = key_named("tmp");
		uint32_t object;

		switch ((i + round) % 6) {
		case 0: put_document(store, &key, 3000 * i, i); break;
		case 1: put_document(store, &tmp, 200 + i, i); break;
		case 2: (void)pfs_rename(store, &tmp, &key, 0, NULL); break;
		case 3: (void)pfs_remove(store, &other, NULL); break;
		case 4: put_document(store, &other, 70000 + i, i + round); break;
		default:
			if (pfs_lookup(store, &key, &object, NULL) == 0)
				assert_int_equal(pfs_write(store, object, 10 * i, "patched", 7, i),
						 0);
		}
		if (i % 5 == 4)
			assert_int_equal(pfs_store_checkpoint(store), 0);
		else if (i % 2)
			assert_int_equal(pfs_sync(store), 0);
		look_at_images(c);
	}
}

/* Proves: whatever a power cut leaves, the check finds nothing fatal in it, and nothing at all
 * after the next opening. */
static void power_cuts_leave_no_damage(void **state)
{
	struct cutting c = {.sim = pfs_sim_new()};
	struct pfs_store *store;

	(void)state;
	create_store(c.sim, 64 * PFS_KIB, 16);
	store = open_store(c.sim);
	for (unsigned round = 0; round < 3; round++) {
		put_document(store, &(struct pfs_key){.kind = PFS_KEY_NUM, .num = 99}, 100, round);
		assert_int_equal(pfs_store_checkpoint(store), 0);
		pfs_sim_on_step(c.sim, cut_here, &c);
		work(&c, store, round);
		pfs_sim_on_step(c.sim, NULL, NULL);
		assert_int_equal(pfs_store_close(store), 0);
		store = open_store(c.sim);
	}
	assert_int_equal(pfs_store_close(store), 0);
	print_message("%llu images, %llu remarks\n", (unsigned long long)c.images,
		      (unsigned long long)c.remarks);
	assert_true(c.images > 100);
	pfs_sim_free(c.sim);
}

/* ---- the journal of a killed store ---- */

struct record {
	uint64_t off, seq;
	size_t len;
	unsigned type;
};

struct segment {
	char name[32];
	uint64_t number;
	struct record records[256];
	size_t count;
};

/* The live segments, oldest first. */
static size_t read_segments(struct pfs_sim *sim, struct segment *segments, size_t max)
{
	uint8_t *bytes = malloc(PFS_SEGMENT_SIZE);
	size_t n = 0;

	for (unsigned file = 0; file < 32; file++) {
		const struct pfs_segment_disk *head = (const struct pfs_segment_disk *)bytes;
		const struct pfs_io *io = pfs_sim_io(sim);
		struct segment s = {.count = 0};
		struct pfs_file *f;
		struct pfs_dir *dir;
		size_t at;

		snprintf(s.name, sizeof(s.name), PFS_SEGMENT_NAME_FMT, file);
		assert_int_equal(io->ops->open_dir(io, STORE, 0, &dir), 0);
		if (dir->ops->open(dir, s.name, 0, &f) == 0) {
			assert_int_equal(f->ops->read(f, bytes, PFS_SEGMENT_SIZE, 0),
					 PFS_SEGMENT_SIZE);
			s.number = pfs_get_le64(head->number.b);
			for (uint64_t off = PFS_SEGMENT_DATA;
			     s.number && off + 40 <= PFS_SEGMENT_SIZE;) {
				const struct pfs_record_disk *r =
					(const struct pfs_record_disk *)(bytes + off);
				size_t len = pfs_get_le32(r->len.b);

				if (len < PFS_RECORD_LEN_MIN || s.count == pfs_array_len(s.records))
					break;
				s.records[s.count++] =
					(struct record){off, pfs_get_le64(r->seq.b), len, r->type};
				off += len;
			}
			f->ops->close(f);
		}
		dir->ops->close_dir(dir);
		if (!s.number)
			continue;
		for (at = n++; at && segments[at - 1].number > s.number; at--)
			segments[at] = segments[at - 1];
		segments[at] = s;
		assert_true(n < max);
	}
	free(bytes);
	return n;
}

/* Synced after every document, then killed: each record but the last says that the one before it
 * was durable. */
static struct pfs_sim *killed_store(unsigned documents, size_t len)
{
	struct pfs_sim *sim = pfs_sim_new(), *killed;
	struct pfs_store *store;

	create_store(sim, 256 * PFS_KIB, 16);
	store = open_store(sim);
	for (unsigned i = 0; i < documents; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, len, 2 * i + 1);
		assert_int_equal(pfs_sync(store), 0);
	}
	killed = pfs_sim_kill(sim);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
	return killed;
}

/* Proves: every byte of a durable record is guarded, and the document is named where its key can
 * still be read. The last records, which nothing shows to have been durable, are a tail that was
 * cut. */
static void damaged_records_are_found(void **state)
{
	struct pfs_sim *sim = killed_store(6, 20);
	struct segment s[8];
	size_t n = read_segments(sim, s, pfs_array_len(s)), named = 0;

	(void)state;
	assert_int_equal(n, 1);
	assert_int_equal(s[0].count, 6);
	for (size_t r = 0; r < 6; r++) {
		for (uint64_t byte = 0; byte < s[0].records[r].len; byte += test_sample()) {
			uint64_t off = s[0].records[r].off;
			struct found *found;

			flip_bit(sim, s[0].name, off + byte, byte % 8);
			found = check_store(sim);
			assert_int_equal(found->count, r == 5 ? 0 : 1);
			for (size_t i = 0; i < found->count; i++) {
				assert_true(found->at[i].fatal);
				assert_string_equal(found->at[i].where, s[0].name);
				assert_int_equal(found->at[i].offset, off);
				named += found->at[i].key.kind == PFS_KEY_NUM &&
					 found->at[i].key.num == r;
			}
			free(found);
			flip_bit(sim, s[0].name, off + byte, byte % 8);
		}
	}
	assert_true(named > 5 * s[0].records[0].len / 2 / test_sample());
	pfs_sim_free(sim);
}

/* Proves: a segment whose header is damaged, or whose file is missing, in the middle of the journal
 * is found, and so is damage at the end of one: records in later segments show that it was durable.
 */
static void damage_between_segments_is_found(void **state)
{
	struct pfs_sim *sim = killed_store(8, 900000), *copy;
	struct segment s[8];
	size_t n = read_segments(sim, s, pfs_array_len(s));
	const struct record *end = &s[1].records[s[1].count - 1];
	struct found *found;

	(void)state;
	assert_true(n >= 4);
	assert_int_equal(end->type, PFS_RECORD_END);
	expect_healthy(sim);

	flip_bit(sim, s[1].name, end->off + 12, 3);
	found = check_store(sim);
	assert_true(found->fatal == 1 && found->at[0].offset == end->off);
	assert_string_equal(found->at[0].where, s[1].name);
	free(found);
	flip_bit(sim, s[1].name, end->off + 12, 3);

	for (unsigned i = 0; i < PFS_SEGMENT_COPIES; i++) {
		/* One copy is enough; both are not. */
		flip_bit(sim, s[1].name, i * PFS_SEGMENT_STRIDE + 30, 3);
		found = check_store(sim);
		assert_int_equal(found->fatal, i ? 3 : 1);
		assert_int_equal(found->at[0].offset, 0);
		free(found);
	}
	for (unsigned i = 0; i < PFS_SEGMENT_COPIES; i++)
		flip_bit(sim, s[1].name, i * PFS_SEGMENT_STRIDE + 30, 3);
	expect_healthy(sim);

	for (size_t i = 0; i + 1 < n; i++) {
		copy = pfs_sim_kill(sim);
		remove_file(copy, s[i].name);
		found = check_store(copy);
		assert_int_equal(found->fatal, 1);
		free(found);
		pfs_sim_free(copy);
	}
	pfs_sim_free(sim);
}

/* Proves: zeros instead of the tail, as after a torn write, are no damage, wherever the tail begins
 * behind what was durable. */
static void torn_tails_are_normal(void **state)
{
	static const uint8_t zeros[4096];
	struct pfs_sim *sim = killed_store(3, 3000), *copy;
	struct segment s[8];
	size_t n = read_segments(sim, s, pfs_array_len(s));
	const struct record *last = &s[0].records[s[0].count - 1];

	(void)state;
	assert_int_equal(n, 1);
	for (size_t keep = 0; keep < last->len; keep += 97) {
		copy = pfs_sim_kill(sim);
		write_at(copy, s[0].name, last->off + keep, zeros, last->len - keep);
		expect_healthy(copy);
		pfs_sim_free(copy);
	}
	pfs_sim_free(sim);
}

/* Proves: a tail that somebody has filled with what seem to be heads of records is as normal, for
 * the check and the opening; a true record behind thousands of them is found by both. */
static void forged_tails_are_normal(void **state)
{
	uint8_t *bytes = malloc(PFS_SEGMENT_SIZE);
	struct pfs_open_options options = {.manual = true, .logger = quiet};
	struct pfs_sim *sim = killed_store(6, 60000), *copy;
	struct pfs_reason reason;
	struct pfs_store *store;
	struct segment s[8];
	struct found *found;

	(void)state;
	assert_int_equal(read_segments(sim, s, pfs_array_len(s)), 1);
	for (size_t last = 0; last < 2; last++) {
		uint64_t from = s[0].records[last ? 1 : 5].off + 64;
		uint64_t end = last ? s[0].records[5].off : PFS_SEGMENT_SIZE;

		copy = pfs_sim_kill(sim);
		forge_heads(bytes, from, end);
		write_at(copy, s[0].name, from, bytes + from, end - from);
		found = check_store(copy);
		assert_int_equal(found->fatal, last);
		if (last) {
			assert_string_equal(found->at[0].where, s[0].name);
			assert_int_equal(found->at[0].offset, s[0].records[1].off);
			options.io = pfs_sim_io(copy);
			assert_int_equal(pfs_store_open(&store, STORE, &options, &reason),
					 -EUCLEAN);
		} else {
			expect_healthy(copy);
			assert_int_equal(pfs_store_close(open_store(copy)), 0);
		}
		free(found);
		pfs_sim_free(copy);
	}
	free(bytes);
	pfs_sim_free(sim);
}

/* Proves: where a segment's header has no sequence of its first record, nothing is taken for one:
 * zeros are a tail, and true records show that the header is wrong. */
static void no_record_is_seen_where_there_is_none(void **state)
{
	static const uint8_t zeros[4096];
	struct pfs_sim *sim = killed_store(3, 300);
	struct segment s[8];

	(void)state;
	assert_int_equal(read_segments(sim, s, pfs_array_len(s)), 1);
	for (unsigned i = 0; i < PFS_SEGMENT_COPIES; i++) {
		struct pfs_segment_disk disk;

		read_at(sim, s[0].name, i * PFS_SEGMENT_STRIDE, &disk, sizeof(disk));
		pfs_put_le64(disk.first_seq.b, 0);
		pfs_put_le32(disk.crc.b, pfs_crc32c(0, (uint8_t *)&disk + 12, sizeof(disk) - 12));
		write_at(sim, s[0].name, i * PFS_SEGMENT_STRIDE, &disk, sizeof(disk));
	}
	for (unsigned empty = 0; empty < 2; empty++) {
		struct found *found = check_store(sim);

		assert_int_equal(found->fatal, !empty);
		if (!empty)
			assert_non_null(strstr(found->at[0].text, "durable records are damaged"));
		free(found);
		write_at(sim, s[0].name, PFS_SEGMENT_DATA, zeros, sizeof(zeros));
	}
	pfs_sim_free(sim);
}

/* Proves: segments that are newer than a superblock which says that the store was closed show that
 * the superblock is an old one. */
static void journal_newer_than_the_superblock_is_found(void **state)
{
	struct pfs_sim *sim = pfs_sim_new(), *killed;
	struct pfs_key key = pfs_key_num(1);
	struct pfs_store *store;
	struct found *found;
	uint8_t super[2 * PFS_SUPER_STRIDE];

	(void)state;
	memset(super, 0, sizeof(super));
	create_store(sim, 256 * PFS_KIB, 16);
	read_at(sim, PFS_SUPER_NAME, 0, super, PFS_SUPER_STRIDE + 256);
	store = open_store(sim);
	put_document(store, &key, 100, 1);
	killed = pfs_sim_kill(sim);
	assert_int_equal(pfs_store_close(store), 0);
	write_at(killed, PFS_SUPER_NAME, 0, super, PFS_SUPER_STRIDE + 256);
	found = check_store(killed);
	assert_int_equal(found->fatal, 1);
	assert_string_equal(found->at[0].where, PFS_SUPER_NAME);
	assert_int_equal(found->at[0].offset, 0);
	free(found);
	pfs_sim_free(killed);
	pfs_sim_free(sim);
}

/* ---- what can't be opened again ---- */

/* Proves: a segment, or a page with a key that is there twice, that could be opened and can't be
 * again, is not taken for one of which nothing is to be said: the check can't be done. */
static void what_can_not_be_opened_again_is_no_check(void **state)
{
	struct pfs_sim *sim = killed_store(6, 20), *closed = pfs_sim_new();
	struct pfs_check_result result;
	struct pfs_reason reason;
	struct pfs_place places[2];
	struct pfs_store *store;
	struct segment s[8];
	struct failing_open o;
	uint8_t slot[PFS_SLOT_LEN];

	(void)state;
	assert_int_equal(read_segments(sim, s, pfs_array_len(s)), 1);
	flip_bit(sim, s[0].name, s[0].records[1].off + 40, 1);
	o = (struct failing_open){.name = s[0].name, .at = 2};
	pfs_sim_on_look(sim, fail_open, &o);
	assert_int_equal(
		pfs_check(STORE, pfs_sim_io(sim), &quiet, NULL, NULL, NULL, &result, &reason),
		-EIO);
	assert_string_equal(reason.text, STORE ": can't be checked: Input/output error");
	pfs_sim_free(sim);

	create_store(closed, 64 * PFS_KIB, 16);
	store = open_store(closed);
	for (unsigned i = 0; i < 2; i++)
		put_document(store, &(struct pfs_key){.kind = PFS_KEY_NUM, .num = i}, 60, i);
	assert_int_equal(pfs_store_close(store), 0);
	for (unsigned i = 0; i < 2; i++)
		places[i] = place_of(closed, &(struct pfs_key){.kind = PFS_KEY_NUM, .num = i});
	remove_file(closed, PFS_INDEX_NAME);
	read_at(closed, page_name(1), pfs_slot_offset(places[0].slot), slot, sizeof(slot));
	write_at(closed, page_name(1), pfs_slot_offset(places[1].slot), slot, sizeof(slot));
	o = (struct failing_open){.name = page_name(1), .at = 3};
	pfs_sim_on_look(closed, fail_open, &o);
	assert_int_equal(
		pfs_check(STORE, pfs_sim_io(closed), &quiet, NULL, NULL, NULL, &result, &reason),
		-EIO);
	assert_string_equal(reason.text, STORE ": can't be checked: Input/output error");
	pfs_sim_free(closed);
}

/* ---- after an unclean end ---- */

/* Proves: of a killed store that had been moved to the pages, damage of documents that the journal
 * does not name is as fatal as after a clean close; of those that it does, it is to be done again.
 */
static void damage_outside_of_the_window_is_fatal(void **state)
{
	struct pfs_sim *sim = pfs_sim_new(), *killed;
	struct pfs_key in = pfs_key_num(1), out = pfs_key_num(2);
	struct pfs_place place[2];
	struct pfs_store *store;
	struct found *found;

	(void)state;
	create_store(sim, 256 * PFS_KIB, 16);
	store = open_store(sim);
	put_document(store, &in, 100, 1);
	put_document(store, &out, 100, 3);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_place(store, &in, &place[0]), 0);
	assert_int_equal(pfs_place(store, &out, &place[1]), 0);
	put_document(store, &in, 100, 5);
	killed = pfs_sim_kill(sim);
	assert_int_equal(pfs_store_close(store), 0);
	flip_bit(killed, page_name(1), place[0].offset + 20, 1);
	flip_bit(killed, page_name(1), place[1].offset + 20, 1);
	found = check_store(killed);
	assert_int_equal(found->count, 2);
	assert_int_equal(found->result.damaged, 1);
	for (size_t i = 0; i < 2; i++)
		assert_true(pfs_key_equal(&found->at[i].key, found->at[i].fatal ? &out : &in));
	free(found);
	/* A missing page can be told from one that a crash left unmade. */
	remove_file(killed, page_name(1));
	make_file(killed, page_name(3));
	found = check_store(killed);
	assert_true(found->count == 1 && found->fatal == 1);
	assert_string_equal(found->at[0].where, page_name(1));
	free(found);
	pfs_sim_free(killed);
	pfs_sim_free(sim);
}

/* ---- anything ---- */

static bool reads_right(struct pfs_store *store, unsigned i, size_t len)
{
	struct pfs_key key = pfs_key_num(i);
	uint8_t *expected = malloc(len + 1);
	void *bytes;
	size_t got;
	bool right = pfs_get(store, &key, &bytes, &got, NULL) == 0;

	fill_document(expected, len, 3 * i);
	if (right) {
		right = got == len && memcmp(bytes, expected, len) == 0;
		/* An error is allowed, another content never is. */
		assert_true(right);
		free(bytes);
	}
	free(expected);
	return right;
}

static struct pfs_sim *closed_store(void)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;

	create_store(sim, 64 * PFS_KIB, 16);
	store = open_store(sim);
	for (unsigned i = 0; i < DOCUMENTS; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 40 + 4000 * (i % 20), 3 * i);
	}
	assert_int_equal(pfs_store_close(store), 0);
	return sim;
}

/* Proves: whatever bytes are in the files, the check ends without a crash, and it has a fatal
 * finding whenever a document can't be read. */
static void random_damage_is_never_missed(void **state)
{
	struct pfs_sim *sim = closed_store();
	unsigned damaged = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 150; seed += test_sample()) {
		struct pfs_sim *copy = pfs_sim_kill(sim);
		struct pfs_open_options options = {
			.read_only = true, .io = pfs_sim_io(copy), .logger = quiet};
		uint64_t random = pfs_mix64(seed), size = size_at(copy, page_name(1 + seed % 3));
		uint64_t off = pfs_mix64(random + 1) % (seed % 2 ? size : 2000),
			 len = 1 + pfs_mix64(random + 2) % 200;
		uint8_t bytes[200];
		struct pfs_reason reason;
		struct pfs_store *store;
		struct found *found;
		unsigned lost = 0;

		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = seed % 5 ? (uint8_t)pfs_mix64(random + i)
					    : (uint8_t)(0xff * (seed % 2));
		write_at(copy, page_name(1 + seed % 3), off, bytes, pfs_min_u64(len, size - off));
		found = check_store(copy);
		if (pfs_store_open(&store, STORE, &options, &reason) == 0) {
			for (unsigned i = 0; i < DOCUMENTS; i++)
				lost += !reads_right(store, i, 40 + 4000 * (i % 20));
			assert_int_equal(pfs_store_close(store), 0);
		}
		if (lost && found->result.damaged < lost)
			print_found(found);
		if (lost)
			assert_true(found->fatal > 0);
		assert_true(found->result.damaged >= lost);
		damaged += lost > 0;
		free(found);
		pfs_sim_free(copy);
	}
	assert_true(damaged > 30 / test_sample());
	pfs_sim_free(sim);
}

/* ---- many torn documents ---- */

#define TORN 300u

/* Proves: of as many documents as a kill may leave torn, each is told by itself, in the order of
 * their places: as one that the next opening makes anew where the journal has all of it, and as
 * lost where that has only changes. */
static void each_torn_document_is_told(void **state)
{
	struct pfs_sim *sim = pfs_sim_new(), *killed;
	struct pfs_attr later = {.mtime_ns = 5};
	struct pfs_place places[TORN];
	struct pfs_store *store;
	struct found *found;

	(void)state;
	create_store(sim, 64 * PFS_KIB, 16);
	store = open_store(sim);
	for (unsigned i = 0; i < TORN; i++)
		put_document(store, &(struct pfs_key){.kind = PFS_KEY_NUM, .num = i}, 60, 2 * i);
	assert_int_equal(pfs_store_close(store), 0);
	for (unsigned i = 0; i < TORN; i++)
		places[i] = place_of(sim, &(struct pfs_key){.kind = PFS_KEY_NUM, .num = i});
	store = open_store(sim);
	for (unsigned i = 0; i < TORN; i++) {
		struct pfs_key key = pfs_key_num(i);
		uint32_t object;

		assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
		if (i % 3)
			assert_int_equal(pfs_setattr(store, object, PFS_ATTR_MTIME, &later, NULL),
					 0);
		else
			put_document(store, &key, 50, i);
	}
	assert_int_equal(pfs_sync(store), 0);
	killed = pfs_sim_kill(sim);
	assert_int_equal(pfs_store_close(store), 0);
	for (unsigned i = 0; i < TORN; i++)
		write_at(killed, page_name(places[i].page), places[i].offset, "torn!", 5);
	found = check_store(killed);
	assert_int_equal(found->count, TORN);
	assert_int_equal(found->fatal, TORN - TORN / 3);
	assert_int_equal(found->result.damaged, TORN - TORN / 3);
	assert_int_equal(found->result.documents, TORN);
	for (unsigned n = 0; n < TORN; n++) {
		const struct pfs_finding *f = &found->at[n];
		unsigned i = (unsigned)f->key.num;

		assert_int_equal(f->key.kind, PFS_KEY_NUM);
		assert_true(i < TORN && f->offset == places[i].offset);
		assert_string_equal(f->where, page_name(places[i].page));
		assert_true(n == 0 || f->offset > f[-1].offset ||
			    strcmp(f->where, f[-1].where) > 0);
		assert_int_equal(f->fatal, i % 3 != 0);
		assert_string_equal(f->text,
				    i % 3 ? "it does not verify, and the journal has only changes "
					    "of it"
					  : "a change of it was not finished; the next opening "
					    "does it again from the journal");
	}
	free(found);
	pfs_sim_free(killed);
	pfs_sim_free(sim);
}

#define MOVES 4095u /* of which what they moved is followed */

/* Proves: what a damaged document was moved to is followed through as many moves as are remembered:
 * replaced under its last name it is needed no more; one move more, and it looks lost. */
static void moves_are_followed_up_to_a_bound(void **state)
{
	(void)state;
	for (unsigned moves = MOVES; moves <= MOVES + 1; moves++) {
		struct pfs_sim *sim = pfs_sim_new(), *killed;
		struct pfs_key key = pfs_key_num(0);
		struct pfs_place place;
		struct pfs_store *store;
		struct found *found;

		create_store(sim, 64 * PFS_KIB, 16);
		store = open_store(sim);
		put_document(store, &key, 60, 2);
		assert_int_equal(pfs_store_close(store), 0);
		place = place_of(sim, &key);
		store = open_store(sim);
		for (unsigned i = 0; i < moves; i++) {
			struct pfs_key from = pfs_key_num(i), to = pfs_key_num(i + 1);

			assert_int_equal(pfs_rename(store, &from, &to, 0, NULL), 0);
		}
		key = pfs_key_num(moves);
		put_document(store, &key, 70, 4);
		assert_int_equal(pfs_sync(store), 0);
		killed = pfs_sim_kill(sim);
		assert_int_equal(pfs_store_close(store), 0);
		write_at(killed, page_name(place.page), place.offset, "torn!", 5);
		found = check_store(killed);
		assert_int_equal(found->count, 1);
		assert_int_equal(found->fatal, moves > MOVES);
		assert_int_equal(found->at[0].offset, place.offset);
		assert_string_equal(found->at[0].text,
				    moves > MOVES ? "it does not verify, and the journal has only "
						    "changes of it"
						  : "a change of it was not finished; the next "
						    "opening does it again from the journal");
		free(found);
		pfs_sim_free(killed);
		pfs_sim_free(sim);
	}
}

/* ---- what moves leave needed ---- */

#define MOVED 4u

/* What a journal does to documents 0 to 3. */
struct moves {
	void (*change)(struct pfs_store *store);
	char needed[MOVED + 1]; /* y or n of each: what stood in its container before */
};

static void move(struct pfs_store *store, unsigned from, unsigned to, unsigned flags)
{
	struct pfs_key a = pfs_key_num(from), b = pfs_key_num(to);

	assert_int_equal(pfs_rename(store, &a, &b, flags, NULL), 0);
}

static void replace(struct pfs_store *store, unsigned number)
{
	put_document(store, &(struct pfs_key){.kind = PFS_KEY_NUM, .num = number}, 50, 9);
}

static void move_over(struct pfs_store *store)
{
	move(store, 0, 1, 0);
}

static void exchange(struct pfs_store *store)
{
	move(store, 0, 1, PFS_RENAME_EXCHANGE);
}

static void exchange_and_replace_first(struct pfs_store *store)
{
	exchange(store);
	replace(store, 0);
}

static void exchange_and_replace_second(struct pfs_store *store)
{
	exchange(store);
	replace(store, 1);
}

static void move_over_exchange_and_replace(struct pfs_store *store)
{
	move(store, 2, 0, 0);
	exchange(store);
	replace(store, 0);
}

static void move_exchange_and_replace(struct pfs_store *store)
{
	move(store, 2, 7, 0);
	move(store, 0, 1, PFS_RENAME_EXCHANGE);
	move(store, 0, 8, 0);
	move(store, 7, 9, 0);
	replace(store, 8);
}

static void move_twice_and_replace(struct pfs_store *store)
{
	move(store, 2, 7, 0);
	move(store, 7, 8, 0);
	replace(store, 8);
}

static void move_and_give_name_again(struct pfs_store *store)
{
	move(store, 0, 5, 0);
	replace(store, 0);
}

static void move_there_and_back(struct pfs_store *store)
{
	move(store, 0, 5, 0);
	replace(store, 0);
	move(store, 0, 6, 0);
	move(store, 5, 0, 0);
	move(store, 1, 7, 0);
	move(store, 7, 1, 0);
}

static void move_others_between(struct pfs_store *store)
{
	move(store, 2, 7, 0);
	move(store, 0, 5, 0);
	move(store, 7, 8, 0);
	move(store, 5, 6, 0);
	replace(store, 8);
}

static void remove_while_it_is_read(struct pfs_store *store)
{
	struct pfs_key key = pfs_key_num(2);
	uint32_t object;

	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	assert_int_equal(pfs_remove(store, &key, NULL), 0);
}

static const struct moves moves[] = {
	{move_over, "ynyy"},
	{exchange, "yyyy"},
	{exchange_and_replace_first, "ynyy"},
	{exchange_and_replace_second, "nyyy"},
	{move_over_exchange_and_replace, "nnyy"},
	{move_exchange_and_replace, "ynyy"},
	{move_twice_and_replace, "yyny"},
	{move_and_give_name_again, "yyyy"},
	{move_there_and_back, "yyyy"},
	{move_others_between, "yyny"},
	{remove_while_it_is_read, "yyny"},
};

/* Proves: of documents that a journal moves, exchanges, replaces or removes, exactly those that are
 * not needed any more may be damaged where they stood. */
static void what_moves_leave_needed(void **state)
{
	(void)state;
	for (size_t m = 0; m < pfs_array_len(moves); m++) {
		struct pfs_sim *sim = pfs_sim_new(), *killed;
		struct pfs_place places[MOVED];
		struct pfs_store *store;

		create_store(sim, 64 * PFS_KIB, 16);
		store = open_store(sim);
		for (unsigned i = 0; i < MOVED; i++)
			put_document(store, &(struct pfs_key){.kind = PFS_KEY_NUM, .num = i}, 60,
				     i);
		assert_int_equal(pfs_store_close(store), 0);
		for (unsigned i = 0; i < MOVED; i++)
			places[i] = place_of(sim, &(struct pfs_key){.kind = PFS_KEY_NUM, .num = i});
		store = open_held(sim);
		moves[m].change(store);
		assert_int_equal(pfs_sync(store), 0);
		killed = pfs_sim_kill(sim);
		assert_int_equal(pfs_store_close(store), 0);
		for (unsigned i = 0; i < MOVED; i++) {
			uint8_t bytes[5];
			struct found *found;

			read_at(killed, page_name(1), places[i].offset, bytes, sizeof(bytes));
			write_at(killed, page_name(1), places[i].offset, "torn!", 5);
			found = check_store(killed);
			if (found->count != 1 || found->fatal != (moves[m].needed[i] == 'y')) {
				print_found(found);
				fail_msg("moves %zu, document %u", m, i);
			}
			assert_int_equal(found->at[0].offset, places[i].offset);
			free(found);
			write_at(killed, page_name(1), places[i].offset, bytes, sizeof(bytes));
		}
		pfs_sim_free(killed);
		pfs_sim_free(sim);
	}
}

/* Proves: of a document that the journal replaces the slot may have a wrong bit as its container
 * may: it is to be done again; of one that the journal does not name it is damage. */
static void slots_of_what_is_replaced_may_be_torn(void **state)
{
	struct pfs_sim *sim = pfs_sim_new(), *killed;
	struct pfs_key key = pfs_key_num(5);
	struct pfs_place place;
	struct pfs_store *store;
	struct pfs_slot_disk disk;
	struct found *found;

	(void)state;
	create_store(sim, 64 * PFS_KIB, 16);
	store = open_store(sim);
	put_document(store, &key, 90, 1);
	assert_int_equal(pfs_store_close(store), 0);
	place = place_of(sim, &key);
	store = open_store(sim);
	for (unsigned replaced = 0; replaced < 2; replaced++) {
		if (replaced)
			put_document(store, &key, 50, 9);
		assert_int_equal(pfs_sync(store), 0);
		killed = pfs_sim_kill(sim);
		read_at(killed, page_name(1), pfs_slot_offset(place.slot), &disk, sizeof(disk));
		/* 64 bytes less: it ends within the container. */
		assert_true(pfs_get_le32(disk.word.b) & 64);
		disk.word.b[0] ^= 64;
		write_at(killed, page_name(1), pfs_slot_offset(place.slot), &disk, sizeof(disk));
		found = check_store(killed);
		if (found->count != 1 || found->fatal == replaced)
			print_found(found);
		assert_int_equal(found->count, 1);
		assert_int_equal(found->fatal, !replaced);
		assert_true(pfs_key_equal(&found->at[0].key, &key));
		free(found);
		pfs_sim_free(killed);
	}
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(power_cuts_leave_no_damage),
		cmocka_unit_test(damaged_records_are_found),
		cmocka_unit_test(damage_between_segments_is_found),
		cmocka_unit_test(torn_tails_are_normal),
		cmocka_unit_test(forged_tails_are_normal),
		cmocka_unit_test(no_record_is_seen_where_there_is_none),
		cmocka_unit_test(journal_newer_than_the_superblock_is_found),
		cmocka_unit_test(what_can_not_be_opened_again_is_no_check),
		cmocka_unit_test(damage_outside_of_the_window_is_fatal),
		cmocka_unit_test(random_damage_is_never_missed),
		cmocka_unit_test(each_torn_document_is_told),
		cmocka_unit_test(moves_are_followed_up_to_a_bound),
		cmocka_unit_test(what_moves_leave_needed),
		cmocka_unit_test(slots_of_what_is_replaced_may_be_torn),
	};

	return cmocka_run_group_tests_name("check_journal", tests, NULL, NULL);
}
