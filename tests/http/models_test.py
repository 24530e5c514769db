"""Several real models in one server: models_test.py MILLRACE MODELS_FOLDER [ENCODER]

The folder holds SmolLM2 and Gemma 3; a link to the first under another name is the third model. ENCODER: a BERT folder,
which then embeds beside them. Requests choose, loads and unloads disturb no stream, the budget holds, Ollama's way
without a model on the command line."""
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import checks  # noqa: E402

PROGRAM = sys.argv[1]
ENCODERS = sys.argv[3:]
SMOL, GEMMA, THIRD = "SmolLM2-135M-Instruct.Q4_1", "gemma-3-270m-q4_k_m", "third"
links = tempfile.TemporaryDirectory()
FOLDER = links.name
for name, file in {SMOL: SMOL, GEMMA: GEMMA, THIRD: SMOL}.items():
    os.symlink(pathlib.Path(sys.argv[2]).resolve() / f"{file}.gguf", f"{FOLDER}/{name}.gguf")
PROMPT = "The history of the steam engine begins"


class Server:
    def __init__(self, *flags, environment=None):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen([PROGRAM, "serve", *flags, "--port", str(port), "--max-model-len", "512"], stderr=subprocess.DEVNULL,
                                        env={**os.environ, **(environment or {})})
        checks.eventually(lambda: self.process.poll() is not None or self.get("/health")[0] == 200, "the server is ready")
        assert self.process.poll() is None, "the server has ended"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        assert self.process.wait(checks.HANG_S) == 0

    def get(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=10 * checks.HANG_S) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (urllib.error.URLError, ConnectionError):
            return 0, ""

    def json(self, path, body=None):
        status, text = self.get(path, body)
        assert status == 200, (status, text)
        return json.loads(text)

    def text(self, model, n=48, **more):
        return self.json("/v1/completions", {"model": model, "prompt": PROMPT, "max_tokens": n, "seed": 7, **more})["choices"][0]["text"]

    def states(self):
        return {card["id"]: card["status"]["value"] for card in self.json("/v1/models")["data"]}

    def stream(self, model, n, on_event=lambda count: None):
        body = {"model": model, "prompt": PROMPT, "max_tokens": n, "seed": 7, "ignore_eos": True, "stream": True}
        request = urllib.request.Request(self.url + "/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
        out, count = "", 0
        with urllib.request.urlopen(request, timeout=10 * checks.HANG_S) as reply:
            for line in reply:
                if line.startswith(b"data: {"):
                    event = json.loads(line[6:])
                    assert "error" not in event, event
                    out += "".join(choice["text"] for choice in event["choices"])
                    count += 1
                    on_event(count)
        return out


def check_requests_choose_their_model():
    with Server("--models-dir", FOLDER) as server:
        assert server.states() == {SMOL: "unloaded", GEMMA: "unloaded", THIRD: "unloaded"}
        first, second = server.text(SMOL), server.text(GEMMA)
        assert first and second and first != second
        assert server.text(SMOL) == first and server.text(GEMMA) == second
        assert server.text(THIRD) == first
        assert set(server.states().values()) == {"loaded"}
        assert server.get("/v1/completions", {"model": "nobody", "prompt": "x"})[0] == 404
        metrics = server.get("/metrics")[1]
        assert {SMOL, GEMMA, THIRD} <= set(re.findall(r'vllm:generation_tokens_total{engine="0",model_name="([^"]*)"}', metrics))
    with Server(f"{FOLDER}/{SMOL}.gguf") as alone:  # the same bits as without neighbours
        assert alone.text(SMOL) == first


def check_an_encoder_embeds_beside_a_decoder():
    for encoder in ENCODERS:
        with Server(f"{FOLDER}/{SMOL}.gguf", encoder) as server:
            text = server.text(SMOL)
            vector = server.json("/v1/embeddings", {"model": pathlib.Path(encoder).name, "input": "a steam engine"})["data"][0]["embedding"]
            assert len(vector) == 384 and server.text(SMOL) == text


def check_those_of_the_command_line_are_loaded_whoever_loads_the_others():
    with Server(f"{FOLDER}/{SMOL}.gguf", f"{FOLDER}/{THIRD}.gguf", "--no-models-autoload") as server:
        assert server.states() == {SMOL: "loaded", THIRD: "loaded"}
        assert server.text(SMOL, 4)
        server.json("/models/unload", {"model": SMOL})
        checks.eventually(lambda: server.states()[SMOL] == "unloaded", "unloaded")
        assert server.get("/v1/completions", {"model": SMOL, "prompt": "x"})[0] == 400


def check_loads_and_unloads_disturb_no_stream():
    with Server(f"{FOLDER}/{SMOL}.gguf", f"{FOLDER}/{GEMMA}.gguf") as server:
        assert server.states() == {SMOL: "loaded", GEMMA: "loaded"}
        want = server.stream(SMOL, 200)
        actions = {5: "unload", 60: "load", 61: "generate", 120: "unload", 121: "generate"}
        threads = []

        def act(count):
            action = actions.get(count)
            if action == "generate":
                threads.append(threading.Thread(target=server.text, args=(GEMMA,)))
                threads[-1].start()
            elif action is not None:
                server.get(f"/models/{action}", {"model": GEMMA})
                checks.eventually(lambda: server.states()[GEMMA] in ("loaded", "unloaded"), action)

        assert server.stream(SMOL, 200, act) == want
        for thread in threads:
            thread.join()


def check_an_unload_waits_for_its_stream():
    with Server("--models-dir", FOLDER) as server:
        want = server.stream(SMOL, 150)
        got = server.stream(SMOL, 150, lambda count: count == 10 and server.json("/models/unload", {"model": SMOL}))
        assert got == want
        checks.eventually(lambda: server.states()[SMOL] == "unloaded", "unloaded behind the stream")


def check_the_longest_unused_goes():
    with Server("--models-dir", FOLDER, "--models-max", "2") as server:
        server.text(SMOL, 4), server.text(GEMMA, 4), server.text(SMOL, 4)
        server.text(THIRD, 4)
        assert server.states() == {SMOL: "loaded", GEMMA: "unloaded", THIRD: "loaded"}


def check_the_budget_is_said_and_kept():
    with Server("--models-dir", FOLDER, "--memory-limit", "300M", "--models-max", "1") as server:
        server.text(SMOL, 4)
        status, text = server.get("/v1/completions", {"model": GEMMA, "prompt": "x", "max_tokens": 4})
        assert status == 503 and "GiB" in text, (status, text)
        assert server.text(SMOL, 4)


def check_ollama_without_a_model():
    with tempfile.TemporaryDirectory() as home:
        os.makedirs(f"{home}/models")
        for name in (SMOL, GEMMA):
            os.symlink(pathlib.Path(FOLDER).resolve() / f"{name}.gguf", f"{home}/models/{name}.gguf")
        with Server("--compat", "ollama", environment={"MILLRACE_HOME": home}) as server:
            assert {one["name"] for one in server.json("/api/tags")["models"]} == {SMOL, GEMMA}
            assert server.json("/api/ps")["models"] == []
            body = {"model": SMOL + ":latest", "messages": [{"role": "user", "content": "Say hi."}], "stream": False, "options": {"num_predict": 8}}
            assert server.json("/api/chat", body)["message"]["content"]
            running = server.json("/api/ps")["models"]
            assert [one["name"] for one in running] == [SMOL] and running[0]["size"] > 0 and not running[0]["expires_at"].startswith("9999")
            assert server.json("/api/generate", {"model": SMOL, "keep_alive": 0})["done_reason"] == "unload"
            checks.eventually(lambda: server.json("/api/ps")["models"] == [], "unloaded")
            assert "completion" in server.json("/api/show", {"model": GEMMA})["capabilities"]


if __name__ == "__main__":
    wanted = [check for check in checks.named(globals()) if ENCODERS or check is not check_an_encoder_embeds_beside_a_decoder]
    sys.exit(checks.run(wanted))
