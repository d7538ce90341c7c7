/* Makes the checksums of a mutated store right, so that a fuzzer gets past them: magic numbers, the
 * store's UUID and every CRC are written where FORMAT.md has them. Nothing else is changed, but
 * that sizes of pages are cut to FIXUP_PAGE_MAX, so that no input takes seconds, and that files get
 * the length that their headers say. */
#ifndef PFS_FUZZ_FIXUP_H
#define PFS_FUZZ_FIXUP_H

#include "storage/format.h"
#include "tests/fuzz/mem_io.h"

#define FIXUP_SUPER 1u
#define FIXUP_PAGES 2u
#define FIXUP_SEGMENTS 4u
#define FIXUP_INDEX 8u
#define FIXUP_DICTS 16u
#define FIXUP_ALL 31u

#define FIXUP_PAGE_LOG2_MAX 18

/* The files of mem_io. uuid NULL: the superblock's first copy says it. */
void fixup_store(unsigned what, const uint8_t *uuid);

/* One dictionary's file: headers that are not zero, and what they say of the dictionary's bytes. */
void fixup_dict(struct mem_file *file, uint32_t number, const uint8_t *uuid);

#endif
