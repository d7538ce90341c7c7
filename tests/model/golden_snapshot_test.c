/* What snapshots show, to the byte, for a document in each state that it can be in and each call
 * that changes it then: one that was opened before the document came into its state, one from after
 * that, one from after the call; before and after checkpoints, and when they are closed one after
 * the other, in each order. Names with their cookies, documents with their attributes and
 * sequences, what is pinned for them and what memory they take are compared with what is written
 * down (golden_test.c says why, and what to do when it is meant to change). */
int calls_main(int argc, char **argv);

#define main calls_main /* their states and calls, and not what they tell */
#include "tests/model/golden_calls_test.c"
#undef main

#define SNAPSHOTS 3u

static uint64_t hash_attr(uint64_t hash, const struct pfs_attr *a)
{
	hash = hash_number(hash_number(hash, a->size), a->stored);
	hash = hash_number(hash_number(hash, a->mode), a->uid);
	hash = hash_number(hash_number(hash, a->gid), (uint64_t)a->mtime_ns);
	return hash_number(hash, a->nlink);
}

static uint64_t hash_look(struct pfs_snapshot *snapshot, const struct pfs_key *key, uint64_t hash)
{
	struct pfs_attr attr = {0};
	uint64_t sequence = 7;
	int err = pfs_snapshot_lookup_change(snapshot, key, &attr, &sequence);

	return hash_attr(hash_number(hash_number(hash, (uint64_t)err), sequence), &attr);
}

/* Everything that is to be had of one name. */
static uint64_t hash_document(struct pfs_snapshot *snapshot, const struct pfs_key *key,
			      uint64_t hash)
{
	static const uint64_t offs[] = {0, 450, 65500, LARGE - 20, 2 * LARGE};
	struct pfs_attr attr = {0};
	uint8_t part[300];
	void *data = NULL;
	size_t len = 7;
	int err = pfs_snapshot_get(snapshot, key, &data, &len, &attr);

	hash = hash_number(hash_number(hash, (uint64_t)err), len);
	hash = hash_attr(hash_bytes(hash, data, len), &attr);
	free(data);
	for (size_t i = 0; i < pfs_array_len(offs) && (i == 0 || offs[i] <= len + 50); i++) {
		ssize_t n = pfs_snapshot_read(snapshot, key, offs[i], part, sizeof(part));

		hash = hash_number(hash, (uint64_t)n);
		hash = hash_bytes(hash, part, n > 0 ? (size_t)n : 0);
	}
	return hash_look(snapshot, key, hash);
}

/* All names that a snapshot shows, in steps of so many, and those that it may not show. */
static void tell_shown(struct tale *t, struct pfs_snapshot *snapshot, size_t step)
{
	static const char *const names[] = {NAME, OTHER, "51",	   "52",
					    "53", "70",	 ".x.swp", ".y.swp"};
	struct pfs_snapshot_name found[16];
	uint64_t after = 0, list = HASH_FIRST, docs = HASH_FIRST;
	unsigned count = 0;
	ssize_t n;

	while ((n = pfs_snapshot_list(snapshot, after, found, step)) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			char name[PFS_NAME_MAX + 1];

			pfs_key_format(name, &found[i].key);
			list = hash_bytes(list, name, strlen(name));
			list = hash_number(list, found[i].cookie);
			docs = hash_document(snapshot, &found[i].key, docs);
			after = found[i].cookie;
			count++;
		}
	}
	for (size_t i = 0; i < pfs_array_len(names); i++) {
		struct pfs_key key = key_named(names[i]);

		docs = hash_look(snapshot, &key, docs);
	}
	fprintf(t->out, " %u (%zd) %016llx %016llx", count, n, (unsigned long long)list,
		(unsigned long long)docs);
}

static void tell_snapshots(struct tale *t, struct pfs_snapshot *const *snapshots)
{
	struct pfs_store_stat stat;
	struct pfs_page_stat *pages;
	uint64_t pinned = 0, used = 0, where = HASH_FIRST;
	size_t count;

	for (unsigned i = 0; i < SNAPSHOTS; i++) {
		struct pfs_snapshot_info info;

		if (!snapshots[i])
			continue;
		pfs_snapshot_info(snapshots[i], &info);
		fprintf(t->out, "%u: %llu %llu %llu %llu %llu;", i,
			(unsigned long long)info.sequence, (unsigned long long)info.points,
			(unsigned long long)info.scratch, (unsigned long long)info.raw_bytes,
			(unsigned long long)info.opened_ns % 1000000000);
		tell_shown(t, snapshots[i], i ? 1 + i : 16);
		fprintf(t->out, "\n");
	}
	assert_int_equal(pfs_store_stat(t->store, &stat), 0);
	assert_int_equal(pfs_store_pages(t->store, &pages, &count), 0);
	for (size_t i = 0; i < count; i++) {
		pinned += pages[i].pinned;
		used += pages[i].used;
		where = hash_number(hash_number(where, pages[i].number), pages[i].pinned);
		where = hash_number(hash_number(where, pages[i].used), pages[i].holes);
		where = hash_number(hash_number(where, pages[i].gap), pages[i].free_slots);
		where = hash_number(hash_number(where, pages[i].live), pages[i].dead);
		where = hash_number(hash_number(where, pages[i].free), pages[i].worth);
	}
	where = hash_number(where, pfs_store_sequence(t->store));
	free(pages);
	fprintf(t->out, "%llu, %llu ns; %llu pinned, %llu in memory; %llu of %llu, %016llx\n",
		(unsigned long long)stat.snapshots, (unsigned long long)stat.snapshot_age_ns,
		(unsigned long long)stat.pinned_bytes, (unsigned long long)stat.snapshot_memory,
		(unsigned long long)pinned, (unsigned long long)used, (unsigned long long)where);
}

static void tell_finding(void *arg, const struct pfs_finding *finding)
{
	char name[PFS_NAME_MAX + 1] = "-";

	if (finding->key.kind != PFS_KEY_NONE)
		pfs_key_format(name, &finding->key);
	fprintf(((struct tale *)arg)->out, "%s %s at %llu, %s: %s\n",
		finding->fatal ? "finding" : "remark", finding->where,
		(unsigned long long)finding->offset, name, finding->text);
}

/* What the store finds in itself. */
static void tell_check(struct tale *t)
{
	struct pfs_check_result r;
	int err = pfs_store_check(t->store, tell_finding, NULL, t, NULL, &r);

	fprintf(t->out, "check %d: %llu %llu %llu %llu\n", err, (unsigned long long)r.findings,
		(unsigned long long)r.damaged, (unsigned long long)r.documents,
		(unsigned long long)r.pages);
}

static void open_snapshot(struct tale *t, struct pfs_snapshot **snapshot)
{
	int err;

	the_time += 1000;
	err = pfs_snapshot_open(t->store, snapshot);
	if (err)
		fprintf(t->out, "open: %d\n", err);
}

static void tell_case(struct tale *t, struct pfs_sim *store, unsigned state, enum call what,
		      unsigned order)
{
	static const uint8_t orders[][SNAPSHOTS] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
						    {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
	struct pfs_open_options options = {
		.manual = true, .hold_objects = order % 2, .logger = {.fn = tell_log, .arg = t}};
	struct pfs_snapshot *snapshots[SNAPSHOTS] = {NULL};
	struct pfs_attr attr = {0};
	struct pfs_reason reason;
	uint32_t object;
	int err;

	the_time = BEGUN;
	the_chance = t->seeds = 100;
	subject = NAME;
	nameless = 0;
	before = NULL;
	t->sim = pfs_sim_kill(store);
	options.io = pfs_sim_io(t->sim);
	assert_int_equal(pfs_store_open(&t->store, STORE, &options, &reason), 0);
	open_snapshot(t, &snapshots[0]);
	states[state].make(t);
	if (order > 2)
		open_snapshot(t, &snapshots[1]);
	object = nameless ? nameless : object_named(t, subject);
	if (object)
		(void)pfs_getattr(t->store, object, &attr);
	else
		object = 40; /* has never been */
	fprintf(t->out, "%d\n", call(t, what, object, attr.size));
	fprintf(t->out, "disk %016llx\n", (unsigned long long)pfs_sim_hash(t->sim));
	tell_snapshots(t, snapshots);
	tell_check(t);
	open_snapshot(t, &snapshots[2]);
	tell_snapshots(t, snapshots);
	for (unsigned i = 0; i < SNAPSHOTS; i++) {
		unsigned goes = orders[order][i];

		(void)call(t, i == 1 ? REMOVE : PUT, object, attr.size);
		if (i == 1)
			tell_check(t);
		pfs_snapshot_close(snapshots[goes]);
		snapshots[goes] = NULL;
		tell_snapshots(t, snapshots);
		err = pfs_store_checkpoint(t->store);
		if (err)
			fprintf(t->out, "checkpoint: %d\n", err);
	}
	pfs_snapshot_close(before);
	tell_snapshots(t, snapshots);
	tell_check(t);
	fprintf(t->out, "closed: %d, ", pfs_store_close(t->store));
	fprintf(t->out, "disk %016llx\n", (unsigned long long)pfs_sim_hash(t->sim));
	t->store = NULL;
	pfs_sim_free(t->sim);
}

/* Proves: what snapshots show, and what they cost, is what it was, whatever happens to a document
 * in whatever state. */
static void snapshots(void **state)
{
	struct tale t = {.min_value_size = 16, .packs = true};
	struct pfs_sim *store;

	(void)state;
	begin(&t, "snapshots", 64 * PFS_KIB);
	watch(&t, false);
	make_store(&t, false);
	store = t.sim;
	for (unsigned i = 0; i < pfs_array_len(states); i++) {
		unsigned step = i < COMMON_STATES ? 6 : 14;
		struct each each = {0};

		fprintf(t.out, "\n== %s ==\n", states[i].name);
		/* Some: in some state each call meets each order. */
		for (unsigned n = i % step; n < CALLS; n += step) {
			each_begin(&t, &each);
			tell_case(&t, store, i, (enum call)n, (i + n / step) % 6);
			each_end(&t, &each, n);
		}
		free(each.last);
	}
	t.sim = store;
	end(&t);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(snapshots)};

	accepts = argc > 1 && strcmp(argv[1], "accept") == 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
