/* writer: writes documents that prove by themselves whether they are whole, until the filesystem
 * is gone, and checks afterwards what is left of them.
 *
 *	writer write DIRECTORY LOG SEED FIRST_ID IDS
 *	writer check DIRECTORY LOG
 *
 * A document says its id, version and length in its first line, the rest follows from these. Every
 * change is noted in LOG (a file elsewhere) before it begins and after it has succeeded: "begin ID
 * VERSION" and "end ID VERSION", where VERSION 0 means that the file is removed. `write` changes
 * random ids out of IDS many from FIRST_ID: three in five times it writes the file anew, in pieces
 * of 4 KiB, one in five it writes "tmpID" and renames it over the id, one in five it removes it. It
 * ends with 0 when the filesystem is gone, with 1 when a change fails before that.
 *
 * `check` wants of each id in the log the last version that was ended, or the one that was begun
 * after it: whole, byte for byte; and of each "tmpID" that it is whole. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IDS_MAX 100000u
#define PIECE 4096
#define DOCUMENT_MAX 102400
#define NO_VERSION UINT32_MAX

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= UINT64_C(0xff51afd7ed558ccd);
	x ^= x >> 33;
	x *= UINT64_C(0xc4ceb9fe1a85ec53);
	return x ^ x >> 33;
}

/* The document of an id and version: its length. Half of them are short, the longest take 100 KB.
 */
static size_t document(char *buf, uint32_t id, uint32_t version)
{
	uint64_t r = mix((uint64_t)id << 32 | version);
	size_t len = r % 2 ? 5 + r / 2 % 2000 : 5 + r / 2 % (DOCUMENT_MAX - 5), head;

	head = (size_t)snprintf(buf, 64, "%u %u %zu\n", id, version, len);
	if (head > len)
		len = head;
	for (size_t i = head; i < len; i++)
		buf[i] = (char)('a' + mix(r + i / 16) % 26);
	return len;
}

/* Whether the filesystem answers: asks for a name that nobody has asked for, so that no cache can
 * know. After each change this tells a close that succeeded from one that only looks so: Linux lets
 * a close that comes after the end of the daemon drop the written pages and return 0 where FLUSH is
 * left unanswered, as payloadfs does. */
static bool is_alive(int dir, uint32_t version)
{
	char name[32];

	snprintf(name, sizeof(name), "alive%u", version);
	return faccessat(dir, name, F_OK, 0) && errno == ENOENT;
}

/* 0, or the errno of what failed. */
static int write_document(int dir, const char *name, const char *buf, size_t len)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	int err = 0;

	if (fd < 0)
		return errno;
	for (size_t off = 0; off < len && !err; off += PIECE) {
		size_t piece = len - off < PIECE ? len - off : PIECE;

		if (write(fd, buf + off, piece) != (ssize_t)piece)
			err = errno;
	}
	if (close(fd) && !err)
		err = errno;
	return err;
}

static int change(int dir, uint32_t id, uint32_t version, unsigned how, char *buf)
{
	char name[16], tmp[24];
	int err;

	snprintf(name, sizeof(name), "%u", id);
	snprintf(tmp, sizeof(tmp), "tmp%u", id);
	if (how == 0)
		return unlinkat(dir, name, 0) && errno != ENOENT ? errno : 0;
	if (how > 1)
		return write_document(dir, name, buf, document(buf, id, version));
	err = write_document(dir, tmp, buf, document(buf, id, version));
	if (!err && renameat(dir, tmp, dir, name))
		err = errno;
	return err;
}

static int run_write(int dir, const char *log, uint64_t seed, uint32_t first, uint32_t ids)
{
	static char buf[DOCUMENT_MAX + 64];
	int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);

	if (fd < 0) {
		perror(log);
		return 1;
	}
	for (uint32_t version = (uint32_t)(seed % 1000) * 1000000u + 1;; version++) {
		uint64_t r = mix(seed * 1000003u + version);
		uint32_t id = first + (uint32_t)(r % ids);
		unsigned how = (unsigned)(r / ids % 5);
		int err;

		dprintf(fd, "begin %u %u\n", id, how ? version : 0);
		err = change(dir, id, version, how, buf);
		if (!is_alive(dir, version))
			return 0;
		if (err) {
			fprintf(stderr, "writer: %u: %s\n", id, strerror(err));
			return 1;
		}
		dprintf(fd, "end %u %u\n", id, how ? version : 0);
	}
}

struct state {
	bool seen;
	uint32_t ended, begun; /* NO_VERSION: none begun */
};

/* The version of the document in the file: 0 when there is no file. false when it is not a whole
 * document of id. */
static bool version_of(int dir, const char *name, uint32_t id, uint32_t *version)
{
	static char got[DOCUMENT_MAX + 65], want[DOCUMENT_MAX + 64];
	int fd = openat(dir, name, O_RDONLY);
	unsigned said_id, said_version;
	ssize_t len;

	*version = 0;
	if (fd < 0)
		return errno == ENOENT;
	len = read(fd, got, sizeof(got) - 1);
	close(fd);
	if (len < 0) {
		printf("%s: %s\n", name, strerror(errno));
		return false;
	}
	got[len] = '\0';
	if (sscanf(got, "%u %u", &said_id, &said_version) != 2 || said_id != id) {
		printf("%s: %zd bytes that are no document of %u: %.40s\n", name, len, id, got);
		return false;
	}
	*version = said_version;
	if ((size_t)len == document(want, id, said_version) && !memcmp(got, want, (size_t)len))
		return true;
	printf("%s: version %u in %zd bytes is not whole\n", name, said_version, len);
	return false;
}

static bool check_id(int dir, uint32_t id, const struct state *state)
{
	char name[24];
	uint32_t version;
	bool good;

	snprintf(name, sizeof(name), "%u", id);
	good = version_of(dir, name, id, &version);
	if (good && version != state->ended && version != state->begun) {
		printf("%s: version %u, last ended %u, begun %d\n", name, version, state->ended,
		       (int)state->begun);
		good = false;
	}
	snprintf(name, sizeof(name), "tmp%u", id);
	return version_of(dir, name, id, &version) && good;
}

static int run_check(int dir, const char *log)
{
	struct state *states = calloc(IDS_MAX, sizeof(*states));
	FILE *in = fopen(log, "r");
	unsigned id, version, changes = 0, bad = 0;
	char word[8];

	if (!in || !states) {
		perror(log);
		return 1;
	}
	for (unsigned i = 0; i < IDS_MAX; i++)
		states[i].begun = NO_VERSION;
	while (fscanf(in, "%7s %u %u", word, &id, &version) == 3) {
		if (id >= IDS_MAX)
			return 1;
		states[id].seen = true;
		if (!strcmp(word, "begin")) {
			states[id].begun = version;
		} else {
			states[id].ended = version;
			states[id].begun = NO_VERSION;
			changes++;
		}
	}
	fclose(in);
	for (unsigned i = 0; i < IDS_MAX; i++)
		if (states[i].seen)
			bad += !check_id(dir, i, &states[i]);
	free(states);
	printf("%u changes, %u ids wrong\n", changes, bad);
	return bad || !changes;
}

int main(int argc, char *argv[])
{
	int dir = argc > 2 ? open(argv[2], O_RDONLY | O_DIRECTORY) : -1;

	if (dir >= 0 && argc == 7 && !strcmp(argv[1], "write") && strtoul(argv[6], NULL, 10))
		return run_write(dir, argv[3], strtoull(argv[4], NULL, 10),
				 (uint32_t)strtoul(argv[5], NULL, 10),
				 (uint32_t)strtoul(argv[6], NULL, 10));
	if (dir >= 0 && argc == 4 && !strcmp(argv[1], "check"))
		return run_check(dir, argv[3]);
	fprintf(stderr, "usage: writer write DIRECTORY LOG SEED FIRST_ID IDS | writer check "
			"DIRECTORY LOG\n");
	return 2;
}
