/* What the fuzz targets share. A target is one NAME_fuzz.c with LLVMFuzzerTestOneInput; nothing may
 * be left over from one input to the next, so that every finding can be replayed alone. */
#ifndef PFS_FUZZ_H
#define PFS_FUZZ_H

#include <stdio.h>
#include <stdlib.h>

#include "storage/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must be true whatever the input is; the sanitizers' way of saying that it is not. */
#define FUZZ_CHECK(cond)                                      \
	do {                                                  \
		if (!(cond))                                  \
			fuzz_fail(__FILE__, __LINE__, #cond); \
	} while (0)

static inline __attribute__((noreturn)) void fuzz_fail(const char *file, int line, const char *cond)
{
	fprintf(stderr, "%s:%d: not true: %s\n", file, line, cond);
	abort();
}

static inline void fuzz_ignore_log(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

static inline void fuzz_print_log(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	fprintf(stderr, "log %d: %s\n", (int)level, line);
}

/* Formats every message, so that this is tested, too, and drops it; FUZZ_LOG=1 shows it. */
static inline struct pfs_logger fuzz_logger(void)
{
	return (struct pfs_logger){.fn = getenv("FUZZ_LOG") ? fuzz_print_log : fuzz_ignore_log};
}

/* An input that is taken apart from its front; what it lacks is zeros. */
struct fuzz_in {
	const uint8_t *at, *end;
};

static inline struct fuzz_in fuzz_in(const uint8_t *data, size_t size)
{
	return (struct fuzz_in){data, data + size};
}

static inline size_t fuzz_left(const struct fuzz_in *in)
{
	return (size_t)(in->end - in->at);
}

static inline const uint8_t *fuzz_bytes(struct fuzz_in *in, size_t max, size_t *len)
{
	const uint8_t *at = in->at;

	*len = max < fuzz_left(in) ? max : fuzz_left(in);
	in->at += *len;
	return at;
}

static inline uint64_t fuzz_int(struct fuzz_in *in, size_t width)
{
	uint8_t b[8] = {0};
	size_t len;
	const uint8_t *at = fuzz_bytes(in, width, &len);

	if (len)
		memcpy(b, at, len);
	return pfs_get_le64(b);
}

static inline uint8_t fuzz_u8(struct fuzz_in *in)
{
	return (uint8_t)fuzz_int(in, 1);
}

static inline uint16_t fuzz_u16(struct fuzz_in *in)
{
	return (uint16_t)fuzz_int(in, 2);
}

static inline uint32_t fuzz_u32(struct fuzz_in *in)
{
	return (uint32_t)fuzz_int(in, 4);
}

#endif
