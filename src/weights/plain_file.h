// Files of a model folder: only names inside the folder itself are ever opened.
// Thread: any.
#pragma once

#include <string>

#include "base/result.h"

namespace millrace::weights {

// folder + "/" + name when name is a plain file name and, if it is a link, its target lies in the folder or in the
// blob store of a hub cache around it (<cache>/snapshots/<revision> -> <cache>/blobs). Else kBadFile. The file need not
// exist.
Result<std::string> plain_file(const std::string& folder, const std::string& name);

}  // namespace millrace::weights
