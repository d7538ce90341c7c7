/* A pager on the sim and a model of what it has given out. Calls are expected to succeed. */
#ifndef PFS_TEST_PAGER_HELPERS_H
#define PFS_TEST_PAGER_HELPERS_H

#include "storage/pager.h"
#include "tests/unit/sim_helpers.h"

static const uint8_t uuid[PFS_UUID_LEN] = "0123456789abcde";

static inline void no_log(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

static const struct pfs_logger quiet = {.fn = no_log};

#define GIVEN_MAX 8192

/* A document of which the test knows the key and the bytes. */
struct given {
	struct pfs_extent_at at;
	struct pfs_container c;
	uint64_t key;
	bool written;
};

struct world {
	struct pfs_sim *sim;
	struct pfs_dir *dir;
	struct pfs_pager *pager;
	struct pfs_page_set set;
	uint64_t page_size, random, next_key, damaged;
	uint32_t min_value_size;
	struct given given[GIVEN_MAX];
	size_t count;
};

static inline uint64_t roll(struct world *w, uint64_t n)
{
	w->random += UINT64_C(0x9e3779b97f4a7c15);
	return pfs_mix64(w->random) % n;
}

static inline int try_open_pager(struct world *w, bool read_only, const struct pfs_logger *logger)
{
	struct pfs_pager_options options = {
		.dir = w->dir,
		.uuid = uuid,
		.page_size = w->page_size,
		.min_value_size = w->min_value_size,
		.read_only = read_only,
		.pages = w->set,
		.logger = logger,
	};

	return pfs_pager_open(&w->pager, &options, &w->damaged);
}

static inline void open_pager_as(struct world *w, bool read_only)
{
	assert_int_equal(try_open_pager(w, read_only, &quiet), 0);
}

static inline struct world *new_world(uint64_t page_size, uint32_t min_value_size)
{
	struct world *w = calloc(1, sizeof(*w));

	w->sim = pfs_sim_new();
	w->dir = open_dir(w->sim);
	w->page_size = page_size;
	w->min_value_size = min_value_size;
	open_pager_as(w, false);
	return w;
}

static inline void free_world(struct world *w)
{
	pfs_pager_close(w->pager);
	w->dir->ops->close_dir(w->dir);
	pfs_sim_free(w->sim);
	free(w);
}

static inline void reopen(struct world *w)
{
	pfs_pager_close(w->pager);
	open_pager_as(w, false);
}

static inline void no_lock(void *arg, bool on)
{
	(void)arg;
	(void)on;
}

static inline struct pfs_pager_need need_of(struct given *g)
{
	return (struct pfs_pager_need){&g->c, PFS_KEY_NUM, g->key};
}

/* Takes room for a new document with a body of len bytes. */
static inline int give(struct world *w, uint64_t len)
{
	struct given *g = &w->given[w->count];
	struct pfs_pager_need need;
	int err;

	assert_true(w->count < GIVEN_MAX);
	*g = (struct given){.key = ++w->next_key};
	g->c = (struct pfs_container){
		.raw_len = len,
		.body_len = len,
		.seq = w->next_key,
		.mtime_ns = 5,
	};
	if (len > PFS_BLOCK_LEN)
		g->c.flags = PFS_CONTAINER_BLOCKS;
	need = need_of(g);
	err = pfs_pager_alloc(w->pager, &need, &g->at);
	if (!err)
		w->count++;
	return err;
}

static inline void take_back(struct world *w, size_t i)
{
	pfs_pager_free(w->pager, &w->given[i].at);
	w->given[i] = w->given[--w->count];
}

static inline void fill_body(uint8_t *bytes, const struct given *g)
{
	for (size_t i = 0; i < g->c.body_len; i++)
		bytes[i] = (uint8_t)pfs_mix64(g->key + i / 32);
}

/* Writes container and slot of a small document. */
static inline void write_given(struct world *w, struct given *g)
{
	struct pfs_page *page = pfs_pager_find(w->pager, g->at.page);
	struct pfs_container_base base = pfs_page_base(page, PFS_KEY_NUM, g->key);
	struct pfs_slot slot = {
		.kind = PFS_KEY_NUM, .tag = g->key, .off = g->at.off, .len = g->at.len};
	uint8_t *bytes = calloc(1, g->at.len);
	struct pfs_slot_disk disk;
	size_t header = pfs_container_header_encode(bytes, &g->c, &base, g->at.len);

	assert_true(header + g->c.body_len <= g->at.len);
	fill_body(bytes + header, g);
	pfs_container_seal(bytes, header, g->c.body_len, bytes[4], g->c.seq, &base);
	pfs_slot_encode(&disk, &slot);
	assert_int_equal(pfs_page_write(page, bytes, g->at.len, g->at.off), 0);
	assert_int_equal(pfs_page_write(page, &disk, sizeof(disk), pfs_slot_offset(g->at.slot)), 0);
	g->written = true;
	free(bytes);
}

static inline void write_tombstone(struct world *w, const struct pfs_extent_at *at, uint64_t tag,
				   uint64_t seq)
{
	struct pfs_slot slot = {.kind = PFS_SLOT_TOMBSTONE, .tag = tag, .seq = seq};
	struct pfs_slot_disk disk;

	pfs_slot_encode(&disk, &slot);
	assert_int_equal(pfs_page_write(pfs_pager_find(w->pager, at->page), &disk, sizeof(disk),
					pfs_slot_offset(at->slot)),
			 0);
}

/* Writes and syncs all that was given, as a checkpoint does. */
static inline void write_all(struct world *w)
{
	assert_int_equal(pfs_pager_give_birth(w->pager, &w->set, no_lock, NULL), 0);
	for (size_t i = 0; i < w->count; i++)
		if (!w->given[i].written)
			write_given(w, &w->given[i]);
	assert_int_equal(pfs_pager_write_headers(w->pager, no_lock, NULL), 0);
	assert_int_equal(pfs_pager_sync(w->pager), 0);
}

/* Whether slot and container of a written document are there as they were written. */
static inline bool reads_right(struct world *w, struct given *g)
{
	struct pfs_page *page = pfs_pager_find(w->pager, g->at.page);
	struct pfs_container_base base;
	struct pfs_container c;
	struct pfs_slot slot;
	uint8_t *bytes, *body;
	bool right;

	if (!page || g->at.slot >= page->slot_count ||
	    pfs_page_read_slot(page, g->at.slot, &slot) != 0 || slot.kind != PFS_KEY_NUM ||
	    slot.tag != g->key || slot.off != g->at.off || slot.len != g->at.len)
		return false;
	bytes = malloc(slot.len);
	body = malloc(g->c.body_len + 1);
	base = pfs_page_base(page, PFS_KEY_NUM, g->key);
	fill_body(body, g);
	right = pfs_page_copy(page, bytes, slot.off, slot.len) == 0 &&
		pfs_container_header_decode(&c, bytes, slot.len, slot.len, &base) == 0 &&
		pfs_container_verify(&c, bytes, &base) == 0 && c.body_len == g->c.body_len &&
		memcmp(bytes + c.header_len, body, c.body_len) == 0;
	free(bytes);
	free(body);
	return right;
}

static inline const char *page_name(uint32_t number)
{
	static char name[32];

	snprintf(name, sizeof(name), PFS_PAGE_NAME_FMT, number);
	return name;
}

/* Changes bytes of a page file beside the pager. */
static inline void poke(struct world *w, uint32_t number, uint64_t off, const void *bytes,
			size_t len)
{
	struct pfs_file *file = open_file(w->dir, page_name(number));

	assert_int_equal(file->ops->write(file, bytes, len, off), 0);
	file->ops->close(file);
}

static inline int by_place(const void *a, const void *b)
{
	const struct given *x = *(struct given *const *)a, *y = *(struct given *const *)b;

	if (x->at.page != y->at.page)
		return x->at.page < y->at.page ? -1 : 1;
	return x->at.off < y->at.off ? -1 : x->at.off > y->at.off;
}

/* What a pager says while it is opened: warnings and errors. */
struct said {
	char text[2048]; /* lines */
	struct pfs_logger logger;
};

static inline void keep_said(void *arg, enum pfs_log_level level, const char *line)
{
	struct said *said = arg;
	size_t len = strlen(said->text);

	assert_true(level <= PFS_LOG_WARNING);
	assert_true(len + strlen(line) + 2 < sizeof(said->text));
	snprintf(said->text + len, sizeof(said->text) - len, "%s\n", line);
}

/* Opens the pager of a world that was closed. Returns the error. */
static inline int open_saying(struct world *w, bool read_only, struct said *said)
{
	*said = (struct said){.logger = {.fn = keep_said, .arg = said}};
	return try_open_pager(w, read_only, &said->logger);
}

#endif
