/* The reader of what Qdrant leaves on disk: files that are damaged, cut off or missing. */
#include <fcntl.h>
#include <unistd.h>

#include "tests/unit/qdrant_helpers.h"

#define FILE_MAX (64 * 1024)

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_bit_turned),
		cmocka_unit_test(every_length),
		cmocka_unit_test(values_in_wrong_places),
		cmocka_unit_test(missing_files),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
