// The bytes of a vector in a reply. Thread: any.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "api/pooling.h"

namespace millrace::api {

// values.size() numbers of this type, each rounded to the nearest, ties to even; little-endian unless big_endian.
std::string vector_bytes(std::span<const float> values, VectorType type, bool big_endian);
// "float16"
std::string_view type_name(VectorType type);

}  // namespace millrace::api
