// Sizes of activation buffers and of packed panels. Both are pure functions of format and shape, the same for every
// kernel table, so that memory can be planned before a table is chosen.
// Thread: any.
#include "base/macros.h"
#include "kernels/layout.h"
#include "kernels/ops.h"

namespace millrace::kernels {
namespace {

constexpr int64_t kAlignBytes = 64;

int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

// Bytes of the parts of an ActRows buffer, in the order data, d, s, sum; each is rounded up to kAlignBytes.
struct ActParts {
  int64_t data = 0;
  int64_t d = 0;
  int64_t s = 0;
  int64_t sum = 0;
};

ActParts act_parts(ActKind kind, int64_t n_rows, int64_t k) {
  int64_t k_pad = round_up(k, kind == ActKind::kQ8A256 ? 256 : 32);
  ActParts parts;
  switch (kind) {
    case ActKind::kF32:
      parts.data = n_rows * k_pad * 4;
      break;
    case ActKind::kBF16:
      parts.data = n_rows * k_pad * 2;
      break;
    case ActKind::kQ8A32:
      parts.data = n_rows * k_pad;
      parts.d = n_rows * (k_pad / 32) * 4;
      parts.s = parts.d;
      parts.sum = parts.d;
      break;
    case ActKind::kQ8A256:
      parts.data = n_rows * k_pad;
      parts.d = n_rows * (k_pad / 256) * 4;
      parts.sum = n_rows * (k_pad / 16) * 4;
      break;
  }
  parts.data = round_up(parts.data, kAlignBytes);
  parts.d = round_up(parts.d, kAlignBytes);
  parts.s = round_up(parts.s, kAlignBytes);
  parts.sum = round_up(parts.sum, kAlignBytes);
  return parts;
}

}  // namespace

int64_t act_bytes(ActKind kind, int64_t n_rows, int64_t k) {
  ActParts parts = act_parts(kind, n_rows, k);
  return parts.data + parts.d + parts.s + parts.sum;
}

ActRows act_carve(ActKind kind, int64_t n_rows, int64_t k, void* memory) {
  CHECK(reinterpret_cast<uintptr_t>(memory) % kAlignBytes == 0, "activation memory is not 64-byte aligned");
  ActParts parts = act_parts(kind, n_rows, k);
  auto* bytes = static_cast<uint8_t*>(memory);
  ActRows act;
  act.kind = kind;
  act.n_rows = n_rows;
  act.k = k;
  act.data = bytes;
  if (parts.d != 0) act.d = reinterpret_cast<float*>(bytes + parts.data);
  if (parts.s != 0) act.s = reinterpret_cast<float*>(bytes + parts.data + parts.d);
  if (parts.sum != 0) act.sum = reinterpret_cast<int32_t*>(bytes + parts.data + parts.d + parts.s);
  return act;
}

int64_t panel_bytes(tensor::Format format, int64_t k) {
  const PanelCell& cell = kPanelCells[static_cast<int>(format)];
  bool pairs = format == tensor::Format::kF16 || format == tensor::Format::kBF16;
  if (pairs) return (k + 1) / 2 * cell.cell_bytes;
  CHECK(k % cell.values == 0, "k = {} is not a multiple of {}", k, cell.values);
  return k / cell.values * cell.cell_bytes;
}

}  // namespace millrace::kernels
