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


def replaced(within, form, choices):
    """within: what is there, with the mutants that stand in it."""
    if form == "call":
        ((number, _),) = choices
        return f"(pfs_mutant == {number} ? (void)0 : (void)({within}))"
    if form == "statements":
        ((number, text),) = choices
        return f"if (pfs_mutant == {number}) {{ {text} }} else {{ {within} }}"
    chain = "".join(f"pfs_mutant == {number} ? ({text}) : " for number, text in choices)
    return f"({chain}{'!!' if form == 'condition' else ''}({within}))"


def guarded(original, mutated, form, numbers):
    """One look is enough where none of them is at work: some loops are as quick as without any."""
    low, high = min(numbers), max(numbers)
    asked = f"(unsigned)(pfs_mutant - {low}) > {high - low}u"
    if form == "statements":
        return f"if ({asked}) {{ {original} }} else {{ {mutated} }}"
    if form == "call":
        return f"({asked} ? (void)({original}) : {mutated})"
    return f"({asked} ? {'!!' if form == 'condition' else ''}({original}) : {mutated})"


def write(source, sites):
    """The source with these sites, which are a batch."""
    sites = list(sites)
    numbers = []  # of the outermost site

    def between(begin, end, is_outermost):
        parts, at = [], begin
        while sites and sites[0][0] < end:
            first, last, form, choices = sites.pop(0)
            if is_outermost:
                numbers.clear()
            numbers.extend(number for number, _ in choices)
            original = source[first:last].decode()
            text = replaced(between(first, last, False), form, choices)
            parts.append(source[at:first].decode())
            parts.append(guarded(original, text, form, numbers) if is_outermost and len(numbers) > 1 else text)
            at = last
        return "".join(parts) + source[at:end].decode()

    return between(0, len(source), True)
