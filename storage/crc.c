#include "storage/crc.h"

#include <pthread.h>
#include <stdatomic.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#ifndef HWCAP_CRC32
#define HWCAP_CRC32 (1 << 7)
#endif
#endif

/* The three ways to compute take and give the register, that is the complement of the CRC. */
typedef uint32_t crc_fn(uint32_t crc, const uint8_t *p, size_t len);

#define CRC32C_POLY UINT32_C(0x82f63b78) /* 0x1edc6f41 with its bits reflected */

/* slices[k][b]: what byte b does to the register when k zero bytes follow it. */
static uint32_t slices[8][256];
static pthread_once_t slices_once = PTHREAD_ONCE_INIT;

static void fill_slices(void)
{
	for (uint32_t b = 0; b < 256; b++) {
		uint32_t crc = b;

		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? CRC32C_POLY : 0);
		slices[0][b] = crc;
	}
	for (int k = 1; k < 8; k++)
		for (int b = 0; b < 256; b++)
			slices[k][b] = slices[k - 1][b] >> 8 ^ slices[0][slices[k - 1][b] & 0xff];
}

static uint32_t crc_table(uint32_t crc, const uint8_t *p, size_t len)
{
	pthread_once(&slices_once, fill_slices);
	for (; len >= 8; p += 8, len -= 8) {
		uint32_t low = crc ^ pfs_get_le32(p), high = pfs_get_le32(p + 4);

		crc = slices[7][low & 0xff] ^ slices[6][low >> 8 & 0xff] ^
		      slices[5][low >> 16 & 0xff] ^ slices[4][low >> 24] ^ slices[3][high & 0xff] ^
		      slices[2][high >> 8 & 0xff] ^ slices[1][high >> 16 & 0xff] ^
		      slices[0][high >> 24];
	}
	for (; len; len--)
		crc = crc >> 8 ^ slices[0][(crc ^ *p++) & 0xff];
	return crc;
}

#if defined(__x86_64__)

__attribute__((target("sse4.2"))) static uint32_t crc_hardware(uint32_t crc, const uint8_t *p,
							       size_t len)
{
	uint64_t wide = crc;

	for (; len >= 8; p += 8, len -= 8)
		wide = _mm_crc32_u64(wide, pfs_get_le64(p));
	crc = (uint32_t)wide;
	for (; len; len--)
		crc = _mm_crc32_u8(crc, *p++);
	return crc;
}

static bool have_hardware(void)
{
	return __builtin_cpu_supports("sse4.2");
}

#elif defined(__aarch64__)

static uint32_t crc_hardware(uint32_t crc, const uint8_t *p, size_t len)
{
	for (; len >= 8; p += 8, len -= 8)
		__asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1"
			: "+r"(crc)
			: "r"(pfs_get_le64(p)));
	for (; len; len--)
		__asm__(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1"
			: "+r"(crc)
			: "r"((uint32_t)*p++));
	return crc;
}

static bool have_hardware(void)
{
	return getauxval(AT_HWCAP) & HWCAP_CRC32;
}

#else

static uint32_t crc_hardware(uint32_t crc, const uint8_t *p, size_t len)
{
	return crc_table(crc, p, len);
}

static bool have_hardware(void)
{
	return false;
}

#endif

/* A CRC is a polynomial modulo that of the kind, the highest bit being the coefficient of x^0;
 * powers[k][d] is x^(8 * d * 256^k), by which d * 256^k zero bytes multiply it. */
#define ONE (UINT32_C(1) << 31)
static uint32_t powers[sizeof(size_t)][256];
static pthread_once_t powers_once = PTHREAD_ONCE_INIT;

static uint32_t multiply(uint32_t a, uint32_t b)
{
	uint32_t product = 0;

	for (; a; a <<= 1) {
		product ^= a & ONE ? b : 0;
		b = b >> 1 ^ (b & 1 ? CRC32C_POLY : 0);
	}
	return product;
}

static void fill_powers(void)
{
	uint32_t step = ONE >> 8;

	for (size_t k = 0; k < pfs_array_len(powers); k++) {
		powers[k][0] = ONE;
		for (int d = 1; d < 256; d++)
			powers[k][d] = multiply(powers[k][d - 1], step);
		step = multiply(powers[k][255], step);
	}
}

uint32_t pfs_crc32c_shift(uint32_t crc, size_t len)
{
	pthread_once(&powers_once, fill_powers);
	for (size_t k = 0; len; k++, len >>= 8) {
		if (len & 0xff)
			crc = multiply(crc, powers[k][len & 0xff]);
	}
	return crc;
}

/* What was in the register before a zero byte made it `crc`. */
static uint32_t step_back(const uint8_t *indexes, uint32_t crc)
{
	uint32_t b = indexes[crc >> 24];

	return (crc ^ slices[0][b]) << 8 | b;
}

uint64_t pfs_crc32c_wrong_bit(uint32_t difference, size_t len)
{
	uint8_t indexes[256]; /* by the high byte of slices[0][index], of which no two are alike */

	pthread_once(&slices_once, fill_slices);
	for (unsigned b = 0; b < 256; b++)
		indexes[slices[0][b] >> 24] = (uint8_t)b;
	/* Backwards over the bytes: at the wrong one nothing but its wrong bits is left. */
	for (size_t i = len; i-- > 0;) {
		difference = step_back(indexes, difference);
		if (difference < 256 && pfs_is_pow2(difference))
			return (uint64_t)i * 8 + (unsigned)__builtin_ctz(difference);
	}
	return UINT64_MAX;
}

uint32_t pfs_crc32c(uint32_t crc, const void *data, size_t len)
{
	/* Threads that come here at the same time all store the same. */
	static _Atomic(crc_fn *) chosen;
	crc_fn *fn = atomic_load_explicit(&chosen, memory_order_relaxed);

	if (!fn) {
		fn = have_hardware() ? crc_hardware : crc_table;
		atomic_store_explicit(&chosen, fn, memory_order_relaxed);
	}
	return ~fn(~crc, data, len);
}
