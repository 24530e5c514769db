// Paged attention for the avx2 table: the generic/attention*.inl.h files over this folder's vectors. Everything but
// fill_attention has internal linkage.
// Thread: any.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernels/ops.h"

namespace millrace::kernels::avx2 {
namespace {

#include "kernels/cpu/avx2/rows_simd.h"
// after Vec:
#include "kernels/cpu/generic/rows_math.inl.h"
// after Vec and its constants:
#include "kernels/cpu/avx2/attention_simd.h"
// after all of these, in this order:
#include "kernels/cpu/generic/attention_kv.inl.h"
#include "kernels/cpu/generic/attention_tile.inl.h"
// after the tile:
#include "kernels/cpu/generic/attention_pairs_f32.inl.h"
// after the pair products:
#include "kernels/cpu/generic/attention_bf16.inl.h"
#include "kernels/cpu/generic/attention_int8.inl.h"

}  // namespace

void fill_attention(KernelTable& table) {
  table.kv_write[static_cast<int>(KvDType::kBF16)] = kv_write_bf16;
  table.kv_write[static_cast<int>(KvDType::kInt8)] = kv_write_int8;
  table.attn_span[static_cast<int>(KvDType::kBF16)] = attn_span_bf16;
  table.attn_span[static_cast<int>(KvDType::kInt8)] = attn_span_int8;
  table.attn_merge = attn_merge;
}

}  // namespace millrace::kernels::avx2
