/* The members of the small JSON files that Qdrant writes. Pure. */
#ifndef TOOLS_QDRANT_CONFIG_H
#define TOOLS_QDRANT_CONFIG_H

#include "storage/json_scan.h"

/* Finds a member of the object that the text is. PFS_JSON_OK: *value is its bytes, with p NULL when
 * there is no such member. PFS_JSON_BAD: the text is no object. name has less than 64 bytes. */
enum pfs_json_status qdrant_config_member(const void *text, size_t len, const char *name,
					  struct pfs_json_slice *value);

/* A member that is an unsigned number; false: it is not there, or is none. */
bool qdrant_config_number(const void *text, size_t len, const char *name, uint64_t *out);

#endif
