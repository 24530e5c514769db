// Packing: panels of 32 rows are the unit shared out to threads. A format without a kernel in this table is decoded
// and packed as f32; float weights of a file that is to be quantised are decoded, encoded and packed.
// Thread: the loader.
#include "layers/weight_packer.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/macros.h"
#include "kernels/layout.h"
#include "tensor/formats.h"
#include "weights/mapped_pages.h"

namespace millrace::layers {

using kernels::kPanelRows;
using tensor::Format;
using tensor::TensorView;

namespace {

// Bytes of the file that a thread maps at a time while it packs.
constexpr int64_t kMappedBytes = int64_t{4} << 20;

bool has_kernels(const kernels::KernelTable& table, Format format) {
  auto i = static_cast<size_t>(format);
  return table.pack[i] != nullptr && table.gemm[i] != nullptr;
}

}  // namespace

int64_t WeightPacker::reserve(int64_t n_bytes) {
  int64_t offset = total_bytes_;
  total_bytes_ += round_up(n_bytes, static_cast<int64_t>(device::kCacheLineBytes));
  return offset;
}

Result<void> WeightPacker::add(PackedMatrix& out, std::initializer_list<weights::WeightRole> roles, uint32_t layer) {
  for (weights::WeightRole role : roles) {
    TensorView view = TRY(file_.weight(role, layer));
    MatrixPart part;
    Format wanted = file_.format_in_memory(role, view);
    part.format = has_kernels(table_, wanted) ? wanted : Format::kF32;
    part.n = view.rows();
    part.panel_begin = out.n_panels();
    part.n_panels = ceil_div(view.rows(), kPanelRows);
    part.panel_bytes = kernels::panel_bytes(part.format, view.cols());
    CHECK(out.parts_.empty() || out.k_ == view.cols(), "parts of one matrix with K {} and {}", out.k_, view.cols());
    out.k_ = view.cols();
    out.act_mask_ |= act_bit(table_.act_kind[static_cast<size_t>(part.format)]);
    matrices_.push_back({&out, out.parts_.size(), role, layer, view, reserve(part.n_panels * part.panel_bytes)});
    out.parts_.push_back(part);
  }
  return {};
}

Result<void> WeightPacker::add_vector(const float*& out, weights::WeightRole role, uint32_t layer, float offset) {
  TensorView view = TRY(file_.weight(role, layer));
  int64_t bytes = round_up(view.shape.n_values(), 16) * static_cast<int64_t>(sizeof(float));
  vectors_.push_back({&out, view, offset, reserve(bytes)});
  return {};
}

void WeightPacker::pack_part(device::ThreadPool& pool, const MatrixJob& job, uint8_t* panels) const {
  const MatrixPart& part = job.matrix->parts_[job.part];
  const TensorView& view = job.view;
  int64_t k = view.cols();
  bool decode = part.format != view.format;
  bool encode = decode && part.format != Format::kF32;
  const tensor::FormatInfo& format = tensor::format_info(part.format);
  int64_t row_bytes = encode ? tensor::row_bytes(part.format, k) : 0;
  auto file_row_bytes = static_cast<size_t>(tensor::row_bytes(view.format, k));
  int64_t panels_at_once = 1 + kMappedBytes / (kPanelRows * static_cast<int64_t>(file_row_bytes));
  std::vector<float> decoded(decode ? static_cast<size_t>(pool.n_threads() * kPanelRows * k) : 0);
  std::vector<uint8_t> encoded(static_cast<size_t>(pool.n_threads() * kPanelRows * row_bytes));
  pool.run([&](device::Team& team) {
    device::Range range = team.range(part.n_panels);
    float* own = decoded.data() + (decode ? team.thread * kPanelRows * k : 0);
    uint8_t* groups = encoded.data() + team.thread * kPanelRows * row_bytes;
    int64_t mapped = range.begin;
    for (int64_t panel = range.begin; panel < range.end; ++panel) {
      if (panel == mapped) {
        mapped = std::min(panel + panels_at_once, range.end);
        const uint8_t* from = tensor::row_data(view, panel * kPanelRows);
        auto n_rows = static_cast<size_t>(std::min(mapped * kPanelRows, view.rows()) - panel * kPanelRows);
        weights::map_pages(from, n_rows * file_row_bytes);
      }
      const uint8_t* rows[kPanelRows] = {};
      int64_t n = std::min<int64_t>(kPanelRows, view.rows() - panel * kPanelRows);
      for (int64_t i = 0; i < n; ++i) {
        rows[i] = tensor::row_data(view, panel * kPanelRows + i);
        if (!decode) continue;
        tensor::decode_row(own + i * k, view, panel * kPanelRows + i);
        rows[i] = reinterpret_cast<const uint8_t*>(own + i * k);
        if (!encode) continue;
        format.encode(groups + i * row_bytes, own + i * k, k / format.group_values);
        rows[i] = groups + i * row_bytes;
      }
      table_.pack[static_cast<size_t>(part.format)](panels + panel * part.panel_bytes, rows, k);
    }
  });
}

// Everything that decides a byte of the buffer: the model, the kernels that read it, and what lies where.
weights::ImageKey WeightPacker::image_key(const std::string& model_path) const {
  Sha256 digest;
  digest.update(fmt::format("panels {} {} {}\n", kernels::kPackingVersion, table_.name, total_bytes_));
  for (const MatrixJob& job : matrices_) {
    const MatrixPart& part = job.matrix->parts_[job.part];
    digest.update(fmt::format("{} {} {} {} {} {}\n", static_cast<int>(job.role), job.layer, job.offset,
                              static_cast<int>(part.format), part.n, part.panel_bytes));
  }
  for (const VectorJob& job : vectors_) digest.update(fmt::format("{} {} {}\n", job.offset, job.view.cols(), job.add));
  weights::add_model_stamp(digest, model_path, file_.source());
  return digest.finish();
}

Result<void> WeightPacker::fill(device::ThreadPool& pool, const PackProgress& progress, device::Buffer& buffer) const {
  for (const VectorJob& job : vectors_) {
    auto* values = reinterpret_cast<float*>(buffer.data() + job.offset);
    tensor::decode_row(values, job.view, 0);
    for (int64_t i = 0; i < job.view.cols(); ++i) values[i] += job.add;
  }
  for (const MatrixJob& job : matrices_) {
    if (progress && !progress(job.offset, total_bytes_)) return Error{ErrorCode::kCancelled, "load cancelled", {}};
    pack_part(pool, job, buffer.data() + job.offset);
    file_.release(job.role, job.layer);
  }
  return {};
}

Result<device::Buffer> WeightPacker::pack(device::ThreadPool& pool, const PackProgress& progress,
                                          const weights::ImagePlace& image) {
  device::Buffer buffer = TRY(device::Buffer::allocate(static_cast<size_t>(total_bytes_), "packed weights"));
  std::span<uint8_t> bytes(buffer.data(), buffer.size_bytes());
  weights::ImageKey key = image.wanted() ? image_key(image.model_path) : weights::ImageKey();
  if (!image.wanted() || !weights::read_packed_image(image, key, pool, bytes)) {
    TRY(fill(pool, progress, buffer));
    Result<void> kept = image.wanted() ? weights::write_packed_image(image, key, bytes) : Result<void>();
    if (!kept.ok()) LOG(LogLevel::kWarning, "{}; the next start packs the weights again", kept.error().message);
  }
  for (const VectorJob& job : vectors_) *job.out = reinterpret_cast<float*>(buffer.data() + job.offset);
  for (const MatrixJob& job : matrices_) job.matrix->parts_[job.part].panels = buffer.data() + job.offset;
  if (progress) progress(total_bytes_, total_bytes_);
  return buffer;
}

}  // namespace millrace::layers
