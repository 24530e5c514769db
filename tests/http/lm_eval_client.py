"""The unmodified `lm-eval` package against a running server: lm_eval_client.py BASE_URL.

Log-likelihoods by echo and logprobs, generation, both with the server's own tokenizer, and a whole task through the
command's function. Each check_* function is one case; the last line is "N passed, N failed"."""
import json
import math
import os
import pathlib
import sys
import tempfile
import urllib.request

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", OPENAI_API_KEY="none")
import lm_eval  # noqa: E402
from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.api.registry import get_model  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import checks  # noqa: E402

BASE = sys.argv[1].rstrip("/")
NAME = json.load(urllib.request.urlopen(BASE + "/v1/models", timeout=10))["data"][0]["id"]
QUESTIONS = [("The capital of France is", [" Paris", " London", " Rome"], 0), ("The opposite of hot is", [" cold", " blue", " seven"], 0),
             ("Two plus two is", [" green", " four", " Monday"], 1)]


def post(path, **body):
    request = urllib.request.Request(BASE + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=60))


def model(kind="local-completions", path="/v1/completions", **more):
    return get_model(kind)(model=NAME, base_url=BASE + path, max_retries=1, **more)


def requests(kind, rows):
    return [Instance(request_type=kind, doc={}, arguments=row, idx=i) for i, row in enumerate(rows)]


def check_remote_tokenizer():
    lm = model()
    assert lm.tokenizer_backend == "remote"  # found by itself: /tokenizer_info and /tokenize
    ids = lm.tok_encode("The quick brown fox")
    ids = ids[0] if isinstance(ids[0], list) else ids
    assert ids == post("/tokenize", prompt="The quick brown fox", add_special_tokens=False)["tokens"]
    assert lm.tokenizer.decode(ids) == "The quick brown fox" and lm.eot_token_id is not None


def scored(context, choice):
    """Mean-free log-likelihood of a choice, by another way: one step at a time, from the logprobs of generated tokens."""
    ids = post("/tokenize", prompt=context + choice, add_special_tokens=False)["tokens"]
    n = len(post("/tokenize", prompt=context, add_special_tokens=False)["tokens"])
    total, greedy = 0.0, True
    for at in range(n, len(ids)):
        reply = post("/v1/completions", prompt=ids[:at], max_tokens=1, temperature=0, logprobs=1, allowed_token_ids=[ids[at]])
        free = post("/v1/completions", prompt=ids[:at], max_tokens=1, temperature=0, return_token_ids=True)
        assert reply["choices"][0]["logprobs"]
        row = post("/v1/completions", prompt=ids[:at + 1], max_tokens=0, prompt_logprobs=0)["choices"][0]["prompt_logprobs"][at]
        total += row[str(ids[at])]["logprob"]
        greedy = greedy and free["choices"][0]["token_ids"][0] == ids[at]
    return total, greedy


def check_loglikelihood():
    rows = [(context, choice) for context, choices, _ in QUESTIONS for choice in choices]
    got = model(num_concurrent=3).loglikelihood(requests("loglikelihood", rows), disable_tqdm=True)
    for (context, choice), (value, greedy) in zip(rows, got):
        want, want_greedy = scored(context, choice)
        assert abs(value - want) < 1e-3 and greedy == want_greedy, (context, choice, value, want, greedy)


def check_loglikelihood_in_batches():
    rows = [(context, choice) for context, choices, _ in QUESTIONS for choice in choices]
    one = model().loglikelihood(requests("loglikelihood", rows), disable_tqdm=True)
    many = model(batch_size=4).loglikelihood(requests("loglikelihood", rows), disable_tqdm=True)
    assert one == many, (one, many)


def check_loglikelihood_rolling():
    text = "The quick brown fox jumps over the lazy dog and runs away."
    [value] = model().loglikelihood_rolling(requests("loglikelihood_rolling", [(text,)]), disable_tqdm=True)
    value = value[0] if isinstance(value, tuple) else value
    assert math.isfinite(value) and -200 < value < -5, value


def check_generate_until():
    rows = [("The capital of France is", {"until": ["."], "max_gen_toks": 8}), ("Count: 1, 2, 3,", {"until": ["\n"], "max_gen_toks": 6})]
    made = model().generate_until(requests("generate_until", rows), disable_tqdm=True)
    for (prompt, how), text in zip(rows, made):
        want = post("/v1/completions", prompt=prompt, max_tokens=how["max_gen_toks"], temperature=0, stop=how["until"])["choices"][0]["text"]
        assert text == want, (text, want)


def check_chat_generate_until():
    lm = model("local-chat-completions", "/v1/chat/completions")
    prompt = lm.apply_chat_template([{"role": "user", "content": "Name a colour."}])
    [text] = lm.generate_until(requests("generate_until", [(prompt, {"until": ["\n\n"], "max_gen_toks": 8})]), disable_tqdm=True)
    assert text


def check_whole_task():
    with tempfile.TemporaryDirectory() as folder:
        rows = [{"q": question, "choices": choices, "gold": gold} for question, choices, gold in QUESTIONS]
        (pathlib.Path(folder) / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
        task = {"task": "capitals", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": folder + "/rows.jsonl"}}, "test_split": "test",
                "output_type": "multiple_choice", "doc_to_text": "{{q}}", "doc_to_choice": "{{choices}}", "doc_to_target": "{{gold}}",
                "target_delimiter": "", "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}], "metadata": {"version": 1}}
        made = lm_eval.simple_evaluate(model="local-completions", model_args={"model": NAME, "base_url": BASE + "/v1/completions"}, tasks=[task])
    assert made["results"]["capitals"]["acc,none"] >= 2 / 3, made["results"]


if __name__ == "__main__":
    sys.exit(checks.run(checks.named(globals())))
