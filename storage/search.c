#include "storage/search.h"

#include <stdlib.h>

#include "storage/crc.h"
#include "storage/record.h"

#define STEP 8	    /* records begin at and are multiples of it */
#define SUMMED_AT 8 /* in a record; before it are the length and the checksum itself */

/* Bytes of which is known what the CRC of all up to each step is, so that any range of them is
 * summed by the ends of it. */
struct range {
	const uint8_t *bytes;
	uint64_t from, end; /* multiples of STEP */
	uint32_t seed;
	uint64_t zeros; /* from here on there are only zeros, as in most of a new segment */
	uint32_t *sums; /* [i]: of [from, from + i * STEP), up to there */
};

static int sum_range(struct range *range)
{
	uint32_t sum = 0, *at;

	while (range->zeros > range->from && pfs_get_le64(range->bytes + range->zeros - STEP) == 0)
		range->zeros -= STEP;
	range->sums = malloc(((range->zeros - range->from) / STEP + 1) * sizeof(*range->sums));
	if (!range->sums)
		return -ENOMEM;
	at = range->sums;
	*at++ = sum;
	for (uint64_t off = range->from; off < range->zeros; off += STEP) {
		sum = pfs_crc32c(sum, range->bytes + off, STEP);
		*at++ = sum;
	}
	return 0;
}

static uint32_t sum_before(const struct range *range, uint64_t off)
{
	uint64_t at = pfs_min_u64(off, range->zeros);
	uint32_t sum = range->sums[(at - range->from) / STEP];

	/* The register, of which the sum is the complement, is shifted by zeros. */
	return off == at ? sum : ~pfs_crc32c_shift(~sum, off - at);
}

/* Whether what seems to be a record is one: by the sums, and only then by its bytes. */
static bool verifies(struct pfs_search *search, const struct range *range, uint64_t off)
{
	const uint8_t *record = range->bytes + off;
	const struct pfs_record_disk *head = (const struct pfs_record_disk *)record;
	size_t len = pfs_get_le32(head->len.b);
	uint32_t crc = pfs_crc32c(range->seed, record, sizeof(head->len));

	search->heads++;
	if (pfs_crc32c_between(crc, sum_before(range, off + SUMMED_AT),
			       sum_before(range, off + len),
			       len - SUMMED_AT) != pfs_get_le32(head->crc.b))
		return false;
	search->summed += len;
	return pfs_record_crc(range->seed, record, len) == pfs_get_le32(head->crc.b) &&
	       pfs_get_le64(head->seq.b) <= PFS_SEQ_MAX;
}

static int keep(struct pfs_search *search, const struct pfs_record_disk *head, uint64_t off)
{
	uint64_t seq = pfs_get_le64(head->seq.b);

	if (search->count == search->cap) {
		size_t cap = search->cap ? 2 * search->cap : 64;
		struct pfs_found *found = realloc(search->found, cap * sizeof(*found));

		if (!found)
			return -ENOMEM;
		search->found = found;
		search->cap = cap;
	}
	search->found[search->count++] =
		(struct pfs_found){(uint32_t)off, pfs_get_le32(head->len.b), seq,
				   pfs_min_u64(seq, pfs_get_le64(head->durable.b)) + 1};
	return 0;
}

int pfs_search_add(struct pfs_search *search, const uint8_t *bytes, uint64_t from, uint64_t end,
		   uint64_t zeros, uint32_t seed)
{
	struct range range = {
		.bytes = bytes, .from = from, .end = end & ~(uint64_t)(STEP - 1), .seed = seed};
	uint64_t last; /* no record begins there or behind */
	int err;

	if (from + PFS_RECORD_LEN_MIN > range.end)
		return 0;
	range.zeros = pfs_min_u64(range.end, pfs_max_u64(from, pfs_round_up(zeros, STEP)));
	err = sum_range(&range);
	search->summed += range.zeros - from;
	last = pfs_min_u64(range.zeros, range.end - PFS_RECORD_LEN_MIN + STEP);
	for (uint64_t off = from; off < last && !err;) {
		const struct pfs_record_disk *head = (const struct pfs_record_disk *)(bytes + off);

		if (pfs_record_is_plausible(head, range.end - off) &&
		    verifies(search, &range, off)) {
			err = keep(search, head, off);
			off += pfs_get_le32(head->len.b);
		} else {
			off += STEP;
		}
	}
	free(range.sums);
	for (size_t i = search->count; i-- > 1;)
		search->found[i - 1].proof =
			pfs_max_u64(search->found[i - 1].proof, search->found[i].proof);
	return err;
}

void pfs_search_free(struct pfs_search *search)
{
	free(search->found);
	*search = (struct pfs_search){.count = 0};
}

/* Index of the first one at off or behind. */
static size_t first_from(const struct pfs_search *search, uint64_t off)
{
	size_t low = 0, high = search->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (search->found[middle].off < off)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct pfs_found *pfs_search_next(const struct pfs_search *search, uint64_t off, uint64_t seq)
{
	for (size_t i = first_from(search, off); i < search->count; i++) {
		if (search->found[i].seq >= seq)
			return &search->found[i];
	}
	return NULL;
}

uint64_t pfs_search_proof(const struct pfs_search *search, uint64_t off)
{
	size_t i = first_from(search, off);

	return i < search->count ? search->found[i].proof : 0;
}
