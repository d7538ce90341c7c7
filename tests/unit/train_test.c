/* storage/train.c: a dictionary made of samples has what many of them have, within its room. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/base.h"
#include "storage/train.h"

#define SAMPLES 4000u
#define LONG_CAP ((size_t)256 * PFS_KIB) /* what is so long is given back at once */

struct samples {
	uint8_t bytes[SAMPLES * 200];
	size_t lens[SAMPLES], used;
};

static struct samples *make_samples(void)
{
	struct samples *s = calloc(1, sizeof(*s));

	for (unsigned i = 0; i < SAMPLES; i++) {
		uint64_t r = pfs_mix64(i + 1);

		s->lens[i] = (size_t)snprintf(
			(char *)s->bytes + s->used, 200,
			"{\"street\":\"%016llx\",\"city\":\"%016llx\",\"n\":%u,\"x\":\"%016llx\"}",
			(unsigned long long)pfs_mix64(r % 300),
			(unsigned long long)pfs_mix64(1000 + r / 7 % 150), i,
			(unsigned long long)r);
		s->used += s->lens[i];
	}
	return s;
}

static bool has(const uint8_t *bytes, size_t len, const char *text)
{
	size_t n = strlen(text);

	for (size_t i = 0; i + n <= len; i++) {
		if (memcmp(bytes + i, text, n) == 0)
			return true;
	}
	return false;
}

/* Proves: the same samples give the same dictionary, of no more bytes than there is room for, which
 * has what they have in common and nothing that is the trainer's own. */
static void dictionaries_are_made_of_samples(void **state)
{
	static const size_t caps[] = {4096, 16384, LONG_CAP};
	struct samples *s = make_samples();

	(void)state;
	for (size_t i = 0; i < pfs_array_len(caps) && pfs_train_version(); i++) {
		uint8_t *out = malloc(caps[i] + 1), *again = malloc(caps[i]);
		ssize_t len;

		memset(out, 0xa5, caps[i] + 1);
		len = pfs_train_samples(out, caps[i], s->bytes, s->lens, SAMPLES);
		assert_true(len > (ssize_t)caps[i] / 4 && (size_t)len <= caps[i]);
		assert_int_equal(out[caps[i]], 0xa5);
		assert_true(has(out, (size_t)len, "\",\"city\":\""));
		assert_true(has(out, (size_t)len, "{\"street\":\""));
		/* All of it is text of samples. */
		for (ssize_t at = 0; at < len; at++)
			assert_true(out[at] >= ' ' && out[at] < 0x7f);
		assert_int_equal(pfs_train_samples(again, caps[i], s->bytes, s->lens, SAMPLES),
				 len);
		assert_memory_equal(out, again, (size_t)len);
		free(out);
		free(again);
	}
	free(s);
}

/* Proves: of too few samples nothing is made, and nothing is left behind. */
static void few_samples_make_none(void **state)
{
	struct samples *s = make_samples();
	uint8_t *out = malloc(LONG_CAP);

	(void)state;
	for (size_t count = 0; count < 3; count++)
		assert_int_equal(pfs_train_samples(out, LONG_CAP, s->bytes, s->lens, count),
				 pfs_train_version() ? -ENODATA : -EOPNOTSUPP);
	free(out);
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dictionaries_are_made_of_samples),
		cmocka_unit_test(few_samples_make_none),
	};

	return cmocka_run_group_tests_name("training", tests, NULL, NULL);
}
