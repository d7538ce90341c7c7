#include "tests/fault/calls.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#ifdef PFS_HAVE_CURL
#include <curl/curl.h>
#endif
#ifdef PFS_HAVE_CRYPTO
#include <openssl/evp.h>
#endif

#define INTERRUPTIONS_MAX 3 /* of one call: it is made until it succeeds */
#define CALLER __builtin_return_address(0)

unsigned calls_open_descriptors(void)
{
	DIR *stream = opendir("/proc/self/fd");
	unsigned count = 0;

	while (readdir(stream))
		count++;
	closedir(stream);
	return count - 3; /* itself, . and .. */
}

const char *calls_where(void)
{
	const char *named = getenv("TMPDIR");

	if (named && *named)
		return named;
	return access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp";
}

/* With errno set. */
static bool refused(const char *name, const void *by)
{
	if (pfs_sim_allocates || !fault_hits(FAULT_SYSTEM, name, by))
		return false;
	errno = -fault_error();
	return true;
}

static bool refused_or_interrupted(const char *name, const void *by)
{
	static _Thread_local unsigned interruptions;

	if (interruptions == INTERRUPTIONS_MAX || !fault_hits(FAULT_INTERRUPT, name, by)) {
		interruptions = 0;
		return refused(name, by);
	}
	interruptions++;
	errno = EINTR;
	return true;
}

/* ---- names and directories ---- */

/* The argument that there is only when a file may be made. */
static mode_t mode_of(int how, va_list args)
{
	return how & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
}

int __real_open64(const char *path, int how, ...);
int __wrap_open64(const char *path, int how, ...);
int __wrap_open64(const char *path, int how, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, how);
	mode = mode_of(how, args);
	va_end(args);
	return refused("open", CALLER) ? -1 : __real_open64(path, how, mode);
}

int __real_openat64(int dir, const char *name, int how, ...);
int __wrap_openat64(int dir, const char *name, int how, ...);
int __wrap_openat64(int dir, const char *name, int how, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, how);
	mode = mode_of(how, args);
	va_end(args);
	return refused("openat", CALLER) ? -1 : __real_openat64(dir, name, how, mode);
}

int __real_mkostemp64(char *path, int how);
int __wrap_mkostemp64(char *path, int how);
int __wrap_mkostemp64(char *path, int how)
{
	return refused("mkostemp", CALLER) ? -1 : __real_mkostemp64(path, how);
}

int __real_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode)
{
	return refused("mkdir", CALLER) ? -1 : __real_mkdir(path, mode);
}

int __real_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	return refused("renameat", CALLER) ? -1 : __real_renameat(from_dir, from, to_dir, to);
}

int __real_unlinkat(int dir, const char *name, int flags);
int __wrap_unlinkat(int dir, const char *name, int flags);
int __wrap_unlinkat(int dir, const char *name, int flags)
{
	return refused("unlinkat", CALLER) ? -1 : __real_unlinkat(dir, name, flags);
}

int __real_faccessat(int dir, const char *name, int mode, int flags);
int __wrap_faccessat(int dir, const char *name, int mode, int flags);
int __wrap_faccessat(int dir, const char *name, int mode, int flags)
{
	return refused("faccessat", CALLER) ? -1 : __real_faccessat(dir, name, mode, flags);
}

int __real_fstatat64(int dir, const char *name, struct stat *st, int flags);
int __wrap_fstatat64(int dir, const char *name, struct stat *st, int flags);
int __wrap_fstatat64(int dir, const char *name, struct stat *st, int flags)
{
	return refused("fstatat", CALLER) ? -1 : __real_fstatat64(dir, name, st, flags);
}

DIR *__real_fdopendir(int fd);
DIR *__wrap_fdopendir(int fd);
DIR *__wrap_fdopendir(int fd)
{
	return refused("fdopendir", CALLER) ? NULL : __real_fdopendir(fd);
}

struct dirent *__real_readdir64(DIR *stream);
struct dirent *__wrap_readdir64(DIR *stream);
struct dirent *__wrap_readdir64(DIR *stream)
{
	return refused("readdir", CALLER) ? NULL : __real_readdir64(stream);
}

/* ---- files ---- */

int __real_fstat64(int fd, struct stat *st);
int __wrap_fstat64(int fd, struct stat *st);
int __wrap_fstat64(int fd, struct stat *st)
{
	return refused("fstat", CALLER) ? -1 : __real_fstat64(fd, st);
}

int __real_fstatvfs64(int fd, struct statvfs *st);
int __wrap_fstatvfs64(int fd, struct statvfs *st);
int __wrap_fstatvfs64(int fd, struct statvfs *st)
{
	return refused("fstatvfs", CALLER) ? -1 : __real_fstatvfs64(fd, st);
}

ssize_t __real_pread64(int fd, void *buf, size_t len, off_t off);
ssize_t __wrap_pread64(int fd, void *buf, size_t len, off_t off);
ssize_t __wrap_pread64(int fd, void *buf, size_t len, off_t off)
{
	return refused_or_interrupted("pread", CALLER) ? -1 : __real_pread64(fd, buf, len, off);
}

ssize_t __real_pwrite64(int fd, const void *buf, size_t len, off_t off);
ssize_t __wrap_pwrite64(int fd, const void *buf, size_t len, off_t off);
ssize_t __wrap_pwrite64(int fd, const void *buf, size_t len, off_t off)
{
	return refused_or_interrupted("pwrite", CALLER) ? -1 : __real_pwrite64(fd, buf, len, off);
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
	return refused_or_interrupted("fsync", CALLER) ? -1 : __real_fsync(fd);
}

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
	return refused_or_interrupted("fdatasync", CALLER) ? -1 : __real_fdatasync(fd);
}

int __real_ftruncate64(int fd, off_t size);
int __wrap_ftruncate64(int fd, off_t size);
int __wrap_ftruncate64(int fd, off_t size)
{
	return refused_or_interrupted("ftruncate", CALLER) ? -1 : __real_ftruncate64(fd, size);
}

int __real_fallocate64(int fd, int mode, off_t off, off_t len);
int __wrap_fallocate64(int fd, int mode, off_t off, off_t len);
int __wrap_fallocate64(int fd, int mode, off_t off, off_t len)
{
	return refused_or_interrupted("fallocate", CALLER) ? -1
							   : __real_fallocate64(fd, mode, off, len);
}

int __real_flock(int fd, int how);
int __wrap_flock(int fd, int how);
int __wrap_flock(int fd, int how)
{
	return refused_or_interrupted("flock", CALLER) ? -1 : __real_flock(fd, how);
}

void *__real_mmap64(void *at, size_t len, int protection, int flags, int fd, off_t off);
void *__wrap_mmap64(void *at, size_t len, int protection, int flags, int fd, off_t off);
void *__wrap_mmap64(void *at, size_t len, int protection, int flags, int fd, off_t off)
{
	return refused("mmap", CALLER) ? MAP_FAILED
				       : __real_mmap64(at, len, protection, flags, fd, off);
}

/* ---- the rest of the system ---- */

long __real_sysconf(int what);
long __wrap_sysconf(int what);
long __wrap_sysconf(int what)
{
	return refused("sysconf", CALLER) ? -1 : __real_sysconf(what);
}

/* ---- libcrypto ---- */

#ifdef PFS_HAVE_CRYPTO
EVP_MD_CTX *__real_EVP_MD_CTX_new(void);
EVP_MD_CTX *__wrap_EVP_MD_CTX_new(void);
EVP_MD_CTX *__wrap_EVP_MD_CTX_new(void)
{
	return fault_hits(FAULT_LIBRARY, "EVP_MD_CTX_new", CALLER) ? NULL : __real_EVP_MD_CTX_new();
}

int __real_EVP_DigestInit_ex(EVP_MD_CTX *context, const EVP_MD *kind, ENGINE *engine);
int __wrap_EVP_DigestInit_ex(EVP_MD_CTX *context, const EVP_MD *kind, ENGINE *engine);
int __wrap_EVP_DigestInit_ex(EVP_MD_CTX *context, const EVP_MD *kind, ENGINE *engine)
{
	return fault_hits(FAULT_LIBRARY, "EVP_DigestInit_ex", CALLER)
		       ? 0
		       : __real_EVP_DigestInit_ex(context, kind, engine);
}

int __real_EVP_DigestUpdate(EVP_MD_CTX *context, const void *data, size_t len);
int __wrap_EVP_DigestUpdate(EVP_MD_CTX *context, const void *data, size_t len);
int __wrap_EVP_DigestUpdate(EVP_MD_CTX *context, const void *data, size_t len)
{
	return fault_hits(FAULT_LIBRARY, "EVP_DigestUpdate", CALLER)
		       ? 0
		       : __real_EVP_DigestUpdate(context, data, len);
}

int __real_EVP_DigestFinal_ex(EVP_MD_CTX *context, unsigned char *out, unsigned *len);
int __wrap_EVP_DigestFinal_ex(EVP_MD_CTX *context, unsigned char *out, unsigned *len);
int __wrap_EVP_DigestFinal_ex(EVP_MD_CTX *context, unsigned char *out, unsigned *len)
{
	return fault_hits(FAULT_LIBRARY, "EVP_DigestFinal_ex", CALLER)
		       ? 0
		       : __real_EVP_DigestFinal_ex(context, out, len);
}
#endif

/* ---- libcurl ---- */

#ifdef PFS_HAVE_CURL
#undef curl_easy_setopt
#undef curl_easy_getinfo

CURLM *__real_curl_multi_init(void);
CURLM *__wrap_curl_multi_init(void);
CURLM *__wrap_curl_multi_init(void)
{
	return fault_hits(FAULT_LIBRARY, "curl_multi_init", CALLER) ? NULL
								    : __real_curl_multi_init();
}

CURL *__real_curl_easy_init(void);
CURL *__wrap_curl_easy_init(void);
CURL *__wrap_curl_easy_init(void)
{
	return fault_hits(FAULT_LIBRARY, "curl_easy_init", CALLER) ? NULL : __real_curl_easy_init();
}

/* Each option takes one argument, a pointer, a long or a curl_off_t: the same to who passes it on.
 */
_Static_assert(sizeof(long) == sizeof(void *) && sizeof(curl_off_t) == sizeof(void *), "LP64");
CURLcode __real_curl_easy_setopt(CURL *easy, CURLoption option, ...);
CURLcode __wrap_curl_easy_setopt(CURL *easy, CURLoption option, void *value);
CURLcode __wrap_curl_easy_setopt(CURL *easy, CURLoption option, void *value)
{
	return fault_hits(FAULT_LIBRARY, "curl_easy_setopt", CALLER)
		       ? CURLE_OUT_OF_MEMORY
		       : __real_curl_easy_setopt(easy, option, value);
}

struct curl_slist *__real_curl_slist_append(struct curl_slist *list, const char *text);
struct curl_slist *__wrap_curl_slist_append(struct curl_slist *list, const char *text);
struct curl_slist *__wrap_curl_slist_append(struct curl_slist *list, const char *text)
{
	return fault_hits(FAULT_LIBRARY, "curl_slist_append", CALLER)
		       ? NULL
		       : __real_curl_slist_append(list, text);
}

CURLMcode __real_curl_multi_add_handle(CURLM *multi, CURL *easy);
CURLMcode __wrap_curl_multi_add_handle(CURLM *multi, CURL *easy);
CURLMcode __wrap_curl_multi_add_handle(CURLM *multi, CURL *easy)
{
	return fault_hits(FAULT_LIBRARY, "curl_multi_add_handle", CALLER)
		       ? CURLM_OUT_OF_MEMORY
		       : __real_curl_multi_add_handle(multi, easy);
}
#endif
