/* storage/page.c: headers, slots and containers as bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/crc.h"
#include "storage/page.h"

#define FLAGS_ALL                                                                             \
	(PFS_CONTAINER_LZ4 | PFS_CONTAINER_BLOCKS | PFS_CONTAINER_SEQ | PFS_CONTAINER_MTIME | \
	 PFS_CONTAINER_ATTR | PFS_CONTAINER_DICT | PFS_CONTAINER_SLACK | PFS_CONTAINER_LOST)

static const uint8_t store_uuid[PFS_UUID_LEN] = "0123456789abcdef";

/* ---- page header ---- */

static struct pfs_page_header a_header(void)
{
	struct pfs_page_header header = {
		.number = 7,
		.page_size = 64 * PFS_KIB,
		.generation = 5,
		.base_seq = PFS_SEQ_MAX,
		.base_mtime = -3,
		.slot_count = 100,
		.floor = 64 + 100 * 16,
	};

	memcpy(header.uuid, store_uuid, PFS_UUID_LEN);
	return header;
}

static int decode_header(const struct pfs_page_header *header, struct pfs_page_header *out)
{
	struct pfs_page_disk disk;
	const char *why;
	int err;

	pfs_page_header_encode(&disk, header);
	err = pfs_page_header_decode(out, &disk, store_uuid, &why);
	assert_true(err ? why[0] : !why[0]);
	return err;
}

/* Proves: every field of a header comes back, for all page sizes, also the 2 GiB of a page for one
 * document. */
static void headers_round_trip(void **state)
{
	(void)state;
	for (unsigned log2 = 12; log2 <= 31; log2++) {
		struct pfs_page_header header = a_header(), out;

		header.page_size = UINT64_C(1) << log2;
		header.floor = (uint32_t)(header.page_size - PFS_PAGE_TRAILER_LEN);
		assert_int_equal(decode_header(&header, &out), 0);
		assert_memory_equal(&out, &header, sizeof(out));
	}
}

/* Proves: no single bit of a header can change unnoticed, and a page of another store is refused.
 */
static void header_bits_are_guarded(void **state)
{
	struct pfs_page_header header = a_header(), out = header;
	uint8_t other[PFS_UUID_LEN];
	struct pfs_page_disk disk;
	const char *why;

	(void)state;
	pfs_page_header_encode(&disk, &header);
	for (unsigned bit = 0; bit < 8 * sizeof(disk); bit++) {
		((uint8_t *)&disk)[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		assert_int_equal(pfs_page_header_decode(&out, &disk, store_uuid, &why), -EUCLEAN);
		assert_memory_equal(&out, &header, sizeof(out)); /* untouched */
		((uint8_t *)&disk)[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	}
	for (unsigned i = 0; i < PFS_UUID_LEN; i++) {
		memcpy(other, store_uuid, sizeof(other));
		other[i]++;
		assert_int_equal(pfs_page_header_decode(&out, &disk, other, &why), -EUCLEAN);
	}
}

/* Proves: values that make no sense are refused although their checksum is right (P1 among them),
 * at their exact limits. */
static void senseless_headers_are_refused(void **state)
{
	struct pfs_page_header header = a_header(), out;

	(void)state;
	header.number = 0;
	assert_int_equal(decode_header(&header, &out), -EUCLEAN);
	header.number = PFS_PAGE_NUMBER_MAX;
	assert_int_equal(decode_header(&header, &out), 0);
	header.number = PFS_PAGE_NUMBER_MAX + 1;
	assert_int_equal(decode_header(&header, &out), -EUCLEAN);

	header = a_header();
	header.base_seq = PFS_SEQ_MAX + 1;
	assert_int_equal(decode_header(&header, &out), -EUCLEAN);

	header = a_header();
	header.page_size = 2048;
	assert_int_equal(decode_header(&header, &out), -EUCLEAN);
	header.page_size = UINT64_C(1) << 32;
	assert_int_equal(decode_header(&header, &out), -EUCLEAN);

	header = a_header();
	header.floor--; /* below the slots */
	assert_int_equal(decode_header(&header, &out), -EUCLEAN);
	header.floor = (uint32_t)(header.page_size - PFS_PAGE_TRAILER_LEN);
	assert_int_equal(decode_header(&header, &out), 0);
	header.floor++; /* in the copy of the header */
	assert_int_equal(decode_header(&header, &out), -EUCLEAN);

	header = a_header();
	header.page_size = UINT64_C(1) << 31;
	header.slot_count = PFS_SLOT_NUMBER_MAX + 1;
	header.floor = (uint32_t)pfs_slot_offset(header.slot_count);
	assert_int_equal(decode_header(&header, &out), 0);
	header.slot_count++;
	header.floor += PFS_SLOT_LEN;
	assert_int_equal(decode_header(&header, &out), -EUCLEAN);
}

/* Proves: flags that nobody knows, and a byte that is nothing yet, are refused although their
 * checksum is right. */
static void unknown_flags_are_refused(void **state)
{
	struct pfs_page_header header = a_header(), out;
	const char *why;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct pfs_page_disk disk;

		pfs_page_header_encode(&disk, &header);
		disk.flags.b[0] = i == 1;
		disk.zero = i == 2;
		pfs_put_le32(disk.crc.b,
			     pfs_crc32c(0, (const uint8_t *)&disk + 8, sizeof(disk) - 8));
		assert_int_equal(pfs_page_header_decode(&out, &disk, store_uuid, &why),
				 i ? -EUCLEAN : 0);
		assert_string_equal(why, i ? "unknown page flags" : "");
	}
}

/* ---- slots ---- */

static int slot_round(const struct pfs_slot *slot, uint64_t floor, uint64_t page_size,
		      struct pfs_slot *out)
{
	struct pfs_slot_disk disk;

	memset(out, 0xee, sizeof(*out));
	pfs_slot_encode(&disk, slot);
	return pfs_slot_decode(out, &disk, floor, page_size);
}

/* Proves: live slots of every kind, offset and length come back; lengths over 2^27 - 1 in their
 * unit. */
static void live_slots_round_trip(void **state)
{
	static const uint64_t lens[] = {
		1, 16, 4095, 4096, PFS_SLOT_LEN_MASK, PFS_SLOT_LEN_MASK + 1, PFS_GIB + 12288};

	(void)state;
	for (unsigned kind = PFS_KEY_NUM; kind <= PFS_KEY_TEMP; kind++) {
		for (size_t i = 0; i < pfs_array_len(lens); i++) {
			struct pfs_slot slot = {.kind = kind,
						.tag = UINT64_MAX - i,
						.off = 80 + (uint32_t)i},
					out;

			slot.len = pfs_slot_len_round(lens[i]);
			assert_true(slot.len >= lens[i] && slot.len < lens[i] + PFS_SLOT_UNIT);
			assert_int_equal(slot_round(&slot, 80, UINT64_C(1) << 31, &out), 0);
			assert_true(out.kind == kind && out.tag == slot.tag &&
				    out.off == slot.off && out.len == slot.len);
			assert_true(pfs_slot_is_live(&out));
		}
	}
	assert_int_equal(pfs_slot_len_round(PFS_SLOT_LEN_MASK), PFS_SLOT_LEN_MASK);
	assert_int_equal(pfs_slot_len_round(PFS_SLOT_LEN_MASK + 2),
			 PFS_SLOT_LEN_MASK + 1 + PFS_SLOT_UNIT);
}

/* Proves: tombstones keep all 60 bits of a sequence, and are not live. */
static void tombstones_round_trip(void **state)
{
	static const uint64_t seqs[] = {
		0, 1, UINT32_MAX, UINT64_C(1) << 32, PFS_SEQ_MAX - 1, PFS_SEQ_MAX};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(seqs); i++) {
		struct pfs_slot slot = {.kind = PFS_SLOT_TOMBSTONE, .tag = 99, .seq = seqs[i]}, out;

		assert_int_equal(slot_round(&slot, 80, 4096, &out), 0);
		assert_int_equal(out.kind, PFS_SLOT_TOMBSTONE);
		assert_true(out.seq == seqs[i] && out.tag == 99);
		assert_false(pfs_slot_is_live(&out));
	}
}

/* Proves: a container must lie between floor and end (P2), at the exact byte; length 0 and unknown
 * kinds are refused. */
static void slots_out_of_bounds_are_refused(void **state)
{
	struct pfs_slot slot = {.kind = PFS_KEY_NUM, .off = 1000, .len = 24}, out;
	struct pfs_slot_disk disk;

	(void)state;
	assert_int_equal(slot_round(&slot, 1000, 1024, &out), 0);
	assert_int_equal(slot_round(&slot, 1001, 1024, &out), -EUCLEAN);
	assert_int_equal(slot_round(&slot, 1000, 1023, &out), -EUCLEAN);
	slot.off = 1025;
	slot.len = 1;
	assert_int_equal(slot_round(&slot, 1000, 1024, &out), -EUCLEAN);
	slot.off = UINT32_MAX;
	slot.len = PFS_GIB;
	assert_int_equal(slot_round(&slot, 1000, UINT64_C(1) << 31, &out), -EUCLEAN);
	slot = (struct pfs_slot){.kind = PFS_KEY_NUM, .off = 1000, .len = 0};
	assert_int_equal(slot_round(&slot, 1000, 1024, &out), -EUCLEAN);
	for (unsigned kind = 0; kind < 16; kind++) {
		slot = (struct pfs_slot){.kind = PFS_KEY_NUM, .off = 1000, .len = 24};
		pfs_slot_encode(&disk, &slot);
		disk.word.b[3] = (uint8_t)(kind << 4 | (disk.word.b[3] & 15));
		assert_int_equal(pfs_slot_decode(&out, &disk, 1000, 1024),
				 kind <= PFS_KEY_TEMP || kind == PFS_SLOT_TOMBSTONE ? 0 : -EUCLEAN);
	}
}

/* ---- containers ---- */

struct made {
	struct pfs_container c;
	struct pfs_container_base base;
	struct pfs_key key;
	uint8_t room[8];
	uint8_t *bytes;
	uint64_t len;
	size_t header_len;
};

static struct pfs_key key_of_kind(unsigned kind, size_t name_len)
{
	struct pfs_key key = pfs_key_num(UINT64_C(0x8877665544332211));

	key.kind = (uint8_t)kind;
	if (kind == PFS_KEY_UUID) {
		for (unsigned i = 0; i < sizeof(key.uuid); i++)
			key.uuid[i] = (uint8_t)(200 + 3 * i);
	} else if (kind == PFS_KEY_SCRATCH) {
		memset(key.name, 'n', name_len);
		key.name[name_len] = '\0';
		key.name_len = (uint8_t)name_len;
	}
	return key;
}

/* Fills in everything but flags, body_len and raw_len. `wide`: values that take many bytes. */
static void prepare(struct made *m, unsigned kind, size_t name_len, unsigned flags, bool wide)
{
	*m = (struct made){.key = key_of_kind(kind, name_len)};
	m->base = (struct pfs_container_base){kind, pfs_key_tag(&m->key), wide ? PFS_SEQ_MAX : 1000,
					      wide ? INT64_MAX : 50};
	m->c.flags = flags & (PFS_CONTAINER_LZ4 | PFS_CONTAINER_BLOCKS | PFS_CONTAINER_ATTR |
			      PFS_CONTAINER_LOST);
	m->c.seq = flags & PFS_CONTAINER_SEQ ? (wide ? 0 : 1001) : m->base.base_seq;
	m->c.mtime_ns = flags & PFS_CONTAINER_MTIME ? (wide ? INT64_MIN : 49) : m->base.base_mtime;
	m->c.dict = flags & PFS_CONTAINER_DICT ? (wide ? UINT32_MAX : 1) : 0;
	m->c.content = flags & PFS_CONTAINER_BLOCKS ? (wide ? UINT64_MAX : 3) : 0;
	if (flags & PFS_CONTAINER_ATTR) {
		m->c.mode = 07777;
		m->c.uid = wide ? UINT32_MAX : 0;
		m->c.gid = wide ? UINT32_MAX : 100;
	}
	m->c.tail = pfs_key_tail(&m->key, m->room);
}

/* Encodes and seals with a body of 0xab; len 0: as long as the container wants to be with this
 * minimum. */
static void make(struct made *m, uint64_t len, uint64_t min)
{
	m->len = len ? len : pfs_container_len(&m->c, &m->base, min);
	m->bytes = calloc(1, m->len + 1);
	m->header_len = pfs_container_header_encode(m->bytes, &m->c, &m->base, m->len);
	assert_true(m->header_len <= PFS_CONTAINER_HEADER_MAX);
	assert_in_range(pfs_container_header_bound(&m->c, m->base.kind), m->header_len,
			PFS_CONTAINER_HEADER_MAX);
	assert_true(m->header_len + m->c.body_len <= m->len);
	memset(m->bytes + m->header_len, 0xab, m->c.body_len);
	pfs_container_seal(m->bytes, m->header_len, m->c.body_len, m->bytes[4], m->c.seq, &m->base);
}

static void expect_same(const struct made *m, const struct pfs_container *out)
{
	assert_true(out->raw_len == m->c.raw_len && out->seq == m->c.seq &&
		    out->mtime_ns == m->c.mtime_ns);
	assert_true(out->mode == m->c.mode && out->uid == m->c.uid && out->gid == m->c.gid &&
		    out->dict == m->c.dict);
	assert_true(out->content == m->c.content && out->header_len == m->header_len);
	assert_int_equal(out->body_len, m->c.body_len);
	assert_int_equal(out->tail.len, m->c.tail.len);
	assert_true(out->tail.len == 0 ||
		    memcmp(out->tail.bytes, m->c.tail.bytes, out->tail.len) == 0);
}

/* Sets lengths that fit the flags. False: the flags exclude each other. */
static bool lengths_for(struct made *m, unsigned flags)
{
	if ((flags & PFS_CONTAINER_LZ4) && (flags & PFS_CONTAINER_BLOCKS))
		return false;
	if (flags & PFS_CONTAINER_LOST) {
		m->c.raw_len = 70000;
		m->c.body_len = 0;
	} else if (flags & PFS_CONTAINER_BLOCKS) {
		m->c.raw_len = PFS_BLOCK_LEN + 1;
		m->c.body_len = 2 * PFS_BLOCK_ENTRY_LEN + 300;
	} else {
		m->c.raw_len = flags & PFS_CONTAINER_LZ4 ? 900 : 300;
		m->c.body_len = 300;
	}
	return true;
}

/* Proves: a container with any combination of flags, kind of key and size of its numbers comes back
 * in every field, carries exactly these flags, verifies, and yields its key. */
static void containers_round_trip(void **state)
{
	unsigned made = 0;

	(void)state;
	for (unsigned n = 0; n < 256 * 2 * 6; n++) {
		static const unsigned kinds[] = {PFS_KEY_NUM,	  PFS_KEY_UUID,	   PFS_KEY_TEMP,
						 PFS_KEY_SCRATCH, PFS_KEY_SCRATCH, PFS_KEY_SCRATCH};
		static const size_t names[] = {0, 0, 0, 1, 127, PFS_NAME_MAX};
		unsigned flags = n % 256, kind = kinds[n / 512];
		struct pfs_container out;
		struct pfs_key key;
		struct made m;

		prepare(&m, kind, names[n / 512], flags, n / 256 % 2);
		if (!lengths_for(&m, flags))
			continue;
		make(&m, 0, 1);
		if (flags & PFS_CONTAINER_SLACK) {
			uint64_t longer = m.len + 11;

			free(m.bytes);
			make(&m, longer, 1);
		}
		assert_int_equal(pfs_container_header_decode(&out, m.bytes, m.len, m.len, &m.base),
				 0);
		expect_same(&m, &out);
		assert_int_equal(out.flags, flags & FLAGS_ALL);
		assert_int_equal(pfs_container_verify(&out, m.bytes, &m.base), 0);
		assert_int_equal(pfs_container_key(&key, &out, kind, m.base.tag), 0);
		assert_true(pfs_key_equal(&key, &m.key));
		free(m.bytes);
		made++;
	}
	assert_int_equal(made, 6 * 2 * 256 * 3 / 4);
}

/* Proves: from no prefix that lacks a byte of the header a header is decoded, whatever its flags,
 * and never a byte behind the prefix is read (the bytes lie at the end of their allocation, for
 * AddressSanitizer). */
static void truncated_headers_are_refused(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 256 * 3; n++) {
		unsigned kind = (unsigned[]){PFS_KEY_NUM, PFS_KEY_UUID, PFS_KEY_SCRATCH}[n / 256];
		struct pfs_container out;
		struct made m;

		prepare(&m, kind, 9, n % 256, true);
		if (!lengths_for(&m, n % 256))
			continue;
		make(&m, 0, 1);
		for (size_t len = 0; len <= m.header_len; len++) {
			uint8_t *prefix = malloc(len + !len);
			int err;

			memcpy(prefix, m.bytes, len);
			out = (struct pfs_container){.crc = 4711};
			err = pfs_container_header_decode(&out, prefix, len, m.len, &m.base);
			assert_int_equal(err, len < m.header_len ? -EUCLEAN : 0);
			if (err)
				assert_int_equal(out.crc, 4711);
			/* The same when the container itself is so short. */
			if (len < m.header_len)
				assert_int_equal(pfs_container_header_decode(&out, prefix, len, len,
									     &m.base),
						 -EUCLEAN);
			free(prefix);
		}
		free(m.bytes);
	}
}

/* Proves: a container that is one byte longer than what it must hold has room to say so: for every
 * body, header and minimum around the lengths at which the varint of the body's length grows, what
 * is encoded fits and comes back. */
static void containers_have_room_for_their_slack(void **state)
{
	static const uint64_t mins[] = {16, 17, 127, 128, 129, 135, 256, 512, 4096};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(mins); i++) {
		for (uint64_t body = 0; body <= mins[i] + 10; body++) {
			struct pfs_container out;
			uint64_t exact;
			struct made m;

			prepare(&m, PFS_KEY_NUM, 0, 0, false);
			m.c.raw_len = m.c.body_len = body;
			exact = 5 + (body < 128 ? 1 : 2) + body;
			make(&m, 0, mins[i]);
			assert_true(m.len >= mins[i] && m.len >= exact);
			if (exact >= mins[i])
				assert_int_equal(m.len, exact);
			else
				assert_in_range(m.len, mins[i], pfs_max_u64(mins[i], exact + 2));
			assert_int_equal(
				pfs_container_header_decode(&out, m.bytes, m.len, m.len, &m.base),
				0);
			expect_same(&m, &out);
			assert_int_equal(!!(out.flags & PFS_CONTAINER_SLACK), m.len != exact);
			free(m.bytes);
		}
	}
}

/* Proves: containers whose length a slot says in units have room for that, and for saying how much
 * of it is used. */
static void lengths_that_slots_round_have_room(void **state)
{
	(void)state;
	for (uint64_t body = PFS_SLOT_LEN_MASK - 40;
	     body < PFS_SLOT_LEN_MASK + 2 * PFS_SLOT_UNIT + 40; body++) {
		uint8_t header[PFS_CONTAINER_HEADER_MAX];
		struct pfs_container out;
		struct made m;
		uint64_t len;
		size_t n;

		prepare(&m, PFS_KEY_NUM, 0, PFS_CONTAINER_BLOCKS, false);
		m.c.raw_len = PFS_GIB;
		m.c.body_len = body;
		len = pfs_container_len(&m.c, &m.base, 16);
		assert_int_equal(len, pfs_slot_len_round(len));
		n = pfs_container_header_encode(header, &m.c, &m.base, len);
		assert_true(n + body <= len && len < n + body + PFS_SLOT_UNIT + 4);
		assert_int_equal(pfs_container_header_decode(&out, header, n, len, &m.base), 0);
		assert_int_equal(out.body_len, body);
		if (body % PFS_SLOT_UNIT > 100)
			body += 61;
	}
}

/* Proves: a header of a known width says the body's length later in the same number of bytes. */
static void wide_body_lengths_keep_the_header_length(void **state)
{
	struct made m;

	(void)state;
	prepare(&m, PFS_KEY_UUID, 0, PFS_CONTAINER_BLOCKS | PFS_CONTAINER_SEQ, true);
	m.c.raw_len = PFS_GIB;
	m.c.len_width = 5;
	for (uint64_t body = 16384 * 8; body < PFS_GIB; body *= 3) {
		uint8_t header[PFS_CONTAINER_HEADER_MAX];
		struct pfs_container out;
		size_t n;

		m.c.body_len = body;
		n = pfs_container_header_encode(header, &m.c, &m.base, PFS_GIB * 2);
		if (m.header_len)
			assert_int_equal(n, m.header_len);
		m.header_len = n;
		assert_int_equal(pfs_container_header_decode(&out, header, n, PFS_GIB * 2, &m.base),
				 0);
		expect_same(&m, &out);
	}
}

/* Proves: no bit of header or body can change unnoticed, nor the key, kind or sequence under which
 * it is read. */
static void container_bits_are_guarded(void **state)
{
	static const unsigned kinds[] = {PFS_KEY_NUM, PFS_KEY_UUID, PFS_KEY_SCRATCH};

	(void)state;
	for (size_t k = 0; k < pfs_array_len(kinds); k++) {
		struct pfs_container out;
		struct made m;

		prepare(&m, kinds[k], 5,
			PFS_CONTAINER_SEQ | PFS_CONTAINER_MTIME | PFS_CONTAINER_ATTR, false);
		m.c.raw_len = m.c.body_len = 20;
		make(&m, 0, 64);
		for (size_t bit = 0; bit < 8 * (m.header_len + m.c.body_len); bit++) {
			m.bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
			assert_true(
				pfs_container_header_decode(&out, m.bytes, m.len, m.len, &m.base) ||
				pfs_container_verify(&out, m.bytes, &m.base));
			m.bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		}
		assert_int_equal(pfs_container_header_decode(&out, m.bytes, m.len, m.len, &m.base),
				 0);
		for (unsigned bit = 0; bit < 64; bit++) {
			struct pfs_container_base other = m.base;

			other.tag ^= UINT64_C(1) << bit;
			assert_int_equal(pfs_container_verify(&out, m.bytes, &other), -EUCLEAN);
			out.seq ^= UINT64_C(1) << bit;
			assert_int_equal(pfs_container_verify(&out, m.bytes, &m.base), -EUCLEAN);
			out.seq ^= UINT64_C(1) << bit;
		}
		m.base.kind ^= 1;
		assert_int_equal(pfs_container_verify(&out, m.bytes, &m.base), -EUCLEAN);
		free(m.bytes);
	}
}

/* A container whose header bytes are given, of `len` bytes. */
static int decode_bytes(const uint8_t *bytes, size_t n, uint64_t len, unsigned kind,
			uint64_t base_seq)
{
	struct pfs_container_base base = {kind, 1, base_seq, 0};
	struct pfs_container out;

	return pfs_container_header_decode(&out, bytes, n, len, &base);
}

/* Proves: headers that make no sense are refused: LZ4 and blocks at once, lengths that do not fit,
 * modes and sequences out of range, names without length, payloads over 1 GiB. */
static void senseless_containers_are_refused(void **state)
{
	static const struct {
		uint8_t bytes[24];
		uint64_t len;
		unsigned kind;
		uint64_t base_seq;
		int err;
	} cases[] = {
		{{0, 0, 0, 0, 0, 3, 'a', 'b', 'c'}, 9, PFS_KEY_NUM, 1, 0},
		{{0, 0, 0, 0, 0, 3, 'a', 'b', 'c'},
		 10,
		 PFS_KEY_NUM,
		 1,
		 -EUCLEAN}, /* raw, but longer */
		{{0, 0, 0, 0, 0x40, 3, 3, 'a', 'b', 'c'}, 16, PFS_KEY_NUM, 1, 0},
		{{0, 0, 0, 0, 0x40, 3, 10, 'a', 'b', 'c'}, 16, PFS_KEY_NUM, 1, -EUCLEAN},
		{{0, 0, 0, 0, 0x03, 3, 'a', 'b', 'c'}, 9, PFS_KEY_NUM, 1, -EUCLEAN},
		{{0, 0, 0, 0, 0x02, 3, 9}, 300, PFS_KEY_NUM, 1, -EUCLEAN}, /* blocks of 3 bytes */
		{{0, 0, 0, 0, 0x02, 0x80, 0x80, 4, 9},
		 300,
		 PFS_KEY_NUM,
		 1,
		 -EUCLEAN},							/* of 65536 */
		{{0, 0, 0, 0, 0x02, 0x81, 0x80, 4, 9}, 300, PFS_KEY_NUM, 1, 0}, /* of 65537 */
		{{0, 0, 0, 0, 0x02, 0x81, 0x80, 4, 9},
		 9 + 15,
		 PFS_KEY_NUM,
		 1,
		 -EUCLEAN}, /* no room for the table */
		{{0, 0, 0, 0, 0x02, 0x81, 0x80, 4, 9}, 9 + 16, PFS_KEY_NUM, 1, 0},
		{{0, 0, 0, 0, 0x01, 0x81, 0x80, 4},
		 300,
		 PFS_KEY_NUM,
		 1,
		 -EUCLEAN}, /* one body over 65536 */
		{{0, 0, 0, 0, 0x01, 0x80, 0x80, 4}, 300, PFS_KEY_NUM, 1, 0},
		{{0, 0, 0, 0, 0x82, 0x80, 0x80, 0x80, 0x80, 4, 9},
		 11,
		 PFS_KEY_NUM,
		 1,
		 0}, /* lost, 1 GiB */
		{{0, 0, 0, 0, 0x82, 0x81, 0x80, 0x80, 0x80, 4, 9}, 11, PFS_KEY_NUM, 1, -EUCLEAN},
		{{0, 0, 0, 0, 0x80, 3, 'a'}, 7, PFS_KEY_NUM, 1, -EUCLEAN}, /* lost, with a body */
		{{0, 0, 0, 0, 0x04, 0, 1}, 7, PFS_KEY_NUM, 1, 0},	   /* sequence 1 - 1 */
		{{0, 0, 0, 0, 0x04, 0, 1}, 7, PFS_KEY_NUM, 0, -EUCLEAN},   /* 0 - 1 */
		{{0, 0, 0, 0, 0x04, 0, 2}, 7, PFS_KEY_NUM, PFS_SEQ_MAX, -EUCLEAN},
		{{0, 0, 0, 0, 0x10, 0, 0xff, 0x1f, 0, 0}, 10, PFS_KEY_NUM, 1, 0}, /* mode 07777 */
		{{0, 0, 0, 0, 0x10, 0, 0x80, 0x20, 0, 0}, 10, PFS_KEY_NUM, 1, -EUCLEAN},
		{{0, 0, 0, 0, 0, 0, 1, 'n'}, 8, PFS_KEY_SCRATCH, 1, 0},
		{{0, 0, 0, 0, 0, 0, 0, 'n'}, 8, PFS_KEY_SCRATCH, 1, -EUCLEAN},
		{{0, 0, 0, 0, 0, 0, 2, 'n'}, 8, PFS_KEY_SCRATCH, 1, -EUCLEAN},
		{{0, 0, 0, 0, 0, 0, 0x80, 2, 'n'},
		 300,
		 PFS_KEY_SCRATCH,
		 1,
		 -EUCLEAN}, /* a name of 256 */
		{{0, 0, 0, 0, 0}, 5, PFS_KEY_NUM, 1, -EUCLEAN},
		{{0, 0, 0, 0}, 4, PFS_KEY_NUM, 1, -EUCLEAN},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		int err = decode_bytes(cases[i].bytes, sizeof(cases[i].bytes), cases[i].len,
				       cases[i].kind, cases[i].base_seq);

		if (err != cases[i].err)
			fail_msg("case %zu: %d", i, err);
	}
}

/* Proves: random bytes never decode to something outside of the container. */
static void random_containers_stay_in_bounds(void **state)
{
	(void)state;
	for (uint64_t round = 0; round < 200000; round++) {
		size_t n = pfs_mix64(round) % 40;
		uint64_t len = n + (round % 3 ? 0 : pfs_mix64(round + 1) % 300);
		struct pfs_container_base base = {1 + (unsigned)(round % 4), round, round, 0};
		uint8_t *bytes = malloc(n + 1);
		struct pfs_container c;

		for (size_t i = 0; i < n; i++)
			bytes[i] = (uint8_t)pfs_mix64(round * 64 + i);
		if (n > 5 && round % 2)
			bytes[4] &= 0x41; /* so that more of them decode */
		if (pfs_container_header_decode(&c, bytes, n, len, &base) == 0) {
			assert_true(c.header_len <= n && c.body_len <= len - c.header_len);
			assert_true(c.tail.len == 0 ||
				    (c.tail.bytes >= bytes &&
				     c.tail.bytes + c.tail.len <= bytes + c.header_len));
			assert_true(c.seq <= PFS_SEQ_MAX && c.raw_len <= PFS_GIB);
		}
		free(bytes);
	}
}

/* Proves: a tail that does not belong to its tag yields no key; also one that no scratch file could
 * have. */
static void foreign_tails_are_refused(void **state)
{
	static const char *const names[] = {"42", "..", "a/b",
					    "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"};
	struct pfs_key key = key_of_kind(PFS_KEY_SCRATCH, 4), out;
	struct pfs_container c = {.tail = {(const uint8_t *)"nnnn", 4}};

	(void)state;
	assert_int_equal(pfs_container_key(&out, &c, PFS_KEY_SCRATCH, pfs_key_tag(&key)), 0);
	assert_int_equal(pfs_container_key(&out, &c, PFS_KEY_SCRATCH, pfs_key_tag(&key) + 1),
			 -EUCLEAN);
	for (size_t i = 0; i < pfs_array_len(names); i++) {
		key.name_len = (uint8_t)strlen(names[i]);
		memcpy(key.name, names[i], key.name_len);
		c.tail = (struct pfs_tail){(const uint8_t *)names[i], key.name_len};
		assert_int_equal(pfs_container_key(&out, &c, PFS_KEY_SCRATCH, pfs_key_tag(&key)),
				 -EUCLEAN);
	}
}

/* ---- blocks ---- */

/* Proves: the counts and lengths of blocks at their edges, and the bound on what they take. */
static void block_arithmetic(void **state)
{
	(void)state;
	assert_int_equal(pfs_block_count(1), 1);
	assert_int_equal(pfs_block_count(65536), 1);
	assert_int_equal(pfs_block_count(65537), 2);
	assert_int_equal(pfs_block_count(PFS_GIB), 16384);
	assert_int_equal(pfs_block_raw_len(65537, 0), 65536);
	assert_int_equal(pfs_block_raw_len(65537, 1), 1);
	assert_int_equal(pfs_block_raw_len(131072, 1), 65536);
	assert_int_equal(pfs_blocks_bound(131073), 3 * 8 + 131073);
}

/* Proves: a block's checksum binds it to its content number, its place and its end, so that blocks
 * can't be exchanged. */
static void block_checksums_bind_their_place(void **state)
{
	uint32_t crc = pfs_block_crc(7, 1, 300, "stored", 6);

	(void)state;
	assert_int_equal(pfs_block_crc(7, 1, 300, "stored", 6), crc);
	assert_int_not_equal(pfs_block_crc(8, 1, 300, "stored", 6), crc);
	assert_int_not_equal(pfs_block_crc(7, 2, 300, "stored", 6), crc);
	assert_int_not_equal(pfs_block_crc(7, 1, 301, "stored", 6), crc);
	assert_int_not_equal(pfs_block_crc(7, 1, 300, "storee", 6), crc);
	assert_int_not_equal(pfs_block_crc(7, 1, 300, "stored", 5), crc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers_round_trip),
		cmocka_unit_test(header_bits_are_guarded),
		cmocka_unit_test(senseless_headers_are_refused),
		cmocka_unit_test(unknown_flags_are_refused),
		cmocka_unit_test(live_slots_round_trip),
		cmocka_unit_test(tombstones_round_trip),
		cmocka_unit_test(slots_out_of_bounds_are_refused),
		cmocka_unit_test(containers_round_trip),
		cmocka_unit_test(truncated_headers_are_refused),
		cmocka_unit_test(containers_have_room_for_their_slack),
		cmocka_unit_test(lengths_that_slots_round_have_room),
		cmocka_unit_test(wide_body_lengths_keep_the_header_length),
		cmocka_unit_test(container_bits_are_guarded),
		cmocka_unit_test(senseless_containers_are_refused),
		cmocka_unit_test(random_containers_stay_in_bounds),
		cmocka_unit_test(foreign_tails_are_refused),
		cmocka_unit_test(block_arithmetic),
		cmocka_unit_test(block_checksums_bind_their_place),
	};

	return cmocka_run_group_tests_name("page", tests, NULL, NULL);
}
