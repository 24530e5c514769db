// Order dfs: depth first over the prefix tree of the waiting. Sorted token by token, requests that share a prefix stand
// together, the more they share the closer: that is a depth-first walk of their prefix tree, the order that is optimal
// for hits when all requests are known (SGLang, arXiv 2312.07104, theorem 3.1). Subtrees of the root (scope and first
// block of tokens) come in order of their oldest request, those that started included: a subtree is finished before the
// next begins, else its prefix would be evicted half-way.
// The sorted list is kept from plan to plan: a request costs one binary search when it arrives.
#include <algorithm>
#include <compare>

#include "sched/policies.h"

namespace millrace::sched {
namespace {

class Dfs final : public Order {
 public:
  void rank(const OrderView& view, std::span<const Waiter> waiting, size_t limit, std::vector<SeqId>& out) override {
    update(view, waiting.first(std::min(limit, waiting.size())));
    subtrees_.clear();
    for (uint32_t i = 0; i < sorted_.size(); ++i) {
      if (place_of_[sorted_[i].id] == kGone) continue;
      if (subtrees_.empty() || !same_root(view, sorted_[i - 1].id, sorted_[i].id)) {
        subtrees_.push_back({.oldest = sorted_[i].oldest, .begin = i, .end = i});
      }
      subtrees_.back().oldest = std::min(subtrees_.back().oldest, sorted_[i].oldest);
      subtrees_.back().end = i + 1;
    }
    std::sort(subtrees_.begin(), subtrees_.end(),
              [](const Subtree& a, const Subtree& b) { return a.oldest < b.oldest; });
    for (const Subtree& subtree : subtrees_) {
      for (uint32_t i = subtree.begin; i < subtree.end; ++i) out.push_back(sorted_[i].id);
    }
  }

 private:
  static constexpr uint32_t kGone = UINT32_MAX;

  struct Entry {
    SeqId id = kNoSeq;
    uint64_t number = 0;  // of the request: an id may be used again
    uint64_t oldest = 0;  // least number of its subtree since that was last empty
    uint32_t fork = 0;
    int16_t band = 0;
  };
  struct Subtree {
    uint64_t oldest = 0;  // as in Entry
    uint32_t begin = 0;   // range of sorted_
    uint32_t end = 0;
  };

  // Brings the candidates of their band into sorted_ and takes out what left it; place_of_ = their order of arrival.
  void update(const OrderView& view, std::span<const Waiter> candidates) {
    for (uint32_t& place : place_of_) place = kGone;
    for (uint32_t i = 0; i < candidates.size(); ++i) {
      if (candidates[i].id >= place_of_.size()) place_of_.resize(size_t{candidates[i].id} + 1, kGone);
      place_of_[candidates[i].id] = i;
    }
    std::erase_if(sorted_, [&](const Entry& entry) {
      const Seq& seq = view.seqs.at(entry.id);
      bool same = seq.state == SeqState::kWaiting && seq.rank.number == entry.number && seq.fork == entry.fork;
      return !same || (entry.band == candidates[0].band && place_of_[entry.id] == kGone);
    });
    known_.assign(candidates.size(), false);
    for (const Entry& entry : sorted_) {
      if (place_of_[entry.id] != kGone) known_[place_of_[entry.id]] = true;
    }
    for (uint32_t i = 0; i < candidates.size(); ++i) {
      if (known_[i]) continue;
      const Seq& seq = view.seqs.at(candidates[i].id);
      auto before = [&](const Entry& a, const Seq& b) { return compare(view.seqs.at(a.id), b) < 0; };
      auto place = std::lower_bound(sorted_.begin(), sorted_.end(), seq, before);
      Entry entry{.id = seq.id, .number = seq.rank.number, .fork = seq.fork, .band = candidates[i].band};
      entry.oldest = entry.number;
      auto join = [&](const Entry& other) {
        bool same = other.band == entry.band && same_root(view, other.id, entry.id);
        if (same) entry.oldest = std::min(entry.oldest, other.oldest);
      };
      if (place != sorted_.begin()) join(*(place - 1));
      if (place != sorted_.end()) join(*place);
      sorted_.insert(place, entry);
    }
  }

  static std::strong_ordering compare(const Seq& a, const Seq& b) {
    if (auto by_band = a.request->band <=> b.request->band; by_band != 0) return by_band;
    if (auto by_scope = a.request->scope <=> b.request->scope; by_scope != 0) return by_scope;
    const std::vector<TokenId>& x = a.request->prompt;
    const std::vector<TokenId>& y = b.request->prompt;
    auto by_tokens = std::lexicographical_compare_three_way(x.begin(), x.end(), y.begin(), y.end());
    if (by_tokens != 0) return by_tokens;
    if (auto by_number = a.rank.number <=> b.rank.number; by_number != 0) return by_number;
    return a.fork <=> b.fork;
  }

  static bool same_root(const OrderView& view, SeqId left, SeqId right) {
    const flow::GenerateRequest& a = *view.seqs.at(left).request;
    const flow::GenerateRequest& b = *view.seqs.at(right).request;
    size_t n = view.cache.geometry().block_tokens;
    if (a.scope != b.scope || a.prompt.size() < n || b.prompt.size() < n) return false;
    return std::equal(a.prompt.begin(), a.prompt.begin() + static_cast<std::ptrdiff_t>(n), b.prompt.begin());
  }

  std::vector<Entry> sorted_;       // the candidates of the last plans, by band, scope and tokens
  std::vector<uint32_t> place_of_;  // by SeqId: place among the candidates, or kGone
  std::vector<bool> known_;         // scratch: by place
  std::vector<Subtree> subtrees_;   // scratch
};

}  // namespace

std::unique_ptr<Order> make_dfs(const SchedOptions&) { return std::make_unique<Dfs>(); }

}  // namespace millrace::sched
