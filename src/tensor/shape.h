// Shape: the extents of a tensor, row-major: dims[0] varies slowest, the last one is contiguous. A weight matrix is
// [N output features, K input features]: rows() = N, cols() = K. GGUF files store extents in the opposite order
// (ne[0] = K is contiguous); the reader reverses them, so nothing above it sees ne order.
// Invariant of a shape that came from a file: 1 <= n_dims <= 4, every extent >= 1, the product fits int64.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace millrace::tensor {

constexpr int kMaxDims = 4;

struct Shape {
  std::array<int64_t, kMaxDims> dims{};  // the first n_dims are used
  int n_dims = 0;

  Shape() = default;
  Shape(std::initializer_list<int64_t> extents);

  int64_t cols() const { return n_dims == 0 ? 1 : dims[static_cast<size_t>(n_dims - 1)]; }
  int64_t rows() const;  // product of all extents but the last; 1 for a vector
  int64_t n_values() const { return rows() * cols(); }
  bool operator==(const Shape& other) const;
  std::string text() const;  // "4096x11008"
};

}  // namespace millrace::tensor
