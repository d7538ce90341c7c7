#include <string.h>

#include "tools/bench/peer.h"

/* A program links those that it wants; the others are not there. */
#define WEAK __attribute__((weak))
extern const struct peer peer_payload, peer_payload_dict;
extern const struct peer peer_rocksdb_lz4 WEAK, peer_rocksdb_zstd WEAK;
extern const struct peer peer_lmdb WEAK, peer_lmdb_lz4 WEAK;
extern const struct peer peer_sqlite WEAK;

static const struct peer *const peers[] = {
	&peer_payload, &peer_payload_dict, &peer_rocksdb_lz4, &peer_rocksdb_zstd,
	&peer_lmdb,    &peer_lmdb_lz4,	   &peer_sqlite,
};

const struct peer *peer_number(size_t i)
{
	for (size_t k = 0; k < sizeof(peers) / sizeof(*peers); k++)
		if (peers[k] && i-- == 0)
			return peers[k];
	return NULL;
}

const struct peer *peer_find(const char *name)
{
	const struct peer *peer;

	for (size_t i = 0; (peer = peer_number(i)); i++)
		if (strcmp(peer->name, name) == 0)
			return peer;
	return NULL;
}
