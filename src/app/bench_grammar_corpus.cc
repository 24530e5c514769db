// millrace bench grammar MODEL --corpus FILE: how many constraints of a corpus compile, what that costs, and random
// answers to them, as one line of JSON each: what tools/check/grammar_walks.py validates with programs that share no
// code with this one. A line of the corpus: {"kind": "schema" | "regex" | "grammar" | "choice" | "object" | "tags",
// "text": ...}.
#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

#include "app/bench_grammar.h"
#include "base/file.h"
#include "base/json.h"
#include "base/macros.h"
#include "base/philox.h"

namespace millrace::app {
namespace {

using flow::ConstraintKind;

constexpr size_t kCorpusBytes = size_t{256} << 20;

Result<flow::ConstraintSpec> spec_of(const Json& line) {
  constexpr std::pair<std::string_view, ConstraintKind> kKinds[] = {
      {"schema", ConstraintKind::kJsonSchema}, {"regex", ConstraintKind::kRegex},
      {"grammar", ConstraintKind::kGrammar},   {"choice", ConstraintKind::kChoice},
      {"object", ConstraintKind::kJsonObject}, {"tags", ConstraintKind::kTags}};
  const Json* kind = line.find("kind");
  const Json* text = line.find("text");
  if (kind == nullptr || !kind->is_string() || text == nullptr) {
    return Error{ErrorCode::kInvalidValue, "a line of the corpus wants kind and text", ""};
  }
  flow::ConstraintSpec spec;
  for (const auto& [name, value] : kKinds) {
    if (kind->as_string() == name) spec.kind = value;
  }
  if (spec.kind == ConstraintKind::kNone) return Error{ErrorCode::kInvalidValue, "unknown kind of constraint", ""};
  bool as_it_is = text->is_string() && spec.kind != ConstraintKind::kJsonSchema;
  spec.text = as_it_is ? text->as_string() : text->dump();
  return spec;
}

struct Walk {
  std::string text;
  std::vector<TokenId> tokens;
  bool ended = false;
  bool stuck = false;
};

class Walker {
 public:
  Walker(const grammar::Vocabulary& vocabulary, size_t n_words) : vocabulary_(vocabulary), mask_(n_words) {
    for (bool in_string : {false, true}) {
      std::vector<std::pair<int, TokenId>> costs;
      for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
        costs.emplace_back(cost_of(static_cast<TokenId>(i), in_string), static_cast<TokenId>(i));
      }
      std::ranges::sort(costs);
      for (const auto& row : costs) by_cost_[in_string ? 1 : 0].push_back(row.second);
    }
  }

  // Allowed tokens with equal odds up to `n_free` tokens; from there on what ends the answer, or closes, is preferred
  // nine times of ten, else the shortest text that is allowed.
  Walk run(flow::TokenMatcher& matcher, size_t n_free, size_t n_most, PhiloxSequence& random) {
    Walk out;
    bool in_string = false;  // of JSON
    bool escaped = false;
    while (out.tokens.size() < n_most) {
      matcher.fill(mask_);
      bool hurry = out.tokens.size() >= n_free && random.below(10) != 0;
      TokenId token = hurry ? cheapest(in_string) : any(random);
      out.stuck = token == kNoToken || !matcher.accept(token);
      if (out.stuck) return out;
      out.tokens.push_back(token);
      if (matcher.ended()) {
        out.ended = true;
        return out;
      }
      const std::string& text = vocabulary_.tokens[static_cast<size_t>(token)];
      for (char c : text) {
        if (!escaped && c == '"') in_string = !in_string;
        escaped = in_string && !escaped && c == '\\';
      }
      out.text += text;
    }
    return out;
  }

 private:
  bool allowed(TokenId token) const {
    auto bit = static_cast<size_t>(token);
    return (mask_[bit / 32] >> (bit % 32) & 1) != 0;
  }
  TokenId cheapest(bool in_string) const {
    for (TokenId token : by_cost_[in_string ? 1 : 0]) {
      if (allowed(token)) return token;
    }
    return kNoToken;
  }
  TokenId any(PhiloxSequence& random) const {
    uint32_t n = 0;
    for (uint32_t word : mask_) n += static_cast<uint32_t>(std::popcount(word));
    if (n == 0) return kNoToken;
    uint32_t left = random.below(n);
    for (size_t i = 0; i < mask_.size(); ++i) {
      uint32_t bits = mask_[i];
      auto here = static_cast<uint32_t>(std::popcount(bits));
      if (left >= here) {
        left -= here;
        continue;
      }
      for (; left > 0; --left) bits &= bits - 1;
      return static_cast<TokenId>(i * 32 + static_cast<size_t>(std::countr_zero(bits)));
    }
    return kNoToken;
  }
  // The end first, then what closes, then the shortest.
  int cost_of(TokenId token, bool in_string) const {
    if (std::ranges::find(vocabulary_.end_tokens, token) != vocabulary_.end_tokens.end()) return -1;
    const std::string& text = vocabulary_.tokens[static_cast<size_t>(token)];
    if (text.empty()) return 1 << 29;
    char c = text[0];
    int first = in_string ? (c == '"' ? 0 : 200) : c == '}' || c == ']' ? 0 : c == '"' ? 100 : 200;
    if (c == ' ' || c == '\n' || c == '\t' || c == '.') first += 100;
    return first + static_cast<int>(std::min<size_t>(text.size(), 50));
  }

  const grammar::Vocabulary& vocabulary_;
  std::vector<uint32_t> mask_;
  std::vector<TokenId> by_cost_[2];  // outside of a string, inside of one
};

Json report_walk(const Walk& walk, bool biased) {
  Json out = Json::object();
  out.set("ended", walk.ended);
  out.set("stuck", walk.stuck);
  out.set("biased", biased);
  out.set("n_tokens", static_cast<int64_t>(walk.tokens.size()));
  if (walk.ended) out.set("text", walk.text);  // others may stop inside a character
  return out;
}

}  // namespace

Result<void> walk_corpus(const CorpusWalks& options, grammar::Compiler& compiler,
                         const grammar::Vocabulary& vocabulary) {
  std::string text = TRY(read_file(options.file, kCorpusBytes));
  Walker walker(vocabulary, (vocabulary.tokens.size() + 31) / 32);
  size_t number = 0;
  for (size_t at = 0; at < text.size(); ++number) {
    size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = std::string_view(text).substr(at, end - at);
    at = end + 1;
    Json out = Json::object();
    out.set("line", static_cast<int64_t>(number));
    Result<Json> read = parse_json(line, {.depth = 200});
    Result<flow::ConstraintSpec> spec = read.ok() ? spec_of(*read) : Result<flow::ConstraintSpec>(read.take_error());
    uint64_t n_before = compiler.counts().n_steps;
    std::clock_t begin = std::clock();  // time on cores
    Result<grammar::CompiledConstraint> made =
        spec.ok() ? compiler.compile(*spec) : Result<grammar::CompiledConstraint>(spec.take_error());
    out.set("ms", static_cast<double>(std::clock() - begin) * 1000 / CLOCKS_PER_SEC);
    out.set("steps", static_cast<int64_t>(compiler.counts().n_steps - n_before));
    out.set("ok", made.ok());
    if (!made.ok()) {
      out.set("error", made.error().message);
      fmt::print("{}\n", out.dump());
      continue;
    }
    PhiloxSequence random(options.seed + number);
    // the shortest answer that is found by hurrying from the beginning
    size_t shortest = 0;
    for (int i = 0; i < 4; ++i) {
      Walk walk = walker.run(*(*made)->matcher(), 0, 1000, random);
      if (walk.ended && (shortest == 0 || walk.tokens.size() < shortest)) shortest = walk.tokens.size();
    }
    out.set("shortest", static_cast<int64_t>(shortest));
    Json walks = Json::array();
    for (int64_t i = 0; i < options.n_walks; ++i) {
      bool biased = i % 4 != 3;
      size_t most = std::max<size_t>(4 * std::max<size_t>(shortest, 1), 4);
      size_t n_free = biased ? std::max<size_t>(shortest + shortest / 2, 2) : most;
      Walk walk = walker.run(*(*made)->matcher(), n_free, most, random);
      walks.push_back(report_walk(walk, biased));
    }
    out.set("walks", std::move(walks));
    fmt::print("{}\n", out.dump());
  }
  return {};
}

}  // namespace millrace::app
