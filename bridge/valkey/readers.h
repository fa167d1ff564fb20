// The readers and the subscription, each on a connection of its own. In wake mode `block` a read blocks at the
// server; in wake mode `notify` no blocking command is ever sent: a read that finds nothing sleeps here until its bus'
// NotifySubscription wakes it, or its timer does.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "bridge/messaging/bus.h"
#include "bridge/valkey/link.h"
#include "bridge/valkey/notify_subscription.h"

namespace outrigger::valkey {

class ValkeyBus;

// XREADGROUP. One read at a time. In wake mode `notify` a read consists of as many XREADGROUPs as it takes: one at once,
// one more whenever it is woken, and one at the end of the block time. It counts as outstanding all the while, also while
// it sleeps. Entries are handed over only once INFO, asked after they were claimed, showed the incarnation of the
// greeting on a primary: nobody is told UNBLOCKED whose connection does not block.
class ValkeyGroupReader final : public messaging::GroupReader, private LinkHandler, private Sleeper {
 public:
  ValkeyGroupReader(ValkeyBus& bus, std::string group, std::string consumer, messaging::GroupReaderHandler& handler);
  ~ValkeyGroupReader() override;

  void read(const std::vector<std::string>& queues, std::uint32_t count) override;
  bool is_reading() const override { return is_reading_; }
  bool is_connected() const override { return link_.is_ready(); }
  void unblock() override;
  const std::string& incarnation() const override { return link_.incarnation(); }

 private:
  // Of one queue, between their delivery and the proof that the server is still the same one.
  struct Claimed {
    std::string queue;
    std::vector<messaging::OwnedEntry> entries;
  };

  void on_link_ready() override { handler_.on_reader_connected(link_.incarnation()); }
  void on_link_lost(const base::Error& why) override;
  void on_wake() override;
  void ask();
  void on_reply(base::Result<Reply> reply);
  void on_timer();
  void sleep();
  void confirm(const Reply& reply);
  void hand_over_claimed();
  void stop_reading();
  void end_read();

  ValkeyBus& bus_;
  std::string group_;
  std::string consumer_;
  messaging::GroupReaderHandler& handler_;
  std::string block_millis_;
  Link link_;
  net::Timer timer_;  // `block`: until the read is unblocked once more; `notify`: of the sleep
  NotifySubscription* notify_;  // null in wake mode `block`
  std::vector<std::string> queues_;
  std::uint32_t count_ = 0;
  bool is_reading_ = false;
  // Wake mode `notify`:
  bool is_asking_ = false;       // an XREADGROUP, or INFO behind it, is unanswered
  bool must_ask_again_ = false;  // woken meanwhile
  bool is_unblocked_ = false;    // the read ends with the next empty reply, or at once
  base::TimePoint block_end_;
  std::vector<Claimed> claimed_;
};

// XREAD, for ever. After a reconnect a stream whose last id is below our cursor was made anew: it is read from its
// beginning.
class ValkeyCursorReader final : public messaging::CursorReader, private LinkHandler, private Sleeper {
 public:
  ValkeyCursorReader(ValkeyBus& bus, std::vector<messaging::Bus::Cursor> cursors,
                     messaging::CursorReaderHandler& handler, bool is_rare);
  ~ValkeyCursorReader() override;

 private:
  void on_link_ready() override;
  void on_link_lost(const base::Error&) override;
  void on_wake() override;
  void check_cursor(std::size_t index);
  void read();
  void on_reply(base::Result<Reply> reply);
  void sleep();

  ValkeyBus& bus_;
  messaging::CursorReaderHandler& handler_;
  std::vector<messaging::Bus::Cursor> cursors_;
  bool is_rare_;
  base::Duration block_time_;
  int empty_reads_ = 0;  // in a row
  base::TimePoint checked_at_;
  Link link_;
  net::Timer sleep_timer_;
  NotifySubscription* notify_;  // null in wake mode `block`
  bool is_sleeping_ = false;
  bool must_read_again_ = false;  // woken while a read was under way
};

class ValkeySubscription final : public messaging::Subscription, private LinkHandler {
 public:
  ValkeySubscription(ValkeyBus& bus, std::vector<std::string> channels, base::UniqueFunction<void(bool)> on_changed,
                     messaging::Bus::OnMessage on_message);
  bool is_confirmed() const override { return is_confirmed_; }

 private:
  void on_link_ready() override;
  void on_link_lost(const base::Error& why) override;
  void on_push(const Reply& message) override;
  void ping();

  std::vector<std::string> channels_;
  base::UniqueFunction<void(bool)> on_changed_;
  messaging::Bus::OnMessage on_message_;
  std::size_t unconfirmed_ = 0;  // channels
  Link link_;
  net::Timer ping_timer_;
  bool is_confirmed_ = false;
};

}  // namespace outrigger::valkey
