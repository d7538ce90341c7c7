/* storage/store_dict.c, store_train.c: dictionaries in a store, from training to their end. */
#include "storage/store_internal.h"
#include "storage/train.h"
#include "tests/unit/store_helpers.h"

#define DOCS 1500

static size_t make_doc(char *out, size_t cap, uint64_t n, unsigned version)
{
	uint64_t r = pfs_mix64(n * 1000 + version);
	int len = snprintf(out, cap,
			   "{\"package\":\"lib%llu\",\"version\":\"%u.%llu-1\",\"architecture\":"
			   "\"amd64\",\"section\":\"libs\",\"priority\":\"optional\",\"sha\":"
			   "\"%016llx\",\"depends\":[\"libc6\",\"libgcc-s1\",\"libstdc++6\"]}",
			   (unsigned long long)n, version, (unsigned long long)(r % 17),
			   (unsigned long long)r);

	return (size_t)len;
}

static void put_doc(struct pfs_store *store, uint64_t n, unsigned version)
{
	struct pfs_key key = pfs_key_num(n);
	char doc[400];
	size_t len = make_doc(doc, sizeof(doc), n, version);

	assert_int_equal(pfs_put(store, &key, doc, len, NULL, 0, NULL), 0);
}

static void expect_doc(struct pfs_store *store, uint64_t n, unsigned version)
{
	struct pfs_key key = pfs_key_num(n);
	char doc[400];
	size_t want = make_doc(doc, sizeof(doc), n, version), len;
	void *data;

	assert_int_equal(pfs_get(store, &key, &data, &len, NULL), 0);
	assert_int_equal(len, want);
	assert_memory_equal(data, doc, want);
	free(data);
}

static void expect_error(struct pfs_store *store, uint64_t n, int err)
{
	struct pfs_key key = pfs_key_num(n);
	size_t len;
	void *data;

	assert_int_equal(pfs_get(store, &key, &data, &len, NULL), err);
}

static uint32_t dict_of(struct pfs_store *store, uint64_t n)
{
	struct pfs_key key = pfs_key_num(n);
	struct pfs_place place;

	assert_int_equal(pfs_place(store, &key, &place), 0);
	return place.dictionary;
}

static void put_docs(struct pfs_store *store, uint64_t first, uint64_t end, unsigned version)
{
	for (uint64_t n = first; n < end; n++)
		put_doc(store, n, version);
}

static void expect_docs(struct pfs_store *store, uint64_t first, uint64_t end, unsigned version)
{
	for (uint64_t n = first; n < end; n++)
		expect_doc(store, n, version);
}

/* A dictionary of documents; no trainer is needed. */
static void add_dict(struct pfs_store *store, unsigned seed)
{
	char text[4096];
	size_t len = 0;

	while (len + 400 < sizeof(text))
		len += make_doc(text + len, sizeof(text) - len, seed * 1000 + len, seed);
	assert_int_equal(pfs_dict_add(store, text, len, 1000, 300), 0);
}

static struct pfs_sim *new_store(struct pfs_store **store)
{
	struct pfs_sim *sim = pfs_sim_new();

	create_store(sim, 256 * PFS_KIB, 16);
	*store = open_store(sim);
	return sim;
}

static bool has_dict(struct pfs_sim *sim, uint32_t number)
{
	char name[32];

	snprintf(name, sizeof(name), PFS_DICT_NAME_FMT, number);
	return has_file(sim, name);
}

enum harm { REMOVE, FLIP_ONE, FLIP_BOTH, SWAP };

/* Does something to the file of dictionary 1. */
static void harm(struct pfs_sim *sim, enum harm how)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_dir *dir;
	struct pfs_file *file;

	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE, &dir), 0);
	if (how == REMOVE) {
		assert_int_equal(dir->ops->unlink(dir, "dict-00000001"), 0);
	} else if (how == SWAP) {
		assert_int_equal(dir->ops->rename(dir, "dict-00000002", "dict-00000001"), 0);
	} else {
		assert_int_equal(dir->ops->open(dir, "dict-00000001", PFS_IO_WRITE, &file), 0);
		assert_int_equal(file->ops->write(file, "#", 1, 100), 0);
		if (how == FLIP_BOTH)
			assert_int_equal(file->ops->write(file, "#", 1, PFS_DICT_STRIDE + 200), 0);
		file->ops->close(file);
	}
	dir->ops->close_dir(dir);
}

/* Proves: training makes a dictionary from the points, new values are packed with it and much
 * smaller, and all are read before and after a checkpoint, a reopening and a change of attributes.
 */
static void trained_dictionaries_serve_new_values(void **state)
{
	struct pfs_train_result result;
	struct pfs_store *store;
	struct pfs_sim *sim = new_store(&store);
	struct pfs_store_stat before, after;
	int err;

	(void)state;
	assert_int_equal(pfs_train(store, false, &result),
			 pfs_train_version() ? -ENODATA : -EOPNOTSUPP);
	put_docs(store, 0, DOCS, 1);
	err = pfs_train(store, false, &result);
	if (!pfs_train_version()) {
		assert_int_equal(err, -EOPNOTSUPP);
		add_dict(store, 1);
	} else {
		assert_int_equal(err, 0);
		assert_int_equal(result.number, 1);
		assert_true(result.packed * 2 < result.before && result.packed > 0);
		assert_int_equal(pfs_train(store, false, &result), -EALREADY);
	}
	assert_int_equal(dict_of(store, 5), 0);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_store_stat(store, &before), 0);
	put_docs(store, 0, DOCS, 2);
	assert_int_equal(dict_of(store, 5), 1);
	expect_docs(store, 0, DOCS, 2);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(dict_of(store, 5), 1);
	expect_docs(store, 0, DOCS, 2);
	assert_int_equal(pfs_store_stat(store, &after), 0);
	assert_true(after.container_bytes * 3 < before.container_bytes * 2);
	assert_int_equal(pfs_dict_find(store, 1)->users, DOCS);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	store = open_store(sim);
	assert_int_equal(pfs_dict_find(store, 1)->users, DOCS);
	assert_true(store->dict_users_known);
	expect_docs(store, 0, DOCS, 2);
	put_docs(store, DOCS, DOCS + 10, 3);
	assert_int_equal(dict_of(store, DOCS), 1);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

/* What a body that names a dictionary goes through: new attributes, another name, exchange, a patch
 * over it, growing to blocks and shrinking again. */
static void change_everything(struct pfs_store *store)
{
	struct pfs_attr attr = {.mode = 0600, .mtime_ns = 77};
	struct pfs_key from = pfs_key_num(1), to = pfs_key_num(2001);
	char doc[400];
	uint32_t object;
	size_t len;

	assert_int_equal(pfs_lookup(store, &from, &object, NULL), 0);
	assert_int_equal(pfs_setattr(store, object, PFS_ATTR_MODE | PFS_ATTR_MTIME, &attr, NULL),
			 0);
	from = pfs_key_num(2);
	assert_int_equal(pfs_rename(store, &from, &to, 0, NULL), 0);
	from = pfs_key_num(3);
	to = pfs_key_num(4);
	assert_int_equal(pfs_rename(store, &from, &to, PFS_RENAME_EXCHANGE, NULL), 0);
	from = pfs_key_num(5);
	len = make_doc(doc, sizeof(doc), 5, 1);
	assert_int_equal(pfs_lookup(store, &from, &object, NULL), 0);
	attr.size = 100000;
	assert_int_equal(pfs_setattr(store, object, PFS_ATTR_SIZE, &attr, NULL), 0);
	attr.size = len;
	assert_int_equal(pfs_setattr(store, object, PFS_ATTR_SIZE, &attr, NULL), 0);
	from = pfs_key_num(6);
	assert_int_equal(pfs_lookup(store, &from, &object, NULL), 0);
	assert_int_equal(pfs_write(store, object, 2, "PACKAGE", 7, 1), 0);
}

static void expect_changed(struct pfs_store *store)
{
	struct pfs_key key = pfs_key_num(3);
	char doc[400], got[400];
	size_t len = make_doc(doc, sizeof(doc), 4, 1);
	uint32_t object;

	expect_doc(store, 1, 1);
	expect_error(store, 2, -ENOENT);
	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	assert_int_equal(pfs_read(store, object, 0, got, sizeof(got)), len);
	assert_memory_equal(got, doc, len);
	expect_doc(store, 5, 1);
	key = pfs_key_num(6);
	len = make_doc(doc, sizeof(doc), 6, 1);
	memcpy(doc + 2, "PACKAGE", 7);
	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	assert_int_equal(pfs_read(store, object, 0, got, sizeof(got)), len);
	assert_memory_equal(got, doc, len);
}

/* Proves: records that name a dictionary, and changes of documents that do, are replayed after the
 * process has died, with the users counted right, and check agrees at every stage. */
static void replay_knows_the_dictionary(void **state)
{
	struct pfs_store *store, *again;
	struct pfs_sim *sim = new_store(&store), *killed;

	(void)state;
	add_dict(store, 1);
	for (unsigned round = 0; round < 3; round++) {
		put_docs(store, 0, 100, 1);
		if (round == 1)
			assert_int_equal(pfs_store_checkpoint(store), 0);
		change_everything(store);
		if (round == 2)
			assert_int_equal(pfs_store_checkpoint(store), 0);
		expect_changed(store);
		killed = pfs_sim_kill(sim);
		expect_healthy(killed);
		again = open_store(killed);
		expect_changed(again);
		expect_docs(again, 7, 100, 1);
		assert_true(dict_of(again, 7) == 1 && dict_of(again, 2001) == 1);
		assert_int_equal(pfs_store_close(again), 0);
		expect_healthy(killed);
		pfs_sim_free(killed);
	}
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

#define CUTS 3
#define CUT_STEPS 400

struct cuts {
	struct pfs_sim *sim, *images[CUT_STEPS * CUTS];
	unsigned synced[CUT_STEPS * CUTS]; /* rounds that had been synced */
	unsigned rounds;
	size_t count, all;
};

static int cut(void *arg, const struct pfs_sim_step *step)
{
	struct cuts *cuts = arg;

	if (cuts->count + CUTS > pfs_array_len(cuts->images))
		return 0;
	for (unsigned i = 0; i < CUTS; i++) {
		cuts->synced[cuts->count] = cuts->rounds;
		cuts->images[cuts->count++] =
			i ? pfs_sim_crash_seed(cuts->sim, step->number * CUTS + i)
			  : pfs_sim_crash_index(cuts->sim, 0);
	}
	return 0;
}

/* Opens what power cuts have left during the last call. */
static void open_images(struct cuts *cuts)
{
	for (size_t i = 0; i < cuts->count; i++) {
		struct pfs_store *again = open_store(cuts->images[i]);
		uint32_t newest = again->dict ? again->dict->number : 0;

		for (uint64_t n = 0; n < 5 && cuts->synced[i]; n++) {
			struct pfs_key key = pfs_key_num(n);
			char doc[400];
			size_t len;
			void *data;
			unsigned version = cuts->synced[i];

			assert_int_equal(pfs_get(again, &key, &data, &len, NULL), 0);
			if (len != make_doc(doc, sizeof(doc), n, version) ||
			    memcmp(doc, data, len) != 0)
				version++;
			free(data);
			expect_doc(again, n, version);
		}
		add_dict(again, 9);
		assert_true(again->dict->number > newest && again->dict->number > cuts->synced[i]);
		put_doc(again, 0, 9);
		assert_int_equal(pfs_store_close(again), 0);
		expect_healthy(cuts->images[i]);
		pfs_sim_free(cuts->images[i]);
	}
	cuts->all += cuts->count;
	cuts->count = 0;
}

/* Proves C9, first half: whenever power fails while dictionaries are made, used and dropped, what
 * was synced is read, in a store that checks well, and numbers go on where they were. */
static void power_cuts_never_part_value_and_dictionary(void **state)
{
	struct cuts *cuts = calloc(1, sizeof(*cuts));
	struct pfs_store *store;

	(void)state;
	cuts->sim = new_store(&store);
	pfs_sim_on_step(cuts->sim, cut, cuts);
	for (unsigned round = 1; round <= 3; round++) {
		add_dict(store, round);
		open_images(cuts);
		put_docs(store, 0, 5, round);
		assert_int_equal(pfs_sync(store), 0);
		open_images(cuts);
		cuts->rounds = round;
		assert_int_equal(pfs_store_checkpoint(store), 0);
		open_images(cuts);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	open_images(cuts);
	assert_false(has_dict(cuts->sim, 1));
	pfs_sim_on_step(cuts->sim, NULL, NULL);
	assert_true(cuts->all > 100);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(cuts->sim);
	free(cuts);
}

static void keep_line(void *arg, enum pfs_log_level level, const char *line)
{
	if (level == PFS_LOG_ERROR && strstr(line, "dict-"))
		snprintf(arg, PFS_LOG_LINE_MAX, "%s", line);
}

/* Proves: whose value can't be read for want of its dictionary is told which one that is, and
 * whether it is gone or damaged. */
static void the_dictionary_that_is_wanted_is_named(void **state)
{
	static const struct {
		enum harm harm;
		const char *says;
	} cases[] = {{REMOVE, "damage in dict-00000001 at byte 0: the dictionary is missing"},
		     {FLIP_BOTH, "damage in dict-00000001 at byte 0: the dictionary is damaged"}};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		char line[PFS_LOG_LINE_MAX] = "";
		struct pfs_store *store;
		struct pfs_sim *sim = new_store(&store);
		const struct pfs_open_options options = {.manual = true,
							 .io = pfs_sim_io(sim),
							 .logger = {.fn = keep_line, .arg = line}};

		add_dict(store, 1);
		put_doc(store, 1, 1);
		assert_int_equal(pfs_store_close(store), 0);
		harm(sim, cases[i].harm);
		assert_int_equal(pfs_store_open(&store, STORE, &options, NULL), 0);
		line[0] = 0;
		expect_error(store, 1, -EIO);
		if (!strstr(line, cases[i].says))
			fail_msg("%s", line);
		assert_int_equal(pfs_store_close(store), 0);
		pfs_sim_free(sim);
	}
}

/* Proves: without its dictionary, with a damaged one, or with another under its name, a value is an
 * error and never other bytes; the others are read; check names all that is hit. */
static void values_without_their_dictionary_are_errors(void **state)
{
	static const enum harm harms[] = {REMOVE, FLIP_BOTH, SWAP};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(harms); i++) {
		struct pfs_store *store;
		struct pfs_sim *sim = new_store(&store);
		struct found *found;
		size_t named = 0;

		put_docs(store, 0, 10, 1);
		add_dict(store, 1);
		put_docs(store, 10, 20, 1);
		add_dict(store, 2);
		put_docs(store, 20, 30, 1);
		assert_int_equal(pfs_store_close(store), 0);
		harm(sim, harms[i]);
		found = check_store(sim);
		for (size_t j = 0; j < found->count; j++)
			named += found->at[j].fatal && found->at[j].key.kind == PFS_KEY_NUM;
		assert_int_equal(named, harms[i] == SWAP ? 20 : 10);
		assert_int_equal(found->count > named, harms[i] != REMOVE);
		free(found);
		store = open_store(sim);
		for (uint64_t n = 10; n < 20; n++)
			expect_error(store, n, -EIO);
		expect_docs(store, 0, 10, 1);
		if (harms[i] != SWAP)
			expect_docs(store, 20, 30, 1);
		/* They can be put anew, and a new dictionary has a number of its own. */
		put_docs(store, 10, 30, 2);
		add_dict(store, 3);
		put_doc(store, 10, 3);
		assert_int_equal(dict_of(store, 10), 3);
		expect_docs(store, 11, 30, 2);
		assert_int_equal(pfs_store_close(store), 0);
		pfs_sim_free(sim);
	}
}

/* Proves: one damaged copy costs nothing: check tells of it, and the next opening writes both. */
static void one_damaged_copy_is_written_again(void **state)
{
	struct pfs_store *store;
	struct pfs_sim *sim = new_store(&store);
	struct found *found;

	(void)state;
	add_dict(store, 1);
	put_docs(store, 0, 10, 1);
	assert_int_equal(pfs_store_close(store), 0);
	harm(sim, FLIP_ONE);
	found = check_store(sim);
	assert_int_equal(found->count, 1);
	assert_true(found->at[0].fatal);
	free(found);
	store = open_store(sim);
	expect_docs(store, 0, 10, 1);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

/* Proves C9, second half: a dictionary goes when the last document that named it has, and what was
 * logged of it is applied: not before, whether that document is present, removed and still open, or
 * under a patch. Its number is not given again. */
static void unused_dictionaries_are_dropped(void **state)
{
	struct pfs_open_options options = {.manual = true, .hold_objects = true, .logger = quiet};
	struct pfs_key key = pfs_key_num(3);
	struct pfs_reason reason;
	struct pfs_store *store;
	struct pfs_sim *sim = new_store(&store);
	uint32_t object;
	char doc[400];
	size_t len;

	(void)state;
	assert_int_equal(pfs_store_close(store), 0);
	options.io = pfs_sim_io(sim);
	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
	add_dict(store, 1);
	put_docs(store, 0, 10, 1);
	add_dict(store, 2);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	put_docs(store, 0, 2, 2);
	put_docs(store, 4, 10, 2);
	assert_int_equal(pfs_dict_find(store, 1)->users, 2);
	/* In the journal still. */
	put_doc(store, 2, 2);
	assert_int_equal(pfs_remove(store, &key, &object), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_true(has_dict(sim, 1));
	len = make_doc(doc, sizeof(doc), 3, 1);
	{
		char got[400];

		assert_int_equal(pfs_read(store, object, 0, got, sizeof(got)), len);
		assert_memory_equal(got, doc, len);
	}
	pfs_release(store, object);
	assert_int_equal(pfs_dict_find(store, 1)->users, 0);
	assert_true(has_dict(sim, 1));
	for (unsigned i = 0; i < 2; i++) {
		put_doc(store, 0, 2);
		assert_int_equal(pfs_store_checkpoint(store), 0);
	}
	assert_false(has_dict(sim, 1));
	assert_null(pfs_dict_find(store, 1));
	/* The newest stays without users. */
	for (uint64_t n = 0; n < 10; n++) {
		key = pfs_key_num(n);
		if (n != 3)
			assert_int_equal(pfs_remove(store, &key, &object), 0);
		if (n != 3)
			pfs_release(store, object);
	}
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_true(has_dict(sim, 2));
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	store = open_store(sim);
	add_dict(store, 3);
	assert_int_equal(store->dict->number, 3);
	put_doc(store, 0, 1);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_false(has_dict(sim, 2));
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: a dictionary that something is being packed with, or that a stage is laid over, stays. */
static void dictionaries_in_use_stay(void **state)
{
	struct pfs_key key = pfs_key_num(1);
	struct pfs_attr attr = {.size = 200000};
	struct pfs_packed packed;
	struct pfs_store *store;
	struct pfs_sim *sim = new_store(&store), *killed;
	char doc[400];
	uint32_t object;
	size_t len = make_doc(doc, sizeof(doc), 1, 1);

	(void)state;
	add_dict(store, 1);
	put_doc(store, 1, 1);
	assert_int_equal(pfs_pack(store, &packed, doc, len, true), 0);
	assert_ptr_equal(packed.dict, store->dict);
	add_dict(store, 2);
	for (unsigned i = 0; i < 3; i++) {
		put_doc(store, 1, 1);
		assert_int_equal(pfs_store_checkpoint(store), 0);
	}
	assert_int_equal(pfs_dict_find(store, 1)->users, 0);
	assert_true(has_dict(sim, 1));
	pfs_packed_free(&packed);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_false(has_dict(sim, 1));
	add_dict(store, 3);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	assert_int_equal(pfs_setattr(store, object, PFS_ATTR_SIZE, &attr, NULL), 0);
	/* Its base names the second dictionary, and it is too young for a checkpoint. */
	assert_int_equal(pfs_dict_find(store, 2)->users, 0);
	for (unsigned i = 0; i < 3; i++) {
		put_doc(store, 2, i);
		assert_int_equal(pfs_store_checkpoint(store), 0);
	}
	assert_true(has_dict(sim, 2));
	killed = pfs_sim_kill(sim);
	assert_int_equal(pfs_store_close(store), 0);
	store = open_store(killed);
	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	assert_int_equal(pfs_read(store, object, 0, doc, len), len);
	{
		char want[400];

		make_doc(want, sizeof(want), 1, 1);
		assert_memory_equal(doc, want, len);
	}
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	expect_healthy(killed);
	pfs_sim_free(sim);
	pfs_sim_free(killed);
}

/* Proves: once a container that does not verify was left behind, nobody can say whose user it was:
 * nothing is dropped, across reopening, and check compares nothing that is not known. */
static void doubtful_counts_drop_nothing(void **state)
{
	struct pfs_store *store;
	struct pfs_sim *sim = new_store(&store);
	struct pfs_key key = pfs_key_num(1);
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_place place;
	struct pfs_dir *dir;
	struct pfs_file *file;

	(void)state;
	add_dict(store, 1);
	put_docs(store, 0, 3, 1);
	add_dict(store, 2);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_place(store, &key, &place), 0);
	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE, &dir), 0);
	assert_int_equal(dir->ops->open(dir, "page-00000001", PFS_IO_WRITE, &file), 0);
	assert_int_equal(file->ops->write(file, "\xff\xff", 2, place.offset + 10), 0);
	file->ops->close(file);
	dir->ops->close_dir(dir);
	expect_error(store, 1, -EIO);
	put_docs(store, 0, 3, 2);
	assert_false(store->dict_users_known);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_true(has_dict(sim, 1));
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	store = open_store(sim);
	assert_false(store->dict_users_known);
	put_doc(store, 1, 3);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_true(has_dict(sim, 1));
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: with dict=off new values name no dictionary, and those that do are read. */
static void switched_off_means_reading_only(void **state)
{
	struct pfs_open_options options = {.manual = true, .dict = PFS_DICT_OFF, .logger = quiet};
	struct pfs_reason reason;
	struct pfs_store *store;
	struct pfs_sim *sim = new_store(&store);

	(void)state;
	add_dict(store, 1);
	put_docs(store, 0, 10, 1);
	assert_int_equal(pfs_store_close(store), 0);
	options.io = pfs_sim_io(sim);
	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
	expect_docs(store, 0, 10, 1);
	put_docs(store, 5, 20, 2);
	assert_true(dict_of(store, 4) == 1 && dict_of(store, 5) == 0 && dict_of(store, 15) == 0);
	expect_docs(store, 0, 5, 1);
	expect_docs(store, 5, 20, 2);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

static unsigned too_many;

static void count_too_many(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	too_many += level == PFS_LOG_ERROR && strstr(line, "more than 4096 dictionaries");
}

/* Proves: a store with more files of dictionaries than are kept opens, and says so. */
static void too_many_are_left_out(void **state)
{
	struct pfs_open_options options = {.manual = true, .logger = {.fn = count_too_many}};
	struct pfs_sim *sim = pfs_sim_new();

	(void)state;
	create_store(sim, 0, 0);
	pfs_sim_set_file_max(sim, 64 * PFS_MIB);
	for (unsigned i = 1; i <= 4097; i++) {
		struct pfs_store *store;
		struct pfs_sim *copy;
		char name[32];

		snprintf(name, sizeof(name), PFS_DICT_NAME_FMT, i);
		make_file(sim, name);
		if (i < 4096)
			continue;
		copy = pfs_sim_kill(sim);
		options.io = pfs_sim_io(copy);
		too_many = 0;
		assert_int_equal(pfs_store_open(&store, STORE, &options, NULL), 0);
		assert_int_equal(too_many, i > 4096);
		assert_int_equal(pfs_store_close(store), 0);
		pfs_sim_free(copy);
	}
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trained_dictionaries_serve_new_values),
		cmocka_unit_test(replay_knows_the_dictionary),
		cmocka_unit_test(power_cuts_never_part_value_and_dictionary),
		cmocka_unit_test(the_dictionary_that_is_wanted_is_named),
		cmocka_unit_test(values_without_their_dictionary_are_errors),
		cmocka_unit_test(one_damaged_copy_is_written_again),
		cmocka_unit_test(unused_dictionaries_are_dropped),
		cmocka_unit_test(dictionaries_in_use_stay),
		cmocka_unit_test(doubtful_counts_drop_nothing),
		cmocka_unit_test(too_many_are_left_out),
		cmocka_unit_test(switched_off_means_reading_only),
	};

	return cmocka_run_group_tests_name("store_dict", tests, NULL, NULL);
}
