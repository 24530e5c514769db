"""The instruction budget of planning a step: tools/check/plan_instructions.py MILLRACE

256 decoding sequences, a prompt of 2,048 tokens in progress, the default policies (`bench plan`), counted by callgrind
inside Scheduler::plan: nearly the same on every machine. 300,000 instructions are 50 us at 3 GHz and two instructions a
cycle (measured: 250,000 in 16 us, more than four a cycle); a queue of 512 requests that is ranked in every plan may cost
nearly as much again."""
import re
import subprocess
import sys
import tempfile

BUDGET = {0: 300_000, 512: 550_000}
FEW, MANY = 40, 140


def collected(millrace, queue, steps):
    """Instructions inside plan() over the warm-up and `steps` plans of each of the two columns: no queue, and `queue`."""
    with tempfile.TemporaryDirectory() as folder:
        out = subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", "--toggle-collect=*Scheduler::plan(*",
                              millrace, "bench", "plan", "--order", "dlpm", "--queue", str(queue), "--steps", str(steps)],
                             capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", out.stderr)
    if out.returncode != 0 or not found:
        sys.exit(f"plan_instructions: callgrind failed: {out.stderr[-2000:]}")
    return int(found[1])


def main():
    millrace = sys.argv[1]
    failed = 0
    calm = 0
    for queue, budget in BUDGET.items():
        both = (collected(millrace, queue, MANY) - collected(millrace, queue, FEW)) // (MANY - FEW)
        calm = calm or both // 2
        one = both - calm
        good = 1000 < one <= budget
        failed += not good
        print(f"plan() with a queue of {queue}: {one} instructions, budget {budget}: {'ok' if good else 'FAILED'}")
    print(f"{len(BUDGET) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
