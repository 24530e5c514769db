#include "instance/model_head.h"

#include <algorithm>
#include <map>
#include <string>
#include <string_view>

#include "base/macros.h"
#include "instance/model_text.h"
#include "store/model_store.h"
#include "tensor/formats.h"

namespace millrace::instance {
namespace {

std::string main_format(const weights::TensorSource& source) {
  std::map<std::string_view, uint64_t> bytes;
  for (std::string_view name : source.names()) {
    auto view = source.tensor(name);
    if (view.ok()) bytes[tensor::format_info(view->format).name] += view->bytes;
  }
  auto most =
      std::max_element(bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == bytes.end() ? "" : std::string(most->first);
}

int64_t count_params(const weights::TensorSource& source) {
  int64_t n = 0;
  for (std::string_view name : source.names()) {
    auto view = source.tensor(name);
    if (view.ok()) n += view->rows() * view->cols();
  }
  return n;
}

}  // namespace

ModelHead head_of(const weights::ModelFile& file) {
  const weights::ModelDesc& desc = file.desc();
  return {.architecture = std::string(weights::architecture_name(desc.architecture)),
          .weight_format = main_format(file.source()),
          .chat_template = chat_template_source(file).value_or(""),
          .n_params = count_params(file.source()),
          .n_ctx_train = desc.max_len,
          .d_model = desc.d_model,
          .generates = !desc.is_encoder()};
}

Result<ModelHead> Instance::read_head(const InstanceOptions& options) {
  store::HubSettings here = options.hub;
  here.offline = "describing a model";
  store::ModelStore store(store::ModelStore::default_root(), here);
  auto fetch_nothing = [](std::string_view, double) { return false; };
  auto path = store.resolve({.reference = options.model, .hub_file = options.hub_file}, fetch_nothing);
  if (!path.ok() && path.error().code == ErrorCode::kCancelled) {
    return Error{ErrorCode::kModelNotFound, "the model's files are not here yet", "model"};
  }
  if (!path.ok()) return path.take_error();
  weights::ModelFile file = TRY(weights::ModelFile::open(*path));
  return head_of(file);
}

}  // namespace millrace::instance
