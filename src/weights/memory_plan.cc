#include "weights/memory_plan.h"

#include <fmt/core.h>

#include <algorithm>
#include <limits>

#include "base/macros.h"
#include "tensor/formats.h"

namespace millrace::weights {
namespace {

constexpr int64_t kPanelRows = 32;

uint64_t packed_bytes(const tensor::TensorView& view, tensor::Format format) {
  if (view.shape.n_dims == 1) return static_cast<uint64_t>(view.cols()) * sizeof(float);
  int64_t rows = (view.rows() + kPanelRows - 1) / kPanelRows * kPanelRows;
  return static_cast<uint64_t>(rows) * static_cast<uint64_t>(tensor::row_bytes(format, view.cols()));
}

std::string mib(uint64_t bytes) { return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1024.0 * 1024.0)); }

Error no_room(const MemoryRequest& request, uint64_t needed_kv, uint64_t kv_room) {
  std::string what = fmt::format(
      "not enough memory: weights {} + working space {} + KV cache {} for one sequence of {} tokens, but {} are "
      "available ({} left for the KV cache)",
      mib(request.weight_bytes), mib(request.scratch_bytes), mib(needed_kv), request.max_model_len,
      mib(request.available_bytes), mib(kv_room));
  if (request.kv_cache_bytes > kv_room) {
    what += fmt::format("; --kv-cache-memory-bytes asks for {}", mib(request.kv_cache_bytes));
  } else if (request.kv_cache_bytes > 0) {
    what += fmt::format("; --kv-cache-memory-bytes gives {}, raise it", mib(request.kv_cache_bytes));
  }
  what += "; lower --max-model-len or use a smaller --kv-cache-dtype";
  return {ErrorCode::kResource, std::move(what), "--max-model-len"};
}

}  // namespace

Result<MemoryPlan> plan_memory(const MemoryRequest& request) {
  CHECK(request.block_bytes > 0 && request.blocks_per_seq > 0 && request.blocks_per_seq <= UINT32_MAX);
  // All terms stay below 2^63: blocks and sequences are 32 bit, a block is far below 2^31 bytes.
  uint64_t blocks_per_seq = request.blocks_per_seq;
  uint64_t fixed = request.weight_bytes + request.scratch_bytes;
  uint64_t left = request.available_bytes > fixed ? request.available_bytes - fixed : 0;
  uint64_t room = request.kv_cache_bytes == 0 ? left : request.kv_cache_bytes;
  uint64_t n_blocks = room / request.block_bytes;
  bool asked_too_much = request.kv_cache_bytes > left;
  if (asked_too_much || n_blocks < blocks_per_seq) {
    return no_room(request, blocks_per_seq * request.block_bytes, left);
  }
  if (request.kv_cache_bytes == 0) {
    n_blocks = std::min(n_blocks, blocks_per_seq * std::max<uint64_t>(request.max_num_seqs, 1));
    n_blocks = std::min(n_blocks, std::max(blocks_per_seq, kDefaultKvBytes / request.block_bytes));
  }
  n_blocks = std::min<uint64_t>(n_blocks, std::numeric_limits<int32_t>::max());
  MemoryPlan plan;
  plan.n_blocks = static_cast<uint32_t>(n_blocks);
  plan.kv_bytes = n_blocks * request.block_bytes;
  plan.total_bytes = fixed + plan.kv_bytes;
  return plan;
}

uint64_t packed_weight_bytes(const ModelFile& file) {
  const ModelDesc& desc = file.desc();
  uint64_t sum = 0;
  for (const WeightRow& row : weight_rows()) {
    if (weight_presence(desc, row.role) == WeightPresence::kAbsent) continue;
    uint32_t n = row.per_layer ? desc.n_layers : 1;
    for (uint32_t layer = 0; layer < n; ++layer) {
      Result<tensor::TensorView> view = file.weight(row.role, layer);
      if (view.ok()) sum += packed_bytes(*view, file.format_in_memory(row.role, *view));
    }
  }
  return sum;
}

uint64_t kv_bytes_per_token(const ModelDesc& desc, tensor::Format kv_format) {
  auto vector_bytes = static_cast<uint64_t>(tensor::row_bytes(kv_format, desc.head_dim));
  return uint64_t{2} * desc.n_layers * desc.n_kv_heads * vector_bytes;
}

}  // namespace millrace::weights
