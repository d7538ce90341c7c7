/* Proves: whatever is in the segments' files, a replay gives records in the order of their
 * sequences that lie in their segments and can be read again there, the same ones each time; and a
 * journal that went on from there gives what was appended, and nothing else once that is all that
 * is live. */
#include "storage/journal.h"
#include "tests/fuzz/archive.h"
#include "tests/fuzz/fixup.h"
#include "tests/fuzz/proto.h"

#define READ_ONLY 1u
#define REPAIRING 2u

struct replayed {
	struct pfs_journal *journal;
	uint64_t count, last_seq, hash;
	bool read;
	bool given_up; /* it would have been too much work */
};

static void mix(struct replayed *r, const void *bytes, size_t len)
{
	const uint8_t *b = bytes;

	for (size_t i = 0; i < len; i++)
		r->hash = (r->hash ^ b[i]) * UINT64_C(0x100000001b3);
	r->hash = pfs_mix64(r->hash + len);
}

static void mix_u64(struct replayed *r, uint64_t v)
{
	mix(r, &v, sizeof(v));
}

static void take_lost(struct replayed *r, const struct pfs_record *record)
{
	char text[PFS_NAME_MAX + 1];

	FUZZ_CHECK(record->lost_count <= 2);
	for (unsigned i = 0; i < record->lost_count; i++) {
		FUZZ_CHECK(record->lost_keys[i].kind != PFS_KEY_NONE);
		mix(r, text, pfs_key_format(text, &record->lost_keys[i]));
	}
}

static void read_again(const struct replayed *r, const struct pfs_record *record)
{
	const struct pfs_journal_pos *pos = &record->pos;
	uint8_t *bytes = malloc(pos->len);

	FUZZ_CHECK(bytes != NULL);
	FUZZ_CHECK(pfs_journal_read(r->journal, pos->segment, pos->off, bytes, pos->len) == 0);
	FUZZ_CHECK(memcmp(bytes + PFS_RECORD_HEADER_LEN, record->body, record->body_len) == 0);
	free(bytes);
}

static int take_record(void *arg, const struct pfs_record *record)
{
	const struct pfs_journal_pos *pos = &record->pos;
	struct replayed *r = arg;

	FUZZ_CHECK(record->seq > r->last_seq || r->count == 0);
	FUZZ_CHECK(record->seq == pos->seq && record->seq <= PFS_SEQ_MAX);
	FUZZ_CHECK(pos->off >= PFS_SEGMENT_DATA && pos->len >= 8 && pos->off % 8 == 0 &&
		   pos->len <= PFS_SEGMENT_SIZE - pos->off);
	r->count++;
	r->last_seq = record->seq;
	mix_u64(r, record->seq);
	mix_u64(r, pos->off);
	if (record->lost_count) {
		take_lost(r, record);
		return 0;
	}
	FUZZ_CHECK(record->body_len == pos->len - PFS_RECORD_HEADER_LEN);
	FUZZ_CHECK(record->type != PFS_RECORD_END);
	mix_u64(r, record->type << 8 | record->flags);
	mix(r, record->body, record->body_len);
	if (r->read)
		read_again(r, record);
	return 0;
}

static int replay(struct pfs_journal *journal, struct replayed *r, bool read)
{
	struct pfs_replay_result result;
	int err;

	*r = (struct replayed){.journal = journal, .read = read, .hash = 1};
	err = pfs_journal_replay(journal, take_record, r, &result);
	FUZZ_CHECK(err == 0 || err == -EUCLEAN || err == -EIO);
	FUZZ_CHECK((err == -EUCLEAN) == (result.why[0] != '\0'));
	r->given_up = strstr(result.why, "too much") != NULL;
	FUZZ_CHECK(err || result.records == r->count);
	FUZZ_CHECK(!r->count || result.last_seq == r->last_seq);
	return err;
}

static int open_journal(struct pfs_dir *dir, const struct pfs_journal_options *as,
			struct pfs_journal **journal)
{
	struct pfs_journal_options options = *as;

	options.dir = dir;
	options.uuid = proto_uuid;
	return pfs_journal_open(journal, &options);
}

static void append(struct pfs_journal *journal, size_t len)
{
	static const uint8_t body[512] = "appended";
	struct iovec parts[] = {{(void *)(uintptr_t)body, len}};
	uint64_t last = pfs_journal_appended(journal);
	struct pfs_journal_pos pos;
	int err = pfs_journal_append(journal, PFS_RECORD_PUT, 0, parts, 1, false, &pos);

	FUZZ_CHECK(err == 0 || (err == -EOVERFLOW && last >= PFS_SEQ_MAX));
	FUZZ_CHECK(err || (pos.seq == last + 1 && pos.seq == pfs_journal_appended(journal)));
}

/* As the end of an opening does it: what was replayed is durable elsewhere, and goes. */
static uint64_t go_on(struct pfs_journal *journal, uint64_t last_seq)
{
	uint64_t first;

	FUZZ_CHECK(pfs_journal_rewrite(journal) == 0);
	pfs_journal_start(journal, last_seq + 1);
	pfs_journal_set_epoch(journal, pfs_journal_epoch_seen(journal) + 1);
	FUZZ_CHECK(pfs_journal_prepare(journal, 3) == 0);
	append(journal, 100);
	FUZZ_CHECK(pfs_journal_rotate(journal) == 0);
	first = pfs_journal_appended(journal) + 1;
	append(journal, 0);
	append(journal, 500);
	FUZZ_CHECK(pfs_journal_sync(journal, UINT64_MAX) == 0);
	FUZZ_CHECK(pfs_journal_declare(journal, pfs_journal_active(journal)) == 0);
	FUZZ_CHECK(pfs_journal_sync_declared(journal) == 0);
	pfs_journal_reuse(journal);
	pfs_journal_trim(journal, 1);
	return first;
}

static void expect_appended(struct pfs_dir *dir, const struct pfs_logger *logger, uint64_t first,
			    uint64_t last)
{
	struct pfs_journal_options options = {.logger = logger};
	struct pfs_journal *journal;
	struct replayed r;

	FUZZ_CHECK(open_journal(dir, &options, &journal) == 0);
	/* Old bytes behind the new records may still be forged ones. */
	FUZZ_CHECK(replay(journal, &r, true) == 0 || r.given_up);
	FUZZ_CHECK(r.count == last + 1 - first && (!r.count || r.last_seq == last));
	pfs_journal_close(journal);
}

/* u8 bit 2: the checksums are made right; u8 flags; u8 clean epoch; u8 begun epoch; then pieces
 * (archive.h), of which those of segments count. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pfs_logger logger = fuzz_logger();
	struct fuzz_in in = fuzz_in(data, size);
	unsigned fix = fuzz_u8(&in), flags = fuzz_u8(&in);
	struct pfs_journal_options options = {.read_only = flags & READ_ONLY,
					      .repairing = flags & REPAIRING,
					      .clean_epoch = fuzz_u8(&in),
					      .begun_epoch = fuzz_u8(&in),
					      .logger = &logger};
	uint64_t first = 0, last = 0;
	struct pfs_journal *journal;
	struct replayed names, records;
	struct archive_ops ops;
	struct pfs_dir *dir;
	int err;

	mem_io_reset();
	archive_unpack(&in, 15u << 6, &ops);
	fixup_store(fix & FIXUP_SEGMENTS, proto_uuid);
	FUZZ_CHECK(mem_io.ops->open_dir(&mem_io, "store", PFS_IO_WRITE, &dir) == 0);
	FUZZ_CHECK(open_journal(dir, &options, &journal) == 0);
	(void)pfs_journal_window(journal);
	err = replay(journal, &names, true);
	if (!err) {
		FUZZ_CHECK(replay(journal, &records, false) == 0);
		FUZZ_CHECK(names.count == records.count && names.hash == records.hash);
	}
	if (!err && !options.read_only) {
		first = go_on(journal, names.last_seq);
		last = pfs_journal_appended(journal);
	}
	pfs_journal_close(journal);
	if (!err && !options.read_only && last < PFS_SEQ_MAX)
		expect_appended(dir, &logger, first, last);
	dir->ops->close_dir(dir);
	FUZZ_CHECK(mem_io_open_count() == 0);
	return 0;
}
