"""The instruction budget of planning a step: tools/check/plan_instructions.py MILLRACE

256 decoding sequences and the default policies (`bench plan`), counted by callgrind inside Scheduler::plan: nearly the
same on every machine. 300,000 instructions are 50 us at 3 GHz and two instructions a cycle (measured: 250,000 in 16 us,
more than four a cycle). Three plans: beside a prompt of 2,048 tokens in progress; the same with a queue of 512 requests
that is ranked in every plan, which may cost nearly as much again; and with a prompt of 2,048 tokens that starts and is
computed whole."""
import re
import subprocess
import sys
import tempfile

BUDGETS = {"a prompt in progress": 300_000, "a queue of 512": 550_000, "a chunk of 2,048": 450_000}
FEW, MANY = 40, 140


def collected(millrace, queue, chunk, steps):
    """Instructions inside plan() over the warm-up and `steps` plans of each column: no queue, `queue` and, if any, `chunk`."""
    with tempfile.TemporaryDirectory() as folder:
        out = subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", "--toggle-collect=*Scheduler::plan(*",
                              millrace, "bench", "plan", "--order", "dlpm", "--queue", str(queue), "--chunk", str(chunk), "--steps", str(steps)],
                             capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", out.stderr)
    if out.returncode != 0 or not found:
        sys.exit(f"plan_instructions: callgrind failed: {out.stderr[-2000:]}")
    return int(found[1])


def per_plan(millrace, queue, chunk):
    """Of the columns together; what is done once cancels out."""
    return (collected(millrace, queue, chunk, MANY) - collected(millrace, queue, chunk, FEW)) // (MANY - FEW)


def main():
    millrace = sys.argv[1]
    calm = per_plan(millrace, 0, 0) // 2
    counts = [calm, per_plan(millrace, 512, 0) - calm, per_plan(millrace, 0, 2048) - 2 * calm]
    failed = 0
    for (what, budget), one in zip(BUDGETS.items(), counts):
        good = 1000 < one <= budget
        failed += not good
        print(f"plan() with {what}: {one} instructions, budget {budget}: {'ok' if good else 'FAILED'}")
    print(f"{len(BUDGETS) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
