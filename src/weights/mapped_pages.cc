#include "weights/mapped_pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <bit>

namespace millrace::weights {

void map_pages(const uint8_t* data, size_t n_bytes) {
  if (n_bytes == 0) return;
  auto skip = std::bit_cast<uintptr_t>(data) % static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  // fails on kernels before 5.14, which then map as they go
  static_cast<void>(::madvise(const_cast<uint8_t*>(data) - skip, n_bytes + skip, MADV_POPULATE_READ));
}

void release_pages(const uint8_t* data, size_t n_bytes) {
  auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  auto address = std::bit_cast<uintptr_t>(data);
  size_t skip = (page - address % page) % page;
  if (skip >= n_bytes) return;
  size_t whole = (n_bytes - skip) / page * page;
  if (whole > 0) static_cast<void>(::madvise(const_cast<uint8_t*>(data) + skip, whole, MADV_DONTNEED));
}

}  // namespace millrace::weights
