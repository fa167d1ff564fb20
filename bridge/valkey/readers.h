// The blocking readers and the subscription, each on a connection of its own.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "bridge/messaging/bus.h"
#include "bridge/valkey/link.h"

namespace outrigger::valkey {

class ValkeyBus;

// XREADGROUP with BLOCK. One read at a time.
class ValkeyGroupReader final : public messaging::GroupReader, private LinkHandler {
 public:
  ValkeyGroupReader(ValkeyBus& bus, std::string group, std::string consumer, messaging::GroupReaderHandler& handler);

  void read(const std::vector<std::string>& queues, std::uint32_t count) override;
  bool is_reading() const override { return is_reading_; }
  bool is_connected() const override { return link_.is_ready(); }
  void unblock() override;
  const std::string& incarnation() const override { return link_.incarnation(); }

 private:
  void on_link_ready() override { handler_.on_reader_connected(link_.incarnation()); }
  void on_link_lost(const base::Error& why) override;
  void on_reply(base::Result<Reply> reply);
  void stop_reading();

  ValkeyBus& bus_;
  std::string group_;
  std::string consumer_;
  messaging::GroupReaderHandler& handler_;
  std::string block_millis_;
  Link link_;
  net::Timer unblock_timer_;
  bool is_reading_ = false;
};

// XREAD with BLOCK, for ever. After a reconnect a stream whose last id is below our cursor was made anew: it is read
// from its beginning.
class ValkeyCursorReader final : public messaging::CursorReader, private LinkHandler {
 public:
  ValkeyCursorReader(ValkeyBus& bus, std::vector<messaging::Bus::Cursor> cursors,
                     messaging::CursorReaderHandler& handler, bool is_rare);

 private:
  void on_link_ready() override;
  void on_link_lost(const base::Error&) override {}
  void check_cursor(std::size_t index);
  void read();
  void on_reply(base::Result<Reply> reply);

  ValkeyBus& bus_;
  messaging::CursorReaderHandler& handler_;
  std::vector<messaging::Bus::Cursor> cursors_;
  bool is_rare_;
  base::Duration block_time_;
  int empty_reads_ = 0;  // in a row
  Link link_;
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
