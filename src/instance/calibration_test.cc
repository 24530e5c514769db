// Calibration files: what is written is read back, anything else is refused by name.
#include "instance/calibration.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/support/temp_dir.h"

namespace millrace::instance {
namespace {

TEST(Calibration, IsReadBackAsWritten) {
  testing::TempDir dir;
  sched::CostModel cost(16, {.c = {1.5e6, 2e5, 3.25e5, 1.125, 0.0}, .n_seen = 250},
                        {.c = {1e6, 1e5, 2e5, 1, 2}, .n_seen = 9});
  std::string path = calibration_path(dir.path(), "fp_0123456789", "avx2", 2);
  EXPECT_EQ(path, dir.path() + "/calibration/fp_0123456789-avx2-t2.json");
  ASSERT_TRUE(write_calibration(path, cost).ok());
  Result<sched::CostModel> read = read_calibration(path);
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(read->small().c, cost.small().c);
  EXPECT_EQ(read->large().c, cost.large().c);
  EXPECT_EQ(read->small().n_seen, 250.0);
  EXPECT_EQ(read->split_rows(), 16u);
}

TEST(Calibration, ADamagedFileIsRefused) {
  testing::TempDir dir;
  std::string path = dir.path() + "/c.json";
  for (std::string_view text : {"", "{", "[]", "{\"version\":2}", "{\"version\":1}",
                                "{\"version\":1,\"split_rows\":-1}", "{\"version\":1,\"split_rows\":16,\"small\":{}}",
                                "{\"version\":1,\"split_rows\":16,\"small\":{\"steps\":-1}}"}) {
    ASSERT_TRUE(write_file_atomic(path, text).ok());
    EXPECT_FALSE(read_calibration(path).ok()) << text;
  }
  EXPECT_FALSE(read_calibration(dir.path() + "/none.json").ok());
}

}  // namespace
}  // namespace millrace::instance
