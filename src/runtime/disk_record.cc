#include "runtime/disk_record.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <string_view>

#include "base/checksum.h"
#include "base/macros.h"
#include "base/sha256.h"

namespace millrace::runtime {
namespace {

constexpr std::string_view kMagic("MRKVBLK\0", 8);
constexpr size_t kChecksumAt = 128;

template <class T>
void put(std::span<uint8_t> record, size_t at, const T& value) {
  std::memcpy(record.data() + at, &value, sizeof(value));
}

template <class T>
T get(std::span<const uint8_t> record, size_t at) {
  T value;
  std::memcpy(&value, record.data() + at, sizeof(value));
  return value;
}

// Everything but the checksum itself.
uint64_t checksum_of(std::span<const uint8_t> record) {
  uint64_t header = checksum64(record.first(kChecksumAt));
  uint64_t rest = checksum64(record.subspan(kChecksumAt + sizeof(uint64_t)));
  return std::rotl(header, 1) ^ rest;
}

Error differs(std::string what) { return {ErrorCode::kBadFile, std::move(what), ""}; }

}  // namespace

size_t record_data_offset(const RecordLayout& layout) {
  return kRecordHeaderBytes + size_t{layout.block_tokens} * sizeof(TokenId);
}

size_t record_bytes(const RecordLayout& layout, uint32_t kv_groups) {
  return record_data_offset(layout) + layout.block_bytes * static_cast<size_t>(std::popcount(kv_groups));
}

std::vector<uint8_t> begin_record(const RecordLayout& layout, const flow::TierBlock& block) {
  CHECK(block.tokens.size() == layout.block_tokens, "{} tokens, want {}", block.tokens.size(), layout.block_tokens);
  std::vector<uint8_t> record(record_bytes(layout, block.kv_groups));
  std::span<uint8_t> out(record);
  std::memcpy(record.data(), kMagic.data(), kMagic.size());
  put(out, 8, kRecordVersion);
  put(out, 12, block.kv_groups);
  put(out, 16, layout.layout);
  put(out, 48, block.name);
  put(out, 80, block.parent);
  put(out, 112, layout.block_tokens);
  put(out, 120, layout.block_bytes);
  std::memcpy(record.data() + kRecordHeaderBytes, block.tokens.data(), block.tokens.size() * sizeof(TokenId));
  return record;
}

void seal_record(std::span<uint8_t> record) { put(record, kChecksumAt, checksum_of(record)); }

Result<uint32_t> check_record(std::span<const uint8_t> record, const RecordLayout& layout,
                              const flow::TierBlock& want) {
  if (record.size() < kRecordHeaderBytes) return differs(fmt::format("{} bytes: too short", record.size()));
  if (std::memcmp(record.data(), kMagic.data(), kMagic.size()) != 0) return differs("not a KV record");
  if (auto version = get<uint32_t>(record, 8); version != kRecordVersion) {
    return differs(fmt::format("version {}, want {}", version, kRecordVersion));
  }
  if (get<flow::TierName>(record, 16) != layout.layout) return differs("of another model or layout");
  if (get<flow::TierName>(record, 48) != want.name) return differs("of another prefix");
  if (get<flow::TierName>(record, 80) != want.parent) return differs("of another parent");
  if (get<uint32_t>(record, 112) != layout.block_tokens || get<uint64_t>(record, 120) != layout.block_bytes) {
    return differs("of another block size");
  }
  auto kv_groups = get<uint32_t>(record, 12);
  if ((want.kv_groups & ~kv_groups) != 0) {
    return differs(fmt::format("KvGroups {:#x}, want {:#x}", kv_groups, want.kv_groups));
  }
  if (record.size() != record_bytes(layout, kv_groups)) {
    return differs(fmt::format("{} bytes, want {}", record.size(), record_bytes(layout, kv_groups)));
  }
  if (get<uint64_t>(record, kChecksumAt) != checksum_of(record)) return differs("checksum mismatch");
  if (std::memcmp(record.data() + kRecordHeaderBytes, want.tokens.data(), want.tokens.size() * sizeof(TokenId)) != 0) {
    return differs("of other tokens");
  }
  return kv_groups;
}

std::string record_file_name(const flow::TierName& name, uint32_t kv_groups) {
  return fmt::format("{}-{:02x}.kv", hex(name), kv_groups);
}

Result<flow::TierEvent> parse_record_file_name(std::string_view file) {
  constexpr size_t kNameDigits = 64;
  Error bad{ErrorCode::kBadFile, "not the name of a KV record", ""};
  if (file.size() != kNameDigits + 6 || file[kNameDigits] != '-' || !file.ends_with(".kv")) return bad;
  flow::TierEvent event;
  auto parse = [&](std::string_view digits, auto& value) {
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    bool lower = std::ranges::none_of(digits, [](char c) { return c >= 'A' && c <= 'F'; });
    return error == std::errc() && end == digits.data() + digits.size() && lower;
  };
  for (size_t i = 0; i < event.name.size(); ++i) {
    if (!parse(file.substr(2 * i, 2), event.name[i])) return bad;
  }
  if (!parse(file.substr(kNameDigits + 1, 2), event.kv_groups) || event.kv_groups == 0) return bad;
  return event;
}

}  // namespace millrace::runtime
