/* storage/published_check.c: of whatever is wrong with a collection the check says exactly what,
 * where, and which documents nobody gets; and of nothing else. What it must say is worked out from
 * what was published, with none of the code that checks. */
#include <stdbool.h>
#include <stdint.h>

/* The check reads objects once, or again and again when they are long, which this decides. */
static uint64_t whole_max;
#define WHOLE_MAX whole_max
#include "storage/published_check.c"
#undef WHOLE_MAX

#include "storage/publish_internal.h"
#undef PUBLISH_PAGE_MIN
#define PUBLISH_PAGE_MIN 60000
#undef PUBLISH_PAGE_TARGET
#define PUBLISH_PAGE_TARGET 60000
#undef PUBLISH_PAGE_MAX
#define PUBLISH_PAGE_MAX 200000
#undef PUBLISH_PAGE_OWN
#define PUBLISH_PAGE_OWN 300000
#undef PUBLISH_KEYS_PAGES_MAX
#define PUBLISH_KEYS_PAGES_MAX 5
#include "storage/publish.c"
#include "storage/publish_page.c"

#include "tests/unit/publish_helpers.h"

#define NONE UINT64_MAX
#define ALL_WHOLE (64 * PFS_MIB)
#define NUMBERS 700 /* of the documents; the others have UUIDs */
#define DOCS 5000
#define LONG (NUMBERS - 1) /* has a page of its own, of more than one window */
#define TEXT_MAX (4 * PFS_MIB)

static bool is_record(uint64_t i)
{
	return i < 400 || (i > LONG && i < 3500 && i % 4 == 0);
}

/* Records that pack well, bytes that don't, a long one, and many that are empty or short. */
static void checked_doc(const struct source *s, uint64_t i, struct pfs_key *key,
			struct pfs_attr *attr, char **data, size_t *len)
{
	const struct source records = {.size = 300, .changed = NONE};

	(void)s;
	if (is_record(i)) {
		record_doc(&records, i, key, attr, data, len);
	} else {
		*len = i == LONG ? 1400000 : i < LONG ? 200 + i % 500 : i % 5 * 5;
		*data = malloc(*len + 8);
		for (size_t at = 0; at < *len; at += 8)
			pfs_put_le64((uint8_t *)*data + at, pfs_mix64(i << 20 | at));
		*attr = (struct pfs_attr){.mode = 0644, .mtime_ns = 5};
	}
	if (i < NUMBERS)
		*key = pfs_key_num(10 * i);
	else
		set_uuid(key, i, pfs_mix64(i));
}

/* The dictionary is made of the records alone. */
static void publish_all(struct pfs_dir *dir)
{
	const struct pfs_publish_options options = publish_options();
	struct pfs_publish_result result;
	struct pfs_publish *p;

	assert_int_equal(pfs_publish_begin(&p, dir, WHERE, &options, NULL), 0);
	for (unsigned adding = 0; adding < 2; adding++) {
		for (uint64_t i = 0; i < DOCS; i++) {
			struct pfs_attr attr;
			struct pfs_key key;
			size_t len;
			char *data;

			checked_doc(NULL, i, &key, &attr, &data, &len);
			if (adding)
				assert_int_equal(pfs_publish_add(p, &key, &attr, data, len), 0);
			else if (is_record(i))
				assert_int_equal(pfs_publish_sample(p, data, len), 0);
			free(data);
		}
	}
	assert_int_equal(pfs_publish_commit(p, &result), 0);
	assert_int_equal(result.trained, pfs_store_trainer() != NULL);
	pfs_publish_end(p);
}

/* Where a document is, as the table of keys has it. */
struct placed {
	struct pfs_key key;
	uint32_t page, keys; /* objects */
	uint32_t block, slot;
	uint64_t off, len; /* of the container in the object */
	uint32_t raw_len;
};

static struct {
	struct pfs_sim *sim;
	struct pfs_io io; /* that the check reads by */
	struct pfs_dir *dir;
	struct pfs_manifest m;
	struct placed docs[DOCS];
	uint32_t dict; /* 1: the first object is one */
	char *want, *got;
	size_t want_len, got_len, got_lines, want_lines, want_named;
	uint64_t done, total;
	unsigned progresses;
	bool stop, stop_at_once;
} c;

static int publish_it(void **state)
{
	struct pfs_key_block *block = malloc(sizeof(*block));
	uint64_t n = 0;

	(void)state;
	c.sim = pfs_sim_new();
	c.io = *pfs_sim_io(c.sim);
	c.dir = open_where(pfs_sim_io(c.sim));
	publish_all(c.dir);
	assert_int_equal(read_generation(c.dir, &c.m), 1);
	c.dict = c.m.objects[0].role == PFS_OBJECT_DICT;
	for (uint32_t b = 0; b < c.m.block_count; b++) {
		const struct pfs_manifest_block *about = &c.m.blocks[b];
		uint8_t *bytes = read_object(c.dir, &c.m, about->keys);

		assert_int_equal(pfs_key_block_decode(block, bytes + about->off, about->len), 0);
		for (uint32_t i = 0; i < block->count; i++, n++) {
			const struct pfs_key_entry *e = &block->entries[i];
			struct placed *d = &c.docs[n];

			*d = (struct placed){.page = about->page,
					     .keys = about->keys,
					     .block = b,
					     .slot = block->first + i,
					     .off = c.m.objects[about->page].head + e->off,
					     .len = e->len,
					     .raw_len = e->raw_len};
			pfs_key_from_bytes(&d->key, block->kind, e->key);
		}
		free(bytes);
	}
	assert_int_equal(n, DOCS);
	free(block);
	c.want = malloc(TEXT_MAX);
	c.got = malloc(TEXT_MAX);
	return c.want && c.got ? 0 : -1;
}

static int forget_it(void **state)
{
	(void)state;
	pfs_manifest_free(&c.m);
	c.dir->ops->close_dir(c.dir);
	pfs_sim_free(c.sim);
	free(c.want);
	free(c.got);
	return 0;
}

/* ---- what is said, and what must be ---- */

static size_t print_finding(char *out, const char *where, uint64_t off, const struct pfs_key *key,
			    const char *text)
{
	char name[PFS_NAME_MAX + 1] = "-";

	if (key && key->kind != PFS_KEY_NONE)
		pfs_key_format(name, key);
	return (size_t)sprintf(out, "%s @%llu %s: %s\n", where, (unsigned long long)off, name,
			       text);
}

static void note_finding(void *arg, const struct pfs_finding *finding)
{
	(void)arg;
	assert_true(finding->fatal);
	assert_true(c.got_len < TEXT_MAX - 1000);
	c.got_len += print_finding(c.got + c.got_len, finding->where, finding->offset,
				   &finding->key, finding->text);
	c.got_lines++;
	c.stop |= c.stop_at_once;
}

static void want_finding(uint32_t object, uint64_t off, const struct pfs_key *key, const char *text)
{
	char name[PFS_OBJECT_NAME_MAX];

	pfs_object_name(name, c.m.objects[object].role, c.m.objects[object].hash);
	assert_true(c.want_len < TEXT_MAX - 1000);
	c.want_len += print_finding(c.want + c.want_len, name, off, key, text);
	c.want_lines++;
	c.want_named += key != NULL;
}

static void begin_wanting(void)
{
	c.want_len = c.want_lines = c.want_named = 0;
	c.want[0] = '\0';
}

/* Chunks of the object that are bad, from the first up to the one before `end`, as they are when it
 * is or isn't there: their documents. */
static void want_documents(uint32_t object, uint64_t first, uint64_t end)
{
	for (size_t i = 0; i < DOCS; i++) {
		const struct placed *d = &c.docs[i];

		if (d->page == object && d->raw_len && d->off / 65536 < end &&
		    (d->off + d->len - 1) / 65536 >= first)
			want_finding(object, d->off, &d->key,
				     "it lies in bytes that do not verify");
	}
}

/* The blocks of that object of keys which have a byte in these chunks: their documents. */
static bool has_bad_keys(const struct placed *d, uint32_t keys, uint64_t first, uint64_t end)
{
	const struct pfs_manifest_block *b = &c.m.blocks[d->block];
	uint64_t from = b->off / 65536 * 65536, to = b->off + b->len;

	/* All chunks that it lies in are verified. */
	return d->keys == keys && from / 65536 < end && (to + 65535) / 65536 > first;
}

static void want_keys(uint32_t keys, uint64_t first, uint64_t end)
{
	for (size_t i = 0; i < DOCS; i++) {
		const struct placed *d = &c.docs[i];

		if (has_bad_keys(d, keys, first, end))
			want_finding(d->page, 64 + 16 * (uint64_t)d->slot, &d->key,
				     "its part of the table of keys is damaged");
	}
}

static void note_progress(void *arg, uint64_t done, uint64_t total)
{
	(void)arg;
	assert_true(done >= c.done && done - c.done <= PFS_MIB);
	c.done = done;
	c.total = total;
	c.progresses++;
}

/* Checks it, whole or part by part, and compares what is said. */
static void check_it(int line)
{
	static const struct pfs_logger no_log = {.fn = publish_ignore_log};
	struct pfs_check_result result;
	struct pfs_reason reason;
	uint64_t bytes = 0, windows = 0;
	unsigned pages = 0;

	for (uint32_t i = 0; i < c.m.object_count; i++) {
		bytes += c.m.objects[i].len;
		windows += (c.m.objects[i].len + PFS_MIB - 1) / PFS_MIB;
		pages += c.m.objects[i].role == PFS_OBJECT_PAGE;
	}
	for (unsigned again = 0; again < 2; again++) {
		whole_max = again ? PFS_DICT_LEN_MAX : ALL_WHOLE;
		c.got_len = c.got_lines = 0;
		c.got[0] = '\0';
		c.done = c.total = c.progresses = 0;
		memset(&result, 'x', sizeof(result));
		assert_int_equal(pfs_check(WHERE, &c.io, &no_log, note_finding, note_progress, NULL,
					   &result, &reason),
				 0);
		if (strcmp(c.got, c.want) != 0) {
			size_t at = 0;

			while (c.got[at] == c.want[at])
				at++;
			while (at && c.got[at - 1] != '\n')
				at--;
			fail_msg("line %d: it says\n%.400s\ninstead of\n%.400s", line, c.got + at,
				 c.want + at);
		}
		assert_int_equal(result.findings, c.want_lines);
		assert_int_equal(result.damaged, c.want_named);
		assert_int_equal(result.documents, DOCS);
		assert_int_equal(result.pages, pages);
		assert_int_equal(c.done, bytes);
		assert_int_equal(c.total, bytes);
		assert_int_equal(c.progresses, windows);
	}
	whole_max = ALL_WHOLE;
}

#define CHECK() check_it(__LINE__)

/* ---- damage ---- */

static void name_of(uint32_t object, char name[PFS_OBJECT_NAME_MAX])
{
	pfs_object_name(name, c.m.objects[object].role, c.m.objects[object].hash);
}

static void flip(uint32_t object, uint64_t off)
{
	char name[PFS_OBJECT_NAME_MAX];
	struct pfs_file *file;
	uint8_t byte;

	name_of(object, name);
	assert_int_equal(c.dir->ops->open(c.dir, name, PFS_IO_WRITE, &file), 0);
	assert_int_equal(file->ops->read(file, &byte, 1, off), 1);
	byte ^= 0x10;
	assert_int_equal(file->ops->write(file, &byte, 1, off), 0);
	c.dir->ops->close(file);
}

/* Makes the object that long, of its own bytes and then zeros, or (UINT64_MAX) removes it. */
static void cut(uint32_t object, const uint8_t *bytes, uint64_t len)
{
	char name[PFS_OBJECT_NAME_MAX];
	struct pfs_file *file;

	name_of(object, name);
	if (len == UINT64_MAX) {
		assert_int_equal(c.dir->ops->unlink(c.dir, name), 0);
		return;
	}
	write_file(c.dir, name, bytes, pfs_min_u64(len, c.m.objects[object].len));
	assert_int_equal(c.dir->ops->open(c.dir, name, PFS_IO_WRITE, &file), 0);
	assert_int_equal(file->ops->truncate(file, len), 0);
	c.dir->ops->close(file);
}

static uint32_t first_page(void)
{
	return c.m.blocks[0].page;
}

static uint32_t last_object(void)
{
	return c.m.object_count - 1;
}

/* The page of the long document. */
static uint32_t long_page(void)
{
	return c.docs[LONG].page;
}

/* Proves: a collection that is as it was published is sound, and so it is said; the collection has
 * all that the other tests need. */
static void what_is_sound_is_said_to_be(void **state)
{
	unsigned long_keys = 0, chunks = 0;

	(void)state;
	for (uint32_t i = 0; i < c.m.object_count; i++) {
		long_keys += c.m.objects[i].role == PFS_OBJECT_KEYS && c.m.objects[i].len > 65536;
		chunks += c.m.objects[i].role == PFS_OBJECT_PAGE && c.m.objects[i].len > 65536;
	}
	assert_true(long_keys > 0 && chunks > 2);
	assert_true(c.m.objects[long_page()].len > PFS_MIB + 4 * 65536);
	assert_true(first_page() > c.dict + 1u);
	begin_wanting();
	CHECK();
}

/* Proves: of a page that is missing no document is to be had but those that are empty, which need
 * no byte of it; each is named, with its place. */
static void missing_pages_cost_their_documents(void **state)
{
	const uint32_t pages[] = {first_page(), long_page(), last_object()};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(pages); i++) {
		uint8_t *bytes = read_object(c.dir, &c.m, pages[i]);

		cut(pages[i], bytes, UINT64_MAX);
		begin_wanting();
		want_finding(pages[i], 0, NULL, "can't be opened: No such file or directory");
		want_documents(pages[i], 0, UINT64_MAX);
		CHECK();
		cut(pages[i], bytes, c.m.objects[pages[i]].len);
		free(bytes);
	}
}

/* Proves: of an object of keys that is missing, each document that it speaks of is named from its
 * page. */
static void missing_keys_cost_their_documents(void **state)
{
	(void)state;
	for (uint32_t i = c.dict; i < first_page(); i++) {
		uint8_t *bytes = read_object(c.dir, &c.m, i);

		cut(i, bytes, UINT64_MAX);
		begin_wanting();
		want_finding(i, 0, NULL, "can't be opened: No such file or directory");
		want_keys(i, 0, UINT64_MAX);
		CHECK();
		cut(i, bytes, c.m.objects[i].len);
		free(bytes);
	}
}

/* Proves: of a byte that is another one, in whichever chunk, that chunk is named and the documents
 * which lie in it, or whose keys do, and no others. */
static void bad_chunks_cost_what_lies_in_them(void **state)
{
	(void)state;
	for (uint32_t i = c.dict; i < c.m.object_count; i++) {
		const struct pfs_manifest_object *o = &c.m.objects[i];
		bool is_keys = o->role == PFS_OBJECT_KEYS;

		for (uint64_t chunk = 0; chunk * 65536 < o->len;
		     chunk += i == long_page() ? 7 : 1) {
			uint64_t end = pfs_min_u64(o->len, chunk * 65536 + 65536),
				 at = chunk % 2 ? chunk * 65536 : end - 1;

			if (!is_keys && i != first_page() && i != long_page() && i != last_object())
				continue;
			flip(i, at);
			begin_wanting();
			want_finding(i, chunk * 65536, NULL, "checksum of 64 KiB");
			if (is_keys)
				want_keys(i, chunk, chunk + 1);
			else
				want_documents(i, chunk, chunk + 1);
			CHECK();
			flip(i, at);
		}
	}
}

/* Proves: an object that is longer than it should be is told, and costs nothing; one that is cut
 * off costs what can't be read, a mebibyte at a time. */
static void other_lengths_are_told(void **state)
{
	const uint32_t objects[] = {c.dict, first_page(), long_page()};
	char text[128];

	(void)state;
	for (size_t i = 0; i < pfs_array_len(objects) * 3; i++) {
		const uint32_t object = objects[i / 3];
		const uint64_t len = c.m.objects[object].len;
		const uint64_t now = i % 3 == 0 ? len + 1 : i % 3 == 1 ? len - 1 : 0;
		uint8_t *bytes = read_object(c.dir, &c.m, object);

		cut(object, bytes, now);
		begin_wanting();
		snprintf(text, sizeof(text),
			 "it has %llu bytes, not the %llu that the manifest says",
			 (unsigned long long)now, (unsigned long long)len);
		want_finding(object, now, NULL, text);
		for (uint64_t off = 0; off < len; off += PFS_MIB)
			if (now < pfs_min_u64(len, off + PFS_MIB))
				want_finding(object, off, NULL, "can't be read: it ends here");
		if (now < len && c.m.objects[object].role == PFS_OBJECT_KEYS) {
			if (now)
				want_keys(object, (len - 1) / 65536, UINT64_MAX);
			else
				want_keys(object, 0, UINT64_MAX);
		} else if (now < len) {
			want_documents(object, now / PFS_MIB * PFS_MIB / 65536, UINT64_MAX);
		}
		CHECK();
		cut(object, bytes, len);
		free(bytes);
	}
}

struct blind {
	char name[PFS_OBJECT_NAME_MAX];
	enum pfs_sim_kind kind;
	uint64_t from, to; /* bytes that can't be read */
};

static int fail_look(void *arg, const struct pfs_sim_step *step)
{
	const struct blind *b = arg;

	if (step->kind != b->kind || strcmp(step->name, b->name) != 0)
		return 0;
	return step->kind == PFS_SIM_OPEN || (step->off < b->to && step->off + step->len > b->from)
		       ? -EIO
		       : 0;
}

/* Proves: what can't be opened or read is told with the reason, once for each mebibyte, and costs
 * what lies in it. */
static void what_cant_be_read_is_told(void **state)
{
	const uint32_t objects[] = {c.dict, first_page(), long_page(), last_object()};
	struct blind blind;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(objects) * 3; i++) {
		const uint32_t object = objects[i / 3];
		const uint64_t len = c.m.objects[object].len;

		name_of(object, blind.name);
		blind.kind = i % 3 ? PFS_SIM_READ : PFS_SIM_OPEN;
		blind.from = i % 3 == 1 ? 0 : len - 1;
		blind.to = len;
		pfs_sim_on_look(c.sim, fail_look, &blind);
		begin_wanting();
		if (i % 3 == 0) {
			blind.from = 0;
			want_finding(object, 0, NULL, "can't be opened: Input/output error");
		}
		for (uint64_t off = 0; off < len && i % 3; off += PFS_MIB)
			if (blind.from < pfs_min_u64(len, off + PFS_MIB))
				want_finding(object, off, NULL,
					     "can't be read: Input/output error");
		if (c.m.objects[object].role == PFS_OBJECT_KEYS)
			want_keys(object, blind.from / 65536, UINT64_MAX);
		else
			want_documents(object, blind.from / PFS_MIB * 16, UINT64_MAX);
		CHECK();
		pfs_sim_on_look(c.sim, NULL, NULL);
	}
}

static char unknown[PFS_OBJECT_NAME_MAX]; /* how long this object is can't be told */
static struct pfs_file *unknown_file;

static int open_noting(struct pfs_dir *dir, const char *name, unsigned flags, struct pfs_file **out)
{
	int err = pfs_sim_io(c.sim)->ops->open(dir, name, flags, out);

	if (!err && strcmp(name, unknown) == 0) {
		assert_null(unknown_file);
		unknown_file = *out;
	}
	return err;
}

static int size_unless_unknown(struct pfs_file *file, uint64_t *out)
{
	return file == unknown_file ? -EIO : pfs_sim_io(c.sim)->ops->size(file, out);
}

static void close_noting(struct pfs_file *file)
{
	if (file == unknown_file)
		unknown_file = NULL;
	pfs_sim_io(c.sim)->ops->close(file);
}

/* Proves: an object of which nobody knows how long it is goes for one that can't be opened, and is
 * closed. */
static void an_unknown_length_is_told(void **state)
{
	struct pfs_io_ops ops = *pfs_sim_io(c.sim)->ops;

	(void)state;
	ops.open = open_noting;
	ops.size = size_unless_unknown;
	ops.close = close_noting;
	c.io.ops = &ops;
	name_of(first_page(), unknown);
	begin_wanting();
	want_finding(first_page(), 0, NULL, "can't be opened: Input/output error");
	want_documents(first_page(), 0, UINT64_MAX);
	CHECK();
	assert_null(unknown_file);
	c.io = *pfs_sim_io(c.sim);
}

/* Proves: without its dictionary, be it gone, cut off or another one, each document that was packed
 * with it is named, and no other. */
static void the_dictionary_costs_what_was_packed_with_it(void **state)
{
	uint8_t *bytes;
	size_t packed = 0, named = 0;

	(void)state;
	if (!c.dict) {
		print_message("NOT TESTED: this build has no libzstd, so there is no dictionary\n");
		return;
	}
	bytes = read_object(c.dir, &c.m, 0);
	for (unsigned way = 0; way < 3; way++) {
		static const struct pfs_logger no_log = {.fn = publish_ignore_log};
		struct pfs_check_result result;
		struct pfs_reason reason;

		if (way == 0)
			cut(0, bytes, UINT64_MAX);
		else if (way == 1)
			cut(0, bytes, 100);
		else
			flip(0, 1000);
		c.got_len = c.got_lines = 0;
		begin_wanting();
		if (way == 0)
			want_finding(0, 0, NULL, "can't be opened: No such file or directory");
		if (way == 1) {
			char text[128];

			snprintf(text, sizeof(text),
				 "it has 100 bytes, not the %llu that the manifest says",
				 (unsigned long long)c.m.objects[0].len);
			want_finding(0, 100, NULL, text);
			want_finding(0, 0, NULL, "can't be read: it ends here");
		}
		if (way == 2)
			want_finding(0, 0, NULL, "checksum of 64 KiB");
		assert_int_equal(pfs_check(WHERE, pfs_sim_io(c.sim), &no_log, note_finding, NULL,
					   NULL, &result, &reason),
				 0);
		assert_memory_equal(c.got, c.want, c.want_len);
		packed = 0;
		for (size_t i = 0; i < DOCS; i++)
			packed += is_record(i);
		named = result.damaged;
		assert_int_equal(named, packed);
		assert_int_equal(result.findings, c.want_lines + packed);
		cut(0, bytes, c.m.objects[0].len);
	}
	free(bytes);
	assert_true(packed > 800);
	begin_wanting();
	CHECK();
}

/* Proves: counts of the manifest that are not those of its pages are told of the manifest itself,
 * and only where every page could be looked at. */
static void wrong_counts_are_told(void **state)
{
	(void)state;
	for (unsigned way = 0; way < 4; way++) {
		struct pfs_manifest m = c.m;

		m.raw_bytes += way == 0;
		m.container_bytes -= way == 1;
		m.raw_bytes -= way == 2;
		put_current(c.dir, 1, &m);
		begin_wanting();
		if (way < 3) {
			c.want_len = print_finding(c.want, "generation-00000001", 0, NULL,
						   "its counts are not those of its pages");
			c.want_lines = 1;
		}
		CHECK();
		if (way == 3)
			continue;
		flip(last_object(), 70);
		begin_wanting();
		want_finding(last_object(), 0, NULL, "checksum of 64 KiB");
		want_documents(last_object(), 0, 1);
		CHECK();
		flip(last_object(), 70);
	}
}

/* Proves: a check of an open collection ends soon when it is told to, and says so; without anybody
 * who listens it does the same work. */
static void it_can_be_stopped(void **state)
{
	static const struct pfs_logger no_log = {.fn = publish_ignore_log};
	const struct pfs_open_options options = {
		.read_only = true, .io = pfs_sim_io(c.sim), .logger = no_log};
	struct pfs_check_result result;
	struct pfs_reason reason;
	struct pfs_store *store;

	(void)state;
	assert_int_equal(pfs_store_open(&store, WHERE, &options, &reason), 0);
	c.done = c.got_len = c.got_lines = 0;
	c.stop = true;
	assert_int_equal(
		pfs_store_check(store, note_finding, note_progress, NULL, &c.stop, &result),
		-ECANCELED);
	assert_int_equal(c.done, 0);
	c.stop = false;
	flip(long_page(), 0);
	c.stop_at_once = true;
	assert_int_equal(
		pfs_store_check(store, note_finding, note_progress, NULL, &c.stop, &result),
		-ECANCELED);
	assert_int_equal(c.got_lines, 1);
	c.stop_at_once = false;
	flip(long_page(), 0);
	assert_int_equal(pfs_store_check(store, NULL, NULL, NULL, NULL, &result), 0);
	assert_int_equal(result.findings, 0);
	assert_int_equal(result.documents, DOCS);
	assert_int_equal(pfs_store_close(store), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_sound_is_said_to_be),
		cmocka_unit_test(missing_pages_cost_their_documents),
		cmocka_unit_test(missing_keys_cost_their_documents),
		cmocka_unit_test(bad_chunks_cost_what_lies_in_them),
		cmocka_unit_test(other_lengths_are_told),
		cmocka_unit_test(what_cant_be_read_is_told),
		cmocka_unit_test(an_unknown_length_is_told),
		cmocka_unit_test(the_dictionary_costs_what_was_packed_with_it),
		cmocka_unit_test(wrong_counts_are_told),
		cmocka_unit_test(it_can_be_stopped),
	};

	if (!pfs_hash_version()) {
		print_message("NOT TESTED: this build has no libcrypto, so it publishes nothing\n");
		return 0;
	}
	whole_max = ALL_WHOLE;
	return cmocka_run_group_tests_name("checks of collections", tests, publish_it, forget_it);
}
