/* storage/hash.c: SHA-256 by libcrypto, whose calls fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/hash.h"

#ifdef PFS_HAVE_CRYPTO
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "tests/unit/fenced.h"

/* Which call fails, once, after so many; contexts that are not given back. */
enum call { NEW, INIT, UPDATE, FINAL, CALLS };
static unsigned passes[CALLS];
static bool fails[CALLS], is_cut; /* what the last one gives is too short */
static int contexts;

static bool is_refused(enum call call)
{
	if (!fails[call] || passes[call]--)
		return false;
	fails[call] = false;
	passes[call] = 0;
	return true;
}

static EVP_MD_CTX *faulty_new(void)
{
	if (is_refused(NEW))
		return NULL;
	contexts++;
	return EVP_MD_CTX_new();
}

static void uncount(EVP_MD_CTX *context)
{
	contexts -= context != NULL;
	EVP_MD_CTX_free(context);
}

static int faulty_init(EVP_MD_CTX *context, const EVP_MD *kind, ENGINE *engine)
{
	return is_refused(INIT) ? 0 : EVP_DigestInit_ex(context, kind, engine);
}

static int faulty_update(EVP_MD_CTX *context, const void *data, size_t len)
{
	assert_true(len > 0);
	return is_refused(UPDATE) ? 0 : EVP_DigestUpdate(context, data, len);
}

static int faulty_final(EVP_MD_CTX *context, unsigned char *out, unsigned *len)
{
	int result = EVP_DigestFinal_ex(context, out, len);

	*len -= is_cut;
	return is_refused(FINAL) ? 0 : result;
}

#define EVP_MD_CTX_new faulty_new
#define EVP_MD_CTX_free uncount
#define EVP_DigestInit_ex faulty_init
#define EVP_DigestUpdate faulty_update
#define EVP_DigestFinal_ex faulty_final
#include "storage/hash.c"

static const uint8_t of_abc[PFS_HASH_WHOLE_LEN] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea,
						   0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
						   0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c,
						   0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};

/* "abc" in two pieces, with nothing between them. */
static void hash_abc(struct pfs_hash *hash)
{
	pfs_hash_begin(hash);
	pfs_hash_add(hash, "a", 1);
	pfs_hash_add(hash, NULL, 0);
	pfs_hash_add(hash, "bc", 2);
}

/* The hash of "abc" is had, or an error, and then nothing. */
static void expect(struct pfs_hash *hash, int err)
{
	uint8_t out[PFS_HASH_WHOLE_LEN + 1];

	memset(out, 0xa5, sizeof(out));
	assert_int_equal(pfs_hash_end_whole(hash, out), err);
	if (err)
		assert_true(pfs_is_zero(out, PFS_HASH_WHOLE_LEN));
	else
		assert_memory_equal(out, of_abc, PFS_HASH_WHOLE_LEN);
	assert_int_equal(out[PFS_HASH_WHOLE_LEN], 0xa5);
}

static void expect_half(struct pfs_hash *hash, int err)
{
	uint8_t out[PFS_HASH_LEN + 1];

	memset(out, 0xa5, sizeof(out));
	assert_int_equal(pfs_hash_end(hash, out), err);
	if (err)
		assert_true(pfs_is_zero(out, PFS_HASH_LEN));
	else
		assert_memory_equal(out, of_abc, PFS_HASH_LEN);
	assert_int_equal(out[PFS_HASH_LEN], 0xa5);
}

/* Proves: a hash is that of all pieces, whole or its first half, any number of them one after the
 * other. */
static void pieces_are_hashed(void **state)
{
	struct pfs_hash *hash;

	(void)state;
	assert_int_equal(pfs_hash_new(&hash), 0);
	for (unsigned i = 0; i < 3; i++) {
		hash_abc(hash);
		expect(hash, 0);
		hash_abc(hash);
		expect_half(hash, 0);
	}
	pfs_hash_begin(hash);
	pfs_hash_add(hash, "x", 1); /* which is forgotten */
	hash_abc(hash);
	expect(hash, 0);
	pfs_hash_free(hash);
	pfs_hash_free(NULL);
	assert_int_equal(fenced_blocks, 0);
	assert_int_equal(contexts, 0);
	assert_non_null(pfs_hash_version());
}

/* Proves: whichever call of the library fails, there is no hash and that is said, also when the
 * calls behind it do not fail, until the next one is begun. */
static void errors_stick(void **state)
{
	static const struct {
		enum call call;
		unsigned passes;
	} cases[] = {{INIT, 0}, {UPDATE, 0}, {UPDATE, 1}, {FINAL, 0}};
	struct pfs_hash *hash;

	(void)state;
	assert_int_equal(pfs_hash_new(&hash), 0);
	for (size_t i = 0; i < 2 * pfs_array_len(cases); i++) {
		enum call call = cases[i / 2].call;

		fails[call] = true;
		passes[call] = cases[i / 2].passes;
		hash_abc(hash);
		if (i % 2)
			expect(hash, -EIO);
		else
			expect_half(hash, -EIO);
		assert_false(fails[call]);
		hash_abc(hash);
		expect(hash, 0);
	}
	is_cut = true;
	hash_abc(hash);
	expect(hash, -EIO);
	is_cut = false;
	pfs_hash_free(hash);
	assert_int_equal(fenced_blocks, 0);
	assert_int_equal(contexts, 0);
}

/* Proves: without memory, ours or the library's, there is none, and nothing is left of it. */
static void memory_may_be_missing(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		struct pfs_hash *hash = (struct pfs_hash *)state;

		if (i)
			fails[NEW] = true;
		else
			fenced_refuse(0);
		assert_int_equal(pfs_hash_new(&hash), -ENOMEM);
		assert_null(hash);
		assert_int_equal(fenced_blocks, 0);
		assert_int_equal(contexts, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_are_hashed),
		cmocka_unit_test(errors_stick),
		cmocka_unit_test(memory_may_be_missing),
	};

	return cmocka_run_group_tests_name("hashes", tests, NULL, NULL);
}
#else
int main(void)
{
	print_message("NOT TESTED: this build has no libcrypto\n");
	return 0;
}
#endif
