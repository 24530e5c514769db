// Beam search: the rules against transformers, and the engine against the rules: over FakeWorker, with few blocks, two
// steps in flight, failed steps and a tier, every answer is that of the search without an engine.
#include <gtest/gtest.h>

#include <cmath>

#include "base/file.h"
#include "base/json.h"
#include "engine/beam_search.h"
#include "engine/engine.h"
#include "tests/support/collect_sink.h"
#include "tests/support/fake_clock.h"
#include "tests/support/memory_tier.h"
#include "tests/support/trace_world.h"

namespace millrace::engine {
namespace {

using flow::GenerateRequest;
using support::Dice;
using support::FakeWorkerOptions;
using NextTokens = std::function<std::vector<flow::TokenLogprob>(const std::vector<TokenId>&)>;

// The search over a function from tokens to the next ones.
std::vector<BeamSearch::Hypothesis> search(const BeamRules& rules, const std::vector<TokenId>& prompt,
                                           const NextTokens& next_tokens) {
  BeamSearch search(rules);
  std::vector<std::vector<TokenId>> beams = {{}};
  while (true) {
    for (uint32_t b = 0; b < beams.size(); ++b) {
      std::vector<TokenId> known = prompt;
      known.insert(known.end(), beams[b].begin(), beams[b].end());
      search.answer(b, next_tokens(known));
    }
    std::vector<std::span<const TokenId>> outputs(beams.begin(), beams.end());
    std::vector<BeamSearch::Child> children;
    if (!search.advance(outputs, children)) return search.finished();
    std::vector<std::vector<TokenId>> next;
    for (const BeamSearch::Child& child : children) {
      next.push_back(beams[child.parent]);
      next.back().push_back(child.token);
    }
    beams = std::move(next);
  }
}

std::vector<int> ints(const Json& array) {
  std::vector<int> out;
  for (const Json& value : array.as_array()) out.push_back(static_cast<int>(value.as_int()));
  return out;
}

// tools/golden/beams.py: a model that is a table.
struct TableModel {
  std::vector<std::vector<int>> table;
  std::vector<std::vector<int>> shift;

  std::vector<flow::TokenLogprob> next(const std::vector<TokenId>& known, size_t n_top) const {
    const std::vector<int>& row = table[static_cast<size_t>(known.back())];
    const std::vector<int>& more = shift[known.size() % 8];
    double sum = 0.0;
    std::vector<flow::TokenLogprob> all;
    for (size_t t = 0; t < row.size(); ++t) {
      float logit = static_cast<float>(row[t] + more[t]) / 8192.0f;
      sum += std::exp(static_cast<double>(logit));
      all.push_back({static_cast<TokenId>(t), logit, 0});
    }
    for (flow::TokenLogprob& one : all) one.logprob -= static_cast<float>(std::log(sum));
    std::ranges::stable_sort(all, [](const auto& a, const auto& b) { return a.logprob > b.logprob; });
    all.resize(std::min(n_top, all.size()));
    return all;
  }
};

TEST(BeamSearch, TheAnswersAreThoseOfTransformers) {
  auto text = read_file("tests/golden/data/beams.json", 1 << 22);
  ASSERT_TRUE(text.ok()) << text.error().message;
  Json golden = parse_json(*text).value();
  TableModel model;
  for (const Json& row : golden.find("table")->as_array()) model.table.push_back(ints(row));
  for (const Json& row : golden.find("shift")->as_array()) model.shift.push_back(ints(row));
  const JsonArray& cases = golden.find("cases")->as_array();
  EXPECT_EQ(cases.size(), 144u);
  for (const Json& row : cases) {
    BeamRules rules{.width = static_cast<uint32_t>(row.find("width")->as_int())};
    rules.length_penalty = static_cast<float>(row.find("length_penalty")->as_double());
    const std::string& stop = row.find("early_stopping")->as_string();
    if (stop == "true") rules.stop = flow::BeamStop::kFull;
    if (stop == "never") rules.stop = flow::BeamStop::kNever;
    rules.max_tokens = static_cast<uint32_t>(row.find("max_tokens")->as_int());
    rules.end_tokens = {0};
    std::vector<int> prompt = ints(*row.find("prompt"));
    size_t n_top = flow::beam_candidates(rules.width, 1);
    auto found = search(rules, {prompt.begin(), prompt.end()},
                        [&](const std::vector<TokenId>& known) { return model.next(known, n_top); });
    const JsonArray& want = row.find("answers")->as_array();
    ASSERT_EQ(found.size(), want.size()) << row.dump();
    for (size_t i = 0; i < want.size(); ++i) {
      std::vector<int> tokens = ints(*want[i].find("tokens"));
      EXPECT_EQ(found[i].tokens, std::vector<TokenId>(tokens.begin(), tokens.end())) << row.dump();
      EXPECT_NEAR(found[i].score, want[i].find("score")->as_double(), 1e-4) << row.dump();
    }
    if (HasFailure()) return;
  }
}

struct World {
  explicit World(uint64_t seed)
      : dice(seed * 977 + 5),
        options(random_options(dice)),
        fake({.kv = options.kv, .tok_cap = options.sched.tok_cap, .n_vocab = 50, .delay = options.sched.depth - 1}),
        worker(fake),
        tier(worker, [this](uint32_t n) { return dice.below(n) == 0; }),
        engine(with_tier(), worker, sink, clock) {
    worker.fail_step = [this](const flow::StepPlan&) { return failing && dice.chance(3); };
  }

  static EngineOptions random_options(Dice& dice) {
    EngineOptions options;
    do {
      options.kv = support::random_geometry(dice);
      options.sched.max_live = dice.between(1, 8);
      options.sched.tok_cap = options.sched.max_live + 6 + dice.below(40);
      options.sched.budget_tokens = dice.between(1, options.sched.tok_cap);
    } while (!Engine::validate(options).ok());
    options.sched.depth = dice.between(1, 2);
    options.sched.order = dice.kind_of(sched::order_rows());
    options.sched.admit = dice.kind_of(sched::admit_rows());
    return options;
  }
  EngineOptions with_tier() {
    EngineOptions out = options;
    if (dice.chance(50)) out.tier = &tier;
    return out;
  }

  GenerateRequest request(flow::RequestId id) {
    GenerateRequest r;
    r.id = id;
    uint32_t longest = engine.max_len();
    r.prompt.resize(dice.between(1, std::max(1u, longest / 2)));
    for (TokenId& token : r.prompt) token = static_cast<TokenId>(dice.between(1, 49));
    r.sampling.max_tokens = dice.between(1, 12);
    r.sampling.eos_token_ids = {7};
    r.beam_width = dice.between(2, 5);
    r.n = dice.between(1, r.beam_width);
    r.length_penalty = dice.chance(50) ? 1.0f : 0.5f;
    r.beam_stop = dice.chance(50) ? flow::BeamStop::kLikely : flow::BeamStop::kFull;
    r.sampling.n_logprobs = static_cast<int32_t>(flow::beam_candidates(r.beam_width, 1));
    r.sampling.temperature = 0.0f;
    return r;
  }

  bool step() {
    clock.advance(kMillisecond);
    bool busy = engine.step();
    EXPECT_EQ(engine.check_integrity(), "");
    return busy;
  }
  void check(const GenerateRequest& r) {
    BeamRules rules{.width = r.beam_width, .length_penalty = r.length_penalty, .stop = r.beam_stop};
    rules.max_tokens = std::min(r.sampling.max_tokens, engine.max_len() - static_cast<uint32_t>(r.prompt.size()));
    rules.end_tokens = r.sampling.eos_token_ids;
    support::FakeModel model{fake};
    auto want = search(rules, r.prompt, [&](const std::vector<TokenId>& known) {
      uint64_t kv = 0;
      for (uint32_t pos = 0; pos < known.size(); ++pos) kv = model.kv_of(known[pos], pos, 0, kv);
      return model.top(kv, r.sampling.n_logprobs);
    });
    for (uint32_t k = 0; k < r.n; ++k) {
      const support::ForkText& text = sink.text(r.id, k);
      ASSERT_NE(text.finish, flow::FinishReason::kNone) << "request " << r.id << " fork " << k;
      if (text.finish == flow::FinishReason::kError || text.finish == flow::FinishReason::kCancelled) continue;
      ASSERT_LT(k, want.size());
      EXPECT_EQ(text.tokens, want[k].tokens) << "request " << r.id << " fork " << k;
      bool ended = want[k].tokens.back() == 7;
      EXPECT_EQ(text.finish, ended ? flow::FinishReason::kEos : flow::FinishReason::kLength);
      EXPECT_EQ(text.events.back().n_output, text.tokens.size());
    }
  }

  Dice dice;
  EngineOptions options;
  FakeWorkerOptions fake;
  support::FakeClock clock;
  support::FakeWorker worker;
  support::MemoryTier tier;
  support::CollectSink sink;
  Engine engine;
  bool failing = true;
};

TEST(Beams, AnyTraceGivesTheAnswersOfTheSearchAlone) {
  uint64_t n_preemptions = 0, n_answers = 0;
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE(seed);
    World world(seed);
    std::vector<GenerateRequest> requests;
    for (int turn = 0; turn < 80 && !HasFailure(); ++turn) {
      if (world.dice.chance(12)) {
        GenerateRequest ask = world.request(requests.size() + 1);
        GenerateRequest copy = ask;
        if (world.engine.submit(std::move(copy)).ok()) requests.push_back(std::move(ask));
      }
      if (!requests.empty() && world.dice.chance(3)) {
        world.engine.cancel(requests[world.dice.below(static_cast<uint32_t>(requests.size()))].id);
      }
      world.step();
    }
    world.failing = world.tier.faults = false;
    for (int left = 20000; (world.step() || world.engine.stats().has_work) && !HasFailure(); --left) {
      EngineStats now = world.engine.stats();
      ASSERT_GT(left, 0) << fmt::format(
          "{} running, {} waiting, {} steps, {} preempted; free {} cached {} active {}; live {} B {} blocks {} len {} "
          "{} depth {} groups {} tier {}",
          now.n_running, now.n_waiting, now.n_steps, now.n_preemptions, now.kv_blocks_free, now.kv_blocks_cached,
          now.kv_blocks_active, world.options.sched.max_live, world.options.kv.block_tokens, world.options.kv.n_blocks,
          world.options.kv.max_len, sched::row_of(world.options.sched.admit).name, world.options.sched.depth,
          world.options.kv.groups.size(), now.swap_loads);
    }
    for (const GenerateRequest& request : requests) world.check(request);
    for (const std::string& text : world.worker.violations()) ADD_FAILURE() << text;
    for (const std::string& text : world.sink.violations()) ADD_FAILURE() << text;
    EngineStats stats = world.engine.stats();
    EXPECT_EQ(stats.kv_blocks_active + stats.kv_blocks_cooling, 0u);
    EXPECT_EQ(stats.n_running + stats.n_waiting, 0u);
    n_preemptions += stats.n_preemptions;
    n_answers += stats.n_finished_eos + stats.n_finished_length;
    if (HasFailure()) return;
  }
  EXPECT_GT(n_preemptions, 100u);
  EXPECT_GT(n_answers, 1000u);
}

}  // namespace
}  // namespace millrace::engine
