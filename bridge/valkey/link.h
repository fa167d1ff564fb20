// Link: one connection to the server that keeps itself up: connects, introduces itself, learns the server's
// incarnation, pipelines commands, notices silence, and comes back with a jittered back-off of at most
// limits::kReconnectCap. What is wrong goes to the bus' BusState, which tells it once. Loop thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "bridge/base/result.h"
#include "bridge/base/unique_function.h"
#include "bridge/messaging/bus.h"
#include "bridge/net/connection.h"
#include "bridge/net/connector.h"
#include "bridge/net/event_loop.h"
#include "bridge/net/pending.h"
#include "bridge/net/timer.h"
#include "bridge/valkey/bus_state.h"
#include "bridge/valkey/conditions.h"
#include "bridge/valkey/resp.h"
#include "bridge/valkey/valkey_url.h"

namespace outrigger::valkey {

using OnReply = base::UniqueFunction<void(base::Result<Reply>)>;

class LinkHandler {
 public:
  // Commands may be given. `link.incarnation()` is that of this connection's server.
  virtual void on_link_ready() = 0;
  // Not after close(). Every outstanding command has been told outcome_unknown before.
  virtual void on_link_lost(const base::Error& why) = 0;
  // A publish() was answered with an id. Before its own completion.
  virtual void on_written(messaging::EntryId /*id*/) {}
  // Something that answers no command: a message of a subscription.
  virtual void on_push(const Reply& /*message*/) {}

 protected:
  ~LinkHandler() = default;
};

class Link final : private net::ConnectionHandler, private net::Flushable {
 public:
  struct Options {
    ValkeyAddress address;
    std::string name;                // CLIENT SETNAME, shown by CLIENT LIST; also in log lines
    base::Duration reply_deadline;   // silence for longer, with a command outstanding, ends the connection
    bool is_subscriber = false;      // arrays that begin with "message" are pushes
    bool never_blocks = false;       // its commands are answered at once: greet_anew() waits for those that are out
  };
  // Starts to connect in the next turn. State and handler outlive the link; the handler must not destroy the link from
  // inside a reply or one of its own calls, but release it to the loop.
  Link(net::EventLoop& loop, Options options, BusState& state, LinkHandler& handler);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  bool is_ready() const { return state_ == State::ready; }
  // Of this connection's server, `run_id/master_replid`; empty while not ready.
  const std::string& incarnation() const { return incarnation_; }
  // Whether the reply to INFO replication is of that incarnation, and of a primary.
  bool is_incarnation_of(std::string_view replication) const;
  // CLIENT ID of this connection, 0 while not ready.
  std::int64_t client_id() const { return client_id_; }

  // REQUIRES is_ready(). `on_reply` is called once, later: with the reply, an error of the server (see error_of; its
  // detail ends with the command and its key), or outcome_unknown when the connection is lost. Not called if the link is
  // destroyed first. `name`: of a script, told instead of EVAL.
  void command(std::initializer_list<std::string_view> arguments, OnReply on_reply);
  void command(std::span<const std::string> arguments, OnReply on_reply, std::string_view name = {});
  // The reply to an XADD to `stream` whose bytes were appended to begin_command()'s buffer.
  void publish(std::string_view stream,
               base::UniqueFunction<void(base::Result<std::optional<messaging::EntryId>>)> done);
  // The buffer that is written at the end of the turn, for commands made in place; follow with expect() or publish().
  std::string& begin_command();
  void expect(std::string_view command, std::string_view key, OnReply on_reply);

  // Gives a ready connection up for a new one, which learns the server's incarnation. What was written is answered first,
  // where answers come at once: a write that the demoted server refused was certainly not carried out.
  void greet_anew();
  // Gives the connection up and makes a new one, as after an error.
  void drop(const base::Error& why);
  // Ends for good; outstanding commands are dropped without a call.
  void close();

 private:
  enum class State : std::uint8_t { backing_off, connecting, greeting, ready, leaving, closed };
  struct Expected {
    base::UniqueFunction<void(base::Result<std::optional<messaging::EntryId>>)> publish;  // either this
    OnReply generic;                                                                      // or this
    std::string command;
    std::string key;
  };

  void enter(State state) { state_ = state; }
  void connect();
  void on_connected(std::unique_ptr<net::Transport> transport);
  void greet();
  enum class Step : std::uint8_t { identify, id, server, persistence, cluster, replication };
  void on_greeting_step(base::Result<Reply> reply, Step step);
  void flush() override;
  void leave();
  void lose(Condition condition, const base::Error& why);
  void hand_over(const Reply& reply);
  void hand_over_error(Expected& expected, std::string_view said);
  void on_silence();
  base::Duration reply_deadline() const;
  void watch_silence();

  void on_data(std::string_view bytes) override;
  void on_end() override;
  void on_closed(const base::Error& why) override;

  net::EventLoop& loop_;
  Options options_;
  BusState& bus_state_;
  LinkHandler& handler_;
  State state_ = State::backing_off;
  net::Pending pending_connect_;
  std::unique_ptr<net::Connection> connection_;
  std::unique_ptr<ReplyReader> reader_;
  std::deque<Expected> expected_;
  std::string out_;
  std::string incarnation_;
  std::string run_id_;
  std::int64_t client_id_ = 0;
  unsigned failures_ = 0;       // in a row
  bool has_heard_ = false;      // bytes, on this connection
  bool must_prove_ = false;     // the last connection came up and failed at once: this one is up when it has stood
  net::Timer retry_timer_;
  net::Timer silence_timer_;
  net::Timer proof_timer_;
  base::TimePoint last_heard_;
  base::TimePoint ready_since_;
};

}  // namespace outrigger::valkey
