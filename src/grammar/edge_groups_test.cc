// EdgeGroups against looking at every edge.
#include "grammar/edge_groups.h"

#include <gtest/gtest.h>

#include "base/philox.h"

namespace millrace::grammar {
namespace {

struct Edge {
  int32_t peer = 0;
  int32_t min = 0;
  int32_t max = 0;
};

struct Row {
  std::vector<Edge> edges;
  int32_t size() const { return static_cast<int32_t>(edges.size()); }
  const Edge& operator[](int32_t i) const { return edges[static_cast<size_t>(i)]; }
};

TEST(EdgeGroups, FindTheFirstEdgesOfALabel) {
  EdgeGroups groups;
  size_t n_found = 0;
  for (int32_t state = 0; state < 40; ++state) {
    Row row;
    for (int32_t i = 0; i < state; ++i) {
      PhiloxBlock bits = philox4x32(6, {static_cast<uint32_t>(state), static_cast<uint32_t>(i), 0, 0});
      int32_t min = static_cast<int32_t>(bits[0] % 3);
      row.edges.push_back({i / 2 + i % 3 / 2, min, min + static_cast<int32_t>(bits[1] % 2)});
    }
    for (int32_t min = 0; min < 4; ++min) {
      for (int32_t max = min; max < min + 2; ++max) {
        std::vector<int32_t> want;
        for (int32_t i = 0; i < row.size(); ++i) {
          bool first = i == 0 || row[i].peer != row[i - 1].peer;
          if (first && row[i].min == min && row[i].max == max) want.push_back(i);
        }
        EXPECT_EQ(groups.with_label(state, row, min, max), want) << state;
        n_found += want.size();
      }
    }
  }
  EXPECT_GT(n_found, 200u);
  groups.clear();
  EXPECT_TRUE(groups.with_label(39, Row{}, 0, 0).empty());
}

}  // namespace
}  // namespace millrace::grammar
