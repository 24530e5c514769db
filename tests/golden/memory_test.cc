// Memory of the bundled models: packed weights against the file, scratch of the default step, and that after loading no
// second copy of the weights stays resident. Residency is read from /proc/self/smaps.
// Thread: one test thread plus the pool.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <string>
#include <string_view>

#include "kernels/cpu/detect.h"
#include "kernels/pick.h"
#include "models/model.h"
#include "runtime/step_runner.h"
#include "tests/support/tiny_checkpoint.h"
#include "weights/model_file.h"

namespace millrace {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

// Resident bytes of all mappings of a file.
int64_t resident_bytes(const std::string& file_name) {
  std::string text = testing::read_whole("/proc/self/smaps");
  int64_t total = 0;
  bool inside = false;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line(text.data() + at, end - at);
    bool is_field = line.substr(0, line.find(' ')).ends_with(':');
    if (!is_field) inside = line.ends_with(file_name);
    if (inside && line.starts_with("Rss:")) {
      int64_t kib = 0;
      size_t digits = line.find_first_of("0123456789");
      std::from_chars(line.data() + digits, line.data() + line.size(), kib);
      total += kib * 1024;
    }
    at = end + 1;
  }
  return total;
}

class ModelMemory : public ::testing::TestWithParam<const char*> {};

TEST_P(ModelMemory, WeightsAreResidentOnceAndScratchIsBounded) {
  std::string path = fmt::format(MILLRACE_SOURCE_DIR "/models/{}", GetParam());
  Result<weights::ModelFile> file = weights::ModelFile::open(path);
  ASSERT_TRUE(file.ok()) << file.error().message;
  const kernels::KernelTable& table = **kernels::pick_kernels(kernels::detect_cpu(), "");
  device::ThreadPool pool(2, false);
  std::unique_ptr<models::Model> model = models::load_model(*file, {table, pool}).value();
  auto file_bytes = static_cast<int64_t>(std::filesystem::file_size(path));
  EXPECT_LE(model->weight_bytes() * 4, file_bytes * 5);
  // what stays are names and the vocabulary: 2.6 and 5.3 MB
  EXPECT_LE(resident_bytes(GetParam()), 8 * kMiB) << "pages of the file stay resident beside the panels";
  models::StepLimits limits{.max_rows = 512, .max_len = 8192, .max_logit_rows = 64, .n_threads = 2};
  EXPECT_LE(runtime::StepRunner::scratch_bytes(*model, limits), static_cast<uint64_t>(150 * kMiB));
}

INSTANTIATE_TEST_SUITE_P(Files, ModelMemory,
                         ::testing::Values("SmolLM2-135M-Instruct.Q4_1.gguf", "gemma-3-270m-q4_k_m.gguf"),
                         [](const auto& info) { return std::string(info.index == 0 ? "smollm2" : "gemma3"); });

}  // namespace
}  // namespace millrace
