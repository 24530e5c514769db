// ByteRange: a half-open piece of a text, in bytes.
#pragma once

#include <cstddef>

namespace millrace::text {

struct ByteRange {
  size_t begin = 0;
  size_t end = 0;
};

}  // namespace millrace::text
