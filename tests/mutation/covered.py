"""Which test runs which lines, and how long it takes, from a build with gcov's counters (make variant cov)."""
import json
import os
import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def command(test, build):
    return ["bats", "--tap", test] if test.endswith(".bats") else [f"{build}/{test}"]


def environment(build, **more):
    """Cases that are alike are sampled, as under sanitizers: what a mutant breaks it breaks in many of them."""
    sample = {
        "TEST_SAMPLE": "7",
        "CRASH_IMAGES": "2",
        "CRASH_EVERY2": "120",
        "CRASH_EVERY3": "5000",
        "CRASH_HISTORIES": "3",
    }
    return {**sample, **os.environ, "BUILD": build, **more}


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


def measure(test, build, work):
    """(seconds, {file: [lines]}) of one test, which must pass."""
    root = Path.cwd()
    counters = work / "counters" / test.replace("/", "-")
    shutil.rmtree(counters, ignore_errors=True)
    counters.mkdir(parents=True)
    begun = time.monotonic()
    result = subprocess.run(
        command(test, build),
        env=environment(build, GCOV_PREFIX=str(counters)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    seconds = time.monotonic() - begun
    if result.returncode != 0:
        raise SystemExit(
            f"mutate: {test} fails without any mutant:\n{result.stdout.decode(errors='replace')[-2000:]}"
        )
    # The counters' path is that of the objects, below the prefix.
    lines = lines_of(counters / str(root / build).lstrip("/"), root / build)
    shutil.rmtree(counters)
    return seconds, {file: sorted(n for n, count in of_file.items() if count) for file, of_file in lines.items()}


def collect(tests, build, work, jobs, known, save):
    """Measures the tests that `known` lacks, several at a time, those with mounts one after the other; save() is called
    after each of them."""
    missing = [test for test in tests if test not in known]
    lock = threading.Lock()

    def one(test):
        measured = measure(test, build, work)
        print(f"  {test}: {measured[0]:.1f} s", flush=True)
        with lock:
            known[test] = measured
            save()

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, [test for test in missing if not test.endswith(".bats")]))
    for test in missing:
        if test.endswith(".bats"):
            one(test)
    return known
