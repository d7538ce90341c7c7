/* storage/publish*.c with pages of some kilobytes, so that there are many: where they end, what is
 * written for a change and what is said of it, to the byte; a generation is the old one or the new
 * one whatever happens; pruning leaves what is needed. */
#include "storage/publish_internal.h"
#undef PUBLISH_PAGE_MIN
#define PUBLISH_PAGE_MIN 20000
#undef PUBLISH_PAGE_TARGET
#define PUBLISH_PAGE_TARGET 60000
#undef PUBLISH_PAGE_MAX
#define PUBLISH_PAGE_MAX 150000
#undef PUBLISH_PAGE_OWN
#define PUBLISH_PAGE_OWN 30000
#undef PUBLISH_KEYS_PAGES_MAX
#define PUBLISH_KEYS_PAGES_MAX 12
#undef PUBLISH_KEYS_LEN_MAX
#define PUBLISH_KEYS_LEN_MAX 8000
#include "storage/publish.c"
#include "storage/publish_page.c"

#include "tests/unit/publish_helpers.h"

#include <limits.h>

#define NONE UINT64_MAX

/* ---- where pages end ---- */

/* Many that are empty or short, so that pages have more documents than blocks of keys; then longer
 * ones, of which some have pages of their own; then UUIDs. What is short is not packed. */
static void mixed_doc(const struct source *s, uint64_t i, struct pfs_key *key,
		      struct pfs_attr *attr, char **data, size_t *len)
{
	uint64_t r = pfs_mix64(i + 1);
	size_t size = i < 3000	    ? r % 16
		      : i % 8 < 4   ? 500 + r % 3000
		      : i % 64 == 4 ? PUBLISH_PAGE_OWN - PUBLISH_WEIGHT_MORE - 2 + r % 4
				    : r % 8000;

	if (i < 4000)
		*key = pfs_key_num(i * i * 3);
	else
		set_uuid(key, i, r);
	*attr = (struct pfs_attr){
		.mode = i % 5 ? 0644 : 0600, .gid = i % 7 ? 0 : 3, .mtime_ns = (int64_t)(i / 3)};
	*data = malloc(size + 1);
	memset(*data, 'x', size);
	if (i == s->changed && size)
		(*data)[size - 1] = (char)('A' + s->version);
	*len = size;
}

static struct source mixed(void)
{
	return (struct source){.count = 5000, .doc = mixed_doc, .changed = NONE, .absent = NONE};
}

/* The hash of a key by which a page or an object of keys ends. */
static uint64_t hash_of_key(const struct pfs_key *key, const char salt[5])
{
	uint8_t bytes[16];
	uint64_t number = 0;

	for (unsigned i = 0; i < 4; i++)
		number = number << 8 | (uint8_t)salt[i];
	pfs_key_to_bytes(bytes, key);
	return pfs_mix64(pfs_mix64(pfs_get_le64(bytes) ^ number) ^ pfs_get_le64(bytes + 8));
}

/* Proves: a page ends where the rule says, and so does an object of keys, each for every reason
 * there is: a publication by another program, which goes by the same rule, has the same pages. */
static void pages_end_where_the_rule_says(void **state)
{
	const struct source s = mixed();
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_publish_result r = publish_ok(pfs_sim_io(sim), &s);
	struct pfs_dir *dir = open_where(pfs_sim_io(sim));
	struct pfs_manifest m;
	uint64_t weight_of_page = 0, keys_len = 0;
	unsigned in_page = 0, in_block = 0, kind = 0, keys_pages = 0;
	unsigned by_own = 0, by_max = 0, by_hash = 0, by_count = 0, by_len = 0, by_salt = 0;
	uint32_t block = 0;
	bool own = false;

	(void)state;
	assert_int_equal(read_generation(dir, &m), 1);
	for (uint64_t i = 0; i < s.count; i++) {
		struct pfs_attr attr;
		struct pfs_key key;
		size_t len;
		char *data;
		uint64_t weight;
		bool page_ends = false, keys_end = false;

		mixed_doc(&s, i, &key, &attr, &data, &len);
		free(data);
		weight = len + 64;
		if (in_page == 0) {
			page_ends = true;
		} else if (own || weight >= 30000) {
			page_ends = true;
			by_own++;
		} else if (weight_of_page + weight > 150000) {
			page_ends = true;
			by_max++;
		} else if (weight_of_page >= 20000 &&
			   hash_of_key(&key, "page") < UINT64_MAX / 60000 * weight) {
			page_ends = true;
			by_hash++;
		}
		if (page_ends) {
			if (i == 0 || hash_of_key(&key, "keys") % 8 == 0) {
				keys_end = true;
				by_salt += i != 0;
			} else if (keys_pages == 12) {
				keys_end = true;
				by_count++;
			} else if (keys_len >= 8000) {
				keys_end = true;
				by_len++;
			}
			in_page = 0;
			weight_of_page = 0;
		}
		if (keys_end)
			keys_len = keys_pages = 0;
		if (page_ends || in_block == 1024 || key.kind != kind) {
			uint8_t first[16];

			assert_true(block < m.block_count);
			assert_true(block == 0 || m.blocks[block - 1].count == in_block);
			pfs_key_to_bytes(first, &key);
			assert_memory_equal(m.blocks[block].key, first, 16);
			assert_int_equal(m.blocks[block].kind, key.kind);
			assert_int_equal(m.blocks[block].begins_page, page_ends);
			assert_int_equal(m.blocks[block].begins_keys, keys_end);
			keys_len += m.blocks[block].len;
			block++;
			in_block = 0;
			kind = key.kind;
		}
		keys_pages += page_ends;
		in_page++;
		in_block++;
		weight_of_page += weight;
		own = weight >= 30000;
	}
	assert_int_equal(m.blocks[block - 1].count, in_block);
	assert_int_equal(m.block_count, block);
	assert_true(by_own > 5 && by_max && by_hash > 5 && by_count && by_len && by_salt > 2);
	assert_int_equal(r.points, s.count);
	pfs_manifest_free(&m);
	assert_int_equal(verify_published(dir, &s), 1);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* ---- what is written and said ---- */

struct known_names {
	char at[1000][PFS_OBJECT_NAME_MAX];
	size_t count;
};

static int know_name(void *arg, const char *name)
{
	struct known_names *known = arg;

	assert_true(known->count < pfs_array_len(known->at));
	snprintf(known->at[known->count++], PFS_OBJECT_NAME_MAX, "%s", name);
	return 0;
}

static bool is_known(const struct known_names *known, const struct pfs_manifest_object *o)
{
	char name[PFS_OBJECT_NAME_MAX];
	bool found = false;

	pfs_object_name(name, o->role, o->hash);
	for (size_t i = 0; i < known->count; i++)
		found |= strcmp(known->at[i], name) == 0;
	return found;
}

static bool has_digest(const struct pfs_manifest *m, const uint8_t *digest)
{
	bool found = false;

	for (uint32_t i = 0; i < m->object_count; i++)
		found |= m->objects[i].role == PFS_OBJECT_PAGE &&
			 memcmp(m->objects[i].digest, digest, PFS_HASH_LEN) == 0;
	return found;
}

/* What the result must be of a publication that found these files and that generation. */
static struct pfs_publish_result expected_result(const struct pfs_manifest *m,
						 const struct pfs_manifest *before,
						 const struct known_names *known)
{
	struct pfs_publish_result r = {.generation = m->generation,
				       .unchanged = m->generation == before->generation,
				       .points = m->points,
				       .raw_bytes = m->raw_bytes,
				       .objects = m->object_count};

	for (uint32_t i = 0; i < m->object_count; i++) {
		const struct pfs_manifest_object *o = &m->objects[i];

		r.bytes += o->len;
		if (is_known(known, o)) {
			r.reused++;
			r.reused_bytes += o->len;
		} else {
			r.uploaded++;
			r.uploaded_bytes += o->len;
		}
		r.reused_pages += o->role == PFS_OBJECT_PAGE && has_digest(before, o->digest);
	}
	return r;
}

static void assert_result(const struct pfs_publish_result *r, const struct pfs_publish_result *want)
{
	assert_int_equal(r->generation, want->generation);
	assert_int_equal(r->unchanged, want->unchanged);
	assert_int_equal(r->trained, want->trained);
	assert_int_equal(r->points, want->points);
	assert_int_equal(r->raw_bytes, want->raw_bytes);
	assert_int_equal(r->objects, want->objects);
	assert_int_equal(r->bytes, want->bytes);
	assert_int_equal(r->uploaded, want->uploaded);
	assert_int_equal(r->uploaded_bytes, want->uploaded_bytes);
	assert_int_equal(r->reused, want->reused);
	assert_int_equal(r->reused_bytes, want->reused_bytes);
	assert_int_equal(r->reused_pages, want->reused_pages);
}

/* Proves: of documents that change, go and come back, each publication writes what is not there yet
 * and nothing else, packs no page whose documents are those of before, and its result is exactly
 * that; what is read is what was given. */
static void results_are_exact(void **state)
{
	static const struct {
		uint64_t changed, absent;
		unsigned version;
	} steps[] = {
		{NONE, NONE, 0}, {NONE, NONE, 0}, {100, NONE, 1},  {100, NONE, 2},  {NONE, 100, 0},
		{NONE, 0, 0},	 {4999, 0, 1},	  {4999, 4998, 1}, {4004, NONE, 1}, {NONE, NONE, 0},
		{3999, 4000, 3}, {3000, 3001, 3}, {NONE, 2999, 0},
	};
	struct pfs_sim *sim = pfs_sim_new();
	struct known_names *known = malloc(sizeof(*known));
	struct pfs_manifest before = {0};
	uint32_t generation = 0;

	(void)state;
	assert_non_null(known);
	for (size_t i = 0; i < pfs_array_len(steps); i++) {
		struct source s = mixed();
		struct pfs_dir *dir = open_where(pfs_sim_io(sim));
		struct pfs_publish_result r, want;
		struct pfs_manifest m;
		uint64_t containers = 0;

		s.changed = steps[i].changed;
		s.absent = steps[i].absent;
		s.version = steps[i].version;
		known->count = 0;
		assert_int_equal(dir->ops->list(dir, know_name, known), 0);
		dir->ops->close_dir(dir);
		r = publish_ok(pfs_sim_io(sim), &s);
		dir = open_where(pfs_sim_io(sim));
		generation += i != 1; /* the same once more is no generation */
		assert_int_equal(read_generation(dir, &m), generation);
		want = expected_result(&m, &before, known);
		assert_result(&r, &want);
		assert_int_equal(m.points, s.count - (s.absent != NONE));
		for (uint32_t k = 0; k < m.object_count; k++)
			if (m.objects[k].role == PFS_OBJECT_PAGE)
				containers += pfs_page_containers_len(&m.objects[k]);
		assert_int_equal(m.container_bytes, containers);
		pfs_manifest_free(&before);
		before = m;
		if (i % 3 == 1)
			assert_int_equal(verify_published(dir, &s), generation);
		dir->ops->close_dir(dir);
	}
	pfs_manifest_free(&before);
	free(known);
	pfs_sim_free(sim);
}

/* Proves: the manifest says of the store, its moment and its documents what it was told; the
 * collection's UUID is that of the store that was published first. */
static void the_manifest_says_what_it_was_told(void **state)
{
	const struct source s = {.count = 10, .doc = odd_doc, .changed = NONE, .absent = NONE};
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_publish_options options = publish_options();
	uint8_t first[16];
	struct pfs_manifest m;

	(void)state;
	memcpy(first, options.source, 16);
	options.defaults = (struct pfs_defaults){.mode = 0604, .uid = 11, .gid = 12};
	for (unsigned round = 0; round < 2; round++) {
		struct pfs_dir *dir = open_where(pfs_sim_io(sim));
		struct pfs_publish_result r;

		options.sequence = 1000 + round;
		options.moment_ns = -3 - (int64_t)round;
		options.adopt = round;
		options.source[0] += (uint8_t)round;
		assert_int_equal(publish_to(dir, &s, &options, 0, &r, NULL), 0);
		assert_int_equal(read_generation(dir, &m), 1 + round);
		assert_memory_equal(m.uuid, first, 16);
		assert_memory_equal(m.source, options.source, 16);
		assert_int_equal(m.sequence, 1000 + round);
		assert_int_equal(m.published_ns, -3 - (int64_t)round);
		assert_int_equal(m.mode, 0604);
		assert_int_equal(m.uid, 11);
		assert_int_equal(m.gid, 12);
		assert_int_equal(m.points, 10);
		assert_int_equal(m.dict_raw, 0);
		assert_int_equal(m.dict_packed, 0);
		pfs_manifest_free(&m);
		dir->ops->close_dir(dir);
	}
	pfs_sim_free(sim);
}

/* ---- refusals ---- */

/* Fails one look: of a name, of a kind. */
struct blind {
	const char *name;
	enum pfs_sim_kind kind;
	int error;
};

static int fail_look(void *arg, const struct pfs_sim_step *step)
{
	const struct blind *b = arg;

	return step->kind == b->kind && strcmp(step->name, b->name) == 0 ? b->error : 0;
}

/* What beginning says of what lies there. */
static void expect_refusal(struct pfs_sim *sim, int err, const char *says)
{
	const struct pfs_publish_options options = publish_options();
	struct pfs_dir *dir = open_where(pfs_sim_io(sim));
	struct pfs_publish *p = (struct pfs_publish *)&options;
	struct pfs_reason reason;

	memset(&reason, 'x', sizeof(reason));
	assert_int_equal(pfs_publish_begin(&p, dir, WHERE, &options, &reason), err);
	assert_true(!p == !!err);
	assert_string_equal(reason.text, says);
	pfs_publish_end(p);
	/* Who does not ask why is told the error all the same. */
	dir->ops->close_dir(dir);
	dir = open_where(pfs_sim_io(sim));
	assert_int_equal(pfs_publish_begin(&p, dir, WHERE, &options, NULL), err);
	pfs_publish_end(p);
	dir->ops->close_dir(dir);
}

/* Proves: in a directory with anything else nothing is published, and the reason names it; what
 * publishing leaves behind, also of publications that were cut off, is no such thing. */
static void other_files_are_named(void **state)
{
	static const struct {
		const char *name;
		bool own;
	} cases[] = {
		{"page-00112233445566778899aabbccddeeff.pfp", true},
		{"keys-00112233445566778899aabbccddeeff.pfk", true},
		{"dict-00112233445566778899aabbccddeeff.pfd", true},
		{"generation-00000003", true},
		{"publish.lock", true},
		{"x.tmp", true},
		{"current.tmp", true},
		{"page-00112233445566778899aabbccddeeff.pfk", false},
		{"generation-3", false},
		{"lock", false},
		{".tmp", false},
		{"tmp", false},
		{"x.tmp~", false},
		{"xtmp", false},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_dir *dir = open_where(pfs_sim_io(sim));
		char says[256] = "";

		put_file(dir, cases[i].name);
		dir->ops->close_dir(dir);
		if (!cases[i].own)
			snprintf(says, sizeof(says),
				 "published: holds other files (%s); give an empty directory, or "
				 "one that was published to",
				 cases[i].name);
		expect_refusal(sim, cases[i].own ? 0 : -ENOTEMPTY, says);
		pfs_sim_free(sim);
	}
}

/* Proves: whatever is wrong with what was published before, or keeps it from being read, beginning
 * fails with that error and says exactly what it is. */
static void what_was_published_is_judged(void **state)
{
	static const struct {
		const char *file; /* written anew, or if text is NULL removed */
		const char *text;
		struct blind blind;
		int err;
		const char *says;
	} cases[] = {
		{NULL, NULL, {"", PFS_SIM_KINDS, 0}, 0, ""},
		{"current", "rubbish", {"", PFS_SIM_KINDS, 0}, -EUCLEAN, "`current` is damaged"},
		{"current",
		 "payloadfs collection 2\n",
		 {"", PFS_SIM_KINDS, 0},
		 -EPROTONOSUPPORT,
		 "made by a newer version of this program"},
		{"generation-00000001",
		 NULL,
		 {"", PFS_SIM_KINDS, 0},
		 -EUCLEAN,
		 "the manifest of its current generation is missing or can't be read"},
		{"generation-00000001",
		 "too short",
		 {"", PFS_SIM_KINDS, 0},
		 -EUCLEAN,
		 "the manifest of its current generation is missing or can't be read"},
		{"current",
		 "payloadfs collection 1\ngeneration 00000001\nlength 192\ncrc32c 00000001\n",
		 {"", PFS_SIM_KINDS, 0},
		 -EUCLEAN,
		 "the manifest of its current generation is missing or can't be read"},
		{NULL,
		 NULL,
		 {"current", PFS_SIM_OPEN, -EACCES},
		 -EACCES,
		 "`current` can't be read: Permission denied"},
		{NULL,
		 NULL,
		 {"current", PFS_SIM_READ, -EIO},
		 -EIO,
		 "`current` can't be read: Input/output error"},
		{NULL,
		 NULL,
		 {"generation-00000001", PFS_SIM_READ, -EIO},
		 -EIO,
		 "the manifest of its current generation is missing or can't be read: "
		 "Input/output error"},
		{"current",
		 NULL,
		 {"", PFS_SIM_READ, -EIO},
		 -EIO,
		 "can't be listed: Input/output error"},
	};
	const struct source s = {.count = 3, .doc = odd_doc, .changed = NONE, .absent = NONE};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct blind blind = cases[i].blind;
		struct pfs_dir *dir;
		char says[256] = "";

		publish_ok(pfs_sim_io(sim), &s);
		dir = open_where(pfs_sim_io(sim));
		if (cases[i].text)
			write_file(dir, cases[i].file, cases[i].text, strlen(cases[i].text));
		else if (cases[i].file)
			assert_int_equal(dir->ops->unlink(dir, cases[i].file), 0);
		dir->ops->close_dir(dir);
		if (*cases[i].says)
			snprintf(says, sizeof(says), "published: %s", cases[i].says);
		pfs_sim_on_look(sim, fail_look, &blind);
		expect_refusal(sim, cases[i].err, says);
		pfs_sim_on_look(sim, NULL, NULL);
		pfs_sim_free(sim);
	}
}

static uint64_t manifest_len(struct pfs_dir *dir)
{
	size_t len;

	free(read_file(dir, "generation-00000001", &len));
	return len;
}

/* Proves: a manifest that is not the one `current` speaks of, by its bytes or its number, is
 * refused, and so is the store's when it is another's, unless it is adopted. */
static void other_manifests_are_refused(void **state)
{
	const struct source s = {.count = 3, .doc = odd_doc, .changed = NONE, .absent = NONE};
	static const char says[] =
		"published: the manifest is not the one that `current` speaks of";

	(void)state;
	for (unsigned way = 0; way < 3; way++) {
		struct pfs_sim *sim = pfs_sim_new();
		char text[PFS_CURRENT_LEN_MAX];
		struct pfs_manifest m;
		struct pfs_dir *dir;

		publish_ok(pfs_sim_io(sim), &s);
		dir = open_where(pfs_sim_io(sim));
		assert_int_equal(read_generation(dir, &m), 1);
		m.generation += way == 1;
		put_current(dir, 1, &m);
		pfs_manifest_free(&m);
		if (way == 2) /* with a checksum that is another one's */
			write_file(dir, "current", text,
				   (size_t)sprintf(text,
						   "payloadfs collection 1\n"
						   "generation 00000001\n"
						   "length %llu\n"
						   "crc32c 00000001\n",
						   (unsigned long long)manifest_len(dir)));
		dir->ops->close_dir(dir);
		if (way == 1) {
			const struct pfs_publish_options options = publish_options();
			struct pfs_publish *p;

			dir = open_where(pfs_sim_io(sim));
			assert_int_equal(pfs_publish_begin(&p, dir, WHERE, &options, NULL),
					 -EUCLEAN);
			dir->ops->close_dir(dir);
		} else {
			expect_refusal(sim, way ? -EUCLEAN : 0, way ? says : "");
		}
		pfs_sim_free(sim);
	}
}

static int deny_lock(struct pfs_dir *dir, const char *name, bool create)
{
	(void)dir;
	assert_string_equal(name, "publish.lock");
	assert_true(create);
	return -EACCES;
}

/* Proves: while another one publishes, and where the lock can't be had, beginning fails and says
 * so; what was unfinished is removed by who has the lock, and nothing else is. */
static void the_lock_is_needed(void **state)
{
	const struct pfs_publish_options options = publish_options();
	const struct source s = {.count = 3, .doc = odd_doc, .changed = NONE, .absent = NONE};
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_reason reason;
	struct pfs_publish *p;
	struct pfs_io_ops ops;
	struct pfs_dir *dir;
	struct listing l;

	(void)state;
	publish_ok(pfs_sim_io(sim), &s);
	dir = open_where(pfs_sim_io(sim));
	assert_int_equal(pfs_publish_begin(&p, dir, WHERE, &options, NULL), 0);
	put_file(dir, "a.tmp");
	expect_refusal(sim, -EBUSY, "published: somebody else is publishing there");
	assert_int_equal(list_where(dir).others, 1);
	pfs_publish_end(p);
	dir->ops->close_dir(dir);
	dir = open_where(pfs_sim_io(sim));
	ops = *dir->ops;
	ops.lock = deny_lock;
	dir->ops = &ops;
	assert_int_equal(pfs_publish_begin(&p, dir, WHERE, &options, &reason), -EACCES);
	assert_string_equal(reason.text, "published: can't be locked: Permission denied");
	put_file(dir, ".tmp");
	put_file(dir, "b.tmp");
	put_file(dir, "atmp");
	dir->ops->close_dir(dir);
	expect_refusal(sim, 0, "");
	dir = open_where(pfs_sim_io(sim));
	l = list_where(dir);
	assert_int_equal(l.others, 2);
	assert_int_equal(l.objects, 2);
	assert_int_equal(l.generations, 1);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: from another store nothing is published over this one's, and the reason tells how it is
 * done all the same; with that it is done. */
static void another_store_is_adopted_only_when_told(void **state)
{
	const struct source s = {.count = 3, .doc = odd_doc, .changed = NONE, .absent = NONE};

	(void)state;
	for (unsigned at = 0; at < 16; at++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_publish_options options = publish_options();
		struct pfs_reason reason;
		struct pfs_publish *p;
		struct pfs_dir *dir;

		publish_ok(pfs_sim_io(sim), &s);
		dir = open_where(pfs_sim_io(sim));
		options.source[at] ^= 1;
		assert_int_equal(pfs_publish_begin(&p, dir, WHERE, &options, &reason), -EEXIST);
		assert_string_equal(
			reason.text,
			"published: was published from another store; --adopt publishes "
			"this one there all the same (as after restoring a backup)");
		options.adopt = true;
		assert_int_equal(pfs_publish_begin(&p, dir, WHERE, &options, &reason), 0);
		assert_string_equal(reason.text, "");
		pfs_publish_end(p);
		dir->ops->close_dir(dir);
		pfs_sim_free(sim);
	}
}

/* Documents with a page each, so that there are several objects, and little to pack. */
static void large_doc(const struct source *s, uint64_t i, struct pfs_key *key,
		      struct pfs_attr *attr, char **data, size_t *len)
{
	*len = PUBLISH_PAGE_OWN;
	*data = malloc(*len);
	memset(*data, (int)(i == s->changed ? 'a' + s->version : 'A'), *len);
	*key = pfs_key_num(i);
	*attr = (struct pfs_attr){.mode = 0644, .mtime_ns = 7};
}

/* Proves: keys that do not ascend, that are no points', and documents that are too long are refused
 * one by one, and change nothing. */
static void wrong_documents_are_refused(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_publish_options options = publish_options();
	struct pfs_dir *dir = open_where(pfs_sim_io(sim));
	const struct pfs_attr attr = {.mode = 0644};
	struct pfs_key key = pfs_key_num(5), scratch;
	struct pfs_publish_result r;
	struct pfs_publish *p;

	(void)state;
	assert_int_equal(pfs_key_parse(&scratch, "scratch", 7), 0);
	assert_int_equal(pfs_publish_begin(&p, dir, WHERE, &options, NULL), 0);
	assert_int_equal(pfs_publish_add(p, &key, &attr, "5", 1), 0);
	assert_int_equal(pfs_publish_add(p, &key, &attr, "5", 1), -EINVAL);
	key.num = 4;
	assert_int_equal(pfs_publish_add(p, &key, &attr, "4", 1), -EINVAL);
	assert_int_equal(pfs_publish_add(p, &scratch, &attr, "s", 1), -EINVAL);
	key.num = 5;
	assert_int_equal(pfs_publish_add(p, &key, &attr, "5", 1), -EINVAL);
	key.num = 6;
	assert_int_equal(pfs_publish_add(p, &key, &attr, "6", PFS_PAYLOAD_MAX + 1), -EFBIG);
	set_uuid(&key, 0, 0);
	assert_int_equal(pfs_publish_add(p, &key, &attr, "u", 1), 0);
	key = pfs_key_num(7);
	assert_int_equal(pfs_publish_add(p, &key, &attr, "7", 1), -EINVAL);
	assert_int_equal(pfs_publish_commit(p, &r), 0);
	assert_int_equal(r.points, 2);
	assert_int_not_equal(pfs_publish_add(p, &key, &attr, "7", 1), 0);
	pfs_publish_end(p);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* ---- what pages are made of ---- */

/* The hash of what the only page of these documents is made of, worked out here. */
static void digest_of(uint8_t digest[PFS_HASH_LEN], const struct pfs_publish_options *o,
		      const struct source *s, const struct pfs_manifest_object *dict)
{
	struct pfs_hash *hash;
	uint8_t head[52] = {1}; /* without a dictionary its number and hash are 0 */

	assert_int_equal(pfs_hash_new(&hash), 0);
	pfs_hash_begin(hash);
	pfs_put_le32(head + 4, o->defaults.mode);
	pfs_put_le32(head + 8, o->defaults.uid);
	pfs_put_le32(head + 12, o->defaults.gid);
	memcpy(head + 20, o->source, 16);
	if (dict) {
		pfs_put_le32(head + 16, dict->count);
		memcpy(head + 36, dict->hash, 16);
	}
	pfs_hash_add(hash, head, 52);
	for (uint64_t i = 0; i < s->count; i++) {
		struct pfs_attr attr = {0};
		uint8_t about[49] = {0};
		struct pfs_key key;
		char *data;
		size_t len;

		s->doc(s, i, &key, &attr, &data, &len);
		pfs_key_to_bytes(about, &key);
		about[16] = key.kind;
		pfs_put_le64(about + 17, (uint64_t)attr.mtime_ns);
		if (attr.mode != o->defaults.mode || attr.uid != o->defaults.uid ||
		    attr.gid != o->defaults.gid) {
			pfs_put_le32(about + 25, attr.mode);
			pfs_put_le32(about + 29, attr.uid);
			pfs_put_le32(about + 33, attr.gid);
			about[37] = 1;
		}
		pfs_put_le64(about + 41, len);
		pfs_hash_add(hash, about, sizeof(about));
		pfs_hash_add(hash, data, len);
		free(data);
	}
	assert_int_equal(pfs_hash_end(hash, digest), 0);
	pfs_hash_free(hash);
}

/* Attributes with a bit in each of their bytes; version says which of them is the default. */
static void attribute_doc(const struct source *s, uint64_t i, struct pfs_key *key,
			  struct pfs_attr *attr, char **data, size_t *len)
{
	(void)s;
	if (i < 4)
		*key = pfs_key_num(i * UINT64_C(0x0102030405060708));
	else
		set_uuid(key, i, ~i);
	*attr = (struct pfs_attr){.mode = i & 1 ? 06753 : 0644,
				  .uid = i & 2 ? 0x81828384 : 0,
				  .gid = i & 4 ? 0x91929394 : 0,
				  .mtime_ns = (int64_t)(i * UINT64_C(0x8877665544332211))};
	*len = 20 * i;
	*data = malloc(*len + 1);
	memset(*data, (int)i, *len);
}

/* Proves: a page is found again by all that it was made of, in an order that stays what it is: with
 * another one every page of every collection would be written anew. */
static void pages_are_known_by_what_they_are_made_of(void **state)
{
	static const struct pfs_defaults defaults[] = {
		{.mode = 0644},
		{.mode = 06753},
		{.mode = 0644, .uid = 0x81828384},
		{.mode = 0644, .gid = 0x91929394},
		{.mode = 06753, .uid = 0x81828384, .gid = 0x91929394},
	};
	const struct source s = {.count = 8, .doc = attribute_doc, .changed = NONE, .absent = NONE};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(defaults); i++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_publish_options options = publish_options();
		struct pfs_dir *dir = open_where(pfs_sim_io(sim));
		struct pfs_publish_result r;
		uint8_t digest[PFS_HASH_LEN];
		struct pfs_manifest m;

		options.defaults = defaults[i];
		for (unsigned k = 0; k < 16; k++)
			options.source[k] = (uint8_t)(0x11 * k + i);
		assert_int_equal(publish_to(dir, &s, &options, 0, &r, NULL), 0);
		assert_int_equal(read_generation(dir, &m), 1);
		assert_int_equal(m.object_count, 2);
		digest_of(digest, &options, &s, NULL);
		assert_memory_equal(m.objects[1].digest, digest, PFS_HASH_LEN);
		pfs_manifest_free(&m);
		assert_int_equal(verify_published(dir, &s), 1);
		dir->ops->close_dir(dir);
		pfs_sim_free(sim);
	}
}

/* Proves: modes count with the bits that a file has, and no others. */
static void modes_have_twelve_bits(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	const struct pfs_publish_options options = publish_options();
	struct pfs_dir *dir = open_where(pfs_sim_io(sim));
	struct pfs_key_block *block = malloc(sizeof(*block));
	struct pfs_publish_result r;
	struct pfs_publish *p;
	struct pfs_manifest m;
	uint8_t *keys;

	(void)state;
	assert_int_equal(pfs_publish_begin(&p, dir, WHERE, &options, NULL), 0);
	for (unsigned bit = 0; bit < 32; bit++) {
		const struct pfs_attr attr = {.mode = 0644 ^ 1u << bit};
		const struct pfs_key key = pfs_key_num(bit);

		assert_int_equal(pfs_publish_add(p, &key, &attr, "x", 1), 0);
	}
	assert_int_equal(pfs_publish_commit(p, &r), 0);
	pfs_publish_end(p);
	assert_int_equal(read_generation(dir, &m), 1);
	keys = read_object(dir, &m, 0);
	assert_int_equal(pfs_key_block_decode(block, keys, m.blocks[0].len), 0);
	assert_int_equal(block->count, 32);
	for (unsigned bit = 0; bit < 32; bit++) {
		assert_int_equal(block->entries[bit].own_attr, bit < 12);
		if (bit < 12)
			assert_int_equal(block->entries[bit].mode, 0644 ^ 1u << bit);
	}
	free(keys);
	free(block);
	pfs_manifest_free(&m);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: whatever the number of threads that pack, the bytes are the same; there may be more than
 * are used. */
static void threads_change_nothing(void **state)
{
	static const unsigned counts[] = {
		1, 2, 3, PUBLISH_THREADS_MAX, PUBLISH_THREADS_MAX + 1, UINT_MAX, 0};
	struct pfs_sim *sim = pfs_sim_new();
	struct source s = {.count = 6, .doc = large_doc, .changed = NONE, .absent = NONE};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(counts); i++) {
		struct pfs_publish_options options = publish_options();
		struct pfs_dir *dir = open_where(pfs_sim_io(sim));
		struct pfs_publish_result r;

		options.threads = counts[i];
		assert_int_equal(publish_to(dir, &s, &options, 0, &r, NULL), 0);
		assert_int_equal(r.unchanged, i > 0);
		assert_int_equal(verify_published(dir, &s), 1);
		dir->ops->close_dir(dir);
	}
	pfs_sim_free(sim);
}

/* Proves: the documents of a page are divided into shares that follow each other, of about as many
 * bytes, not more of them than threads, and none that is not worth a thread but the last. */
static void shares_are_about_as_large(void **state)
{
	static const uint32_t lens[] = {0, 100, 20000, 262144 - 64, 262144 - 65, 600000};

	(void)state;
	for (unsigned i = 0; i < pfs_array_len(lens) * PUBLISH_THREADS_MAX; i++) {
		struct pfs_publish *p = calloc(1, sizeof(*p));
		struct share shares[PUBLISH_THREADS_MAX];
		uint64_t each, weight = lens[i % 6] + 64;
		size_t next = 0;
		unsigned n;

		p->threads = 1 + i / 6;
		p->doc_count = 40;
		p->docs = calloc(p->doc_count, sizeof(*p->docs));
		for (size_t k = 0; k < p->doc_count; k++)
			p->docs[k].raw_len = lens[i % 6];
		p->weight = p->doc_count * weight;
		each = p->weight / p->threads + 1;
		if (each < 262144)
			each = 262144;
		n = divide(p, shares);
		assert_in_range(n, 1, p->threads);
		for (unsigned k = 0; k < n; k++) {
			uint64_t bytes = (shares[k].to - shares[k].from) * weight;

			assert_int_equal(shares[k].from, next);
			assert_true(k + 1 == n || (bytes >= each && bytes - weight < each));
			assert_true(bytes - weight < each || k + 1 == p->threads);
			assert_true(shares[k].p == p && shares[k].hc == p->hc[k]);
			next = shares[k].to;
		}
		assert_int_equal(next, p->doc_count);
		free(p->docs);
		free(p);
	}
}

/* Proves: documents from 16 bytes on are packed if that makes them shorter. */
static void what_is_short_is_not_packed(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_where(pfs_sim_io(sim));
	const struct pfs_publish_options options = publish_options();
	const struct pfs_attr attr = {.mode = 0644};
	struct pfs_key_block *block = malloc(sizeof(*block));
	struct pfs_publish_result r;
	struct pfs_publish *p;
	struct pfs_manifest m;
	uint8_t *keys, *page;

	(void)state;
	assert_int_equal(pfs_publish_begin(&p, dir, WHERE, &options, NULL), 0);
	for (unsigned len = 0; len < 40; len++) {
		const struct pfs_key key = pfs_key_num(len);

		assert_int_equal(pfs_publish_add(p, &key, &attr,
						 "00000000000000000000000000000000000000000", len),
				 0);
	}
	assert_int_equal(pfs_publish_commit(p, &r), 0);
	pfs_publish_end(p);
	assert_int_equal(read_generation(dir, &m), 1);
	keys = read_object(dir, &m, 0);
	page = read_object(dir, &m, 1);
	assert_int_equal(pfs_key_block_decode(block, keys, m.blocks[0].len), 0);
	for (unsigned len = 0; len < 40; len++) {
		const struct pfs_key_entry *e = &block->entries[len];
		const struct pfs_container_base base = {PFS_KEY_NUM, len, PFS_PUBLISHED_SEQ, 0};
		struct pfs_container c;

		assert_int_equal(pfs_container_header_decode(&c, page + m.objects[1].head + e->off,
							     e->len, e->len, &base),
				 0);
		assert_int_equal(!(c.flags & PFS_CONTAINER_LZ4), len < 16);
		assert_int_equal(c.dict, 0);
	}
	free(keys);
	free(page);
	free(block);
	pfs_manifest_free(&m);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* ---- dictionaries ---- */

#define SAMPLES 1203

/* A sample: a record, or for version 1 a text of all samples in which nothing comes twice. A few of
 * them are too short to be packed. */
static void sample_doc(const struct source *s, uint64_t i, struct pfs_key *key,
		       struct pfs_attr *attr, char **data, size_t *len)
{
	const struct source records = {.size = 300, .changed = NONE};

	record_doc(&records, i, key, attr, data, len);
	for (size_t at = 0; s->version && at + 8 < *len - 20; at += 8)
		pfs_put_le64((uint8_t *)*data + at, pfs_mix64(at));
	if (i % 8 == 3)
		*len = 12;
}

static struct source samples(unsigned version)
{
	return (struct source){.count = 20,
			       .doc = sample_doc,
			       .changed = NONE,
			       .absent = NONE,
			       .version = version};
}

/* Publishes few documents, with many samples like them before. */
static struct pfs_publish_result publish_samples(struct pfs_sim *sim, unsigned version, bool dict)
{
	struct pfs_dir *dir = open_where(pfs_sim_io(sim)); /* which holds the lock */
	struct pfs_publish_options options = publish_options();
	const struct source s = samples(version);
	struct pfs_publish_result r;
	struct pfs_publish *p;

	options.dict_off = !dict;
	assert_int_equal(pfs_publish_begin(&p, dir, WHERE, &options, NULL), 0);
	for (unsigned adding = 0; adding < 2; adding++) {
		for (uint64_t i = 0; i < (adding ? s.count : SAMPLES); i++) {
			struct pfs_attr attr;
			struct pfs_key key;
			size_t len;
			char *data;

			sample_doc(&s, i, &key, &attr, &data, &len);
			assert_int_equal(adding ? pfs_publish_add(p, &key, &attr, data, len)
						: pfs_publish_sample(p, data, len),
					 0);
			free(data);
		}
	}
	assert_int_equal(p->sample_count, dict ? SAMPLES - SAMPLES / 8 : 0);
	assert_int_equal(pfs_publish_commit(p, &r), 0);
	pfs_publish_end(p);
	assert_int_equal(verify_published(dir, &s), r.generation);
	dir->ops->close_dir(dir);
	return r;
}

/* What every eighth sample takes, raw and packed with the dictionary of the current generation. */
static void try_samples(struct pfs_dir *dir, unsigned version, uint64_t *raw, uint64_t *packed)
{
	const struct source s = samples(version);
	struct pfs_codec_dict *dict;
	struct pfs_codec_hc *hc;
	struct pfs_manifest m;
	uint8_t out[1000], *bytes;

	assert_true(read_generation(dir, &m) > 0);
	assert_int_equal(m.objects[0].role, PFS_OBJECT_DICT);
	bytes = read_object(dir, &m, 0);
	assert_int_equal(pfs_codec_dict_new(&dict, bytes, m.objects[0].len), 0);
	assert_int_equal(pfs_codec_hc_new(&hc), 0);
	*raw = *packed = 0;
	for (uint64_t i = 0, taken = 0; i < SAMPLES; i++) {
		struct pfs_attr attr;
		struct pfs_key key;
		size_t len, n;
		char *data;

		sample_doc(&s, i, &key, &attr, &data, &len);
		if (len >= 16 && taken++ % 8 == 7) {
			n = pfs_codec_pack_hc(hc, out, len, (uint8_t *)data, len, dict);
			*raw += len;
			*packed += n ? n : len;
		}
		free(data);
	}
	pfs_codec_hc_free(hc);
	pfs_codec_dict_free(dict);
	pfs_manifest_free(&m);
	free(bytes);
}

/* Makes the current generation say that its dictionary has promised that. */
static void promise(struct pfs_dir *dir, uint64_t raw, uint64_t packed)
{
	struct pfs_manifest m;

	assert_true(read_generation(dir, &m) > 0);
	m.dict_raw = raw;
	m.dict_packed = packed;
	put_current(dir, m.generation, &m);
	pfs_manifest_free(&m);
}

/* The dictionary of the current generation, of which the one page was made of these documents. */
static void expect_dict(struct pfs_dir *dir, const struct source *s, uint32_t number, uint64_t raw,
			uint64_t packed)
{
	struct pfs_manifest m;

	assert_true(read_generation(dir, &m) > 0);
	assert_int_equal(m.objects[0].role, PFS_OBJECT_DICT);
	assert_int_equal(m.objects[0].count, number);
	assert_int_equal(m.dict_raw, raw);
	assert_int_equal(m.dict_packed, packed);
	if (s) {
		const struct pfs_publish_options options = publish_options();
		uint8_t digest[PFS_HASH_LEN];

		digest_of(digest, &options, s, &m.objects[0]);
		assert_memory_equal(m.objects[m.object_count - 1].digest, digest, PFS_HASH_LEN);
	}
	pfs_manifest_free(&m);
}

/* Proves: a dictionary promises what every eighth sample takes with it, which it was not made of.
 * It stays as long as samples take a quarter more than promised, and no longer: then a new one is
 * made, with the next number, and what it promises. */
static void a_dictionary_stays_while_it_serves(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	const struct source records = samples(0), texts = samples(1);
	struct pfs_publish_result r;
	struct pfs_dir *dir;
	uint64_t raw, packed, other_raw, other_packed;

	(void)state;
	if (!pfs_store_trainer()) {
		print_message(
			"NOT TESTED: this build has no libzstd, so it makes no dictionaries\n");
		pfs_sim_free(sim);
		return;
	}
	dir = open_where(pfs_sim_io(sim));
	assert_true(publish_samples(sim, 0, true).trained);
	try_samples(dir, 0, &raw, &packed);
	expect_dict(dir, &records, 1, raw, packed);
	/* The same again is the same. */
	r = publish_samples(sim, 0, true);
	assert_true(!r.trained && r.unchanged && r.reused_pages == 1 && r.uploaded == 0);
	try_samples(dir, 1, &other_raw, &other_packed);
	for (unsigned times = 1; times <= 3; times += 2) { /* raw and packed in proportion */
		uint64_t promised = (4 * times * other_packed + 4) / 5;

		promise(dir, times * other_raw, promised);
		assert_false(publish_samples(sim, 1, true).trained);
		expect_dict(dir, &texts, 1, times * other_raw, promised);
	}
	promise(dir, other_raw, (4 * other_packed + 4) / 5 - 1);
	assert_true(publish_samples(sim, 1, true).trained);
	try_samples(dir, 1, &other_raw, &other_packed);
	expect_dict(dir, &texts, 2, other_raw, other_packed);
	/* It does not serve, and a new one would not serve better. */
	promise(dir, other_raw, other_packed / 2);
	r = publish_samples(sim, 1, true);
	assert_true(!r.trained && r.reused_pages == 1);
	expect_dict(dir, &texts, 2, other_raw, other_packed / 2);
	/* And none is used when none is wanted. */
	r = publish_samples(sim, 1, false);
	assert_true(!r.trained && !r.unchanged && r.reused_pages == 0 && r.objects == 2);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* ---- crashes and faults ---- */

struct cut {
	struct pfs_sim *sim;
	const struct source *before, *after;
	struct pfs_publish *now;
	unsigned seen[3]; /* images that show no generation, the first, the second */
	uint64_t fail_at; /* 0: cuts */
	bool pruning;	  /* only once the first generation's manifest is to be removed */
	uint64_t steps;
	int error;
	enum pfs_sim_kind failed;
};

/* A manifest that is there, whole, names nothing that is not (U1). */
static void look_at_manifests(struct pfs_dir *dir)
{
	for (uint32_t generation = 1; generation <= 2; generation++) {
		char name[PFS_OBJECT_NAME_MAX];
		struct pfs_manifest m;
		const char *why;
		uint8_t *bytes;
		size_t len;

		pfs_generation_name(name, generation);
		bytes = read_file(dir, name, &len);
		if (!bytes || pfs_manifest_decode(&m, bytes, len, &why) != 0) {
			free(bytes);
			continue;
		}
		for (uint32_t i = 0; i < m.object_count; i++)
			free(read_object(dir, &m, i));
		pfs_manifest_free(&m);
		free(bytes);
	}
}

/* A power cut shows what was before, or what comes, whole. */
static void look_at_image(struct cut *cut, struct pfs_sim *image)
{
	struct pfs_dir *dir = open_where(pfs_sim_io(image));
	struct pfs_manifest m;
	uint32_t generation = read_generation(dir, &m);

	if (generation) {
		pfs_manifest_free(&m);
		assert_int_equal(verify_published(dir, generation == 1 ? cut->before : cut->after),
				 generation);
	}
	look_at_manifests(dir);
	assert_in_range(generation, 0, 2);
	cut->seen[generation]++;
	dir->ops->close_dir(dir);
	pfs_sim_free(image);
}

static int on_step(void *arg, const struct pfs_sim_step *step)
{
	struct cut *cut = arg;

	if (cut->pruning && cut->steps == 0 && strcmp(step->name, "generation-00000001") != 0)
		return 0;
	cut->steps++;
	if (cut->fail_at && cut->steps == cut->fail_at)
		cut->failed = step->kind;
	if (cut->fail_at)
		return cut->steps == cut->fail_at ? cut->error : 0;
	look_at_image(cut, pfs_sim_crash_index(cut->sim, 0));
	/* Before names are made durable there are the most ways. */
	for (uint64_t seed = 0; seed < (step->kind == PFS_SIM_SYNC_DIR ? 40 : 4); seed++)
		look_at_image(cut, pfs_sim_crash_seed(cut->sim, 100 * cut->steps + seed));
	return 0;
}

/* Proves: a power cut at any moment leaves the generation from before or the new one, readable to
 * the last byte; when publishing has returned it is the new one. */
static void a_power_cut_leaves_old_or_new(void **state)
{
	struct source before = {.count = 3, .doc = large_doc, .changed = NONE, .absent = NONE};
	struct source after = {
		.count = 3, .doc = large_doc, .changed = 1, .absent = NONE, .version = 1};
	struct pfs_sim *sim = pfs_sim_new();
	struct cut cut = {.sim = sim, .before = &before, .after = &after};

	(void)state;
	pfs_sim_on_step(sim, on_step, &cut);
	publish_ok(pfs_sim_io(sim), &before);
	assert_true(cut.seen[0] && !cut.seen[2]);
	look_at_image(&cut, pfs_sim_crash_index(sim, 0));
	assert_true(cut.seen[1]);
	cut.seen[0] = cut.seen[1] = 0;
	publish_ok(pfs_sim_io(sim), &after);
	assert_true(!cut.seen[0] && cut.seen[1] && cut.seen[2]);
	cut.seen[1] = 0;
	look_at_image(&cut, pfs_sim_crash_index(sim, 0));
	assert_int_equal(cut.seen[1], 0);
	pfs_sim_on_step(sim, NULL, NULL);
	pfs_sim_free(sim);
}

/* Proves: a power cut while older generations are removed leaves no manifest that names what is
 * gone; when pruning has returned they are gone for good. */
static void a_power_cut_while_pruning_leaves_whole_generations(void **state)
{
	struct source before = {.count = 3, .doc = large_doc, .changed = NONE, .absent = NONE};
	struct source after = {
		.count = 3, .doc = large_doc, .changed = 1, .absent = NONE, .version = 1};
	struct pfs_publish_options options = publish_options();
	struct pfs_sim *sim = pfs_sim_new(), *image;
	struct cut cut = {.sim = sim, .before = &before, .after = &after, .pruning = true};
	struct pfs_publish_result r;
	struct pfs_prune_result pruned;
	struct pfs_dir *dir;
	struct listing l;

	(void)state;
	publish_ok(pfs_sim_io(sim), &before);
	dir = open_where(pfs_sim_io(sim));
	pfs_sim_on_step(sim, on_step, &cut);
	assert_int_equal(publish_to(dir, &after, &options, 1, &r, &pruned), 0);
	pfs_sim_on_step(sim, NULL, NULL);
	dir->ops->close_dir(dir);
	assert_int_equal(pruned.generations, 1);
	assert_true(cut.seen[2] && !cut.seen[0] && !cut.seen[1]);
	image = pfs_sim_crash_index(sim, 0);
	dir = open_where(pfs_sim_io(image));
	l = list_where(dir);
	assert_int_equal(l.generations, 1);
	assert_int_equal(l.others, 0);
	dir->ops->close_dir(dir);
	pfs_sim_free(image);
	pfs_sim_free(sim);
}

/* Proves: whichever step fails, the generation from before is there (or, when it was the very last
 * sync, either), the error is told, and publishing again works. */
static void a_failing_step_changes_nothing(void **state)
{
	static const int errors[] = {-ENOSPC, -EIO};
	struct source before = {.count = 2, .doc = large_doc, .changed = NONE, .absent = NONE};
	struct source after = {
		.count = 3, .doc = large_doc, .changed = 1, .absent = NONE, .version = 1};
	struct pfs_publish_options options = publish_options();
	bool failed = true;

	(void)state;
	for (uint64_t at = 1; failed; at += publish_takes_samples() ? 5 : 1) {
		struct pfs_sim *sim = pfs_sim_new();
		struct cut cut = {.fail_at = at, .error = errors[at % 2]};
		struct pfs_publish_result r;
		struct pfs_dir *dir;
		uint32_t generation;
		struct pfs_manifest m;
		int err;

		publish_ok(pfs_sim_io(sim), &before);
		dir = open_where(pfs_sim_io(sim));
		pfs_sim_on_step(sim, on_step, &cut);
		err = publish_to(dir, &after, &options, 0, &r, NULL);
		pfs_sim_on_step(sim, NULL, NULL);
		failed = cut.steps >= at;
		assert_int_equal(err != 0, failed);
		if (cut.failed != PFS_SIM_UNLINK) /* what is unfinished goes again */
			assert_int_equal(list_where(dir).others, 0);
		generation = read_generation(dir, &m);
		pfs_manifest_free(&m);
		if (failed && generation == 2)
			assert_int_equal(cut.steps, at); /* nothing comes behind it */
		assert_int_equal(verify_published(dir, generation == 1 ? &before : &after),
				 generation);
		dir->ops->close_dir(dir);
		r = publish_ok(pfs_sim_io(sim), &after);
		assert_int_equal(r.generation, 2);
		assert_int_equal(verify_in(pfs_sim_io(sim), &after), 2);
		pfs_sim_free(sim);
		assert_true(at < 200);
	}
}

/* ---- pruning ---- */

/* Proves: of five generations the two newest stay, with every object that they name, and nothing
 * else: neither the older ones, nor what nobody named, nor unfinished files. */
static void pruning_leaves_what_is_needed(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct source s = {.count = 3, .doc = large_doc, .changed = 0, .absent = NONE};
	struct pfs_publish_options options = publish_options();
	struct pfs_publish_result r;
	struct pfs_prune_result pruned;
	struct pfs_dir *dir;
	struct listing l;

	(void)state;
	for (s.version = 1; s.version <= 4; s.version++)
		publish_ok(pfs_sim_io(sim), &s);
	dir = open_where(pfs_sim_io(sim));
	l = list_where(dir);
	assert_int_equal(l.generations, 4);
	/* Of each generation a page and the keys are its own. */
	put_file(dir, "page-00112233445566778899aabbccddeeff.pfp");
	put_file(dir, "keys-00112233445566778899aabbccddeeff.pfk.tmp");
	put_file(dir, "generation-00000009");
	assert_int_equal(publish_to(dir, &s, &options, 2, &r, &pruned), 0);
	assert_int_equal(r.generation, 5);
	assert_int_equal(pruned.generations, 4);
	assert_true(pruned.bytes > 0);
	l = list_where(dir);
	assert_int_equal(l.generations, 2);
	assert_int_equal(l.others, 0);
	assert_int_equal(verify_published(dir, &s), 5);
	/* The other one that stays is whole, too. */
	{
		struct pfs_manifest m, older;
		const char *why;
		size_t len;
		uint8_t *bytes = read_file(dir, "generation-00000004", &len);
		unsigned named = 0;

		assert_int_equal(pfs_manifest_decode(&older, bytes, len, &why), 0);
		for (uint32_t i = 0; i < older.object_count; i++)
			free(read_object(dir, &older, i));
		assert_int_equal(read_generation(dir, &m), 5);
		for (unsigned role = PFS_OBJECT_DICT; role <= PFS_OBJECT_PAGE; role++)
			named += count_new(&older, &m, role);
		assert_int_equal(l.objects, older.object_count + named);
		pfs_manifest_free(&m);
		pfs_manifest_free(&older);
		free(bytes);
	}
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* A publication of these documents, committed. */
static struct pfs_publish *begin_and_commit(struct pfs_dir *dir, const struct source *s)
{
	const struct pfs_publish_options options = publish_options();
	struct pfs_publish_result r;
	struct pfs_publish *p;

	assert_int_equal(pfs_publish_begin(&p, dir, WHERE, &options, NULL), 0);
	for (uint64_t i = 0; i < s->count; i++) {
		struct pfs_attr attr;
		struct pfs_key key;
		size_t len;
		char *data;

		s->doc(s, i, &key, &attr, &data, &len);
		assert_int_equal(pfs_publish_add(p, &key, &attr, data, len), 0);
		free(data);
	}
	assert_int_equal(pfs_publish_commit(p, &r), 0);
	return p;
}

/* Whether a generation that stays names the file. */
static bool is_named(struct pfs_dir *dir, uint32_t first, uint32_t last, const char *file)
{
	bool found = false;

	for (uint32_t generation = first; generation <= last; generation++) {
		char name[PFS_OBJECT_NAME_MAX];
		struct pfs_manifest m;
		const char *why;
		size_t len;
		uint8_t *bytes;

		pfs_generation_name(name, generation);
		bytes = read_file(dir, name, &len);
		assert_non_null(bytes);
		assert_int_equal(pfs_manifest_decode(&m, bytes, len, &why), 0);
		for (uint32_t i = 0; i < m.object_count; i++) {
			pfs_object_name(name, m.objects[i].role, m.objects[i].hash);
			found |= strcmp(name, file) == 0;
		}
		pfs_manifest_free(&m);
		free(bytes);
	}
	return found;
}

/* Proves: what pruning takes and leaves is exact, in names and in figures: generations, objects and
 * what is unfinished, but for what a generation that stays names; nothing else. */
static void pruning_takes_exactly_what_is_its_own(void **state)
{
	static const struct {
		const char *name;
		unsigned len;
		bool goes;
	} files[] = {
		{"page-00112233445566778899aabbccddeeff.pfp", 7, true},
		{"keys-00112233445566778899aabbccddeeff.pfk", 11, true},
		{"dict-00112233445566778899aabbccddeeff.pfd", 0, true},
		{"dict-00112233445566778899aabbccddeeff.pfx", 5, false},
		{"x.tmp", 13, true},
		{".tmp", 3, false},
		{"xtmp", 3, false},
		{"a.tmp.a", 3, false},
		/* 63 and 64 bytes */
		{"12345678901234567890123456789012345678901234567890123456789.tmp", 17, true},
		{"123456789012345678901234567890123456789012345678901234567890.tmp", 19, false},
	};

	(void)state;
	for (uint32_t keep = 1; keep <= 5; keep++) {
		const uint32_t first = keep < 4 ? 5 - keep : 1;
		struct pfs_sim *sim = pfs_sim_new();
		struct source s = {.count = 3, .doc = large_doc, .changed = 0, .absent = NONE};
		struct known_names *before = calloc(1, sizeof(*before)),
				   *after = calloc(1, sizeof(*after));
		struct pfs_prune_result pruned, want = {.generations = 1 + first - 1};
		struct pfs_publish *p;
		struct pfs_dir *dir;
		size_t kept = 0;

		assert_true(before && after);
		for (s.version = 1; s.version <= 4; s.version++)
			publish_ok(pfs_sim_io(sim), &s);
		s.version = 4;
		dir = open_where(pfs_sim_io(sim));
		p = begin_and_commit(dir, &s);
		for (size_t i = 0; i < pfs_array_len(files); i++)
			write_file(dir, files[i].name, "12345678901234567890", files[i].len);
		put_file(dir, "generation-00000077");
		assert_int_equal(dir->ops->list(dir, know_name, before), 0);
		for (size_t i = 0; i < before->count; i++) {
			const char *name = before->at[i];
			bool goes = pfs_object_is_name(name, &(unsigned){0}, NULL) &&
				    !is_named(dir, first, 4, name);
			size_t len;

			for (size_t k = 0; k < pfs_array_len(files); k++)
				if (strcmp(name, files[k].name) == 0)
					goes = files[k].goes;
			free(read_file(dir, name, &len));
			want.objects += goes;
			want.bytes += goes ? len : 0;
			if (!goes)
				memmove(before->at[kept++], name, strlen(name) + 1);
		}
		assert_int_equal(pfs_publish_prune(p, keep, &pruned), 0);
		assert_int_equal(pruned.generations, want.generations);
		assert_int_equal(pruned.objects, want.objects);
		assert_int_equal(pruned.bytes, want.bytes);
		assert_int_equal(dir->ops->list(dir, know_name, after), 0);
		assert_int_equal(after->count, before->count - want.objects - want.generations);
		for (size_t i = 0; i < kept; i++) {
			bool found = false;
			uint32_t generation;

			for (size_t k = 0; k < after->count; k++)
				found |= strcmp(before->at[i], after->at[k]) == 0;
			assert_int_equal(found,
					 !pfs_generation_is_name(before->at[i], &generation) ||
						 (generation >= first && generation <= 4));
		}
		pfs_publish_end(p);
		assert_int_equal(verify_published(dir, &s), 4);
		free(before);
		free(after);
		dir->ops->close_dir(dir);
		pfs_sim_free(sim);
	}
}

/* Proves: when the manifest of a generation that is to stay can't be read, nothing is removed. */
static void pruning_needs_to_know(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct source s = {.count = 2, .doc = large_doc, .changed = 0, .absent = NONE};
	struct pfs_publish_options options = publish_options();
	struct pfs_publish_result r;
	struct pfs_prune_result pruned;
	struct pfs_dir *dir;
	struct pfs_file *file;
	struct listing before, after;

	(void)state;
	for (s.version = 1; s.version <= 3; s.version++)
		publish_ok(pfs_sim_io(sim), &s);
	dir = open_where(pfs_sim_io(sim));
	assert_int_equal(dir->ops->open(dir, "generation-00000003", PFS_IO_WRITE, &file), 0);
	s.version = 3;
	before = list_where(dir);
	dir->ops->close(file);
	assert_int_equal(dir->ops->open(dir, "generation-00000002", PFS_IO_WRITE, &file), 0);
	assert_int_equal(dir->ops->write(file, "x", 1, 100), 0);
	dir->ops->close(file);
	assert_int_equal(publish_to(dir, &s, &options, 2, &r, &pruned), -EUCLEAN);
	assert_true(r.unchanged);
	after = list_where(dir);
	assert_int_equal(before.objects, after.objects);
	assert_int_equal(before.generations, after.generations);
	dir->ops->close_dir(dir); /* with it goes the lock */
	dir = open_where(pfs_sim_io(sim));
	assert_int_equal(publish_to(dir, &s, &options, 1, &r, &pruned), 0);
	assert_int_equal(pruned.generations, 2);
	assert_int_equal(verify_published(dir, &s), 3);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

static void take_line(void *arg, enum pfs_log_level level, const char *line)
{
	char *text = arg;

	assert_int_equal(level, PFS_LOG_WARNING);
	assert_int_equal(strlen(text), 0);
	strcpy(text, line);
}

/* Proves: why nothing is pruned is said, with the generation that can't be read. */
static void pruning_says_what_it_lacks(void **state)
{
	static const char *const says[] = {
		"its manifest is missing or can't be read",
		"checksum",
		"its manifest is that of another generation",
	};

	(void)state;
	for (unsigned way = 0; way < 3; way++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct source s = {.count = 2, .doc = large_doc, .changed = 0, .absent = NONE};
		struct pfs_publish_options options = publish_options();
		char text[PFS_LOG_LINE_MAX] = "", want[256];
		struct blind blind = {"generation-00000002", PFS_SIM_READ, -EIO};
		struct pfs_publish_result r;
		struct pfs_prune_result pruned;
		struct pfs_dir *dir;
		uint8_t *bytes;
		size_t len;

		for (s.version = 1; s.version <= 3; s.version++)
			publish_ok(pfs_sim_io(sim), &s);
		s.version = 3;
		dir = open_where(pfs_sim_io(sim));
		bytes = read_file(dir, way == 1 ? "generation-00000002" : "generation-00000001",
				  &len);
		bytes[100] ^= way == 1;
		if (way)
			write_file(dir, "generation-00000002", bytes, len);
		else
			pfs_sim_on_look(sim, fail_look, &blind);
		free(bytes);
		options.logger = (struct pfs_logger){.fn = take_line, .arg = text};
		assert_int_equal(publish_to(dir, &s, &options, 3, &r, &pruned),
				 way ? -EUCLEAN : -EIO);
		pfs_sim_on_look(sim, NULL, NULL);
		snprintf(want, sizeof(want), "nothing is pruned: generation 2: %s", says[way]);
		assert_string_equal(text, want);
		assert_true(pruned.generations == 0 && pruned.objects == 0 && pruned.bytes == 0);
		assert_int_equal(list_where(dir).generations, 3);
		dir->ops->close_dir(dir);
		pfs_sim_free(sim);
	}
}

/* The directory's own operation, and the names that come of it but for one. */
static int (*list_all)(struct pfs_dir *dir, pfs_io_list_fn *fn, void *arg);

struct partly {
	pfs_io_list_fn *fn;
	void *arg;
};

static int give_others(void *arg, const char *name)
{
	const struct partly *p = arg;

	return strcmp(name, "generation-00000003") == 0 ? 0 : p->fn(p->arg, name);
}

static int list_others(struct pfs_dir *dir, pfs_io_list_fn *fn, void *arg)
{
	struct partly p = {fn, arg};

	return list_all(dir, give_others, &p);
}

/* Proves: the current generation stays, and counts, also where the list lacks its manifest. */
static void pruning_keeps_the_current_one(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct source s = {.count = 2, .doc = large_doc, .changed = 0, .absent = NONE};
	struct pfs_publish_options options = publish_options();
	struct pfs_publish_result r;
	struct pfs_prune_result pruned;
	struct pfs_io_ops ops;
	struct pfs_dir *dir;
	struct listing l;

	(void)state;
	for (s.version = 1; s.version <= 2; s.version++)
		publish_ok(pfs_sim_io(sim), &s);
	dir = open_where(pfs_sim_io(sim));
	ops = *dir->ops;
	list_all = ops.list;
	ops.list = list_others;
	dir->ops = &ops;
	assert_int_equal(publish_to(dir, &s, &options, 1, &r, &pruned), 0);
	assert_int_equal(r.generation, 3);
	assert_int_equal(pruned.generations, 2);
	ops.list = list_all;
	assert_int_equal(verify_published(dir, &s), 3);
	l = list_where(dir);
	assert_int_equal(l.generations, 1);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_end_where_the_rule_says),
		cmocka_unit_test(results_are_exact),
		cmocka_unit_test(the_manifest_says_what_it_was_told),
		cmocka_unit_test(other_files_are_named),
		cmocka_unit_test(what_was_published_is_judged),
		cmocka_unit_test(other_manifests_are_refused),
		cmocka_unit_test(the_lock_is_needed),
		cmocka_unit_test(another_store_is_adopted_only_when_told),
		cmocka_unit_test(pages_are_known_by_what_they_are_made_of),
		cmocka_unit_test(modes_have_twelve_bits),
		cmocka_unit_test(wrong_documents_are_refused),
		cmocka_unit_test(threads_change_nothing),
		cmocka_unit_test(shares_are_about_as_large),
		cmocka_unit_test(what_is_short_is_not_packed),
		cmocka_unit_test(a_dictionary_stays_while_it_serves),
		cmocka_unit_test(a_power_cut_leaves_old_or_new),
		cmocka_unit_test(a_power_cut_while_pruning_leaves_whole_generations),
		cmocka_unit_test(a_failing_step_changes_nothing),
		cmocka_unit_test(pruning_leaves_what_is_needed),
		cmocka_unit_test(pruning_takes_exactly_what_is_its_own),
		cmocka_unit_test(pruning_needs_to_know),
		cmocka_unit_test(pruning_says_what_it_lacks),
		cmocka_unit_test(pruning_keeps_the_current_one),
	};

	if (!pfs_hash_version()) {
		print_message("NOT TESTED: this build has no libcrypto, so it publishes nothing\n");
		return 0;
	}
	return cmocka_run_group_tests_name("publishing in small pages", tests, NULL, NULL);
}
