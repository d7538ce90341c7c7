/* Proves: whatever is in the superblock's file, the better of its valid copies is taken or none,
 * and what was taken and written again says the same. */
#include "storage/crc.h"
#include "storage/super.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/mem_io.h"

#define CRC_AT 12

static void make_file(struct fuzz_in *in, unsigned flags)
{
	struct mem_file *file = mem_io_file(PFS_SUPER_NAME);

	for (unsigned i = 0; i < PFS_SUPER_COPIES; i++) {
		struct pfs_super_disk disk = {0};
		size_t len;
		const uint8_t *bytes = fuzz_bytes(in, sizeof(disk), &len);

		if (len)
			memcpy(&disk, bytes, len);
		if (flags & 1u << i) {
			memcpy(disk.magic, PFS_SUPER_MAGIC, sizeof(disk.magic));
			pfs_put_le32(disk.crc.b, pfs_crc32c(0, (uint8_t *)&disk + CRC_AT,
							    sizeof(disk) - CRC_AT));
		}
		/* The last may be cut off. */
		if (!(flags & 4u << i))
			len = sizeof(disk);
		mem_io_put(file, (uint64_t)i * PFS_SUPER_STRIDE, &disk, len);
	}
}

static void check_again(struct pfs_dir *dir, const struct pfs_super *super,
			const struct pfs_logger *logger)
{
	struct pfs_super written = *super, again;

	FUZZ_CHECK(pfs_super_write(dir, &written) == 0);
	FUZZ_CHECK(pfs_super_read(dir, &again, logger) == 0);
	/* A copy at the end of all generations can't be outdone. */
	if (super->generation == UINT64_MAX)
		return;
	FUZZ_CHECK(again.generation == super->generation + 1);
	again.generation = super->generation;
	FUZZ_CHECK(memcmp(&again.uuid, &super->uuid, PFS_UUID_LEN) == 0);
	FUZZ_CHECK(again.page_size == super->page_size &&
		   again.min_value_size == super->min_value_size);
	FUZZ_CHECK(again.ro_compat == super->ro_compat && again.compat == super->compat);
	FUZZ_CHECK(again.has_defaults == super->has_defaults && again.mode == super->mode &&
		   again.uid == super->uid && again.gid == super->gid);
	FUZZ_CHECK(again.open_epoch == super->open_epoch &&
		   again.clean_epoch == super->clean_epoch && again.sequence == super->sequence &&
		   again.created_ns == super->created_ns);
	FUZZ_CHECK(again.doubt == super->doubt && again.journal_epoch == super->journal_epoch &&
		   memcmp(&again.pages, &super->pages, sizeof(again.pages)) == 0);
}

/* Bits of the first byte: 0, 1 the copy is given magic and checksum; 2, 3 it ends where the input
 * does. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pfs_logger logger = fuzz_logger();
	struct fuzz_in in = fuzz_in(data, size);
	struct pfs_super super;
	struct pfs_dir *dir;
	char text[512];
	int err;

	mem_io_reset();
	make_file(&in, fuzz_u8(&in));
	FUZZ_CHECK(mem_io.ops->open_dir(&mem_io, "store", PFS_IO_WRITE, &dir) == 0);
	err = pfs_super_read(dir, &super, &logger);
	if (err) {
		FUZZ_CHECK(err == -EUCLEAN || err == -EPROTONOSUPPORT);
		pfs_super_explain(&super, err, "store", text, sizeof(text));
		FUZZ_CHECK(text[0] && strlen(text) < sizeof(text));
	} else {
		FUZZ_CHECK(pfs_is_pow2(super.page_size) && super.min_value_size >= 16);
		check_again(dir, &super, &logger);
	}
	dir->ops->close_dir(dir);
	return 0;
}
