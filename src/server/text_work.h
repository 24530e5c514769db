// Work on a large body or a large reply, done by a text worker while the connection waits for it, so that the IO thread
// goes on with everyone else's events.
//  1. The connection waits until the work has ended or will never begin: it may refer to the caller's frame.
//  2. When the client leaves, or the server stops, before the work began, the work is not done: kCancelled, and nobody
//     is there to answer.
// Thread: IO.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <functional>

#include "base/result.h"

namespace millrace::instance {
class Instance;
}

namespace millrace::server {

class Connection;

// Bodies below this are parsed on the IO thread: at most some tenths of a millisecond.
constexpr size_t kInlineBodyBytes = 16 * 1024;

// n_bytes: what the work holds and how large it is. kQueueFull when it was not taken, kCancelled when the client left.
boost::asio::awaitable<Result<void>> run_on_text_worker(Connection& connection, instance::Instance& instance,
                                                        size_t n_bytes, std::function<void()> work);

}  // namespace millrace::server
