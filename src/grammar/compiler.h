// Compiler: constraint texts to flow::Constraint, for one vocabulary. Texts are read, bounded and rewritten here
// (rules.h); what the core gets is our own text. Compiled ones are kept, least recently used first out.
//  1. Compiling runs on helper threads of its own; nobody else waits for one.
//  2. A text that passes the limits on time or memory is refused, and remembered as refused.
// Thread: any.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/durations.h"
#include "base/ids.h"
#include "base/limits.h"
#include "base/result.h"
#include "flow/constraint.h"
#include "grammar/rules.h"

namespace millrace::text {
class Tokenizer;
}

namespace millrace::grammar {

// What the core needs of a tokenizer.
// `encode`, when set, writes a text as the tokenizer would in the middle of another; used on several threads at once.
struct Vocabulary {
  std::vector<std::string> tokens;  // [n_vocab of the model] the bytes each adds to a text; empty: none
  std::vector<TokenId> specials;    // never inside constrained text, though they have bytes
  std::vector<TokenId> end_tokens;
  std::function<std::vector<TokenId>(std::string_view text)> encode = {};
};
// n_vocab: rows of the model's logits, at least the tokenizer's. The tokenizer outlives what comes of it.
Vocabulary vocabulary_of(const text::Tokenizer& tokenizer, std::span<const TokenId> end_tokens, size_t n_vocab);

// The rules of a constraint. kInvalidSchema, kInvalidRegex, kInvalidGrammar, kInvalidValue; messages begin with
// spec.param.
Result<Rules> read_constraint(const flow::ConstraintSpec& spec, const Limits& limits);

using CompiledConstraint = std::shared_ptr<const flow::Constraint>;

class Compiler {
 public:
  struct Counts {
    uint64_t n_compiled = 0;
    uint64_t n_found = 0;  // in the cache
    uint64_t n_refused = 0;
    uint64_t n_cached = 0;  // now
    uint64_t cached_bytes = 0;
    Tick compile_time = 0;  // of n_compiled and n_refused, ns
    uint64_t n_steps = 0;   // of work for n_compiled and n_refused, where they are counted (compile_budget.h)
  };

  Compiler(Vocabulary vocabulary, const Limits& limits, size_t n_threads = 2);
  ~Compiler();
  Compiler(const Compiler&) = delete;
  Compiler& operator=(const Compiler&) = delete;

  using Done = std::function<void(Result<CompiledConstraint>)>;
  // Calls `done` once: at once when the text is known, else later on a helper thread. kConstraintQueueFull when too
  // many wait: `done` is not called then.
  Result<void> post(flow::ConstraintSpec spec, Done done);
  // The same, on this thread.
  Result<CompiledConstraint> compile(const flow::ConstraintSpec& spec);

  Counts counts() const;
  Durations& compile_times();  // of n_compiled and n_refused
  Durations& mask_times();     // of every TokenMatcher::fill()

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace millrace::grammar
