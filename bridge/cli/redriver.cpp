#include "bridge/cli/redriver.h"

#include <algorithm>
#include <cstdio>

#include "bridge/app/config_value.h"
#include "bridge/base/ids.h"
#include "bridge/cli/table.h"

namespace outrigger::cli {
namespace {

using base::Code;
using base::Error;
using base::Result;
using messaging::EntryId;

// A service that was down has just come back: it gets its arrears a few at a time.
constexpr std::size_t kMostUnderway = 16;

std::string title_of(const FoundLetter& found) {
  std::string title = found.service + " " + messaging::to_string(found.id);
  if (found.letter.request) {
    title += "  " + found.letter.request->method + " " + std::string(target_of(*found.letter.request, false));
  }
  return title;
}

}  // namespace

std::string reason_against(const FoundLetter& found, bool may_run_twice) {
  const frames::DeadLetter& letter = found.letter;
  if (!letter.request) return "it cannot be read: " + letter.request.error().detail;
  if (letter.request->streamed) {
    return "its body was streamed and is not in the letter; only its client can send it again";
  }
  if (!letter.request->repeatable && !may_run_twice) {
    return (letter.reason.empty() ? std::string("given up") : letter.reason) + ": " + letter.request->method +
           " may not run twice, and it may have been run already. Look in the service whether it took effect; if it did "
           "not, redrive it with --may-run-twice, else purge it";
  }
  return {};
}

frames::Request make_redriven(const FoundLetter& found, std::string request_id, std::string reply_to,
                              std::int64_t deadline_ms, std::string bus) {
  const frames::DeadLetter& letter = found.letter;
  frames::Request request = *letter.request;
  frames::Origin origin;
  origin.dead = messaging::to_string(found.id);
  origin.id = request.id;
  origin.reason = letter.reason.empty() ? "unknown" : letter.reason;
  origin.first_seen_ms = letter.first_seen_ms != 0 ? letter.first_seen_ms : found.id.ms;
  request.id = std::move(request_id);
  request.reply_to = std::move(reply_to);
  request.deadline_ms = deadline_ms;
  request.bus = std::move(bus);
  request.origin = std::move(origin);
  return request;
}

struct Redriver::Underway {
  Underway(Redriver& redriver, FoundLetter what)
      : found(std::move(what)), timer(redriver.session_.loop(), [this, &redriver] {
          if (how.empty()) how = "no answer within " + app::print_duration(redriver.options_.timeout) + ": it may still run";
          redriver.end_if_over(*this);
        }) {}

  FoundLetter found;
  frames::Request request;
  std::string queue;  // where it was written, or is about to be
  net::Timer timer;
  // It is over when its end is known and the letter is seen to, whichever comes first: over the reader's connection an
  // answer may be faster than the confirmation of its request.
  std::string how;  // it ended
  std::optional<EntryId> entry;
  bool is_letter_seen_to = false;
  std::string remark;  // on the letter
};

Redriver::Redriver(BusSession& session, RedriveOptions options)
    : session_(session),
      options_(options),
      reply_stream_(session.names().reply_stream(base::new_process_id(), 0, 1)),
      // Nobody refreshes it with --no-wait, and answers need a place for as long as they may come.
      stream_ttl_(std::max<base::Duration>(base::limits::kStreamTtl, options.timeout + base::limits::kStreamTtlRefresh)),
      keep_timer_(session.loop(), [this] { keep_stream(); }) {
  session_.bus().add_observer(*this);
}

Redriver::~Redriver() { session_.bus().remove_observer(*this); }

Result<void> Redriver::open() {
  const auto made = session_.ask<bool>(
      [&](auto done) { session_.bus().ensure_stream(reply_stream_, stream_ttl_, {}, std::move(done)); });
  if (!made) return made.error();
  if (!options_.waits) return {};
  reader_ = session_.bus().make_cursor_reader({{reply_stream_, {}}}, *this);
  keep_timer_.arm(base::limits::kStreamTtlRefresh);
  return {};
}

void Redriver::keep_stream() {
  session_.bus().ensure_stream(reply_stream_, stream_ttl_, cursor_, {});
  keep_timer_.arm(base::limits::kStreamTtlRefresh);
}

// The server may have lost it.
void Redriver::on_bus_connected(bool) {
  if (reader_ != nullptr) keep_stream();
}

bool Redriver::redrive(FoundLetter found) {
  if (const std::string why = reason_against(found, options_.may_run_twice); !why.empty()) {
    refuse(found, why);
    return true;
  }
  while (underway_.size() >= kMostUnderway) session_.loop().run_turn();
  if (has_failed_) {
    refuse(found, "not tried, since the bus failed");
    return false;
  }
  auto owned = std::make_unique<Underway>(*this, std::move(found));
  Underway& underway = *owned;
  valkey::ValkeyBus& bus = session_.bus();
  underway.request =
      make_redriven(underway.found, base::new_request_id(), reply_stream_, bus.now_ms() + options_.timeout.count(),
                    bus.incarnation());
  underway.request.wake = bus.wake_mode();
  const frames::DeadLetter& letter = underway.found.letter;
  const bool is_its_service = session_.names().service_of_request_queue(letter.queue) == underway.found.service;
  underway.queue = is_its_service ? letter.queue : session_.names().request_queue(underway.found.service);
  underway_.emplace(underway.request.id, std::move(owned));
  publish(underway);
  return true;
}

void Redriver::publish(Underway& underway) {
  const std::string id = underway.request.id;
  const auto frame = frames::encode(underway.request);
  if (!frame) {
    refuse(underway.found, "it cannot be written: " + frame.error().detail);
    underway_.erase(id);
    return;
  }
  // How its readers wait nobody has told us: as the configuration says of one of the programs.
  const bool notify = session_.bus().wake_mode() == frames::WakeMode::notify;
  session_.bus().publish(underway.queue, *frame, {.notify = notify}, [this, id](Result<std::optional<EntryId>> result) {
    on_published(id, std::move(result));
  });
}

void Redriver::on_published(const std::string& id, Result<std::optional<EntryId>> result) {
  Underway& underway = *underway_.at(id);
  if (!result) {
    has_failed_ = true;
    const bool is_in_doubt = result.error().code == Code::outcome_unknown;
    refuse(underway.found, (is_in_doubt ? "it may have been written, for the connection was lost before the server said so; the "
                                          "letter stays, and a second redrive may run it twice: "
                                        : "the bus refuses it: ") +
                               result.error().detail);
    underway_.erase(id);
    return;
  }
  if (!result->has_value()) {
    const std::string base = session_.names().request_queue(underway.found.service);
    if (underway.queue != base) {  // its narrow address went with its last reader
      underway.queue = base;
      return publish(underway);
    }
    refuse(underway.found, "no queue " + base + ": no sidecar of that service has ever been there; start one first");
    underway_.erase(id);
    return;
  }
  underway.entry = **result;
  ++written_;
  if (options_.waits) {
    underway.timer.arm(options_.timeout);
  } else {
    underway.how = "written";
  }
  session_.browser().erase(session_.names().dead_stream(underway.found.service), {underway.found.id},
                           [this, id](Result<std::uint64_t> deleted) { on_letter_deleted(id, std::move(deleted)); });
}

void Redriver::on_letter_deleted(const std::string& id, Result<std::uint64_t> deleted) {
  Underway& underway = *underway_.at(id);
  underway.is_letter_seen_to = true;
  if (!deleted) {
    has_failed_ = true;
    underway.remark = "the letter is still there, purge it by its id: " + deleted.error().detail;
  } else if (*deleted == 0) {
    underway.remark = "the letter was gone already: did somebody else redrive it, too?";
  }
  end_if_over(underway);
}

void Redriver::on_entries(const std::string& stream, std::span<const messaging::EntryView> entries) {
  for (const messaging::EntryView& entry : entries) {
    const auto frame = session_.decoder().decode(entry.fields);
    if (!frame) continue;
    // The rest of a long answer follows as stream data: that it came is all that is wanted here.
    if (const auto* response = std::get_if<frames::Response>(&*frame)) on_answer(*response);
  }
  if (entries.empty()) return;
  cursor_ = entries.back().id;
  session_.bus().trim(stream, cursor_);
}

void Redriver::on_answer(const frames::Response& response) {
  const auto at = underway_.find(response.id);
  if (at == underway_.end() || !at->second->how.empty()) return;
  std::string& how = at->second->how;
  if (response.fault) {
    how = "no answer of the service: " + std::string(name_of(*response.fault));
    if (!response.detail.empty()) how += ", " + response.detail;
  } else {
    ++answered_;
    how = "answered " + std::to_string(response.status);
    if (!response.reason.empty()) how += " " + response.reason;
  }
  end_if_over(*at->second);
}

void Redriver::end_if_over(const Underway& underway) {
  if (underway.how.empty() || !underway.is_letter_seen_to) return;
  std::string line = title_of(underway.found) + "  " + underway.how + "  (request " + underway.request.id + ", entry " +
                     messaging::to_string(*underway.entry) + " of " + underway.queue + ")";
  if (!underway.remark.empty()) line += "; " + underway.remark;
  std::printf("%s\n", printable(std::move(line)).c_str());
  std::fflush(stdout);
  underway_.erase(underway_.find(underway.request.id));
  session_.loop().defer([] {});  // whoever waits for this is asked at once: the turn ends without a wait
}

void Redriver::refuse(const FoundLetter& found, const std::string& why) {
  ++refused_;
  std::fprintf(stderr, "%s\n", printable(title_of(found) + "  not redriven: " + why).c_str());
}

bool Redriver::finish() {
  while (!underway_.empty()) session_.loop().run_turn();
  keep_timer_.cancel();
  if (reader_ != nullptr) {
    reader_.reset();
    session_.bus().remove_key(reply_stream_);
    // Commands are carried out in order: when this one is answered, that one was.
    (void)session_.ask<std::uint64_t>([&](auto done) { session_.bus().queue_length(reply_stream_, std::move(done)); });
  }
  std::string sum = std::to_string(written_) + " redriven";
  if (options_.waits) sum += ", " + std::to_string(answered_) + " answered";
  if (refused_ > 0) sum += ", " + std::to_string(refused_) + " not redriven";
  std::fprintf(stderr, "%s\n", sum.c_str());
  return refused_ == 0 && !has_failed_ && (answered_ == written_ || !options_.waits);
}

}  // namespace outrigger::cli
