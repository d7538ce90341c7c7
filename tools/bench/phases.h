/* What is measured of a peer that holds a set of documents, one function a phase; each prints its
 * figures (bench_say). Rates are operations a second, costs (_cpu) microseconds of processor an
 * operation, with what the peer does for them in the background afterwards. */
#ifndef BENCH_PHASES_H
#define BENCH_PHASES_H

#include "tools/bench/documents.h"
#include "tools/bench/peer.h"

#define VERSION_GONE 255 /* the document was deleted */

struct bench {
	const struct peer *peer;
	void *db; /* open */
	struct docs docs;
	uint8_t *version; /* of each document; in a file, so that it outlives the process */
	uint32_t *order;  /* a permutation: the order of random accesses, the same for all */
	size_t gets;	  /* of a measurement */
	size_t changes;	  /* updates, and deletions: not more than there are documents allow */
	double durable_s; /* how long durable puts are measured */
};

void phase_load(struct bench *b);
/* Every document has the bytes that it is to have, and there are no others: else the process ends.
 * By single reads in the order of the ids, or by a scan. */
void phase_verify_gets(struct bench *b);
void phase_verify_scan(struct bench *b);
void phase_get(struct bench *b, unsigned threads);
void phase_get_many(struct bench *b);
void phase_scan(struct bench *b);
void phase_update(struct bench *b);
void phase_delete(struct bench *b);
/* What the disk does at that moment: blocks of 4 KiB of a file beside the directory that are there
 * already are overwritten, each with an fdatasync. No metadata has to be written: it is the least
 * that a durable change can cost. Durable puts follow, and are judged by it. */
void phase_disk(const struct bench *b, const char *dir);
void phase_durable(struct bench *b, unsigned threads);

/* Puts the next version of document i: nothing is measured. buf as of docs_version. */
void bench_put_next(struct bench *b, void *session, size_t i, char *buf);

/* How many documents at the begin of the order are never deleted. */
size_t bench_kept(const struct bench *b);

#endif
