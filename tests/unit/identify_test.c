/* storage/identify.c and salvage.c: whose damaged bytes are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/crc.h"
#include "storage/identify.h"
#include "storage/salvage.h"

#define PAGE ((size_t)16384)
#define SEED 0x1234567
#define RECORD_AT 4096

struct page {
	uint8_t bytes[PAGE];
	bool unreadable;
	unsigned reads, fails_at; /* that one and those behind it, if not 0 */
};

static int read_page(void *arg, uint64_t off, void *buf, size_t len)
{
	struct page *page = arg;

	page->reads++;
	if (page->unreadable || off > PAGE || len > PAGE - off ||
	    (page->fails_at && page->reads >= page->fails_at))
		return -EIO;
	memcpy(buf, page->bytes + off, len);
	return 0;
}

static struct pfs_key key_named(const char *name)
{
	struct pfs_key key;

	assert_int_equal(pfs_key_parse(&key, name, strlen(name)), 0);
	return key;
}

/* A document in slot 0 and its container, with a neighbour. */
static struct page *page_with(const struct pfs_key *key, size_t body_len, unsigned flags,
			      struct pfs_slot_disk *disk)
{
	struct page *page = calloc(1, sizeof(*page));
	struct pfs_container_base base = {key->kind, pfs_key_tag(key), 1000, 5};
	uint8_t room[8];
	struct pfs_container c = {.flags = flags & PFS_CONTAINER_BLOCKS,
				  .raw_len = flags & PFS_CONTAINER_BLOCKS ? 3 * PFS_BLOCK_LEN
									  : body_len,
				  .seq = 1234,
				  .mtime_ns = 77777,
				  .content = 99,
				  .body_len = body_len,
				  .tail = pfs_key_tail(key, room)};
	uint64_t len = pfs_container_len(&c, &base, 64);
	struct pfs_slot slot = {.kind = key->kind, .tag = base.tag, .off = 8000, .len = len};
	uint8_t *at = page->bytes + slot.off;
	size_t header;

	for (size_t i = 2000; i < PAGE; i++)
		page->bytes[i] = (uint8_t)pfs_mix64(i);
	header = pfs_container_header_encode(at, &c, &base, len);
	pfs_container_seal(at, header, body_len, at[4], c.seq, &base);
	pfs_slot_encode(disk, &slot);
	return page;
}

static struct pfs_identify by_page(struct page *page)
{
	static uint8_t buf[PFS_IDENTIFY_ROOM];

	return (struct pfs_identify){.read = read_page,
				     .arg = page,
				     .page_size = PAGE,
				     .base_seq = 1000,
				     .base_mtime = 5,
				     .buf = buf,
				     .budget = PFS_GIB};
}

static enum pfs_identity identify(struct page *page, const struct pfs_slot_disk *slot,
				  struct pfs_identified *out)
{
	struct pfs_identify by = by_page(page);

	return pfs_identify(&by, slot, out);
}

static void turn(void *bytes, size_t bit)
{
	((uint8_t *)bytes)[bit / 8] ^= (uint8_t)(1u << (bit % 8));
}

static const struct {
	const char *name;
	size_t body_len;
	unsigned flags;
} documents[] = {
	{"42", 100, 0},
	{"0", 0, 0},
	{"18446744073709551615", 3000, 0},
	{"6ba7b810-9dad-11d1-80b4-00c04fd430c8", 50, 0},
	{".42.swp", 500, 0},
	{"7", 700, PFS_CONTAINER_BLOCKS},
};

/* Proves: whichever single bit of a slot is wrong, its document is told, and the slot as it was;
 * or, where what stands there is a slot as good (a length with slack), it verifies. */
static void one_bit_of_a_slot(void **state)
{
	(void)state;
	for (size_t d = 0; d < pfs_array_len(documents); d++) {
		struct pfs_key key = key_named(documents[d].name);
		struct pfs_slot_disk slot, damaged;
		struct page *page =
			page_with(&key, documents[d].body_len, documents[d].flags, &slot);
		struct pfs_identified is;

		assert_int_equal(identify(page, &slot, &is), PFS_IDENTITY_WHOLE);
		assert_true(pfs_key_equal(&is.key, &key));
		for (size_t bit = 0; bit < 8 * sizeof(slot); bit++) {
			enum pfs_identity identity;

			damaged = slot;
			turn(&damaged, bit);
			identity = identify(page, &damaged, &is);
			assert_true(pfs_key_equal(&is.key, &key));
			if (identity == PFS_IDENTITY_WHOLE)
				continue;
			/* A length that is too short says as much as a longer one. */
			assert_int_equal(identity, PFS_IDENTITY_SLOT);
			assert_memory_equal(&is.slot, &slot, offsetof(struct pfs_slot_disk, word));
			assert_int_equal(is.decoded.kind, key.kind);
		}
		free(page);
	}
}

/* Proves: whichever single bit of what a container's checksum covers is wrong, the document is
 * told, and the bit. */
static void one_bit_of_a_container(void **state)
{
	(void)state;
	for (size_t d = 0; d < pfs_array_len(documents); d++) {
		struct pfs_key key = key_named(documents[d].name);
		struct pfs_slot_disk slot;
		struct page *page =
			page_with(&key, documents[d].body_len, documents[d].flags, &slot);
		struct pfs_identified is;
		size_t told = 0;

		for (size_t bit = 0; bit < 8 * (documents[d].body_len + 10); bit++) {
			enum pfs_identity identity;

			turn(page->bytes + 8000, bit);
			identity = identify(page, &slot, &is);
			turn(page->bytes + 8000, bit);
			if (identity == PFS_IDENTITY_WHOLE)
				continue; /* behind what is covered */
			assert_int_equal(identity, PFS_IDENTITY_CONTAINER);
			assert_true(is.bit == bit && pfs_key_equal(&is.key, &key));
			assert_memory_equal(&is.slot, &slot, sizeof(slot));
			told++;
		}
		assert_true(told >= 8 * (documents[d].flags ? 10 : documents[d].body_len + 6));
		free(page);
	}
}

/* Proves: of a slot without document one wrong bit makes none; and more than one wrong bit, or
 * bytes that can't be read, never make a document that was not there. */
static void nothing_is_made_up(void **state)
{
	struct pfs_key key = key_named("42");
	struct pfs_slot_disk slot, damaged, empty = {.tag = {{0}}}, dead;
	struct pfs_slot tombstone = {.kind = PFS_SLOT_TOMBSTONE, .tag = 42, .seq = 77};
	struct page *page = page_with(&key, 100, 0, &slot);
	struct pfs_identified is;

	(void)state;
	pfs_slot_encode(&dead, &tombstone);
	for (size_t bit = 0; bit < 8 * sizeof(slot); bit++) {
		enum pfs_identity identity;

		damaged = empty;
		turn(&damaged, bit);
		identity = identify(page, &damaged, &is);
		assert_true(identity == PFS_IDENTITY_NONE || identity == PFS_IDENTITY_WHOLE);
		assert_false(pfs_slot_is_live(&is.decoded));
		if (identity == PFS_IDENTITY_NONE)
			assert_memory_equal(&is.slot, &empty, sizeof(empty));
		damaged = dead;
		turn(&damaged, bit);
		identity = identify(page, &damaged, &is);
		assert_true(identity == PFS_IDENTITY_NONE || identity == PFS_IDENTITY_WHOLE);
		assert_false(pfs_slot_is_live(&is.decoded));
		if (identity == PFS_IDENTITY_NONE)
			assert_memory_equal(&is.slot, &dead, sizeof(dead));
	}
	for (size_t bit = 0; bit < 1000; bit++) {
		turn(page->bytes + 8000, bit % 800);
		turn(page->bytes + 8000, (bit * 7 + 50) % 800);
		damaged = slot;
		turn(&damaged, bit % 128);
		if (bit % 800 != (bit * 7 + 50) % 800)
			assert_int_equal(identify(page, &slot, &is), PFS_IDENTITY_UNKNOWN);
		turn(page->bytes + 8000, bit % 800);
		turn(page->bytes + 8000, (bit * 7 + 50) % 800);
	}
	page->unreadable = true;
	assert_int_equal(identify(page, &slot, &is), PFS_IDENTITY_UNREADABLE);
	assert_int_equal(is.decoded.tag, 42);
	free(page);
}

/* Proves: what would verify with one bit turned, but makes no sense then, is no document. */
static void nothing_is_mended_to_nonsense(void **state)
{
	struct pfs_key key = key_named("42");
	struct pfs_container_base base = {key.kind, pfs_key_tag(&key), 1000, 5};
	struct pfs_slot_disk slot;
	struct page *page = page_with(&key, 100, 0, &slot);
	uint8_t *at = page->bytes + 8000;
	struct pfs_container c;
	struct pfs_identified is;

	(void)state;
	at[4] |= PFS_CONTAINER_LZ4;
	assert_int_equal(pfs_container_header_decode(&c, at, 1000, 1000, &base), 0);
	/* Nothing is packed and in blocks. */
	at[4] |= PFS_CONTAINER_BLOCKS;
	pfs_container_seal(at, c.header_len, 100, PFS_CONTAINER_LZ4, 1234, &base);
	at[4] &= (uint8_t)~PFS_CONTAINER_BLOCKS;
	assert_int_equal(identify(page, &slot, &is), PFS_IDENTITY_UNKNOWN);
	pfs_container_seal(at, c.header_len, 100, PFS_CONTAINER_LZ4, 1234, &base);
	assert_int_equal(identify(page, &slot, &is), PFS_IDENTITY_WHOLE);
	free(page);
}

/* Proves: what is summed is paid for by the byte, and what can't be paid for is not told. */
static void sums_are_paid_for(void **state)
{
	struct pfs_key key = key_named("42");
	struct pfs_slot_disk slot;
	struct page *page = page_with(&key, 100, 0, &slot);
	struct pfs_identify by = by_page(page);
	struct pfs_slot decoded;
	struct pfs_identified is;

	(void)state;
	assert_int_equal(pfs_slot_decode(&decoded, &slot, PFS_PAGE_HEADER_LEN, PAGE), 0);
	for (uint64_t more = 0; more < 3; more++) {
		by.budget = decoded.len + more;
		assert_int_equal(pfs_identify(&by, &slot, &is), PFS_IDENTITY_WHOLE);
		assert_int_equal(by.budget, more);
		/* Nor is what is wrong told by what is left. */
		assert_int_equal(pfs_identify(&by, &slot, &is), PFS_IDENTITY_UNKNOWN);
		assert_int_equal(by.budget, more);
	}
	by.budget = decoded.len - 1;
	assert_int_equal(pfs_identify(&by, &slot, &is), PFS_IDENTITY_UNKNOWN);
	assert_int_equal(by.budget, decoded.len - 1);
	free(page);
}

/* Proves: without the search in containers a wrong bit of a slot is found, too, that of a tag by
 * the container's sum; and when no byte may be summed any more, nothing is told. */
static void slots_by_themselves(void **state)
{
	struct pfs_key key = key_named("42");
	struct pfs_slot_disk slot, damaged;
	struct page *page = page_with(&key, 100, 0, &slot);
	struct pfs_identify by = by_page(page);
	struct pfs_identified is;

	(void)state;
	for (size_t bit = 0; bit < 64; bit++) {
		damaged = slot;
		turn(&damaged, bit);
		by.budget = PFS_GIB;
		assert_true(pfs_identify_slot(&by, &damaged, &is));
		assert_memory_equal(&is.slot, &slot, sizeof(slot));
		assert_true(pfs_key_equal(&is.key, &key));
		by.budget = 10;
		assert_false(pfs_identify_slot(&by, &damaged, &is));
		assert_int_equal(by.budget, 10);
		assert_int_equal(pfs_identify(&by, &damaged, &is), PFS_IDENTITY_UNKNOWN);
	}
	by.budget = PFS_GIB;
	page->unreadable = true;
	assert_false(pfs_identify_slot(&by, &slot, &is));
	page->unreadable = false;
	turn(page->bytes + 8000, 300);
	assert_false(pfs_identify_slot(&by, &slot, &is));
	memset(&damaged, 0xff, sizeof(damaged));
	assert_false(pfs_identify_slot(&by, &damaged, &is));
	free(page);
}

/* Proves: of a slot that makes no sense, and that no single bit explains, nothing is told: neither
 * a document that it could be without one that verifies, nor none; of one that could be it stays
 * what it says. */
static void what_nothing_explains_is_unknown(void **state)
{
	struct pfs_key key = key_named("42");
	struct pfs_slot_disk slot, damaged;
	struct page *page = page_with(&key, 100, 0, &slot);
	struct pfs_identified is;

	(void)state;
	/* Of any slot, and of that of a container that does not verify. */
	memset(&damaged, 0xff, sizeof(damaged));
	assert_int_equal(identify(page, &damaged, &is), PFS_IDENTITY_UNKNOWN);
	assert_false(pfs_slot_is_live(&is.decoded));
	assert_int_equal(is.key.kind, PFS_KEY_NONE);
	turn(page->bytes + 8000, 200);
	turn(page->bytes + 8000, 300);
	for (size_t bit = 64 + 15; bit < 64 + 32; bit++) {
		damaged = slot;
		turn(&damaged, bit);
		assert_int_equal(identify(page, &damaged, &is), PFS_IDENTITY_UNKNOWN);
		assert_false(pfs_slot_is_live(&is.decoded));
		assert_int_equal(is.key.kind, PFS_KEY_NONE);
		assert_memory_equal(&is.slot, &damaged, sizeof(slot));
	}
	assert_int_equal(identify(page, &slot, &is), PFS_IDENTITY_UNKNOWN);
	assert_int_equal(is.decoded.kind, PFS_KEY_NUM);
	assert_int_equal(is.decoded.tag, 42);
	assert_int_equal(is.decoded.off, 8000);
	assert_memory_equal(&is.slot, &slot, sizeof(slot));
	assert_true(is.bit == UINT64_MAX);
	free(page);
}

/* Proves: of a container that can't be read again after the search in its slot nothing is told. */
static void what_can_not_be_read_again_is_unknown(void **state)
{
	struct pfs_key key = key_named("42");
	struct pfs_slot_disk slot;
	struct page *page = page_with(&key, 100, 0, &slot);
	struct pfs_identified is;
	unsigned reads;

	(void)state;
	page->bytes[8004] ^= PFS_CONTAINER_SEQ; /* how the rest is read */
	assert_int_equal(identify(page, &slot, &is), PFS_IDENTITY_CONTAINER);
	reads = page->reads;
	page->reads = 0;
	page->fails_at = reads;
	assert_int_equal(identify(page, &slot, &is), PFS_IDENTITY_UNKNOWN);
	assert_int_equal(page->reads, reads);
	assert_int_equal(is.decoded.tag, 42);
	free(page);
}

/* Proves: what only a sum of another sequence would explain is unknown, whichever bit of that it
 * is, and takes the same work. */
static void sequences_are_not_mended(void **state)
{
	struct pfs_key key = key_named("42");
	struct pfs_container_base base = {key.kind, pfs_key_tag(&key), 1000, 5};
	struct pfs_slot_disk slot;
	struct page *page = page_with(&key, 100, 0, &slot);
	uint8_t *at = page->bytes + 8000;
	struct pfs_container c;
	struct pfs_slot decoded;
	uint64_t left = 0;

	(void)state;
	assert_int_equal(pfs_slot_decode(&decoded, &slot, PFS_PAGE_HEADER_LEN, PAGE), 0);
	assert_int_equal(pfs_container_header_decode(&c, at, decoded.len, decoded.len, &base), 0);
	for (unsigned bit = 0; bit < 64; bit++) {
		struct pfs_identify by = by_page(page);
		struct pfs_identified is;

		pfs_container_seal(at, c.header_len, 100, at[4], 1234 ^ UINT64_C(1) << bit, &base);
		assert_int_equal(pfs_identify(&by, &slot, &is), PFS_IDENTITY_UNKNOWN);
		if (bit)
			assert_int_equal(by.budget, left);
		left = by.budget;
	}
	free(page);
}

/* Proves: a wrong bit that the container's sum tells costs three sums; what nothing explains costs
 * as many as there are bits that decide how the rest is read, and not more. */
static void sums_are_few(void **state)
{
	struct pfs_key key = key_named("42");
	struct pfs_slot_disk slot;
	struct page *page = page_with(&key, 100, 0, &slot);
	struct pfs_slot decoded;
	struct pfs_identified is;
	struct pfs_identify by;

	(void)state;
	assert_int_equal(pfs_slot_decode(&decoded, &slot, PFS_PAGE_HEADER_LEN, PAGE), 0);
	for (size_t bit = 0; bit < 8 * 100; bit++) {
		if (bit > 32 && bit < 8 * 20)
			continue; /* how it is read */
		turn(page->bytes + 8000, bit);
		by = by_page(page);
		assert_int_equal(pfs_identify(&by, &slot, &is), PFS_IDENTITY_CONTAINER);
		assert_int_equal(is.bit, bit);
		assert_int_equal(PFS_GIB - by.budget, 3 * decoded.len);
		turn(page->bytes + 8000, bit);
	}
	turn(page->bytes + 8000, 200);
	turn(page->bytes + 8000, 300);
	by = by_page(page);
	assert_int_equal(pfs_identify(&by, &slot, &is), PFS_IDENTITY_UNKNOWN);
	assert_true(PFS_GIB - by.budget <= 72 * decoded.len);
	/* Where another bit of the slot would have it is the same once more. */
	memcpy(page->bytes + (8000 | 8192), page->bytes + 8000, decoded.len);
	by = by_page(page);
	assert_int_equal(pfs_identify(&by, &slot, &is), PFS_IDENTITY_UNKNOWN);
	assert_true(PFS_GIB - by.budget <= 73 * decoded.len);
	free(page);
}

#define LONG_PAGE (4 * PFS_IDENTIFY_ROOM)

static int read_long(void *arg, uint64_t off, void *buf, size_t len)
{
	if (off > LONG_PAGE || len > LONG_PAGE - off)
		return -EIO;
	memcpy(buf, (const uint8_t *)arg + off, len);
	return 0;
}

/* Proves: of a document in blocks that is longer than what is read of it the tag is told by the
 * sum of its header. */
static void long_documents_are_told_by_their_header(void **state)
{
	const uint32_t len = 3 * PFS_IDENTIFY_ROOM;
	struct pfs_slot slot = {.kind = PFS_KEY_NUM, .tag = 42, .off = 8000, .len = len};
	struct pfs_container_base base = {slot.kind, slot.tag, 1000, 5};
	struct pfs_container c = {.flags = PFS_CONTAINER_BLOCKS,
				  .raw_len = PFS_MIB,
				  .seq = 1234,
				  .mtime_ns = 77777,
				  .content = 99,
				  .body_len = len - 100};
	uint8_t *bytes = calloc(1, LONG_PAGE), *buf = malloc(PFS_IDENTIFY_ROOM);
	struct pfs_slot_disk right, damaged;
	size_t header = pfs_container_header_encode(bytes + slot.off, &c, &base, len);

	(void)state;
	pfs_container_seal(bytes + slot.off, header, c.body_len, bytes[slot.off + 4], c.seq, &base);
	pfs_slot_encode(&right, &slot);
	for (size_t bit = 0; bit < 64; bit++) {
		struct pfs_identify by = {.read = read_long,
					  .arg = bytes,
					  .page_size = LONG_PAGE,
					  .base_seq = 1000,
					  .base_mtime = 5,
					  .buf = buf,
					  .budget = PFS_GIB};
		struct pfs_identified is;

		damaged = right;
		turn(&damaged, bit);
		assert_int_equal(pfs_identify(&by, &damaged, &is), PFS_IDENTITY_SLOT);
		assert_memory_equal(&is.slot, &right, sizeof(right));
		assert_int_equal(is.key.num, 42);
	}
	free(bytes);
	free(buf);
}

/* Proves: whichever bit is wrong of a container that is almost all header, it is told. */
static void one_bit_of_a_long_header(void **state)
{
	struct pfs_key key = key_named("ab");
	struct pfs_container_base base = {key.kind, pfs_key_tag(&key), 1000, 5};
	struct page *page = calloc(1, sizeof(*page));
	uint8_t room[8], *at = page->bytes + 8000;
	struct pfs_container c = {.flags = PFS_CONTAINER_ATTR,
				  .seq = PFS_SEQ_MAX - 5,
				  .mtime_ns = INT64_MAX / 3,
				  .mode = 07777,
				  .uid = UINT32_MAX,
				  .gid = UINT32_MAX - 1,
				  .tail = pfs_key_tail(&key, room)};
	uint64_t len = pfs_container_len(&c, &base, 1);
	struct pfs_slot slot = {.kind = key.kind, .tag = base.tag, .off = 8000, .len = len};
	size_t header = pfs_container_header_encode(at, &c, &base, len);
	struct pfs_slot_disk disk;

	(void)state;
	assert_int_equal(header, len);
	pfs_container_seal(at, header, 0, at[4], c.seq, &base);
	pfs_slot_encode(&disk, &slot);
	for (size_t bit = 0; bit < 8 * len; bit++) {
		struct pfs_identified is;

		turn(at, bit);
		assert_int_equal(identify(page, &disk, &is), PFS_IDENTITY_CONTAINER);
		assert_int_equal(is.bit, bit);
		assert_true(pfs_key_equal(&is.key, &key));
		turn(at, bit);
	}
	free(page);
}

/* ---- records ---- */

/* Kinds of records: bytes before the keys, keys, bytes of data behind them. */
struct record_kind {
	uint8_t type, flags;
	size_t head;
	unsigned keys;
	size_t data;
};

static const struct record_kind record_kinds[] = {
	{PFS_RECORD_PUT, 0, sizeof(struct pfs_put_disk), 1, 50},
	{PFS_RECORD_PUT, 0, sizeof(struct pfs_put_disk), 1, 0},
	{PFS_RECORD_PATCH, 0, sizeof(struct pfs_patch_disk), 1, 48},
	{PFS_RECORD_PATCH, PFS_PATCH_ZERO, sizeof(struct pfs_patch_disk), 1, 0},
	{PFS_RECORD_ATTR, 0, sizeof(struct pfs_setattr_disk), 1, 0},
	{PFS_RECORD_REMOVE, 0, sizeof(pfs_le64), 1, 0},
	{PFS_RECORD_MOVE, 0, sizeof(struct pfs_move_disk), 2, 0},
};

static size_t put_key(uint8_t *at, const struct pfs_key *key)
{
	at[0] = key->kind;
	at[1] = key->kind == PFS_KEY_NUM ? 8 : key->kind == PFS_KEY_UUID ? 16 : key->name_len;
	if (key->kind == PFS_KEY_NUM)
		pfs_put_le64(at + 2, key->num);
	else if (key->kind == PFS_KEY_UUID)
		memcpy(at + 2, key->uuid, 16);
	else
		memcpy(at + 2, key->name, key->name_len);
	return 2u + at[1];
}

static size_t record_of_kind(uint8_t *record, const struct record_kind *kind,
			     const struct pfs_key *keys)
{
	struct pfs_record_disk *head = (struct pfs_record_disk *)record;
	size_t at = PFS_RECORD_HEADER_LEN + kind->head, len;

	memset(record, 0, PAGE);
	head->type = kind->type;
	head->flags = kind->flags;
	pfs_put_le64(head->seq.b, 500);
	pfs_put_le64(head->durable.b, 499);
	if (kind->type == PFS_RECORD_PUT)
		pfs_put_le32(record + PFS_RECORD_HEADER_LEN + 44, (uint32_t)kind->data);
	if (kind->type == PFS_RECORD_PATCH)
		pfs_put_le64(record + PFS_RECORD_HEADER_LEN + 48, kind->data ? kind->data : 1000);
	for (unsigned i = 0; i < kind->keys; i++)
		at += put_key(record + at, &keys[i]);
	at = pfs_round_up(at, 8);
	memset(record + at, 'd', kind->data);
	len = pfs_round_up(at + kind->data, 8);
	pfs_put_le32(head->len.b, (uint32_t)len);
	return len;
}

static void seal(uint8_t *record, size_t len)
{
	pfs_put_le32(record + 4, pfs_crc32c(pfs_crc32c(SEED, record, 4), record + 8, len - 8));
}

static size_t record_of(uint8_t *record, const struct pfs_key *key, size_t body_len)
{
	const struct record_kind kind = {PFS_RECORD_PUT, 0, sizeof(struct pfs_put_disk), 1,
					 body_len};
	struct pfs_put_disk *put = (struct pfs_put_disk *)(record + PFS_RECORD_HEADER_LEN);
	size_t len = record_of_kind(record, &kind, key);

	pfs_put_le64(put->raw_len.b, body_len);
	for (size_t i = 0; i < body_len; i++)
		record[len - pfs_round_up(body_len, 8) + i] = (uint8_t)pfs_mix64(i);
	seal(record, len);
	return len;
}

static unsigned salvage(uint8_t *record, size_t len, uint64_t seq, struct pfs_key keys[2],
			bool *exact)
{
	return pfs_salvage_record(record, &(struct pfs_salvage){RECORD_AT, len, SEED, seq}, keys,
				  exact);
}

/* Proves: whichever single bit of a record is wrong, whose it was is told, and the record is as it
 * was. */
static void one_bit_of_a_record(void **state)
{
	static const char *const names[] = {"42", "a scratch name"};
	uint8_t *record = malloc(PAGE), *damaged = malloc(PAGE);

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct pfs_key key = key_named(names[i]), keys[2];
		size_t len = record_of(record, &key, i ? 900 : 0);
		bool exact;

		for (size_t bit = 0; bit < 8 * len; bit++) {
			memcpy(damaged, record, len);
			turn(damaged, bit);
			assert_int_equal(salvage(damaged, len, 500, keys, &exact), 1);
			assert_true(exact && pfs_key_equal(&keys[0], &key));
			assert_memory_equal(damaged, record, len);
		}
	}
	free(record);
	free(damaged);
}

/* Proves: of a record with more wrong bits the key is only given where all around it makes sense:
 * not when it, or a length or the sequence, is among them. */
static void what_a_damaged_record_says(void **state)
{
	struct pfs_key key = key_named("a scratch name"), keys[2];
	uint8_t *record = malloc(PAGE), *damaged = malloc(PAGE);
	size_t len = record_of(record, &key, 2000);
	bool exact;

	(void)state;
	/* Sectors of the data: the keys are as they stand. */
	memcpy(damaged, record, len);
	memset(damaged + 512, 0, 512);
	assert_int_equal(salvage(damaged, len, 500, keys, &exact), 1);
	assert_true(!exact && pfs_key_equal(&keys[0], &key));
	/* What is around them, and something else. */
	for (size_t from = 0; from < 88; from += 8) {
		memcpy(damaged, record, len);
		memset(damaged + from, 0xa5, 8);
		memset(damaged + 600, 0, 100);
		if (salvage(damaged, len, 500, keys, &exact))
			assert_true(!exact && pfs_key_equal(&keys[0], &key));
	}
	/* Keys that go on in another sector. */
	for (size_t part = 8; part < 104; part += 8) {
		memcpy(damaged, record, len);
		memset(damaged + part, 0, 512);
		assert_int_equal(
			pfs_salvage_record(damaged,
					   &(struct pfs_salvage){RECORD_AT - part, len, SEED, 500},
					   keys, &exact),
			0);
	}
	memset(damaged, 0, len);
	assert_int_equal(salvage(damaged, len, 500, keys, &exact), 0);
	/* One that is whole needs nothing else to be true, wherever it lies. */
	for (size_t part = 0; part < 104; part += 8) {
		assert_int_equal(
			pfs_salvage_record(record,
					   &(struct pfs_salvage){RECORD_AT - part, len, SEED, 500},
					   keys, &exact),
			1);
		assert_true(exact && pfs_key_equal(&keys[0], &key));
	}
	assert_int_equal(salvage(record, len, 501, keys, &exact), 0);
	assert_int_equal(salvage(record, 32, 500, keys, &exact), 0);
	free(record);
	free(damaged);
}

/* A record that changes body_len bytes of a document, or makes zeros of them. */
static size_t patch_of(uint8_t *record, uint64_t id, size_t body_len, unsigned flags)
{
	const struct record_kind kind = {PFS_RECORD_PATCH, (uint8_t)flags,
					 sizeof(struct pfs_patch_disk), 1,
					 flags & PFS_PATCH_ZERO ? 0 : body_len};
	struct pfs_patch_disk *patch = (struct pfs_patch_disk *)(record + PFS_RECORD_HEADER_LEN);
	struct pfs_key key = pfs_key_num(id);
	size_t len = record_of_kind(record, &kind, &key);

	pfs_put_le64(patch->new_size.b, PFS_MIB);
	pfs_put_le64(patch->len.b, body_len);
	seal(record, len);
	return len;
}

/* Proves: of a change in the middle of a document the same is told, whether it has bytes or not;
 * with a length that is not that of the record nothing is. */
static void what_a_damaged_patch_says(void **state)
{
	struct pfs_key key = key_named("77"), keys[2];
	uint8_t *record = malloc(PAGE);

	(void)state;
	for (unsigned wrong = 0; wrong < 2; wrong++) {
		for (unsigned flags = 0; flags <= PFS_PATCH_ZERO; flags += PFS_PATCH_ZERO) {
			size_t len = patch_of(record, 77, 2000, flags);
			struct pfs_patch_disk *patch =
				(struct pfs_patch_disk *)(record + PFS_RECORD_HEADER_LEN);
			bool exact;

			/* The time, and the length, which zeros do not have in the record. */
			memset(record + PFS_RECORD_HEADER_LEN, 0xa5, 8);
			if (wrong)
				pfs_put_le64(patch->len.b, 5000);
			assert_int_equal(salvage(record, len, 500, keys, &exact),
					 !wrong || flags ? 1 : 0);
			if (!wrong || flags)
				assert_true(!exact && pfs_key_equal(&keys[0], &key));
		}
	}
	/* What is nothing yet is something; the padding of the key is; an odd length. */
	for (unsigned wrong = 0; wrong < 4; wrong++) {
		size_t len = patch_of(record, 77, 2000, 0);
		struct pfs_record_disk *head = (struct pfs_record_disk *)record;
		bool exact;

		memset(record + PFS_RECORD_HEADER_LEN, 0xa5, 8);
		if (wrong == 1)
			memset(head->zero, 0xff, sizeof(head->zero));
		if (wrong == 2)
			record[PFS_RECORD_HEADER_LEN + sizeof(struct pfs_patch_disk) + 10] = 0xff;
		assert_int_equal(salvage(record, wrong == 3 ? len - 4 : len, 500, keys, &exact),
				 wrong ? 0 : 1);
	}
	free(record);
}

/* ---- what stands around the keys ---- */

/* How many keys a record says that has more than one wrong bit, as the format has it. */
static unsigned keys_of(const uint8_t *r, size_t len, uint64_t off, struct pfs_key keys[2])
{
	static const size_t heads[] = {0, 56, 56, 32, 8, 24};
	unsigned count = r[24] == PFS_RECORD_MOVE ? 2 : 1;
	size_t at, data, data_len = 0;

	if (pfs_get_le32(r) != len || pfs_get_le64(r + 8) != 500 || pfs_get_le64(r + 16) >= 500 ||
	    !pfs_is_zero(r + 26, 6) || r[24] < PFS_RECORD_PUT || r[24] > PFS_RECORD_MOVE)
		return 0;
	at = PFS_RECORD_HEADER_LEN + heads[r[24]];
	for (unsigned i = 0; i < count; i++) {
		size_t key_len;

		if (at + 2 > len || at + 2 + r[at + 1] > len)
			return 0;
		key_len = r[at + 1];
		keys[i] = (struct pfs_key){.kind = r[at]};
		if ((r[at] == PFS_KEY_NUM || r[at] == PFS_KEY_TEMP) && key_len == 8)
			keys[i].num = pfs_get_le64(r + at + 2);
		else if (r[at] == PFS_KEY_UUID && key_len == 16)
			memcpy(keys[i].uuid, r + at + 2, 16);
		else if (r[at] != PFS_KEY_SCRATCH ||
			 pfs_key_parse(&keys[i], (const char *)r + at + 2, key_len) != 0 ||
			 keys[i].kind != PFS_KEY_SCRATCH)
			return 0;
		at += 2 + key_len;
	}
	data = pfs_round_up(at, 8);
	if (off / 512 != (off + at - 1) / 512 || data > len || !pfs_is_zero(r + at, data - at))
		return 0;
	if (r[24] == PFS_RECORD_PUT)
		data_len = pfs_get_le32(r + PFS_RECORD_HEADER_LEN + 44);
	if (r[24] == PFS_RECORD_PATCH && !(r[25] & PFS_PATCH_ZERO))
		data_len = pfs_get_le64(r + PFS_RECORD_HEADER_LEN + 48);
	return data_len <= len - data && pfs_round_up(data + data_len, 8) == len ? count : 0;
}

static void expect_keys(const uint8_t *damaged, size_t len, uint64_t off)
{
	struct pfs_key keys[2] = {{.kind = PFS_KEY_NONE}, {.kind = PFS_KEY_NONE}}, told[2];
	unsigned count = keys_of(damaged, len, off, keys);
	uint8_t record[512];
	bool exact;

	memcpy(record, damaged, len);
	assert_int_equal(pfs_salvage_record(record, &(struct pfs_salvage){off, len, SEED, 500},
					    told, &exact),
			 count);
	assert_false(exact);
	assert_memory_equal(record, damaged, len);
	for (unsigned i = 0; i < count; i++)
		assert_true(pfs_key_equal(&told[i], &keys[i]));
	for (unsigned i = count; i < 2; i++)
		assert_int_equal(told[i].kind, PFS_KEY_NONE);
}

/* Proves: of a record of which more than a bit is wrong the keys are told exactly where the format
 * makes a record of it, for each byte of each kind of record with each kind of change, and wherever
 * its sector ends. */
static void records_make_sense_or_not(void **state)
{
	static const char *const names[][2] = {
		{"42", "a scratch name"},
		{"c0ffee00-0000-4000-8000-000000000002", "7"},
		{"a name of twenty-one.", "c0ffee00-0000-4000-8000-000000000002"},
	};
	uint8_t record[PAGE];

	(void)state;
	for (size_t n = 0; n < 3 * pfs_array_len(record_kinds); n++) {
		struct pfs_key keys[2] = {key_named(names[n % 3][0]), key_named(names[n % 3][1])};
		const struct record_kind *kind = &record_kinds[n / 3];
		size_t len = record_of_kind(record, kind, keys);

		record[33] ^= 0x15; /* what the keys do not depend on */
		assert_int_equal(keys_of(record, len, RECORD_AT, keys), kind->keys);
		for (uint64_t off = RECORD_AT; off < RECORD_AT + 512; off++)
			expect_keys(record, len, off);
		for (size_t at = 0; at < len; at++) {
			const uint8_t right = record[at];
			const uint8_t wrong[] = {0,
						 1,
						 2,
						 8,
						 0x80,
						 0xff,
						 (uint8_t)(right + 1),
						 (uint8_t)(right - 1),
						 (uint8_t)(right + 8),
						 (uint8_t)(right - 8)};

			for (size_t i = 0; i < sizeof(wrong); i++) {
				record[at] = wrong[i];
				expect_keys(record, len, RECORD_AT);
			}
			record[at] = right;
		}
		for (size_t other = 0; other <= len + 16; other++)
			expect_keys(record, other, RECORD_AT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_bit_of_a_slot),
		cmocka_unit_test(one_bit_of_a_container),
		cmocka_unit_test(nothing_is_made_up),
		cmocka_unit_test(nothing_is_mended_to_nonsense),
		cmocka_unit_test(sums_are_paid_for),
		cmocka_unit_test(slots_by_themselves),
		cmocka_unit_test(what_nothing_explains_is_unknown),
		cmocka_unit_test(what_can_not_be_read_again_is_unknown),
		cmocka_unit_test(sequences_are_not_mended),
		cmocka_unit_test(sums_are_few),
		cmocka_unit_test(long_documents_are_told_by_their_header),
		cmocka_unit_test(one_bit_of_a_long_header),
		cmocka_unit_test(one_bit_of_a_record),
		cmocka_unit_test(what_a_damaged_record_says),
		cmocka_unit_test(what_a_damaged_patch_says),
		cmocka_unit_test(records_make_sense_or_not),
	};

	return cmocka_run_group_tests_name("identify", tests, NULL, NULL);
}
