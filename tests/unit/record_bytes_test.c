/* storage/store_log.c: the bytes of each kind of record as FORMAT.md says them, built here once
 * more. The file is included, and what it appends is not written. */
#include "storage/store_internal.h"

static int append_here(unsigned type, unsigned flags, const struct iovec *parts, unsigned count,
		       bool privileged, struct pfs_journal_pos *pos);
static void count_here(const struct pfs_packed *packed);
static int fail_here(const char *what, int err);
static bool journal_failed;

#define pfs_journal_append(journal, type, flags, parts, count, privileged, pos) \
	append_here(type, flags, parts, count, privileged, pos)
#define pfs_training_count(store, packed) ((void)(store), count_here(packed))
#define pfs_journal_has_failed(journal) journal_failed
#define pfs_store_fail(store, what, err) ((void)(store), fail_here(what, err))
#include "storage/store_log.c"
#undef pfs_journal_append
#undef pfs_training_count
#undef pfs_journal_has_failed
#undef pfs_store_fail

#include "tests/unit/store_helpers.h"

#define HEADER 32u /* of a record */

struct record {
	unsigned type, flags;
	bool privileged;
	uint8_t body[2048];
	size_t len;
};

static struct record have, want;
static int answer;			 /* of the journal */
static const struct pfs_packed *counted; /* for the training, last */
static unsigned failures;		 /* of the store */

static void count_here(const struct pfs_packed *packed)
{
	assert_null(counted);
	counted = packed;
}

static int fail_here(const char *what, int err)
{
	assert_string_equal(what, "writing to the journal");
	assert_true(err < 0);
	failures++;
	return err;
}

static int append_here(unsigned type, unsigned flags, const struct iovec *parts, unsigned count,
		       bool privileged, struct pfs_journal_pos *pos)
{
	if (answer)
		return answer;
	have = (struct record){.type = type, .flags = flags, .privileged = privileged};
	for (unsigned i = 0; i < count; i++) {
		assert_true(have.len + parts[i].iov_len <= sizeof(have.body));
		if (parts[i].iov_len)
			memcpy(have.body + have.len, parts[i].iov_base, parts[i].iov_len);
		have.len += parts[i].iov_len;
	}
	*pos = (struct pfs_journal_pos){.off = 4096, .len = HEADER + have.len};
	return 0;
}

/* ---- what is wanted ---- */

static void want_record(unsigned type, unsigned flags, bool privileged)
{
	want = (struct record){.type = type, .flags = flags, .privileged = privileged};
}

static void want_bytes(const void *bytes, size_t len)
{
	memcpy(want.body + want.len, bytes, len);
	want.len += len;
}

static void want_le(uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		want.body[want.len++] = (uint8_t)(value >> 8 * i);
}

static void want_key(const struct pfs_key *key)
{
	size_t len = key->kind == PFS_KEY_SCRATCH ? key->name_len
		     : key->kind == PFS_KEY_UUID  ? 16
						  : 8;

	want_le(key->kind, 1);
	want_le(len, 1);
	if (key->kind == PFS_KEY_SCRATCH)
		want_bytes(key->name, len);
	else if (key->kind == PFS_KEY_UUID)
		want_bytes(key->uuid, len);
	else
		want_le(key->num, 8);
}

static void want_attr(const struct pfs_version *v)
{
	want_le((uint64_t)v->mtime_ns, 8);
	want_le(v->mode, 4);
	want_le(v->uid, 4);
	want_le(v->gid, 4);
	want_le(v->own_attr, 4);
}

/* From the record's beginning on, header and all. */
static void want_pad(void)
{
	while ((HEADER + want.len) % 8)
		want_le(0, 1);
}

static void expect_record(void)
{
	assert_int_equal(have.type, want.type);
	assert_int_equal(have.flags, want.flags);
	assert_int_equal(have.privileged, want.privileged);
	assert_int_equal(have.len, want.len);
	assert_memory_equal(have.body, want.body, want.len);
}

/* ---- records ---- */

/* Names of all lengths that make a difference, and keys of the other kinds. */
static struct pfs_key key_of(unsigned i)
{
	char name[PFS_NAME_MAX + 1];

	if (i == 0)
		return pfs_key_num(UINT64_C(0x0123456789abcdef));
	if (i == 1)
		return (struct pfs_key){.kind = PFS_KEY_TEMP, .num = 77};
	if (i == 2)
		return key_named("0f8fad5b-d9cb-469f-a165-70867728950e");
	memset(name, 'n', sizeof(name));
	return (i == 3 ? key_named(".x")
		       : (name[i == 20 ? PFS_NAME_MAX : i] = '\0', key_named(name)));
}

static struct pfs_version *version_of(const struct pfs_key *key, unsigned i)
{
	struct pfs_version *v = pfs_version_new(key);

	v->mtime_ns = i % 2 ? -5 : INT64_C(0x1122334455667788);
	v->mode = 0640 + i;
	v->uid = 0x01020304;
	v->gid = 0xfffefdfc;
	v->own_attr = i % 3 != 0;
	v->size = UINT64_C(0x123456789a);
	return v;
}

static void expect_put_record(struct pfs_store *store, struct pfs_version *v,
			      const struct pfs_key *key, unsigned i)
{
	const struct pfs_packed packed = {.flags = PFS_CONTAINER_LZ4,
					  .raw_len = 70000 + i,
					  .content = UINT64_C(0x1000000007),
					  .body_len = 5,
					  .body = (const uint8_t *)"bytes"};
	size_t body_off;

	counted = NULL;
	v->source = (struct pfs_source){.kind = PFS_SOURCE_RECORD, .dict = 9};
	assert_int_equal(pfs_log_put(store, v, &packed, 1234567890123, i % 2), 0);
	assert_ptr_equal(counted, &packed);
	want_record(PFS_RECORD_PUT, PFS_CONTAINER_LZ4, i % 2);
	want_attr(v);
	want_le(70000 + i, 8);
	want_le(UINT64_C(0x1000000007), 8);
	want_le(9, 4);
	want_le(5, 4);
	want_le(1234567890123, 8);
	want_key(key);
	want_pad();
	body_off = HEADER + want.len;
	want_bytes("bytes", 5);
	expect_record();
	assert_int_equal(v->source.record_off, 4096);
	assert_int_equal(v->source.record_len, HEADER + want.len);
	assert_int_equal(v->source.body_off, body_off);
}

static void expect_patch_record(struct pfs_store *store, const struct pfs_version *v,
				const struct pfs_key *key, unsigned i)
{
	bool zeros = i % 2;
	struct pfs_journal_pos pos;
	uint32_t data_off;

	assert_int_equal(pfs_log_patch(store, v, 11, 22, zeros ? 1 << 30 : 4, zeros ? NULL : "data",
				       i % 3 == 0, &pos, &data_off),
			 0);
	want_record(PFS_RECORD_PATCH, zeros ? PFS_PATCH_ZERO : 0, i % 3 == 0);
	want_attr(v);
	want_le(11, 8);
	want_le(22, 8);
	want_le(v->size, 8);
	want_le(zeros ? 1 << 30 : 4, 8);
	want_key(key);
	want_pad();
	assert_int_equal(data_off, HEADER + want.len);
	if (!zeros)
		want_bytes("data", 4);
	expect_record();
}

/* Proves: a put says attributes, lengths, content, dictionary, what it displaces, the key, and from
 * the next multiple of eight on the body; a patch the same of a range. What is read of them later
 * is where that is. What is put, a training may learn from. */
static void records_with_bytes(void **state)
{
	struct pfs_store *store = calloc(1, sizeof(*store));

	(void)state;
	answer = 0;
	for (unsigned i = 0; i <= 20; i++) {
		struct pfs_key key = key_of(i);
		struct pfs_version *v = version_of(&key, i);

		expect_put_record(store, v, &key, i);
		expect_patch_record(store, v, &key, i);
		assert_int_equal(store->counters.records, 2 * (i + 1));
		free(v);
	}
	free(store);
}

/* Proves: a change of attributes, a removal and a move say which versions they are of, and the
 * keys, each with its length and nothing behind them. */
static void records_without(void **state)
{
	struct pfs_store *store = calloc(1, sizeof(*store));

	(void)state;
	answer = 0;
	for (unsigned i = 0; i <= 20; i++) {
		struct pfs_key key = key_of(i), to = key_of(20 - i);
		struct pfs_version *v = version_of(&key, i);

		assert_int_equal(pfs_log_attr(store, v, 33 + i, i % 2), 0);
		want_record(PFS_RECORD_ATTR, 0, i % 2);
		want_attr(v);
		want_le(33 + i, 8);
		want_key(&key);
		expect_record();

		assert_int_equal(pfs_log_remove(store, &key, 44 + i), 0);
		want_record(PFS_RECORD_REMOVE, 0, true);
		want_le(44 + i, 8);
		want_key(&key);
		expect_record();

		assert_int_equal(pfs_log_move(store, &key, 55, &to, 66, 77, i % 2), 0);
		want_record(PFS_RECORD_MOVE, i % 2 ? PFS_MOVE_EXCHANGE : 0, true);
		want_le(55, 8);
		want_le(66, 8);
		want_le(77, 8);
		want_key(&key);
		want_key(&to);
		expect_record();
		free(v);
	}
	free(store);
}

static unsigned lines;

static void count_line(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	assert_int_equal(level, PFS_LOG_ERROR);
	assert_non_null(strstr(line, "writing to the journal failed: "));
	lines++;
}

/* Proves: why a record can't be written is given back as it is, and counts for nothing; what is not
 * to be expected is said, too. */
static void journals_that_do_not_take_it(void **state)
{
	static const struct {
		int err;
		bool said;
	} cases[] = {{-ENOSPC, false},	{-ENOMEM, false}, {-EROFS, false},
		     {-ENOBUFS, false}, {-EIO, true},	  {-EPERM, true}};
	struct pfs_store *store = calloc(1, sizeof(*store));
	const struct pfs_packed packed = {0};
	struct pfs_key key = key_of(0);
	struct pfs_version *v = version_of(&key, 0);

	(void)state;
	counted = NULL;
	store->logger = (struct pfs_logger){.fn = count_line};
	v->source.kind = PFS_SOURCE_RECORD;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		answer = cases[i].err;
		lines = 0;
		assert_int_equal(pfs_log_put(store, v, &packed, 0, false), answer);
		assert_int_equal(pfs_log_attr(store, v, 0, false), answer);
		assert_int_equal(pfs_log_remove(store, &key, 0), answer);
		assert_int_equal(lines, cases[i].said ? 3 : 0);
	}
	assert_int_equal(store->counters.records, 0);
	assert_int_equal(v->source.record_len, 0);
	assert_null(counted);
	assert_int_equal(failures, 0);
	free(v);
	free(store);
}

/* Proves: where the journal has failed, a record that can't be written makes the store fail, and
 * nothing else is said; one that was written all the same is as good as any. */
static void stores_fail_with_their_journals(void **state)
{
	static const int errors[] = {-EIO, -EROFS, -ENOSPC};
	struct pfs_store *store = calloc(1, sizeof(*store));
	struct pfs_key key = key_of(0);

	(void)state;
	store->logger = (struct pfs_logger){.fn = count_line};
	journal_failed = true;
	failures = lines = 0;
	for (unsigned i = 0; i < pfs_array_len(errors); i++) {
		answer = errors[i];
		assert_int_equal(pfs_log_remove(store, &key, 0), answer);
		assert_int_equal(failures, i + 1);
	}
	answer = 0;
	assert_int_equal(pfs_log_remove(store, &key, 0), 0);
	assert_int_equal(failures, pfs_array_len(errors));
	assert_int_equal(lines, 0);
	assert_int_equal(store->counters.records, 1);
	journal_failed = false;
	free(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_with_bytes),
		cmocka_unit_test(records_without),
		cmocka_unit_test(journals_that_do_not_take_it),
		cmocka_unit_test(stores_fail_with_their_journals),
	};

	return cmocka_run_group_tests_name("bytes of records", tests, NULL, NULL);
}
