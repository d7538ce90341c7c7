/* storage/publish*.c, storage/manifest.c: each part by itself, in memory that ends at a fence and
 * may be refused: who is counted on, what ends a page, what is known of pages and keys, room for
 * bodies, sizes of pages, dictionaries at their bounds, files of others in the way. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "storage/codec.h"
#include "storage/crc.h"
#include "storage/export_line.h"
#include "storage/page.h"
#include "storage/publish_internal.h"
#include "storage/refine.h"
#include "storage/train.h"

#undef PFS_PAYLOAD_MAX
#define PFS_PAYLOAD_MAX 300000
#undef PUBLISH_PAGE_OWN
#define PUBLISH_PAGE_OWN 400000

static long some_processors(void);
static int some_hash(struct pfs_hash **out);
static int some_hash_end(struct pfs_hash *hash, uint8_t *out);
static int some_hc(struct pfs_codec_hc **out);
static size_t some_packing(struct pfs_codec_hc *hc, uint8_t *out, size_t cap, const uint8_t *raw,
			   size_t raw_len, const struct pfs_codec_dict *dict);
static int some_codec(struct pfs_codec_dict **out, const void *bytes, size_t len);
static int some_thread(pthread_t *thread, void *(*run)(void *), void *arg);
static ssize_t some_training(uint8_t *out, size_t cap, const uint8_t *samples, const size_t *lens,
			     size_t count);
static int some_refining(uint8_t *dict, size_t *len, size_t cap, const uint8_t *samples,
			 const size_t *lens, size_t count, const bool *stop);

#include "tests/unit/fenced.h"

#define sysconf(name) some_processors()
#define pfs_hash_new(out) some_hash(out)
#define pfs_codec_hc_new(out) some_hc(out)
#define pthread_create(thread, attr, run, arg) some_thread(thread, run, arg)
#define pfs_codec_dict_new(out, bytes, len) some_codec(out, bytes, len)
#define pfs_hash_end(hash, out) some_hash_end(hash, out)
#define pfs_codec_pack_hc(hc, out, cap, raw, raw_len, dict) \
	some_packing(hc, out, cap, raw, raw_len, dict)
#define pfs_train_samples(out, cap, samples, lens, count) \
	some_training(out, cap, samples, lens, count)
#define pfs_refine(dict, len, cap, samples, lens, count, stop) \
	some_refining(dict, len, cap, samples, lens, count, stop)
#define names names_of_roles
#include "storage/manifest.c"
#undef names
#include "storage/publish.c"
#include "storage/publish_commit.c"
#include "storage/publish_dict.c"
#include "storage/publish_object.c"
#include "storage/publish_page.c"
#include "storage/publish_prune.c"
#undef sysconf
#undef pfs_hash_new
#undef pfs_hash_end
#undef pfs_codec_pack_hc
#undef pfs_codec_hc_new
#undef pfs_codec_dict_new
#undef pthread_create

#include "tests/unit/publish_helpers.h"

#define NONE UINT64_MAX

/* ---- what is counted on ---- */

static struct {
	long processors;
	int hash, hash_end, hc; /* errors */
	unsigned hashes, hcs;	/* so many are had before */
	bool no_threads;
	unsigned threads; /* that were had */
	int training, refining;
	int codec;	     /* of the next one */
	unsigned packed;     /* atomic: bodies */
	size_t trained_with; /* samples */
	uint64_t trained;    /* checksums of samples */
} given = {.processors = 2};

static long some_processors(void)
{
	return given.processors;
}

static int some_hash(struct pfs_hash **out)
{
	return given.hash && !given.hashes-- ? given.hash : pfs_hash_new(out);
}

static int some_hash_end(struct pfs_hash *hash, uint8_t *out)
{
	return given.hash_end ? given.hash_end : pfs_hash_end(hash, out);
}

static int some_hc(struct pfs_codec_hc **out)
{
	return given.hc && !given.hcs-- ? given.hc : pfs_codec_hc_new(out);
}

static int some_codec(struct pfs_codec_dict **out, const void *bytes, size_t len)
{
	int err = given.codec;

	*out = NULL;
	given.codec = 0;
	return err ? err : pfs_codec_dict_new(out, bytes, len);
}

static size_t some_packing(struct pfs_codec_hc *hc, uint8_t *out, size_t cap, const uint8_t *raw,
			   size_t raw_len, const struct pfs_codec_dict *dict)
{
	__atomic_add_fetch(&given.packed, 1, __ATOMIC_RELAXED);
	return pfs_codec_pack_hc(hc, out, cap, raw, raw_len, dict);
}

static int some_thread(pthread_t *thread, void *(*run)(void *), void *arg)
{
	if (given.no_threads)
		return EAGAIN;
	given.threads++;
	return pthread_create(thread, NULL, run, arg);
}

/* The ends of samples, as far as they have room. */
static ssize_t some_training(uint8_t *out, size_t cap, const uint8_t *samples, const size_t *lens,
			     size_t count)
{
	size_t all = 0, len;

	if (given.training)
		return given.training;
	given.trained_with = count;
	for (size_t i = 0; i < count; i++)
		all += lens[i];
	given.trained = pfs_crc32c(0, samples, all) + ((uint64_t)all << 32);
	len = pfs_min_u64(cap, all);
	memcpy(out, samples + (all - len), len);
	return (ssize_t)len;
}

static int some_refining(uint8_t *dict, size_t *len, size_t cap, const uint8_t *samples,
			 const size_t *lens, size_t count, const bool *stop)
{
	(void)samples;
	(void)lens;
	(void)stop;
	assert_int_equal(count, given.trained_with);
	assert_true(*len <= cap);
	dict[0]++;
	return given.refining;
}

/* ---- beginning ---- */

static int begin_in(struct pfs_dir *dir, unsigned threads, struct pfs_publish **p,
		    struct pfs_reason *reason)
{
	struct pfs_publish_options options = publish_options();

	options.threads = threads;
	return pfs_publish_begin(p, dir, WHERE, &options, reason);
}

/* Proves: as many threads pack as are asked for, or as there are processors, or one where nobody
 * knows, but no more than there may be; each has tools of its own. */
static void threads_are_counted(void **state)
{
	static const struct {
		unsigned asked;
		long processors;
		unsigned threads;
	} cases[] = {{0, 2, 2},	  {0, 1, 1},	 {0, 0, 1},	     {0, -1, 1}, {0, 16, 16},
		     {0, 17, 16}, {0, 1000, 16}, {1, 7, 1},	     {3, 7, 3},	 {16, 1, 16},
		     {17, 1, 16}, {3, -1, 3},	 {UINT32_MAX, 1, 16}};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_dir *dir = open_where(pfs_sim_io(sim));
		struct pfs_publish *p;

		given.processors = cases[i].processors;
		assert_int_equal(begin_in(dir, cases[i].asked, &p, NULL), 0);
		assert_int_equal(p->threads, cases[i].threads);
		for (unsigned n = 0; n < PUBLISH_THREADS_MAX; n++)
			assert_int_equal(p->hc[n] != NULL, n < cases[i].threads);
		pfs_publish_end(p);
		dir->ops->close_dir(dir);
		pfs_sim_free(sim);
	}
	given.processors = 2;
}

/* Proves: without a tool nothing begins, and it is said which error that is; nothing stays. */
static void tools_are_needed(void **state)
{
	static const struct {
		int hash, hc;
		unsigned before;
		const char *says;
	} cases[] = {
		{-EOPNOTSUPP, 0, 0, "built without libcrypto, which names what is published"},
		{-ENOMEM, 0, 0, "Cannot allocate memory"},
		{-ENOMEM, 0, 1, "Cannot allocate memory"},
		{-EIO, 0, 1, "Input/output error"},
		{0, -ENOMEM, 0, "Cannot allocate memory"},
		{0, -ENOMEM, 1, "Cannot allocate memory"},
		{0, -ENOMEM, 2, "Cannot allocate memory"},
	};
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_where(pfs_sim_io(sim));

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_reason reason;
		struct pfs_publish *p = (struct pfs_publish *)&reason;
		const int err = cases[i].hash + cases[i].hc;

		given.hash = cases[i].hash;
		given.hc = cases[i].hc;
		given.hashes = given.hcs = cases[i].before;
		assert_int_equal(begin_in(dir, 3, &p, &reason), err);
		given.hash = given.hc = 0;
		assert_null(p);
		assert_string_equal(reason.text, cases[i].says);
		assert_int_equal(fenced_blocks, 0);
	}
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* ---- memory ---- */

#define DOCS 12u

static void small_doc(const struct source *s, uint64_t i, struct pfs_key *key,
		      struct pfs_attr *attr, char **data, size_t *len)
{
	*len = i == 7 ? 70000 : 20 * i;
	*data = malloc(*len + 1);
	memset(*data, i == s->changed ? 'b' : 'a', *len);
	*key = pfs_key_num(i);
	if (i > 9)
		set_uuid(key, i, ~i);
	*attr = (struct pfs_attr){.mode = 0644, .mtime_ns = (int64_t)i};
}

struct doc {
	struct pfs_key key;
	struct pfs_attr attr;
	char *data;
	size_t len;
};

static void make_docs(struct doc docs[DOCS], unsigned changed)
{
	const struct source s = {.changed = changed};

	for (unsigned i = 0; i < DOCS; i++)
		small_doc(&s, i, &docs[i].key, &docs[i].attr, &docs[i].data, &docs[i].len);
}

static int publish_docs(struct pfs_dir *dir, const struct doc docs[DOCS], uint32_t keep,
			struct pfs_reason *reason, bool *began)
{
	const struct pfs_publish_options options = publish_options();
	struct pfs_prune_result pruned;
	struct pfs_publish_result r;
	struct pfs_publish *p;
	int err = pfs_publish_begin(&p, dir, WHERE, &options, reason);

	*began = !err;
	for (unsigned i = 0; i < DOCS && !err; i++)
		err = pfs_publish_sample(p, docs[i].data, docs[i].len);
	for (unsigned i = 0; i < DOCS && !err; i++) {
		err = pfs_publish_add(p, &docs[i].key, &docs[i].attr, docs[i].data, docs[i].len);
		if (err) /* It stays. */
			assert_int_equal(pfs_publish_add(p, &docs[i].key, &docs[i].attr, "x", 1),
					 err);
	}
	if (!err)
		err = pfs_publish_commit(p, &r);
	if (!err)
		err = pfs_publish_prune(p, keep, &pruned);
	pfs_publish_end(p);
	return err;
}

/* Proves: whichever allocation is refused, that is the error, and its name is said where a reason
 * is; nothing is written behind what was allocated, nothing stays, and what was current is that
 * still, or the new generation. */
static void memory_may_be_refused(void **state)
{
	struct doc docs[2][DOCS];
	const struct source before = {
		.count = DOCS, .doc = small_doc, .changed = NONE, .absent = NONE};
	const struct source after = {
		.count = DOCS, .doc = small_doc, .changed = DOCS - 1, .absent = NONE};
	unsigned refused = 0;

	(void)state;
	make_docs(docs[0], DOCS);
	make_docs(docs[1], DOCS - 1);
	for (unsigned second = 0; second < 3; second++) {
		int err = -ENOMEM;

		for (unsigned n = 0; err; n++) {
			struct pfs_sim *sim = pfs_sim_new();
			const unsigned blocks = fenced_blocks;
			struct pfs_reason reason = {.text = ""};
			struct pfs_manifest m = {0};
			struct pfs_dir *dir;
			uint32_t generation;
			bool began;

			if (second)
				publish_ok(pfs_sim_io(sim), &before);
			dir = open_where(pfs_sim_io(sim));
			fenced_refuse(n);
			/* In the last round the same documents once more. */
			err = publish_docs(dir, docs[second == 1], 1, &reason, &began);
			fenced_refuses = false;
			assert_true(err == 0 || err == -ENOMEM);
			assert_int_equal(fenced_blocks, blocks);
			if (!began)
				assert_true(strstr(reason.text, "memory") &&
					    !strstr(reason.text, "Unknown"));
			generation = read_generation(dir, &m);
			pfs_manifest_free(&m);
			assert_in_range(generation, second > 0, 1 + second % 2);
			assert_true(err || generation == 1 + second % 2);
			assert_int_equal(verify_published(dir, generation == 2 ? &after : &before),
					 generation);
			refused += err != 0;
			dir->ops->close_dir(dir);
			pfs_sim_free(sim);
		}
	}
	assert_true(refused > 40);
	for (unsigned i = 0; i < 2 * DOCS; i++)
		free(docs[i / DOCS][i % DOCS].data);
}

/* ---- documents and pages ---- */

/* One of the objects, or of their files. */
static struct blind {
	const char *part; /* of a name */
	enum pfs_sim_kind kind;
	int err;
} blind;

static int some_look(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	return step->kind == blind.kind && strstr(step->name, blind.part) &&
			       !strstr(step->name, ".tmp")
		       ? blind.err
		       : 0;
}

/* The same of changes, and of what is unfinished, too. */
static int some_step(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	return step->kind == blind.kind && strstr(step->name, blind.part) ? blind.err : 0;
}

/* Proves: a document may be as long as documents may be, and no longer; a point is needed. */
static void lengths_have_a_bound(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_where(pfs_sim_io(sim));
	const struct pfs_attr attr = {.mode = 0644};
	struct pfs_key key = pfs_key_num(1);
	char *data = malloc(PFS_PAYLOAD_MAX);
	struct pfs_publish *p;

	(void)state;
	memset(data, 'x', PFS_PAYLOAD_MAX);
	assert_int_equal(begin_in(dir, 1, &p, NULL), 0);
	assert_int_equal(pfs_publish_add(p, &key, &attr, data, PFS_PAYLOAD_MAX + 1), -EFBIG);
	assert_int_equal(pfs_publish_add(p, &key, &attr, data, PFS_PAYLOAD_MAX), 0);
	assert_int_equal(p->result.points, 1);
	assert_int_equal(p->result.raw_bytes, PFS_PAYLOAD_MAX);
	key.num = 2;
	assert_int_equal(pfs_publish_add(p, &key, &attr, data, 0), 0);
	assert_int_equal(pfs_publish_add(p, &key, &attr, data, 0), -EINVAL);
	assert_int_equal(p->last_key[7] + p->last_key[15], 2);
	/* So many documents may be published. */
	p->result.points = PFS_PUBLISHED_POINTS_MAX - 1;
	key.num = 3;
	assert_int_equal(pfs_publish_add(p, &key, &attr, data, 1), 0);
	key.num = 4;
	assert_int_equal(pfs_publish_add(p, &key, &attr, data, 1), -EFBIG);
	assert_int_equal(p->err, -EFBIG);
	/* The next page begins with nothing. */
	assert_int_equal(publish_flush_page(p), 0);
	assert_true(p->doc_count == 0 && p->weight == 0 && p->raw_len == 0 && !p->own);
	pfs_publish_end(p);
	free(data);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* A key whose hash is that far above the least at which a page does not end. */
static uint64_t hash_of(const struct publish_doc *doc)
{
	return key_hash(doc->key, PAGE_SALT);
}

/* Proves: a page ends before a document for each reason there is, from the very byte on. */
static void pages_end_at_their_bounds(void **state)
{
	const uint64_t max = PUBLISH_PAGE_MAX, min = PUBLISH_PAGE_MIN, own = PUBLISH_PAGE_OWN;
	struct publish_doc doc = {.kind = PFS_KEY_NUM};
	uint64_t chance, weight = 64;
	struct pfs_publish *p = calloc(1, sizeof(*p));

	(void)state;
	/* Of weight 64 one in some hundred thousand ends a page; this one does not. */
	while (hash_of(&doc) < UINT64_MAX / PUBLISH_PAGE_TARGET * own)
		doc.key[0]++;
	p->doc_count = 1;
	for (unsigned i = 0; i < 2; i++) {
		p->weight = max - weight + i;
		assert_int_equal(ends_page(p, &doc, weight), i);
		p->weight = i ? min : min - 1;
		assert_int_equal(ends_page(p, &doc, own - 1 + i), i);
		p->own = i;
		assert_int_equal(ends_page(p, &doc, weight), i);
		p->own = false;
	}
	/* By its hash: with the least weight with which it does, from the least bytes on. */
	chance = UINT64_MAX / PUBLISH_PAGE_TARGET;
	for (unsigned k = 0; k < 200; k++) {
		doc.key[1] = (uint8_t)k;
		weight = hash_of(&doc) / chance + 1;
		if (weight >= own)
			continue;
		p->weight = min;
		assert_true(ends_page(p, &doc, weight));
		assert_false(ends_page(p, &doc, weight - 1));
		p->weight = min - 1;
		assert_false(ends_page(p, &doc, weight));
	}
	/* With the key whose hash is just the bound it does not. */
	for (unsigned i = 0; i < 3; i++) {
		const uint64_t hash = 1000 * chance - 1 + i;

		pfs_put_le64(doc.key, 0x1234567);
		pfs_put_le64(doc.key + 8,
			     pfs_unmix64(hash) ^ pfs_mix64(UINT64_C(0x1234567) ^ PAGE_SALT));
		assert_true(hash_of(&doc) == hash);
		p->weight = min;
		assert_int_equal(ends_page(p, &doc, 1000), i == 0);
	}
	free(p);
}

/* Proves: an object of keys ends before a page by its first key, or when it has enough pages or
 * bytes, to one of each. */
static void objects_of_keys_end_at_their_bounds(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_where(pfs_sim_io(sim));
	struct publish_doc docs[1] = {{.kind = PFS_KEY_NUM}};
	struct pfs_publish *p;
	unsigned ended = 0;

	(void)state;
	assert_int_equal(begin_in(dir, 1, &p, NULL), 0);
	p->docs = docs;
	assert_int_equal(publish_reserve(&p->keys, &p->keys_cap, PUBLISH_KEYS_LEN_MAX), 0);
	memset(p->keys, 0, p->keys_cap);
	for (unsigned i = 0; i < 64; i++) {
		docs[0].key[3] = (uint8_t)i;
		p->keys_pages = 1;
		p->keys_len = 100 + i;
		assert_int_equal(begin_page_keys(p), 0);
		assert_int_equal(p->keys_len == 0, key_hash(docs[0].key, KEYS_SALT) % 8 == 0);
		assert_int_equal(p->keys_len == 0, p->keys_pages == 0);
		ended += p->keys_len == 0;
		assert_int_equal(p->key_objects.count, ended);
	}
	assert_in_range(ended, 1, 30);
	while (key_hash(docs[0].key, KEYS_SALT) % 8 == 0)
		docs[0].key[4]++;
	for (unsigned i = 0; i < 4; i++) {
		p->keys_pages = i < 2 ? PUBLISH_KEYS_PAGES_MAX - 1 + i : 1;
		p->keys_len = i < 2 ? 1000 + i : PUBLISH_KEYS_LEN_MAX - 3 + i;
		assert_int_equal(begin_page_keys(p), 0);
		assert_int_equal(p->keys_len == 0, i % 2);
	}
	/* What can't be written ends the page that was to begin. */
	p->doc_count = 1;
	begin_digest(p);
	p->keys_pages = PUBLISH_KEYS_PAGES_MAX;
	p->keys_len = 77;
	blind = (struct blind){"keys-", PFS_SIM_UNLINK, -EACCES};
	pfs_sim_on_step(sim, some_step, NULL);
	assert_int_equal(publish_flush_page(p), -EACCES);
	pfs_sim_on_step(sim, NULL, NULL);
	p->docs = NULL;
	pfs_publish_end(p);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

static void tiny_doc(const struct source *s, uint64_t i, struct pfs_key *key, struct pfs_attr *attr,
		     char **data, size_t *len)
{
	*key = pfs_key_num(i);
	*attr = (struct pfs_attr){.mode = 0644, .mtime_ns = 1};
	*len = i % s->size;
	*data = malloc(*len + 1);
	memset(*data, 'x', *len + 1);
}

/* The same, without memory for each. */
static struct pfs_publish_result publish_tiny(struct pfs_sim *sim, const struct source *s)
{
	const struct pfs_attr attr = {.mode = 0644, .mtime_ns = 1};
	struct pfs_dir *dir = open_where(pfs_sim_io(sim));
	struct pfs_publish_result r;
	struct pfs_publish *p;

	assert_int_equal(begin_in(dir, 1, &p, NULL), 0);
	for (uint64_t i = 0; i < s->count; i++) {
		const struct pfs_key key = pfs_key_num(i);

		assert_int_equal(pfs_publish_add(p, &key, &attr, "xxxxxxxx", i % s->size), 0);
	}
	assert_int_equal(pfs_publish_commit(p, &r), 0);
	pfs_publish_end(p);
	dir->ops->close_dir(dir);
	return r;
}

/* Proves: a page has any number of documents, also when all of them are empty, which is what comes
 * after larger ones. */
static void pages_have_many_documents(void **state)
{
	const struct source many = {
		.count = 4200, .doc = tiny_doc, .changed = NONE, .absent = NONE, .size = 9};
	const struct source empty = {
		.count = 3, .doc = tiny_doc, .changed = NONE, .absent = NONE, .size = 1};
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_publish_result r;

	(void)state;
	publish_tiny(sim, &many);
	assert_int_equal(verify_in(pfs_sim_io(sim), &many), 1);
	publish_tiny(sim, &empty);
	assert_int_equal(verify_in(pfs_sim_io(sim), &empty), 2);
	r = publish_tiny(sim, &many);
	assert_true(r.generation == 3 && r.uploaded == 0);
	pfs_sim_free(sim);
	assert_int_equal(fenced_blocks, 0);
}

/* Proves: what is behind a body, in a container that is longer, is zeros, so that the same
 * documents are the same bytes. */
static void containers_end_with_zeros(void **state)
{
	const struct source one = {
		.count = 1, .doc = tiny_doc, .changed = NONE, .absent = NONE, .size = 1};
	struct pfs_sim *sim = pfs_sim_new();
	const struct pfs_container_base base = {PFS_KEY_NUM, 0, PFS_PUBLISHED_SEQ, 1};
	struct pfs_container c;
	struct pfs_manifest m;
	struct pfs_dir *dir;
	uint8_t *page;
	size_t len;

	(void)state;
	publish_tiny(sim, &one);
	dir = open_where(pfs_sim_io(sim));
	assert_int_equal(read_generation(dir, &m), 1);
	page = read_object(dir, &m, 1);
	len = m.objects[1].len - 64 - 80;
	assert_int_equal(len, PFS_PUBLISHED_VALUE_MIN);
	assert_int_equal(pfs_container_header_decode(&c, page + 80, len, len, &base), 0);
	assert_int_equal(c.body_len, 0);
	assert_true(c.header_len + 2 < len);
	for (size_t i = c.header_len; i < len; i++)
		assert_int_equal(page[80 + i], 0);
	free(page);
	pfs_manifest_free(&m);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: where nothing can be hashed, nothing is written, and that is the error. */
static void hashes_may_fail(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_where(pfs_sim_io(sim));
	const struct pfs_manifest_object about = {.role = PFS_OBJECT_KEYS};
	const struct pfs_attr attr = {.mode = 0644};
	const struct pfs_key key = pfs_key_num(1);
	struct pfs_publish *p;

	(void)state;
	assert_int_equal(begin_in(dir, 1, &p, NULL), 0);
	assert_int_equal(pfs_publish_add(p, &key, &attr, "x", 1), 0);
	given.hash_end = -EIO;
	assert_int_equal(publish_object(p, &p->key_objects, &about, "bytes", 5), -EIO);
	assert_int_equal(publish_flush_page(p), -EIO);
	given.hash_end = 0;
	assert_int_equal(list_where(dir).objects, 0);
	assert_int_equal(p->key_objects.count + p->pages.count + p->result.objects, 0);
	pfs_publish_end(p);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: a page is as large as it must be, and no larger: twice as large from the byte on that
 * does not fit. What is before and behind its hole is where its header says. */
static void pages_are_as_large_as_needed(void **state)
{
	struct pfs_publish *p = calloc(1, sizeof(*p));

	(void)state;
	p->doc_count = 1;
	p->docs = calloc(1, sizeof(*p->docs));
	p->docs->kind = PFS_KEY_NUM;
	for (uint64_t size = PFS_PAGE_SIZE_MIN; size <= PFS_MIB; size *= 2) {
		for (uint32_t len = (uint32_t)size - 300; len < size; len++) {
			struct layout l = {.p = p};
			uint64_t need, want = PFS_PAGE_SIZE_MIN;

			p->docs->raw_len = p->docs->body_len = len;
			measure(&l);
			need = 64 + 16 + p->docs->len + 64;
			while (want < need)
				want *= 2;
			assert_int_equal(l.head, 80);
			assert_int_equal(l.containers, p->docs->len);
			assert_int_equal(l.header.page_size, want);
			assert_int_equal(l.header.floor, want - 64 - p->docs->len);
		}
	}
	free(p->docs);
	free(p);
}

/* Proves: each body has a place of its own, with room for whatever it packs to, and nothing but the
 * documents of the page is looked at. */
static void bodies_have_room(void **state)
{
	static const uint32_t lens[] = {0, 1, 100, 65535, 65536, 65537, 200000, 0, 5};
	struct pfs_publish *p = calloc(1, sizeof(*p));
	uint64_t end = 0;

	(void)state;
	p->doc_count = pfs_array_len(lens);
	p->docs = calloc(p->doc_count, sizeof(*p->docs));
	for (size_t i = 0; i < p->doc_count; i++)
		p->docs[i].raw_len = lens[i];
	assert_int_equal(place_bodies(p), 0);
	for (size_t i = 0; i < p->doc_count; i++) {
		assert_true(p->docs[i].body_off >= end);
		end = p->docs[i].body_off + (lens[i] > 65536 ? pfs_blocks_bound(lens[i]) : lens[i]);
	}
	assert_true(p->packed_cap > end);
	free(p->packed);
	free(p->docs);
	free(p);
}

/* Proves: room grows to what is needed, in steps of twice as much, and stays when it is enough. */
static void room_grows(void **state)
{
	static const struct {
		size_t need, cap;
	} steps[] = {{0, 0},	  {1, 65536},	    {65536, 65536},    {65537, 131072},
		     {5, 131072}, {131072, 131072}, {1000000, 1048576}};
	uint8_t *bytes = NULL;
	size_t cap = 0;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(steps); i++) {
		assert_int_equal(publish_reserve(&bytes, &cap, steps[i].need), 0);
		assert_in_range(cap, steps[i].need, steps[i].cap);
		assert_int_equal(bytes != NULL, cap > 0);
		if (cap)
			bytes[cap - 1] = (uint8_t)i;
	}
	fenced_refuse(0);
	assert_int_equal(publish_reserve(&bytes, &cap, 2000000), -ENOMEM);
	assert_int_equal(cap, 1048576);
	free(bytes);
}

/* Proves: what tells the blocks of one document from those of another comes of all of its key, its
 * bytes and its length, for both halves of a UUID. */
static void content_comes_of_all_of_the_key(void **state)
{
	struct pfs_publish *p = calloc(1, sizeof(*p));
	struct publish_doc doc = {.kind = PFS_KEY_UUID, .raw_len = 70000};
	uint64_t want;

	(void)state;
	assert_int_equal(pfs_codec_hc_new(&p->hc[0]), 0);
	p->raw = calloc(1, 70000);
	p->packed = malloc(pfs_blocks_bound(70000));
	for (unsigned i = 0; i < 16; i++)
		doc.key[i] = (uint8_t)(0x11 * i + 3);
	want = pfs_mix64(UINT64_C(0x7a69584736251403) ^ UINT64_C(0x02f1e0cfbead9c8b)) ^
	       ((uint64_t)pfs_crc32c(0, p->raw, 70000) << 32 | 70000);
	pack_blocks(p, &doc, p->hc[0]);
	assert_true(doc.content == want);
	free(p->raw);
	free(p->packed);
	pfs_codec_hc_free(p->hc[0]);
	free(p);
}

/* Proves: without threads the shares of others are packed all the same; with them, by one each;
 * each document once. */
static void shares_are_packed_without_threads(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	const struct source s = {
		.count = 400, .doc = record_doc, .changed = NONE, .absent = NONE, .size = 3000};
	const unsigned packed = 400 + 134 / 8; /* and samples that are held out */
	struct pfs_publish_result r;

	(void)state;
	given.threads = given.packed = 0;
	given.no_threads = true;
	publish_ok(pfs_sim_io(sim), &s);
	given.no_threads = false;
	assert_int_equal(given.threads, 0);
	assert_int_equal(given.packed, packed);
	assert_int_equal(verify_in(pfs_sim_io(sim), &s), 1);
	pfs_sim_free(sim);
	sim = pfs_sim_new();
	r = publish_ok(pfs_sim_io(sim), &s);
	assert_int_equal(r.generation, 1);
	assert_int_equal(given.threads, 1);
	assert_int_equal(given.packed, 2 * packed);
	assert_int_equal(verify_in(pfs_sim_io(sim), &s), 1);
	pfs_sim_free(sim);
}

/* Proves: a share ends with the document by which it is as large as it must be, to the byte. */
static void shares_end_at_their_bounds(void **state)
{
	struct pfs_publish *p = calloc(1, sizeof(*p));
	struct share shares[2];

	(void)state;
	p->threads = 2;
	p->doc_count = 5;
	p->docs = calloc(p->doc_count, sizeof(*p->docs));
	for (unsigned i = 0; i < 5; i++)
		p->docs[i].raw_len = 300000 - 64;
	for (unsigned i = 0; i < 3; i++) {
		p->weight = 2 * (600000 - 2 + (uint64_t)i); /* a share is of half of that and 1 */
		assert_int_equal(divide(p, shares), 2);
		assert_int_equal(shares[0].to, i < 2 ? 2 : 3);
		assert_int_equal(shares[1].from, shares[0].to);
		assert_int_equal(shares[1].to, 5);
	}
	free(p->docs);
	free(p);
}

/* ---- what was published before ---- */

/* Proves: pages of the generation before are found by their digests, each, and no others; objects
 * that are no pages are none of them. */
static void pages_are_found_by_their_digests(void **state)
{
	struct pfs_publish *p = calloc(1, sizeof(*p));
	struct pfs_manifest_object objects[8] = {{.role = PFS_OBJECT_DICT},
						 {.role = PFS_OBJECT_KEYS}};

	(void)state;
	for (uint32_t count = 0; count <= 7; count++) {
		p->before = (struct pfs_manifest){.objects = objects, .object_count = count};
		for (uint32_t i = 2; i < 8; i++) {
			objects[i].role = PFS_OBJECT_PAGE;
			memset(objects[i].digest, (int)(i * 77), PFS_HASH_LEN);
			objects[i].digest[PFS_HASH_LEN - 1] = (uint8_t)i;
		}
		p->known_count = 0;
		assert_int_equal(know_pages(p), 0);
		assert_int_equal(p->known_count, count < 2 ? 0 : count - 2);
		for (uint32_t i = 0; i < 8; i++) {
			const struct publish_known *known = find_known(p, objects[i].digest);

			assert_int_equal(known != NULL, i >= 2 && i < count);
			if (known)
				assert_int_equal(known->object, i);
			objects[i].digest[PFS_HASH_LEN - 1]++;
			assert_null(find_known(p, objects[i].digest));
			objects[i].digest[PFS_HASH_LEN - 1]--;
		}
		free(p->known);
	}
	free(p);
}

/* Proves: bytes are the block that a manifest speaks of when they decode to their very end, and
 * kind, number and first key are those; whatever was decoded before. */
static void blocks_are_what_is_said(void **state)
{
	struct pfs_key_block *block = calloc(1, sizeof(*block));
	struct pfs_key_block *room = malloc(sizeof(*room));
	uint8_t *bytes = malloc(PFS_KEY_BLOCK_LEN_MAX);
	struct pfs_manifest_block right = {.kind = PFS_KEY_UUID, .count = 2}, about;
	size_t len;

	(void)state;
	block->kind = PFS_KEY_UUID;
	block->count = 2;
	for (unsigned i = 0; i < 2; i++) {
		memset(block->entries[i].key, (int)(0x21 + i), 16);
		block->entries[i].len = 20;
		block->entries[i].raw_len = 5;
		block->entries[i].off = 20 * i;
	}
	memcpy(right.key, block->entries[0].key, 16);
	len = pfs_key_block_encode(bytes, block);
	right.len = (uint32_t)len;
	assert_true(is_block(room, &right, bytes));
	for (unsigned i = 0; i < 16; i++) {
		about = right;
		about.key[i] ^= 1;
		assert_false(is_block(room, &about, bytes));
	}
	about = right;
	about.kind = PFS_KEY_NUM;
	assert_false(is_block(room, &about, bytes));
	for (unsigned count = 1; count < 4; count++) {
		about = right;
		about.count = (uint16_t)count;
		assert_int_equal(is_block(room, &about, bytes), count == 2);
	}
	/* One byte more, with a good checksum: all is as it should be, but that. */
	bytes[len] = 0;
	about = right;
	about.len++;
	pfs_put_le32(bytes, pfs_crc32c(0, bytes + 4, len + 1 - 4));
	assert_false(is_block(room, &about, bytes));
	assert_int_equal(room->count, 2);
	assert_false(is_block(room, &right, bytes)); /* now its checksum is wrong */
	free(bytes);
	free(room);
	free(block);
}

/* Proves: an object of the generation before that is shorter or longer than it was, or can't be
 * looked at, is written anew, and the generation is whole. */
static void other_lengths_are_written_anew(void **state)
{
	struct source s = {.count = DOCS, .doc = small_doc, .changed = NONE, .absent = NONE};

	(void)state;
	for (unsigned way = 0; way < 7; way++) {
		const unsigned role = way % 2 ? PFS_OBJECT_PAGE : PFS_OBJECT_KEYS;
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_publish_result r = publish_ok(pfs_sim_io(sim), &s);
		struct pfs_dir *dir = open_where(pfs_sim_io(sim));
		char name[PFS_OBJECT_NAME_MAX];
		struct pfs_manifest m;
		uint8_t *bytes;
		uint32_t at = 0;
		size_t len;

		assert_int_equal(r.uploaded, 2);
		assert_int_equal(read_generation(dir, &m), 1);
		while (m.objects[at].role != role)
			at++;
		pfs_object_name(name, role, m.objects[at].hash);
		bytes = read_file(dir, name, &len);
		if (way < 2)
			write_file(dir, name, bytes, len - 1);
		else if (way < 4)
			write_file(dir, name, "and more", 8);
		dir->ops->close_dir(dir);
		blind = (struct blind){"page-", way == 4 ? PFS_SIM_READ : PFS_SIM_OPEN, -EACCES};
		if (way >= 4)
			pfs_sim_on_look(sim, some_look, NULL);
		s.version++;
		s.changed = NONE;
		r = publish_ok(pfs_sim_io(sim), &s);
		pfs_sim_on_look(sim, NULL, NULL);
		assert_true(r.unchanged);
		if (way < 4)
			assert_int_equal(r.uploaded, 1);
		assert_int_equal(verify_in(pfs_sim_io(sim), &s), 1);
		free(bytes);
		pfs_manifest_free(&m);
		pfs_sim_free(sim);
	}
}

/* ---- files in the way ---- */

static const struct pfs_io_ops *usual;
static int size_err;	     /* of all but the first of them */
static unsigned size_passes; /* so many */
static bool usual_whole;

/* Of what is opened to be made nothing is there. */
static int some_size(struct pfs_file *file, uint64_t *out)
{
	int err = size_err && !size_passes-- ? size_err : usual->size(file, out);

	if (err == size_err)
		size_passes = 0;
	return err || *out || !usual_whole ? err : -ENOENT;
}

static int no_lock(struct pfs_dir *dir, const char *name, bool create)
{
	(void)dir;
	(void)name;
	(void)create;
	return -EOPNOTSUPP;
}

/* A directory in which files appear whole, as in a bucket. */
static struct pfs_dir *open_whole(struct pfs_sim *sim, struct pfs_io_ops *ops)
{
	struct pfs_dir *dir = open_where(pfs_sim_io(sim));

	usual = dir->ops;
	*ops = *usual;
	ops->whole_files = usual_whole = true;
	ops->size = some_size;
	ops->lock = no_lock;
	dir->ops = ops;
	return dir;
}

static struct pfs_publish *begin_docs(struct pfs_dir *dir, unsigned changed)
{
	const struct source s = {.changed = changed};
	struct pfs_publish *p;

	assert_int_equal(begin_in(dir, 1, &p, NULL), 0);
	for (unsigned i = 0; i < DOCS; i++) {
		struct doc d;

		small_doc(&s, i, &d.key, &d.attr, &d.data, &d.len);
		assert_int_equal(pfs_publish_add(p, &d.key, &d.attr, d.data, d.len), 0);
		free(d.data);
	}
	return p;
}

/* Proves: what somebody leaves under a name for what is unfinished, while one publishes, is no part
 * of what comes to stand there. */
static void longer_leftovers_are_replaced(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_where(pfs_sim_io(sim));
	const struct source s = {.count = DOCS, .doc = small_doc, .changed = NONE, .absent = NONE};
	struct pfs_publish *p = begin_docs(dir, DOCS);
	struct pfs_publish_result r;
	char junk[1000];

	(void)state;
	memset(junk, 'j', sizeof(junk));
	write_file(dir, "current.tmp", junk, sizeof(junk));
	write_file(dir, "generation-00000001.tmp", junk, sizeof(junk));
	assert_int_equal(pfs_publish_commit(p, &r), 0);
	pfs_publish_end(p);
	assert_int_equal(verify_published(dir, &s), 1);
	assert_int_equal(list_where(dir).others, 0);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: where files appear whole, an object of another length is replaced, a manifest is not: the
 * next number is taken. */
static void objects_are_replaced_and_manifests_are_not(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_io_ops ops;
	const struct source s = {.count = DOCS, .doc = small_doc, .changed = NONE, .absent = NONE};
	struct pfs_dir *dir = open_whole(sim, &ops);
	struct pfs_publish *p = begin_docs(dir, DOCS);
	struct pfs_publish_result r;
	struct pfs_manifest m;

	(void)state;
	assert_int_equal(pfs_publish_commit(p, &r), 0);
	pfs_publish_end(p);
	assert_int_equal(read_generation(dir, &m), 1);
	for (uint32_t i = 0; i < m.object_count; i++) {
		char name[PFS_OBJECT_NAME_MAX];

		pfs_object_name(name, m.objects[i].role, m.objects[i].hash);
		write_file(dir, name, "short", 5);
	}
	pfs_manifest_free(&m);
	assert_int_equal(dir->ops->unlink(dir, PFS_CURRENT_NAME), 0);
	p = begin_docs(dir, DOCS);
	assert_int_equal(pfs_publish_commit(p, &r), 0);
	assert_int_equal(r.generation, 2);
	assert_int_equal(r.uploaded, 2);
	pfs_publish_end(p);
	assert_int_equal(verify_published(dir, &s), 2);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: where nothing can be locked, it is noticed that another generation is current, or another
 * one of the same number, before `current` is replaced and before anything is pruned. */
static void it_is_noticed_that_others_publish(void **state)
{
	(void)state;
	for (unsigned way = 0; way < 3; way++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_io_ops ops;
		struct pfs_dir *dir = open_whole(sim, &ops);
		struct pfs_publish *p = begin_docs(dir, DOCS), *q;
		struct pfs_publish_result r;
		struct pfs_prune_result pruned;
		struct pfs_current_generation now;
		char text[PFS_CURRENT_LEN_MAX];

		assert_int_equal(pfs_publish_commit(p, &r), 0);
		q = begin_docs(dir, 3);
		now = p->current;
		now.crc += way == 1;
		now.generation += way == 2;
		assert_int_equal(dir->ops->unlink(dir, PFS_CURRENT_NAME), 0);
		write_file(dir, PFS_CURRENT_NAME, text, pfs_current_encode(text, &now));
		assert_int_equal(publish_is_alone(p), way ? -EBUSY : 0);
		assert_int_equal(pfs_publish_prune(p, 1, &pruned), way ? -EBUSY : 0);
		assert_int_equal(pfs_publish_commit(q, &r), way ? -EBUSY : 0);
		/* Somebody has published meanwhile. */
		assert_int_equal(publish_is_alone(p), -EBUSY);
		pfs_publish_end(p);
		pfs_publish_end(q);
		dir->ops->close_dir(dir);
		pfs_sim_free(sim);
	}
}

/* Proves: another's file is in the way however short its name is. */
static void short_names_are_others(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_where(pfs_sim_io(sim));
	struct pfs_reason reason;
	struct pfs_publish *p;

	(void)state;
	put_file(dir, "x");
	assert_int_equal(begin_in(dir, 1, &p, &reason), -ENOTEMPTY);
	assert_non_null(strstr(reason.text, "published: holds other files (x); "));
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* What becomes of `current` when it is made durable, and what is said of it. */
static struct {
	struct pfs_dir *dir; /* NULL: nothing else */
	int err;
	enum { OURS, ANOTHERS, NONE_IS, DAMAGED } is;
	unsigned calls;
} sync_says;

static int some_sync(struct pfs_file *file)
{
	const struct pfs_current_generation another = {.generation = 77, .len = 1, .crc = 2};
	char text[PFS_CURRENT_LEN_MAX];
	size_t len = pfs_current_encode(text, &another);

	if (!sync_says.dir)
		return usual->sync(file);
	sync_says.calls++;
	if (sync_says.is == NONE_IS)
		assert_int_equal(usual->unlink(sync_says.dir, PFS_CURRENT_NAME), 0);
	if (sync_says.is == ANOTHERS)
		write_file(sync_says.dir, PFS_CURRENT_NAME, text, len);
	if (sync_says.is == DAMAGED)
		write_file(sync_says.dir, PFS_CURRENT_NAME, "x", 1);
	return sync_says.err;
}

/* Proves: where a request to replace `current` is told that somebody else has replaced it, that may
 * have been the request itself: it has succeeded if what is current is what was to be, and else
 * somebody else publishes. Any other error is the error. */
static void the_answer_may_be_to_another(void **state)
{
	static const struct {
		int sync_err, is, err;
	} cases[] = {{0, OURS, 0},
		     {-ESTALE, OURS, 0},
		     {-ESTALE, ANOTHERS, -EBUSY},
		     {-ESTALE, NONE_IS, -EBUSY},
		     {-ESTALE, DAMAGED, -EBUSY},
		     {-EACCES, OURS, -EACCES},
		     {-EACCES, ANOTHERS, -EACCES}};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_io_ops ops;
		struct pfs_dir *dir = open_whole(sim, &ops);
		struct pfs_publish *p = begin_docs(dir, DOCS);
		const struct pfs_current_generation next = {.generation = 5, .len = 6, .crc = 7};

		ops.sync = some_sync;
		sync_says.dir = dir;
		sync_says.err = cases[i].sync_err;
		sync_says.is = cases[i].is;
		sync_says.calls = 0;
		assert_int_equal(publish_set_current(p, &next), cases[i].err);
		assert_int_equal(sync_says.calls, 1);
		sync_says.dir = NULL;
		assert_int_equal(p->current.generation, cases[i].err ? 0 : 5);
		assert_int_equal(p->current.crc, cases[i].err ? 0 : 7);
		pfs_publish_end(p);
		dir->ops->close_dir(dir);
		pfs_sim_free(sim);
	}
}

/* Proves: `current` may have as many bytes as there may be, and no more. */
static void current_has_a_longest_form(void **state)
{
	char text[PFS_CURRENT_LEN_MAX + 1];

	(void)state;
	memset(text, 'x', sizeof(text));
	for (unsigned more = 0; more < 2; more++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_dir *dir = open_where(pfs_sim_io(sim));
		struct pfs_reason reason;
		struct pfs_publish *p;

		write_file(dir, PFS_CURRENT_NAME, text, PFS_CURRENT_LEN_MAX + more);
		assert_int_equal(begin_in(dir, 1, &p, &reason), -EUCLEAN);
		assert_string_equal(reason.text, more ? "published: `current` can't be read"
						      : "published: `current` is damaged");
		dir->ops->close_dir(dir);
		pfs_sim_free(sim);
	}
}

/* Proves: after a commit nothing is added, whatever came of it, and what came of it is said once
 * more. */
static void a_commit_is_the_end(void **state)
{
	const struct pfs_attr attr = {.mode = 0644};
	struct pfs_key key;

	(void)state;
	set_uuid(&key, UINT64_MAX, 0);
	for (unsigned fails = 0; fails < 3; fails++) {
		for (unsigned whole = 0; whole < 2; whole++) {
			struct pfs_sim *sim = pfs_sim_new();
			struct pfs_io_ops ops;
			struct pfs_dir *dir = open_whole(sim, &ops);
			struct pfs_publish_result r;
			struct pfs_publish *p;
			/* Which error a sync says is not known to mean that. */
			const int err = !fails ? 0 : fails == 2 && !whole ? -EIO : -ENOSPC;

			ops.whole_files = usual_whole = whole;
			p = begin_docs(dir, DOCS);
			blind = (struct blind){fails ? "generation-" : "nothing",
					       fails == 2 ? PFS_SIM_SYNC : PFS_SIM_WRITE, -ENOSPC};
			pfs_sim_on_step(sim, some_step, NULL);
			assert_int_equal(pfs_publish_commit(p, &r), err);
			pfs_sim_on_step(sim, NULL, NULL);
			assert_int_equal(pfs_publish_add(p, &key, &attr, "x", 1),
					 err ? err : -EINVAL);
			assert_int_equal(pfs_publish_commit(p, &r), err ? err : -EINVAL);
			pfs_publish_end(p);
			dir->ops->close_dir(dir);
			pfs_sim_free(sim);
		}
	}
}

/* Proves: where the last number of a generation is taken there is none any more; there may be as
 * many blocks of keys as can be counted. */
static void numbers_end(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_io_ops ops;
	struct pfs_dir *dir = open_whole(sim, &ops);
	struct pfs_publish *p = begin_docs(dir, DOCS);
	struct pfs_manifest_block *blocks;
	struct pfs_publish_result r;
	char name[PFS_OBJECT_NAME_MAX];
	struct pfs_manifest m;
	size_t count;

	(void)state;
	pfs_generation_name(name, PFS_GENERATION_MAX);
	put_file(dir, name);
	p->before.generation = PFS_GENERATION_MAX - 1;
	assert_int_equal(pfs_publish_commit(p, &r), -EEXIST);
	pfs_publish_end(p);
	p = begin_docs(dir, DOCS);
	blocks = p->blocks;
	count = p->block_count;
	p->blocks = NULL;
	p->block_count = UINT32_MAX + UINT64_C(1);
	assert_int_equal(make_manifest(p, &m), -EFBIG);
	p->block_count = UINT32_MAX;
	assert_int_equal(make_manifest(p, &m), 0);
	assert_int_equal(m.block_count, UINT32_MAX);
	pfs_manifest_free(&m);
	p->blocks = blocks;
	p->block_count = count;
	pfs_publish_end(p);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: a generation is the one before if it was made of the same objects, in the same order, and
 * says the same of whose they are and how they are read; there has to be one before. */
static void what_is_unchanged(void **state)
{
	struct pfs_publish *p = calloc(1, sizeof(*p));
	struct pfs_manifest m, *b = &p->before;

	(void)state;
	for (unsigned count = 0; count < 4; count++) {
		m = (struct pfs_manifest){.generation = 4,
					  .object_count = count,
					  .points = 7,
					  .mode = 0644,
					  .uid = 5,
					  .gid = 6};
		m.objects = calloc(count, sizeof(*m.objects));
		b->objects = calloc(count, sizeof(*m.objects));
		memset(m.source, 9, sizeof(m.source));
		for (uint32_t i = 0; i < count; i++) {
			m.objects[i].role = i ? PFS_OBJECT_PAGE : PFS_OBJECT_KEYS;
			m.objects[i].len = 100 + i;
			memset(m.objects[i].hash, (int)(30 + i), PFS_HASH_LEN);
		}
		for (unsigned way = 0; way < 8 + 3 * count; way++) {
			struct pfs_manifest_object *objects = b->objects;

			*b = m;
			b->objects = objects;
			memcpy(b->objects, m.objects, count * sizeof(*m.objects));
			b->generation = way == 1 ? 0 : 3;
			b->points += way == 2;
			b->mode += way == 3;
			b->uid += way == 4;
			b->gid += way == 5;
			b->source[15] += way == 6;
			b->object_count += way == 7;
			if (way >= 8) {
				struct pfs_manifest_object *o = &b->objects[(way - 8) / 3];

				o->role += way % 3 == 0;
				o->len += way % 3 == 1;
				o->hash[PFS_HASH_LEN - 1] += way % 3 == 2;
			}
			assert_int_equal(is_unchanged(p, &m), way == 0);
		}
		free(m.objects);
		free(b->objects);
	}
	free(p);
}

static ssize_t read_nothing(struct pfs_file *file, void *buf, size_t len, uint64_t off)
{
	(void)file;
	(void)buf;
	(void)len;
	(void)off;
	return 0;
}

/* Proves: a file that gives no bytes although it has some is damaged; one that has none is not. */
static void files_give_what_they_have(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_where(pfs_sim_io(sim));
	struct pfs_io_ops ops = *dir->ops;
	uint8_t *bytes;
	size_t len;

	(void)state;
	write_file(dir, "some", "12345", 5);
	write_file(dir, "none", "", 0);
	for (unsigned given_none = 0; given_none < 2; given_none++) {
		ops.read = given_none ? read_nothing : ops.read;
		dir->ops = &ops;
		assert_int_equal(publish_read(dir, "some", 5, 5, &bytes, &len),
				 given_none ? -EUCLEAN : 0);
		assert_int_equal(len, given_none ? 0 : 5);
		free(bytes);
		assert_int_equal(publish_read(dir, "some", UINT64_MAX, 4, &bytes, &len), -EUCLEAN);
		assert_int_equal(publish_read(dir, "some", 6, 100, &bytes, &len), -EUCLEAN);
		assert_int_equal(publish_read(dir, "none", UINT64_MAX, 4, &bytes, &len), 0);
		assert_int_equal(len, 0);
		free(bytes);
		assert_int_equal(publish_read(dir, "gone", 6, 100, &bytes, &len), -ENOENT);
		assert_null(bytes);
	}
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* ---- dictionaries ---- */

#define SAMPLE_LEN 400u

/* Samples of so many bytes each; one that is held out does not pack, and may have another length.
 */
static void add_samples(struct pfs_publish *p, unsigned count, unsigned len, unsigned odd_len)
{
	char bytes[PFS_PUBLISH_SAMPLE_LEN_MAX];

	for (unsigned i = 0; i < count; i++) {
		unsigned n = i == 7 ? odd_len : len;

		for (unsigned k = 0; k < n; k++)
			bytes[k] =
				i == 7 ? (char)pfs_mix64(k) : "every sample has this text"[k % 26];
		memcpy(bytes, &i, sizeof(i));
		assert_int_equal(pfs_publish_sample(p, bytes, n), 0);
	}
	assert_int_equal(p->sample_count, count);
}

/* Proves: a dictionary is made of as many samples and bytes as are enough, and not of one less; of
 * those that are not held out, in their order, all their bytes; it is no longer than an eighth. */
static void enough_samples_are_trained_with(void **state)
{
	const unsigned min = PFS_TRAIN_POINTS_MIN;
	uint8_t *dict = malloc(PFS_DICT_LEN_MAX);
	size_t len;

	(void)state;
	for (unsigned way = 0; way < 4; way++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_dir *dir = open_where(pfs_sim_io(sim));
		const unsigned raw = PFS_TRAIN_RAW_MIN, n = way < 2 ? min - 1 + way : 4 * min;
		const unsigned each = way < 2 ? (raw + min) / (min - 1) + 1 : raw / n;
		uint32_t crc = 0;
		size_t used = 0;
		struct pfs_publish *p;

		assert_int_equal(begin_in(dir, 1, &p, NULL), 0);
		/* Shorter ones are none. */
		assert_int_equal(pfs_publish_sample(p, "0123456789abcdef", 15), 0);
		assert_int_equal(p->sample_count, 0);
		assert_int_equal(pfs_publish_sample(p, "0123456789abcdef", 16), 0);
		assert_int_equal(p->sample_count, 1);
		p->sample_count = p->sample_bytes = 0;
		add_samples(p, n, each, each);
		if (way >= 2)
			p->sample_bytes = raw - 3 + way;
		given.trained_with = 0;
		len = 0;
		assert_int_equal(train(p, dict, &len), way % 2 ? 0 : -ENODATA);
		assert_int_equal(given.trained_with, way % 2 ? n - n / 8 : 0);
		for (unsigned i = 0; i < n; i++) {
			if (i % 8 == 7)
				continue;
			crc = pfs_crc32c(crc, p->samples + (size_t)i * each, each);
			used += each;
		}
		if (way % 2) {
			assert_true(given.trained == crc + ((uint64_t)used << 32));
			assert_int_equal(len, pfs_min_u64(PFS_DICT_LEN_MAX, used / 8));
		}
		pfs_publish_end(p);
		dir->ops->close_dir(dir);
		pfs_sim_free(sim);
	}
	free(dict);
}

/* Proves: what training says ends a publication only where memory lacks; what makes it better may
 * fail in other ways. */
static void training_may_fail(void **state)
{
	static const struct {
		int training, refining, err;
	} cases[] = {
		{0, 0, 0},	 {-ENODATA, 0, 0},	{-EOPNOTSUPP, 0, 0}, {-ENOMEM, 0, -ENOMEM},
		{-EIO, 0, -EIO}, {0, -ENOMEM, -ENOMEM}, {0, -ECANCELED, 0}};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_dir *dir = open_where(pfs_sim_io(sim));
		struct pfs_publish *p;

		given.training = cases[i].training;
		given.refining = cases[i].refining;
		assert_int_equal(begin_in(dir, 1, &p, NULL), 0);
		add_samples(p, PFS_TRAIN_POINTS_MIN + 8, SAMPLE_LEN, SAMPLE_LEN);
		assert_int_equal(publish_choose_dict(p), cases[i].err);
		assert_int_equal(p->result.trained, !cases[i].training && !cases[i].err);
		assert_int_equal(p->dict != NULL, p->result.trained);
		assert_int_equal(p->dicts.count, p->result.trained);
		given.training = given.refining = 0;
		pfs_publish_end(p);
		dir->ops->close_dir(dir);
		pfs_sim_free(sim);
	}
	assert_int_equal(fenced_blocks, 0);
}

/* Proves: a new dictionary is taken when a tenth is gained over what was before, to the byte; a
 * former one has drifted when samples take more than a quarter over its promise, to the byte. */
static void gains_and_drift_have_bounds(void **state)
{
	const uint64_t large = UINT64_C(1) << 40;
	struct worth old = {.raw = 1000, .packed = large}, now;
	struct pfs_sim *sim = pfs_sim_new();
	unsigned odd_len = 200;
	uint64_t packed = 1;
	bool taken;

	(void)state;
	/* What it takes is a multiple of 9 for one of these lengths. */
	for (; packed % 9; odd_len++) {
		struct pfs_dir *dir = open_where(pfs_sim_io(sim));
		struct pfs_publish *p;

		assert_int_equal(begin_in(dir, 1, &p, NULL), 0);
		add_samples(p, PFS_TRAIN_POINTS_MIN + 8, SAMPLE_LEN, odd_len);
		assert_int_equal(try_new(p, &old, &taken), 0);
		assert_true(taken);
		packed = p->dict_packed;
		pfs_publish_end(p);
		dir->ops->close_dir(dir);
		assert_true(odd_len < 300);
	}
	for (unsigned i = 0; i < 3; i++) {
		struct pfs_dir *dir = open_where(pfs_sim_io(sim));
		struct pfs_publish *p;

		assert_int_equal(begin_in(dir, 1, &p, NULL), 0);
		add_samples(p, PFS_TRAIN_POINTS_MIN + 8, SAMPLE_LEN, odd_len - 1);
		old.packed = packed / 9 * 10 - 1 + i;
		assert_int_equal(try_new(p, &old, &taken), 0);
		assert_int_equal(taken, i > 0);
		assert_int_equal(p->dict_packed, taken ? packed : 0);
		p->before.dict_raw = 1000;
		p->before.dict_packed = 400;
		for (uint64_t k = 499; k <= 501; k++) {
			now = (struct worth){1000, k};
			assert_int_equal(has_drifted(p, &now), k > 500);
			now = (struct worth){3000, 3 * k};
			assert_int_equal(has_drifted(p, &now), k > 500);
		}
		pfs_publish_end(p);
		dir->ops->close_dir(dir);
	}
	pfs_sim_free(sim);
}

/* Publishes the samples' first documents. Returns the error of the dictionary. */
static int publish_with_samples(struct pfs_sim *sim, unsigned docs, struct pfs_publish_result *r)
{
	const struct pfs_attr attr = {.mode = 0644};
	struct pfs_dir *dir = open_where(pfs_sim_io(sim));
	struct pfs_publish *p;
	int err = 0;

	assert_int_equal(begin_in(dir, 1, &p, NULL), 0);
	add_samples(p, PFS_TRAIN_POINTS_MIN + 8, SAMPLE_LEN, SAMPLE_LEN);
	for (unsigned i = 0; i < docs && !err; i++) {
		const struct pfs_key key = pfs_key_num(i);

		err = pfs_publish_add(p, &key, &attr, p->samples + (size_t)i * SAMPLE_LEN,
				      SAMPLE_LEN);
	}
	if (!err)
		err = pfs_publish_commit(p, r);
	pfs_publish_end(p);
	dir->ops->close_dir(dir);
	return err;
}

/* Proves: a generation of no documents has the dictionary of the one before, so that the next one
 * has it, too; one that is not to be read for another reason than that it is gone or damaged ends a
 * publication, with that error; without memory, too. */
static void the_dictionary_of_before_is_kept(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_publish_result r;
	struct pfs_publish *p;
	struct pfs_manifest m;
	struct pfs_dir *dir;

	(void)state;
	assert_int_equal(publish_with_samples(sim, 5, &r), 0);
	assert_true(r.trained && r.objects == 3);
	given.codec = -ENOMEM;
	assert_int_equal(publish_with_samples(sim, 5, &r), -ENOMEM);
	assert_int_equal(publish_with_samples(sim, 0, &r), 0);
	assert_true(!r.trained && r.objects == 1 && r.reused == 1 && r.points == 0);
	dir = open_where(pfs_sim_io(sim));
	assert_int_equal(read_generation(dir, &m), 2);
	dir->ops->close_dir(dir);
	assert_int_equal(m.object_count, 1);
	assert_int_equal(m.objects[0].role, PFS_OBJECT_DICT);
	assert_int_equal(m.objects[0].count, 1);
	pfs_manifest_free(&m);
	assert_int_equal(publish_with_samples(sim, 5, &r), 0);
	assert_true(!r.trained && r.objects == 3 && r.uploaded == 0);
	blind = (struct blind){"dict-", PFS_SIM_READ, -EIO};
	pfs_sim_on_look(sim, some_look, NULL);
	assert_int_equal(publish_with_samples(sim, 5, &r), -EIO);
	assert_int_equal(publish_with_samples(sim, 0, &r), -EIO);
	blind.err = -EUCLEAN;
	assert_int_equal(publish_with_samples(sim, 5, &r), 0);
	assert_true(r.trained && r.unchanged);
	pfs_sim_on_look(sim, NULL, NULL);
	for (unsigned n = 0, err = 1; err; n++) {
		const unsigned blocks = fenced_blocks;
		int why;

		dir = open_where(pfs_sim_io(sim));
		assert_int_equal(begin_in(dir, 1, &p, NULL), 0);
		add_samples(p, PFS_TRAIN_POINTS_MIN + 8, SAMPLE_LEN, SAMPLE_LEN);
		/* As though it did not serve. */
		p->before.dict_packed /= 2;
		fenced_refuse(n);
		why = publish_choose_dict(p);
		err = fenced_refuses == false;
		fenced_refuses = false;
		assert_int_equal(why, err ? -ENOMEM : 0);
		pfs_publish_end(p);
		assert_int_equal(fenced_blocks, blocks);
		assert_true(n < 30);
		dir->ops->close_dir(dir);
	}
	pfs_sim_free(sim);
}

/* ---- pruning ---- */

/* Proves: names are kept as they are, however many; one that is too long for any of publishing's is
 * not; and nothing behind a name is read. */
static void names_are_kept(void **state)
{
	struct names names = {NULL, 0, 0};
	char name[PFS_OBJECT_NAME_MAX + 1];
	size_t kept = 0;

	(void)state;
	for (unsigned round = 0; round < 3000; round++) {
		const size_t len = round % PFS_OBJECT_NAME_MAX + 1;
		char *fenced = malloc(len + 1);

		memset(fenced, 'a' + (int)(round % 26), len);
		fenced[len] = '\0';
		assert_int_equal(add_name(&names, fenced), 0);
		kept += len < PFS_OBJECT_NAME_MAX;
		assert_int_equal(names.count, kept);
		if (len < PFS_OBJECT_NAME_MAX)
			assert_string_equal(names.at[kept - 1], fenced);
		free(fenced);
	}
	sort_names(&names);
	for (size_t i = 1; i < names.count; i++)
		assert_true(strcmp(names.at[i - 1], names.at[i]) <= 0);
	assert_false(has_name(&names, "nobody"));
	memcpy(name, names.at[names.count / 2], PFS_OBJECT_NAME_MAX);
	assert_true(has_name(&names, name));
	fenced_refuse(0);
	while (names.count < names.cap)
		assert_int_equal(add_name(&names, "x"), 0);
	assert_int_equal(add_name(&names, "x"), -ENOMEM);
	free(names.at);
}

static struct known {
	char at[64][PFS_OBJECT_NAME_MAX];
	unsigned count;
} known;

static int know_name(void *arg, const char *name)
{
	(void)arg;
	assert_true(known.count < 64);
	snprintf(known.at[known.count++], PFS_OBJECT_NAME_MAX, "%s", name);
	return 0;
}

/* The same names, the last ones first. */
static int list_backwards(struct pfs_dir *dir, pfs_io_list_fn *fn, void *arg)
{
	int err;

	known.count = 0;
	err = usual->list(dir, know_name, NULL);
	for (unsigned i = known.count; i-- > 0 && !err;)
		err = fn(arg, known.at[i]);
	return err;
}

static unsigned warnings;

static void count_warning(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	(void)line;
	warnings += level == PFS_LOG_WARNING;
}

static unsigned syncs;

static int count_sync(void *arg, const struct pfs_sim_step *step)
{
	syncs += step->kind == PFS_SIM_SYNC_DIR;
	return some_look(arg, step);
}

static bool only_reads;

static int open_to_read(struct pfs_dir *dir, const char *name, unsigned flags,
			struct pfs_file **out)
{
	assert_true(flags == 0 || !only_reads);
	return usual->open(dir, name, flags, out);
}

/* Proves: the newest generations stay in whatever order names are listed; names are made durable
 * once behind manifests and once behind objects, where that is to be done; what can't be removed is
 * an error, of which a length that nobody knows is none, and nothing is warned of; nothing is
 * opened but to be read. */
static void the_newest_stay_in_any_order(void **state)
{
	(void)state;
	for (unsigned way = 0; way < 5; way++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_publish_options options = publish_options();
		struct pfs_prune_result pruned;
		struct pfs_publish_result r;
		struct pfs_io_ops ops;
		struct pfs_publish *p;
		struct pfs_dir *dir;
		const int err = way == 2 || way == 3 ? -EACCES : 0;

		for (unsigned changed = 0; changed < 4; changed++) {
			const struct source s = {.count = DOCS,
						 .doc = small_doc,
						 .changed = changed + 5,
						 .absent = NONE};

			publish_ok(pfs_sim_io(sim), &s);
		}
		dir = open_whole(sim, &ops);
		ops.list = list_backwards;
		ops.open = open_to_read;
		ops.whole_files = usual_whole = way == 1;
		options.logger = (struct pfs_logger){.fn = count_warning};
		assert_int_equal(pfs_publish_begin(&p, dir, WHERE, &options, NULL), 0);
		for (unsigned i = 0; i < DOCS; i++) {
			const struct source s = {.changed = 8};
			struct doc d;

			small_doc(&s, i, &d.key, &d.attr, &d.data, &d.len);
			assert_int_equal(pfs_publish_add(p, &d.key, &d.attr, d.data, d.len), 0);
			free(d.data);
		}
		assert_int_equal(pfs_publish_commit(p, &r), 0);
		assert_true(r.unchanged && r.generation == 4);
		blind = (struct blind){way == 2	  ? "generation-"
				       : way == 3 ? "page-"
						  : "nothing",
				       PFS_SIM_UNLINK, -EACCES};
		syncs = warnings = 0;
		pfs_sim_on_step(sim, count_sync, NULL);
		size_err = way == 4 ? -EIO : 0;
		size_passes = 2; /* manifests of those that stay */
		only_reads = true;
		assert_int_equal(pfs_publish_prune(p, 2, &pruned), err);
		only_reads = false;
		size_err = 0;
		pfs_sim_on_step(sim, NULL, NULL);
		assert_int_equal(warnings, 0);
		assert_int_equal(syncs, way == 1 || way == 2 ? 0 : way == 3 ? 1 : 2);
		if (!err) {
			struct pfs_manifest m;

			assert_int_equal(pruned.generations, 2);
			assert_int_equal(pruned.objects, 2); /* pages */
			assert_int_equal(pruned.bytes > 2, way != 4);
			assert_int_equal(pruned.bytes == 0, way == 4);
			pfs_publish_end(p);
			for (uint32_t g = 1; g <= 4; g++) {
				const char *why;
				int there = publish_read_manifest(dir, g, &m, &why);

				assert_int_equal(there, g <= 2 ? -ENOENT : 0);
				for (uint32_t i = 0; !there && i < m.object_count; i++)
					free(read_object(dir, &m, i));
				pfs_manifest_free(&m);
			}
		} else {
			pfs_publish_end(p);
		}
		dir->ops->close_dir(dir);
		pfs_sim_free(sim);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_are_counted),
		cmocka_unit_test(tools_are_needed),
		cmocka_unit_test(memory_may_be_refused),
		cmocka_unit_test(lengths_have_a_bound),
		cmocka_unit_test(pages_end_at_their_bounds),
		cmocka_unit_test(objects_of_keys_end_at_their_bounds),
		cmocka_unit_test(pages_have_many_documents),
		cmocka_unit_test(containers_end_with_zeros),
		cmocka_unit_test(hashes_may_fail),
		cmocka_unit_test(pages_are_as_large_as_needed),
		cmocka_unit_test(bodies_have_room),
		cmocka_unit_test(room_grows),
		cmocka_unit_test(content_comes_of_all_of_the_key),
		cmocka_unit_test(shares_are_packed_without_threads),
		cmocka_unit_test(shares_end_at_their_bounds),
		cmocka_unit_test(pages_are_found_by_their_digests),
		cmocka_unit_test(blocks_are_what_is_said),
		cmocka_unit_test(other_lengths_are_written_anew),
		cmocka_unit_test(longer_leftovers_are_replaced),
		cmocka_unit_test(objects_are_replaced_and_manifests_are_not),
		cmocka_unit_test(it_is_noticed_that_others_publish),
		cmocka_unit_test(the_answer_may_be_to_another),
		cmocka_unit_test(short_names_are_others),
		cmocka_unit_test(current_has_a_longest_form),
		cmocka_unit_test(a_commit_is_the_end),
		cmocka_unit_test(numbers_end),
		cmocka_unit_test(what_is_unchanged),
		cmocka_unit_test(files_give_what_they_have),
		cmocka_unit_test(enough_samples_are_trained_with),
		cmocka_unit_test(training_may_fail),
		cmocka_unit_test(gains_and_drift_have_bounds),
		cmocka_unit_test(the_dictionary_of_before_is_kept),
		cmocka_unit_test(names_are_kept),
		cmocka_unit_test(the_newest_stay_in_any_order),
	};

	if (!pfs_hash_version()) {
		print_message("NOT TESTED: this build has no libcrypto, so it publishes nothing\n");
		return 0;
	}
	return cmocka_run_group_tests_name("parts of publishing", tests, NULL, NULL);
}
