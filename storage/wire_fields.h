/* Rank 0: the order in which the fields of the store's structures go over the wire, each as a u64.
 * Both sides expand the same list:
 *
 *	#define PUT(field) pfs_wire_u64(out, (uint64_t)stat->field);
 *	PFS_WIRE_STAT_FIELDS(PUT)
 *
 * A change of a list is a change of PFS_WIRE_VERSION. */
#ifndef PFS_WIRE_FIELDS_H
#define PFS_WIRE_FIELDS_H

/* clang-format off */

/* struct pfs_store_stat */
#define PFS_WIRE_STAT_FIELDS(F) \
	F(points) F(scratch) F(raw_bytes) F(container_bytes) F(slot_bytes) F(used_bytes) \
	F(hole_bytes) F(gap_bytes) F(free_bytes) F(dead_bytes) F(dead_max) F(disk_bytes) \
	F(page_bytes) F(pages) F(page_size) F(min_value_size) F(journal_bytes) F(sequence) \
	F(durable_sequence) F(blocks_decoded) F(records) F(syncs) F(checkpoints) \
	F(relocations) F(in_place) F(moved_values) F(moved_bytes) F(retired_pages) \
	F(space_total) F(space_available) \
	F(index_bytes) F(format_version) F(dictionaries) F(dictionary) F(dictionary_users) \
	F(dictionary_raw) F(dictionary_packed) F(dictionary_off) F(dictionary_trainer) \
	F(dictionary_off_recorded) F(snapshots) F(snapshot_age_ns) F(pinned_bytes) \
	F(snapshot_memory) F(doubt) F(read_only) F(defaults.mode) F(defaults.uid) F(defaults.gid) \
	F(defaults_recorded) F(published_generation) F(published_ns) F(identity[0]) F(identity[1])

/* struct pfs_page_stat */
#define PFS_WIRE_PAGE_FIELDS(F) \
	F(number) F(slots) F(free_slots) F(size) F(disk) F(used) F(holes) F(gap) F(free) \
	F(pinned) F(live) F(dead) F(worth) F(closed) F(retiring) F(unusable)

/* struct pfs_snapshot_info */
#define PFS_WIRE_SNAPSHOT_FIELDS(F) \
	F(sequence) F(points) F(scratch) F(raw_bytes) F(opened_ns)

/* struct pfs_attr */
#define PFS_WIRE_ATTR_FIELDS(F) \
	F(size) F(stored) F(mtime_ns) F(mode) F(uid) F(gid) F(nlink)

/* struct pfs_place */
#define PFS_WIRE_PLACE_FIELDS(F) \
	F(in_journal) F(page) F(slot) F(offset) F(container_len) F(packed_len) F(sequence) \
	F(dictionary) F(checksum) F(compressed) F(blocks)

/* struct pfs_check_result */
#define PFS_WIRE_CHECK_FIELDS(F) F(findings) F(documents) F(damaged) F(pages) F(bytes)

/* struct pfs_train_result */
#define PFS_WIRE_TRAIN_FIELDS(F) \
	F(samples) F(sample_bytes) F(raw) F(before) F(packed) F(number) F(length)

/* struct pfs_compact_result */
#define PFS_WIRE_COMPACT_FIELDS(F) \
	F(values) F(bytes) F(pages_before) F(pages_after) F(disk_before) F(disk_after)

/* clang-format on */

#endif
