#include "storage/hash.h"

#ifdef PFS_HAVE_CRYPTO

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>

struct pfs_hash {
	EVP_MD_CTX *context;
	const EVP_MD *kind;
	bool failed;
};

const char *pfs_hash_version(void)
{
	return OpenSSL_version(OPENSSL_VERSION_STRING);
}

int pfs_hash_new(struct pfs_hash **out)
{
	struct pfs_hash *hash = calloc(1, sizeof(*hash));

	*out = NULL;
	if (!hash)
		return -ENOMEM;
	hash->context = EVP_MD_CTX_new();
	hash->kind = EVP_sha256();
	if (!hash->context) {
		free(hash);
		return -ENOMEM;
	}
	*out = hash;
	return 0;
}

void pfs_hash_free(struct pfs_hash *hash)
{
	if (!hash)
		return;
	EVP_MD_CTX_free(hash->context);
	free(hash);
}

void pfs_hash_begin(struct pfs_hash *hash)
{
	hash->failed = EVP_DigestInit_ex(hash->context, hash->kind, NULL) != 1;
}

void pfs_hash_add(struct pfs_hash *hash, const void *data, size_t len)
{
	if (!hash->failed && len)
		hash->failed = EVP_DigestUpdate(hash->context, data, len) != 1;
}

int pfs_hash_end_whole(struct pfs_hash *hash, uint8_t out[PFS_HASH_WHOLE_LEN])
{
	uint8_t bytes[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	memset(out, 0, PFS_HASH_WHOLE_LEN);
	if (hash->failed || EVP_DigestFinal_ex(hash->context, bytes, &len) != 1 ||
	    len != PFS_HASH_WHOLE_LEN)
		return -EIO;
	memcpy(out, bytes, PFS_HASH_WHOLE_LEN);
	return 0;
}

#else

const char *pfs_hash_version(void)
{
	return NULL;
}

int pfs_hash_new(struct pfs_hash **out)
{
	*out = NULL;
	return -EOPNOTSUPP;
}

/* Nobody has one. */
void pfs_hash_free(struct pfs_hash *hash)
{
	(void)hash;
}

void pfs_hash_begin(struct pfs_hash *hash)
{
	(void)hash;
}

void pfs_hash_add(struct pfs_hash *hash, const void *data, size_t len)
{
	(void)hash;
	(void)data;
	(void)len;
}

int pfs_hash_end_whole(struct pfs_hash *hash, uint8_t out[PFS_HASH_WHOLE_LEN])
{
	(void)hash;
	memset(out, 0, PFS_HASH_WHOLE_LEN);
	return -EOPNOTSUPP;
}

#endif

int pfs_hash_end(struct pfs_hash *hash, uint8_t out[PFS_HASH_LEN])
{
	uint8_t whole[PFS_HASH_WHOLE_LEN];
	int err = pfs_hash_end_whole(hash, whole);

	memcpy(out, whole, PFS_HASH_LEN);
	return err;
}
