/* Verifying one container: header, key, checksum, payload. */
#include <stdlib.h>

#include "storage/check.h"
#include "storage/codec.h"

/* ---- reading ---- */

int pfs_check_reader_new(struct pfs_check_reader *reader, struct pfs_file *file)
{
	*reader = (struct pfs_check_reader){.file = file, .cap = PFS_CHECK_WINDOW};
	reader->buf = malloc(reader->cap);
	return reader->buf ? 0 : -ENOMEM;
}

void pfs_check_reader_free(struct pfs_check_reader *reader)
{
	free(reader->buf);
	reader->buf = NULL;
}

int pfs_check_read(struct pfs_check_reader *reader, uint64_t off, size_t len, const uint8_t **bytes)
{
	ssize_t n;

	*bytes = NULL;
	if (off < reader->off || off - reader->off > reader->len ||
	    len > reader->len - (off - reader->off)) {
		if (!reader->file || len > reader->cap)
			return -EIO;
		n = reader->file->ops->read(reader->file, reader->buf, reader->cap, off);
		/* A bad place further on must not hide this one. */
		if (n < 0)
			n = reader->file->ops->read(reader->file, reader->buf, len, off);
		reader->off = off;
		reader->len = n < 0 ? 0 : (size_t)n;
		if (reader->len < len)
			return -EIO;
	}
	*bytes = reader->buf + (off - reader->off);
	return 0;
}

/* ---- payloads ---- */

static int check_block(struct pfs_check *check, struct pfs_check_reader *reader,
		       uint64_t blocks_off, const struct pfs_container *c, const uint8_t *table,
		       uint64_t i)
{
	uint64_t table_len = pfs_block_count(c->raw_len) * PFS_BLOCK_ENTRY_LEN;
	const uint8_t *entry = table + i * PFS_BLOCK_ENTRY_LEN, *stored;
	uint32_t start = i ? pfs_get_le32(entry - PFS_BLOCK_ENTRY_LEN) : 0;
	uint32_t end = pfs_get_le32(entry), raw_len = pfs_block_raw_len(c->raw_len, i);
	int err;

	if (start > end || end > c->body_len - table_len || end - start > raw_len)
		return -EUCLEAN;
	err = pfs_check_read(reader, blocks_off + start, end - start, &stored);
	if (err)
		return err;
	if (pfs_block_crc(c->content, (uint32_t)i, end, stored, end - start) !=
	    pfs_get_le32(entry + 4))
		return -EUCLEAN;
	if (end == start || end - start == raw_len)
		return 0;
	return pfs_codec_unpack(check->raw, raw_len, stored, end - start, NULL);
}

static int check_blocks(struct pfs_check *check, struct pfs_check_reader *reader, uint64_t off,
			const struct pfs_container *c, struct pfs_check_value *value)
{
	uint64_t table_len = pfs_block_count(c->raw_len) * PFS_BLOCK_ENTRY_LEN;
	uint8_t *table = malloc(table_len);
	const uint8_t *bytes;
	int err;

	if (!table)
		return -ENOMEM;
	err = pfs_check_read(reader, off, table_len, &bytes);
	if (err) {
		free(table);
		value->why = "its block table can't be read";
		return err;
	}
	memcpy(table, bytes, table_len);
	value->blocks = pfs_block_count(c->raw_len);
	for (uint64_t i = 0; i < value->blocks; i++) {
		if (check_block(check, reader, off + table_len, c, table, i) == 0)
			continue;
		if (value->bad_blocks++ == 0)
			value->first_bad = i;
	}
	free(table);
	value->why = value->bad_blocks ? "blocks of it do not verify" : NULL;
	return value->bad_blocks ? -EUCLEAN : 0;
}

int pfs_check_body(struct pfs_check *check, struct pfs_check_reader *reader, uint64_t off,
		   const struct pfs_container *c, struct pfs_check_value *value)
{
	const struct pfs_checked_dict *dict = NULL;
	const uint8_t *body;
	int err;

	if (c->dict) {
		check->dict_named = (uint32_t)pfs_max_u64(check->dict_named, c->dict);
		dict = pfs_check_find_dict(check, c->dict);
		value->why = !(c->flags & PFS_CONTAINER_LZ4) ? "it makes no use of its dictionary"
			     : !dict	    ? "it needs a dictionary that is not there"
			     : !dict->codec ? "it needs a dictionary that is damaged"
					    : NULL;
		if (value->why)
			return -EUCLEAN;
	}
	if (c->flags & PFS_CONTAINER_BLOCKS)
		return check_blocks(check, reader, off, c, value);
	err = pfs_check_read(reader, off, c->body_len, &body);
	value->why = err ? "it can't be read" : NULL;
	if (err || !(c->flags & PFS_CONTAINER_LZ4))
		return err;
	err = pfs_codec_unpack(check->raw, c->raw_len, body, c->body_len,
			       dict ? dict->codec : NULL);
	value->why = err ? "it does not decode" : NULL;
	return err;
}

/* ---- containers ---- */

/* Decodes and verifies what is at hand of a container; the rest of blocks is not looked at. */
static int verify(struct pfs_check_value *value, const uint8_t *bytes, size_t have, uint64_t len,
		  const struct pfs_container_base *base)
{
	struct pfs_container *c = &value->c;

	value->why = "the header of its container makes no sense";
	if (pfs_container_header_decode(c, bytes, have, len, base) != 0)
		return -EUCLEAN;
	if (!(c->flags & PFS_CONTAINER_BLOCKS) && c->header_len + c->body_len > have)
		return -EUCLEAN;
	value->decoded = true;
	value->why = "checksum of its container";
	if (pfs_container_verify(c, bytes, base) != 0)
		return -EUCLEAN;
	value->why = "the key in its container is not the slot's";
	if (pfs_container_key(&value->key, c, base->kind, base->tag) != 0)
		return -EUCLEAN;
	value->verified = true;
	value->why = NULL;
	return 0;
}

static struct pfs_container_base base_of(const struct pfs_page_header *page,
					 const struct pfs_slot *slot)
{
	return (struct pfs_container_base){slot->kind, slot->tag, page->base_seq, page->base_mtime};
}

int pfs_check_container(struct pfs_check *check, struct pfs_check_reader *reader,
			const struct pfs_page_header *page, const struct pfs_slot *slot,
			struct pfs_check_value *value)
{
	struct pfs_container_base base = base_of(page, slot);
	size_t have = pfs_min_u64(slot->len, PFS_CHECK_PREFIX);
	const uint8_t *bytes;
	int err;

	*value = (struct pfs_check_value){.why = "it can't be read"};
	err = pfs_check_read(reader, slot->off, have, &bytes);
	if (err)
		return err;
	err = verify(value, bytes, have, slot->len, &base);
	if (err)
		return err;
	if (value->c.flags & PFS_CONTAINER_LOST) {
		value->why = "its content was lost earlier; put it again or remove it";
		return -EUCLEAN;
	}
	return pfs_check_body(check, reader, slot->off + value->c.header_len, &value->c, value);
}

/* ---- whose a damaged container is ---- */

/* Bytes of the container's beginning that are now in the probe. */
static size_t load_probe(struct pfs_check *check, struct pfs_file *file,
			 const struct pfs_slot *slot)
{
	size_t have = pfs_min_u64(slot->len, PFS_CHECK_PREFIX);
	ssize_t n = file->ops->read(file, check->probe, have, slot->off);

	return n > 0 ? (size_t)n : 0;
}

bool pfs_check_header(struct pfs_check *check, struct pfs_file *file,
		      const struct pfs_page_header *page, const struct pfs_slot *slot,
		      struct pfs_check_value *value)
{
	struct pfs_container_base base = base_of(page, slot);
	size_t have = load_probe(check, file, slot);

	*value = (struct pfs_check_value){.unread =
						  have != pfs_min_u64(slot->len, PFS_CHECK_PREFIX)};
	return !value->unread && verify(value, check->probe, have, slot->len, &base) == 0;
}

static int read_at(void *arg, uint64_t off, void *buf, size_t len)
{
	struct pfs_file *file = arg;

	return file->ops->read(file, buf, len, off) == (ssize_t)len ? 0 : -EIO;
}

enum pfs_identity pfs_check_identify(struct pfs_check *check, struct pfs_file *file,
				     const struct pfs_page_header *page,
				     const struct pfs_slot_disk *disk, struct pfs_key *key)
{
	struct pfs_identify by = {
		.read = read_at,
		.arg = file,
		.page_size = page->page_size,
		.base_seq = page->base_seq,
		.base_mtime = page->base_mtime,
		.buf = check->probe,
		.budget = check->trials,
	};
	struct pfs_check_value value;
	struct pfs_identified found;
	enum pfs_identity identity = pfs_identify(&by, disk, &found);

	check->trials = by.budget;
	check->identified_seq = 0;
	if (identity == PFS_IDENTITY_SLOT &&
	    pfs_check_header(check, file, page, &found.decoded, &value))
		check->identified_seq = value.c.seq;
	*key = found.key;
	return identity;
}

void pfs_check_guess(struct pfs_check *check, struct pfs_file *file,
		     const struct pfs_page_header *page, const struct pfs_slot *slot,
		     struct pfs_key *key)
{
	struct pfs_container_base base = base_of(page, slot);
	struct pfs_container c;
	size_t have;

	*key = (struct pfs_key){.kind = PFS_KEY_NONE};
	if (slot->kind == PFS_KEY_NUM || slot->kind == PFS_KEY_TEMP) {
		*key = pfs_key_num(slot->tag);
		key->kind = (uint8_t)slot->kind;
		return;
	}
	have = load_probe(check, file, slot);
	if (pfs_container_header_decode(&c, check->probe, have, slot->len, &base) != 0 ||
	    pfs_container_key(key, &c, slot->kind, slot->tag) != 0)
		key->kind = PFS_KEY_NONE;
}
