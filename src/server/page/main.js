// Wiring.
function show_tab(name) {
  for (const tab of ["chat", "live"]) {
    $(tab).hidden = tab !== name;
    $("tab-" + tab).setAttribute("aria-selected", String(tab === name));
  }
  if (name === "live") live.start();
  else live.stop();
}

async function load_models() {
  try {
    const models = await client.models();
    const wanted = localStorage.getItem("millrace.model");
    const select = $("model");
    select.replaceChildren(...models.map((model) => el("option", {value: model.id}, model.id)));
    const chosen = models.find((model) => model.id === wanted) || models[0];
    if (chosen) select.value = chosen.id;
    select.onchange = () => {
      localStorage.setItem("millrace.model", select.value);
      chat.set_model(models.find((model) => model.id === select.value));
    };
    $("progress").textContent = "";
    chat.set_model(chosen);
  } catch (error) {
    $("progress").textContent = error.message;
    if (error.status === 401) settings.open();
    else setTimeout(load_models, 2000);
  }
}

async function start() {
  theme.apply();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", theme.apply);
  await store.open();
  $("composer").addEventListener("submit", (event) => (event.preventDefault(), chat.send()));
  $("prompt").addEventListener("input", chat.fit);
  $("prompt").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if ($("send").textContent === "Send") chat.send();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !$("settings").open && $("send").textContent === "Stop") chat.send();
  });
  $("new-chat").onclick = chat.fresh;
  $("export").onclick = chat.export_all;
  $("theme").onclick = theme.flip;
  $("open-settings").onclick = settings.open;
  $("settings").addEventListener("close", () => $("settings").returnValue === "saved" && load_models());
  $("show-side").onclick = () => document.body.classList.add("side");
  $("hide-side").onclick = () => document.body.classList.remove("side");
  $("tab-chat").onclick = () => show_tab("chat");
  $("tab-live").onclick = () => show_tab("live");
  const pick = (accept, take) => {
    const input = $("file");
    input.accept = accept;
    input.onchange = () => (take([...input.files]), input.value = "");
    input.click();
  };
  $("attach").onclick = () => pick("", chat.attach);
  $("import").onclick = () => pick(".json,application/json", (files) => files[0] && chat.import_file(files[0]));
  chat.draw();
  load_models();
}
start();
