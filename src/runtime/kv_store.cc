// KV geometry and bytes.
#include "runtime/kv_store.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "base/macros.h"
#include "kernels/ops.h"

namespace millrace::runtime {
namespace {

uint64_t layer_bytes(const tensor::KvLayerSpec& layer, kernels::KvDType dtype) {
  return layer.n_kv_heads * static_cast<uint64_t>(kernels::kv_head_bytes(dtype, layer.head_dim));
}

// Layers of each window, in model order.
using LayersByWindow = std::map<uint32_t, std::vector<uint32_t>>;

struct Cut {
  size_t layers_per_block = 0;
  size_t n_groups = 0;
  size_t padding = 0;  // layer places
};

Cut cut_by(const LayersByWindow& by_window, size_t layers_per_block) {
  Cut cut{.layers_per_block = layers_per_block};
  for (const auto& [window, layers] : by_window) {
    size_t n = (layers.size() + layers_per_block - 1) / layers_per_block;
    cut.n_groups += n;
    cut.padding += n * layers_per_block - layers.size();
  }
  return cut;
}

// The cut with the least padding; among equals the one with the fewest groups.
Cut best_cut(const LayersByWindow& by_window, size_t n_layers) {
  Cut best;
  for (size_t per_block = 1; per_block <= n_layers; ++per_block) {
    Cut cut = cut_by(by_window, per_block);
    if (cut.n_groups > flow::kMaxKvGroups) continue;
    bool better = cut.padding < best.padding || (cut.padding == best.padding && cut.n_groups < best.n_groups);
    if (best.n_groups == 0 || better) best = cut;
  }
  return best;
}

}  // namespace

Result<flow::KvGeometry> build_kv_geometry(std::span<const tensor::KvLayerSpec> layers, kernels::KvDType dtype) {
  LayersByWindow by_window;
  for (uint32_t i = 0; i < layers.size(); ++i) {
    if (layers[i].n_kv_heads != layers[0].n_kv_heads || layers[i].head_dim != layers[0].head_dim) {
      return Error{ErrorCode::kBadFile,
                   fmt::format("layer {}: {} KV heads of {}, want {} of {} as in layer 0", i, layers[i].n_kv_heads,
                               layers[i].head_dim, layers[0].n_kv_heads, layers[0].head_dim),
                   {}};
    }
    by_window[layers[i].window_tokens].push_back(i);
  }
  Cut cut = best_cut(by_window, layers.size());
  if (cut.n_groups == 0) {
    return Error{
        ErrorCode::kBadFile,
        fmt::format("{} kinds of attention window, at most {} are supported", by_window.size(), flow::kMaxKvGroups),
        {}};
  }
  flow::KvGeometry geometry;
  geometry.block_tokens = kernels::kKvBlockTokens;
  geometry.block_bytes = cut.layers_per_block * layer_bytes(layers[0], dtype);
  for (const auto& [window, members] : by_window) {
    for (size_t at = 0; at < members.size(); at += cut.layers_per_block) {
      flow::KvGroup group;
      group.kind = window == 0 ? flow::KvGroupKind::kFull : flow::KvGroupKind::kWindow;
      group.window_tokens = window;
      size_t end = std::min(at + cut.layers_per_block, members.size());
      group.layers.assign(members.begin() + static_cast<ptrdiff_t>(at), members.begin() + static_cast<ptrdiff_t>(end));
      geometry.groups.push_back(std::move(group));
    }
  }
  return geometry;
}

uint64_t padding_bytes(const flow::KvGeometry& geometry) {
  size_t used = 0;
  size_t widest = 0;
  for (const flow::KvGroup& group : geometry.groups) {
    used += group.layers.size();
    widest = std::max(widest, group.layers.size());
  }
  return (geometry.groups.size() * widest - used) * (geometry.block_bytes / widest);
}

Result<KvStore> KvStore::allocate(const flow::KvGeometry& geometry, std::span<const tensor::KvLayerSpec> layers,
                                  kernels::KvDType dtype) {
  KvStore store;
  store.dtype_ = dtype;
  store.block_bytes_ = geometry.block_bytes;
  store.n_blocks_ = geometry.n_blocks;
  store.head_bytes_ = static_cast<uint64_t>(kernels::kv_head_bytes(dtype, layers[0].head_dim));
  store.places_.resize(layers.size());
  for (uint32_t g = 0; g < geometry.groups.size(); ++g) {
    const std::vector<uint32_t>& members = geometry.groups[g].layers;
    for (size_t place = 0; place < members.size(); ++place) {
      CHECK(members[place] < layers.size());
      store.places_[members[place]] = {g, place * layer_bytes(layers[0], dtype)};
    }
  }
  store.memory_ = TRY(device::Buffer::allocate(geometry.n_blocks * geometry.block_bytes, "KV cache"));
  return store;
}

layers::KvView KvStore::view() { return {memory_.data(), block_bytes_, head_bytes_, dtype_, places_.data()}; }

std::span<uint8_t> KvStore::block(flow::BlockId id) {
  CHECK(id < n_blocks_, "block {}, there are {}", id, n_blocks_);
  return {memory_.data() + id * block_bytes_, static_cast<size_t>(block_bytes_)};
}

void KvStore::copy(const flow::CopyOp& op) {
  CHECK(op.src < n_blocks_ && op.dst < n_blocks_, "copy of block {} to {}, there are {}", op.src, op.dst, n_blocks_);
  std::memcpy(memory_.data() + op.dst * block_bytes_, memory_.data() + op.src * block_bytes_, block_bytes_);
}

}  // namespace millrace::runtime
