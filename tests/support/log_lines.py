"""What a server may write to its log: the lines of docs/log_lines.md, in either format, progress of a load, and the last line of a program that
ends with an error; no address of memory and, given some, no secret."""
import json
import pathlib
import re

TABLE = pathlib.Path(__file__).resolve().parents[2] / "docs/log_lines.md"
ROWS = re.findall(r"^\| (\w+) \| `([^`]+)` \|", TABLE.read_text(), re.M)
TEXT = re.compile(r"\d\d:\d\d:\d\d\.\d{3} (\w+): (.*)")
PROGRESS = re.compile(r"[a-z][a-z -]* \d+ %|error: .*")
REQUEST = re.compile(r"request method=.* path=.* status=\d+ ms=[-+.\de]+ bytes=\d+( request_id=[!-~]{1,128})?( key=key-\d+)?( peer=[!-~]+)?")
REQUEST_FIELDS = {"method", "path", "status", "ms", "bytes", "request_id", "key", "peer"}
ADDRESS = re.compile(r"0x[0-9a-f]{6,}", re.I)


def pattern(line):
    return re.compile(".*".join(re.escape(part) for part in line.split("{}")))


KNOWN = [(level, pattern(line)) for level, line in ROWS if line != "request"]


def is_known(level, message):
    return any(level == of_row and known.fullmatch(message) for of_row, known in KNOWN)


def fault(line, secrets=()):
    """What is wrong with a line, or nothing."""
    told = [secret for secret in secrets if secret.lower() in line.lower()]
    if told:
        return f"tells {told[0]}"
    if line.startswith("{"):
        row = json.loads(line)
        level, message = row.pop("level"), row.pop("message")
        row.pop("time")
        if message == "request":
            return "" if level == "info" and set(row) <= REQUEST_FIELDS else f"fields {set(row) - REQUEST_FIELDS}"
    else:
        found = TEXT.fullmatch(line)
        if not found:
            return "" if PROGRESS.fullmatch(line) else "of no known form"
        level, message = found.groups()
        if message.startswith("request "):  # a path may look like an address
            return "" if level == "info" and REQUEST.fullmatch(message) else "of no known form"
    if ADDRESS.search(message):
        return "names an address"
    return "" if is_known(level, message) else "not in docs/log_lines.md"


def faults(text, secrets=()):
    """The lines that should not be there, each with what is wrong with it."""
    judged = [(fault(line, secrets), line) for line in text.splitlines() if line]
    return [f"{what}: {line[:300]}" for what, line in judged if what]
