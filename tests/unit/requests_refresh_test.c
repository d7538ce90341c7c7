/* fs/ops_refresh.c: what the kernel is told when a newer generation is taken up, and when the
 * former one is forgotten. The generations are the test's: numbers of objects of one store. */
#include "storage/monotonic.h"
#include "tests/unit/fake_mount.h"

static struct {
	int err;
	struct pfs_refreshed refreshed;
	uint32_t forgotten[8];
	unsigned forgotten_count;
	uint32_t nameless; /* the name of this object can't be told any more */
} fake;

static int refresh_as_told(struct pfs_store *store, struct pfs_refreshed *out)
{
	(void)store;
	*out = fake.refreshed;
	return fake.err;
}

static void keep_forgotten(struct pfs_store *store, uint32_t first)
{
	(void)store;
	fake.forgotten[fake.forgotten_count++] = first;
}

static int key_as_told(struct pfs_store *store, uint32_t object, struct pfs_key *key)
{
	return object == fake.nameless ? -ENOENT : pfs_object_key(store, object, key);
}

/* The daemon's objects have the true one. */
int take_up(struct pfs_fs *fs);

#define pfs_fs_refresh take_up
#define pfs_store_refresh refresh_as_told
#define pfs_store_forget keep_forgotten
#define pfs_object_key key_as_told
#include "fs/ops_refresh.c"
#undef pfs_object_key
#undef pfs_store_forget
#undef pfs_store_refresh
#undef pfs_fs_refresh

static char last_line[256];

static void keep_line(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	(void)level;
	snprintf(last_line + strlen(last_line), sizeof(last_line) - strlen(last_line), "%s\n",
		 line);
}

static const struct pfs_logger keeping = {.fn = keep_line};

static int begin(void **state)
{
	struct mount *m;

	memset(&fake, 0, sizeof(fake));
	last_line[0] = '\0';
	setup(state);
	m = *state;
	m->fs.logger = &keeping;
	return 0;
}

/* Documents, of which the kernel knows every one, or every other one; the first one's object. */
static uint32_t put_known(struct mount *m, uint64_t count, uint64_t every)
{
	uint32_t first = 0;

	for (uint64_t id = 0; id < count; id++) {
		struct pfs_key key = pfs_key_num(1000 + id);
		char name[16];
		uint32_t object;

		put(m, 1000 + id, "{}");
		assert_int_equal(pfs_lookup(m->store, &key, &object, NULL), 0);
		first = first ? first : object;
		snprintf(name, sizeof(name), "%llu", (unsigned long long)(1000 + id));
		if (id % every == 0)
			assert_int_equal((uint32_t)document(m, name), object);
	}
	kernel.told_count = 0;
	return first;
}

/* Proves: of the former generation the names that the kernel knows are dropped, each once, and the
 * listing; the directory's time is now; it is kept until nothing of it is referenced any more, and
 * forgotten then. */
static void names_of_the_former_generation_are_dropped(void **state)
{
	static const struct {
		uint64_t count, every;
	} cases[] = {{1, 2}, {2, 2}, {2 * AT_ONCE - 1, 2}, {2 * AT_ONCE + 1, 2}, {AT_ONCE + 9, 1}};
	struct mount *m = *state;
	struct stat st = {.st_mtim.tv_sec = 1000};

	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		const uint64_t count = cases[i].count, every = cases[i].every;
		uint32_t first = put_known(m, count, every);
		uint64_t known = (count + every - 1) / every, next = 1000;
		struct pfs_inodes_stat before, after;
		unsigned listings = 0;

		fake.refreshed = (struct pfs_refreshed){.changed = true,
							.first = first,
							.end = first + (uint32_t)count,
							.generation = 7};
		fake.forgotten_count = 0;
		last_line[0] = '\0';
		assert_int_equal(
			ask(&m->req, setattr, PFS_INODE_ROOT, &st, FUSE_SET_ATTR_MTIME, NULL), 0);
		pfs_inodes_stat(m->fs.inodes, &before);
		assert_int_equal(take_up(&m->fs), 0);
		pfs_inodes_stat(m->fs.inodes, &after);
		assert_int_equal(after.releases, before.releases + 1); /* lookups are made again */
		assert_string_equal(last_line, "generation 7 is read now\n");
		for (size_t k = 0; k < kernel.told_count; k++) {
			const struct kernel_told *told = &kernel.told[k];

			assert_int_equal(told->ino, PFS_INODE_ROOT);
			if (told->what == TOLD_INODE) {
				listings++;
				continue;
			}
			assert_int_equal(told->what, TOLD_ENTRY);
			assert_int_equal(strtoull(told->name, NULL, 10), next);
			next += every;
		}
		assert_int_equal(next, 1000 + every * known);
		/* Once more behind a full round, which may not have been the last. */
		assert_int_equal(listings, known > AT_ONCE ? 2 : 1);
		assert_int_equal(ask(&m->req, getattr, PFS_INODE_ROOT, NULL), 0);
		assert_true(m->req.attr.st_mtim.tv_sec != 1000);
		assert_int_equal(m->fs.former_count, 1);
		assert_int_equal(fake.forgotten_count, 0);
		/* Nothing new: nothing is told, and what is still used is kept. */
		fake.refreshed.changed = false;
		kernel.told_count = 0;
		last_line[0] = '\0';
		assert_int_equal(take_up(&m->fs), 0);
		assert_int_equal(kernel.told_count, 0);
		assert_string_equal(last_line, "");
		assert_int_equal(fake.forgotten_count, 0);
		kernel_forget_all(&m->req);
		/* Also when there is an error. */
		fake.err = -EIO;
		assert_int_equal(take_up(&m->fs), -EIO);
		fake.err = 0;
		assert_int_equal(fake.forgotten_count, 1);
		assert_int_equal(fake.forgotten[0], first);
		assert_int_equal(m->fs.former_count, 0);
		assert_int_equal(take_up(&m->fs), 0);
		assert_int_equal(fake.forgotten_count, 1);
	}
}

/* Proves: of several former generations each is forgotten by itself. */
static void generations_are_forgotten_one_by_one(void **state)
{
	struct mount *m = *state;
	uint32_t first = put_known(m, 6, 2);

	for (uint32_t i = 0; i < 3; i++) {
		fake.refreshed = (struct pfs_refreshed){
			.changed = true, .first = first + 2 * i, .end = first + 2 * i + 2};
		assert_int_equal(take_up(&m->fs), 0);
		assert_int_equal(m->fs.former_count, i + 1);
	}
	fake.refreshed.changed = false;
	ask(&m->req, forget, kernel.ids[1].ino, 1);
	assert_int_equal(take_up(&m->fs), 0);
	assert_int_equal(fake.forgotten_count, 1);
	assert_int_equal(fake.forgotten[0], first + 2);
	assert_int_equal(m->fs.former_count, 2);
	kernel.ids[1] = kernel.ids[--kernel.count];
	kernel_forget_all(&m->req);
	assert_int_equal(take_up(&m->fs), 0);
	assert_int_equal(fake.forgotten_count, 3);
	assert_int_equal(fake.forgotten[1], first);
	assert_int_equal(fake.forgotten[2], first + 4);
}

/* Proves: one whose name can't be told any more is given up: its node id answers nothing, the
 * kernel is told to ask for its attributes, and the log says of how many that was so. */
static void nameless_ones_are_given_up(void **state)
{
	struct mount *m = *state;
	struct fuse_file_info fi = {.flags = 0};

	for (unsigned i = 0; i < 2; i++) {
		uint32_t first = put_known(m, 5, 2);
		fuse_ino_t gone = kernel.ids[1].ino;

		fake.nameless = first + 2;
		fake.refreshed = (struct pfs_refreshed){
			.changed = true, .first = first, .end = first + 5, .generation = 8};
		last_line[0] = '\0';
		assert_int_equal(take_up(&m->fs), 0);
		assert_string_equal(last_line,
				    "1 document of the former generation can't be told by name any "
				    "more: files of it that are open can't be read further\n"
				    "generation 8 is read now\n");
		assert_int_equal(kernel.told_count, 4);
		assert_int_equal(kernel.told[1].what, TOLD_INODE);
		assert_true(kernel.told[1].ino == gone);
		assert_int_equal(kernel.told[1].off, -1);
		assert_int_equal(ask(&m->req, read, gone, 1, 0, &fi), -EIO);
		assert_int_equal(ask(&m->req, getattr, gone, NULL), -ESTALE);
		assert_int_equal(ask(&m->req, read, kernel.ids[0].ino, 1, 0, &fi), 0);
		kernel_forget_all(&m->req);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(names_of_the_former_generation_are_dropped),
		TEST(generations_are_forgotten_one_by_one),
		TEST(nameless_ones_are_given_up),
	};

	return cmocka_run_group_tests_name("newer generations", tests, NULL, NULL);
}
