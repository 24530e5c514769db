#include "app/file_faults.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/file.h"

namespace millrace::app {
namespace {

// Maps a file, cuts it, and reads where it was.
void read_a_cut_file() {
  report_file_faults();
  std::string path = "/tmp/millrace_cut_" + std::to_string(::getpid());
  if (!write_file_atomic(path, std::string(1 << 16, 'x')).ok()) return;
  MappedFile file = MappedFile::open(path).value();
  if (::truncate(path.c_str(), 0) != 0) return;
  ::unlink(path.c_str());
  volatile uint8_t seen = file.bytes()[1 << 15];
  static_cast<void>(seen);
}

TEST(FileFaultsTest, ACutFileEndsWithTheExitCodeOfABadFile) {
  EXPECT_EXIT(read_a_cut_file(), ::testing::ExitedWithCode(3), "file changed during load");
}

}  // namespace
}  // namespace millrace::app
