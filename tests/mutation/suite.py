"""The tests, and how one of them is run.

A test is a program ("tests/unit/fit_test") or one test of a bats file ("tests/mount/basics.bats:its name").
"""
import functools
import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

BATS_TEST = re.compile(r'^@test "(.*)" \{$', re.M)
INCLUDED = re.compile(r'^#include "(tests/[^"]*)"', re.M)


def is_bats(test):
    return ".bats:" in test


def in_places(places):
    """Those of directories, and of bats files; or programs."""
    tests = []
    for place in map(Path, places):
        if place.with_suffix(".c").exists():
            tests.append(str(place.with_suffix("")))
            continue
        tests += sorted(str(path.with_suffix("")) for path in place.glob("*_test.c"))
        for path in sorted(place.glob("*.bats")) if place.is_dir() else [place]:
            tests += [f"{path}:{name}" for name in BATS_TEST.findall(path.read_text())]
    return tests


def programs(tests, build):
    """What make has to build for them."""
    found = [f"{build}/{test}" for test in tests if not is_bats(test)]
    return found + ([f"{build}/payloadfs", f"{build}/payloadctl"] if any(map(is_bats, tests)) else [])


@functools.cache
def sources_of(path):
    """A C file of tests and what it is made of besides: the headers of tests, and the sources of the same names."""
    found = {path}
    for name in INCLUDED.findall(path.read_text()):
        header = Path(name)
        found |= sources_of(header)
        if header.with_suffix(".c").exists():
            found.add(header.with_suffix(".c"))
    return frozenset(found)


def data_of(test):
    """What tests of broken images and golden ones read."""
    if test.name == "images_test":
        return test.parent.glob("*/recipe")
    if test.name.startswith("golden"):
        source = "".join(path.read_text() for path in sources_of(test.with_suffix(".c")))
        return [path for path in test.parent.glob("golden/*") if f'"{path.stem}"' in source]
    return test.parent.glob("cases/" + test.name.removesuffix("_cases_test"))


@functools.cache
def hash_of(test):
    """Another one when the test is another one, or anything that it is made of."""
    file = Path(test.split(":")[0])
    if is_bats(test):
        beside = [path for path in file.parent.iterdir() if path.is_file() and path.suffix != ".bats"]
        paths = [file, Path("tests/common.bash"), *beside]
    else:
        paths = [*sources_of(file.with_suffix(".c")), *Path("tests/sim").glob("*.[ch]"), *data_of(file)]
    digest = hashlib.sha256(test.encode())
    for path in sorted(paths):
        digest.update(str(path).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:8]


def command(test, build):
    if not is_bats(test):
        return [f"{build}/{test}"]
    file, name = test.split(":", 1)
    pattern = re.sub(r"([][\\.*^$+?(){}|])", r"\\\1", name)
    return ["bats", "--tap", "--filter", f"^{pattern}$", file]


def environment(build, looks_for_leaks, more):
    """Cases that are alike are sampled, as under sanitizers: what a mutant breaks it breaks in many of them."""
    sample = {
        "TEST_SAMPLE": "7",
        "CRASH_IMAGES": "2",
        "CRASH_EVERY2": "120",
        "CRASH_EVERY3": "5000",
        "CRASH_HISTORIES": "3",
        "CMOCKA_TEST_ABORT": "1",  # the first test that fails has noticed enough
    }
    # Programs of a mount, which other users run, too, are not looked into.
    return {**sample, **os.environ, "LSAN_OPTIONS": f"detect_leaks={int(looks_for_leaks)}", "BUILD": build, **more}


def end(process, directory):
    """Ends what a test may have left behind: processes of its session, and mounts."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        point = line.split()[4]
        if point.startswith(directory + "/"):
            subprocess.run(["umount", "-l", point], check=False)


def run(test, build, seconds, processor=None, tree=".", output=subprocess.DEVNULL, **more):
    """Why a test has not passed within so many seconds, or None. processor: seconds on it that a program may take, which
    tells soon of a loop without end, however busy the machine is. `more` goes into its environment."""
    directory = tempfile.mkdtemp(prefix="mutate-", dir="/tmp")
    # A test of a mount sees to its own end, and to that of its mounts, and is given time for it.
    more = {"TMPDIR": directory, "TEST_LIMIT": str(int(seconds) + 1), **more}
    limit = "unlimited" if is_bats(test) or processor is None else int(processor) + 1
    with tempfile.TemporaryFile() as nothing:  # not /dev/null, of which a mutant has changed the mode for everybody
        process = subprocess.Popen(
            ["prlimit", f"--cpu={limit}", "setpriv", "--pdeathsig", "KILL", *command(test, build)],  # some would go on for ever
            cwd=tree,
            start_new_session=True,
            stdin=nothing,
            stdout=output,
            stderr=output,
            env=environment(build, not is_bats(test), more),
        )
    try:
        status = process.wait(seconds + 60 if is_bats(test) else seconds)
    except subprocess.TimeoutExpired:
        status = None
    if status != 0:
        end(process, directory)
    shutil.rmtree(directory, ignore_errors=True)
    if status in (None, -signal.SIGXCPU):
        return "hangs"
    if status == 0:
        return None
    return "fails" if status > 0 else signal.Signals(-status).name
