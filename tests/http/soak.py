"""64 concurrent streams with random disconnects; every finished text must equal the text of the same request alone.

usage: soak.py SECONDS BASE_URL (in any order); the key, if any, in MILLRACE_API_KEY. Standard library only.
Prints one summary line; exit status 1 on any error, difference or leaked block.
"""
import asyncio
import json
import os
import random
import re
import sys
import time
import urllib.parse

BASE = urllib.parse.urlparse(next((arg for arg in sys.argv[1:] if "://" in arg), "http://127.0.0.1:8000"))
SECONDS = float(next((arg for arg in sys.argv[1:] if "://" not in arg), "30"))
KEY = os.environ.get("MILLRACE_API_KEY", "")
STREAMS = 64
SUBJECTS = ["rivers", "clocks", "bread", "the moon", "horses", "rain", "bridges", "salt"]


def requests():
    """A fixed set, so that each text alone is computed once."""
    out = []
    for i, subject in enumerate(SUBJECTS):
        body = {"prompt": f"A short story about {subject}. " * (1 + i % 3), "max_tokens": 8 + 5 * i, "stream": True}
        body.update({"temperature": 0} if i % 2 == 0 else {"temperature": 0.9, "seed": i})
        if i % 4 == 3:
            body["stop"] = ["."]
        out.append(body)
    return out


async def send(method, path, body=None):
    reader, writer = await asyncio.open_connection(BASE.hostname, BASE.port, limit=1 << 20)
    payload = json.dumps(body).encode() if body is not None else b""
    head = f"{method} {path} HTTP/1.1\r\nHost: {BASE.netloc}\r\nConnection: close\r\n"
    if KEY:
        head += f"Authorization: Bearer {KEY}\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n"
    writer.write(head.encode() + b"\r\n" + payload)
    await writer.drain()
    return reader, writer


async def get(path):
    reader, writer = await send("GET", path)
    data = await reader.read()
    writer.close()
    return data.decode().split("\r\n\r\n", 1)[1]


async def stream(body, cut_after=None):
    """The text of a stream; None when it was cut on purpose after so many events; raises on anything wrong."""
    reader, writer = await send("POST", "/v1/completions", body)
    try:
        status = (await reader.readline()).decode()
        if " 200 " not in status:
            raise RuntimeError(status.strip() + " " + (await reader.read()).decode()[-300:])
        text, n_events, done = "", 0, False
        while True:
            line = await asyncio.wait_for(reader.readline(), 60)
            if not line:
                break
            if not line.startswith(b"data: "):
                continue
            data = line[6:].strip()
            if data == b"[DONE]":
                done = True
                continue
            event = json.loads(data)
            if "error" in event:
                raise RuntimeError(str(event["error"]))
            text += event["choices"][0]["text"] if event["choices"] else ""
            n_events += 1
            if cut_after is not None and n_events >= cut_after:
                return None
        if not done:
            raise RuntimeError("stream without end mark")
        return text
    finally:
        writer.close()


async def worker(seed, bodies, alone, end, tally):
    dice = random.Random(seed)
    while time.time() < end:
        which = dice.randrange(len(bodies))
        cut = dice.randrange(1, 12) if dice.random() < 0.3 else None
        try:
            text = await stream(bodies[which], cut)
        except Exception as error:  # counted: the soak reports, it does not stop
            tally["errors"] += 1
            print("error:", type(error).__name__, error, file=sys.stderr)
            continue
        if text is None:
            tally["cut"] += 1
        elif text == alone[which]:
            tally["equal"] += 1
        else:
            tally["different"] += 1
            print("different:", repr(text), "alone:", repr(alone[which]), file=sys.stderr)


async def gauge(name, label=""):
    values = re.findall(r"^%s\{([^}]*)\} (\S+)$" % re.escape(name), await get("/metrics"), re.M)
    return sum(float(value) for labels, value in values if label in labels)


async def settled():
    for _ in range(100):
        running = await gauge("vllm:num_requests_running")
        waiting = await gauge("vllm:num_requests_waiting")
        active = await gauge("millrace:kv_blocks", 'state="active"')
        if running == waiting == active == 0:
            return 0
        await asyncio.sleep(0.1)
    return active or 1


async def main():
    bodies = requests()
    alone = [await stream(body) for body in bodies]
    tally = {"equal": 0, "cut": 0, "different": 0, "errors": 0}
    end = time.time() + SECONDS
    await asyncio.gather(*(worker(seed, bodies, alone, end, tally) for seed in range(STREAMS)))
    leaked = await settled()
    streams_open = await gauge("millrace:http_streams_open")
    good = tally["equal"] > 0 and not tally["different"] and not tally["errors"] and not leaked and not streams_open
    print(", ".join(f"{count} {name}" for name, count in tally.items()), f", {leaked:.0f} leaked blocks, {streams_open:.0f} open streams")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
