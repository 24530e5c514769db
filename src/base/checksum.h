// checksum64: detects damage of bytes that lay on disk. Not for adversaries.
// Four lanes, each fed by every fourth word with a step that is a bijection of the lane for a given word and of the
// word for a given lane: a change inside one 8-byte word is always seen, any other with probability 1 - 2^-64. Thread:
// any.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>

namespace millrace {

inline uint64_t checksum64(std::span<const uint8_t> bytes) {
  // odd constants of xxHash (public domain, github.com/Cyan4973/xxHash, XXH_PRIME64_1 and _2)
  constexpr uint64_t kMultiply = 0x9E3779B185EBCA87;
  constexpr uint64_t kStart = 0xC2B2AE3D27D4EB4F;
  auto step = [](uint64_t lane, uint64_t word) { return std::rotl((lane ^ word) * kMultiply, 29); };
  uint64_t lanes[4] = {kStart, kStart + 1, kStart + 2, kStart + 3};
  const uint8_t* at = bytes.data();
  size_t left = bytes.size();
  auto next_word = [&] {
    uint64_t word = 0;
    std::memcpy(&word, at, sizeof(word));
    at += sizeof(word);
    left -= sizeof(word);
    return word;
  };
  while (left >= 4 * sizeof(uint64_t)) {
    for (uint64_t& lane : lanes) lane = step(lane, next_word());
  }
  for (uint64_t& lane : lanes) {
    if (left < sizeof(uint64_t)) break;
    lane = step(lane, next_word());
  }
  uint64_t tail = 0;
  if (left > 0) std::memcpy(&tail, at, left);
  uint64_t sum = step(bytes.size(), tail);
  for (uint64_t lane : lanes) sum = step(sum, lane);
  return sum ^ sum >> 32;
}

}  // namespace millrace
