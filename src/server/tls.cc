#include "server/tls.h"

#include <fmt/core.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <climits>
#include <utility>

#include "base/macros.h"

namespace millrace::server {
namespace {

constexpr size_t kPiece = 16 * 1024;  // plain text of one record (RFC 8446, section 5.1)

// The reason that OpenSSL gives for the last failure, and none left behind.
std::string reason() {
  const char* text = ERR_reason_error_string(ERR_peek_last_error());
  std::string out = text == nullptr ? "cannot be read" : text;
  ERR_clear_error();
  return out;
}

Error bad_file(std::string_view flag, const std::string& path) {
  return Error{ErrorCode::kUsage, fmt::format("{} {}: {}", flag, quote_for_message(path), reason()), std::string(flag)};
}

// Only HTTP/1.1 is spoken; a client that offers other protocols too goes on without one being agreed on.
int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* offered,
                    unsigned int size, void*) {
  constexpr std::string_view kHttp = "http/1.1";
  for (unsigned int at = 0; at < size && at + 1 + offered[at] <= size; at += 1u + offered[at]) {
    const char* name = static_cast<const char*>(static_cast<const void*>(offered + at + 1));
    if (std::string_view(name, offered[at]) != kHttp) continue;
    *out = offered + at + 1;
    *out_size = offered[at];
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_NOACK;
}

}  // namespace

struct TlsContext::Native {
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  Native() = default;
  ~Native() { SSL_CTX_free(context); }
  Native(const Native&) = delete;
  Native& operator=(const Native&) = delete;
};

struct TlsSession::Native {
  SSL* session = nullptr;
  BIO* in = nullptr;   // owned by the session
  BIO* out = nullptr;  // owned by the session
  Native() = default;
  ~Native() { SSL_free(session); }
  Native(const Native&) = delete;
  Native& operator=(const Native&) = delete;
};

TlsContext::TlsContext(std::unique_ptr<Native> native) : native_(std::move(native)) {}
TlsContext::~TlsContext() = default;

Result<std::shared_ptr<TlsContext>> TlsContext::load(const TlsOptions& options) {
  auto native = std::make_unique<Native>();
  SSL_CTX* context = native->context;
  if (context == nullptr) return Error{ErrorCode::kResource, "TLS cannot be started: " + reason(), ""};
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_alpn_select_cb(context, choose_protocol, nullptr);
  if (SSL_CTX_use_certificate_chain_file(context, options.certfile.c_str()) != 1) {
    return bad_file("--ssl-certfile", options.certfile);
  }
  const std::string& key = options.keyfile.empty() ? options.certfile : options.keyfile;
  if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1) return bad_file("--ssl-keyfile", key);
  if (SSL_CTX_check_private_key(context) != 1) return bad_file("--ssl-keyfile", key);
  if (!options.ca_certs.empty() && SSL_CTX_load_verify_locations(context, options.ca_certs.c_str(), nullptr) != 1) {
    return bad_file("--ssl-ca-certs", options.ca_certs);
  }
  if (options.cert_reqs > 0 && options.ca_certs.empty()) {
    return Error{ErrorCode::kUsage, "--ssl-cert-reqs needs --ssl-ca-certs", "--ssl-cert-reqs"};
  }
  int verify = options.cert_reqs == 0 ? SSL_VERIFY_NONE : SSL_VERIFY_PEER;
  if (options.cert_reqs == 2) verify |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  SSL_CTX_set_verify(context, verify, nullptr);
  constexpr std::string_view kName = "millrace";  // sessions of clients with certificates are resumed under a name
  const auto* name = static_cast<const unsigned char*>(static_cast<const void*>(kName.data()));
  SSL_CTX_set_session_id_context(context, name, kName.size());
  return std::shared_ptr<TlsContext>(new TlsContext(std::move(native)));
}

std::unique_ptr<TlsSession> TlsContext::accept() const {
  auto native = std::make_unique<TlsSession::Native>();
  native->session = SSL_new(native_->context);
  native->in = BIO_new(BIO_s_mem());
  native->out = BIO_new(BIO_s_mem());
  CHECK(native->session != nullptr && native->in != nullptr && native->out != nullptr);
  SSL_set_bio(native->session, native->in, native->out);
  SSL_set_accept_state(native->session);
  return std::unique_ptr<TlsSession>(new TlsSession(std::move(native)));
}

TlsSession::TlsSession(std::unique_ptr<Native> native) : native_(std::move(native)) {}
TlsSession::~TlsSession() = default;

void TlsSession::take_wire(std::string& wire) {
  std::array<char, kPiece> piece;
  for (int n = 0; (n = BIO_read(native_->out, piece.data(), static_cast<int>(piece.size()))) > 0;) {
    wire.append(piece.data(), static_cast<size_t>(n));
  }
}

bool TlsSession::receive(std::string_view bytes, std::string& plain, std::string& wire) {
  CHECK(bytes.size() <= INT_MAX);
  ERR_clear_error();
  BIO_write(native_->in, bytes.data(), static_cast<int>(bytes.size()));
  std::array<char, kPiece> piece;
  int n = 0;
  while ((n = SSL_read(native_->session, piece.data(), static_cast<int>(piece.size()))) > 0) {
    plain.append(piece.data(), static_cast<size_t>(n));
  }
  bool over = SSL_get_error(native_->session, n) != SSL_ERROR_WANT_READ;
  ERR_clear_error();
  take_wire(wire);
  return !over;
}

void TlsSession::seal(std::string_view plain, std::string& wire) {
  ERR_clear_error();
  while (!plain.empty() && SSL_is_init_finished(native_->session) == 1) {
    int n = SSL_write(native_->session, plain.data(), static_cast<int>(std::min(plain.size(), kPiece)));
    if (n <= 0) break;
    plain.remove_prefix(static_cast<size_t>(n));
    take_wire(wire);
  }
  ERR_clear_error();
}

void TlsSession::close(std::string& wire) {
  ERR_clear_error();
  if (SSL_is_init_finished(native_->session) == 1) SSL_shutdown(native_->session);
  ERR_clear_error();
  take_wire(wire);
}

}  // namespace millrace::server
