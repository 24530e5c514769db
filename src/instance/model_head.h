// What the head of a model's files says of it. Thread: any.
#pragma once

#include "instance/instance.h"
#include "weights/model_file.h"

namespace millrace::instance {

ModelHead head_of(const weights::ModelFile& file);

}  // namespace millrace::instance
