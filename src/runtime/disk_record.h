// The file of one entry of the disk tier: a header that says what it is, the tokens, then the blocks of the KvGroups
// that are present, ascending. Little-endian, as the machine. Persistent: raise kRecordVersion when anything here
// changes.
//   0  8 bytes "MRKVBLK" and a zero    8  u32 version          12  u32 KvGroups, bit g: KvGroup g
//  16  32 bytes name of the layout    48  32 bytes own name    80  32 bytes name of the parent
// 112  u32 block_tokens  116 u32 zero  120 u64 block_bytes     128 u64 checksum of all other bytes
// 136  i32 tokens [block_tokens], then u8 blocks [n_groups, block_bytes]
// Thread: any.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "flow/tier_store.h"

namespace millrace::runtime {

constexpr uint32_t kRecordVersion = 1;
constexpr size_t kRecordHeaderBytes = 136;

struct RecordLayout {
  flow::TierName layout = {};
  uint32_t block_tokens = 0;
  uint64_t block_bytes = 0;
};

size_t record_bytes(const RecordLayout& layout, uint32_t kv_groups);
// Where the blocks begin.
size_t record_data_offset(const RecordLayout& layout);

// A record without its blocks and its checksum; the caller copies the blocks to record_data_offset() and seals it.
std::vector<uint8_t> begin_record(const RecordLayout& layout, const flow::TierBlock& block);
void seal_record(std::span<uint8_t> record);

// Is this a whole record of `want`, with at least its KvGroups? kBadFile says what differs. Returns the KvGroups it
// has.
Result<uint32_t> check_record(std::span<const uint8_t> record, const RecordLayout& layout, const flow::TierBlock& want);

// "<64 hex digits of the name>-<2 hex digits of the KvGroups>.kv", and back; kBadFile for any other name.
std::string record_file_name(const flow::TierName& name, uint32_t kv_groups);
Result<flow::TierEvent> parse_record_file_name(std::string_view file);

}  // namespace millrace::runtime
