"""The unmodified `tritonclient` package (HTTP, KServe v2) against a running server: triton_client.py BASE_URL.

Health, metadata, and infer with binary and with JSON tensors, which must give what /v1/completions gives. Each check_*
function is one case; the last line is "N passed, N failed"."""
import asyncio
import json
import pathlib
import sys
import urllib.request

import numpy as np
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import checks  # noqa: E402

BASE = sys.argv[1].rstrip("/")
HOST = BASE.removeprefix("http://")
client = triton.InferenceServerClient(HOST, network_timeout=120, connection_timeout=10)
NAME = json.load(urllib.request.urlopen(BASE + "/v1/models", timeout=10))["data"][0]["id"]
PROMPTS = ["The capital of France is", "Count: 1, 2, 3,"]
GREEDY = {"temperature": 0.0, "max_tokens": 8}


def tensor(name, values, kind, binary=True, module=triton):
    array = np.array(values, dtype={"BYTES": np.object_, "INT32": np.int32, "FP32": np.float32, "BOOL": bool}[kind])
    out = module.InferInput(name, list(array.shape), kind)
    out.set_data_from_numpy(array, binary_data=binary)
    return out


def completed(prompt):
    body = json.dumps({"model": NAME, "prompt": prompt, **GREEDY}).encode()
    request = urllib.request.Request(BASE + "/v1/completions", body, {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=60))["choices"][0]["text"]


def texts(result):
    return [value.decode() if isinstance(value, bytes) else value for value in result.as_numpy("text_output").flatten()]


def check_health():
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(NAME) and client.is_model_ready(NAME, "1")
    assert not client.is_model_ready("nobody")


def check_metadata():
    server = client.get_server_metadata()
    assert server["name"] == "millrace" and "binary_tensor_data" in server["extensions"], server
    model = client.get_model_metadata(NAME)
    assert model["name"] == NAME and model["versions"] == ["1"], model
    assert [row["name"] for row in model["inputs"]] == ["text_input"] and model["outputs"][0]["datatype"] == "BYTES", model


def check_infer_binary():
    result = client.infer(NAME, [tensor("text_input", PROMPTS[:1], "BYTES")], parameters=GREEDY, request_id="7")
    assert isinstance(result.as_numpy("text_output")[0], bytes) and result.get_response()["id"] == "7"
    assert texts(result) == [completed(PROMPTS[0])]


def check_infer_json():
    output = triton.InferRequestedOutput("text_output", binary_data=False)
    result = client.infer(NAME, [tensor("text_input", PROMPTS[:1], "BYTES", binary=False)], outputs=[output], parameters=GREEDY)
    assert texts(result) == [completed(PROMPTS[0])] and result.get_output("text_output")["data"] == texts(result)


def check_infer_several_prompts_and_fields():
    inputs = [tensor("text_input", [[prompt] for prompt in PROMPTS], "BYTES"), tensor("max_tokens", [8], "INT32"), tensor("temperature", [0], "FP32"),
              tensor("stream", [False], "BOOL")]
    assert texts(client.infer(NAME, inputs, model_version="1")) == [completed(prompt) for prompt in PROMPTS]


def check_infer_sampling_parameters():
    inputs = [tensor("text_input", PROMPTS[:1], "BYTES"), tensor("sampling_parameters", [json.dumps(GREEDY)], "BYTES"),
              tensor("exclude_input_in_output", [True], "BOOL")]
    assert texts(client.infer(NAME, inputs)) == [completed(PROMPTS[0])]


def check_asynchronous():
    handles = [client.async_infer(NAME, [tensor("text_input", [prompt], "BYTES")], parameters=GREEDY) for prompt in PROMPTS]
    assert [texts(handle.get_result())[0] for handle in handles] == [completed(prompt) for prompt in PROMPTS]

    async def run():
        async with triton_aio.InferenceServerClient(HOST) as own:
            assert await own.is_server_ready()
            return await own.infer(NAME, [tensor("text_input", PROMPTS[:1], "BYTES", module=triton_aio)], parameters=GREEDY)
    assert texts(asyncio.run(run())) == [completed(PROMPTS[0])]


def refused(word, call):
    try:
        call()
    except InferenceServerException as error:
        assert word in error.message(), error
        return
    raise AssertionError("not refused")


def check_errors():
    refused("nobody", lambda: client.infer("nobody", [tensor("text_input", PROMPTS[:1], "BYTES")]))
    refused("nobody", lambda: client.get_model_metadata("nobody"))
    refused("text_input", lambda: client.infer(NAME, [tensor("max_tokens", [1], "INT32")]))
    refused("temperature", lambda: client.infer(NAME, [tensor("text_input", PROMPTS[:1], "BYTES")], parameters={"temperature": -1.0}))
    refused("text_output", lambda: client.infer(NAME, [tensor("text_input", PROMPTS[:1], "BYTES")], outputs=[triton.InferRequestedOutput("logits")]))


if __name__ == "__main__":
    sys.exit(checks.run(checks.named(globals())))
