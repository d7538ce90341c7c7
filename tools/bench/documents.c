#include "tools/bench/documents.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/bench/measure.h"

#define STAMP 8	     /* digits that tell versions apart */
#define WORD_MIN 4   /* letters of a word that may be exchanged */
#define HASH_MIN 32  /* hexadecimal digits that are a hash */
#define WORD_ODDS 10 /* one word of so many is exchanged, */
#define DIGIT_ODDS 4 /* one digit of so many is another */

/* ---- reading ---- */

static void add_doc(struct docs *docs, const char *line, const char *end)
{
	static const char head[] = "{\"id\":", middle[] = ",\"payload\":";
	struct doc *doc;
	char *at;

	if (docs->count % 65536 == 0)
		docs->at = realloc(docs->at, (docs->count + 65536) * sizeof(*docs->at));
	if (!docs->at)
		bench_die("input", "no memory");
	if ((size_t)(end - line) < sizeof(head) + sizeof(middle) ||
	    strncmp(line, head, sizeof(head) - 1) != 0)
		bench_die("input", "a line does not begin with {\"id\":");
	doc = &docs->at[docs->count++];
	doc->id = strtoull(line + sizeof(head) - 1, &at, 10);
	if (strncmp(at, middle, sizeof(middle) - 1) != 0 || end[-1] != '}')
		bench_die("input", "a line is not {\"id\":N,\"payload\":...}");
	at += sizeof(middle) - 1;
	doc->bytes = at;
	doc->len = (size_t)(end - 1 - at);
	docs->raw_bytes += doc->len;
	if (doc->len > docs->len_max)
		docs->len_max = doc->len;
}

struct docs docs_read(const char *path)
{
	struct docs docs = {0};
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	const char *line, *end, *last;
	struct stat st;
	void *map;

	if (fd < 0 || fstat(fd, &st) != 0)
		bench_die(path, strerror(errno));
	if (st.st_size == 0)
		bench_die(path, "there are no documents in it");
	docs.text_len = (size_t)st.st_size;
	map = mmap(NULL, docs.text_len, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (map == MAP_FAILED)
		bench_die(path, strerror(errno));
	close(fd);
	docs.text = map;
	last = docs.text + docs.text_len;
	if (last[-1] != '\n')
		bench_die(path, "its last line has no end");
	for (line = docs.text; line < last; line = end + 1) {
		end = memchr(line, '\n', (size_t)(last - line));
		add_doc(&docs, line, end);
	}
	return docs;
}

void docs_free(struct docs *docs)
{
	munmap((void *)(uintptr_t)docs->text, docs->text_len);
	free(docs->at);
	*docs = (struct docs){0};
}

/* ---- versions ---- */

size_t docs_version_max(const struct docs *docs)
{
	return docs->len_max + docs->len_max / 4 + STAMP + 1;
}

struct doc docs_version(const struct docs *docs, size_t i, unsigned version, char *buf)
{
	uint64_t random = bench_mix(i * DOCS_VERSIONS + version);
	struct doc doc = docs->at[i];
	size_t len = doc.len * (80 + random % 41) / 100, have;
	char stamp[STAMP + 1];

	if (version == 0)
		return doc;
	have = doc.len < len ? doc.len : len;
	memcpy(buf, doc.bytes, have);
	while (have < len) {
		const struct doc *more = &docs->at[++i % docs->count];
		size_t part = more->len < len - have ? more->len : len - have;

		memcpy(buf + have, more->bytes, part);
		have += part;
	}
	if (len >= STAMP) {
		snprintf(stamp, sizeof(stamp), "%08x", (unsigned)(random >> 32));
		memcpy(buf + (len - STAMP) / 2, stamp, STAMP);
	}
	return (struct doc){doc.id, buf, len};
}

/* ---- mutated copies ---- */

struct mutation {
	const struct docs *docs;
	uint64_t random;
	FILE *out;
};

static uint64_t next_random(struct mutation *m)
{
	return bench_mix(m->random++);
}

static size_t run_of(const char *at, const char *end, int (*is)(int))
{
	const char *from = at;

	while (at < end && is((unsigned char)*at))
		at++;
	return (size_t)(at - from);
}

static bool is_hash(const char *at, size_t len)
{
	if (len < HASH_MIN)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isxdigit((unsigned char)at[i]))
			return false;
	return true;
}

/* A word that stands anywhere in the documents, so that words are as frequent as they are. */
static void put_word(struct mutation *m, const char *at, size_t len)
{
	const char *end = m->docs->text + m->docs->text_len;
	const char *from = m->docs->text + next_random(m) % m->docs->text_len;
	size_t found = 0;

	while (from < end && found < WORD_MIN) {
		from += found ? found : 1;
		found = run_of(from, end, isalpha);
		if (found && from[-1] == '\\')
			found = 0;
	}
	if (found >= WORD_MIN)
		fwrite(from, 1, found, m->out);
	else
		fwrite(at, 1, len, m->out);
}

/* Letters and digits in one: a hash is all new, as every document has its own. */
static void put_run(struct mutation *m, const char *at, size_t len)
{
	size_t done = 0, part;

	if (is_hash(at, len)) {
		while (done++ < len)
			putc("0123456789abcdef"[next_random(m) % 16], m -> out);
		return;
	}
	for (; done < len; done += part) {
		part = run_of(at + done, at + len, isalpha);
		if (part >= WORD_MIN && next_random(m) % WORD_ODDS == 0) {
			put_word(m, at + done, part);
		} else if (part) {
			fwrite(at + done, 1, part, m->out);
		} else {
			part = 1;
			/* Never a 0, with which a number would have to begin. */
			putc(at[done] != '0' && next_random(m) % DIGIT_ODDS == 0
				     ? (int)('1' + next_random(m) % 9)
				     : at[done],
			     m->out);
		}
	}
}

/* The end of the string that begins at at (its quotation mark), behind its second mark. */
static const char *string_end(const char *at, const char *end)
{
	for (at++; at < end && *at != '"'; at++)
		if (*at == '\\')
			at++;
	return at < end ? at + 1 : end;
}

static void put_values(struct mutation *m, const char *at, const char *end)
{
	while (at < end) {
		size_t len = run_of(at, end, isalnum);

		if (*at == '\\' && end - at > 1) {
			fwrite(at, 1, 2, m->out);
			at += at[1] == 'u' ? fwrite(at + 2, 1, 4, m->out) + 2 : 2;
		} else if (len) {
			put_run(m, at, len);
			at += len;
		} else {
			putc(*at++, m->out);
		}
	}
}

/* Outside of strings only digits are changed: true, false and null are what they are. */
static void put_document(struct mutation *m, const struct doc *doc)
{
	const char *at = doc->bytes, *end = doc->bytes + doc->len;

	while (at < end) {
		const char *past = *at == '"' ? string_end(at, end) : at + 1;
		size_t digits = run_of(at, end, isdigit);

		if (*at != '"' && digits) {
			put_run(m, at, digits);
			past = at + digits;
		} else if (*at != '"' || (past < end && *past == ':')) {
			fwrite(at, 1, (size_t)(past - at), m->out);
		} else {
			put_values(m, at, past);
		}
		at = past;
	}
}

static void finish(FILE *out)
{
	if (fflush(out) != 0 || ferror(out))
		bench_die("output", strerror(errno));
}

void docs_write_mutated(FILE *out, const struct docs *docs, size_t count)
{
	struct mutation m = {.docs = docs, .out = out};

	for (size_t i = 0; i < count; i++) {
		const struct doc *doc = &docs->at[i % docs->count];

		fprintf(out, "{\"id\":%zu,\"payload\":", i + 1);
		m.random = bench_mix(i);
		if (i < docs->count)
			fwrite(doc->bytes, 1, doc->len, out);
		else
			put_document(&m, doc);
		fputs("}\n", out);
	}
	finish(out);
}

/* ---- small documents ---- */

void docs_write_small(FILE *out, size_t count)
{
	static const char *const colours[] = {"black", "white", "red",	  "blue",
					      "green", "grey",	"orange", "yellow"};
	static const char *const brands[] = {"Nordwind", "Halden", "Okapi", "Ferro",
					     "Lumen",	 "Tarn",   "Quill", "Zephyr"};
	static const char *const kinds[] = {"chair", "table",  "lamp",	  "shelf",
					    "mug",   "kettle", "blanket", "clock"};

	for (size_t i = 0; i < count; i++) {
		uint64_t r = bench_mix(i);

		fprintf(out,
			"{\"id\":%zu,\"payload\":{\"sku\":\"%08lx\",\"kind\":\"%s\",\"brand\":\"%"
			"s\","
			"\"colour\":\"%s\",\"price\":%lu.%02lu,\"stock\":%lu,\"rating\":%lu.%lu,"
			"\"on_sale\":%s}}\n",
			i + 1, r >> 32, kinds[r % 8], brands[r / 8 % 8], colours[r / 64 % 8],
			r / 512 % 900 + 10, r / 4096 % 100, r / 1024 % 500, r / 2048 % 5 + 1,
			r / 8192 % 10, r & 1 << 20 ? "true" : "false");
	}
	finish(out);
}
