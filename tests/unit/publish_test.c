/* storage/publish.c: what is published is what was given; what has not changed is not written
 * again; what is not meant is refused. Crashes, faults and pruning: publish_small_test.c. */
#include "tests/unit/publish_helpers.h"

#define NONE UINT64_MAX

static struct source odd_source(uint64_t count)
{
	return (struct source){.count = count, .doc = odd_doc, .changed = NONE, .absent = NONE};
}

static struct source records(uint64_t count, uint64_t size)
{
	return (struct source){
		.count = count, .doc = record_doc, .changed = NONE, .absent = NONE, .size = size};
}

/* ---- contents ---- */

/* Proves: documents of all sorts, and of none, are there as they were given. */
static void what_was_given_is_there(void **state)
{
	const uint64_t counts[] = {0, 1, 2, publish_takes_samples() ? 300 : 3000};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(counts); i++) {
		struct pfs_sim *sim = pfs_sim_new();
		const struct source s = odd_source(counts[i]);
		struct pfs_publish_result r = publish_ok(pfs_sim_io(sim), &s);

		assert_int_equal(r.generation, 1);
		assert_int_equal(r.points, counts[i]);
		assert_false(r.unchanged);
		assert_int_equal(r.uploaded, r.objects);
		assert_int_equal(verify_in(pfs_sim_io(sim), &s), 1);
		pfs_sim_free(sim);
	}
}

/* Proves: many records get a dictionary, several pages and objects of keys; and packed by another
 * number of threads they are the same bytes. */
static void records_get_a_dictionary(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_publish_options options = publish_options();
	const struct source s = records(20000, 700);
	struct pfs_publish_result r = publish_ok(pfs_sim_io(sim), &s);
	struct pfs_dir *dir = open_where(pfs_sim_io(sim));
	struct pfs_manifest m;

	(void)state;
	assert_int_equal(read_generation(dir, &m), 1);
	assert_true(m.objects[m.object_count - 1].role == PFS_OBJECT_PAGE);
	assert_true(m.object_count >= 4); /* two pages, at least */
	assert_int_equal(r.trained, pfs_store_trainer() != NULL);
	if (r.trained) {
		assert_int_equal(m.objects[0].role, PFS_OBJECT_DICT);
		assert_true(m.dict_packed && m.dict_packed * 2 < m.dict_raw);
	}
	pfs_manifest_free(&m);
	assert_int_equal(verify_published(dir, &s), 1);
	options.threads = 1;
	assert_int_equal(publish_to(dir, &s, &options, 0, &r, NULL), 0);
	assert_true(r.unchanged);
	assert_int_equal(r.generation, 1);
	assert_int_equal(r.uploaded, 0);
	assert_int_equal(r.reused, r.objects);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: one document changed, added or removed makes one page anew, two at the most, and the keys
 * of these; nothing else is written, and pages that stay are not even packed. */
static void a_change_makes_one_page(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct source s = records(40000, 900);
	struct pfs_publish_result r;
	struct pfs_dir *dir;
	struct pfs_manifest before, m;

	(void)state;
	s.absent = 21234;
	publish_ok(pfs_sim_io(sim), &s);
	dir = open_where(pfs_sim_io(sim));
	for (unsigned round = 0; round < (publish_takes_samples() ? 1 : 4); round++) {
		unsigned pages, keys;

		assert_int_equal(read_generation(dir, &before), round + 1);
		if (round == 0)
			s.absent = NONE; /* it is added */
		else if (round == 1)
			s.absent = 34000; /* it is removed */
		else
			s.changed = 9007 * round;
		s.version = round;
		r = publish_ok(pfs_sim_io(sim), &s);
		assert_int_equal(read_generation(dir, &m), round + 2);
		pages = count_new(&before, &m, PFS_OBJECT_PAGE);
		keys = count_new(&before, &m, PFS_OBJECT_KEYS);
		/* In round 3 and on, the one that was changed before is as it was again. */
		assert_in_range(pages, 1, 4);
		assert_in_range(keys, 1, 4);
		if (round < 3)
			assert_in_range(pages, 1, 2);
		assert_int_equal(r.uploaded + r.reused, m.object_count);
		assert_true(r.uploaded <= pages + keys);
		assert_int_equal(r.reused_pages + pages,
				 count_new(&(struct pfs_manifest){0}, &m, PFS_OBJECT_PAGE));
		assert_true(m.objects[m.object_count - 1].first_rank > 0);
		pfs_manifest_free(&before);
		pfs_manifest_free(&m);
		assert_int_equal(verify_published(dir, &s), round + 2);
	}
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* One document has other attributes; for version 4 all of them have another time. */
static void attribute_doc(const struct source *s, uint64_t i, struct pfs_key *key,
			  struct pfs_attr *attr, char **data, size_t *len)
{
	record_doc(s, i, key, attr, data, len);
	if (i == 33 && s->version == 1)
		attr->mtime_ns++;
	if (i == 33 && s->version == 2)
		attr->mode = 0600;
	if (i == 33 && s->version == 3)
		attr->gid = 5;
	if (s->version == 4)
		attr->mtime_ns = 77;
}

/* Proves: what differs in attributes alone is published anew, too. */
static void attributes_are_contents(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct source s = {
		.count = 100, .doc = attribute_doc, .changed = NONE, .absent = NONE, .size = 90};

	(void)state;
	for (s.version = 0; s.version <= 4; s.version++) {
		struct pfs_publish_result r = publish_ok(pfs_sim_io(sim), &s);

		assert_false(r.unchanged);
		assert_int_equal(r.generation, s.version + 1);
		assert_int_equal(r.uploaded, 2);
		assert_int_equal(verify_in(pfs_sim_io(sim), &s), s.version + 1);
	}
	pfs_sim_free(sim);
}

/* Proves: of a store with other defaults every document has the attributes that it had. */
static void other_defaults_are_kept(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	const struct source s = odd_source(200);
	struct pfs_publish_options options = publish_options();
	struct pfs_publish_result r;
	struct pfs_dir *dir;

	(void)state;
	dir = open_where(pfs_sim_io(sim));
	put_file(dir, "page-00112233445566778899aabbccddeeff.pfp.tmp");
	dir->ops->close_dir(dir);
	publish_ok(pfs_sim_io(sim), &s);
	dir = open_where(pfs_sim_io(sim));
	assert_int_equal(list_where(dir).others, 0); /* what was unfinished is gone */
	dir->ops->close_dir(dir);
	options.defaults = (struct pfs_defaults){.mode = 0600, .uid = 1000};
	dir = open_where(pfs_sim_io(sim));
	assert_int_equal(publish_to(dir, &s, &options, 0, &r, NULL), 0);
	assert_false(r.unchanged);
	assert_int_equal(verify_published(dir, &s), 2);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* ---- dictionaries ---- */

/* Proves: the dictionary stays while documents are of the kind that it was made of, and is made
 * anew when they are others. */
static void the_dictionary_stays_while_it_serves(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct source s = records(5000, 300);
	struct pfs_publish_options options = publish_options();
	struct pfs_publish_result r = publish_ok(pfs_sim_io(sim), &s);
	struct pfs_dir *dir = open_where(pfs_sim_io(sim));
	struct pfs_manifest first, m;

	(void)state;
	if (!pfs_store_trainer()) {
		print_message(
			"NOT TESTED: this build has no libzstd, so it makes no dictionaries\n");
		dir->ops->close_dir(dir);
		pfs_sim_free(sim);
		return;
	}
	assert_true(r.trained);
	assert_int_equal(read_generation(dir, &first), 1);
	s.count = 7000;
	r = publish_ok(pfs_sim_io(sim), &s);
	assert_false(r.trained);
	assert_int_equal(read_generation(dir, &m), 2);
	assert_memory_equal(m.objects[0].hash, first.objects[0].hash, PFS_HASH_LEN);
	assert_int_equal(m.dict_raw, first.dict_raw);
	pfs_manifest_free(&m);
	s.doc = other_doc;
	r = publish_ok(pfs_sim_io(sim), &s);
	assert_true(r.trained);
	assert_int_equal(read_generation(dir, &m), 3);
	assert_int_equal(m.objects[0].role, PFS_OBJECT_DICT);
	assert_int_equal(m.objects[0].count, first.objects[0].count + 1);
	assert_memory_not_equal(m.objects[0].hash, first.objects[0].hash, PFS_HASH_LEN);
	pfs_manifest_free(&m);
	assert_int_equal(verify_published(dir, &s), 3);
	/* One that is missing is made again from the same, and what is packed with it stays. */
	{
		char name[PFS_OBJECT_NAME_MAX];

		assert_int_equal(read_generation(dir, &m), 3);
		pfs_object_name(name, PFS_OBJECT_DICT, m.objects[0].hash);
		pfs_manifest_free(&m);
		assert_int_equal(dir->ops->unlink(dir, name), 0);
	}
	r = publish_ok(pfs_sim_io(sim), &s);
	assert_true(r.trained && r.unchanged);
	assert_int_equal(verify_published(dir, &s), 3);
	/* From others, one with another number. */
	assert_int_equal(read_generation(dir, &m), 3);
	{
		char name[PFS_OBJECT_NAME_MAX];

		pfs_object_name(name, PFS_OBJECT_DICT, m.objects[0].hash);
		assert_int_equal(dir->ops->unlink(dir, name), 0);
	}
	pfs_manifest_free(&m);
	s.count = 6000;
	r = publish_ok(pfs_sim_io(sim), &s);
	assert_true(r.trained);
	assert_int_equal(verify_published(dir, &s), 4);
	/* And without. */
	s = records(5000, 300);
	options.dict_off = true;
	assert_int_equal(publish_to(dir, &s, &options, 0, &r, NULL), 0);
	assert_int_equal(read_generation(dir, &m), 5);
	assert_int_equal(m.objects[0].role, PFS_OBJECT_KEYS);
	pfs_manifest_free(&m);
	pfs_manifest_free(&first);
	assert_int_equal(verify_published(dir, &s), 5);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* ---- refusals ---- */

/* Proves: nothing is published among other files, over another store's (unless that is wanted), or
 * by two at a time; the reasons say so, and nothing is left behind. */
static void what_is_not_meant_is_refused(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	const struct source s = odd_source(10);
	struct pfs_publish_options options = publish_options();
	struct pfs_dir *dir = open_where(pfs_sim_io(sim)), *second = open_where(pfs_sim_io(sim));
	struct pfs_publish_result r;
	struct pfs_publish *p, *q;
	struct pfs_reason reason;

	(void)state;
	put_file(dir, "superblock");
	assert_int_equal(pfs_publish_begin(&p, dir, WHERE, &options, &reason), -ENOTEMPTY);
	assert_non_null(strstr(reason.text, "superblock"));
	assert_null(p);
	assert_int_equal(dir->ops->unlink(dir, "superblock"), 0);
	assert_int_equal(publish_to(dir, &s, &options, 0, &r, NULL), 0);
	dir->ops->close_dir(dir);
	options.source[3]++;
	assert_int_equal(pfs_publish_begin(&p, second, WHERE, &options, &reason), -EEXIST);
	assert_non_null(strstr(reason.text, "--adopt"));
	options.adopt = true;
	assert_int_equal(publish_to(second, &s, &options, 0, &r, NULL), 0);
	assert_int_equal(r.generation, 2);
	assert_int_equal(r.uploaded, 0); /* the collection is the same one */
	second->ops->close_dir(second);

	dir = open_where(pfs_sim_io(sim));
	second = open_where(pfs_sim_io(sim));
	assert_int_equal(pfs_publish_begin(&p, dir, WHERE, &options, &reason), 0);
	assert_int_equal(pfs_publish_begin(&q, second, WHERE, &options, &reason), -EBUSY);
	pfs_publish_end(p);
	dir->ops->close_dir(dir);
	second->ops->close_dir(second);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_given_is_there),
		cmocka_unit_test(records_get_a_dictionary),
		cmocka_unit_test(a_change_makes_one_page),
		cmocka_unit_test(attributes_are_contents),
		cmocka_unit_test(other_defaults_are_kept),
		cmocka_unit_test(the_dictionary_stays_while_it_serves),
		cmocka_unit_test(what_is_not_meant_is_refused),
	};

	if (!pfs_hash_version()) {
		print_message("NOT TESTED: this build has no libcrypto, so it publishes nothing\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
