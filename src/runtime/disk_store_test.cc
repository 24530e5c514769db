// The disk tier against everything that can happen to files: damage, truncation, foreign files, a full disk, a killed
// process. The promise: what is loaded is exactly what was saved under that name, or it is a miss.
#include "runtime/disk_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>

#include "base/philox.h"
#include "tests/support/temp_dir.h"

namespace millrace::runtime {
namespace {

using ::testing::HasSubstr;

constexpr uint32_t kBlockTokens = 4;
constexpr uint64_t kBlockBytes = 1000;
constexpr uint32_t kGroups = 2;

flow::TierName name_of(uint32_t number) {
  flow::TierName name = {};
  for (uint32_t i = 0; i < 8; ++i) {
    auto words = philox4x32(number, {i, 0, 0, 0});
    std::memcpy(name.data() + 4 * i, words.data(), 4);
  }
  return name;
}

flow::TierBlock entry_of(uint32_t number, uint32_t kv_groups = 3) {
  flow::TierBlock block{
      .name = name_of(number), .parent = name_of(number + 1'000'000), .tokens = {}, .kv_groups = kv_groups};
  for (uint32_t i = 0; i < kBlockTokens; ++i) block.tokens.push_back(static_cast<TokenId>(number * 10 + i));
  return block;
}

// The bytes of KvGroup g of an entry: a function of its number.
std::vector<uint8_t> bytes_of(uint32_t number, uint32_t kv_group) {
  std::vector<uint8_t> bytes(kBlockBytes);
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<uint8_t>(philox4x32(number, {static_cast<uint32_t>(i), kv_group, 7, 0})[0]);
  }
  return bytes;
}

class Disk {
 public:
  explicit Disk(const std::string& folder, uint64_t max_bytes = 1 << 20, uint32_t layout = 1)
      : pool_(8, std::vector<uint8_t>(kBlockBytes)) {
    DiskOptions options{.folder = folder, .max_bytes = max_bytes};
    options.layout = {.layout = name_of(900 + layout), .block_tokens = kBlockTokens, .block_bytes = kBlockBytes};
    auto opened = DiskStore::open(options, [this](flow::BlockId id) { return std::span<uint8_t>(pool_.at(id)); });
    if (!opened.ok()) {
      error = opened.error().message;
      return;
    }
    store_ = std::move(opened).value();
    take_events();
  }
  DiskStore& store() { return *store_; }
  const std::map<flow::TierName, uint32_t>& known() const { return known_; }

  void save(uint32_t number, uint32_t kv_groups = 3, bool wait = true) {
    for (uint32_t g = 0; g < kGroups; ++g) pool_[g] = bytes_of(number, g);
    ASSERT_TRUE(store_->save(entry_of(number, kv_groups), {0, 1}));
    if (!wait) return;
    store_->drain();
    take_events();
  }
  // How many of the entries come back, from the first on. Their bytes must be right.
  uint32_t load(const std::vector<flow::TierBlock>& blocks, const std::vector<uint32_t>& numbers) {
    uint64_t id = store_->load(blocks);
    EXPECT_NE(id, 0u);
    store_->drain();
    uint32_t n = 0;
    for (const flow::TierEvent& event : take_events()) {
      if (event.kind == flow::TierEventKind::kLoaded && event.load == id) n = event.n_blocks;
    }
    for (uint32_t i = 0; i < n; ++i) {
      for (uint32_t g = 0; g < kGroups; ++g) {
        if ((blocks[i].kv_groups >> g & 1) == 0) continue;
        store_->place(id, i, g, 5);
        EXPECT_EQ(pool_[5], bytes_of(numbers[i], g)) << "entry " << numbers[i] << " KvGroup " << g;
      }
    }
    store_->end_load(id);
    return n;
  }
  bool hit(uint32_t number, uint32_t kv_groups = 3) { return load({entry_of(number, kv_groups)}, {number}) == 1; }

  std::string error;

 private:
  std::vector<flow::TierEvent> take_events() {
    std::vector<flow::TierEvent> events;
    store_->poll(events);
    for (const flow::TierEvent& event : events) {
      if (event.kind == flow::TierEventKind::kStored) known_[event.name] = event.kv_groups;
      if (event.kind == flow::TierEventKind::kRemoved) known_.erase(event.name);
    }
    return events;
  }
  std::vector<std::vector<uint8_t>> pool_;
  std::unique_ptr<DiskStore> store_;
  std::map<flow::TierName, uint32_t> known_;
};

std::vector<std::string> records_in(const std::string& folder) {
  std::vector<std::string> out;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    if (file.path().extension() == ".kv") out.push_back(file.path().string());
  }
  std::ranges::sort(out);
  return out;
}

TEST(DiskStore, WhatWasSavedComesBackAlsoAfterARestart) {
  testing::TempDir dir;
  {
    Disk disk(dir.path());
    disk.save(1);
    disk.save(2, 1);
    disk.save(3, 2);
    EXPECT_EQ(disk.known().size(), 3u);
    EXPECT_TRUE(disk.hit(1));
    EXPECT_TRUE(disk.hit(1, 2));  // a part of what is there
    EXPECT_FALSE(disk.hit(4));
    flow::TierTraffic traffic = disk.store().traffic();
    EXPECT_GT(traffic.bytes_in, 2 * kGroups * kBlockBytes);
    EXPECT_GT(traffic.bytes_out, (kGroups + 2) * kBlockBytes);
    EXPECT_EQ(traffic.n_damaged, 0u);
  }
  Disk again(dir.path());
  EXPECT_EQ(again.known().size(), 3u);
  EXPECT_EQ(again.known().at(name_of(2)), 1u);
  EXPECT_EQ(again.load({entry_of(1), entry_of(2, 1), entry_of(3, 2)}, {1, 2, 3}), 3u);
  EXPECT_FALSE(again.hit(2, 3));  // KvGroup 1 was never saved
  again.store().clear();
  again.store().drain();
  EXPECT_FALSE(again.hit(1));
  EXPECT_TRUE(records_in(dir.path()).empty());
}

// A load goes before the writes that wait: it finds what they will write.
TEST(DiskStore, WhatWaitsToBeWrittenCanBeLoaded) {
  testing::TempDir dir;
  Disk disk(dir.path());
  std::vector<flow::TierBlock> blocks;
  std::vector<uint32_t> numbers;
  for (uint32_t number = 1; number <= 40; ++number) {
    disk.save(number, 3, false);
    blocks.push_back(entry_of(number));
    numbers.push_back(number);
  }
  EXPECT_EQ(disk.load(blocks, numbers), 40u);
  EXPECT_EQ(disk.store().totals().n_rejected, 0u);
}

TEST(DiskStore, ALoadEndsAtTheFirstMiss) {
  testing::TempDir dir;
  Disk disk(dir.path());
  disk.save(1);
  disk.save(3);
  EXPECT_EQ(disk.load({entry_of(1), entry_of(2), entry_of(3)}, {1, 2, 3}), 1u);
}

TEST(DiskStore, OtherTokensParentsAndLayoutsAreMisses) {
  testing::TempDir dir;
  {
    Disk disk(dir.path());
    for (uint32_t number : {1u, 2u, 3u}) disk.save(number);
    flow::TierBlock other = entry_of(1);
    other.tokens[2] ^= 1;
    EXPECT_EQ(disk.load({other}, {1}), 0u);
    other = entry_of(2);
    other.parent[31] ^= 1;
    EXPECT_EQ(disk.load({other}, {2}), 0u);
    EXPECT_FALSE(disk.known().contains(name_of(2)));
  }
  Disk model(dir.path(), 1 << 20, 2);  // another model, the same names
  EXPECT_FALSE(model.hit(3));
}

TEST(DiskStore, EveryFlippedBitAndEveryCutIsAMiss) {
  testing::TempDir dir;
  std::string path;
  std::string whole;
  {
    Disk disk(dir.path());
    disk.save(1);
    path = records_in(dir.path()).at(0);
    std::ifstream in(path, std::ios::binary);
    whole.assign(std::istreambuf_iterator<char>(in), {});
  }
  ASSERT_EQ(whole.size(), kRecordHeaderBytes + 4 * kBlockTokens + kGroups * kBlockBytes);
  Result<flow::TierEvent> name = parse_record_file_name(std::filesystem::path(path).filename().string());
  ASSERT_TRUE(name.ok());
  RecordLayout layout{.layout = name_of(901), .block_tokens = kBlockTokens, .block_bytes = kBlockBytes};
  auto accepted = [&](const std::string& bytes) {
    std::span<const uint8_t> record(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    return check_record(record, layout, entry_of(1)).ok();
  };
  EXPECT_TRUE(accepted(whole));
  for (size_t bit = 0; bit < 8 * whole.size(); bit += bit < 8 * 200 ? 1 : 13) {
    std::string damaged = whole;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    EXPECT_FALSE(accepted(damaged)) << "bit " << bit;
  }
  for (size_t size = 0; size < whole.size(); size += 7) EXPECT_FALSE(accepted(whole.substr(0, size))) << size;
  EXPECT_FALSE(accepted(whole + '\0'));
  EXPECT_FALSE(accepted(std::string(whole.size(), '\0')));
  // and through the store: the file is removed
  std::string damaged = whole;
  damaged[whole.size() - 1] = static_cast<char>(~damaged[whole.size() - 1]);
  dir.write(std::filesystem::path(path).filename().string(), damaged);
  Disk disk(dir.path());
  EXPECT_FALSE(disk.hit(1));
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_EQ(disk.store().totals().n_rejected, 1u);
  EXPECT_EQ(disk.store().traffic().n_damaged, 1u);
  EXPECT_EQ(disk.store().traffic().bytes_in, 0u);
}

TEST(DiskStore, RenamedAndVanishedFilesAreMisses) {
  testing::TempDir dir;
  {
    Disk disk(dir.path());
    disk.save(1);
    disk.save(2);
  }
  std::filesystem::rename(dir.file(record_file_name(name_of(1), 3)), dir.file(record_file_name(name_of(7), 3)));
  dir.write("notes.txt", std::string_view("not ours"));
  dir.write("aside-1-2", std::string_view("left by a killed process"));
  Disk disk(dir.path());
  EXPECT_EQ(disk.known().size(), 2u);
  EXPECT_FALSE(disk.hit(7));
  EXPECT_FALSE(disk.hit(1));
  std::filesystem::remove(dir.file(record_file_name(name_of(2), 3)));
  EXPECT_FALSE(disk.hit(2));
  EXPECT_TRUE(std::filesystem::exists(dir.file("notes.txt")));
  EXPECT_FALSE(std::filesystem::exists(dir.file("aside-1-2")));
}

TEST(DiskStore, TheLeastRecentlyUsedGoesFirst) {
  testing::TempDir dir;
  uint64_t one = kRecordHeaderBytes + 4 * kBlockTokens + kGroups * kBlockBytes;
  Disk disk(dir.path(), 3 * one);
  for (uint32_t number : {1u, 2u, 3u}) disk.save(number);
  EXPECT_TRUE(disk.hit(1));
  disk.save(4);
  EXPECT_FALSE(disk.known().contains(name_of(2)));
  EXPECT_EQ(records_in(dir.path()).size(), 3u);
  EXPECT_EQ(disk.store().totals().bytes, 3 * one);
  EXPECT_TRUE(disk.hit(1) && disk.hit(3) && disk.hit(4));
}

TEST(DiskStore, AStartTrimsTheFolder) {
  testing::TempDir dir;
  uint64_t one = kRecordHeaderBytes + 4 * kBlockTokens + kGroups * kBlockBytes;
  {
    Disk disk(dir.path());
    for (uint32_t number : {1u, 2u, 3u, 4u}) disk.save(number);
  }
  Disk disk(dir.path(), 2 * one);
  EXPECT_EQ(records_in(dir.path()).size(), 2u);
  EXPECT_EQ(disk.known().size(), 2u);
}

TEST(DiskStore, UnfitFoldersAreRefusedByName) {
  testing::TempDir dir;
  EXPECT_THAT(Disk(dir.file("missing")).error, HasSubstr("No such file"));
  std::filesystem::create_directory(dir.file("real"));
  std::filesystem::create_symlink(dir.file("real"), dir.file("link"));
  EXPECT_THAT(Disk(dir.file("link")).error, HasSubstr("is a link"));
  EXPECT_THAT(Disk(dir.write("file", std::string_view("x"))).error, HasSubstr("is not a folder"));
  std::filesystem::permissions(dir.file("real"), std::filesystem::perms::others_write,
                               std::filesystem::perm_options::add);
  EXPECT_THAT(Disk(dir.file("real")).error, HasSubstr("can be written by others"));
  Disk first(dir.path());
  EXPECT_THAT(Disk(dir.path()).error, HasSubstr(fmt::format("already used by pid {}", ::getpid())));
  first.save(1);
  struct stat info {};
  ASSERT_EQ(::stat(records_in(dir.path()).at(0).c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777u, 0600u);
}

// A file size limit makes write() fail half way, as a full disk does.
TEST(DiskStore, AFullDiskIsAPauseAndNoEntry) {
  testing::TempDir dir;
  Disk disk(dir.path());
  disk.save(1);
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  auto old = ::signal(SIGXFSZ, SIG_IGN);
  struct rlimit small = {.rlim_cur = 1500, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  disk.save(2);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, old);
  EXPECT_EQ(disk.store().totals().n_failed, 1u);
  EXPECT_FALSE(disk.store().save(entry_of(3), {0, 1}));  // paused
  EXPECT_FALSE(disk.known().contains(name_of(2)));
  EXPECT_FALSE(disk.hit(2));
  EXPECT_TRUE(disk.hit(1));
  for (const auto& file : std::filesystem::directory_iterator(dir.path())) {
    EXPECT_FALSE(file.path().filename().string().starts_with("aside-"));
  }
}

TEST(DiskStore, AFileThatCannotGetItsNameIsNoEntry) {
  testing::TempDir dir;
  Disk disk(dir.path());
  std::filesystem::create_directory(dir.file(record_file_name(name_of(1), 3)));
  disk.save(1);
  EXPECT_EQ(disk.store().totals().n_failed, 1u);
  EXPECT_FALSE(disk.known().contains(name_of(1)));
  EXPECT_FALSE(disk.hit(1));
  for (const auto& file : std::filesystem::directory_iterator(dir.path())) {
    EXPECT_FALSE(file.path().filename().string().starts_with("aside-"));
  }
}

// Saves for ever, with little room, so that it writes, renames and removes all the time. A byte into `told` tells of
// the first save.
[[noreturn]] void churn(const std::string& folder, uint64_t seed, int told) {
  Disk disk(folder, 40'000);
  std::mt19937_64 rng(seed);
  for (uint64_t n = 0;; ++n) {
    disk.save(static_cast<uint32_t>(rng() % 60), 1 + static_cast<uint32_t>(rng() % 3));
    if (n == 0 && ::write(told, "s", 1) != 1) ::_exit(1);
  }
}

TEST(DiskStore, KilledAtAnyPointWhatIsLeftIsRightOrMissing) {
  testing::TempDir dir;
  std::mt19937_64 rng(20);
  uint32_t n_hits = 0;
  for (int round = 0; round < 25 && !HasFailure(); ++round) {
    int saved[2];
    ASSERT_EQ(::pipe(saved), 0);
    pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) churn(dir.path(), rng(), saved[1]);
    char byte = 0;
    if (round % 5 != 4) {  // else also while it opens the folder
      ASSERT_EQ(::read(saved[0], &byte, 1), 1);
    }
    ::usleep(static_cast<useconds_t>(rng() % 12'000));
    ::kill(child, SIGKILL);
    ::close(saved[0]);
    ::close(saved[1]);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    Disk disk(dir.path(), 40'000);
    ASSERT_EQ(disk.error, "");
    EXPECT_LE(disk.store().totals().bytes, 40'000u);
    size_t n_known = disk.known().size();
    EXPECT_EQ(records_in(dir.path()).size(), n_known);
    for (uint32_t number = 0; number < 60; ++number) {
      auto entry = disk.known().find(name_of(number));
      if (entry == disk.known().end()) continue;
      EXPECT_TRUE(disk.hit(number, entry->second)) << "round " << round << " entry " << number;
      ++n_hits;
    }
  }
  EXPECT_GE(n_hits, 20u) << "one a round that waited";
}

}  // namespace
}  // namespace millrace::runtime
