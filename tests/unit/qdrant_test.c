/* The reader of what Qdrant leaves on disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "tests/unit/qdrant_store.h"
#include "tools/qdrant.h"

#define ITEMS_MAX 64
#define FILE_MAX (64 * 1024)
#define LONG_LEN 700 /* over the border of two pages */

static char directory[] = "/tmp/payloadfs-qdrant.XXXXXX";
static char *segment_path;

/* ---- what came out ---- */

struct got {
	bool good;
	char key[PFS_NAME_MAX + 1]; /* empty: not known */
	char *payload;		    /* NULL: none */
	char reason[160], file[64];
	uint64_t offset;
	size_t stored_len;
};

struct result {
	int err;
	struct pfs_reason reason;
	struct got items[ITEMS_MAX];
	size_t count;
	struct qdrant_stat stat;
	char notes[4096];
};

static void keep_note(void *arg, const char *line)
{
	struct result *r = arg;
	size_t len = strlen(r->notes);

	snprintf(r->notes + len, sizeof(r->notes) - len, "%s\n", line);
}

static int keep_item(void *arg, const struct qdrant_item *item, uint64_t done, uint64_t total)
{
	struct result *r = arg;
	struct got *got = &r->items[r->count++];

	assert_true(r->count < ITEMS_MAX && done <= total);
	*got = (struct got){.good = item->good, .offset = item->offset};
	if (item->key.kind != PFS_KEY_NONE)
		pfs_key_format(got->key, &item->key);
	if (item->payload) {
		got->payload = calloc(1, item->len + 1);
		assert_non_null(got->payload);
		memcpy(got->payload, item->payload, item->len);
		assert_int_equal(item->payload[0], '{');
	}
	if (item->good) {
		assert_true(pfs_key_is_point(&item->key));
		assert_non_null(item->payload);
		return 0;
	}
	assert_non_null(item->reason);
	snprintf(got->reason, sizeof(got->reason), "%s", item->reason);
	if (item->file)
		snprintf(got->file, sizeof(got->file), "%s", strrchr(item->file, '/') + 1);
	got->stored_len = item->stored ? item->stored_len : 0;
	return 0;
}

static void import(struct result *r, const char *path, bool offset_ids)
{
	struct qdrant_notes notes = {keep_note, r};
	struct qdrant *q;

	memset(r, 0, sizeof(*r));
	r->err = qdrant_open(&q, path, offset_ids, &notes, &r->reason);
	if (r->err) {
		assert_null(q);
		return;
	}
	r->err = qdrant_read(q, keep_item, r);
	r->stat = *qdrant_stat(q);
	qdrant_close(q);
}

static void forget(struct result *r)
{
	for (size_t i = 0; i < r->count; i++)
		free(r->items[i].payload);
}

static const struct got *find(const struct result *r, const char *key)
{
	for (size_t i = 0; i < r->count; i++) {
		if (strcmp(r->items[i].key, key) == 0)
			return &r->items[i];
	}
	return NULL;
}

/* ---- what goes in ---- */

static char long_json[LONG_LEN + 16];

/* The points of the segment that most tests use. NULL: deleted. */
static const struct point {
	uint64_t id;
	const char *key, *payload;
} points[] = {
	{7, "7", "{\"city\":\"Bonn\",\"n\":7}"},
	{0, "0", "{}"},
	{UINT64_MAX, "18446744073709551615", "{\"z\":1,\"a\":1e+300}"},
	{QS_UUID + 0xab, "abababab-abab-abab-abab-abababababab", "{\"\":18446744073709551615}"},
	{11, "11", NULL},
	{12, "12", long_json},
	{13, "13", "{\"again\":true}"}, /* deleted, and come back */
	{QS_UUID + 1, "01010101-0101-0101-0101-010101010101", NULL},
	{14, "14", "{\"\\u0000\":\"\\ud83d\\ude00\",\"deep\":[[[[{}]]]]}"},
	{15, "15", NULL}, /* never had a payload; "{}" is what Qdrant shows */
	{16, "16", "{\"text\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}"},
	{17, "17", "{\"last\":17}"},
};
#define WITHOUT 9 /* the place of the one that never had a payload */

static const char *expected(const char *key)
{
	for (size_t i = 0; i < pfs_array_len(points); i++) {
		if (strcmp(points[i].key, key) == 0)
			return i == WITHOUT ? "{}" : points[i].payload;
	}
	return NULL;
}

static size_t expected_count(void)
{
	size_t n = 0;

	for (size_t i = 0; i < pfs_array_len(points); i++)
		n += i == WITHOUT || points[i].payload;
	return n;
}

/* A block that is free again is not marked. */
static void free_blocks(struct qs_segment *s, uint32_t offset)
{
	const uint8_t *entry = s->tracker + 4 + 16 * offset;
	uint32_t first = pfs_get_le32(entry + 4) * (QS_PAGE / QS_BLOCK) + pfs_get_le32(entry + 8);
	uint32_t n = (pfs_get_le32(entry + 12) + QS_BLOCK - 1) / QS_BLOCK;

	for (uint32_t b = first; b < first + n; b++)
		s->bitmask[b / 8] &= (uint8_t) ~(1u << (b % 8));
}

static void fill_segment(struct qs_segment *s)
{
	uint32_t offset;

	for (size_t i = 0; i < pfs_array_len(points); i++) {
		bool back = points[i].id == 13;

		offset = qs_insert(s, points[i].id);
		if (i != WITHOUT)
			qs_put(s, offset,
			       points[i].payload && !back ? points[i].payload : "{\"deleted\":1}");
		if (i != WITHOUT && (!points[i].payload || back)) {
			free_blocks(s, offset);
			qs_delete(s, points[i].id, offset);
		}
		if (back)
			qs_put(s, qs_insert(s, 13), points[i].payload);
	}
}

static void write_segment(bool immutable, bool raw)
{
	struct qs_segment s = {.immutable = immutable, .raw = raw};
	char command[128];

	/* The files of the other kind of id tracker must go. */
	snprintf(command, sizeof(command), "rm -rf %s/*", directory);
	assert_int_equal(system(command), 0);
	fill_segment(&s);
	qs_write(&s, segment_path);
	qs_free(&s);
}

/* Everything there is is right, and nothing else. */
static void assert_whole(const struct result *r)
{
	assert_int_equal(r->err, 0);
	assert_int_equal(r->count, expected_count());
	for (size_t i = 0; i < r->count; i++) {
		if (!r->items[i].good)
			fail_msg("%s: %s", r->items[i].key, r->items[i].reason);
		assert_non_null(expected(r->items[i].key));
		assert_string_equal(r->items[i].payload, expected(r->items[i].key));
	}
	assert_string_equal(r->notes, "");
	assert_false(r->stat.damaged || r->stat.unread || r->stat.unversioned);
	assert_int_equal(r->stat.points, r->count);
}

/* Proves: of all four kinds of segment, each point that is alive comes out with its payload's
 * bytes, a point without one with {}, and no deleted one. */
static void points_of_a_segment(void **state)
{
	struct result r;

	(void)state;
	for (int kind = 0; kind < 4; kind++) {
		write_segment(kind & 1, kind & 2);
		import(&r, segment_path, false);
		assert_whole(&r);
		forget(&r);
	}
}

/* Proves: without an id tracker offsets are ids on demand only. */
static void offsets_as_ids(void **state)
{
	char path[256];
	struct result r;

	(void)state;
	write_segment(false, false);
	snprintf(path, sizeof(path), "%s/mutable_id_tracker.mappings", segment_path);
	unlink(path);
	snprintf(path, sizeof(path), "%s/mutable_id_tracker.versions", segment_path);
	unlink(path);
	import(&r, segment_path, false);
	assert_int_equal(r.err, -ENOENT);
	assert_non_null(strstr(r.reason.text, "--offset-ids"));
	import(&r, segment_path, true);
	assert_int_equal(r.err, 0);
	assert_int_equal(r.count, 9);
	assert_string_equal(find(&r, "0")->payload, points[0].payload);
	assert_string_equal(find(&r, "7")->payload, points[6].payload);
	assert_null(find(&r, "4"));
	forget(&r);
}

/* ---- damage ---- */

struct file {
	const char *name;
	char path[256];
	uint8_t bytes[FILE_MAX];
	size_t len;
};

static void load(struct file *f, const char *name)
{
	FILE *file;

	f->name = name;
	snprintf(f->path, sizeof(f->path), "%s/%s", segment_path, name);
	file = fopen(f->path, "rb");
	assert_non_null(file);
	f->len = fread(f->bytes, 1, sizeof(f->bytes), file);
	fclose(file);
}

static void store(const struct file *f, size_t len)
{
	int fd = open(f->path, O_WRONLY | O_CREAT, 0666);

	/* Not emptied first: some filesystems make a file that is rewritten so durable. */
	assert_true(fd >= 0 && write(fd, f->bytes, len) == (ssize_t)len &&
		    ftruncate(fd, (off_t)len) == 0);
	close(fd);
}

/* Whether the byte lies in an entry of a delete. */
static bool in_delete(const struct file *log, size_t byte)
{
	static const size_t lens[] = {0, 13, 21, 9, 17};

	for (size_t at = 0, len; at < log->len; at += len) {
		len = lens[log->bytes[at]];
		if (byte < at + len)
			return log->bytes[at] >= 3;
	}
	return false;
}

static bool at_entry(const struct file *log, size_t byte)
{
	static const size_t lens[] = {0, 13, 21, 9, 17};
	size_t at = 0;

	while (at < log->len && at < byte)
		at += lens[log->bytes[at]];
	return at == byte;
}

static bool has_payload(const struct result *r, const char *payload)
{
	for (size_t i = 0; i < r->count; i++) {
		if (r->items[i].payload && strcmp(r->items[i].payload, payload) == 0)
			return true;
	}
	return false;
}

/* How many points are told as good with a payload that is not theirs. */
static unsigned count_wrong(const struct result *r)
{
	unsigned wrong = 0;

	for (size_t i = 0; i < r->count; i++) {
		const char *payload = expected(r->items[i].key);

		if (r->items[i].good && (!payload || strcmp(payload, r->items[i].payload) != 0))
			wrong++;
	}
	return wrong;
}

/* Each point is there, good or put aside, once. */
static void assert_all_told(const struct result *r)
{
	assert_int_equal(r->count, expected_count());
	for (size_t i = 0; i < r->count; i++) {
		assert_non_null(expected(r->items[i].key));
		assert_ptr_equal(find(r, r->items[i].key), &r->items[i]);
	}
}

static void assert_no_payload_lost(const struct result *r, const char *file, size_t bit)
{
	for (size_t i = 0; i < pfs_array_len(points); i++) {
		if (i != WITHOUT && points[i].payload && strcmp(points[i].payload, "{}") != 0 &&
		    !has_payload(r, points[i].payload))
			fail_msg("%s, bit %zu: payload of %s", file, bit, points[i].key);
	}
}

/* A segment whose file f has the bit turned. */
static void look_at_flip(const struct file *f, size_t bit, const struct result *r)
{
	const char *name = f->name;
	unsigned wrong;

	if (strstr(name, "config.json") && r->err) {
		assert_int_equal(r->err, -EPROTONOSUPPORT);
		assert_non_null(strstr(r->reason.text, "config.json"));
		return;
	}
	assert_int_equal(r->err, 0);
	wrong = count_wrong(r);
	if (strstr(name, ".deleted")) {
		/* Nothing contradicts such a bit: it makes or hides one point. */
		assert_true(wrong <= 1 && r->count + 1 >= expected_count());
		return;
	}
	if (strstr(name, ".mappings")) {
		/* An id may be another one, but no point has another's payload. */
		for (size_t i = 0; i < r->count; i++) {
			const char *payload = expected(r->items[i].key);

			if (r->items[i].good && payload)
				assert_string_equal(r->items[i].payload, payload);
		}
		if (f->bytes[0] == 1 && in_delete(f, bit / 8))
			return;
		assert_no_payload_lost(r, f->name, bit);
		return;
	}
	assert_all_told(r);
	if (strstr(name, "page_"))
		assert_true(wrong <= 1);
	else if (strstr(name, "tracker.dat") && bit / 8 >= 4 && (bit / 8 - 4) % 16 == 0 &&
		 bit % 8 == 0)
		/* The tag says that there is no value: nothing contradicts it. */
		assert_true(wrong <= 1);
	else
		assert_int_equal(wrong, 0);
}

static unsigned sample(void)
{
	const char *text = getenv("TEST_SAMPLE");
	unsigned n = text ? (unsigned)strtoul(text, NULL, 10) : 1;

	return n ? n : 1;
}

static const char *const files[] = {
	"payload_storage/config.json", "payload_storage/tracker.dat", "payload_storage/bitmask.dat",
	"payload_storage/page_0.dat",  "payload_storage/page_1.dat",  "payload_storage/page_2.dat",
	"mutable_id_tracker.mappings", "mutable_id_tracker.versions", "id_tracker.mappings",
	"id_tracker.deleted",	       "id_tracker.versions",	      "segment.json",
};

static bool has_file(const char *name, bool immutable)
{
	return strncmp(name, "mutable", 7) == 0 ? !immutable
	       : strncmp(name, "id_", 3) == 0	? immutable
						: true;
}

static void flip_all(bool immutable, bool raw)
{
	static struct file f;
	static struct result r;

	write_segment(immutable, raw);
	for (size_t i = 0; i < pfs_array_len(files); i++) {
		if (!has_file(files[i], immutable))
			continue;
		load(&f, files[i]);
		for (size_t bit = 0; bit < f.len * 8; bit += sample()) {
			f.bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
			store(&f, f.len);
			f.bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
			import(&r, segment_path, false);
			look_at_flip(&f, bit, &r);
			forget(&r);
		}
		store(&f, f.len);
	}
	import(&r, segment_path, false);
	assert_whole(&r);
	forget(&r);
}

/* Proves: whatever bit of whatever file is turned, the rest of the points come out right; what is
 * contradicted by anything is put aside with its payload, if it has one; and nothing crashes. */
static void every_bit_turned(void **state)
{
	(void)state;
	flip_all(false, false);
	flip_all(true, true);
}

static void cut_all(bool immutable)
{
	static struct file f;
	static struct result r;

	write_segment(immutable, false);
	for (size_t i = 0; i < pfs_array_len(files); i++) {
		if (!has_file(files[i], immutable))
			continue;
		load(&f, files[i]);
		for (size_t len = 0; len < f.len; len += sample()) {
			bool mapping = strstr(f.name, ".mappings");

			store(&f, len);
			import(&r, segment_path, false);
			assert_int_equal(r.err, 0);
			if (mapping && !immutable && at_entry(&f, len))
				/* The deletes behind it are as if never made. */
				assert_true(count_wrong(&r) <= 3);
			else
				assert_int_equal(count_wrong(&r), 0);
			if (mapping)
				assert_no_payload_lost(&r, f.name, len * 8);
			else
				for (size_t p = 0; p < pfs_array_len(points); p++)
					assert_true(p == WITHOUT || !points[p].payload ||
						    find(&r, points[p].key));
			forget(&r);
		}
		store(&f, f.len);
	}
}

/* Proves: of files that are cut at whatever length, what is left comes out right; no deleted point
 * comes back, but where the log of changes ends between two of them; the payloads of points whose
 * ids are cut off are kept. */
static void every_length(void **state)
{
	(void)state;
	cut_all(false);
	cut_all(true);
}

/* Proves: a file that is missing is told, and costs only what was in it. */
static void missing_files(void **state)
{
	static struct file f;
	static struct result r;

	(void)state;
	for (int immutable = 0; immutable < 2; immutable++) {
		write_segment(immutable, false);
		for (size_t i = 0; i < pfs_array_len(files); i++) {
			if (!has_file(files[i], immutable) || strcmp(files[i], "segment.json") == 0)
				continue;
			load(&f, files[i]);
			unlink(f.path);
			import(&r, segment_path, false);
			assert_int_equal(r.err, 0);
			assert_int_equal(count_wrong(&r), 0);
			assert_true(r.notes[0] || r.stat.damaged || r.stat.unversioned ||
				    strstr(f.name, "page_"));
			if (strstr(f.name, "page_1"))
				assert_false(find(&r, "12")->good);
			forget(&r);
			store(&f, f.len);
		}
	}
}

/* Copies the place of a value, so that another offset has it, too. */
static void copy_entry(struct file *tracker, uint32_t from, uint32_t to)
{
	memcpy(tracker->bytes + 4 + 16 * to, tracker->bytes + 4 + 16 * from, 16);
	pfs_put_le32(tracker->bytes + 4 + 16 * to, 1);
	store(tracker, tracker->len);
}

/* Proves: an entry that leads to another point's value, or to a deleted one that is still there, is
 * seen, although what it leads to decodes. */
static void values_in_wrong_places(void **state)
{
	static struct file tracker;
	static struct result r;

	(void)state;
	write_segment(false, false);
	load(&tracker, "payload_storage/tracker.dat");
	copy_entry(&tracker, 2, 0);
	import(&r, segment_path, false);
	assert_all_told(&r);
	for (size_t i = 0; i < r.count; i++) {
		bool hit = strcmp(r.items[i].key, points[0].key) == 0 ||
			   strcmp(r.items[i].key, points[2].key) == 0;

		assert_int_equal(r.items[i].good, !hit);
		if (hit)
			assert_non_null(strstr(r.items[i].reason, "same blocks"));
	}
	forget(&r);

	write_segment(false, false);
	load(&tracker, "payload_storage/tracker.dat");
	copy_entry(&tracker, 4, 0);
	import(&r, segment_path, false);
	assert_all_told(&r);
	for (size_t i = 0; i < r.count; i++)
		assert_int_equal(r.items[i].good, strcmp(r.items[i].key, points[0].key) != 0);
	assert_string_equal(find(&r, points[0].key)->payload, "{\"deleted\":1}");
	assert_non_null(strstr(find(&r, points[0].key)->reason, "free"));
	forget(&r);
}

/* ---- several segments ---- */

struct shard {
	char path[128], segments[160];
};

/* SHARD/segments/ with that many levels above. */
static struct shard make_shard(const char *name)
{
	struct shard shard;

	snprintf(shard.path, sizeof(shard.path), "%s/%s", directory, name);
	snprintf(shard.segments, sizeof(shard.segments), "%s/segments", shard.path);
	(void)mkdir(shard.path, 0777);
	(void)mkdir(shard.segments, 0777);
	return shard;
}

static void write_in(const struct shard *shard, const char *name, struct qs_segment *s)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", shard->segments, name);
	qs_write(s, path);
	qs_free(s);
}

static void one_point(struct qs_segment *s, uint64_t id, uint64_t version, const char *json)
{
	s->operation = version - 1;
	qs_put(s, qs_insert(s, id), json);
}

static void clean(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s/*", directory);
	assert_int_equal(system(command), 0);
}

/* Proves: of an id in several segments of a shard the highest version wins, wherever it is. */
static void highest_version_wins(void **state)
{
	struct shard shard;
	struct result r;

	(void)state;
	for (int immutable = 0; immutable < 2; immutable++) {
		struct qs_segment a = {.immutable = immutable}, b = {0};

		clean();
		shard = make_shard("0");
		one_point(&a, 1, 5, "{\"old\":1}");
		one_point(&a, 2, 9, "{\"new\":2}");
		one_point(&b, 1, 6, "{\"new\":1}");
		one_point(&b, 2, 8, "{\"old\":2}");
		one_point(&b, QS_UUID + 1, 10, "{\"only\":3}");
		write_in(&shard, "a", &a);
		write_in(&shard, "b", &b);
		import(&r, directory, false);
		assert_int_equal(r.err, 0);
		assert_int_equal(r.count, 3);
		assert_string_equal(find(&r, "1")->payload, "{\"new\":1}");
		assert_string_equal(find(&r, "2")->payload, "{\"new\":2}");
		assert_int_equal(r.stat.superseded, 2);
		assert_int_equal(r.stat.segments, 2);
		forget(&r);
	}
}

/* Proves: when the newest version is damaged an older one does not take its place unseen, but the
 * same version in another segment does. */
static void damage_in_the_newest(void **state)
{
	struct qs_segment a = {0}, b = {0};
	struct shard shard;
	struct result r;

	(void)state;
	clean();
	shard = make_shard("0");
	one_point(&a, 1, 5, "{\"old\":1}");
	one_point(&a, 2, 8, "{\"same\":2}");
	one_point(&b, 1, 6, "{\"new\":1}");
	one_point(&b, 2, 8, "{\"same\":2}");
	for (int i = 0; i < 2; i++)
		pfs_put_le32(b.tracker + 4 + 16 * i, 77);
	write_in(&shard, "a", &a);
	write_in(&shard, "b", &b);
	import(&r, directory, false);
	assert_int_equal(r.err, 0);
	assert_int_equal(r.count, 3);
	for (size_t i = 0; i < r.count; i++) {
		const struct got *got = &r.items[i];

		assert_int_equal(got->good, strcmp(got->key, "2") == 0);
		if (got->payload)
			assert_string_equal(got->payload,
					    got->good ? "{\"same\":2}" : "{\"old\":1}");
		else
			assert_non_null(strstr(got->reason, "tag 77"));
	}
	forget(&r);
}

/* Proves: shards are separate: an id in two of them is imported once, and the other put aside. */
static void same_id_in_two_shards(void **state)
{
	struct qs_segment a = {0}, b = {0};
	struct shard first, second;
	struct result r;

	(void)state;
	clean();
	first = make_shard("2");
	second = make_shard("10");
	one_point(&a, 1, 5, "{\"first\":1}");
	one_point(&b, 1, 99, "{\"second\":1}");
	write_in(&first, "a", &a);
	write_in(&second, "a", &b);
	import(&r, directory, false);
	assert_int_equal(r.count, 2);
	assert_int_equal(r.stat.shards, 2);
	assert_true(r.items[0].good && !r.items[1].good);
	assert_string_equal(r.items[0].payload, "{\"first\":1}");
	assert_string_equal(r.items[1].payload, "{\"second\":1}");
	assert_non_null(strstr(r.items[1].reason, "another shard"));
	forget(&r);
	import(&r, directory, true);
	assert_int_equal(r.err, -EINVAL);
}

/* Proves: segments that Qdrant would not open are passed over, and told. */
static void segments_passed_over(void **state)
{
	struct qs_segment a = {0}, b = {0}, c = {0};
	struct shard shard;
	char path[256];
	struct result r;

	(void)state;
	clean();
	shard = make_shard("0");
	one_point(&a, 1, 5, "{}");
	one_point(&b, 2, 5, "{}");
	one_point(&c, 3, 5, "{}");
	write_in(&shard, "a", &a);
	write_in(&shard, "b.deleted", &b);
	write_in(&shard, "c", &c);
	snprintf(path, sizeof(path), "%s/c/version.info", shard.segments);
	unlink(path);
	import(&r, shard.path, false);
	assert_int_equal(r.count, 1);
	assert_string_equal(r.items[0].key, "1");
	assert_non_null(strstr(r.notes, "b.deleted: marked as deleted"));
	assert_non_null(strstr(r.notes, "c: was not completed"));
	forget(&r);
	snprintf(path, sizeof(path), "%s/c", shard.segments);
	import(&r, path, false);
	assert_int_equal(r.count, 1);
	assert_string_equal(r.items[0].key, "3");
	forget(&r);
}

/* ---- the write-ahead log ---- */

/* Proves: operations behind the segments' last are counted, in whatever files they are, and only
 * as far as their checksums are right. */
static void operations_that_are_not_read(void **state)
{
	struct qs_segment a = {0};
	struct shard shard;
	char wal[256];
	struct result r;

	(void)state;
	clean();
	shard = make_shard("0");
	one_point(&a, 1, 5, "{}");
	write_in(&shard, "a", &a);
	snprintf(wal, sizeof(wal), "%s/wal", shard.path);
	(void)mkdir(wal, 0777);
	qs_write_log(wal, "open-1", 6); /* operations 0 to 5 */
	import(&r, directory, false);
	assert_int_equal(r.stat.unread, 0);
	assert_string_equal(r.notes, "");
	forget(&r);
	qs_write_log(wal, "open-1", 9);
	import(&r, directory, false);
	assert_int_equal(r.stat.unread, 3);
	assert_non_null(strstr(r.notes, "the 3 operations between them"));
	forget(&r);
	qs_write_log(wal, "closed-2", 3);
	qs_write_log(wal, "closed-5", 4); /* 5 to 8 */
	qs_write_log(wal, "open-7", 2);	  /* 9, 10 */
	qs_write_log(wal, "open-8", 0);
	snprintf(wal + strlen(shard.path), 16, "/wal/open-1");
	unlink(wal);
	import(&r, directory, false);
	assert_int_equal(r.stat.unread, 5);
	forget(&r);
	snprintf(wal + strlen(shard.path), 16, "/wal");
	qs_write_text(wal, "first-index", "{\"ack_index\":8}");
	import(&r, directory, false);
	assert_int_equal(r.stat.unread, 2);
	forget(&r);
}

/* Proves: the directory of a running Qdrant is refused, and a finished one is kept from starting
 * one while it is read. */
static void running_qdrant(void **state)
{
	struct qs_segment a = {0};
	struct qdrant_notes notes;
	struct shard shard;
	struct qdrant *q;
	struct result r;
	char wal[256];
	int fd;

	(void)state;
	clean();
	shard = make_shard("0");
	one_point(&a, 1, 5, "{}");
	write_in(&shard, "a", &a);
	snprintf(wal, sizeof(wal), "%s/wal", shard.path);
	(void)mkdir(wal, 0777);
	fd = open(wal, O_RDONLY | O_DIRECTORY);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	import(&r, directory, false);
	assert_int_equal(r.err, -EBUSY);
	assert_non_null(strstr(r.reason.text, "running Qdrant"));
	snprintf(wal, sizeof(wal), "%s/a", shard.segments);
	import(&r, wal, false);
	assert_int_equal(r.err, -EBUSY);
	assert_int_equal(flock(fd, LOCK_UN), 0);
	notes = (struct qdrant_notes){keep_note, &r};
	assert_int_equal(qdrant_open(&q, directory, false, &notes, NULL), 0);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), -1);
	qdrant_close(q);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	close(fd);
}

static int make_directory(void **state)
{
	(void)state;
	memset(long_json, 'x', sizeof(long_json));
	memcpy(long_json, "{\"long\":\"", 9);
	/* Bytes that LZ4 can't make shorter. */
	for (size_t i = 9; i < LONG_LEN; i++)
		long_json[i] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-"
			[pfs_mix64(i) % 64];
	strcpy(long_json + LONG_LEN, "\"}");
	if (!mkdtemp(directory))
		return -1;
	return asprintf(&segment_path, "%s/segment", directory) < 0 ? -1 : 0;
}

static int remove_directory(void **state)
{
	char command[128];

	(void)state;
	free(segment_path);
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command) ? -1 : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(points_of_a_segment),
		cmocka_unit_test(offsets_as_ids),
		cmocka_unit_test(every_bit_turned),
		cmocka_unit_test(every_length),
		cmocka_unit_test(values_in_wrong_places),
		cmocka_unit_test(missing_files),
		cmocka_unit_test(highest_version_wins),
		cmocka_unit_test(damage_in_the_newest),
		cmocka_unit_test(same_id_in_two_shards),
		cmocka_unit_test(segments_passed_over),
		cmocka_unit_test(operations_that_are_not_read),
		cmocka_unit_test(running_qdrant),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
