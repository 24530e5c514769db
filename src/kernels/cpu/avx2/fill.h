// The pieces of the avx2 kernel table: each function fills its own slots and no other.
// table() is the one symbol that files outside this folder may name.
// Thread: any (the table is constant once made).
#pragma once

#include "kernels/ops.h"

namespace millrace::kernels::avx2 {

void fill_gemm(KernelTable& table);       // act_kind, pack, gemm, unpack_row, quantize, bf16_family
void fill_rows(KernelTable& table);       // rows.cc: norms, RoPE, activations, sampling loops
void fill_attention(KernelTable& table);  // attention.cc: kv_write, attn_span, attn_merge
void fill_peak(KernelTable& table);       // rows_peak.cc: the peak loops

const KernelTable& table();

}  // namespace millrace::kernels::avx2
