// The memory plan of one instance: how many KV blocks fit beside the weights, or an error that carries every number
// and names the flag to change. Pure arithmetic: the available memory is handed in by the caller.
// Thread: any.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "weights/model_file.h"

namespace millrace::weights {

struct MemoryRequest {
  uint64_t available_bytes = 0;  // what the process may use in all
  uint64_t weight_bytes = 0;     // packed_weight_bytes()
  uint64_t scratch_bytes = 0;    // activations, logits, sampling
  uint64_t block_bytes = 0;      // one KV block of one KvGroup
  uint64_t blocks_per_seq = 0;   // most blocks that a sequence of max_model_len tokens holds at once
  uint32_t max_model_len = 0;    // tokens
  uint32_t max_num_seqs = 1;
  uint64_t kv_cache_bytes = 0;  // --kv-cache-memory-bytes; 0 = kDefaultKvBytes, or one whole sequence if that is more
};

struct MemoryPlan {
  uint32_t n_blocks = 0;
  uint64_t kv_bytes = 0;     // n_blocks * block_bytes
  uint64_t total_bytes = 0;  // weights + scratch + kv
};

// KV bytes when --kv-cache-memory-bytes does not say: vLLM's CPU backend takes the same (VLLM_CPU_KVCACHE_SPACE, 4
// GiB). A full machine is the operator's choice, not the default: cached prefixes would fill whatever is reserved.
constexpr uint64_t kDefaultKvBytes = uint64_t{4} << 30;

// At least one sequence of max_model_len must fit, else kResource. Never more blocks than max_num_seqs sequences of
// max_model_len can use, unless kv_cache_bytes asks for them (they then serve the prefix cache).
Result<MemoryPlan> plan_memory(const MemoryRequest& request);

// Bytes of the weights once packed in panels of 32 rows: row_bytes * rows, rows padded to 32; vectors as f32. A tied
// output counts once.
uint64_t packed_weight_bytes(const ModelFile& file);

// K and V of one token in all layers, each head_dim vector taking row_bytes(kv_format, head_dim).
// head_dim must be a multiple of the format's group (CHECK).
uint64_t kv_bytes_per_token(const ModelDesc& desc, tensor::Format kv_format);

}  // namespace millrace::weights
