// Dropping the pages of a consumed tensor from memory. Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>

namespace millrace::weights {

// The whole pages inside [data, data + n_bytes) of a read-only file mapping may leave memory; reading them again
// reads the file.
void release_pages(const uint8_t* data, size_t n_bytes);

}  // namespace millrace::weights
