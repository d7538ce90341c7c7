/* Proves: a saved index is never trusted over the pages: whatever it says, a healthy store shows
 * right documents or errors, and what tests/fuzz/session.h says holds. */
#include "tests/fuzz/fixup.h"
#include "tests/fuzz/proto.h"
#include "tests/fuzz/session.h"

/* u8 what checksums are made right, u8 flags of the session, u16 which change of a file fails; then
 * pieces (archive.h), of which those of the index count. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct store_session session;
	struct fuzz_in in = fuzz_in(data, size);
	unsigned fix = fuzz_u8(&in) & FIXUP_INDEX;

	mem_io_reset();
	session.flags = fuzz_u8(&in);
	session.fail_nth = fuzz_u16(&in);
	proto_unpack();
	archive_unpack(&in, 1u << 1, &session.ops);
	fixup_store(fix, NULL);
	session_run(&session);
	return 0;
}
