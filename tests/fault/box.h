/* A store on a disk whose steps are noted and imaged, for the tests of the rules. Calls are
 * expected to succeed. */
#ifndef PFS_TEST_BOX_H
#define PFS_TEST_BOX_H

#include "tests/unit/store_helpers.h"

#define STEPS_MAX 4096
#define IMAGES_MAX 512

struct step {
	enum pfs_sim_kind kind;
	uint64_t off, len;
	char name[24];
};

/* A store on a disk whose steps are noted, and of which an image is made before each. */
struct box {
	struct pfs_sim *sim;
	struct pfs_store *store;
	struct step steps[STEPS_MAX];
	size_t count;
	uint64_t torn; /* != 0: images by seed, from this on; else of what is durable */
	bool imaging;
	struct pfs_sim *images[IMAGES_MAX];
	size_t image_count;
};

static inline int on_step(void *arg, const struct pfs_sim_step *step)
{
	struct box *b = arg;
	struct step *s = &b->steps[b->count++];

	assert_true(b->count < STEPS_MAX);
	*s = (struct step){.kind = step->kind, .off = step->off, .len = step->len};
	snprintf(s->name, sizeof(s->name), "%s", step->name);
	if (b->imaging && b->image_count < IMAGES_MAX)
		b->images[b->image_count++] = b->torn ? pfs_sim_crash_seed(b->sim, b->torn++)
						      : pfs_sim_crash_index(b->sim, 0);
	return 0;
}

static inline void box_open(struct box *b)
{
	b->store = open_store(b->sim);
}

static inline struct box *box_new(void)
{
	struct box *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	b->sim = pfs_sim_new();
	create_store(b->sim, PFS_PAGE_SIZE_MIN, 16);
	box_open(b);
	return b;
}

static inline void watch(struct box *b, bool imaging)
{
	b->count = 0;
	b->imaging = imaging;
	pfs_sim_on_step(b->sim, on_step, b);
}

static inline void unwatch(struct box *b)
{
	pfs_sim_on_step(b->sim, NULL, NULL);
}

static inline void box_free(struct box *b)
{
	unwatch(b);
	assert_int_equal(pfs_store_close(b->store), 0);
	expect_healthy(b->sim);
	for (size_t i = 0; i < b->image_count; i++)
		pfs_sim_free(b->images[i]);
	pfs_sim_free(b->sim);
	free(b);
}

/* The process dies: the next one finds the files as they are. */
static inline struct pfs_sim *killed(struct box *b)
{
	return pfs_sim_kill(b->sim);
}

static inline void checkpoint(struct box *b)
{
	assert_int_equal(pfs_store_checkpoint(b->store), 0);
}

static inline void put_id(struct box *b, uint64_t id, size_t len, uint64_t seed)
{
	struct pfs_key key = pfs_key_num(id);

	put_document(b->store, &key, len, seed);
}

static inline struct pfs_place place(struct box *b, uint64_t id)
{
	struct pfs_key key = pfs_key_num(id);
	struct pfs_place at;

	assert_int_equal(pfs_place(b->store, &key, &at), 0);
	return at;
}

static inline uint32_t object_of(struct pfs_store *store, uint64_t id)
{
	struct pfs_key key = pfs_key_num(id);
	uint32_t object;

	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	return object;
}

static inline void set_mode(struct pfs_store *store, uint64_t id, uint32_t mode)
{
	struct pfs_attr attr = {.mode = mode};

	assert_int_equal(pfs_setattr(store, object_of(store, id), PFS_ATTR_MODE, &attr, NULL), 0);
}

static inline void empty(struct pfs_store *store, uint64_t id)
{
	struct pfs_attr attr = {0};

	assert_int_equal(pfs_setattr(store, object_of(store, id), PFS_ATTR_SIZE, &attr, NULL), 0);
}

/* Whether the document is the one that fill_document makes of this length and seed. */
static inline bool is(struct pfs_store *store, uint64_t id, size_t len, uint64_t seed)
{
	struct pfs_key key = pfs_key_num(id);
	uint8_t *bytes = malloc(len + 1);
	void *got;
	size_t got_len;
	bool same;
	int err = pfs_get(store, &key, &got, &got_len, NULL);

	fill_document(bytes, len, seed);
	same = !err && got_len == len && memcmp(got, bytes, len) == 0;
	free(got);
	free(bytes);
	return same;
}

static inline int get_error(struct pfs_store *store, uint64_t id)
{
	struct pfs_key key = pfs_key_num(id);
	void *got;
	size_t len;
	int err = pfs_get(store, &key, &got, &len, NULL);

	free(got);
	return err;
}

static inline uint32_t mode_of(struct pfs_store *store, uint64_t id)
{
	struct pfs_key key = pfs_key_num(id);
	struct pfs_attr attr;

	assert_int_equal(pfs_lookup(store, &key, NULL, &attr), 0);
	return attr.mode;
}

static inline struct pfs_store_stat stat_of(struct box *b)
{
	struct pfs_store_stat stat;

	assert_int_equal(pfs_store_stat(b->store, &stat), 0);
	return stat;
}

static inline bool is_of(const struct step *s, enum pfs_sim_kind kind, const char *prefix)
{
	return s->kind == kind && strncmp(s->name, prefix, strlen(prefix)) == 0;
}

static inline size_t count_steps(const struct box *b, enum pfs_sim_kind kind, const char *prefix)
{
	size_t n = 0;

	for (size_t i = 0; i < b->count; i++)
		n += is_of(&b->steps[i], kind, prefix);
	return n;
}

/* Opens each image that was made and gives it to fn. */
static inline void each_image(struct box *b, void (*fn)(struct pfs_store *store, size_t i))
{
	assert_true(b->image_count > 2);
	for (size_t i = 0; i < b->image_count; i++) {
		struct pfs_store *store = open_store(b->images[i]);

		fn(store, i);
		assert_int_equal(pfs_store_close(store), 0);
		expect_healthy(b->images[i]);
		pfs_sim_free(b->images[i]);
	}
	b->image_count = 0;
}

#endif
