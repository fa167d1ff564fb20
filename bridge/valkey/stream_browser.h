// StreamBrowser: looks through streams and deletes entries, for operators' commands. Nothing on a request's path does
// this, so it is no part of the bus; it has a connection of its own, beside that of the bus. Loop thread only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bridge/messaging/bus.h"
#include "bridge/valkey/link.h"

namespace outrigger::valkey {

class ValkeyBus;

class StreamBrowser final : private LinkHandler {
 public:
  // Connects by itself, in later turns. The bus outlives the browser.
  explicit StreamBrowser(ValkeyBus& bus);

  bool is_ready() const { return link_.is_ready(); }

  // Completions and their errors are those of messaging::Bus.

  // The names of all streams that match `pattern`, as SCAN takes it: sorted, each once. One that is made meanwhile may be
  // missing.
  void streams(std::string pattern, messaging::Done<std::vector<std::string>> done);
  // Up to `count` entries behind `after`, oldest first; none where there is no such stream.
  void page(const std::string& stream, messaging::EntryId after, std::uint32_t count,
            messaging::Done<std::vector<messaging::OwnedEntry>> done);
  // How many of them were there. REQUIRES at least one id.
  void erase(const std::string& stream, const std::vector<messaging::EntryId>& ids, messaging::Done<std::uint64_t> done);

 private:
  // Nothing is repeated on a new connection: whoever asked is told.
  void on_link_ready() override {}
  void on_link_lost(const base::Error&) override {}
  void scan(std::string cursor, std::string pattern, std::vector<std::string> found,
            messaging::Done<std::vector<std::string>> done);
  template <class T>
  bool refuse_if_down(messaging::Done<T>& done);

  net::EventLoop& loop_;
  Link link_;
};

}  // namespace outrigger::valkey
