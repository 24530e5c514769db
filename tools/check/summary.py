"""Ends ./check: compares build/check/counts with tests/minimum_counts.txt and prints the closing table.

A suite that ran fewer tests than its committed minimum fails; so does a suite with a minimum that did not run (only in
a full check: --full), and any skip beyond what the file allows."""
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def rows(path):
    for line in path.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, *numbers = line.split()
            yield name, [int(n) for n in numbers]


def main():
    full = "--full" in sys.argv
    minimum = dict(rows(ROOT / "tests/minimum_counts.txt"))
    counts = dict(rows(ROOT / "build/check/counts"))
    problems = []
    print(f"\n{'suite':34}{'run':>7}{'skipped':>9}{'failed':>8}{'minimum':>9}")
    for name, (ran, skipped, failed) in sorted(counts.items()):
        least, may_skip = minimum.get(name, [0, 0])
        print(f"{name:34}{ran:>7}{skipped:>9}{failed:>8}{least:>9}")
        if ran + min(skipped, may_skip) < least:
            problems.append(f"{name}: ran {ran} tests, at least {least} are committed")
        if skipped > may_skip:
            problems.append(f"{name}: skipped {skipped}, {may_skip} allowed")
        if name not in minimum:
            problems.append(f"{name}: no row in tests/minimum_counts.txt")
    if full:
        problems += [f"{name}: did not run" for name in sorted(set(minimum) - set(counts))]
    for problem in problems:
        print(f"check: {problem}")
    ran = sum(c[0] for c in counts.values())
    failed = sum(c[2] for c in counts.values()) + len(problems)
    skipped = sum(c[1] for c in counts.values())
    print(f"{max(ran - failed, 0)} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
