/* Opening killed stores in which pages are damaged: what the journal says whole is there, what it
 * has only changes of is adopted from the pages, or lost and said to be. */
#include "tests/unit/repair_helpers.h"

enum { CHANGED = 9, PUT = 14, IMAGES = 256 };

struct moments {
	struct pfs_sim *sim, *at[IMAGES];
	size_t count;
};

static int keep_moment(void *arg, const struct pfs_sim_step *step)
{
	struct moments *m = arg;

	(void)step;
	if (m->count < IMAGES)
		m->at[m->count++] = pfs_sim_kill(m->sim);
	return 0;
}

/* What the document becomes: two changes, which make it longer. */
static size_t changed(uint8_t *bytes)
{
	size_t len = doc_len(CHANGED);

	fill_document(bytes, len, CHANGED);
	memcpy(bytes + 70000, "first", 5);
	fill_document(bytes + len, 60000, 5);
	return len + 60000;
}

/* A store that dies at each step of its end, after which the document is elsewhere. */
static struct moments *make_moments(uint8_t *bytes, size_t len)
{
	struct moments *m = calloc(1, sizeof(*m));
	struct pfs_key key = doc_key(CHANGED);
	struct pfs_store *store;
	uint32_t object;

	m->sim = docs_store();
	store = open_store(m->sim);
	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	assert_int_equal(pfs_write(store, object, 70000, "first", 5, 1), 0);
	assert_int_equal(pfs_write(store, object, doc_len(CHANGED), bytes + doc_len(CHANGED),
				   len - doc_len(CHANGED), 1),
			 0);
	assert_int_equal(pfs_sync(store), 0);
	pfs_sim_on_step(m->sim, keep_moment, m);
	/* A document that was changed just now stays in the journal until then. */
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_on_step(m->sim, NULL, NULL);
	return m;
}

static void free_moments(struct moments *m)
{
	for (size_t i = 0; i < m->count; i++)
		pfs_sim_free(m->at[i]);
	pfs_sim_free(m->sim);
	free(m);
}

/* 0: the changed document is there, byte for byte. All others are as they were. */
static int state_of(struct pfs_sim *sim, const uint8_t *bytes, size_t len)
{
	struct pfs_store *store = open_store(sim);
	struct pfs_key key = doc_key(CHANGED);
	void *got;
	size_t got_len;
	int err = pfs_get(store, &key, &got, &got_len, NULL);

	if (!err) {
		assert_int_equal(got_len, len);
		assert_memory_equal(got, bytes, len);
		free(got);
	}
	for (unsigned i = 0; i < DOCS; i++)
		assert_true(i == CHANGED || doc_state(store, i) == 0);
	assert_int_equal(pfs_store_close(store), 0);
	return err;
}

/* Proves (O4): where the container that was changed is damaged, the document is whole again from
 * the pages as soon as a checkpoint that died had written it; before that, and where what it wrote
 * is damaged too, reading it is an error, and nothing else suffers. */
static void what_a_checkpoint_wrote_is_adopted(void **state)
{
	uint8_t *bytes = malloc(300000);
	size_t len = changed(bytes);
	struct pfs_sim *docs = docs_store();
	struct pfs_place before = doc_place(docs, CHANGED);
	struct moments *m = make_moments(bytes, len);
	struct pfs_place after = doc_place(m->sim, CHANGED);
	unsigned adopted = 0, lost = 0;

	(void)state;
	assert_true(after.page != before.page || after.offset != before.offset);
	for (size_t i = 0; i < m->count; i++) {
		struct pfs_sim *both = pfs_sim_kill(m->at[i]);
		int err;

		assert_int_equal(state_of(m->at[i], bytes, len), 0);
		/* The container's page may not be made yet. */
		if (has_file(both, page_name(before.page))) {
			flip_bit(both, page_name(before.page), before.offset + 6, 2);
			flip_bit(both, page_name(before.page), before.offset + 50000, 2);
		}
		pfs_sim_free(m->at[i]);
		m->at[i] = pfs_sim_kill(both);
		err = state_of(both, bytes, len);
		assert_true(err == 0 || err == -EIO);
		adopted += !err;
		lost += err != 0;
		pfs_sim_free(both);
		if (err || !has_file(m->at[i], page_name(after.page)))
			continue;
		flip_bit(m->at[i], page_name(after.page), after.offset + 100000, 2);
		err = state_of(m->at[i], bytes, len);
		assert_true(err == 0 || err == -EIO);
		lost += err != 0;
	}
	assert_true(adopted > 0 && lost > 0);
	pfs_sim_free(docs);
	free_moments(m);
	free(bytes);
}

enum { AGAIN = 10, LONGER = 9000 /* bytes that it has then */ };

/* A store that dies at each step of its end, after which a document is elsewhere that was put
 * anew, and then another one, which proves that the first was durable. */
static struct moments *make_moments_of_put(void)
{
	struct moments *m = calloc(1, sizeof(*m));
	struct pfs_key key = doc_key(AGAIN);
	struct pfs_store *store;

	m->sim = docs_store();
	store = open_store(m->sim);
	put_document(store, &key, LONGER, 1);
	assert_int_equal(pfs_sync(store), 0);
	put_doc(store, AGAIN + 1);
	assert_int_equal(pfs_sync(store), 0);
	pfs_sim_on_step(m->sim, keep_moment, m);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_on_step(m->sim, NULL, NULL);
	return m;
}

/* Whether the document is there as it was put anew; else it can't be read. Then it is removed, and
 * neither of its places has it any more. */
static bool is_adopted(struct pfs_sim *sim)
{
	struct pfs_store *store = open_store(sim);
	struct pfs_key key = doc_key(AGAIN);
	uint8_t expected[LONGER];
	struct found *found;
	void *got;
	size_t len;
	int err = pfs_get(store, &key, &got, &len, NULL);

	if (err) {
		assert_int_equal(err, -EIO);
	} else {
		fill_document(expected, LONGER, 1);
		assert_int_equal(len, LONGER);
		assert_memory_equal(got, expected, LONGER);
		free(got);
	}
	for (unsigned i = 0; i < DOCS; i++)
		assert_true(i == AGAIN || doc_state(store, i) == 0);
	assert_int_equal(pfs_remove(store, &key, NULL), 0);
	assert_int_equal(pfs_store_close(store), 0);
	found = check_store(sim);
	assert_int_equal(found->fatal, 0);
	assert_int_equal(found->result.documents, DOCS - 1);
	free(found);
	assert_int_equal(docs_gone(sim, NULL), 1);
	return !err;
}

/* Proves (O4): of a document whose record is damaged the state is adopted that a checkpoint that
 * died has written, and where it stood before it is no more; before that, reading it is an error.
 */
static void the_place_before_an_adopted_one_is_given_up(void **state)
{
	struct moments *m = make_moments_of_put();
	unsigned adopted = 0, lost = 0;

	(void)state;
	for (size_t i = 0; i < m->count; i++) {
		char segment[32];

		if (!find_segment(m->at[i], segment))
			continue;
		flip_bit(m->at[i], segment, PFS_SEGMENT_DATA + LONGER / 2, 3);
		if (is_adopted(m->at[i]))
			adopted++;
		else
			lost++;
	}
	assert_true(adopted > 0 && lost > 0);
	free_moments(m);
}

/* A killed store that has a document anew in its journal, and its old slot in place. */
static struct pfs_sim *put_again(struct pfs_place *place)
{
	struct pfs_sim *sim = docs_store(), *killed;
	struct pfs_store *store;

	*place = doc_place(sim, PUT);
	store = open_store(sim);
	put_doc(store, PUT);
	assert_int_equal(pfs_sync(store), 0);
	killed = pfs_sim_kill(sim);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
	return killed;
}

/* Proves: a slot with a wrong bit, of a document that the journal has whole, costs nothing,
 * whichever bit it is; nor does one in a slot that held none. */
static void slots_that_are_replaced_may_be_damaged(void **state)
{
	struct pfs_place place;
	struct pfs_sim *sim = put_again(&place);

	(void)state;
	for (unsigned bit = 0; bit < 8 * PFS_SLOT_LEN; bit++) {
		struct pfs_sim *broken = pfs_sim_kill(sim);

		flip_bit(broken, page_name(place.page), pfs_slot_offset(place.slot) + bit / 8,
			 bit % 8);
		assert_int_equal(docs_gone(broken, NULL), 0);
		pfs_sim_free(broken);
	}
	pfs_sim_free(sim);
}

/* Proves: a wrong bit in a slot that was never used is no document: nothing is in doubt. */
static void a_bit_of_an_unused_slot_is_no_document(void **state)
{
	struct pfs_place place;
	struct pfs_sim *sim = put_again(&place);
	struct pfs_slot_disk none = {0};
	struct pfs_key other = pfs_key_num(77777);

	(void)state;
	write_at(sim, page_name(place.page), pfs_slot_offset(place.slot), &none, sizeof(none));
	for (unsigned bit = 0; bit < 8 * PFS_SLOT_LEN; bit += 5) {
		struct pfs_sim *broken = pfs_sim_kill(sim);
		struct pfs_store *store;
		void *bytes;
		size_t len;

		flip_bit(broken, page_name(place.page), pfs_slot_offset(place.slot) + bit / 8,
			 bit % 8);
		store = open_store(broken);
		assert_int_equal(pfs_get(store, &other, &bytes, &len, NULL), -ENOENT);
		assert_int_equal(pfs_store_close(store), 0);
		assert_int_equal(docs_gone(broken, NULL), 0);
		pfs_sim_free(broken);
	}
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_checkpoint_wrote_is_adopted),
		cmocka_unit_test(the_place_before_an_adopted_one_is_given_up),
		cmocka_unit_test(slots_that_are_replaced_may_be_damaged),
		cmocka_unit_test(a_bit_of_an_unused_slot_is_no_document),
	};

	return cmocka_run_group_tests_name("replay over damage", tests, NULL, NULL);
}
