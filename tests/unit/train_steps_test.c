/* storage/train.c with a trainer that is the test's own: what it is given, and what becomes of each
 * of its answers. unit/train_test has the real one. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/base.h"
#include "storage/train.h"

#define ZDICT_STATIC_LINKING_ONLY
#include <zdict.h>

#define HEADER_LEN 3
#define ERROR_OF_TRAINER ((size_t)-1)
#define ERROR_OF_HEADER ((size_t)-2)

static const char made_text[] = "HHHdictionary";

/* What the trainer answers, and what it was given. */
static struct {
	size_t len, header;
	size_t cap, header_of;
	const void *samples;
	const size_t *lens;
	unsigned count, trained, asked;
	bool no_memory;
} trainer;

static size_t train(void *out, size_t cap, const void *samples, const size_t *lens, unsigned count,
		    ZDICT_fastCover_params_t params)
{
	assert_in_range(params.d, 6, 8);
	assert_true(params.k >= params.d);
	trainer.cap = cap;
	trainer.samples = samples;
	trainer.lens = lens;
	trainer.count = count;
	trainer.trained++;
	memcpy(out, made_text, sizeof(made_text) - 1);
	return trainer.len;
}

static unsigned is_error(size_t code)
{
	return code == ERROR_OF_TRAINER || code == ERROR_OF_HEADER;
}

static size_t header_size(const void *made, size_t len)
{
	assert_memory_equal(made, made_text, sizeof(made_text) - 1);
	trainer.header_of = len;
	trainer.asked++;
	return trainer.header;
}

static void *allocate(size_t len)
{
	return trainer.no_memory ? NULL : malloc(len);
}

#define ZDICT_trainFromBuffer_fastCover train
#define ZDICT_isError is_error
#define ZDICT_getDictHeaderSize header_size
#define malloc allocate
#include "storage/train.c"
#undef malloc

static const size_t lens[] = {3, 4, 5};

/* Trains for `cap` bytes, of which each was 0xee before and the one behind stays so. */
static ssize_t trained(uint8_t *out, size_t cap)
{
	ssize_t n;

	memset(out, 0xee, cap + 1);
	n = pfs_train_samples(out, cap, made_text, lens, 3);
	assert_int_equal(out[cap], 0xee);
	return n;
}

static void answer(size_t len, size_t header)
{
	memset(&trainer, 0, sizeof(trainer));
	trainer.len = len;
	trainer.header = header;
}

static void the_content_is_given_without_the_header(void **state)
{
	uint8_t out[101];

	(void)state;
	answer(sizeof(made_text) - 1, HEADER_LEN);
	assert_int_equal(trained(out, 100), 10);
	assert_memory_equal(out, "dictionary\xee", 11);
	assert_int_equal(trainer.trained, 1);
	assert_ptr_equal(trainer.samples, made_text);
	assert_ptr_equal(trainer.lens, lens);
	assert_int_equal(trainer.count, 3);
	assert_int_equal(trainer.header_of, sizeof(made_text) - 1);
	/* Room for the content that was asked for, and for a header. */
	assert_int_equal(trainer.cap, 100 + 1024);
}

/* What matters most stands at a dictionary's end. */
static void of_more_than_there_is_room_for_the_end_is_given(void **state)
{
	uint8_t out[8];

	(void)state;
	answer(sizeof(made_text) - 1, HEADER_LEN);
	assert_int_equal(trained(out, 7), 7);
	assert_memory_equal(out, "tionary", 7);
	answer(HEADER_LEN + 1, HEADER_LEN);
	assert_int_equal(trained(out, 7), 1);
	assert_memory_equal(out, "d\xee", 2);
}

static void what_can_not_be_trained_is_no_dictionary(void **state)
{
	static const struct {
		size_t len, header;
		unsigned asked;
	} answers[] = {
		{ERROR_OF_TRAINER, HEADER_LEN, 0}, /* of what is none the header is not asked for */
		{8, ERROR_OF_HEADER, 1},
		{8, 8, 1}, /* nothing but a header */
		{8, 9, 1},
		{ERROR_OF_HEADER - 1, ERROR_OF_HEADER,
		 1}, /* an error, however large the other is */
		{0, 0, 1},
	};
	uint8_t out[8];

	(void)state;
	for (size_t i = 0; i < pfs_array_len(answers); i++) {
		answer(answers[i].len, answers[i].header);
		assert_int_equal(trained(out, 7), -ENODATA);
		assert_int_equal(trainer.asked, answers[i].asked);
		assert_memory_equal(out, "\xee\xee\xee\xee\xee\xee\xee", 7);
	}
}

static void without_memory_nothing_is_trained(void **state)
{
	uint8_t out[8];

	(void)state;
	answer(8, HEADER_LEN);
	trainer.no_memory = true;
	assert_int_equal(trained(out, 7), -ENOMEM);
	assert_int_equal(trainer.trained, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_content_is_given_without_the_header),
		cmocka_unit_test(of_more_than_there_is_room_for_the_end_is_given),
		cmocka_unit_test(what_can_not_be_trained_is_no_dictionary),
		cmocka_unit_test(without_memory_nothing_is_trained),
	};

	return cmocka_run_group_tests_name("steps of training", tests, NULL, NULL);
}
