// PairTable: an open-addressing map from 64-bit keys (two ids, or trie node and byte) to a small value. Built once.
// Load <= 1/2, so a lookup is one or two cache lines. Thread: any after the last insert().
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace millrace::text {

template <class Value>
class PairTable {
 public:
  explicit PairTable(size_t n_expected = 0) { resize(std::bit_ceil(n_expected * 2 + 16)); }

  static uint64_t key_of(uint32_t high, uint32_t low) { return (uint64_t{high} << 32) | low; }

  // False (and no change) when the key is there. Keys must not be ~0.
  bool insert(uint64_t key, Value value) {
    if ((size_ + 1) * 2 > slots_.size()) grow();
    Slot& slot = slots_[slot_of(key)];
    if (slot.key == key) return false;
    slot = {key, value};
    ++size_;
    return true;
  }

  const Value* find(uint64_t key) const {
    const Slot& slot = slots_[slot_of(key)];
    return slot.key == key ? &slot.value : nullptr;
  }

  size_t size() const { return size_; }

 private:
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  struct Slot {
    uint64_t key = kEmpty;
    Value value{};
  };

  // Fibonacci hashing (Knuth, TAOCP 3, 6.4).
  size_t slot_of(uint64_t key) const {
    size_t at = static_cast<size_t>((key ^ (key >> 29)) * 0x9E3779B97F4A7C15u >> shift_);
    while (slots_[at].key != key && slots_[at].key != kEmpty) at = (at + 1) & (slots_.size() - 1);
    return at;
  }

  void resize(size_t n_slots) {
    slots_.assign(n_slots, Slot{});
    shift_ = 64 - std::countr_zero(n_slots);
  }

  void grow() {
    std::vector<Slot> old = std::exchange(slots_, {});
    resize(old.size() * 2);
    for (const Slot& slot : old) {
      if (slot.key != kEmpty) slots_[slot_of(slot.key)] = slot;
    }
  }

  std::vector<Slot> slots_;
  int shift_ = 0;
  size_t size_ = 0;
};

}  // namespace millrace::text
