#include "server/descriptors.h"

#include <fmt/core.h>
#include <sys/resource.h>

namespace millrace::server {

uint64_t raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return UINT64_MAX;
  rlimit raised = limit;
  raised.rlim_cur = raised.rlim_max;
  if (limit.rlim_cur < limit.rlim_max && ::setrlimit(RLIMIT_NOFILE, &raised) == 0) return raised.rlim_cur;
  return limit.rlim_cur;
}

Result<int64_t> connection_cap(int64_t wanted, uint64_t n_descriptors) {
  constexpr uint64_t kOthers = 64;  // model files, event loops, and a refusal's own socket
  if (n_descriptors < 2 * kOthers) {
    return Error{ErrorCode::kResource,
                 fmt::format("{} files may be open, at least {} are needed: raise it with ulimit -n", n_descriptors,
                             2 * kOthers),
                 ""};
  }
  uint64_t most = n_descriptors - kOthers;
  return static_cast<uint64_t>(wanted) < most ? wanted : static_cast<int64_t>(most);
}

}  // namespace millrace::server
