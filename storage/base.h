/* Rank 0: what every file may use. Little-endian accessors, varints, limits, small helpers.
 *
 * Nothing here allocates, locks or does I/O. */
#ifndef PFS_BASE_H
#define PFS_BASE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PFS_KIB (UINT64_C(1) << 10)
#define PFS_MIB (UINT64_C(1) << 20)
#define PFS_GIB (UINT64_C(1) << 30)

#define PFS_NSEC_PER_SEC INT64_C(1000000000)

#define pfs_array_len(a) (sizeof(a) / sizeof((a)[0]))

#define PFS_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define PFS_TSAN 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define PFS_TSAN 1
#endif
#ifdef PFS_TSAN
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
#endif

/* Between begin and end a thread reads bytes that others may be writing: what it makes of them is a
 * guess, to be confirmed under a lock before it counts. ThreadSanitizer, which sees the accesses
 * only, has to be told. */
static inline void pfs_guess_begin(void)
{
#ifdef PFS_TSAN
	AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
#endif
}

static inline void pfs_guess_end(void)
{
#ifdef PFS_TSAN
	AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
#endif
}

static inline uint64_t pfs_min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t pfs_max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* What a function that sorts returns: below 0, 0 or above 0. */
static inline int pfs_order(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

/* What a noun gets behind it for that many: "s", or nothing for one. */
static inline const char *pfs_plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

/* Rounds up to a multiple of step, which is a power of two. */
static inline uint64_t pfs_round_up(uint64_t n, uint64_t step)
{
	return (n + step - 1) & ~(step - 1);
}

static inline bool pfs_is_pow2(uint64_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

static inline bool pfs_is_zero(const void *bytes, size_t len)
{
	const uint8_t *b = bytes;

	return len == 0 || (b[0] == 0 && memcmp(b, b + 1, len - 1) == 0);
}

/* Disk integers are little-endian and may be unaligned. */
static inline uint16_t pfs_get_le16(const void *p)
{
	const uint8_t *b = p;

	return (uint16_t)(b[0] | b[1] << 8);
}

static inline uint32_t pfs_get_le32(const void *p)
{
	const uint8_t *b = p;

	return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static inline uint64_t pfs_get_le64(const void *p)
{
	const uint8_t *b = p;

	return (uint64_t)pfs_get_le32(b) | (uint64_t)pfs_get_le32(b + 4) << 32;
}

static inline void pfs_put_le16(void *p, uint16_t v)
{
	uint8_t *b = p;

	b[0] = (uint8_t)v;
	b[1] = (uint8_t)(v >> 8);
}

static inline void pfs_put_le32(void *p, uint32_t v)
{
	uint8_t *b = p;

	b[0] = (uint8_t)v;
	b[1] = (uint8_t)(v >> 8);
	b[2] = (uint8_t)(v >> 16);
	b[3] = (uint8_t)(v >> 24);
}

static inline void pfs_put_le64(void *p, uint64_t v)
{
	pfs_put_le32(p, (uint32_t)v);
	pfs_put_le32((uint8_t *)p + 4, (uint32_t)(v >> 32));
}

/* Varint: LEB128, 7 bits a byte, low group first, at most 10 bytes. */
#define PFS_VARINT_MAX 10

/* Writes v at p, returns the number of bytes. p has room for PFS_VARINT_MAX. */
static inline size_t pfs_put_varint(uint8_t *p, uint64_t v)
{
	size_t n = 0;

	while (v >= 0x80) {
		p[n++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	p[n++] = (uint8_t)v;
	return n;
}

/* Reads a varint from [p, end). Returns its length, or 0 when it is cut off or too long. */
static inline size_t pfs_get_varint(const uint8_t *p, const uint8_t *end, uint64_t *v)
{
	uint64_t out = 0;

	/* The last byte that there may be ends it, or is too much. */
	for (size_t n = 0; p + n < end; n++) {
		if (n == PFS_VARINT_MAX - 1 && p[n] > 1)
			return 0;
		out |= (uint64_t)(p[n] & 0x7f) << (7 * n);
		if (!(p[n] & 0x80)) {
			*v = out;
			return n + 1;
		}
	}
	return 0;
}

/* A cursor over bytes that may end anywhere. */
struct pfs_cursor {
	const uint8_t *at, *end;
	bool bad; /* something was cut off, or over its bound: what is taken is 0 from then on */
};

static inline uint64_t pfs_take_varint(struct pfs_cursor *c, uint64_t max)
{
	uint64_t v = 0;
	size_t n = c->bad ? 0 : pfs_get_varint(c->at, c->end, &v);

	if (n == 0 || v > max) {
		c->bad = true;
		return 0;
	}
	c->at += n;
	return v;
}

static inline uint64_t pfs_zigzag(int64_t v)
{
	return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

static inline int64_t pfs_unzigzag(uint64_t v)
{
	return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

/* 64-bit mixer (the finaliser of MurmurHash3, Austin Appleby, public domain): a bijection. */
static inline uint64_t pfs_mix64(uint64_t x)
{
	x ^= x >> 33;
	x *= UINT64_C(0xff51afd7ed558ccd);
	x ^= x >> 33;
	x *= UINT64_C(0xc4ceb9fe1a85ec53);
	x ^= x >> 33;
	return x;
}

/* What pfs_mix64 made x of: with the inverses of its factors modulo 2^64, the other way round. */
static inline uint64_t pfs_unmix64(uint64_t x)
{
	x ^= x >> 33;
	x *= UINT64_C(0x9cb4b2f8129337db);
	x ^= x >> 33;
	x *= UINT64_C(0x4f74430c22a54005);
	x ^= x >> 33;
	return x;
}

/* A flag by which another thread stops long work; NULL: nobody does. */
static inline bool pfs_is_set(const bool *flag)
{
	return flag && __atomic_load_n(flag, __ATOMIC_RELAXED);
}

#endif
