#include "storage/refine.h"

#include <stdlib.h>

#include "storage/format.h"

/* Each round leaves out less than the one before it. More rounds and more samples gain little:
 * another two rounds, or all samples, 0.3 %. */
#define ROUNDS 4u
#define LEFT_OUT_DIV 4	 /* of the dictionary, the first time */
#define PACKED_STRIDE 2u /* of the samples so many are not packed for each that is */
#define RUN_MIN 4	 /* shorter runs of bytes are not left out: a match takes as many */
#define USES_MAX 4096u	 /* bytes that are used as often as this stay in any case */
#define FILL_SEED 0x70664453u

struct refining {
	uint8_t *dict, *next, *room; /* PFS_CODEC_DICT_MAX, the same, PFS_BLOCK_LEN */
	size_t len, cap;
	const uint8_t *samples;
	const size_t *lens;
	size_t *at; /* of the samples */
	size_t count;
	uint32_t *uses; /* of each byte of dict */
	struct pfs_codec_hc *hc;
	const bool *stop;
	uint64_t filled; /* pieces, for the choice of the next */
};

static int count_uses(struct refining *r)
{
	struct pfs_codec_dict *codec;
	int err = pfs_codec_dict_new(&codec, r->dict, r->len);

	if (err)
		return err;
	memset(r->uses, 0, PFS_CODEC_DICT_MAX * sizeof(*r->uses));
	for (size_t i = 0; i < r->count && !err; i += PACKED_STRIDE) {
		size_t n = pfs_codec_pack_hc(r->hc, r->room, PFS_BLOCK_LEN, r->samples + r->at[i],
					     r->lens[i], codec);

		pfs_codec_count_uses(r->room, n, r->len, r->uses);
		if (pfs_is_set(r->stop))
			err = -ECANCELED;
	}
	pfs_codec_dict_free(codec);
	return err;
}

/* The run of bytes from `from` on that are used less than `uses` times; 0: it is too short. */
static size_t run_below(const struct refining *r, size_t from, uint32_t uses)
{
	size_t to = from;

	while (to < r->len && r->uses[to] < uses)
		to++;
	return to - from >= RUN_MIN ? to - from : 0;
}

static size_t bytes_below(const struct refining *r, uint32_t uses)
{
	size_t sum = 0;

	for (size_t i = 0; i < r->len;) {
		size_t run = run_below(r, i, uses);

		sum += run;
		i += run ? run : 1;
	}
	return sum;
}

/* The lowest number of uses below which there is that much, by bisection: the more uses, the more
 * bytes have fewer, and a longer run holds all the shorter ones. */
static uint32_t uses_for(const struct refining *r, size_t wanted)
{
	uint32_t low = 1, high = USES_MAX;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (bytes_below(r, mid) >= wanted)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

/* Leaves out `wanted` bytes at most of those that are used less often than that; the trainer puts
 * what is worth least in front. The others stand at the end of `next`, as they stood. Returns where
 * they begin. */
static size_t keep_used(struct refining *r, uint32_t uses, size_t wanted)
{
	size_t kept = 0;

	for (size_t i = 0; i < r->len;) {
		size_t run = pfs_min_u64(run_below(r, i, uses), wanted);

		wanted -= run;
		i += run;
		if (!run)
			r->next[kept++] = r->dict[i++];
	}
	memmove(r->next + (r->cap - kept), r->next, kept);
	return r->cap - kept;
}

static void fill(struct refining *r, size_t room)
{
	while (room) {
		size_t i = (size_t)(pfs_mix64(FILL_SEED + r->filled++) % r->count);
		size_t len = pfs_min_u64(r->lens[i], room);

		/* Of one that is too long, the end. */
		room -= len;
		memcpy(r->next + room, r->samples + r->at[i] + (r->lens[i] - len), len);
	}
}

static int refine(struct refining *r)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		size_t wanted = r->cap / LEFT_OUT_DIV * (ROUNDS - round) / ROUNDS, free;
		uint8_t *former = r->dict;
		int err = count_uses(r);

		if (err)
			return err;
		free = keep_used(r, uses_for(r, wanted), wanted);
		fill(r, free);
		r->dict = r->next;
		r->next = former;
		r->len = r->cap;
	}
	return 0;
}

int pfs_refine(uint8_t *dict, size_t *len, size_t cap, const uint8_t *samples, const size_t *lens,
	       size_t count, const bool *stop)
{
	struct refining r = {
		.dict = malloc(PFS_CODEC_DICT_MAX),
		.next = malloc(PFS_CODEC_DICT_MAX),
		.room = malloc(PFS_BLOCK_LEN),
		.at = malloc((count + 1) * sizeof(*r.at)),
		.uses = malloc(PFS_CODEC_DICT_MAX * sizeof(*r.uses)),
		.len = *len,
		.cap = pfs_min_u64(cap, PFS_CODEC_DICT_MAX),
		.samples = samples,
		.lens = lens,
		.count = count,
		.stop = stop,
	};
	size_t bytes = 0;
	bool fits = *len && *len <= r.cap;
	int err = r.dict && r.next && r.room && r.at && r.uses ? pfs_codec_hc_new(&r.hc) : -ENOMEM;

	for (size_t i = 0; i < count && !err; bytes += lens[i++])
		r.at[i] = bytes;
	if (!err && bytes && fits) {
		memcpy(r.dict, dict, *len);
		err = refine(&r);
		if (!err) {
			memcpy(dict, r.dict, r.len);
			*len = r.len;
		}
	}
	pfs_codec_hc_free(r.hc);
	free(r.dict);
	free(r.next);
	free(r.room);
	free(r.at);
	free(r.uses);
	return err;
}
