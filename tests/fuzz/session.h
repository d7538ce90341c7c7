/* What a program may do with a store, all of it, on whatever is in mem_io; and what must be true
 * then.
 *
 * Always: nothing is read or written out of bounds, no invariant breaks, nothing leaks; checking
 * and opening read-only change no file; a document that was put is there, byte by byte; a part of a
 * document is what the whole has there.
 * If the check finds no damage in a store that was closed (of a journal it does not know whether
 * what the records were made to is there, which only a forger can get wrong): the store opens,
 * every document can be read, both kinds of opening show the same, and after a session and a clean
 * close the next opening shows what this one did, and the check finds nothing again. If changes of
 * files failed meanwhile, the next opening brings all in order. */
#ifndef PFS_FUZZ_SESSION_H
#define PFS_FUZZ_SESSION_H

#include "tests/fuzz/archive.h"

#define SESSION_NO_CHECK 1u
#define SESSION_NO_READ_ONLY 2u
#define SESSION_NO_WRITE 4u
#define SESSION_FAIL_ONCE 8u /* with fail_nth */
#define SESSION_FAIL_EIO 16u /* else ENOSPC */
#define SESSION_REPAIR 32u   /* before the store is opened for writing */

struct store_session {
	unsigned flags;
	unsigned fail_nth; /* the change of a file that fails while it is open for writing; 0: none
			    */
	struct archive_ops ops;
};

void session_run(const struct store_session *session);

/* The same for a store that must be healthy. */
void session_expect_healthy(const struct store_session *session);

#endif
