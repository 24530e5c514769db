// WeightPacker: from named tensors of a file to packed matrices and plain vectors in one huge-page buffer. First every
// weight is declared (which gives its place), then pack() allocates once, packs tensor by tensor on all threads and
// releases the file's pages behind it.
// Invariant: the packed bits depend on the file and the kernel table only, not on the number of threads.
// Thread: the loader; pack() uses the pool.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <vector>

#include "base/result.h"
#include "device/buffer.h"
#include "device/thread_pool.h"
#include "kernels/ops.h"
#include "layers/packed_matrix.h"
#include "weights/model_file.h"
#include "weights/packed_image.h"

namespace millrace::layers {

// Called between tensors with the bytes packed so far and in all; false cancels the load.
using PackProgress = std::function<bool(int64_t done_bytes, int64_t total_bytes)>;

class WeightPacker {
 public:
  WeightPacker(const kernels::KernelTable& table, const weights::ModelFile& file) : table_(table), file_(file) {}

  // Declares a matrix whose parts are these weights of one layer, all with the same K. `out` must stay where it is
  // until pack() has run.
  Result<void> add(PackedMatrix& out, std::initializer_list<weights::WeightRole> roles, uint32_t layer);
  // Declares a vector, widened to f32, plus `offset`; *out points to it after pack().
  Result<void> add_vector(const float*& out, weights::WeightRole role, uint32_t layer, float offset);

  int64_t total_bytes() const { return total_bytes_; }
  // With an image that is wanted: reads it, or packs and writes it. That it cannot be written is a warning.
  Result<device::Buffer> pack(device::ThreadPool& pool, const PackProgress& progress,
                              const weights::ImagePlace& image = {});

 private:
  struct MatrixJob {
    PackedMatrix* matrix;
    size_t part;
    weights::WeightRole role;
    uint32_t layer;
    tensor::TensorView view;
    int64_t offset;  // in the buffer
  };
  struct VectorJob {
    const float** out;
    tensor::TensorView view;
    float add;
    int64_t offset;
  };
  int64_t reserve(int64_t n_bytes);
  weights::ImageKey image_key(const std::string& model_path) const;
  Result<void> fill(device::ThreadPool& pool, const PackProgress& progress, device::Buffer& buffer) const;
  void pack_part(device::ThreadPool& pool, const MatrixJob& job, uint8_t* panels) const;

  const kernels::KernelTable& table_;
  const weights::ModelFile& file_;
  std::vector<MatrixJob> matrices_;
  std::vector<VectorJob> vectors_;
  int64_t total_bytes_ = 0;
};

}  // namespace millrace::layers
