/* moments: a writer that keeps an order between documents, so that a copy which is not of one
 *moment shows it; and what looks at such a copy.
 *
 *	moments write DIRECTORY STOP	writes until the file STOP is there
 *	moments look			reads `ID VALUE` lines, and says what is wrong
 *
 * The writer counts rounds. In round n it writes n into each of the documents FIRST, MIDDLE and
 *LAST, which lie far from each other in any listing, one after the other: at every moment their
 *values are n or n - 1, and never grow in that order. And one document moves between two names with
 * rename: at every moment exactly one of the names is there. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const chain[] = {"1", "10000", "20000"};
static const char *const places[] = {"2", "19999"};

static void die(const char *what)
{
	fprintf(stderr, "moments: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void put(int dir, const char *name, unsigned long value)
{
	char text[32];
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	int len = snprintf(text, sizeof(text), "%lu", value);

	if (fd < 0 || write(fd, text, (size_t)len) != len || close(fd))
		die(name);
}

static int write_rounds(const char *path, const char *stop)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY);
	struct stat st;
	unsigned long n;

	if (dir < 0)
		die(path);
	for (n = 1; stat(stop, &st); n++) {
		for (int i = 0; i < 3; i++)
			put(dir, chain[i], n);
		if (faccessat(dir, places[n % 2], F_OK, 0) == 0 &&
		    renameat(dir, places[n % 2], dir, places[!(n % 2)]))
			die("rename");
	}
	printf("%lu\n", n - 1);
	return 0;
}

static int look(void)
{
	unsigned long values[3] = {0}, value;
	unsigned seen[3] = {0}, at[2] = {0};
	char id[64];
	bool ordered;

	while (scanf("%63s %lu", id, &value) == 2) {
		for (int i = 0; i < 3; i++) {
			if (strcmp(id, chain[i]) == 0) {
				values[i] = value;
				seen[i]++;
			}
		}
		for (int i = 0; i < 2; i++)
			at[i] += strcmp(id, places[i]) == 0;
	}
	ordered = values[0] >= values[1] && values[1] >= values[2] && values[0] <= values[2] + 1;
	printf("%lu %lu %lu, moved: %u %u\n", values[0], values[1], values[2], at[0], at[1]);
	return ordered && seen[0] == 1 && seen[1] == 1 && seen[2] == 1 && at[0] + at[1] == 1 ? 0
											     : 1;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "write") == 0)
		return write_rounds(argv[2], argv[3]);
	if (argc == 2 && strcmp(argv[1], "look") == 0)
		return look();
	fprintf(stderr, "moments write DIRECTORY STOP | moments look\n");
	return 2;
}
