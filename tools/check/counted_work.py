"""Instructions of what requests cost, counted by callgrind: tools/check/counted_work.py PROGRAM:FILTER... [--list]

Runs tests that call count_work() (tests/support/counted_work.h). Works of one name in different sizes grow as their size does (n log n is let
through, a square is not) and stay within BASE instructions and PER_BYTE a byte, which are 50 ms and a microsecond at 3 GHz and one instruction a cycle;
works of one name and one size take equally many, to the last one."""
import collections
import pathlib
import re
import subprocess
import sys
import tempfile

SLACK = 1.6  # times the growth of the size; a square would be as much more as the size grows, which is four times or more
BASE, PER_BYTE = 150_000_000, 3_000
# of one pattern for both only one holds in valgrind 3.19
CALLGRIND = ["valgrind", "--tool=callgrind", "--toggle-collect=*counted_work(*", "--dump-after=millrace::testing::counted_work*"]


def counted(program, wanted):
    """[(name, size, instructions)] in the order of the calls."""
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run([*CALLGRIND, f"--callgrind-out-file={folder}/out", program, f"--gtest_filter={wanted}"], capture_output=True, text=True)
        calls = re.findall(r"^counted: (.*): (\d+)$", run.stdout, re.M)
        if run.returncode != 0 or not calls:
            sys.exit(f"counted_work: {program} failed under callgrind: {run.stdout[-3000:]}{run.stderr[-2000:]}")
        dumps = [pathlib.Path(f"{folder}/out.{i + 1}").read_text() for i in range(len(calls))]
    totals = [int(re.search(r"^(?:totals|summary): (\d+)", dump, re.M)[1]) for dump in dumps]
    return [(name, int(size), total) for (name, size), total in zip(calls, totals)]


def complaint(works):
    """works: [(size, instructions)] of one name."""
    works = sorted(works)
    for size, n in works:
        if n < 10:
            return f"{n} instructions: nothing was counted"
        if n > BASE + PER_BYTE * size:
            return f"{n} instructions for {size} bytes"
    small, large = works[0], works[-1]
    if small[0] == large[0]:
        return "" if small == large else f"{small[1]} to {large[1]} instructions"
    growth, wanted = large[1] / small[1], large[0] / small[0]
    return f"{wanted:.1f} times the size takes {growth:.1f} times the instructions" if growth > SLACK * wanted else ""


def main():
    by_name = collections.defaultdict(list)
    for argument in sys.argv[1:]:
        if argument == "--list":
            continue
        program, wanted = argument.split(":", 1)
        for name, size, n in counted(program, wanted):
            by_name[name].append((size, n))
    n_failed = 0
    for name, works in by_name.items():
        wrong = complaint(works)
        n_failed += bool(wrong)
        if wrong or "--list" in sys.argv:
            print(f"{'FAIL  ' if wrong else '      '}{name}: {wrong or sorted(works)}")
    print(f"{len(by_name) - n_failed} passed, {n_failed} failed")
    sys.exit(1 if n_failed else 0)


if __name__ == "__main__":
    main()
