/* The saved index: written by a clean close, read by the next opening, never trusted over the
 * pages. */
#include <stdlib.h>

#include "storage/crc.h"
#include "storage/index_runs.h"
#include "storage/store_internal.h"

#define HEADER_CRC_AT 12
#define BUFFER_LEN (256 * PFS_KIB)
#define PREFETCH 16u /* records */

/* A file that is written, or read, from front to back with a running checksum. */
struct stream {
	struct pfs_file *file;
	uint64_t off;
	uint32_t crc;
	size_t len, at; /* of the buffer: filled, consumed */
	uint8_t *buf;
	int err;
};

static void stream_flush(struct stream *s)
{
	if (!s->err && s->len)
		s->err = s->file->ops->write(s->file, s->buf, s->len, s->off);
	s->off += s->len;
	s->len = 0;
}

static void stream_put(struct stream *s, const void *bytes, size_t len)
{
	if (s->len + len > BUFFER_LEN)
		stream_flush(s);
	memcpy(s->buf + s->len, bytes, len);
	s->len += len;
	s->crc = pfs_crc32c(s->crc, bytes, len);
}

static const void *stream_take(struct stream *s, size_t len)
{
	const void *at;

	if (s->len - s->at < len) {
		ssize_t n;

		memmove(s->buf, s->buf + s->at, s->len - s->at);
		s->len -= s->at;
		s->at = 0;
		n = s->file->ops->read(s->file, s->buf + s->len, BUFFER_LEN - s->len, s->off);
		if (n < 0 || s->len + (size_t)n < len) {
			s->err = n < 0 ? (int)n : -EUCLEAN;
			return NULL;
		}
		s->off += (size_t)n;
		s->len += (size_t)n;
	}
	at = s->buf + s->at;
	s->at += len;
	s->crc = pfs_crc32c(s->crc, at, len);
	return at;
}

/* ---- saving ---- */

/* Shorter ones are not worth looking for. */
#define RUN_MIN 64u

/* The number that the slot of the object has for key, if the object is to be found by it. */
static bool number_of(struct pfs_store *store, uint32_t object, uint64_t word, uint64_t *number)
{
	struct pfs_page *page = pfs_pager_find(store->pager, pfs_word_page_number(word));
	struct pfs_slot slot;

	if (!page || pfs_page_read_slot(page, pfs_word_slot(word), &slot) != 0 ||
	    slot.kind != PFS_KEY_NUM)
		return false;
	*number = slot.tag;
	return pfs_index_hash(PFS_KEY_NUM, slot.tag) == pfs_index_stored_hash(store->index, object);
}

/* Whether the slot of the object, at its word, is for the number. */
static bool has_number(struct pfs_store *store, uint32_t object, uint64_t word, uint64_t number)
{
	uint64_t has;

	return pfs_index_word(store->index, object) == word &&
	       number_of(store, object, word, &has) && has == number;
}

/* How many of the objects from this one on, at its word, have the numbers from this one on. Those
 * which nobody has touched since the opening need no look. */
static uint32_t count_numbers(struct pfs_store *store, uint32_t object, uint64_t word,
			      uint64_t number)
{
	uint64_t has;
	uint32_t count = pfs_index_in_run(store->index, object, &has);

	if (count)
		return pfs_index_word(store->index, object) == word && has == number ? count : 0;
	return has_number(store, object, word, number);
}

/* The run that begins with the object; count 1: it stands alone. */
static struct pfs_index_run run_from(struct pfs_store *store, uint32_t object, uint64_t word)
{
	struct pfs_index_run run = {object, 1, word, 0};
	uint32_t end = pfs_index_end(store->index), page = pfs_word_page_number(word), more = 1;

	if (end - object < RUN_MIN ||
	    pfs_index_word(store->index, object + 1) !=
		    pfs_word_page(page, pfs_word_slot(word) + 1) ||
	    !number_of(store, object, word, &run.number))
		return run;
	while (more && object + run.count < end && run.number + run.count > run.number &&
	       pfs_word_slot(word) + run.count <= PFS_SLOT_NUMBER_MAX) {
		more = count_numbers(store, object + run.count,
				     pfs_word_page(page, pfs_word_slot(word) + run.count),
				     run.number + run.count);
		run.count += more;
	}
	return run;
}

static void save_run(struct pfs_store *store, struct stream *s, const struct pfs_index_run *run)
{
	bool many = run->count >= RUN_MIN;
	struct pfs_index_object_disk disk = {0};
	struct pfs_index_run_disk more = {0};

	pfs_put_le32(disk.page.b, pfs_word_page_number(run->word) | (many ? PFS_INDEX_RUN_BIT : 0));
	pfs_put_le32(disk.slot.b, pfs_word_slot(run->word));
	pfs_put_le32(disk.hash.b, pfs_index_stored_hash(store->index, run->first));
	stream_put(s, &disk, sizeof(disk));
	if (!many)
		return;
	pfs_put_le32(more.count.b, run->count);
	pfs_put_le64(more.number.b, run->number);
	stream_put(s, &more, sizeof(more));
}

static void save_objects(struct pfs_store *store, struct stream *s, uint64_t *count)
{
	uint32_t alone = 0; /* objects below this begin no run */

	*count = 0;
	for (uint32_t object = PFS_OBJECT_FIRST; object < pfs_index_end(store->index);) {
		uint64_t word = pfs_index_word(store->index, object);
		struct pfs_index_run run = {object, 1, word, 0};

		/* A checkpoint has moved all but what nobody will find again. */
		if (PFS_NEVER(&store->logger,
			      pfs_word_is_version(word) &&
				      pfs_word_to_version(word)->kind != PFS_KEY_TEMP))
			s->err = -EIO;
		if (!pfs_word_is_page(word)) {
			object++;
			continue;
		}
		if (object >= alone)
			run = run_from(store, object, word);
		if (run.count < RUN_MIN) {
			alone = (uint32_t)pfs_max_u64(alone, (uint64_t)object + run.count);
			run.count = 1;
		}
		save_run(store, s, &run);
		object += run.count;
		*count += run.count;
	}
}

static void save_pages(struct pfs_store *store, struct stream *s, uint64_t *count)
{
	*count = 0;
	for (struct pfs_page *page = pfs_pager_next_page(store->pager, 0); page;
	     page = pfs_pager_next_page(store->pager, page->number)) {
		struct pfs_index_page_disk disk = {0};
		struct pfs_pager_saved saved;

		if (pfs_pager_reload(store->pager, page) != 0)
			s->err = -ENOMEM;
		pfs_pager_get_saved(page, &saved);
		pfs_put_le32(disk.page.b, page->number);
		pfs_put_le32(disk.largest.b, (uint32_t)saved.room);
		pfs_put_le64(disk.free_bytes.b, saved.free_bytes);
		pfs_put_le32(disk.free_slots.b, saved.free_slots);
		pfs_put_le32(disk.slots_crc.b, saved.slots_crc);
		stream_put(s, &disk, sizeof(disk));
		++*count;
	}
}

static void save_dicts(struct pfs_store *store, struct stream *s)
{
	for (size_t i = 0; i < store->dicts->count; i++) {
		struct pfs_index_dict_disk disk = {0};

		pfs_put_le32(disk.number.b, store->dicts->at[i]->number);
		pfs_put_le64(disk.users.b, store->dicts->at[i]->users);
		stream_put(s, &disk, sizeof(disk));
	}
}

static void encode_header(struct pfs_store *store, struct pfs_index_disk *disk, uint64_t objects,
			  uint64_t pages)
{
	memset(disk, 0, sizeof(*disk));
	memcpy(disk->magic, PFS_INDEX_MAGIC, sizeof(disk->magic));
	pfs_put_le64(disk->epoch.b, store->super.open_epoch);
	memcpy(disk->uuid, store->super.uuid, PFS_UUID_LEN);
	pfs_put_le64(disk->objects.b, objects);
	pfs_put_le64(disk->pages.b, pages);
	pfs_put_le64(disk->points.b, store->points);
	pfs_put_le64(disk->scratch.b, store->scratch);
	pfs_put_le64(disk->raw_bytes.b, store->raw_bytes);
	pfs_put_le64(disk->container_bytes.b, store->container_bytes);
	pfs_put_le64(disk->next_temp.b, store->next_temp);
	pfs_put_le32(disk->dicts.b, (uint32_t)store->dicts->count);
	pfs_put_le32(disk->flags.b, PFS_INDEX_RUNS | PFS_INDEX_RUNS_EXACT |
					    (store->dict_users_known ? PFS_INDEX_USERS_KNOWN : 0));
	pfs_put_le32(disk->crc.b,
		     pfs_crc32c(0, (uint8_t *)disk + HEADER_CRC_AT, sizeof(*disk) - HEADER_CRC_AT));
}

static int save_to(struct pfs_store *store, struct pfs_file *file)
{
	struct stream s = {
		.file = file, .off = sizeof(struct pfs_index_disk), .buf = malloc(BUFFER_LEN)};
	struct pfs_index_disk header;
	uint64_t objects, pages;
	uint8_t crc[4];
	int err;

	if (!s.buf)
		return -ENOMEM;
	save_objects(store, &s, &objects);
	save_pages(store, &s, &pages);
	save_dicts(store, &s);
	pfs_put_le32(crc, s.crc);
	stream_put(&s, crc, sizeof(crc));
	stream_flush(&s);
	err = s.err;
	free(s.buf);
	if (err)
		return err;
	encode_header(store, &header, objects, pages);
	err = file->ops->write(file, &header, sizeof(header), 0);
	return err ? err : pfs_file_sync(file);
}

static int save_beside(struct pfs_store *store)
{
	struct pfs_dir *dir = store->dir;
	struct pfs_file *file;
	int err = dir->ops->open(dir, PFS_INDEX_NAME ".tmp", PFS_IO_WRITE | PFS_IO_CREATE, &file);

	if (err)
		return err;
	err = file->ops->truncate(file, 0);
	if (!err)
		err = save_to(store, file);
	file->ops->close(file);
	return err;
}

int pfs_index_save(struct pfs_store *store)
{
	struct pfs_dir *dir = store->dir;
	int err = save_beside(store);

	/* The reserve may be needed for it, and the index of an earlier epoch is needed by nobody.
	 */
	if (err == -ENOSPC) {
		pfs_give_up_reserve(store);
		err = save_beside(store);
	}
	if (!err)
		err = dir->ops->rename(dir, PFS_INDEX_NAME ".tmp", PFS_INDEX_NAME);
	return err ? err : pfs_dir_sync(dir);
}

/* ---- loading ---- */

static int read_header(struct pfs_store *store, struct pfs_file *file, struct pfs_index_disk *disk)
{
	if (file->ops->read(file, disk, sizeof(*disk), 0) != (ssize_t)sizeof(*disk) ||
	    memcmp(disk->magic, PFS_INDEX_MAGIC, sizeof(disk->magic)) != 0 ||
	    pfs_get_le32(disk->crc.b) !=
		    pfs_crc32c(0, (uint8_t *)disk + HEADER_CRC_AT, sizeof(*disk) - HEADER_CRC_AT) ||
	    memcmp(disk->uuid, store->super.uuid, PFS_UUID_LEN) != 0 ||
	    pfs_get_le64(disk->epoch.b) != store->super.clean_epoch)
		return -EUCLEAN;
	return 0;
}

/* The checksum is at the end: everything is read once to verify it before anything is believed. */
static int verify(struct pfs_file *file, uint64_t len)
{
	struct stream s = {
		.file = file, .off = sizeof(struct pfs_index_disk), .buf = malloc(BUFFER_LEN)};
	const uint8_t *crc;
	uint32_t have;

	if (!s.buf)
		return -ENOMEM;
	for (uint64_t done = 0; done < len && !s.err; done += 12)
		(void)stream_take(&s, 12);
	have = s.crc;
	crc = s.err ? NULL : stream_take(&s, 4);
	if (!s.err && pfs_get_le32(crc) != have)
		s.err = -EUCLEAN;
	free(s.buf);
	return s.err;
}

static uint64_t place_of(uint32_t page, uint32_t slot)
{
	return pfs_word_page(page & PFS_PAGE_NUMBER_MAX, slot & PFS_SLOT_NUMBER_MAX);
}

static int load_object(struct pfs_store *store, uint32_t page, uint32_t slot, uint32_t hash)
{
	uint32_t object;
	int err = pfs_index_alloc(store->index, &object);

	if (err)
		return err;
	pfs_index_set_word(store->index, object, place_of(page, slot));
	return pfs_index_insert(store->index, object, hash);
}

/* A run of whole_min documents stays one. */
static int load_run(struct pfs_store *store, uint32_t page, uint32_t slot,
		    const struct pfs_index_run_disk *more, uint32_t whole_min, uint64_t *left)
{
	uint32_t count = pfs_get_le32(more->count.b);
	uint64_t number = pfs_get_le64(more->number.b);
	int err = 0;

	if (count > *left || count > PFS_SLOT_NUMBER_MAX || slot > PFS_SLOT_NUMBER_MAX - count)
		return -EUCLEAN;
	*left -= count;
	if (count >= whole_min)
		return pfs_index_add_run(store->index, place_of(page, slot), count, number);
	for (uint32_t i = 0; i < count && !err; i++)
		err = load_object(store, page, slot + i, pfs_index_hash(PFS_KEY_NUM, number + i));
	return err;
}

/* The bucket of an object some records on; what looks like one and is not does no harm. */
static void prefetch(const struct pfs_store *store, const struct stream *s)
{
	const struct pfs_index_object_disk *soon;

	if (s->len - s->at < (PREFETCH + 1) * sizeof(*soon))
		return;
	soon = (const struct pfs_index_object_disk *)(s->buf + s->at) + PREFETCH;
	pfs_index_prefetch_hash(store->index, pfs_get_le32(soon->hash.b));
}

static int load_objects(struct pfs_store *store, struct stream *s, uint64_t records, uint64_t count,
			uint32_t flags)
{
	uint64_t left = count;
	/* Keys that only hash like what a run says have to be found by their hashes. */
	uint32_t whole_min = flags & PFS_INDEX_RUNS_EXACT ? pfs_index_run_min(count) : UINT32_MAX;
	/* More than one object a record are in runs, most of which need no room. */
	int err = pfs_index_reserve(store->index, pfs_min_u64(count, records));

	while (!err && records--) {
		const struct pfs_index_object_disk *disk = stream_take(s, sizeof(*disk));
		const struct pfs_index_run_disk *more;
		uint32_t page, slot;

		if (!disk)
			return s->err;
		prefetch(store, s);
		page = pfs_get_le32(disk->page.b);
		slot = pfs_get_le32(disk->slot.b);
		if (!left)
			return -EUCLEAN;
		if (!(flags & PFS_INDEX_RUNS) || !pfs_index_begins_run(page)) {
			err = load_object(store, page, slot, pfs_get_le32(disk->hash.b));
			left--;
			continue;
		}
		more = records ? stream_take(s, sizeof(*more)) : NULL;
		if (!more)
			return s->err ? s->err : -EUCLEAN;
		records--;
		err = load_run(store, page, slot, more, whole_min, &left);
	}
	if (!err && left)
		err = -EUCLEAN;
	return err ? err : pfs_index_end_runs(store->index);
}

/* How many objects there can be: a run says many in few bytes. */
static uint64_t objects_max(struct pfs_store *store, uint64_t records, uint64_t pages)
{
	uint64_t max = records + pages * (store->super.page_size / PFS_SLOT_LEN);

	return pfs_min_u64(max, UINT32_MAX - PFS_OBJECT_FIRST);
}

static int load_pages(struct pfs_store *store, struct stream *s, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		const struct pfs_index_page_disk *disk = stream_take(s, sizeof(*disk));
		struct pfs_page *page;

		if (!disk)
			return s->err;
		page = pfs_pager_find(store->pager, pfs_get_le32(disk->page.b));
		if (page)
			pfs_pager_set_saved(
				store->pager, page,
				&(struct pfs_pager_saved){pfs_get_le32(disk->largest.b),
							  pfs_get_le64(disk->free_bytes.b),
							  pfs_get_le32(disk->free_slots.b),
							  pfs_get_le32(disk->slots_crc.b)});
		else
			pfs_logf(&store->logger, PFS_LOG_ERROR,
				 PFS_PAGE_NAME_FMT " is missing: what it held can't be read",
				 pfs_get_le32(disk->page.b));
	}
	return 0;
}

/* What the index says of dictionaries without a file is needed by nobody but a message. */
static int load_dicts(struct pfs_store *store, struct stream *s, uint64_t count, bool known)
{
	size_t met = 0;

	for (uint64_t i = 0; i < count; i++) {
		const struct pfs_index_dict_disk *disk = stream_take(s, sizeof(*disk));
		struct pfs_dict *dict;
		uint64_t users;

		if (!disk)
			return s->err;
		users = pfs_get_le64(disk->users.b);
		dict = pfs_dict_find(store, pfs_get_le32(disk->number.b));
		if (dict) {
			dict->users = users;
			met++;
		} else if (users) {
			pfs_logf(&store->logger, PFS_LOG_ERROR,
				 PFS_DICT_NAME_FMT " is missing: %llu document%s can't be read",
				 pfs_get_le32(disk->number.b), (unsigned long long)users,
				 pfs_plural(users));
		}
	}
	store->dict_users_known = known && met == store->dicts->count;
	return 0;
}

/* What was loaded before the error would be there twice once the pages have been read. */
static int forget_loaded(struct pfs_store *store, int err)
{
	struct pfs_index *index;
	int new_err = pfs_index_new(&index);

	if (new_err)
		return new_err;
	pfs_index_free(store->index);
	store->index = index;
	for (size_t i = 0; i < store->dicts->count; i++)
		store->dicts->at[i]->users = 0;
	store->dict_users_known = true;
	return err;
}

static int load_from(struct pfs_store *store, struct pfs_file *file)
{
	struct stream s = {.file = file, .off = sizeof(struct pfs_index_disk)};
	struct pfs_index_disk disk;
	uint64_t objects, pages, dicts, size, rest, records;
	uint32_t flags;
	int err = read_header(store, file, &disk);

	if (!err)
		err = file->ops->size(file, &size);
	if (err)
		return err;
	objects = pfs_get_le64(disk.objects.b);
	pages = pfs_get_le64(disk.pages.b);
	dicts = pfs_get_le32(disk.dicts.b);
	flags = pfs_get_le32(disk.flags.b);
	rest = sizeof(disk) + pages * sizeof(struct pfs_index_page_disk) +
	       dicts * sizeof(struct pfs_index_dict_disk) + 4;
	if (pages > PFS_PAGE_NUMBER_MAX || size < rest)
		return -EUCLEAN;
	records = (size - rest) / sizeof(struct pfs_index_object_disk);
	if (size != rest + records * sizeof(struct pfs_index_object_disk) ||
	    (!(flags & PFS_INDEX_RUNS) && objects != records) ||
	    objects > objects_max(store, records, pages))
		return -EUCLEAN;
	err = verify(file, size - sizeof(disk) - 4);
	if (err)
		return err;
	s.buf = malloc(BUFFER_LEN);
	if (!s.buf)
		return -ENOMEM;
	err = load_objects(store, &s, records, objects, flags);
	if (!err)
		err = load_pages(store, &s, pages);
	if (!err)
		err = load_dicts(store, &s, dicts, flags & PFS_INDEX_USERS_KNOWN);
	free(s.buf);
	if (err)
		return forget_loaded(store, err);
	store->points = pfs_get_le64(disk.points.b);
	store->scratch = pfs_get_le64(disk.scratch.b);
	store->raw_bytes = pfs_get_le64(disk.raw_bytes.b);
	store->container_bytes = pfs_get_le64(disk.container_bytes.b);
	return 0;
}

int pfs_index_load(struct pfs_store *store)
{
	struct pfs_file *file;
	int err = store->dir->ops->open(store->dir, PFS_INDEX_NAME, 0, &file);

	if (err)
		return err;
	err = load_from(store, file);
	file->ops->close(file);
	if (err)
		pfs_logf(&store->logger, PFS_LOG_WARNING,
			 "the saved index is not usable (%s); it is rebuilt from the pages",
			 strerror(-err));
	return err;
}
