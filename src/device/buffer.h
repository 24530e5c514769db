// Where the big bytes live: Buffer owns anonymous huge-page memory; Arena hands out pieces of memory it does not own.
//  1. A Buffer starts at a multiple of 2 MiB and reads as zero until written (first touch places its pages).
//  2. An Arena is a cheap value: threads that copy one cursor and make the same sequence of calls get the same
//     addresses, so SPMD code shares scratch without talking.
//  3. Every piece is 64-byte aligned; running out is our own bug (the plan sized the arena), so it is a CHECK.
// Thread: a Buffer has one owner; an Arena belongs to the thread that holds the copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "base/macros.h"
#include "base/result.h"

namespace millrace::device {

constexpr size_t kHugePageBytes = size_t{2} << 20;
constexpr size_t kCacheLineBytes = 64;

class Buffer {
 public:
  Buffer() = default;
  // kResource with `what` and the size when the memory cannot be had. 0 bytes give an empty buffer.
  static Result<Buffer> allocate(size_t n_bytes, std::string_view what);
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();

  uint8_t* data() { return data_; }
  const uint8_t* data() const { return data_; }
  size_t size_bytes() const { return n_bytes_; }

 private:
  void release();
  uint8_t* data_ = nullptr;
  size_t n_bytes_ = 0;       // as asked for
  size_t mapped_bytes_ = 0;  // whole huge pages
};

class Arena {
 public:
  Arena() = default;
  explicit Arena(Buffer& buffer) : Arena(buffer.data(), buffer.size_bytes()) {}
  Arena(uint8_t* memory, size_t n_bytes) : memory_(memory), capacity_bytes_(n_bytes) {
    CHECK(reinterpret_cast<uintptr_t>(memory) % kCacheLineBytes == 0, "arena memory must be 64-byte aligned");
  }
  // One that is only measured (high_water_bytes), never written: any aligned address will do.
  static Arena measuring() { return {reinterpret_cast<uint8_t*>(kHugePageBytes), size_t{1} << 46}; }

  // Room for n values of T, not initialised.
  template <class T>
  T* take(size_t n) {
    static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= kCacheLineBytes);
    size_t left = capacity_bytes_ - used_bytes_;
    CHECK(n <= left / sizeof(T), "arena: want {} x {} bytes, {} of {} left", n, sizeof(T), left, capacity_bytes_);
    uint8_t* piece = memory_ + used_bytes_;
    size_t bytes = (n * sizeof(T) + kCacheLineBytes - 1) / kCacheLineBytes * kCacheLineBytes;
    used_bytes_ += bytes < left ? bytes : left;
    if (used_bytes_ > high_water_bytes_) high_water_bytes_ = used_bytes_;
    return reinterpret_cast<T*>(piece);
  }

  size_t mark() const { return used_bytes_; }
  void rewind(size_t mark) {
    CHECK(mark <= used_bytes_, "arena: rewind to {} of {}", mark, used_bytes_);
    used_bytes_ = mark;
  }
  size_t capacity_bytes() const { return capacity_bytes_; }
  size_t high_water_bytes() const { return high_water_bytes_; }

 private:
  uint8_t* memory_ = nullptr;
  size_t capacity_bytes_ = 0;
  size_t used_bytes_ = 0;
  size_t high_water_bytes_ = 0;
};

}  // namespace millrace::device
