// ParseWalk: what becomes of a vocabulary's tokens behind the text that the core's parser has taken, all at once. The
// parser is asked once for each of its rows and class of bytes instead of for each token: rows are the same when their
// states are, and what those wait for is, wherever in the text they lie (a graph-structured stack: Tomita 1986). A
// token then costs a step or two in a table (token_classes.h). The work counts (compile_budget.h).
// Not a header to include: it is compiled inside the core's grammar_matcher.cc (cmake/xgrammar.cmake). In C++17.
// Thread: its matcher's.
#pragma once

#include <algorithm>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "grammar/compile_budget.h"
#include "grammar/parser_rows.inl.h"
#include "grammar/token_classes.h"
#include "grammar/token_walk.h"

namespace millrace::grammar {
namespace {

class ParseWalk {
 public:
  // Both outlive this; null: it cannot run.
  ParseWalk(xgrammar::EarleyParser& parser, const TokenClasses* classes)
      : parser_(parser),
        classes_(classes != nullptr && !ParserRows::counts_more_than_bytes(parser) ? classes : nullptr) {}

  // The parser is about to follow one more byte of one token.
  void note_step() {
    const auto& places = ParserRows::of_places(parser_);
    const auto& waiting = ParserRows::of_waiting(parser_);
    n_steps_ += static_cast<size_t>(1 + places[places.size() - 1].size() + waiting[waiting.size() - 1].size());
  }
  // Tokens were followed one by one for as long as a walk takes.
  bool is_worth_it() const {
    return classes_ != nullptr && !done() && n_steps_ >= kFewSteps + classes_->nodes().size() / kNodesPerStep;
  }
  bool done() const { return !outcomes_.empty(); }

  // The parser is as before.
  void run() {
    base_ = ParserRows::of_places(parser_).size() - 1;
    add_row({});
    const auto& nodes = classes_->nodes();
    outcomes_.assign(nodes.size(), WalkOutcome::kRefused);
    outcomes_[0] = WalkOutcome::kTaken;
    std::vector<int32_t> at(classes_->deepest() + 1, 0);  // the row behind each byte
    size_t n_classes = classes_->classes().size();
    size_t n_looked = 0;
    for (size_t i = 1; i < nodes.size(); ++n_looked) {
      const TokenClasses::Node& node = nodes[i];
      auto row = static_cast<size_t>(at[node.depth - 1u]);
      int32_t next = next_[row * n_classes + node.last];
      if (next == kUnknown) next = make_next(static_cast<int32_t>(row), node.last);
      if (next >= 0) {
        at[node.depth] = next;
        outcomes_[i++] = WalkOutcome::kTaken;
        continue;
      }
      if (next == kMixed) {
        std::fill(outcomes_.begin() + static_cast<std::ptrdiff_t>(i),
                  outcomes_.begin() + static_cast<std::ptrdiff_t>(node.end), WalkOutcome::kUnknown);
      }
      i = node.end;
    }
    charge_steps(n_looked / kLookedPerStep);
    go_to(0);
  }

  // Behind run(). Sets in `accepted` what one state allows, of whose mask these tokens are left: those that are taken,
  // and all others but `rejected` and `refused`, when the first is given. Returns those that the parser has to follow.
  // Tokens: by number in the order of their texts.
  const std::vector<int32_t>& sort_out(const int32_t* begin, const int32_t* end, const std::vector<int32_t>* rejected,
                                       const std::vector<int32_t>& refused, xgrammar::DynamicBitset& accepted) {
    const TokenClasses::Place* places = classes_->places().data();
    const WalkOutcome* outcomes = outcomes_.data();
    taken_.assign(classes_->all().size(), 0);
    if (rejected != nullptr) {
      taken_ = classes_->all();
      for (const std::vector<int32_t>* out : {rejected, &refused}) {
        for (int32_t i : *out) taken_[static_cast<size_t>(places[i].token) / 32] &= ~(1u << places[i].token % 32);
      }
    }
    std::vector<int32_t> unknown;  // the tokens may be those of the last call
    size_t n_unknown = 0;
    for (const int32_t* i = begin; i != end; ++i) {  // without a branch: what becomes of a token is not foreseen
      TokenClasses::Place place = places[*i];
      WalkOutcome outcome = outcomes[place.node];
      uint32_t& word = taken_[static_cast<size_t>(place.token) / 32];
      uint32_t taken = outcome == WalkOutcome::kTaken ? 1 : 0;
      word = (word & ~(1u << place.token % 32)) | taken << place.token % 32;
      n_unknown += outcome == WalkOutcome::kUnknown ? 1 : 0;
    }
    accepted |= xgrammar::DynamicBitset(static_cast<int>(taken_.size() * 32), taken_.data());
    for (const int32_t* i = begin; n_unknown > 0 && i != end; ++i) {
      if (outcomes[places[*i].node] == WalkOutcome::kUnknown) unknown.push_back(*i);
    }
    unknown_ = std::move(unknown);
    size_t n_cleared = rejected == nullptr ? 0 : rejected->size() + refused.size();
    charge_steps((static_cast<size_t>(end - begin) + n_cleared) / kTokensPerStep + taken_.size() / kWordsPerStep);
    return unknown_;
  }

 private:
  using State = xgrammar::ParserState;
  using Waiting = std::pair<int32_t, State>;
  using Bytes = std::bitset<256>;

  static constexpr int32_t kUnknown = -1;  // not asked yet
  static constexpr int32_t kNowhere = -2;
  static constexpr int32_t kMixed = -3;  // the bytes of the class part here, or there are too many rows
  static constexpr int32_t kOwn = std::numeric_limits<int32_t>::max();
  static constexpr size_t kMostRows = 2000;
  static constexpr size_t kMostWays = 64;
  static constexpr size_t kFewSteps = 1000;  // of some 50 ns
  static constexpr size_t kNodesPerStep = 32;
  static constexpr size_t kLookedPerStep = 4;  // nodes
  static constexpr size_t kTokensPerStep = 8;
  static constexpr size_t kWordsPerStep = 256;
  static constexpr size_t kCopiedPerStep = 4;  // states of the parser

  // A row as it is in the parser when the rows of `before`, and those before that, lie under it.
  struct Row {
    int32_t before = -1;
    int32_t depth = 0;  // bytes behind the text
    bool complete = false;
    std::vector<State> places;
    std::vector<Waiting> waiting;
    bool mixed = false;
    std::vector<Bytes> ways;                          // the bytes that lead along each
    std::vector<std::pair<uint64_t, int32_t>> known;  // a set of ways, and the row behind them
  };
  struct Hash {
    size_t operator()(const std::vector<int32_t>& key) const {
      uint64_t hash = 14695981039346656037ull;  // FNV-1a, word by word
      for (int32_t value : key) hash = (hash ^ static_cast<uint32_t>(value)) * 1099511628211ull;
      return static_cast<size_t>(hash ^ hash >> 32);
    }
  };

  // The parser's last row, which lies at `row.depth`.
  int32_t add_row(Row row) {
    const auto& places = ParserRows::of_places(parser_)[base_ + row.depth];
    const auto& waiting = ParserRows::of_waiting(parser_)[base_ + row.depth];
    row.places.assign(places.begin(), places.end());
    row.waiting.assign(waiting.begin(), waiting.end());
    row.complete = ParserRows::of_ends(parser_).back();
    std::vector<std::pair<std::pair<size_t, int32_t>, size_t>> targets;  // of a place, the number of the way there
    size_t n_edges = 0;
    for (size_t i = 0; i < row.places.size() && !row.mixed; ++i) {
      const State& place = row.places[i];
      row.mixed = place.rule_id < 0;  // no automaton
      if (row.mixed) break;
      for (const auto& edge : ParserRows::grammar_of(parser_)->complete_fsm.GetEdges(place.element_id)) {
        ++n_edges;
        if (!edge.IsCharRange()) continue;
        auto target = std::pair(i, edge.target);
        auto found = std::find_if(targets.begin(), targets.end(), [&](const auto& one) { return one.first == target; });
        if (found == targets.end()) {
          row.mixed = row.ways.size() == kMostWays;
          if (row.mixed) break;
          targets.emplace_back(target, row.ways.size());
          found = targets.end() - 1;
          row.ways.emplace_back();
        }
        for (int byte = edge.min; byte <= edge.max; ++byte) row.ways[found->second].set(static_cast<size_t>(byte));
      }
    }
    if (row.mixed) row.ways = {};
    charge_steps(1 + row.places.size() + n_edges);
    rows_.push_back(std::move(row));
    next_.resize(next_.size() + classes_->classes().size(), kUnknown);
    return static_cast<int32_t>(rows_.size()) - 1;
  }

  int32_t make_next(int32_t row, uint8_t last) {
    int32_t next = find_next(row, classes_->classes()[last]);
    next_[static_cast<size_t>(row) * classes_->classes().size() + last] = next;
    return next;
  }

  int32_t find_next(int32_t row, const Bytes& bytes) {
    {
      Row& from = rows_[static_cast<size_t>(row)];
      if (from.mixed) return kMixed;
      uint64_t ways = 0;
      for (size_t i = 0; i < from.ways.size(); ++i) {
        Bytes shared = from.ways[i] & bytes;
        if (shared.none()) continue;
        if (shared != bytes) return kMixed;
        ways |= uint64_t{1} << i;
      }
      if (ways == 0) return kNowhere;
      for (const auto& [known, next] : from.known) {
        if (known == ways) return next;
      }
      if (rows_.size() >= kMostRows) return kMixed;
      from.known.emplace_back(ways, kNowhere);
    }
    go_to(row);
    int32_t next = kNowhere;
    if (parser_.Advance(static_cast<uint8_t>(bytes._Find_first()))) next = last_row(row);
    rows_[static_cast<size_t>(row)].known.back().second = next;
    return next;
  }

  // The number of the parser's last row, which lies behind `before`.
  int32_t last_row(int32_t before) {
    int32_t depth = rows_[static_cast<size_t>(before)].depth + 1;
    auto where = [&](int32_t position) {  // a row of the text, this one, or one of the walk
      if (position <= base_) return position;
      if (position == base_ + depth) return kOwn;
      int32_t row = before;
      while (rows_[static_cast<size_t>(row)].depth > position - base_) row = rows_[static_cast<size_t>(row)].before;
      return base_ + row;
    };
    std::vector<int32_t> key;
    auto add = [&](const State& state) {
      for (int32_t value : {state.rule_id, state.sequence_id, state.element_id, where(state.rule_start_pos),
                            state.sub_element_id, state.repeat_count, state.partial_codepoint}) {
        key.push_back(value);
      }
    };
    const auto& places = ParserRows::of_places(parser_)[base_ + depth];
    const auto& waiting = ParserRows::of_waiting(parser_)[base_ + depth];
    key.push_back(places.size());
    for (const State& place : places) add(place);
    for (const Waiting& one : waiting) {
      key.push_back(one.first);
      add(one.second);
    }
    charge_steps(1 + static_cast<size_t>(places.size() + waiting.size() / 2));
    auto [found, is_new] = number_of_.try_emplace(std::move(key), static_cast<int32_t>(rows_.size()));
    if (is_new) {
      add_row({before, depth});
      at_ = found->second;
    } else {
      parser_.PopLastStates(1);
    }
    return found->second;
  }

  // Takes the parser there.
  void go_to(int32_t row) {
    std::vector<int32_t> ahead;
    int32_t n_back = 0;
    for (int32_t to = row; to != at_;) {
      const Row& there = rows_[static_cast<size_t>(to)];
      const Row& here = rows_[static_cast<size_t>(at_)];
      if (there.depth > here.depth) {
        ahead.push_back(to);
        to = there.before;
      } else {
        ++n_back;
        at_ = here.before;
      }
    }
    if (n_back > 0) parser_.PopLastStates(n_back);
    for (; !ahead.empty(); ahead.pop_back()) {
      const Row& one = rows_[static_cast<size_t>(ahead.back())];
      ParserRows::of_waiting(parser_).PushBack(one.waiting);
      ParserRows::of_places(parser_).PushBack(one.places);
      ParserRows::of_ends(parser_).push_back(one.complete);
      charge_steps((one.places.size() + one.waiting.size()) / kCopiedPerStep);
    }
    at_ = row;
  }

  xgrammar::EarleyParser& parser_;
  const TokenClasses* classes_;
  size_t n_steps_ = 0;
  int32_t base_ = 0;  // the parser's row behind the text
  int32_t at_ = 0;    // the row that the parser is at
  std::vector<Row> rows_;
  std::vector<int32_t> next_;  // [row][class]
  std::unordered_map<std::vector<int32_t>, int32_t, Hash> number_of_;
  std::vector<WalkOutcome> outcomes_;  // [node]
  std::vector<uint32_t> taken_;        // bits of tokens
  std::vector<int32_t> unknown_;
};

}  // namespace
}  // namespace millrace::grammar
