#include "storage/export_line.h"

static size_t put(char *to, const char *text)
{
	size_t len = strlen(text);

	memcpy(to, text, len);
	return len;
}

void pfs_line_frame(struct pfs_line *line, const struct pfs_key *key, bool plain)
{
	bool quoted = key->kind != PFS_KEY_NUM;
	char *p = line->head;

	p += put(p, quoted ? "{\"id\":\"" : "{\"id\":");
	p += pfs_key_format(p, key);
	if (quoted)
		*p++ = '"';
	p += put(p, plain ? ",\"payload\":" : ",\"payload_base64\":\"");
	line->plain = plain;
	line->head_len = (size_t)(p - line->head);
	line->tail = plain ? "}\n" : "\"}\n";
	line->tail_len = strlen(line->tail);
}
