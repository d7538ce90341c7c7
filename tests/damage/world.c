/* The store that is damaged. */
#include "storage/store_internal.h"
#include "tests/damage/damage.h"

#define DICT_LEN 1200
#define BIG (2 * PFS_BLOCK_LEN + 9000) /* a block that packs, one of zeros, one that does not */

struct builder {
	struct pfs_store *store;
	struct damage_world *world;
};

static void fill(uint8_t *bytes, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = seed % 2 ? (uint8_t)pfs_mix64(seed * 131071 + i)
				    : (uint8_t) "{\"city\":\"Bonn\",\"price\":17}"[(i + seed) % 26];
}

static struct damage_doc *doc_of(struct builder *b, const char *name)
{
	struct damage_world *w = b->world;
	struct pfs_key key;

	assert_int_equal(pfs_key_parse(&key, name, strlen(name)), 0);
	for (size_t i = 0; i < w->count; i++) {
		if (pfs_key_equal(&w->docs[i].key, &key))
			return &w->docs[i];
	}
	assert_true(w->count < DAMAGE_DOCS_MAX);
	w->docs[w->count] = (struct damage_doc){.key = key, .count = 1};
	return &w->docs[w->count++];
}

/* Syncs, and notes what the document is now: the record that made it so is proven durable by the
 * next one. */
static void note(struct builder *b, const char *name)
{
	struct damage_doc *doc = doc_of(b, name);
	struct damage_state *state = &doc->states[doc->count++];
	struct pfs_store_stat stat;
	void *bytes = NULL;
	size_t len;
	int err;

	assert_true(doc->count <= DAMAGE_STATES_MAX);
	assert_int_equal(pfs_sync(b->store), 0);
	assert_int_equal(pfs_store_stat(b->store, &stat), 0);
	err = pfs_get(b->store, &doc->key, &bytes, &len, &state->attr);
	assert_true(err == 0 || err == -ENOENT);
	state->there = !err;
	state->bytes = bytes;
	state->seq = stat.sequence;
}

static void put(struct builder *b, const char *name, size_t len, uint64_t seed)
{
	struct pfs_attr attr = {.mode = 0644, .mtime_ns = 1000 + (int64_t)seed};
	uint8_t *bytes = malloc(len + 1);
	struct pfs_key key = doc_of(b, name)->key;

	if (seed % 5 == 0)
		attr.mode = 0600, attr.uid = 7, attr.gid = 8;
	fill(bytes, len, seed);
	if (len == BIG) {
		fill(bytes, PFS_BLOCK_LEN, 2);
		memset(bytes + PFS_BLOCK_LEN, 0, PFS_BLOCK_LEN);
		fill(bytes + 2 * PFS_BLOCK_LEN, 9000, 3);
	}
	assert_int_equal(pfs_put(b->store, &key, bytes, len, &attr, 0, NULL), 0);
	free(bytes);
	note(b, name);
}

/* New values are packed with it from now on. */
static void add_dict(struct builder *b, uint64_t seed)
{
	uint8_t bytes[DICT_LEN];

	fill(bytes, sizeof(bytes), 2 * seed + 1);
	fill(bytes + DICT_LEN / 2, DICT_LEN / 2, 2 * seed);
	assert_int_equal(pfs_dict_add(b->store, bytes, sizeof(bytes), 1000, 300), 0);
}

static uint32_t object_of(struct builder *b, const char *name)
{
	struct pfs_key key = doc_of(b, name)->key;
	uint32_t object;

	assert_int_equal(pfs_lookup(b->store, &key, &object, NULL), 0);
	return object;
}

static void patch(struct builder *b, const char *name, uint64_t off, const char *text)
{
	assert_int_equal(pfs_write(b->store, object_of(b, name), off, text, strlen(text), 77), 0);
	note(b, name);
}

static void cut(struct builder *b, const char *name, uint64_t size)
{
	struct pfs_attr attr = {.size = size};

	assert_int_equal(pfs_setattr(b->store, object_of(b, name), PFS_ATTR_SIZE, &attr, NULL), 0);
	note(b, name);
}

static void chmod_to(struct builder *b, const char *name, uint32_t mode)
{
	struct pfs_attr attr = {.mode = mode};

	assert_int_equal(pfs_setattr(b->store, object_of(b, name), PFS_ATTR_MODE, &attr, NULL), 0);
	note(b, name);
}

static void drop(struct builder *b, const char *name)
{
	struct pfs_key key = doc_of(b, name)->key;

	assert_int_equal(pfs_remove(b->store, &key, NULL), 0);
	note(b, name);
}

static void move(struct builder *b, const char *from, const char *to, unsigned flags)
{
	struct pfs_key a = doc_of(b, from)->key, c = doc_of(b, to)->key;

	assert_int_equal(pfs_rename(b->store, &a, &c, flags, NULL), 0);
	note(b, from);
	note(b, to);
}

static const char *name_of(unsigned i)
{
	static const char *const others[] = {
		".42.swp",
		"sedAb3kx",
		"tmp",
		"42~",
		"a name with spaces and \xc3\xa4",
		"0000000000000000000000000000000000000000000000000000000000000000000000000000000000"
		"0000000000000000000000000000000000000000000000000000000000000000000000000000000000"
		"0000000000000000000000000000000000000000000000000000000000000000000000000000000000"
		"x.txt"};
	static char name[64];

	if (i < 6)
		return others[i];
	if (i < 14)
		snprintf(name, sizeof(name), "6ba7b8%02x-9dad-11d1-80b4-00c04fd430c8", i);
	else if (i == 14)
		return "18446744073709551615";
	else if (i == 15)
		return "1099511627776";
	else
		snprintf(name, sizeof(name), "%u", 3 * (i - 16));
	return name;
}

/* Three pages of documents, some of which were changed or removed before they came there, and some
 * are packed with dictionary 1. */
static void in_pages(struct builder *b)
{
	struct pfs_store_stat stat;

	for (unsigned i = 0; i < 44; i++) {
		if (i == 20)
			add_dict(b, 1);
		put(b, name_of(i),
		    i % 4 == 0	 ? 20 + 7 * i
		    : i % 4 == 1 ? 7600 + 10 * i
				 : 2500 + 40 * i,
		    i % 4 == 3 ? 2 * i : 2 * i + 1);
	}
	put(b, "100", BIG, 10);
	put(b, "101", 0, 10);
	assert_int_equal(pfs_store_checkpoint(b->store), 0);
	put(b, name_of(1), 300, 51);
	put(b, name_of(9), 6000, 53);
	put(b, name_of(20), 100, 54);
	drop(b, name_of(4));
	drop(b, name_of(12));
	drop(b, name_of(21));
	move(b, name_of(22), "7000", 0);
	assert_int_equal(pfs_store_checkpoint(b->store), 0);
	put(b, "7001", 200, 57);
	assert_int_equal(pfs_store_checkpoint(b->store), 0);
	assert_int_equal(pfs_store_stat(b->store, &stat), 0);
	assert_int_equal(stat.pages, 3);
}

/* What is in the journal and nowhere else, some of it packed with dictionary 2. */
static void in_journal(struct builder *b)
{
	add_dict(b, 2);
	put(b, "7100", 150, 60);
	put(b, name_of(16), 4000, 61); /* over another */
	put(b, name_of(7), 50, 62);
	patch(b, name_of(17), 10, "patched");
	patch(b, name_of(2), 1000, "a scratch name is patched");
	patch(b, "100", PFS_BLOCK_LEN + 5, "in the block of zeros");
	cut(b, name_of(18), 700);
	chmod_to(b, name_of(8), 0400);
	chmod_to(b, name_of(24), 0640);
	drop(b, name_of(25));
	drop(b, name_of(10));
	move(b, name_of(26), "7200", 0);
	move(b, name_of(5), name_of(27), 0); /* as an editor does */
	move(b, name_of(28), name_of(29), PFS_RENAME_EXCHANGE);
	put(b, "7300", 80, 63);
	move(b, "7300", name_of(11), PFS_RENAME_EXCHANGE);
	drop(b, name_of(30));
	put(b, name_of(30), 90, 64);
	patch(b, name_of(30), 3, "again");
	put(b, "0b5c1b5e-7f5e-4d3c-9f52-0123456789ab", 3000, 65);
	put(b, "last but two", 40, 66);
	put(b, "7400", 60, 67);
	patch(b, "7400", 5, "the last");
}

/* Ids that never were, one bit away from some that are. */
static void never_there(struct builder *b)
{
	static const char *const names[] = {"1",
					    "2",
					    "4",
					    "8",
					    "101010",
					    "7002",
					    "sedAb3ky",
					    "18446744073709551614",
					    "6ba7b807-9dad-11d1-80b4-00c04fd430c9"};

	for (size_t i = 0; i < pfs_array_len(names); i++)
		(void)doc_of(b, names[i]);
}

/* Finds the records of the live segment, of which there is one. */
static void read_records(struct damage_world *w)
{
	for (unsigned file = 0; file < 16; file++) {
		char name[32];
		struct sim_inode *inode;
		uint64_t off = PFS_SEGMENT_DATA;

		snprintf(name, sizeof(name), PFS_SEGMENT_NAME_FMT, file);
		inode = damage_file(w->sim, name);
		if (!inode || pfs_get_le64(inode->bytes + 16) < pfs_get_le64(inode->bytes + 32) ||
		    (w->record_count && pfs_get_le64(inode->bytes + 24) < w->records[0].seq))
			continue;
		for (w->record_count = 0; pfs_get_le32(inode->bytes + off);) {
			const struct pfs_record_disk *head =
				(const struct pfs_record_disk *)(inode->bytes + off);
			struct damage_record *r = &w->records[w->record_count++];

			assert_true(w->record_count < DAMAGE_RECORDS_MAX);
			*r = (struct damage_record){off, off + pfs_get_le32(head->len.b),
						    pfs_get_le64(head->seq.b)};
			off = r->end;
		}
		snprintf(w->segment, sizeof(w->segment), "%s", name);
	}
	assert_true(w->record_count > 20);
}

static void copy_docs(struct damage_world *to, const struct damage_world *from)
{
	to->count = from->count;
	for (size_t i = 0; i < from->count; i++) {
		to->docs[i] = from->docs[i];
		for (size_t k = 0; k < from->docs[i].count; k++) {
			struct damage_state *s = &to->docs[i].states[k];

			if (!s->there)
				continue;
			s->bytes = malloc(s->attr.size + 1);
			memcpy(s->bytes, from->docs[i].states[k].bytes, s->attr.size);
		}
	}
}

void damage_worlds(struct damage_world *clean, struct damage_world *killed)
{
	struct pfs_create_options create = {.page_size = PFS_PAGE_SIZE_MIN, .min_value_size = 64};
	struct pfs_open_options options = {.manual = true};
	struct builder b = {.world = clean};
	struct pfs_reason reason;

	*clean = (struct damage_world){.name = "closed", .sim = pfs_sim_new()};
	*killed = (struct damage_world){.name = "killed"};
	create.io = options.io = pfs_sim_io(clean->sim);
	assert_int_equal(pfs_store_create(DAMAGE_STORE, &create, &reason), 0);
	/* Not the first opening: files that are used again hold older bytes. */
	assert_int_equal(pfs_store_open(&b.store, DAMAGE_STORE, &options, &reason), 0);
	put(&b, name_of(40), 100, 3);
	assert_int_equal(pfs_store_close(b.store), 0);
	assert_int_equal(pfs_store_open(&b.store, DAMAGE_STORE, &options, &reason), 0);
	in_pages(&b);
	in_journal(&b);
	never_there(&b);
	killed->sim = pfs_sim_kill(clean->sim);
	assert_int_equal(pfs_store_close(b.store), 0);
	copy_docs(killed, clean);
	pfs_sim_settle(clean->sim);
	pfs_sim_settle(killed->sim);
	read_records(killed);
}

void damage_world_free(struct damage_world *world)
{
	for (size_t i = 0; i < world->count; i++) {
		for (size_t k = 0; k < world->docs[i].count; k++)
			free(world->docs[i].states[k].bytes);
	}
	pfs_sim_free(world->sim);
}

struct sim_inode *damage_file(const struct pfs_sim *sim, const char *name)
{
	return sim_names_get(&sim_node_find((struct pfs_sim *)(uintptr_t)sim, DAMAGE_STORE)->names,
			     name);
}

bool damage_is_dict(const char *file)
{
	return strncmp(file, "dict-", 5) == 0;
}

bool damage_in_dict(const struct damage_world *world, const char *file, uint64_t at)
{
	uint64_t copy_len = damage_file(world->sim, file)->len - PFS_DICT_STRIDE;

	return at % PFS_DICT_STRIDE < copy_len;
}

unsigned damage_dict_users(const struct damage_world *world, const char *file)
{
	struct pfs_open_options options = {
		.manual = true, .read_only = true, .io = pfs_sim_io(world->sim)};
	unsigned number = (unsigned)strtoul(file + 5, NULL, 16), users = 0;
	struct pfs_store *store;
	struct pfs_reason reason;
	struct pfs_place place;

	assert_int_equal(pfs_store_open(&store, DAMAGE_STORE, &options, &reason), 0);
	for (size_t i = 0; i < world->count; i++)
		users += pfs_place(store, &world->docs[i].key, &place) == 0 &&
			 place.dictionary == number;
	assert_int_equal(pfs_store_close(store), 0);
	return users;
}
