// TriggerPattern: a regular expression that is looked for in a text while the text grows, and the place in a match
// where a constraint begins. States say what may still come of the text, threads also where it began: the first are
// cheap to keep for each token, the second are asked for once something was found. Look-around and back-references are
// refused (regex.h); among the ways in which a text matches, the one that ECMA-262 finds first is taken. Work counts
// (compile_budget.h). Thread: any. Source: R. Cox, "Regular Expression Matching: the Virtual Machine Approach" (2009),
// Pike's machine.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "grammar/regex.h"
#include "grammar/rules.h"

namespace millrace::grammar {

// Bytes of a text one by one to its characters; kNotUtf8 stands for each byte that belongs to none.
class CharacterFeed {
 public:
  // Calls found(character, n_bytes) for each character that is complete with this byte.
  template <class Found>
  void push(unsigned char byte, const Found& found);
  bool operator==(const CharacterFeed&) const = default;
  auto operator<=>(const CharacterFeed&) const = default;

 private:
  std::array<char, 4> bytes_{};  // of a character that is not complete
  uint8_t n_ = 0;
};

class TriggerPattern {
 public:
  // whole: all of the text matches; else a part of it. kInvalidRegex.
  static Result<TriggerPattern> read(std::string_view pattern, bool whole, const RegexOptions& options);

  struct State {
    std::vector<uint64_t> places;  // one bit for each instruction
    CharacterFeed feed;
    bool operator==(const State&) const = default;
    auto operator<=>(const State&) const = default;
  };
  State start() const;
  void advance(State& state, std::string_view bytes) const;
  bool found(const State& state) const;

  // Follows one text, which only grows.
  class Search {
   public:
    explicit Search(const TriggerPattern& pattern) : pattern_(&pattern) { reset(); }
    void reset();
    void advance(std::string_view bytes);
    size_t n_bytes() const { return n_bytes_; }
    // Where the match begins that ends here or, unless all of the text must match, before: its first group that is not
    // empty, else itself.
    std::optional<size_t> begin() const;

   private:
    static constexpr size_t kNone = SIZE_MAX;
    struct Thread {
      uint32_t at = 0;
      std::vector<size_t> saved;  // [2 * (groups + 1)] begin and end of the match, and of each group
    };
    void follow(uint32_t at, std::vector<size_t> saved, size_t position, std::vector<Thread>& into,
                std::vector<bool>& seen) const;
    void step(uint32_t character, size_t n_bytes);

    const TriggerPattern* pattern_;
    std::vector<Thread> threads_;  // the likelier ones first
    std::vector<size_t> matched_;  // before here; empty: nothing
    CharacterFeed feed_;
    size_t n_bytes_ = 0;
    size_t n_characters_bytes_ = 0;  // of the complete ones
  };

 private:
  enum class Op : uint8_t { kCharacter, kSplit, kSave, kBegin, kEnd, kMatch };
  struct Instruction {
    Op op = Op::kMatch;
    CharSet set;        // kCharacter
    bool any = false;   // kCharacter: every byte, whether it is of a character or not
    uint32_t next = 0;  // kSplit: tried first
    uint32_t other = 0;
    size_t slot = 0;  // kSave
  };
  Result<uint32_t> add(Instruction instruction);
  Result<void> emit(const Rules& rules, ExprId id);
  Result<void> emit_repeat(const Rules& rules, const Expr& expr);
  bool takes(uint32_t at, uint32_t character) const;
  void reach(uint32_t at, bool at_begin, std::vector<uint64_t>& places) const;
  void step(State& state, uint32_t character) const;

  std::vector<Instruction> program_;
  size_t n_slots_ = 0;
  bool whole_ = false;
};

}  // namespace millrace::grammar
