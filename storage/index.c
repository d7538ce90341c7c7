#include "storage/index.h"

#include <pthread.h>
#include <stdlib.h>

#include "storage/index_runs.h"

#define CHUNK 65536u
#define CHUNKS 65536u
#define OBJECT_FIRST 2u
#define BUCKET_EMPTY 0u
#define BUCKET_REMOVED 1u
#define TABLE_MIN 1024u
#define OBJECT_BITS_MIN 12u

struct chunk {
	uint64_t words[CHUNK];
	uint32_t hashes[CHUNK];
};

/* A bucket holds an object's number and, in the bits above those that numbers need at present, the
 * low bits of its hash (the high ones say where the bucket is). Nearly all who only share the way
 * are told apart by them, without a look at a chunk, which is far away. */
struct table {
	struct table *replaced; /* list of those waiting to be reclaimed */
	uint64_t size;
	uint64_t used, live; /* used counts removed buckets too */
	unsigned object_bits;
	uint32_t buckets[];
};

/* A small open-addressing map from number to number; 0 is no key. */
struct map {
	uint32_t *keys, *values;
	uint32_t size, count; /* size: power of two */
};

struct pfs_index {
	struct chunk *chunks[CHUNKS];
	uint32_t end;
	struct table *table;
	struct table *replaced;
	uint64_t moves; /* odd while a name changes hands */

	/* Whose objects need no chunk: one is made of them when the first in it is changed. */
	struct pfs_index_runs runs;

	uint32_t *free_numbers; /* ring: oldest first, so that numbers rest before they return */
	uint64_t free_head, free_count, free_cap;

	pthread_mutex_t lock;
	struct map object_at; /* cookie -> object, 0: vacated */
	struct map cookie_of; /* object -> cookie */
};

uint32_t pfs_index_hash(unsigned kind, uint64_t tag)
{
	return (uint32_t)(pfs_mix64(tag + kind * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}

/* ---- map ---- */

static uint32_t map_slot(const struct map *map, uint32_t key)
{
	uint32_t at = (uint32_t)pfs_mix64(key) & (map->size - 1);

	while (map->keys[at] && map->keys[at] != key)
		at = (at + 1) & (map->size - 1);
	return at;
}

static bool map_get(const struct map *map, uint32_t key, uint32_t *value)
{
	uint32_t at;

	if (!map->count)
		return false;
	at = map_slot(map, key);
	if (map->keys[at] != key)
		return false;
	*value = map->values[at];
	return true;
}

static int map_reserve(struct map *map, uint32_t n)
{
	struct map bigger = {.size = map->size ? map->size : 16};

	while ((uint64_t)(map->count + n) * 4 > (uint64_t)bigger.size * 3)
		bigger.size *= 2;
	if (bigger.size == map->size)
		return 0;
	bigger.keys = calloc(bigger.size, sizeof(*bigger.keys));
	bigger.values = calloc(bigger.size, sizeof(*bigger.values));
	if (!bigger.keys || !bigger.values) {
		free(bigger.keys);
		free(bigger.values);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < map->size; i++) {
		if (map->keys[i]) {
			uint32_t at = map_slot(&bigger, map->keys[i]);

			bigger.keys[at] = map->keys[i];
			bigger.values[at] = map->values[i];
			bigger.count++;
		}
	}
	free(map->keys);
	free(map->values);
	*map = bigger;
	return 0;
}

static int map_set(struct map *map, uint32_t key, uint32_t value)
{
	uint32_t at;
	int err = map_reserve(map, 1);

	if (err)
		return err;
	at = map_slot(map, key);
	if (!map->keys[at]) {
		map->keys[at] = key;
		map->count++;
	}
	map->values[at] = value;
	return 0;
}

static void map_remove(struct map *map, uint32_t key)
{
	uint32_t at, next;

	if (!map->count)
		return;
	at = map_slot(map, key);
	if (map->keys[at] != key)
		return;
	map->keys[at] = 0;
	map->count--;
	/* Re-place the rest of the run, which may have probed across the hole. */
	for (next = (at + 1) & (map->size - 1); map->keys[next];
	     next = (next + 1) & (map->size - 1)) {
		uint32_t moved = map->keys[next], value = map->values[next], to;

		map->keys[next] = 0;
		to = map_slot(map, moved);
		map->keys[to] = moved;
		map->values[to] = value;
	}
}

/* ---- numbers and words ---- */

int pfs_index_new(struct pfs_index **out)
{
	struct pfs_index *index = calloc(1, sizeof(*index));

	*out = NULL;
	if (!index)
		return -ENOMEM;
	index->table = calloc(1, sizeof(struct table) + TABLE_MIN * sizeof(uint32_t));
	if (!index->table) {
		free(index);
		return -ENOMEM;
	}
	index->table->size = TABLE_MIN;
	index->table->object_bits = OBJECT_BITS_MIN;
	index->end = OBJECT_FIRST;
	pthread_mutex_init(&index->lock, NULL);
	*out = index;
	return 0;
}

void pfs_index_free(struct pfs_index *index)
{
	if (!index)
		return;
	for (uint32_t i = 0; i <= (index->end - 1) / CHUNK; i++)
		free(index->chunks[i]);
	pfs_index_reclaim(index->replaced);
	pfs_index_runs_free(&index->runs);
	free(index->table);
	free(index->free_numbers);
	free(index->object_at.keys);
	free(index->object_at.values);
	free(index->cookie_of.keys);
	free(index->cookie_of.values);
	pthread_mutex_destroy(&index->lock);
	free(index);
}

static struct chunk *chunk_of(const struct pfs_index *index, uint32_t object)
{
	return __atomic_load_n(&index->chunks[object / CHUNK], __ATOMIC_ACQUIRE);
}

static uint64_t run_word(const struct pfs_index_run *run, uint32_t object)
{
	return run->word + (object - run->first);
}

static uint32_t run_hash(const struct pfs_index_run *run, uint32_t object)
{
	return pfs_index_hash(PFS_KEY_NUM, run->number + (object - run->first));
}

/* What runs say of the chunk's objects. */
static void fill_chunk(const struct pfs_index *index, struct chunk *chunk, uint32_t first)
{
	const struct pfs_index_runs *runs = &index->runs;
	const struct pfs_index_run *run = pfs_index_runs_from(runs, first);

	for (; run && run < runs->at + runs->count && run->first < (uint64_t)first + CHUNK; run++) {
		uint64_t from = pfs_max_u64(run->first, first),
			 to = pfs_min_u64((uint64_t)run->first + run->count,
					  (uint64_t)first + CHUNK);

		for (uint64_t object = from; object < to; object++) {
			chunk->words[object - first] = run_word(run, (uint32_t)object);
			chunk->hashes[object - first] = run_hash(run, (uint32_t)object);
		}
	}
}

int pfs_index_touch(struct pfs_index *index, uint32_t object)
{
	struct chunk *chunk = chunk_of(index, object);

	if (chunk)
		return 0;
	chunk = calloc(1, sizeof(*chunk));
	if (!chunk)
		return -ENOMEM;
	fill_chunk(index, chunk, object - object % CHUNK);
	__atomic_store_n(&index->chunks[object / CHUNK], chunk, __ATOMIC_RELEASE);
	return 0;
}

uint64_t pfs_index_word(const struct pfs_index *index, uint32_t object)
{
	const struct chunk *chunk = chunk_of(index, object);
	const struct pfs_index_run *run;

	if (chunk)
		return __atomic_load_n(&chunk->words[object % CHUNK], __ATOMIC_ACQUIRE);
	run = pfs_index_runs_of(&index->runs, object);
	return run ? run_word(run, object) : 0;
}

void pfs_index_prefetch(const struct pfs_index *index, uint32_t object)
{
	const struct chunk *chunk = chunk_of(index, object);

	if (chunk)
		__builtin_prefetch(&chunk->words[object % CHUNK]);
}

void pfs_index_set_word(struct pfs_index *index, uint32_t object, uint64_t word)
{
	__atomic_store_n(&chunk_of(index, object)->words[object % CHUNK], word, __ATOMIC_RELEASE);
}

uint32_t pfs_index_stored_hash(const struct pfs_index *index, uint32_t object)
{
	const struct chunk *chunk = chunk_of(index, object);
	const struct pfs_index_run *run;

	if (chunk)
		return __atomic_load_n(&chunk->hashes[object % CHUNK], __ATOMIC_RELAXED);
	run = pfs_index_runs_of(&index->runs, object);
	return run ? run_hash(run, object) : 0;
}

uint32_t pfs_index_end(const struct pfs_index *index)
{
	return __atomic_load_n(&index->end, __ATOMIC_ACQUIRE);
}

static int ring_reserve(struct pfs_index *index, uint64_t total)
{
	uint64_t cap = index->free_cap ? index->free_cap * 2 : 1024;
	uint32_t *ring;

	if (total <= index->free_cap)
		return 0;
	ring = malloc(cap * sizeof(*ring));
	if (!ring)
		return -ENOMEM;
	for (uint64_t i = 0; i < index->free_count; i++)
		ring[i] = index->free_numbers[(index->free_head + i) % index->free_cap];
	free(index->free_numbers);
	index->free_numbers = ring;
	index->free_head = 0;
	index->free_cap = cap;
	return 0;
}

int pfs_index_alloc(struct pfs_index *index, uint32_t *object)
{
	uint32_t number = index->end;
	int err;

	if (index->free_count) {
		*object = index->free_numbers[index->free_head];
		index->free_head = (index->free_head + 1) % index->free_cap;
		index->free_count--;
		return 0;
	}
	if (number == UINT32_MAX)
		return -ENOSPC;
	err = pfs_index_touch(index, number);
	if (err)
		return err;
	__atomic_store_n(&index->end, number + 1, __ATOMIC_RELEASE);
	*object = number;
	return 0;
}

/* The number may be given to a new object. Without memory for the ring it stays unused: a loss of
 * 12 bytes, not of correctness. */
static void ring_push(struct pfs_index *index, uint32_t number)
{
	if (ring_reserve(index, index->free_count + 1) != 0)
		return;
	index->free_numbers[(index->free_head + index->free_count) % index->free_cap] = number;
	index->free_count++;
}

/* Nobody's name stands at this place any more, where that of another object than its own stood: a
 * number that is free too can be given to a new object now (I3). Index's lock. */
static void leave_place(struct pfs_index *index, uint32_t cookie)
{
	if (pfs_index_word(index, cookie) == 0) {
		map_remove(&index->object_at, cookie);
		ring_push(index, cookie);
	} else {
		/* The key is there: no memory is needed. */
		(void)map_set(&index->object_at, cookie, 0);
	}
}

void pfs_index_release(struct pfs_index *index, uint32_t object)
{
	uint32_t cookie, other;
	bool place_taken;

	pfs_index_set_word(index, object, 0);
	pthread_mutex_lock(&index->lock);
	if (map_get(&index->cookie_of, object, &cookie)) {
		map_remove(&index->cookie_of, object);
		if (map_get(&index->object_at, cookie, &other) && other == object)
			leave_place(index, cookie);
	}
	place_taken = map_get(&index->object_at, object, &other);
	if (place_taken && other == 0) {
		map_remove(&index->object_at, object);
		place_taken = false;
	}
	if (!place_taken)
		ring_push(index, object);
	pthread_mutex_unlock(&index->lock);
}

/* ---- hash ---- */

static uint64_t bucket_of(const struct table *table, uint32_t hash)
{
	return (uint64_t)hash * table->size >> 32;
}

static bool fits(const struct table *table, uint64_t object)
{
	return object >> table->object_bits == 0;
}

static uint32_t bucket_object(const struct table *table, uint32_t bucket)
{
	return bucket & (uint32_t)((UINT64_C(1) << table->object_bits) - 1);
}

static uint32_t bucket_tag(const struct table *table, uint32_t hash)
{
	return (uint32_t)((uint64_t)hash << table->object_bits);
}

static void table_put(struct table *table, uint32_t object, uint32_t hash)
{
	uint64_t at = bucket_of(table, hash);
	uint32_t there;

	while ((there = table->buckets[at]) > BUCKET_REMOVED)
		at = at + 1 == table->size ? 0 : at + 1;
	if (there == BUCKET_EMPTY)
		table->used++;
	table->live++;
	__atomic_store_n(&table->buckets[at], bucket_tag(table, hash) | object, __ATOMIC_RELEASE);
}

/* A table for so many objects, with numbers up to `highest`. */
static int table_grow(struct pfs_index *index, uint64_t for_live, uint64_t highest)
{
	uint64_t size = pfs_max_u64(for_live + for_live / 2 + for_live / 8, TABLE_MIN);
	struct table *old = index->table;
	struct table *table = calloc(1, sizeof(*table) + size * sizeof(uint32_t));

	if (!table)
		return -ENOMEM;
	table->size = size;
	table->object_bits = OBJECT_BITS_MIN;
	while (!fits(table, highest))
		table->object_bits++;
	for (uint64_t i = 0; i < old->size; i++) {
		uint32_t object = bucket_object(old, old->buckets[i]);

		if (old->buckets[i] > BUCKET_REMOVED)
			table_put(table, object,
				  index->chunks[object / CHUNK]->hashes[object % CHUNK]);
	}
	__atomic_store_n(&index->table, table, __ATOMIC_RELEASE);
	old->replaced = index->replaced;
	index->replaced = old;
	return 0;
}

/* Room for n more entries with numbers up to `highest`. */
static int make_room(struct pfs_index *index, uint64_t n, uint64_t highest)
{
	const struct table *table = index->table;

	highest = pfs_min_u64(highest, UINT32_MAX);
	/* Longer runs than at four fifths cost more than the memory is worth. */
	if ((table->used + n) * 5 <= table->size * 4 && fits(table, highest))
		return 0;
	return table_grow(index, table->live + n, pfs_max_u64(highest, index->end));
}

int pfs_index_reserve(struct pfs_index *index, uint64_t n)
{
	return make_room(index, n, index->end + n);
}

int pfs_index_insert(struct pfs_index *index, uint32_t object, uint32_t hash)
{
	int err = make_room(index, 1, object);

	if (err)
		return err;
	__atomic_store_n(&chunk_of(index, object)->hashes[object % CHUNK], hash, __ATOMIC_RELAXED);
	table_put(index->table, object, hash);
	return 0;
}

void pfs_index_prefetch_hash(const struct pfs_index *index, uint32_t hash)
{
	__builtin_prefetch(&index->table->buckets[bucket_of(index->table, hash)], 1);
}

static uint32_t *bucket_with(struct pfs_index *index, uint32_t object, uint32_t hash)
{
	struct table *table = index->table;
	uint32_t bucket = bucket_tag(table, hash) | object;
	uint64_t at = bucket_of(table, hash);

	for (uint64_t i = 0; i < table->size && table->buckets[at] != BUCKET_EMPTY; i++) {
		if (table->buckets[at] == bucket)
			return &table->buckets[at];
		at = at + 1 == table->size ? 0 : at + 1;
	}
	return NULL;
}

void pfs_index_remove(struct pfs_index *index, uint32_t object, uint32_t hash)
{
	uint32_t *bucket = bucket_with(index, object, hash);

	if (!bucket)
		return;
	__atomic_store_n(bucket, BUCKET_REMOVED, __ATOMIC_RELEASE);
	index->table->live--;
}

void pfs_index_replace(struct pfs_index *index, uint32_t object, uint32_t with, uint32_t hash)
{
	uint32_t *bucket = bucket_with(index, object, hash);

	__atomic_store_n(&chunk_of(index, with)->hashes[with % CHUNK], hash, __ATOMIC_RELAXED);
	if (bucket)
		__atomic_store_n(bucket, bucket_tag(index->table, hash) | with, __ATOMIC_RELEASE);
	else if (pfs_index_runs_of(&index->runs, object))
		table_put(index->table, with, hash);
}

void pfs_probe_begin(struct pfs_probe *probe, const struct pfs_index *index, uint32_t hash)
{
	const struct table *table = __atomic_load_n(&index->table, __ATOMIC_ACQUIRE);

	*probe = (struct pfs_probe){.table = table,
				    .at = bucket_of(table, hash),
				    .left = table->size,
				    .tag = bucket_tag(table, hash)};
}

void pfs_probe_key(struct pfs_probe *probe, const struct pfs_index *index, unsigned kind,
		   uint64_t tag)
{
	pfs_probe_begin(probe, index, pfs_index_hash(kind, tag));
	if (kind == PFS_KEY_NUM)
		probe->in_run = pfs_index_runs_find(&index->runs, tag);
}

uint32_t pfs_probe_next(struct pfs_probe *probe)
{
	const struct table *table = probe->table;

	if (probe->in_run) {
		uint32_t object = probe->in_run;

		probe->in_run = PFS_OBJECT_NONE;
		return object;
	}
	while (probe->left) {
		uint32_t bucket = __atomic_load_n(&table->buckets[probe->at], __ATOMIC_ACQUIRE);
		uint32_t object = bucket_object(table, bucket);

		if (bucket == BUCKET_EMPTY)
			break;
		probe->at = probe->at + 1 == table->size ? 0 : probe->at + 1;
		probe->left--;
		if (bucket != BUCKET_REMOVED && (bucket ^ object) == probe->tag)
			return object;
	}
	probe->left = 0;
	return PFS_OBJECT_NONE;
}

void pfs_probe_prefetch(const struct pfs_probe *probe)
{
	__builtin_prefetch(&((const struct table *)probe->table)->buckets[probe->at]);
}

/* ---- runs ---- */

int pfs_index_add_run(struct pfs_index *index, uint64_t word, uint32_t count, uint64_t number)
{
	struct pfs_index_run run = {index->end, count, word, number};
	int err;

	if (!count || count > UINT32_MAX - index->end || number + (count - 1) < number)
		return -EUCLEAN;
	err = pfs_index_runs_add(&index->runs, &run);
	if (err)
		return err;
	/* Of the chunks that it lies in only the first can be there. */
	if (chunk_of(index, run.first))
		fill_chunk(index, chunk_of(index, run.first), run.first - run.first % CHUNK);
	__atomic_store_n(&index->end, run.first + count, __ATOMIC_RELEASE);
	return 0;
}

int pfs_index_end_runs(struct pfs_index *index)
{
	return pfs_index_runs_finish(&index->runs);
}

uint32_t pfs_index_in_run(const struct pfs_index *index, uint32_t object, uint64_t *number)
{
	const struct pfs_index_run *run;
	uint64_t end;

	run = chunk_of(index, object) ? NULL : pfs_index_runs_of(&index->runs, object);
	if (!run)
		return 0;
	*number = run->number + (object - run->first);
	/* The next chunk may have been touched. */
	end = pfs_min_u64((uint64_t)run->first + run->count,
			  ((uint64_t)object / CHUNK + 1) * CHUNK);
	return (uint32_t)(end - object);
}

int pfs_index_dissolve_runs(struct pfs_index *index)
{
	struct pfs_index_runs *runs = &index->runs;
	int err = 0;

	for (size_t r = 0; r < runs->count && !err; r++) {
		const struct pfs_index_run *run = &runs->at[r];

		err = pfs_index_reserve(index, run->count);
		for (uint32_t i = 0; i < run->count && !err; i++) {
			err = pfs_index_touch(index, run->first + i);
			if (!err)
				err = pfs_index_insert(index, run->first + i,
						       run_hash(run, run->first + i));
		}
	}
	if (err)
		return err;
	pfs_index_runs_free(runs);
	*runs = (struct pfs_index_runs){0};
	return 0;
}

/* ---- replaced tables ---- */

void *pfs_index_detach(struct pfs_index *index)
{
	struct table *detached = index->replaced;

	index->replaced = NULL;
	return detached;
}

void pfs_index_reclaim(void *detached)
{
	struct table *table = detached;

	while (table) {
		struct table *next = table->replaced;

		free(table);
		table = next;
	}
}

/* ---- names that change hands ---- */

void pfs_index_moving(struct pfs_index *index)
{
	__atomic_fetch_add(&index->moves, 1, __ATOMIC_ACQ_REL);
}

uint64_t pfs_index_moves(const struct pfs_index *index)
{
	return __atomic_load_n(&index->moves, __ATOMIC_ACQUIRE);
}

bool pfs_index_moved(struct pfs_index *index, uint64_t moves)
{
	/* A read that no look comes behind: ThreadSanitizer knows no fences. */
	return (moves & 1) || __atomic_fetch_add(&index->moves, 0, __ATOMIC_ACQ_REL) != moves;
}

/* ---- cookies ---- */

uint32_t pfs_index_cookie(struct pfs_index *index, uint32_t object)
{
	uint32_t cookie = object;

	pthread_mutex_lock(&index->lock);
	map_get(&index->cookie_of, object, &cookie);
	pthread_mutex_unlock(&index->lock);
	return cookie;
}

uint32_t pfs_index_at_cookie(struct pfs_index *index, uint32_t cookie)
{
	uint32_t object = cookie;

	pthread_mutex_lock(&index->lock);
	map_get(&index->object_at, cookie, &object);
	pthread_mutex_unlock(&index->lock);
	return object;
}

int pfs_index_reserve_cookies(struct pfs_index *index)
{
	int err;

	pthread_mutex_lock(&index->lock);
	err = map_reserve(&index->object_at, 4);
	if (!err)
		err = map_reserve(&index->cookie_of, 4);
	pthread_mutex_unlock(&index->lock);
	return err;
}

int pfs_index_set_cookie(struct pfs_index *index, uint32_t object, uint32_t cookie)
{
	int err = 0;

	pthread_mutex_lock(&index->lock);
	if (object == cookie) {
		map_remove(&index->object_at, cookie);
		map_remove(&index->cookie_of, object);
	} else {
		err = map_set(&index->object_at, cookie, object);
		if (!err)
			err = map_set(&index->cookie_of, object, cookie);
	}
	pthread_mutex_unlock(&index->lock);
	return err;
}

int pfs_index_vacate(struct pfs_index *index, uint32_t cookie)
{
	uint32_t other;
	int err = 0;

	pthread_mutex_lock(&index->lock);
	if (map_get(&index->object_at, cookie, &other) && other != 0)
		leave_place(index, cookie);
	else
		err = map_set(&index->object_at, cookie, 0);
	pthread_mutex_unlock(&index->lock);
	return err;
}

uint32_t pfs_index_renumber(struct pfs_index *index, uint32_t object)
{
	uint32_t cookie = pfs_index_cookie(index, object);
	uint64_t word = pfs_index_word(index, object);
	uint32_t hash;

	if (cookie == object || pfs_index_word(index, cookie) != 0)
		return PFS_OBJECT_NONE;
	hash = chunk_of(index, object)->hashes[object % CHUNK];
	pfs_index_moving(index);
	/* Before the word: who sees that may compare the hash with the slot. */
	__atomic_store_n(&chunk_of(index, cookie)->hashes[cookie % CHUNK], hash, __ATOMIC_RELAXED);
	pfs_index_set_word(index, cookie, word);
	pfs_index_replace(index, object, cookie, hash);
	pthread_mutex_lock(&index->lock);
	map_remove(&index->object_at, cookie);
	map_remove(&index->cookie_of, object);
	pthread_mutex_unlock(&index->lock);
	pfs_index_release(index, object);
	pfs_index_moving(index);
	return cookie;
}

uint64_t pfs_index_bytes(const struct pfs_index *index)
{
	const struct pfs_index_runs *runs = &index->runs;
	uint64_t bytes = sizeof(*index) + sizeof(struct table);

	for (uint32_t i = 0; i <= (index->end - 1) / CHUNK; i++)
		bytes += index->chunks[i] ? sizeof(struct chunk) : 0;
	return bytes + runs->cap * sizeof(*runs->at) + runs->count * sizeof(*runs->by_number) +
	       index->table->size * sizeof(uint32_t) + index->free_cap * sizeof(uint32_t) +
	       2 * sizeof(uint32_t) * ((uint64_t)index->object_at.size + index->cookie_of.size);
}
