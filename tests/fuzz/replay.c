/* Runs a fuzz target on files, without a fuzzer: NAME_fuzz [FILE|DIRECTORY]... The corpus in the
 * tree when nothing is named. Prints TAP: one test, that all of them pass. */
#include <dirent.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

#define CORPUS "tests/fuzz/corpus"
#define SECONDS_MAX 60 /* for one input: it hangs */

static char current[PATH_MAX]; /* the input that runs */
static size_t count;

/* Whatever ends the program, an alarm as well: which input it was. */
static void on_end(int sig)
{
	static const char words[] = ": this input ended the program\n";

	(void)!write(2, current, strlen(current));
	(void)!write(2, words, sizeof(words) - 1);
	signal(sig, SIG_DFL);
	raise(sig);
}

__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));

static void on_death(void)
{
	if (current[0])
		fprintf(stderr, "%s: this input ended the program\n", current);
}

static int run_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	struct stat st;
	uint8_t *data;
	size_t len;

	if (!file || fstat(fileno(file), &st) != 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return 1;
	}
	/* Exactly as long as it is, so that reading behind it is seen. */
	len = (size_t)st.st_size;
	data = malloc(len ? len : 1);
	if (!data || fread(data, 1, len, file) != len) {
		fprintf(stderr, "%s: can't be read\n", path);
		return 1;
	}
	fclose(file);
	snprintf(current, sizeof(current), "%s", path);
	alarm(SECONDS_MAX);
	(void)LLVMFuzzerTestOneInput(data, len);
	alarm(0);
	current[0] = '\0';
	free(data);
	count++;
	return 0;
}

static int run_path(const char *path)
{
	struct dirent **names;
	struct stat st;
	int n, bad = 0;

	if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
		return run_file(path);
	n = scandir(path, &names, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		char file[PATH_MAX];

		snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
		if (names[i]->d_name[0] != '.')
			bad |= run_path(file);
		free(names[i]);
	}
	if (n < 0)
		return 1;
	free(names);
	return bad;
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];
	char corpus[PATH_MAX];
	int bad = 0;

	if (&__sanitizer_set_death_callback)
		__sanitizer_set_death_callback(on_death);
	signal(SIGABRT, on_end);
	signal(SIGALRM, on_end);
	printf("1..1\n");
	fflush(stdout);
	snprintf(corpus, sizeof(corpus), "%s/%.*s", CORPUS, (int)strcspn(name, "_"), name);
	for (int i = 1; i < argc; i++)
		bad |= run_path(argv[i]);
	if (argc == 1)
		bad = run_path(corpus);
	if (count == 0)
		bad = 1; /* a corpus that is not found proves nothing */
	printf("%s 1 - %zu inputs do no harm\n", bad ? "not ok" : "ok", count);
	return bad;
}
