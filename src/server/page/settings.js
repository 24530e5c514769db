// Settings of requests and of the page, kept in localStorage. An empty field is not sent: the server's default holds.
const settings = (() => {
  const kFields = [
    {name: "key", label: "API key", type: "password", wide: true, own: "millrace.key"},
    {name: "system", label: "System prompt", type: "text", wide: true, page: true},
    {name: "temperature", label: "Temperature", min: 0, max: 2, step: 0.05, hint: "0 = always the likeliest token"},
    {name: "max_completion_tokens", label: "Longest reply in tokens", min: 1, step: 1},
    {name: "top_p", label: "Top p", min: 0, max: 1, step: 0.01},
    {name: "top_k", label: "Top k", min: 0, step: 1, hint: "0 = off"},
    {name: "min_p", label: "Min p", min: 0, max: 1, step: 0.01},
    {name: "repetition_penalty", label: "Repetition penalty", min: 0.01, max: 2, step: 0.01, hint: "1 = off"},
    {name: "presence_penalty", label: "Presence penalty", min: -2, max: 2, step: 0.1},
    {name: "frequency_penalty", label: "Frequency penalty", min: -2, max: 2, step: 0.1},
    {name: "seed", label: "Seed", min: 0, step: 1},
    {name: "stop", label: "Stop strings, one a line", type: "text", lines: true},
    {name: "schema", label: "JSON schema of the reply", type: "text", json: true, wide: true},
    {name: "grammar", label: "Grammar of the reply (GBNF)", type: "text", wide: true},
    {name: "extra", label: "Further fields as JSON object", type: "text", json: true, wide: true, hint: "merged into the request body"},
  ];
  const read = () => {
    try {
      return JSON.parse(localStorage.getItem("millrace.settings")) || {};
    } catch {
      return {};
    }
  };
  let values = read();

  function problem(field, text) {
    if (!text) return "";
    if (field.json) {
      try {
        const value = JSON.parse(text);
        return value && typeof value === "object" && !Array.isArray(value) ? "" : "must be a JSON object";
      } catch (error) {
        return error.message;
      }
    }
    if (field.type) return "";
    const number = Number(text);
    if (!Number.isFinite(number)) return "must be a number";
    if (field.min !== undefined && number < field.min) return `at least ${field.min}`;
    if (field.max !== undefined && number > field.max) return `at most ${field.max}`;
    return "";
  }

  function open() {
    const dialog = $("settings");
    const inputs = new Map();
    const fields = kFields.map((field) => {
      const value = field.own ? localStorage.getItem(field.own) || "" : values[field.name] ?? "";
      const input = field.type === "text" ? el("textarea", {rows: 2, name: field.name})
        : el("input", {name: field.name, type: field.type || "number", min: field.min, max: field.max, step: field.step, autocomplete: "off"});
      input.value = value;
      const hint = el("div", {class: "hint"}, field.hint || "");
      inputs.set(field, {input, hint});
      return el("label", {class: field.wide ? "wide" : ""}, field.label, input, hint);
    });
    const save = () => {
      let bad = null;
      const next = {};
      for (const [field, {input, hint}] of inputs) {
        const text = field.type === "password" ? input.value.trim() : input.value.trim() && input.value;
        const wrong = input.validity?.badInput ? "must be a number" : problem(field, text);
        hint.textContent = wrong || field.hint || "";
        hint.className = wrong ? "hint error" : "hint";
        if (wrong) bad ||= input;
        else if (text && !field.own) next[field.name] = text;
      }
      if (bad) return bad.focus();
      for (const [field, {input}] of inputs) {
        if (field.own) localStorage.setItem(field.own, input.value.trim());
      }
      values = next;
      localStorage.setItem("millrace.settings", JSON.stringify(values));
      dialog.close("saved");
    };
    dialog.replaceChildren(el("form", {onsubmit: (event) => (event.preventDefault(), save()), novalidate: true},
      el("h2", {}, "Settings"), el("div", {class: "fields"}, ...fields),
      el("div", {class: "bar"}, el("span", {class: "grow"}),
        el("button", {type: "button", onclick: () => dialog.close()}, "Cancel"), el("button", {class: "primary", id: "save-settings"}, "Save"))));
    dialog.showModal();
  }

  // The fields of a request body.
  function body() {
    const out = {};
    for (const field of kFields) {
      const text = values[field.name];
      if (!text || field.own || field.page) continue;
      if (field.name === "schema") out.response_format = {type: "json_schema", json_schema: {name: "reply", schema: JSON.parse(text), strict: true}};
      else if (field.name === "extra") continue;
      else if (field.lines) out[field.name] = text.split("\n").filter((line) => line);
      else out[field.name] = field.type ? text : Number(text);
    }
    return {...out, ...(values.extra ? JSON.parse(values.extra) : {})};
  }

  return {open, body, system: () => values.system || ""};
})();

const theme = {
  apply() {
    const chosen = localStorage.getItem("millrace.theme");
    const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
  },
  flip() {
    localStorage.setItem("millrace.theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    theme.apply();
  },
};
