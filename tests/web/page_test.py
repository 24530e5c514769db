"""The web page in a real headless Chromium (Debian's chromium and chromium-driver), against a running server:
page_test.py URL, or with_server.py MILLRACE MODEL --api-key page-key -- python page_test.py

Needs the package selenium. Every check drives the page as a person would; only the one of the reasoning fold feeds
events of its own, because the default model does not think aloud. Screenshots go to build/check/page-*.png."""
import json
import pathlib
import sys
import tempfile
import time
import urllib.request

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import checks  # noqa: E402

URL, KEY = sys.argv[-1].rstrip("/"), "page-key"
SHOTS = pathlib.Path("build/check")
LONG = '{"ignore_eos": true, "max_completion_tokens": 4000}'

RENDERED = [
    ("a *b* **c** `d<e` ~~f~~", '<p>a <em>b</em> <strong>c</strong> <code>d&lt;e</code> <del>f</del></p>'),
    ("# T\ntext", "<h1>T</h1><p>text</p>"),
    ("- a\n- b\n  1. c\n  2. d\n- e", "<ul><li>a</li><li>b<ol start=\"1\"><li>c</li><li>d</li></ol></li><li>e</li></ul>"),
    ("3) x\n4) y", '<ol start="3"><li>x</li><li>y</li></ol>'),
    ("> q\n> r", "<blockquote><p>q\nr</p></blockquote>"),
    ("a\n\n---\n\nb", "<p>a</p><hr><p>b</p>"),
    ("|a|b|\n|---|--:|\n|1|2|", '<div class="table"><table><thead><tr><th>a</th><th style="text-align: right;">b</th></tr></thead>'
     '<tbody><tr><td>1</td><td style="text-align: right;">2</td></tr></tbody></table></div>'),
    ("[x](https://e.org/a) [y](javascript:alert(1))",
     '<p><a href="https://e.org/a" target="_blank" rel="noopener noreferrer">x</a> [y](javascript:alert(1))</p>'),
    ("<img src=x onerror=alert(1)>", "<p>&lt;img src=x onerror=alert(1)&gt;</p>"),
    ("5 * 3 * 2 and snake_case_name", "<p>5 * 3 * 2 and snake_case_name</p>"),
    ("costs $5 and $6 more", "<p>costs $5 and $6 more</p>"),
    (r"$x_1^2$", "<p><math><msubsup><mi>x</mi><mn>1</mn><mn>2</mn></msubsup></math></p>"),
    (r"$$\frac{a}{\sqrt{2}}$$", '<math display="block"><mfrac><mi>a</mi><msqrt><mn>2</mn></msqrt></mfrac></math>'),
    (r"\(\unknown{x}\)", "<p><math><mrow><mtext>\\unknown</mtext><mi>x</mi></mrow></math></p>"),
]


def metric(name):
    request = urllib.request.Request(URL + "/metrics", headers={"Authorization": "Bearer " + KEY})
    lines = urllib.request.urlopen(request).read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + "{"))


class Page:
    def __init__(self):
        options = webdriver.ChromeOptions()
        self.folder = tempfile.TemporaryDirectory()
        for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--force-color-profile=srgb",
                     "--user-data-dir=" + self.folder.name):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
        self.driver.set_window_size(1280, 800)

    def get(self, css):
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css):
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def wait(self, what, condition, seconds=20):
        WebDriverWait(self.driver, seconds, 0.05).until(lambda _: condition(), what)

    def idle(self):
        return self.get("#send").text == "Send"

    def js(self, code, *arguments):
        return self.driver.execute_script(code, *arguments)

    def phone(self, on):
        if on:
            self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                        {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True})
        else:
            self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    def shot(self, name):
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(SHOTS / f"page-{name}.png"))

    def set(self, **values):
        self.get("#open-settings").click()
        for name, value in values.items():
            field = self.get(f"#settings [name={name}]")
            field.clear()
            field.send_keys(value)
        self.get("#save-settings").click()

    def ask(self, text):
        self.get("#prompt").send_keys(text, Keys.ENTER)

    def answer(self, text):
        before = len(self.all(".message.assistant"))
        self.ask(text)
        self.wait("a reply ends", lambda: len(self.all(".message.assistant")) > before and self.idle(), 60)
        return self.all(".message.assistant")[-1]


def page_is_safe_and_small(page):
    reply = urllib.request.urlopen(urllib.request.Request(URL + "/", headers={"Accept": "text/html"}))
    policy = reply.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy, policy
    assert len(reply.read()) < 60_000
    plain = urllib.request.urlopen(URL + "/")
    assert plain.headers["Content-Type"].startswith("text/plain")


def asks_for_the_key(page):
    page.driver.get(URL + "/index.html")
    page.wait("the key is asked for", lambda: page.all("#settings[open]"))
    page.get("#settings [name=key]").send_keys(KEY)
    page.get("#save-settings").click()
    page.wait("a model is listed", lambda: page.get("#model").text.strip())


def reply_is_the_api_s(page):
    page.set(system="You are a helpful assistant.", temperature="0")
    shown = page.answer("What is the capital of France?")
    body = {"model": "smollm2", "temperature": 0, "messages": [{"role": "system", "content": "You are a helpful assistant."},
                                                              {"role": "user", "content": "What is the capital of France?"}]}
    request = urllib.request.Request(URL + "/v1/chat/completions", json.dumps(body).encode(),
                                     {"Content-Type": "application/json", "Authorization": "Bearer " + KEY})
    want = json.loads(urllib.request.urlopen(request).read())["choices"][0]["message"]["content"]
    got = shown.find_element(By.CSS_SELECTOR, ".body").text
    assert " ".join(got.split()) == " ".join(want.split()), (got, want)
    meta = shown.find_element(By.CSS_SELECTOR, ".meta").text
    assert "tokens" in meta and "t/s" in meta and "first after" in meta, meta
    assert "of 8192 tokens" in page.get("#gauge-text").text


def survives_a_reload(page):
    text = page.get(".message.assistant .body").text
    page.driver.refresh()
    page.wait("the list is drawn", lambda: page.all("#chats .open"))
    assert page.get("#chats .open").text == "What is the capital of France?"
    page.get("#chats .open").click()
    page.wait("the conversation is shown", lambda: page.all(".message.assistant"))
    assert page.get(".message.assistant .body").text == text
    page.wait("the model is known again", lambda: page.get("#model").text.strip())


def branches(page):
    page.js("document.querySelector('.message.assistant .meta button:nth-of-type(2)').click()")
    page.wait("a second version", lambda: page.all(".branches") and page.idle())
    assert "2/2" in page.get(".message.assistant .branches").text
    page.get(".message.assistant .branches button").click()
    page.wait("the first version", lambda: "1/2" in page.get(".message.assistant .branches").text)
    page.get(".message.user .meta button:last-of-type").click()
    field = page.get(".message.user textarea")
    field.clear()
    field.send_keys("What is the capital of Italy?")
    page.get(".message.user .meta button").click()
    page.wait("the edited question is answered", lambda: page.idle() and page.all(".message.user .branches"))
    assert "Italy" in page.get(".message.user .body").text and "2/2" in page.get(".message.user .branches").text


def stop_cancels(page):
    page.get("#new-chat").click()
    page.set(extra=LONG)
    before = metric("millrace:client_disconnects_total")
    page.ask("Write a long story about a river.")
    page.wait("text arrives", lambda: len(page.get(".message.assistant .body").text) > 40)
    assert metric("vllm:num_requests_running") == 1
    page.get("#send").click()
    page.wait("the page is idle", page.idle, 2)
    page.wait("the server has cancelled", lambda: metric("vllm:num_requests_running") == 0, 2)
    assert metric("millrace:client_disconnects_total") == before + 1
    assert "stopped" in page.get(".message.assistant .meta").text
    page.set(extra="")


def settings_are_checked_and_sent(page):
    page.get("#open-settings").click()
    page.get("#settings [name=top_p]").send_keys("1.5")
    page.get("#settings [name=extra]").send_keys("[1]")
    page.get("#save-settings").click()
    hints = [hint.text for hint in page.all("#settings .hint.error")]
    assert hints == ["at most 1", "must be a JSON object"], hints
    page.get("#settings [name=top_p]").clear()
    page.get("#settings [name=extra]").clear()
    page.get("#save-settings").click()
    page.get("#new-chat").click()
    page.set(max_completion_tokens="3")
    meta = page.answer("Count to twenty.").find_element(By.CSS_SELECTOR, ".meta").text
    assert "3 tokens" in meta and "cut at the length limit" in meta, meta
    page.set(max_completion_tokens="")


def errors_are_shown(page):
    page.get("#new-chat").click()
    page.set(extra='{"temperature": "hot"}')
    page.answer("Hello")
    assert "temperature" in page.get(".message .error, .error[role=alert]").text
    page.set(extra="")


def markdown_and_math(page):
    for source, want in RENDERED:
        got = page.js("const n = document.createElement('div'); markdown.show(n, arguments[0]); return n.innerHTML", source)
        assert got == want, (source, got)
    page.js("const n = document.createElement('div'); markdown.show(n, '```js\\nlet a = 1 < 2;'); window.n = n")
    assert page.js("return n.querySelector('pre').textContent") == "let a = 1 < 2;"
    # a text that grows piece by piece ends as the same elements as the whole
    text = "\n\n".join(source for source, _ in RENDERED)
    grown = page.js("""const n = document.createElement('div'), t = arguments[0];
        for (let i = 1; i <= t.length; ++i) markdown.show(n, t.slice(0, i)); return n.innerHTML""", text)
    whole = page.js("const n = document.createElement('div'); markdown.show(n, arguments[0]); return n.innerHTML", text)
    assert grown == whole
    # hostile: no pattern may take seconds
    for bad in ("**" * 9000, "[" * 18000, "$" + "x" * 18000, "`" * 17999, "\\left(" * 3000, "$$" + "{" * 9000, "> " * 5000, "_a" * 9000):
        began = time.monotonic()
        page.js("markdown.show(document.createElement('div'), arguments[0])", bad)
        assert time.monotonic() - began < 3, bad[:10]


def reasoning_folds(page):
    page.get("#new-chat").click()
    page.js("""window.real = window.fetch;
        const chunks = [{reasoning_content: "Let me *see*."}, {content: "It is **four**."}].map((delta) => ({choices: [{index: 0, delta}]}));
        const events = chunks.map((c) => "data: " + JSON.stringify(c) + "\\n\\n").join("") + "data: [DONE]\\n\\n";
        window.fetch = async () => new Response(events, {headers: {"Content-Type": "text/event-stream"}})""")
    page.answer("2+2?")
    page.js("window.fetch = window.real")
    fold = page.get(".message.assistant details.reasoning")
    assert fold.get_attribute("open") is None and "see" in fold.get_attribute("textContent")
    assert page.get(".message.assistant .body strong").text == "four"


def dark_mode(page):
    before = page.js("return document.documentElement.dataset.theme")
    page.get("#theme").click()
    after = page.js("return document.documentElement.dataset.theme")
    assert {before, after} == {"light", "dark"}
    page.driver.refresh()
    assert page.js("return document.documentElement.dataset.theme") == after
    page.wait("the model is known again", lambda: page.get("#model").text.strip())


def live_tab(page):
    page.set(extra=LONG)
    page.ask("Tell me everything about trains.")
    page.wait("text arrives", lambda: len(page.get(".message.assistant .body").text) > 40)
    page.get("#tab-live").click()
    cards = lambda: {card.find_element(By.CSS_SELECTOR, "h3").text: card.find_element(By.CSS_SELECTOR, ".value").text for card in page.all(".card")}
    page.wait("figures", lambda: page.all(".card") and float(cards()["Generated tokens per second"].replace("-", "0")) > 1)
    time.sleep(4)
    seen = cards()
    assert seen["Requests running"] == "1" and seen["Between two tokens, median"].endswith("s"), seen
    assert page.get(".card path").get_attribute("d").startswith("M")
    page.shot("live")
    page.get("#tab-chat").click()
    page.get("#send").click()
    page.wait("the page is idle", page.idle)
    page.set(extra="")


def attachment_and_export(page):
    page.get("#new-chat").click()
    with tempfile.TemporaryDirectory() as folder:
        note = pathlib.Path(folder) / "note.txt"
        note.write_text("The secret word is walnut.")
        page.js("document.getElementById('file').click = () => 0")
        page.get("#attach").click()
        page.get("#file").send_keys(str(note))
        page.wait("the file is listed", lambda: "note.txt" in page.get("#files").text)
        page.answer("What is the secret word?")
        assert "note.txt" in page.get(".message.user .body").text
        chats = page.js("return store.all().then(JSON.stringify)")
        n = len(json.loads(chats))
        saved = pathlib.Path(folder) / "chats.json"
        saved.write_text(chats)
        page.js("return store.all().then((all) => Promise.all(all.map((c) => store.remove(c.id))))")
        page.js("document.getElementById('file').click = () => 0")
        page.get("#import").click()
        page.get("#file").send_keys(str(saved))
        page.wait("the conversations are back", lambda: len(page.all("#chats .item")) == n)
        saved.write_text('[{"id": 1}]')
        page.get("#import").click()
        page.get("#file").send_keys(str(saved))
        page.wait("a foreign file is refused", lambda: "not an export" in page.get("#progress").text)


def phone_width(page):
    page.phone(True)
    assert page.js("return document.documentElement.scrollWidth <= innerWidth")
    assert not page.get("#side").is_displayed()
    page.shot("phone")
    page.get("#show-side").click()
    page.wait("the list opens", page.get("#side").is_displayed)
    page.shot("phone-list")
    page.get("#chats .open").click()
    page.wait("the list closes", lambda: not page.get("#side").is_displayed())
    page.get("#open-settings").click()
    assert page.js("return document.documentElement.scrollWidth <= innerWidth")
    page.shot("phone-settings")
    page.get("#settings .bar button").click()
    page.phone(False)


def showcase(page):
    page.get("#new-chat").click()
    page.js("""const sample = arguments[0];
        window.real = window.fetch;
        const event = "data: " + JSON.stringify({choices: [{index: 0, delta: {content: sample}}]}) + "\\n\\ndata: [DONE]\\n\\n";
        window.fetch = async () => new Response(event)""",
            "## Roots\n\nThe roots of $ax^2+bx+c$ are\n\n$$x = \\frac{-b \\pm \\sqrt{b^2-4ac}}{2a}$$\n\n| a | b | c |\n|---|---|---|\n| 1 | 0 | -4 |\n\n"
            "1. compute **once**\n2. then `print` it\n\n```python\ndef roots(a, b, c):\n    d = (b * b - 4 * a * c) ** 0.5\n    return (-b + d) / (2 * a), (-b - d) / (2 * a)\n```\n"
            "$$\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix} \\sum_{i=1}^{n} \\alpha_i$$")
    page.answer("Explain the quadratic formula.")
    page.js("window.fetch = window.real")
    page.shot("desktop")
    page.get("#theme").click()
    page.shot("desktop-other-theme")
    page.get("#theme").click()


def console_is_quiet(page):
    bad = [entry["message"] for entry in page.driver.get_log("browser") if "401" not in entry["message"] and "400" not in entry["message"]]
    assert not bad, bad


CHECKS = [page_is_safe_and_small, asks_for_the_key, reply_is_the_api_s, survives_a_reload, branches, stop_cancels, settings_are_checked_and_sent,
          errors_are_shown, markdown_and_math, reasoning_folds, dark_mode, live_tab, attachment_and_export, showcase, phone_width, console_is_quiet]


def main():
    page = Page()

    def picture(check):
        page.shot("fail-" + check.__name__)
        page.phone(False)

    try:
        return checks.run(CHECKS, lambda check: check(page), picture)
    finally:
        page.driver.quit()


if __name__ == "__main__":
    sys.exit(main())
