// millrace bench grammar: what constraints cost on a model's vocabulary, without the model: milliseconds to compile
// each, microseconds per mask along random answers (median, 99 %, longest), per accepted token, per look for a
// draft and per look for the nearest end. The goals are 1 ms for the 99 % of masks and 500 ms to compile.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "app/bench_grammar.h"
#include "app/commands.h"
#include "app/flags.h"
#include "app/model_flags.h"
#include "base/macros.h"
#include "base/philox.h"
#include "grammar/compiler.h"
#include "instance/model_text.h"
#include "text/tokenizer.h"
#include "weights/model_file.h"

namespace millrace::app {
namespace {

using flow::ConstraintKind;

constexpr int kAnswers = 12;
constexpr int kTokens = 150;
constexpr uint32_t kFar = 4096;  // tokens: no end is that far

struct Case {
  const char* name;
  ConstraintKind kind;
  std::string text;
};

std::string wide_schema(int n) {
  std::string out = R"({"type":"object","properties":{)";
  for (int i = 0; i < n; ++i)
    out += fmt::format(R"({}"property{}":{{"type":"string","maxLength":10000}})", i ? "," : "", i);
  return out + "}}";
}

// Names that share little with each other.
std::string wide_words_schema(int n) {
  std::string out = R"({"type":"object","properties":{)";
  for (int i = 0; i < n; ++i) {
    auto bits = philox4x32(7, {static_cast<uint32_t>(i), 0, 0, 0});
    std::string name;
    for (uint32_t k = 0; k < 8 + bits[0] % 8; ++k)
      name += static_cast<char>('a' + (bits[k % 3 + 1] >> (k / 3 * 5)) % 26);
    out += fmt::format(R"({}"{}_{}":{{"type":"string","maxLength":10000}})", i ? "," : "", name, i);
  }
  return out + "}}";
}

std::string deep_schema(int n) {
  std::string out = R"({"type":"integer"})";
  for (int i = 0; i < n; ++i) out = fmt::format(R"({{"type":"object","properties":{{"a":{}}},"required":["a"]}})", out);
  return out;
}

std::vector<Case> cases() {
  return {
      {"JSON object", ConstraintKind::kJsonObject, ""},
      {"schema: person", ConstraintKind::kJsonSchema,
       R"({"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer","minimum":0},)"
       R"("tags":{"type":"array","items":{"type":"string","maxLength":20}}},"required":["name","age","tags"]})"},
      {"schema: any value", ConstraintKind::kJsonSchema, "{}"},
      {"schema: 2,000 properties", ConstraintKind::kJsonSchema, wide_schema(2000)},
      {"schema: 2,000 random names", ConstraintKind::kJsonSchema, wide_words_schema(2000)},
      {"schema: depth 40", ConstraintKind::kJsonSchema, deep_schema(40)},
      {"regex", ConstraintKind::kRegex, R"([a-z]{3,12}@[a-z]+\.(com|org) \d{4}-\d\d-\d\d)"},
      {"grammar: expressions", ConstraintKind::kGrammar,
       "root ::= e\ne ::= t ((\"+\" | \"-\") t)*\nt ::= [0-9]+ | \"(\" e \")\" | [a-z]+"},
      {"choice of 3", ConstraintKind::kChoice, R"(["positive","negative","neutral"])"},
  };
}

using Micros = std::chrono::duration<double, std::micro>;

Micros since(std::chrono::steady_clock::time_point begin) { return std::chrono::steady_clock::now() - begin; }

struct Costs {
  std::vector<double> masks_us;
  double accept_us = 0;
  double draft_us = 0;
  double end_us = 0;
  size_t n_accepted = 0;
};

// One random answer: every allowed token alike.
void walk(flow::TokenMatcher& matcher, size_t n_words, uint32_t seed, Costs& costs) {
  std::vector<uint32_t> mask(n_words);
  std::vector<TokenId> allowed;
  std::vector<TokenId> draft(16);
  for (uint32_t n = 0; n < kTokens && !matcher.ended(); ++n) {
    auto begin = std::chrono::steady_clock::now();
    matcher.fill(mask);
    costs.masks_us.push_back(since(begin).count());
    allowed.clear();
    for (size_t i = 0; i < n_words * 32; ++i) {
      if ((mask[i / 32] >> (i % 32) & 1) != 0) allowed.push_back(static_cast<TokenId>(i));
    }
    if (allowed.empty()) return;
    TokenId token = allowed[philox4x32(seed, {n, 0, 0, 0})[0] % allowed.size()];
    begin = std::chrono::steady_clock::now();
    if (!matcher.accept(token)) return;
    costs.accept_us += since(begin).count();
    begin = std::chrono::steady_clock::now();
    (void)matcher.draft(draft);
    costs.draft_us += since(begin).count();
    begin = std::chrono::steady_clock::now();
    (void)matcher.ends_within(kFar);
    costs.end_us += since(begin).count();
    ++costs.n_accepted;
  }
}

void report(const Case& one, grammar::Compiler& compiler) {
  auto begin = std::chrono::steady_clock::now();
  uint64_t n_before = compiler.counts().n_steps;
  auto compiled = compiler.compile({.kind = one.kind, .text = one.text});
  double compile_ms = since(begin).count() / 1000;
  uint64_t n_thousand = (compiler.counts().n_steps - n_before) / 1000;
  if (!compiled.ok()) {
    fmt::print("{:<26} {:>9.1f} {:>7}  {}\n", one.name, compile_ms, n_thousand, compiled.error().message);
    return;
  }
  Costs costs;
  for (uint32_t i = 0; i < kAnswers; ++i) {
    auto matcher = (*compiled)->matcher();
    walk(*matcher, (*compiled)->n_mask_words(), i + 1, costs);
  }
  std::ranges::sort(costs.masks_us);
  auto at = [&](double part) {
    return costs.masks_us[static_cast<size_t>(part * static_cast<double>(costs.masks_us.size() - 1))];
  };
  auto n_accepted = static_cast<double>(std::max<size_t>(costs.n_accepted, 1));
  fmt::print("{:<26} {:>9.1f} {:>7} {:>8} {:>9.1f} {:>9.1f} {:>9.1f} {:>9.1f} {:>9.1f} {:>9.1f}\n", one.name,
             compile_ms, n_thousand, costs.masks_us.size(), at(0.5), at(0.99), at(1), costs.accept_us / n_accepted,
             costs.draft_us / n_accepted, costs.end_us / n_accepted);
}

}  // namespace

Result<int> bench_grammar_command(std::span<const std::string> args) {
  FlagSet set("bench grammar", "Time of compiling constraints and of their masks, on a model's vocabulary.");
  std::string reference;
  set.positional("MODEL", &reference, "model", true);
  CorpusWalks walks;
  set.add("--corpus", &walks.file, "constraints, one line of JSON each: random answers instead of times");
  set.add("--walks", &walks.n_walks, "random answers to each constraint of the corpus", {.min = 0, .max = 100'000});
  if (!TRY(set.parse(args))) return 0;
  weights::ModelFile file = TRY(weights::ModelFile::open(TRY(resolve_model(reference))));
  text::Tokenizer tokenizer = TRY(text::Tokenizer::create(TRY(instance::load_tokenizer_spec(file))));
  std::vector<TokenId> ends = instance::end_tokens(file, tokenizer);
  grammar::Vocabulary vocabulary = grammar::vocabulary_of(tokenizer, ends, tokenizer.n_vocab());
  grammar::Compiler compiler(vocabulary, Limits(), 1);
  TRY(compiler.compile({.kind = ConstraintKind::kRegex, .text = "a"}));  // sorts the vocabulary
  if (!walks.file.empty()) {
    TRY(walk_corpus(walks, compiler, vocabulary));
    return 0;
  }
  fmt::print("{:<26} {:>9} {:>7} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}\n", "constraint", "compile", "steps",
             "masks", "mask", "mask 99%", "longest", "accept", "draft", "end");
  fmt::print("{:<26} {:>9} {:>7} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}\n", "", "ms", "1000", "", "us", "us", "us",
             "us", "us", "us");
  for (const Case& one : cases()) report(one, compiler);
  return 0;
}

}  // namespace millrace::app
