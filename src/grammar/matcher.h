// The compiled form of a constraint and its matchers, over the core. Only this file, token_table.h and compiler.cc see
// the core. Thread: CompiledGrammar any; a matcher one at a time.
#pragma once

#include <xgrammar/xgrammar.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/durations.h"
#include "flow/constraint.h"
#include "grammar/compiler.h"
#include "grammar/gate.h"
#include "grammar/shortest_end.h"
#include "grammar/string_guard.h"
#include "grammar/token_table.h"

namespace millrace::grammar {

class CompiledGrammar final : public flow::Constraint {
 public:
  // gate: what comes before it; lengths: of the strings that are bounded, by number of their marker; proposes:
  // matchers may ask the core for the text that must come next (forced_text.h); mask_times: get each fill()'s.
  CompiledGrammar(std::shared_ptr<const TokenTable> tokens, xgrammar::CompiledGrammar compiled,
                  std::unique_ptr<const Gate> gate, std::vector<LengthBounds> lengths, bool proposes,
                  std::shared_ptr<Durations> mask_times)
      : tokens_(std::move(tokens)),
        compiled_(std::move(compiled)),
        gate_(std::move(gate)),
        lengths_(std::move(lengths)),
        ends_(compiled_, lengths_, tokens_->bytes(), tokens_->pieces()),
        classes_(tokens_->classes(compiled_)),
        proposes_(proposes),
        mask_times_(std::move(mask_times)) {}
  std::unique_ptr<flow::TokenMatcher> matcher() const override;
  size_t n_mask_words() const override { return tokens_->n_mask_words(); }
  // Whether an answer may begin with this text, once the constraint is in force.
  bool begins_with(const std::string& text) const;
  size_t n_bytes() const {
    return compiled_.MemorySizeBytes() + ends_.n_bytes() + (classes_ == nullptr ? 0 : classes_->n_bytes());
  }

 private:
  std::shared_ptr<const TokenTable> tokens_;
  xgrammar::CompiledGrammar compiled_;
  std::unique_ptr<const Gate> gate_;
  std::vector<LengthBounds> lengths_;
  EndCosts ends_;
  std::shared_ptr<const TokenClasses> classes_;  // null: masks leave little to the core's parser
  bool proposes_;
  std::shared_ptr<Durations> mask_times_;
};

}  // namespace millrace::grammar
