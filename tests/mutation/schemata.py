"""Puts mutants into copies of the source, many into each: which one is at work is asked while the program runs, so that
a tree is built once for some thousand of them. (Mutant schemata: Untch, Offutt, Harrold, 1993.)

Mutants whose bytes overlap stand in different copies ("batches").
"""
from collections import defaultdict

# Forced into every file of a copy. The number is set before anything else runs, and stays.
HEADER = """#ifndef PFS_MUTANT_H
#define PFS_MUTANT_H
extern int pfs_mutant;
#endif
"""
CHOOSER = """#include <stdlib.h>
int pfs_mutant;
__attribute__((constructor(101))) static void choose(void)
{
	const char *number = getenv("PFS_MUTANT");

	pfs_mutant = number ? atoi(number) : 0;
}
"""


def sites_of(mutants):
    """[(begin, end, form, [(number, text)])], of those that replace the same bytes in the same way."""
    sites = defaultdict(list)
    for number, mutant in mutants:
        sites[mutant.begin, mutant.end, mutant.form].append((number, mutant.text))
    return sorted((*place, found) for place, found in sites.items())


def batches_of(mutants):
    """Lists of sites that do not overlap, for one file."""
    batches = []
    for site in sites_of(mutants):
        for batch in batches:
            if batch[-1][1] <= site[0]:
                batch.append(site)
                break
        else:
            batches.append([site])
    return batches


def replaced(original, form, choices):
    if form == "call":
        ((number, _),) = choices
        return f"(pfs_mutant == {number} ? (void)0 : (void)({original}))"
    if form == "statements":
        ((number, text),) = choices
        return f"if (pfs_mutant == {number}) {{ {text} }} else {{ {original} }}"
    chain = "".join(f"pfs_mutant == {number} ? ({text}) : " for number, text in choices)
    return f"({chain}{'!!' if form == 'condition' else ''}({original}))"


def write(source, sites):
    """The source with these sites, none of which overlap."""
    parts, at = [], 0
    for begin, end, form, choices in sites:
        parts.append(source[at:begin].decode())
        parts.append(replaced(source[begin:end].decode(), form, choices))
        at = end
    parts.append(source[at:].decode())
    return "".join(parts)
