"""Beside llama.cpp's own conftest: no model is downloaded, cases of the list of left-out ones are not run, and the last
line says collected / applicable / passed. The suite itself is not changed."""
import collections
import fnmatch
import os
import pathlib
import sys

counts = collections.Counter()
failed = []


def left_out():
    rows = []
    for line in pathlib.Path(os.environ["LLAMA_SUITE_LEFT_OUT"]).read_text().splitlines():
        pattern, bar, reason = line.partition(" | ")
        if bar and not line.startswith("#"):
            rows.append((pattern.strip(), reason.strip()))
    return rows


def pytest_collection_modifyitems(config, items):
    sys.modules["utils"].ServerPreset.load_all = staticmethod(lambda: None)
    rows = left_out()
    used = set()
    kept, dropped = [], []
    for item in items:
        name = item.nodeid.removeprefix("unit/")
        row = next((pattern for pattern, _ in rows if fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))), None)
        used.add(row)
        (kept if row is None else dropped).append(item)
    counts["collected"] = len(items)
    counts["applicable"] = len(kept)
    items[:] = kept
    config.hook.pytest_deselected(items=dropped)
    if os.environ.get("LLAMA_SUITE_STRICT") == "1":
        for pattern, _ in rows:
            if pattern not in used:
                print(f"left out, but there is no such case: {pattern}")
                counts["stale"] += 1


def pytest_runtest_logreport(report):
    if report.when == "call" and report.passed:
        counts["passed"] += 1
    if report.failed:
        failed.append(report.nodeid)
    if report.skipped and report.when in ("setup", "call"):
        counts["skipped"] += 1


def pytest_terminal_summary(terminalreporter):
    for name in sorted(set(failed)):
        terminalreporter.write_line(f"llama.cpp suite: failed {name}")
    applicable = counts["applicable"] - counts["skipped"]
    terminalreporter.write_line(
        f"llama.cpp suite: collected {counts['collected']}, applicable {applicable}, passed {counts['passed']}")
