// millrace bench serve: load a server and report latencies, with the flags and JSON keys of `vllm bench serve`.
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <numeric>
#include <optional>
#include <random>
#include <thread>

#include "app/bench_client.h"
#include "app/commands.h"
#include "app/flags.h"
#include "base/file.h"
#include "base/json.h"
#include "base/macros.h"

namespace millrace::app {
namespace {

struct ServeBenchFlags {
  std::string backend = "openai-chat";
  std::string base_url = "http://127.0.0.1:8000";
  std::string endpoint;
  std::vector<std::string> headers;
  std::string model;
  std::string dataset_name = "random";
  std::string dataset_path;
  int64_t input_len = 128;
  int64_t output_len = 64;
  double range_ratio = 0.0;
  int64_t prefix_len = 0;
  int64_t num_prompts = 64;
  double request_rate = 0.0;
  double burstiness = 1.0;
  int64_t max_concurrency = 0;
  int64_t num_warmups = 0;
  bool ignore_eos = false;
  std::string extra_body;
  std::vector<std::string> goodput;
  std::string metric_percentiles = "50,90,99";
  bool save_result = false;
  bool save_detailed = false;
  std::string result_dir = ".";
  std::string result_filename;
  int64_t seed = 0;
  int64_t ready_timeout_s = 60;
  bool json = false;
};

void declare(FlagSet& set, ServeBenchFlags& f) {
  set.add("--backend", &f.backend, "openai-chat (chat completions) | openai | vllm (completions)");
  set.add("--base-url", &f.base_url, "server address");
  set.add("--endpoint", &f.endpoint, "path; default by backend");
  set.add("--header", &f.headers, "KEY=VALUE, repeatable");
  set.add("--model,--served-model-name", &f.model, "model name to send; default: none");
  set.add("--dataset-name", &f.dataset_name, "random (words) | custom (JSONL with \"prompt\")");
  set.add("--dataset-path", &f.dataset_path, "file of --dataset-name custom");
  set.add("--input-len,--random-input-len", &f.input_len, "words of a random prompt", {1, 1 << 20});
  set.add("--output-len,--random-output-len", &f.output_len, "max_tokens of a request", {1, 1 << 20});
  set.add("--random-range-ratio", &f.range_ratio, "lengths are uniform in len * (1 +- ratio)", {0, 1});
  set.add("--random-prefix-len", &f.prefix_len, "words that every prompt begins with", {0, 1 << 20});
  set.add("--num-prompts", &f.num_prompts, "requests", {1, 1'000'000});
  set.add("--request-rate", &f.request_rate, "arrivals per second; 0 = all at once");
  set.add("--burstiness", &f.burstiness, "shape of the gamma distribution of gaps; 1 = Poisson");
  set.add("--max-concurrency", &f.max_concurrency, "requests in flight at most; 0 = no limit", {0, 65536});
  set.add("--num-warmups", &f.num_warmups, "requests sent before the clock starts", {0, 1'000'000});
  set.add("--ignore-eos", &f.ignore_eos, "generate exactly --output-len tokens");
  set.add("--extra-body", &f.extra_body, "JSON object merged into every body");
  set.add("--goodput", &f.goodput, "ttft:MS tpot:MS e2el:MS");
  set.add("--metric-percentiles", &f.metric_percentiles, "comma-separated");
  set.add("--save-result", &f.save_result, "write the result as JSON");
  set.add("--save-detailed", &f.save_detailed, "with every request's times");
  set.add("--result-dir", &f.result_dir, "folder of --save-result");
  set.add("--result-filename", &f.result_filename, "name of --save-result");
  set.add("--seed", &f.seed, "of prompts and arrivals", {INT64_MIN, INT64_MAX});
  set.add("--ready-check-timeout-sec", &f.ready_timeout_s, "wait this long for /health", {0, 86400});
  set.add("--json", &f.json, "print the result as JSON on stdout");
}

// Deterministic words of different lengths; the same seed gives the same prompts.
std::string random_words(std::mt19937_64& random, int64_t n) {
  constexpr std::string_view kWords[] = {
      "river", "stone",  "the",   "of",    "market", "winter", "machine", "light", "and",     "paper", "garden",
      "quick", "number", "house", "a",     "story",  "travel", "engine",  "water", "morning", "city",  "letter",
      "in",    "glass",  "field", "music", "window", "bridge", "summer",  "to",    "north",   "signal"};
  std::string out;
  for (int64_t i = 0; i < n; ++i) {
    if (i > 0) out += ' ';
    out += kWords[random() % std::size(kWords)];
  }
  return out;
}

Result<std::vector<std::string>> prompts_of(const ServeBenchFlags& f, std::mt19937_64& random, int64_t n) {
  std::vector<std::string> out;
  if (f.dataset_name == "custom") {
    std::string text = TRY(read_file(f.dataset_path, uint64_t{1} << 30));
    size_t begin = 0;
    while (begin < text.size() && static_cast<int64_t>(out.size()) < n) {
      size_t end = std::min(text.find('\n', begin), text.size());
      if (end > begin) {
        Json row = TRY(parse_json(std::string_view(text).substr(begin, end - begin)));
        const Json* prompt = row.get("prompt");
        if (prompt == nullptr || !prompt->is_string())
          return Error{ErrorCode::kBadFile, fmt::format("{}: a line without \"prompt\"", f.dataset_path), ""};
        out.push_back(prompt->as_string());
      }
      begin = end + 1;
    }
    return out;
  }
  if (f.dataset_name != "random")
    return Error{ErrorCode::kUsage,
                 fmt::format("--dataset-name {}: want random or custom", quote_for_message(f.dataset_name)), ""};
  std::mt19937_64 shared(static_cast<uint64_t>(f.seed) ^ 0x9E3779B97F4A7C15u);
  std::string prefix = f.prefix_len > 0 ? random_words(shared, f.prefix_len) + " " : "";
  auto low = static_cast<int64_t>(static_cast<double>(f.input_len) * (1.0 - f.range_ratio));
  auto high = static_cast<int64_t>(static_cast<double>(f.input_len) * (1.0 + f.range_ratio));
  for (int64_t i = 0; i < n; ++i) {
    int64_t length = low + static_cast<int64_t>(random() % static_cast<uint64_t>(std::max<int64_t>(high - low, 0) + 1));
    out.push_back(prefix + random_words(random, std::max<int64_t>(length, 1)));
  }
  return out;
}

Result<std::string> body_of(const ServeBenchFlags& f, const std::string& prompt, bool chat) {
  Json body = Json::object();
  if (!f.model.empty()) body.set("model", f.model);
  if (chat) {
    Json message = Json::object();
    message.set("role", "user");
    message.set("content", prompt);
    body.set("messages", Json(JsonArray{message}));
    body.set("max_completion_tokens", f.output_len);
  } else {
    body.set("prompt", prompt);
  }
  body.set("max_tokens", f.output_len);
  body.set("temperature", 0.0);
  body.set("stream", true);
  Json options = Json::object();
  options.set("include_usage", true);
  body.set("stream_options", options);
  if (f.ignore_eos) body.set("ignore_eos", true);
  if (!f.extra_body.empty()) {
    auto extra = parse_json(f.extra_body);
    if (!extra.ok() || !extra->is_object())
      return Error{ErrorCode::kUsage,
                   fmt::format("--extra-body: want a JSON object{}", extra.ok() ? "" : ", " + extra.error().message),
                   "--extra-body"};
    for (const auto& [name, value] : extra->as_object().members) body.set(name, value);
  }
  return body.dump();
}

double percentile(std::vector<double> values, double p) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  double at = p / 100.0 * static_cast<double>(values.size() - 1);
  auto low = static_cast<size_t>(at);
  size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (values[high] - values[low]) * (at - static_cast<double>(low));
}

void add_distribution(Json& out, const std::string& name, const std::vector<double>& seconds,
                      const std::vector<double>& percentiles) {
  std::vector<double> ms;
  for (double s : seconds) ms.push_back(s * 1e3);
  double mean = ms.empty() ? 0 : std::accumulate(ms.begin(), ms.end(), 0.0) / static_cast<double>(ms.size());
  double square = 0;
  for (double x : ms) square += (x - mean) * (x - mean);
  out.set("mean_" + name + "_ms", mean);
  out.set("median_" + name + "_ms", percentile(ms, 50));
  out.set("std_" + name + "_ms", ms.empty() ? 0.0 : std::sqrt(square / static_cast<double>(ms.size())));
  for (double p : percentiles) out.set(fmt::format("p{:g}_{}_ms", p, name), percentile(ms, p));
}

// Milliseconds allowed for ttft, tpot and e2el, in that order.
Result<std::array<double, 3>> goodput_limits(const std::vector<std::string>& specs) {
  std::array<double, 3> out{INFINITY, INFINITY, INFINITY};
  for (const std::string& spec : specs) {
    size_t colon = spec.find(':');
    std::string name = spec.substr(0, colon);
    size_t which = name == "ttft" ? 0 : name == "tpot" ? 1 : 2;
    if (colon == std::string::npos || (which == 2 && name != "e2el"))
      return Error{ErrorCode::kUsage,
                   fmt::format("--goodput {}: want ttft:MS, tpot:MS or e2el:MS", quote_for_message(spec)), "--goodput"};
    out[which] = static_cast<double>(TRY(parse_size(spec.substr(colon + 1))));
  }
  return out;
}

struct Measured {
  std::vector<double> ttft, tpot, itl, e2e;
  int64_t completed = 0, failed = 0, input_tokens = 0, output_tokens = 0, good = 0;
  std::string first_error;
};

Measured measure(const BenchRun& run, const std::array<double, 3>& limits) {
  Measured m;
  for (const BenchResult& r : run.results) {
    if (!r.error.empty()) {
      if (m.failed++ == 0) m.first_error = r.error;
      continue;
    }
    ++m.completed;
    m.input_tokens += r.prompt_tokens;
    m.output_tokens += r.output_tokens;
    double tpot = r.output_tokens > 1 ? (r.e2e_s - r.ttft_s) / static_cast<double>(r.output_tokens - 1) : 0;
    m.ttft.push_back(r.ttft_s);
    m.tpot.push_back(tpot);
    m.e2e.push_back(r.e2e_s);
    m.itl.insert(m.itl.end(), r.itl_s.begin(), r.itl_s.end());
    m.good += r.ttft_s * 1e3 <= limits[0] && tpot * 1e3 <= limits[1] && r.e2e_s * 1e3 <= limits[2];
  }
  return m;
}

// The most output tokens that ended in one second of the run, from the chunk times.
double peak_token_rate(const BenchRun& run) {
  std::vector<int64_t> seconds(static_cast<size_t>(run.duration_s) + 1);
  for (const BenchResult& r : run.results) {
    if (!r.error.empty()) continue;
    double at = r.sent_s + r.ttft_s;
    auto count = [&] { ++seconds[std::min(static_cast<size_t>(at), seconds.size() - 1)]; };
    count();
    for (double gap : r.itl_s) {
      at += gap;
      count();
    }
  }
  return static_cast<double>(*std::max_element(seconds.begin(), seconds.end()));
}

Json report(const ServeBenchFlags& f, const BenchRun& run, const std::array<double, 3>& limits,
            const std::vector<double>& percentiles) {
  Measured m = measure(run, limits);
  double seconds = std::max(run.duration_s, 1e-9);
  Json out = Json::object();
  out.set("backend", f.backend);
  out.set("model_id", f.model);
  out.set("num_prompts", static_cast<int64_t>(run.results.size()));
  out.set("max_concurrency", f.max_concurrency);
  out.set("duration", run.duration_s);
  out.set("completed", m.completed);
  out.set("failed", m.failed);
  if (m.failed > 0) out.set("first_error", m.first_error);
  out.set("total_input_tokens", m.input_tokens);
  out.set("total_output_tokens", m.output_tokens);
  out.set("request_throughput", static_cast<double>(m.completed) / seconds);
  if (!f.goodput.empty()) out.set("request_goodput", static_cast<double>(m.good) / seconds);
  out.set("output_throughput", static_cast<double>(m.output_tokens) / seconds);
  out.set("total_token_throughput", static_cast<double>(m.input_tokens + m.output_tokens) / seconds);
  out.set("max_output_tokens_per_s", peak_token_rate(run));
  out.set("max_concurrent_requests", run.max_concurrent);
  add_distribution(out, "ttft", m.ttft, percentiles);
  add_distribution(out, "tpot", m.tpot, percentiles);
  add_distribution(out, "itl", m.itl, percentiles);
  add_distribution(out, "e2el", m.e2e, percentiles);
  if (f.save_detailed) {
    for (const BenchResult& r : run.results) {
      out.set("ttfts", out.get("ttfts") ? *out.get("ttfts") : Json::array()).push_back(r.ttft_s);
      Json gaps = Json::array();
      for (double gap : r.itl_s) gaps.push_back(gap);
      out.set("itls", out.get("itls") ? *out.get("itls") : Json::array()).push_back(gaps);
    }
  }
  return out;
}

void print_table(const Json& result) {
  fmt::print(
      "definitions: TTFT = first chunk with text; ITL = gaps between chunks with text; TPOT = (E2E - TTFT)/(tokens - "
      "1); failures are not in the percentiles\n");
  for (const auto& [name, value] : result.as_object().members) {
    if (value.is_int()) fmt::print("{:<28} {}\n", name, value.as_int());
    if (value.kind() == Json::Kind::kDouble) fmt::print("{:<28} {:.3f}\n", name, value.as_double());
    if (value.is_string()) fmt::print("{:<28} {}\n", name, value.as_string());
  }
}

void show_progress(size_t done, size_t all) {
  if (all < 10 || done % (all / 10) == 0) fmt::print(stderr, "{} of {} requests done\n", done, all);
}

Result<std::vector<BenchRequest>> make_requests(const ServeBenchFlags& f, bool chat) {
  std::mt19937_64 random(static_cast<uint64_t>(f.seed));
  std::vector<BenchRequest> out;
  double at = 0;
  std::gamma_distribution<double> gap(f.burstiness, f.request_rate > 0 ? 1.0 / (f.request_rate * f.burstiness) : 1.0);
  for (const std::string& prompt : TRY(prompts_of(f, random, f.num_prompts))) {
    out.push_back({TRY(body_of(f, prompt, chat)), at});
    if (f.request_rate > 0) at += gap(random);
  }
  return out;
}

// "50,99": whole numbers of 0..100.
Result<std::vector<double>> percentiles_of(const std::string& list) {
  std::vector<double> out;
  for (size_t begin = 0; begin < list.size();) {
    size_t end = std::min(list.find(',', begin), list.size());
    auto value = parse_size(std::string_view(list).substr(begin, end - begin));
    if (!value.ok() || *value < 0 || *value > 100) {
      return Error{ErrorCode::kUsage,
                   fmt::format("--metric-percentiles = {}: want numbers of 0..100 and commas", quote_for_message(list)),
                   "--metric-percentiles"};
    }
    out.push_back(static_cast<double>(*value));
    begin = end + 1;
  }
  return out;
}

}  // namespace

Result<int> bench_serve_command(std::span<const std::string> args) {
  ServeBenchFlags f;
  FlagSet set("bench serve", "Load an OpenAI-style server and report TTFT, TPOT, ITL and throughput.");
  declare(set, f);
  if (!TRY(set.parse(args))) return 0;
  bool chat = f.backend == "openai-chat";
  if (!chat && f.backend != "openai" && f.backend != "vllm")
    return Error{ErrorCode::kUsage,
                 fmt::format("--backend {}: want openai-chat, openai or vllm", quote_for_message(f.backend)),
                 "--backend"};
  if (f.endpoint.empty()) f.endpoint = chat ? "/v1/chat/completions" : "/v1/completions";
  BenchTarget target = TRY(parse_bench_url(f.base_url, f.endpoint));
  for (const std::string& header : f.headers) {
    size_t cut = header.find('=');
    if (cut == std::string::npos) return Error{ErrorCode::kUsage, "--header: want KEY=VALUE", "--header"};
    target.headers.emplace_back(header.substr(0, cut), header.substr(cut + 1));
  }
  std::array<double, 3> limits = TRY(goodput_limits(f.goodput));
  std::vector<double> percentiles = TRY(percentiles_of(f.metric_percentiles));
  std::vector<BenchRequest> requests = TRY(make_requests(f, chat));
  for (int64_t waited = 0; http_get_status(target, "/health") != 200; ++waited) {
    if (waited >= f.ready_timeout_s)
      return Error{ErrorCode::kIo, fmt::format("{}: /health is not 200 after {} s", f.base_url, f.ready_timeout_s),
                   "--base-url"};
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
  if (f.num_warmups > 0) {
    ServeBenchFlags warm = f;
    warm.seed = f.seed + 1;
    warm.num_prompts = f.num_warmups;
    warm.request_rate = 0;
    run_bench(target, TRY(make_requests(warm, chat)), f.max_concurrency, nullptr);
  }
  BenchRun run = run_bench(target, requests, f.max_concurrency, f.json ? nullptr : show_progress);
  Json result = report(f, run, limits, percentiles);
  if (f.save_result) {
    std::string name =
        f.result_filename.empty() ? fmt::format("bench-serve-{}.json", std::time(nullptr)) : f.result_filename;
    TRY(write_file_atomic(f.result_dir + "/" + name, result.dump() + "\n"));
  }
  if (f.json) {
    fmt::print("{}\n", result.dump());
  } else {
    print_table(result);
  }
  return result.get("failed")->as_int() == 0 ? 0 : 1;
}

}  // namespace millrace::app
