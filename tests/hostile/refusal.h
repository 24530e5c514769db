// What every refused file must satisfy: an Error (never a crash), one printable line that starts with the path and
// holds the expected text, in 200 ms of CPU, with memory bounded by the bytes present (rules R01, R02, R03).
// Thread: one.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/result.h"
#include "weights/model_file.h"

// Present in builds with the address sanitizer only.
extern "C" void __asan_init() __attribute__((weak));

namespace millrace::testing {

// A field of /proc/self/status in bytes; 0 where there is none.
inline uint64_t status_bytes(const std::string& field) {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word) {
    if (word != field + ":") continue;
    uint64_t kib = 0;
    status >> kib;
    return kib * 1024;
  }
  return 0;
}

inline void reset_peak_memory() { std::ofstream("/proc/self/clear_refs") << "5"; }

inline double cpu_ms() { return 1000.0 * static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// Sanitizer builds check correctness, not speed.
inline double time_limit_ms() { return __asan_init == nullptr ? 200.0 : 10'000.0; }

inline void expect_refused(const std::string& path, const std::string& id, const std::string& want) {
  SCOPED_TRACE(id);
  std::error_code none;
  uint64_t file_bytes = std::filesystem::is_regular_file(path, none) ? std::filesystem::file_size(path, none) : 0;
  reset_peak_memory();
  uint64_t before = status_bytes("VmRSS");
  double start_ms = cpu_ms();
  Result<weights::ModelFile> opened = weights::ModelFile::open(path);
  uint64_t peak = status_bytes("VmHWM");
  ASSERT_FALSE(opened.ok()) << id << " was accepted";
  const Error& error = opened.error();
  EXPECT_THAT(error.message, ::testing::HasSubstr(want));
  EXPECT_THAT(error.message, ::testing::StartsWith(path.substr(0, path.rfind('/'))));
  EXPECT_TRUE(error.code == ErrorCode::kBadFile || error.code == ErrorCode::kNotFound);
  EXPECT_LE(error.message.size(), 1024u);
  for (char c : error.message) EXPECT_TRUE(static_cast<uint8_t>(c) >= 0x20) << error.message;
  constexpr uint64_t kAllowance = uint64_t{64} << 20;
  if (peak > before) {
    EXPECT_LE(peak - before, kAllowance + 2 * file_bytes);
  }
  EXPECT_LE(cpu_ms() - start_ms, time_limit_ms());
}

}  // namespace millrace::testing
