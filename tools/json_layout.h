/* White space of JSON text: indented for people, or none at all. Nothing but white space between
 * tokens changes: numbers, strings and the order of members stay byte by byte. Pure. */
#ifndef TOOLS_JSON_LAYOUT_H
#define TOOLS_JSON_LAYOUT_H

#include "storage/json_scan.h"

/* Whether the bytes are one JSON value with nothing but white space around it. Otherwise *scan says
 * where (scan->at) and why. */
bool json_is_document(struct pfs_json_scan *scan, const void *data, size_t len);

/* Takes the text in pieces. Non-zero ends the layout and is returned by it. */
typedef int json_layout_fn(void *arg, const void *data, size_t len);

/* Lays out one value that json_is_document accepts; no newline at its end. indent: spaces for each
 * level, a member or element a line; 0: all in one line, without spaces. */
int json_layout(const void *data, size_t len, unsigned indent, json_layout_fn *fn, void *arg);

#endif
