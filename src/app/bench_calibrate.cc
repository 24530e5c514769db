// millrace bench calibrate: plays prompts of many lengths beside decodes until the engine's cost model knows this
// machine, and writes it into the model store, where every later start of this model, instruction set and number of
// threads finds it.
#include <fmt/core.h>

#include <algorithm>
#include <random>

#include "api/completions.h"
#include "app/commands.h"
#include "app/flags.h"
#include "app/model_flags.h"
#include "base/macros.h"
#include "instance/calibration.h"
#include "instance/session.h"
#include "store/model_store.h"

namespace millrace::app {
namespace {

constexpr uint64_t kLeastSteps = 300;
constexpr uint32_t kLongestPrompt = 400;
constexpr int64_t kOutput = 24;

// n_seqs prompts of random lengths, so that steps of every mixture come up.
Result<void> play(instance::Instance& model, std::mt19937& random, uint32_t n_seqs) {
  auto below = [&](uint32_t n) { return static_cast<uint32_t>(random()) % n; };
  auto longest = static_cast<uint32_t>(std::min<int64_t>(kLongestPrompt, model.facts().max_len - kOutput - 1));
  Json prompts = Json::array();
  for (uint32_t i = 0; i < n_seqs; ++i) {
    Json prompt = Json::array();
    for (uint32_t n = 1 + below(longest); n > 0; --n) {
      prompt.push_back(int64_t{below(static_cast<uint32_t>(model.facts().n_vocab))});
    }
    prompts.push_back(std::move(prompt));
  }
  Json body = Json::object();
  body.set("prompt", std::move(prompts));
  body.set("max_tokens", kOutput);
  body.set("temperature", 0.0);
  body.set("ignore_eos", true);
  body.set("cache_prompt", false);
  instance::Job job{.body = TRY(api::parse_completion(body, model.parse_context())), .arrival = model.clock().now()};
  TRY(instance::generate_blocking(model, std::move(job), {}));
  return {};
}

void print_regime(std::string_view name, const sched::CostRegime& regime) {
  fmt::print(
      "{:<6} {:9.0f} us a step, {:8.2f} us a prompt row, {:8.2f} us a decode, {:7.3f} and {:7.3f} ns a context token "
      "({:.0f} steps)\n",
      name, regime.c[0] / 1e3, regime.c[1] / 1e3, regime.c[2] / 1e3, regime.c[4], regime.c[3], regime.n_seen);
}

}  // namespace

Result<int> bench_calibrate_command(std::span<const std::string> args) {
  ModelFlags f;
  f.budget_policy = "static";  // steps of all sizes, whatever an older calibration says
  int64_t seconds = 60;
  FlagSet set("bench calibrate", "Learns how long steps take with this model here and keeps it in the model store.");
  declare_model_flags(set, f);
  set.add("--seconds", &seconds, "stop after so long", {1, 3600});
  if (!TRY(set.parse(args))) return 0;
  auto model = TRY(load_instance(f));
  std::mt19937 random(1);
  Tick end = model->clock().now() + seconds * kSecond;
  constexpr uint32_t kCompany[] = {1, 4, 2, 8, 1, 16, 3, 24};
  for (size_t round = 0; model->clock().now() < end; ++round) {
    if (round >= std::size(kCompany) && model->stats().n_steps >= kLeastSteps) break;
    TRY(play(*model, random, kCompany[round % std::size(kCompany)]));
  }
  sched::CostModel cost = model->engine().cost_model();
  if (!cost.known()) return Error{ErrorCode::kUsage, "too few steps were measured: give more --seconds", "--seconds"};
  const instance::InstanceFacts& facts = model->facts();
  std::string path = instance::calibration_path(store::ModelStore::default_root(), facts.system_fingerprint, facts.isa,
                                                facts.n_threads);
  TRY(instance::write_calibration(path, cost));
  fmt::print("{}\n", path);
  print_regime(fmt::format("<= {}", cost.split_rows()), cost.small());
  print_regime(fmt::format("> {}", cost.split_rows()), cost.large());
  return 0;
}

}  // namespace millrace::app
