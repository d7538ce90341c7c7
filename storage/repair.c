/* Repairing a store: rounds of checking and doing something about what was found. */
#include "storage/repair.h"

#include <stdarg.h>
#include <stdlib.h>

#include "storage/io_http.h"
#include "storage/dict.h"

#define ASIDE_MAX 1000 /* files of one name that are set aside */
#define ROUNDS_MAX 10000
#define SAME_MAX 3 /* rounds that find the same, after which it is given up */
#define TOMBSTONE_AHEAD \
	(UINT64_C(1) << 24) /* so many sequences behind the newest document removals may be */

/* ---- telling ---- */

void pfs_repair_say(struct pfs_repair *repair, bool lost, const char *where, uint64_t off,
		    const struct pfs_key *key, const char *fmt, ...)
{
	struct pfs_finding finding = {.fatal = lost, .offset = off};
	va_list args;

	if (key)
		finding.key = *key;
	snprintf(finding.where, sizeof(finding.where), "%s", where);
	va_start(args, fmt);
	vsnprintf(finding.text, sizeof(finding.text), fmt, args);
	va_end(args);
	if (repair->fn)
		repair->fn(repair->arg, &finding);
	else
		pfs_logf(repair->logger, lost ? PFS_LOG_ERROR : PFS_LOG_INFO, "%s at byte %llu: %s",
			 where, (unsigned long long)off, finding.text);
}

bool pfs_repair_count_lost(struct pfs_repair *repair, const struct pfs_key *key)
{
	if (key->kind == PFS_KEY_NONE) {
		repair->result->unknown++;
		return true;
	}
	if (pfs_check_set_add(&repair->lost, pfs_check_hash(key->kind, pfs_key_tag(key))) == 0)
		return false;
	repair->result->lost++;
	return true;
}

/* ---- what is kept aside ---- */

int pfs_repair_keep(struct pfs_repair *repair, const struct pfs_kept *kept, struct pfs_file *file)
{
	int err = pfs_quarantine_add(&repair->quarantine, kept, file);

	repair->result->kept += !err;
	return err;
}

int pfs_repair_exists(struct pfs_repair *repair, const char *name)
{
	struct pfs_file *file;
	int err = repair->dir->ops->open(repair->dir, name, 0, &file);

	if (!err)
		file->ops->close(file);
	switch (err) {
	case -ENOENT: return 0;
	case -ENOMEM:
	case -EMFILE:
	case -ENFILE: return err;
	default: return 1;
	}
}

int pfs_repair_aside_name(struct pfs_repair *repair, const char *name, char out[64])
{
	int there;

	snprintf(out, 64, PFS_QUARANTINE_NAME "-%s", name);
	for (unsigned i = 2; (there = pfs_repair_exists(repair, out)) > 0; i++) {
		if (i > ASIDE_MAX)
			return -EEXIST;
		snprintf(out, 64, PFS_QUARANTINE_NAME "-%s-%u", name, i);
	}
	return there;
}

/* ---- one round ---- */

static void on_finding(void *arg, const struct pfs_finding *finding)
{
	struct pfs_repair *repair = arg;

	if (repair->check.fault.kind == PFS_FAULT_DOUBT)
		return; /* until the end */
	if (repair->check.fault.kind == PFS_FAULT_SEQUENCE && repair->has_sequence)
		return; /* one is enough */
	repair->has_sequence |= repair->check.fault.kind == PFS_FAULT_SEQUENCE;
	if (repair->count < PFS_REPAIR_ITEMS_MAX &&
	    (finding->fatal || repair->check.fault.kind != PFS_FAULT_NONE))
		repair->items[repair->count++] =
			(struct pfs_repair_item){.finding = *finding, .fault = repair->check.fault};
}

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
	struct pfs_repair *repair = arg;

	if (repair->progress)
		repair->progress(repair->arg, done, total);
}

/* What the documents say of a superblock that was made anew. */
static void learn(struct pfs_repair *repair)
{
	struct pfs_super *super = &repair->super;
	const struct pfs_check *check = &repair->check;
	uint64_t least = check->container_min ? check->container_min : PFS_MIN_VALUE_DEFAULT;

	super->sequence = pfs_max_u64(super->sequence, check->seq_max);
	if (check->tombstone_max > super->sequence &&
	    check->tombstone_max - super->sequence < TOMBSTONE_AHEAD)
		super->sequence = check->tombstone_max;
	super->min_value_size =
		(uint32_t)pfs_min_u64(pfs_max_u64(least, PFS_MIN_VALUE_MIN), PFS_MIN_VALUE_MAX);
	/* Content numbers are not given twice. */
	if (check->content_max >> PFS_CONTENT_EPOCH_SHIFT > super->open_epoch) {
		bool clean = super->clean_epoch == super->open_epoch;

		super->open_epoch = check->content_max >> PFS_CONTENT_EPOCH_SHIFT;
		super->clean_epoch = clean ? super->open_epoch : super->clean_epoch;
	}
}

/* Checks the store; the items are what was found. */
static int look(struct pfs_repair *repair, struct pfs_check_result *result)
{
	*result = (struct pfs_check_result){0};
	repair->count = 0;
	repair->has_sequence = false;
	repair->check = (struct pfs_check){
		.dir = repair->dir,
		.logger = repair->logger,
		.fn = on_finding,
		.progress = on_progress,
		.arg = repair,
		.result = result,
		.super = repair->super,
		.clean = repair->super.open_epoch == repair->super.clean_epoch,
	};
	if (repair->rebuilt)
		repair->check.super.sequence = PFS_SEQ_MAX;
	return pfs_check_all(&repair->check);
}

/* Whether a dictionary can't be read: then nothing can be said of what needs it, before it is known
 * that this stays so. */
static bool has_dict_items(const struct pfs_repair *repair)
{
	for (size_t i = 0; i < repair->count; i++) {
		if (repair->items[i].fault.kind == PFS_FAULT_DICT)
			return true;
	}
	return false;
}

/* Whether a fault of a slot or its container is among the items: what else is wrong with the page
 * may only seem so. */
static bool has_slot_items(const struct pfs_repair *repair)
{
	for (size_t i = 0; i < repair->count; i++) {
		switch (repair->items[i].fault.kind) {
		case PFS_FAULT_HEADER:
		case PFS_FAULT_UNREADABLE:
		case PFS_FAULT_SLOT:
		case PFS_FAULT_VALUE:
		case PFS_FAULT_NUMBER: return true;
		default: break;
		}
	}
	return repair->count == PFS_REPAIR_ITEMS_MAX;
}

/* Whether something is to be done about pages or dictionaries. What the journal changes of them is
 * replayed only when a later round finds nothing of that kind: what the replay can't use it takes
 * away. */
static bool has_page_items(const struct pfs_repair *repair)
{
	for (size_t i = 0; i < repair->count; i++) {
		enum pfs_fault_kind kind = repair->items[i].fault.kind;

		if (kind == PFS_FAULT_DICT || pfs_repair_is_about_page(kind))
			return true;
	}
	return false;
}

static bool is_about_journal(const struct pfs_repair_item *item)
{
	switch (item->fault.kind) {
	case PFS_FAULT_RECORDS:
	case PFS_FAULT_SEGMENT:
	case PFS_FAULT_TWICE: return true;
	case PFS_FAULT_GONE:
	case PFS_FAULT_TOLD: return strncmp(item->finding.where, "journal", 7) == 0;
	default: return false;
	}
}

/* What is to be done about items that are not about a slot. */
static void decide(struct pfs_repair *repair)
{
	bool slots = has_slot_items(repair), dicts = has_dict_items(repair);
	bool pages = has_page_items(repair);

	for (size_t i = 0; i < repair->count; i++) {
		struct pfs_repair_item *item = &repair->items[i];

		if (!repair->check.clean && pages && is_about_journal(item)) {
			item->deed = PFS_DEED_LATER;
			continue;
		}
		switch (item->fault.kind) {
		case PFS_FAULT_SEGMENT:
		case PFS_FAULT_DICT:
		case PFS_FAULT_TWICE: item->deed = PFS_DEED_ASIDE; break;
		case PFS_FAULT_NONE:
		case PFS_FAULT_STALE:
		case PFS_FAULT_TOLD:
		case PFS_FAULT_GONE: break;
		case PFS_FAULT_VALUE: item->deed = dicts ? PFS_DEED_LATER : PFS_DEED_MEND; break;
		case PFS_FAULT_OVERLAP:
		case PFS_FAULT_SMALL:
		case PFS_FAULT_DUPLICATE:
			item->deed = slots ? PFS_DEED_LATER : PFS_DEED_MEND;
			break;
		default: item->deed = PFS_DEED_MEND; break;
		}
	}
}

static int keep_records(struct pfs_repair *repair, struct pfs_repair_item *item)
{
	struct pfs_kept kept = {
		.off = item->fault.off,
		.len = item->fault.len,
		.key = &item->finding.key,
		.reason = item->finding.text,
	};
	struct pfs_file *file;
	char name[32];
	int err;

	pfs_check_segment_name(name, item->fault.number);
	kept.where = name;
	err = repair->dir->ops->open(repair->dir, name, 0, &file);
	if (err)
		return err;
	err = pfs_repair_keep(repair, &kept, file);
	file->ops->close(file);
	return err;
}

static bool is_good_now(struct pfs_repair *repair, const struct pfs_fault *fault)
{
	struct pfs_dict_file file;

	if (fault->kind != PFS_FAULT_DICT ||
	    pfs_dict_read(repair->dir, repair->super.uuid, fault->number, &file) != 0)
		return false;
	free(file.bytes);
	return true;
}

/* The file of a segment, or of a dictionary; what needs that is found without it next time. */
static int set_aside(struct pfs_repair *repair, struct pfs_repair_item *item)
{
	char name[32], aside[64];
	int err;

	if (item->fault.kind == PFS_FAULT_DICT)
		snprintf(name, sizeof(name), PFS_DICT_NAME_FMT, item->fault.number);
	else
		pfs_check_segment_name(name, item->fault.number);
	/* Both copies of its header are said to be damaged; a device may fail to read what it reads
	 * at the next try. */
	err = pfs_repair_exists(repair, name);
	if (err <= 0 || is_good_now(repair, &item->fault))
		return err < 0 ? err : 0;
	err = pfs_repair_aside_name(repair, name, aside);
	if (!err)
		err = repair->dir->ops->rename(repair->dir, name, aside);
	if (!err)
		err = repair->dir->ops->sync_dir(repair->dir);
	if (err)
		return err;
	repair->result->files++;
	pfs_repair_say(repair, item->finding.fatal, name, item->finding.offset, NULL,
		       "%s; the file is set aside as %s", item->finding.text, aside);
	return 0;
}

/* What is to be done about segments and dictionaries. */
static int do_others(struct pfs_repair *repair)
{
	int err = 0;

	for (size_t i = 0; i < repair->count && !err; i++) {
		struct pfs_repair_item *item = &repair->items[i];

		if (item->deed == PFS_DEED_LATER)
			continue;
		switch (item->fault.kind) {
		case PFS_FAULT_SEGMENT:
		case PFS_FAULT_DICT:
		case PFS_FAULT_TWICE: err = set_aside(repair, item); break;
		case PFS_FAULT_RECORDS: err = pfs_repair_clear_records(repair, item); break;
		case PFS_FAULT_SEQUENCE:
			repair->super.sequence =
				pfs_max_u64(repair->super.sequence, repair->check.seq_max);
			break;
		default: break;
		}
	}
	return err;
}

/* What is told of items that are not told of where something is done about them. */
static void tell_rest(struct pfs_repair *repair)
{
	for (size_t i = 0; i < repair->count; i++) {
		const struct pfs_repair_item *item = &repair->items[i];
		const struct pfs_finding *found = &item->finding;
		bool known = found->key.kind != PFS_KEY_NONE, lost = false;
		const char *done = "";

		if (item->spared || item->deed == PFS_DEED_LATER)
			continue;
		switch (item->fault.kind) {
		case PFS_FAULT_GONE: lost = pfs_repair_count_lost(repair, &found->key); break;
		case PFS_FAULT_TOLD: lost = true; break;
		case PFS_FAULT_RECORDS:
			/* Whether those that are known are lost is seen when it is replayed. */
			repair->result->unknown += !known;
			lost = !known;
			done = "; they are kept aside";
			break;
		case PFS_FAULT_NONE:
		case PFS_FAULT_STALE:
		case PFS_FAULT_SET:
		case PFS_FAULT_SEQUENCE: done = "; made right"; break;
		default: continue;
		}
		pfs_repair_say(repair, lost, found->where, found->offset,
			       known ? &found->key : NULL, "%s%s", found->text, done);
	}
}

/* R3. Also where there is none: a repair that was cut off may have removed it, and not durably. */
static int remove_index(struct pfs_repair *repair)
{
	int err = repair->dir->ops->unlink(repair->dir, PFS_INDEX_NAME);

	return err && err != -ENOENT ? err : repair->dir->ops->sync_dir(repair->dir);
}

/* Opening replays what there is of the journal and makes what is derived anew. */
static int settle(struct pfs_repair *repair)
{
	struct pfs_open_options options = {.manual = true, .logger = *repair->logger};
	struct pfs_store *store;
	int err = pfs_store_open_in(&store, repair->dir, repair->path, &options, repair->reason);

	return err ? err : pfs_store_close(store);
}

/* Whether one of the deeds makes that a document is not there, or not known to be missing. */
static bool takes_out(const struct pfs_repair *repair)
{
	for (size_t i = 0; i < repair->count; i++) {
		const struct pfs_repair_item *item = &repair->items[i];

		switch (item->fault.kind) {
		case PFS_FAULT_SLOT:
		case PFS_FAULT_VALUE:
		case PFS_FAULT_OVERLAP:
		case PFS_FAULT_DUPLICATE:
			if (item->deed == PFS_DEED_DROP)
				return true;
			break;
		case PFS_FAULT_GONE:
		case PFS_FAULT_UNUSABLE:
		case PFS_FAULT_FOREIGN:
		case PFS_FAULT_NUMBER:
		case PFS_FAULT_UNREADABLE:
		case PFS_FAULT_RECORDS:
		case PFS_FAULT_DICT:
		case PFS_FAULT_SEGMENT: return true;
		default: break;
		}
	}
	return false;
}

/* The superblock is older than the journal: that is replayed, and only then can be said what else
 * is wrong. */
static bool raise_epoch(struct pfs_repair *repair)
{
	bool raised = false;

	for (size_t i = 0; i < repair->count; i++) {
		const struct pfs_repair_item *item = &repair->items[i];

		if (item->fault.kind != PFS_FAULT_EPOCH ||
		    item->fault.off <= repair->super.open_epoch)
			continue;
		repair->super.open_epoch = item->fault.off;
		pfs_repair_say(repair, false, item->finding.where, item->finding.offset, NULL,
			       "it was older than the journal, which is replayed now");
		raised = true;
	}
	return raised;
}

/* Does what is to be done about the items. */
static int act(struct pfs_repair *repair)
{
	int err = 0;

	decide(repair);
	for (size_t i = 0; i < repair->count && !err; i++) {
		if (repair->items[i].fault.kind == PFS_FAULT_RECORDS &&
		    repair->items[i].deed != PFS_DEED_LATER)
			err = keep_records(repair, &repair->items[i]);
	}
	if (!err)
		err = pfs_repair_plan_pages(repair);
	if (!err)
		err = pfs_quarantine_sync(&repair->quarantine);
	/* R2 */
	if (!err && !repair->super.doubt && takes_out(repair)) {
		repair->super.doubt = true;
		err = pfs_repair_write_super(repair);
	}
	if (!err)
		err = remove_index(repair);
	if (!err)
		err = pfs_repair_pages(repair);
	if (!err)
		err = do_others(repair);
	if (!err)
		err = pfs_repair_write_super(repair);
	if (!err)
		tell_rest(repair);
	return err;
}

/* One round. 1: nothing was found. */
static int go_round(struct pfs_repair *repair)
{
	struct pfs_check_result found = {0};
	bool clean;
	int err = pfs_repair_super(repair);
	bool rebuilt = repair->rebuilt;

	if (!err && rebuilt) {
		err = look(repair, &found);
		if (!err)
			learn(repair);
		pfs_check_end(&repair->check);
		repair->rebuilt = false;
	}
	/* What is newer than any change is seen before an opening goes on behind it. */
	if (!err)
		err = look(repair, &found);
	clean = repair->check.clean;
	if (!err && clean && repair->count == 0 && !rebuilt) {
		repair->result->documents = found.documents;
		err = 1;
	} else if (!err && raise_epoch(repair)) {
		repair->result->faults++;
		err = pfs_super_write(repair->dir, &repair->super);
	} else if (!err) {
		bool ready = clean || !has_page_items(repair);

		if (repair->count || rebuilt)
			err = act(repair);
		for (size_t i = 0; i < repair->count; i++)
			repair->result->faults += repair->items[i].deed != PFS_DEED_LATER;
		if (!err && ready && !clean)
			err = pfs_repair_rehearse(repair);
		if (!err)
			err = pfs_quarantine_sync(&repair->quarantine);
		if (!err && ready)
			err = settle(repair);
	}
	pfs_check_end(&repair->check);
	return err;
}

/* The last check has found nothing but, maybe, that a repair was not finished. */
static int finish(struct pfs_repair *repair)
{
	if (!repair->super.doubt)
		return 0;
	repair->super.doubt = false;
	return pfs_super_write(repair->dir, &repair->super);
}

static int give_up(struct pfs_repair *repair)
{
	const struct pfs_finding *found = &repair->items[0].finding;

	/* Where nothing is found the store is closed, and the next round is the last. */
	if (PFS_NEVER(repair->logger, repair->count == 0))
		return -EUCLEAN;
	return pfs_refuse(repair->reason, -EUCLEAN, "%s: can't be repaired: %s at byte %llu: %s",
			  repair->path, found->where, (unsigned long long)found->offset,
			  found->text);
}

static bool is_same(const struct pfs_fault *a, const struct pfs_fault *b)
{
	return a->kind == b->kind && a->number == b->number && a->slot == b->slot &&
	       a->off == b->off && a->len == b->len;
}

static int go(struct pfs_repair *repair)
{
	struct pfs_fault first = {0};
	size_t count = 0;
	unsigned same = 0;

	for (unsigned i = 0; i < ROUNDS_MAX && same < SAME_MAX; i++) {
		struct pfs_fault now = {0};
		int err = go_round(repair);

		if (err)
			return err == 1 ? finish(repair) : err;
		/* Every round must leave less to be done, or something else. */
		if (repair->count)
			now = repair->items[0].fault;
		same = i && repair->count == count && is_same(&now, &first) ? same + 1 : 0;
		first = now;
		count = repair->count;
	}
	return give_up(repair);
}

static int repair_dir(struct pfs_repair *repair)
{
	const char *path = repair->path;
	/* First of all: a directory that is no store is left as it is, without even a lock file. */
	int err = pfs_repair_find_super(repair);

	if (err)
		return err;
	err = repair->dir->ops->lock(repair->dir, PFS_LOCK_NAME, true);
	if (err == -EWOULDBLOCK)
		return pfs_refuse(repair->reason, -EBUSY,
				  "%s: another process is using this store; unmount it first",
				  path);
	if (err)
		return pfs_refuse(repair->reason, err, "%s: can't be locked: %s", path,
				  strerror(-err));
	repair->items = malloc(PFS_REPAIR_ITEMS_MAX * sizeof(*repair->items));
	err = repair->items ? go(repair) : -ENOMEM;
	return err ? pfs_refuse(repair->reason, err,
				"%s: repairing stopped: %s; it can be started again", path,
				strerror(-err))
		   : 0;
}

int pfs_repair(const char *path, const struct pfs_io *io, const struct pfs_logger *logger,
	       pfs_finding_fn *fn, pfs_progress_fn *progress, void *arg,
	       struct pfs_repair_result *result, struct pfs_reason *reason)
{
	static const struct pfs_logger none;
	struct pfs_repair repair = {
		.path = path,
		.logger = logger ? logger : &none,
		.fn = fn,
		.progress = progress,
		.arg = arg,
		.result = result,
		.reason = reason,
	};
	int err;

	*result = (struct pfs_repair_result){0};
	if (reason)
		reason->text[0] = '\0';
	if (!io)
		io = pfs_io_for(path, NULL, NULL);
	if (pfs_store_is_published(path, io))
		return pfs_refuse(reason, -EUCLEAN,
				  "%s: is a published collection: remove what the check names, and "
				  "publish it again",
				  path);
	err = pfs_super_open_dir(io, path, PFS_IO_WRITE, &repair.dir, reason);
	if (err)
		return err;
	pfs_quarantine_begin(&repair.quarantine, repair.dir);
	err = repair_dir(&repair);
	pfs_quarantine_end(&repair.quarantine);
	pfs_check_set_free(&repair.lost);
	repair.dir->ops->close_dir(repair.dir);
	free(repair.items);
	return err;
}
