/* Proves: the decoders of a page stay in their bytes; what they accept, encoded again, is the same;
 * and a store with such a page does what tests/fuzz/session.h says. */
#include "storage/page.h"
#include "storage/crc.h"
#include "storage/super.h"
#include "tests/fuzz/fixup.h"
#include "tests/fuzz/proto.h"
#include "tests/fuzz/session.h"

#define PURE 128u

static void check_header(struct fuzz_in *in, bool fix)
{
	struct pfs_page_disk disk = {0}, again;
	struct pfs_page_header header;
	const char *why;
	size_t len;
	const uint8_t *bytes = fuzz_bytes(in, sizeof(disk), &len);

	if (len)
		memcpy(&disk, bytes, len);
	if (fix) {
		memcpy(disk.magic, PFS_PAGE_MAGIC, sizeof(disk.magic));
		memcpy(disk.uuid, proto_uuid, PFS_UUID_LEN);
		pfs_put_le32(disk.crc.b, pfs_crc32c(0, (uint8_t *)&disk + 8, sizeof(disk) - 8));
	}
	if (pfs_page_header_decode(&header, &disk, proto_uuid, &why) != 0) {
		FUZZ_CHECK(why[0]);
		return;
	}
	FUZZ_CHECK(pfs_slot_offset(header.slot_count) <= header.floor &&
		   header.floor <= header.page_size - PFS_PAGE_TRAILER_LEN);
	pfs_page_header_encode(&again, &header);
	FUZZ_CHECK(memcmp(&again, &disk, sizeof(disk)) == 0);
}

static void check_slot(struct fuzz_in *in)
{
	struct pfs_slot_disk disk = {0}, encoded;
	struct pfs_slot slot, again;
	uint64_t floor = fuzz_u32(in), page_size = UINT64_C(1) << (12 + fuzz_u8(in) % 20);
	size_t len;
	const uint8_t *bytes = fuzz_bytes(in, sizeof(disk), &len);

	if (len)
		memcpy(&disk, bytes, len);
	if (pfs_slot_decode(&slot, &disk, floor, page_size) != 0)
		return;
	FUZZ_CHECK(!pfs_slot_is_live(&slot) ||
		   (slot.off >= floor && slot.len && slot.off + slot.len <= page_size));
	pfs_slot_encode(&encoded, &slot);
	FUZZ_CHECK(pfs_slot_decode(&again, &encoded, floor, page_size) == 0);
	FUZZ_CHECK(slot.kind == again.kind && slot.tag == again.tag && slot.off == again.off &&
		   slot.len == again.len && slot.seq == again.seq);
}

static bool same_container(const struct pfs_container *a, const struct pfs_container *b)
{
	unsigned kept =
		PFS_CONTAINER_LZ4 | PFS_CONTAINER_BLOCKS | PFS_CONTAINER_ATTR | PFS_CONTAINER_LOST;

	return (a->flags & kept) == (b->flags & kept) && a->raw_len == b->raw_len &&
	       a->seq == b->seq && a->mtime_ns == b->mtime_ns && a->mode == b->mode &&
	       a->uid == b->uid && a->gid == b->gid && a->dict == b->dict &&
	       a->content == b->content && a->body_len == b->body_len &&
	       a->tail.len == b->tail.len &&
	       (a->tail.len == 0 || memcmp(a->tail.bytes, b->tail.bytes, a->tail.len) == 0);
}

/* The header that was accepted, written as this program writes it. */
static void encode_again(const struct pfs_container *c, const struct pfs_container_base *base)
{
	uint64_t len = pfs_container_len(c, base, 16);
	uint8_t bytes[PFS_CONTAINER_HEADER_MAX];
	struct pfs_container again;
	size_t header_len = pfs_container_header_encode(bytes, c, base, len);

	FUZZ_CHECK(header_len <= sizeof(bytes) && header_len + c->body_len <= len);
	FUZZ_CHECK(header_len <= pfs_container_header_bound(c, base->kind));
	FUZZ_CHECK(pfs_container_header_decode(&again, bytes, header_len, len, base) == 0);
	FUZZ_CHECK(again.header_len == header_len && same_container(c, &again));
}

static void check_container(struct fuzz_in *in)
{
	struct pfs_container_base base = {.kind = 1 + fuzz_u8(in) % 4};
	unsigned cut = fuzz_u8(in), flip = fuzz_u16(in);
	uint64_t container_len;
	struct pfs_container c;
	struct pfs_key key;
	uint8_t *bytes, room[8];
	size_t len;

	base.tag = fuzz_int(in, 8);
	base.base_seq = fuzz_int(in, 8) & PFS_SEQ_MAX;
	base.base_mtime = (int64_t)fuzz_int(in, 8);
	len = fuzz_left(in);
	bytes = malloc(len ? len : 1);
	FUZZ_CHECK(bytes != NULL);
	if (len)
		memcpy(bytes, in->at, len);
	/* Only a beginning of it may be at hand. */
	container_len = len + (cut & 1 ? (uint64_t)cut << 12 : 0);
	if (pfs_container_header_decode(&c, bytes, len, container_len, &base) == 0) {
		FUZZ_CHECK(c.header_len <= len && c.body_len <= container_len - c.header_len);
		FUZZ_CHECK(!(c.flags & PFS_CONTAINER_BLOCKS) || (c.flags & PFS_CONTAINER_LOST) ||
			   c.body_len >= pfs_block_count(c.raw_len) * PFS_BLOCK_ENTRY_LEN);
		encode_again(&c, &base);
		if (c.flags & PFS_CONTAINER_BLOCKS || c.header_len + c.body_len <= len) {
			size_t covered =
				c.header_len + (c.flags & PFS_CONTAINER_BLOCKS ? 0 : c.body_len);

			pfs_container_seal(bytes, c.header_len, c.body_len, c.flags, c.seq, &base);
			c.crc = pfs_get_le32(bytes);
			FUZZ_CHECK(pfs_container_verify(&c, bytes, &base) == 0);
			bytes[4 + flip % (covered - 4)] ^= (uint8_t)(1u << (flip & 7));
			FUZZ_CHECK(pfs_container_verify(&c, bytes, &base) == -EUCLEAN);
			bytes[4 + flip % (covered - 4)] ^= (uint8_t)(1u << (flip & 7));
			c.seq++;
			FUZZ_CHECK(pfs_container_verify(&c, bytes, &base) == -EUCLEAN);
		}
		if (pfs_container_key(&key, &c, base.kind, base.tag) == 0) {
			struct pfs_tail tail = pfs_key_tail(&key, room);

			FUZZ_CHECK(key.kind == PFS_KEY_TEMP || pfs_key_tag(&key) == base.tag);
			FUZZ_CHECK(tail.len == c.tail.len &&
				   (!tail.len || memcmp(tail.bytes, c.tail.bytes, tail.len) == 0));
		}
	}
	free(bytes);
}

static void run_pure(struct fuzz_in *in, unsigned flags)
{
	switch (flags & 3) {
	case 0: check_slot(in); break;
	case 1: check_header(in, flags & 4); break;
	default: check_container(in); break;
	}
}

/* The superblock of the prototype with a set of the pages that there are, or without; as after a
 * crash, or closed. */
static void fit_super(unsigned flags)
{
	struct mem_file *file = mem_io_file(PFS_SUPER_NAME);
	struct pfs_page_set set = {0};
	struct pfs_super_disk disk;
	const char *name;

	memcpy(&disk, mem_io_bytes(file), sizeof(disk));
	for (size_t i = 0; mem_io_nth(i, &name); i++) {
		if (strncmp(name, "page-", 5) == 0)
			pfs_page_set_add(&set, (uint32_t)strtoul(name + 5, NULL, 16));
	}
	if (flags & 1) {
		pfs_put_le32(disk.page_highest.b, set.highest);
		pfs_put_le32(disk.page_count.b, set.count);
		pfs_put_le64(disk.page_mix.b, set.mix);
	}
	if (flags & 2)
		pfs_put_le64(disk.clean_epoch.b, 0);
	for (unsigned i = 0; i < PFS_SUPER_COPIES; i++)
		mem_io_put(file, (uint64_t)i * PFS_SUPER_STRIDE, &disk, sizeof(disk));
	fixup_store(FIXUP_SUPER, NULL);
}

/* u8: PURE and which function, or what checksums are made right (of pages only), and in bits 4 and
 * 5 what fit_super does. For a store as in store_fuzz.c; the pieces of pages count. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct store_session session;
	struct fuzz_in in = fuzz_in(data, size);
	unsigned flags = fuzz_u8(&in);

	if (flags & PURE) {
		run_pure(&in, flags);
		return 0;
	}
	mem_io_reset();
	session.flags = fuzz_u8(&in);
	session.fail_nth = fuzz_u16(&in);
	proto_unpack();
	mem_io_remove("page-00000001");
	mem_io_remove("index");
	archive_unpack(&in, 15u << 2, &session.ops);
	fit_super(flags >> 4);
	fixup_store(flags & FIXUP_PAGES, NULL);
	session_run(&session);
	return 0;
}
