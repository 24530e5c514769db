// The pieces of the avx512vnni kernel table: each function fills its own slots and no other.
// table() and table_bf16() are the symbols that files outside this folder may name.
// Thread: any (the tables are constant once made).
#pragma once

#include "kernels/ops.h"

namespace millrace::kernels::avx512vnni {

void fill_gemm(KernelTable& table);            // act_kind, pack, gemm, unpack_row, quantize, bf16_family "f32"
void fill_quantize(KernelTable& table);        // the A32 quantiser; after fill_gemm
void fill_gemm_bf16(KernelTable& table);       // bf16 by vdpbf16ps; needs avx512_bf16
void fill_attention_bf16(KernelTable& table);  // attention over bf16 blocks by vdpbf16ps; needs avx512_bf16
void fill_rows(KernelTable& table);            // rows.cc: norms, RoPE, activations, sampling loops
void fill_attention(KernelTable& table);       // attention.cc: kv_write, attn_span, attn_merge
void fill_peak(KernelTable& table);            // rows_peak.cc: the peak loops

const KernelTable& table();       // a CPU without avx512_bf16
const KernelTable& table_bf16();  // a CPU with it: the same but for bf16 weights and bf16 KV

}  // namespace millrace::kernels::avx512vnni
