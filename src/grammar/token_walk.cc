#include "grammar/token_walk.h"

#include <algorithm>
#include <cstring>

#include "grammar/compile_budget.h"

namespace millrace::grammar {
namespace {

constexpr int32_t kNowhere = -1;
constexpr size_t kMostRows = 512;        // of 1 KiB
constexpr size_t kStepsOfRow = 8;        // of work
constexpr size_t kFollowedPerStep = 4;   // followed from row to row
constexpr size_t kTokensPerStep = 8;     // looked at
constexpr size_t kTokensPerLook = 1024;  // between two looks at the budget

}  // namespace

TokenWalk::TokenWalk(const std::vector<std::pair<int32_t, std::string>>& sorted_tokens)
    : tokens_(sorted_tokens.size()), outcomes_(sorted_tokens.size()) {
  size_t longest = 0;
  std::string_view before;
  for (size_t i = 0; i < tokens_.size(); ++i) {
    std::string_view text = sorted_tokens[i].second;
    size_t n = std::min(text.size(), before.size());
    size_t n_shared = 0;
    while (n_shared < n && text[n_shared] == before[n_shared]) ++n_shared;
    tokens_[i] = {static_cast<uint32_t>(n_shared), static_cast<uint32_t>(text.size() - n_shared),
                  static_cast<uint32_t>(bytes_.size()), 0};
    bytes_ += text.substr(n_shared);
    longest = std::max(longest, text.size());
    before = text;
  }
  for (size_t i = tokens_.size(); i-- > 0;) {
    size_t next = i + 1;
    while (next < tokens_.size() && tokens_[next].n_shared >= tokens_[i].n_shared) next = tokens_[next].next;
    tokens_[i].next = static_cast<uint32_t>(next);
  }
  steps_.resize(longest + 1);
  charge_steps(tokens_.size() / kTokensPerStep);
}

const std::vector<WalkOutcome>& TokenWalk::walk(const Start& start, const Ranges& ranges, const Describe& describe) {
  if (start.automaton != automaton_ || rows_.size() > kMostRows) {
    rows_.clear();
    row_of_state_.clear();
  }
  automaton_ = start.automaton;
  int32_t first = row_of(start.state, describe);
  steps_[0] = {first, rows_[static_cast<size_t>(first)].certain};
  for (const auto& [begin, end] : ranges) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); i += kTokensPerLook) {
      walk_range(i, std::min(i + kTokensPerLook, static_cast<size_t>(end)), describe);
    }
  }
  return outcomes_;
}

void TokenWalk::walk_range(size_t begin, size_t end, const Describe& describe) {
  const Row* rows = rows_.data();  // a tenth of the time goes into checked accesses otherwise
  Step* steps = steps_.data();
  size_t n_taken = n_taken_;
  size_t n_followed = 0;
  size_t n_looked = 0;
  for (size_t i = begin; i < end; ++n_looked) {
    Token token = tokens_[i];
    bool goes_on = token.n_shared <= n_taken;
    if (goes_on) n_taken = token.n_shared;
    const char* own = bytes_.data() + token.own;
    for (size_t k = 0; goes_on && k < token.n_own; ++k, ++n_followed) {
      Step at = steps[n_taken];
      auto byte = static_cast<unsigned char>(own[k]);
      int32_t next = rows[at.row].next[byte];
      if (next < kNowhere) {
        next = row_of(kNowhere - 1 - next, describe);
        rows_[static_cast<size_t>(at.row)].next[byte] = next;
        rows = rows_.data();
      }
      goes_on = next != kNowhere;
      if (goes_on) steps[++n_taken] = {next, at.certain && rows[next].passes};
    }
    if (goes_on) {
      outcomes_[i++] = WalkOutcome::kTaken;
      continue;
    }
    size_t behind = i + 1;  // those that begin as this one, to where it parts
    while (behind < end && tokens_[behind].n_shared > n_taken) behind = tokens_[behind].next;
    behind = std::min(behind, end);
    std::fill(outcomes_.begin() + static_cast<std::ptrdiff_t>(i),
              outcomes_.begin() + static_cast<std::ptrdiff_t>(behind),
              steps[n_taken].certain ? WalkOutcome::kRefused : WalkOutcome::kUnknown);
    i = behind;
  }
  n_taken_ = n_taken;
  charge_steps(1 + n_looked / kTokensPerStep + n_followed / kFollowedPerStep);
}

int32_t TokenWalk::next_possible(int32_t index, int32_t end) const {
  const WalkOutcome* outcomes = outcomes_.data();
  constexpr int32_t kAtOnce = 8;
  std::array<WalkOutcome, kAtOnce> refused;
  refused.fill(WalkOutcome::kRefused);
  while (index + kAtOnce <= end && std::memcmp(outcomes + index, refused.data(), kAtOnce) == 0) index += kAtOnce;
  while (index < end && outcomes[index] == WalkOutcome::kRefused) ++index;
  return index;
}

int32_t TokenWalk::row_of(int32_t state, const Describe& describe) {
  auto [found, is_new] = row_of_state_.try_emplace(state, static_cast<int32_t>(rows_.size()));
  if (!is_new) return found->second;
  charge_steps(kStepsOfRow);
  WalkState described = describe(state);
  Row& row = rows_.emplace_back();
  row.next.fill(kNowhere);
  row.certain = described.bytes_only;
  for (const WalkEdge& edge : described.edges) {
    for (size_t byte = edge.first; byte <= edge.last; ++byte) {
      if (row.next[byte] != kNowhere) {
        row.certain = false;  // the first of them is a way as good as any
      } else {
        row.next[byte] = kNowhere - 1 - edge.target;
      }
    }
  }
  row.passes = row.certain && !described.ends;
  return found->second;
}

}  // namespace millrace::grammar
