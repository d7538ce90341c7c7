/* Who may use a store at the same time: one that changes it, or any number that read it. */
#include "tests/unit/store_helpers.h"

enum use { CREATE, OPEN, READ, CHECK, REPAIR };

static int use(struct pfs_sim *sim, enum use what)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_create_options create = {.io = io};
	struct pfs_open_options open = {
		.io = io, .manual = true, .logger = quiet, .read_only = what == READ};
	struct pfs_check_result checked;
	struct pfs_repair_result repaired;
	struct pfs_reason reason = {.text = ""};
	struct pfs_store *store;
	int err;

	switch (what) {
	case CREATE: err = pfs_store_create(STORE, &create, &reason); break;
	case CHECK: err = pfs_check(STORE, io, &quiet, NULL, NULL, NULL, &checked, &reason); break;
	case REPAIR:
		err = pfs_repair(STORE, io, &quiet, NULL, NULL, NULL, &repaired, &reason);
		break;
	default:
		err = pfs_store_open(&store, STORE, &open, &reason);
		if (!err)
			assert_int_equal(pfs_store_close(store), 0);
	}
	assert_true((err == -EBUSY) == (strstr(reason.text, "another process is using") != NULL));
	return err;
}

/* Proves: while somebody changes a store it is busy for all others, who change nothing of it; while
 * somebody reads it, for those that would change it. */
static void who_changes_a_store_has_it_alone(void **state)
{
	static const enum use uses[] = {OPEN, READ, CHECK, REPAIR};

	(void)state;
	for (unsigned exclusive = 0; exclusive < 2; exclusive++) {
		struct pfs_sim *sim = pfs_sim_new();
		const struct pfs_io *io = pfs_sim_io(sim);
		struct pfs_dir *dir;

		create_store(sim, 0, 0);
		assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE, &dir), 0);
		assert_int_equal(dir->ops->lock(dir, PFS_LOCK_NAME, exclusive), 0);
		for (size_t i = 0; i < pfs_array_len(uses); i++) {
			bool reads = uses[i] == READ || uses[i] == CHECK;
			uint64_t steps = pfs_sim_steps(sim);
			int err = use(sim, uses[i]);

			assert_int_equal(err, exclusive || !reads ? -EBUSY : 0);
			assert_int_equal(pfs_sim_steps(sim), steps);
		}
		dir->ops->close_dir(dir);
		for (size_t i = 0; i < pfs_array_len(uses); i++)
			assert_int_equal(use(sim, uses[i]), 0);
		pfs_sim_free(sim);
	}
}

/* Proves: a directory that somebody makes a store of is not made one by another meanwhile. */
static void a_store_is_made_by_one(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_dir *dir;

	(void)state;
	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE | PFS_IO_CREATE, &dir), 0);
	assert_int_equal(dir->ops->lock(dir, PFS_LOCK_NAME, true), 0);
	assert_int_equal(use(sim, CREATE), -EBUSY);
	dir->ops->close_dir(dir);
	assert_int_equal(use(sim, CREATE), 0);
	assert_int_equal(use(sim, OPEN), 0);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_changes_a_store_has_it_alone),
		cmocka_unit_test(a_store_is_made_by_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
