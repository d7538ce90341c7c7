/* Proves: the reader of import gives the same documents and faults however its input is cut into
 * pieces; a payload is the very bytes of a JSON value that stands in the input; a document written
 * again as a record is read back the same. */
#include <poll.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

/* The input of the reader comes from memory, in pieces. */
struct source {
	const uint8_t *at, *end;
	uint64_t state; /* 0: all at once */
};

static struct source source;

static ssize_t source_read(int fd, void *buf, size_t len)
{
	size_t n = (size_t)(source.end - source.at);

	(void)fd;
	n = n < len ? n : len;
	if (source.state && n) {
		source.state = pfs_mix64(source.state) | 1;
		n = pfs_min_u64(n, 1 + (source.state >> 8) % (source.state & 16 ? 3 : 61));
	}
	if (n)
		memcpy(buf, source.at, n);
	source.at += n;
	return (ssize_t)n;
}

static int source_poll(struct pollfd *fds, nfds_t n, int timeout)
{
	(void)fds;
	(void)n;
	(void)timeout;
	return source.state & 32 ? 0 : 1;
}

#include "storage/base64.h"
#include "storage/json_scan.c"
#include "storage/ndjson.h"
#undef PFS_NDJSON_RECORD_MAX
#define PFS_NDJSON_RECORD_MAX 16384
#include "storage/ndjson.c"
/* A window of 2 KiB: small inputs make it grow, move and shrink. */
#undef PFS_KIB
#define PFS_KIB UINT64_C(8)
#define read source_read
#define poll source_poll
#include "storage/window.c"
#undef read
#undef poll
#undef PFS_KIB

struct result {
	uint64_t hash;
	uint64_t docs, faults;
};

static void mix(struct result *r, const void *bytes, size_t len)
{
	const uint8_t *b = bytes;

	for (size_t i = 0; i < len; i++)
		r->hash = (r->hash ^ b[i]) * UINT64_C(0x100000001b3);
	r->hash = pfs_mix64(r->hash + len);
}

static void mix_u64(struct result *r, uint64_t v)
{
	mix(r, &v, sizeof(v));
}

/* The document as a record, read by a reader of its own. */
static void check_again(const struct pfs_ndjson_doc *doc, bool json)
{
	char key[PFS_NAME_MAX + 1], *text = malloc(PFS_NAME_MAX + 64 + doc->len * 2);
	struct source outer = source;
	struct pfs_ndjson *reader;
	struct pfs_ndjson_doc again;
	int len;

	FUZZ_CHECK(text != NULL);
	pfs_key_format(key, &doc->key);
	if (json) {
		len = sprintf(text, "{\"id\":\"%s\",\"payload\":", key);
		memcpy(text + len, doc->payload, doc->len);
		len += (int)doc->len;
	} else {
		len = sprintf(text, "{\"id\":\"%s\",\"payload_base64\":\"", key);
		pfs_base64_encode(text + len, doc->payload, doc->len);
		len += (int)pfs_base64_encoded_len(doc->len);
		text[len++] = '"';
	}
	text[len++] = '}';
	source = (struct source){.at = (uint8_t *)text, .end = (uint8_t *)text + len};
	FUZZ_CHECK(pfs_ndjson_open(&reader, 0, NULL, NULL) == 0);
	FUZZ_CHECK(pfs_ndjson_next(reader, &again) == 1);
	FUZZ_CHECK(pfs_key_equal(&again.key, &doc->key) && again.len == doc->len &&
		   memcmp(again.payload, doc->payload, doc->len) == 0);
	FUZZ_CHECK(pfs_ndjson_next(reader, &again) == 0);
	pfs_ndjson_close(reader);
	source = outer;
	free(text);
}

static void take_doc(struct result *r, const struct pfs_ndjson *reader,
		     const struct pfs_ndjson_doc *doc, bool look)
{
	char key[PFS_NAME_MAX + 1];
	struct pfs_json_scan scan;
	bool json = doc->payload != reader->decoded;

	FUZZ_CHECK(pfs_key_is_point(&doc->key) && doc->line > 0);
	mix(r, key, pfs_key_format(key, &doc->key));
	mix(r, doc->payload, doc->len);
	mix_u64(r, doc->line);
	mix_u64(r, doc->point);
	r->docs++;
	if (json)
		FUZZ_CHECK(pfs_json_scan_value(&scan, doc->payload, doc->payload + doc->len,
					       true) == PFS_JSON_OK &&
			   scan.at == doc->payload + doc->len);
	if (look)
		check_again(doc, json);
}

static void wait_for_input(void *arg)
{
	++*(unsigned *)arg;
}

static struct result run(const uint8_t *text, size_t len, uint64_t pieces)
{
	struct result r = {.hash = 1};
	struct pfs_ndjson *reader;
	struct pfs_ndjson_doc doc;
	unsigned waits = 0;
	int more;

	source = (struct source){.at = text, .end = text + len, .state = pieces};
	FUZZ_CHECK(pfs_ndjson_open(&reader, 0, pieces ? wait_for_input : NULL, &waits) == 0);
	while ((more = pfs_ndjson_next(reader, &doc)) != 0) {
		const struct pfs_ndjson_fault *fault = pfs_ndjson_fault(reader);

		if (more == 1) {
			take_doc(&r, reader, &doc, pieces == 0 && r.docs < 8);
			continue;
		}
		FUZZ_CHECK(more == -EBADMSG);
		FUZZ_CHECK(fault->line > 0 && fault->text[0]);
		mix(&r, fault->text, strlen(fault->text));
		mix_u64(&r, fault->line);
		mix_u64(&r, fault->point);
		/* Each one is for a place of its own: no more of them than lines and points. */
		FUZZ_CHECK(++r.faults <= len + 1);
	}
	FUZZ_CHECK(pfs_ndjson_bytes(reader) <= len);
	mix_u64(&r, pfs_ndjson_bytes(reader));
	pfs_ndjson_close(reader);
	return r;
}

/* What pfs_json_string_encode writes is a string that says the same, if it was text. */
static void check_strings(const uint8_t *text, size_t len)
{
	char *out = malloc(6 * len + 2), *back = malloc(6 * len + 2);
	struct pfs_json_slice string = {.p = (uint8_t *)out};
	struct pfs_json_scan scan;
	ptrdiff_t n;

	FUZZ_CHECK(out && back);
	string.len = pfs_json_string_encode(out, (const char *)text, len);
	FUZZ_CHECK(string.len <= 6 * len + 2);
	FUZZ_CHECK(pfs_json_scan_value(&scan, string.p, string.p + string.len, true) ==
			   PFS_JSON_OK &&
		   scan.at == string.p + string.len);
	n = pfs_json_string_decode(string, back, 6 * len + 2);
	FUZZ_CHECK(n >= 0);
	if (len < 64 && (size_t)n == len && memcmp(back, text, len) == 0 && !memchr(text, 0, len)) {
		back[n] = '\0';
		FUZZ_CHECK(pfs_json_string_is(string, back));
	}
	free(out);
	free(back);
}

/* u8 how the input is cut; the rest is the input. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = fuzz_in(data, size);
	uint64_t pieces = fuzz_u8(&in);
	uint8_t *text = malloc(fuzz_left(&in) + 1);
	size_t len = fuzz_left(&in);
	struct result whole, cut;

	FUZZ_CHECK(text != NULL);
	if (len)
		memcpy(text, in.at, len);
	whole = run(text, len, 0);
	cut = run(text, len, pieces + 1);
	FUZZ_CHECK(whole.docs == cut.docs && whole.faults == cut.faults && whole.hash == cut.hash);
	if (len < 256)
		check_strings(text, len);
	free(text);
	return 0;
}
