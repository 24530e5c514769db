"""The installed wheel: wheel_test.py MODEL, run by the Python that it was installed for, away from the source tree."""
import pathlib
import subprocess
import sys
import sysconfig

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import checks  # noqa: E402
import millrace as mr  # noqa: E402

MODEL = sys.argv[1]
ROOT = pathlib.Path(__file__).resolve().parents[2]
GREEDY = mr.SamplingParams(temperature=0, max_tokens=8)
llm = None


def check_it_is_the_installed_one():
    where = pathlib.Path(mr.__file__).resolve()
    assert ROOT / "python" not in where.parents and str(where).startswith(str(pathlib.Path(sys.prefix).resolve())), where
    assert (where.parent / "_native" / "libmillrace.so").exists()


def check_generate():
    answers = llm.generate(["The capital of France is", "Two plus two is"], GREEDY)
    assert "Paris" in answers[0].outputs[0].text and len(answers[1].outputs[0].token_ids) == 8, answers


def check_chat():
    [answer] = llm.chat([{"role": "user", "content": "What is the capital of France?"}], GREEDY)
    assert answer.outputs[0].text and answer.outputs[0].finish_reason in ("stop", "length")


def check_embed():
    one, two = llm.embed(["The cat sits.", "Rates rose."])
    assert len(one.outputs.embedding) == len(two.outputs.embedding) == 576
    assert abs(sum(x * x for x in one.outputs.embedding) - 1) < 1e-4


def check_program_of_the_language():
    @mr.function
    def capital(s):
        s += "The capital of France is" + mr.gen("x", max_tokens=4, temperature=0)
    assert "Paris" in capital.run(backend=llm.engine)["x"]


def check_command_line():
    program = pathlib.Path(sysconfig.get_path("scripts")) / "millrace"
    said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=checks.HANG_S)
    assert said.returncode == 0 and mr.__version__ in said.stdout, said


if __name__ == "__main__":
    with mr.LLM(MODEL, max_model_len=512) as llm:
        sys.exit(checks.run(checks.named(globals())))
