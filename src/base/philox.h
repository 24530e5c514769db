// Philox4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3"
// (SC 2011), section 3.3. Stateless: a draw is a pure function of key and counter, so sampling does not depend on
// batch, order or thread.
#pragma once

#include <array>
#include <cstdint>

namespace millrace {

using PhiloxBlock = std::array<uint32_t, 4>;

constexpr PhiloxBlock philox4x32(uint64_t key, PhiloxBlock counter) {
  auto k0 = static_cast<uint32_t>(key);
  auto k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    uint64_t p0 = uint64_t{0xD2511F53} * counter[0];
    uint64_t p1 = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(p1 >> 32) ^ counter[1] ^ k0, static_cast<uint32_t>(p1),
               static_cast<uint32_t>(p0 >> 32) ^ counter[3] ^ k1, static_cast<uint32_t>(p0)};
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return counter;
}

// 24 random bits to [0, 1), exact in f32.
constexpr float philox_unit_f32(uint32_t bits) { return static_cast<float>(bits >> 8) * 0x1.0p-24f; }
// 53 random bits to [0, 1), exact in f64.
constexpr double philox_unit_f64(uint32_t high, uint32_t low) {
  uint64_t bits = (uint64_t{high} << 32 | low) >> 11;
  return static_cast<double>(bits) * 0x1.0p-53;
}

// A sequence of draws for tests and walks over random inputs: the blocks of counters 0, 1, 2, .. under one key.
class PhiloxSequence {
 public:
  explicit PhiloxSequence(uint64_t seed) : seed_(seed) {}
  // 0 .. n - 1 (n > 0), even but for the remainder of 2^32.
  uint32_t below(uint32_t n) { return philox4x32(seed_, {next_++, 0, 0, 0})[0] % n; }

 private:
  uint64_t seed_;
  uint32_t next_ = 0;
};

}  // namespace millrace
