// Anonymous huge-page memory. A mapping one huge page larger than needed is made and its unaligned ends are given back.
#include "device/buffer.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace millrace::device {

Result<Buffer> Buffer::allocate(size_t n_bytes, std::string_view what) {
  Buffer buffer;
  if (n_bytes == 0) return buffer;
  auto refused = [&](int error) {
    return Error{ErrorCode::kResource,
                 fmt::format("{}: cannot get {} bytes of memory: {}", what, n_bytes, std::strerror(error)),
                 std::string(what)};
  };
  if (n_bytes > SIZE_MAX - 2 * kHugePageBytes) return refused(ENOMEM);
  size_t wanted = (n_bytes + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
  size_t mapped = wanted + kHugePageBytes;
  void* start = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) return refused(errno);
  auto* bytes = static_cast<uint8_t*>(start);
  size_t head = (kHugePageBytes - reinterpret_cast<uintptr_t>(bytes) % kHugePageBytes) % kHugePageBytes;
  if (head > 0) munmap(bytes, head);
  munmap(bytes + head + wanted, mapped - head - wanted);
  buffer.data_ = bytes + head;
  buffer.n_bytes_ = n_bytes;
  buffer.mapped_bytes_ = wanted;
  madvise(buffer.data_, wanted, MADV_HUGEPAGE);  // a refusal only costs speed
  return buffer;
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      n_bytes_(std::exchange(other.n_bytes_, 0)),
      mapped_bytes_(std::exchange(other.mapped_bytes_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this != &other) {
    release();
    data_ = std::exchange(other.data_, nullptr);
    n_bytes_ = std::exchange(other.n_bytes_, 0);
    mapped_bytes_ = std::exchange(other.mapped_bytes_, 0);
  }
  return *this;
}

Buffer::~Buffer() { release(); }

void Buffer::release() {
  if (data_ != nullptr) munmap(data_, mapped_bytes_);
}

}  // namespace millrace::device
