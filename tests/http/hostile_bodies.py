"""JSON bodies and fields that no honest client sends, over every dialect, as data: Case(name, bytes, wanted, words)."""
import json

from hostile_framing import Case, get, post


# What needs a flag that is not set says so: 501, as llama-server does.
REFUSED_BY_NAME = (400, 401, 403, 404, 501)


def members(text, path="/v1/completions", base='{"prompt":"Hi","max_tokens":1,'):
    return post((base + text + "}").encode(), path=path)


def chat(text, messages='[{"role":"user","content":"Hi"}]'):
    return post(('{"max_tokens":1,"messages":' + messages + ("," + text if text else "") + "}").encode(), path="/v1/chat/completions")


def refused(path, body, words=""):
    """A body that must be answered 400; TGI and KServe say 422."""
    data = body if isinstance(body, (bytes, str)) else json.dumps(body)
    return Case(f"{path} {data[:60]!r}", post(data.encode() if isinstance(data, str) else data, path=path), 422 if path == "/generate" or path.startswith("/v2/") else 400, words)


NOT_JSON = [Case(f"JSON: {name}", post(body), 400, "JSON") for name, body in (
    ("blank", b"   \n"), ("cut", b'{"prompt": "Hi"'), ("one brace", b"{"), ("trailing text", b'{"prompt":"Hi"} x'),
    ("two documents", b'{"prompt":"Hi"}{"prompt":"Hi"}'), ("single quotes", b"{'prompt':'Hi'}"), ("no quotes", b"{prompt:1}"),
    ("comment", b'{"prompt":"Hi"/*c*/}'), ("trailing comma", b'{"prompt":"Hi",}'), ("NaN", b'{"prompt":"Hi","temperature":NaN}'),
    ("Infinity", b'{"prompt":"Hi","temperature":-Infinity}'), ("1e999", b'{"prompt":"Hi","temperature":1e999}'),
    ("leading zero", b'{"prompt":"Hi","n":01}'), ("plus", b'{"prompt":"Hi","n":+1}'), ("hex", b'{"prompt":"Hi","n":0x1}'),
    ("a dot alone", b'{"prompt":"Hi","temperature":.5}'), ("raw newline", b'{"prompt":"a\nb"}'), ("raw NUL", b'{"prompt":"a\0b"}'),
    ("NUL after the end", b'{"prompt":"Hi"}\0'), ("unknown escape", rb'{"prompt":"\x41"}'), ("cut escape", rb'{"prompt":"\u00"}'),
    ("lone surrogate", rb'{"prompt":"\ud800"}'), ("surrogates turned round", rb'{"prompt":"\udc00\ud800"}'),
    ("byte 0xFF", b'{"prompt":"\xff"}'), ("overlong", b'{"prompt":"\xc0\x80"}'), ("encoded surrogate", b'{"prompt":"\xed\xa0\x80"}'),
    ("beyond Unicode", b'{"prompt":"\xf4\x90\x80\x80"}'), ("cut character", b'{"prompt":"\xe2\x82"}'), ("latin-1", b'{"prompt":"caf\xe9"}'),
    ("byte order mark", b'\xef\xbb\xbf{"prompt":"Hi"}'), ("UTF-16", '{"prompt":"Hi"}'.encode("utf-16")), ("UTF-32", '{"prompt":"Hi"}'.encode("utf-32")),
    ("100,000 brackets", b"[" * 100000), ("100,000 objects", b'{"a":' * 100000), ("brackets in an unknown field", b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"),
    ("a million values", b'{"prompt":"Hi","a":[' + b"0," * 1000001 + b"0]}"), ("pickle", b"\x80\x04\x95\x10\0\0\0"), ("msgpack", b"\x81\xa6prompt\xa2Hi"),
)]

SHAPES = [
    *(Case(f"body {text[:20]!r}", post(text), 400, "object") for text in (b"[]", b'"Hi"', b"7", b"null", b"true", b'[{"prompt":"Hi"}]')),
    Case("no prompt", post({}), 400, "prompt"),
    Case("a key twice", members('"n":1,"n":2'), 400, "duplicate"),
    Case("a key twice by an escape", members(r'"n":1,"\u006e":2'), 400, "duplicate"),
    Case("a key of 1 MB", members('"' + "k" * 1000000 + '":1'), (200, 400)),
    Case("an unknown field", members('"no_such_field":{"a":[1,2,{"b":null}]}'), 200),
    Case("a field named like a header", members(r'"X\r\nSet-Cookie: a":1'), 200),
    Case("a field named __proto__", members('"__proto__":{"n":5},"constructor":1'), 200),
    Case("prompt of 7 MB", post({"prompt": "a b " * 1800000}), 400, "context"),
    Case("prompt of 500,000 equal letters", post({"prompt": "a" * 500000, "max_tokens": 1}), 400, "context"),
    Case("prompt of odd characters", post({"prompt": "\u202e\u0000\ufeff\U0010ffff\u0301" * 5 + "<|im_start|>system", "max_tokens": 1}), 200),
]

PROMPTS = [Case(f"prompt {text[:30]}", post(('{"max_tokens":1,"prompt":' + text + "}").encode()), 400, "prompt") for text in (
    "null", "12", "true", "{}", '{"a":1}', "[]", "[[]]", "[null]", "[true]", "[1.5]", "[-1]", "[999999999]", "[9223372036854775808]", "[1e30]",
    "[[1],[]]", "[[1],2]", '["a",1]', '[["a"]]', "[[[1]]]", '["a",null]', "[" + ",".join(['"a"'] * 1025) + "]")]

NUMBERS = [Case(f"{name} = {value}", members(f'"{name}":{value}', base='{"prompt":"Hi",' if name == "max_tokens" else '{"prompt":"Hi","max_tokens":1,'), 400, name)
           for name, values in {
    "n": ("0", "-1", "129", "1000000", "9223372036854775808", "1.5", '"3"', "true", "[]", "{}"),
    "best_of": ("0", "-5", "1e9", '"x"'),
    "max_tokens": ("-1", "1.5", '"9"', "true", "9223372036854775808", "1e30", "[1]"),
    "temperature": ("-0.1", "1e38", '"hot"', "true", "[0.5]", "2.5"),
    "top_p": ("0", "-1", "1.0001", '"1"', "{}"),
    "top_k": ("0.01", "-5", "9223372036854775808", '"all"'),
    "min_p": ("1.1", "-1", '"0"'),
    "presence_penalty": ("1e38", "-2.1", '"x"', "true"),
    "frequency_penalty": ("2.1", "[]"),
    "repetition_penalty": ("0", "-1", "1e38"),
    "logprobs": ("21", "-2", "2147483648", '"5"'),
    "seed": ("18446744073709551616", "1.5", '"x"'),
    "stop": ("5", '[""]', '[["a"]]', "[1]", "{}", json.dumps(["a"] * 1000), json.dumps("s" * 1000)),
    "logit_bias": ('{"a":1}', '{"-1":1}', '{"999999":1}', '{"5":101}', '{"5":"x"}', "[7]", "7"),
    "stop_token_ids": ("[-1]", "[999999]", "7", '["a"]'),
    "priority": ("9223372036854775808", '"high"'),
    "stream": ('"yes"', "1", "[]"),
    "stream_options": ('{"include_usage":true}', "7"),
    "echo": ('"x"', "2"),
    "timeout": ("0", "-1", "1e18", '"1s"'),
    "model": ("7", "[]"),
    "user": ("[1]", "{}"),
    "min_tokens": ("-1", "1.5"),
    "response_format": ("7", '{"type":"nope"}', '{"type":"json_schema"}', '"json"'),
}.items() for value in values]

CHATS = [
    *(Case(f"messages {text[:40]}", chat("", text), 400, "messages") for text in (
        "null", "{}", "[]", "[1]", "[null]", "[[]]", '"Hi"', "[{}]", '[{"content":"Hi"}]', '[{"role":7,"content":"Hi"}]', '[{"role":"wizard","content":"Hi"}]',
        '[{"role":"user"}]', '[{"role":"user","content":7}]', '[{"role":"user","content":{"a":1}}]', '[{"role":"user","content":[7]}]',
        '[{"role":"user","content":[{"type":"text"}]}]', '[{"role":"user","content":[{"type":"hologram"}]}]',
        '[{"role":"user","content":[{"type":"text","text":null}]}]', '[{"role":"tool","content":"x"}]',
        '[{"role":"user","content":"Hi"},{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{"}}]}]',
        '[{"role":"user","content":"Hi"},{"role":"assistant","tool_calls":7}]', "[" + ",".join(['{"role":"user","content":"x"}'] * 4097) + "]",
        '[{"role":"user","content":' + "[" * 60 + "]" * 60 + "}]")),
    *(Case(f"image {url}", chat("", json.dumps([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])), 400)
      for url in ("http://169.254.169.254/latest/meta-data", "file:///etc/passwd", "data:image/png;base64,AAAA", "gopher://localhost", "")),
    *(Case(f"chat {text[:50]}", chat(text), 400, words) for text, words in (
        ('"tools":7', "tools"), ('"tools":[7]', "tools"), ('"tools":[{"type":"function"}]', "tools"), ('"tools":[{"type":"function","function":{"name":"a b"}}]', "tools"),
        ('"tools":[{"type":"function","function":{"name":"' + "f" * 65 + '"}}]', "tools"),
        ('"tools":[{"type":"function","function":{"name":"f","parameters":7}}]', "tools"),
        ('"tools":' + json.dumps([{"type": "function", "function": {"name": f"f{i}"}} for i in range(129)]), "tools"),
        ('"tool_choice":"required"', "tool"), ('"tool_choice":"sometimes"', "tool_choice"), ('"tool_choice":{"type":"function","function":{"name":"g"}}', "tool"),
        ('"chat_template":"{{ range(10**9) }}"', "chat_template"), ('"chat_template_kwargs":{"messages":[]}', "messages"), ('"chat_template_kwargs":7', "chat_template_kwargs"),
        ('"top_logprobs":21,"logprobs":true', "top_logprobs"), ('"max_completion_tokens":-1', "max_completion_tokens"), ('"reasoning_effort":7', "reasoning_effort"),
        ('"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"foo"}}}', "schema"),
        ('"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"pattern":"' + "(" * 5000 + '"}}}', ""),
        ('"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"$ref":"http://evil/x"}}}', "ref"),
        ('"guided_regex":"(a"', "regex"), ('"structured_outputs":{"grammar":"root ::= x"}', "grammar"), ('"structured_outputs":{"choice":[]}', "choice"))),
]

DIALECTS = [
    refused("/v1/chat/completions", {"prompt": "Hi"}, "messages"),
    refused("/v1/completions", {"messages": []}, "prompt"),
    refused("/v1/messages", {"messages": [{"role": "user", "content": "Hi"}]}, "max_tokens"),
    refused("/v1/messages", {"max_tokens": -1, "messages": [{"role": "user", "content": "Hi"}]}, "max_tokens"),
    refused("/v1/messages", {"max_tokens": 4, "messages": "Hi"}, "messages"),
    refused("/v1/messages", {"max_tokens": 4, "temperature": 1.5, "messages": [{"role": "user", "content": "Hi"}]}, "temperature"),
    refused("/v1/messages", {"max_tokens": 4, "system": 7, "messages": [{"role": "user", "content": "Hi"}]}, "system"),
    refused("/v1/messages", {"max_tokens": 4, "messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}),
    refused("/v1/messages/count_tokens", {}, "messages"),
    refused("/v1/responses", {}, "input"),
    refused("/v1/responses", {"input": 7}, "input"),
    refused("/v1/responses", {"input": [{"type": "nope"}]}, "input"),
    refused("/api/chat", {"messages": "Hi"}, "messages"),
    refused("/api/generate", {"prompt": 7}, "prompt"),
    refused("/api/generate", {"prompt": "Hi", "options": 7}, "options"),
    refused("/api/generate", {"prompt": "Hi", "options": {"num_predict": "x"}}, "num_predict"),
    refused("/api/generate", {"prompt": "Hi", "options": {"temperature": -1}}, "temperature"),
    refused("/api/embed", {"input": [None]}, "input"),
    refused("/completion", {}, "prompt"),
    refused("/completion", {"prompt": {"multimodal_data": ["AAAA"], "prompt_string": "a"}}),
    refused("/completion", {"prompt": "Hi", "n_predict": -7}, "n_predict"),
    refused("/completion", {"prompt": "Hi", "n_discard": -1}, "n_discard"),
    refused("/completion", {"prompt": "Hi", "samplers": [7]}, "samplers"),
    refused("/completion", {"prompt": "Hi", "grammar": "root ::= ("}, "grammar"),
    refused("/completion", {"prompt": "Hi", "json_schema": {"type": "foo"}}),
    refused("/infill", {"input_prefix": 7}, "input_prefix"),
    refused("/tokenize", {"content": 7}),
    refused("/detokenize", {"tokens": ["a"]}, "tokens"),
    refused("/detokenize", {"tokens": [-1]}, "tokens"),
    refused("/detokenize", {"tokens": [999999999]}, "tokens"),
    refused("/apply-template", {}, "messages"),
    refused("/v1/embeddings", {}, "input"),
    refused("/v1/embeddings", {"input": []}, "input"),
    refused("/v1/embeddings", {"input": "Hi", "dimensions": -1}, "dimensions"),
    refused("/v1/embeddings", {"input": "Hi", "encoding_format": "hex"}, "encoding_format"),
    refused("/rerank", {"query": "a"}, "documents"),
    refused("/score", {"text_1": 7, "text_2": "a"}, "text_1"),
    refused("/pooling", {"input": {}}, "input"),
    refused("/generate", {"inputs": 7}, "inputs"),
    refused("/generate", {"text": 7}, "text"),
    refused("/generate", {"inputs": "Hi", "parameters": 7}, "parameters"),
    refused("/generate", {"inputs": "Hi", "parameters": {"max_new_tokens": -1}}, "max_new_tokens"),
    refused("/generate", {"text": "Hi", "sampling_params": {"max_new_tokens": "x"}}, "max_new_tokens"),
    refused("/v2/models/m/infer", {"inputs": 7}, "inputs"),
    refused("/v2/models/m/infer", {"inputs": [{"name": "text_input", "datatype": "BYTES", "shape": [-1], "data": ["x"]}]}, "shape"),
    refused("/v2/models/m/infer", {"inputs": [{"name": "text_input", "datatype": "BYTES", "shape": [2 ** 62, 4], "data": ["x"]}]}, "shape"),
    Case("binary tensors longer than the body", post(b'{"inputs":[]}', "Inference-Header-Content-Length: 99999", path="/v2/models/m/infer"), 422),
    Case("binary tensors of words", post(b'{"inputs":[]}', "Inference-Header-Content-Length: many", path="/v2/models/m/infer"), 422),
    Case("another model's tensors", get("/v2/models/nope"), 404),
    Case("another model", members('"model":"nope"'), 404, "model_not_found"),
    Case("a model named like a path", members('"model":"../../etc/passwd"'), 404, "model_not_found"),
    Case("a model's page named by 7 kB", get("/v1/models/" + "m" * 7000), 404),
    Case("slot of words", post({}, path="/slots/x?action=erase"), REFUSED_BY_NAME),
    Case("slot 99999", post({}, path="/slots/99999?action=erase"), REFUSED_BY_NAME),
    Case("slot with another action", post({}, path="/slots/0?action=explode"), REFUSED_BY_NAME),
    Case("slot to a file outside", post({"filename": "../../x"}, path="/slots/0?action=save"), REFUSED_BY_NAME),
    Case("load of nothing", post({}, path="/models/load"), REFUSED_BY_NAME),
    Case("load of a path", post({"model": "/etc/passwd"}, path="/models/load"), REFUSED_BY_NAME),
    Case("a stream that is refused", post({"prompt": "Hi", "stream": True, "n": -1}), 400, "n must"),
]

CASES = NOT_JSON + SHAPES + PROMPTS + NUMBERS + CHATS + DIALECTS
