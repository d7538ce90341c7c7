#include "tools/terminal.h"

#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define SIZE_MAX_SHOWN 1000u

bool terminal_has_colours(void)
{
	const char *off = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && !(off && *off) && term && *term && strcmp(term, "dumb");
}

bool terminal_has_utf8(void)
{
	locale_t locale = newlocale(LC_CTYPE_MASK, "", NULL);
	bool utf8;

	if (!locale)
		return false;
	utf8 = strcmp(nl_langinfo_l(CODESET, locale), "UTF-8") == 0;
	freelocale(locale);
	return utf8;
}

/* One of the two lengths, as the terminal says, else as the environment says. */
static unsigned size_of(unsigned terminal, const char *environment, unsigned usual, unsigned least)
{
	unsigned long size = terminal;

	if (size == 0 && environment)
		size = strtoul(environment, NULL, 10);
	if (size == 0)
		size = usual;
	return size < least ? least : size > SIZE_MAX_SHOWN ? SIZE_MAX_SHOWN : (unsigned)size;
}

static struct winsize window(void)
{
	struct winsize size = {0};

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size))
		size = (struct winsize){0};
	return size;
}

unsigned terminal_columns(void)
{
	return size_of(window().ws_col, getenv("COLUMNS"), 80, 20);
}

unsigned terminal_lines(void)
{
	return size_of(window().ws_row, getenv("LINES"), 24, 5);
}
