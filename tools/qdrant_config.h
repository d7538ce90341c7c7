/* The members of the small JSON files that Qdrant writes. Pure. */
#ifndef TOOLS_QDRANT_CONFIG_H
#define TOOLS_QDRANT_CONFIG_H

#include "tools/json_scan.h"

/* Finds a member of the object that the text is. JSON_OK: *value is its bytes, with p NULL when
 * there is no such member. JSON_BAD: the text is no object. name has less than 64 bytes. */
enum json_status qdrant_config_member(const void *text, size_t len, const char *name,
				      struct json_slice *value);

/* A member that is an unsigned number; false: it is not there, or is none. */
bool qdrant_config_number(const void *text, size_t len, const char *name, uint64_t *out);

#endif
