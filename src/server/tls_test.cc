// HTTPS end to end: a client of OpenSSL's own against the server with a certificate made here; what is no TLS, half a
// handshake and a new certificate.
#include "server/tls.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cstdio>
#include <memory>

#include "tests/support/server_fixture.h"
#include "tests/support/temp_dir.h"

namespace millrace::server {
namespace {

using testing::HttpClient;
using testing::TestServer;

// A self-signed certificate and its key as cert.pem and key.pem in the folder.
TlsOptions make_certificate(const testing::TempDir& folder, const char* name) {
  TlsOptions out{.certfile = folder.path() + "/cert.pem", .keyfile = folder.path() + "/key.pem", .ca_certs = {}};
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* cert = X509_new();
  X509_set_version(cert, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
  X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
  X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
  X509_set_pubkey(cert, key);
  X509_NAME* subject = X509_get_subject_name(cert);
  const auto* bytes = static_cast<const unsigned char*>(static_cast<const void*>(name));
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, bytes, -1, -1, 0);
  X509_set_issuer_name(cert, subject);
  X509_sign(cert, key, EVP_sha256());
  std::FILE* file = std::fopen(out.certfile.c_str(), "w");
  PEM_write_X509(file, cert);
  std::fclose(file);
  file = std::fopen(out.keyfile.c_str(), "w");
  PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(file);
  X509_free(cert);
  EVP_PKEY_free(key);
  return out;
}

int connect_to(uint16_t port) {
  int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(::connect(fd, static_cast<sockaddr*>(static_cast<void*>(&address)), sizeof(address)) == 0);
  timeval patience{10, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  return fd;
}

class TlsClient {
 public:
  explicit TlsClient(uint16_t port) : context_(SSL_CTX_new(TLS_client_method())), ssl_(SSL_new(context_)) {
    fd_ = connect_to(port);
    SSL_set_fd(ssl_, fd_);
    connected_ = SSL_connect(ssl_) == 1;
  }
  ~TlsClient() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
    ::close(fd_);
  }
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;
  bool connected() const { return connected_; }
  std::string peer() const {
    X509* cert = SSL_get1_peer_certificate(ssl_);
    char name[128] = {};
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, name, sizeof(name));
    X509_free(cert);
    return name;
  }
  // All until the server closes.
  std::string ask(std::string_view bytes) {
    SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size()));
    std::string out;
    char piece[4096];
    for (int n = 0; (n = SSL_read(ssl_, piece, sizeof(piece))) > 0;) out.append(piece, static_cast<size_t>(n));
    orderly_ = SSL_get_error(ssl_, 0) == SSL_ERROR_ZERO_RETURN;
    return out;
  }
  bool orderly() const { return orderly_; }  // the end of ask() came as close_notify

 private:
  SSL_CTX* context_;
  SSL* ssl_;
  int fd_ = -1;
  bool connected_ = false;
  bool orderly_ = false;
};

constexpr std::string_view kGet = "GET /v1/models HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";

ServerOptions with_tls(const testing::TempDir& folder) {
  ServerOptions options;
  options.tls = make_certificate(folder, "first");
  return options;
}

TEST(Tls, AnswersOverTls) {
  testing::TempDir folder;
  TestServer server(with_tls(folder));
  EXPECT_TRUE(server.server().url().starts_with("https://"));
  TlsClient client(server.port());
  ASSERT_TRUE(client.connected());
  EXPECT_EQ(client.peer(), "first");
  std::string reply = client.ask(kGet);
  EXPECT_TRUE(reply.starts_with("HTTP/1.1 200")) << reply.substr(0, 100);
  EXPECT_NE(reply.find("\"object\":\"list\""), std::string::npos);
  EXPECT_TRUE(client.orderly());
}

TEST(Tls, StreamsOverTls) {
  testing::TempDir folder;
  TestServer server(with_tls(folder));
  TlsClient client(server.port());
  ASSERT_TRUE(client.connected());
  std::string body = R"({"prompt":"hello there","max_tokens":5,"stream":true})";
  std::string reply = client.ask(HttpClient::post_bytes("/v1/completions", body, "Connection: close\r\n"));
  EXPECT_NE(reply.find("text/event-stream"), std::string::npos);
  EXPECT_NE(reply.find("data: [DONE]"), std::string::npos) << reply;
}

TEST(Tls, WhatIsNoTlsGetsNoAnswerOfHttp) {
  testing::TempDir folder;
  TestServer server(with_tls(folder));
  HttpClient plain(server.port());
  plain.send(kGet);
  EXPECT_TRUE(plain.wait_closed());
  EXPECT_EQ(plain.buffer().find("HTTP/1.1"), std::string::npos);
  TlsClient next(server.port());  // and the server goes on
  EXPECT_TRUE(next.connected());
}

TEST(Tls, AHandshakeThatStopsIsGivenUp) {
  testing::TempDir folder;
  ServerOptions options = with_tls(folder);
  ASSERT_TRUE(options.limits.set(LimitId::kHeaderSeconds, 1).ok());
  TestServer server(std::move(options));
  HttpClient half(server.port());
  half.send(std::string_view("\x16\x03\x01\x02\x00\x01", 6));  // the head of a ClientHello
  EXPECT_TRUE(half.wait_closed(30'000));
  EXPECT_TRUE(testing::eventually([&] { return server.context().n_connections.load() == 0; }));
}

TEST(Tls, ANewCertificateIsTakenByAReload) {
  testing::TempDir folder;
  ServerOptions options = with_tls(folder);
  TestServer server(options);
  TlsClient before(server.port());
  ASSERT_TRUE(before.connected());
  options.tls = make_certificate(folder, "second");
  ASSERT_TRUE(server.context().reload(options).ok());
  TlsClient after(server.port());
  ASSERT_TRUE(after.connected());
  EXPECT_EQ(after.peer(), "second");
  EXPECT_TRUE(before.ask(kGet).starts_with("HTTP/1.1 200"));  // open connections go on
  options.tls.keyfile = options.tls.certfile;
  EXPECT_EQ(server.context().reload(options).error().param, "--ssl-keyfile");
  TlsClient still(server.port());
  EXPECT_EQ(still.peer(), "second");
}

TEST(Tls, BadFilesAreNamed) {
  testing::TempDir folder;
  TlsOptions good = make_certificate(folder, "x");
  TlsOptions bad = good;
  bad.certfile = folder.path() + "/none.pem";
  EXPECT_EQ(TlsContext::load(bad).error().param, "--ssl-certfile");
  bad = good;
  bad.keyfile = good.certfile;
  EXPECT_EQ(TlsContext::load(bad).error().param, "--ssl-keyfile");
  bad = good;
  bad.ca_certs = folder.path() + "/none.pem";
  EXPECT_EQ(TlsContext::load(bad).error().param, "--ssl-ca-certs");
  bad = good;
  bad.cert_reqs = 2;
  EXPECT_EQ(TlsContext::load(bad).error().param, "--ssl-cert-reqs");
}

TEST(Tls, ClientsNeedACertificateWhenToldSo) {
  testing::TempDir folder;
  ServerOptions options = with_tls(folder);
  options.tls.ca_certs = options.tls.certfile;
  options.tls.cert_reqs = 2;
  TestServer server(std::move(options));
  TlsClient nobody(server.port());
  EXPECT_EQ(nobody.ask(kGet), "");
}

}  // namespace
}  // namespace millrace::server
