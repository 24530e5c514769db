// OpenRequests: the generations in progress under the ids that clients know them by, so that another request of the
// same client can abort them. An id is a label: several requests may have one.
// Thread: any.
#pragma once

#include <atomic>
#include <cstddef>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "instance/router.h"
#include "server/auth.h"

namespace millrace::server {

// One of them: what its owner looks at whenever its notifier names the key.
struct OpenRequest {
  instance::Notifier* notifier = nullptr;
  instance::SessionKey key = 0;
  uint32_t tenant = 0;  // number of its API key
  std::atomic<bool> aborted{false};
};

class OpenRequests {
 public:
  // Known under `id` as long as it lives; `request` outlives it.
  class Place {
   public:
    Place(OpenRequests& in, std::string id, OpenRequest& request);
    ~Place();
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

   private:
    OpenRequests& in_;
    std::string id_;
    const OpenRequest* request_;
  };

  // Aborts what has this id: of the same key, or of anybody with an admin key. Returns how many.
  size_t abort(std::string_view id, const Principal& who);
  size_t abort_all();  // for an admin

 private:
  using ById = std::unordered_multimap<std::string, OpenRequest*>;
  // Those of the range that `who` may abort; returns how many. The lock is given back before their owners are told.
  size_t abort_range(std::unique_lock<std::mutex> lock, ById::iterator begin, ById::iterator end, const Principal& who);

  std::mutex mutex_;
  ById by_id_;  // guarded by mutex_
};

}  // namespace millrace::server
