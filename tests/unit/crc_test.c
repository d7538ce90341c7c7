/* storage/crc.c: CRC32C, in hardware and from tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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
		cmocka_unit_test(first_use_by_many_threads), /* first, as it says */
		cmocka_unit_test(known_values),
		cmocka_unit_test(all_ways_agree),
		cmocka_unit_test(continues_at_any_place),
	};

	return cmocka_run_group_tests_name("crc", tests, NULL, NULL);
}
