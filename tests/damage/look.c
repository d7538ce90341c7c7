/* What is seen of a damaged store. */
#include <malloc.h>

#include "tests/damage/damage.h"

#define FINDINGS_MAX 512
#define LISTED_MAX 256

struct looking {
	const struct damage_world *world;
	struct pfs_sim *sim;
	const struct damage *damage;
	unsigned checks;
	struct damage_count *count;
	struct pfs_store *store;
	uint64_t cut_seq; /* records from here on may be taken for a cut; UINT64_MAX: none */
	bool right[DAMAGE_DOCS_MAX], error[DAMAGE_DOCS_MAX];
	bool refused, any_error;
	struct pfs_finding findings[FINDINGS_MAX];
	size_t finding_count;
	/* Documents that were changed after the damage. */
	int changed; /* -1: none */
	const char *changed_to;
};

static void ignore_log(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

static const struct pfs_logger quiet = {.fn = ignore_log};

static void complain(struct looking *l, const struct pfs_key *key, const char *what)
{
	char text[PFS_NAME_MAX + 1] = "";

	if (key)
		pfs_key_format(text, key);
	print_error("%s store, %s [%llu, %llu): %s: %s\n", l->world->name, l->damage->file,
		    (unsigned long long)l->damage->from, (unsigned long long)l->damage->to, text,
		    what);
}

/* ---- what may be seen ---- */

/* From which sequence on records may seem to be cut off: damage up to the last record has no later
 * one that proves it. */
static uint64_t cut_from(const struct damage_world *w, const struct damage *damage)
{
	if (w->record_count == 0 || strcmp(damage->file, w->segment) != 0 ||
	    damage->to <= w->records[w->record_count - 1].off)
		return UINT64_MAX;
	for (size_t i = 0; i < w->record_count; i++) {
		if (w->records[i].end > damage->from)
			return w->records[i].seq;
	}
	return UINT64_MAX;
}

static bool is_state(const struct damage_state *s, int err, const void *bytes, size_t len,
		     const struct pfs_attr *attr)
{
	if (err)
		return err == -ENOENT && !s->there;
	return s->there && len == s->attr.size && attr->size == len &&
	       memcmp(bytes, s->bytes, len) == 0 && attr->mode == s->attr.mode &&
	       attr->uid == s->attr.uid && attr->gid == s->attr.gid &&
	       attr->mtime_ns == s->attr.mtime_ns;
}

static const struct damage_state *state_before(const struct damage_doc *doc, uint64_t seq)
{
	size_t k = doc->count - 1;

	while (k && doc->states[k].seq >= seq)
		k--;
	return &doc->states[k];
}

static void judge(struct looking *l, size_t i, int err, const void *bytes, size_t len,
		  const struct pfs_attr *attr)
{
	const struct damage_doc *doc = &l->world->docs[i];

	if (l->changed == (int)i && err == 0 && len == strlen(l->changed_to) &&
	    memcmp(bytes, l->changed_to, len) == 0) {
		l->right[i] = true;
	} else if (l->changed != (int)i &&
		   is_state(&doc->states[doc->count - 1], err, bytes, len, attr)) {
		l->right[i] = true;
		l->count->right++;
	} else if (err == -EIO) {
		l->error[i] = l->any_error = true;
		l->count->error++;
	} else if (is_state(state_before(doc, l->cut_seq), err, bytes, len, attr)) {
		l->count->cut++;
	} else if (err == -ENOENT && (l->checks & DAMAGE_UNTOLD)) {
		l->count->untold++;
	} else {
		l->count->wrong++;
		complain(l, &doc->key,
			 err == -ENOENT ? "not found"
			 : err		? strerror(-err)
					: "other bytes or attributes");
	}
}

/* Both ways of reading must tell the same. */
static void look_at(struct looking *l, size_t i)
{
	const struct pfs_key *key = &l->world->docs[i].key;
	struct pfs_attr attr, got = {0};
	uint8_t *bytes;
	uint32_t object;
	void *data;
	size_t len;
	int err = pfs_lookup(l->store, key, &object, &attr), other;
	ssize_t n;

	if (!err) {
		bytes = malloc(attr.size + 1);
		n = pfs_read(l->store, object, 0, bytes, attr.size + 1);
		judge(l, i, n < 0 ? (int)n : 0, bytes, n < 0 ? 0 : (size_t)n, &attr);
		err = n < 0 ? (int)n : 0;
		/* Through a mount nobody reads what is empty: there would be no error. */
		if (err && attr.size == 0) {
			l->count->wrong++;
			complain(l, key, "can't be read, and looks empty");
		}
		other = pfs_get(l->store, key, &data, &len, &got);
		if (other != err || (!err && (len != (size_t)n || memcmp(data, bytes, len) != 0))) {
			l->count->wrong++;
			complain(l, key, "lookup and get differ");
		}
		free(data);
		free(bytes);
	} else {
		judge(l, i, err, NULL, 0, NULL);
		if (pfs_get(l->store, key, &data, &len, &got) != err) {
			l->count->wrong++;
			complain(l, key, "lookup and get differ");
		}
		free(data);
	}
}

/* Every name once, none that is not there, and all that could be read. */
static void look_at_listing(struct looking *l)
{
	struct pfs_listed *listed = malloc(LISTED_MAX * sizeof(*listed));
	ssize_t n = pfs_list(l->store, 0, listed, LISTED_MAX);
	unsigned seen[DAMAGE_DOCS_MAX] = {0};

	for (ssize_t k = 0; k < n; k++) {
		size_t i = 0;

		while (i < l->world->count &&
		       !pfs_key_equal(&l->world->docs[i].key, &listed[k].key))
			i++;
		if (i < l->world->count)
			seen[i]++;
		else if (listed[k].key.kind != PFS_KEY_NUM || listed[k].key.num != 999999) {
			l->count->wrong++;
			complain(l, &listed[k].key, "listed, and never was");
		}
	}
	for (size_t i = 0; i < l->world->count; i++) {
		const struct damage_doc *doc = &l->world->docs[i];
		bool there = doc->states[doc->count - 1].there;

		if (seen[i] > 1 || (l->right[i] && seen[i] != (there ? 1 : 0))) {
			l->count->wrong++;
			complain(l, &doc->key, seen[i] > 1 ? "listed twice" : "listing differs");
		}
	}
	free(listed);
}

/* ---- the check ---- */

static void keep_finding(void *arg, const struct pfs_finding *finding)
{
	struct looking *l = arg;

	if (finding->fatal && l->finding_count < FINDINGS_MAX)
		l->findings[l->finding_count++] = *finding;
}

/* For each error there must be a finding that names the id, or the file that is damaged. */
static void look_at_check(struct looking *l)
{
	struct pfs_check_result result;
	struct pfs_reason reason;
	bool place = false;
	int err = pfs_check(DAMAGE_STORE, pfs_sim_io(l->sim), &quiet, keep_finding, NULL, l,
			    &result, &reason);

	if (err) {
		if (!l->refused) {
			l->count->wrong++;
			complain(l, NULL, "can be opened but not be checked");
		}
		return;
	}
	for (size_t k = 0; k < l->finding_count; k++)
		place |= strcmp(l->findings[k].where, l->damage->file) == 0;
	if ((l->checks & DAMAGE_NAMED) && !place) {
		l->count->unnamed++;
		complain(l, NULL, "the check does not name the file");
	}
	if (l->refused && !place && l->finding_count == 0) {
		l->count->unnamed++;
		complain(l, NULL, "opening is refused, and the check finds nothing");
	}
	for (size_t i = 0; i < l->world->count; i++) {
		bool named = place;

		for (size_t k = 0; k < l->finding_count && !named; k++)
			named = pfs_key_equal(&l->findings[k].key, &l->world->docs[i].key);
		if (!l->error[i] || named)
			continue;
		if (l->checks & DAMAGE_UNTOLD) {
			l->count->untold++;
			continue;
		}
		l->count->unnamed++;
		complain(l, &l->world->docs[i].key,
			 "gives an error, and the check does not say it");
	}
}

/* ---- the whole ---- */

static int open_as(struct looking *l, bool read_only)
{
	struct pfs_open_options options = {
		.manual = true, .read_only = read_only, .io = pfs_sim_io(l->sim), .logger = quiet};
	struct pfs_reason reason;
	int err = pfs_store_open(&l->store, DAMAGE_STORE, &options, &reason);

	if (!err)
		return 0;
	l->refused = l->any_error = true;
	l->count->refused++;
	if (err != -EUCLEAN && err != -EIO && err != -ENOENT) {
		l->count->wrong++;
		complain(l, NULL, reason.text);
	}
	return err;
}

static void look_once(struct looking *l)
{
	if (open_as(l, true) == 0) {
		for (size_t i = 0; i < l->world->count; i++)
			look_at(l, i);
		look_at_listing(l);
		assert_int_equal(pfs_store_close(l->store), 0);
	}
	if ((l->checks & DAMAGE_CHECK) || ((l->checks & DAMAGE_CHECK_ERRORS) && l->any_error))
		look_at_check(l);
}

/* Damage does not spread: after opening for writing, a new document, another for one that is there,
 * and a clean close, every document is still right, or an error. */
static void write_and_look(struct looking *l)
{
	static const char text[] = "changed after the damage";
	struct pfs_key fresh = pfs_key_num(999999);
	struct pfs_sim *image = pfs_sim_kill(l->world->sim);
	struct looking again = *l;
	struct damage_count count = {.cases = 0};

	damage_apply(image, l->damage);
	again.sim = image;
	again.count = &count;
	again.checks &= ~(unsigned)(DAMAGE_CHECK | DAMAGE_CHECK_ERRORS | DAMAGE_NAMED);
	memset(again.right, 0, sizeof(again.right));
	memset(again.error, 0, sizeof(again.error));
	if (open_as(&again, false) == 0) {
		int i = 0, err = pfs_put(again.store, &fresh, text, 5, NULL, 0, NULL);

		assert_true(err == 0 || err == -EIO);
		while (!l->right[i] || !l->world->docs[i].states[l->world->docs[i].count - 1].there)
			i++;
		err = pfs_put(again.store, &l->world->docs[i].key, text, strlen(text), NULL, 0,
			      NULL);
		assert_true(err == 0 || err == -EIO);
		if (!err) {
			again.changed = i;
			again.changed_to = text;
		}
		assert_int_equal(pfs_store_close(again.store), 0);
		again.cut_seq = l->cut_seq;
		look_once(&again);
		l->count->wrong += count.wrong;
		if (count.refused) {
			l->count->wrong++;
			complain(l, NULL, "refused after writing");
		}
		again.finding_count = 0;
		again.any_error = true;
		memset(again.error, 0, sizeof(again.error));
		look_at_check(&again);
	}
	pfs_sim_free(image);
}

/* ---- damaging ---- */

void damage_apply(struct pfs_sim *sim, const struct damage *damage)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_file *file;
	struct pfs_dir *dir;
	uint8_t byte;

	if (damage->kind == DAMAGE_NOTHING)
		return;
	assert_int_equal(io->ops->open_dir(io, DAMAGE_STORE, PFS_IO_WRITE, &dir), 0);
	assert_int_equal(dir->ops->open(dir, damage->file, PFS_IO_WRITE, &file), 0);
	if (damage->kind == DAMAGE_CUT) {
		assert_int_equal(file->ops->truncate(file, damage->from), 0);
	} else if (damage->kind == DAMAGE_GONE) {
		assert_int_equal(dir->ops->unlink(dir, damage->file), 0);
	} else if (damage->kind == DAMAGE_BYTES) {
		assert_int_equal(file->ops->write(file, damage->bytes, damage->to - damage->from,
						  damage->from),
				 0);
	} else {
		assert_int_equal(file->ops->read(file, &byte, 1, damage->from), 1);
		byte ^= damage->turn;
		assert_int_equal(file->ops->write(file, &byte, 1, damage->from), 0);
	}
	file->ops->close(file);
	dir->ops->close_dir(dir);
}

/* In place, and without the sim's knowing, which is much faster. */
struct undo {
	struct sim_inode *inode;
	uint64_t len;
	uint8_t *bytes; /* those that were in the damage's range */
};

static void spoil(const struct damage_world *w, const struct damage *damage, struct undo *undo)
{
	size_t len = damage->to - damage->from;
	uint8_t *at;

	if (damage->kind == DAMAGE_NOTHING)
		return;
	*undo = (struct undo){.inode = damage_file(w->sim, damage->file)};
	undo->len = undo->inode->len;
	at = undo->inode->bytes + damage->from;
	if (damage->kind == DAMAGE_BIT) {
		*at ^= damage->turn;
	} else if (damage->kind == DAMAGE_GONE) {
		sim_names_set(&sim_node_find(w->sim, DAMAGE_STORE)->names, damage->file, NULL);
	} else {
		undo->bytes = malloc(len + 1);
		memcpy(undo->bytes, at, len);
		if (damage->kind == DAMAGE_BYTES)
			memcpy(at, damage->bytes, len);
		else
			memset(at, 0, len);
		if (damage->kind == DAMAGE_CUT)
			undo->inode->len = damage->from;
	}
}

static void unspoil(const struct damage_world *w, const struct damage *damage, struct undo *undo)
{
	if (damage->kind == DAMAGE_NOTHING)
		return;
	undo->inode->len = undo->len;
	if (damage->kind == DAMAGE_BIT)
		undo->inode->bytes[damage->from] ^= damage->turn;
	else if (damage->kind == DAMAGE_GONE)
		sim_names_set(&sim_node_find(w->sim, DAMAGE_STORE)->names, damage->file,
			      undo->inode);
	else
		memcpy(undo->inode->bytes + damage->from, undo->bytes, damage->to - damage->from);
	free(undo->bytes);
}

void damage_look(const struct damage_world *world, const struct damage *damage, unsigned checks,
		 struct damage_count *count)
{
	static _Thread_local struct looking l;
	struct undo undo = {.bytes = NULL};

	l = (struct looking){.world = world,
			     .sim = world->sim,
			     .damage = damage,
			     .checks = checks,
			     .count = count,
			     .cut_seq = cut_from(world, damage),
			     .changed = -1};
	count->cases++;
	spoil(world, damage, &undo);
	look_once(&l);
	unspoil(world, damage, &undo);
	if ((checks & DAMAGE_WRITE) && !l.refused)
		write_and_look(&l);
}

void damage_print(const struct damage_count *counts, size_t n)
{
	print_message("%-30s %9s %8s %10s %9s %6s %6s %6s %8s\n", "damage in", "cases", "refused",
		      "ids right", "error", "cut", "untold", "WRONG", "unnamed");
	for (size_t i = 0; i < n; i++) {
		const struct damage_count *c = &counts[i];

		if (c->cases)
			print_message("%-30s %9llu %8llu %10llu %9llu %6llu %6llu %6llu %8llu\n",
				      c->what, (unsigned long long)c->cases,
				      (unsigned long long)c->refused, (unsigned long long)c->right,
				      (unsigned long long)c->error, (unsigned long long)c->cut,
				      (unsigned long long)c->untold, (unsigned long long)c->wrong,
				      (unsigned long long)c->unnamed);
	}
}

void damage_expect(const struct damage_count *counts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(counts[i].wrong, 0);
		assert_int_equal(counts[i].unnamed, 0);
	}
}

/* ---- how much ---- */

void damage_keep_memory(void)
{
	/* Opening and checking take and give back the same blocks, over and over. */
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	mallopt(M_TOP_PAD, 64 << 20);
}

bool damage_full(void)
{
	const char *full = getenv("DAMAGE_FULL");

	return full && *full && strcmp(full, "0") != 0;
}

bool damage_mine(uint64_t number)
{
	const char *part = getenv("DAMAGE_PART");
	unsigned long long mine = 1, parts = 1;

	if (part && sscanf(part, "%llu/%llu", &mine, &parts) != 2)
		fail_msg("DAMAGE_PART=1/2 or 2/2");
	return number % parts == mine - 1;
}

bool damage_sampled(uint64_t number, uint64_t step)
{
	const char *sample = getenv("TEST_SAMPLE"); /* as for the unit tests */
	uint64_t more = sample ? strtoull(sample, NULL, 10) : 1;

	return damage_full() ? damage_mine(number / 8)
			     : pfs_mix64(number) % (step * (more ? more : 1)) == 0;
}
