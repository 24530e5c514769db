// R17: every file that the program writes or reads at run time, with the disk failing at each of its calls in turn.
// What is read back is right or refused, the error says so, nothing half written is taken for whole, and when the disk
// is well again everything works and nothing is left behind. Thread: one, and those of the code under test.
#include <gtest/gtest.h>

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <random>

#include "app/logits_file.h"
#include "base/file.h"
#include "base/macros.h"
#include "device/thread_pool.h"
#include "engine/engine.h"
#include "engine/event_log.h"
#include "engine/event_reader.h"
#include "instance/session_file.h"
#include "runtime/disk_store.h"
#include "store/model_store.h"
#include "tests/support/io_faults.h"
#include "tests/support/temp_dir.h"
#include "weights/packed_image.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;
using support::IoFault;
using support::IoFaults;
using support::IoPlan;

constexpr IoFault kAll[] = {IoFault::kEio, IoFault::kFull, IoFault::kReadOnly, IoFault::kEintr, IoFault::kShort,
                            IoFault::kCut, IoFault::kGone, IoFault::kTorn,     IoFault::kFlip};
// Of files without checksums: what the disk makes of bytes that it said it took cannot be seen.
constexpr IoFault kWithoutSums[] = {IoFault::kEio,   IoFault::kFull, IoFault::kReadOnly, IoFault::kEintr,
                                    IoFault::kShort, IoFault::kCut,  IoFault::kGone};

// Runs `act` in a fresh folder that `prepare` filled, once for each call that a fault could hit, once with that call
// failing and once with it and all later ones; then `check` with a disk that is well.
struct Scenario {
  std::function<void(const std::string& folder)> prepare = [](const std::string&) {};
  std::function<void(const std::string& folder)> act;
  std::function<void(const std::string& folder)> check;
};

// The warnings of a thousand faults say nothing new.
class Quiet : public ::testing::Environment {
  void SetUp() override { set_log_level(LogLevel::kError); }
};
const auto* const quiet = ::testing::AddGlobalTestEnvironment(new Quiet);

uint64_t run_once(const Scenario& scenario, const IoPlan& plan) {
  testing::TempDir dir;
  scenario.prepare(dir.path());
  uint64_t n_calls = 0;
  {
    IoFaults faults(dir.path(), plan);
    scenario.act(dir.path());
    n_calls = faults.n_calls();
  }
  scenario.check(dir.path());
  return n_calls;
}

void run_all(const Scenario& scenario, std::span<const IoFault> kinds) {
  uint64_t n_runs = 0;
  for (IoFault kind : kinds) {
    for (bool for_good : {false, true}) {
      if (for_good && (kind == IoFault::kEintr || kind == IoFault::kCut)) continue;
      uint64_t n_calls = run_once(scenario, {.fault = kind, .first = 0});
      for (uint64_t k = 1; k <= n_calls && !::testing::Test::HasFailure(); ++k, ++n_runs) {
        SCOPED_TRACE(fmt::format("{} at call {} of {}{}", name_of(kind), k, n_calls, for_good ? " and later" : ""));
        run_once(scenario, {.fault = kind, .first = k, .for_good = for_good});
      }
    }
  }
  EXPECT_GT(n_runs, 4u) << "nothing was hit";
  ::testing::Test::RecordProperty("runs", static_cast<int>(n_runs));
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> out;
  for (const auto& file : fs::directory_iterator(folder)) out.push_back(file.path().filename().string());
  std::ranges::sort(out);
  return out;
}

std::string some_bytes(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::string out(n, 0);
  for (char& c : out) c = static_cast<char>(random());
  return out;
}

// Every error of these paths names its file or folder.
void expect_named(const Error& error, std::string_view what) {
  EXPECT_NE(error.message.find(what), std::string::npos) << error.message;
}

TEST(IoFaults, AnAtomicWriteLeavesTheOldOrTheNewFile) {
  const std::string old_text = some_bytes(3000, 1), new_text = some_bytes(70'000, 2);
  bool said_ok = false;
  auto path = [](const std::string& folder) { return folder + "/file"; };
  run_all({.prepare = [&](const std::string& folder) { ASSERT_TRUE(write_file_atomic(path(folder), old_text).ok()); },
           .act =
               [&](const std::string& folder) {
                 Result<void> done = write_file_atomic(path(folder), new_text);
                 said_ok = done.ok();
                 if (!done.ok()) expect_named(done.error(), path(folder));
               },
           .check =
               [&](const std::string& folder) {
                 Result<std::string> text = read_file(path(folder), 1 << 20);
                 ASSERT_TRUE(text.ok()) << text.error().message;
                 EXPECT_TRUE(*text == new_text || (!said_ok && *text == old_text)) << text->size() << " bytes";
                 ASSERT_TRUE(write_file_atomic(path(folder), old_text).ok());
                 EXPECT_EQ(names_in(folder), std::vector<std::string>{"file"});
               }},
          std::vector<IoFault>{IoFault::kEio, IoFault::kFull, IoFault::kReadOnly, IoFault::kEintr, IoFault::kShort,
                               IoFault::kCut});
}

TEST(IoFaults, AReadGivesTheWholeFileOrAnError) {
  const std::string text = some_bytes(9000, 3);
  run_all({.prepare = [&](const std::string& folder) { ASSERT_TRUE(write_file_atomic(folder + "/file", text).ok()); },
           .act =
               [&](const std::string& folder) {
                 Result<std::string> got = read_file(folder + "/file", 1 << 20);
                 EXPECT_TRUE(!got.ok() || *got == text);
                 if (!got.ok()) expect_named(got.error(), folder);
               },
           .check = [](const std::string&) {}},
          kWithoutSums);
}

// --- KV blocks on disk

constexpr uint32_t kEntries = 4;

struct Blocks {
  static constexpr uint64_t kBytes = 3000;
  std::vector<std::vector<uint8_t>> pool{2, std::vector<uint8_t>(kBytes)};
  std::unique_ptr<runtime::DiskStore> store;
  std::string error;

  explicit Blocks(const std::string& folder) {
    runtime::DiskOptions options{.folder = folder, .max_bytes = 14'000};  // four records
    options.layout = {.layout = {7}, .block_tokens = 4, .block_bytes = kBytes};
    auto opened = runtime::DiskStore::open(options, [this](flow::BlockId id) { return std::span(pool.at(id)); });
    if (opened.ok()) {
      store = std::move(opened).value();
    } else {
      error = opened.error().message;
    }
  }
  static flow::TierBlock entry(uint32_t i) {
    auto token = static_cast<TokenId>(i);
    return {.name = {static_cast<uint8_t>(i), 9}, .parent = {8}, .tokens = {token, 1, 2, 3}, .kv_groups = 1};
  }
  static std::vector<uint8_t> bytes(uint32_t i) {
    std::string text = some_bytes(kBytes, i);
    return {text.begin(), text.end()};
  }
  void save(uint32_t i) {
    pool[0] = bytes(i);
    store->save(entry(i), {0});
    store->drain();
  }
  bool hit(uint32_t i) {
    uint64_t load = store->load({entry(i)});
    EXPECT_NE(load, 0u);
    store->drain();
    std::vector<flow::TierEvent> events;
    store->poll(events);
    uint32_t n = 0;
    for (const flow::TierEvent& event : events) {
      if (event.kind == flow::TierEventKind::kLoaded && event.load == load) n = event.n_blocks;
    }
    if (n == 1) {
      store->place(load, 0, 0, 1);
      EXPECT_TRUE(pool[1] == bytes(i)) << "entry " << i << " is not what was saved";
    }
    store->end_load(load);
    return n == 1;
  }
};

TEST(IoFaults, BlocksOnDiskAreRightOrMissed) {
  bool missed = false, counted = false;
  run_all({.prepare =
               [](const std::string& folder) {
                 Blocks blocks(folder);
                 for (uint32_t i = 0; i < kEntries; ++i) blocks.save(i);
               },
           .act =
               [&](const std::string& folder) {
                 Blocks blocks(folder);
                 missed = counted = false;
                 if (!blocks.store) {
                   EXPECT_NE(blocks.error.find(folder), std::string::npos) << blocks.error;
                   return;
                 }
                 for (uint32_t i = 0; i < 2; ++i) missed |= !blocks.hit(i);
                 counted = blocks.store->traffic().n_damaged > 0;
                 for (uint32_t i = kEntries; i < kEntries + 2; ++i) blocks.save(i);  // two of the old must go
                 for (uint32_t i = 0; i < kEntries + 2; ++i) blocks.hit(i);
               },
           .check =
               [&](const std::string& folder) {
                 EXPECT_EQ(missed, counted) << "millrace:spill_corrupt_total";
                 uint64_t n_bytes = 0;
                 Blocks blocks(folder);
                 ASSERT_TRUE(blocks.store) << blocks.error;
                 for (const std::string& name : names_in(folder)) {
                   EXPECT_FALSE(name.starts_with("aside-")) << name;
                   if (name.ends_with(".kv")) n_bytes += fs::file_size(folder + "/" + name);
                 }
                 EXPECT_LE(n_bytes, 14'000u);
                 for (uint32_t i = 0; i < kEntries + 2; ++i) blocks.hit(i);
                 blocks.save(1);
                 EXPECT_TRUE(blocks.hit(1));
               }},
          kAll);
}

// --- conversations

runtime::RecordLayout session_layout() { return {.layout = {1, 2, 3}, .block_tokens = 4, .block_bytes = 2500}; }

flow::SessionCopy talk(uint8_t seed) {
  flow::SessionCopy session{.cache_salt = "pepper", .tokens = {}, .blocks = {}};
  for (TokenId i = 0; i < 11; ++i) session.tokens.push_back(i * seed);
  session.blocks.push_back({.kv_groups = 1, .bytes = std::vector<uint8_t>(2500, seed)});
  session.blocks.push_back({.kv_groups = 3, .bytes = std::vector<uint8_t>(5000, seed)});
  return session;
}

// 0: none. A session that is neither fails the test.
int which(const Result<instance::SessionFile>& file) {
  if (!file.ok()) return 0;
  for (uint8_t seed : {uint8_t{3}, uint8_t{5}}) {
    flow::SessionCopy want = talk(seed);
    if (file->session.tokens != want.tokens) continue;
    EXPECT_EQ(file->session.blocks.size(), want.blocks.size());
    for (size_t i = 0; i < want.blocks.size(); ++i) EXPECT_TRUE(file->session.blocks[i].bytes == want.blocks[i].bytes);
    return seed;
  }
  ADD_FAILURE() << "a session that nobody saved";
  return 0;
}

TEST(IoFaults, ConversationsAreWholeOrRefused) {
  for (bool writes : {true, false}) {
    bool said_ok = false;
    auto path = [](const std::string& folder) { return folder + "/talk"; };
    auto read = [&](const std::string& folder) {
      return instance::read_session(path(folder), session_layout(), 1 << 20);
    };
    run_all({.prepare =
                 [&](const std::string& folder) {
                   ASSERT_TRUE(instance::write_session(path(folder), session_layout(), talk(3)).ok());
                 },
             .act =
                 [&](const std::string& folder) {
                   if (writes) {
                     Result<uint64_t> done = instance::write_session(path(folder), session_layout(), talk(5));
                     said_ok = done.ok();
                     if (!done.ok()) expect_named(done.error(), folder);
                     return;
                   }
                   Result<instance::SessionFile> got = read(folder);
                   EXPECT_NE(which(got), 5);
                   if (!got.ok()) expect_named(got.error(), folder);
                   (void)instance::list_sessions(folder);
                 },
             .check =
                 [&](const std::string& folder) {
                   Result<instance::SessionFile> got = read(folder);
                   int seed = which(got);
                   if (!got.ok()) expect_named(got.error(), folder);
                   EXPECT_TRUE(!got.ok() || seed != 0);
                   ASSERT_TRUE(instance::write_session(path(folder), session_layout(), talk(5)).ok());
                   EXPECT_EQ(which(read(folder)), 5);
                   EXPECT_EQ(names_in(folder), std::vector<std::string>{"talk"});
                 }},
            kAll);
  }
}

// --- packed weights

TEST(IoFaults, PackedWeightsAreReadRightOrPackedAgain) {
  device::ThreadPool pool(1, false);
  const std::string text = some_bytes((size_t{1} << 20) + 5000, 4);
  const std::vector<uint8_t> bytes(text.begin(), text.end());
  const weights::ImageKey key{1, 2, 3};
  auto place = [](const std::string& folder) {
    return weights::ImagePlace{.folder = folder + "/packed", .model_path = folder + "/model"};
  };
  auto read = [&](const std::string& folder) {
    std::vector<uint8_t> out(bytes.size());
    bool found = weights::read_packed_image(place(folder), key, pool, out);
    EXPECT_TRUE(out == (found ? bytes : std::vector<uint8_t>(bytes.size()))) << "found " << found;
    return found;
  };
  for (bool writes : {true, false}) {
    run_all({.prepare =
                 [&](const std::string& folder) {
                   if (writes) return;
                   ASSERT_TRUE(weights::write_packed_image(place(folder), key, bytes).ok());
                 },
             .act =
                 [&](const std::string& folder) {
                   if (!writes) {
                     read(folder);
                     return;
                   }
                   Result<void> done = weights::write_packed_image(place(folder), key, bytes);
                   if (!done.ok()) expect_named(done.error(), folder);
                 },
             .check =
                 [&](const std::string& folder) {
                   read(folder);
                   ASSERT_TRUE(weights::write_packed_image(place(folder), key, bytes).ok());
                   EXPECT_TRUE(read(folder));
                   EXPECT_EQ(names_in(folder + "/packed").size(), 1u);
                 }},
            kAll);
  }
}

// --- the event log

constexpr uint64_t kSteps = 12;

flow::GenerateRequest recorded_request(uint64_t step) {
  flow::GenerateRequest request;
  request.id = static_cast<flow::RequestId>(step);
  for (TokenId i = 0; i < 40; ++i) request.prompt.push_back(i * static_cast<TokenId>(step));
  return request;
}

TEST(IoFaults, AnEventLogHoldsWholeStepsUpToItsEnd) {
  auto path = [](const std::string& folder) { return folder + "/events"; };
  run_all({.act =
               [&](const std::string& folder) {
                 auto log = engine::EventLog::create(path(folder), 1 << 20);
                 if (!log.ok()) return expect_named(log.error(), folder);
                 engine::EngineOptions options;
                 (*log)->begin(options);
                 for (uint64_t step = 1; step <= kSteps; ++step) {
                   (*log)->begin_step(static_cast<Tick>(step));
                   engine::Message message{.kind = engine::MessageKind::kSubmit};
                   message.request = recorded_request(step);
                   (*log)->add_message(message);
                   (*log)->end_step(true);
                 }
               },
           .check =
               [&](const std::string& folder) {
                 Result<std::string> text = read_file(path(folder), 1 << 20);
                 if (!text.ok()) return;
                 auto reader = engine::EventReader::open(as_bytes(*text));
                 if (!reader.ok()) return;  // it ends in its head, and says so
                 uint64_t n_steps = 0;
                 while (true) {
                   auto step = reader->next();
                   ASSERT_TRUE(step.ok()) << step.error().message;
                   if (!*step) break;
                   ++n_steps;
                   ASSERT_EQ((*step)->messages.size(), 1u);
                   EXPECT_EQ((*step)->now, static_cast<Tick>(n_steps));
                   EXPECT_TRUE((*step)->messages[0].request->prompt == recorded_request(n_steps).prompt);
                 }
                 EXPECT_LE(n_steps, kSteps);
               }},
          kWithoutSums);
}

// --- saved logits, and the model store

TEST(IoFaults, SavedLogitsAreWholeOrRefused) {
  const std::vector<TokenId> tokens = {1, 2, 3, 4};
  std::vector<float> rows(3 * 700);
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = -static_cast<float>(i);
  bool said_ok = false;
  run_all({.act =
               [&](const std::string& folder) {
                 said_ok = false;
                 auto out = app::LogitsWriter::create(folder + "/logits", {.n_vocab = 700, .n_ctx = 4, .n_windows = 2});
                 if (!out.ok()) return expect_named(out.error(), folder);
                 for (int window = 0; window < 2; ++window) {
                   Result<void> done = out->window(tokens, rows);
                   if (!done.ok()) return expect_named(done.error(), folder);
                 }
                 Result<void> closed = out->close();
                 said_ok = closed.ok();
                 if (!closed.ok()) expect_named(closed.error(), folder);
               },
           .check =
               [&](const std::string& folder) {
                 auto in = app::LogitsReader::open(folder + "/logits");
                 if (!in.ok()) return;
                 std::vector<float> row(700);
                 for (uint32_t window = 0; window < 2; ++window) {
                   EXPECT_EQ(in->tokens(window), tokens);
                   in->row(window, 2, row);
                   EXPECT_EQ(row.back(), rows.back());
                 }
               }},
          std::vector<IoFault>{IoFault::kEio, IoFault::kFull, IoFault::kReadOnly, IoFault::kEintr, IoFault::kShort,
                               IoFault::kCut});
}

// --- every bit of what has a checksum

TEST(IoFaults, AHundredThousandFlippedBitsAreAllSeen) {
  testing::TempDir dir;
  Blocks blocks(dir.path());
  runtime::RecordLayout layout{.layout = {7}, .block_tokens = 4, .block_bytes = Blocks::kBytes};
  std::vector<uint8_t> record = runtime::begin_record(layout, Blocks::entry(1));
  std::vector<uint8_t> bytes = Blocks::bytes(1);
  std::ranges::copy(bytes, record.end() - static_cast<std::ptrdiff_t>(bytes.size()));
  runtime::seal_record(record);
  ASSERT_TRUE(runtime::check_record(record, layout, Blocks::entry(1)).ok());
  std::string session_path = dir.path() + "/talk";
  ASSERT_TRUE(instance::write_session(session_path, session_layout(), talk(3)).ok());
  std::mt19937 random(17);
  auto is_whole = [&] { return runtime::check_record(record, layout, Blocks::entry(1)).ok(); };
  uint64_t n_missed = 0;
  for (int i = 0; i < 100'000; ++i) {
    size_t bit = random() % (record.size() * 8);
    record[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    n_missed += is_whole();
    record[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
  }
  EXPECT_EQ(n_missed, 0u);
  // runs of bits inverted, the checksum's own among them: two faults cannot cancel out
  for (int i = 0; i < 10'000; ++i) {
    std::vector<uint8_t> was = record;
    size_t at = random() % record.size();
    size_t n = std::min<size_t>(1 + random() % 64, record.size() - at);
    for (size_t j = 0; j < n; ++j) record[at + j] = static_cast<uint8_t>(~record[at + j]);
    n_missed += is_whole();
    record = was;
  }
  EXPECT_EQ(n_missed, 0u);
  EXPECT_TRUE(is_whole());
}

}  // namespace
}  // namespace millrace
