// The live tab: /metrics once a second, as figures and lines over the last two minutes.
const live = (() => {
  const kPoints = 120;
  let timer = 0, last = null;

  // Sums of all series of a name; buckets of histograms by their upper bound.
  function parse(text) {
    const values = {}, buckets = {};
    for (const line of text.split("\n")) {
      const match = line.match(/^([a-zA-Z_:]+)(?:\{(.*)\})? ([^ ]+)/);
      if (!match) continue;
      const value = Number(match[3]);
      const le = match[2]?.match(/le="([^"]+)"/);
      if (le) {
        const of = (buckets[match[1]] ||= new Map());
        const bound = le[1] === "+Inf" ? Infinity : Number(le[1]);
        of.set(bound, (of.get(bound) || 0) + value);
      } else {
        const state = match[2]?.match(/(?:state|kind|prompt_tokens)="([^"]+)"/);
        values[match[1]] = (values[match[1]] || 0) + value;
        if (state) values[match[1] + "." + state[1]] = value;
      }
    }
    return {at: performance.now(), values, buckets};
  }

  const rate = (name) => (a, b) => (b.values[name] - a.values[name]) / ((b.at - a.at) / 1000);
  // The quantile of what was observed between two readings, linear inside a bucket; NaN when nothing was.
  const quantile = (name, q) => (a, b) => {
    const before = a.buckets[name + "_bucket"], after = b.buckets[name + "_bucket"];
    if (!before || !after) return NaN;
    const counts = [...after].map(([bound, n]) => [bound, n - (before.get(bound) || 0)]).sort((x, y) => x[0] - y[0]);
    const total = counts.length ? counts[counts.length - 1][1] : 0;
    if (!total) return NaN;
    let low = 0, below = 0;
    for (const [bound, n] of counts) {
      if (n >= q * total) return bound === Infinity ? low : low + (bound - low) * ((q * total - below) / Math.max(n - below, 1e-9));
      [low, below] = [bound, n];
    }
    return low;
  };
  const gauge = (name) => (a, b) => b.values[name];
  const hits = (a, b) => {
    const asked = b.values["vllm:prefix_cache_queries_total"] - a.values["vllm:prefix_cache_queries_total"];
    return (b.values["vllm:prefix_cache_hits_total"] - a.values["vllm:prefix_cache_hits_total"]) / asked;
  };

  const seconds = (v) => (v < 0.1 ? `${(v * 1000).toFixed(1)} ms` : v < 1 ? `${(v * 1000).toFixed(0)} ms` : `${v.toFixed(2)} s`);
  const count = (v) => v.toFixed(v < 10 && v % 1 ? 1 : 0);
  const percent = (v) => `${(v * 100).toFixed(1)} %`;
  const kCards = [
    {title: "Generated tokens per second", of: rate("vllm:generation_tokens_total"), text: count},
    {title: "Prompt tokens per second", of: rate("vllm:prompt_tokens_total"), text: count},
    {title: "Requests running", of: gauge("vllm:num_requests_running"), text: count},
    {title: "Requests waiting", of: gauge("vllm:num_requests_waiting"), text: count},
    {title: "KV cache in use", of: gauge("vllm:kv_cache_usage_perc"), text: percent, top: 1},
    {title: "Prompt tokens found in the cache", of: hits, text: percent, top: 1},
    {title: "Time to first token, median", of: quantile("vllm:time_to_first_token_seconds", 0.5), text: seconds},
    {title: "Time to first token, p99", of: quantile("vllm:time_to_first_token_seconds", 0.99), text: seconds},
    {title: "Between two tokens, median", of: quantile("millrace:inter_token_latency_fine_seconds", 0.5), text: seconds},
    {title: "Between two tokens, p99", of: quantile("millrace:inter_token_latency_fine_seconds", 0.99), text: seconds},
    {title: "Predicted time to first token, 512-token prompt", of: gauge("millrace:predicted_ttft_seconds.512"), text: seconds},
    {title: "Preemptions", of: gauge("vllm:num_preemptions_total"), text: count},
  ];

  function line(points, top) {
    const known = points.filter(Number.isFinite);
    const high = top || Math.max(...known, 1e-9);
    let path = "", pen = false;
    points.forEach((value, i) => {
      const x = ((kPoints - points.length + i) / (kPoints - 1)) * 100;
      if (Number.isFinite(value)) path += `${pen ? "L" : "M"}${x.toFixed(2)} ${(40 - (value / high) * 36).toFixed(2)}`;
      pen = Number.isFinite(value);
    });
    return path;
  }

  function build() {
    const cards = kCards.map((card) => {
      card.points = [];
      card.value = el("div", {class: "value"}, "-");
      card.path = svg("path", {d: ""});
      return el("div", {class: "card"}, el("h3", {}, card.title), card.value,
        svg("svg", {viewBox: "0 0 100 44", preserveAspectRatio: "none", "aria-hidden": "true"}, card.path));
    });
    $("live").replaceChildren(el("p", {class: "error", id: "live-error", hidden: true}), el("div", {class: "cards"}, ...cards));
  }

  async function tick() {
    try {
      const reading = parse(await client.metrics());
      $("live-error").hidden = true;
      if (last) {
        for (const card of kCards) {
          const value = card.of(last, reading);
          card.points.push(value);
          if (card.points.length > kPoints) card.points.shift();
          const shown = card.points.findLast(Number.isFinite);
          card.value.textContent = shown === undefined ? "-" : card.text(shown);
          card.path.setAttribute("d", line(card.points, card.top));
        }
      }
      last = reading;
    } catch (error) {
      $("live-error").hidden = false;
      $("live-error").textContent = `No figures: ${error.message}`;
      last = null;
    }
  }

  return {
    start() {
      if (!$("live").firstChild) build();
      if (!timer) {
        last = null;
        tick();
        timer = setInterval(() => document.hidden || tick(), 1000);
      }
    },
    stop() {
      clearInterval(timer);
      timer = 0;
    },
  };
})();
