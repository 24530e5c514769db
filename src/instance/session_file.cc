#include "instance/session_file.h"

#include <dirent.h>
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/byte_reader.h"
#include "base/checksum.h"
#include "base/file.h"
#include "base/macros.h"
#include "cache/tier_index.h"

namespace millrace::instance {
namespace {

constexpr std::string_view kMagic("MRKVSES\0", 8);
constexpr size_t kHeadBytes = 32;
constexpr size_t kChecksumAt = 24;
constexpr size_t kGroupsAt = 12;  // of a record
constexpr uint32_t kMostSaltBytes = 1024;
constexpr size_t kMostName = 128;

Error bad_file(std::string_view path, std::string_view what) {
  return {ErrorCode::kBadFile, fmt::format("{}: {}", path, what), ""};
}

template <class T>
T get(std::span<const uint8_t> bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return value;
}

uint64_t checksum_of_head(std::span<const uint8_t> bytes, size_t end) {
  return std::rotl(checksum64(bytes.first(kChecksumAt)), 1) ^ checksum64(bytes.subspan(kHeadBytes, end - kHeadBytes));
}

std::vector<uint8_t> head_of(const flow::SessionCopy& session) {
  size_t token_bytes = session.tokens.size() * sizeof(TokenId);
  std::vector<uint8_t> head(kHeadBytes + session.cache_salt.size() + token_bytes);
  std::array<uint32_t, 4> numbers = {kSessionVersion, static_cast<uint32_t>(session.tokens.size()),
                                     static_cast<uint32_t>(session.blocks.size()),
                                     static_cast<uint32_t>(session.cache_salt.size())};
  std::memcpy(head.data(), kMagic.data(), kMagic.size());
  std::memcpy(head.data() + kMagic.size(), numbers.data(), sizeof(numbers));
  std::ranges::copy(session.cache_salt, head.begin() + kHeadBytes);
  std::memcpy(head.data() + kHeadBytes + session.cache_salt.size(), session.tokens.data(), token_bytes);
  uint64_t checksum = checksum_of_head(head, head.size());
  std::memcpy(head.data() + kChecksumAt, &checksum, sizeof(checksum));
  return head;
}

struct Head {
  flow::SessionCopy session;  // without its blocks
  uint32_t n_blocks = 0;
  size_t end = 0;
};

Result<Head> read_head(std::span<const uint8_t> bytes, const std::string& path) {
  if (bytes.size() < kHeadBytes) return bad_file(path, fmt::format("{} bytes: too short", bytes.size()));
  if (std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) return bad_file(path, "not a saved session");
  if (auto version = get<uint32_t>(bytes, 8); version != kSessionVersion) {
    return bad_file(path, fmt::format("version {}, want {}", version, kSessionVersion));
  }
  auto n_tokens = get<uint32_t>(bytes, 12);
  auto n_salt = get<uint32_t>(bytes, 20);
  Head head;
  head.n_blocks = get<uint32_t>(bytes, 16);
  uint64_t end = kHeadBytes + uint64_t{n_salt} + uint64_t{n_tokens} * sizeof(TokenId);
  if (n_salt > kMostSaltBytes || end > bytes.size()) return bad_file(path, "cut short");
  head.end = static_cast<size_t>(end);
  if (get<uint64_t>(bytes, kChecksumAt) != checksum_of_head(bytes, head.end))
    return bad_file(path, "checksum mismatch");
  head.session.cache_salt.assign(bytes.begin() + kHeadBytes, bytes.begin() + kHeadBytes + n_salt);
  head.session.tokens.resize(n_tokens);
  if (n_tokens > 0) {
    std::memcpy(head.session.tokens.data(), bytes.data() + kHeadBytes + n_salt, n_tokens * sizeof(TokenId));
  }
  return head;
}

// The names of the blocks, one after the other.
class Chain {
 public:
  Chain(const runtime::RecordLayout& layout, const flow::SessionCopy& session)
      : block_tokens_(layout.block_tokens),
        tokens_(session.tokens),
        parent_(cache::tier_root(layout.layout, session.cache_salt)) {}

  flow::TierBlock next(uint32_t kv_groups) {
    auto tokens = tokens_.first(block_tokens_);
    tokens_ = tokens_.subspan(block_tokens_);
    flow::TierBlock block{.name = cache::tier_child(parent_, tokens),
                          .parent = parent_,
                          .tokens = {tokens.begin(), tokens.end()},
                          .kv_groups = kv_groups};
    parent_ = block.name;
    return block;
  }

 private:
  uint32_t block_tokens_;
  std::span<const TokenId> tokens_;
  flow::TierName parent_;
};

Result<void> write_parts(int fd, const std::string& path, const runtime::RecordLayout& layout,
                         const flow::SessionCopy& session, uint64_t& n_bytes) {
  std::vector<uint8_t> head = head_of(session);
  n_bytes = head.size();
  TRY(write_all(fd, head, path));
  (void)FAULT_POINT("session.head.after");
  Chain chain(layout, session);
  for (const flow::SessionBlock& block : session.blocks) {
    std::vector<uint8_t> record = runtime::begin_record(layout, chain.next(block.kv_groups));
    size_t at = runtime::record_data_offset(layout);
    CHECK(record.size() == at + block.bytes.size(), "a block of {} bytes", block.bytes.size());
    std::ranges::copy(block.bytes, record.begin() + static_cast<std::ptrdiff_t>(at));
    runtime::seal_record(record);
    TRY(write_all(fd, record, path));
    (void)FAULT_POINT("session.block.after");
    n_bytes += record.size();
  }
  return {};
}

bool name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

}  // namespace

Result<void> check_session_name(std::string_view name) {
  bool right = !name.empty() && name.size() <= kMostName && name[0] != '.' && std::ranges::all_of(name, name_char);
  if (right) return {};
  return Error{
      ErrorCode::kInvalidValue,
      fmt::format("filename must be 1..{} of letters, digits, '.', '_' and '-' and not begin with '.'", kMostName),
      "filename"};
}

Result<uint64_t> write_session(const std::string& path, const runtime::RecordLayout& layout,
                               const flow::SessionCopy& session) {
  uint64_t n_bytes = 0;
  TRY(write_file_atomic(path, 0600, [&](int fd) { return write_parts(fd, path, layout, session, n_bytes); }));
  return n_bytes;
}

Result<SessionFile> read_session(const std::string& path, const runtime::RecordLayout& layout, uint64_t max_bytes) {
  // not mapped: a disk that fails, or somebody who cuts the file, would end the server
  std::string text = TRY(read_file(path, max_bytes));
  std::span<const uint8_t> bytes = as_bytes(text);
  Head head = TRY(read_head(bytes, path));
  SessionFile out{.session = std::move(head.session), .n_bytes = bytes.size()};
  if (head.n_blocks > out.session.tokens.size() / layout.block_tokens) {
    return bad_file(path, fmt::format("{} blocks for {} tokens", head.n_blocks, out.session.tokens.size()));
  }
  Chain chain(layout, out.session);
  size_t data_at = runtime::record_data_offset(layout);
  bytes = bytes.subspan(head.end);
  for (uint32_t i = 0; i < head.n_blocks; ++i) {
    if (bytes.size() < data_at) return bad_file(path, fmt::format("cut short at block {}", i));
    auto kv_groups = get<uint32_t>(bytes, kGroupsAt);
    size_t n = runtime::record_bytes(layout, kv_groups);
    if (n > bytes.size()) return bad_file(path, fmt::format("cut short at block {}", i));
    Result<uint32_t> checked = runtime::check_record(bytes.first(n), layout, chain.next(kv_groups));
    if (!checked.ok()) return bad_file(path, fmt::format("block {}: {}", i, checked.error().message));
    auto data = bytes.subspan(data_at, n - data_at);
    out.session.blocks.push_back({.kv_groups = kv_groups, .bytes = {data.begin(), data.end()}});
    bytes = bytes.subspan(n);
  }
  if (!bytes.empty()) return bad_file(path, fmt::format("{} bytes too many", bytes.size()));
  return out;
}

Result<std::vector<SessionEntry>> list_sessions(const std::string& folder) {
  DIR* dir = ::opendir(folder.c_str());
  if (dir == nullptr) {
    ErrorCode code = errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo;
    return Error{code, fmt::format("{}: {}", folder, std::strerror(errno)), ""};
  }
  std::vector<SessionEntry> out;
  while (const dirent* row = ::readdir(dir)) {
    std::string name = row->d_name;
    if (!check_session_name(name).ok()) continue;
    std::string path = folder;
    path.append("/").append(name);
    Result<MappedFile> file = MappedFile::open(path);
    if (!file.ok()) continue;  // a folder
    SessionEntry entry{.name = name, .n_bytes = file->bytes().size()};
    Result<Head> head = read_head(file->bytes(), name);
    if (head.ok()) {
      entry.n_tokens = static_cast<uint32_t>(head->session.tokens.size());
    } else {
      entry.fault = head.error().message;
    }
    out.push_back(std::move(entry));
  }
  ::closedir(dir);
  std::ranges::sort(out, {}, &SessionEntry::name);
  return out;
}

}  // namespace millrace::instance
