// Fuzz target: any bytes as a GGUF file, down to a checked model and its first rows. Run with a seed folder of tiny
// valid files (tests/support/tiny_model.h) for depth.
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "tensor/formats.h"
#include "weights/check_tensors.h"
#include "weights/gguf.h"
#include "weights/model_file.h"

using millrace::Result;
using millrace::weights::GgufFile;
using millrace::weights::GgufType;
using millrace::weights::ModelFile;

namespace {

void read_values(const GgufFile& file) {
  for (const auto& value : file.values()) {
    static_cast<void>(file.get_int(value.key, {0, 1000}).ok());
    static_cast<void>(file.get_float(value.key, {0.0, 1.0}).ok());
    static_cast<void>(file.get_bool(value.key).ok());
    static_cast<void>(file.get_string(value.key).ok());
    static_cast<void>(file.get_strings(value.key).ok());
    static_cast<void>(file.get_floats(value.key).ok());
    static_cast<void>(file.get_ints(value.key).ok());
  }
}

void read_tensors(const GgufFile& file) {
  for (std::string_view name : file.names()) {
    auto view = file.tensor(name).value();
    std::vector<float> row(static_cast<size_t>(view.cols()));
    millrace::tensor::decode_row(row.data(), view, view.rows() - 1);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Result<GgufFile> file = GgufFile::parse({data, size}, "fuzz.gguf");
  if (!file.ok()) return 0;
  read_values(*file);
  read_tensors(*file);
  static_cast<void>(millrace::weights::check_tensors(*file, "fuzz.gguf").ok());
  static_cast<void>(ModelFile::from_gguf(std::move(file).value()).ok());
  return 0;
}
