#include "tensor/shape.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/macros.h"

namespace millrace::tensor {

Shape::Shape(std::initializer_list<int64_t> extents) : n_dims(static_cast<int>(extents.size())) {
  CHECK(extents.size() <= static_cast<size_t>(kMaxDims), "{} dimensions", extents.size());
  std::copy(extents.begin(), extents.end(), dims.begin());
}

int64_t Shape::rows() const {
  int64_t product = 1;
  for (int i = 0; i + 1 < n_dims; ++i) product *= dims[static_cast<size_t>(i)];
  return product;
}

bool Shape::operator==(const Shape& other) const {
  return n_dims == other.n_dims && std::equal(dims.begin(), dims.begin() + n_dims, other.dims.begin());
}

std::string Shape::text() const {
  std::string out;
  for (int i = 0; i < n_dims; ++i) {
    if (i > 0) out += 'x';
    out += fmt::format("{}", dims[static_cast<size_t>(i)]);
  }
  return out;
}

}  // namespace millrace::tensor
