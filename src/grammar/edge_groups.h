// EdgeGroups: the neighbours of an automaton's state by the label of the first edge to each, for merging states that
// are alike, where the core compares each neighbour with all others (cmake/xgrammar.cmake). The work counts
// (compile_budget.h). Thread: one.
// In C++17, for the core includes it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "grammar/compile_budget.h"

namespace millrace::grammar {

class EdgeGroups {
 public:
  void clear() { rows_.clear(); }

  // Row: edges with `peer`, `min` and `max`, those of one peer side by side. The places, in rising order, of the first
  // edge of each peer whose first edge is labelled min..max. `state` names the row until clear(); what is returned
  // stands until the next call.
  template <class Row>
  const std::vector<int32_t>& with_label(int32_t state, const Row& row, int32_t min, int32_t max) {
    found_.clear();
    if (row.size() <= kNarrow) {
      each_group(row, [&](int32_t at) {
        if (row[at].min == min && row[at].max == max) found_.push_back(at);
      });
      return found_;
    }
    auto [made, is_new] = rows_.try_emplace(state);
    Labels& labels = made->second;
    if (is_new) {
      labels.reserve(static_cast<size_t>(row.size()));
      each_group(row, [&](int32_t at) { labels.push_back({row[at].min, row[at].max, at}); });
      std::sort(labels.begin(), labels.end());
      charge_steps(labels.size());
    }
    auto label = std::lower_bound(labels.begin(), labels.end(), std::array<int32_t, 3>{min, max, 0});
    for (; label != labels.end() && (*label)[0] == min && (*label)[1] == max; ++label) found_.push_back((*label)[2]);
    charge_steps(found_.size() / kFoundPerStep);
    return found_;
  }

 private:
  static constexpr int32_t kNarrow = 8;  // edges that are looked at one by one
  static constexpr size_t kFoundPerStep = 8;
  using Labels = std::vector<std::array<int32_t, 3>>;  // min, max, place; sorted

  template <class Row, class Do>
  static void each_group(const Row& row, const Do& what) {
    for (int32_t at = 0; at < row.size(); ++at) {
      if (at == 0 || row[at].peer != row[at - 1].peer) what(at);
    }
  }

  std::unordered_map<int32_t, Labels> rows_;  // the wide ones
  std::vector<int32_t> found_;
};

}  // namespace millrace::grammar
