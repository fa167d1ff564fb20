#include "bridge/valkey/link.h"

#include <algorithm>

#include "bridge/base/ids.h"
#include "bridge/base/limits.h"

namespace outrigger::valkey {
namespace {

using base::Code;
using base::Error;
using namespace std::chrono_literals;
namespace limits = base::limits;

constexpr std::size_t kCopyBelow = 256 * limits::kKiB;
// One read's worth of entries with their heads, and room for the protocol around them.
constexpr std::size_t kReplyLimit = limits::kReadBatchBytes + 8 * limits::kMiB;
constexpr base::Duration kConnectDeadline = 2s;
constexpr base::Duration kGreetingDeadline = 5s;  // between two answers
constexpr base::Duration kFirstRetry = 50ms;

// Jitter over the upper half: a fleet does not come back in step.
base::Duration back_off(unsigned failures_in_a_row) {
  const auto ceiling =
      std::min<base::Duration>(limits::kReconnectCap, kFirstRetry * (1U << std::min(failures_in_a_row, 5U)));
  const auto half = std::chrono::duration_cast<std::chrono::microseconds>(ceiling / 2).count();
  return std::chrono::microseconds(
      half + static_cast<std::int64_t>(base::random_below(static_cast<std::uint64_t>(half) + 1)));
}

// What an error of ours says: the server's words, or what else ended the connection.
Condition condition_of(const Error& why) {
  switch (why.code) {
    case Code::deadline: return Condition::silent;
    case Code::closed: return Condition::lost;
    case Code::malformed: return Condition::not_a_server;
    case Code::too_large: return Condition::too_large;
    case Code::outcome_unknown: return Condition::role_changed;  // the server has become another one
    default: return valkey::condition_of(std::string_view(why.detail));
  }
}

// The key a command is about, for messages; empty if it has none.
std::string_view key_of(std::size_t count, const auto& argument) {
  const std::string_view command = argument(0);
  for (const std::string_view keyless : {"TIME", "PING", "INFO", "CLIENT", "AUTH", "SELECT", "PUBSUB", "SCAN"}) {
    if (command == keyless) return {};
  }
  const bool has_subcommand = command == "XGROUP" || command == "XINFO";
  const std::size_t at = command == "EVAL" ? 3 : has_subcommand ? 2 : 1;
  return at < count ? argument(at) : std::string_view();
}

}  // namespace

Link::Link(net::EventLoop& loop, Options options, BusState& state, LinkHandler& handler)
    : loop_(loop),
      options_(std::move(options)),
      bus_state_(state),
      handler_(handler),
      retry_timer_(loop, [this] { connect(); }),
      silence_timer_(loop, [this] { on_silence(); }),
      proof_timer_(loop, [this] { bus_state_.connection_up(options_.name); }) {
  bus_state_.add(*this);
  retry_timer_.arm(0s);
}

Link::~Link() {
  close();
  bus_state_.remove(*this);
}

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
                                      lose(Condition::unreachable, result.error());
                                    }
                                  });
}

void Link::on_connected(std::unique_ptr<net::Transport> transport) {
  enter(State::greeting);
  has_heard_ = false;
  net::ConnectionHandler& self = *this;
  connection_ = std::make_unique<net::Connection>(loop_, std::move(transport), self);
  reader_ = std::make_unique<ReplyReader>(kReplyLimit);
  greet();
}

void Link::greet() {
  const auto ask = [this](std::initializer_list<std::string_view> arguments, Step step) {
    append_command(begin_command(), arguments);
    expect(*arguments.begin(), {}, [this, step](base::Result<Reply> reply) { on_greeting_step(std::move(reply), step); });
  };
  const ValkeyAddress& address = options_.address;
  if (!address.password.empty() || !address.user.empty()) {
    if (address.user.empty()) {
      ask({"AUTH", address.password}, Step::identify);
    } else {
      ask({"AUTH", address.user, address.password}, Step::identify);
    }
  }
  if (address.database != 0) ask({"SELECT", std::to_string(address.database)}, Step::identify);
  ask({"CLIENT", "SETNAME", options_.name}, Step::identify);
  ask({"CLIENT", "ID"}, Step::id);
  ask({"INFO", "server"}, Step::server);
  ask({"INFO", "persistence"}, Step::persistence);
  ask({"INFO", "cluster"}, Step::cluster);
  ask({"INFO", "replication"}, Step::replication);
}

void Link::on_greeting_step(base::Result<Reply> reply, Step step) {
  if (state_ != State::greeting) return;
  if (!reply) {
    if (reply.error().code != Code::outcome_unknown) drop(reply.error());
    return;
  }
  switch (step) {
    case Step::identify:
      return;
    case Step::id:
      client_id_ = reply->integer();
      return;
    case Step::server: {
      // Valkey gives the version of Redis that it is compatible with, too.
      const std::string version(info_value(reply->text(), "redis_version"));
      run_id_ = info_value(reply->text(), "run_id");
      if (is_version_enough(version)) return;
      return lose(Condition::too_old, {Code::refused, "version " + (version.empty() ? "unknown" : quotable(version))});
    }
    case Step::persistence:
      if (info_value(reply->text(), "loading") != "1") return;
      return lose(Condition::loading, {Code::refused, "loading:1"});
    case Step::cluster:
      if (info_value(reply->text(), "cluster_enabled") != "1") return;
      return lose(Condition::cluster, {Code::refused, "cluster_enabled:1"});
    case Step::replication:
      break;
  }
  const std::string_view role = info_value(reply->text(), "role");
  if (role != "master") return lose(Condition::replica, {Code::refused, "role:" + quotable(role)});
  incarnation_ = run_id_ + "/" + std::string(info_value(reply->text(), "master_replid"));
  ready_since_ = loop_.now();
  enter(State::ready);
  bus_state_.connection_made(options_.name);
  if (must_prove_) {
    proof_timer_.arm(limits::kReconnectCap);
  } else {
    bus_state_.connection_up(options_.name);
  }
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
  if (out_.size() > kCopyBelow) {  // bodies: neither a second copy, nor their memory kept for ever
    connection_->write(std::exchange(out_, {}));
    return;
  }
  // Kept for its capacity: the connection copies into its own chain and is flushed after this.
  connection_->write(std::string_view(out_));
  out_.clear();
}

void Link::expect(std::string_view command, std::string_view key, OnReply on_reply) {
  expected_.push_back({{}, std::move(on_reply), std::string(command), std::string(key)});
  watch_silence();
}

void Link::publish(std::string_view stream,
                   base::UniqueFunction<void(base::Result<std::optional<messaging::EntryId>>)> done) {
  expected_.push_back({std::move(done), {}, "XADD", std::string(stream)});
  watch_silence();
}

void Link::command(std::initializer_list<std::string_view> arguments, OnReply on_reply) {
  DCHECK(is_ready());
  append_command(begin_command(), arguments);
  const auto argument = [&](std::size_t i) { return arguments.begin()[i]; };
  expect(argument(0), key_of(arguments.size(), argument), std::move(on_reply));
}

void Link::command(std::span<const std::string> arguments, OnReply on_reply, std::string_view name) {
  DCHECK(is_ready());
  append_command(begin_command(), arguments);
  const auto argument = [&](std::size_t i) { return std::string_view(arguments[i]); };
  expect(name.empty() ? argument(0) : name, key_of(arguments.size(), argument), std::move(on_reply));
}

// A blocked read may be silent for long, a greeting may not.
base::Duration Link::reply_deadline() const {
  return is_ready() ? options_.reply_deadline : std::min<base::Duration>(options_.reply_deadline, kGreetingDeadline);
}

void Link::watch_silence() {
  if (expected_.size() > 1 && silence_timer_.is_armed()) return;
  last_heard_ = loop_.now();
  silence_timer_.arm(reply_deadline());
}

void Link::on_silence() {
  if (expected_.empty()) return;
  const base::TimePoint due = last_heard_ + reply_deadline();
  if (due > loop_.now()) return silence_timer_.arm_at(due);
  lose(Condition::silent, {Code::deadline, "no answer in time"});
}

void Link::on_data(std::string_view bytes) {
  last_heard_ = loop_.now();
  const bool is_first = !std::exchange(has_heard_, true);
  reader_->feed(bytes);
  while (connection_ != nullptr && !connection_->is_closed()) {
    auto next = reader_->next();
    if (!next) return lose(is_first ? condition_of_greeting(bytes) : condition_of(next.error()), next.error());
    if (!next->has_value()) return;
    hand_over(**next);
    if (state_ == State::leaving && expected_.empty()) return leave();
  }
}

void Link::hand_over(const Reply& reply) {
  if (options_.is_subscriber && reply.is_array() && reply.size() > 0 && reply[0].text() == "message") {
    return handler_.on_push(reply);
  }
  if (expected_.empty()) return lose(Condition::not_a_server, {Code::malformed, "a reply nobody asked for"});
  Expected expected = std::move(expected_.front());
  expected_.pop_front();
  if (reply.type() == Reply::Type::error) return hand_over_error(expected, reply.text());
  bus_state_.accepted(expected.command, expected.key);
  if (!expected.publish) return expected.generic(reply);
  if (reply.is_nil()) return expected.publish(std::optional<messaging::EntryId>());
  const auto id = messaging::parse_entry_id(reply.text());
  if (!id) return expected.publish(Error{Code::malformed, "XADD answered with something else than an id"});
  handler_.on_written(*id);
  expected.publish(id);
}

void Link::hand_over_error(Expected& expected, std::string_view said) {
  Error why = error_of(said);
  // A server that does not know AUTH, say, may repeat what it was told.
  const std::string& password = options_.address.password;
  if (!password.empty() && why.detail.find(password) != std::string::npos) why.detail = "(a text with the password in it)";
  const Condition condition = condition_of(said);
  if (describe(condition).scope == Scope::ordinary) {
    bus_state_.accepted(expected.command, expected.key);
  } else if (is_ready()) {
    bus_state_.refused(condition, expected.command, expected.key, why.detail);
  }
  why.detail.append(" (").append(expected.command);
  if (!expected.key.empty()) why.detail.append(" ").append(expected.key);
  why.detail += ')';
  if (expected.publish) {
    expected.publish(why);
  } else {
    expected.generic(why);
  }
  if (describe(condition).ends_connection) lose(condition, why);
}

void Link::on_end() { on_closed({Code::closed, "end of stream"}); }
void Link::on_closed(const base::Error& why) {
  lose(state_ == State::greeting && !has_heard_ ? Condition::closed_unanswered : Condition::lost, why);
}
void Link::greet_anew() {
  if (!is_ready()) return;
  if (!options_.never_blocks || expected_.empty()) return leave();
  enter(State::leaving);  // nothing more is written
}

void Link::leave() {
  lose(Condition::role_changed, {Code::outcome_unknown, "another connection saw the server's role change"});
}

void Link::drop(const base::Error& why) { lose(condition_of(why), why); }

void Link::lose(Condition condition, const base::Error& why) {
  if (state_ == State::closed || state_ == State::backing_off) return;
  const bool was_ready = state_ == State::ready || state_ == State::leaving;
  enter(State::backing_off);
  incarnation_.clear();
  client_id_ = 0;
  silence_timer_.cancel();
  proof_timer_.cancel();
  pending_connect_.cancel();
  if (connection_ != nullptr) {
    connection_->close();
    loop_.release(std::move(connection_));
  }
  if (reader_ != nullptr) loop_.release(std::move(reader_));  // a reply of it may be on the stack
  out_.clear();
  // A connection that ends right after its greeting, such as one whose first command is forbidden, has not succeeded.
  const bool was_short = was_ready && loop_.now() - ready_since_ <= limits::kReconnectCap;
  if (was_ready && !was_short) failures_ = 0;
  if (was_ready) must_prove_ = was_short || describe(condition).scope == Scope::place;
  bus_state_.connection_down(options_.name, condition, why.detail);
  retry_timer_.arm(back_off(failures_++));
  std::deque<Expected> lost = std::exchange(expected_, {});
  const Error unknown{Code::outcome_unknown, why.detail};
  for (Expected& expected : lost) {
    if (expected.publish) {
      expected.publish(unknown);
    } else if (expected.generic) {
      expected.generic(unknown);
    }
  }
  // Not what only a greeting met: an address may lead to several servers, and the others' connections are with the right one.
  if (was_ready && (condition == Condition::role_changed || condition == Condition::replica || condition == Condition::loading)) {
    bus_state_.role_changed();
  }
  if (was_ready) handler_.on_link_lost(why);
}

void Link::close() {
  if (state_ == State::closed) return;
  enter(State::closed);
  bus_state_.connection_ended(options_.name);
  expected_.clear();
  retry_timer_.cancel();
  silence_timer_.cancel();
  proof_timer_.cancel();
  pending_connect_.cancel();
  if (connection_ != nullptr) {
    connection_->close();
    loop_.release(std::move(connection_));
  }
}

}  // namespace outrigger::valkey
