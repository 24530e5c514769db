// Mapping the pages of a tensor before they are read, and dropping them once it is consumed. Advice only: a failure
// changes nothing but speed and memory use. Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>

namespace millrace::weights {

// The pages of [data, data + n_bytes) of a mapping are read and mapped in one call of the kernel, not one for each 16.
void map_pages(const uint8_t* data, size_t n_bytes);

// The whole pages inside [data, data + n_bytes) of a read-only file mapping may leave memory; reading them again
// reads the file.
void release_pages(const uint8_t* data, size_t n_bytes);

}  // namespace millrace::weights
