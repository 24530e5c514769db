// millrace bench grammar MODEL --corpus FILE: how many constraints of a corpus compile, what that and their masks cost,
// and random answers to them, as one line of JSON each: what tools/check/grammar_walks.py validates with programs that
// share no code with this one. A line of the corpus: {"kind": "schema" | "regex" | "grammar" | "choice" | "object" |
// "tags", "text": ...}.
#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

#include "app/bench_grammar.h"
#include "base/file.h"
#include "base/json.h"
#include "base/macros.h"
#include "base/philox.h"
#include "flow/timed_matcher.h"

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

// Draws allowed tokens with equal odds.
class Walker {
 public:
  explicit Walker(const grammar::Vocabulary& vocabulary) : vocabulary_(vocabulary) {}

  Walk run(const flow::Constraint& constraint, uint32_t n_most, PhiloxSequence& random) {
    Walk out;
    mask_.assign(constraint.n_mask_words(), 0);
    flow::TimedMatcher matcher(constraint.matcher(), n_most);
    while (out.tokens.size() < n_most) {
      auto begin = std::chrono::steady_clock::now();
      matcher.fill(mask_);
      masks_us_.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count());
      TokenId token = any(random);
      bool taken = token != kNoToken && matcher.accept(token);
      if (taken && !matcher.in_time(mask_)) {
        token = any(random);
        taken = token != kNoToken && matcher.accept(token);
      }
      out.stuck = !taken;
      if (out.stuck) return out;
      out.tokens.push_back(token);
      out.ended = matcher.matcher().ended();
      if (out.ended) return out;
      out.text += vocabulary_.tokens[static_cast<size_t>(token)];
    }
    return out;
  }

  // Of the masks since this was asked last: how many, median, 99 %, longest.
  Json take_times() {
    Json out = Json::object();
    std::ranges::sort(masks_us_);
    auto at = [&](double part) {
      return masks_us_.empty() ? 0 : masks_us_[static_cast<size_t>(part * static_cast<double>(masks_us_.size() - 1))];
    };
    out.set("n", static_cast<int64_t>(masks_us_.size()));
    out.set("median", at(0.5));
    out.set("p99", at(0.99));
    out.set("longest", at(1));
    masks_us_.clear();
    return out;
  }

 private:
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

  const grammar::Vocabulary& vocabulary_;
  std::vector<uint32_t> mask_;
  std::vector<double> masks_us_;
};

// The fewest tokens in which an answer is known to end.
uint32_t fewest_tokens(const flow::Constraint& constraint) {
  constexpr uint32_t kMost = 1 << 16;
  auto matcher = constraint.matcher();
  uint32_t least = 1;
  for (uint32_t most = kMost; least < most;) {
    uint32_t middle = least + (most - least) / 2;
    if (matcher->ends_within(middle)) {
      most = middle;
    } else {
      least = middle + 1;
    }
  }
  return least;
}

Json report_walk(const Walk& walk) {
  Json out = Json::object();
  out.set("ended", walk.ended);
  out.set("stuck", walk.stuck);
  out.set("n_tokens", static_cast<int64_t>(walk.tokens.size()));
  if (walk.ended) out.set("text", walk.text);  // others may stop inside a character
  return out;
}

}  // namespace

Result<void> walk_corpus(const CorpusWalks& options, grammar::Compiler& compiler,
                         const grammar::Vocabulary& vocabulary) {
  std::string text = TRY(read_file(options.file, kCorpusBytes));
  Walker walker(vocabulary);
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
    uint32_t shortest = fewest_tokens(**made);
    out.set("shortest", int64_t{shortest});
    Json walks = Json::array();
    for (int64_t i = 0; i < options.n_walks; ++i)
      walks.push_back(report_walk(walker.run(**made, 4 * shortest, random)));
    out.set("walks", std::move(walks));
    out.set("masks_us", walker.take_times());
    fmt::print("{}\n", out.dump());
  }
  return {};
}

}  // namespace millrace::app
