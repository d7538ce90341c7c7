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
};

static int read_page(void *arg, uint64_t off, void *buf, size_t len)
{
	struct page *page = arg;

	if (page->unreadable || off > PAGE || len > PAGE - off)
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

static enum pfs_identity identify(struct page *page, const struct pfs_slot_disk *slot,
				  struct pfs_identified *out)
{
	static uint8_t buf[PFS_IDENTIFY_ROOM];
	struct pfs_identify by = {.read = read_page,
				  .arg = page,
				  .page_size = PAGE,
				  .base_seq = 1000,
				  .base_mtime = 5,
				  .buf = buf,
				  .budget = PFS_GIB};

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
		damaged = dead;
		turn(&damaged, bit);
		identity = identify(page, &damaged, &is);
		assert_true(identity == PFS_IDENTITY_NONE || identity == PFS_IDENTITY_WHOLE);
		assert_false(pfs_slot_is_live(&is.decoded));
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

/* Proves: without the search in containers a wrong bit of a slot is found, too, that of a tag by
 * the container's sum; and when no byte may be summed any more, nothing is told. */
static void slots_by_themselves(void **state)
{
	static uint8_t buf[PFS_IDENTIFY_ROOM];
	struct pfs_key key = key_named("42");
	struct pfs_slot_disk slot, damaged;
	struct page *page = page_with(&key, 100, 0, &slot);
	struct pfs_identify by = {.read = read_page,
				  .arg = page,
				  .page_size = PAGE,
				  .base_seq = 1000,
				  .base_mtime = 5,
				  .buf = buf};
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

/* ---- records ---- */

static size_t record_of(uint8_t *record, const struct pfs_key *key, size_t body_len)
{
	struct pfs_record_disk *head = (struct pfs_record_disk *)record;
	struct pfs_put_disk *put = (struct pfs_put_disk *)(record + PFS_RECORD_HEADER_LEN);
	uint8_t *at = (uint8_t *)(put + 1);
	size_t len;

	memset(record, 0, PAGE);
	head->type = PFS_RECORD_PUT;
	pfs_put_le64(head->seq.b, 500);
	pfs_put_le64(head->durable.b, 499);
	pfs_put_le64(put->raw_len.b, body_len);
	pfs_put_le32(put->body_len.b, (uint32_t)body_len);
	*at++ = key->kind;
	*at++ = key->kind == PFS_KEY_NUM ? 8 : key->name_len;
	if (key->kind == PFS_KEY_NUM)
		pfs_put_le64(at, key->num);
	else
		memcpy(at, key->name, key->name_len);
	at += at[-1];
	at = record + pfs_round_up((size_t)(at - record), 8);
	for (size_t i = 0; i < body_len; i++)
		at[i] = (uint8_t)pfs_mix64(i);
	len = pfs_round_up((size_t)(at - record) + body_len, 8);
	pfs_put_le32(head->len.b, (uint32_t)len);
	pfs_put_le32(head->crc.b, pfs_crc32c(pfs_crc32c(SEED, record, 4), record + 8, len - 8));
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
	assert_int_equal(salvage(record, len, 501, keys, &exact), 0);
	assert_int_equal(salvage(record, 32, 500, keys, &exact), 0);
	free(record);
	free(damaged);
}

/* A record that changes body_len bytes of a document, or makes zeros of them. */
static size_t patch_of(uint8_t *record, uint64_t id, size_t body_len, unsigned flags)
{
	struct pfs_record_disk *head = (struct pfs_record_disk *)record;
	struct pfs_patch_disk *patch = (struct pfs_patch_disk *)(record + PFS_RECORD_HEADER_LEN);
	uint8_t *at = (uint8_t *)(patch + 1);
	size_t len;

	memset(record, 0, PAGE);
	head->type = PFS_RECORD_PATCH;
	head->flags = (uint8_t)flags;
	pfs_put_le64(head->seq.b, 500);
	pfs_put_le64(head->durable.b, 499);
	pfs_put_le64(patch->new_size.b, PFS_MIB);
	pfs_put_le64(patch->len.b, body_len);
	*at++ = PFS_KEY_NUM;
	*at++ = 8;
	pfs_put_le64(at, id);
	len = pfs_round_up((size_t)(at - record) + 8, 8);
	if (!(flags & PFS_PATCH_ZERO)) {
		memset(record + len, 'p', body_len);
		len = pfs_round_up(len + body_len, 8);
	}
	pfs_put_le32(head->len.b, (uint32_t)len);
	pfs_put_le32(head->crc.b, pfs_crc32c(pfs_crc32c(SEED, record, 4), record + 8, len - 8));
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_bit_of_a_slot),
		cmocka_unit_test(one_bit_of_a_container),
		cmocka_unit_test(nothing_is_made_up),
		cmocka_unit_test(nothing_is_mended_to_nonsense),
		cmocka_unit_test(slots_by_themselves),
		cmocka_unit_test(one_bit_of_a_record),
		cmocka_unit_test(what_a_damaged_record_says),
		cmocka_unit_test(what_a_damaged_patch_says),
	};

	return cmocka_run_group_tests_name("identify", tests, NULL, NULL);
}
