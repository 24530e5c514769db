"""The Python package in process: the installed one (a wheel): tests/python/llm_test.py MODEL. What LLM and AsyncLLM give is what the engine gives
alone, in a batch, and over its API."""
import asyncio
import gc
import math
import os
import pathlib
import re
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
import checks  # noqa: E402
import millrace as mr  # noqa: E402
from millrace.lang import BackendError  # noqa: E402

MODEL = sys.argv[1]
GREEDY = mr.SamplingParams(temperature=0, max_tokens=12)
llm = None


def raises(kind, text, call):
    try:
        call()
    except kind as error:
        assert re.search(text, str(error)), error
    else:
        raise AssertionError(f"no {kind.__name__}")


def running():
    return {name: value for name, value in llm.get_metrics().items() if name.startswith("vllm:num_requests_")}


def check_generate():
    [answer] = llm.generate("The capital of France is", GREEDY)
    [output] = answer.outputs
    assert "Paris" in output.text and output.finish_reason == "length" and len(output.token_ids) == 12, answer
    assert answer.prompt == "The capital of France is" and answer.finished and answer.num_cached_tokens is not None
    tokenizer = llm.get_tokenizer()
    assert tokenizer.encode(answer.prompt) == answer.prompt_token_ids
    assert tokenizer.decode(output.token_ids) == output.text
    [again] = llm.generate({"prompt_token_ids": answer.prompt_token_ids, "cache_salt": "a"}, GREEDY)
    assert again.outputs[0] == output and again.num_cached_tokens == 0


def check_a_batch_is_each_alone():
    prompts = [f"Question {i}: how many legs has a {animal}? Answer:" for i, animal in enumerate(["cat", "spider", "bird", "snake"] * 8)]
    params = [mr.SamplingParams(temperature=1.0, seed=i, max_tokens=8 + i % 5, logprobs=2) for i in range(len(prompts))]
    batch = llm.generate(prompts, params, use_tqdm=False)
    assert [answer.prompt for answer in batch] == prompts
    for prompt, one, answer in list(zip(prompts, params, batch))[::5]:
        [alone] = llm.generate(prompt, one)
        assert alone.outputs == answer.outputs, (alone, answer)


def check_more_prompts_than_fit():
    answers = llm.generate([f"{i} and" for i in range(600)], mr.SamplingParams(temperature=0, max_tokens=2), use_tqdm=False)
    assert len(answers) == 600 and all(len(answer.outputs[0].token_ids) <= 2 for answer in answers)


def check_logprobs():
    [answer] = llm.generate("Once upon a", mr.SamplingParams(temperature=0, max_tokens=4, logprobs=3, prompt_logprobs=1))
    output = answer.outputs[0]
    assert len(output.logprobs) == 4
    for token, row in zip(output.token_ids, output.logprobs):
        assert next(iter(row)) == token and row[token].rank == 1 and len(row) == 3
        assert row[token].decoded_token == llm.get_tokenizer().decode(token)
        assert sum(math.exp(entry.logprob) for entry in row.values()) <= 1.0001
    assert abs(output.cumulative_logprob - sum(row[t].logprob for t, row in zip(output.token_ids, output.logprobs))) < 1e-6
    assert answer.prompt_logprobs[0] is None and len(answer.prompt_logprobs) == len(answer.prompt_token_ids)
    assert answer.prompt_logprobs[1][answer.prompt_token_ids[1]].rank >= 1
    [chat] = llm.chat([{"role": "user", "content": "Say hi."}], mr.SamplingParams(temperature=0, max_tokens=2, logprobs=2))
    assert [next(iter(row)) for row in chat.outputs[0].logprobs] == chat.outputs[0].token_ids


def check_chat():
    question = [{"role": "user", "content": "What is the capital of France? One word."}]
    answers = llm.chat([question, question + [{"role": "assistant", "content": "Paris"}, {"role": "user", "content": "And of Italy?"}]],
                       mr.SamplingParams(temperature=0, max_tokens=16))
    assert "Paris" in answers[0].outputs[0].text and "Rome" in answers[1].outputs[0].text, answers
    text = llm.get_tokenizer().apply_chat_template(question, tokenize=False, add_generation_prompt=True)
    assert llm.get_tokenizer().apply_chat_template(question, add_generation_prompt=True) == answers[0].prompt_token_ids, text


def check_choices_constraints_and_beams():
    params = mr.SamplingParams(n=3, seed=7, max_tokens=6, structured_outputs=mr.StructuredOutputsParams(regex="[1-9][0-9]{3}"))
    [answer] = llm.generate("A year:", params)
    assert [output.index for output in answer.outputs] == [0, 1, 2]
    assert all(re.fullmatch("[1-9][0-9]{3}", output.text) for output in answer.outputs), answer
    [beams] = llm.beam_search(["The sea is"], mr.BeamSearchParams(beam_width=3, max_tokens=5))
    assert len({tuple(output.token_ids) for output in beams.outputs}) == 3
    raises(ValueError, "exactly one", lambda: mr.StructuredOutputsParams(regex="a", choice=["b"]).fields())


def check_embeddings():
    texts = ["The cat sits on the mat.", "A cat is sitting on a mat.", "Interest rates rose again."]
    many = [answer.outputs.embedding for answer in llm.embed(texts)]
    assert all(abs(sum(x * x for x in one) - 1) < 1e-4 for one in many)
    [alone] = llm.embed(texts[1])
    assert alone.outputs.embedding == many[1]
    near, far = (sum(x * y for x, y in zip(many[0], other)) for other in many[1:])
    assert near > far, (near, far)


def check_errors():
    raises(BackendError, "temperature", lambda: llm.generate("x", mr.SamplingParams(temperature=-1)))
    raises(BackendError, "(?i)max_model_len|context|token", lambda: llm.generate([[1] * 5000], GREEDY))
    raises(ValueError, "want one or 2, got 1", lambda: llm.generate(["a", "b"], [GREEDY]))
    raises(ValueError, "no-such-flag", lambda: mr.LLM(MODEL, no_such_flag=3))
    raises(ValueError, "tensor_parallel_size", lambda: mr.LLM(MODEL, tensor_parallel_size=2))
    raises(RuntimeError, "no-such-model", lambda: mr.LLM("no-such-model.gguf"))
    raises(ValueError, "multi_modal_data", lambda: llm.generate({"prompt": "x", "multi_modal_data": {}}))
    assert "Paris" in llm.generate("The capital of France is", GREEDY)[0].outputs[0].text


def check_a_program_runs_in_process():
    @mr.function
    def city(s, land):
        s += mr.user(f"What is the capital of {land}? One word.")
        s += mr.assistant(mr.gen("city", max_tokens=8, temperature=0))

    assert "Paris" in city.run(land="France", backend=llm.engine)["city"]


def check_two_models_at_once():
    with mr.LLM(MODEL, max_model_len=256, max_num_seqs=2, served_model_name="second") as second:
        assert second.engine.model == "second"
        [one], [two] = second.generate("The capital of France is", GREEDY), llm.generate("The capital of France is", GREEDY)
        assert one.outputs == two.outputs
        folder = second.engine._in_process._folder
        assert pathlib.Path(folder, "socket").stat().st_mode & 0o077 == 0
    assert not pathlib.Path(folder).exists()


def check_a_forgotten_engine_ends():
    before = threading.active_count()
    engine = mr.Engine(MODEL, max_model_len=256)
    folder = engine._in_process._folder
    del engine
    gc.collect()
    assert not pathlib.Path(folder).exists() and threading.active_count() <= before


def check_a_child_leaves_its_parents_engine_alone():
    child = os.fork()
    if child == 0:
        llm.engine._in_process.stop()  # what the end of a process does
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert pathlib.Path(llm.engine._in_process._folder, "socket").exists()
    assert "Paris" in llm.generate("The capital of France is", GREEDY)[0].outputs[0].text


def check_python_goes_on_while_an_engine_stops():
    engine = mr.Engine(MODEL, max_model_len=1024, shutdown_timeout=600)
    stream = engine.events("/v1/completions", {"prompt": "Count:", "max_tokens": 600, "ignore_eos": True, "temperature": 0})
    next(stream)
    status = []
    stopper = threading.Thread(target=lambda: status.append(engine.shutdown()))
    stopper.start()
    pieces_meanwhile = sum(1 for _ in stream if stopper.is_alive())
    stopper.join()
    assert status == [0] and pieces_meanwhile > 1, (status, pieces_meanwhile)
    raises(RuntimeError, "has been stopped", lambda: engine._in_process.server.wait_ready(0))
    assert engine.shutdown() == 0


def check_asyncio():
    async def collect(engine, name, kind, n=1):
        params = mr.SamplingParams(temperature=0.8, seed=3, max_tokens=10, n=n, logprobs=1, output_kind=kind)
        return [output async for output in engine.generate("The river", params, name)]

    async def run():
        async with mr.AsyncLLM(MODEL, max_model_len=512) as engine:
            await engine.check_health()
            kinds = mr.RequestOutputKind
            cumulative, delta, final = await asyncio.gather(collect(engine, "a", kinds.CUMULATIVE), collect(engine, "b", kinds.DELTA),
                                                            collect(engine, "c", kinds.FINAL_ONLY, n=2))
            [last] = final
            assert last.finished and [output.index for output in last.outputs] == [0, 1]
            whole = last.outputs[0]
            assert cumulative[-1].outputs == [whole] and cumulative[-1].finished and not cumulative[0].finished
            assert [len(step.outputs[0].token_ids) for step in cumulative] == sorted(len(s.outputs[0].token_ids) for s in cumulative)
            assert "".join(step.outputs[0].text for step in delta) == whole.text
            assert sum((step.outputs[0].token_ids for step in delta), []) == whole.token_ids
            assert len(whole.logprobs) == len(whole.token_ids)

            long = mr.SamplingParams(temperature=0, max_tokens=400, ignore_eos=True)
            seen = 0
            async for _ in engine.generate("Count:", long, "left"):  # left after three: cancelled
                seen += 1
                if seen == 3:
                    break
            seen = 0
            async for _ in engine.generate("Count:", long, "aborted"):
                seen += 1
                if seen == 3:
                    await engine.abort("aborted")
            assert 3 <= seen < 300, seen
            for _ in range(20 * checks.HANG_S):
                metrics = dict(line.rsplit(" ", 1) for line in engine.engine.get_text("/metrics").splitlines() if line[0] != "#")
                if not any(float(value) for name, value in metrics.items() if name.startswith("vllm:num_requests_running")):
                    return
                await asyncio.sleep(0.05)
            raise AssertionError("a cancelled request still runs")

    asyncio.run(run())


if __name__ == "__main__":
    with mr.LLM(MODEL, max_model_len=1024, max_num_seqs=64) as llm:
        status = checks.run(checks.named(globals()))
        assert not any(running().values()), running()
    sys.exit(status)
