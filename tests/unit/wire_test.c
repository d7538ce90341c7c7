/* Framing of the control socket's protocol: what is built is read back; what a hostile peer sends
 * is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "storage/wire.h"

static struct pfs_key key_of(const char *name)
{
	struct pfs_key key;

	assert_int_equal(pfs_key_parse(&key, name, strlen(name)), 0);
	return key;
}

static const char *const names[] = {
	"0",
	"18446744073709551615",
	"00000000-0000-0000-0000-000000000000",
	"c0ffee00-0000-4000-8000-0000000000ff",
	"x",
	".42.swp",
	"tab\tand \xff",
};

/* A body with one of everything. */
static void build(struct pfs_wire_out *out)
{
	pfs_wire_begin(out, PFS_WIRE_IMPORT, 0);
	pfs_wire_u8(out, 200);
	pfs_wire_u32(out, UINT32_C(0xfedcba98));
	pfs_wire_u64(out, UINT64_C(0xfedcba9876543210));
	pfs_wire_bytes(out, "ab\0c", 4);
	pfs_wire_text(out, "a reason\n");
	pfs_wire_u32(out, (uint32_t)-ENOSPC);
	for (size_t i = 0; i < pfs_array_len(names); i++) {
		struct pfs_key key = key_of(names[i]);

		pfs_wire_key(out, &key);
	}
	pfs_wire_raw(out, "tail", 4);
}

/* Reads the body of build and returns what pfs_wire_done says. With check, every value must be
 * right. */
static int take(const uint8_t *body, size_t len, bool check)
{
	struct pfs_wire_in in = pfs_wire_in(body, len);
	const uint8_t *bytes, *tail;
	char text[32];
	struct pfs_key key, want;
	size_t bytes_len;

	uint8_t u8 = pfs_wire_get_u8(&in);
	uint32_t u32 = pfs_wire_get_u32(&in);
	uint64_t u64 = pfs_wire_get_u64(&in);
	bytes = pfs_wire_get_bytes(&in, &bytes_len);
	pfs_wire_get_text(&in, text, sizeof(text));
	int status = pfs_wire_get_status(&in);
	if (check) {
		assert_int_equal(u8, 200);
		assert_int_equal(u32, UINT32_C(0xfedcba98));
		assert_true(u64 == UINT64_C(0xfedcba9876543210));
		assert_int_equal(bytes_len, 4);
		assert_memory_equal(bytes, "ab\0c", 4);
		assert_string_equal(text, "a reason");
		assert_int_equal(status, -ENOSPC);
	}
	for (size_t i = 0; i < pfs_array_len(names); i++) {
		pfs_wire_get_key(&in, &key);
		want = key_of(names[i]);
		if (check)
			assert_true(pfs_key_equal(&key, &want));
		else if (in.bad)
			assert_int_equal(key.kind, PFS_KEY_NONE);
	}
	assert_true(!check || pfs_wire_more(&in));
	tail = pfs_wire_get_raw(&in, 4);
	if (check)
		assert_memory_equal(tail, "tail", 4);
	assert_true(!check || !pfs_wire_more(&in));
	return pfs_wire_done(&in);
}

/* Proves: a message is read back as it was built, header and every kind of field. */
static void messages_round_trip(void **state)
{
	struct pfs_wire_out out = {0};
	struct pfs_wire_header header;

	(void)state;
	build(&out);
	assert_int_equal(pfs_wire_end(&out), 0);
	assert_int_equal(pfs_wire_header(&header, out.buf), 0);
	assert_int_equal(header.version, PFS_WIRE_VERSION);
	assert_int_equal(header.type, PFS_WIRE_IMPORT);
	assert_int_equal(header.status, 0);
	assert_int_equal(header.len, out.len - PFS_WIRE_HEADER_LEN);
	assert_int_equal(take(out.buf + PFS_WIRE_HEADER_LEN, header.len, true), 0);

	/* The memory is used again, the content is not. */
	pfs_wire_begin(&out, PFS_WIRE_REPLY, -EROFS);
	assert_int_equal(pfs_wire_end(&out), 0);
	assert_int_equal(out.len, PFS_WIRE_HEADER_LEN);
	assert_int_equal(pfs_wire_header(&header, out.buf), 0);
	assert_int_equal(header.status, -EROFS);
	assert_int_equal(header.len, 0);
	pfs_wire_out_free(&out);
}

/* Proves: a body that is cut off at any byte, or has one too many, is refused, and nothing outside
 * of it is read (ASan). */
static void truncated_bodies_are_refused(void **state)
{
	struct pfs_wire_out out = {0};
	size_t len;

	(void)state;
	build(&out);
	assert_int_equal(pfs_wire_end(&out), 0);
	len = out.len - PFS_WIRE_HEADER_LEN;
	for (size_t cut = 0; cut <= len + 1; cut++) {
		uint8_t *copy = malloc(cut ? cut : 1);

		assert_non_null(copy);
		memset(copy, 0, cut ? cut : 1);
		memcpy(copy, out.buf + PFS_WIRE_HEADER_LEN, cut < len ? cut : len);
		assert_int_equal(take(copy, cut, false), cut == len ? 0 : -EPROTO);
		free(copy);
	}
	pfs_wire_out_free(&out);
}

/* Proves: lengths that lie, kinds that do not exist, and names that are not canonical are refused.
 */
static void hostile_fields_are_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} keys[] = {
		{"", 0},
		{"\x00", 1},
		{"\x04\x01\x02\x03\x04\x05\x06\x07\x08", 9}, /* TEMP is not for clients */
		{"\xff", 1},
		{"\x01\x01\x02\x03\x04\x05\x06\x07", 8},
		{"\x02xxxxxxxxxxxxxxx", 16},
		{"\x03", 1},
		{"\x03\x00", 2},
		{"\x03\x05"
		 "abcd",
		 6},
		{"\x03\x03"
		 "a/b",
		 5},
		{"\x03\x03"
		 "a\0b",
		 5},
		{"\x03\x01.", 3},
		{"\x03\x02..", 4},
		{"\x03\x02"
		 "42",
		 4}, /* an id dressed as a scratch name */
		{"\x03\x03"
		 "007",
		 5},
	};
	struct pfs_wire_in in;
	struct pfs_key key;
	char text[8];
	size_t len;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(keys); i++) {
		in = pfs_wire_in(keys[i].bytes, keys[i].len);
		pfs_wire_get_key(&in, &key);
		assert_true(in.bad);
		assert_int_equal(key.kind, PFS_KEY_NONE);
		assert_int_equal(pfs_wire_done(&in), -EPROTO);
	}
	in = pfs_wire_in("\xff\xff\xff\xff"
			 "abc",
			 7);
	assert_null(pfs_wire_get_bytes(&in, &len));
	assert_int_equal(len, 0);
	assert_true(in.bad);
	assert_null(pfs_wire_get_raw(&in, 0)); /* nothing is read after a fault */
	assert_int_equal(pfs_wire_get_u8(&in), 0);
	in = pfs_wire_in("\x04\0\0\0"
			 "abc",
			 7);
	assert_null(pfs_wire_get_bytes(&in, &len));
	in = pfs_wire_in("\x0c\0\0\0"
			 "a\x1b[1mb\n\x7f"
			 "cdefg",
			 16);
	pfs_wire_get_text(&in, text, sizeof(text));
	assert_string_equal(text, "a[1mbcd"); /* cut to fit, no control characters */
	assert_int_equal(pfs_wire_done(&in), 0);
	in = pfs_wire_in("\x07\0\0\0"
			 "a\tb/\x1b\n\x7f",
			 11); /* a path is taken as it is */
	pfs_wire_get_path(&in, text, sizeof(text));
	assert_string_equal(text, "a\tb/\x1b\n\x7f");
	assert_int_equal(pfs_wire_done(&in), 0);
	in = pfs_wire_in("\x08\0\0\0"
			 "abcdefgh",
			 12);
	pfs_wire_get_path(&in, text, sizeof(text));
	assert_string_equal(text, "");
	assert_true(in.bad);
	in = pfs_wire_in("\x03\0\0\0"
			 "a\0b",
			 7);
	pfs_wire_get_path(&in, text, sizeof(text));
	assert_true(in.bad);
	in = pfs_wire_in("\x01\0\0\0", 4); /* a positive status */
	assert_int_equal(pfs_wire_get_status(&in), -EPROTO);
	assert_true(in.bad);
	in = pfs_wire_in("\0\0\0\x80", 4); /* INT32_MIN can't be negated */
	assert_int_equal(pfs_wire_get_status(&in), -EPROTO);
}

/* Proves: only headers of this protocol with a bounded length pass; other versions pass, for the
 * caller to refuse. */
static void headers_are_checked(void **state)
{
	struct pfs_wire_header header;
	uint8_t bytes[PFS_WIRE_HEADER_LEN];

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		memcpy(bytes, "PFSW\1\0\2\0\0\0\0\0\0\0\0", sizeof(bytes));
		assert_int_equal(pfs_wire_header(&header, bytes), 0);
		bytes[i] ^= 1;
		assert_int_equal(pfs_wire_header(&header, bytes), -EPROTO);
	}
	memcpy(bytes, "PFSW\2\0\2\0\0\0\0\0\0\0\0", sizeof(bytes));
	assert_int_equal(pfs_wire_header(&header, bytes), 0);
	assert_int_equal(header.version, 2);
	pfs_put_le32(bytes + 8, PFS_WIRE_BODY_MAX);
	assert_int_equal(pfs_wire_header(&header, bytes), 0);
	pfs_put_le32(bytes + 8, PFS_WIRE_BODY_MAX + 1);
	assert_int_equal(pfs_wire_header(&header, bytes), -EMSGSIZE);
	pfs_put_le32(bytes + 8, 0);
	pfs_put_le32(bytes + 12, 1);
	assert_int_equal(pfs_wire_header(&header, bytes), 0);
	assert_int_equal(header.status, -EPROTO);
}

/* Proves: the key of nothing is its kind alone, and is none to whoever gets it. */
static void no_key_is_no_key(void **state)
{
	const struct pfs_key none = {.kind = PFS_KEY_NONE};
	struct pfs_wire_out out = {0};
	struct pfs_wire_in in;
	struct pfs_key key;
	size_t before;

	(void)state;
	pfs_wire_begin(&out, PFS_WIRE_IMPORT, 0);
	before = out.len;
	pfs_wire_key(&out, &none);
	assert_int_equal(out.len, before + 1);
	in = pfs_wire_in(out.buf + before, 1);
	pfs_wire_get_key(&in, &key);
	assert_int_not_equal(pfs_wire_done(&in), 0);
	free(out.buf);
}

/* Proves: a message can hold exactly PFS_WIRE_BODY_MAX bytes; one more is refused and stays refused
 * until the next begins. */
static void messages_are_bounded(void **state)
{
	struct pfs_wire_out out = {0};
	uint8_t *p;

	(void)state;
	pfs_wire_begin(&out, PFS_WIRE_DATA, 0);
	p = pfs_wire_reserve(&out, PFS_WIRE_BODY_MAX);
	assert_non_null(p);
	memset(p, 7, PFS_WIRE_BODY_MAX);
	assert_int_equal(pfs_wire_body_len(&out), PFS_WIRE_BODY_MAX);
	assert_int_equal(pfs_wire_end(&out), 0);
	pfs_wire_u8(&out, 1);
	assert_int_equal(pfs_wire_end(&out), -EMSGSIZE);
	out.len = PFS_WIRE_HEADER_LEN;
	pfs_wire_u8(&out, 1);
	assert_int_equal(pfs_wire_end(&out), -EMSGSIZE);
	pfs_wire_begin(&out, PFS_WIRE_DATA, 0);
	pfs_wire_bytes(&out, p, SIZE_MAX);
	assert_int_equal(pfs_wire_end(&out), -EMSGSIZE);
	pfs_wire_begin(&out, PFS_WIRE_DATA, 0);
	assert_int_equal(pfs_wire_end(&out), 0);
	pfs_wire_out_free(&out);
}

/* Proves: what is not there reads as nothing; of a text what can be shown is taken, as much as
 * there is room for; what a peer calls an error is one. */
static void fields_are_bounded(void **state)
{
	static const struct {
		int32_t status;
		int is;
	} cases[] = {{0, 0},	       {-1, -1},     {-4095, -4095},
		     {-4096, -EPROTO}, {1, -EPROTO}, {INT32_MIN, -EPROTO}};
	struct pfs_wire_out out = {0};
	struct pfs_wire_header header;
	char all[256], want[256], text[256];
	struct pfs_wire_in in;
	size_t n = 0, len;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		in = pfs_wire_in((const uint8_t *)"\xff\xff", i ? 2 : 0);
		if (i == 2)
			in.p++;
		assert_int_equal(pfs_wire_get_u64(&in), 0);
		assert_true(in.bad);
		in.bad = false;
		assert_int_equal(pfs_wire_get_u32(&in), 0);
		assert_true(in.bad);
		/* Once it is bad there is nothing more, also of what is there. */
		assert_int_equal(pfs_wire_get_u8(&in), 0);
		assert_null(pfs_wire_get_bytes(&in, &len));
		assert_int_equal(len, 0);
		assert_int_equal(pfs_wire_done(&in), -EPROTO);
	}
	for (unsigned c = 0; c < 256; c++) {
		all[c] = (char)c;
		if (c >= 0x20 && c != 0x7f)
			want[n++] = (char)c;
	}
	want[n] = '\0';
	pfs_wire_begin(&out, PFS_WIRE_REPLY, 0);
	pfs_wire_bytes(&out, all, sizeof(all));
	assert_int_equal(pfs_wire_end(&out), 0);
	for (size_t cap = 1; cap <= sizeof(text); cap++) {
		in = pfs_wire_in(out.buf + PFS_WIRE_HEADER_LEN, out.len - PFS_WIRE_HEADER_LEN);
		memset(text, '#', sizeof(text));
		pfs_wire_get_text(&in, text, cap);
		assert_int_equal(strlen(text), n < cap - 1 ? n : cap - 1);
		assert_memory_equal(text, want, strlen(text));
		assert_int_equal(pfs_wire_done(&in), 0);
	}
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		pfs_wire_begin(&out, PFS_WIRE_REPLY, cases[i].status);
		pfs_wire_u32(&out, (uint32_t)cases[i].status);
		assert_int_equal(pfs_wire_end(&out), 0);
		assert_int_equal(pfs_wire_header(&header, out.buf), 0);
		assert_int_equal(header.status, cases[i].is);
		in = pfs_wire_in(out.buf + PFS_WIRE_HEADER_LEN, 4);
		assert_int_equal(pfs_wire_get_status(&in), cases[i].is);
		assert_int_equal(in.bad, cases[i].is == -EPROTO);
	}
	pfs_wire_out_free(&out);
	assert_true(!out.buf && !out.len && !out.cap && !out.err);
}

/* Proves: the header is written byte by byte where the message begins, and nothing before or behind
 * it; the length is the body's also when it is built where a longer one was. */
static void headers_are_written_exactly(void **state)
{
	static const uint8_t want[] = {
		0x50, 0x46, 0x53, 0x57, PFS_WIRE_VERSION, 0, PFS_WIRE_REPLY, 0, 3, 0, 0, 0,
		0xe4, 0xff, 0xff, 0xff};
	uint8_t room[3 * 4096];
	struct pfs_wire_out out = {.buf = room + 4096, .cap = 4096};

	(void)state;
	memset(room, 0xa5, sizeof(room));
	pfs_wire_begin(&out, PFS_WIRE_REPLY, -ENOSPC);
	pfs_wire_raw(&out, "abc", 3);
	assert_int_equal(pfs_wire_end(&out), 0);
	assert_ptr_equal(out.buf, room + 4096);
	assert_int_equal(out.len, sizeof(want) + 3);
	assert_memory_equal(out.buf, want, sizeof(want));
	assert_memory_equal(out.buf + sizeof(want), "abc", 3);
	for (size_t i = 0; i < sizeof(room); i++)
		if (i < 4096 || i >= 4096 + out.len)
			assert_int_equal(room[i], 0xa5);
}

/* Proves: of a point's key that was read nothing is left that was there before. */
static void keys_have_nothing_else(void **state)
{
	struct pfs_wire_out out = {0};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(names); i++) {
		struct pfs_key key, want = key_of(names[i]);
		struct pfs_wire_in in;

		pfs_wire_begin(&out, PFS_WIRE_IMPORT, 0);
		pfs_wire_key(&out, &want);
		in = pfs_wire_in(out.buf + PFS_WIRE_HEADER_LEN, out.len - PFS_WIRE_HEADER_LEN);
		memset(&key, 0xa5, sizeof(key));
		pfs_wire_get_key(&in, &key);
		assert_int_equal(pfs_wire_done(&in), 0);
		assert_true(pfs_key_equal(&key, &want));
		if (!pfs_key_is_point(&key))
			continue;
		assert_int_equal(key.name_len, 0);
		for (size_t at = key.kind == PFS_KEY_NUM ? 8 : 16; at < sizeof(key.name); at++)
			assert_int_equal(key.name[at], 0);
	}
	pfs_wire_out_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_are_bounded),
		cmocka_unit_test(messages_round_trip),
		cmocka_unit_test(truncated_bodies_are_refused),
		cmocka_unit_test(hostile_fields_are_refused),
		cmocka_unit_test(headers_are_checked),
		cmocka_unit_test(no_key_is_no_key),
		cmocka_unit_test(messages_are_bounded),
		cmocka_unit_test(headers_are_written_exactly),
		cmocka_unit_test(keys_have_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
