// Constraints through the engine on real workers: a constrained answer, logprob bits included, is the same alone, in
// company, in chunks, after preemption, after a swap, and with proposals checked in one step; it ends inside its limit
// of tokens; its neighbours do not notice it; and what a constraint leaves no choice about costs fewer steps.
// Thread: one test thread plus the pool.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/philox.h"
#include "grammar/compiler.h"
#include "kernels/cpu/detect.h"
#include "kernels/pick.h"
#include "tests/support/engine_machine.h"

namespace millrace {
namespace {

using flow::ConstraintKind;
using flow::FinishReason;
using flow::GenerateRequest;
using support::EngineRig;
using support::Machine;
using support::RigOptions;
using support::Trace;
using support::Traces;

constexpr TokenId kEnd = 0;
constexpr uint32_t kMaxTokens = 96;
constexpr uint32_t kLongest = 80 + kMaxTokens;

Machine make_machine() {
  kernels::CpuFeatures cpu = kernels::detect_cpu();
  const kernels::KernelTable* best = nullptr;
  for (const kernels::IsaRow& row : kernels::isa_rows()) {
    if (best == nullptr && row.missing(cpu).empty()) best = &row.table(cpu);
  }
  return Machine({.table = best});
}

// The end, all bytes of ASCII, and pieces of two and three letters up to the vocabulary of the model.
grammar::Vocabulary vocabulary(size_t n_vocab, bool pieces) {
  grammar::Vocabulary out;
  out.tokens = {"<end>"};
  out.specials = {kEnd};
  out.end_tokens = {kEnd};
  for (int byte = 0; byte < 128; ++byte) out.tokens.emplace_back(1, static_cast<char>(byte));
  if (pieces) {
    for (const char* piece :
         {"\":", "\", \"", "{\"", "\"}", "na", "me", "name", "ab", "cd", "the ", "the", " quick", "fox"}) {
      out.tokens.emplace_back(piece);
    }
  }
  while (out.tokens.size() < n_vocab) out.tokens.emplace_back();
  return out;
}

constexpr const char* kForced =
    "root ::= \"the quick brown fox jumps over \" [0-9] [0-9]? \" lazy dogs, again: \" [a-z]";

std::vector<flow::ConstraintSpec> specs() {
  return {{.kind = ConstraintKind::kJsonSchema,
           .text = R"({"type":"object","properties":{"name":{"type":"string","maxLength":8},"n":{"type":"integer",)"
                   R"("maximum":99,"minimum":0}},"required":["name","n"]})"},
          {.kind = ConstraintKind::kRegex, .text = "(ab|cd){3,12}[0-9]{1,3}"},
          {.kind = ConstraintKind::kGrammar, .text = kForced},
          {.kind = ConstraintKind::kChoice, .text = R"(["the quick fox","the name","no"])"}};
}

class Constraints : public ::testing::Test {
 protected:
  // Every second one constrained, if any are.
  std::vector<GenerateRequest> requests(uint32_t n, bool constrain, bool pieces = true) {
    grammar::Compiler compiler(vocabulary(machine_.model().desc().n_vocab, pieces), Limits(), 1);
    std::vector<GenerateRequest> out;
    for (uint32_t i = 0; i < n; ++i) {
      GenerateRequest request;
      request.id = i + 1;
      request.band = static_cast<int16_t>(i % 4);
      for (uint32_t k = 0; k < 5 + i * 13 % 70; ++k) {
        request.prompt.push_back(static_cast<TokenId>(philox4x32(i + 50, {k, 0, 0, 0})[0] % 500));
      }
      request.sampling.n_logprobs = 3;
      request.sampling.seed = 77 + i;
      request.sampling.temperature = i % 4 < 2 ? 0.0f : 3.0f;
      if (i % 3 == 0) request.sampling.repetition_penalty = 1.3f;
      request.sampling.eos_token_ids = {kEnd};
      request.sampling.max_tokens = i % 2 == 0 ? kMaxTokens : 20;
      if (i % 2 == 0 && constrain) {
        auto compiled = compiler.compile(specs()[i / 2 % specs().size()]);
        CHECK(compiled.ok(), "{}", compiled.error().message);
        request.sampling.constraint = *compiled;
      }
      request.sampling.ignore_eos = request.sampling.constraint == nullptr;
      out.push_back(std::move(request));
    }
    return out;
  }

  RigOptions pressed(uint32_t max_draft) const {
    RigOptions options{.budget = 64, .order = sched::OrderKind::kPriority, .max_draft = max_draft};
    options.n_blocks = machine_.smallest_pool(kLongest, options.budget);
    return options;
  }

  void expect_same_in_every_way(const std::vector<GenerateRequest>& all, const Traces& want) {
    for (uint32_t max_draft : {0u, 3u, 16u}) {
      testing::TempDir folder;
      expect_same(EngineRig(machine_, {.budget = 256, .max_draft = max_draft}).run(all), want, "in company");
      RigOptions helped{.budget = 256, .max_draft = max_draft, .mask_threads = 2};
      expect_same(EngineRig(machine_, helped).run(all), want, "masks filled beside the steps");
      expect_same(EngineRig(machine_, {.budget = 7, .max_draft = max_draft}).run(all), want, "in chunks");
      EngineRig tight(machine_, pressed(max_draft));
      expect_same(tight.run(all), want, "preempted");
      EXPECT_GT(tight.stats().n_preemptions, 0u);
      RigOptions disk = pressed(max_draft);
      disk.disk_folder = folder.path();
      expect_same(EngineRig(machine_, disk).run(all), want, "swapped");
      RigOptions lost{.budget = 64, .failing_step = 9, .max_draft = max_draft};
      expect_same(EngineRig(machine_, lost).run(all), want, "a step lost");
      RigOptions ahead{.budget = 64, .depth = 2, .max_draft = max_draft};
      expect_same(EngineRig(machine_, ahead).run(all), want, "two steps in flight");
    }
  }

  Machine machine_ = make_machine();
};

TEST_F(Constraints, AnswersDoNotDependOnTheWayTheyAreComputed) {
  std::vector<GenerateRequest> all = requests(12, true);
  Traces want = run_each_alone(machine_, all);
  size_t n_ended = 0;
  for (const auto& [key, trace] : want) n_ended += trace.finish == FinishReason::kEos ? 1u : 0u;
  EXPECT_GE(n_ended, 4u);  // the constrained ones end by themselves, or there is nothing to see here
  expect_same_in_every_way(all, want);
}

// Free text, and from a trigger on a constraint: with proposals of both, taken back or not.
TEST_F(Constraints, LazyGrammarsDoNotDependOnTheWayTheyAreComputed) {
  std::vector<GenerateRequest> all = requests(8, true);
  const std::string grammar = "root ::= [a-m] \"the quick brown fox \" [0-9]{1,4} \".\"";
  const flow::Trigger triggers[] = {{.kind = flow::TriggerKind::kPattern, .text = "[a-m]"},
                                    {.kind = flow::TriggerKind::kWord, .text = "f"},
                                    {.kind = flow::TriggerKind::kWholePattern, .text = "[\\s\\S]*?([h-k])"},
                                    {.kind = flow::TriggerKind::kToken, .token = 1 + 'c'}};
  grammar::Compiler compiler(vocabulary(machine_.model().desc().n_vocab, true), Limits(), 1);
  for (size_t i = 0; i < all.size(); i += 2) {
    flow::ConstraintSpec spec{.kind = ConstraintKind::kGrammar, .text = grammar, .triggers = {triggers[i / 2]}};
    auto compiled = compiler.compile(spec);
    ASSERT_TRUE(compiled.ok()) << compiled.error().message;
    all[i].sampling.constraint = *compiled;
    for (char c : std::string("afhijkc")) all[i].sampling.logit_bias.emplace_back(1 + c, 2.0f);
  }
  Traces want = run_each_alone(machine_, all);
  const grammar::Vocabulary words = vocabulary(machine_.model().desc().n_vocab, true);
  size_t n_begun = 0;
  for (size_t i = 0; i < all.size(); i += 2) {
    std::string text;
    for (TokenId token : want.at({all[i].id, 0}).tokens) {
      if (token != kEnd) text += words.tokens[static_cast<size_t>(token)];
    }
    const size_t fox = text.find("the quick brown fox ");
    n_begun += fox != std::string::npos && text.ends_with(".") ? 1u : 0u;
  }
  EXPECT_GE(n_begun, 2u) << "or nothing of the grammar is seen here";
  expect_same_in_every_way(all, want);
}

// Limits of the fewest tokens in which an answer can end, and of few more; two answers to each request.
TEST_F(Constraints, AnswersEndInsideTheirLimit) {
  std::vector<GenerateRequest> all = requests(12, true);
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i].sampling.constraint == nullptr) continue;
    auto matcher = all[i].sampling.constraint->matcher();
    uint32_t fewest = 1;
    while (!matcher->ends_within(fewest)) ++fewest;
    all[i].sampling.max_tokens = fewest + static_cast<uint32_t>(i % 8);
    if (all[i].sampling.temperature > 0) all[i].n = 2;
  }
  Traces want = run_each_alone(machine_, all);
  EngineRig cutting(machine_, {.budget = 256, .cuts = true});
  Traces cut = cutting.run(all);
  EXPECT_EQ(cutting.stats().constraints_completed, 0u);
  EngineRig completing(machine_, {.budget = 256});
  completing.run(all);
  size_t n_cut = 0;
  for (const GenerateRequest& request : all) {
    if (request.sampling.constraint == nullptr) continue;
    for (uint32_t fork = 0; fork < request.n; ++fork) {
      const Trace& trace = want.at({request.id, fork});
      EXPECT_EQ(trace.finish, FinishReason::kEos) << "request " << request.id;
      EXPECT_LE(trace.tokens.size(), request.sampling.max_tokens);
      auto matcher = request.sampling.constraint->matcher();
      for (TokenId token : trace.tokens) ASSERT_TRUE(matcher->accept(token)) << "request " << request.id;
      EXPECT_TRUE(matcher->ended());
      n_cut += cut.at({request.id, fork}).finish == FinishReason::kLength ? 1u : 0u;
    }
  }
  EXPECT_GE(n_cut, 4u);  // without it most are cut off
  EXPECT_GE(completing.stats().constraints_completed, n_cut);
  expect_same_in_every_way(all, want);
}

// Where other parameters leave nothing of the nearest end the answer is cut off, and no error.
TEST_F(Constraints, WhatTheRequestForbidsIsNoEnd) {
  GenerateRequest letters = requests(3, true)[2];  // (ab|cd){3,12}[0-9]{1,3}
  letters.sampling.max_tokens = 8;
  for (char c : std::string("abcd")) letters.sampling.allowed_token_ids.push_back(1 + c);
  GenerateRequest longer = letters;
  longer.id = letters.id + 1;
  longer.sampling.allowed_token_ids.clear();
  longer.sampling.min_tokens = longer.sampling.max_tokens;
  Traces traces = EngineRig(machine_, {.budget = 64}).run({letters, longer});
  for (const GenerateRequest& request : {letters, longer}) {
    EXPECT_EQ(traces.at({request.id, 0}).finish, FinishReason::kLength) << "request " << request.id;
    EXPECT_EQ(traces.at({request.id, 0}).tokens.size(), 8u);
  }
}

TEST_F(Constraints, NeighboursDoNotNotice) {
  std::vector<GenerateRequest> all = requests(12, true);
  Traces free = EngineRig(machine_, {.budget = 64}).run(requests(12, false));
  Traces mixed = EngineRig(machine_, {.budget = 64, .max_draft = 16}).run(all);
  for (const GenerateRequest& request : all) {
    if (request.sampling.constraint != nullptr) continue;
    EXPECT_TRUE(mixed.at({request.id, 0}) == free.at({request.id, 0})) << "request " << request.id;
  }
}

// Where a single token is legal the proposals are always right.
TEST_F(Constraints, WhatIsForcedCostsFewerSteps) {
  std::vector<GenerateRequest> all = requests(5, true, false);
  GenerateRequest forced = all[4];  // the third constraint
  uint64_t n_steps[2] = {};
  Traces traces[2];
  for (int with = 0; with < 2; ++with) {
    EngineRig rig(machine_, {.budget = 256, .max_draft = with == 1 ? 16u : 0u});
    traces[with] = rig.run({forced});
    n_steps[with] = rig.stats().n_steps;
    EXPECT_EQ(rig.stats().draft_tokens > 0, with == 1);
    EXPECT_EQ(rig.stats().draft_tokens, rig.stats().draft_tokens_accepted);
  }
  expect_same(traces[1], traces[0], "with proposals");
  const Trace& trace = traces[0].at({forced.id, 0});
  EXPECT_EQ(trace.finish, FinishReason::kEos);
  EXPECT_GE(trace.tokens.size(), 52u);
  EXPECT_EQ(n_steps[0], trace.tokens.size());
  EXPECT_LE(n_steps[1] * 5, n_steps[0]);
}

// More streams than slots and than the pool holds: every answer ends and satisfies its constraint.
TEST_F(Constraints, ThirtyTwoStreamsInAFullPool) {
  std::vector<GenerateRequest> all = requests(32, true);
  grammar::Vocabulary words = vocabulary(machine_.model().desc().n_vocab, true);
  EngineRig rig(machine_, pressed(16));
  Traces traces = rig.run(all);
  EXPECT_GT(rig.stats().n_preemptions, 0u);
  for (const GenerateRequest& request : all) {
    if (request.sampling.constraint == nullptr) continue;
    const Trace& trace = traces.at({request.id, 0});
    auto matcher = request.sampling.constraint->matcher();
    for (TokenId token : trace.tokens) ASSERT_TRUE(matcher->accept(token)) << "request " << request.id;
    EXPECT_EQ(matcher->ended(), trace.finish == FinishReason::kEos);
    EXPECT_EQ(trace.finish, FinishReason::kEos) << "request " << request.id;
  }
}

}  // namespace
}  // namespace millrace
