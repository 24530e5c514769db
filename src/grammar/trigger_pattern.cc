#include "grammar/trigger_pattern.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/macros.h"
#include "grammar/characters.h"
#include "grammar/compile_budget.h"

namespace millrace::grammar {
namespace {

constexpr size_t kMaxInstructions = 1000;
constexpr size_t kMaxGroups = 16;

void set_bit(std::vector<uint64_t>& bits, uint32_t at) { bits[at / 64] |= uint64_t{1} << (at % 64); }
bool has_bit(const std::vector<uint64_t>& bits, uint32_t at) { return (bits[at / 64] >> (at % 64) & 1) != 0; }

}  // namespace

template <class Found>
void CharacterFeed::push(unsigned char byte, const Found& found) {
  const bool goes_on = (byte & 0xC0) == 0x80;
  if (n_ > 0 && !goes_on) {
    for (; n_ > 0; --n_) found(kNotUtf8, size_t{1});
    bytes_ = {};
  }
  if (n_ == 0 && (byte < 0xC2 || byte > 0xF4)) {
    found(byte < 0x80 ? uint32_t{byte} : kNotUtf8, size_t{1});
    return;
  }
  bytes_[n_++] = static_cast<char>(byte);
  const auto lead = static_cast<unsigned char>(bytes_[0]);
  const uint8_t n_all = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (n_ < n_all) return;
  const Character whole = character_at(std::string_view(bytes_.data(), n_all), 0);
  for (size_t n = 0; n < n_all; n += whole.n_bytes) found(whole.value, whole.n_bytes);
  n_ = 0;
  bytes_ = {};
}

Result<uint32_t> TriggerPattern::add(Instruction instruction) {
  if (program_.size() == kMaxInstructions) {
    return Error{ErrorCode::kInvalidRegex, fmt::format("a trigger needs more than {} states", kMaxInstructions), ""};
  }
  program_.push_back(std::move(instruction));
  const auto at = static_cast<uint32_t>(program_.size() - 1);
  program_.back().next = at + 1;
  return at;
}

Result<void> TriggerPattern::emit_repeat(const Rules& rules, const Expr& expr) {
  auto leaves_here = [&](uint32_t split) {
    Instruction& instruction = program_[split];
    instruction.other = static_cast<uint32_t>(program_.size());
    if (expr.lazy) std::swap(instruction.next, instruction.other);
  };
  for (uint32_t n = 0; n < expr.min; ++n) {
    const size_t n_before = program_.size();
    TRY(emit(rules, expr.parts[0]));
    if (program_.size() == n_before) break;  // nothing, however often
  }
  if (expr.max == kUnbounded) {
    const uint32_t split = TRY(add({.op = Op::kSplit}));
    TRY(emit(rules, expr.parts[0]));
    const uint32_t back = TRY(add({.op = Op::kSplit}));
    program_[back].next = program_[back].other = split;
    leaves_here(split);
    return {};
  }
  std::vector<uint32_t> splits;
  for (uint32_t n = expr.min; n < expr.max; ++n) {
    splits.push_back(TRY(add({.op = Op::kSplit})));
    TRY(emit(rules, expr.parts[0]));
  }
  for (uint32_t split : splits) leaves_here(split);
  return {};
}

// Recurses as deep as the pattern is nested, which its reader bounds.
Result<void> TriggerPattern::emit(const Rules& rules, ExprId id) {
  const Expr& expr = rules.at(id);
  switch (expr.kind) {
    case ExprKind::kText:
      for (CharReader text(expr.text); !text.at_end();) {
        const uint32_t c = text.next();
        TRY(add({.op = Op::kCharacter, .set = {{c, c}}}));
      }
      return {};
    case ExprKind::kSet:
      TRY(add({.op = Op::kCharacter, .set = expr.set, .any = complement(expr.set).empty()}));
      return {};
    case ExprKind::kSequence:
      for (ExprId part : expr.parts) TRY(emit(rules, part));
      return {};
    case ExprKind::kChoice: {
      std::vector<uint32_t> ends;
      for (size_t i = 0; i < expr.parts.size(); ++i) {
        const bool last = i + 1 == expr.parts.size();
        const uint32_t split = last ? 0 : TRY(add({.op = Op::kSplit}));
        TRY(emit(rules, expr.parts[i]));
        if (last) break;
        ends.push_back(TRY(add({.op = Op::kSplit})));
        program_[split].other = static_cast<uint32_t>(program_.size());
      }
      for (uint32_t end : ends) program_[end].next = program_[end].other = static_cast<uint32_t>(program_.size());
      return {};
    }
    case ExprKind::kRepeat:
      return emit_repeat(rules, expr);
    case ExprKind::kRule: {
      if (expr.rule == kTextBegin || expr.rule == kTextEnd) {
        TRY(add({.op = expr.rule == kTextBegin ? Op::kBegin : Op::kEnd}));
        return {};
      }
      const size_t slot = 2 * size_t{expr.rule - kFirstGroup + 1};
      TRY(add({.op = Op::kSave, .slot = slot}));
      TRY(emit(rules, rules.body(expr.rule)));
      TRY(add({.op = Op::kSave, .slot = slot + 1}));
      return {};
    }
    case ExprKind::kTags:
      break;
  }
  return Error{ErrorCode::kInternal, "free text in a regular expression", ""};
}

Result<TriggerPattern> TriggerPattern::read(std::string_view pattern, bool whole, const RegexOptions& options) {
  RegexOptions places = options;
  places.places = true;
  Rules rules;
  const ExprId body = TRY(add_regex(rules, pattern, places));
  const size_t n_groups = rules.n_rules() - kFirstGroup;
  if (n_groups > kMaxGroups) {
    return Error{ErrorCode::kInvalidRegex, fmt::format("{} groups, limit {}: write (?:...)", n_groups, kMaxGroups), ""};
  }
  TriggerPattern out;
  out.whole_ = whole;
  out.n_slots_ = 2 * (n_groups + 1);
  TRY(out.emit(rules, body));
  TRY(out.add({.op = Op::kMatch}));
  return out;
}

bool TriggerPattern::takes(uint32_t at, uint32_t character) const {
  const Instruction& one = program_[at];
  return one.op == Op::kCharacter && (one.any || (character != kNotUtf8 && contains(one.set, character)));
}

// Every place that is reached from one without a character.
void TriggerPattern::reach(uint32_t from, bool at_begin, std::vector<uint64_t>& places) const {
  std::vector<uint32_t> open = {from};
  while (!open.empty()) {
    const uint32_t at = open.back();
    open.pop_back();
    if (has_bit(places, at)) continue;
    const Instruction& one = program_[at];
    if (one.op == Op::kBegin && !at_begin) continue;
    charge_steps(1);
    set_bit(places, at);
    if (one.op == Op::kSplit) open.push_back(one.other);
    if (one.op == Op::kSplit || one.op == Op::kSave || one.op == Op::kBegin) open.push_back(one.next);
  }
}

TriggerPattern::State TriggerPattern::start() const {
  State state{.places = std::vector<uint64_t>(program_.size() / 64 + 1, 0)};
  reach(0, true, state.places);
  return state;
}

void TriggerPattern::step(State& state, uint32_t character) const {
  std::vector<uint64_t> next(state.places.size(), 0);
  for (uint32_t at = 0; at < program_.size(); ++at) {
    if (state.places[at / 64] == 0) {
      at |= 63;
      continue;
    }
    if (!has_bit(state.places, at)) continue;
    if (takes(at, character)) reach(at + 1, false, next);
    if (!whole_ && program_[at].op == Op::kMatch) set_bit(next, at);
  }
  if (!whole_) reach(0, false, next);
  state.places = std::move(next);
}

void TriggerPattern::advance(State& state, std::string_view bytes) const {
  CharacterFeed feed = state.feed;
  for (char byte : bytes) {
    feed.push(static_cast<unsigned char>(byte), [&](uint32_t character, size_t) { step(state, character); });
  }
  state.feed = feed;
}

bool TriggerPattern::found(const State& state) const {
  for (uint32_t at = 0; at < program_.size(); ++at) {
    const Op op = program_[at].op;
    if ((op == Op::kMatch || op == Op::kEnd) && has_bit(state.places, at)) return true;
  }
  return false;
}

void TriggerPattern::Search::reset() {
  threads_.clear();
  matched_.clear();
  feed_ = {};
  n_bytes_ = n_characters_bytes_ = 0;
  std::vector<bool> seen(pattern_->program_.size(), false);
  follow(0, std::vector<size_t>(pattern_->n_slots_, kNone), 0, threads_, seen);
}

// Adds what is reached from `at` without a character, in the order in which it is tried.
void TriggerPattern::Search::follow(uint32_t from, std::vector<size_t> saved, size_t position,
                                    std::vector<Thread>& into, std::vector<bool>& seen) const {
  std::vector<Thread> open;
  if (saved[0] == kNone) saved[0] = position;
  open.push_back({from, std::move(saved)});
  while (!open.empty()) {
    Thread thread = std::move(open.back());
    open.pop_back();
    if (seen[thread.at]) continue;
    const Instruction& one = pattern_->program_[thread.at];
    if (one.op == Op::kBegin && position != 0) continue;
    charge_steps(1);
    seen[thread.at] = true;
    switch (one.op) {
      case Op::kSplit:
        if (one.other != one.next) open.push_back({one.other, thread.saved});
        thread.at = one.next;
        break;
      case Op::kSave:
        thread.saved[one.slot] = position;
        [[fallthrough]];
      case Op::kBegin:
        thread.at = one.next;
        break;
      case Op::kCharacter:
      case Op::kEnd:
      case Op::kMatch:
        into.push_back(std::move(thread));
        continue;
    }
    open.push_back(std::move(thread));
  }
}

void TriggerPattern::Search::step(uint32_t character, size_t n_bytes) {
  const size_t position = n_characters_bytes_ + n_bytes;
  std::vector<Thread> next;
  std::vector<bool> seen(pattern_->program_.size(), false);
  for (Thread& thread : threads_) {
    if (pattern_->program_[thread.at].op == Op::kMatch && !pattern_->whole_) {
      matched_ = std::move(thread.saved);  // the less likely threads end here
      break;
    }
    if (pattern_->takes(thread.at, character)) {
      follow(thread.at + 1, std::move(thread.saved), position, next, seen);
    }
  }
  const bool begins = !pattern_->whole_ && matched_.empty();
  if (begins) follow(0, std::vector<size_t>(pattern_->n_slots_, kNone), position, next, seen);
  threads_ = std::move(next);
  n_characters_bytes_ = position;
}

void TriggerPattern::Search::advance(std::string_view bytes) {
  CharacterFeed feed = feed_;
  for (char byte : bytes) {
    feed.push(static_cast<unsigned char>(byte), [&](uint32_t c, size_t n) { step(c, n); });
  }
  feed_ = feed;
  n_bytes_ += bytes.size();
}

std::optional<size_t> TriggerPattern::Search::begin() const {
  const std::vector<size_t>* best = matched_.empty() ? nullptr : &matched_;
  for (const Thread& thread : threads_) {  // those that are left are likelier than what matched before
    const Op op = pattern_->program_[thread.at].op;
    if (op != Op::kMatch && op != Op::kEnd) continue;
    best = &thread.saved;
    break;
  }
  if (best == nullptr) return {};
  for (size_t slot = 2; slot < best->size(); slot += 2) {
    const size_t from = (*best)[slot];
    const size_t to = (*best)[slot + 1];
    if (from != kNone && to != kNone && to > from) return from;
  }
  return best->front();
}

}  // namespace millrace::grammar
