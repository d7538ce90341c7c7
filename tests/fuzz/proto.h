/* A small healthy store, the same each time, of which a target then replaces a part. */
#ifndef PFS_FUZZ_PROTO_H
#define PFS_FUZZ_PROTO_H

#include "storage/format.h"

extern const uint8_t proto_uuid[PFS_UUID_LEN];

/* Puts its files into mem_io, which is empty: one page of 64 KiB with some documents of each kind,
 * closed. */
void proto_unpack(void);

#endif
