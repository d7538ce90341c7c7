/* Proves: no command line makes the parser of options read out of bounds or lose memory, and what
 * it accepts is within the limits that it promises. */
#include <fcntl.h>
#include <unistd.h>

#include "fs/options.c"
#include "tests/fuzz/fuzz.h"

#define ARGS_MAX 12

static void check_accepted(const struct pfs_options *o)
{
	FUZZ_CHECK(o->mountpoint && o->mountpoint[0]);
	FUZZ_CHECK(!o->store || o->store[0]);
	FUZZ_CHECK(o->commit_seconds <= PFS_COMMIT_SECONDS_MAX);
	FUZZ_CHECK(!o->page_size ||
		   (pfs_is_pow2(o->page_size) && o->page_size >= PFS_PAGE_SIZE_MIN &&
		    o->page_size <= PFS_PAGE_SIZE_MAX));
	FUZZ_CHECK(!o->min_value_size || (o->min_value_size >= PFS_MIN_VALUE_MIN &&
					  o->min_value_size <= PFS_MIN_VALUE_MAX));
	FUZZ_CHECK(!o->has_umask || o->umask <= 0777);
	FUZZ_CHECK(!o->has_uid || o->uid != UINT32_MAX);
	FUZZ_CHECK(!o->has_gid || o->gid != UINT32_MAX);
}

/* libfuse says on standard error what it does not like. */
static int hush(void)
{
	static int null = -1;
	int kept = dup(2);

	if (null < 0)
		null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	FUZZ_CHECK(kept >= 0 && null >= 0 && dup2(null, 2) == 2);
	return kept;
}

/* Words with a zero byte behind each. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *argv[ARGS_MAX + 2] = {(char[]){"payloadfs"}};
	struct pfs_reason reason;
	struct pfs_options options;
	int argc = 1, err, kept;

	FUZZ_CHECK(text != NULL);
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	for (size_t at = 0; at < size && argc <= ARGS_MAX; at += strlen(text + at) + 1)
		argv[argc++] = text + at;
	kept = hush();
	err = pfs_options_parse(&options, argc, argv, &reason);
	FUZZ_CHECK(dup2(kept, 2) == 2 && close(kept) == 0);
	FUZZ_CHECK(err == 0 || err == -EINVAL);
	FUZZ_CHECK(strlen(reason.text) < sizeof(reason.text));
	FUZZ_CHECK(err == 0 || reason.text[0]);
	if (!err && !options.help && !options.version)
		check_accepted(&options);
	pfs_options_free(&options);
	free(text);
	return 0;
}
