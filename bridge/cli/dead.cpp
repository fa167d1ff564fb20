#include "bridge/cli/dead.h"

#include <algorithm>
#include <cstdio>
#include <iostream>

#include "bridge/cli/redriver.h"
#include "bridge/cli/table.h"

namespace outrigger::cli {
namespace {

using base::Code;
using base::Result;
using messaging::EntryId;
using messaging::OwnedEntry;

// Entries of one reply: at their largest, with their notes, they still fit its limit.
constexpr std::uint32_t kPage = base::limits::kReadBatchBytes / base::limits::kFrameEntryBytes / 2;
// Ids that one script takes: it may have to read up to each of them first.
constexpr std::size_t kTakenAtOnce = 50;
constexpr std::uint32_t kOverview = 10000;

std::vector<frames::EntryField> views_of(const OwnedEntry& entry) {
  std::vector<frames::EntryField> fields;
  for (const auto& [name, value] : entry.fields) fields.push_back({name, value});
  return fields;
}

class Dead {
 public:
  Dead(BusSession& session, const DeadOptions& options)
      : session_(session), options_(options), began_ms_(session.bus().now_ms()) {}

  int run() {
    switch (options_.command) {
      case DeadOptions::Command::list: return list();
      case DeadOptions::Command::show: return show();
      case DeadOptions::Command::redrive: return redrive();
      case DeadOptions::Command::purge: return options_.redriven ? purge_redriven() : purge();
    }
    return 2;
  }

 private:
  int fail(const std::string& what) {
    std::fprintf(stderr, "outrigger %s: %s\n", std::string(name_of(options_.command)).c_str(), printable(what).c_str());
    return 1;
  }

  // Those the filter names, else all that have a key of the kind.
  Result<std::vector<std::string>> services(const std::string& pattern, auto service_of) {
    std::vector<std::string> found = options_.filter.services;
    if (found.empty()) {
      auto keys = session_.ask<std::vector<std::string>>(
          [&](auto done) { session_.browser().streams(pattern, std::move(done)); });
      if (!keys) return keys.error();
      for (const std::string& key : *keys) {
        if (auto service = service_of(key)) found.push_back(std::move(*service));
      }
    }
    std::sort(found.begin(), found.end());
    found.erase(std::unique(found.begin(), found.end()), found.end());
    return found;
  }
  Result<std::vector<std::string>> services_with_letters() {
    return services(session_.names().dead_stream_pattern(),
                    [&](const std::string& key) { return session_.names().service_of_dead_stream(key); });
  }

  // Calls `visit` with each entry of `stream`, oldest first, up to what was there when the command began: what is redriven
  // and given up again is not met a second time. `visit` returns false to end it.
  Result<void> each_entry(const std::string& stream, auto visit) {
    EntryId after;
    for (;;) {
      auto page = session_.ask<std::vector<OwnedEntry>>(
          [&](auto done) { session_.browser().page(stream, after, kPage, std::move(done)); });
      if (!page) return page.error();
      if (page->empty()) return {};
      after = page->back().id;
      for (const OwnedEntry& entry : *page) {
        if (static_cast<std::int64_t>(entry.id.ms) > began_ms_ + session_.bus().clock_error_ms()) return {};
        if (!visit(entry)) return {};
      }
    }
  }

  FoundLetter read_letter(const std::string& service, const OwnedEntry& entry) {
    const auto fields = views_of(entry);
    FoundLetter found{service, entry.id, read_dead_letter(session_.decoder(), session_.names(), fields)};
    if (found.letter.request) found.body_bytes = found.letter.request->body.size();
    return found;
  }

  // The letters of one service that the filter admits.
  Result<void> each_letter(const std::string& service, auto visit) {
    const DeadFilter& filter = options_.filter;
    return each_entry(session_.names().dead_stream(service), [&](const OwnedEntry& entry) {
      FoundLetter found = read_letter(service, entry);
      const auto at_ms = static_cast<std::int64_t>(entry.id.ms);
      return !filter.admits(entry.id, found.letter.reason, at_ms, began_ms_) || visit(std::move(found));
    });
  }

  int list() {
    const auto all = services_with_letters();
    if (!all) return fail(all.error().detail);
    std::vector<FoundLetter> letters;
    std::size_t more = 0;
    for (const std::string& service : *all) {
      const auto read = each_letter(service, [&](FoundLetter found) {
        if (letters.size() == options_.limit) {
          ++more;
          return true;
        }
        if (found.letter.request) found.letter.request->body = {};  // not shown, and much to keep
        letters.push_back(std::move(found));
        return true;
      });
      if (!read) return fail(read.error().detail);
    }
    if (options_.output == "json") {
      nlohmann::ordered_json all_json{{"letters", nlohmann::ordered_json::array()}, {"more", more}};
      for (const FoundLetter& found : letters) {
        all_json["letters"].push_back(list_item(found, began_ms_, options_.shows_query));
      }
      std::printf("%s\n", dump(all_json).c_str());
      return 0;
    }
    if (letters.empty()) {
      std::fprintf(stderr, "no dead letters%s\n", options_.filter.is_empty() ? "" : " that match");
      return 0;
    }
    std::fputs(list_table(letters, began_ms_, options_.shows_query).c_str(), stdout);
    if (more > 0) std::fprintf(stderr, "and %zu more: raise --limit, or choose by a filter\n", more);
    return 0;
  }

  int show() {
    const std::string& service = options_.filter.services.front();
    const EntryId id = options_.filter.ids.front();
    const auto entries = session_.ask<std::vector<OwnedEntry>>([&](auto done) {
      session_.bus().read_entries(session_.names().dead_stream(service), {id}, std::move(done));
    });
    if (!entries) return fail(entries.error().detail);
    if (entries->empty()) return fail("service " + service + " has no dead letter " + messaging::to_string(id));
    const FoundLetter found = read_letter(service, entries->front());
    const ShowOptions shown{.with_secrets = options_.shows_secrets, .with_body = options_.writes_body};
    if (options_.output == "json") {
      std::printf("%s\n", dump(show_item(found, began_ms_, shown)).c_str());
    } else if (!options_.writes_body) {
      std::fputs(show_text(found, began_ms_, shown).c_str(), stdout);
    } else if (!found.letter.request) {
      return fail("it cannot be read: " + found.letter.request.error().detail);
    } else if (found.letter.request->streamed) {
      return fail("its body was streamed and is not in the letter");
    } else {
      const std::string& body = found.letter.request->body;
      if (std::fwrite(body.data(), 1, body.size(), stdout) != body.size()) return fail("cannot write the body");
    }
    return std::fflush(stdout) == 0 ? 0 : fail("cannot write to standard output");
  }

  int redrive() {
    const auto all = services_with_letters();
    if (!all) return fail(all.error().detail);
    Redriver redriver(session_, {.timeout = options_.timeout, .may_run_twice = options_.may_run_twice, .waits = options_.waits});
    if (const auto opened = redriver.open(); !opened) return fail(opened.error().detail);
    bool goes_on = true;
    int code = 0;
    for (const std::string& service : *all) {
      if (!goes_on) break;
      const auto read = each_letter(service, [&](FoundLetter found) { return goes_on = redriver.redrive(std::move(found)); });
      if (!read) code = fail(read.error().detail);
    }
    return redriver.finish() ? code : 1;
  }

  int purge() {
    const auto all = services_with_letters();
    if (!all) return fail(all.error().detail);
    std::uint64_t sum = 0;
    for (const std::string& service : *all) {
      std::vector<EntryId> ids;
      const auto read = each_letter(service, [&](const FoundLetter& found) {
        ids.push_back(found.id);
        return true;
      });
      if (!read) return fail(read.error().detail);
      std::uint64_t deleted = 0;
      for (std::size_t at = 0; at < ids.size(); at += kPage) {
        const std::vector<EntryId> some(ids.begin() + static_cast<std::ptrdiff_t>(at),
                                        ids.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(at + kPage, ids.size())));
        const auto erased = session_.ask<std::uint64_t>([&](auto done) {
          session_.browser().erase(session_.names().dead_stream(service), some, std::move(done));
        });
        if (!erased) return fail(erased.error().detail);
        deleted += *erased;
      }
      if (deleted > 0) std::printf("%s: %llu deleted\n", service.c_str(), static_cast<unsigned long long>(deleted));
      sum += deleted;
    }
    if (sum == 0) std::fprintf(stderr, "no dead letters%s\n", options_.filter.is_empty() ? "" : " that match");
    return 0;
  }

  // What an undoing of redrives came to.
  struct Taken {
    std::size_t removed = 0;
    std::size_t beyond_reach = 0;
  };

  int purge_redriven() {
    auto queues = session_.ask<std::vector<std::string>>(
        [&](auto done) { session_.browser().streams(session_.names().request_queue_pattern(), std::move(done)); });
    if (!queues) return fail(queues.error().detail);
    Taken sum;
    const std::vector<std::string>& wanted = options_.filter.services;
    for (const std::string& queue : *queues) {
      const auto service = session_.names().service_of_request_queue(queue);
      if (!service || (!wanted.empty() && std::find(wanted.begin(), wanted.end(), *service) == wanted.end())) continue;
      const auto taken = take_redriven(queue);
      if (!taken) return fail(taken.error().detail);
      sum.removed += taken->removed;
      sum.beyond_reach += taken->beyond_reach;
      if (taken->removed + taken->beyond_reach == 0) continue;
      std::printf("%s: %zu removed, %zu beyond reach\n", queue.c_str(), taken->removed, taken->beyond_reach);
    }
    if (sum.removed + sum.beyond_reach == 0) std::fprintf(stderr, "no redriven requests in the queues\n");
    if (sum.beyond_reach > 0) {
      std::fprintf(stderr, "what is beyond reach is with a sidecar already, and will be answered or given up by it\n");
    }
    return 0;
  }

  Result<Taken> take_redriven(const std::string& queue) {
    std::vector<EntryId> ids;
    const auto read = each_entry(queue, [&](const OwnedEntry& entry) {
      const auto fields = views_of(entry);
      const auto frame = session_.decoder().decode(fields);
      const auto* request = frame ? std::get_if<frames::Request>(&*frame) : nullptr;
      if (request == nullptr || !request->origin) return true;
      const auto letter = messaging::parse_entry_id(request->origin->dead).value_or(EntryId{});
      const auto at_ms = static_cast<std::int64_t>(entry.id.ms);
      if (options_.filter.admits(letter, request->origin->reason, at_ms, began_ms_)) ids.push_back(entry.id);
      return true;
    });
    if (!read) return read.error();
    Taken result;
    if (ids.empty()) return result;
    std::vector<EntryId> removed;
    for (std::size_t at = 0; at < ids.size(); at += kTakenAtOnce) {
      const auto end = std::min(at + kTakenAtOnce, ids.size());
      const auto taken = session_.ask<std::vector<EntryId>>([&](auto done) {
        session_.bus().take(queue,
                            {ids.begin() + static_cast<std::ptrdiff_t>(at), ids.begin() + static_cast<std::ptrdiff_t>(end)},
                            true, std::move(done));
      });
      if (!taken) return taken.error();
      removed.insert(removed.end(), taken->begin(), taken->end());
    }
    // A taken entry that was the last one stays until a sweep; nobody else may come to do it.
    const auto swept = session_.ask<void>([&](auto done) { session_.bus().sweep(queue, {}, 0, std::move(done)); });
    if (!swept) return swept.error();
    result.removed = removed.size();
    if (removed.size() == ids.size()) return result;
    // The others are with a sidecar, or settled and not yet deleted.
    const auto pending = session_.ask<std::vector<messaging::PendingEntry>>(
        [&](auto done) { session_.bus().pending_entries(queue, 0, kOverview, std::move(done)); });
    if (!pending) return pending.error();
    for (const messaging::PendingEntry& entry : *pending) {
      if (std::binary_search(ids.begin(), ids.end(), entry.id)) ++result.beyond_reach;
    }
    return result;
  }

  BusSession& session_;
  const DeadOptions& options_;
  const std::int64_t began_ms_;  // Valkey's clock
};

}  // namespace

int run_dead(const DeadOptions& options) {
  const auto complain = [&](const std::string& what, int code) {
    std::fprintf(stderr, "outrigger %s: %s\n", std::string(name_of(options.command)).c_str(), what.c_str());
    return code;
  };
  if (const std::string fault = fault_of(options); !fault.empty()) return complain(fault, 2);
  const auto config = read_bus_config(options.bus, app::process_environment(), std::cin);
  if (!config) return complain(config.error().detail, 2);
  auto session = BusSession::open(*config);
  if (!session) return complain(session.error().detail, 1);
  return Dead(**session, options).run();
}

}  // namespace outrigger::cli
