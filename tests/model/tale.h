/* What is told of a store on the sim, and compared with what was written down: for golden_test.c,
 * which says what it is for, and those beside it. */
#ifndef PFS_TEST_TALE_H
#define PFS_TEST_TALE_H

#include <lz4.h>
#include <sys/random.h>
#include <time.h>

#include "storage/store_internal.h"
#include "tests/unit/publish_helpers.h"
#include "tests/unit/store_helpers.h"

#define TALES "tests/model/golden"
#define TALLIES 16
#define TALLY_NAME_MAX 24

/* ---- time and chance ---- */

static int64_t the_time;
static uint64_t the_chance;

int clock_gettime(clockid_t id, struct timespec *t)
{
	(void)id;
	t->tv_sec = the_time / 1000000000;
	t->tv_nsec = the_time % 1000000000;
	return 0;
}

ssize_t getrandom(void *buf, size_t len, unsigned flags)
{
	uint8_t *bytes = buf;

	(void)flags;
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)pfs_mix64(++the_chance);
	return (ssize_t)len;
}

/* ---- what is told ---- */

/* Calls on the files of one kind. */
struct tally {
	char name[TALLY_NAME_MAX];
	uint64_t calls[PFS_SIM_KINDS], bytes[PFS_SIM_KINDS];
};

struct tale {
	const char *name;
	char *text;
	size_t len;
	FILE *out;
	struct pfs_sim *sim;
	struct pfs_store *store;
	bool hold;
	bool packs; /* what libraries have a share in */
	uint32_t min_value_size;
	uint64_t random;
	uint64_t seeds; /* of documents made so far */
	struct tally tallies[TALLIES];
	uint64_t order;		      /* hash of all calls */
	char *was;		      /* what is written down; NULL: it is to be */
	bool others;		      /* it is of other libraries */
	size_t same;		      /* bytes of text that are as there */
	char stat[PFS_STAT_JSON_MAX]; /* the last that was told */
};

/* ---- documents ---- */

static inline void put_one(struct tale *t, const char *name, const void *bytes, size_t len,
			   bool own)
{
	struct pfs_key key = key_named(name);
	struct pfs_attr attr = {.mode = 0600, .uid = 7, .gid = 8, .mtime_ns = the_time};

	the_time += 1000;
	assert_int_equal(pfs_put(t->store, &key, bytes, len, own ? &attr : NULL, 0, NULL), 0);
}

static inline void put_named(struct tale *t, const char *name, size_t len)
{
	uint8_t *bytes = malloc(len + 1);

	t->seeds += 2;
	fill_document(bytes, len, t->seeds + 1);
	put_one(t, name, bytes, len, t->seeds % 3 == 0);
	free(bytes);
}

/* 0: there is none. */
static inline uint32_t object_named(struct tale *t, const char *name)
{
	struct pfs_key key = key_named(name);
	uint32_t object = 0;

	(void)pfs_lookup(t->store, &key, &object, NULL);
	return object;
}

/* Makes a dictionary from so many records, which are given back as well, one after the other. Free
 * both with free(). */
static inline char *train_on_records(struct tale *t, size_t count, size_t **lens)
{
	struct pfs_train_result trained;
	char *samples = malloc(count * 600);
	size_t len = 0;

	*lens = malloc(count * sizeof(**lens));
	for (unsigned i = 0; i < count; i++) {
		struct source source = {.size = 300, .changed = UINT64_MAX};
		struct pfs_attr attr;
		struct pfs_key key;
		char *data;

		record_doc(&source, i, &key, &attr, &data, &(*lens)[i]);
		memcpy(samples + len, data, (*lens)[i]);
		len += (*lens)[i];
		free(data);
	}
	assert_int_equal(pfs_train_from(t->store, samples, *lens, count, &trained), 0);
	return samples;
}

/* ---- calls that fail ---- */

struct fault {
	uint64_t left; /* calls before the one that fails */
	int err;
	bool done;
};

static inline int fail_one(void *arg, const struct pfs_sim_step *step)
{
	struct fault *fault = arg;

	(void)step;
	if (fault->done || fault->left-- > 0)
		return 0;
	fault->done = true;
	return fault->err;
}

/* ---- hashes ---- */

/* FNV-1a, of eight bytes at a time. */
static inline uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;

	for (size_t i = 0; i < len; i += 8) {
		uint64_t word = 0;

		memcpy(&word, p + i, pfs_min_u64(8, len - i));
		hash = (hash ^ word) * UINT64_C(0x100000001b3);
		hash ^= hash >> 29;
	}
	return hash;
}

#define HASH_FIRST UINT64_C(0xcbf29ce484222325)

static inline uint64_t hash_number(uint64_t hash, uint64_t number)
{
	return hash_bytes(hash, &number, sizeof(number));
}

/* page-00000001 and page-00000002 are of one kind. */
static inline struct tally *tally_of(struct tale *t, const char *name)
{
	size_t kind = strcspn(name, "-"), number = strcspn(name + kind, ".");
	char text[TALLY_NAME_MAX];

	snprintf(text, sizeof(text), "%.*s%s%s", (int)kind, name, number ? "-#" : "",
		 name + kind + number);
	if (!*name)
		strcpy(text, "(directory)");
	for (unsigned i = 0; i < TALLIES; i++) {
		struct tally *c = &t->tallies[i];

		if (!c->name[0])
			memcpy(c->name, text, sizeof(text));
		if (strcmp(c->name, text) == 0)
			return c;
	}
	fail_msg("more kinds of files than expected: %s", text);
	return NULL;
}

static inline int count_call(void *arg, const struct pfs_sim_step *step)
{
	struct tale *t = arg;
	struct tally *c = tally_of(t, step->name);

	c->calls[step->kind]++;
	if (step->kind != PFS_SIM_TRUNCATE)
		c->bytes[step->kind] += step->len;
	t->order = hash_number(t->order, step->kind);
	t->order = hash_bytes(t->order, step->name, strlen(step->name));
	t->order = hash_number(hash_number(t->order, step->off), step->len);
	return 0;
}

static inline void watch(struct tale *t, bool on)
{
	pfs_sim_on_step(t->sim, on ? count_call : NULL, t);
	pfs_sim_on_look(t->sim, on ? count_call : NULL, t);
}

static inline void tell_log(void *arg, enum pfs_log_level level, const char *line)
{
	fprintf(((struct tale *)arg)->out, "log %d: %s\n", (int)level, line);
}

static inline void forget_calls(struct tale *t)
{
	memset(t->tallies, 0, sizeof(t->tallies));
	t->order = HASH_FIRST;
}

/* Of each kind of file: "page-#: 12 read (3072), 1 sync". */
static inline void tell_calls(struct tale *t)
{
	for (unsigned i = 0; i < TALLIES; i++) {
		const struct tally *c = &t->tallies[i];
		const char *between = ": ";

		for (unsigned kind = 0; kind < PFS_SIM_KINDS; kind++) {
			if (!c->calls[kind])
				continue;
			fprintf(t->out, "%s%s%llu %s", *between == ':' ? c->name : "", between,
				(unsigned long long)c->calls[kind], pfs_sim_kind_name(kind));
			if (c->bytes[kind])
				fprintf(t->out, " (%llu)", (unsigned long long)c->bytes[kind]);
			between = ", ";
		}
		if (*between == ',')
			fprintf(t->out, "\n");
	}
	fprintf(t->out, "order %016llx\n", (unsigned long long)t->order);
	forget_calls(t);
}

/* Of all of them together. */
static inline void tell_calls_in_short(struct tale *t)
{
	uint64_t calls = 0;

	for (unsigned i = 0; i < TALLIES; i++)
		for (unsigned kind = 0; kind < PFS_SIM_KINDS; kind++)
			calls += t->tallies[i].calls[kind];
	fprintf(t->out, "%llu calls, order %016llx\n", (unsigned long long)calls,
		(unsigned long long)t->order);
	forget_calls(t);
}

struct file_told {
	char name[64];
	uint64_t size, hash;
};

struct files_told {
	struct file_told at[256];
	size_t count;
};

static inline int keep_name(void *arg, const char *name)
{
	struct files_told *files = arg;

	assert_true(files->count < pfs_array_len(files->at));
	snprintf(files->at[files->count++].name, sizeof(files->at[0].name), "%s", name);
	return 0;
}

static inline int by_name(const void *a, const void *b)
{
	return strcmp(((const struct file_told *)a)->name, ((const struct file_told *)b)->name);
}

static inline void look_into(struct pfs_dir *dir, struct file_told *about)
{
	struct pfs_file *file;
	uint8_t *bytes;

	assert_int_equal(dir->ops->open(dir, about->name, PFS_IO_WRITE, &file), 0);
	assert_int_equal(file->ops->size(file, &about->size), 0);
	bytes = malloc(about->size + 1);
	assert_int_equal(file->ops->read(file, bytes, about->size, 0), about->size);
	about->hash = hash_bytes(HASH_FIRST, bytes, about->size);
	free(bytes);
	file->ops->close(file);
}

/* All files of a directory, in the order of their names. Free with free(). */
static inline struct files_told *files_of(struct pfs_sim *sim, const char *path)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct files_told *files = calloc(1, sizeof(*files));
	struct pfs_dir *dir;

	assert_int_equal(io->ops->open_dir(io, path, PFS_IO_WRITE, &dir), 0);
	assert_int_equal(dir->ops->list(dir, keep_name, files), 0);
	qsort(files->at, files->count, sizeof(files->at[0]), by_name);
	for (size_t i = 0; i < files->count; i++)
		look_into(dir, &files->at[i]);
	dir->ops->close_dir(dir);
	return files;
}

static inline bool is_among(const struct files_told *files, const struct file_told *file)
{
	for (size_t i = 0; files && i < files->count; i++)
		if (strcmp(files->at[i].name, file->name) == 0 && files->at[i].size == file->size &&
		    files->at[i].hash == file->hash)
			return true;
	return false;
}

/* But those that were the same before (may be NULL). */
static inline void tell_files(struct tale *t, const char *path, const struct files_told *before)
{
	struct files_told *files = files_of(t->sim, path);

	for (size_t i = 0; i < files->count; i++) {
		const struct file_told *file = &files->at[i];

		if (!is_among(before, file))
			fprintf(t->out, "%s: %llu bytes, %016llx\n", file->name,
				(unsigned long long)file->size, (unsigned long long)file->hash);
	}
	free(files);
}

/* The members that are others than the last time. */
static inline void tell_stat(struct tale *t)
{
	struct pfs_store_stat stat;
	char text[PFS_STAT_JSON_MAX], *was = t->stat, *is = text;

	assert_int_equal(pfs_store_stat(t->store, &stat), 0);
	pfs_store_stat_json(text, sizeof(text), &stat);
	fprintf(t->out, "stat:");
	while (*is) {
		size_t len = strcspn(is, ","), was_len = strcspn(was, ",");

		if (strncmp(is, "\"dictionary_trainer\"", 20) == 0)
			; /* is of the build */
		else if (len != was_len || memcmp(is, was, len) != 0)
			fprintf(t->out, " %.*s", (int)len, is);
		is += len + (is[len] == ',');
		was += was_len + (was[was_len] == ',');
	}
	fprintf(t->out, "\n");
	strcpy(t->stat, text);
}

static inline void tell_pages(struct tale *t)
{
	struct pfs_page_stat *pages;
	size_t count;

	assert_int_equal(pfs_store_pages(t->store, &pages, &count), 0);
	for (size_t i = 0; i < count; i++) {
		const struct pfs_page_stat *p = &pages[i];

		fprintf(t->out,
			"page %u: %u slots, %u free; %llu bytes, %llu of disk, %llu used, "
			"%llu holes, %llu gap, %llu free, %llu pinned, %llu live, %llu "
			"dead%s%s%s%s\n",
			p->number, p->slots, p->free_slots, (unsigned long long)p->size,
			(unsigned long long)p->disk, (unsigned long long)p->used,
			(unsigned long long)p->holes, (unsigned long long)p->gap,
			(unsigned long long)p->free, (unsigned long long)p->pinned,
			(unsigned long long)p->live, (unsigned long long)p->dead,
			p->worth ? ", worth" : "", p->closed ? ", closed" : "",
			p->retiring ? ", retiring" : "", p->unusable ? ", unusable" : "");
	}
	free(pages);
}

/* Every document, in the order of a listing: what it is and where it lies. */
static inline void tell_documents(struct tale *t)
{
	struct pfs_listed listed[64];
	uint64_t after = 0, count = 0, bytes = 0, what = HASH_FIRST, where = HASH_FIRST;
	ssize_t n;

	while ((n = pfs_list(t->store, after, listed, pfs_array_len(listed))) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			struct pfs_attr attr;
			struct pfs_place place = {0};
			char name[PFS_NAME_MAX + 1];
			void *data;
			size_t len;

			after = listed[i].cookie;
			pfs_key_format(name, &listed[i].key);
			assert_int_equal(pfs_get(t->store, &listed[i].key, &data, &len, &attr), 0);
			what = hash_bytes(what, name, strlen(name));
			what = hash_bytes(what, data, len);
			what = hash_number(hash_number(what, attr.mode), attr.uid);
			what = hash_number(hash_number(what, attr.gid), (uint64_t)attr.mtime_ns);
			assert_int_equal(attr.size, len);
			free(data);
			where = hash_number(hash_number(where, after), listed[i].object);
			where = hash_number(where, attr.stored);
			where = hash_number(where,
					    (uint64_t)pfs_place(t->store, &listed[i].key, &place));
			where = hash_number(hash_number(where, place.in_journal), place.page);
			where = hash_number(hash_number(where, place.slot), place.offset);
			where = hash_number(hash_number(where, place.container_len),
					    place.packed_len);
			where = hash_number(hash_number(where, place.sequence), place.checksum);
			where = hash_number(hash_number(where, place.compressed), place.blocks);
			count++;
			bytes += len;
		}
	}
	assert_int_equal(n, 0);
	fprintf(t->out, "documents: %llu, %llu bytes, %016llx\nwhere they are: %016llx\n",
		(unsigned long long)count, (unsigned long long)bytes, (unsigned long long)what,
		(unsigned long long)where);
}

/* Every document that can be listed, whether it can be read or not. */
static inline void tell_what_is_there(struct tale *t)
{
	uint64_t after = 0, what = HASH_FIRST;
	unsigned count = 0, damaged = 0;
	struct pfs_listed listed[64];
	ssize_t n;

	while ((n = pfs_list(t->store, after, listed, pfs_array_len(listed))) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			struct pfs_attr attr = {0};
			char name[PFS_NAME_MAX + 1];
			void *data = NULL;
			size_t len = 0;
			int err = pfs_get(t->store, &listed[i].key, &data, &len, &attr);

			after = listed[i].cookie;
			pfs_key_format(name, &listed[i].key);
			what = hash_bytes(hash_number(what, (uint64_t)err), name, strlen(name));
			what = hash_number(hash_bytes(what, data, len), (uint64_t)attr.mtime_ns);
			free(data);
			damaged += err != 0;
			count++;
		}
	}
	fprintf(t->out, "listing: %d; %u documents, %u of them can't be read, %016llx\n", (int)n,
		count, damaged, (unsigned long long)what);
}

/* ---- told and compared ---- */

static bool accepts;

static inline void path_of(const struct tale *t, char path[256])
{
	snprintf(path, 256, TALES "/%s.txt", t->name);
}

/* Reads what is written down. */
static inline void compare_begin(struct tale *t)
{
	char path[256];
	size_t cap = 0;
	FILE *file;

	path_of(t, path);
	file = fopen(path, "r");
	if (!file || getdelim(&t->was, &cap, '\0', file) < 0)
		fail_msg("%s can't be read: `make golden` makes it", path);
	fclose(file);
	fflush(t->out);
	t->others = t->packs && strncmp(t->was, t->text, t->len) != 0;
	if (t->others)
		print_message("%s is of %.*s: only the documents are compared\n", path,
			      (int)strcspn(t->was, "\n"), t->was);
}

static inline bool is_of_documents(const char *line)
{
	return strncmp(line, "documents: ", 11) == 0 || strncmp(line, "== ", 3) == 0;
}

/* The next line; with other libraries the next of those that do not depend on them. */
static inline const char *next_line(const char *at, bool only_documents)
{
	do
		at += strcspn(at, "\n") + (at[strcspn(at, "\n")] != '\0');
	while (*at && only_documents && !is_of_documents(at));
	return at;
}

static inline unsigned line_number(const char *text, const char *at)
{
	unsigned n = 1;

	for (; text < at; text++)
		n += *text == '\n';
	return n;
}

static inline void compare(const struct tale *t)
{
	const char *was = t->was, *is = t->text;

	do {
		size_t len;

		was = next_line(was, t->others);
		is = next_line(is, t->others);
		len = strcspn(is, "\n");
		if (strcspn(was, "\n") != len || memcmp(was, is, len) != 0)
			fail_msg(TALES "/%s.txt:%u was\n  %.*s\nand is\n  %.*s\n"
				       "If that is meant: `make golden`, and look at what it "
				       "changes",
				 t->name, line_number(t->was, was), (int)strcspn(was, "\n"), was,
				 (int)len, is);
	} while (*was || *is);
}

/* Compares what has been told so far: what is another now is said at once. */
static inline void compare_so_far(struct tale *t)
{
	fflush(t->out);
	if (!t->was || t->others)
		return;
	if (strncmp(t->was + t->same, t->text + t->same, t->len - t->same) != 0)
		compare(t);
	t->same = t->len;
}

/* What is told of each of many; of one that is as the one before, nothing. */
struct each {
	FILE *out;
	char *text, *last;
	size_t len;
};

static inline void each_begin(struct tale *t, struct each *each)
{
	each->out = t->out;
	t->out = open_memstream(&each->text, &each->len);
}

static inline void each_end(struct tale *t, struct each *each, uint64_t number)
{
	fclose(t->out);
	t->out = each->out;
	fprintf(t->out, "- %llu\n%s", (unsigned long long)number,
		each->last && strcmp(each->text, each->last) == 0 ? "" : each->text);
	free(each->last);
	each->last = each->text;
	compare_so_far(t);
}

/* The end of one part of the history. */
static inline void tell(struct tale *t, const char *part)
{
	watch(t, false);
	fprintf(t->out, "\n== %s ==\n", part);
	tell_calls(t);
	tell_files(t, STORE, NULL);
	if (t->store) {
		tell_stat(t);
		tell_pages(t);
	}
	watch(t, true);
	if (t->store)
		tell_documents(t);
	fprintf(t->out, "to read them:\n");
	tell_calls(t);
	compare_so_far(t);
}

/* ---- beginning and end ---- */

/* Of no store yet, and on no disk. */
static inline void begin_text(struct tale *t, const char *name)
{
	the_time = INT64_C(1700000000000000000);
	t->name = name;
	t->out = open_memstream(&t->text, &t->len);
	fprintf(t->out, "liblz4 %s, libzstd %s\n", LZ4_versionString(),
		pfs_store_trainer() ? pfs_store_trainer() : "none");
	if (!accepts)
		compare_begin(t);
	t->order = HASH_FIRST;
}

static inline void begin(struct tale *t, const char *name, uint64_t page_size)
{
	begin_text(t, name);
	the_chance = page_size;
	t->random = page_size + 1;
	t->sim = pfs_sim_new();
	watch(t, true);
	create_store(t->sim, page_size, t->min_value_size);
	tell(t, "made");
}

static inline void end_text(struct tale *t)
{
	fclose(t->out);
	if (accepts) {
		char path[256];
		FILE *file;

		path_of(t, path);
		file = fopen(path, "w");
		assert_non_null(file);
		assert_int_equal(fwrite(t->text, 1, t->len, file), t->len);
		assert_int_equal(fclose(file), 0);
	} else {
		compare(t);
	}
	free(t->was);
	free(t->text);
}

static inline void end(struct tale *t)
{
	watch(t, false);
	pfs_sim_free(t->sim);
	end_text(t);
}

#endif
