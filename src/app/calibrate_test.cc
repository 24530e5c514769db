// bench calibrate from end to end, on the real model: the file that it writes is what the next start
// of the engine knows, and what the simulator reads.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "app/commands.h"
#include "app/model_flags.h"
#include "base/file.h"
#include "instance/calibration.h"
#include "tests/support/temp_dir.h"

namespace millrace::app {
namespace {

constexpr const char* kModel = MILLRACE_SOURCE_DIR "/models/SmolLM2-135M-Instruct.Q4_1.gguf";

TEST(Calibrate, TheEngineAndTheSimulatorReadWhatItWrites) {
  ASSERT_TRUE(std::filesystem::exists(kModel)) << kModel << ": tools/setup/fetch_models.py fetches it";
  testing::TempDir store;
  ASSERT_EQ(setenv("MILLRACE_HOME", store.path().c_str(), 1), 0);
  auto done = bench_calibrate_command(std::vector<std::string>{kModel, "--seconds", "1", "--no-warmup"});
  ASSERT_TRUE(done.ok()) << done.error().message;

  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(store.path() + "/calibration"))
    files.push_back(entry.path());
  ASSERT_EQ(files.size(), 1u);
  auto cost = instance::read_calibration(files[0]);
  ASSERT_TRUE(cost.ok()) << cost.error().message;
  EXPECT_TRUE(cost->known());
  sched::StepShape step{.n_prefill = 64, .n_decode = 4, .ctx_decode = 400, .ctx_prefill = 64 * 32};
  EXPECT_GT(cost->predict(step), 0);

  ModelFlags flags;
  flags.model = kModel;
  flags.warmup = false;
  auto model = load_instance(flags);
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ((*model)->engine().cost_model().predict(step), cost->predict(step));

  std::vector<std::string> args = {"--cost-model", files[0], "-n", "20", "--json"};
  auto simulated = simulate_command(args);
  ASSERT_TRUE(simulated.ok()) << simulated.error().message;
  EXPECT_EQ(*simulated, 0);
  ASSERT_TRUE(write_file_atomic(files[0], R"({"version": 1, "split_rows": -1})").ok());
  EXPECT_EQ(simulate_command(args).error().code, ErrorCode::kBadFile);
  unsetenv("MILLRACE_HOME");
}

}  // namespace
}  // namespace millrace::app
