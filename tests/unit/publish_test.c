/* storage/publish.c: what is published is what was given; what has not changed is not written
 * again; a generation is the old one or the new one whatever happens; pruning leaves what is
 * needed. */
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

/* ---- files ---- */

static void make_file(struct pfs_dir *dir, const char *name)
{
	struct pfs_file *file;

	assert_int_equal(dir->ops->open(dir, name, PFS_IO_WRITE | PFS_IO_CREATE, &file), 0);
	assert_int_equal(dir->ops->write(file, "x", 1, 0), 0);
	dir->ops->close(file);
}

struct listing {
	unsigned objects, generations, others;
};

static int count_name(void *arg, const char *name)
{
	struct listing *l = arg;
	uint32_t generation;
	unsigned role;

	if (pfs_object_is_name(name, &role, NULL))
		l->objects++;
	else if (pfs_generation_is_name(name, &generation))
		l->generations++;
	else if (strcmp(name, PFS_CURRENT_NAME) && strcmp(name, PFS_PUBLISH_LOCK_NAME))
		l->others++;
	return 0;
}

static struct listing list_where(struct pfs_dir *dir)
{
	struct listing l = {0};

	assert_int_equal(dir->ops->list(dir, count_name, &l), 0);
	return l;
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

/* Of these, how many of a role are not in `before`. */
static unsigned count_new(const struct pfs_manifest *before, const struct pfs_manifest *m,
			  unsigned role)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < m->object_count; i++) {
		bool there = false;

		for (uint32_t k = 0; k < before->object_count; k++)
			there |= memcmp(before->objects[k].hash, m->objects[i].hash,
					PFS_HASH_LEN) == 0;
		count += m->objects[i].role == role && !there;
	}
	return count;
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
	make_file(dir, "page-00112233445566778899aabbccddeeff.pfp.tmp");
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
	make_file(dir, "superblock");
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

/* Proves: keys that do not ascend, that are no points', and documents that are too long are refused
 * one by one, and change nothing. */
static void wrong_documents_are_refused(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_publish_options options = publish_options();
	struct pfs_dir *dir = open_where(pfs_sim_io(sim));
	const struct pfs_attr attr = {.mode = 0644};
	struct pfs_key key = pfs_key_num(5), scratch;
	struct pfs_publish_result r;
	struct pfs_publish *p;

	(void)state;
	assert_int_equal(pfs_key_parse(&scratch, "scratch", 7), 0);
	assert_int_equal(pfs_publish_begin(&p, dir, WHERE, &options, NULL), 0);
	assert_int_equal(pfs_publish_add(p, &key, &attr, "5", 1), 0);
	assert_int_equal(pfs_publish_add(p, &key, &attr, "5", 1), -EINVAL);
	key.num = 4;
	assert_int_equal(pfs_publish_add(p, &key, &attr, "4", 1), -EINVAL);
	assert_int_equal(pfs_publish_add(p, &scratch, &attr, "s", 1), -EINVAL);
	key.num = 6;
	assert_int_equal(pfs_publish_add(p, &key, &attr, "6", PFS_PAYLOAD_MAX + 1), -EFBIG);
	set_uuid(&key, 0, 0);
	assert_int_equal(pfs_publish_add(p, &key, &attr, "u", 1), 0);
	key = pfs_key_num(7);
	assert_int_equal(pfs_publish_add(p, &key, &attr, "7", 1), -EINVAL);
	assert_int_equal(pfs_publish_commit(p, &r), 0);
	assert_int_equal(r.points, 2);
	assert_int_not_equal(pfs_publish_add(p, &key, &attr, "7", 1), 0);
	pfs_publish_end(p);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* ---- crashes and faults ---- */

/* Documents with a page each, so that there are several objects, and little to pack. */
static void large_doc(const struct source *s, uint64_t i, struct pfs_key *key,
		      struct pfs_attr *attr, char **data, size_t *len)
{
	*len = 4200000;
	*data = malloc(*len);
	memset(*data, (int)(i == s->changed ? 'a' + s->version : 'A'), *len);
	*key = pfs_key_num(i);
	*attr = (struct pfs_attr){.mode = 0644, .mtime_ns = 7};
}

struct cut {
	struct pfs_sim *sim;
	const struct source *before, *after;
	struct pfs_publish *now;
	unsigned seen[3]; /* images that show no generation, the first, the second */
	uint64_t fail_at; /* 0: cuts */
	bool pruning;	  /* only once the first generation's manifest is to be removed */
	uint64_t steps;
	int error;
};

/* A manifest that is there, whole, names nothing that is not (U1). */
static void look_at_manifests(struct pfs_dir *dir)
{
	for (uint32_t generation = 1; generation <= 2; generation++) {
		char name[PFS_OBJECT_NAME_MAX];
		struct pfs_manifest m;
		const char *why;
		uint8_t *bytes;
		size_t len;

		pfs_generation_name(name, generation);
		bytes = read_file(dir, name, &len);
		if (!bytes || pfs_manifest_decode(&m, bytes, len, &why) != 0) {
			free(bytes);
			continue;
		}
		for (uint32_t i = 0; i < m.object_count; i++)
			free(read_object(dir, &m, i));
		pfs_manifest_free(&m);
		free(bytes);
	}
}

/* A power cut shows what was before, or what comes, whole. */
static void look_at_image(struct cut *cut, struct pfs_sim *image)
{
	struct pfs_dir *dir = open_where(pfs_sim_io(image));
	struct pfs_manifest m;
	uint32_t generation = read_generation(dir, &m);

	if (generation) {
		pfs_manifest_free(&m);
		assert_int_equal(verify_published(dir, generation == 1 ? cut->before : cut->after),
				 generation);
	}
	look_at_manifests(dir);
	assert_in_range(generation, 0, 2);
	cut->seen[generation]++;
	dir->ops->close_dir(dir);
	pfs_sim_free(image);
}

static int on_step(void *arg, const struct pfs_sim_step *step)
{
	struct cut *cut = arg;

	if (cut->pruning && cut->steps == 0 && strcmp(step->name, "generation-00000001") != 0)
		return 0;
	cut->steps++;
	if (cut->fail_at)
		return cut->steps == cut->fail_at ? cut->error : 0;
	look_at_image(cut, pfs_sim_crash_index(cut->sim, 0));
	/* Before names are made durable there are the most ways. */
	for (uint64_t seed = 0; seed < (step->kind == PFS_SIM_SYNC_DIR ? 40 : 4); seed++)
		look_at_image(cut, pfs_sim_crash_seed(cut->sim, 100 * cut->steps + seed));
	return 0;
}

/* Proves: a power cut at any moment leaves the generation from before or the new one, readable to
 * the last byte; when publishing has returned it is the new one. */
static void a_power_cut_leaves_old_or_new(void **state)
{
	struct source before = {.count = 3, .doc = large_doc, .changed = NONE, .absent = NONE};
	struct source after = {
		.count = 3, .doc = large_doc, .changed = 1, .absent = NONE, .version = 1};
	struct pfs_sim *sim = pfs_sim_new();
	struct cut cut = {.sim = sim, .before = &before, .after = &after};

	(void)state;
	pfs_sim_on_step(sim, on_step, &cut);
	publish_ok(pfs_sim_io(sim), &before);
	assert_true(cut.seen[0] && !cut.seen[2]);
	look_at_image(&cut, pfs_sim_crash_index(sim, 0));
	assert_true(cut.seen[1]);
	cut.seen[0] = cut.seen[1] = 0;
	publish_ok(pfs_sim_io(sim), &after);
	assert_true(!cut.seen[0] && cut.seen[1] && cut.seen[2]);
	cut.seen[1] = 0;
	look_at_image(&cut, pfs_sim_crash_index(sim, 0));
	assert_int_equal(cut.seen[1], 0);
	pfs_sim_on_step(sim, NULL, NULL);
	pfs_sim_free(sim);
}

/* Proves: a power cut while older generations are removed leaves no manifest that names what is
 * gone; when pruning has returned they are gone for good. */
static void a_power_cut_while_pruning_leaves_whole_generations(void **state)
{
	struct source before = {.count = 3, .doc = large_doc, .changed = NONE, .absent = NONE};
	struct source after = {
		.count = 3, .doc = large_doc, .changed = 1, .absent = NONE, .version = 1};
	struct pfs_publish_options options = publish_options();
	struct pfs_sim *sim = pfs_sim_new(), *image;
	struct cut cut = {.sim = sim, .before = &before, .after = &after, .pruning = true};
	struct pfs_publish_result r;
	struct pfs_prune_result pruned;
	struct pfs_dir *dir;
	struct listing l;

	(void)state;
	publish_ok(pfs_sim_io(sim), &before);
	dir = open_where(pfs_sim_io(sim));
	pfs_sim_on_step(sim, on_step, &cut);
	assert_int_equal(publish_to(dir, &after, &options, 1, &r, &pruned), 0);
	pfs_sim_on_step(sim, NULL, NULL);
	dir->ops->close_dir(dir);
	assert_int_equal(pruned.generations, 1);
	assert_true(cut.seen[2] && !cut.seen[0] && !cut.seen[1]);
	image = pfs_sim_crash_index(sim, 0);
	dir = open_where(pfs_sim_io(image));
	l = list_where(dir);
	assert_int_equal(l.generations, 1);
	assert_int_equal(l.others, 0);
	dir->ops->close_dir(dir);
	pfs_sim_free(image);
	pfs_sim_free(sim);
}

/* Proves: whichever step fails, the generation from before is there (or, when it was the very last
 * sync, either), the error is told, and publishing again works. */
static void a_failing_step_changes_nothing(void **state)
{
	static const int errors[] = {-ENOSPC, -EIO};
	struct source before = {.count = 2, .doc = large_doc, .changed = NONE, .absent = NONE};
	struct source after = {
		.count = 3, .doc = large_doc, .changed = 1, .absent = NONE, .version = 1};
	struct pfs_publish_options options = publish_options();
	bool failed = true;

	(void)state;
	for (uint64_t at = 1; failed; at += publish_takes_samples() ? 5 : 1) {
		struct pfs_sim *sim = pfs_sim_new();
		struct cut cut = {.fail_at = at, .error = errors[at % 2]};
		struct pfs_publish_result r;
		struct pfs_dir *dir;
		uint32_t generation;
		struct pfs_manifest m;
		int err;

		publish_ok(pfs_sim_io(sim), &before);
		dir = open_where(pfs_sim_io(sim));
		pfs_sim_on_step(sim, on_step, &cut);
		err = publish_to(dir, &after, &options, 0, &r, NULL);
		pfs_sim_on_step(sim, NULL, NULL);
		failed = cut.steps >= at;
		assert_int_equal(err != 0, failed);
		generation = read_generation(dir, &m);
		pfs_manifest_free(&m);
		if (failed && generation == 2)
			assert_int_equal(cut.steps, at); /* nothing comes behind it */
		assert_int_equal(verify_published(dir, generation == 1 ? &before : &after),
				 generation);
		dir->ops->close_dir(dir);
		r = publish_ok(pfs_sim_io(sim), &after);
		assert_int_equal(r.generation, 2);
		assert_int_equal(verify_in(pfs_sim_io(sim), &after), 2);
		pfs_sim_free(sim);
		assert_true(at < 200);
	}
}

/* ---- pruning ---- */

/* Proves: of five generations the two newest stay, with every object that they name, and nothing
 * else: neither the older ones, nor what nobody named, nor unfinished files. */
static void pruning_leaves_what_is_needed(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct source s = {.count = 3, .doc = large_doc, .changed = 0, .absent = NONE};
	struct pfs_publish_options options = publish_options();
	struct pfs_publish_result r;
	struct pfs_prune_result pruned;
	struct pfs_dir *dir;
	struct listing l;

	(void)state;
	for (s.version = 1; s.version <= 4; s.version++)
		publish_ok(pfs_sim_io(sim), &s);
	dir = open_where(pfs_sim_io(sim));
	l = list_where(dir);
	assert_int_equal(l.generations, 4);
	/* Of each generation a page and the keys are its own. */
	make_file(dir, "page-00112233445566778899aabbccddeeff.pfp");
	make_file(dir, "keys-00112233445566778899aabbccddeeff.pfk.tmp");
	make_file(dir, "generation-00000009");
	assert_int_equal(publish_to(dir, &s, &options, 2, &r, &pruned), 0);
	assert_int_equal(r.generation, 5);
	assert_int_equal(pruned.generations, 4);
	assert_true(pruned.bytes > 0);
	l = list_where(dir);
	assert_int_equal(l.generations, 2);
	assert_int_equal(l.others, 0);
	assert_int_equal(verify_published(dir, &s), 5);
	/* The other one that stays is whole, too. */
	{
		struct pfs_manifest m, older;
		const char *why;
		size_t len;
		uint8_t *bytes = read_file(dir, "generation-00000004", &len);
		unsigned named = 0;

		assert_int_equal(pfs_manifest_decode(&older, bytes, len, &why), 0);
		for (uint32_t i = 0; i < older.object_count; i++)
			free(read_object(dir, &older, i));
		assert_int_equal(read_generation(dir, &m), 5);
		for (unsigned role = PFS_OBJECT_DICT; role <= PFS_OBJECT_PAGE; role++)
			named += count_new(&older, &m, role);
		assert_int_equal(l.objects, older.object_count + named);
		pfs_manifest_free(&m);
		pfs_manifest_free(&older);
		free(bytes);
	}
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: when the manifest of a generation that is to stay can't be read, nothing is removed. */
static void pruning_needs_to_know(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct source s = {.count = 2, .doc = large_doc, .changed = 0, .absent = NONE};
	struct pfs_publish_options options = publish_options();
	struct pfs_publish_result r;
	struct pfs_prune_result pruned;
	struct pfs_dir *dir;
	struct pfs_file *file;
	struct listing before, after;

	(void)state;
	for (s.version = 1; s.version <= 3; s.version++)
		publish_ok(pfs_sim_io(sim), &s);
	dir = open_where(pfs_sim_io(sim));
	assert_int_equal(dir->ops->open(dir, "generation-00000003", PFS_IO_WRITE, &file), 0);
	s.version = 3;
	before = list_where(dir);
	dir->ops->close(file);
	assert_int_equal(dir->ops->open(dir, "generation-00000002", PFS_IO_WRITE, &file), 0);
	assert_int_equal(dir->ops->write(file, "x", 1, 100), 0);
	dir->ops->close(file);
	assert_int_equal(publish_to(dir, &s, &options, 2, &r, &pruned), -EUCLEAN);
	assert_true(r.unchanged);
	after = list_where(dir);
	assert_int_equal(before.objects, after.objects);
	assert_int_equal(before.generations, after.generations);
	dir->ops->close_dir(dir); /* with it goes the lock */
	dir = open_where(pfs_sim_io(sim));
	assert_int_equal(publish_to(dir, &s, &options, 1, &r, &pruned), 0);
	assert_int_equal(pruned.generations, 2);
	assert_int_equal(verify_published(dir, &s), 3);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* The directory's own operation, and the names that come of it but for one. */
static int (*list_all)(struct pfs_dir *dir, pfs_io_list_fn *fn, void *arg);

struct partly {
	pfs_io_list_fn *fn;
	void *arg;
};

static int give_others(void *arg, const char *name)
{
	const struct partly *p = arg;

	return strcmp(name, "generation-00000003") == 0 ? 0 : p->fn(p->arg, name);
}

static int list_others(struct pfs_dir *dir, pfs_io_list_fn *fn, void *arg)
{
	struct partly p = {fn, arg};

	return list_all(dir, give_others, &p);
}

/* Proves: the current generation stays, and counts, also where the list lacks its manifest. */
static void pruning_keeps_the_current_one(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct source s = {.count = 2, .doc = large_doc, .changed = 0, .absent = NONE};
	struct pfs_publish_options options = publish_options();
	struct pfs_publish_result r;
	struct pfs_prune_result pruned;
	struct pfs_io_ops ops;
	struct pfs_dir *dir;
	struct listing l;

	(void)state;
	for (s.version = 1; s.version <= 2; s.version++)
		publish_ok(pfs_sim_io(sim), &s);
	dir = open_where(pfs_sim_io(sim));
	ops = *dir->ops;
	list_all = ops.list;
	ops.list = list_others;
	dir->ops = &ops;
	assert_int_equal(publish_to(dir, &s, &options, 1, &r, &pruned), 0);
	assert_int_equal(r.generation, 3);
	assert_int_equal(pruned.generations, 2);
	ops.list = list_all;
	assert_int_equal(verify_published(dir, &s), 3);
	l = list_where(dir);
	assert_int_equal(l.generations, 1);
	dir->ops->close_dir(dir);
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
		cmocka_unit_test(wrong_documents_are_refused),
		cmocka_unit_test(a_power_cut_leaves_old_or_new),
		cmocka_unit_test(a_power_cut_while_pruning_leaves_whole_generations),
		cmocka_unit_test(a_failing_step_changes_nothing),
		cmocka_unit_test(pruning_leaves_what_is_needed),
		cmocka_unit_test(pruning_needs_to_know),
		cmocka_unit_test(pruning_keeps_the_current_one),
	};

	if (!pfs_hash_version()) {
		print_message("NOT TESTED: this build has no libcrypto, so it publishes nothing\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
