// Tests of the KV geometry: equal blocks, least padding, every (layer, head) piece in a place of its own.
#include "runtime/kv_store.h"

#include <gtest/gtest.h>

#include <set>

namespace millrace::runtime {
namespace {

using kernels::KvDType;
using tensor::KvLayerSpec;

std::vector<KvLayerSpec> layers_of(size_t n_full, size_t n_window) {
  std::vector<KvLayerSpec> layers(n_full, KvLayerSpec{2, 64, 0});
  layers.insert(layers.end(), n_window, KvLayerSpec{2, 64, 512});
  return layers;
}

TEST(KvGeometry, OneGroupWithoutWindows) {
  flow::KvGeometry geometry = build_kv_geometry(layers_of(30, 0), KvDType::kInt8).value();
  ASSERT_EQ(geometry.groups.size(), 1u);
  EXPECT_EQ(geometry.groups[0].kind, flow::KvGroupKind::kFull);
  EXPECT_EQ(geometry.groups[0].layers.size(), 30u);
  EXPECT_EQ(geometry.block_bytes, 60u * static_cast<uint64_t>(kernels::kv_head_bytes(KvDType::kInt8, 64)));
  EXPECT_EQ(padding_bytes(geometry), 0u);
}

TEST(KvGeometry, WindowLayersAreCutIntoEqualBlocks) {
  flow::KvGeometry geometry = build_kv_geometry(layers_of(3, 15), KvDType::kBF16).value();
  ASSERT_EQ(geometry.groups.size(), 6u);
  for (const flow::KvGroup& group : geometry.groups) EXPECT_EQ(group.layers.size(), 3u);
  EXPECT_EQ(padding_bytes(geometry), 0u);
}

TEST(KvGeometry, PaddingIsLeastWithinTheNumberOfGroups) {
  flow::KvGeometry geometry = build_kv_geometry(layers_of(10, 52), KvDType::kBF16).value();
  EXPECT_LE(geometry.groups.size(), static_cast<size_t>(flow::kMaxKvGroups));
  uint64_t layer_bytes = 2 * static_cast<uint64_t>(kernels::kv_head_bytes(KvDType::kBF16, 64));
  EXPECT_LE(padding_bytes(geometry), 8 * layer_bytes);
}

TEST(KvGeometry, UnequalHeadsAreRefused) {
  std::vector<KvLayerSpec> layers = layers_of(2, 0);
  layers[1].n_kv_heads = 4;
  EXPECT_EQ(build_kv_geometry(layers, KvDType::kBF16).error().code, ErrorCode::kBadFile);
  layers = layers_of(1, 0);
  for (uint32_t window = 1; window <= flow::kMaxKvGroups; ++window) layers.push_back({2, 64, window});
  EXPECT_EQ(build_kv_geometry(layers, KvDType::kBF16).error().code, ErrorCode::kBadFile);
}

TEST(KvStore, PiecesDoNotOverlapAndCopiesAreWhole) {
  std::vector<KvLayerSpec> layers = layers_of(2, 4);
  flow::KvGeometry geometry = build_kv_geometry(layers, KvDType::kBF16).value();
  geometry.n_blocks = 8;
  KvStore store = KvStore::allocate(geometry, layers, KvDType::kBF16).value();
  layers::KvView view = store.view();
  for (uint32_t g = 0; g < geometry.groups.size(); ++g) {
    std::set<uint8_t*> pieces;
    for (uint32_t layer : geometry.groups[g].layers) {
      EXPECT_EQ(view.layers[layer].table, g);
      for (int64_t head = 0; head < 2; ++head) pieces.insert(view.head(layer, 3, head));
    }
    EXPECT_EQ(pieces.size(), geometry.groups[g].layers.size() * 2);
    EXPECT_EQ(*pieces.begin(), view.base + 3 * view.block_bytes);
    EXPECT_LE(*pieces.rbegin() + view.head_bytes, view.base + 4 * view.block_bytes);
  }
  std::fill_n(view.base + 3 * view.block_bytes, view.block_bytes, uint8_t{0x5A});
  store.copy({0, 3, 5, 7});
  EXPECT_EQ(view.base[5 * view.block_bytes], 0x5A);
  EXPECT_EQ(view.base[6 * view.block_bytes - 1], 0x5A);
  EXPECT_EQ(view.base[6 * view.block_bytes], 0);
}

}  // namespace
}  // namespace millrace::runtime
