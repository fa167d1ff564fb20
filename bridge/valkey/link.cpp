#include "bridge/valkey/link.h"

#include <algorithm>

#include "bridge/base/ids.h"
#include "bridge/base/limits.h"
#include "bridge/base/log.h"

namespace outrigger::valkey {
namespace {

using base::Code;
using base::Error;
using namespace std::chrono_literals;
namespace limits = base::limits;

// One read's worth of entries with their heads, and room for the protocol around them.
constexpr std::size_t kReplyLimit = limits::kReadBatchBytes + 8 * limits::kMiB;
constexpr base::Duration kConnectDeadline = 2s;
constexpr base::Duration kFirstRetry = 50ms;

// The line `name:value` of an INFO section.
std::string_view info_value(std::string_view info, std::string_view name) {
  std::size_t at = 0;
  while (at < info.size()) {
    std::size_t end = info.find("\r\n", at);
    if (end == std::string_view::npos) end = info.size();
    const std::string_view line = info.substr(at, end - at);
    if (line.size() > name.size() && line.starts_with(name) && line[name.size()] == ':') {
      return line.substr(name.size() + 1);
    }
    at = end + 2;
  }
  return {};
}

// Redis 7.0 says this to a blocked reader where Valkey says NOGROUP; other UNBLOCKEDs tell that the server's role changed.
constexpr std::string_view kStreamIsGone = "UNBLOCKED the stream key no longer exists";

// After these the server is not the one we greeted, or not one to work with: its successor is greeted anew.
bool ends_the_connection(std::string_view error) {
  if (error.starts_with(kStreamIsGone)) return false;
  for (const std::string_view code : {"UNBLOCKED", "READONLY", "MASTERDOWN", "LOADING", "NOAUTH", "NOREPLICAS"}) {
    if (error.starts_with(code)) return true;
  }
  return false;
}

}  // namespace

base::Error error_of(std::string_view text) {
  const auto is = [&](std::string_view code) { return text.starts_with(code); };
  Code code = Code::refused;
  if (is("OOM")) code = Code::overloaded;
  if (is("NOGROUP") || is("ERR no such key") || is(kStreamIsGone)) code = Code::not_found;
  if (is("ERR The XGROUP subcommand requires the key to exist")) code = Code::not_found;
  if (is("NOAUTH") || is("WRONGPASS")) code = Code::unauthenticated;
  if (is("NOPERM")) code = Code::forbidden;
  return {code, std::string(text)};
}

Link::Link(net::EventLoop& loop, Options options, LinkHandler& handler)
    : loop_(loop),
      options_(std::move(options)),
      handler_(handler),
      retry_timer_(loop, [this] { connect(); }),
      silence_timer_(loop, [this] { on_silence(); }) {
  retry_timer_.arm(0s);
}

Link::~Link() { close(); }

void Link::connect() {
  enter(State::connecting);
  const net::Endpoint to = options_.address.unix_path.empty()
                               ? net::Endpoint::tcp(options_.address.host, options_.address.port)
                               : net::Endpoint::unix_socket(options_.address.unix_path);
  pending_connect_ = net::connect(loop_, to, loop_.now() + kConnectDeadline,
                                  [this](base::Result<std::unique_ptr<net::Transport>> result) {
                                    if (result) {
                                      on_connected(std::move(*result));
                                    } else {
                                      lose(result.error());
                                    }
                                  });
}

void Link::on_connected(std::unique_ptr<net::Transport> transport) {
  enter(State::greeting);
  net::ConnectionHandler& self = *this;
  connection_ = std::make_unique<net::Connection>(loop_, std::move(transport), self);
  reader_ = std::make_unique<ReplyReader>(kReplyLimit);
  greet();
}

void Link::greet() {
  const auto ask = [this](std::initializer_list<std::string_view> arguments, int step) {
    append_command(begin_command(), arguments);
    expect([this, step](base::Result<Reply> reply) { on_greeting_step(std::move(reply), step); });
  };
  const ValkeyAddress& address = options_.address;
  if (!address.password.empty()) {
    if (address.user.empty()) {
      ask({"AUTH", address.password}, 0);
    } else {
      ask({"AUTH", address.user, address.password}, 0);
    }
  }
  if (address.database != 0) ask({"SELECT", std::to_string(address.database)}, 0);
  ask({"CLIENT", "SETNAME", options_.name}, 0);
  ask({"CLIENT", "ID"}, 1);
  ask({"INFO", "server"}, 2);
  ask({"INFO", "persistence"}, 3);
  ask({"INFO", "replication"}, 4);
}

void Link::on_greeting_step(base::Result<Reply> reply, int step) {
  if (state_ != State::greeting) return;
  if (!reply) {
    if (reply.error().code != Code::outcome_unknown) drop(reply.error());
    return;
  }
  if (step == 1) client_id_ = reply->integer();
  if (step == 2) run_id_ = info_value(reply->text(), "run_id");
  if (step == 3 && info_value(reply->text(), "loading") == "1") {
    return drop({Code::refused, "the server is loading its data"});
  }
  if (step != 4) return;
  if (info_value(reply->text(), "role") != "master") {
    return drop({Code::refused, "the server is a replica: name the primary"});
  }
  incarnation_ = run_id_ + "/" + std::string(info_value(reply->text(), "master_replid"));
  ready_since_ = loop_.now();
  enter(State::ready);
  if (std::exchange(has_reported_down_, false)) base::log_info("bus connection is back", {{"connection", options_.name}});
  handler_.on_link_ready();
}

bool Link::is_incarnation_of(std::string_view replication) const {
  return info_value(replication, "role") == "master" &&
         incarnation_ == run_id_ + "/" + std::string(info_value(replication, "master_replid"));
}

std::string& Link::begin_command() {
  loop_.flush_later(*this);
  return out_;
}

void Link::flush() {
  if (out_.empty() || connection_ == nullptr) return;
  // Kept for its capacity: the connection copies into its own chain and is flushed after this.
  connection_->write(std::string_view(out_));
  out_.clear();
}

void Link::expect(OnReply on_reply) {
  expected_.push_back({{}, std::move(on_reply)});
  watch_silence();
}

void Link::publish(base::UniqueFunction<void(base::Result<std::optional<messaging::EntryId>>)> done) {
  expected_.push_back({std::move(done), {}});
  watch_silence();
}

void Link::command(std::initializer_list<std::string_view> arguments, OnReply on_reply) {
  DCHECK(is_ready());
  append_command(begin_command(), arguments);
  expect(std::move(on_reply));
}

void Link::command(std::span<const std::string> arguments, OnReply on_reply) {
  DCHECK(is_ready());
  append_command(begin_command(), arguments);
  expect(std::move(on_reply));
}

void Link::watch_silence() {
  if (expected_.size() > 1 && silence_timer_.is_armed()) return;
  last_heard_ = loop_.now();
  silence_timer_.arm(options_.reply_deadline);
}

void Link::on_silence() {
  if (expected_.empty()) return;
  const base::TimePoint due = last_heard_ + options_.reply_deadline;
  if (due > loop_.now()) return silence_timer_.arm_at(due);
  drop({Code::deadline, "the server does not answer"});
}

void Link::on_data(std::string_view bytes) {
  last_heard_ = loop_.now();
  reader_->feed(bytes);
  while (connection_ != nullptr && !connection_->is_closed()) {
    auto next = reader_->next();
    if (!next) return drop(next.error());
    if (!next->has_value()) return;
    hand_over(**next);
  }
}

void Link::hand_over(const Reply& reply) {
  if (options_.is_subscriber && reply.is_array() && reply.size() > 0 && reply[0].text() == "message") {
    return handler_.on_push(reply);
  }
  if (expected_.empty()) return drop({Code::malformed, "a reply nobody asked for"});
  Expected expected = std::move(expected_.front());
  expected_.pop_front();
  const bool is_error = reply.type() == Reply::Type::error;
  if (is_error && ends_the_connection(reply.text())) {
    const Error why = error_of(reply.text());
    if (expected.publish) {
      expected.publish(why);
    } else {
      expected.generic(why);
    }
    return drop(why);
  }
  if (expected.publish) {
    if (is_error) return expected.publish(error_of(reply.text()));
    if (reply.is_nil()) return expected.publish(std::optional<messaging::EntryId>());
    const auto id = messaging::parse_entry_id(reply.text());
    if (!id) return expected.publish(Error{Code::malformed, "XADD answered with something else than an id"});
    return expected.publish(id);
  }
  if (is_error) return expected.generic(error_of(reply.text()));
  expected.generic(reply);
}

void Link::on_end() { lose({Code::closed, "the server closed the connection"}); }
void Link::on_closed(const base::Error& why) { lose(why); }
void Link::drop(const base::Error& why) { lose(why); }

void Link::lose(const base::Error& why) {
  if (state_ == State::closed || state_ == State::backing_off) return;
  const bool was_ready = state_ == State::ready;
  enter(State::backing_off);
  incarnation_.clear();
  client_id_ = 0;
  silence_timer_.cancel();
  pending_connect_.cancel();
  if (connection_ != nullptr) {
    connection_->close();
    loop_.release(std::move(connection_));
  }
  if (reader_ != nullptr) loop_.release(std::move(reader_));  // a reply of it may be on the stack
  out_.clear();
  if (!std::exchange(has_reported_down_, true)) {
    base::log_warn("bus connection is down", {{"connection", options_.name},
                                              {"server", options_.address.to_string_redacted()},
                                              {"why", why.detail}});
  }
  // A connection that ends right after its greeting, such as one whose first command is forbidden, has not succeeded.
  if (was_ready && loop_.now() - ready_since_ > limits::kReconnectCap) failures_ = 0;
  // Jitter over the upper half: a fleet does not come back in step.
  const auto ceiling = std::min<base::Duration>(limits::kReconnectCap, kFirstRetry * (1U << std::min(failures_, 5U)));
  ++failures_;
  const auto half = std::chrono::duration_cast<std::chrono::microseconds>(ceiling / 2).count();
  retry_timer_.arm(std::chrono::microseconds(half + static_cast<std::int64_t>(
                                                        base::random_below(static_cast<std::uint64_t>(half) + 1))));
  std::deque<Expected> lost = std::exchange(expected_, {});
  const Error unknown{Code::outcome_unknown, why.detail};
  for (Expected& expected : lost) {
    if (expected.publish) {
      expected.publish(unknown);
    } else if (expected.generic) {
      expected.generic(unknown);
    }
  }
  if (was_ready) handler_.on_link_lost(why);
}

void Link::close() {
  if (state_ == State::closed) return;
  enter(State::closed);
  expected_.clear();
  retry_timer_.cancel();
  silence_timer_.cancel();
  pending_connect_.cancel();
  if (connection_ != nullptr) {
    connection_->close();
    loop_.release(std::move(connection_));
  }
}

}  // namespace outrigger::valkey
