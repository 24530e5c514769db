"""Death at every named point where a file is written: kill_points.py MILLRACE MODEL [--short]

Beside MILLRACE lies millrace_faults, the same program with its FAULT_POINTs live: told a point in MILLRACE_KILL_AT, it dies
there as by kill -9. The program as it is shipped then goes on with what was left. It must start, take nothing that is
half written for whole, give the same answers, and leave no byte behind that nobody owns. Every point in the sources has
to be in POINTS. --short: each point once; without, also at its later passes."""
import asyncio
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

import harness
from harness import MODEL, PROGRAM, SHORT, Server, ask, prompt

FAULTS = str(pathlib.Path(PROGRAM).with_name("millrace_faults"))
ROOT = pathlib.Path(__file__).resolve().parents[2]
# a write that fails there, not a death: src/runtime/disk_store_test.cc
FAILS_ONLY = {"kv_disk.rename"}
killed_at = set()

sys.path.insert(0, str(ROOT / "tests/http"))
sys.argv = [sys.argv[0], PROGRAM]
import hub_test  # noqa: E402


def at(point):
    return {**os.environ, "MILLRACE_KILL_AT": point}


def passes(point, *later):
    return [point] + ([] if SHORT else [f"{point}:{n}" for n in later])


def dies(command, point, env=None):
    done = subprocess.run([FAULTS, *command], env={**(env or os.environ), "MILLRACE_KILL_AT": point}, capture_output=True, text=True, timeout=harness.checks.HANG_S)
    assert done.returncode == -signal.SIGKILL, f"{point}: ended with {done.returncode}: {done.stderr[-500:]}"
    killed_at.add(point.split(":")[0])


def lives(command, env=None, code=0):
    done = subprocess.run([PROGRAM, *command], env=env or os.environ, capture_output=True, text=True, timeout=harness.checks.HANG_S)
    assert done.returncode == code, f"{command}: ended with {done.returncode}: {done.stderr[-500:]}"
    return done


def files_in(folder):
    return sorted(str(p.relative_to(folder)) for p in pathlib.Path(folder).rglob("*") if p.is_file())


class FaultyServer(Server):
    """A server that dies at a point; start() is over when it is ready or dead."""

    def __init__(self, point, *flags):
        super().__init__(*flags, log="build/check/kill_points.log")
        self.point = point

    def command(self):
        return [FAULTS, *super().command()[1:]]

    def start(self):
        os.environ["MILLRACE_KILL_AT"] = self.point
        try:
            super().start()
        except AssertionError:
            if self.process.poll() is None:
                raise
        finally:
            del os.environ["MILLRACE_KILL_AT"]

    def must_die(self):
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(harness.checks.HANG_S)
        ended = self.process.poll()
        if ended is None:
            self.kill()
        assert ended == -signal.SIGKILL, f"{self.point}: the server ended with {ended}"
        killed_at.add(self.point.split(":")[0])


def post(server, path, body):
    """The reply, or None when the server died over it."""
    try:
        return asyncio.run(ask(server.port, path, body))
    except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
        return None


def completion(i, **more):
    return {"prompt": prompt(i, 90), "max_tokens": 6, "temperature": 0, "ignore_eos": True, **more}


def texts(server, n=4):
    replies = [post(server, "/v1/completions", completion(i)) for i in range(n)]
    if None in replies:
        return None
    assert {reply.status for reply in replies} == {200}
    return [reply.json()["choices"][0]["text"] for reply in replies]


# --- KV blocks on disk

SPILL = ["--max-model-len", "512", "--kv-cache-memory-bytes", "12M", "--kv-disk-write", "all"]


def spill_flags(folder, size="64M"):
    return [*SPILL, "--kv-disk-path", folder, "--kv-disk-size", size]


def spilled_folder(folder, size):
    """A server that dies leaves it; the next one has to be right."""
    leftovers = [name for name in files_in(folder) if name.startswith("aside-")]
    assert not leftovers, leftovers
    total = sum((pathlib.Path(folder) / name).stat().st_size for name in files_in(folder))
    assert total <= size + 4096, f"{total} bytes in a folder of {size}"


def spill(point, known, size="64M", before=None, act=None, fill=False):
    with tempfile.TemporaryDirectory() as folder:
        if fill:
            with Server(*spill_flags(folder), log="build/check/kill_points.log") as server:
                assert texts(server) == known
            assert len(files_in(folder)) > 4
        if before:
            before(pathlib.Path(folder))
        faulty = FaultyServer(point, *spill_flags(folder, size))
        faulty.start()
        if faulty.alive():
            texts(faulty)
            if act and faulty.alive():
                act(faulty)
        faulty.must_die()
        server = Server(*spill_flags(folder, size), log="build/check/kill_points.log")
        server.start()  # how long it may take is judged by kill_restart.py
        try:
            for _ in range(2):  # what was left, and what was written anew
                assert texts(server) == known, f"{point}: other texts after the restart"
        finally:
            server.stop()
        spilled_folder(folder, int(size[:-1]) << 20)


def damage(folder):
    for path in folder.iterdir():
        if path.name != "lock":
            data = bytearray(path.read_bytes())
            data[-1] ^= 0xFF
            path.write_bytes(data)


def check_blocks_on_disk():
    with Server(*SPILL, log="build/check/kill_points.log") as server:
        known = texts(server)
    for point in ["spill.lock.before", "spill.lock.after"]:
        spill(point, known)
    for point in ["spill.save.before", "spill.open.after", "spill.rename.before", "spill.rename.after", "spill.save.after"]:
        for one in passes(point, 3, 6):
            spill(one, known)
    for one in passes("file.write.some", 4):
        spill(one, known)
    spill("spill.evict.some", known, size="2M")
    for point in ["spill.read.after", "spill.load.staged"]:
        spill(point, known, fill=True)
    spill("spill.reject.after", known, fill=True, before=damage)
    spill("spill.sweep.some", known, before=lambda folder: [(folder / f"aside-1-{i}").write_text("x") for i in range(3)])
    spill("spill.trim.some", known, size="2M", fill=True)
    spill("spill.clear.some", known, act=lambda server: post(server, "/reset_prefix_cache", {}))


# --- conversations


def talk(server):
    reply = post(server, "/completion", {"prompt": prompt(7, 90), "n_predict": 6, "temperature": 0, "id_slot": 0, "cache_prompt": True})
    return reply and reply.json()["content"]


def conversation(point, known):
    restores = point.startswith("session.read")
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--max-model-len", "512", "--slot-save-path", folder]
        if restores:
            with Server(*flags, log="build/check/kill_points.log") as server:
                talk(server)
                assert post(server, "/slots/0?action=save", {"filename": "talk"}).status == 200
        faulty = FaultyServer(point, *flags)
        faulty.start()
        assert talk(faulty) == known
        action = "restore" if restores else "save"
        assert post(faulty, f"/slots/0?action={action}", {"filename": "talk"}) is None
        faulty.must_die()
        there = "talk" in files_in(folder)
        with Server(*flags, log="build/check/kill_points.log") as server:
            restored = post(server, "/slots/0?action=restore", {"filename": "talk"})
            assert restored.status == (200 if there else 400), (point, there, restored.body)
            assert talk(server) == known
            assert post(server, "/slots/0?action=save", {"filename": "talk"}).status == 200
        assert files_in(folder) == ["talk"], files_in(folder)


def check_conversations():
    with Server("--max-model-len", "512", log="build/check/kill_points.log") as server:
        known = talk(server)
    for point in ["session.task.after", "file.open.after", "session.head.after", "session.block.after", "file.write.some", "file.sync.before",
                  "file.rename.before", "file.rename.after", "session.written.after", "session.read.after"]:
        for one in passes(point, 2) if point == "session.block.after" else [point]:
            conversation(one, known)


# --- files of programs without a server


def batch_rows(n):
    return [{"custom_id": f"r{i}", "method": "POST", "url": "/v1/completions", "body": completion(i, model="m")} for i in range(n)]


def answers(path):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({row["custom_id"] for row in rows}) == len(rows), "a row was answered twice"
    return {row["custom_id"]: row["response"]["body"]["choices"][0]["text"] for row in rows}


def check_batch_files():
    def command(folder):
        return ["batch", "-m", MODEL, "--served-model-name", "m", "--max-model-len", "512", "--max-num-seqs", "2",
                "-i", str(folder / "in"), "-o", str(folder / "out")]

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "in").write_text("".join(json.dumps(row) + "\n" for row in batch_rows(5)))
        lives(command(folder))
        known = answers(folder / "out")
        whole = (folder / "out").read_text()
        for point in ["batch.open.after", "batch.row.before", "batch.row.after", "file.write.some:2", "batch.tidy.before", "file.open.after",
                      "file.write.some", "file.sync.before", "file.rename.before", "file.rename.after"]:
            (folder / "out").unlink()
            if not point.startswith("batch.") or point == "batch.tidy.before":
                lines = whole.splitlines(keepends=True)
                (folder / "out").write_text(lines[0] + lines[1] + lines[2][:20])  # of a run that was killed
            dies(command(folder), point)
            lives(command(folder))
            assert answers(folder / "out") == known, point
            assert files_in(folder) == ["in", "out"], (point, files_in(folder))


def check_packed_images():
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "MILLRACE_HOME": home}
        command = ["run", MODEL, "--packed-image", "--override-generation-config", '{"temperature":0,"max_new_tokens":6}', "Say yes."]
        known = lives(command, {**env, "MILLRACE_HOME": home + "/other"}).stdout
        image = files_in(home + "/other/packed")
        for point in ["image.folder.after", "image.head.after", "image.pieces.after", "file.write.some:2", "file.rename.before", "file.rename.after"]:
            for path in (pathlib.Path(home) / "packed").glob("*"):
                path.unlink()
            dies(command, point, env)
            for _ in range(2):  # packs, then reads what was packed
                assert lives(command, env).stdout == known, point
            assert files_in(home + "/packed") == image, (point, files_in(home + "/packed"))


def check_recorded_events():
    with tempfile.TemporaryDirectory() as name:
        log = name + "/events"
        for point in [*passes("events.write.after", 9), "events.end.before", "events.open.after"]:
            faulty = FaultyServer(point, "--max-model-len", "512", "--record-events", log)
            faulty.start()
            if faulty.alive():
                texts(faulty)
                faulty.process.send_signal(signal.SIGTERM)
            faulty.must_die()
            # what was written replays to the same plans; a log without its head is refused by name
            done = subprocess.run([PROGRAM, "simulate", "--replay", log], capture_output=True, text=True, timeout=harness.checks.HANG_S)
            assert done.returncode == (3 if point == "events.open.after" else 0), (point, done.returncode, done.stderr)
            assert files_in(name) == ["events"]


def check_saved_logits():
    with tempfile.TemporaryDirectory() as name:
        text, out = name + "/text", name + "/logits"
        pathlib.Path(text).write_text(prompt(3, 400))
        save = ["perplexity", MODEL, "-f", text, "-c", "64", "--chunks", "2", "--save-logits", out]
        compare = ["perplexity", MODEL, "-c", "64", "--kl-divergence", out]
        for point in ["logits.head.after", *passes("logits.tokens.after", 2)]:
            dies(save, point)
            lives(compare, code=3)  # cut short, and said so
        lives(save)
        lives(compare)


# --- the model store


def check_downloads():
    hub = hub_test.Hub()
    after_pull, after_rm = hub_test.stored_after_pull_and_rm(hub)
    pulls = ["hub.folders.after", "hub.part.opened", "hub.part.some", "hub.part.synced", "hub.rename.before", "hub.rename.after",
             "file.open.after", "file.rename.before", "hub.have.after"]
    removals = ["hub.gone.after", "hub.remove.some", "hub.snapshot.after", "hub.ref.after"]
    for point in pulls + removals:
        hub.reset()
        with tempfile.TemporaryDirectory() as home:
            client = hub_test.Client(hub, home)
            env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_")) and "proxy" not in k.lower()}
            env.update(HOME=home, MILLRACE_HOME=home + "/store", HF_ENDPOINT=hub.url)
            if point in removals:
                assert client.run("pull", "owner/name")[0] == 0
            dies(["rm" if point in removals else "pull", "owner/name"], point, env)
            listed = [row["name"] for row in json.loads(client.run("list", "--json")[1])]
            assert listed == [], (point, listed)  # never half of one
            code, path, error = client.run("pull", "owner/name")
            assert code == 0 and pathlib.Path(path).read_bytes() == hub_test.WEIGHTS, (point, error)
            assert client.stored() == after_pull, (point, client.stored())
            assert client.run("rm", "owner/name")[0] == 0
            assert client.stored() == after_rm, (point, client.stored())


def check_names_in_the_store():
    hub = hub_test.Hub()
    with tempfile.TemporaryDirectory() as home:
        client = hub_test.Client(hub, home)
        assert client.run("pull", "owner/name")[0] == 0
        env = {**os.environ, "HOME": home, "MILLRACE_HOME": home + "/store"}
        dies(["cp", "owner/name", "mine"], "store.copy.before", env)
        assert len(json.loads(client.run("list", "--json")[1])) == 1
        assert client.run("cp", "owner/name", "mine")[0] == 0
        dies(["rm", "mine"], "store.remove.before", env)
        assert len(json.loads(client.run("list", "--json")[1])) == 2
        assert client.run("rm", "mine")[0] == 0
        assert len(json.loads(client.run("list", "--json")[1])) == 1


def check_no_point_is_forgotten():
    points = set()
    for path in (ROOT / "src").rglob("*.cc"):
        points |= set(re.findall(r'FAULT_POINT\("([a-z_.]+)"\)', path.read_text()))
    missing = points - killed_at - FAILS_ONLY
    assert not missing, f"nobody dies at {sorted(missing)}"
    print(f"      {len(points - FAILS_ONLY)} points")


if __name__ == "__main__":
    harness.main(globals())
