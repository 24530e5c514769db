// A conversation on disk, in one file: what POST /slots/{id}?action=save writes. Its blocks are records of the disk
// tier (runtime/disk_record.h), each with its checksum and the name of its whole prefix, so that a damaged, cut or
// foreign file is refused before a byte of it is used. Little-endian. Persistent: raise kSessionVersion when this
// changes.
//   0  8 bytes "MRKVSES" and a zero   8 u32 version   12 u32 tokens   16 u32 blocks   20 u32 bytes of the cache salt
//  24  u64 checksum of bytes 0..23, the salt and the tokens   32  the salt, i32 tokens, then the records
// Written aside, synced and renamed. Thread: any, one per file name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "flow/session_copy.h"
#include "runtime/disk_record.h"

namespace millrace::instance {

constexpr uint32_t kSessionVersion = 1;

// 1..128 of A-Z a-z 0-9 . _ - and no dot at the start: never a path. kInvalidValue names `filename`.
Result<void> check_session_name(std::string_view name);

// Returns the bytes written. kIo with what the system says.
Result<uint64_t> write_session(const std::string& path, const runtime::RecordLayout& layout,
                               const flow::SessionCopy& session);

struct SessionFile {
  flow::SessionCopy session;
  uint64_t n_bytes = 0;
};
// kNotFound, kBadFile (what differs), kIo. Reads at most max_bytes.
Result<SessionFile> read_session(const std::string& path, const runtime::RecordLayout& layout, uint64_t max_bytes);

// One row of a listing: what the head of a file says, its checksum compared.
struct SessionEntry {
  std::string name;
  uint64_t n_bytes = 0;
  uint32_t n_tokens = 0;
  std::string fault;  // why it cannot be used; empty: it can
};
// Files of a folder whose names could be sessions, by name. kNotFound, kIo.
Result<std::vector<SessionEntry>> list_sessions(const std::string& folder);

}  // namespace millrace::instance
