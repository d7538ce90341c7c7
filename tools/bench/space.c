/* space: puts the documents of an NDJSON file into one of the peers, in the order of their ids, and
 * makes it as small as it gets by its own means: what the directory takes is then for `du` to say.
 *
 *   space PEER|files DIRECTORY FILE
 *   space gets STORE FILE      a store of payloadfs: thousand reads of documents a second, at
 * random
 *
 * A line is {"id":N,"payload":...}. What the peers are called, and how they are set up: peers.c,
 * peer_*.c; `files` is a file a document. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/store.h"
#include "tools/bench/measure.h"
#include "tools/bench/peer.h"

static void put_peer(const struct peer *peer, const char *dir, const struct docs *docs)
{
	void *db = peer->open(dir, true), *session = peer->begin(db, PEER_BULK);

	if (peer->prepare)
		peer->prepare(db, docs->at, docs->count);
	for (size_t i = 0; i < docs->count; i += PEER_BATCH)
		peer->load(session, &docs->at[i], pfs_min_u64(docs->count - i, PEER_BATCH));
	peer->sync(session);
	peer->end(session);
	if (peer->pack)
		peer->pack(db, dir);
	peer->close(db);
}

static void put_files(const char *dir, const struct docs *docs)
{
	for (size_t i = 0; i < docs->count; i++) {
		char path[4096];
		int fd;

		snprintf(path, sizeof(path), "%s/%llu", dir, (unsigned long long)docs->at[i].id);
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
		if (fd < 0 ||
		    write(fd, docs->at[i].bytes, docs->at[i].len) != (ssize_t)docs->at[i].len)
			bench_die(path, strerror(errno));
		close(fd);
	}
	sync();
}

/* Each document once, in an order that has nothing to do with the ids, after one round to warm up;
 * every byte is compared in that. */
static void get_all(const char *dir, const struct docs *docs)
{
	const struct pfs_open_options options = {.read_only = true};
	struct pfs_reason reason;
	struct pfs_store *store;
	double begin = 0;
	size_t step = docs->count / 3 * 2 + 1;

	if (pfs_store_open(&store, dir, &options, &reason) != 0)
		bench_die(dir, reason.text);
	while (docs->count % step == 0 || docs->count % 2 == step % 2)
		step++;
	for (unsigned round = 0; round < 2; round++) {
		begin = bench_now();
		for (size_t i = 0, at = 0; i < docs->count; i++) {
			struct pfs_key key = pfs_key_num(docs->at[at].id);
			size_t len;
			void *data;

			if (pfs_get(store, &key, &data, &len, NULL) != 0)
				bench_die(dir, "a document can't be read");
			if (!round &&
			    (len != docs->at[at].len || memcmp(data, docs->at[at].bytes, len) != 0))
				bench_die(dir, "a document is not what was imported");
			free(data);
			at = round ? (at + step) % docs->count : at + 1;
		}
	}
	printf("%.0f\n", (double)docs->count / (bench_now() - begin) / 1000);
	pfs_store_close(store);
}

int main(int argc, char **argv)
{
	const char *what = argc == 4 ? argv[1] : "", *dir = argc == 4 ? argv[2] : "";
	struct docs docs;

	if (argc != 4) {
		fprintf(stderr, "usage: space PEER|files|gets DIRECTORY FILE\n");
		return 2;
	}
	docs = docs_read(argv[3]);
	if (peer_find(what))
		put_peer(peer_find(what), dir, &docs);
	else if (strcmp(what, "files") == 0)
		put_files(dir, &docs);
	else if (strcmp(what, "gets") == 0)
		get_all(dir, &docs);
	else
		bench_die(what, "no such peer");
	docs_free(&docs);
	return 0;
}
