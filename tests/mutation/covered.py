"""Which test runs which lines, and how long it takes, from a build with gcov's counters (make variant cov)."""
import json
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import suite


def lines_of(counters, objects):
    """{file: {line: count}} of the counters below a directory; objects: where the compiler left its notes."""
    lines = {}
    for data in sorted(counters.rglob("*.gcda")):
        notes = objects / data.relative_to(counters).with_suffix(".gcno")
        beside = data.with_suffix(".gcno")
        if not notes.exists():
            continue
        if not beside.exists():
            beside.symlink_to(notes)
        told = subprocess.run(
            ["gcov", "--json-format", "--stdout", str(data)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        for text in told.stdout.splitlines():
            for file in json.loads(text)["files"]:
                if file["file"].startswith("/"):
                    continue
                of_file = lines.setdefault(file["file"], {})
                for line in file["lines"]:
                    number = line["line_number"]
                    of_file[number] = of_file.get(number, 0) + line["count"]
    return lines


def measure(test, build, work, limit):
    """{file: [lines]} of one test; {} of one that does not pass in this build, in so many seconds."""
    root = Path.cwd()
    counters = work / "counters" / suite.hash_of(test)
    shutil.rmtree(counters, ignore_errors=True)
    counters.mkdir(parents=True)
    log = counters / "log"
    with open(log, "wb") as output:
        # What another user's process counts can't be written there, and is not to be talked about on its output.
        why = suite.run(test, build, limit, output=output, GCOV_PREFIX=str(counters), GCOV_ERROR_FILE="/dev/null")
    if why:
        print(f"mutate: {test} {why} without any mutant:\n{log.read_text(errors='replace')[-2000:]}", flush=True)
        return {}
    # The counters' path is that of the objects, below the prefix.
    lines = lines_of(counters / str(root / build).lstrip("/"), root / build)
    shutil.rmtree(counters)
    return {file: sorted(n for n, count in of_file.items() if count) for file, of_file in lines.items()}


def collect(tests, build, work, jobs, known, save, limit, seconds_of):
    """Measures the tests that `known` lacks, several at a time; save() is called after each of them. known: {test: (hash of
    it, seconds, {file: [lines]})}"""
    lock = threading.Lock()

    def one(test):
        lines = measure(test, build, work, limit)
        seconds = seconds_of(test) if lines else 0
        print(f"  {test}: {seconds:.1f} s", flush=True)
        with lock:
            known[test] = (suite.hash_of(test), seconds, lines)
            save()

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, [test for test in tests if known.get(test, ("",))[0] != suite.hash_of(test)]))
    return known
