// Gate: where in the free text before a constraint the constraint begins: behind a text (the end of a reasoning block),
// or, lazily, with the first of some triggers. Thread: any; a place in a text one at a time.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/limits.h"
#include "base/result.h"
#include "flow/constraint.h"
#include "grammar/trigger_pattern.h"

namespace millrace::grammar {

class TokenTable;

class Gate {
 public:
  // kInvalidGrammar with the trigger that is wrong.
  static Result<std::unique_ptr<Gate>> read(const flow::ConstraintSpec& spec, const Limits& limits);

  bool is_open() const { return texts_.empty() && tokens_.empty() && patterns_.empty(); }  // nothing comes before
  bool lazy() const { return lazy_; }  // the answer may end before it, and what opens it belongs to the constraint
  // Not lazy: the text that must come first; empty: none.
  std::string_view after() const { return lazy_ || texts_.empty() ? std::string_view() : texts_.front(); }

  // The free text of one answer.
  class Place {
   public:
    explicit Place(const Gate& gate);
    const std::string& text() const { return text_; }
    // Where the constraint begins once this token is taken, in bytes of the text with it; npos: not yet.
    size_t begin_with(TokenId token, std::string_view bytes);
    void take(std::string_view bytes);
    void take_back();  // the last one taken
    // Tokens that may open the gate, among others; some twice.
    void candidates(const TokenTable& tokens, const std::function<void(TokenId)>& found);

   private:
    using Searches = std::vector<TriggerPattern::Search>;  // by pattern
    const Searches& searched();
    size_t first_pattern(std::string_view bytes);

    const Gate* gate_;
    std::string text_;
    std::vector<TriggerPattern::State> states_;  // by pattern
    struct Taken {
      size_t n_bytes = 0;  // of the text before
      std::vector<TriggerPattern::State> states;
    };
    std::vector<Taken> taken_;
    std::vector<Searches> searches_;  // of the last tokens, where they were asked for
  };

 private:
  struct Openers {
    std::vector<TokenId> tokens;
    bool too_many = false;  // takes too much work to say
  };
  std::shared_ptr<const Openers> openers(size_t pattern, const TriggerPattern::State& state,
                                         const TokenTable& tokens) const;
  static Openers find_openers(const TriggerPattern& pattern, const TriggerPattern::State& state,
                              const TokenTable& tokens);

  bool lazy_ = false;
  std::vector<std::string> texts_;  // words, or the text behind which the constraint begins
  std::vector<TokenId> tokens_;
  std::vector<TriggerPattern> patterns_;
  size_t longest_ = 0;  // of texts_
  mutable std::mutex mutex_;
  mutable std::map<std::pair<size_t, TriggerPattern::State>, std::shared_ptr<const Openers>> openers_;  // guarded by it
};

}  // namespace millrace::grammar
