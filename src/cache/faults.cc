// Faults: what is said of an error in the books.
#include "cache/faults.h"

#include "base/macros.h"

namespace millrace::cache {

void Faults::note(const char* what, uint64_t id) {
  CHECK(contain_, "accounting error: {} ({})", what, id);
  LOG(LogLevel::kError, "accounting error: {} ({}); what it touches is given up", what, id);
  ++n_;
}

}  // namespace millrace::cache
