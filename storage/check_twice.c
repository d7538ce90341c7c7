/* Keys that two slots have. A set of hashes tells which keys to look at; these are then read again
 * and compared. */
#include <stdlib.h>

#include "storage/check.h"

#define TWICE_MAX 65536u /* versions that are compared; more are only counted as too many */
#define SET_MIN 1024u

/* ---- sets ---- */

uint64_t pfs_check_hash(unsigned kind, uint64_t tag)
{
	uint64_t hash = pfs_mix64(tag + kind * UINT64_C(0x9e3779b97f4a7c15));

	return hash ? hash : 1;
}

static size_t place_in(const uint64_t *at, size_t size, uint64_t hash)
{
	size_t i = hash & (size - 1);

	while (at[i] && at[i] != hash)
		i = (i + 1) & (size - 1);
	return i;
}

bool pfs_check_set_has(const struct pfs_check_set *set, uint64_t hash)
{
	return set->count && set->at[place_in(set->at, set->size, hash)] == hash;
}

static int set_grow(struct pfs_check_set *set)
{
	size_t size = set->size ? 2 * set->size : SET_MIN;
	uint64_t *at = calloc(size, sizeof(*at));

	if (!at)
		return -ENOMEM;
	for (size_t i = 0; i < set->size; i++) {
		if (set->at[i])
			at[place_in(at, size, set->at[i])] = set->at[i];
	}
	free(set->at);
	set->at = at;
	set->size = size;
	return 0;
}

int pfs_check_set_add(struct pfs_check_set *set, uint64_t hash)
{
	size_t i;

	if (set->count * 4 >= set->size * 3 && set_grow(set) != 0)
		return -ENOMEM;
	i = place_in(set->at, set->size, hash);
	if (set->at[i])
		return 0;
	set->at[i] = hash;
	set->count++;
	return 1;
}

void pfs_check_set_free(struct pfs_check_set *set)
{
	free(set->at);
	*set = (struct pfs_check_set){0};
}

/* ---- versions of one key ---- */

struct version {
	struct pfs_key key;
	uint64_t seq;
	uint32_t page, slot;
};

struct versions {
	struct version *at;
	size_t count, cap;
	bool too_many;
};

static int add_version(struct versions *v, const struct version *version)
{
	struct version *grown;
	size_t cap = v->cap ? 2 * v->cap : 64;

	if (v->count == TWICE_MAX) {
		v->too_many = true;
		return 0;
	}
	if (v->count == v->cap) {
		grown = realloc(v->at, cap * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		v->at = grown;
		v->cap = cap;
	}
	v->at[v->count++] = *version;
	return 0;
}

static int by_key(const void *a, const void *b)
{
	const struct version *x = a, *y = b;
	int order = pfs_key_compare(&x->key, &y->key);

	if (order == 0)
		order = pfs_order(x->seq, y->seq);
	if (order == 0)
		order = pfs_order(x->page, y->page);
	return order ? order : pfs_order(x->slot, y->slot);
}

static int scan_slot(struct pfs_check *check, struct pfs_check_reader *slots,
		     const struct pfs_checked_page *page, uint32_t number, struct versions *found)
{
	struct pfs_check_value value;
	const uint8_t *bytes;
	struct pfs_slot slot;

	/* What does not verify has been reported, or is to be expected. */
	if (pfs_check_read(slots, pfs_slot_offset(number), PFS_SLOT_LEN, &bytes) != 0 ||
	    pfs_slot_decode(&slot, (const struct pfs_slot_disk *)bytes, PFS_PAGE_HEADER_LEN,
			    page->header.page_size) != 0 ||
	    !pfs_check_set_has(&check->twice, pfs_check_hash(slot.kind, slot.tag)) ||
	    !pfs_check_header(check, slots->file, &page->header, &slot, &value))
		return 0;
	return add_version(found, &(struct version){value.key, value.c.seq, page->number, number});
}

static int scan_page(struct pfs_check *check, const struct pfs_checked_page *page,
		     struct versions *found)
{
	struct pfs_check_reader reader;
	struct pfs_file *file;
	char name[32];
	int err;

	snprintf(name, sizeof(name), PFS_PAGE_NAME_FMT, page->number);
	err = check->dir->ops->open(check->dir, name, 0, &file);
	if (err)
		return err; /* it could be read before */
	err = pfs_check_reader_new(&reader, file);
	for (uint32_t i = 0; i < page->header.slot_count && !err; i++) {
		if (pfs_check_bit(page->live, i))
			err = scan_slot(check, &reader, page, i, found);
	}
	pfs_check_reader_free(&reader);
	file->ops->close(file);
	return err;
}

/* Versions [0, count) of one key, oldest first. After an unclean end those of the window are what a
 * checkpoint was about. */
static void judge(struct pfs_check *check, const struct version *at, size_t count)
{
	size_t settled = 0;
	char where[32];

	while (settled < count && (check->clean || at[settled].seq < check->window))
		settled++;
	if (settled < 2)
		return;
	snprintf(where, sizeof(where), PFS_PAGE_NAME_FMT, at[0].page);
	check->result->damaged++;
	check->fault = (struct pfs_fault){
		.kind = PFS_FAULT_DUPLICATE, .number = at[0].page, .slot = at[0].slot};
	pfs_check_say(check, true, where, pfs_slot_offset(at[0].slot), &at[0].key,
		      "it is there %zu times: slot %u here, and newest (sequence %llu) in page %u, "
		      "slot %u",
		      settled, at[0].slot, (unsigned long long)at[settled - 1].seq,
		      at[settled - 1].page, at[settled - 1].slot);
}

int pfs_check_duplicates(struct pfs_check *check)
{
	struct versions found = {0};
	int err = 0;

	if (check->twice.count == 0)
		return 0;
	for (size_t i = 0; i < check->page_count && !err; i++) {
		if (check->pages[i].usable)
			err = scan_page(check, &check->pages[i], &found);
	}
	if (found.count)
		qsort(found.at, found.count, sizeof(*found.at), by_key);
	for (size_t i = 0, j; i < found.count && !err; i = j) {
		for (j = i + 1;
		     j < found.count && pfs_key_equal(&found.at[i].key, &found.at[j].key); j++)
			;
		judge(check, &found.at[i], j - i);
	}
	if (!err && found.too_many)
		pfs_check_say(
			check, check->clean, "pages", 0, NULL,
			"more than %u versions of keys that are there twice: not all were compared",
			TWICE_MAX);
	free(found.at);
	return err;
}
