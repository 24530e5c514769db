#include "server/listener.h"

#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <cstring>
#include <utility>

#include "base/macros.h"

namespace millrace::server {
namespace asio = boost::asio;
using asio::ip::tcp;
using Local = asio::local::stream_protocol;
using Generic = asio::generic::stream_protocol;
namespace {

constexpr int kBacklog = 1024;
constexpr size_t kMaxPath = 107;  // sun_path of sockaddr_un, with its end

Error cannot_bind(const std::string& where, std::string_view why, const char* flag) {
  return {ErrorCode::kResource, fmt::format("cannot bind {}: {}", where, why), flag};
}

Error cannot_use(const std::string& path, std::string_view why) { return cannot_bind("unix:" + path, why, "--uds"); }

// Removes what a server that is gone has left at `path`.
Result<void> clear_path(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return {};
  if (!S_ISSOCK(info.st_mode)) return cannot_use(path, "a file that is no socket is there");
  asio::io_context loop;
  Local::socket probe(loop);
  boost::system::error_code error;
  probe.connect(Local::endpoint(path), error);
  if (!error) return cannot_use(path, "another server listens there");
  if (error != asio::error::connection_refused) return cannot_use(path, error.message());
  if (::unlink(path.c_str()) != 0) return cannot_use(path, std::strerror(errno));
  return {};
}

}  // namespace

std::string peer_address(const Generic::endpoint& peer) {
  int family = peer.protocol().family();
  if (family != AF_INET && family != AF_INET6) return {};
  tcp::endpoint ip;
  if (peer.size() > ip.capacity()) return {};
  std::memcpy(ip.data(), peer.data(), peer.size());
  ip.resize(peer.size());
  return ip.address().to_string();
}

Result<Listener> Listener::bind(asio::io_context& loop, const ServerOptions& options) {
  boost::system::error_code error;
  bool local = !options.uds.empty();
  std::string where = fmt::format("{}:{}", options.host, options.port);
  Generic::endpoint endpoint;
  if (local) {
    if (options.uds.size() > kMaxPath) return cannot_use(options.uds, fmt::format("longer than {} bytes", kMaxPath));
    TRY(clear_path(options.uds));
    endpoint = Local::endpoint(options.uds);
  } else {
    auto address = asio::ip::make_address(options.host == "localhost" ? "127.0.0.1" : options.host, error);
    if (error) return cannot_bind(where, error.message(), "--port");
    endpoint = tcp::endpoint(address, options.port);
  }
  Acceptor acceptor(loop);
  acceptor.open(endpoint.protocol(), error);
  if (!error && !local) acceptor.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  // Nobody can connect before listen(), so nobody passes before the mode is set.
  if (!error && local && ::chmod(options.uds.c_str(), S_IRUSR | S_IWUSR) != 0) {
    error.assign(errno, boost::system::system_category());
  }
  if (!error) acceptor.listen(kBacklog, error);
  if (error) return local ? cannot_use(options.uds, error.message()) : cannot_bind(where, error.message(), "--port");
  Listener out(std::move(acceptor));
  if (local) {
    struct stat info {};
    if (::lstat(options.uds.c_str(), &info) == 0) {
      out.path_ = options.uds;
      out.inode_ = info.st_ino;
    }
  } else {
    tcp::endpoint bound;
    Generic::endpoint got = out.acceptor_.local_endpoint();
    std::memcpy(bound.data(), got.data(), got.size());
    out.port_ = bound.port();
  }
  return out;
}

Listener::Listener(Listener&& other) noexcept
    : acceptor_(std::move(other.acceptor_)),
      port_(other.port_),
      path_(std::exchange(other.path_, {})),
      inode_(other.inode_) {}

Listener::~Listener() {
  struct stat info {};
  if (!path_.empty() && ::lstat(path_.c_str(), &info) == 0 && info.st_ino == inode_) ::unlink(path_.c_str());
}

}  // namespace millrace::server
