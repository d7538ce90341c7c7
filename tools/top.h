/* What `payloadctl top` shows: two readings of MOUNTPOINT/.payloadfs/stats.json (payloadfs(1)
 * describes it) and what lies between them. */
#ifndef TOOLS_TOP_H
#define TOOLS_TOP_H

#include <stdio.h>

#include "storage/base.h"

#define TOP_OPERATIONS_MAX 64u
#define TOP_TEXT_MAX (256 * PFS_KIB) /* of a stats.json */

struct top_operation {
	char name[24];
	uint64_t count, total_ns; /* since the mounting, as are the next */
	uint64_t p50_ns, p99_ns, p999_ns, max_ns;
};

/* The members of stats.json that are shown; one that is not in the text stays 0. */
struct top_reading {
	uint64_t pid, uptime_ns;
	uint64_t points, scratch, raw_bytes, container_bytes, slot_bytes, page_bytes, pages;
	uint64_t disk_bytes, dead_bytes, dead_max, journal_bytes, sequence, durable_sequence;
	uint64_t records, syncs, checkpoints, blocks_decoded, moved_bytes, in_place, relocations;
	uint64_t dictionary, dictionary_users, index_bytes, snapshots, pinned_bytes;
	bool read_only;
	struct top_operation operations[TOP_OPERATIONS_MAX];
	size_t count;
};

/* -EPROTO: it is no such text. */
int top_parse(struct top_reading *out, const char *text, size_t len);

/* Whether before is an earlier one of the same mount. */
bool top_follows(const struct top_reading *before, const struct top_reading *now);

/* What was counted in between, in each second. */
double top_rate(uint64_t before, uint64_t now, double seconds);

/* The mean time of an operation in between; 0 when there was none. */
uint64_t top_mean_ns(const struct top_operation *before, const struct top_operation *now);

/* Prints a block, of lines lines of columns at most. before NULL: since the mounting. Lines end
 * with end. */
void top_print(FILE *out, const char *mountpoint, const struct top_reading *before,
	       const struct top_reading *now, unsigned columns, unsigned lines, const char *end);

#endif
