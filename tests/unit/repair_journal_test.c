/* Repairing a store that was not closed and whose journal is damaged: what can be told is told,
 * what can't is not guessed. */
#include "storage/journal.h"
#include "tests/unit/repair_helpers.h"

/* The file of the segment that the records are in, and the name by which it is set aside. */
static char segment[32], aside[64];

/* A killed store: of the documents as they are in docs_store, number i was put before with other
 * bytes, and is put again as it should be in record i of the journal, each synced. */
static struct pfs_sim *journal_store(uint64_t offs[DOCS + 1])
{
	struct pfs_sim *sim = pfs_sim_new(), *killed;
	struct pfs_store *store;
	uint64_t at;

	create_store(sim, PFS_PAGE_SIZE_MIN, 64);
	store = open_store(sim);
	for (unsigned i = 0; i < DOCS; i++) {
		struct pfs_key key = doc_key(i);

		put_document(store, &key, doc_len(i) + 7, i + 2);
	}
	assert_int_equal(pfs_store_close(store), 0);
	store = open_store(sim);
	for (unsigned i = 0; i < DOCS; i++) {
		put_doc(store, i);
		assert_int_equal(pfs_sync(store), 0);
	}
	killed = pfs_sim_kill(sim);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
	assert_true(find_segment(killed, segment));
	snprintf(aside, sizeof(aside), "quarantine-%s", segment);
	at = PFS_SEGMENT_DATA;
	for (unsigned i = 0; i <= DOCS; i++) {
		uint8_t len[4];

		offs[i] = at;
		read_at(killed, segment, at, len, sizeof(len));
		at += pfs_get_le32(len);
	}
	pfs_sim_settle(killed);
	return killed;
}

/* How many lines of what is set aside are of files whose names begin so. */
static unsigned kept_of(struct pfs_sim *sim, const char *where)
{
	char *text = quarantine_text(sim), head[64];
	unsigned count = 0;

	snprintf(head, sizeof(head), "{\"where\":\"%s", where);
	for (const char *at = text; (at = strstr(at, head)); at++)
		count++;
	free(text);
	return count;
}

static int try_open(struct pfs_sim *sim, struct pfs_reason *reason)
{
	struct pfs_open_options options = {.manual = true, .io = pfs_sim_io(sim), .logger = quiet};
	struct pfs_store *store;
	int err = pfs_store_open(&store, STORE, &options, reason);

	return err ? err : pfs_store_close(store);
}

/* Proves: a record that was durable and is damaged is kept aside, and its document is lost, not as
 * it was before; the records behind it count. */
static void damaged_records_lose_their_documents(void **state)
{
	static const unsigned records[] = {0, 1, 2, 7, 9, 14, 22};

	(void)state;
	for (size_t r = 0; r < pfs_array_len(records); r++) {
		unsigned n = records[r];
		uint64_t offs[DOCS + 1];
		struct pfs_sim *sim = journal_store(offs);
		size_t len = offs[n + 1] - offs[n];
		uint8_t *bytes = malloc(len);
		struct pfs_key key = doc_key(n);
		struct repaired *done;
		unsigned gone = DOCS;

		flip_bit(sim, segment, offs[n + 1] - 20, 3);
		read_at(sim, segment, offs[n], bytes, len);
		done = repair_store(sim);
		assert_int_equal(docs_gone(sim, &gone), 1);
		assert_int_equal(gone, n);
		assert_int_equal(done->result.lost, 1);
		assert_int_equal(done->result.unknown, 0);
		assert_true(is_kept(sim, segment, offs[n], &key, bytes, len));
		free(bytes);
		free(done);
		pfs_sim_free(sim);
	}
}

/* Proves: a record of which one bit is wrong says whose it is, also where it is a bit of the key.
 */
static void a_wrong_bit_hides_no_key(void **state)
{
	/* Behind the head of the record and that of the put: kind, length, key. */
	const uint64_t key_at = PFS_RECORD_HEADER_LEN + sizeof(struct pfs_put_disk);

	(void)state;
	for (uint64_t at = key_at; at < key_at + 10; at += 2) {
		uint64_t offs[DOCS + 1];
		struct pfs_sim *sim = journal_store(offs);
		struct repaired *done;
		unsigned gone = DOCS;

		flip_bit(sim, segment, offs[7] + at, 1);
		done = repair_store(sim);
		assert_int_equal(docs_gone(sim, &gone), 1);
		assert_int_equal(gone, 7);
		assert_int_equal(done->result.lost, 1);
		assert_int_equal(done->result.unknown, 0);
		free(done);
		pfs_sim_free(sim);
	}
}

/* Proves: where it can't be told whose records are damaged, the store does not open and says what
 * to do; a repair goes on without them, says that something is lost, and keeps the bytes. */
static void records_of_unknown_documents(void **state)
{
	uint64_t offs[DOCS + 1];
	struct pfs_sim *sim = journal_store(offs);
	size_t len = offs[7] - offs[4];
	uint8_t *junk = malloc(len), *kept = malloc(len);
	struct pfs_reason reason;
	struct pfs_store *store;
	struct repaired *done;

	(void)state;
	fill_document(junk, len, 333);
	write_at(sim, segment, offs[4], junk, len);
	assert_int_equal(try_open(sim, &reason), -EUCLEAN);
	assert_non_null(strstr(reason.text, "check --repair"));
	done = repair_store(sim);
	assert_int_equal(done->result.unknown, 1);
	assert_true(done->fatal >= 1);
	assert_true(is_kept(sim, segment, offs[4], NULL, junk, len));
	store = open_store(sim);
	for (unsigned i = 0; i < DOCS; i++) {
		if (i < 4 || i > 6)
			assert_int_equal(doc_state(store, i), 0);
	}
	assert_int_equal(pfs_store_close(store), 0);
	free(junk);
	free(kept);
	free(done);
	pfs_sim_free(sim);
}

/* Proves (C3): a change is made to the version that it names or to none: where the record of that
 * one is gone, and nobody can tell whose it was, the change is not made to the bytes before it.
 * These are set aside with the change, and nothing of others. */
static void changes_of_lost_records_find_no_base(void **state)
{
	struct pfs_sim *sim = pfs_sim_new(), *killed;
	struct pfs_key key = pfs_key_num(1), other = pfs_key_num(2), same = pfs_key_num(3);
	struct pfs_attr attr = {.mode = 0600};
	struct pfs_place place;
	struct pfs_reason reason;
	struct pfs_store *store;
	struct repaired *done;
	uint8_t junk[2000], former[2000], len[4];
	uint32_t object;
	size_t got_len;
	void *got;

	(void)state;
	create_store(sim, PFS_PAGE_SIZE_MIN, 64);
	store = open_store(sim);
	put_document(store, &key, 900, 3);
	put_document(store, &same, 900, 9);
	assert_int_equal(pfs_store_close(store), 0);
	place = place_of(sim, &key);
	assert_true(place.container_len <= sizeof(former));
	read_at(sim, page_name(place.page), place.offset, former, place.container_len);
	store = open_store(sim);
	put_document(store, &key, 1000, 5);
	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	assert_int_equal(pfs_setattr(store, object, PFS_ATTR_MODE, &attr, NULL), 0);
	assert_int_equal(pfs_sync(store), 0);
	put_document(store, &other, 100, 7); /* says that the others were durable */
	killed = pfs_sim_kill(sim);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
	assert_true(find_segment(killed, segment));
	snprintf(aside, sizeof(aside), "quarantine-%s", segment);
	read_at(killed, segment, PFS_SEGMENT_DATA, len, sizeof(len));
	assert_in_range(pfs_get_le32(len), 1000, sizeof(junk));
	fill_document(junk, pfs_get_le32(len), 333);
	write_at(killed, segment, PFS_SEGMENT_DATA, junk, pfs_get_le32(len));
	pfs_sim_settle(killed);
	assert_int_equal(try_open(killed, &reason), -EUCLEAN);
	done = repair_store(killed);
	store = open_store(killed);
	assert_true(pfs_get(store, &key, &got, &got_len, NULL) != 0);
	free(got);
	assert_int_equal(pfs_get(store, &other, &got, &got_len, NULL), 0);
	assert_int_equal(got_len, 100);
	free(got);
	assert_int_equal(pfs_get(store, &same, &got, &got_len, NULL), 0);
	assert_int_equal(got_len, 900);
	free(got);
	assert_int_equal(pfs_store_close(store), 0);
	assert_true(is_kept(killed, page_name(place.page), place.offset, &key, former,
			    place.container_len));
	assert_int_equal(kept_of(killed, "page-"), 2); /* and what the replay puts in its place */
	assert_int_equal(kept_of(killed, "journal-"), 2); /* the junk, and the change */
	free(done);
	pfs_sim_free(killed);
}

/* Proves: a segment whose header is damaged twice is set aside as a file; one damaged copy costs
 * nothing. */
static void damaged_segments_are_set_aside(void **state)
{
	uint64_t offs[DOCS + 1];
	struct pfs_sim *sim = journal_store(offs);
	uint8_t junk[64];
	struct pfs_reason reason;
	struct repaired *done;

	(void)state;
	fill_document(junk, sizeof(junk), 333);
	write_at(sim, segment, 2048, junk, sizeof(junk));
	done = repair_store(sim);
	assert_int_equal(docs_gone(sim, NULL), 0);
	assert_int_equal(done->fatal, 0);
	free(done);
	pfs_sim_free(sim);
	sim = journal_store(offs);
	write_at(sim, segment, 0, junk, sizeof(junk));
	write_at(sim, segment, 2048, junk, sizeof(junk));
	assert_int_equal(try_open(sim, &reason), -EUCLEAN);
	done = repair_store(sim);
	assert_int_equal(done->result.files, 1);
	assert_true(done->result.unknown >= 1);
	assert_int_equal(size_at(sim, aside), PFS_SEGMENT_SIZE);
	free(done);
	pfs_sim_free(sim);
}

/* ---- what can't be read ---- */

struct bad_piece {
	uint64_t off;
	bool cleared; /* it was written to */
};

static bool is_in_piece(const struct bad_piece *bad, const struct pfs_sim_step *step)
{
	return strcmp(step->name, segment) == 0 && step->off < bad->off + 4096 &&
	       bad->off < step->off + step->len;
}

static int fail_piece(void *arg, const struct pfs_sim_step *step)
{
	const struct bad_piece *bad = arg;

	return step->kind == PFS_SIM_READ && !bad->cleared && is_in_piece(bad, step) ? -EIO : 0;
}

static int clear_piece(void *arg, const struct pfs_sim_step *step)
{
	struct bad_piece *bad = arg;

	bad->cleared |= step->kind == PFS_SIM_WRITE && is_in_piece(bad, step);
	return 0;
}

/* Proves: a place of the journal that can't be read is found, in a record that was durable or where
 * the next would be; a repair keeps aside what there is, writes over the place, and loses nothing
 * else. */
static void places_that_can_not_be_read(void **state)
{
	(void)state;
	for (unsigned tail = 0; tail < 2; tail++) {
		uint64_t offs[DOCS + 1];
		struct pfs_sim *sim = journal_store(offs);
		struct bad_piece bad = {.off = tail ? offs[DOCS] - 1 : offs[9] + 50000};
		struct pfs_store *store;
		struct repaired *done;
		struct found *found;
		char *text;

		bad.off -= bad.off % 4096;
		pfs_sim_on_look(sim, fail_piece, &bad);
		pfs_sim_on_step(sim, clear_piece, &bad);
		found = check_store(sim);
		print_found(found);
		assert_int_equal(found->fatal, 1);
		assert_string_equal(found->at[0].where, segment);
		assert_true(found->at[0].offset <= bad.off + 4095);
		assert_true((strstr(found->at[0].text, "can't be read") != NULL) == tail);
		free(found);
		assert_false(bad.cleared);
		done = repair_store(sim);
		assert_true(bad.cleared);
		assert_int_equal(done->result.lost + done->result.unknown, 1);
		assert_true(done->result.kept >= 1);
		store = open_store(sim);
		for (unsigned i = 0; i < DOCS; i++) {
			if (offs[i + 1] <= bad.off || offs[i] >= bad.off + 4096)
				assert_int_equal(doc_state(store, i), 0);
		}
		assert_int_equal(pfs_store_close(store), 0);
		text = quarantine_text(sim);
		assert_non_null(strstr(text, "\"unread\":[["));
		free(text);
		free(done);
		pfs_sim_free(sim);
	}
}

/* Proves: damage in the journal waits until the pages are right: its records are counted and kept
 * once, and a segment is set aside once. */
static void the_journal_comes_after_the_pages(void **state)
{
	(void)state;
	for (unsigned whole = 0; whole < 2; whole++) {
		uint64_t offs[DOCS + 1];
		struct pfs_sim *sim = journal_store(offs);
		uint8_t junk[4096];
		struct repaired *done;

		fill_document(junk, sizeof(junk), 333);
		flip_bit(sim, page_name(1), 20, 3);
		if (whole) {
			write_at(sim, segment, 0, junk, 64);
			write_at(sim, segment, PFS_SEGMENT_STRIDE, junk, 64);
		} else {
			assert_true(offs[7] - offs[4] <= sizeof(junk));
			write_at(sim, segment, offs[4], junk, offs[7] - offs[4]);
		}
		done = repair_store(sim);
		assert_int_equal(kept_of(sim, "page-"), 1);
		assert_int_equal(kept_of(sim, "journal-"), !whole);
		assert_int_equal(done->result.files, whole);
		assert_int_equal(done->result.unknown, 1);
		free(done);
		pfs_sim_free(sim);
	}
}

/* Proves: a missing segment is told, and the store can be used after a repair. */
static void missing_segments_are_told(void **state)
{
	uint64_t offs[DOCS + 1];
	struct pfs_sim *sim = journal_store(offs);
	struct pfs_reason reason;
	struct repaired *done;

	(void)state;
	remove_file(sim, segment);
	assert_int_equal(try_open(sim, &reason), -EUCLEAN);
	assert_non_null(strstr(reason.text, "check --repair"));
	done = repair_store(sim);
	assert_int_equal(done->result.unknown, 1);
	assert_int_equal(done->result.documents, DOCS);
	free(done);
	pfs_sim_free(sim);
}

/* Proves: a document whose container is damaged while the journal changes only a part of it is
 * lost; container and change are both kept aside before the replay takes them away. */
static void changes_of_lost_documents_are_kept(void **state)
{
	struct pfs_sim *sim = docs_store(), *killed;
	struct pfs_place place = doc_place(sim, 14);
	struct pfs_key key = doc_key(14);
	struct pfs_store *store = open_store(sim);
	uint8_t *bytes = malloc(place.container_len);
	struct repaired *done;
	uint32_t object;

	(void)state;
	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	put_doc(store, 3);
	assert_int_equal(pfs_write(store, object, 70000, "change", 6, 1), 0);
	put_doc(store, 4);
	assert_int_equal(pfs_sync(store), 0);
	killed = pfs_sim_kill(sim);
	assert_int_equal(pfs_store_close(store), 0);
	write_at(killed, page_name(place.page), place.offset + 1, "xy", 2);
	read_at(killed, page_name(place.page), place.offset, bytes, place.container_len);
	done = repair_but(killed, 14);
	assert_true(is_kept(killed, page_name(place.page), place.offset, &key, bytes,
			    place.container_len));
	assert_int_equal(kept_of(killed, "page-"), 2); /* and what the replay puts in its place */
	assert_int_equal(kept_of(killed, "journal-"), 1);
	free(done);
	free(bytes);
	pfs_sim_free(killed);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(damaged_records_lose_their_documents),
		cmocka_unit_test(a_wrong_bit_hides_no_key),
		cmocka_unit_test(records_of_unknown_documents),
		cmocka_unit_test(changes_of_lost_records_find_no_base),
		cmocka_unit_test(damaged_segments_are_set_aside),
		cmocka_unit_test(places_that_can_not_be_read),
		cmocka_unit_test(the_journal_comes_after_the_pages),
		cmocka_unit_test(missing_segments_are_told),
		cmocka_unit_test(changes_of_lost_documents_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
