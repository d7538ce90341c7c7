/* Checking the journal: what a replay would read, and whether it would read all that was durable
 * (FORMAT.md, O2, O7). */
#include <stdlib.h>

#include "storage/check.h"
#include "storage/crc.h"
#include "storage/record.h"
#include "storage/salvage.h"
#include "storage/search.h"

#define MOVES_MAX 4096 /* remembered; what is behind them may look worse than it is */

/* Hashes of the keys. */
struct move {
	uint64_t from, to;
	bool other_half; /* of an exchange, whose first one stands before it */
};

struct journal {
	struct pfs_check *check;
	struct pfs_checked_segment *at; /* ascending numbers */
	size_t count;
	uint8_t *bytes, *other;		      /* PFS_SEGMENT_SIZE each */
	uint8_t unread[PFS_CHECK_UNREAD_LEN]; /* of bytes */
	uint64_t expected;		      /* sequence of the next record */
	struct pfs_search search;
	const struct pfs_checked_segment
		*searched;  /* from its first damage on: that is in search */
	char name[32];	    /* of the segment that is in bytes */
	uint32_t file;	    /* its number */
	struct move *moves; /* MOVES_MAX, in the order of the records */
	size_t move_count;
};

/* ---- records ---- */

/* What the checksums of a segment's records begin with. */
static uint32_t seed_of(const struct journal *j, const struct pfs_checked_segment *segment)
{
	uint8_t seed[16 + PFS_UUID_LEN];

	pfs_put_le64(seed, segment->epoch);
	pfs_put_le64(seed + 8, segment->number);
	memcpy(seed + 16, j->check->super.uuid, PFS_UUID_LEN);
	return pfs_crc32c(0, seed, sizeof(seed));
}

/* Length of the verified record at off, 0: there is none. */
static size_t record_at(const struct journal *j, const struct pfs_checked_segment *segment,
			uint64_t off)
{
	const struct pfs_record_disk *head = (const struct pfs_record_disk *)(j->bytes + off);
	size_t len;

	if (off + PFS_RECORD_LEN_MIN > PFS_SEGMENT_SIZE)
		return 0;
	len = pfs_get_le32(head->len.b);
	if (len < PFS_RECORD_LEN_MIN || len % 8 != 0 || len > PFS_SEGMENT_SIZE - off)
		return 0;
	return pfs_record_crc(seed_of(j, segment), j->bytes + off, len) ==
				       pfs_get_le32(head->crc.b) &&
			       pfs_get_le64(head->seq.b) <= PFS_SEQ_MAX
		       ? len
		       : 0;
}

static const char *check_put(struct journal *j, const struct pfs_record_disk *head,
			     const struct pfs_put_disk *put, struct pfs_record_walk *p)
{
	struct pfs_check_reader memory = {.buf = j->bytes, .len = PFS_SEGMENT_SIZE};
	struct pfs_check_value value = {0};
	struct pfs_container c = {
		.flags = head->flags & (PFS_PUT_LZ4 | PFS_PUT_BLOCKS),
		.raw_len = pfs_get_le64(put->raw_len.b),
		.body_len = pfs_get_le32(put->body_len.b),
		.content = pfs_get_le64(put->content.b),
		.dict = pfs_get_le32(put->dict.b),
	};

	if (!pfs_record_put_fits(head->flags, c.raw_len, c.body_len, pfs_record_left(p)))
		return "a put that makes no sense";
	if (c.raw_len &&
	    pfs_check_body(j->check, &memory, (uint64_t)(p->at - j->bytes), &c, &value) != 0)
		return value.why;
	return NULL;
}

static const char *check_patch(const struct pfs_record_disk *head,
			       const struct pfs_patch_disk *patch, const struct pfs_record_walk *p)
{
	uint64_t off = pfs_get_le64(patch->off.b), size = pfs_get_le64(patch->new_size.b);
	uint64_t len = pfs_get_le64(patch->len.b);

	if (size > PFS_PAYLOAD_MAX || off > size || len > size - off ||
	    (!(head->flags & PFS_PATCH_ZERO) && len > (size_t)(p->end - p->at)))
		return "a patch that makes no sense";
	return NULL;
}

/* Reads what a record says: its keys (kind NONE: none), and what is wrong with it or NULL. */
static const char *parse_record(struct journal *j, uint64_t off, size_t len, struct pfs_key keys[2])
{
	const uint8_t *begin = j->bytes + off, *body = begin + PFS_RECORD_HEADER_LEN;
	const struct pfs_record_disk *head = (const struct pfs_record_disk *)begin;
	struct pfs_record_walk p = {begin, begin, begin + len, false};
	size_t keys_end;

	if (pfs_record_keys(begin, len, keys, &keys_end) < 0)
		return "a record that makes no sense";
	if (head->type != PFS_RECORD_PUT && head->type != PFS_RECORD_PATCH)
		return NULL;
	(void)pfs_record_take(&p, keys_end);
	pfs_record_take_pad(&p); /* it is there: records begin and end at multiples of 8 */
	return head->type == PFS_RECORD_PUT
		       ? check_put(j, head, (const struct pfs_put_disk *)body, &p)
		       : check_patch(head, (const struct pfs_patch_disk *)body, &p);
}

/* The document that was moved and has that key now, or NULL. */
static struct pfs_check_moved *moved_to(struct pfs_check *check, uint64_t to)
{
	for (size_t i = 0; i < check->moved_count; i++) {
		if (check->moved[i].now && check->moved[i].to == to)
			return &check->moved[i];
	}
	return NULL;
}

/* The document that has that key is replaced or removed, if it is one that was moved. */
static void forget_moved(struct pfs_check *check, uint64_t hash)
{
	const struct pfs_check_moved *moved = moved_to(check, hash);
	uint64_t from = moved ? moved->from : 0;

	for (size_t i = 0; moved && i < check->moved_count;) {
		if (check->moved[i].from == from)
			check->moved[i] = check->moved[--check->moved_count];
		else
			i++;
	}
}

/* Whether what had that key before the first record still has it. */
static bool is_unmoved(const struct pfs_check *check, uint64_t hash)
{
	for (size_t i = 0; i < check->moved_count; i++) {
		if (check->moved[i].from == hash)
			return false;
	}
	return !pfs_check_set_has(&check->whole, hash);
}

/* What has the first key is given the second one, or, of an exchange, each the other's. */
static void move_documents(struct pfs_check *check, const uint64_t hashes[2], bool exchange)
{
	struct pfs_check_moved new[2];
	size_t count = 0;

	for (unsigned i = 0; i < (exchange ? 2 : 1); i++) {
		struct pfs_check_moved *moved = moved_to(check, hashes[i]);

		if (moved || is_unmoved(check, hashes[i]))
			new[count++] = (struct pfs_check_moved){moved ? moved->from : hashes[i],
								hashes[!i], true};
	}
	for (unsigned i = 0; i < (exchange ? 2 : 1); i++) {
		struct pfs_check_moved *moved = moved_to(check, hashes[i]);

		if (moved)
			moved->now = false;
	}
	for (size_t i = 0; i < count && check->moved_count < MOVES_MAX; i++)
		check->moved[check->moved_count++] = new[i];
}

/* What stood under a key is replaced or removed: no version of it is needed, nor of the key that it
 * was moved from, and so on. */
static int mark_whole(struct journal *j, uint64_t hash)
{
	int err = pfs_check_set_add(&j->check->whole, hash);

	forget_moved(j->check, hash);
	for (size_t i = j->move_count; i-- > 0 && err >= 0;) {
		if (j->moves[i].to != hash)
			continue;
		hash = j->moves[i].from;
		err = pfs_check_set_add(&j->check->whole, hash);
		i -= j->moves[i].other_half;
	}
	return err < 0 ? err : 0;
}

static void remember_move(struct journal *j, const uint64_t hashes[2], bool exchange)
{
	if (j->move_count + 2 > MOVES_MAX)
		return;
	j->moves[j->move_count++] = (struct move){hashes[0], hashes[1], false};
	if (exchange)
		j->moves[j->move_count++] = (struct move){hashes[1], hashes[0], true};
}

static int name_keys(struct journal *j, const struct pfs_record_disk *head,
		     const struct pfs_key keys[2])
{
	uint64_t hashes[2];
	int err;
	bool exchange = head->type == PFS_RECORD_MOVE && (head->flags & PFS_MOVE_EXCHANGE);

	for (unsigned i = 0; i < 2; i++) {
		hashes[i] = pfs_check_hash(keys[i].kind, pfs_key_tag(&keys[i]));
		if (keys[i].kind != PFS_KEY_NONE &&
		    pfs_check_set_add(&j->check->named, hashes[i]) < 0)
			return -ENOMEM;
	}
	if (head->type == PFS_RECORD_PUT || head->type == PFS_RECORD_REMOVE)
		return mark_whole(j, hashes[0]);
	if (head->type != PFS_RECORD_MOVE)
		return 0;
	err = exchange ? 0 : mark_whole(j, hashes[1]);
	if (!err && keys[1].kind == PFS_KEY_TEMP) {
		err = mark_whole(j, hashes[0]);
	} else if (!err) {
		remember_move(j, hashes, exchange);
		move_documents(j->check, hashes, exchange);
	}
	return err;
}

static int check_record(struct journal *j, uint64_t off, size_t len)
{
	struct pfs_check *check = j->check;
	struct pfs_key keys[2];
	const char *why = parse_record(j, off, len, keys);

	if (why) {
		check->result->damaged += keys[0].kind != PFS_KEY_NONE;
		pfs_check_about_segment(check, PFS_FAULT_RECORDS, j->file, off, len);
		pfs_check_say(check, true, j->name, off, &keys[0], "%s", why);
	} else if (check->record) {
		int err = check->record(check, j->file, j->bytes, off, len, keys);

		if (err)
			return err;
	}
	return name_keys(j, (const struct pfs_record_disk *)(j->bytes + off), keys);
}

/* ---- damage behind which there is more ---- */

/* Whether a later segment has a record that proves that the expected one was durable. 1, 0 or
 * -ENOMEM. */
static int is_proven_from(struct journal *j, size_t from)
{
	for (size_t i = from; i < j->count; i++) {
		struct pfs_checked_segment *segment = &j->at[i];
		struct pfs_search search = {.count = 0};
		int err = 0;

		if (!segment->proof_known &&
		    pfs_check_load_segment(j->check, segment->file, j->other, NULL) == 0) {
			err = pfs_search_add(&search, j->other, PFS_SEGMENT_DATA, PFS_SEGMENT_SIZE,
					     PFS_SEGMENT_SIZE, seed_of(j, segment));
			segment->proof = pfs_search_proof(&search, PFS_SEGMENT_DATA);
			pfs_search_free(&search);
		}
		segment->proof_known = !err;
		if (err || segment->proof > j->expected)
			return err ? err : 1;
	}
	return 0;
}

/* Whether a record from off of the segment in j->bytes on, or in a later one, proves that the
 * expected one was durable. Each segment is searched once. 1, 0 or -ENOMEM. */
static int is_proven_behind(struct journal *j, const struct pfs_checked_segment *segment,
			    uint64_t off)
{
	int err = 0;

	if (j->searched != segment) {
		pfs_search_free(&j->search);
		err = pfs_search_add(&j->search, j->bytes, off, PFS_SEGMENT_SIZE, PFS_SEGMENT_SIZE,
				     seed_of(j, segment));
		j->searched = err ? NULL : segment;
	}
	if (err)
		return err;
	return pfs_search_proof(&j->search, off) > j->expected
		       ? 1
		       : is_proven_from(j, (size_t)(segment - j->at) + 1);
}

/* Records in [off, next) do not verify although they were durable; next 0: up to the end. Whose
 * they were is said if that can still be told. */
static int report_damage(struct journal *j, const struct pfs_checked_segment *segment, uint64_t off,
			 uint64_t next)
{
	struct pfs_key keys[2] = {{.kind = PFS_KEY_NONE}, {.kind = PFS_KEY_NONE}};
	uint64_t end = next ? next : PFS_SEGMENT_SIZE, seq = 0;
	unsigned count = 0;
	bool exact;
	int err = 0;

	if (next)
		seq = pfs_get_le64(((const struct pfs_record_disk *)(j->bytes + next))->seq.b);
	if (seq == j->expected + 1) {
		memcpy(j->other, j->bytes + off, end - off);
		count = pfs_salvage_record(
			j->other,
			&(struct pfs_salvage){off, end - off, seed_of(j, segment), j->expected},
			keys, &exact);
	}
	if (count)
		err = name_keys(j, (const struct pfs_record_disk *)j->other, keys);
	for (unsigned i = 0; i < (count ? count : 1); i++) {
		j->check->result->damaged += count != 0;
		pfs_check_about_segment(j->check, i ? PFS_FAULT_TOLD : PFS_FAULT_RECORDS, j->file,
					off, end - off);
		pfs_check_say(j->check, true, j->name, off, &keys[i],
			      "%llu bytes of durable records are damaged%s",
			      (unsigned long long)(end - off),
			      count ? ""
				    : "; whose they were can't be told, so that the store can't be "
				      "opened before a repair");
	}
	return err;
}

/* At off there is no record. Whether the file ends there, although it was there whole when the
 * first record was written to it (FORMAT.md, W8). */
static bool is_cut(const struct journal *j, const struct pfs_checked_segment *segment,
		   bool after_end, uint64_t off)
{
	bool first = segment == j->at;

	if (segment->size >= PFS_SEGMENT_SIZE ||
	    (off == PFS_SEGMENT_DATA && !after_end &&
	     (!first || segment->epoch > j->check->super.journal_epoch)))
		return false;
	return off + 4 > segment->size || off + pfs_get_le32(j->bytes + off) > segment->size;
}

/* The first piece that can't be read of the record that may be at off; 0: all of it can. */
static uint64_t first_unread(const struct journal *j, uint64_t off)
{
	const struct pfs_record_disk *head = (const struct pfs_record_disk *)(j->bytes + off);
	uint64_t end = off + PFS_RECORD_LEN_MIN, len;

	if (end > PFS_SEGMENT_SIZE)
		return 0;
	len = pfs_get_le32(head->len.b);
	if (len > PFS_RECORD_LEN_MIN && len <= PFS_SEGMENT_SIZE - off)
		end = off + len;
	for (uint64_t i = off / PFS_CHECK_PIECE; i <= (end - 1) / PFS_CHECK_PIECE; i++) {
		if (pfs_check_bit(j->unread, (uint32_t)i))
			return i * PFS_CHECK_PIECE;
	}
	return 0;
}

/* What the tail seems to begin with can't be read. */
static void report_unread(struct journal *j, uint64_t off, uint64_t end)
{
	while (end < PFS_SEGMENT_SIZE &&
	       pfs_check_bit(j->unread, (uint32_t)(end / PFS_CHECK_PIECE)))
		end += PFS_CHECK_PIECE;
	pfs_check_about_segment(j->check, PFS_FAULT_RECORDS, j->file, off, end - off);
	pfs_check_say(j->check, true, j->name, off, NULL,
		      "%llu bytes can't be read: whether there are records can't be told, so that "
		      "the store can't be opened before a repair",
		      (unsigned long long)(end - off));
}

/* Where a record should be there is none: damage, over which it goes on at *off (0: not here), or
 * the tail (1). */
static int check_hole(struct journal *j, const struct pfs_checked_segment *segment, bool after_end,
		      uint64_t *off)
{
	const struct pfs_found *found;
	int err = is_proven_behind(j, segment, *off + 8);

	if (err < 0)
		return err;
	if (!err) {
		uint64_t unread = first_unread(j, *off);

		if (unread) {
			report_unread(j, *off, unread);
		} else if (is_cut(j, segment, after_end, *off)) {
			pfs_check_about_segment(j->check, PFS_FAULT_GONE, segment->file, *off, 0);
			pfs_check_say(j->check, true, j->name, *off, NULL,
				      "the file ends early: whose records are missing can't be "
				      "told, so that the store can't be opened before a repair");
		}
		return 1;
	}
	found = pfs_search_next(&j->search, *off + 8, j->expected);
	if (!found) {
		*off = 0;
		return 0;
	}
	err = report_damage(j, segment, *off, found->off);
	j->expected = found->seq;
	*off = found->off;
	return err;
}

/* Walks one segment. *ended: that before it ended with an END record, and then: this one did; else
 * *off is where it stops. */
static int check_segment(struct journal *j, const struct pfs_checked_segment *segment, bool *ended,
			 uint64_t *off)
{
	bool after_end = *ended;
	int err = 0;

	*ended = false;
	for (*off = PFS_SEGMENT_DATA; !*ended && !err;) {
		const struct pfs_record_disk *head =
			(const struct pfs_record_disk *)(j->bytes + *off);
		size_t len = record_at(j, segment, *off);
		uint64_t at = *off;

		if (!len || pfs_get_le64(head->seq.b) != j->expected) {
			err = check_hole(j, segment, after_end, off);
			if (err || *off == 0) {
				*off = at;
				return err == 1 ? 0 : err;
			}
			continue;
		}
		*ended = head->type == PFS_RECORD_END;
		if (!*ended) {
			err = check_record(j, *off, len);
			j->expected++;
		}
		*off += len;
	}
	return err;
}

/* Whether a replay goes from the segment before i, which ends at off, on to segment i (1), or that
 * was the last (0). What can be shown to be missing between them is reported; what was not durable
 * before a power cut is rightly gone, with all behind it. */
static int goes_on(struct journal *j, size_t i, bool ended, uint64_t off)
{
	const struct pfs_checked_segment *segment = &j->at[i], *before = segment - 1;
	bool complete = segment->number == before->number + 1 && segment->first_seq == j->expected;
	int err = 0, proven;

	if (complete && ended)
		return 1;
	proven = ended ? 1 : is_proven_from(j, i);
	if (proven <= 0)
		return proven ? proven : complete;
	if (segment->number > before->number + 1) {
		pfs_check_about_segment(j->check, PFS_FAULT_GONE, segment->file, 0, 0);
		pfs_check_say(j->check, true, j->name, off, NULL,
			      "segments %llu to %llu, which follow, are missing",
			      (unsigned long long)before->number + 1,
			      (unsigned long long)segment->number - 1);
	} else {
		err = report_damage(j, before, off, 0);
	}
	return err ? err : 1;
}

/* The newest segment is missing, as the one before it, or the superblock, says. */
static void check_newest(struct journal *j, bool ended)
{
	struct pfs_check *check = j->check;
	uint64_t epoch = 0;

	for (size_t i = 0; i < j->count; i++)
		epoch = pfs_max_u64(epoch, j->at[i].epoch);
	if (check->clean ||
	    (!(j->count && ended) && (check->super.journal_epoch <= check->super.clean_epoch ||
				      epoch >= check->super.journal_epoch)))
		return;
	pfs_check_about_segment(check, PFS_FAULT_GONE, 0, 0, 0);
	pfs_check_say(check, true, "journal", 0, NULL,
		      "its newest segment is missing: whose records it had can't be told, so that "
		      "the store can't be opened before a repair");
}

/* Walks the live segments as a replay does, and on over damage. */
static int check_live(struct journal *j)
{
	struct pfs_check *check = j->check;
	bool ended = false;
	uint64_t off = 0;
	int err = 0;

	if (j->count)
		check->window = j->at[0].first_seq;
	for (size_t i = 0; i < j->count && !err; i++) {
		const struct pfs_checked_segment *segment = &j->at[i];
		int on = i ? goes_on(j, i, ended, off) : 1;

		if (on <= 0)
			return on;
		j->file = segment->file;
		pfs_check_segment_name(j->name, segment->file);
		err = pfs_check_load_segment(check, segment->file, j->bytes, j->unread);
		if (err)
			return err; /* its header could be read */
		j->expected = segment->first_seq;
		err = check_segment(j, segment, &ended, &off);
	}
	check_newest(j, ended);
	return err;
}

int pfs_check_journal(struct pfs_check *check)
{
	struct journal j = {.check = check};
	int err = 0;

	check->window = UINT64_MAX;
	j.at = malloc((check->segment_count + 1) * sizeof(*j.at));
	j.bytes = malloc(PFS_SEGMENT_SIZE);
	j.other = malloc(PFS_SEGMENT_SIZE);
	j.moves = malloc(MOVES_MAX * sizeof(*j.moves));
	check->moved = malloc(MOVES_MAX * sizeof(*check->moved));
	if (!j.at || !j.bytes || !j.other || !j.moves || !check->moved)
		err = -ENOMEM;
	if (!err) {
		j.count = pfs_check_live_segments(check, j.at, j.bytes);
		err = check_live(&j);
	}
	pfs_search_free(&j.search);
	free(j.at);
	free(j.bytes);
	free(j.other);
	free(j.moves);
	return err;
}
