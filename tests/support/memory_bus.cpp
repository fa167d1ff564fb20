#include "tests/support/memory_bus.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "bridge/base/check.h"
#include "bridge/base/limits.h"
#include "bridge/frames/queue_names.h"

namespace outrigger::tests {
namespace {

using base::Code;
using base::Error;
using base::Result;
using messaging::ClaimedEntry;
using messaging::Done;
using messaging::EntryId;
using messaging::EntryView;
using messaging::HandBack;
using messaging::OwnedEntry;
using messaging::PendingEntry;
namespace limits = base::limits;

constexpr std::size_t kCursorBatch = 64;        // COUNT of a cursor read
constexpr std::int64_t kParkedIdleMs = 3600'000;  // above any lease, so that what is parked may be taken at once

Error out_of_memory() { return {Code::overloaded, "OOM command not allowed when used memory > 'maxmemory'"}; }
Error no_group() { return {Code::not_found, "NOGROUP no such key or consumer group"}; }
Error wrong_type() { return {Code::refused, "WRONGTYPE operation against a key holding the wrong kind of value"}; }

std::int64_t to_ms(base::Duration duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

// Entries as a handler gets them; the views die with this.
class EntryViews {
 public:
  explicit EntryViews(const std::vector<OwnedEntry>& entries) {
    for (const OwnedEntry& entry : entries) {
      auto& fields = fields_.emplace_back();
      for (const auto& [name, value] : entry.fields) fields.push_back({name, value});
      views_.push_back({entry.id, fields});
    }
  }
  std::span<const EntryView> get() const { return views_; }

 private:
  std::deque<std::vector<frames::EntryField>> fields_;
  std::vector<EntryView> views_;
};

// t_stream.c of Valkey 8.0: streamRangeHasTombstones with an open end, streamEstimateDistanceFromFirstEverEntry.
bool has_tombstones_from(const MemoryServer::Stream& stream, EntryId start) {
  return !stream.entries.empty() && stream.max_deleted != EntryId{} && start <= stream.max_deleted;
}

std::optional<std::uint64_t> distance_from_first_ever(const MemoryServer::Stream& stream, EntryId id) {
  if (stream.added == 0) return 0;
  if (stream.entries.empty() && id <= stream.last_id) return stream.added;
  if (id == stream.last_id) return stream.added;
  if (id > stream.last_id) return std::nullopt;
  const EntryId first = stream.entries.begin()->first;
  if (stream.max_deleted == EntryId{} || stream.max_deleted < first) {
    if (id < first) return stream.added - stream.entries.size();
    if (id == first) return stream.added - stream.entries.size() + 1;
  }
  return std::nullopt;
}

bool delete_entry(MemoryServer::Stream& stream, EntryId id) {
  if (stream.entries.erase(id) == 0) return false;
  stream.max_deleted = std::max(stream.max_deleted, id);
  return true;
}

}  // namespace

// ---- One command: its effect may outlive the process that sent it, its completion may not.

class MemoryServer::Command {
 public:
  explicit Command(Op operation) : op(operation) {}
  virtual ~Command() = default;
  virtual void run(MemoryServer& server) = 0;
  virtual void refuse(Error error) = 0;  // instead of run()
  virtual void complete() = 0;           // with the result of one of the above
  virtual void fail(Error error) = 0;    // completes; run() may still follow
  virtual void drop() = 0;               // never completes
  const Op op;
};

template <class T>
class MemoryServer::TypedCommand final : public Command {
 public:
  using Effect = base::UniqueFunction<Result<T>(MemoryServer&)>;
  TypedCommand(Op operation, Effect effect, Done<T> done)
      : Command(operation), effect_(std::move(effect)), done_(std::move(done)) {}
  void run(MemoryServer& server) override { result_.emplace(effect_(server)); }
  void refuse(Error error) override { result_.emplace(std::move(error)); }
  void complete() override {
    Done<T> done = std::move(done_);
    if (done) done(*std::move(result_));
  }
  void fail(Error error) override {
    Done<T> done = std::move(done_);
    if (done) done(std::move(error));
  }
  void drop() override { done_ = nullptr; }

 private:
  Effect effect_;
  Done<T> done_;
  std::optional<Result<T>> result_;
};

// ---- The server.

MemoryServer::~MemoryServer() { CHECK(buses_.empty()); }

void MemoryServer::each_bus(const std::function<void(MemoryBus&)>& call) {
  for (MemoryBus* bus : std::vector(buses_)) call(*bus);
}

MemoryServer::Key* MemoryServer::find(const std::string& key) {
  const auto at = keys_.find(key);
  if (at == keys_.end()) return nullptr;
  if (at->second.expires_ms && *at->second.expires_ms <= now_ms()) {
    keys_.erase(at);
    return nullptr;
  }
  return &at->second;
}

MemoryServer::Stream* MemoryServer::find_stream(const std::string& key) {
  Key* found = find(key);
  return found == nullptr ? nullptr : std::get_if<Stream>(&found->value);
}

MemoryServer::Group* MemoryServer::find_group(const std::string& key) {
  Stream* stream = find_stream(key);
  return stream == nullptr || !stream->group ? nullptr : &*stream->group;
}

EntryId MemoryServer::add(const std::string& key, Fields fields) {
  if (find(key) == nullptr) keys_[key].value = Stream{};
  Stream* stream = find_stream(key);
  CHECK(stream != nullptr);
  const auto now = static_cast<std::uint64_t>(now_ms());
  EntryId id{now, 0};
  if (id <= stream->last_id) id = {stream->last_id.ms, stream->last_id.seq + 1};
  stream->entries[id] = std::move(fields);
  stream->last_id = id;
  ++stream->added;
  serve_waiters();
  wake_cursors();
  return id;
}

bool MemoryServer::remove(const std::string& key) {
  const bool was_there = find(key) != nullptr;
  keys_.erase(key);
  serve_waiters();
  return was_there;
}

bool MemoryServer::remove_entry(const std::string& key, EntryId id) {
  Stream* stream = find_stream(key);
  return stream != nullptr && delete_entry(*stream, id);
}

void MemoryServer::flush_all() {
  keys_.clear();
  serve_waiters();
}

std::optional<MemoryServer::GroupReply> MemoryServer::read_group(const std::string& consumer,
                                                                 const std::vector<std::string>& queues,
                                                                 std::uint32_t count) {
  GroupReply reply;
  for (const std::string& queue : queues) {
    if (find_group(queue) == nullptr) {  // one missing group fails the whole read
      reply.is_queue_missing = true;
      return reply;
    }
  }
  for (const std::string& queue : queues) {
    Stream& stream = *find_stream(queue);
    Group& group = *stream.group;
    group.seen_ms[consumer] = now_ms();
    std::vector<OwnedEntry> entries;
    for (auto at = stream.entries.upper_bound(group.last_delivered); at != stream.entries.end(); ++at) {
      if (entries.size() == count) break;
      const EntryId id = at->first;
      if (group.entries_read && !has_tombstones_from(stream, id)) {
        ++*group.entries_read;
      } else {
        group.entries_read = distance_from_first_ever(stream, id);
      }
      group.last_delivered = id;
      group.pending[id] = {consumer, now_ms(), 1};
      entries.push_back({id, at->second});
    }
    if (!entries.empty()) reply.delivered.emplace_back(queue, std::move(entries));
  }
  if (reply.delivered.empty()) return std::nullopt;
  return reply;
}

void MemoryServer::serve_waiters() {
  for (auto at = waiters_.begin(); at != waiters_.end();) {
    if (at->reader == 0 && at->until <= loop_.clock.monotonic()) {
      at = waiters_.erase(at);
      continue;
    }
    std::optional<GroupReply> reply = read_group(at->consumer, at->queues, at->count);
    if (!reply) {
      ++at;
      continue;
    }
    Waiter served = std::move(*at);
    waiters_.erase(at);
    if (served.answer) served.answer(*std::move(reply));
    at = waiters_.begin();  // the answer's hooks may have changed the list
  }
}

void MemoryServer::wake_cursors() {
  each_bus([](MemoryBus& bus) { bus.on_added(); });
}

void MemoryServer::forget_waiter(std::uint64_t reader, bool leaves_ghost) {
  const auto at = std::find_if(waiters_.begin(), waiters_.end(), [&](const Waiter& w) { return w.reader == reader; });
  if (at == waiters_.end()) return;
  if (!leaves_ghost) {
    waiters_.erase(at);
    return;
  }
  at->reader = 0;
  at->answer = nullptr;
}

void MemoryServer::stop() {
  is_up_ = false;
  late_.clear();
  drop_ghosts();
  each_bus([](MemoryBus& bus) { bus.break_connections(); });
}

void MemoryServer::start() {
  is_up_ = true;
  each_bus([this](MemoryBus& bus) { bus.connect_links(reconnect_delay_); });
}

void MemoryServer::restore(Snapshot snapshot, std::string incarnation) {
  stop();
  keys_ = std::move(snapshot);
  if (incarnation.empty()) {
    const std::string number = std::to_string(++incarnations_);
    incarnation = "run-" + number + ":replid-" + number;
  }
  incarnation_ = std::move(incarnation);
  start();
}

void MemoryServer::run_late_effects() {
  for (const auto& command : std::exchange(late_, {})) command->run(*this);
}

void MemoryServer::drop_ghosts() {
  ghost_subscriptions_.clear();
  std::erase_if(waiters_, [](const Waiter& waiter) { return waiter.reader == 0; });
}

std::size_t MemoryServer::length(const std::string& key) {
  const Stream* stream = find_stream(key);
  return stream == nullptr ? 0 : stream->entries.size();
}

std::vector<OwnedEntry> MemoryServer::entries(const std::string& key) {
  std::vector<OwnedEntry> found;
  if (const Stream* stream = find_stream(key)) {
    for (const auto& [id, fields] : stream->entries) found.push_back({id, fields});
  }
  return found;
}

std::vector<PendingEntry> MemoryServer::pending(const std::string& queue) {
  std::vector<PendingEntry> found;
  if (const Group* group = find_group(queue)) {
    for (const auto& [id, pending] : group->pending) {
      found.push_back({id, pending.consumer, std::max<std::int64_t>(0, now_ms() - pending.delivered_ms), pending.count});
    }
  }
  return found;
}

std::vector<std::string> MemoryServer::consumers(const std::string& queue) {
  std::vector<std::string> names;
  if (const Group* group = find_group(queue)) {
    for (const auto& [name, seen] : group->seen_ms) names.push_back(name);
  }
  return names;
}

std::optional<std::int64_t> MemoryServer::lag(const std::string& queue) {
  const Group* group = find_group(queue);
  if (group == nullptr) return std::nullopt;
  const Stream& stream = *find_stream(queue);
  if (stream.added == 0) return 0;
  const auto read = group->entries_read && !has_tombstones_from(stream, group->last_delivered)
                        ? group->entries_read
                        : distance_from_first_ever(stream, group->last_delivered);
  if (!read) return std::nullopt;
  return static_cast<std::int64_t>(stream.added) - static_cast<std::int64_t>(*read);
}

std::uint64_t MemoryServer::subscribers(const std::string& channel) const {
  return subscriptions_.count(channel) + ghost_subscriptions_.count(channel);
}

// ---- One connection of a process. It breaks at once; its process is told in a later turn and then reconnects.

class MemoryBus::Link {
 public:
  Link(MemoryBus& bus, LinkKind kind)
      : bus_(bus), server_(bus.server_), kind_(kind), connect_timer_(server_.loop_.loop, [this] { connect(); }) {
    bus_.links_.push_back(this);
    connect_later(base::Duration(0));
  }
  virtual ~Link() { std::erase(bus_.links_, this); }
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  LinkKind kind() const { return kind_; }
  // As the process sees it.
  bool is_up() const { return is_up_; }

  void connect_later(base::Duration delay) {
    if (is_linked_ || !bus_.may_connect(kind_)) return;
    if (is_up_) {
      comes_back_at_once_ = delay == base::Duration(0);
    } else {
      connect_timer_.arm(delay);
    }
  }
  void break_off(const Break& how) {
    connect_timer_.cancel();
    if (!is_linked_) return;
    is_linked_ = false;
    comes_back_at_once_ = false;
    connection_ = std::make_shared<bool>();
    on_broken(how);
    server_.loop_.loop.defer([this, connection = std::weak_ptr(connection_)] {
      if (connection.expired() || bus_.is_killed_) return;
      is_up_ = false;
      connect_later(comes_back_at_once_ ? base::Duration(0) : server_.reconnect_delay_);
      on_down();
    });
  }
  // Something that waited may go on.
  virtual void step() = 0;
  virtual void on_added() {}
  // Runs step() in a later turn, unless the connection breaks first.
  void step_later() {
    if (!is_linked_ || is_step_due_) return;
    is_step_due_ = true;
    server_.loop_.loop.defer([this, connection = std::weak_ptr(connection_)] {
      if (connection.expired()) return;
      is_step_due_ = false;
      step();
    });
  }

 protected:
  virtual void on_up() = 0;
  virtual void on_broken(const Break& how) = 0;  // at the server, at once
  virtual void on_down() = 0;                    // at the process, later

  // Expires when the connection breaks, the process is killed or the object dies.
  std::weak_ptr<bool> connection() const { return connection_; }
  bool is_linked() const { return is_linked_; }

  MemoryBus& bus_;
  MemoryServer& server_;

 private:
  void connect() {
    if (is_linked_ || !bus_.may_connect(kind_)) return;
    is_linked_ = is_up_ = true;
    is_step_due_ = false;
    connection_ = std::make_shared<bool>();
    on_up();
  }

  const LinkKind kind_;
  net::Timer connect_timer_;
  std::shared_ptr<bool> connection_ = std::make_shared<bool>();
  bool is_linked_ = false;
  bool is_up_ = false;
  bool is_step_due_ = false;
  bool comes_back_at_once_ = false;
};

class MemoryBus::CommandLink final : public Link {
 public:
  explicit CommandLink(MemoryBus& bus) : Link(bus, LinkKind::commands) {}

  void send(std::shared_ptr<MemoryServer::Command> command) {
    written_.push_back(std::move(command));
    step_later();
  }
  std::size_t outstanding() const { return written_.size() + answered_.size() + lost_.size(); }

  void step() override {
    const std::weak_ptr<bool> link = connection();
    // Replies come first, so that what takes effect now is answered in a later turn.
    std::size_t index = 0;
    for (std::size_t left = answered_.size(); left > 0; --left) {
      if (bus_.is_held(answered_[index]->op, Hold::reply)) {
        if (!bus_.may_overtake_) break;
        ++index;
        continue;
      }
      const auto command = take(answered_, index);
      command->complete();
      if (link.expired()) return;
    }
    index = 0;
    for (std::size_t left = written_.size(); left > 0; --left) {
      const auto command = written_[index];
      if (bus_.is_held(command->op, Hold::effect)) {
        if (!bus_.may_overtake_) break;
        ++index;
        continue;
      }
      bus_.run_hooks(bus_.before_, command->op);
      if (link.expired()) return;
      take(written_, index);
      if (std::optional<Error> failure = bus_.take_failure(command->op)) {
        command->refuse(*std::move(failure));
      } else {
        command->run(server_);
      }
      if (link.expired()) {  // another process' hook broke this one while it was at work
        if (!bus_.is_killed_) command->fail({Code::outcome_unknown, "connection lost"});
        return;
      }
      answered_.push_back(command);
      step_later();
      bus_.run_hooks(bus_.after_, command->op);
      if (link.expired()) return;
    }
  }

 private:
  using Queue = std::deque<std::shared_ptr<MemoryServer::Command>>;
  static std::shared_ptr<MemoryServer::Command> take(Queue& queue, std::size_t index) {
    const auto at = queue.begin() + static_cast<std::ptrdiff_t>(index);
    auto command = std::move(*at);
    queue.erase(at);
    return command;
  }
  void on_up() override { bus_.on_up(); }
  void on_broken(const Break& how) override {
    if (how.in_flight == InFlight::late) server_.late_.insert(server_.late_.end(), written_.begin(), written_.end());
    for (Queue* queue : {&answered_, &written_}) {
      for (auto& command : *queue) {
        if (bus_.is_killed_) command->drop();
        else lost_.push_back(std::move(command));
      }
      queue->clear();
    }
  }
  void on_down() override {
    // Written after the connection broke and before that was seen.
    lost_.insert(lost_.end(), written_.begin(), written_.end());
    written_.clear();
    for (const auto& command : std::exchange(lost_, {})) {
      if (bus_.is_killed_) command->drop();
      else command->fail({Code::outcome_unknown, "connection lost"});
    }
    if (!bus_.is_killed_) bus_.on_down();
  }

  Queue written_;   // not yet carried out
  Queue answered_;  // carried out, the reply is under way
  Queue lost_;      // to be completed when the loss is seen
};

class MemoryBus::GroupReaderLink final : public Link, public messaging::GroupReader {
 public:
  GroupReaderLink(MemoryBus& bus, std::string consumer, messaging::GroupReaderHandler& handler)
      : Link(bus, LinkKind::reader),
        consumer_(std::move(consumer)),
        handler_(handler),
        id_(++server_.readers_),
        block_timer_(server_.loop_.loop, [this] { end_block(); }) {}
  ~GroupReaderLink() override { server_.forget_waiter(id_, false); }

  void read(const std::vector<std::string>& queues, std::uint32_t count) override {
    CHECK(is_up() && !is_reading());
    ++bus_.calls_[Op::read];
    queues_ = queues;
    count_ = count;
    state_ = State::sent;
    step_later();
  }
  bool is_reading() const override { return state_ != State::idle; }
  bool is_connected() const override { return is_up(); }
  void unblock() override {
    bus_.submit<void>(Op::unblock, {}, [id = id_](MemoryServer& server) -> Result<void> {
      for (MemoryServer::Waiter& waiter : server.waiters_) {
        if (waiter.reader != id) continue;
        base::UniqueFunction<void(MemoryServer::GroupReply)> answer = std::move(waiter.answer);
        server.forget_waiter(id, false);
        answer({});
        break;
      }
      return {};
    });
  }
  const std::string& incarnation() const override { return incarnation_; }

  void step() override {
    if (state_ == State::sent && !bus_.is_held(Op::read, Hold::effect)) {
      const std::weak_ptr<bool> link = connection();
      bus_.run_hooks(bus_.before_, Op::read);
      if (link.expired()) return;
      if (auto reply = server_.read_group(consumer_, queues_, count_)) {
        answer(*std::move(reply));
        return;
      }
      state_ = State::blocked;
      const base::TimePoint until = server_.loop_.clock.monotonic() + limits::kBlockTime;
      block_timer_.arm_at(until);
      server_.waiters_.push_back({consumer_, queues_, count_, until, id_,
                                  [this](MemoryServer::GroupReply reply) { answer(std::move(reply)); }});
    } else if (state_ == State::answered && !bus_.is_held(Op::read, Hold::reply)) {
      hand_over();
    }
  }

 private:
  // What the one outstanding read waits for.
  enum class State : std::uint8_t { idle, sent, blocked, answered };

  void answer(MemoryServer::GroupReply reply) {
    block_timer_.cancel();
    state_ = State::answered;
    reply_ = std::move(reply);
    step_later();
    if (!reply_.delivered.empty()) bus_.run_hooks(bus_.after_, Op::read);
  }
  void end_block() {
    server_.forget_waiter(id_, false);
    answer({});
  }
  void hand_over() {
    const std::weak_ptr<bool> link = connection();
    const MemoryServer::GroupReply reply = std::exchange(reply_, {});
    for (const auto& [queue, entries] : reply.delivered) {
      handler_.on_delivered(queue, EntryViews(entries).get());
      if (link.expired()) return;
    }
    state_ = State::idle;
    if (reply.is_queue_missing) handler_.on_queue_missing();
    else handler_.on_read_done();
  }
  void on_up() override {
    incarnation_ = server_.incarnation_;
    handler_.on_reader_connected(incarnation_);
  }
  void on_broken(const Break& how) override {
    block_timer_.cancel();
    server_.forget_waiter(id_, !how.server_notices);
    if (state_ == State::sent && how.in_flight == InFlight::late) {
      server_.late_.push_back(std::make_shared<MemoryServer::TypedCommand<void>>(
          Op::read,
          [consumer = consumer_, queues = queues_, count = count_](MemoryServer& server) -> Result<void> {
            server.read_group(consumer, queues, count);
            return {};
          },
          nullptr));
    }
  }
  void on_down() override {
    state_ = State::idle;
    reply_ = {};
    incarnation_.clear();
    handler_.on_reader_lost();
  }

  const std::string consumer_;
  messaging::GroupReaderHandler& handler_;
  const std::uint64_t id_;
  net::Timer block_timer_;
  State state_ = State::idle;
  std::vector<std::string> queues_;
  std::uint32_t count_ = 0;
  MemoryServer::GroupReply reply_;
  std::string incarnation_;
};

class MemoryBus::CursorReaderLink final : public Link, public messaging::CursorReader {
 public:
  CursorReaderLink(MemoryBus& bus, std::vector<Cursor> cursors, messaging::CursorReaderHandler& handler)
      : Link(bus, LinkKind::reader), cursors_(std::move(cursors)), handler_(handler) {}

  void on_added() override { step_later(); }
  void step() override {
    if (bus_.is_held(Op::read_cursor, Hold::effect) || bus_.is_held(Op::read_cursor, Hold::reply)) return;
    const std::weak_ptr<bool> link = connection();
    for (Cursor& cursor : cursors_) {
      const MemoryServer::Stream* stream = server_.find_stream(cursor.stream);
      if (stream == nullptr) continue;
      std::vector<OwnedEntry> entries;
      for (auto at = stream->entries.upper_bound(cursor.after); at != stream->entries.end(); ++at) {
        if (entries.size() == kCursorBatch) {
          step_later();
          break;
        }
        entries.push_back({at->first, at->second});
      }
      if (entries.empty()) continue;
      ++bus_.calls_[Op::read_cursor];
      cursor.after = entries.back().id;
      handler_.on_entries(cursor.stream, EntryViews(entries).get());
      if (link.expired()) return;
    }
  }

 private:
  void on_up() override {
    // A stream made anew with lower ids would be invisible from the old cursor.
    for (Cursor& cursor : cursors_) {
      const MemoryServer::Stream* stream = server_.find_stream(cursor.stream);
      if (stream != nullptr && stream->last_id < cursor.after) cursor.after = {};
    }
    step_later();
  }
  void on_broken(const Break&) override {}
  void on_down() override {}

  std::vector<Cursor> cursors_;
  messaging::CursorReaderHandler& handler_;
};

class MemoryBus::SubscriptionLink final : public Link, public messaging::Subscription {
 public:
  SubscriptionLink(MemoryBus& bus, std::vector<std::string> channels, base::UniqueFunction<void(bool)> on_changed,
                   OnMessage on_message)
      : Link(bus, LinkKind::subscription),
        channels_(std::move(channels)),
        on_changed_(std::move(on_changed)),
        on_message_(std::move(on_message)) {}
  ~SubscriptionLink() override { unsubscribe(); }

  bool is_confirmed() const override { return is_confirmed_; }
  void step() override {
    if (!is_subscribed_ && !bus_.is_held(Op::subscribe, Hold::effect)) {
      ++bus_.calls_[Op::subscribe];
      for (const std::string& channel : channels_) server_.subscriptions_.insert(channel);
      is_subscribed_ = true;
      step_later();
    } else if (is_subscribed_ && !is_confirmed_ && !bus_.is_held(Op::subscribe, Hold::reply)) {
      is_confirmed_ = true;
      on_changed_(true);
    }
    const std::weak_ptr<bool> link = connection();
    while (is_confirmed_ && !messages_.empty() && !bus_.is_held(Op::tell, Hold::reply)) {
      const auto [channel, message] = std::move(messages_.front());
      messages_.pop_front();
      if (on_message_) on_message_(channel, message);
      if (link.expired()) return;
    }
  }
  void deliver(const std::string& channel, const std::string& message) {
    if (!is_subscribed_ || std::find(channels_.begin(), channels_.end(), channel) == channels_.end()) return;
    messages_.emplace_back(channel, message);
    step_later();
  }

 private:
  void unsubscribe() {
    messages_.clear();
    if (!std::exchange(is_subscribed_, false)) return;
    for (const std::string& channel : channels_) server_.subscriptions_.erase(server_.subscriptions_.find(channel));
  }
  void on_up() override { step_later(); }
  void on_broken(const Break& how) override {
    if (is_subscribed_ && !how.server_notices) {
      server_.ghost_subscriptions_.insert(channels_.begin(), channels_.end());
    }
    unsubscribe();
  }
  void on_down() override {
    if (std::exchange(is_confirmed_, false)) on_changed_(false);
  }

  const std::vector<std::string> channels_;
  base::UniqueFunction<void(bool)> on_changed_;
  OnMessage on_message_;
  std::deque<std::pair<std::string, std::string>> messages_;  // published, and not yet here
  bool is_subscribed_ = false;  // at the server
  bool is_confirmed_ = false;   // as the process knows it
};

void MemoryServer::publish_message(const std::string& channel, const std::string& message) {
  each_bus([&](MemoryBus& bus) {
    for (MemoryBus::Link* link : bus.links_) {
      if (auto* subscription = dynamic_cast<MemoryBus::SubscriptionLink*>(link)) subscription->deliver(channel, message);
    }
  });
}

// ---- One process: connections and faults.

MemoryBus::MemoryBus(MemoryServer& server) : server_(server) {
  server_.buses_.push_back(this);
  commands_ = std::make_unique<CommandLink>(*this);
}

MemoryBus::~MemoryBus() {
  CHECK(links_.size() == 1);  // readers and subscriptions die first
  commands_.reset();
  std::erase(server_.buses_, this);
}

void MemoryBus::kill(InFlight in_flight) {
  is_killed_ = true;
  alive_.reset();
  break_connections({.in_flight = in_flight});
}

void MemoryBus::break_connections(const Break& how) {
  for (Link* link : std::vector(links_)) {
    const bool is_meant = link->kind() == LinkKind::commands ? how.commands
                          : link->kind() == LinkKind::reader ? how.readers
                                                             : how.subscriptions;
    if (is_meant) link->break_off(how);
  }
}

void MemoryBus::cut(const Break& how) {
  if (how.commands) cut_.insert(LinkKind::commands);
  if (how.readers) cut_.insert(LinkKind::reader);
  if (how.subscriptions) cut_.insert(LinkKind::subscription);
  break_connections(how);
}

void MemoryBus::restore() {
  cut_.clear();
  connect_links(base::Duration(0));
}

void MemoryBus::connect_links(base::Duration delay) {
  for (Link* link : std::vector(links_)) link->connect_later(delay);
}

bool MemoryBus::may_connect(LinkKind kind) const { return !is_killed_ && server_.is_up_ && !cut_.contains(kind); }

void MemoryBus::lose_reply_of(Op op) {
  const bool is_read = op == Op::read || op == Op::read_cursor;
  after_next(op, [this, is_read] {
    break_connections({.commands = !is_read, .readers = is_read, .subscriptions = false});
  });
}

void MemoryBus::hold(Op op, Hold where) { holds_[op] = where; }

void MemoryBus::release(Op op) {
  holds_.erase(op);
  for (Link* link : links_) link->step_later();
}

bool MemoryBus::is_held(Op op, Hold where) const {
  const auto at = holds_.find(op);
  return at != holds_.end() && at->second == where;
}

void MemoryBus::run_hooks(std::map<Op, std::vector<base::UniqueFunction<void()>>>& hooks, Op op) {
  const auto at = hooks.find(op);
  if (at == hooks.end() || at->second.empty()) return;
  base::UniqueFunction<void()> hook = std::move(at->second.front());
  at->second.erase(at->second.begin());
  hook();
}

std::optional<Error> MemoryBus::take_failure(Op op) {
  const auto at = failures_.find(op);
  if (at == failures_.end() || at->second.empty()) return std::nullopt;
  Error error = std::move(at->second.front());
  at->second.erase(at->second.begin());
  return error;
}

std::uint64_t MemoryBus::calls(Op op) const {
  const auto at = calls_.find(op);
  return at == calls_.end() ? 0 : at->second;
}

std::size_t MemoryBus::outstanding() const { return commands_->outstanding(); }
messaging::BusStatus MemoryBus::status() const {
  messaging::BusStatus status;
  status.refuses_writes = server_.is_out_of_memory_;
  if (status.refuses_writes) status.problem = "out-of-memory";
  return status;
}

bool MemoryBus::is_connected() const { return commands_->is_up(); }

void MemoryBus::on_added() {
  for (Link* link : links_) link->on_added();
}

void MemoryBus::on_up() {
  const bool is_new = !incarnation_.empty() && incarnation_ != server_.incarnation_;
  incarnation_ = server_.incarnation_;
  connected_since_ = server_.loop_.loop.now();
  for (messaging::BusObserver* observer : std::vector(observers_)) observer->on_bus_connected(is_new);
}

void MemoryBus::on_down() {
  for (messaging::BusObserver* observer : std::vector(observers_)) {
    observer->on_bus_lost({Code::closed, "connection lost"});
  }
}

template <class T, class Effect>
void MemoryBus::submit(Op op, Done<T> done, Effect effect) {
  ++calls_[op];
  if (is_killed_) return;
  if (!is_connected()) {
    if (!done) return;
    server_.loop_.loop.defer([alive = std::weak_ptr(alive_), done = std::move(done)]() mutable {
      if (!alive.expired()) done(Error{Code::closed, "not connected"});
    });
    return;
  }
  commands_->send(std::make_shared<MemoryServer::TypedCommand<T>>(op, std::move(effect), std::move(done)));
}

// ---- Commands. Effects name nothing of the bus: they may outlive it.

void MemoryBus::publish(const std::string& stream, const frames::EncodedFrame& frame, PublishOptions options,
                        Done<std::optional<EntryId>> done) {
  MemoryServer::Fields fields;
  for (const frames::EntryField& field : frame.fields()) fields.emplace_back(field.name, field.value);
  submit(Op::publish, std::move(done),
         [stream, fields = std::move(fields), options](MemoryServer& server) mutable -> Result<std::optional<EntryId>> {
           if (server.is_out_of_memory_) return out_of_memory();
           if (server.find(stream) != nullptr && server.find_stream(stream) == nullptr) return wrong_type();
           if (!options.may_create && !server.exists(stream)) return std::optional<EntryId>();
           const EntryId id = server.add(stream, std::move(fields));
           if (options.notify) ++server.notified_[stream];
           auto& entries = server.find_stream(stream)->entries;
           while (options.max_length != 0 && entries.size() > options.max_length) entries.erase(entries.begin());
           return std::optional(id);
         });
}

void MemoryBus::settle(const std::string& queue, EntryId id, Done<void> done) {
  submit(Op::settle, std::move(done), [queue, id, deletions = held_deletions_](MemoryServer& server) -> Result<void> {
    MemoryServer::Stream* stream = server.find_stream(queue);
    if (stream == nullptr) return {};
    if (stream->group) stream->group->pending.erase(id);
    HeldDeletions::Queue& mine = deletions->queues[queue];
    if (id < mine.highest) {
      delete_entry(*stream, id);
    } else if (stream->entries.contains(id)) {
      mine.held.insert(id);
    }
    while (!stream->entries.empty() && mine.held.erase(stream->entries.begin()->first) != 0) {
      delete_entry(*stream, stream->entries.begin()->first);
    }
    return {};
  });
}

void MemoryBus::note_delivered(const std::string& queue, EntryId id) {
  HeldDeletions::Queue& mine = held_deletions_->queues[queue];
  mine.highest = std::max(mine.highest, id);
  if (!is_connected() || mine.held.empty() || *mine.held.begin() >= mine.highest) return;
  submit<void>(Op::note_delivered, {}, [queue, deletions = held_deletions_](MemoryServer& server) -> Result<void> {
    HeldDeletions::Queue& held = deletions->queues[queue];
    while (!held.held.empty() && *held.held.begin() < held.highest) {
      server.remove_entry(queue, *held.held.begin());
      held.held.erase(held.held.begin());
    }
    return {};
  });
}

void MemoryBus::ensure_group(const std::string& queue, Done<void> done) { join_group(queue, {}, std::move(done)); }

void MemoryBus::join_group(const std::string& queue, const std::string& consumer, Done<void> done) {
  submit(Op::ensure_group, std::move(done), [queue, consumer](MemoryServer& server) -> Result<void> {
    if (server.is_out_of_memory_) return out_of_memory();
    if (!server.exists(queue)) server.keys_[queue].value = MemoryServer::Stream{};
    MemoryServer::Stream* stream = server.find_stream(queue);
    if (stream == nullptr) return wrong_type();
    if (!stream->group) {
      MemoryServer::Group& group = stream->group.emplace();
      for (const auto& [id, fields] : stream->entries) {
        group.pending[id] = {std::string(frames::kParkedConsumer), server.now_ms() - kParkedIdleMs, 1};
        group.last_delivered = id;
      }
      if (!stream->entries.empty()) {
        group.entries_read = distance_from_first_ever(*stream, group.last_delivered);
        group.seen_ms.try_emplace(std::string(frames::kParkedConsumer), server.now_ms());
      }
    }
    if (!consumer.empty()) stream->group->seen_ms.try_emplace(consumer, server.now_ms());
    return {};
  });
}

void MemoryBus::renew(const std::string& queue, const std::string& consumer, std::vector<EntryId> ids,
                      Done<std::vector<EntryId>> done) {
  submit(Op::renew, std::move(done),
         [queue, consumer, ids = std::move(ids)](MemoryServer& server) -> Result<std::vector<EntryId>> {
           MemoryServer::Group* group = server.find_group(queue);
           if (group == nullptr) return no_group();
           std::vector<EntryId> owned;
           for (const EntryId id : ids) {
             const auto at = group->pending.find(id);
             if (at == group->pending.end() || at->second.consumer != consumer) continue;
             if (!server.find_stream(queue)->entries.contains(id)) {  // XCLAIM drops what was deleted
               group->pending.erase(at);
               continue;
             }
             at->second.delivered_ms = group->seen_ms[consumer] = server.now_ms();
             owned.push_back(id);
           }
           return owned;
         });
}

void MemoryBus::hand_back(const std::string& queue, const std::string& consumer, std::vector<HandBack> entries,
                          Done<std::vector<EntryId>> done) {
  submit(Op::hand_back, std::move(done),
         [queue, consumer, entries = std::move(entries)](MemoryServer& server) -> Result<std::vector<EntryId>> {
           MemoryServer::Group* group = server.find_group(queue);
           if (group == nullptr) return no_group();
           std::vector<EntryId> parked;
           for (const HandBack& entry : entries) {
             const auto at = group->pending.find(entry.id);
             if (at == group->pending.end() || at->second.consumer != consumer) continue;
             if (at->second.count != entry.delivery_count) continue;
             if (!server.find_stream(queue)->entries.contains(entry.id)) {
               group->pending.erase(at);
               continue;
             }
             const std::string to(frames::kParkedConsumer);
             group->seen_ms[to] = server.now_ms();
             at->second = {to, server.now_ms() - kParkedIdleMs, entry.new_count};
             parked.push_back(entry.id);
           }
           return parked;
         });
}

void MemoryBus::own_pending(const std::string& queue, const std::string& consumer, std::vector<EntryId> in_hand,
                            std::uint32_t limit, Done<std::vector<ClaimedEntry>> done) {
  submit(Op::own_pending, std::move(done),
         [queue, consumer, limit, in_hand = std::set<EntryId>(in_hand.begin(), in_hand.end())](
             MemoryServer& server) -> Result<std::vector<ClaimedEntry>> {
           const MemoryServer::Group* group = server.find_group(queue);
           if (group == nullptr) return no_group();
           const auto& entries = server.find_stream(queue)->entries;
           std::vector<ClaimedEntry> owned;
           for (const auto& [id, pending] : group->pending) {
             if (owned.size() == limit) break;
             const auto at = entries.find(id);
             if (pending.consumer != consumer || in_hand.contains(id) || at == entries.end()) continue;
             owned.push_back({{id, at->second}, pending.count});
           }
           return owned;
         });
}

void MemoryBus::pending_entries(const std::string& queue, std::int64_t min_idle_ms, std::uint32_t limit,
                                Done<std::vector<PendingEntry>> done) {
  submit(Op::pending_entries, std::move(done),
         [queue, min_idle_ms, limit](MemoryServer& server) -> Result<std::vector<PendingEntry>> {
           if (server.find_group(queue) == nullptr) return no_group();
           std::vector<PendingEntry> found = server.pending(queue);
           std::erase_if(found, [&](const PendingEntry& entry) { return entry.idle_ms < min_idle_ms; });
           if (found.size() > limit) found.resize(limit);
           return found;
         });
}

void MemoryBus::read_entries(const std::string& queue, std::vector<EntryId> ids, Done<std::vector<OwnedEntry>> done) {
  submit(Op::read_entries, std::move(done),
         [queue, ids = std::move(ids)](MemoryServer& server) -> Result<std::vector<OwnedEntry>> {
           std::vector<OwnedEntry> found;
           const MemoryServer::Stream* stream = server.find_stream(queue);
           for (const EntryId id : ids) {
             if (stream == nullptr || !stream->entries.contains(id)) continue;
             found.push_back({id, stream->entries.at(id)});
           }
           return found;
         });
}

void MemoryBus::claim(const std::string& queue, const std::string& consumer, const std::string& from,
                      std::vector<PendingEntry> entries, Done<std::vector<ClaimedEntry>> done) {
  submit(Op::claim, std::move(done),
         [queue, consumer, from, wanted = std::move(entries)](MemoryServer& server) -> Result<std::vector<ClaimedEntry>> {
           MemoryServer::Group* group = server.find_group(queue);
           if (group == nullptr) return no_group();
           const auto& bodies = server.find_stream(queue)->entries;
           std::vector<ClaimedEntry> claimed;
           for (const PendingEntry& entry : wanted) {
             const auto at = group->pending.find(entry.id);
             if (at == group->pending.end() || at->second.consumer != from) continue;
             if (server.now_ms() - at->second.delivered_ms < entry.idle_ms) continue;
             const auto body = bodies.find(entry.id);
             if (body == bodies.end()) {
               group->pending.erase(at);
               continue;
             }
             group->seen_ms[consumer] = server.now_ms();
             at->second = {consumer, server.now_ms(), at->second.count + 1};
             claimed.push_back({{entry.id, body->second}, at->second.count});
           }
           return claimed;
         });
}

void MemoryBus::take(const std::string& queue, std::vector<EntryId> ids, bool only_unbegun,
                     Done<std::vector<EntryId>> done) {
  submit(Op::take, std::move(done),
         [queue, ids = std::move(ids), only_unbegun](MemoryServer& server) -> Result<std::vector<EntryId>> {
           MemoryServer::Group* group = server.find_group(queue);
           if (group == nullptr) return no_group();
           std::vector<EntryId> taken;
           for (const EntryId id : ids) {
             const auto at = group->pending.find(id);
             const bool is_pending = at != group->pending.end();
             if (is_pending ? at->second.consumer != frames::kParkedConsumer : id <= group->last_delivered) continue;
             if (is_pending && only_unbegun && at->second.count > 0) continue;
             if (is_pending) group->pending.erase(at);
             if (server.remove_entry(queue, id)) taken.push_back(id);
           }
           return taken;
         });
}

void MemoryBus::sweep(const std::string& queue, const std::string& self, std::int64_t dead_after_ms, Done<void> done) {
  submit(Op::sweep, std::move(done), [queue, self, dead_after_ms](MemoryServer& server) -> Result<void> {
    MemoryServer::Group* group = server.find_group(queue);
    if (group == nullptr) return no_group();
    MemoryServer::Stream& stream = *server.find_stream(queue);
    while (!stream.entries.empty()) {
      const EntryId first = stream.entries.begin()->first;
      if (first > group->last_delivered || group->pending.contains(first)) break;
      delete_entry(stream, first);
    }
    std::set<std::string> owners{self};
    for (const auto& [id, pending] : group->pending) owners.insert(pending.consumer);
    std::erase_if(group->seen_ms, [&](const auto& consumer) {
      return !owners.contains(consumer.first) && server.now_ms() - consumer.second >= dead_after_ms;
    });
    return {};
  });
}

void MemoryBus::remove_consumer(const std::string& queue, const std::string& consumer, Done<void> done) {
  submit(Op::remove_consumer, std::move(done), [queue, consumer](MemoryServer& server) -> Result<void> {
    MemoryServer::Group* group = server.find_group(queue);
    if (group == nullptr) return no_group();
    for (const auto& [id, pending] : group->pending) {
      if (pending.consumer == consumer) return {};
    }
    group->seen_ms.erase(consumer);
    return {};
  });
}

void MemoryBus::remove_unused(const std::string& queue, std::int64_t dead_after_ms, Done<bool> done) {
  submit(Op::remove_unused, std::move(done), [queue, dead_after_ms](MemoryServer& server) -> Result<bool> {
    const MemoryServer::Group* group = server.find_group(queue);
    if (group == nullptr || server.length(queue) > 0 || !group->pending.empty()) return false;
    for (const auto& [consumer, seen] : group->seen_ms) {
      if (consumer != frames::kParkedConsumer && server.now_ms() - seen <= dead_after_ms) return false;
    }
    return server.remove(queue);
  });
}

void MemoryBus::queue_length(const std::string& queue, Done<std::uint64_t> done) {
  submit(Op::queue_length, std::move(done), [queue](MemoryServer& server) -> Result<std::uint64_t> {
    if (server.exists(queue) && server.find_stream(queue) == nullptr) return wrong_type();
    return std::uint64_t{server.length(queue)};
  });
}

void MemoryBus::queue_statistics(std::vector<std::string> queues, Done<messaging::QueueStatistics> done) {
  submit(Op::queue_statistics, std::move(done),
         [queues = std::move(queues)](MemoryServer& server) -> Result<messaging::QueueStatistics> {
           messaging::QueueStatistics sum;
           sum.lag = 0;
           for (const std::string& queue : queues) {
             if (!server.exists(queue)) continue;
             const MemoryServer::Stream* stream = server.find_stream(queue);
             if (stream == nullptr) return wrong_type();
             sum.length += stream->entries.size();
             std::optional<EntryId> oldest;
             auto undelivered = stream->entries.begin();
             if (stream->group) {
               sum.pending += stream->group->pending.size();
               for (const auto& [id, pending] : stream->group->pending) {
                 if (pending.consumer == frames::kParkedConsumer) ++sum.parked;
               }
               if (!stream->group->pending.empty()) oldest = stream->group->pending.begin()->first;
               undelivered = stream->entries.upper_bound(stream->group->last_delivered);
             }
             *sum.lag += static_cast<std::uint64_t>(std::distance(undelivered, stream->entries.end()));
             if (undelivered != stream->entries.end()) oldest = std::min(oldest.value_or(undelivered->first), undelivered->first);
             if (oldest) {
               sum.oldest_age_ms =
                   std::max(sum.oldest_age_ms, server.now_ms() - static_cast<std::int64_t>(oldest->ms));
             }
           }
           return sum;
         });
}

void MemoryBus::consumers(const std::string& queue, Done<std::vector<std::string>> done) {
  submit(Op::consumers, std::move(done), [queue](MemoryServer& server) -> Result<std::vector<std::string>> {
    if (server.find_group(queue) == nullptr) return no_group();
    return server.consumers(queue);
  });
}

void MemoryBus::ensure_stream(const std::string& stream, base::Duration ttl, EntryId cursor, Done<bool> done) {
  submit(Op::ensure_stream, std::move(done), [stream, ttl, cursor](MemoryServer& server) -> Result<bool> {
    if (server.is_out_of_memory_) return out_of_memory();
    const bool is_missing = !server.exists(stream);
    if (is_missing) server.keys_[stream].value = MemoryServer::Stream{};
    MemoryServer::Stream* found = server.find_stream(stream);
    if (found == nullptr) return wrong_type();
    found->last_id = std::max(found->last_id, cursor);
    server.keys_[stream].expires_ms = server.now_ms() + to_ms(ttl);
    return is_missing;
  });
}

void MemoryBus::trim(const std::string& stream, EntryId id) {
  submit<void>(Op::trim, {}, [stream, id](MemoryServer& server) -> Result<void> {
    if (MemoryServer::Stream* found = server.find_stream(stream)) {
      found->entries.erase(found->entries.begin(), found->entries.upper_bound(id));
    }
    return {};
  });
}

void MemoryBus::remove_key(const std::string& key) {
  submit<void>(Op::remove_key, {}, [key](MemoryServer& server) -> Result<void> {
    server.remove(key);
    return {};
  });
}

void MemoryBus::subscribers(std::vector<std::string> channels, Done<std::vector<std::uint64_t>> done) {
  submit(Op::subscribers, std::move(done),
         [channels = std::move(channels)](MemoryServer& server) -> Result<std::vector<std::uint64_t>> {
           std::vector<std::uint64_t> counts;
           for (const std::string& channel : channels) counts.push_back(server.subscribers(channel));
           return counts;
         });
}

void MemoryBus::get(const std::string& key, Done<std::optional<std::string>> done) {
  submit(Op::get, std::move(done), [key](MemoryServer& server) -> Result<std::optional<std::string>> {
    const MemoryServer::Key* found = server.find(key);
    if (found == nullptr) return std::optional<std::string>();
    const std::string* text = std::get_if<std::string>(&found->value);
    if (text == nullptr) return wrong_type();
    return std::optional(*text);
  });
}

void MemoryBus::set(const std::string& key, std::string value, base::Duration ttl, bool only_if_absent,
                    Done<bool> done) {
  submit(Op::set, std::move(done),
         [key, value = std::move(value), ttl, only_if_absent](MemoryServer& server) -> Result<bool> {
           if (server.is_out_of_memory_) return out_of_memory();
           if (only_if_absent && server.exists(key)) return false;
           server.keys_[key] = {value, server.now_ms() + to_ms(ttl)};
           server.serve_waiters();
           return true;
         });
}

void MemoryBus::refresh_ttl(const std::string& key, base::Duration ttl, Done<bool> done) {
  submit(Op::refresh_ttl, std::move(done), [key, ttl](MemoryServer& server) -> Result<bool> {
    MemoryServer::Key* found = server.find(key);
    if (found == nullptr) return false;
    found->expires_ms = server.now_ms() + to_ms(ttl);
    return true;
  });
}

void MemoryBus::charge(std::vector<messaging::RateBucket> buckets, Done<std::vector<base::Duration>> done) {
  submit(Op::charge, std::move(done),
         [buckets = std::move(buckets)](MemoryServer& server) -> Result<std::vector<base::Duration>> {
           const std::chrono::microseconds now = std::chrono::milliseconds(server.now_ms());
           std::vector<base::Duration> backlogs;
           bool is_admitted = true;
           for (const messaging::RateBucket& bucket : buckets) {
             const MemoryServer::Key* key = server.find(bucket.key);
             const std::string* text = key == nullptr ? nullptr : std::get_if<std::string>(&key->value);
             if (key != nullptr && text == nullptr) return wrong_type();
             const std::chrono::microseconds arrival = text == nullptr ? now : std::chrono::microseconds(std::stoll(*text));
             backlogs.push_back(bucket.rate.backlog(arrival - now));
             is_admitted = is_admitted && bucket.rate.admits(backlogs.back());
           }
           if (!is_admitted) return backlogs;
           if (server.is_out_of_memory_) return out_of_memory();
           for (std::size_t i = 0; i < buckets.size(); ++i) {
             const base::Duration ahead = backlogs[i] + buckets[i].rate.interval;
             const auto arrival = now + std::chrono::duration_cast<std::chrono::microseconds>(ahead);
             server.keys_[buckets[i].key] = {std::to_string(arrival.count()),
                                             server.now_ms() + std::chrono::ceil<std::chrono::milliseconds>(ahead).count()};
           }
           return backlogs;
         });
}

std::unique_ptr<messaging::GroupReader> MemoryBus::make_group_reader(std::string consumer,
                                                                     messaging::GroupReaderHandler& handler) {
  return std::make_unique<GroupReaderLink>(*this, std::move(consumer), handler);
}

std::unique_ptr<messaging::CursorReader> MemoryBus::make_cursor_reader(std::vector<Cursor> cursors,
                                                                       messaging::CursorReaderHandler& handler, bool) {
  return std::make_unique<CursorReaderLink>(*this, std::move(cursors), handler);
}

std::unique_ptr<messaging::Subscription> MemoryBus::make_subscription(std::vector<std::string> channels,
                                                                      base::UniqueFunction<void(bool)> on_changed,
                                                                      OnMessage on_message) {
  return std::make_unique<SubscriptionLink>(*this, std::move(channels), std::move(on_changed), std::move(on_message));
}

void MemoryBus::bury(const std::string& queue, EntryId id, const std::string& dead, MemoryServer::Fields more,
                     messaging::DeadLetterLimits limits, Done<std::optional<EntryId>> done) {
  submit(Op::bury, std::move(done),
         [queue, id, dead, more = std::move(more), limits](MemoryServer& server) -> Result<std::optional<EntryId>> {
           const MemoryServer::Stream* stream = server.find_stream(queue);
           if (stream == nullptr || !stream->entries.contains(id)) return std::optional<EntryId>();
           if (server.is_out_of_memory_) return out_of_memory();
           MemoryServer::Fields fields = stream->entries.at(id);
           fields.insert(fields.end(), more.begin(), more.end());
           const EntryId buried = server.add(dead, std::move(fields));
           auto& letters = server.find_stream(dead)->entries;
           const auto bytes = [&letters] {
             std::size_t sum = 0;
             for (const auto& [letter, its] : letters) {
               for (const auto& [name, value] : its) sum += name.size() + value.size();
             }
             return sum;
           };
           while (letters.size() > limits.count || (bytes() > limits.bytes && letters.size() > 1)) letters.erase(letters.begin());
           return std::optional(buried);
         });
}

void MemoryBus::tell(const std::string& channel, std::string message) {
  submit(Op::tell, Done<void>(), [channel, message = std::move(message)](MemoryServer& server) -> Result<void> {
    server.publish_message(channel, message);
    return {};
  });
}

void MemoryBus::cancel(const std::string& channel, const std::string& set,
                       std::vector<messaging::Cancellation> cancellations) {
  submit(Op::cancel, Done<void>(),
         [channel, set, cancellations = std::move(cancellations)](MemoryServer& server) -> Result<void> {
           for (const messaging::Cancellation& each : cancellations) server.publish_message(channel, each.text);
           if (server.is_out_of_memory_) return out_of_memory();
           using Scores = MemoryServer::Key::Scores;
           if (server.find(set) == nullptr) server.keys_[set] = {Scores(), std::nullopt};
           MemoryServer::Key& key = *server.find(set);
           auto* scores = std::get_if<Scores>(&key.value);
           if (scores == nullptr) return wrong_type();
           std::erase_if(*scores, [&](const auto& member) { return member.second <= server.now_ms(); });
           for (const messaging::Cancellation& each : cancellations) (*scores)[each.text] = each.until_ms;
           const auto by_expiry = [](const auto& a, const auto& b) { return a.second < b.second; };
           while (scores->size() > limits::kCancelledKept) {
             scores->erase(std::min_element(scores->begin(), scores->end(), by_expiry));
           }
           key.expires_ms = std::max_element(scores->begin(), scores->end(), by_expiry)->second;
           return {};
         });
}

void MemoryBus::cancelled(const std::string& set, Done<std::vector<std::string>> done) {
  submit(Op::cancelled, std::move(done), [set](MemoryServer& server) -> Result<std::vector<std::string>> {
    std::vector<std::string> texts;
    const MemoryServer::Key* key = server.find(set);
    if (key == nullptr) return texts;
    const auto* scores = std::get_if<MemoryServer::Key::Scores>(&key->value);
    if (scores == nullptr) return wrong_type();
    for (const auto& [text, until_ms] : *scores) {
      if (until_ms > server.now_ms()) texts.push_back(text);
    }
    return texts;
  });
}

}  // namespace outrigger::tests
