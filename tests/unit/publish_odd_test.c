/* storage/publish*.c: what is odd but allowed, and the ends of what can be published. */
#include "tests/unit/publish_helpers.h"

#include "storage/publish_internal.h"
#include "storage/store.h"
#include "storage/train.h"

#define NONE UINT64_MAX

static struct source small_source(unsigned version)
{
	return (struct source){.count = 10,
			       .doc = odd_doc,
			       .changed = version ? 4 : NONE,
			       .absent = NONE,
			       .version = version};
}

static int publish_with(struct pfs_sim *sim, const struct pfs_publish_options *options,
			unsigned version, struct pfs_publish_result *result)
{
	const struct source s = small_source(version);
	struct pfs_dir *dir = open_where(pfs_sim_io(sim));
	int err = publish_to(dir, &s, options, 0, result, NULL);

	dir->ops->close_dir(dir);
	return err;
}

/* Proves: with other defaults, or from another store that is adopted, it is another generation, of
 * the same documents; the same again is none. */
static void what_documents_are_read_with_is_content(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_publish_options options = publish_options();
	struct pfs_publish_result result;
	uint32_t generation = 1;

	(void)state;
	assert_int_equal(publish_with(sim, &options, 0, &result), 0);
	for (unsigned way = 0; way < 4; way++) {
		options.adopt = way == 3;
		if (way == 0)
			options.defaults.uid = 5;
		else if (way == 1)
			options.defaults.gid = 6;
		else if (way == 2)
			options.defaults.mode = 0600;
		else
			options.source[3]++;
		assert_int_equal(publish_with(sim, &options, 0, &result), 0);
		assert_false(result.unchanged);
		assert_int_equal(result.generation, ++generation);
		assert_int_equal(publish_with(sim, &options, 0, &result), 0);
		assert_true(result.unchanged);
	}
	options.adopt = false;
	options.source[3]++;
	assert_int_equal(publish_with(sim, &options, 0, &result), -EEXIST);
	pfs_sim_free(sim);
}

/* Makes the current generation one of that number. */
static void renumber(struct pfs_sim *sim, uint32_t generation)
{
	struct pfs_dir *dir = open_where(pfs_sim_io(sim));
	struct pfs_manifest m;

	assert_true(read_generation(dir, &m) > 0);
	m.generation = generation;
	put_current(dir, generation, &m);
	pfs_manifest_free(&m);
	dir->ops->close_dir(dir);
}

/* Proves: behind the last generation there is a number for, nothing is published, and it stays. */
static void generations_end(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_publish_options options = publish_options();
	struct source s = small_source(1);
	struct pfs_publish_result result;

	(void)state;
	assert_int_equal(publish_with(sim, &options, 0, &result), 0);
	renumber(sim, PFS_GENERATION_MAX - 1);
	assert_int_equal(publish_with(sim, &options, 1, &result), 0);
	assert_int_equal(result.generation, PFS_GENERATION_MAX);
	assert_int_equal(publish_with(sim, &options, 2, &result), -EFBIG);
	assert_int_equal(verify_in(pfs_sim_io(sim), &s), PFS_GENERATION_MAX);
	pfs_sim_free(sim);
}

static const struct pfs_io_ops *usual;

static int refuse_current(struct pfs_dir *dir, const char *name, unsigned flags,
			  struct pfs_file **out)
{
	if (strcmp(name, PFS_CURRENT_NAME) != 0 || !(flags & PFS_IO_WRITE))
		return usual->open(dir, name, flags, out);
	*out = NULL;
	return -EACCES;
}

/* Proves: where files appear whole and `current` can't be opened to be replaced, that is the error,
 * and it stays. */
static void current_must_be_opened_to_be_replaced(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_publish_options options = publish_options();
	const struct source before = small_source(0), after = small_source(1);
	struct pfs_publish_result result;
	struct pfs_dir *dir;
	struct pfs_io_ops ops;

	(void)state;
	assert_int_equal(publish_with(sim, &options, 0, &result), 0);
	dir = open_where(pfs_sim_io(sim));
	usual = dir->ops;
	ops = *usual;
	ops.open = refuse_current;
	ops.whole_files = true;
	dir->ops = &ops;
	assert_int_equal(publish_to(dir, &after, &options, 0, &result, NULL), -EACCES);
	dir->ops->close_dir(dir);
	assert_int_equal(verify_in(pfs_sim_io(sim), &before), 1);
	pfs_sim_free(sim);
}

/* ---- pruning ---- */

static int begin(struct pfs_dir *dir, struct pfs_publish **publish)
{
	const struct pfs_publish_options options = publish_options();
	struct pfs_reason reason;

	return pfs_publish_begin(publish, dir, WHERE, &options, &reason);
}

static void add_all(struct pfs_publish *publish, unsigned version)
{
	const struct source s = small_source(version);

	for (uint64_t i = 0; i < s.count; i++) {
		struct pfs_attr attr = {0};
		struct pfs_key key;
		char *data;
		size_t len;

		s.doc(&s, i, &key, &attr, &data, &len);
		assert_int_equal(pfs_publish_add(publish, &key, &attr, data, len), 0);
		free(data);
	}
}

/* How doomed files behave. */
static int fail_doomed(void *arg, const struct pfs_sim_step *step)
{
	const char *kind = arg;

	if (strncmp(step->name, "keys-", 5) != 0 || !strstr(step->name, ".tmp"))
		return 0;
	if (step->kind == PFS_SIM_UNLINK)
		return strcmp(kind, "gone") == 0 ? -ENOENT : 0;
	return step->kind == PFS_SIM_OPEN && strcmp(kind, "closed") == 0 ? -EACCES : 0;
}

/* Proves: pruning removes any number of leftovers, counts what it removed itself and the bytes that
 * it could look at; names that are too long to be its own stay, and so does everything before
 * something was published. */
static void leftovers_are_removed_and_counted(void **state)
{
	static const char *const kinds[] = {"usual", "gone", "closed"};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(kinds); i++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_dir *dir = open_where(pfs_sim_io(sim));
		struct pfs_publish_result result;
		struct pfs_prune_result pruned;
		struct pfs_publish *publish;
		struct pfs_file *file;
		char name[128];

		assert_int_equal(begin(dir, &publish), 0);
		add_all(publish, 0);
		assert_int_equal(pfs_publish_prune(publish, 1, &pruned), -EINVAL);
		assert_int_equal(pfs_publish_commit(publish, &result), 0);
		assert_int_equal(pfs_publish_prune(publish, 0, &pruned), -EINVAL);
		for (unsigned n = 0; n < 300; n++) {
			snprintf(name, sizeof(name), "keys-%u.tmp", n);
			write_file(dir, name, "12345", 5);
		}
		memset(name, 'x', 90);
		memcpy(name + 90, ".tmp", 5);
		write_file(dir, name, "1", 1);
		pfs_sim_on_step(sim, fail_doomed, (void *)(uintptr_t)kinds[i]);
		pfs_sim_on_look(sim, fail_doomed, (void *)(uintptr_t)kinds[i]);
		assert_int_equal(pfs_publish_prune(publish, 1, &pruned), 0);
		pfs_sim_on_step(sim, NULL, NULL);
		pfs_sim_on_look(sim, NULL, NULL);
		assert_int_equal(pruned.generations, 0);
		assert_int_equal(pruned.objects, i == 1 ? 0 : 300);
		assert_int_equal(pruned.bytes, i == 0 ? 1500 : 0);
		assert_int_equal(dir->ops->open(dir, name, 0, &file), 0);
		dir->ops->close(file);
		pfs_publish_end(publish);
		pfs_publish_end(NULL);
		dir->ops->close_dir(dir);
		pfs_sim_free(sim);
	}
}

/* ---- pages, keys ---- */

#define PAGES 12 /* of those that follow: enough that with one of them other keys begin */
#define FIRST_PAGE 2
#define SMALL_DOCS 3

/* Documents that have a page each. */
static void page_doc(const struct source *s, uint64_t i, struct pfs_key *key, struct pfs_attr *attr,
		     char **data, size_t *len)
{
	*len = PUBLISH_PAGE_OWN;
	*data = malloc(*len);
	memset(*data, (int)(i == s->changed ? 'a' + s->version : 'A'), *len);
	*key = pfs_key_num(FIRST_PAGE + i);
	*attr = (struct pfs_attr){.mode = 0644, .mtime_ns = i == s->changed ? 8 : 7};
}

/* A few that share one, and one that has one. */
static void few_doc(const struct source *s, uint64_t i, struct pfs_key *key, struct pfs_attr *attr,
		    char **data, size_t *len)
{
	page_doc(s, i, key, attr, data, len);
	if (i < SMALL_DOCS)
		*len = 30;
}

static unsigned count_role(const struct pfs_manifest *m, unsigned role)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < m->object_count; i++)
		count += m->objects[i].role == role;
	return count;
}

/* A check of what is published finds nothing. */
static void expect_sound(struct pfs_sim *sim, uint64_t documents)
{
	static const struct pfs_logger no_log = {.fn = publish_ignore_log};
	struct pfs_check_result result;
	struct pfs_reason reason;

	assert_int_equal(
		pfs_check(WHERE, pfs_sim_io(sim), &no_log, NULL, NULL, NULL, &result, &reason), 0);
	assert_int_equal(result.findings, 0);
	assert_int_equal(result.documents, documents);
}

/* Proves: the table of keys is in several objects, each of several pages, so that for a changed
 * document its page and the keys of a few pages are written; the check reads them all. */
static void keys_are_in_several_objects(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct source s = {.count = PAGES, .doc = page_doc, .changed = NONE, .absent = NONE};
	struct pfs_publish_result result = publish_ok(pfs_sim_io(sim), &s);
	struct pfs_dir *dir = open_where(pfs_sim_io(sim));
	struct pfs_manifest m;

	(void)state;
	assert_int_equal(read_generation(dir, &m), 1);
	assert_int_equal(count_role(&m, PFS_OBJECT_PAGE), PAGES);
	assert_in_range(count_role(&m, PFS_OBJECT_KEYS), 2, PAGES / 2);
	assert_int_equal(result.uploaded, m.object_count);
	for (uint32_t b = 0; b < m.block_count; b++)
		assert_true(m.blocks[b].begins_page);
	s.changed = PAGES - 1;
	result = publish_ok(pfs_sim_io(sim), &s);
	assert_int_equal(result.reused_pages, PAGES - 1);
	assert_int_equal(result.uploaded, 2);
	assert_int_equal(result.reused, m.object_count - 2);
	pfs_manifest_free(&m);
	assert_int_equal(verify_published(dir, &s), 2);
	dir->ops->close_dir(dir);
	expect_sound(sim, PAGES);
	pfs_sim_free(sim);
}

/* Proves: however many blocks of keys there are, each is where the table says, the first of an
 * object at its beginning. */
static void blocks_of_keys_are_added_up(void **state)
{
	struct pfs_publish *p = calloc(1, sizeof(*p));
	uint8_t bytes[4];

	(void)state;
	for (unsigned i = 0; i < 5000; i++) {
		const struct pfs_manifest_block block = {.key = {(uint8_t)i}, .len = 1 + i % 4};

		memset(bytes, (int)i, sizeof(bytes));
		assert_int_equal(publish_add_block(p, &block, bytes, i % 7 == 3), 0);
	}
	assert_int_equal(p->block_count, 5000);
	assert_int_equal(p->keys_len, 5000 / 4 * (1 + 2 + 3 + 4));
	assert_int_equal(p->keys_pages, 714);
	for (unsigned i = 0, at = 0; i < 5000; i++) {
		assert_int_equal(p->blocks[i].key[0], (uint8_t)i);
		assert_int_equal(p->blocks[i].len, 1 + i % 4);
		assert_int_equal(p->blocks[i].begins_page, i % 7 == 3);
		assert_int_equal(p->blocks[i].begins_keys, i == 0);
		for (unsigned k = 0; k <= i % 4; k++)
			assert_int_equal(p->keys[at++], (uint8_t)i);
	}
	pfs_publish_end(p);
}

/* Damages the first block of keys, in its object. Way 0: it does not. */
static void damage_keys(struct pfs_dir *dir, unsigned way)
{
	struct pfs_key_block *block = malloc(sizeof(*block));
	char name[PFS_OBJECT_NAME_MAX];
	struct pfs_manifest m;
	uint8_t *bytes;

	assert_int_equal(read_generation(dir, &m), 1);
	bytes = read_object(dir, &m, m.blocks[0].keys);
	assert_int_equal(pfs_key_block_decode(block, bytes, m.blocks[0].len), 0);
	assert_int_equal(block->count, SMALL_DOCS);
	if (way == 1)
		bytes[m.blocks[0].len / 2] ^= 1;
	if (way == 2) {
		block->entries[0].key[15]--;
		assert_int_equal(pfs_key_block_encode(bytes, block), m.blocks[0].len);
	}
	pfs_object_name(name, PFS_OBJECT_KEYS, m.objects[m.blocks[0].keys].hash);
	write_file(dir, name, bytes, way == 3 ? 10 : m.objects[m.blocks[0].keys].len);
	pfs_manifest_free(&m);
	free(bytes);
	free(block);
}

/* Proves: keys that are damaged, others', or cut off are not taken into the next generation: their
 * page is made again. */
static void damaged_keys_are_not_taken_over(void **state)
{
	(void)state;
	for (unsigned way = 0; way < 4; way++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct source s = {
			.count = SMALL_DOCS + 1, .doc = few_doc, .changed = NONE, .absent = NONE};
		struct pfs_publish_result result = publish_ok(pfs_sim_io(sim), &s);
		struct pfs_dir *dir = open_where(pfs_sim_io(sim));

		assert_int_equal(result.reused_pages, 0);
		damage_keys(dir, way);
		dir->ops->close_dir(dir);
		s.changed = SMALL_DOCS;
		result = publish_ok(pfs_sim_io(sim), &s);
		assert_int_equal(result.reused_pages, way == 0);
		assert_int_equal(verify_in(pfs_sim_io(sim), &s), 2);
		pfs_sim_free(sim);
	}
}

/* One document of several blocks. */
static void block_doc(const struct source *s, uint64_t i, struct pfs_key *key,
		      struct pfs_attr *attr, char **data, size_t *len)
{
	page_doc(s, i, key, attr, data, len);
	*len = s->size;
	key->num += s->absent != NONE;
}

/* The content number of the one document. */
static uint64_t content_of(const struct source *s)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_container_base base = {.base_seq = PFS_PUBLISHED_SEQ};
	struct pfs_container c;
	struct pfs_manifest_object *o;
	struct pfs_attr attr;
	struct pfs_manifest m;
	struct pfs_key key;
	struct pfs_dir *dir;
	uint8_t *bytes;
	size_t len;
	char *data;

	publish_ok(pfs_sim_io(sim), s);
	dir = open_where(pfs_sim_io(sim));
	assert_int_equal(read_generation(dir, &m), 1);
	o = &m.objects[m.object_count - 1];
	bytes = read_object(dir, &m, m.object_count - 1);
	s->doc(s, 0, &key, &attr, &data, &len);
	base.kind = key.kind;
	base.tag = pfs_key_tag(&key);
	base.base_mtime = o->base_mtime;
	len = pfs_page_containers_len(o);
	assert_int_equal(pfs_container_header_decode(&c, bytes + o->head, len, len, &base), 0);
	assert_true(c.flags & PFS_CONTAINER_BLOCKS);
	free(data);
	free(bytes);
	pfs_manifest_free(&m);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
	return c.content;
}

/* Proves: blocks of a document are never taken for those of another one, or of another state of it,
 * be it as long; the same one has the same bytes, wherever it is published. */
static void blocks_are_told_apart_by_content(void **state)
{
	struct source s = {
		.count = 1, .doc = block_doc, .changed = 0, .absent = NONE, .size = 70000};
	const uint64_t content = content_of(&s);
	uint8_t bytes[70000];

	(void)state;
	/* It stays what it is: with another one, pages would be written anew. */
	memset(bytes, 'a', sizeof(bytes));
	assert_true(content == (pfs_mix64((uint64_t)FIRST_PAGE << 56) ^
				((uint64_t)pfs_crc32c(0, bytes, sizeof(bytes)) << 32 | 70000)));
	assert_int_equal(content_of(&s), content);
	s.version++;
	assert_int_not_equal(content_of(&s), content);
	s.version--;
	s.size++;
	assert_int_not_equal(content_of(&s), content);
	s.size--;
	s.absent = 5; /* another key */
	assert_int_not_equal(content_of(&s), content);
}

/* ---- dictionaries ---- */

/* Proves: no more samples are taken than are needed, in number and in bytes, and none that is too
 * short or too long; too few make no dictionary. */
static void samples_are_bounded(void **state)
{
	static char bytes[PFS_PUBLISH_SAMPLE_LEN_MAX + 1];

	(void)state;
	for (unsigned way = 0; way < 4; way++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_dir *dir = open_where(pfs_sim_io(sim));
		struct pfs_publish_result result;
		struct pfs_publish *publish;
		size_t len = way == 0 ? 20 : way == 1 ? PFS_PUBLISH_SAMPLE_LEN_MAX : 100;
		unsigned count = way == 0   ? PFS_PUBLISH_SAMPLE_COUNT + 10
				 : way == 1 ? 60
				 : way == 2 ? PFS_TRAIN_POINTS_MIN - 1
					    : PFS_TRAIN_POINTS_MIN + 5;

		assert_int_equal(begin(dir, &publish), 0);
		for (unsigned i = 0; i < count; i++) {
			memset(bytes, (char)('a' + i % 26), len);
			assert_int_equal(pfs_publish_sample(publish, bytes, len), 0);
		}
		assert_int_equal(pfs_publish_sample(publish, bytes, 0), 0);
		assert_int_equal(pfs_publish_sample(publish, bytes, sizeof(bytes)), 0);
		assert_int_equal(publish->sample_count,
				 way == 0   ? PFS_PUBLISH_SAMPLE_COUNT
				 : way == 1 ? PFS_PUBLISH_SAMPLE_BYTES / PFS_PUBLISH_SAMPLE_LEN_MAX
					    : count);
		assert_int_equal(publish->sample_bytes, publish->sample_count * len);
		assert_int_equal(publish->sample_lens[publish->sample_count - 1], len);
		if (way >= 2) {
			add_all(publish, 0);
			/* Too late. */
			assert_int_equal(pfs_publish_sample(publish, bytes, 50), 0);
			assert_int_equal(pfs_publish_commit(publish, &result), 0);
			assert_false(result.trained);
		}
		pfs_publish_end(publish);
		dir->ops->close_dir(dir);
		pfs_sim_free(sim);
	}
}

static void record(const struct source *s, uint64_t i, struct pfs_key *key, struct pfs_attr *attr,
		   char **data, size_t *len)
{
	record_doc(s, i, key, attr, data, len);
	if (i % 50 == 7)
		*len = 10; /* too short to be packed */
}

/* Proves: a dictionary that can't be read any more, because it is damaged or cut off, is made again
 * when it is needed, and what was packed with it stays. */
static void a_damaged_dictionary_is_made_again(void **state)
{
	const struct source s = {
		.count = 3100, .doc = record, .changed = NONE, .absent = NONE, .size = 300};

	(void)state;
	for (unsigned way = 0; way < 2 && pfs_train_version(); way++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_dir *dir;
		char name[PFS_OBJECT_NAME_MAX];
		struct pfs_publish_result result;
		struct pfs_publish_options options = publish_options();
		struct pfs_manifest m;
		struct pfs_file *file;

		assert_true(publish_ok(pfs_sim_io(sim), &s).trained);
		dir = open_where(pfs_sim_io(sim));
		assert_int_equal(read_generation(dir, &m), 1);
		pfs_object_name(name, m.objects[0].role, m.objects[0].hash);
		pfs_manifest_free(&m);
		assert_int_equal(dir->ops->open(dir, name, PFS_IO_WRITE, &file), 0);
		if (way == 0)
			assert_int_equal(file->ops->write(file, "\xff\xff\xff\xff", 4, 100), 0);
		else
			assert_int_equal(file->ops->truncate(file, 100), 0);
		dir->ops->close(file);
		assert_int_equal(publish_to(dir, &s, &options, 0, &result, NULL), 0);
		assert_true(result.trained);
		if (way == 1) /* whole again */
			verify_published(dir, &s);
		dir->ops->close_dir(dir);
		pfs_sim_free(sim);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_documents_are_read_with_is_content),
		cmocka_unit_test(generations_end),
		cmocka_unit_test(current_must_be_opened_to_be_replaced),
		cmocka_unit_test(leftovers_are_removed_and_counted),
		cmocka_unit_test(keys_are_in_several_objects),
		cmocka_unit_test(blocks_of_keys_are_added_up),
		cmocka_unit_test(damaged_keys_are_not_taken_over),
		cmocka_unit_test(blocks_are_told_apart_by_content),
		cmocka_unit_test(samples_are_bounded),
		cmocka_unit_test(a_damaged_dictionary_is_made_again),
	};

	if (!pfs_hash_version()) {
		print_message("NOT TESTED: this build has no libcrypto, so it publishes nothing\n");
		return 0;
	}
	return cmocka_run_group_tests_name("publishing at its ends", tests, NULL, NULL);
}
