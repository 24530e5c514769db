// What the flags of `millrace serve` ask for (serve.cc).
#pragma once

#include <optional>
#include <span>
#include <string>

#include "app/models_flags.h"
#include "base/log_event.h"
#include "base/result.h"
#include "base/sandbox.h"
#include "instance/instance.h"
#include "server/server_options.h"

namespace millrace::app {

struct ServePlan {
  server::ServerOptions server;
  instance::InstanceOptions model;
  Sandbox sandbox = Sandbox::kAuto;
  LogFormat log_format = LogFormat::kText;
  std::optional<ModelsPlan> several;  // models that share `model`; none: one model
};

// kUsage: flags, values, key and template files that serve would refuse before it starts. Nothing: --help was printed.
// access_log: whether requests are logged when no flag says so.
Result<std::optional<ServePlan>> plan_serve(std::span<const std::string> args, bool access_log = true);

// Flags, environment and --config file once more, as they are now; key files are read, those of constraint, template
// and model are not: a server that runs does not take them again.
Result<server::ServerOptions> options_for_reload(std::span<const std::string> args);

}  // namespace millrace::app
