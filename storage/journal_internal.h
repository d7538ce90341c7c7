/* Rank 2: the inside of the journal, shared by the journal*.c files and by nobody else. */
#ifndef PFS_JOURNAL_INTERNAL_H
#define PFS_JOURNAL_INTERNAL_H

#include <pthread.h>

#include "storage/journal.h"
#include "storage/record.h"
#include "storage/search.h"

#define SEGMENT_FILES_MAX 0x10000u

struct pfs_journal {
	struct pfs_dir *dir;
	uint8_t uuid[PFS_UUID_LEN];
	uint64_t epoch;
	bool read_only;
	const struct pfs_logger *logger;

	/* Commit lock. */
	struct pfs_segment *live, *last; /* ascending numbers; last may be active */
	struct pfs_segment *spare;
	unsigned spare_count;
	/* The next active segment, whose header may be on the disk already: in no list. A failed
	 * attempt keeps it, so that no two files get the same number. */
	struct pfs_segment *ready;
	struct pfs_segment *dead;     /* declared so by a header that may not be durable yet */
	struct pfs_segment *declared; /* whose header says so */
	uint64_t next_number;
	uint64_t epoch_seen, clean_epoch;
	/* For the replay: what there must be, and the highest epoch of a live segment. */
	uint64_t begun_epoch, oldest_live, live_epoch;
	/* In a replay: what is behind the first damage of the segment `searched`, and what all
	 * searches took. */
	struct pfs_search search;
	const struct pfs_segment *searched;
	uint64_t search_summed;
	bool repairing;
	uint64_t live_bytes;
	uint8_t *buf;
	size_t buf_cap;
	/* Between hold and release: what was appended is at the beginning of buf. */
	bool holding;
	size_t held_len;
	uint64_t held_count;
	uint8_t file_used[SEGMENT_FILES_MAX / 8];

	pthread_mutex_t lock; /* innermost: what append and sync share */
	uint64_t appended;    /* written under both locks; read also without */
	uint64_t durable;     /* atomic for readers without the lock */
	bool failed;
	/* journal_sync.c */
	bool syncing;	   /* somebody leads */
	bool leader_stays; /* as long as anybody waits */
	struct pfs_sync_wait *waiting;
	const struct pfs_segment *in_sync; /* its file is being synced, without the lock */
};

/* ---- journal_segment.c: files and headers of segments; commit lock ---- */

/* What the checksums of a segment's records begin with (pfs_record_crc). */
uint32_t pfs_record_seed(const struct pfs_journal *journal, const struct pfs_segment *segment);

static inline bool pfs_segment_index_is_used(const struct pfs_journal *journal, unsigned index)
{
	return journal->file_used[index / 8] >> (index % 8) & 1;
}

static inline void pfs_segment_use_index(struct pfs_journal *journal, unsigned index, bool used)
{
	uint8_t bit = (uint8_t)(1u << (index % 8));

	if (used)
		journal->file_used[index / 8] |= bit;
	else
		journal->file_used[index / 8] &= (uint8_t)~bit;
}

void pfs_segment_free(struct pfs_segment *segment);
/* Opens the file, or makes it with all its blocks; may_be_short: with PFS_SEGMENT_SHORT of them
 * where there are no more. Touches nothing of the journal. */
int pfs_segment_open(struct pfs_journal *journal, unsigned index, bool create, bool may_be_short,
		     struct pfs_segment **out);
/* A new spare segment. -ENOSPC. */
int pfs_segment_create(struct pfs_journal *journal, bool may_be_short);
/* Makes the segment, which is in no list, a spare one. */
void pfs_segment_retire(struct pfs_journal *journal, struct pfs_segment *segment);
/* Decodes one copy of a header. False: it does not verify, or is another store's. */
bool pfs_segment_decode(struct pfs_segment *segment, uint64_t *oldest_live,
			const struct pfs_segment_disk *disk, const uint8_t uuid[PFS_UUID_LEN]);
/* Reads a segment's header, from the newer of its copies that verify. False: none does; then it
 * holds nothing. */
bool pfs_segment_header(struct pfs_journal *journal, struct pfs_segment *segment,
			uint64_t *oldest_live);
int pfs_segment_write_header(struct pfs_journal *journal, struct pfs_segment *segment,
			     uint64_t oldest_live);
/* Writes and syncs the header, the length and the name of the segment, which is in no list, as the
 * one behind the last. */
int pfs_segment_begin(struct pfs_journal *journal, struct pfs_segment *segment);
/* Makes it the active one. */
void pfs_segment_activate(struct pfs_journal *journal, struct pfs_segment *segment);
/* Room for len bytes in journal->buf. */
int pfs_journal_room(struct pfs_journal *journal, size_t len);

#endif
