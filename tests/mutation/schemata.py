"""Puts mutants into copies of the source, many into each: which one is at work is asked while the program runs, so that
a tree is built once for some thousand of them. (Mutant schemata: Untch, Offutt, Harrold, 1993.)

One within another stands in what is there when neither is at work. Mutants of which each has bytes that the other one
lacks stand in different copies ("batches").
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
    """[(begin, end, form, [(number, text)])], of those that replace the same bytes in the same way; an outer one comes
    before those in it."""
    sites = defaultdict(list)
    for number, mutant in mutants:
        sites[mutant.begin, mutant.end, mutant.form].append((number, mutant.text))
    # A whole statement is outside of the expression that it is, and a condition outside of what is decided by it.
    outside = {"statements": 0, "call": 1, "condition": 2, "expression": 3}
    return sorted(
        ((*place, found) for place, found in sites.items()), key=lambda site: (site[0], -site[1], outside[site[2]])
    )


def batches_of(mutants):
    """Lists of sites that are within or beside each other, for one file."""
    batches = []
    for site in sites_of(mutants):
        for batch, around in batches:
            while around and around[-1] <= site[0]:
                around.pop()
            if not around or site[1] <= around[-1]:
                break
        else:
            batch, around = [], []
            batches.append((batch, around))
        batch.append(site)
        around.append(site[1])
    return [batch for batch, _ in batches]


def replaced(original, form, choices):
    """original: with what stands within it."""
    if form == "call":
        ((number, _),) = choices
        return f"(pfs_mutant == {number} ? (void)0 : (void)({original}))"
    if form == "statements":
        ((number, text),) = choices
        return f"if (pfs_mutant == {number}) {{ {text} }} else {{ {original} }}"
    chain = "".join(f"pfs_mutant == {number} ? ({text}) : " for number, text in choices)
    return f"({chain}{'!!' if form == 'condition' else ''}({original}))"


def write(source, sites):
    """The source with these sites, which are a batch."""
    sites = list(sites)

    def between(begin, end):
        parts, at = [], begin
        while sites and sites[0][0] < end:
            first, last, form, choices = sites.pop(0)
            parts += [source[at:first].decode(), replaced(between(first, last), form, choices)]
            at = last
        return "".join(parts) + source[at:end].decode()

    return between(0, len(source))
