"""What hostile requests cost in memory: request_cost.py MILLRACE MODEL

Every case of the hostile corpora, one at a time, against a server that has touched what it planned for at its start. The kernel says how far the
process grew while it was answered: at most 10 times what was sent and 16 MiB, and 64 MiB more where a constraint may be compiled. What they took of
the processor is printed and never judged: that it grows with the size alone is counted by tools/check/counted_work.py."""
import json
import os
import pathlib
import re
import sys
import urllib.parse

PROGRAM, MODEL = sys.argv[1:]
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "chaos"))
import checks  # noqa: E402
import harness  # noqa: E402
import hostile_requests  # noqa: E402
from hostile_framing import CLOSED  # noqa: E402

MIB = 1 << 20
COMPILES = re.compile(rb"structured_outputs|response_format|guided_|grammar|json_schema|regex|ebnf|structural_tag|\"tools\"|\"format\"")
FLAGS = ["--max-model-len", "512", "--kv-cache-memory-bytes", "64M", "--max-num-seqs", "64", "--limit-body-idle-s", "2", "--limit-header-s", "2"]


class Process:
    def __init__(self, pid):
        self.folder = pathlib.Path(f"/proc/{pid}")

    def status(self, name):
        return int(re.search(rf"^{name}:\s+(\d+) kB", (self.folder / "status").read_text(), re.M)[1]) * 1024

    def forget_peak(self):
        (self.folder / "clear_refs").write_text("5")

    def cpu_seconds(self):
        fields = (self.folder / "stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def touch_what_is_planned(url):
    """The KV pool, rows of activations, the table of constraints, room of the text workers."""
    text = "river stone market winter light paper garden house " * 35
    for body in ({"prompt": text, "n": 64, "max_tokens": 60, "ignore_eos": True, "temperature": 1}, {"prompt": [text + str(i) for i in range(64)], "max_tokens": 4},
                 *({"prompt": f"{i} {text}", "max_tokens": 100, "ignore_eos": True} for i in range(8)),
                 *({"prompt": "x", "max_tokens": 8, "structured_outputs": {"json": {"type": "object", "properties": {f"p{i}": {"type": "string"}}}}} for i in range(4))):
        status, reply = checks.post(f"{url}/v1/completions", body)
        assert status == 200, reply
    for _ in range(4):
        assert checks.post(f"{url}/tokenize", {"prompt": text * 100})[0] == 200


def cost(process, case):
    """(bytes it grew by, core seconds)."""
    process.forget_peak()
    before, began = process.status("VmRSS"), process.cpu_seconds()
    wanted = case.wanted if isinstance(case.wanted, list) else [case.wanted]
    hostile_requests.exchange(case, sum(one != CLOSED for one in wanted), hostile_requests.QUIET_S)
    return process.status("VmHWM") - before, process.cpu_seconds() - began


def check_memory_follows_what_was_sent():
    with harness.Server(*FLAGS) as server:
        url = f"http://127.0.0.1:{server.port}"
        hostile_requests.URL = urllib.parse.urlsplit(url)
        touch_what_is_planned(url)
        process = Process(server.process.pid)
        most, slowest, wrong = [], [], []
        for case in hostile_requests.CASES:
            grown, seconds = cost(process, case)
            allowed = 10 * len(case.sent) + 16 * MIB + (64 * MIB if COMPILES.search(case.sent) else 0)
            most.append((grown / MIB, case.name, len(case.sent)))
            slowest.append((round(seconds, 2), case.name, len(case.sent)))
            if grown > allowed:
                wrong.append(f"{case.name}: {grown / MIB:.1f} MiB for {len(case.sent)} bytes")
        assert server.alive()
        for grown, name, size in sorted(most, reverse=True)[:5]:
            print(f"      {grown:6.1f} MiB for {size / 1000:.0f} kB: {name}")
        print(f"      most of the processor: {json.dumps(sorted(slowest, reverse=True)[:5])}")
        assert not wrong, wrong
        assert len(most) == len(hostile_requests.CASES) > 600


if __name__ == "__main__":
    sys.exit(checks.run([check_memory_follows_what_was_sent]))
