/* Many kinds of broken stores, each a few lines of a file of tests/images/cases/ (tests/README.md,
 * "Images"). A program for each file; `show`: what check and repair say, as it is to stand there.
 */
#ifndef PFS_TEST_CASES_H
#define PFS_TEST_CASES_H

#include <malloc.h>

#include "tests/images/describe.h"

#define CASES IMAGES "/cases/"
#define EXPECTED_MAX 65536
#define WRONG_MAX 5 /* cases that are shown; what follows is not looked at */

/* The next case of the file, up to the line of `==` that ends it. False: there is none. */
static inline bool next_case(struct recipe *r, FILE *in, char *expected, char **name)
{
	char line[LINE_MAX_LEN];
	long at = ftell(in);

	free(*name);
	*name = NULL;
	/* What is broken says its first line. */
	if (!fgets(line, sizeof(line), in))
		return false;
	assert_int_equal(line[0], '#');
	line[strcspn(line, "\n")] = '\0';
	*name = strdup(line);
	fseek(in, at, SEEK_SET);
	read_recipe(r, in, expected, EXPECTED_MAX);
	return true;
}

static inline unsigned each_case(const char *file, bool show)
{
	char path[512], *expected = malloc(EXPECTED_MAX), *name = NULL;
	unsigned wrong = 0;
	bool more = true;
	FILE *in;

	/* Each check and opening takes some mebibytes: they stay, which saves half of the time. */
	mallopt(M_MMAP_THRESHOLD, 32 * PFS_MIB);
	mallopt(M_TRIM_THRESHOLD, 1024 * PFS_MIB);
	snprintf(path, sizeof(path), CASES "%s", file);
	in = fopen(path, "r");
	assert_non_null(in);
	while (more && wrong < WRONG_MAX) {
		struct recipe r = {.sim = NULL};
		char *said = NULL;
		size_t size;
		FILE *out;

		snprintf(r.path, sizeof(r.path), "%s", path);
		more = next_case(&r, in, expected, &name);
		if (!more)
			break;
		out = open_memstream(&said, &size);
		describe(&r, out);
		fclose(out);
		if (show)
			printf("== %s\n%s", name, said);
		else if (strcmp(said, expected) != 0 && ++wrong)
			print_message("%s: %s: expected\n%ssaid\n%s", path, name, expected, said);
		free(said);
		pfs_sim_free(r.sim);
		pfs_sim_free(r.closed);
	}
	free(expected);
	fclose(in);
	return wrong;
}

#endif
