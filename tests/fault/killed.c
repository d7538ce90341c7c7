#include "tests/fault/killed.h"

#include "storage/store_internal.h"
#include "tests/unit/store_helpers.h"

#define DOCS 40
#define LARGE 100000
#define IMAGES_MAX 256

/* Images of the disk at steps of a checkpoint. */
struct watched {
	struct pfs_sim *sim;
	struct pfs_sim *images[IMAGES_MAX];
	size_t count, steps;
	unsigned step;
};

static int make_image(void *arg, const struct pfs_sim_step *step)
{
	struct watched *w = arg;

	(void)step;
	if (w->steps++ % w->step != 0 || w->count + 2 > IMAGES_MAX)
		return 0;
	w->images[w->count++] = pfs_sim_kill(w->sim);
	w->images[w->count++] = pfs_sim_crash_seed(w->sim, w->steps);
	return 0;
}

static struct pfs_key doc_key(unsigned i)
{
	char name[64];

	if (i % 5 == 3)
		snprintf(name, sizeof(name), "fedcba98-89ab-cdef-0123-4567890%05u", i);
	else if (i % 9 == 7)
		snprintf(name, sizeof(name), ".%u.swp", i);
	else
		snprintf(name, sizeof(name), "%u", i);
	return key_named(name);
}

static size_t doc_len(unsigned i)
{
	return i % 10 == 2 ? LARGE : i % 13 == 5 ? 0 : 100 + i * 20;
}

static uint32_t object_of(struct pfs_store *store, unsigned i)
{
	struct pfs_key key = doc_key(i);
	uint32_t object;

	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	return object;
}

static void rename_doc(struct pfs_store *store, unsigned from, unsigned to, unsigned flags)
{
	struct pfs_key a = doc_key(from), b = doc_key(to);

	assert_int_equal(pfs_rename(store, &a, &b, flags, NULL), 0);
}

static void resize(struct pfs_store *store, unsigned i, uint64_t size)
{
	struct pfs_attr attr = {.size = size, .mode = 0611};

	assert_int_equal(
		pfs_setattr(store, object_of(store, i), PFS_ATTR_SIZE | PFS_ATTR_MODE, &attr, NULL),
		0);
}

/* Samples that have much in common, for a dictionary. */
static void add_dictionary(struct pfs_store *store)
{
	static uint8_t bytes[4096];

	fill_document(bytes, sizeof(bytes), 4);
	assert_int_equal(pfs_dict_add(store, bytes, sizeof(bytes), 1000, 300), 0);
}

/* Records of all kinds: of documents in pages, in the journal, and with changes of their own. */
static void change(struct pfs_store *store)
{
	for (unsigned i = 0; i < DOCS; i += 3) {
		struct pfs_key key = doc_key(i);

		put_document(store, &key, doc_len(i) + 7, i + 100);
	}
	assert_int_equal(pfs_write(store, object_of(store, 2), 50000, "middle", 6, 5), 0);
	assert_int_equal(pfs_write(store, object_of(store, 2), 70000, "again", 5, 5), 0);
	assert_int_equal(pfs_zero(store, object_of(store, 12), 100, 70000, 5), 0);
	assert_int_equal(pfs_write(store, object_of(store, 4), 10, "small", 5, 5), 0);
	resize(store, 22, LARGE - 30000);
	resize(store, 6, 40);
	resize(store, 8, 0);
	resize(store, 10, 700);
	rename_doc(store, 1, 41, 0);
	rename_doc(store, 14, 16, 0);
	rename_doc(store, 19, 20, PFS_RENAME_EXCHANGE);
	rename_doc(store, 2, 32, PFS_RENAME_EXCHANGE);
	for (unsigned i = 23; i < DOCS; i += 5) {
		struct pfs_key key = doc_key(i);

		assert_int_equal(pfs_remove(store, &key, NULL), 0);
	}
	assert_int_equal(pfs_sync(store), 0);
}

static struct pfs_sim *make_store(struct pfs_store **store)
{
	struct pfs_sim *sim = pfs_sim_new();
	static const struct pfs_defaults defaults = {.mode = 0640};
	struct pfs_open_options options = {.manual = true,
					   .hold_objects = true,
					   .defaults = &defaults,
					   .io = pfs_sim_io(sim),
					   .logger = quiet};
	struct pfs_reason reason;

	create_store(sim, PFS_PAGE_SIZE_MIN * 2, 16);
	assert_int_equal(pfs_store_open(store, STORE, &options, &reason), 0);
	for (unsigned i = 0; i < DOCS; i++) {
		struct pfs_key key = doc_key(i);

		if (i == DOCS / 2)
			add_dictionary(*store);
		put_document(*store, &key, doc_len(i), i);
	}
	assert_int_equal(pfs_store_checkpoint(*store), 0);
	pfs_sim_settle(sim);
	return sim;
}

/* Turns bits of the file that holds the most, or the records. */
static void damage(struct pfs_sim *sim, unsigned seed)
{
	static const char *const names[] = {"journal-0000",  "journal-0001",  "journal-0002",
					    "page-00000001", "page-00000002", "page-00000003"};
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_dir *dir;

	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE, &dir), 0);
	for (unsigned i = 0; i < 24; i++) {
		uint64_t r = pfs_mix64(seed * 64 + i), off = 4096 + (r >> 20) % 60000;
		const char *name = names[(seed + i) % 2 ? r % 3 : 3 + r % 3];
		struct pfs_file *file;
		uint8_t byte;

		if (dir->ops->open(dir, name, PFS_IO_WRITE, &file) != 0)
			continue;
		if (file->ops->read(file, &byte, 1, off) == 1 && byte) {
			byte ^= (uint8_t)(1u << r % 8);
			assert_int_equal(file->ops->write(file, &byte, 1, off), 0);
		}
		file->ops->close(file);
	}
	dir->ops->close_dir(dir);
	pfs_sim_settle(sim);
}

/* ---- a journal without its end ---- */

#define LAST "what the journal does not have any more"

/* When the slots have been written, and the journal stands. */
static int keep_image(void *arg, const struct pfs_sim_step *step)
{
	struct watched *w = arg;

	if (step->kind == PFS_SIM_SYNC && strncmp(step->name, "page-", 5) == 0 && ++w->steps == 2)
		w->images[0] = pfs_sim_kill(w->sim);
	return 0;
}

/* The document's container once more, in the place of a document that is gone, with the slot. */
static void double_container(struct pfs_sim *sim, const struct pfs_key *key,
			     const struct pfs_place *of, const struct pfs_place *gone)
{
	const struct pfs_slot slot = {.kind = key->kind,
				      .tag = pfs_key_tag(key),
				      .off = (uint32_t)gone->offset,
				      .len = of->container_len};
	struct pfs_slot_disk disk;
	uint8_t bytes[512];

	assert_true(of->page == gone->page && of->container_len <= gone->container_len &&
		    of->container_len <= sizeof(bytes));
	read_at(sim, page_name(of->page), of->offset, bytes, of->container_len);
	write_at(sim, page_name(of->page), gone->offset, bytes, of->container_len);
	pfs_slot_encode(&disk, &slot);
	write_at(sim, page_name(of->page), pfs_slot_offset(gone->slot), &disk, sizeof(disk));
}

static void cut_journal(struct pfs_sim *sim)
{
	enum { LOOK = 64 * 1024 };
	uint8_t *file = malloc(LOOK), zeros[512] = {0}, *at = NULL;
	char segment[32];

	for (unsigned i = 0; i < 3 && !at; i++) {
		snprintf(segment, sizeof(segment), PFS_SEGMENT_NAME_FMT, i);
		read_at(sim, segment, 0, file, LOOK);
		at = memmem(file, LOOK, LAST, strlen(LAST));
	}
	assert_non_null(at);
	at -= pfs_round_up(PFS_RECORD_HEADER_LEN + sizeof(struct pfs_put_disk) + 10, 8);
	write_at(sim, segment, (uint64_t)(at - file), zeros, sizeof(zeros));
	free(file);
}

struct pfs_sim *without_journal_end(bool twice)
{
	struct watched *w = calloc(1, sizeof(*w));
	struct pfs_key key = pfs_key_num(100), gone = pfs_key_num(9);
	struct pfs_place empty, place;
	struct pfs_store *store;
	struct pfs_sim *image;

	assert_non_null(w);
	w->sim = make_store(&store);
	assert_int_equal(pfs_place(store, &gone, &empty), 0);
	assert_int_equal(pfs_remove(store, &gone, NULL), 0);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	put_document(store, &key, 100, 1);
	assert_int_equal(pfs_put(store, &key, LAST, sizeof(LAST), NULL, 0, NULL), 0);
	pfs_sim_on_step(w->sim, keep_image, w);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	pfs_sim_on_step(w->sim, NULL, NULL);
	assert_int_equal(pfs_place(store, &key, &place), 0);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(w->sim);
	image = w->images[0];
	free(w);
	assert_non_null(image);
	if (twice)
		double_container(image, &key, &place, &empty);
	cut_journal(image);
	pfs_sim_settle(image);
	return image;
}

void each_killed(killed_fn *fn, void *arg, unsigned step)
{
	struct watched *w = calloc(1, sizeof(*w));
	struct pfs_store *store;
	char name[64];

	assert_non_null(w);
	w->step = step;
	w->sim = make_store(&store);
	change(store);
	fn(arg, "killed before a checkpoint", pfs_sim_kill(w->sim));
	fn(arg, "a journal without its end", without_journal_end(false));
	fn(arg, "a journal without its end, twice", without_journal_end(true));
	pfs_sim_on_step(w->sim, make_image, w);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	pfs_sim_on_step(w->sim, NULL, NULL);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(w->sim);
	for (size_t i = 0; i < w->count; i++) {
		snprintf(name, sizeof(name), "%s %zu of a checkpoint%s",
			 i % 2 ? "power cut" : "killed", i / 2, i % 3 == 2 ? ", and damage" : "");
		if (i % 3 == 2)
			damage(w->images[i], (unsigned)i);
		fn(arg, name, w->images[i]);
	}
	free(w);
}
