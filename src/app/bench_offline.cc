// millrace bench latency, throughput and startup: a model without a server. The commands are named as vLLM's, and so
// are these flags of theirs: --input-len, --output-len, --batch-size, --num-prompts, --num-iters, --num-iters-warmup,
// --seed and --output-json. The JSON of the first two has vLLM's keys, that of startup its own. Every prompt and every
// answer has the length asked for.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "app/bench_prompts.h"
#include "app/commands.h"
#include "app/flags.h"
#include "app/model_flags.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/macros.h"
#include "instance/instance.h"

namespace millrace::app {
namespace {

struct OfflineFlags {
  ModelFlags model;
  int64_t input_len = 32;
  int64_t output_len = 128;
  int64_t batch_size = 8;
  int64_t n_warmup = 10;
  int64_t n_iterations = 30;
  int64_t n_prompts = 1000;
  int64_t seed = 0;
  std::string output_json;
};

void declare_lengths(FlagSet& set, OfflineFlags& f) {
  declare_model_flags(set, f.model, BatchSize::kOfTheCommand);
  set.add("--input-len", &f.input_len, "tokens of each prompt", {1, 1 << 20});
  set.add("--output-len", &f.output_len, "tokens of each answer", {1, 1 << 20});
  set.add("--seed", &f.seed, "of the prompts", {0, UINT32_MAX});
  set.add("--output-json", &f.output_json, "file for the result");
}

// All requests are there at once: the queue takes as many as any server's may.
Result<std::unique_ptr<instance::Instance>> load_with_room(const ModelFlags& flags) {
  instance::InstanceOptions options = TRY(instance_options(flags));
  for (LimitId id : {LimitId::kQueuedRequests, LimitId::kQueuedTokens, LimitId::kQueuedBytes}) {
    TRY(options.limits.set(id, limit_table()[static_cast<size_t>(id)].hard_max));
  }
  return instance::Instance::load(options, progress_printer());
}

double seconds(Tick ticks) { return static_cast<double>(ticks) / static_cast<double>(kSecond); }

double mean_of(const std::vector<double>& x) {
  return std::accumulate(x.begin(), x.end(), 0.0) / static_cast<double>(x.size());
}

// Between the two nearest of the sorted values, as numpy's.
double percentile_of(const std::vector<double>& sorted, double percent) {
  const double at = percent / 100.0 * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(std::floor(at));
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

Result<void> save(const std::string& path, const Json& report) {
  if (path.empty()) return {};
  return write_file_atomic(path, report.dump() + "\n");
}

Json numbers(const std::vector<double>& values) {
  Json out = Json::array();
  for (double value : values) out.push_back(value);
  return out;
}

// All of them at once, in as many requests as their limit of prompts needs.
Result<void> answer_all(instance::Instance& model, const OfflineFlags& f) {
  std::mt19937 random(static_cast<uint32_t>(f.seed));
  const Limits limits;
  std::vector<std::optional<Error>> failures;
  std::vector<BenchPrompts> batches;
  for (int64_t left = f.n_prompts; left > 0; left -= limits[LimitId::kBatchPrompts]) {
    batches.emplace_back(random, std::min(left, limits[LimitId::kBatchPrompts]), f.input_len, model.facts().n_vocab);
  }
  failures.resize(batches.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < batches.size(); ++i) {
    threads.emplace_back([&, i] {
      auto answer = answer_prompts(model, batches[i], f.output_len);
      if (!answer.ok()) failures[i] = answer.take_error();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::optional<Error>& failure : failures) {
    if (failure) return std::move(*failure);
  }
  return {};
}

}  // namespace

Result<int> bench_latency_command(std::span<const std::string> args) {
  OfflineFlags f;
  FlagSet set("bench latency", "Seconds until every answer of a batch has ended.");
  declare_lengths(set, f);
  set.add("--batch-size", &f.batch_size, "prompts at once", {1, 1024});
  set.add("--num-iters-warmup", &f.n_warmup, "runs before those that count", {0, 100000});
  set.add("--num-iters", &f.n_iterations, "runs", {1, 100000});
  if (!TRY(set.parse(args))) return 0;
  auto model = TRY(load_with_room(f.model));
  std::mt19937 random(static_cast<uint32_t>(f.seed));
  std::vector<double> latencies;
  for (int64_t i = -f.n_warmup; i < f.n_iterations; ++i) {
    const BenchPrompts prompts(random, f.batch_size, f.input_len, model->facts().n_vocab);
    const Tick begin = model->clock().now();
    TRY(answer_prompts(*model, prompts, f.output_len));
    if (i >= 0) latencies.push_back(seconds(model->clock().now() - begin));
  }
  std::vector<double> sorted = latencies;
  std::sort(sorted.begin(), sorted.end());
  Json percentiles = Json::object();
  fmt::print("Avg latency: {:.6f} seconds\n", mean_of(latencies));
  for (int percent : {10, 25, 50, 75, 90, 99}) {
    const double value = percentile_of(sorted, percent);
    fmt::print("{}% percentile latency: {:.6f} seconds\n", percent, value);
    percentiles.set(std::to_string(percent), value);
  }
  Json report = Json::object();
  report.set("avg_latency", mean_of(latencies));
  report.set("latencies", numbers(latencies));
  report.set("percentiles", std::move(percentiles));
  TRY(save(f.output_json, report));
  return 0;
}

Result<int> bench_throughput_command(std::span<const std::string> args) {
  OfflineFlags f;
  FlagSet set("bench throughput", "Requests and tokens a second when all requests are there at once.");
  declare_lengths(set, f);
  set.add("--num-prompts", &f.n_prompts, "requests", {1, 100000});
  if (!TRY(set.parse(args))) return 0;
  auto model = TRY(load_with_room(f.model));
  const Tick begin = model->clock().now();
  TRY(answer_all(*model, f));
  const double elapsed_s = seconds(model->clock().now() - begin);
  const auto n = static_cast<double>(f.n_prompts);
  const int64_t n_input = f.n_prompts * f.input_len;
  const int64_t n_output = f.n_prompts * f.output_len;
  fmt::print("Throughput: {:.2f} requests/s, {:.2f} total tokens/s, {:.2f} output tokens/s\n", n / elapsed_s,
             static_cast<double>(n_input + n_output) / elapsed_s, static_cast<double>(n_output) / elapsed_s);
  fmt::print("Total num prompt tokens:  {}\nTotal num output tokens:  {}\n", n_input, n_output);
  Json report = Json::object();
  report.set("elapsed_time", elapsed_s);
  report.set("num_requests", f.n_prompts);
  report.set("total_num_tokens", n_input + n_output);
  report.set("requests_per_second", n / elapsed_s);
  report.set("tokens_per_second", static_cast<double>(n_input + n_output) / elapsed_s);
  TRY(save(f.output_json, report));
  return 0;
}

Result<int> bench_startup_command(std::span<const std::string> args) {
  OfflineFlags f;
  f.n_iterations = 3;
  FlagSet set("bench startup", "Seconds of loading a model and warming it up; the first may read it from disk.");
  declare_model_flags(set, f.model);
  set.add("--num-iters", &f.n_iterations, "loads", {1, 1000});
  set.add("--output-json", &f.output_json, "file for the result");
  if (!TRY(set.parse(args))) return 0;
  const SystemClock clock;
  std::vector<double> times;
  for (int64_t i = 0; i < f.n_iterations; ++i) {
    const Tick begin = clock.now();
    auto model = TRY(load_instance(f.model));
    times.push_back(seconds(clock.now() - begin));
    fmt::print("Startup {}: {:.3f} seconds\n", i + 1, times.back());
  }
  fmt::print("Avg startup: {:.3f} seconds\n", mean_of(times));
  Json report = Json::object();
  report.set("avg_startup_time", mean_of(times));
  report.set("startup_times", numbers(times));
  TRY(save(f.output_json, report));
  return 0;
}

}  // namespace millrace::app
