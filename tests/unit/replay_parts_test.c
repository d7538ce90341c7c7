/* storage/store_replay.c: the parts of an opening after a crash that stand between the journal and
 * the pages, each with others that only say what they were asked. The file is included. */
#include <stdlib.h>

#include "storage/record.h"
#include "storage/replay.h"

#include "tests/unit/store_helpers.h"

/* ---- those that are asked ---- */

static struct {
	char text[4096]; /* what they were asked, in order */
	size_t len;
	const char *fails, *fails_too; /* which of them */
	int err;		       /* of the first; 0: there is no memory */
	uint64_t base_seq;	       /* of what is there */
	bool unknown;		       /* there are documents whose keys nobody knows */
	uint64_t window;	       /* the first sequence of the journal; 0: behind all */
} asked;

__attribute__((format(printf, 2, 3))) static int ask(const char *who, const char *fmt, ...)
{
	va_list args;

	if (asked.fails && strcmp(asked.fails, who) == 0)
		return asked.err ? asked.err : -ENOMEM;
	if (asked.fails_too && strcmp(asked.fails_too, who) == 0)
		return -ENOMEM;
	va_start(args, fmt);
	asked.len += (size_t)snprintf(asked.text + asked.len, sizeof(asked.text) - asked.len, "%s",
				      asked.len ? " " : "");
	asked.len += (size_t)vsnprintf(asked.text + asked.len, sizeof(asked.text) - asked.len, fmt,
				       args);
	va_end(args);
	assert_true(asked.len < sizeof(asked.text));
	return 0;
}

static void expect_asked(const char *text)
{
	assert_string_equal(asked.text, text);
	asked.text[0] = '\0';
	asked.len = 0;
}

static void nobody_fails(void)
{
	memset(&asked, 0, sizeof(asked));
}

static unsigned number_of(const struct pfs_key *key)
{
	return (unsigned)key->num;
}

static int fake_drop(struct pfs_store *store, const struct pfs_key *key, uint64_t seq)
{
	(void)store;
	return ask("drop", "drop %u,%u", number_of(key), (unsigned)seq);
}

/* In pages none can be had. */
static int fake_key(struct pfs_store *store, uint32_t object, uint64_t word, struct pfs_key *key)
{
	(void)store;
	(void)object;
	if (!pfs_word_is_version(word))
		return -EIO;
	pfs_version_key(pfs_word_to_version(word), key);
	return 0;
}

static int fake_base_of(struct pfs_store *store, const struct pfs_key *key, uint64_t base,
			struct pfs_view *view, bool *present)
{
	(void)store;
	assert_int_equal(base, 0);
	*view = (struct pfs_view){.seq = asked.base_seq};
	*present = asked.base_seq != 0;
	return ask("base", "base %u", number_of(key));
}

static int fake_adopt(struct pfs_replay_state *state, const struct pfs_key *key, uint64_t seq,
		      bool *done)
{
	(void)state;
	*done = true;
	return ask("adopt", "adopt %u,%u", number_of(key), (unsigned)seq);
}

static int fake_name(struct pfs_replay_state *state, unsigned kind, uint64_t tag)
{
	(void)state;
	return ask("name", "name %u,%u", kind, (unsigned)tag);
}

static int given_count;

static int fake_keys(const uint8_t *record, size_t len, struct pfs_key keys[2], size_t *end)
{
	(void)record;
	assert_int_equal(len, PFS_RECORD_HEADER_LEN + 40);
	assert_null(end);
	for (int i = 0; i < given_count; i++)
		keys[i] = pfs_key_num(21 + (unsigned)i);
	return given_count;
}

static int fake_bad(struct pfs_store *store, const struct pfs_record *record)
{
	(void)store;
	(void)record;
	(void)ask("bad", "bad");
	return -EUCLEAN;
}

static int fake_replay(struct pfs_journal *journal, pfs_record_fn *fn, void *arg,
		       struct pfs_replay_result *result)
{
	(void)journal;
	(void)arg;
	*result = (struct pfs_replay_result){
		.records = 3, .first_seq = 80, .last_seq = 90, .why = "why not"};
	return fn == pfs_replay_record ? ask("records", "records") : ask("names", "names");
}

static int fake_rewrite(struct pfs_journal *journal)
{
	(void)journal;
	return ask("rewrite", "rewrite");
}

static int fake_scan(struct pfs_replay_state *state)
{
	state->unknown |= asked.unknown;
	return ask("scan", "scan");
}

static int fake_load(struct pfs_store *store)
{
	(void)store;
	return ask("load", "load");
}

static void fake_start(struct pfs_journal *journal, uint64_t seq)
{
	(void)journal;
	(void)ask("start", "start %u", (unsigned)seq);
}

static struct pfs_page pages[2] = {{.number = 1}, {.number = 2}};

static struct pfs_page *fake_find(struct pfs_pager *pager, uint32_t number)
{
	(void)pager;
	return number >= 1 && number <= 2 ? &pages[number - 1] : NULL;
}

static struct pfs_page *fake_next(struct pfs_pager *pager, uint32_t after)
{
	return fake_find(pager, after + 1);
}

/* Bytes that say where they are from. */
static uint8_t byte_at(uint64_t off)
{
	return (uint8_t)pfs_mix64(off);
}

static int fake_copy(const struct pfs_page *page, void *dst, uint64_t off, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)dst)[i] = byte_at(off + i);
	return ask("copy", "copy %u,%llu+%zu", page->number, (unsigned long long)off, len);
}

static int fake_write(struct pfs_page *page, const void *bytes, size_t len, uint64_t off)
{
	for (size_t i = 0; i < len; i++)
		assert_int_equal(((const uint8_t *)bytes)[i], byte_at(off + i));
	return ask("write", "write %u,%llu+%zu", page->number, (unsigned long long)off, len);
}

static int fake_clear_gap(struct pfs_page *page)
{
	return ask("gap", "gap %u", page->number);
}

static int fake_trailer(struct pfs_pager *pager, struct pfs_page *page, void (*lock)(void *, bool),
			void *arg)
{
	(void)pager;
	(void)lock;
	(void)arg;
	return ask("trailer", "trailer %u", page->number);
}

static int fake_tombstone(struct pfs_store *store, const struct pfs_extent_at *at, uint64_t tag,
			  uint64_t seq)
{
	(void)store;
	return ask("tombstone", "tombstone %u,%u,%u,%u", at->page, at->slot, (unsigned)tag,
		   (unsigned)seq);
}

static int fake_headers(struct pfs_pager *pager, void (*lock)(void *, bool), void *arg)
{
	(void)pager;
	(void)lock;
	(void)arg;
	return ask("headers", "headers");
}

static int fake_sync(struct pfs_store *store)
{
	(void)store;
	return ask("sync", "sync");
}

static void fake_free(struct pfs_pager *pager, const struct pfs_extent_at *at)
{
	(void)pager;
	(void)ask("free", "free %u,%u", at->page, at->slot);
}

static int fake_place(struct pfs_store *store, struct pfs_change *change)
{
	(void)store;
	change->version->target.len = 512;
	return ask("place", "place %u", (unsigned)change->version->tag);
}

static void fake_give_up(struct pfs_store *store)
{
	(void)store;
	(void)ask("reserve", "reserve");
}

static int fake_checkpoint(struct pfs_store *store, bool force)
{
	(void)store;
	return ask("checkpoint", "checkpoint %d", force);
}

static uint64_t fake_window(const struct pfs_journal *journal)
{
	(void)journal;
	return asked.window ? asked.window : 101;
}

static int fake_super_write(struct pfs_dir *dir, const struct pfs_super *super)
{
	(void)dir;
	return ask("super", "super %d", super->doubt);
}

#define pfs_journal_replay fake_replay
#define pfs_journal_rewrite fake_rewrite
#define pfs_journal_start fake_start
#define pfs_scan fake_scan
#define pfs_name fake_name
#define pfs_record_keys fake_keys
#define pfs_replay_bad_record fake_bad
#define pfs_object_word_key fake_key
#define pfs_replay_drop fake_drop
#define pfs_replay_base_of fake_base_of
#define pfs_replay_adopt fake_adopt
#define pfs_pager_find fake_find
#define pfs_pager_next_page fake_next
#define pfs_page_copy fake_copy
#define pfs_page_write fake_write
#define pfs_page_clear_gap fake_clear_gap
#define pfs_pager_restore_trailer fake_trailer
#define pfs_write_tombstone fake_tombstone
#define pfs_pager_write_headers fake_headers
#define pfs_sync_pages fake_sync
#define pfs_pager_free fake_free
#define pfs_change_place fake_place
#define pfs_give_up_reserve fake_give_up
#define pfs_checkpoint fake_checkpoint
#define pfs_journal_window fake_window
#define pfs_super_write fake_super_write
#define pfs_index_load fake_load
#include "storage/store_replay.c"

/* ---- a state ---- */

static char said[8][256];
static size_t said_count;

static void keep_line(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	(void)level;
	assert_true(said_count < pfs_array_len(said));
	snprintf(said[said_count++], sizeof(said[0]), "%s", line);
}

static struct pfs_replay_state *new_state(void)
{
	struct pfs_replay_state *state = calloc(1, sizeof(*state));
	struct pfs_store *store = calloc(1, sizeof(*store));

	store->logger = (struct pfs_logger){.fn = keep_line};
	pfs_list_init(&store->pending);
	pfs_list_init(&store->staged);
	state->store = store;
	state->last_seq = 100;
	state->journal_last = 90;
	nobody_fails();
	said_count = 0;
	return state;
}

static void free_state(struct pfs_replay_state *state)
{
	struct pfs_list *lists[] = {&state->store->pending, &state->store->staged};

	for (size_t i = 0; i < pfs_array_len(lists); i++) {
		while (!pfs_list_empty(lists[i])) {
			struct pfs_list *item = lists[i]->next;

			pfs_list_remove(item);
			free(item);
		}
	}
	free(state->store);
	free(state);
}

static struct pfs_version *add_version(struct pfs_list *list, const struct pfs_key *key)
{
	struct pfs_version *v = pfs_version_new(key);

	pfs_list_append(list, &v->list);
	return v;
}

/* ---- the parts ---- */

/* Proves: each name that a record has is noted, or those that are known of a damaged one; a record
 * without any makes no sense. */
static void names_are_collected(void **state_)
{
	struct pfs_key lost[3] = {pfs_key_num(31), pfs_key_num(32), pfs_key_num(33)};
	static const struct {
		int count;
		bool damaged;
		int err;
		const char *asked;
	} cases[] = {{1, false, 0, "name 1,21"},  {2, false, 0, "name 1,21 name 1,22"},
		     {0, false, -EUCLEAN, "bad"}, {-EUCLEAN, false, -EUCLEAN, "bad"},
		     {1, true, 0, "name 1,31"},	  {2, true, 0, "name 1,31 name 1,32"},
		     {0, true, -EUCLEAN, "bad"}};
	struct pfs_replay_state *state = new_state();

	(void)state_;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_record record = {
			.body = (const uint8_t *)&record + PFS_RECORD_HEADER_LEN,
			.body_len = 40,
			.lost_keys = cases[i].damaged ? lost : NULL,
			.lost_count = cases[i].damaged ? (unsigned)cases[i].count : 0};

		given_count = cases[i].count;
		assert_int_equal(collect_names(state, &record), cases[i].err);
		expect_asked(cases[i].asked);
		asked.fails = "name";
		assert_int_equal(collect_names(state, &record),
				 cases[i].err ? cases[i].err : -ENOMEM);
		expect_asked(cases[i].err ? "bad" : "");
		asked.fails = NULL;
	}
	free_state(state);
}

/* Proves: each object under a temporary key is dropped, and no other: not one that is not there,
 * nor one whose key can't be had. */
static void temporary_ones_are_dropped(void **state_)
{
	struct pfs_replay_state *state = new_state();
	struct pfs_store *store = state->store;
	struct pfs_list versions;

	(void)state_;
	pfs_list_init(&versions);
	assert_int_equal(pfs_index_new(&store->index), 0);
	/* One that can't be had comes behind a temporary one, and behind another. */
	for (unsigned i = 0; i < 7; i++) {
		struct pfs_key key = pfs_key_num(i);
		uint32_t object;

		if (i == 1 || i == 4)
			key.kind = PFS_KEY_TEMP;
		assert_int_equal(pfs_index_alloc(store->index, &object), 0);
		if (i != 3)
			pfs_index_set_word(
				store->index, object,
				i == 2 || i == 6 ? pfs_word_page(9, i)
						 : pfs_word_version(add_version(&versions, &key)));
	}
	assert_int_equal(drop_temporary(store, 7), 0);
	expect_asked("drop 1,7 drop 4,7");
	asked.fails = "drop";
	assert_int_equal(drop_temporary(store, 7), -ENOMEM);
	expect_asked("");
	pfs_index_free(store->index);
	while (!pfs_list_empty(&versions)) {
		struct pfs_list *item = versions.next;

		pfs_list_remove(item);
		free(item);
	}
	free_state(state);
}

/* Proves: what verifies, is nobody's yet and is newer than the journal's end is kept, if it is
 * newer than what is there under its key, with a warning; temporary keys are not. */
static void what_is_newer_is_kept(void **state_)
{
	static const struct {
		bool trusted, adopted, temporary;
		uint64_t seq, base_seq;
		const char *asked;
	} cases[] = {
		{true, false, false, 91, 0, "base 5 adopt 5,91"},
		{true, false, false, 91, 90, "base 5 adopt 5,91"},
		{true, false, false, 91, 91, "base 5"},
		{true, false, false, 91, 92, "base 5"},
		{true, false, false, 90, 0, ""},
		{true, false, false, 89, 0, ""},
		{false, false, false, 91, 0, ""},
		{true, true, false, 91, 0, ""},
		{true, false, true, 91, 0, ""},
	};

	(void)state_;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_replay_state *state = new_state();
		struct pfs_untrusted u = {.at = {.page = 3, .slot = 4},
					  .key = pfs_key_num(5),
					  .seq = cases[i].seq,
					  .verified = cases[i].trusted,
					  .adopted = cases[i].adopted};
		bool adopts = strstr(cases[i].asked, "adopt") != NULL;

		if (cases[i].temporary)
			u.key.kind = PFS_KEY_TEMP;
		state->untrusted = &u;
		state->untrusted_count = 1;
		asked.base_seq = cases[i].base_seq;
		assert_int_equal(keep_newer(state), 0);
		expect_asked(cases[i].asked);
		assert_int_equal(said_count, adopts);
		if (adopts)
			assert_non_null(strstr(said[0], "page 3 slot 4 is newer than the end of "
							"the journal"));
		asked.fails = "base";
		assert_int_equal(keep_newer(state), cases[i].asked[0] ? -ENOMEM : 0);
		asked.fails = "adopt";
		assert_int_equal(keep_newer(state), adopts ? -ENOMEM : 0);
		free_state(state);
	}
}

/* Proves: a container of any length is written again where it stands, a mebibyte at a time, and
 * then its slot; a failure ends it. */
static void containers_are_written_again(void **state_)
{
	struct pfs_replay_state *state = new_state();
	const struct pfs_extent_at small = {1, 2, 5000, 300},
				   large = {2, 0, 4096, 2 * PFS_MIB + 16};
	uint8_t *buf = malloc(AGAIN_STEP);
	const char *const each[] = {"copy", "write"};

	(void)state_;
	assert_int_equal(write_again(state->store, &small, buf), 0);
	expect_asked("copy 1,5000+300 write 1,5000+300 copy 1,96+16 write 1,96+16");
	assert_int_equal(write_again(state->store, &large, buf), 0);
	expect_asked("copy 2,4096+1048576 write 2,4096+1048576 "
		     "copy 2,1052672+1048576 write 2,1052672+1048576 "
		     "copy 2,2101248+16 write 2,2101248+16 copy 2,64+16 write 2,64+16");
	for (size_t i = 0; i < pfs_array_len(each); i++) {
		asked.fails = each[i];
		assert_int_equal(write_again(state->store, &small, buf), -ENOMEM);
		expect_asked(i ? "copy 1,5000+300" : "");
	}
	free(buf);
	free_state(state);
}

/* Proves: first what was adopted is durable, with its header; then each other place gets a
 * tombstone, so do those of the window; only when these are synced are the places free. Whatever of
 * it fails, nothing comes after it. */
static void untrusted_places_are_retired(void **state_)
{
	static const char *const steps[] = {"gap",     "trailer", "copy",     "write",
					    "headers", "sync",	  "tombstone"};
	struct pfs_replay_state *state = new_state();
	struct pfs_untrusted u[] = {{.at = {1, 2, 5000, 16}, .tag = 5},
				    {.at = {1, 3, 6000, 16}, .tag = 6, .adopted = true},
				    {.at = {2, 0, 7000, 16}, .tag = 7}};
	struct pfs_extent_at dead[] = {{2, 8, 0, 0}, {2, 9, 0, 0}};
	uint64_t tags[] = {21, 22}, seqs[] = {31, 32};

	(void)state_;
	assert_int_equal(retire_untrusted(state), 0);
	expect_asked("gap 1 trailer 1 gap 2 trailer 2 headers sync");
	state->untrusted = u;
	state->untrusted_count = pfs_array_len(u);
	state->tombstones = dead;
	state->tombstone_tags = tags;
	state->tombstone_seqs = seqs;
	state->tombstone_count = pfs_array_len(dead);
	assert_int_equal(retire_untrusted(state), 0);
	expect_asked("gap 1 trailer 1 gap 2 trailer 2 "
		     "copy 1,6000+16 write 1,6000+16 copy 1,112+16 write 1,112+16 headers sync "
		     "tombstone 1,2,5,100 tombstone 2,0,7,100 "
		     "tombstone 2,8,21,31 tombstone 2,9,22,32 headers sync free 1,2 free 2,0");
	for (size_t i = 0; i < pfs_array_len(steps); i++) {
		static const char *const before[] = {
			"",
			"gap 1",
			"gap 1 trailer 1 gap 2 trailer 2",
			"gap 1 trailer 1 gap 2 trailer 2 copy 1,6000+16",
			"gap 1 trailer 1 gap 2 trailer 2 copy 1,6000+16 write 1,6000+16 "
			"copy 1,112+16 write 1,112+16",
			"gap 1 trailer 1 gap 2 trailer 2 copy 1,6000+16 write 1,6000+16 "
			"copy 1,112+16 write 1,112+16 headers",
			"gap 1 trailer 1 gap 2 trailer 2 copy 1,6000+16 write 1,6000+16 "
			"copy 1,112+16 write 1,112+16 headers sync"};

		asked.fails = steps[i];
		assert_int_equal(retire_untrusted(state), -ENOMEM);
		expect_asked(before[i]);
	}
	/* What was adopted is there already; then the first step that fails is the last. */
	u[1].adopted = false;
	asked.fails = "headers";
	assert_int_equal(retire_untrusted(state), -ENOMEM);
	expect_asked("gap 1 trailer 1 gap 2 trailer 2 tombstone 1,2,5,100 tombstone 1,3,6,100 "
		     "tombstone 2,0,7,100 tombstone 2,8,21,31 tombstone 2,9,22,32");
	free_state(state);
}

/* Proves: when places are retired the reserve is given up, and what was replayed gets its places:
 * first what is whole, then stages, nothing that is removed; then all of it goes there. Any failure
 * is the opening's. */
static void replayed_ones_get_places(void **state_)
{
	static const char *const steps[] = {"sync", "place", "checkpoint"};
	struct pfs_replay_state *state = new_state();
	struct pfs_store *store = state->store;
	struct pfs_key key = pfs_key_num(1);
	struct pfs_version *v;

	(void)state_;
	add_version(&store->pending, &key)->stored = 500;
	key.num = 2;
	add_version(&store->pending, &key)->removed = true;
	key = (struct pfs_key){.kind = PFS_KEY_TEMP, .num = 3};
	add_version(&store->pending, &key);
	key = pfs_key_num(4);
	v = add_version(&store->staged, &key);
	assert_int_equal(finish(state), 0);
	expect_asked("gap 1 trailer 1 gap 2 trailer 2 headers sync reserve "
		     "place 1 place 3 place 4 checkpoint 1");
	assert_int_equal(v->stored, 512);
	assert_int_equal(store->container_bytes, 12 + 512);
	for (size_t i = 0; i < pfs_array_len(steps); i++) {
		asked.fails = steps[i];
		asked.window = 80; /* nothing of it is done with */
		assert_int_equal(finish(state), -ENOMEM);
		expect_asked(i == 0   ? "gap 1 trailer 1 gap 2 trailer 2 headers"
			     : i == 1 ? "gap 1 trailer 1 gap 2 trailer 2 headers sync reserve"
				      : "gap 1 trailer 1 gap 2 trailer 2 headers sync reserve "
					"place 1 place 3 place 4");
	}
	free_state(state);
}

/* Proves: each document whose content is lost is said by its name and counted, and nothing else. */
static void lost_ones_are_named(void **state_)
{
	struct pfs_replay_state *state = new_state();
	struct pfs_list *pending = &state->store->pending;

	(void)state_;
	for (unsigned i = 0; i < 16; i++) {
		struct pfs_key key = pfs_key_num(100 + i);
		struct pfs_version *v;

		if (i & 1)
			key.kind = PFS_KEY_TEMP;
		v = add_version(pending, &key);
		v->removed = i & 2;
		v->source.kind = i & 4 ? PFS_SOURCE_LOST : PFS_SOURCE_RECORD;
	}
	count_lost(state);
	assert_int_equal(state->lost, 2);
	assert_int_equal(said_count, 2);
	assert_memory_equal(said[0], "104: what the journal's changes were made to is not there",
			    57);
	assert_memory_equal(said[1], "112: ", 5);
	free_state(state);
}

/* Proves: that there are documents whose keys nobody knows is written down once, and not by who
 * only reads. */
static void doubt_is_written_down(void **state_)
{
	(void)state_;
	for (unsigned i = 0; i < 8; i++) {
		struct pfs_replay_state *state = new_state();
		bool unknown = i & 1, doubt = i & 2, reader = i & 4;
		bool writes = unknown && !doubt && !reader;

		state->unknown = unknown;
		state->store->super.doubt = doubt;
		state->store->opened_read_only = reader;
		assert_int_equal(settle_doubt(state), 0);
		expect_asked(writes ? "super 1" : "");
		assert_int_equal(state->store->super.doubt, unknown || doubt);
		state->store->super.doubt = doubt;
		asked.fails = "super";
		assert_int_equal(settle_doubt(state), writes ? -ENOMEM : 0);
		free_state(state);
	}
}

/* Proves: names, slots and records are read in this order, by who writes with the journal written
 * again before; what is in doubt is written down, what has only a temporary key goes, what is lost
 * is said; then it goes on behind the last record, and who writes finishes it. Whatever fails ends
 * it. */
static void the_journal_is_replayed(void **state_)
{
	static const char *const steps[] = {"names", "rewrite", "scan", "super", "records", "drop"};
	static const char *const before[] = {"",
					     "names",
					     "names rewrite",
					     "names rewrite scan",
					     "names rewrite scan super 1",
					     "names rewrite scan super 1 records"};

	(void)state_;
	for (size_t i = 0; i < pfs_array_len(steps) + 2; i++) {
		struct pfs_replay_state *state = new_state();
		struct pfs_store *store = state->store;
		struct pfs_key temp = {.kind = PFS_KEY_TEMP, .num = 7}, key = pfs_key_num(5);
		struct pfs_version *v = pfs_version_new(&temp);
		uint32_t object;
		int err;

		store->opened_read_only = i > pfs_array_len(steps);
		state->unknown = 1;
		assert_int_equal(pfs_index_new(&store->index), 0);
		assert_int_equal(pfs_index_alloc(store->index, &object), 0);
		pfs_index_set_word(store->index, object, pfs_word_version(v));
		add_version(&store->pending, &key)->source.kind = PFS_SOURCE_LOST;
		asked.fails = i < pfs_array_len(steps) ? steps[i] : NULL;
		err = replay(state);
		assert_int_equal(err, asked.fails ? -ENOMEM : 0);
		assert_string_equal(store->refusal, i == 0 ? "why not" : "");
		if (asked.fails)
			expect_asked(before[i]);
		else if (store->opened_read_only)
			expect_asked("names scan records drop 7,90 start 91");
		else
			expect_asked("names rewrite scan super 1 records drop 7,90 start 91 "
				     "gap 1 trailer 1 gap 2 trailer 2 headers sync reserve "
				     "place 5 checkpoint 1");
		assert_int_equal(state->lost, !asked.fails);
		assert_int_equal(said_count, asked.fails ? 0 : 2);
		if (!asked.fails)
			assert_string_equal(said[1], "replayed 3 records of the journal");
		pfs_index_free(store->index);
		free(v);
		free_state(state);
	}
}

/* Proves: of a store that was closed the index is taken as it is; where it can't be, and that is
 * not for want of memory, the slots are read instead, what is in doubt is written down, and what
 * has only a temporary key goes. It goes on behind what the superblock says. Whatever fails ends
 * it. */
static void closed_stores_are_read(void **state_)
{
	static const struct {
		int load_err;
		const char *fails;
		const char *asked;
	} cases[] = {
		{0, NULL, "load start 101"},
		{-ENOMEM, NULL, ""},
		{-ENOENT, NULL, "scan super 1 drop 7,100 start 101"},
		{-EUCLEAN, NULL, "scan super 1 drop 7,100 start 101"},
		{-ENOENT, "scan", ""},
		{-ENOENT, "super", "scan"},
		{-ENOENT, "drop", "scan super 1"},
	};

	(void)state_;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_replay_state *state = new_state();
		struct pfs_store *store = state->store;
		struct pfs_key temp = {.kind = PFS_KEY_TEMP, .num = 7};
		struct pfs_version *v = pfs_version_new(&temp);
		bool fails = cases[i].load_err == -ENOMEM || cases[i].fails;
		uint32_t object;

		store->super.sequence = 100;
		assert_int_equal(pfs_index_new(&store->index), 0);
		assert_int_equal(pfs_index_alloc(store->index, &object), 0);
		pfs_index_set_word(store->index, object, pfs_word_version(v));
		asked.unknown = true;
		asked.fails = cases[i].load_err ? "load" : NULL;
		asked.err = cases[i].load_err;
		asked.fails_too = cases[i].fails;
		assert_int_equal(pfs_recover(store, true), fails ? -ENOMEM : 0);
		expect_asked(cases[i].asked);
		pfs_index_free(store->index);
		free(v);
		free_state(state);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_collected),
		cmocka_unit_test(temporary_ones_are_dropped),
		cmocka_unit_test(what_is_newer_is_kept),
		cmocka_unit_test(containers_are_written_again),
		cmocka_unit_test(untrusted_places_are_retired),
		cmocka_unit_test(replayed_ones_get_places),
		cmocka_unit_test(lost_ones_are_named),
		cmocka_unit_test(doubt_is_written_down),
		cmocka_unit_test(the_journal_is_replayed),
		cmocka_unit_test(closed_stores_are_read),
	};

	return cmocka_run_group_tests_name("parts of replaying", tests, NULL, NULL);
}
