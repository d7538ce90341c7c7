/* The statistics as text. */
#include <inttypes.h>
#include <stdio.h>

#include "storage/store.h"

/* In the order in which they are written: what is a number, what is true or false. */
/* clang-format off */
#define NUMBERS(F) \
	F(points) F(scratch) F(raw_bytes) F(container_bytes) F(slot_bytes) F(used_bytes) \
	F(hole_bytes) F(gap_bytes) F(free_bytes) F(dead_bytes) F(dead_max) F(disk_bytes) \
	F(page_bytes) F(pages) \
	F(page_size) F(min_value_size) F(journal_bytes) F(sequence) F(durable_sequence) \
	F(blocks_decoded) F(records) F(syncs) F(checkpoints) F(relocations) F(in_place) \
	F(moved_values) F(moved_bytes) F(retired_pages) F(space_total) F(space_available) \
	F(index_bytes) F(format_version) F(dictionaries) F(dictionary) F(dictionary_users) \
	F(dictionary_raw) F(dictionary_packed) F(snapshots) F(snapshot_age_ns) F(pinned_bytes) \
	F(snapshot_memory) F(published_generation) F(published_ns)
#define FLAGS(F) F(dictionary_off) F(dictionary_trainer) F(doubt)
/* clang-format on */

size_t pfs_store_stat_json(char *text, size_t cap, const struct pfs_store_stat *stat)
{
	size_t len = 0;

#define PUT(format, ...) \
	(len += (size_t)snprintf(text + len, len < cap ? cap - len : 0, format, __VA_ARGS__))
#define NUMBER(field) PUT("%s\"" #field "\":%" PRIu64, len ? "," : "", (uint64_t)stat->field);
#define FLAG(field) PUT(",\"" #field "\":%s", stat->field ? "true" : "false");
	NUMBERS(NUMBER)
	FLAGS(FLAG)
	PUT(",\"defaults\":{\"mode\":\"%04" PRIo32 "\",\"uid\":%" PRIu32 ",\"gid\":%" PRIu32 "}",
	    stat->defaults.mode, stat->defaults.uid, stat->defaults.gid);
	return len;
}
