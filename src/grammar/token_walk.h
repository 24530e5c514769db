// TokenWalk: which tokens of a sorted vocabulary an automaton takes from one state, for the masks of wide states (a
// string's content, a class of nearly all characters), where the core's parser would look at most of the vocabulary.
// A token that the automaton takes whole is allowed, and one that it refuses where nothing but bytes lead on is not;
// what is neither is left to the parser. The work counts (compile_budget.h). Thread: one.
// In C++17, for the core includes it (cmake/xgrammar.cmake).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace millrace::grammar {

struct WalkEdge {
  uint8_t first = 0;  // of the bytes that lead along it
  uint8_t last = 0;
  int32_t target = 0;
};

struct WalkState {
  std::vector<WalkEdge> edges;
  bool bytes_only = true;  // nothing but bytes leads on
  bool ends = false;       // what it belongs to may be complete here
};

enum class WalkOutcome : uint8_t { kTaken, kRefused, kUnknown };

class TokenWalk {
 public:
  // By text.
  explicit TokenWalk(const std::vector<std::pair<int32_t, std::string>>& sorted_tokens);

  struct Start {
    int32_t automaton = 0;
    int32_t state = 0;
  };
  using Ranges = std::vector<std::pair<int32_t, int32_t>>;  // [first, behind the last) tokens
  using Describe = std::function<WalkState(int32_t)>;
  // What becomes of the tokens of these ranges, by index; stands until the next call. A range holds all tokens that
  // begin with some byte, or none of them. The states of one automaton are described once, as long as few are met.
  const std::vector<WalkOutcome>& walk(const Start& start, const Ranges& ranges, const Describe& describe);
  // The first token from `index` on, before `end`, that the last walk did not refuse; else `end`.
  int32_t next_possible(int32_t index, int32_t end) const;

 private:
  // A token as it differs from the one before: so many bytes of that, then n_own of bytes_.
  struct Token {
    uint32_t n_shared = 0;
    uint32_t n_own = 0;
    uint32_t own = 0;   // where in bytes_
    uint32_t next = 0;  // the first one behind it that shares fewer bytes than n_shared with the one before
  };
  struct Row {
    std::array<int32_t, 256> next{};  // a row; kNowhere; below that a state whose row is not made: kNowhere - 1 - state
    bool certain = true;              // a byte leads to one state, and nothing but a byte leads on
    bool passes = true;               // certain, and nothing ends here
  };
  struct Step {
    int32_t row = 0;
    bool certain = true;  // a byte that leads nowhere from here, and from no step before, is refused
  };

  int32_t row_of(int32_t state, const Describe& describe);
  void walk_range(size_t begin, size_t end, const Describe& describe);

  std::vector<Token> tokens_;
  std::string bytes_;
  int32_t automaton_ = -1;
  std::vector<Row> rows_;
  std::unordered_map<int32_t, int32_t> row_of_state_;
  std::vector<Step> steps_;  // before each byte of the longest token, and behind it
  size_t n_taken_ = 0;       // bytes of the token walked last
  std::vector<WalkOutcome> outcomes_;
};

}  // namespace millrace::grammar
