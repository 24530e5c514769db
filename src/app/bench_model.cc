// millrace bench model: the pp/tg table of llama-bench, through the whole engine, with the machine's ceilings beside
// it.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>

#include "app/bench_prompts.h"
#include "app/commands.h"
#include "app/flags.h"
#include "app/machine_rates.h"
#include "app/model_flags.h"
#include "base/macros.h"
#include "instance/session.h"

namespace millrace::app {
namespace {

struct BenchModelFlags {
  ModelFlags model;
  int64_t n_prompt = 512;
  int64_t n_gen = 128;
  int64_t n_batch = 0;
  int64_t n_depth = 1;
  int64_t repetitions = 5;
  bool json = false;
};

// Tokens per second of n_batch streams while all of them decode: from the moment the last has its first token to the
// moment the first has all of its n_gen. Prompts come from the prefix cache, so that they start together.
Result<double> decode_batch(instance::Instance& model, BenchPrompts prompts, int64_t n_gen) {
  auto n_seqs = static_cast<size_t>(prompts.tokens.size());
  prompts.cached = true;
  TRY(answer_prompts(model, prompts, 1));
  std::vector<uint32_t> n_output(n_seqs, 0);
  size_t n_started = 0;
  Tick begin = 0;
  Tick end = 0;
  int64_t n_tokens = 0;
  auto on_delta = [&](const instance::ChoiceDelta& delta) {
    if (end != 0) return true;
    if (n_output[delta.choice] == 0) ++n_started;
    if (begin != 0) n_tokens += delta.n_output - n_output[delta.choice];
    n_output[delta.choice] = delta.n_output;
    if (begin == 0 && n_started == n_seqs) begin = model.clock().now();
    if (delta.finish) end = model.clock().now();
    return true;
  };
  TRY(answer_prompts(model, prompts, n_gen, on_delta));
  if (begin == 0 || end <= begin) return 0.0;
  return static_cast<double>(n_tokens) * static_cast<double>(kSecond) / static_cast<double>(end - begin);
}

// As llama-bench writes it: tg128, tg128@d512.
std::string name_of_decode(const BenchModelFlags& f) {
  return f.n_depth > 1 ? fmt::format("tg{}@d{}", f.n_gen, f.n_depth) : fmt::format("tg{}", f.n_gen);
}

struct Rate {
  std::string test;
  std::vector<double> samples;  // tokens per second
};

double mean_of(const std::vector<double>& x) {
  double sum = 0;
  for (double v : x) sum += v;
  return sum / static_cast<double>(x.size());
}
double median_of(std::vector<double> x) {
  std::sort(x.begin(), x.end());
  return x.size() % 2 != 0 ? x[x.size() / 2] : (x[x.size() / 2 - 1] + x[x.size() / 2]) / 2;
}
double deviation_of(const std::vector<double>& x) {
  double mean = mean_of(x);
  double sum = 0;
  for (double v : x) sum += (v - mean) * (v - mean);
  return x.size() < 2 ? 0 : std::sqrt(sum / static_cast<double>(x.size() - 1));
}

Result<std::vector<Rate>> measure(instance::Instance& model, const BenchModelFlags& f) {
  std::mt19937 random(1);
  int64_t n_vocab = model.facts().n_vocab;
  std::vector<Rate> out;
  auto add = [&](std::string test, double rate) {
    auto at = std::find_if(out.begin(), out.end(), [&](const Rate& r) { return r.test == test; });
    if (at == out.end()) at = out.insert(out.end(), Rate{std::move(test), {}});
    at->samples.push_back(rate);
  };
  for (int64_t i = 0; i <= f.repetitions; ++i) {  // the first round warms caches and is not counted
    if (f.n_prompt > 0) {
      api::Timings t = TRY(answer_prompts(model, BenchPrompts(random, 1, f.n_prompt, n_vocab), 1)).timings;
      if (i > 0) add(fmt::format("pp{}", f.n_prompt), static_cast<double>(t.prompt_n) * 1e3 / t.prompt_ms);
    }
    if (f.n_gen > 0) {
      api::Timings t = TRY(answer_prompts(model, BenchPrompts(random, 1, f.n_depth, n_vocab), f.n_gen + 1)).timings;
      if (i > 0) add(name_of_decode(f), static_cast<double>(t.predicted_n - 1) * 1e3 / t.predicted_ms);
    }
    if (f.n_batch > 0) {
      double rate = TRY(decode_batch(model, BenchPrompts(random, f.n_batch, f.n_depth, n_vocab), f.n_gen + 1));
      if (i > 0) add(fmt::format("{}x{}", name_of_decode(f), f.n_batch), rate);
    }
  }
  return out;
}

}  // namespace

Result<int> bench_model_command(std::span<const std::string> args) {
  BenchModelFlags f;
  FlagSet set("bench model", "Rates of one model: prefill of a prompt, decode of one stream, decode of a batch.");
  declare_model_flags(set, f.model);
  set.add("-p,--n-prompt", &f.n_prompt, "prompt tokens; 0 = skip", {0, 1 << 20});
  set.add("-n,--n-gen", &f.n_gen, "generated tokens; 0 = skip", {0, 1 << 20});
  set.add("--n-batch", &f.n_batch, "also decode this many streams at once", {0, 4096});
  set.add("-d,--n-depth", &f.n_depth, "tokens of context before the generated ones", {1, 1 << 20});
  set.add("-r,--repetitions", &f.repetitions, "counted runs", {1, 100000});
  set.add("--json", &f.json, "JSON on stdout");
  if (!TRY(set.parse(args))) return 0;
  if (f.repetitions < 1)
    return Error{ErrorCode::kUsage, fmt::format("--repetitions = {}: must be at least 1", f.repetitions),
                 "--repetitions"};
  auto model = TRY(load_instance(f.model));
  std::vector<Rate> rates = TRY(measure(*model, f));
  const instance::InstanceFacts& facts = model->facts();
  MachineRates machine = measure_machine(facts.isa);
  Json report = Json::object();
  report.set("model", facts.root);
  report.set("format", facts.weight_format);
  report.set("weight_bytes", static_cast<int64_t>(facts.weight_bytes));
  report.set("kv_dtype", facts.kv_dtype);
  report.set("isa", facts.isa);
  report.set("cpu", machine.cpu);
  report.set("read_gbps", machine.read_gbps);
  report.set("int8_gmacs", machine.int8_gmacs);
  Json rows = Json::array();
  for (const Rate& rate : rates) {
    Json row = Json::object();
    row.set("test", rate.test);
    row.set("tokens_per_second", median_of(rate.samples));
    row.set("mean", mean_of(rate.samples));
    row.set("deviation", deviation_of(rate.samples));
    row.set("n", static_cast<int64_t>(rate.samples.size()));
    rows.push_back(row);
  }
  report.set("results", rows);
  if (f.json) {
    fmt::print("{}\n", report.dump());
    return 0;
  }
  fmt::print("{} ({}, {:.1f} MB packed), kv {}, {}\n", facts.root, facts.weight_format,
             static_cast<double>(facts.weight_bytes) / 1e6, facts.kv_dtype, facts.isa);
  fmt::print("machine: {}, read {:.1f} GB/s, int8 {:.0f} GMAC/s\n", machine.cpu, machine.read_gbps, machine.int8_gmacs);
  double memory_ceiling = machine.read_gbps * 1e9 / static_cast<double>(facts.weight_bytes);
  for (const Rate& rate : rates) {
    fmt::print("{:<12} {:10.2f} tok/s  (mean {:.2f} +- {:.2f}, n {})", rate.test, median_of(rate.samples),
               mean_of(rate.samples), deviation_of(rate.samples), rate.samples.size());
    if (rate.test == name_of_decode(f))
      fmt::print("  {:.2f} of the memory ceiling {:.0f}", median_of(rate.samples) / memory_ceiling, memory_ceiling);
    fmt::print("\n");
  }
  return 0;
}

}  // namespace millrace::app
