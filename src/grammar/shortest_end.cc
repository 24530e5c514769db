#include "grammar/shortest_end.h"

#include <xgrammar/xgrammar.h>

#include <algorithm>
#include <functional>
#include <queue>
#include <utility>

#include "grammar/compile_budget.h"

namespace millrace::grammar {
namespace {

constexpr size_t kStepsOfEdge = 3;  // of work
constexpr size_t kStepsOfState = 2;
constexpr size_t kWaitingPerPlace = 8;
constexpr int kRounds = 32;             // over the rules that wait at one row for one another
constexpr int kDeepest = 32;            // rounds over the rules that wait for one another, where farthest() is known
constexpr uint32_t kVeryFar = 1 << 20;  // bytes; no answer is that long
constexpr uint32_t kFarQuote = 64;      // bytes behind which no quote is looked for

uint32_t sum(uint32_t a, uint32_t b) { return std::min(a + b, kNoEnd); }

uint32_t product(uint64_t a, uint64_t b) { return static_cast<uint32_t>(std::min<uint64_t>(a * b, kNoEnd)); }

EndCost sum(const EndCost& a, const EndCost& b) { return {sum(a.n_bytes, b.n_bytes), sum(a.n_tokens, b.n_tokens)}; }

EndCost product(uint64_t n, const EndCost& a) { return {product(n, a.n_bytes), product(n, a.n_tokens)}; }

// Of ways to the same end. True: the new one changed what is known.
bool take_better(EndCost& best, const EndCost& one) {
  if (one.n_bytes > best.n_bytes || (one.n_bytes == best.n_bytes && one.n_tokens <= best.n_tokens)) return false;
  best = one;
  return true;
}

// Letters before digits, and what is plain before the rest, for what a string is filled up with is read by somebody.
int rank_of(int byte) {
  if (byte >= 'a' && byte <= 'z') return 0;
  if (byte >= '0' && byte <= '9') return 1;
  if (byte >= 'A' && byte <= 'Z') return 2;
  if (byte == ' ') return 3;
  return byte > 0x20 && byte < 0x7F ? 4 : 5;
}

// Numbers of edges, grouped by a key.
class Groups {
 public:
  template <class Edge, class Key>
  Groups(const std::vector<Edge>& edges, size_t n_keys, const Key& key) : begins_(n_keys + 1, 0) {
    for (const Edge& edge : edges) {
      if (int32_t k = key(edge); k >= 0) ++begins_[static_cast<size_t>(k) + 1];
    }
    for (size_t i = 0; i < n_keys; ++i) begins_[i + 1] += begins_[i];
    members_.resize(begins_.back());
    std::vector<uint32_t> next(begins_.begin(), begins_.end() - 1);
    for (uint32_t i = 0; i < edges.size(); ++i) {
      if (int32_t k = key(edges[i]); k >= 0) members_[next[static_cast<size_t>(k)]++] = i;
    }
  }
  std::span<const uint32_t> of(int32_t key) const {
    auto k = static_cast<size_t>(key);
    return std::span(members_).subspan(begins_[k], begins_[k + 1] - begins_[k]);
  }

 private:
  std::vector<uint32_t> begins_;
  std::vector<uint32_t> members_;
};

bool names_rule(const CoreEdge& edge) { return edge.kind == EdgeKind::kRule || edge.kind == EdgeKind::kRepeat; }

// How often the rule of an edge comes at least.
uint32_t times(const CoreEdge& edge) {
  return edge.kind == EdgeKind::kRule ? 1 : static_cast<uint32_t>(std::max(edge.last, 0));
}

bool is_literal(const CoreEdge& edge) { return edge.kind == EdgeKind::kBytes && edge.first == edge.last; }

}  // namespace

EndCosts::EndCosts(const xgrammar::CompiledGrammar& grammar, std::span<const LengthBounds> lengths,
                   const std::bitset<256>& bytes, const ShortTexts& pieces)
    : grammar_(grammar), tokens_of_byte_(lengths.empty() ? 1 : 2) {
  for (int byte = 0; byte < 256; ++byte) {
    if (!bytes[static_cast<size_t>(byte)] || (in_marker(byte) && !lengths.empty())) continue;
    usable_.set(static_cast<size_t>(byte));
    ranked_[n_ranked_++] = static_cast<uint8_t>(byte);
  }
  std::stable_sort(ranked_.begin(), ranked_.begin() + static_cast<std::ptrdiff_t>(n_ranked_),
                   [](uint8_t a, uint8_t b) { return rank_of(a) < rank_of(b); });
  is_end_.resize(static_cast<size_t>(CoreView::n_states(grammar)), false);
  for (int32_t rule = 0; rule < CoreView::n_rules(grammar); ++rule) {
    starts_.push_back(CoreView::start_of(grammar, rule));
    for (int32_t state : CoreView::ends_of(grammar, rule)) is_end_[static_cast<size_t>(state)] = true;
  }
  std::vector<Edge> edges = usable_edges();
  std::vector<int32_t> order = find_costs(edges, {});
  Needs needs = find_needs(lengths);
  if (!needs.empty()) order = find_costs(edges, needs);
  find_tokens(edges, needs, order, pieces);
  uint32_t longest = 0;  // a string that is open
  for (const LengthBounds& bounds : lengths) longest = std::max(longest, bounds.min);
  farthest_ = product(tokens_of_byte_, sum(find_farthest(), longest));
}

int EndCosts::pick(int first, int last, const std::bitset<256>& forbidden) const {
  if (first == last) {
    auto byte = static_cast<size_t>(first);
    return usable_[byte] && !forbidden[byte] ? first : -1;
  }
  for (size_t i = 0; i < n_ranked_; ++i) {
    if (ranked_[i] >= first && ranked_[i] <= last && !forbidden[ranked_[i]]) return ranked_[i];
  }
  return -1;
}

std::vector<EndCosts::Edge> EndCosts::usable_edges() const {
  std::vector<Edge> edges;
  std::vector<CoreEdge> of_state;
  for (int32_t state = 0; state < static_cast<int32_t>(is_end_.size()); ++state) {
    CoreView::edges_of(grammar_, state, of_state);
    for (const CoreEdge& edge : of_state) {
      bool usable = edge.kind != EdgeKind::kBytes || pick(edge.first, edge.last, {}) >= 0;
      if (usable && edge.kind != EdgeKind::kOther) edges.push_back({edge, state});
    }
  }
  return edges;
}

EndCost EndCosts::along(const CoreEdge& edge) const {
  EndCost cost = from(edge.target);
  if (edge.kind == EdgeKind::kBytes) cost = sum(cost, EndCost{1, is_literal(edge) ? 1 : tokens_of_byte_});
  if (names_rule(edge) && times(edge) > 0) cost = sum(cost, product(times(edge), of_rule(edge.first)));
  return cost;
}

std::vector<int32_t> EndCosts::find_costs(const std::vector<Edge>& edges, const Needs& extra) {
  size_t n_states = is_end_.size();
  charge_steps(n_states + kStepsOfEdge * edges.size());
  Groups into(edges, n_states, [](const Edge& e) { return e.edge.target; });
  Groups users(edges, starts_.size(), [](const Edge& e) { return names_rule(e.edge) ? e.edge.first : -1; });
  std::unordered_map<int32_t, std::vector<int32_t>> rules_from;
  for (size_t rule = 0; rule < starts_.size(); ++rule) rules_from[starts_[rule]].push_back(static_cast<int32_t>(rule));

  costs_.assign(n_states, kNoEnd);
  n_tokens_.assign(n_states, kNoEnd);
  std::vector<bool> done(n_states, false);
  std::vector<int32_t> order;
  using Open = std::pair<uint32_t, int32_t>;
  std::priority_queue<Open, std::vector<Open>, std::greater<>> open;
  auto offer = [&](int32_t state, uint32_t cost) {
    if (auto found = extra.find(state); found != extra.end()) cost = sum(cost, found->second);
    if (cost >= costs_[static_cast<size_t>(state)]) return;
    costs_[static_cast<size_t>(state)] = cost;
    open.emplace(cost, state);
  };
  auto follow = [&](const Edge& e) {
    if (!done[static_cast<size_t>(e.edge.target)]) return;
    bool needs_rule = names_rule(e.edge) && times(e.edge) > 0;
    if (needs_rule && !done[static_cast<size_t>(starts_[static_cast<size_t>(e.edge.first)])]) return;
    offer(e.from, along(e.edge).n_bytes);
  };
  for (size_t state = 0; state < n_states; ++state) {
    if (is_end_[state]) offer(static_cast<int32_t>(state), 0);
  }
  while (!open.empty()) {
    auto [cost, state] = open.top();
    open.pop();
    if (done[static_cast<size_t>(state)]) continue;
    done[static_cast<size_t>(state)] = true;
    order.push_back(state);
    for (uint32_t i : into.of(state)) follow(edges[i]);
    auto begins = rules_from.find(state);
    if (begins == rules_from.end()) continue;
    for (int32_t rule : begins->second) {
      for (uint32_t i : users.of(rule)) follow(edges[i]);
    }
  }
  return order;
}

// The most tokens over all ways of the fewest bytes. Where there is but one, and it begins with literal bytes, these
// are written in the fewest tokens.
void EndCosts::find_tokens(const std::vector<Edge>& edges, const Needs& extra, std::span<const int32_t> order,
                           const ShortTexts& pieces) {
  constexpr int32_t kNoLiteral = -1;
  struct Literal {
    int32_t next = kNoLiteral;  // state
    uint8_t byte = 0;
  };
  charge_steps(kStepsOfState * order.size());
  Groups leaving(edges, is_end_.size(), [](const Edge& e) { return e.from; });
  std::vector<Literal> literals(is_end_.size());
  // where a way of no bytes leads through a state that comes later: a token for each byte
  for (size_t i = 0; i < costs_.size(); ++i) n_tokens_[i] = product(tokens_of_byte_, costs_[i]);
  for (int32_t state : order) {
    auto at = static_cast<size_t>(state);
    auto needs = extra.find(state);
    uint32_t n_needed = needs == extra.end() ? 0 : needs->second;
    EndCost best;
    const CoreEdge* only = nullptr;
    if (is_end_[at]) best = {0, 0};
    for (uint32_t i : leaving.of(state)) {
      EndCost one = along(edges[i].edge);
      if (one.n_bytes > best.n_bytes) continue;
      only = one.n_bytes < best.n_bytes ? &edges[i].edge : nullptr;
      take_better(best, one);
    }
    if (only != nullptr && is_literal(*only) && n_needed == 0) {
      literals[at] = {only->target, static_cast<uint8_t>(only->first)};
      uint64_t key = ShortTexts::kEmpty;
      int32_t next = state;
      for (size_t n = 1; n <= ShortTexts::kMostBytes && literals[static_cast<size_t>(next)].next != kNoLiteral; ++n) {
        const Literal& step = literals[static_cast<size_t>(next)];
        key = ShortTexts::longer(key, step.byte);
        next = step.next;
        uint32_t n_tokens = sum(1, n_tokens_[static_cast<size_t>(next)]);
        if (n > 1 && pieces.contains(key)) best.n_tokens = std::min(best.n_tokens, n_tokens);
      }
    }
    // a pattern whose shortest text is too short for its string: that text is not taken
    bool by_bytes = n_needed > 0 && to_quote(state) > 0;
    n_tokens_[at] = by_bytes ? product(tokens_of_byte_, costs_[at])
                             : sum(best.n_tokens, product(tokens_of_byte_, uint64_t{n_needed}));
  }
}

// The bytes that a place of a rule needs to its end, and behind each rule that it waits for; then, over the rules that
// may wait for one another, the longest of such ways. It ends where nothing grows any more: not if a rule waits for
// itself with something behind it. The work grows with the grammar and is not counted.
uint32_t EndCosts::find_farthest() const {
  CompileBudget::Pause uncounted;
  struct Use {
    int32_t rule = 0;
    uint32_t behind = 0;
  };
  std::vector<std::vector<Use>> uses(starts_.size());
  std::vector<uint32_t> farthest(starts_.size(), 0);
  std::vector<bool> seen(is_end_.size(), false);
  std::vector<CoreEdge> edges;
  for (size_t rule = 0; rule < starts_.size(); ++rule) {
    std::vector<int32_t> states{starts_[rule]};
    std::vector<int32_t> met;
    while (!states.empty()) {
      int32_t state = states.back();
      states.pop_back();
      if (seen[static_cast<size_t>(state)]) continue;
      seen[static_cast<size_t>(state)] = true;
      met.push_back(state);
      CoreView::edges_of(grammar_, state, edges);
      for (const CoreEdge& edge : edges) {
        states.push_back(edge.target);
        uint32_t behind = from(edge.target).n_bytes;
        if (behind >= kNoEnd) continue;
        if (edge.kind == EdgeKind::kBytes) farthest[rule] = std::max(farthest[rule], 1 + behind);
        if (!names_rule(edge)) continue;
        if (edge.kind == EdgeKind::kRepeat && edge.last > 1) {
          behind = sum(behind, product(static_cast<uint32_t>(edge.last - 1), of_rule(edge.first).n_bytes));
        }
        uses[rule].push_back({edge.first, behind});
      }
    }
    for (int32_t state : met) seen[static_cast<size_t>(state)] = false;  // rules may share states
  }
  for (int round = 0; round < kDeepest; ++round) {
    bool changed = false;
    for (size_t rule = starts_.size(); rule-- > 0;) {
      for (const Use& use : uses[rule]) {
        uint32_t there = sum(use.behind, farthest[static_cast<size_t>(use.rule)]);
        if (there <= farthest[rule]) continue;
        if (there >= kVeryFar) return kNoEnd;
        farthest[rule] = there;
        changed = true;
      }
    }
    if (!changed) return farthest.empty() ? 0 : *std::ranges::max_element(farthest);
  }
  return kNoEnd;
}

// Behind the opening quote of a bounded string the grammar takes a marker, besides.
EndCosts::Needs EndCosts::find_needs(std::span<const LengthBounds> lengths) const {
  Needs out;
  if (std::ranges::none_of(lengths, [](const LengthBounds& bounds) { return bounds.min > 0; })) return out;
  std::vector<CoreEdge> edges;
  for (int32_t state = 0; state < static_cast<int32_t>(is_end_.size()); ++state) {
    CoreView::edges_of(grammar_, state, edges);
    std::vector<std::pair<int32_t, size_t>> open;  // states behind digits, and the number so far
    for (const CoreEdge& edge : edges) {
      bool marks = edge.kind == EdgeKind::kBytes && edge.first == kMarkerByte && edge.last == kMarkerByte;
      if (marks) open.emplace_back(edge.target, 0);
    }
    for (int digit = 0; digit < kMarkerDigits && !open.empty(); ++digit) {
      std::vector<std::pair<int32_t, size_t>> next;
      for (const auto& [at, number] : open) {
        CoreView::edges_of(grammar_, at, edges);
        for (const CoreEdge& edge : edges) {
          if (edge.kind != EdgeKind::kBytes || !is_marker_digit(edge.first) || !is_marker_digit(edge.last)) continue;
          for (int byte = edge.first; byte <= edge.last; ++byte) {
            next.emplace_back(edge.target, number * kMarkerBase + static_cast<size_t>(byte - kMarkerDigit));
          }
        }
      }
      charge_steps(next.size());
      open = std::move(next);
    }
    uint32_t least = 0;
    for (const auto& [at, number] : open) {
      if (number < lengths.size()) least = std::max(least, lengths[number].min);
    }
    uint32_t there = least > 0 ? to_quote(state) : 0;
    if (least > there) out[state] = least - there;
  }
  return out;
}

uint32_t EndCosts::to_quote(int32_t state) const {
  using Open = std::pair<uint32_t, int32_t>;
  std::priority_queue<Open, std::vector<Open>, std::greater<>> open;
  std::unordered_map<int32_t, uint32_t> seen{{state, 0}};
  std::vector<CoreEdge> edges;
  open.emplace(0, state);
  while (!open.empty()) {
    auto [n, at] = open.top();
    open.pop();
    if (n > seen[at]) continue;
    if (is_end_[static_cast<size_t>(at)] || n >= kFarQuote) return n;
    CoreView::edges_of(grammar_, at, edges);
    for (const CoreEdge& edge : edges) {
      uint32_t next = n;
      if (edge.kind == EdgeKind::kBytes) {
        if (edge.first <= '"' && edge.last >= '"') return n;
        // characters are counted where they begin
        if (edge.first == '\\' || edge.last < 0x20) continue;
        next = n + (starts_character(edge.first) ? 1 : 0);
      } else if (names_rule(edge)) {
        next = sum(n, times(edge) == 0 ? 0 : product(times(edge), of_rule(edge.first).n_bytes));
      } else if (edge.kind == EdgeKind::kOther) {
        continue;
      }
      auto [found, is_new] = seen.try_emplace(edge.target, next);
      if (!is_new && found->second <= next) continue;
      found->second = next;
      open.emplace(next, edge.target);
    }
  }
  return 0;
}

NearestEnd::Next NearestEnd::next(const xgrammar::GrammarMatcher& parser, const StringGuard& guard) {
  bool plain = guard.in_string() && !guard.escaped();
  std::bitset<256> forbidden;
  if (plain && guard.need() > 0) forbidden.set('"');
  if (plain && guard.room() == 0) {
    for (int byte = 0; byte < 256; ++byte) {
      if (byte != '"' && starts_character(byte)) forbidden.set(static_cast<size_t>(byte));
    }
  }
  Next best;
  CoreView::places(parser, places_);
  n_looked_ += places_.size() + static_cast<size_t>(CoreView::n_waiting(parser)) / kWaitingPerPlace;
  for (const CorePlace& place : places_) {
    EndCost rest = behind(parser, place.rule, place.row);
    if (rest.n_bytes == kNoEnd) continue;
    EndCost from_here = costs_.from(place.state);
    CoreView::edges_of(costs_.grammar(), place.state, place_edges_);
    for (const CoreEdge& edge : place_edges_) {
      if (edge.kind != EdgeKind::kBytes) continue;
      int byte = costs_.pick(edge.first, edge.last, forbidden);
      if (byte < 0) continue;
      EndCost one = costs_.along(edge);
      if (one.n_bytes == kNoEnd) continue;
      uint32_t need = guard.in_string() ? guard.need() : 0;
      if (need == 0 && one.n_bytes == from_here.n_bytes) one.n_tokens = std::min(one.n_tokens, from_here.n_tokens);
      if (need > 0 && plain && starts_character(byte)) --need;
      if (need > 0) {
        uint32_t there = costs_.to_quote(edge.target);
        uint32_t n_more = need > there ? need - there : 0;
        one = sum(one, product(n_more, EndCost{1, costs_.tokens_of_byte()}));
      }
      one = sum(one, rest);
      bool better = one.n_bytes < best.cost.n_bytes ||
                    (one.n_bytes == best.cost.n_bytes && one.n_bytes < kNoEnd &&
                     std::pair(rank_of(byte), byte) < std::pair(rank_of(best.byte), int{best.byte}));
      if (better) best.byte = static_cast<uint8_t>(byte);
      take_better(best.cost, one);
    }
  }
  return best;
}

void NearestEnd::forget_rows(int32_t first) {
  for (; last_row_ >= first; --last_row_) rows_.erase(last_row_);
}

// What waits may wait for what began in rows before, thousands of them in deeply nested text, so nothing recurses here.
EndCost NearestEnd::behind(const xgrammar::GrammarMatcher& parser, int32_t rule, int32_t row) {
  if (row < 0) return {0, 0};
  std::vector<int32_t> needed{row};
  while (!needed.empty()) {
    int32_t one = needed.back();
    if (rows_.contains(one) || make_row(parser, one, needed)) needed.pop_back();
  }
  const auto& costs = rows_[row];
  auto found = costs.find(rule);
  return found == costs.end() ? EndCost() : found->second;
}

// What is left of the rule that waits, without what waits for it in turn. As the parser completes a rule: what waits at
// a repetition of the rule has had one more of it, the rest is behind the rule already.
EndCost NearestEnd::cost_of(const CoreWaiting& waiting) {
  const CorePlace& place = waiting.place;
  CoreView::edges_of(costs_.grammar(), place.state, edges_);
  for (const CoreEdge& edge : edges_) {
    if (edge.kind != EdgeKind::kRepeat || edge.first != waiting.rule) continue;
    auto n_more = static_cast<uint32_t>(std::max(edge.last - place.count - 1, 0));
    EndCost rest = costs_.from(edge.target);
    return n_more == 0 ? rest : sum(rest, product(n_more, costs_.of_rule(edge.first)));
  }
  return costs_.from(place.state);
}

// False, and rows that come first, when they are missing.
// Not counted: who was preempted makes at once the rows that others made one by one, each once.
bool NearestEnd::make_row(const xgrammar::GrammarMatcher& parser, int32_t row, std::vector<int32_t>& needed) {
  CompileBudget::Pause uncounted;
  CoreView::waiting(parser, row, waiting_);
  size_t n_before = needed.size();
  for (const CoreWaiting& one : waiting_) {
    int32_t before = one.place.row;
    if (before >= 0 && before < row && !rows_.contains(before)) needed.push_back(before);
  }
  if (needed.size() > n_before) return false;
  auto& costs = rows_[row];
  last_row_ = std::max(last_row_, row);
  std::vector<EndCost> own;
  own.reserve(waiting_.size());
  for (const CoreWaiting& one : waiting_) own.push_back(cost_of(one));
  bool changed = true;
  for (int round = 0; changed && round < kRounds; ++round) {
    changed = false;
    for (size_t i = 0; i < waiting_.size(); ++i) {
      const CorePlace& place = waiting_[i].place;
      EndCost rest{0, 0};
      if (place.row >= 0) {
        const auto& behind_it = place.row == row ? costs : rows_[place.row];
        auto found = behind_it.find(place.rule);
        rest = found == behind_it.end() ? EndCost() : found->second;
      }
      EndCost cost = sum(own[i], rest);
      if (cost.n_bytes >= kNoEnd) continue;
      if (take_better(costs[waiting_[i].rule], cost)) changed = true;
    }
  }
  return true;
}

}  // namespace millrace::grammar
