// Documents fetched from servers that answer well, badly, too much, or not at all.
#include "bridge/app/http_fetcher.h"

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <thread>

#include "tests/support/eventually.h"
#include "tests/support/scripted_service.h"

namespace outrigger::app {
namespace {

using base::Code;
using base::Result;
using tests::ScriptedService;
using namespace std::chrono_literals;

template <auto free_function>
struct FreedBy {
  template <class T>
  void operator()(T* object) const {
    free_function(object);
  }
};
template <class T, auto free_function>
using Ptr = std::unique_ptr<T, FreedBy<free_function>>;
using KeyPtr = Ptr<EVP_PKEY, EVP_PKEY_free>;
using CertificatePtr = Ptr<X509, X509_free>;

// A fetcher that waits for as long as a test needs, not for as long as a product would.
FetchOptions patient() {
  FetchOptions options;
  options.timeout = 60s;
  return options;
}

Result<Fetched> fetch_from(const ScriptedService& service, FetchOptions options = patient()) {
  return HttpFetcher(std::move(options)).fetch(service.url() + "/keys");
}
Code code_of(const Result<Fetched>& result) {
  EXPECT_FALSE(result);
  return result ? Code::not_found : result.error().code;  // which fetch() never gives
}

TEST(HttpFetcher, brings_status_and_body_and_asks_plainly) {
  ScriptedService service;
  service.always_send(tests::make_response("200 OK", {{"Set-Cookie", "a=b; Path=/"}}, R"({"keys":[]})"));
  HttpFetcher fetcher(patient());
  ASSERT_TRUE(fetcher.fetch(service.url() + "/keys?of=us"));

  const auto fetched = fetcher.fetch(service.url() + "/keys?of=us");

  ASSERT_TRUE(fetched) << fetched.error().detail;
  EXPECT_EQ(fetched->status, 200);
  EXPECT_EQ(fetched->body, R"({"keys":[]})");
  EXPECT_FALSE(fetched->max_age);
  const auto asked = service.last_request();
  EXPECT_EQ(asked.method, "GET");
  EXPECT_EQ(asked.target, "/keys?of=us");
  EXPECT_EQ(asked.field("Host"), "127.0.0.1:" + std::to_string(service.port()));
  EXPECT_FALSE(asked.has_field("Cookie"));
  EXPECT_FALSE(asked.has_field("Accept-Encoding"));
  EXPECT_FALSE(asked.has_field("Authorization"));
}

TEST(HttpFetcher, status_other_than_200_is_an_answer_and_redirects_are_not_followed) {
  ScriptedService elsewhere;
  ScriptedService service;
  service.always_send(tests::make_response("404 Not Found", {}, "no"));
  const auto missing = fetch_from(service);
  ASSERT_TRUE(missing);
  EXPECT_EQ(missing->status, 404);

  for (const std::string& to : {elsewhere.url() + "/other", std::string("file:///etc/passwd")}) {
    service.always_send(tests::make_response("302 Found", {{"Location", to}}, "there"));
    const auto moved = fetch_from(service);
    ASSERT_TRUE(moved);
    EXPECT_EQ(moved->status, 302);
    EXPECT_EQ(moved->body, "there");
  }
  EXPECT_EQ(elsewhere.request_count(), 0U);
}

TEST(HttpFetcher, cache_control_says_for_how_long) {
  const std::vector<std::pair<tests::Fields, std::optional<std::chrono::seconds>>> cases = {
      {{{"Cache-Control", "public, max-age=300"}}, 300s},
      {{{"cache-control", "MAX-AGE=60,must-revalidate"}}, 60s},
      {{{"Cache-Control", "max-age=300"}, {"Cache-Control", "max-age=200"}}, 200s},
      {{{"Cache-Control", "max-age=300, no-cache"}}, 0s},
      {{{"Cache-Control", "no-store"}}, 0s},
      {{{"Cache-Control", "s-maxage=5, x-max-age=4"}}, std::nullopt},
      {{{"Cache-Control", "max-age=-1"}}, std::nullopt},
      {{{"Cache-Control", "max-age=99999999999999999999"}}, std::nullopt},
      {{{"Cache-Control", "max-age=5x"}}, std::nullopt},
      {{{"Cache-Control", "max-age"}}, std::nullopt},
      {{{"Cache-Control", ",,="}}, std::nullopt},
      {{}, std::nullopt},
  };
  ScriptedService service;
  for (const auto& [fields, expected] : cases) {
    service.always_send(tests::make_response("200 OK", fields, "{}"));
    const auto fetched = fetch_from(service);
    ASSERT_TRUE(fetched);
    EXPECT_EQ(fetched->max_age, expected) << (fields.empty() ? "" : fields.front().second);
  }
}

TEST(HttpFetcher, body_of_the_limit_is_taken_and_one_byte_more_is_not) {
  ScriptedService service;
  FetchOptions options = patient();
  options.max_bytes = 1000;
  service.always_send(tests::make_response("200 OK", {}, std::string(1000, 'a')));
  ASSERT_TRUE(fetch_from(service, options));

  service.always_send(tests::make_response("200 OK", {}, std::string(1001, 'a')));
  EXPECT_EQ(code_of(fetch_from(service, options)), Code::too_large);
  // And one that never ends.
  service.set_script([](const tests::RawRequest&, ScriptedService::Connection& connection) {
    connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 100; ++i) connection.send("64\r\n" + std::string(100, 'a') + "\r\n");
    connection.hold();
  });
  EXPECT_EQ(code_of(fetch_from(service, options)), Code::too_large);
}

TEST(HttpFetcher, head_without_end_is_refused) {
  ScriptedService service;
  service.set_script([](const tests::RawRequest&, ScriptedService::Connection& connection) {
    connection.send("HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 100; ++i) connection.send("X-" + std::to_string(i) + ": " + std::string(1000, 'a') + "\r\n");
    connection.hold();
  });
  EXPECT_EQ(code_of(fetch_from(service)), Code::too_large);
}

TEST(HttpFetcher, what_is_not_http_or_breaks_off_is_an_error) {
  ScriptedService service;
  const auto send_and_close = [&service](std::string bytes) {
    service.set_script([bytes = std::move(bytes)](const tests::RawRequest&, ScriptedService::Connection& connection) {
      connection.send(bytes);
      connection.close();
    });
  };
  send_and_close("garbage\r\n\r\n");
  EXPECT_EQ(code_of(fetch_from(service)), Code::malformed);
  send_and_close("");
  EXPECT_EQ(code_of(fetch_from(service)), Code::upstream_failed);
  send_and_close("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{");
  EXPECT_EQ(code_of(fetch_from(service)), Code::upstream_failed);
  send_and_close("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
  EXPECT_EQ(code_of(fetch_from(service)), Code::upstream_failed);
  service.set_script([](const tests::RawRequest&, ScriptedService::Connection& connection) { connection.reset(); });
  EXPECT_EQ(code_of(fetch_from(service)), Code::upstream_failed);
}

TEST(HttpFetcher, nobody_there_is_refused_and_the_url_is_named) {
  ScriptedService service;
  service.refuse();
  const auto failed = fetch_from(service);
  EXPECT_EQ(code_of(failed), Code::refused);
  EXPECT_NE(failed.error().detail.find(service.url() + "/keys"), std::string::npos) << failed.error().detail;
}

TEST(HttpFetcher, silent_server_is_left_at_the_deadline) {
  ScriptedService service([](const tests::RawRequest&, ScriptedService::Connection& connection) {
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{");
    connection.hold();
  });
  FetchOptions options;
  options.timeout = 50ms;
  EXPECT_EQ(code_of(fetch_from(service, options)), Code::deadline);
}

TEST(HttpFetcher, stop_ends_the_fetch_under_way_and_later_ones) {
  ScriptedService service([](const tests::RawRequest&, ScriptedService::Connection& connection) { connection.hold(); });
  FetchOptions options;
  options.timeout = 1h;
  HttpFetcher fetcher(options);
  std::optional<Result<Fetched>> result;
  std::thread thread([&] { result = fetcher.fetch(service.url() + "/keys"); });
  EXPECT_TRUE(tests::eventually("the request", [&] { return service.held() == 1; }));

  fetcher.stop();

  thread.join();
  EXPECT_EQ(code_of(*result), Code::closed);
  EXPECT_EQ(code_of(fetcher.fetch(service.url() + "/keys")), Code::closed);
  EXPECT_EQ(service.request_count(), 1U);
}

TEST(HttpFetcher, proxies_of_the_environment_are_not_used) {
  ScriptedService service;
  ScriptedService proxy;
  for (const char* name : {"http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"}) ::setenv(name, proxy.url().c_str(), 1);

  const auto fetched = fetch_from(service);

  for (const char* name : {"http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"}) ::unsetenv(name);
  EXPECT_TRUE(fetched);
  EXPECT_EQ(service.request_count(), 1U);
  EXPECT_EQ(proxy.request_count(), 0U);
}

TEST(HttpFetcher, only_plain_http_and_https_urls_are_taken) {
  for (const std::string url :
       {"https://issuer.example/keys", "http://127.0.0.1:8080/a/b?c=d", "HTTPS://issuer.example",
        "http://[::1]:8080/keys"}) {
    EXPECT_TRUE(check_url(url)) << url;
  }
  for (const std::string url :
       {"", "issuer.example/keys", "/keys", "//issuer.example/keys", "file:///etc/passwd", "ftp://issuer.example/keys",
        "gopher://issuer.example/", "data:application/json,{}", "https://", "https:///keys",
        "http://user:secret@issuer.example/",
        "http://user@issuer.example/", "https://issuer.example/keys#a", "https://issuer.example/a b",
        "https://issuer.example/\r\nX-A: b", "https://issuer.example:99999/", "https://issuer.example:a/"}) {
    const auto checked = check_url(url);
    ASSERT_FALSE(checked) << url;
    EXPECT_EQ(checked.error().code, Code::invalid) << url;
    EXPECT_EQ(checked.error().detail.find("secret"), std::string::npos);
    EXPECT_EQ(code_of(HttpFetcher(patient()).fetch(url)), Code::invalid) << url;
  }
  EXPECT_FALSE(check_url(std::string("https://issuer.example/\0a", 25)));
}

// A certificate that vouches for itself, for one name.
class Authority {
 public:
  explicit Authority(const char* alternative_name) : key_(EVP_EC_gen("P-256")), certificate_(X509_new()) {
    X509* const certificate = certificate_.get();
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key_.get());
    X509_NAME* const name = X509_get_subject_name(certificate);
    const auto* const text = reinterpret_cast<const unsigned char*>("outrigger test");
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, text, -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    X509V3_CTX context;
    X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
    for (const auto& [id, value] : {std::pair{NID_subject_alt_name, alternative_name}, {NID_basic_constraints, "CA:TRUE"}}) {
      const Ptr<X509_EXTENSION, X509_EXTENSION_free> extension(X509V3_EXT_conf_nid(nullptr, &context, id, value));
      X509_add_ext(certificate, extension.get(), -1);
    }
    CHECK(X509_sign(certificate, key_.get(), EVP_sha256()) > 0);
  }
  EVP_PKEY* key() const { return key_.get(); }
  X509* certificate() const { return certificate_.get(); }

  // A file with the certificate.
  std::string file() const {
    const std::string path = ::testing::TempDir() + "outrigger-ca-" + std::to_string(::getpid()) + ".pem";
    const Ptr<BIO, BIO_vfree> bio(BIO_new_file(path.c_str(), "w"));
    CHECK(PEM_write_bio_X509(bio.get(), certificate_.get()) == 1);
    return path;
  }

 private:
  KeyPtr key_;
  CertificatePtr certificate_;
};

// Answers each connection's first bytes with `{"tls":true}`.
class TlsServer {
 public:
  explicit TlsServer(const Authority& authority) : context_(SSL_CTX_new(TLS_server_method())) {
    SSL_CTX_use_certificate(context_.get(), authority.certificate());
    SSL_CTX_use_PrivateKey(context_.get(), authority.key());
    listening_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    CHECK(::bind(listening_, reinterpret_cast<const sockaddr*>(&address), size) == 0 && ::listen(listening_, 16) == 0);
    CHECK(::getsockname(listening_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~TlsServer() {
    ::shutdown(listening_, SHUT_RDWR);
    thread_.join();
    ::close(listening_);
  }
  std::string url() const { return "https://127.0.0.1:" + std::to_string(port_) + "/"; }

 private:
  void serve() {
    for (;;) {
      const int fd = ::accept4(listening_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      const Ptr<SSL, SSL_free> tls(SSL_new(context_.get()));
      SSL_set_fd(tls.get(), fd);
      char bytes[4096];
      if (SSL_accept(tls.get()) == 1 && SSL_read(tls.get(), bytes, sizeof bytes) > 0) {
        const std::string answer = tests::make_response("200 OK", {}, R"({"tls":true})");
        SSL_write(tls.get(), answer.data(), static_cast<int>(answer.size()));
        SSL_shutdown(tls.get());
      }
      ::close(fd);
    }
  }

  Ptr<SSL_CTX, SSL_CTX_free> context_;
  int listening_ = -1;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

TEST(HttpFetcherTls, certificate_is_believed_only_where_the_ca_file_has_its_authority) {
  const Authority authority("IP:127.0.0.1");
  const TlsServer server(authority);
  FetchOptions options = patient();
  EXPECT_EQ(code_of(HttpFetcher(options).fetch(server.url())), Code::unauthenticated);  // the system does not know it

  options.ca_file = authority.file();
  HttpFetcher fetcher(options);
  const auto fetched = fetcher.fetch(server.url());

  ASSERT_TRUE(fetched) << fetched.error().detail;
  EXPECT_EQ(fetched->body, R"({"tls":true})");
  // The file is read by each fetch: a renewed authority counts at once.
  std::ofstream(options.ca_file) << "";
  EXPECT_FALSE(fetcher.fetch(server.url()));
  Authority("IP:127.0.0.1").file();
  EXPECT_EQ(code_of(fetcher.fetch(server.url())), Code::unauthenticated);
  ::unlink(options.ca_file.c_str());
  EXPECT_EQ(code_of(fetcher.fetch(server.url())), Code::invalid);
}

TEST(HttpFetcherTls, certificate_of_another_name_is_not_believed) {
  const Authority authority("DNS:issuer.example");
  const TlsServer server(authority);
  FetchOptions options = patient();
  options.ca_file = authority.file();
  EXPECT_EQ(code_of(HttpFetcher(options).fetch(server.url())), Code::unauthenticated);
  ::unlink(options.ca_file.c_str());
}

}  // namespace
}  // namespace outrigger::app
