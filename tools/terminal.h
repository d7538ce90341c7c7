/* What the terminal on standard output can show. */
#ifndef TOOLS_TERMINAL_H
#define TOOLS_TERMINAL_H

#include <stdbool.h>

/* Colours are for a terminal that has them, and for who has not set NO_COLOR (no-color.org). */
bool terminal_has_colours(void);

/* Whether what reads the output takes UTF-8, by LC_ALL, LC_CTYPE or LANG. */
bool terminal_has_utf8(void);

/* Columns and lines of the terminal; what is no terminal has those of COLUMNS and LINES, else 80
 * and 24. At least 20 and 5, at most 1000. */
unsigned terminal_columns(void);
unsigned terminal_lines(void);

#endif
