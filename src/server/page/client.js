// The server's API. Addresses are relative to the page, so a path prefix of a proxy stays.
const client = (() => {
  const address = (path) => new URL(path, location.href.replace(/[^/]*([?#].*)?$/, "")).href;
  const key = () => localStorage.getItem("millrace.key") || "";

  async function request(path, options = {}) {
    const headers = {...options.headers};
    if (key()) headers.Authorization = "Bearer " + key();
    const reply = await fetch(address(path), {...options, headers});
    if (reply.ok) return reply;
    let message = `${reply.status} ${reply.statusText}`;
    try {
      const body = await reply.json();
      message = body.error?.message || body.message || message;
    } catch { /* not JSON: the status says enough */ }
    const error = new Error(message);
    error.status = reply.status;
    throw error;
  }

  // Events of a stream: calls take(object) for each; ends at [DONE] or the end of the body.
  async function events(reply, take) {
    const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const {value, done} = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        for (const line of part.split("\n")) {
          if (!line.startsWith("data:")) continue;
          const data = line.slice(5).trim();
          if (data === "[DONE]") return;
          take(JSON.parse(data));
        }
      }
    }
  }

  return {
    models: async () => (await (await request("v1/models")).json()).data,
    metrics: async () => (await request("metrics")).text(),
    async chat(body, signal, take) {
      const reply = await request("v1/chat/completions", {
        method: "POST", signal, headers: {"Content-Type": "application/json"},
        body: JSON.stringify({...body, stream: true, stream_options: {include_usage: true}}),
      });
      await events(reply, take);
    },
  };
})();
