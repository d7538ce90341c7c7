/* storage/published_read.c, published_find.c, published_check.c: collections of a hostile server,
 * whose checksums are all right, of which one thing is another than it should be. */
#include <stdbool.h>
#include <stdint.h>

/* The check reads objects once, or again and again when they are long, which this decides. */
static uint64_t whole_max;
#define WHOLE_MAX whole_max
#include "storage/published_check.c"
#undef WHOLE_MAX

#include "tests/unit/publish_helpers.h"

#include "storage/store.h"

#define NONE UINT64_MAX
#define DOCS 20
#define NUMBERS 10 /* of these; the others have UUIDs */
#define ALL_WHOLE (64 * PFS_MIB)

enum { PACKED, BLOCKS, OWNED, EMPTY, PLAIN = 5, LAST_NUMBER = NUMBERS - 1, FIRST_UUID = NUMBERS };

static const struct pfs_logger no_log = {.fn = publish_ignore_log};

static void forged_doc(const struct source *s, uint64_t i, struct pfs_key *key,
		       struct pfs_attr *attr, char **data, size_t *len)
{
	(void)s;
	*len = i == PACKED ? 300 : i == BLOCKS ? 70000 : i == EMPTY ? 0 : 60;
	*data = malloc(*len + 1);
	for (size_t k = 0; k < *len; k++)
		(*data)[k] = i == PACKED || i == BLOCKS ? "abcabcabd"[k % 9]
							: (char)pfs_mix64(100 * i + k);
	if (i < NUMBERS)
		*key = pfs_key_num(10 * i);
	else
		set_uuid(key, i, pfs_mix64(i));
	*attr = (struct pfs_attr){.mode = i == OWNED ? 0600 : 0644,
				  .uid = i == OWNED ? 7 : 0,
				  .gid = i == OWNED ? 8 : 0,
				  .mtime_ns = 5};
}

static const struct source source = {
	.count = DOCS, .doc = forged_doc, .changed = NONE, .absent = NONE};

/* What was published, taken apart: one page, one table of two blocks. */
struct forged {
	struct pfs_sim *sim;
	struct pfs_dir *dir;
	struct pfs_manifest m;
	struct pfs_manifest_object *page, *keys;
	uint8_t *page_bytes, *keys_bytes;
	struct pfs_key_block blocks[2];
};

/* Of the last one that was taken apart. */
static char keys_name[PFS_OBJECT_NAME_MAX], page_name[PFS_OBJECT_NAME_MAX];

static struct forged *take_apart(void)
{
	struct forged *f = calloc(1, sizeof(*f));

	f->sim = pfs_sim_new();
	publish_ok(pfs_sim_io(f->sim), &source);
	f->dir = open_where(pfs_sim_io(f->sim));
	assert_int_equal(read_generation(f->dir, &f->m), 1);
	assert_int_equal(f->m.object_count, 2);
	assert_int_equal(f->m.block_count, 2);
	f->keys = &f->m.objects[0];
	f->page = &f->m.objects[1];
	pfs_object_name(keys_name, PFS_OBJECT_KEYS, f->keys->hash);
	pfs_object_name(page_name, PFS_OBJECT_PAGE, f->page->hash);
	f->keys_bytes = read_object(f->dir, &f->m, 0);
	f->page_bytes = read_object(f->dir, &f->m, 1);
	for (unsigned b = 0; b < 2; b++)
		assert_int_equal(pfs_key_block_decode(&f->blocks[b],
						      f->keys_bytes + f->m.blocks[b].off,
						      f->m.blocks[b].len),
				 0);
	return f;
}

static void throw_away(struct forged *f)
{
	f->dir->ops->close_dir(f->dir);
	pfs_manifest_free(&f->m);
	free(f->page_bytes);
	free(f->keys_bytes);
	pfs_sim_free(f->sim);
	free(f);
}

static struct pfs_key_entry *entry_of(struct forged *f, unsigned i)
{
	return &f->blocks[i >= NUMBERS].entries[i % NUMBERS];
}

static uint8_t *container_of(struct forged *f, unsigned i, struct pfs_container *c,
			     struct pfs_container_base *base)
{
	const struct pfs_key_entry *e = entry_of(f, i);
	uint8_t *bytes = f->page_bytes + f->page->head + e->off;
	struct pfs_key key;

	pfs_key_from_bytes(&key, f->blocks[i >= NUMBERS].kind, e->key);
	*base = (struct pfs_container_base){key.kind, pfs_key_tag(&key), PFS_PUBLISHED_SEQ,
					    f->page->base_mtime};
	assert_int_equal(pfs_container_header_decode(c, bytes, e->len, e->len, base), 0);
	return bytes;
}

/* With a good checksum. The tail is the key's, and must not be taken from what is written over. */
static void write_header(struct forged *f, unsigned i, struct pfs_container *c,
			 const struct pfs_container_base *base)
{
	uint8_t *bytes = f->page_bytes + f->page->head + entry_of(f, i)->off, tail[16];
	size_t n;

	if (c->tail.len)
		memcpy(tail, c->tail.bytes, c->tail.len);
	c->tail.bytes = tail;
	n = pfs_container_header_encode(bytes, c, base, entry_of(f, i)->len);
	assert_true(n == c->header_len || c->body_len == 0);
	pfs_container_seal(bytes, n, c->body_len, c->flags, c->seq, base);
}

static void write_object(struct forged *f, const struct pfs_manifest_object *o,
			 const uint8_t *bytes)
{
	char name[PFS_OBJECT_NAME_MAX];

	for (uint64_t off = 0; off < o->len; off += PFS_CHUNK_LEN)
		f->m.crcs[o->chunk + off / PFS_CHUNK_LEN] =
			pfs_crc32c(0, bytes + off, pfs_min_u64(PFS_CHUNK_LEN, o->len - off));
	pfs_object_name(name, o->role, o->hash);
	write_file(f->dir, name, bytes, o->len);
}

/* Publishes it as it is now. */
static void put_together(struct forged *f)
{
	for (unsigned b = 0; b < 2; b++) {
		uint8_t block[PFS_KEY_BLOCK_LEN_MAX];

		assert_int_equal(pfs_key_block_encode(block, &f->blocks[b]), f->m.blocks[b].len);
		memcpy(f->keys_bytes + f->m.blocks[b].off, block, f->m.blocks[b].len);
	}
	write_object(f, f->keys, f->keys_bytes);
	write_object(f, f->page, f->page_bytes);
	put_current(f->dir, 1, &f->m);
}

/* ---- what is forged ---- */

static void other_raw_len(struct forged *f)
{
	entry_of(f, PLAIN)->raw_len++;
}

static void short_raw_len(struct forged *f)
{
	entry_of(f, BLOCKS)->raw_len = 20000; /* of a small document */
}

static void other_time(struct forged *f)
{
	for (unsigned i = 0; i < NUMBERS; i++)
		entry_of(f, i)->mtime_ns++;
}

static void other_mode(struct forged *f)
{
	entry_of(f, OWNED)->mode ^= 040;
}

static void other_uid(struct forged *f)
{
	entry_of(f, OWNED)->uid++;
}

static void other_gid(struct forged *f)
{
	entry_of(f, OWNED)->gid++;
}

static void other_key(struct forged *f)
{
	entry_of(f, PLAIN)->key[7]++;
	entry_of(f, PLAIN)->key[15]++;
}

/* Of another UUID, whose tag is the same: that folds all of it. */
static void other_tail(struct forged *f)
{
	struct pfs_key_entry *e = entry_of(f, DOCS - 1);
	struct pfs_key key;
	uint64_t tag;

	pfs_key_from_bytes(&key, PFS_KEY_UUID, e->key);
	tag = pfs_key_tag(&key);
	for (uint64_t half = 0; memcmp(key.uuid, e->key, 16) <= 0; half++) {
		pfs_put_le64(key.uuid + 8, half);
		pfs_put_le64(key.uuid, tag ^ pfs_mix64(half));
	}
	assert_int_equal(pfs_key_tag(&key), tag);
	pfs_key_to_bytes(e->key, &key);
}

static void other_lengths(struct forged *f)
{
	for (unsigned i = PLAIN + 1; i < NUMBERS; i++)
		entry_of(f, i)->off--;
	entry_of(f, PLAIN)->len--;
	entry_of(f, PLAIN + 1)->len++;
	for (unsigned i = PLAIN + 2; i < NUMBERS; i++)
		entry_of(f, i)->off++;
}

static void longer_than_the_page(struct forged *f)
{
	entry_of(f, DOCS - 1)->len++;
}

static void other_ranks(struct forged *f)
{
	f->blocks[1].first++;
}

static void other_counts(struct forged *f)
{
	f->m.blocks[0].count--;
	f->m.blocks[1].count++;
}

static void other_fence(struct forged *f)
{
	f->m.blocks[1].key[7]--;
}

static void lost_content(struct forged *f)
{
	struct pfs_container_base base;
	struct pfs_container c;

	container_of(f, PLAIN, &c, &base);
	c.flags = PFS_CONTAINER_LOST;
	c.body_len = 0;
	write_header(f, PLAIN, &c, &base);
}

static void undecodable_body(struct forged *f)
{
	struct pfs_container_base base;
	struct pfs_container c;
	uint8_t *bytes = container_of(f, PACKED, &c, &base);

	assert_true(c.flags & PFS_CONTAINER_LZ4);
	memset(bytes + c.header_len, 0xff, c.body_len);
	write_header(f, PACKED, &c, &base);
}

/* Without a good checksum of the container: that of the chunk is good. */
static void other_body(struct forged *f)
{
	struct pfs_container_base base;
	struct pfs_container c;

	container_of(f, PLAIN, &c, &base)[c.header_len] ^= 1;
}

static uint8_t *table_of(struct forged *f, struct pfs_container *c)
{
	struct pfs_container_base base;
	uint8_t *bytes = container_of(f, BLOCKS, c, &base);

	assert_true(c->flags & PFS_CONTAINER_BLOCKS);
	return bytes + c->header_len;
}

static void mad_table(struct forged *f)
{
	struct pfs_container c;

	pfs_put_le32(table_of(f, &c), UINT32_MAX);
}

static void falling_table(struct forged *f)
{
	struct pfs_container c;
	uint8_t *table = table_of(f, &c);

	pfs_put_le32(table + 8, pfs_get_le32(table) - 1);
}

static void long_table(struct forged *f)
{
	struct pfs_container c;
	uint8_t *table = table_of(f, &c);

	/* Behind its body the page goes on. */
	pfs_put_le32(table + 8, pfs_get_le32(table + 8) + 1);
}

static void long_block(struct forged *f)
{
	struct pfs_container c;

	/* More than the last block has, which lies within the body all the same. */
	pfs_put_le32(table_of(f, &c), 0);
}

static void other_block_sum(struct forged *f)
{
	struct pfs_container c;

	table_of(f, &c)[4] ^= 1;
}

static void undecodable_block(struct forged *f)
{
	struct pfs_container c;
	uint8_t *table = table_of(f, &c), *stored = table + 16;
	uint32_t end = pfs_get_le32(table);

	memset(stored, 0xff, end);
	pfs_put_le32(table + 4, pfs_block_crc(c.content, 0, end, stored, end));
}

static void other_raw_bytes(struct forged *f)
{
	f->m.raw_bytes++;
}

static void other_container_bytes(struct forged *f)
{
	f->m.container_bytes++;
}

/* What the check says of each document in [from, to), or (none) once of the manifest; what is
 * logged for each of them, or (what logs is NULL) nothing. */
static const struct forgery {
	const char *name;
	void (*make)(struct forged *f);
	unsigned doc; /* whose reading gives err */
	int err;
	unsigned from, to;
	const char *says, *logs;
	enum { CONTAINER, ITS_BLOCK, ITS_SLOT, ITS_KEYS } where;
} forgeries[] = {
#define TABLE_AND_CONTAINER "the table of keys does not say what its container says"
#define TABLE_AND_SLOT "the table of keys does not say what its slot says"
#define CONTAINER_AND_TABLE "the container is not what the table of keys says"
#define TABLE_DAMAGED "its part of the table of keys is damaged"
#define COUNTS "its counts are not those of its pages"
#define NO_LOG NULL, CONTAINER
	{"raw_len", other_raw_len, PLAIN, -EIO, PLAIN, PLAIN + 1, TABLE_AND_CONTAINER,
	 CONTAINER_AND_TABLE, CONTAINER},
	{"raw_len of a large one", short_raw_len, BLOCKS, -EIO, BLOCKS, BLOCKS + 1,
	 TABLE_AND_CONTAINER, CONTAINER_AND_TABLE, CONTAINER},
	{"time", other_time, PLAIN, 0, 0, NUMBERS, TABLE_AND_CONTAINER, NO_LOG},
	{"mode", other_mode, OWNED, 0, OWNED, OWNED + 1, TABLE_AND_CONTAINER, NO_LOG},
	{"uid", other_uid, OWNED, 0, OWNED, OWNED + 1, TABLE_AND_CONTAINER, NO_LOG},
	{"gid", other_gid, OWNED, 0, OWNED, OWNED + 1, TABLE_AND_CONTAINER, NO_LOG},
	{"key", other_key, PLAIN, -ENOENT, PLAIN, PLAIN + 1, TABLE_AND_SLOT, NO_LOG},
	{"tail of a key", other_tail, DOCS - 1, -ENOENT, DOCS - 1, DOCS, TABLE_AND_CONTAINER,
	 NO_LOG},
	{"lengths", other_lengths, PLAIN, -EIO, PLAIN, PLAIN + 2, TABLE_AND_SLOT,
	 "header of its container", CONTAINER},
	{"beyond the page", longer_than_the_page, DOCS - 1, -EIO, FIRST_UUID, DOCS, TABLE_DAMAGED,
	 "its documents lie beyond their page", ITS_KEYS},
	{"ranks", other_ranks, FIRST_UUID, -EIO, FIRST_UUID, DOCS, TABLE_DAMAGED,
	 "its documents are not those of the page", ITS_KEYS},
	{"counts", other_counts, PLAIN, -EIO, 0, DOCS, TABLE_DAMAGED, "it is another block of keys",
	 ITS_KEYS},
	{"fence", other_fence, FIRST_UUID, -EIO, FIRST_UUID, DOCS, TABLE_DAMAGED,
	 "it is another block of keys", ITS_KEYS},
	{"body", other_body, PLAIN, -EIO, PLAIN, PLAIN + 1, "checksum of its container",
	 "checksum of its container", CONTAINER},
	{"lost content", lost_content, PLAIN, -EIO, PLAIN, PLAIN + 1,
	 "its content was lost earlier; put it again or remove it", "its content was lost",
	 CONTAINER},
	{"undecodable body", undecodable_body, PACKED, -EIO, PACKED, PACKED + 1,
	 "it does not decode", "it does not decode", CONTAINER},
	{"mad table of blocks", mad_table, BLOCKS, -EIO, BLOCKS, BLOCKS + 1,
	 "2 of its 2 blocks do not verify, the first at byte 0 of it",
	 "its table of blocks makes no sense", CONTAINER},
	{"falling table of blocks", falling_table, BLOCKS, -EIO, BLOCKS, BLOCKS + 1,
	 "1 of its 2 blocks do not verify, the first at byte 65536 of it",
	 "its table of blocks makes no sense", CONTAINER},
	{"table of blocks beyond the body", long_table, BLOCKS, -EIO, BLOCKS, BLOCKS + 1,
	 "1 of its 2 blocks do not verify, the first at byte 65536 of it",
	 "its table of blocks makes no sense", CONTAINER},
	{"too long a block", long_block, BLOCKS, -EIO, BLOCKS, BLOCKS + 1,
	 "2 of its 2 blocks do not verify, the first at byte 0 of it", "checksum of a block",
	 ITS_BLOCK},
	{"sum of a block", other_block_sum, BLOCKS, -EIO, BLOCKS, BLOCKS + 1,
	 "1 of its 2 blocks do not verify, the first at byte 0 of it", "checksum of a block",
	 ITS_BLOCK},
	{"undecodable block", undecodable_block, BLOCKS, -EIO, BLOCKS, BLOCKS + 1,
	 "1 of its 2 blocks do not verify, the first at byte 0 of it", "a block does not decode",
	 ITS_BLOCK},
	{"raw bytes", other_raw_bytes, PLAIN, 0, 0, 0, COUNTS, NO_LOG},
	{"container bytes", other_container_bytes, PLAIN, 0, 0, 0, COUNTS, NO_LOG},
};

/* Where it lies in its object. */
static uint64_t place_of(struct forged *f, const struct forgery *forgery, unsigned doc)
{
	uint64_t at = f->page->head + entry_of(f, doc)->off;
	struct pfs_container c;

	switch (forgery->where) {
	case CONTAINER: break;
	case ITS_BLOCK: at = (uint64_t)(table_of(f, &c) - f->page_bytes) + 16; break;
	case ITS_SLOT: at = pfs_slot_offset(doc); break;
	case ITS_KEYS: at = f->m.blocks[doc >= NUMBERS].off; break;
	}
	return at;
}

/* What the check must say, and what must be logged while all documents are read. */
static void expect_of(struct forged *f, const struct forgery *forgery, char *says, char *logs)
{
	*says = *logs = '\0';
	if (forgery->from == forgery->to)
		sprintf(says, "generation-00000001 @0 -: %s\n", forgery->says);
	for (unsigned doc = forgery->from; doc < forgery->to; doc++) {
		const struct forgery said = {.where = forgery->where == ITS_KEYS ? ITS_SLOT
										 : CONTAINER};
		char name[PFS_NAME_MAX + 1];
		struct pfs_key key;

		pfs_key_from_bytes(&key, f->blocks[doc >= NUMBERS].kind, entry_of(f, doc)->key);
		pfs_key_format(name, &key);
		says += sprintf(says, "page @%llu %s: %s\n",
				(unsigned long long)place_of(f, &said, doc), name, forgery->says);
		if (forgery->logs)
			logs += sprintf(logs, "%s at byte %llu: %s\n",
					forgery->where == ITS_KEYS ? "keys" : "page",
					(unsigned long long)place_of(f, forgery, doc),
					forgery->logs);
	}
}

/* ---- what is made of it ---- */

struct findings {
	char text[16384];
	size_t len;
	unsigned fatal, named;
};

/* "keys" and "page" stand for the objects' names. */
static const char *called(const char *name)
{
	return strcmp(name, keys_name) == 0 ? "keys" : strcmp(name, page_name) == 0 ? "page" : name;
}

static void note_finding(void *arg, const struct pfs_finding *finding)
{
	struct findings *f = arg;
	char name[PFS_NAME_MAX + 1] = "-";

	f->fatal += finding->fatal;
	f->named += finding->fatal && finding->key.kind != PFS_KEY_NONE;
	if (finding->key.kind != PFS_KEY_NONE)
		pfs_key_format(name, &finding->key);
	f->len += (size_t)snprintf(f->text + f->len, sizeof(f->text) - f->len, "%s @%llu %s: %s\n",
				   called(finding->where), (unsigned long long)finding->offset,
				   name, finding->text);
	if (f->len >= sizeof(f->text))
		f->len = sizeof(f->text) - 1;
}

/* What was logged of a forged one, a line each, with "keys" and "page" for the objects' names. */
static char logged[4096];

static void take_line(void *arg, enum pfs_log_level level, const char *line)
{
	size_t len = strlen(logged);
	const char *name = strstr(line, "page-"), *at = strstr(line, " at byte ");

	(void)arg;
	assert_int_equal(level, PFS_LOG_ERROR);
	if (!name)
		name = strstr(line, "keys-");
	assert_true(name && at && len < sizeof(logged) / 2);
	sprintf(logged + len, "%.4s%s\n", name, at);
}

static struct pfs_store *open_forged(struct forged *f)
{
	const struct pfs_open_options options = {
		.read_only = true, .io = pfs_sim_io(f->sim), .logger = {.fn = take_line}};
	struct pfs_reason reason;
	struct pfs_store *store;

	assert_int_equal(pfs_store_open(&store, WHERE, &options, &reason), 0);
	return store;
}

/* Right, or an error. */
static int read_doc(struct pfs_store *store, unsigned i)
{
	struct pfs_attr attr = {0};
	struct pfs_key key;
	size_t len, n;
	void *bytes;
	char *data;
	int err;

	forged_doc(NULL, i, &key, &attr, &data, &len);
	err = pfs_get(store, &key, &bytes, &n, NULL);
	if (!err) {
		assert_int_equal(n, len);
		assert_memory_equal(bytes, data, len);
		free(bytes);
	}
	free(data);
	return err;
}

static void check_forged(struct forged *f, struct findings *found)
{
	struct pfs_check_result result;
	struct pfs_reason reason;

	*found = (struct findings){.len = 0};
	assert_int_equal(pfs_check(WHERE, pfs_sim_io(f->sim), &no_log, note_finding, NULL, found,
				   &result, &reason),
			 0);
}

/* Without anybody who is told the findings they are logged, those that matter as errors. */
static void note_logged(void *arg, enum pfs_log_level level, const char *line)
{
	struct findings *f = arg;

	f->len += (size_t)snprintf(f->text + f->len, sizeof(f->text) - f->len, "%s%s\n",
				   level == PFS_LOG_ERROR ? "" : "(not an error) ", line);
	f->fatal += level == PFS_LOG_ERROR;
}

static void expect_logged(struct forged *f, const struct findings *found)
{
	struct findings lines = {.len = 0}, want = {.len = 0};
	const struct pfs_logger logger = {.fn = note_logged, .arg = &lines};
	char text[sizeof(found->text)], *save = NULL;
	struct pfs_check_result result;
	struct pfs_reason reason;

	assert_int_equal(
		pfs_check(WHERE, pfs_sim_io(f->sim), &logger, NULL, NULL, NULL, &result, &reason),
		0);
	strcpy(text, found->text);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *at = strchr(line, '@'), *says = strstr(line, ": ");

		at[-1] = '\0';
		*strchr(at, ' ') = '\0';
		want.len +=
			(size_t)sprintf(want.text + want.len, "%s at byte %s%s\n",
					strcmp(line, "page") == 0 ? page_name : line, at + 1, says);
	}
	assert_string_equal(lines.text, want.text);
	assert_int_equal(lines.fatal, found->fatal);
}

/* Proves: whatever is forged, nobody reads other bytes, what does not concern it is read; what is
 * logged then, and what the check says, is what is wrong, at its place, of each document that it
 * concerns and of no other, whether the check has the object in memory or reads it again and again.
 */
static void nothing_forged_is_shown(void **state)
{
	(void)state;
	for (size_t i = 0; i < pfs_array_len(forgeries); i++) {
		const struct forgery *forgery = &forgeries[i];
		struct forged *f = take_apart();
		char says[4096], logs[4096];
		struct findings found;
		struct pfs_store *store;

		forgery->make(f);
		expect_of(f, forgery, says, logs);
		put_together(f);
		logged[0] = 0;
		store = open_forged(f);
		for (unsigned doc = 0; doc < DOCS; doc++) {
			int err = read_doc(store, doc);

			if (doc == forgery->doc && err != forgery->err)
				fail_msg("%s: %d", forgery->name, err);
			assert_true(!err || err == forgery->err);
		}
		assert_int_equal(pfs_store_close(store), 0);
		if (strcmp(logged, logs) != 0)
			fail_msg("%s: logged\n%sand not\n%s", forgery->name, logged, logs);
		for (unsigned again = 0; again < 2; again++) {
			whole_max = again ? 0 : ALL_WHOLE;
			check_forged(f, &found);
			if (strcmp(found.text, says) != 0)
				fail_msg("%s: the check says\n%sand not\n%s", forgery->name,
					 found.text, says);
			assert_int_equal(found.fatal, forgery->to > forgery->from
							      ? forgery->to - forgery->from
							      : 1);
		}
		expect_logged(f, &found);
		throw_away(f);
	}
}

/* Proves: a document whose container has another key is an error by its number, too. */
static void containers_of_others_are_not_shown(void **state)
{
	static const struct {
		void (*make)(struct forged *f);
		unsigned doc;
	} cases[] = {{other_key, PLAIN}, {other_tail, DOCS - 1}};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct forged *f = take_apart();
		struct pfs_store *store;
		uint8_t byte;

		cases[i].make(f);
		put_together(f);
		logged[0] = 0;
		store = open_forged(f);
		for (uint32_t doc = OWNED; doc < DOCS; doc++) {
			if (doc == EMPTY)
				continue;
			assert_int_equal(pfs_read(store, PFS_OBJECT_FIRST + doc, 0, &byte, 1),
					 doc == cases[i].doc ? -EIO : 1);
		}
		assert_non_null(
			strstr(logged, i ? CONTAINER_AND_TABLE : "checksum of its container"));
		assert_int_equal(pfs_store_close(store), 0);
		throw_away(f);
	}
}

/* Proves: a listing that comes to keys which can't be had gives those before them, then the error,
 * whoever lists. */
static void listings_go_as_far_as_the_keys(void **state)
{
	struct forged *f = take_apart();
	struct pfs_listed listed[DOCS];
	struct pfs_snapshot_name names[DOCS];
	struct pfs_snapshot *snapshot;
	struct pfs_store *store;

	(void)state;
	other_fence(f);
	put_together(f);
	store = open_forged(f);
	assert_int_equal(pfs_snapshot_open(store, &snapshot), 0);
	assert_int_equal(pfs_list(store, 0, listed, DOCS), NUMBERS);
	assert_int_equal(listed[NUMBERS - 1].key.num, 10 * LAST_NUMBER);
	assert_int_equal(pfs_list(store, listed[NUMBERS - 1].cookie, listed, DOCS), -EIO);
	assert_int_equal(pfs_snapshot_list(snapshot, 0, names, DOCS), NUMBERS);
	assert_int_equal(names[NUMBERS - 1].key.num, 10 * LAST_NUMBER);
	assert_int_equal(pfs_snapshot_list(snapshot, names[NUMBERS - 1].cookie, names, DOCS), -EIO);
	pfs_snapshot_close(snapshot);
	assert_int_equal(pfs_store_close(store), 0);
	throw_away(f);
}

/* Proves: what is said of where a document lies is what is there: its container, with that
 * checksum, on the page that the manifest has there. */
static void places_are_those_of_the_containers(void **state)
{
	struct forged *f = take_apart();
	struct pfs_store *store;

	(void)state;
	store = open_forged(f);
	for (unsigned i = 0; i < DOCS; i++) {
		const struct pfs_key_entry *e = entry_of(f, i);
		struct pfs_container_base base;
		struct pfs_container c;
		struct pfs_place place;
		struct pfs_attr attr;
		struct pfs_key key;
		uint32_t object;

		container_of(f, i, &c, &base);
		pfs_key_from_bytes(&key, base.kind, e->key);
		assert_int_equal(pfs_place(store, &key, &place), 0);
		assert_int_equal(place.page, 2);
		assert_int_equal(place.slot, i);
		assert_int_equal(place.offset, f->page->head + e->off);
		assert_int_equal(place.container_len, e->len);
		assert_int_equal(place.packed_len, c.header_len + c.body_len);
		assert_int_equal(place.sequence, PFS_PUBLISHED_SEQ);
		assert_int_equal(place.dictionary, 0);
		assert_int_equal(place.checksum, c.crc);
		assert_int_equal(place.compressed, i == PACKED || i == BLOCKS);
		assert_int_equal(place.blocks, i == BLOCKS ? 2 : 0);
		assert_false(place.in_journal);
		assert_int_equal(pfs_lookup(store, &key, &object, &attr), 0);
		assert_int_equal(attr.mode, i == OWNED ? 0600 : 0644);
		assert_int_equal(attr.uid, i == OWNED ? 7 : 0);
		assert_int_equal(attr.gid, i == OWNED ? 8 : 0);
		assert_int_equal(attr.mtime_ns, 5);
		assert_int_equal(attr.nlink, 1);
		assert_int_equal(attr.stored, e->len);
	}
	assert_int_equal(pfs_store_close(store), 0);
	throw_away(f);
}

/* Proves: of every document any part can be read, and no byte more is written. */
static void parts_are_read_and_no_more(void **state)
{
	static const uint64_t offs[] = {0, 1, 59, 60, 299, 65000, 65535, 65536, 69999};
	static const size_t lens[] = {1, 59, 60, 299, 300, 301, 1000};
	struct forged *f = take_apart();
	struct pfs_store *store = open_forged(f);
	uint8_t got[1001];

	(void)state;
	for (unsigned i = 0; i < DOCS; i++) {
		struct pfs_attr attr = {0};
		struct pfs_key key;
		uint32_t object;
		size_t size;
		char *data;

		forged_doc(NULL, i, &key, &attr, &data, &size);
		assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
		for (size_t k = 0; k < pfs_array_len(offs) * pfs_array_len(lens); k++) {
			uint64_t off = offs[k % pfs_array_len(offs)];
			size_t len = lens[k / pfs_array_len(offs)];
			size_t want = off < size ? pfs_min_u64(len, size - off) : 0;

			memset(got, 0xaa, sizeof(got));
			assert_int_equal(pfs_read(store, object, off, got, len), want);
			assert_memory_equal(got, data + off, want);
			for (size_t at = want; at < sizeof(got); at++)
				assert_int_equal(got[at], 0xaa);
		}
		free(data);
	}
	assert_int_equal(pfs_store_close(store), 0);
	throw_away(f);
}

/* Proves: a block without a byte is one of zeros, as those are that a store has never written. */
static void a_block_without_bytes_is_zeros(void **state)
{
	struct forged *f = take_apart();
	struct pfs_container c;
	uint8_t *table = table_of(f, &c);
	uint32_t end = pfs_get_le32(table);
	struct pfs_key key = pfs_key_num(10 * BLOCKS);
	struct pfs_store *store;
	uint8_t *bytes;
	size_t len;

	(void)state;
	pfs_put_le32(table + 8, end);
	pfs_put_le32(table + 12, pfs_block_crc(c.content, 1, end, table + 16 + end, 0));
	put_together(f);
	store = open_forged(f);
	assert_int_equal(pfs_get(store, &key, (void **)&bytes, &len, NULL), 0);
	assert_int_equal(len, 70000);
	assert_true(bytes[PFS_BLOCK_LEN - 1] &&
		    pfs_is_zero(bytes + PFS_BLOCK_LEN, 70000 - PFS_BLOCK_LEN));
	free(bytes);
	assert_int_equal(pfs_store_close(store), 0);
	throw_away(f);
}

/* Proves: where the table of keys is damaged, documents are named from their slots and containers,
 * as far as these are there; none is made up. */
static void documents_are_named_without_their_keys(void **state)
{
	static const struct {
		bool containers, slots;
		unsigned named; /* those with numbers need no container */
	} cases[] = {{false, false, DOCS}, {true, false, NUMBERS}, {true, true, 0}};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct forged *f = take_apart();
		uint64_t slots = pfs_slot_offset(0);
		struct findings found;

		put_together(f);
		if (cases[i].containers)
			memset(f->page_bytes + f->page->head, 0xee,
			       pfs_page_containers_len(f->page));
		if (cases[i].slots)
			memset(f->page_bytes + slots, 0xff, f->page->head - slots);
		write_object(f, f->page, f->page_bytes);
		memset(f->keys_bytes, 0xee, f->keys->len);
		write_object(f, f->keys, f->keys_bytes);
		for (unsigned again = 0; again < 2; again++) {
			whole_max = again ? 0 : ALL_WHOLE;
			check_forged(f, &found);
			assert_true(found.fatal >= DOCS);
			assert_non_null(strstr(found.text, "table of keys is damaged"));
			assert_true(found.named >= cases[i].named);
			assert_true(cases[i].named || !found.named);
		}
		throw_away(f);
	}
}

/* Proves: a slot whose container would lie beyond the page's end names nobody. */
static void slots_beyond_the_page_name_nobody(void **state)
{
	(void)state;
	for (uint64_t over = 0; over < 2; over++) {
		struct forged *f = take_apart();
		uint64_t end = (UINT64_C(1) << f->page->size_log2) - PFS_PAGE_TRAILER_LEN;
		struct findings found;

		for (unsigned i = 0; i < DOCS; i++) {
			struct pfs_slot slot = {
				.kind = PFS_KEY_NUM, .tag = i, .off = end - 16 + over, .len = 16};

			pfs_slot_encode(
				(struct pfs_slot_disk *)(f->page_bytes + pfs_slot_offset(i)),
				&slot);
		}
		memset(f->keys_bytes, 0xee, f->keys->len);
		write_object(f, f->page, f->page_bytes);
		write_object(f, f->keys, f->keys_bytes);
		put_current(f->dir, 1, &f->m);
		check_forged(f, &found);
		assert_non_null(strstr(found.text, over ? "-: its part of the table of keys"
							: "7: its part of the table of keys"));
		assert_null(strstr(found.text, over ? "7: its part of the table of keys"
						    : "-: its part of the table of keys"));
		throw_away(f);
	}
}

/* ---- parts of the check ---- */

#define HEAD 16u
#define LEN 48u	    /* of the object */
#define LOG_SIZE 6u /* of the page: the hole has 16 bytes, too */

static ssize_t fail_reading(struct pfs_file *file, void *buf, size_t len, uint64_t off)
{
	(void)file;
	(void)buf;
	(void)len;
	(void)off;
	return -EIO;
}

/* Proves: every read of a page, from any byte on and of any length, gives it with its hole, as far
 * as the object goes; of an object, that; an error is the object's. */
static void pages_are_read_with_their_hole(void **state)
{
	static const struct pfs_io_ops failing = {.read = fail_reading};
	const struct pfs_manifest_object page = {.head = HEAD, .len = LEN, .size_log2 = LOG_SIZE};
	struct loaded_file loaded = {.base.ops = &loaded_ops};
	struct holed_dir dir = {.base.ops = &holed_dir_ops, .file = &loaded.base, .page = &page};
	struct pfs_file broken = {.ops = &failing}, *file;
	uint8_t bytes[LEN], whole[64 + 1] = {0}, got[80 + 1];
	uint64_t size;

	(void)state;
	for (unsigned i = 0; i < LEN; i++)
		bytes[i] = (uint8_t)(i + 1);
	memcpy(whole, bytes, HEAD);
	memcpy(whole + 32, bytes + HEAD, LEN - HEAD);
	loaded.bytes = bytes;
	assert_int_equal(holed_open(&dir.base, "any", 0, &file), 0);
	assert_int_equal(file->ops->size(file, &size), 0);
	assert_int_equal(size, 64);
	for (loaded.len = LEN; loaded.len >= LEN - 3; loaded.len--) {
		for (uint64_t off = 0; off < 70; off++) {
			for (size_t len = 0; len < 80; len++) {
				uint64_t end = loaded.len + 16;
				uint64_t want = off < end ? pfs_min_u64(len, end - off) : 0;
				uint64_t plain =
					off < loaded.len ? pfs_min_u64(len, loaded.len - off) : 0;

				memset(got, 0xaa, sizeof(got));
				assert_int_equal(file->ops->read(file, got, len, off), want);
				assert_memory_equal(got, whole + off, want);
				assert_int_equal(got[len], 0xaa);
				memset(got, 0xaa, sizeof(got));
				assert_int_equal(loaded_read(&loaded.base, got, len, off), plain);
				assert_memory_equal(got, bytes + off, plain);
				assert_int_equal(got[plain], 0xaa);
			}
		}
	}
	file->ops->close(file);
	dir.file = &broken;
	assert_int_equal(holed_open(&dir.base, "any", 0, &file), 0);
	for (uint64_t off = 0; off < 64; off++) {
		bool in_hole = off >= HEAD && off < 32;

		assert_int_equal(file->ops->read(file, got, 1, off), in_hole ? 1 : -EIO);
		assert_int_equal(file->ops->read(file, got, 50, off), -EIO);
	}
	assert_int_equal(file->ops->read(file, got, 50, 64), 0);
	file->ops->close(file);
}

/* Proves: a range is bad when a byte of it lies in a chunk that is. */
static void ranges_are_bad_by_their_chunks(void **state)
{
	const uint64_t chunk = PFS_CHUNK_LEN;

	(void)state;
	for (uint32_t bad = 0; bad < 4; bad++) {
		uint8_t bits[2] = {0};
		const struct checking c = {.bad = bits};

		pfs_check_set_bit(bits, bad);
		for (uint64_t at = 0; at < 4; at++) {
			for (uint64_t n = 1; n < 3; n++) {
				for (uint64_t off = at * chunk + 2;
				     off-- > 0 && off + 3 > at * chunk;) {
					for (uint64_t len = n * chunk - 3; len < n * chunk + 4;
					     len++) {
						bool is = off < (bad + 1) * chunk &&
							  off + len > bad * chunk;

						assert_int_equal(is_bad(&c, off, len), is);
					}
				}
			}
			assert_int_equal(is_bad(&c, at * chunk, 1), at == bad);
			assert_int_equal(is_bad(&c, at * chunk + chunk - 1, 1), at == bad);
		}
	}
}

struct failing {
	uint64_t at, seen;
	bool once;
};

static int fail_from(void *arg, const struct pfs_sim_step *step)
{
	struct failing *failing = arg;

	if (step->kind != PFS_SIM_READ || strncmp(step->name, "page-", 5) != 0)
		return 0;
	failing->seen++;
	return failing->once		      ? failing->seen == failing->at ? -EIO : 0
	       : failing->seen >= failing->at ? -EIO
					      : 0;
}

/* How many reads of the page there were; what the check says of it. */
static uint64_t check_failing(struct failing *failing, struct findings *found)
{
	struct forged *f = take_apart();

	failing->seen = 0;
	pfs_sim_on_look(f->sim, fail_from, failing);
	check_forged(f, found);
	pfs_sim_on_look(f->sim, NULL, NULL);
	throw_away(f);
	return failing->seen;
}

/* Proves: a page that can't be read again is a finding, too, at whichever time; one that can be in
 * the end is none, or is one, and named. */
static void reading_again_may_fail(void **state)
{
	struct failing failing = {.at = UINT64_MAX};
	struct findings found;
	uint64_t reads;

	(void)state;
	whole_max = 0;
	reads = check_failing(&failing, &found);
	assert_int_equal(found.fatal, 0);
	assert_in_range(reads, 3, 100);
	for (failing.at = 1; failing.at <= reads; failing.at++) {
		failing.once = false;
		(void)check_failing(&failing, &found);
		assert_true(found.fatal > 0);
		failing.once = true;
		(void)check_failing(&failing, &found);
		assert_true(!found.fatal == !found.len);
	}
	whole_max = ALL_WHOLE;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_forged_is_shown),
		cmocka_unit_test(containers_of_others_are_not_shown),
		cmocka_unit_test(listings_go_as_far_as_the_keys),
		cmocka_unit_test(places_are_those_of_the_containers),
		cmocka_unit_test(parts_are_read_and_no_more),
		cmocka_unit_test(a_block_without_bytes_is_zeros),
		cmocka_unit_test(documents_are_named_without_their_keys),
		cmocka_unit_test(slots_beyond_the_page_name_nobody),
		cmocka_unit_test(pages_are_read_with_their_hole),
		cmocka_unit_test(ranges_are_bad_by_their_chunks),
		cmocka_unit_test(reading_again_may_fail),
	};

	if (!pfs_hash_version()) {
		print_message("NOT TESTED: this build has no libcrypto, so it publishes nothing\n");
		return 0;
	}
	whole_max = ALL_WHOLE;
	return cmocka_run_group_tests_name("forged collections", tests, NULL, NULL);
}
