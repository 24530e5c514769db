"""all-MiniLM-L6-v2 behind a running server: embedding_client.py BASE_URL. Vectors against those of transformers
(tools/golden/minilm.py), scores and ranks of texts, and what an encoder refuses.

Each check_* function is one case; the last line is "N passed, N failed" and the exit status says the same."""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[1] / "support"))
import checks  # noqa: E402

BASE = sys.argv[1].rstrip("/")
GOLDEN = json.loads((HERE.parents[1] / "golden/data/minilm.json").read_text())
QUERY = "Machine learning is"
DOCUMENTS = ["A machine is a physical system that uses power to apply forces.",
             "Learning is the process of acquiring new understanding.",
             "Machine learning is a field of study in artificial intelligence.",
             "Paris, capitale de la France, est une grande ville."]


def post(path, body):
    return checks.post(BASE + path, body)


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


def check_vectors_are_those_of_transformers():
    status, reply = post("/v1/embeddings", {"input": [row["text"] for row in GOLDEN], "truncate_prompt_tokens": 256})
    assert status == 200, reply
    for row, item in zip(GOLDEN, reply["data"]):
        cosine = dot(row["vector"], item["embedding"])
        assert cosine > 0.9995, (row["text"][:40], cosine)
    assert reply["usage"]["prompt_tokens"] == sum(row["n_tokens"] for row in GOLDEN), reply["usage"]


def check_alone_and_in_a_batch_are_equal():
    texts = [row["text"] for row in GOLDEN[:4]]
    together = [item["embedding"] for item in post("/v1/embeddings", {"input": texts})[1]["data"]]
    for text, vector in zip(texts, together):
        assert post("/v1/embeddings", {"input": text})[1]["data"][0]["embedding"] == vector, text


def check_too_long_is_refused():
    status, reply = post("/v1/embeddings", {"input": GOLDEN[-1]["text"]})
    assert status == 400 and reply["error"]["code"] == "context_length_exceeded", reply
    assert "256" in reply["error"]["message"], reply


def check_scores_and_ranks():
    status, reply = post("/score", {"text_1": GOLDEN[0]["text"], "text_2": [GOLDEN[1]["text"], GOLDEN[2]["text"]]})
    near, far = [item["score"] for item in reply["data"]]
    assert abs(near - dot(GOLDEN[0]["vector"], GOLDEN[1]["vector"])) < 2e-3 and far < 0.3 < near, reply
    status, reply = post("/rerank", {"query": QUERY, "documents": DOCUMENTS})
    assert [item["index"] for item in reply["results"]][0] == 2 and reply["results"][-1]["index"] == 3, reply


def check_an_encoder_generates_nothing():
    for path, body in (("/v1/completions", {"prompt": "a"}), ("/completion", {"prompt": "a"}),
                       ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}]})):
        status, reply = post(path, body)
        assert status == 501 and "generates no text" in reply["error"]["message"], reply


if __name__ == "__main__":
    sys.exit(checks.run(checks.named(globals())))
