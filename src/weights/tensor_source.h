// TensorSource: the seam between a kind of model file and everything that wants named tensors.
// Invariant: every view returned has been checked against the bytes of its file (extent, alignment, group size).
// Views live as long as the source. Thread: any after open (const, no locks).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tensor/tensor_view.h"

namespace millrace::weights {

class TensorSource {
 public:
  virtual ~TensorSource() = default;
  virtual bool has(std::string_view name) const = 0;
  // kBadFile when there is no such tensor, or when the file was replaced or truncated since it was opened.
  virtual Result<tensor::TensorView> tensor(std::string_view name) const = 0;
  virtual std::vector<std::string_view> names() const = 0;  // in file order
  virtual uint64_t bytes() const = 0;                       // sum over tensors
  // The caller has consumed the tensor: its pages may leave memory. It stays readable (from disk).
  virtual void release(std::string_view name) const = 0;
};

}  // namespace millrace::weights
