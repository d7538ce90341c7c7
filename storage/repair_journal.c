/* What can't be read of the journal; what a replay over damage will lose, found out before it does.
 */
#include "storage/repair.h"

/* ---- what can't be read ---- */

int pfs_repair_clear_unreadable(struct pfs_file *file, uint64_t from, uint64_t end,
				uint64_t *cleared)
{
	int err = 0;

	*cleared = UINT64_MAX;
	for (uint64_t off = from - from % PFS_CHECK_PIECE; off < end && !err;
	     off += PFS_CHECK_PIECE) {
		uint8_t piece[PFS_CHECK_PIECE] = {0};
		bool bad = false;

		if (file->ops->read(file, piece, sizeof(piece), off) >= 0)
			continue;
		for (size_t at = 0; at < sizeof(piece); at += PFS_IO_SECTOR) {
			if (file->ops->read(file, piece + at, PFS_IO_SECTOR, off + at) >= 0)
				continue;
			memset(piece + at, 0, PFS_IO_SECTOR);
			*cleared = pfs_min_u64(*cleared, off + at);
			bad = true;
		}
		if (bad)
			err = file->ops->write(file, piece, sizeof(piece), off);
	}
	return err;
}

int pfs_repair_clear_records(struct pfs_repair *repair, const struct pfs_repair_item *item)
{
	/* A piece with records around these was read when they were found. If it can't be now, the
	 * next round says whose they are. */
	uint64_t off = (item->fault.off + PFS_CHECK_PIECE - 1) / PFS_CHECK_PIECE * PFS_CHECK_PIECE;
	uint64_t end = item->fault.off + item->fault.len, cleared;
	struct pfs_file *file;
	char name[32];
	int err;

	pfs_check_segment_name(name, item->fault.number);
	err = repair->dir->ops->open(repair->dir, name, PFS_IO_WRITE, &file);
	if (err)
		return err;
	err = pfs_repair_clear_unreadable(file, off, end - end % PFS_CHECK_PIECE, &cleared);
	if (!err && cleared != UINT64_MAX)
		err = file->ops->sync(file);
	file->ops->close(file);
	return err;
}

/* ---- what will be lost ---- */

#define REASON "changes of it in the journal have lost what they were made to"

/* The check of a rehearsal has nothing to say that has not been said. */
static void ignore(void *arg, const struct pfs_finding *finding)
{
	(void)arg;
	(void)finding;
}

/* Keys of the documents that would be lost. */
static int collect_lost(struct pfs_store *store, struct pfs_check_set *lost)
{
	int err = 0;

	for (uint32_t object = PFS_OBJECT_FIRST; object < pfs_index_end(store->index) && err >= 0;
	     object++) {
		uint64_t word = pfs_index_word(store->index, object);
		const struct pfs_version *v =
			pfs_word_is_version(word) ? pfs_word_to_version(word) : NULL;

		if (v && !v->removed && v->source.kind == PFS_SOURCE_LOST &&
		    v->kind != PFS_KEY_TEMP)
			err = pfs_check_set_add(lost, pfs_check_hash(v->kind, v->tag));
	}
	return err < 0 ? err : 0;
}

/* ---- what there is of them ---- */

struct keeping {
	struct pfs_check check; /* first member: what the record function is given */
	struct pfs_repair *repair;
	const struct pfs_check_set *lost;
};

static int keep_record(struct pfs_check *check, uint32_t file, const uint8_t *bytes, uint64_t off,
		       size_t len, const struct pfs_key keys[2])
{
	struct keeping *k = (struct keeping *)check;
	struct pfs_kept kept = {.off = off, .len = len, .reason = REASON};
	struct pfs_file *segment;
	char name[32];
	int err;

	(void)bytes;
	for (unsigned i = 0; i < 2; i++) {
		if (keys[i].kind != PFS_KEY_NONE &&
		    pfs_check_set_has(k->lost, pfs_check_hash(keys[i].kind, pfs_key_tag(&keys[i]))))
			kept.key = &keys[i];
	}
	if (!kept.key)
		return 0;
	pfs_check_segment_name(name, file);
	kept.where = name;
	err = check->dir->ops->open(check->dir, name, 0, &segment);
	if (err)
		return err;
	err = pfs_repair_keep(k->repair, &kept, segment);
	segment->ops->close(segment);
	return err;
}

static int keep_page(struct keeping *k, const struct pfs_checked_page *page, struct pfs_file *file)
{
	struct pfs_check_reader reader;
	int err = pfs_check_reader_new(&reader, file);

	for (uint32_t i = 0; i < page->header.slot_count && !err; i++) {
		const uint8_t *bytes;
		struct pfs_slot slot;
		struct pfs_key key;

		if (pfs_check_read(&reader, pfs_slot_offset(i), PFS_SLOT_LEN, &bytes) != 0 ||
		    pfs_slot_decode(&slot, (const struct pfs_slot_disk *)bytes, PFS_PAGE_HEADER_LEN,
				    page->header.page_size) != 0 ||
		    !pfs_slot_is_live(&slot) ||
		    !pfs_check_set_has(k->lost, pfs_check_hash(slot.kind, slot.tag)))
			continue;
		pfs_check_guess(&k->repair->check, file, &page->header, &slot, &key);
		err = pfs_repair_keep_slot(k->repair, file, page, i, &key, REASON);
	}
	pfs_check_reader_free(&reader);
	return err;
}

static int keep_pages(struct keeping *k)
{
	struct pfs_check *check = &k->repair->check;
	int err = 0;

	for (size_t i = 0; i < check->page_count && !err; i++) {
		struct pfs_file *file;
		char name[32];

		if (!check->pages[i].usable)
			continue;
		snprintf(name, sizeof(name), PFS_PAGE_NAME_FMT, check->pages[i].number);
		err = check->dir->ops->open(check->dir, name, 0, &file);
		if (err)
			return err;
		err = keep_page(k, &check->pages[i], file);
		file->ops->close(file);
	}
	return err;
}

static int keep_lost(struct pfs_repair *repair, const struct pfs_check_set *lost)
{
	struct pfs_check_result unused = {0};
	struct keeping k = {.repair = repair, .lost = lost};
	int err;

	k.check = (struct pfs_check){
		.dir = repair->dir,
		.logger = repair->logger,
		.fn = ignore,
		.result = &unused,
		.super = repair->super,
		.record = keep_record,
	};
	err = pfs_check_files(&k.check);
	if (!err)
		err = pfs_check_journal(&k.check);
	if (!err)
		err = keep_pages(&k);
	pfs_check_end(&k.check);
	return err;
}

int pfs_repair_rehearse(struct pfs_repair *repair)
{
	struct pfs_open_options options = {
		.read_only = true, .manual = true, .logger = *repair->logger};
	struct pfs_check_set lost = {0};
	struct pfs_store *store;
	int err = pfs_store_open_in(&store, repair->dir, repair->path, &options, repair->reason);

	if (err)
		return err;
	err = collect_lost(store, &lost);
	(void)pfs_store_close(store);
	if (!err && lost.count)
		err = keep_lost(repair, &lost);
	pfs_check_set_free(&lost);
	return err;
}
