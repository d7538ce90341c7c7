/* Opening killed stores in which slots are damaged: what the journal says whole is there. */
#include "tests/unit/repair_helpers.h"

enum { PUT = 14 };

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
		cmocka_unit_test(slots_that_are_replaced_may_be_damaged),
		cmocka_unit_test(a_bit_of_an_unused_slot_is_no_document),
	};

	return cmocka_run_group_tests_name("replay over damage", tests, NULL, NULL);
}
