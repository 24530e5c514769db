// Flags of serve that constrain the answers of requests which bring no constraint of their own, and how constraints are
// read. Thread: any.
#pragma once

#include <string>

#include "app/flags.h"
#include "base/limits.h"
#include "flow/constraint.h"

namespace millrace::app {

struct ConstraintFlags {
  std::string grammar;
  std::string grammar_file;
  std::string json_schema;
  std::string json_schema_file;
  std::string structured_outputs;  // vLLM's JSON
};

void add_constraint_flags(FlagSet& set, ConstraintFlags& f);

// kind kNone: requests without a constraint have none. kUsage for one that cannot be read.
Result<flow::ConstraintSpec> default_constraint(const ConstraintFlags& f, const Limits& limits);

}  // namespace millrace::app
