/* storage/crc.c: CRC32C, in hardware and from tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#if defined(__x86_64__)
#include <nmmintrin.h>

static bool lacks_it;		    /* the processor, as is said */
static _Thread_local unsigned uses; /* of the instruction */

static bool supports(const char *feature, bool has)
{
	assert_string_equal(feature, "sse4.2");
	return has && !lacks_it;
}

#define __builtin_cpu_supports(feature) supports(feature, __builtin_cpu_supports(feature))
#define _mm_crc32_u64(crc, bytes) (uses++, _mm_crc32_u64(crc, bytes))
#define _mm_crc32_u8(crc, byte) (uses++, _mm_crc32_u8(crc, byte))
#endif
#include "storage/crc.c" /* for the ways that this machine would not choose */

/* Bit by bit, from the definition. */
static uint32_t crc_by_definition(const uint8_t *p, size_t len)
{
	uint32_t crc = ~UINT32_C(0);

	for (; len; len--) {
		crc ^= *p++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ UINT32_C(0x82f63b78) : crc >> 1;
	}
	return ~crc;
}

static void fill(uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)pfs_mix64(i + 1);
}

/* The difference that one wrong bit of len bytes makes. */
static uint32_t difference_of(size_t len, size_t bit)
{
	uint8_t right[300] = {0}, wrong[300] = {0};

	wrong[bit / 8] = (uint8_t)(1u << (bit % 8));
	return pfs_crc32c(0, right, len) ^ pfs_crc32c(0, wrong, len);
}

/* Proves: a wrong bit is found also by who looks for nothing else. */
static void wrong_bits_are_found_first(void **state)
{
	uint32_t difference = difference_of(4, 9);
	int status;
	pid_t child = fork();

	(void)state;
	if (child == 0)
		_exit((int)pfs_crc32c_wrong_bit(difference, 4));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 9);
}

#if defined(__x86_64__)
/* Proves: a processor that has no instruction for it is not asked for one. */
static void it_does_without_the_instruction(void **state)
{
	bool has = have_hardware();
	int status;
	pid_t child;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		/* It is chosen once in a process. */
		child = fork();
		if (child == 0) {
			lacks_it = i;
			_exit((pfs_crc32c(0, "123456789", 9) == 0xe3069283) + 2 * (uses > 0) +
			      4 * have_hardware());
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), has && !i ? 1 + 2 + 4 : 1);
	}
}
#endif

/* What is on the stack is none of what is called next. */
static void __attribute__((noinline)) leave_dirt(void)
{
	volatile uint8_t room[4096];

	for (size_t i = 0; i < sizeof(room); i++)
		room[i] = 0xa5;
}

/* Proves: any one wrong bit is found by the difference of the checksums, at every length; of other
 * differences none is named. */
static void wrong_bits_are_found(void **state)
{
	static const size_t lens[] = {1, 2, 4, 7, 8, 9, 16, 41, 300};

	(void)state;
	assert_int_equal(pfs_crc32c_wrong_bit(difference_of(4, 9), 4), 9);
	for (size_t l = 0; l < pfs_array_len(lens); l++) {
		size_t len = lens[l];

		for (size_t bit = 0; bit < 8 * len; bit++) {
			uint32_t difference = difference_of(len, bit);

			leave_dirt();
			assert_int_equal(pfs_crc32c_wrong_bit(difference, len), bit);
			/* One byte more before it, and one less. */
			assert_int_equal(pfs_crc32c_wrong_bit(difference, len + 1), bit + 8);
			assert_int_equal(pfs_crc32c_wrong_bit(difference, len - 1),
					 bit < 8 ? UINT64_MAX : bit - 8);
			if (bit)
				assert_int_equal(pfs_crc32c_wrong_bit(
							 difference ^ difference_of(len, 0), len),
						 UINT64_MAX);
		}
		assert_int_equal(pfs_crc32c_wrong_bit(0, len), UINT64_MAX);
	}
	/* Of bits that are those of the byte behind the last there is none. */
	for (size_t len = 0; len < 10; len++)
		for (unsigned bit = 0; bit < 8; bit++)
			assert_int_equal(pfs_crc32c_wrong_bit(1u << bit, len), UINT64_MAX);
}

/* Proves: the polynomial, reflection and complement are those of CRC32C (vectors of RFC 3720, B.4).
 */
static void known_values(void **state)
{
	uint8_t buf[32];

	(void)state;
	assert_int_equal(pfs_crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(pfs_crc32c(0, "", 0), 0);
	memset(buf, 0, sizeof(buf));
	assert_int_equal(pfs_crc32c(0, buf, sizeof(buf)), 0x8a9136aa);
	memset(buf, 0xff, sizeof(buf));
	assert_int_equal(pfs_crc32c(0, buf, sizeof(buf)), 0x62a8ab43);
	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)i;
	assert_int_equal(pfs_crc32c(0, buf, sizeof(buf)), 0x46dd794e);
	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(31 - i);
	assert_int_equal(pfs_crc32c(0, buf, sizeof(buf)), 0x113fdb5c);
}

/* Proves: tables, hardware (where there is any) and the public function agree with the definition
 * at every length and alignment, so that a store moves between machines. */
static void all_ways_agree(void **state)
{
	uint8_t buf[320];

	(void)state;
	fill(buf, sizeof(buf));
	for (size_t shift = 0; shift < 9; shift++) {
		for (size_t len = 0; len + shift <= sizeof(buf); len++) {
			uint32_t want = crc_by_definition(buf + shift, len);

			assert_int_equal(~crc_table(~UINT32_C(0), buf + shift, len), want);
			if (have_hardware())
				assert_int_equal(~crc_hardware(~UINT32_C(0), buf + shift, len),
						 want);
			assert_int_equal(pfs_crc32c(0, buf + shift, len), want);
		}
	}
}

/* Proves: a CRC can be continued at any place. */
static void continues_at_any_place(void **state)
{
	uint8_t buf[100];
	uint32_t whole;

	(void)state;
	fill(buf, sizeof(buf));
	whole = pfs_crc32c(0, buf, sizeof(buf));
	for (size_t cut = 0; cut <= sizeof(buf); cut++)
		assert_int_equal(pfs_crc32c(pfs_crc32c(0, buf, cut), buf + cut, sizeof(buf) - cut),
				 whole);
}

/* Proves: zero bytes shift as they sum, at lengths with every digit, and shifts add up; so that the
 * CRC of two parts follows from theirs, whatever their lengths and whatever it continues. */
static void parts_combine(void **state)
{
	static uint8_t buf[70000];
	uint32_t sums[3];

	(void)state;
	fill(buf, sizeof(buf));
	for (uint64_t i = 0; i < 2000; i++) {
		size_t cut = pfs_mix64(3 * i) % (i < 1000 ? 600 : sizeof(buf));
		size_t end = cut + pfs_mix64(3 * i + 1) % (i < 1000 ? 600 : sizeof(buf) - cut);
		uint32_t seed = (uint32_t)pfs_mix64(3 * i + 2);

		sums[0] = pfs_crc32c(0, buf, cut);
		sums[1] = pfs_crc32c(0, buf + cut, end - cut);
		sums[2] = ~crc_table(~UINT32_C(0), buf, end);
		assert_int_equal(pfs_crc32c_shift(sums[0], end - cut) ^ sums[1], sums[2]);
		assert_int_equal(pfs_crc32c_between(seed, sums[0], sums[2], end - cut),
				 ~crc_table(~seed, buf + cut, end - cut));
		assert_int_equal(pfs_crc32c_shift(seed, cut + end),
				 pfs_crc32c_shift(pfs_crc32c_shift(seed, end), cut));
	}
	assert_int_equal(pfs_crc32c_shift(0x12345678, 0), 0x12345678);
	assert_int_equal(pfs_crc32c_shift(0x12345678, 1), slices[0][0x78] ^ 0x123456);
	/* The order of x is 2^31 - 1 (the polynomial is x + 1 times a primitive one). */
	assert_int_equal(pfs_crc32c_shift(0x12345678, (UINT32_C(1) << 31) - 1), 0x12345678);
}

static void *first_use(void *arg)
{
	uint32_t *crc = arg;

	*crc = ~crc_table(~UINT32_C(0), (const uint8_t *)"123456789", 9);
	if (*crc == 0xe3069283)
		*crc = pfs_crc32c(0, "123456789", 9);
	return NULL;
}

/* Proves: threads that use it for the first time together all get the right sum. */
static void first_use_by_many_threads(void **state)
{
	pthread_t threads[8];
	uint32_t crcs[8] = {0};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, first_use, &crcs[i]), 0);
	for (size_t i = 0; i < pfs_array_len(threads); i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(crcs[i], 0xe3069283);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#if defined(__x86_64__)
		cmocka_unit_test(it_does_without_the_instruction), /* before anybody chooses */
#endif
		cmocka_unit_test(wrong_bits_are_found_first), /* in a process of its own */
		cmocka_unit_test(first_use_by_many_threads),  /* first, as it says */
		cmocka_unit_test(wrong_bits_are_found),
		cmocka_unit_test(known_values),
		cmocka_unit_test(all_ways_agree),
		cmocka_unit_test(continues_at_any_place),
		cmocka_unit_test(parts_combine),
	};

	return cmocka_run_group_tests_name("crc", tests, NULL, NULL);
}
