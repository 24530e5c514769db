"""`millrace batch` against a running server of the same model: batch_test.py MILLRACE MODEL BASE_URL

The answers are those of the server; bad rows have errors of their own; a run that was killed goes on where it stopped."""
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import checks  # noqa: E402

PROGRAM, MODEL, URL = sys.argv[1:]
COMMAND = [PROGRAM, "batch", "-m", MODEL, "--served-model-name", "smollm2", "--max-num-seqs", "8", "--max-model-len", "512"]


def post(path, body):
    return checks.post(URL + path, body)


def chat(words, **fields):
    return {"model": "smollm2", "messages": [{"role": "user", "content": words}], "temperature": 0, "max_tokens": 12, **fields}


def row(custom_id, url, body):
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": body})


def run(folder, lines, *flags):
    (folder / "in.jsonl").write_text("".join(line + "\n" for line in lines))
    done = subprocess.run([*COMMAND, "-i", str(folder / "in.jsonl"), "-o", str(folder / "out.jsonl"), *flags], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]


def in_folder(check):
    with tempfile.TemporaryDirectory() as folder:
        check(pathlib.Path(folder))


def check_answers_are_those_of_the_server(folder):
    bodies = {f"chat-{i}": ("/v1/chat/completions", chat(f"Count to {i}.")) for i in range(6)}
    bodies["text"] = ("/v1/completions", {"prompt": "The river", "temperature": 0, "max_tokens": 8, "logprobs": 1})
    bodies["two"] = ("/v1/chat/completions", chat("Hello", n=2, seed=3, temperature=1))
    bodies["response"] = ("/v1/responses", {"input": "Hello", "temperature": 0, "max_output_tokens": 8})
    bodies["vector"] = ("/v1/embeddings", {"input": ["The river", "the sea"]})
    bodies["rank"] = ("/v1/rerank", {"query": "river", "documents": ["water", "stone"]})
    out = run(folder, [row(name, url, body) for name, (url, body) in bodies.items()])
    assert {line["custom_id"] for line in out} == set(bodies) and len(out) == len(bodies)
    for line in out:
        assert line["error"] is None and line["response"]["status_code"] == 200, line
        _, want = post(*bodies[line["custom_id"]])
        got = line["response"]["body"]
        for key in ("choices", "model", "object", "data", "results"):
            assert got.get(key) == want.get(key), (line["custom_id"], key, got, want)
        if "output" in want:
            assert got["output"][0]["content"] == want["output"][0]["content"]
        assert got["usage"].get("total_tokens") == want["usage"].get("total_tokens")


def check_bad_rows_have_errors_of_their_own(folder):
    bad = {"type": ("/v1/chat/completions", chat("x", temperature="hot")), "model": ("/v1/completions", {"prompt": "x", "model": "other"}),
           "long": ("/v1/completions", {"prompt": "word " * 2000}), "url": ("/v1/strange", {})}
    lines = [row(name, url, body) for name, (url, body) in bad.items()]
    lines += ["no json", row("stream", "/v1/completions", {"prompt": "x", "stream": True}), row("type", "/v1/completions", {"prompt": "x"}),
              row("good", "/v1/completions", {"prompt": "x", "max_tokens": 1})]
    out = run(folder, lines)
    assert len(out) == len(lines)
    by_id = {}
    for line in out:
        by_id.setdefault(line["custom_id"], []).append(line)
    assert by_id["good"][0]["response"]["status_code"] == 200
    for name, (url, body) in bad.items():
        line = next(line for line in by_id[name] if line["response"])
        status, want = post(url, body)
        assert line["response"]["status_code"] == status, line
        if name != "url":
            assert line["response"]["body"]["error"]["code"] == want["error"]["code"], (line, want)
    assert by_id[None][0]["error"]["code"] == "invalid_json"
    assert by_id["stream"][0]["error"]["message"].startswith("stream")
    assert any(line["error"] and "custom_id" in line["error"]["message"] for line in by_id["type"])


def check_order_is_kept_when_asked_for(folder):
    lines = [row(str(i), "/v1/completions", {"prompt": "Once", "max_tokens": 1 + 16 * (i % 3 == 0), "ignore_eos": True}) for i in range(12)]
    assert [line["custom_id"] for line in run(folder, lines, "--in-order")] == [str(i) for i in range(12)]


def check_goes_on_after_a_kill(folder):
    lines = [row(f"r{i}", "/v1/completions", {"prompt": f"Story {i}:", "max_tokens": 24, "ignore_eos": True, "temperature": 0}) for i in range(48)]
    (folder / "in.jsonl").write_text("".join(line + "\n" for line in lines))
    out = folder / "out.jsonl"
    with subprocess.Popen([*COMMAND, "-i", str(folder / "in.jsonl"), "-o", str(out)], stderr=subprocess.PIPE) as process:
        end = time.monotonic() + checks.HANG_S
        while (not out.exists() or out.read_bytes().count(b"\n") < 8) and process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    before = [json.loads(line)["custom_id"] for line in out.read_text().split("\n")[:-1]]
    assert 8 <= len(before) < len(lines), len(before)
    with out.open("a") as file:
        file.write('{"id":"torn')
    after = run(folder, lines)
    assert sorted(line["custom_id"] for line in after) == sorted(f"r{i}" for i in range(48))
    assert [line["custom_id"] for line in after[:len(before)]] == before


if __name__ == "__main__":
    sys.exit(checks.run(checks.named(globals()), call=in_folder))
