#include "fs/point_set.h"

#include <stdlib.h>

#define CAP_FIRST 64

void pfs_point_set_free(struct pfs_point_set *set)
{
	free(set->entries);
	*set = (struct pfs_point_set){.max = set->max};
}

static void pack(struct pfs_point_entry *entry, const struct pfs_key *key)
{
	memset(entry, 0, sizeof(*entry));
	entry->kind = key->kind;
	if (key->kind == PFS_KEY_UUID)
		memcpy(entry->id, key->uuid, sizeof(key->uuid));
	else
		memcpy(entry->id, &key->num, sizeof(key->num));
}

static void unpack(struct pfs_key *key, const struct pfs_point_entry *entry)
{
	memset(key, 0, sizeof(*key));
	key->kind = entry->kind;
	if (key->kind == PFS_KEY_UUID)
		memcpy(key->uuid, entry->id, sizeof(key->uuid));
	else
		memcpy(&key->num, entry->id, sizeof(key->num));
}

/* Where an entry belongs; cap is not 0. */
static size_t home(const struct pfs_point_set *set, const struct pfs_point_entry *entry)
{
	uint64_t a, b;

	memcpy(&a, entry->id, sizeof(a));
	memcpy(&b, entry->id + sizeof(a), sizeof(b));
	a = (a ^ b << 1 ^ entry->kind) * UINT64_C(0x9e3779b97f4a7c15);
	return (size_t)(a ^ a >> 32) & (set->cap - 1);
}

/* Where the entry is, or the empty place where it would be put; the table is never full. */
static size_t place_of(const struct pfs_point_set *set, const struct pfs_point_entry *entry)
{
	size_t i = home(set, entry);

	while (set->entries[i].kind != PFS_KEY_NONE &&
	       (set->entries[i].kind != entry->kind ||
		memcmp(set->entries[i].id, entry->id, sizeof(entry->id)) != 0))
		i = (i + 1) & (set->cap - 1);
	return i;
}

int64_t *pfs_point_set_find(const struct pfs_point_set *set, const struct pfs_key *key)
{
	struct pfs_point_entry entry;
	size_t i;

	if (!set->count)
		return NULL;
	pack(&entry, key);
	i = place_of(set, &entry);
	return set->entries[i].kind != PFS_KEY_NONE ? &set->entries[i].value : NULL;
}

static int grow(struct pfs_point_set *set)
{
	struct pfs_point_set larger = {.max = set->max, .count = set->count};

	larger.cap = set->cap ? 2 * set->cap : CAP_FIRST;
	larger.entries = calloc(larger.cap, sizeof(*larger.entries));
	if (!larger.entries)
		return -ENOMEM;
	for (size_t i = 0; i < set->cap; i++)
		if (set->entries[i].kind != PFS_KEY_NONE)
			larger.entries[place_of(&larger, &set->entries[i])] = set->entries[i];
	free(set->entries);
	*set = larger;
	return 0;
}

int pfs_point_set_put(struct pfs_point_set *set, const struct pfs_key *key, int64_t value)
{
	struct pfs_point_entry entry;
	int64_t *found = pfs_point_set_find(set, key);
	int err;

	if (found) {
		*found = value;
		return 0;
	}
	if (set->count >= set->max)
		return -ENOSPC;
	if (2 * (set->count + 1) > set->cap) {
		err = grow(set);
		if (err)
			return err;
	}
	pack(&entry, key);
	entry.value = value;
	set->entries[place_of(set, &entry)] = entry;
	set->count++;
	return 0;
}

/* Empties a place, and moves up those behind it that would not be found any more. */
static void vacate(struct pfs_point_set *set, size_t hole)
{
	size_t mask = set->cap - 1;

	for (size_t i = (hole + 1) & mask; set->entries[i].kind != PFS_KEY_NONE;
	     i = (i + 1) & mask) {
		/* Its way from home to here leads over the hole. */
		if (((i - home(set, &set->entries[i])) & mask) >= ((i - hole) & mask)) {
			set->entries[hole] = set->entries[i];
			hole = i;
		}
	}
	memset(&set->entries[hole], 0, sizeof(set->entries[hole]));
	set->count--;
}

bool pfs_point_set_remove(struct pfs_point_set *set, const struct pfs_key *key)
{
	struct pfs_point_entry entry;
	size_t i;

	if (!set->count)
		return false;
	pack(&entry, key);
	i = place_of(set, &entry);
	if (set->entries[i].kind == PFS_KEY_NONE)
		return false;
	vacate(set, i);
	return true;
}

size_t pfs_point_set_take(struct pfs_point_set *set, size_t *cursor, int64_t value_max,
			  struct pfs_point_taken *out, size_t room)
{
	size_t n = 0, at = *cursor, passed = 0;

	while (n < room && set->count && passed < set->cap) {
		struct pfs_point_entry *entry;

		at &= set->cap - 1;
		entry = &set->entries[at];
		if (entry->kind != PFS_KEY_NONE && entry->value <= value_max) {
			unpack(&out[n].key, entry);
			out[n++].value = entry->value;
			/* Those that move up come from behind, and no further than to here: this
			 * place is looked at again, and none is missed. */
			vacate(set, at);
			continue;
		}
		at++;
		passed++;
	}
	*cursor = at;
	return n;
}

size_t pfs_point_set_copy(const struct pfs_point_set *set, size_t *cursor, struct pfs_key *out,
			  size_t room)
{
	size_t n = 0;

	for (; n < room && *cursor < set->cap; (*cursor)++)
		if (set->entries[*cursor].kind != PFS_KEY_NONE)
			unpack(&out[n++], &set->entries[*cursor]);
	return n;
}
