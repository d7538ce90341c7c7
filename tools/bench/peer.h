/* A system that is measured, as a table of operations: what a program that keeps documents under
 * numbers does with it, by the means that its manual advises for that. What fails ends the process
 * (bench_die).
 *
 * A session is what one thread works with; it is made and ended by the main thread, while no other
 * session is at work, and says how durable its changes are. */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tools/bench/documents.h"

#define PEER_BATCH 1000u  /* documents of a bulk load that are handed over at once */
#define PEER_MANY_MAX 64u /* of get_many */

enum peer_use {
	PEER_BULK,    /* durable when sync has returned */
	PEER_STEADY,  /* each change survives the death of the process once it has returned */
	PEER_DURABLE, /* each change survives a power cut once it has returned */
};

/* data is NULL when there is no such document; valid until the session's next call. */
struct peer_value {
	const void *data;
	size_t len;
};

typedef void peer_visit_fn(void *arg, uint64_t id, const void *data, size_t len);

struct peer {
	const char *name;  /* a word */
	const char *title; /* in tables */

	/* Opens what the directory holds; made when it is missing. Smallest: what serves reading
	 * only, and takes space, is left out. */
	void *(*open)(const char *dir, bool smallest);
	void (*close)(void *db);

	/* May be NULL. Before the first load: the documents that are coming. Is part of the load's
	 * time. */
	void (*prepare)(void *db, const struct doc *docs, size_t count);
	/* May be NULL. What the manual advises between a bulk load and reading. Not timed. */
	void (*ready)(void *db);
	/* May be NULL. Returns when nothing is left that would be done in the background. */
	void (*settle)(void *db);
	/* May be NULL. Makes it as small as it gets; then close. */
	void (*pack)(void *db, const char *dir);

	void *(*begin)(void *db, enum peer_use use);
	void (*end)(void *session);

	/* Up to PEER_BATCH documents with ascending ids, none of them there yet. */
	void (*load)(void *session, const struct doc *docs, size_t count);
	/* All that the session loaded becomes durable. */
	void (*sync)(void *session);
	/* A document is replaced, or made. */
	void (*put)(void *session, const struct doc *doc);
	void (*remove)(void *session, uint64_t id);
	struct peer_value (*get)(void *session, uint64_t id);
	/* NULL: there is no such thing. Up to PEER_MANY_MAX at once. */
	void (*get_many)(void *session, const uint64_t *ids, size_t count, struct peer_value *out);
	/* All documents, each once. */
	void (*scan)(void *session, peer_visit_fn *visit, void *arg);
};

/* NULL: none of that name is linked into this program. */
const struct peer *peer_find(const char *name);

/* The i-th of those that are; NULL behind the last. */
const struct peer *peer_number(size_t i);

#endif
