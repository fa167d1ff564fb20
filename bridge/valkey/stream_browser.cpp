#include "bridge/valkey/stream_browser.h"

#include <algorithm>
#include <utility>

#include "bridge/valkey/valkey_bus.h"

namespace outrigger::valkey {
namespace {

using base::Code;
using base::Error;
using base::Result;
using messaging::Done;
using messaging::EntryId;
using messaging::OwnedEntry;
using namespace std::chrono_literals;

constexpr base::Duration kReplyDeadline = 5s;
constexpr char kScanCount[] = "1000";  // keys looked at per step: well below a millisecond of the server's time

Error unexpected() { return {Code::malformed, "the server's reply has another shape than documented"}; }

}  // namespace

StreamBrowser::StreamBrowser(ValkeyBus& bus)
    : loop_(bus.loop()), link_(bus.loop(), bus.link_options("browser", kReplyDeadline), bus.state(), *this) {}

template <class T>
bool StreamBrowser::refuse_if_down(Done<T>& done) {
  if (link_.is_ready()) return false;
  loop_.defer([done = std::move(done)]() mutable { done(Error{Code::closed, "not connected to the bus"}); });
  return true;
}

void StreamBrowser::streams(std::string pattern, Done<std::vector<std::string>> done) {
  scan("0", std::move(pattern), {}, std::move(done));
}

void StreamBrowser::scan(std::string cursor, std::string pattern, std::vector<std::string> found,
                         Done<std::vector<std::string>> done) {
  if (refuse_if_down(done)) return;
  const std::vector<std::string> command{"SCAN", cursor, "MATCH", pattern, "COUNT", kScanCount, "TYPE", "stream"};
  link_.command(command, [this, pattern = std::move(pattern), found = std::move(found),
                          done = std::move(done)](Result<Reply> reply) mutable {
    if (!reply) return done(reply.error());
    if (reply->size() != 2) return done(unexpected());
    const Reply names = (*reply)[1];
    for (std::size_t i = 0; i < names.size(); ++i) found.emplace_back(names[i].text());
    const std::string next((*reply)[0].text());
    if (next != "0") return scan(next, std::move(pattern), std::move(found), std::move(done));
    std::sort(found.begin(), found.end());  // SCAN may name a key twice
    found.erase(std::unique(found.begin(), found.end()), found.end());
    done(std::move(found));
  });
}

void StreamBrowser::page(const std::string& stream, EntryId after, std::uint32_t count,
                         Done<std::vector<OwnedEntry>> done) {
  if (refuse_if_down(done)) return;
  link_.command({"XRANGE", stream, "(" + messaging::to_string(after), "+", "COUNT", std::to_string(count)},
                [done = std::move(done)](Result<Reply> reply) mutable {
                  if (!reply) return done(reply.error());
                  std::vector<OwnedEntry> entries;
                  for (std::size_t i = 0; i < reply->size(); ++i) {
                    const Reply item = (*reply)[i];
                    const auto id = item.size() == 2 ? messaging::parse_entry_id(item[0].text()) : std::nullopt;
                    if (!id) return done(unexpected());
                    OwnedEntry& entry = entries.emplace_back(OwnedEntry{*id, {}});
                    const Reply fields = item[1];
                    for (std::size_t k = 0; k + 1 < fields.size(); k += 2) {
                      entry.fields.emplace_back(std::string(fields[k].text()), std::string(fields[k + 1].text()));
                    }
                  }
                  done(std::move(entries));
                });
}

void StreamBrowser::erase(const std::string& stream, const std::vector<EntryId>& ids, Done<std::uint64_t> done) {
  if (refuse_if_down(done)) return;
  std::vector<std::string> command{"XDEL", stream};
  for (const EntryId id : ids) command.push_back(messaging::to_string(id));
  link_.command(command, [done = std::move(done)](Result<Reply> reply) mutable {
    if (!reply) return done(reply.error());
    done(static_cast<std::uint64_t>(reply->integer()));
  });
}

}  // namespace outrigger::valkey
