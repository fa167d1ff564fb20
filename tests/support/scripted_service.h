// A service on a loopback port, in threads of its own, for tests of whole processes: it records exactly what it
// received and sends exactly the bytes a script says. It shares no code with what is under test.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/reserved_port.h"

namespace outrigger::tests {

using Fields = std::vector<std::pair<std::string, std::string>>;

// The values of all fields of this name (in any case), in order.
std::vector<std::string> values_of(const Fields& fields, std::string_view name);

struct RawRequest {
  std::string head;  // as received, up to and including the empty line
  std::string method;
  std::string target;
  Fields fields;
  std::string body;  // without its framing

  // All of this name, joined with ", ".
  std::string field(std::string_view name) const;
  bool has_field(std::string_view name) const { return !values_of(fields, name).empty(); }
};

// HTTP/1.1 with Content-Length.
std::string make_response(std::string_view status_line, const Fields& fields, std::string_view body);

class ScriptedService {
 public:
  // One connection, in its own thread; only for the script.
  class Connection {
   public:
    Connection(ScriptedService& service, int fd) : service_(service), fd_(fd) {}
    void send(std::string_view bytes);
    void close() { is_over_ = true; }  // after what was sent
    void reset();                      // a reset instead of an orderly end
    // Blocks until release(), or the service ends. Counted by held() meanwhile.
    void hold();

   private:
    friend class ScriptedService;
    ScriptedService& service_;
    int fd_;
    bool is_over_ = false;
  };
  // Called for each whole request, from its connection's thread.
  using Script = std::function<void(const RawRequest&, Connection&)>;

  // Answers 200 with "METHOD target body" (a HEAD with that one's length) until it is told something else.
  ScriptedService();
  explicit ScriptedService(Script script) : ScriptedService() { set_script(std::move(script)); }
  ~ScriptedService();
  ScriptedService(const ScriptedService&) = delete;
  ScriptedService& operator=(const ScriptedService&) = delete;

  std::uint16_t port() const { return port_.port(); }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port()); }

  void set_script(Script script);
  static void echo(const RawRequest& request, Connection& connection);
  // Every request is answered with these bytes.
  void always_send(std::string bytes);
  // What a sidecar's question for an OpenAPI document is answered; empty: 404. These questions are not recorded.
  void set_document(std::string json);
  // Whether a sidecar itself asked for this target: a document, or its HealthPath.
  bool was_asked_for(std::string_view target) const;

  std::vector<RawRequest> requests() const;
  std::size_t request_count() const;
  // REQUIRES request_count() > 0.
  RawRequest last_request() const;
  void forget_requests();

  std::size_t held() const;
  // Lets every held connection go on, now and later.
  void release();
  void hold_again();

  // Nobody listens at the port any more, and all connections are closed; listen() opens the same port again.
  void refuse();
  void listen();

 private:
  struct Peer {
    int fd;
    std::atomic<bool> is_done{false};
    std::thread thread;
  };
  void open();
  void accept_all(int listening);
  void serve(Peer& peer);
  void answer(const RawRequest& request, Connection& connection);

  const ReservedPort port_;
  int listening_ = -1;
  std::thread acceptor_;
  mutable std::mutex mutex_;  // guards everything below
  std::condition_variable released_;
  bool is_released_ = false;
  bool is_stopping_ = false;
  std::size_t held_ = 0;
  Script script_;
  std::string document_;
  std::vector<std::string> asked_for_;
  std::vector<RawRequest> requests_;
  std::list<Peer> peers_;
};

}  // namespace outrigger::tests
