/* Proves: a file name has one key and a key one name; what looks like an id and is not canonical is
 * refused; no name makes the parser read or write out of bounds. */
#include <inttypes.h>

#include "fs/name.c"
#include "storage/page.h"
#include "storage/record.h"
#include "storage/wire.h"
#include "tests/fuzz/fuzz.h"

static bool is_number(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (name[i] < '0' || name[i] > '9')
			return false;
	}
	return len > 0;
}

/* What the C library makes of a number, printed again. */
static bool is_canonical_number(const char *name, size_t len)
{
	char text[PFS_NAME_MAX + 1], again[32];

	memcpy(text, name, len);
	text[len] = '\0';
	snprintf(again, sizeof(again), "%" PRIu64, (uint64_t)strtoull(text, NULL, 10));
	return strcmp(text, again) == 0;
}

/* Through a container's tail, a journal record and the socket's protocol. */
static void check_encodings(const struct pfs_key *key)
{
	struct pfs_container c = {0};
	struct pfs_wire_out out = {0};
	uint8_t room[8], record[2 + PFS_NAME_MAX];
	struct pfs_record_walk walk = {.begin = record, .at = record};
	struct pfs_wire_in in;
	struct pfs_key back;

	c.tail = pfs_key_tail(key, room);
	FUZZ_CHECK(pfs_container_key(&back, &c, key->kind, pfs_key_tag(key)) == 0);
	FUZZ_CHECK(pfs_key_equal(&back, key));

	pfs_wire_begin(&out, PFS_WIRE_GET, 0);
	pfs_wire_key(&out, key);
	FUZZ_CHECK(pfs_wire_end(&out) == 0);
	in = pfs_wire_in(out.buf + PFS_WIRE_HEADER_LEN, pfs_wire_body_len(&out));
	pfs_wire_get_key(&in, &back);
	FUZZ_CHECK(pfs_wire_done(&in) == 0 && pfs_key_equal(&back, key));
	pfs_wire_out_free(&out);

	record[0] = key->kind;
	record[1] = key->kind == PFS_KEY_NUM ? 8 : key->kind == PFS_KEY_UUID ? 16 : key->name_len;
	if (key->kind == PFS_KEY_NUM)
		pfs_put_le64(record + 2, key->num);
	else
		memcpy(record + 2, key->kind == PFS_KEY_UUID ? (const char *)key->uuid : key->name,
		       record[1]);
	walk.end = record + 2 + record[1];
	pfs_record_take_key(&walk, &back);
	FUZZ_CHECK(!walk.bad && walk.at == walk.end && pfs_key_equal(&back, key));
}

static bool parse(struct pfs_key *key, const uint8_t *bytes, size_t len)
{
	char *name = malloc(len ? len : 1), text[PFS_NAME_MAX + 1];
	int err;

	FUZZ_CHECK(name != NULL);
	if (len)
		memcpy(name, bytes, len);
	err = pfs_key_parse(key, name, len);
	FUZZ_CHECK(err == 0 || err == -EINVAL || err == -ENAMETOOLONG);
	FUZZ_CHECK((err == -ENAMETOOLONG) == (len > PFS_NAME_MAX));
	FUZZ_CHECK((key->kind == PFS_KEY_NONE) == (err != 0) && key->kind != PFS_KEY_TEMP);
	if (len <= PFS_NAME_MAX && is_number(name, len)) {
		FUZZ_CHECK((err == 0) == is_canonical_number(name, len));
		FUZZ_CHECK(err || key->kind == PFS_KEY_NUM);
	}
	if (!err) {
		/* One point, one name: the text is the name. */
		FUZZ_CHECK(pfs_key_format(text, key) == len && memcmp(text, name, len) == 0);
		FUZZ_CHECK(text[len] == '\0');
		check_encodings(key);
	}
	free(name);
	return !err;
}

static void check_file_name(const uint8_t *bytes, size_t len)
{
	char *name = malloc(len + 1);
	struct pfs_key found, made, strict;
	int err;

	FUZZ_CHECK(name != NULL);
	if (len)
		memcpy(name, bytes, len);
	name[len] = '\0';
	err = pfs_name_key(&found, name, PFS_NAME_FIND, false);
	FUZZ_CHECK(err != -EPERM);
	FUZZ_CHECK((pfs_name_key(&made, name, PFS_NAME_MAKE, false) == 0) == (err == 0));
	FUZZ_CHECK((pfs_name_key(&strict, name, PFS_NAME_MAKE, true) == 0) ==
		   (err == 0 && pfs_key_is_point(&found)));
	FUZZ_CHECK(err || pfs_key_equal(&found, &made));
	free(name);
}

static int sign(int n)
{
	return (n > 0) - (n < 0);
}

/* Two names, the length of the first in front. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = fuzz_in(data, size);
	size_t len, other_len, first = fuzz_u16(&in);
	const uint8_t *name = fuzz_bytes(&in, first, &len);
	const uint8_t *other = fuzz_bytes(&in, SIZE_MAX, &other_len);
	struct pfs_key a, b;

	check_file_name(name, len);
	if (!parse(&a, name, len) || !parse(&b, other, other_len))
		return 0;
	FUZZ_CHECK(pfs_key_equal(&a, &a) && pfs_key_compare(&a, &a) == 0);
	FUZZ_CHECK(pfs_key_equal(&a, &b) == (len == other_len && memcmp(name, other, len) == 0));
	FUZZ_CHECK(pfs_key_equal(&a, &b) == (pfs_key_compare(&a, &b) == 0));
	FUZZ_CHECK(sign(pfs_key_compare(&a, &b)) == -sign(pfs_key_compare(&b, &a)));
	FUZZ_CHECK(!pfs_key_equal(&a, &b) || pfs_key_tag(&a) == pfs_key_tag(&b));
	return 0;
}
