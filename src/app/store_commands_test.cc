// The commands of the model store.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "app/commands.h"
#include "app/model_flags.h"
#include "tests/support/temp_dir.h"
#include "weights/packed_image.h"

namespace millrace::app {
namespace {

namespace fs = std::filesystem;

TEST(StoreCommands, RmTakesThePackedImageToo) {
  testing::TempDir store;
  ASSERT_EQ(setenv("MILLRACE_HOME", store.path().c_str(), 1), 0);
  fs::create_directories(store.path() + "/models");
  fs::create_directories(packed_folder());
  std::string model = store.path() + "/models/mine.gguf";
  std::string image = weights::ImagePlace{.folder = packed_folder(), .model_path = model}.path();
  std::string other = weights::ImagePlace{.folder = packed_folder(), .model_path = model + "x"}.path();
  for (const std::string& path : {model, image, other}) std::ofstream(path) << "x";
  EXPECT_FALSE(rm_command(std::vector<std::string>{"yours"}).ok());
  EXPECT_TRUE(fs::exists(model));
  ASSERT_TRUE(rm_command(std::vector<std::string>{"mine"}).ok());
  EXPECT_FALSE(fs::exists(model));
  EXPECT_FALSE(fs::exists(image));
  EXPECT_TRUE(fs::exists(other));
  ASSERT_EQ(unsetenv("MILLRACE_HOME"), 0);
}

}  // namespace
}  // namespace millrace::app
