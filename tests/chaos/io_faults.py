"""A disk that fails under a server and under the other programs that write: io_faults.py MILLRACE MODEL [--short]

Beside MILLRACE lies millrace_faults: told a fault in MILLRACE_IO_FAULT (tests/support/io_faults.h), the k-th of its file
system calls below one folder fails, or all from the k-th on. Texts must stay what they are, nothing half written is taken
for whole, programs say what failed and with which exit code, and when the disk is well again all is as it was. The code
behind each single call: tests/faults. --short: a sample of the calls."""
import os
import pathlib
import re
import subprocess
import tempfile

import harness
import kill_points
from harness import MODEL, PROGRAM, SHORT, Server
from kill_points import FAULTS, answers, batch_rows, files_in, hub_test, lives, post, spill_flags, talk, texts

LOG = "build/check/io_faults.log"
NEVER = 10**9


def armed(fault, folder, count=None):
    return {"MILLRACE_IO_FAULT": f"{fault} {folder}", **({"MILLRACE_IO_COUNT": str(count)} if count else {})}


def sample(n_calls, most):
    most = most if SHORT else 3 * most
    return sorted({1 + i * (n_calls - 1) // max(1, most - 1) for i in range(min(n_calls, most))})


class FaultyServer(Server):
    def __init__(self, environment, *flags):
        super().__init__(*flags, log=LOG)
        self.environment = environment
        self.log.unlink(missing_ok=True)

    def command(self):
        return ["env", *(f"{name}={value}" for name, value in self.environment.items()), FAULTS, *super().command()[1:]]


def metric(server, name):
    import urllib.request
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=harness.checks.HANG_S) as reply:
        found = re.search(rf"^{name}\{{?[^}}]*\}}? ([0-9.e+]+)$", reply.read().decode(), re.M)
    return float(found.group(1))


def check_blocks_on_disk():
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as aside:
        count = pathlib.Path(aside) / "count"
        with Server(*kill_points.SPILL, log=LOG) as server:
            known = texts(server)
        with FaultyServer(armed(f"EIO {NEVER}", folder, count), *spill_flags(folder)) as server:
            assert texts(server) == known
        n_calls = int(count.read_text())
        whole = files_in(folder)
        assert len(whole) > 4
        # the lock's calls are the first: a server that cannot have it refuses to start
        runs = [(kind, k) for kind, good in [("EIO", ""), ("EIO", "+"), ("full", "+"), ("read-only", "+"), ("torn", "+"), ("flip", "+"), ("gone", "+"), ("short", "+")]
                for k in (f"{one}{good}" for one in sample(n_calls, 2)[1:])]
        for kind, k in runs:
            with FaultyServer(armed(f"{kind} {k}", folder), *spill_flags(folder)) as server:
                for _ in range(2):
                    assert texts(server) == known, (kind, k)
                assert post(server, "/reset_prefix_cache", {}).status == 200
                assert texts(server) == known, (kind, k)
        with Server(*spill_flags(folder), log=LOG) as server:
            assert texts(server) == known
        kill_points.spilled_folder(folder, 64 << 20)


def check_damage_is_counted():
    with tempfile.TemporaryDirectory() as folder:
        with Server(*spill_flags(folder), log=LOG) as server:
            known = texts(server)
        with FaultyServer(armed("flip 1+", folder), *spill_flags(folder)) as server:
            assert texts(server) == known
            assert metric(server, "millrace:spill_corrupt_total") >= 1
        assert "is not used" in pathlib.Path(LOG).read_text()


def check_conversations():
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--max-model-len", "512", "--slot-save-path", folder]
        for kind, k in [("full", "1+"), ("read-only", "1+"), ("full", "2"), ("cut", "1"), ("cut", "3")]:
            with FaultyServer(armed(f"{kind} {k}", folder), *flags) as server:
                known = talk(server)
                saved = post(server, "/slots/0?action=save", {"filename": "talk"})
                assert saved.status >= 400 and "talk" in saved.body.decode() and folder not in saved.body.decode(), (kind, k, saved.body)
                assert files_in(folder) == [] or kind == "read-only", (kind, k, files_in(folder))
                assert talk(server) == known
        with Server(*flags, log=LOG) as server:
            talk(server)
            assert post(server, "/slots/0?action=save", {"filename": "talk"}).status == 200
        for kind, status in [("EIO 2+", 500), ("flip 1+", 400)]:
            with FaultyServer(armed(kind, folder), *flags) as server:
                refused = post(server, "/slots/0?action=restore", {"filename": "talk"})
                assert refused.status == status and "talk" in refused.body.decode(), (kind, refused.status, refused.body)
                assert talk(server) == known


def check_recorded_events():
    with tempfile.TemporaryDirectory() as folder:
        log = folder + "/events"
        with Server("--max-model-len", "512", log=LOG) as server:
            known = texts(server)
        for kind in ["full 6+", "EIO 9", "cut 12"]:
            with FaultyServer(armed(kind, folder), "--max-model-len", "512", "--record-events", log) as server:
                assert texts(server) == known
            assert "the event log ends" in pathlib.Path(LOG).read_text(), kind
            lives(["simulate", "--replay", log])


def ends(command, environment):
    done = subprocess.run([FAULTS, *command], env={**os.environ, **environment}, capture_output=True, text=True, timeout=harness.checks.HANG_S)
    assert done.returncode in (0, 1, 2, 3, 4), (command, environment, done.returncode, done.stderr[-500:])
    assert done.returncode == 0 or "error" in done.stderr, done.stderr[-500:]
    return done


def check_batch_files():
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as aside:
        folder, count = pathlib.Path(name), pathlib.Path(aside) / "count"
        command = ["batch", "-m", MODEL, "--served-model-name", "m", "--max-model-len", "512", "--max-num-seqs", "2",
                   "-i", str(folder / "in"), "-o", str(folder / "out")]
        (folder / "in").write_text("".join(harness.json.dumps(row) + "\n" for row in batch_rows(5)))
        ends(command, armed(f"EIO {NEVER}", folder, count))
        known = answers(folder / "out")
        for kind in ["EIO", "full", "cut", "short", "EINTR"]:
            for k in sample(int(count.read_text()), 3):
                (folder / "out").unlink(missing_ok=True)
                done = ends(command, armed(f"{kind} {k}", folder))
                if done.returncode == 0:
                    assert answers(folder / "out") == known, (kind, k)
                lives(command)
                assert answers(folder / "out") == known, (kind, k)
                assert files_in(folder) == ["in", "out"], (kind, k, files_in(folder))


def check_downloads():
    hub = hub_test.Hub()
    after_pull, _ = hub_test.stored_after_pull_and_rm(hub)
    for kind in ["EIO", "full", "cut", "short", "EINTR"]:
        for k in sample(40, 6):
            hub.reset()
            with tempfile.TemporaryDirectory() as home:
                client = hub_test.Client(hub, home)
                env = {k: "" for k in os.environ if k.startswith(("HF_", "TRANSFORMERS_")) or "proxy" in k.lower()}
                env.update(HOME=home, MILLRACE_HOME=home + "/store", HF_ENDPOINT=hub.url, **armed(f"{kind} {k}", home))
                done = ends(["pull", "owner/name"], env)
                code, path, error = client.run("pull", "owner/name")
                assert code == 0 and pathlib.Path(path).read_bytes() == hub_test.WEIGHTS, (kind, k, error)
                assert client.stored() == after_pull, (kind, k, done.returncode, client.stored())


if __name__ == "__main__":
    harness.main(globals())
