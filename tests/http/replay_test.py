"""A server's recorded run, played to a new engine, gives the same plans: replay_test.py MILLRACE MODEL

Each run asks for all that decides a plan: deadlines, priorities, tenants with weights and a quota, sessions with pins,
saved and restored conversations, a disk tier in a pool that is too small, forks, best_of, beams, windows with sinks,
constraints with proposals, prompt logprobs, aborted and abandoned streams, a reset of the cache, drain. What a run did
not reach would be checked less than this says, so that is counted and judged, too."""
import concurrent.futures
import http.client
import json
import pathlib
import random
import re
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import checks  # noqa: E402

PROGRAM, MODEL = sys.argv[1:]
SMALL_POOL = 24_000_000  # bytes: some 1,000 tokens
WORDS = ["river", "stone", "market", "winter", "light", "paper", "garden", "house", "story", "engine", "water", "morning"]
SCHEMA = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 8}, "kind": {"enum": ["a rather long word", "another long word"]}},
          "required": ["name", "kind"], "additionalProperties": False}


def words(seed, n):
    draw = random.Random(seed)
    return " ".join(draw.choice(WORDS) for _ in range(n))


class Server:
    """With a folder of its own for the log, the disk tier and saved conversations."""

    def __init__(self, folder, *flags):
        self.folder = pathlib.Path(folder)
        self.events = self.folder / "events"
        for name in ("kv", "slots"):
            (self.folder / name).mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = self.folder / "log"
        command = [PROGRAM, "serve", MODEL, "--port", str(self.port), "--served-model-name", "m", "--max-model-len", "512", "--kv-cache-memory-bytes",
                   str(SMALL_POOL), "--kv-disk-path", self.folder / "kv", "--kv-disk-write", "all", "--slot-save-path", self.folder / "slots",
                   "--gateway-api-key", "gateway", "--admin-api-key", "admin", "--tenant", "large:1", "--tenant", "small:3", "--tenant", "capped:1:10",
                   "--record-events", self.events, *flags]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out)

    def __enter__(self):
        try:
            checks.eventually(lambda: self.process.poll() is not None or self.ready(), "the server is ready")
            assert self.process.poll() is None, self.log.read_text()[-2000:]
        except BaseException:  # __exit__ is not called then
            checks.end(self.process)
            raise
        return self

    def __exit__(self, *_):
        status = checks.end(self.process)
        assert status == 0, (status, self.log.read_text()[-2000:])

    def ready(self):
        try:
            return self.get("/health/ready")[0] == 200
        except OSError:
            return False

    def get(self, path):
        return self.send("GET", path, None)

    def send(self, method, path, body, key="gateway", **headers):
        """Status and text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=checks.HANG_S)
        try:
            connection.request(method, path, None if body is None else json.dumps(body),
                               {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **headers})
            reply = connection.getresponse()
            return reply.status, reply.read().decode()
        finally:
            connection.close()

    def complete(self, tenant="large", **more):
        body = {"model": "m", "prompt": "Once upon a time", "max_tokens": 24, "temperature": 0.7, "seed": 5, **more}
        status, text = self.send("POST", "/v1/completions", body, **{"x-gateway-inference-fairness-id": tenant})
        return status, json.loads(text)

    def leave_stream(self, body, then):
        """Reads the first event of a stream, calls then() and closes the connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=checks.HANG_S)
        connection.request("POST", "/v1/completions", json.dumps({"model": "m", "stream": True, "ignore_eos": True, **body}),
                           {"Authorization": "Bearer gateway", "Content-Type": "application/json"})
        connection.getresponse().readline()
        then()
        connection.close()

    def metric(self, name, labels=""):
        found = re.search(rf"^{name}\{{[^}}]*{labels}[^}}]*\}} (\S+)", self.get("/metrics")[1], re.M)
        return float(found[1])


def mixed_asks():
    asks = []
    for i in range(28):
        asks += [{"prompt": words(i % 12, 40 + 20 * (i % 5)), "max_tokens": 8 + i % 40, "tenant": ["large", "small"][i % 7 == 0], "priority": i % 3 - 1},
                 {"prompt": words(100 + i, 60), "max_tokens": 30, "ignore_eos": True, "timeout": 60 if i % 2 else 0.001}]
    for i in range(4):
        asks += [{"prompt": words(200 + i, 30), "n": 3}, {"prompt": words(210 + i, 30), "best_of": 3},
                 {"prompt": words(220 + i, 30), "use_beam_search": True, "beam_width": 3, "n": 2, "temperature": 0, "max_tokens": 16},
                 {"prompt": words(230 + i, 150), "max_tokens": 40, "ignore_eos": True, "millrace": {"window_tokens": 64, "sink_tokens": 4}},
                 {"prompt": words(240 + i, 30), "prompt_logprobs": 1, "logprobs": 2, "echo": False},
                 {"prompt": words(250 + i, 30), "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}, "max_tokens": 80},
                 {"prompt": words(260 + i, 50), "session_id": f"talk-{i % 3}", "millrace": {"session_ttl_s": 2, "retention": i, "itl_slo_ms": 50,
                                                                                              "ttft_slo_ms": 800}},
                 {"prompt": words(270 + i, 30), "cache_salt": f"salt-{i % 2}", "cache_prompt": i % 2 == 0}]
    random.Random(1).shuffle(asks)
    return asks


def drive(server):
    """Statuses of the mixed requests, and what the errors among them were."""
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        long = {"prompt": words(300, 40), "max_tokens": 400}
        aborted = []
        left = [pool.submit(server.leave_stream, long, lambda: None),
                pool.submit(server.leave_stream, {**long, "request_id": "by-name"},
                            lambda: aborted.append(server.send("POST", "/abort_request", {"rid": "by-name"})))]
        answers = [one.result() for one in [pool.submit(server.complete, **ask) for ask in mixed_asks()]]
        for one in left:
            one.result()
    assert aborted[0][0] == 200 and json.loads(aborted[0][1])["aborted"] == 1, aborted
    quota = [server.complete(tenant="capped", prompt=words(400, 60))[0] for _ in range(2)]
    assert quota == [200, 429], quota
    return answers


def use_sessions(server):
    assert server.complete(prompt=words(260, 120), session_id="talk-0")[0] == 200
    for action, more in [("save", {"filename": "talk.bin"}), ("erase", {}), ("restore", {"filename": "talk.bin"})]:
        status, text = server.send("POST", f"/slots/talk-0?action={action}", more, key="admin")
        assert status == 200, (action, text)
    assert json.loads(text)["n_restored"] > 0, text


def replayed(server):
    done = subprocess.run([PROGRAM, "simulate", "--replay", server.events, "--json"], capture_output=True, text=True, timeout=10 * checks.HANG_S)
    report = json.loads(done.stdout)
    assert done.returncode == 0 and report["identical"] and report["complete"], report
    return report


def served_otherwise(server):
    """The run as a load of the simulator, under another policy: how many answers came to their end."""
    done = subprocess.run([PROGRAM, "simulate", "--trace", server.events, "--policy", "fcfs", "--block-size", "32", "--json"], capture_output=True, text=True,
                          timeout=10 * checks.HANG_S)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["finished"]


def play(*flags):
    """A run with these flags: the numbers of what it reached."""
    with tempfile.TemporaryDirectory() as folder:
        with Server(folder, *flags) as server:
            answers = drive(server)
            use_sessions(server)
            again = [server.complete(prompt=words(i, 40 + 20 * (i % 5)) + " and", max_tokens=4) for i in range(12)]  # from disk, some of them
            assert server.send("POST", "/reset_prefix_cache", None, key="admin")[0] == 200
            assert server.complete(prompt=words(1, 60))[0] == 200
            reached = {"late": sum("deadline" in str(body) for status, body in answers if status >= 500),
                       "disk_loads": server.metric("millrace:kv_disk_loads_total"), "proposed": server.metric("millrace:grammar_draft_tokens_total"),
                       "preempted": server.metric("vllm:num_preemptions_total"), "swapped": server.metric("millrace:kv_swapped_out_blocks_total"),
                       "aborted": server.metric("vllm:request_success_total", 'finished_reason="abort"')}
            strange = [one for one in answers + again if one[0] not in (200, 504) and not re.search("deadline|low priority", str(one))]
            assert not strange, strange[:3]
        reached["plans"] = replayed(server)["plans"]
        assert served_otherwise(server) > 60
        print(f"{' '.join(flags) or 'defaults'}: {reached}")
        return reached


def check_the_defaults_replay():
    reached = play()
    assert reached["late"] > 0 and reached["disk_loads"] > 0 and reached["proposed"] > 0 and reached["aborted"] > 0, reached


def check_preempted_and_swapped_runs_replay():
    reached = play("--scheduling-policy", "edf", "--admission-policy", "max-util", "--budget-policy", "exclusive", "--itl-target-ms", "40",
                   "--ttft-target-ms", "900")
    assert reached["late"] > 0 and reached["disk_loads"] > 0 and reached["preempted"] > 0, reached


def check_two_steps_in_flight_replay():
    reached = play("--async-scheduling", "--admission-policy", "max-util", "--scheduling-policy", "vtc")
    assert reached["late"] > 0 and reached["preempted"] > 0 and reached["swapped"] > 0, reached


sys.exit(checks.run(checks.named(globals())))
