// KvStore: the bytes of the KV cache, and the geometry that says where they lie. A block holds 32 tokens of all layers
// of one KvGroup: head h of layer place p at base + id * block_bytes + (p * n_kv_heads + h) * kv_head_bytes.
//  1. All KvGroups have the same block_bytes: layers are cut into groups of at most layers_per_block, so a group with
//     fewer layers leaves the rest of its blocks unused (padding_bytes() says how much).
//  2. Bytes of a block are never cleared: attention selects by position, so stale tokens are never seen.
// Thread: construction: one; writes by the thread that owns a (row, head), behind a barrier for readers.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "device/buffer.h"
#include "flow/kv_geometry.h"
#include "flow/step_plan.h"
#include "layers/ctx.h"
#include "tensor/tensor_view.h"

namespace millrace::runtime {

// Groups layers by window and cuts the groups so that blocks are equal and padding is least (at most kMaxKvGroups
// groups). kBadFile when layers have unequal heads or more distinct windows than groups. n_blocks and max_len stay 0.
Result<flow::KvGeometry> build_kv_geometry(std::span<const tensor::KvLayerSpec> layers, kernels::KvDType dtype);

// Bytes of layer places no layer uses, over one block of each group.
uint64_t padding_bytes(const flow::KvGeometry& geometry);

class KvStore {
 public:
  static Result<KvStore> allocate(const flow::KvGeometry& geometry, std::span<const tensor::KvLayerSpec> layers,
                                  kernels::KvDType dtype);

  layers::KvView view();
  uint64_t block_bytes() const { return block_bytes_; }
  uint32_t n_blocks() const { return n_blocks_; }
  // The bytes of a block, [block_bytes].
  std::span<uint8_t> block(flow::BlockId id);
  // The whole block is copied: what lies behind the tokens asked for is never seen.
  void copy(const flow::CopyOp& op);

 private:
  device::Buffer memory_;
  std::vector<layers::KvLayerPlace> places_;  // [n_layers]
  uint64_t block_bytes_ = 0;
  uint64_t head_bytes_ = 0;
  uint32_t n_blocks_ = 0;
  kernels::KvDType dtype_ = kernels::KvDType::kBF16;
};

}  // namespace millrace::runtime
