/* Proves: whatever stands in the files of a store's directory, checking it, opening it, reading all
 * of it, changing it and closing it do what tests/fuzz/session.h says. */
#include "tests/fuzz/fixup.h"
#include "tests/fuzz/session.h"

/* u8 what checksums are made right (fixup.h), u8 flags of the session, u16 which change of a file
 * fails; then pieces (archive.h). */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct store_session session;
	struct fuzz_in in = fuzz_in(data, size);
	unsigned fix = fuzz_u8(&in);

	mem_io_reset();
	session.flags = fuzz_u8(&in);
	session.fail_nth = fuzz_u16(&in);
	archive_unpack(&in, ARCHIVE_ALL, &session.ops);
	fixup_store(fix, NULL);
	session_run(&session);
	return 0;
}
