// The conversation shown: drawing, sending, stopping, editing, branches.
const chat = (() => {
  let now = tree.fresh();  // the conversation
  let running = null;      // {abort, node, view, began, first} while a reply streams
  let files = [];          // attachments of the next message: {name, text}
  let model = null;        // a row of /v1/models
  const kLongestFile = 1 << 20;

  // --- drawing ---
  function stats_line(node) {
    const s = node.stats;
    if (!s) return [];
    const out = [];
    if (s.tokens !== undefined) out.push(s.tokens === 1 ? "1 token" : `${s.tokens} tokens`);
    if (s.rate) out.push(`${s.rate.toFixed(1)} t/s`);
    if (s.ttft) out.push(`first after ${(s.ttft / 1000).toFixed(2)} s`);
    if (s.prompt) out.push(`prompt ${s.prompt}${s.cached ? ` (${s.cached} cached)` : ""}`);
    if (s.reason && s.reason !== "stop") out.push(s.reason === "length" ? "cut at the length limit" : s.reason);
    return out.map((text) => el("span", {}, text));
  }

  function branch_switch(node) {
    const all = tree.siblings(now, node);
    if (all.length < 2) return null;
    const at = all.indexOf(node);
    const go = (to) => () => running || (tree.choose(now, all[to]), store.save(now), draw());
    return el("span", {class: "branches"},
      el("button", {"aria-label": "Previous version", disabled: at === 0, onclick: go(at - 1)}, "‹"), `${at + 1}/${all.length}`,
      el("button", {"aria-label": "Next version", disabled: at + 1 === all.length, onclick: go(at + 1)}, "›"));
  }

  function reasoning_fold(node, live) {
    if (!node.reasoning) return null;
    const inner = el("div");
    markdown.show(inner, node.reasoning);
    return el("details", {class: "reasoning", open: live && !node.content}, el("summary", {}, live && !node.content ? "Thinking" : "Thoughts"), inner);
  }

  function view_of(node) {
    const body = el("div", {class: "body"});
    const meta = el("div", {class: "meta"});
    const box = el("div", {class: "message " + node.role, "data-id": node.id}, body, meta);
    if (node.role === "user") {
      body.textContent = node.content;
      for (const file of node.files || []) body.append(el("div", {class: "small"}, `\u{1F4CE} ${file.name}`));
      meta.append(el("button", {onclick: () => edit(node, box)}, "Edit"));
    } else {
      const fold = reasoning_fold(node, false);
      const text = el("div", {class: "body"});
      markdown.show(text, node.content);
      body.replaceWith(...[fold, text].filter(Boolean));
      if (node.error) meta.before(el("p", {class: "error", role: "alert"}, node.error));
      meta.append(el("button", {onclick: (event) => copy(event.target, node.content)}, "Copy"),
        el("button", {onclick: () => running || regenerate(node)}, "Again"), ...stats_line(node));
    }
    const branches = branch_switch(node);
    if (branches) meta.prepend(branches);
    return box;
  }

  function draw() {
    const log = $("log");
    const path = tree.path(now);
    log.replaceChildren(...path.map(view_of));
    if (!path.length) log.append(el("p", {class: "empty"}, model ? `Ask ${model.id} something.` : ""));
    log.scrollTop = log.scrollHeight;
    gauge(path);
    draw_list();
  }

  async function draw_list() {
    const chats = await store.all();
    $("chats").replaceChildren(...chats.map((item) => el("div", {class: "item" + (item.id === now.id ? " now" : "")},
      el("button", {class: "open", onclick: () => show(item)}, item.title || "Untitled"),
      el("button", {class: "drop", "aria-label": "Delete " + (item.title || "Untitled"), onclick: () => drop(item)}, "✕"))));
  }

  function gauge(path) {
    const last = path.findLast((node) => node.stats);
    const size = model?.max_model_len;
    const used = last ? (last.stats.prompt || 0) + (last.stats.tokens || 0) : 0;
    $("gauge").hidden = !size || !used;
    $("gauge-text").textContent = size && used ? `${used} of ${size} tokens` : "";
    if (size) $("gauge").value = used / size;
  }

  function copy(button, text) {
    navigator.clipboard?.writeText(text).then(() => button.textContent = "Copied", () => button.textContent = "Failed");
  }

  // --- streaming ---
  // Models without a reasoning parser on the server write <think> into the text itself.
  function take_thoughts(node) {
    const match = node.raw.match(/^\s*<think>([^]*?)(<\/think>\s*|$)/);
    node.content = match ? node.raw.slice(match[0].length) : node.raw;
    if (match) node.reasoning = match[1].trim();
  }

  function draw_live() {
    if (!running || running.frame) return;
    running.frame = requestAnimationFrame(() => {
      if (!running) return;
      running.frame = 0;
      const {node, view} = running;
      const log = $("log");
      const at_end = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
      if (node.reasoning) {
        if (!view.fold) {
          view.thoughts = el("div");
          view.fold = el("details", {class: "reasoning", open: true}, el("summary", {}, "Thinking"), view.thoughts);
          view.body.before(view.fold);
        }
        markdown.show(view.thoughts, node.reasoning);
        if (node.content && !view.folded) {
          view.folded = true;
          view.fold.open = false;
          view.fold.firstChild.textContent = "Thoughts";
        }
      }
      markdown.show(view.body, node.content);
      const seconds = (performance.now() - running.first) / 1000;
      if (running.first && seconds > 0.3) view.meta.textContent = `${running.tokens} tokens, ${(running.tokens / seconds).toFixed(1)} t/s`;
      if (at_end) log.scrollTop = log.scrollHeight;
    });
  }

  function take(event) {
    const {node} = running;
    if (event.error) throw new Error(event.error.message || "the server reported an error");
    const choice = event.choices?.[0];
    const delta = choice?.delta || {};
    const thought = delta.reasoning_content ?? delta.reasoning;
    if (thought || delta.content) {
      if (!running.first) {
        running.first = performance.now();
        node.stats.ttft = running.first - running.began;
        $("progress").textContent = "";
      }
      ++running.tokens;
    }
    if (thought) node.reasoning = (node.reasoning || "") + thought;
    if (delta.content) {
      node.raw += delta.content;
      take_thoughts(node);
    }
    if (choice?.finish_reason) node.stats.reason = choice.finish_reason;
    if (event.usage) {
      node.stats.tokens = event.usage.completion_tokens;
      node.stats.prompt = event.usage.prompt_tokens;
      node.stats.cached = event.usage.prompt_tokens_details?.cached_tokens || 0;
    }
    if (event.timings?.predicted_per_second) node.stats.rate = event.timings.predicted_per_second;
    draw_live();
  }

  function messages_to(node) {
    const out = settings.system() ? [{role: "system", content: settings.system()}] : [];
    for (const part of tree.path({...now, leaf: node.id})) {
      if (part.role === "assistant" && !part.content) continue;
      const attached = (part.files || []).map((f) => `File ${f.name}:\n\`\`\`\n${f.text}\n\`\`\`\n\n`).join("");
      out.push({role: part.role, content: attached + part.content});
    }
    return out;
  }

  // Asks for a reply to the user's message node.
  async function reply_to(question) {
    const conversation = now;
    const messages = messages_to(question);
    const node = tree.add(now, question.id, "assistant", "");
    Object.assign(node, {reasoning: "", raw: "", stats: {}});
    draw();
    const view = {box: $("log").lastChild, body: $("log").lastChild.querySelector(".body"), meta: $("log").lastChild.querySelector(".meta")};
    view.meta.textContent = "";
    view.body.classList.add("caret");
    running = {abort: new AbortController(), node, view, began: performance.now(), first: 0, tokens: 0, frame: 0};
    buttons();
    $("progress").textContent = "Reading the prompt";
    try {
      await client.chat({model: model?.id, ...settings.body(), messages}, running.abort.signal, take);
    } catch (error) {
      if (error.name === "AbortError") node.stats.reason = "stopped";
      else node.error = error.message;
      if (error.status === 401) settings.open();
    }
    if (node.stats.tokens === undefined) node.stats.tokens = running.tokens;
    if (!node.stats.rate && running.first && running.tokens > 1) {
      node.stats.rate = (running.tokens - 1) / ((performance.now() - running.first) / 1000);
    }
    delete node.raw;
    cancelAnimationFrame(running.frame);
    running = null;
    $("progress").textContent = "";
    buttons();
    await store.save(conversation);
    if (now === conversation) draw();
  }

  function buttons() {
    $("send").textContent = running ? "Stop" : "Send";
    $("send").classList.toggle("primary", !running);
    for (const id of ["new-chat", "import"]) $(id).disabled = !!running;
  }

  // --- actions ---
  function send() {
    if (running) return running.abort.abort();
    const text = $("prompt").value.trim();
    if (!text && !files.length) return;
    const question = tree.add(now, now.leaf, "user", text);
    if (files.length) question.files = files;
    if (!now.title) now.title = (text || files[0].name).slice(0, 60);
    files = [];
    draw_files();
    $("prompt").value = "";
    fit();
    store.save(now);
    reply_to(question);
  }

  function regenerate(node) {
    const question = now.nodes[node.parent];
    if (question) reply_to(question);
  }

  function edit(node, box) {
    if (running) return;
    const input = el("textarea", {"aria-label": "Edit the message"});
    input.value = node.content;
    const save = () => {
      const changed = tree.add(now, node.parent, "user", input.value.trim());
      changed.files = node.files;
      reply_to(changed);
    };
    box.replaceChildren(input, el("div", {class: "meta"}, el("button", {onclick: save}, "Send"), el("button", {onclick: draw}, "Cancel")));
    input.focus();
  }

  function show(item) {
    if (running) return;
    now = item;
    document.body.classList.remove("side");
    draw();
  }

  async function drop(item) {
    if (running || !confirm(`Delete "${item.title || "Untitled"}"?`)) return;
    await store.remove(item.id);
    if (item.id === now.id) now = tree.fresh();
    draw();
  }

  async function attach(list) {
    for (const file of list) {
      const text = file.size > kLongestFile ? null : await file.text();
      if (text === null || text.includes("\0")) {
        $("progress").textContent = `${file.name}: ${text === null ? "larger than 1 MB" : "not a text file"}`;
      } else {
        files.push({name: file.name, text});
      }
    }
    draw_files();
  }

  function draw_files() {
    $("files").replaceChildren(...files.map((file, i) => el("span", {}, file.name,
      el("button", {type: "button", "aria-label": "Remove " + file.name, onclick: () => (files.splice(i, 1), draw_files())}, "✕"))));
  }

  function fit() {
    const prompt = $("prompt");
    prompt.style.height = "auto";
    prompt.style.height = prompt.scrollHeight + 2 + "px";
  }

  async function import_file(file) {
    try {
      const list = JSON.parse(await file.text());
      const chats = (Array.isArray(list) ? list : [list]).map(tree.checked);
      if (chats.includes(null)) throw new Error("not an export of this page");
      for (const item of chats) await store.save(item);
      draw();
    } catch (error) {
      $("progress").textContent = `${file.name}: ${error.message}`;
    }
  }

  return {
    draw, send, attach, fit, import_file,
    fresh: () => running || (now = tree.fresh(), document.body.classList.remove("side"), draw(), $("prompt").focus()),
    export_all: async () => download("millrace-chats.json", JSON.stringify(await store.all())),
    set_model: (chosen) => (model = chosen, running || draw()),
  };
})();
