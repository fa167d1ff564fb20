#include "bridge/valkey/readers.h"

#include <algorithm>

#include "bridge/base/limits.h"
#include "bridge/valkey/valkey_bus.h"

namespace outrigger::valkey {
namespace {

using base::Code;
using base::Error;
using messaging::EntryId;
using messaging::EntryView;
using namespace std::chrono_literals;
namespace limits = base::limits;

// Beyond BLOCK: a blocked read may last longer than asked when another consumer was faster (Redis issue 12998).
constexpr base::Duration kReadSlack = 5s;
constexpr base::Duration kPingInterval = 30s;
constexpr int kEmptyReadsPerCheck = 3;
constexpr int kRareBlockFactor = 3;  // of the block time, for what seldom comes
constexpr base::Duration kUnblockInterval = 50ms;
constexpr base::Duration kUnheardInterval = 500ms;  // wake mode `notify`: how long to sleep while nothing would be heard
constexpr std::uint32_t kCursorCount = limits::kReadBatchBytes / limits::kFrameEntryBytes;

std::string millis_text(base::Duration time) {
  return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(time).count());
}

// A read that blocks is answered late; one that does not is a command like any other.
base::Duration reply_deadline(const ValkeyBus& bus, base::Duration block_time) {
  return bus.wake_mode() == frames::WakeMode::notify ? kReadSlack : block_time + kReadSlack;
}

// For messages: a server does not say which of the keys it means.
std::string joined(const auto& items, auto name) {
  std::string text;
  for (const auto& item : items) text.append(text.empty() ? "" : ",").append(name(item));
  return text;
}

// Hands the entries of one `[stream, [[id, [field, value, ...]], ...]]` over, as views into the reply. The storage is
// the thread's: batches come many times a second.
template <class HandOver>
base::Result<void> each_stream(const Reply& reply, HandOver hand_over) {
  thread_local std::vector<frames::EntryField> fields;
  thread_local std::vector<EntryView> views;
  for (std::size_t s = 0; s < reply.size(); ++s) {
    const Reply stream = reply[s];
    if (stream.size() != 2) return Error{Code::malformed, "a stream's entries have an unknown shape"};
    const Reply entries = stream[1];
    fields.clear();
    views.clear();
    std::size_t total = 0;
    for (std::size_t i = 0; i < entries.size(); ++i) total += entries[i].size() == 2 ? entries[i][1].size() / 2 : 0;
    fields.reserve(total);  // the views below point into it
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const Reply entry = entries[i];
      if (entry.size() != 2) return Error{Code::malformed, "a stream's entry has an unknown shape"};
      const auto id = messaging::parse_entry_id(entry[0].text());
      if (!id) return Error{Code::malformed, "a stream's entry has no id"};
      const Reply pairs = entry[1];  // nil when the entry was deleted while pending
      const std::size_t first = fields.size();
      for (std::size_t k = 0; k + 1 < pairs.size(); k += 2) fields.push_back({pairs[k].text(), pairs[k + 1].text()});
      views.push_back({*id, std::span<const frames::EntryField>(fields.data() + first, fields.size() - first)});
    }
    hand_over(stream[0].text(), std::span<const EntryView>(views));
  }
  return {};
}

}  // namespace

ValkeyGroupReader::ValkeyGroupReader(ValkeyBus& bus, std::string group, std::string consumer,
                                     messaging::GroupReaderHandler& handler)
    : bus_(bus),
      group_(std::move(group)),
      consumer_(std::move(consumer)),
      handler_(handler),
      block_millis_(millis_text(bus.block_time())),
      link_(bus.loop(), bus.link_options("reader", reply_deadline(bus, bus.block_time())), bus.state(), *this),
      timer_(bus.loop(), [this] { on_timer(); }),
      notify_(bus.notify_subscription()) {}

ValkeyGroupReader::~ValkeyGroupReader() {
  if (notify_ != nullptr) notify_->forget(*this);
}

void ValkeyGroupReader::read(const std::vector<std::string>& queues, std::uint32_t count) {
  DCHECK(link_.is_ready() && !is_reading_ && count > 0);
  // One of the two is of a server that is no more; whatever was read now could not be begun.
  if (!bus_.incarnation().empty() && link_.incarnation() != bus_.incarnation()) bus_.state().role_changed();
  is_reading_ = true;
  is_unblocked_ = false;
  count_ = count;
  if (queues_ != queues) {
    queues_ = queues;
    if (notify_ != nullptr) notify_->listen(*this, bus_.notify_channels(queues_));
  }
  block_end_ = bus_.loop().now() + bus_.block_time();
  ask();
}

void ValkeyGroupReader::ask() {
  is_asking_ = true;
  must_ask_again_ = false;
  const bool blocks = notify_ == nullptr;
  std::string& out = link_.begin_command();
  append_command_header(out, (blocks ? 9 : 7) + 2 * queues_.size());
  for (const std::string_view word : {std::string_view("XREADGROUP"), std::string_view("GROUP"),
                                      std::string_view(group_), std::string_view(consumer_), std::string_view("COUNT")}) {
    append_argument(out, word);
  }
  append_argument(out, std::to_string(count_));
  if (blocks) {
    append_argument(out, "BLOCK");
    append_argument(out, block_millis_);
  }
  append_argument(out, "STREAMS");
  for (const std::string& queue : queues_) append_argument(out, queue);
  for (std::size_t i = 0; i < queues_.size(); ++i) append_argument(out, ">");
  link_.expect("XREADGROUP", joined(queues_, [](const std::string& queue) { return queue; }),
               [this](base::Result<Reply> reply) { on_reply(std::move(reply)); });
}

void ValkeyGroupReader::stop_reading() {
  is_reading_ = false;
  is_asking_ = false;
  claimed_.clear();
  timer_.cancel();
}

void ValkeyGroupReader::end_read() {
  stop_reading();
  handler_.on_read_done();
}

void ValkeyGroupReader::on_reply(base::Result<Reply> reply) {
  if (!reply) {
    stop_reading();
    if (reply.error().code == Code::not_found) handler_.on_queue_missing();
    // Lost connections are told by on_link_lost; other errors of a read end the connection, so that its successor
    // learns anew what the server is.
    else if (reply.error().code != Code::outcome_unknown && link_.is_ready()) {
      link_.drop(reply.error());
    }
    return;
  }
  if (notify_ != nullptr) return reply->size() > 0 ? confirm(*reply) : sleep();
  stop_reading();
  const auto handed = each_stream(*reply, [this](std::string_view queue, std::span<const EntryView> entries) {
    if (!entries.empty()) bus_.compare_clock(entries.back().id, false);
    handler_.on_delivered(std::string(queue), entries);
  });
  if (!handed) return link_.drop(handed.error());
  handler_.on_read_done();
}

// Nothing was there. What came since has woken us, for the subscription was confirmed before we asked; or wakes us when it
// is.
void ValkeyGroupReader::sleep() {
  is_asking_ = false;
  const base::TimePoint now = bus_.loop().now();
  if (is_unblocked_ || now >= block_end_) return end_read();
  if (must_ask_again_) return ask();
  timer_.arm_at(notify_->is_confirmed(*this) ? block_end_ : std::min(block_end_, now + kUnheardInterval));
}

void ValkeyGroupReader::on_wake() {
  if (!is_reading_) return;
  if (is_asking_) {
    must_ask_again_ = true;
    return;
  }
  timer_.cancel();
  if (!is_unblocked_) return ask();
  timer_.arm(0s);
}

void ValkeyGroupReader::on_timer() {
  if (notify_ == nullptr) return unblock();
  if (is_unblocked_) return end_read();
  ask();
}

// The entries are ours at the server, and given to nobody yet: if this is not proven to be the server that we greeted,
// they are left to the search for own pending entries.
void ValkeyGroupReader::confirm(const Reply& reply) {
  const auto kept = each_stream(reply, [this](std::string_view queue, std::span<const EntryView> entries) {
    Claimed& claimed = claimed_.emplace_back(Claimed{std::string(queue), {}});
    for (const EntryView& view : entries) {
      messaging::OwnedEntry& entry = claimed.entries.emplace_back(messaging::OwnedEntry{view.id, {}});
      for (const frames::EntryField& field : view.fields) entry.fields.emplace_back(field.name, field.value);
    }
  });
  if (!kept) return link_.drop(kept.error());
  link_.command({"INFO", "replication"}, [this](base::Result<Reply> info) {
    if (!info) {
      if (info.error().code != Code::outcome_unknown && link_.is_ready()) link_.drop(info.error());
      return;
    }
    if (!link_.is_incarnation_of(info->text())) {
      return link_.drop(Error{Code::outcome_unknown, "the server has become another one"});
    }
    hand_over_claimed();
  });
}

void ValkeyGroupReader::hand_over_claimed() {
  const std::vector<Claimed> claimed = std::exchange(claimed_, {});
  stop_reading();
  std::vector<frames::EntryField> fields;
  std::vector<EntryView> views;
  for (const Claimed& one : claimed) {
    fields.clear();
    views.clear();
    std::size_t total = 0;
    for (const messaging::OwnedEntry& entry : one.entries) total += entry.fields.size();
    fields.reserve(total);  // the views below point into it
    for (const messaging::OwnedEntry& entry : one.entries) {
      const std::size_t first = fields.size();
      for (const auto& [name, value] : entry.fields) fields.push_back({name, value});
      views.push_back({entry.id, std::span<const frames::EntryField>(fields.data() + first, fields.size() - first)});
    }
    if (!views.empty()) bus_.compare_clock(views.back().id, false);
    handler_.on_delivered(one.queue, views);
  }
  handler_.on_read_done();
}

void ValkeyGroupReader::on_link_lost(const Error&) {
  stop_reading();
  handler_.on_reader_lost();
}

void ValkeyGroupReader::unblock() {
  if (!is_reading_) return;
  if (notify_ != nullptr) {  // on_read_done follows in a later turn
    is_unblocked_ = true;
    if (!is_asking_) timer_.arm(0s);
    return;
  }
  // The request goes over another connection and may be faster than the read it is meant for: it is repeated until the
  // read has ended.
  bus_.unblock(link_.client_id());
  timer_.arm(kUnblockInterval);
}

ValkeyCursorReader::ValkeyCursorReader(ValkeyBus& bus, std::vector<messaging::Bus::Cursor> cursors,
                                       messaging::CursorReaderHandler& handler, bool is_rare)
    : bus_(bus),
      handler_(handler),
      cursors_(std::move(cursors)),
      is_rare_(is_rare),
      block_time_(bus.block_time() * (is_rare ? kRareBlockFactor : 1)),
      link_(bus.loop(), bus.link_options("cursor", reply_deadline(bus, block_time_)), bus.state(), *this),
      sleep_timer_(bus.loop(), [this] { on_wake(); }),
      notify_(bus.notify_subscription()) {
  if (notify_ == nullptr) return;
  std::vector<std::string> streams;
  for (const auto& cursor : cursors_) streams.push_back(cursor.stream);
  notify_->listen(*this, bus.notify_channels(streams));
}

ValkeyCursorReader::~ValkeyCursorReader() {
  if (notify_ != nullptr) notify_->forget(*this);
}

void ValkeyCursorReader::on_link_ready() { check_cursor(0); }

void ValkeyCursorReader::on_link_lost(const Error&) {
  is_sleeping_ = false;
  sleep_timer_.cancel();
}

void ValkeyCursorReader::check_cursor(std::size_t index) {
  checked_at_ = bus_.loop().now();
  if (index == cursors_.size()) return read();
  link_.command({"XINFO", "STREAM", cursors_[index].stream}, [this, index](base::Result<Reply> reply) {
    if (!reply && reply.error().code == Code::outcome_unknown) return;
    // Gone: whatever comes there next may have lower ids.
    if (!reply && reply.error().detail.find("no such key") != std::string::npos) cursors_[index].after = {};
    if (reply) {
      for (std::size_t k = 0; k + 1 < reply->size(); k += 2) {
        if ((*reply)[k].text() != "last-generated-id") continue;
        const auto last = messaging::parse_entry_id((*reply)[k + 1].text());
        if (last && *last < cursors_[index].after) cursors_[index].after = {};
      }
    }
    check_cursor(index + 1);
  });
}

void ValkeyCursorReader::read() {
  must_read_again_ = false;
  const bool blocks = notify_ == nullptr;
  std::string& out = link_.begin_command();
  append_command_header(out, (blocks ? 6 : 4) + 2 * cursors_.size());
  append_argument(out, "XREAD");
  append_argument(out, "COUNT");
  append_argument(out, std::to_string(kCursorCount / cursors_.size()));
  if (blocks) {
    append_argument(out, "BLOCK");
    append_argument(out, millis_text(block_time_));
  }
  append_argument(out, "STREAMS");
  for (const auto& cursor : cursors_) append_argument(out, cursor.stream);
  for (const auto& cursor : cursors_) append_argument(out, messaging::to_string(cursor.after));
  link_.expect("XREAD", joined(cursors_, [](const auto& cursor) { return cursor.stream; }),
               [this](base::Result<Reply> reply) { on_reply(std::move(reply)); });
}

void ValkeyCursorReader::on_reply(base::Result<Reply> reply) {
  if (!reply) {
    if (reply.error().code != Code::outcome_unknown && link_.is_ready()) link_.drop(reply.error());
    return;
  }
  const auto handed = each_stream(*reply, [this](std::string_view stream, std::span<const EntryView> entries) {
    if (!entries.empty()) bus_.compare_clock(entries.back().id, false);
    for (auto& cursor : cursors_) {
      if (cursor.stream == stream && !entries.empty()) cursor.after = entries.back().id;
    }
    handler_.on_entries(std::string(stream), entries);
  });
  if (!handed) return link_.drop(handed.error());
  if (!link_.is_ready()) return;
  // A rare one's stream is made anew by its reader, above its cursor. Another may be deleted under us and made anew, with
  // ids below our cursor if the server's clock had been ahead: nobody would tell.
  if (reply->size() > 0) {
    empty_reads_ = 0;
    checked_at_ = bus_.loop().now();
  } else if (notify_ != nullptr) {  // empty reads come as often as somebody wakes us
    if (!is_rare_ && bus_.loop().now() - checked_at_ >= kEmptyReadsPerCheck * bus_.block_time()) return check_cursor(0);
    if (!must_read_again_) return sleep();
  } else if (!is_rare_ && ++empty_reads_ % kEmptyReadsPerCheck == 0) {
    return check_cursor(0);
  }
  read();
}

void ValkeyCursorReader::sleep() {
  is_sleeping_ = true;
  base::Duration longest = bus_.block_time();
  if (!notify_->is_confirmed(*this)) longest = std::min(longest, kUnheardInterval);
  for (const auto& cursor : cursors_) {
    if (!cursor.is_notified) longest = std::min<base::Duration>(longest, limits::kSilentStreamLook);
  }
  sleep_timer_.arm(longest);
}

void ValkeyCursorReader::on_wake() {
  must_read_again_ = true;
  if (!std::exchange(is_sleeping_, false)) return;
  sleep_timer_.cancel();
  read();
}

ValkeySubscription::ValkeySubscription(ValkeyBus& bus, std::vector<std::string> channels,
                                       base::UniqueFunction<void(bool)> on_changed, messaging::Bus::OnMessage on_message)
    : channels_(std::move(channels)),
      on_changed_(std::move(on_changed)),
      on_message_(std::move(on_message)),
      link_(bus.loop(), [&bus] {
        Link::Options options = bus.link_options("alive", kPingInterval + 5s);
        options.is_subscriber = true;
        return options;
      }(), bus.state(), *this),
      ping_timer_(bus.loop(), [this] { ping(); }) {}

// One command per channel, since each channel has a reply of its own.
void ValkeySubscription::on_link_ready() {
  unconfirmed_ = channels_.size();
  for (const std::string& channel : channels_) {
    link_.command({"SUBSCRIBE", channel}, [this](base::Result<Reply> reply) {
      if (!reply) {
        if (reply.error().code != Code::outcome_unknown) link_.drop(reply.error());
        return;
      }
      if (--unconfirmed_ > 0) return;
      is_confirmed_ = true;
      ping_timer_.arm(kPingInterval);
      on_changed_(true);
    });
  }
}

void ValkeySubscription::on_push(const Reply& message) {
  if (message.size() == 3 && on_message_) on_message_(message[1].text(), message[2].text());
}

// A subscription that died quietly would leave this instance looking alive to nobody: it is asked for a sign of life.
void ValkeySubscription::ping() {
  if (!link_.is_ready()) return;
  link_.command({"PING"}, [](base::Result<Reply>) {});
  ping_timer_.arm(kPingInterval);
}

void ValkeySubscription::on_link_lost(const Error&) {
  ping_timer_.cancel();
  if (std::exchange(is_confirmed_, false)) on_changed_(false);
}

}  // namespace outrigger::valkey
