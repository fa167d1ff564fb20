// /metrics of both programs against what is counted by hand at Valkey, at the service and at the clients; and what hostile
// clients, services and frames can make of it.
#include <array>
#include <cmath>
#include <fstream>
#include <map>
#include <random>
#include <regex>
#include <set>

#include "bridge/frames/frame_codec.h"
#include "tests/e2e/programs.h"

namespace outrigger::tests {
namespace {

using namespace std::chrono_literals;

// The limits of docs/metrics.md.
constexpr std::size_t kServices = 200;
constexpr std::size_t kSeriesPerService = 1000;

// One page of samples: `name{labels}` as written -> value.
class Scrape {
 public:
  explicit Scrape(std::uint16_t port, Fields fields = {}) {
    const RawResponse response = ask(port, make_request("GET", "/metrics", fields));
    EXPECT_EQ(response.status, 200) << response.problem;
    content_type = response.header("Content-Type");
    text = response.body;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = text.find('\n', at);
      const std::string line = text.substr(at, end - at);
      at = end + 1;
      const std::size_t value = line.rfind(' ');
      if (line.starts_with('#') || value == std::string::npos) continue;
      EXPECT_TRUE(samples_.emplace(line.substr(0, value), line.substr(value + 1)).second) << "twice: " << line;
    }
  }

  std::string at(const std::string& sample) const {
    const auto found = samples_.find(sample);
    return found == samples_.end() ? "(none)" : found->second;
  }
  std::string of(const std::string& family, const std::string& service) const {
    return at("outrigger_" + family + "{service=\"" + service + "\"}");
  }
  // Of all samples whose name and labels hold each of `parts`.
  double sum(std::initializer_list<std::string_view> parts) const {
    double total = 0;
    for (const auto& [sample, value] : samples_) {
      bool has_all = true;
      for (const std::string_view part : parts) has_all = has_all && sample.find(part) != std::string::npos;
      if (has_all) total += std::stod(value);
    }
    return total;
  }
  std::size_t series(std::string_view family) const {
    std::size_t count = 0;
    for (const auto& [sample, value] : samples_) count += sample.starts_with(family) ? 1 : 0;
    return count;
  }
  std::set<std::string> values(std::string_view family, const std::string& label) const {
    std::set<std::string> found;
    for (const auto& [sample, value] : samples_) {
      const std::size_t at = sample.find(label + "=\"");
      if (!sample.starts_with(family) || at == std::string::npos) continue;
      const std::size_t from = at + label.size() + 2;
      found.insert(sample.substr(from, sample.find('"', from) - from));
    }
    return found;
  }

  std::string text;
  std::string content_type;

 private:
  std::map<std::string, std::string> samples_;
};

// A service's queues, counted entry by entry.
struct Count {
  std::size_t length = 0;
  std::size_t undelivered = 0;
  std::size_t pending = 0;
  std::size_t parked = 0;
  friend bool operator==(const Count&, const Count&) = default;
};
std::ostream& operator<<(std::ostream& out, const Count& count) {
  return out << "length " << count.length << ", undelivered " << count.undelivered << ", pending " << count.pending
             << ", parked " << count.parked;
}

bool is_id(std::string_view line) {
  const std::size_t dash = line.find('-');
  return dash != std::string_view::npos && dash > 10 && line.size() > dash + 1 &&
         line.find_first_not_of("0123456789-") == std::string_view::npos;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

Count count_by_hand(ValkeyServer& valkey, const std::string& service) {
  Count count;
  for (const std::string& queue : lines_of(valkey.cli({"KEYS", "router:requests:" + service + "*"}))) {
    if (queue.empty() || queue.front() == '(') continue;
    const std::string last = valkey.field({"XINFO", "GROUPS", queue}, "last-delivered-id");
    for (const std::string& line : lines_of(valkey.cli({"XRANGE", queue, "-", "+"}))) count.length += is_id(line) ? 1 : 0;
    for (const std::string& line : lines_of(valkey.cli({"XRANGE", queue, "(" + last, "+"}))) {
      count.undelivered += is_id(line) ? 1 : 0;
    }
    const std::string pending = valkey.cli({"XPENDING", queue, "router-gateway", "-", "+", "100000"});
    for (const std::string& line : lines_of(pending)) {
      count.pending += is_id(line) ? 1 : 0;
      count.parked += line == "parked" ? 1 : 0;
    }
  }
  return count;
}

Count count_by_scrape(const Scrape& scrape, const std::string& service) {
  const auto number = [&](const char* family) { return std::stoul("0" + scrape.of(family, service)); };
  EXPECT_EQ(scrape.of("queue_lag_known", service), "1");
  return {number("queue_length"), number("queue_lag"), number("queue_pending"), number("queue_parked")};
}

// Milliseconds since the oldest entry that is not acknowledged; nothing without one.
std::optional<std::int64_t> oldest_by_hand(ValkeyServer& valkey, const std::string& queue) {
  const auto entries = lines_of(valkey.cli({"XRANGE", queue, "-", "+", "COUNT", "1"}));
  if (entries.empty() || !is_id(entries.front())) return std::nullopt;
  const auto time = lines_of(valkey.cli({"TIME"}));
  return std::stoll(time[0]) * 1000 + std::stoll(time[1]) / 1000 - std::stoll(entries.front());
}

// A sidecar with a health listener of its own, and few places at its service.
class MeteredSidecar {
 public:
  MeteredSidecar(const ValkeyServer& valkey, std::string name, const ScriptedService& service, std::string max_in_flight)
      : process_(options(valkey, std::move(name), service, std::move(max_in_flight))) {
    EXPECT_TRUE(process_.wait_for_line("health listener is open"));
    const std::string said = process_.err();
    const std::string_view before = "health listener is open address=127.0.0.1:";
    port_ = static_cast<std::uint16_t>(std::atoi(said.c_str() + said.find(before) + before.size()));
  }
  ChildProcess& process() { return process_; }
  std::uint16_t health_port() const { return port_; }
  bool is_ready() const { return get(port_, "/readyz").status == 200; }

 private:
  static ChildProcess::Options options(const ValkeyServer& valkey, std::string name, const ScriptedService& service,
                                       std::string max_in_flight) {
    ChildProcess::Options options;
    options.command = {OUTRIGGER_SIDECAR, "--service",   std::move(name), "--upstream", service.url(),
                       "--valkey",        valkey.url(),  "--health",      "127.0.0.1:0", "--admin",
                       "off",             "--log-format", "text"};
    options.environment = {{"Sidecar__Messaging__HeartbeatInterval", "200ms"},
                           {"Sidecar__MaxInFlight", std::move(max_in_flight)}};
    return options;
  }
  ChildProcess process_;
  std::uint16_t port_ = 0;
};

::testing::AssertionResult passes_promtool(const std::string& page, const std::string& directory) {
  const std::string path = directory + "/page";
  std::ofstream(path) << page;
  ChildProcess promtool({.command = {"sh", "-c", "promtool check metrics < '" + path + "'"}, .environment = {}, .directory = {}});
  const auto ended = promtool.wait_for_exit();
  if (ended && promtool.status() == 0 && promtool.out().empty() && promtool.err().empty()) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure() << "promtool: " << promtool.out() << promtool.err();
}

bool has_promtool() {
  ChildProcess which({.command = {"sh", "-c", "command -v promtool"}, .environment = {}, .directory = {}, .expected_status = 0});
  if (!which.wait_for_exit()) return false;
  const bool is_there = which.status() == 0;
  which.expect_status(*which.status());
  return is_there;
}

#define OUTRIGGER_NEEDS_PROMTOOL() \
  if (!has_promtool()) GTEST_SKIP() << "promtool is not installed: scripts/setup --for test"

class Metrics : public ::testing::Test {
 protected:
  void SetUp() override {
    OUTRIGGER_NEEDS_VALKEY();
    valkey_.emplace();
  }
  ValkeyServer& valkey() { return *valkey_; }

  // Clients that have sent a request and wait. Those of one call are on the queue in any order.
  void send(const Gateway& gateway, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      clients_.push_back(std::make_unique<RawClient>(gateway.port()));
      EXPECT_TRUE(clients_.back()->send(make_request("GET", "/orders/hold")));
    }
  }
  // Waits until what is counted by hand is `expected`, then scrapes. Nothing moves then, or the test has failed.
  void expect_scraped(const char* when, const Gateway& gateway, const Count& expected) {
    Count by_hand;
    EXPECT_TRUE(eventually("the state", [&] { return (by_hand = count_by_hand(valkey(), "orders")) == expected; }))
        << when << ": " << by_hand << " by hand instead of " << expected;
    const auto oldest_before = oldest_by_hand(valkey(), "router:requests:orders");
    const Scrape scrape(gateway.health_port());
    const auto oldest_after = oldest_by_hand(valkey(), "router:requests:orders");
    EXPECT_EQ(count_by_scrape(scrape, "orders"), expected) << when;
    EXPECT_EQ(count_by_hand(valkey(), "orders"), expected) << when << ", behind the scrape";
    const std::int64_t oldest = std::llround(std::stod(scrape.of("queue_oldest_age_seconds", "orders")) * 1000);
    EXPECT_GE(oldest, oldest_before.value_or(0)) << when;
    EXPECT_LE(oldest, oldest_after.value_or(0)) << when;
  }
  void expect_consumers(const char* when, const Gateway& gateway, const std::string& count) {
    std::string last;
    EXPECT_TRUE(eventually("the consumers", [&] {
      return (last = Scrape(gateway.health_port()).of("queue_consumers", "orders")) == count;
    })) << when << ": "
        << last << " instead of " << count;
  }

  std::optional<ValkeyServer> valkey_;
  ScriptedService service_{[](const RawRequest& request, ScriptedService::Connection& connection) {
    if (request.target.starts_with("/hold")) connection.hold();
    ScriptedService::echo(request, connection);
  }};
  std::vector<std::unique_ptr<RawClient>> clients_;
};

TEST_F(Metrics, queue_numbers_are_those_counted_by_hand_through_burst_cancel_kill_drain_and_restart) {
  auto gateway = std::make_unique<Gateway>(valkey());
  auto first = std::make_unique<MeteredSidecar>(valkey(), "orders", service_, "4");
  ASSERT_TRUE(gateway->wait_for_route("/orders/"));
  expect_scraped("idle", *gateway, {0, 0, 0, 0});
  expect_consumers("idle", *gateway, "1");

  // Those that will leave are the last of the queue: nobody is to meet them before the others are served.
  send(*gateway, 25);
  expect_scraped("burst", *gateway, {25, 21, 4, 0});
  send(*gateway, 5);
  expect_scraped("burst", *gateway, {30, 26, 4, 0});
  EXPECT_EQ(Scrape(gateway->health_port()).at("outrigger_requests_in_flight{direction=\"inbound\"}"), "30");
  EXPECT_EQ(Scrape(first->health_port()).at("outrigger_requests_in_flight{direction=\"inbound\"}"), "4");

  // Clients leave. What they asked for is on its queue already and stays there until an instance meets it.
  for (int i = 0; i < 5; ++i) {
    clients_.back()->close();
    clients_.pop_back();
  }
  ASSERT_TRUE(eventually("the clients to be gone", [&] {
    return Scrape(gateway->health_port()).of("cancelled_total", "orders") == "5";
  }));
  expect_scraped("cancel", *gateway, {30, 26, 4, 0});
  EXPECT_EQ(Scrape(gateway->health_port()).at("outrigger_requests_in_flight{direction=\"inbound\"}"), "25");

  auto second = std::make_unique<MeteredSidecar>(valkey(), "orders", service_, "4");
  expect_scraped("another sidecar", *gateway, {30, 22, 8, 0});
  expect_consumers("another sidecar", *gateway, "2");

  // What it had in hand stays pending, now with the one that takes it over.
  first->process().kill_hard();
  expect_consumers("kill", *gateway, "1");
  ASSERT_TRUE(eventually("the takeover", [&] {
    return Scrape(second->health_port()).of("taken_over_total", "orders") == "4";
  }));
  expect_scraped("kill", *gateway, {30, 22, 8, 0});
  EXPECT_EQ(Scrape(second->health_port()).of("redeliveries_total", "orders"), "4");

  // A sidecar is started again: another instance under the same name. The one before it drains: what it has begun it
  // finishes (that is held at the service), what it only had in hand goes to the new one, beside four of the queue.
  auto third = std::make_unique<MeteredSidecar>(valkey(), "orders", service_, "4");
  expect_scraped("restart of a sidecar", *gateway, {30, 18, 12, 0});
  expect_consumers("restart of a sidecar", *gateway, "2");
  second->process().send_signal(SIGTERM);
  ASSERT_TRUE(eventually("the hand-back", [&] {
    return Scrape(third->health_port()).at("outrigger_requests_in_flight{direction=\"inbound\"}") == "8";
  }));
  expect_scraped("drain", *gateway, {30, 18, 12, 0});
  expect_consumers("drain", *gateway, "1");
  EXPECT_EQ(Scrape(second->health_port()).of("handed_back_total", "orders"), "4");

  // Every gateway says the same, also one that was started since, and when the first is gone.
  Gateway other(valkey());
  ASSERT_TRUE(other.wait_until_ready());
  expect_scraped("another gateway", other, {30, 18, 12, 0});
  expect_scraped("beside another gateway", *gateway, {30, 18, 12, 0});
  gateway->process().kill_hard();
  gateway.reset();
  clients_.clear();
  expect_scraped("restart of a gateway", other, {30, 18, 12, 0});

  service_.release();
  ASSERT_TRUE(is_settled(valkey(), "orders"));
  expect_scraped("idle again", other, {0, 0, 0, 0});
  EXPECT_TRUE(second->process().wait_for_exit());

  // Without Valkey nothing is known, and nothing is shown as if it were; a new one is empty.
  valkey().kill_hard();
  ASSERT_TRUE(eventually("the loss to be seen", [&] {
    const Scrape scrape(other.health_port());
    return scrape.at("outrigger_valkey_connected") == "0" && scrape.of("queue_lag_known", "orders") == "0";
  }));
  const Scrape alone(other.health_port());
  for (const char* family : {"queue_length", "queue_lag", "queue_pending", "queue_oldest_age_seconds", "queue_consumers"}) {
    EXPECT_EQ(alone.of(family, "orders"), "(none)") << family;
  }
  valkey().start_again();
  ASSERT_TRUE(other.wait_until_ready());
  ASSERT_TRUE(eventually("the queue to be there", [&] {
    return Scrape(other.health_port()).of("queue_lag_known", "orders") == "1";
  }));
  expect_scraped("an empty Valkey", other, {0, 0, 0, 0});
  EXPECT_NE(Scrape(other.health_port()).at("outrigger_valkey_reconnects_total"), "0");
  EXPECT_TRUE(third->process().terminate());
  EXPECT_TRUE(other.process().terminate());
}

TEST_F(Metrics, every_request_is_counted_once_and_by_its_template) {
  service_.set_document(R"({"openapi":"3.0.0","info":{"title":"t","version":"1"},"paths":{"/things/{id}":{"get":{},"put":{}}}})");
  Gateway gateway(valkey());
  MeteredSidecar sidecar(valkey(), "orders", service_, "4");
  ASSERT_TRUE(gateway.wait_for_route("/orders/things/0"));
  const Scrape before(gateway.health_port());

  for (int i = 0; i < 7; ++i) EXPECT_EQ(gateway.get("/orders/things/" + std::to_string(i)).status, 200);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(gateway.ask(make_request("PUT", "/orders/things/" + std::to_string(i), {}, "x")).status, 200);
  }
  for (int i = 0; i < 5; ++i) EXPECT_EQ(gateway.get("/nowhere/" + std::to_string(i)).status, 404);
  EXPECT_EQ(gateway.ask("GET / HTTP/1.1\r\n\r\n").status, 400);

  const Scrape scrape(gateway.health_port());
  const auto grown = [&](std::initializer_list<std::string_view> parts) { return scrape.sum(parts) - before.sum(parts); };
  const std::string requests = "outrigger_requests_total{direction=\"inbound\",";
  const std::string labels = "service=\"orders\",route=\"/orders/things/{id}\",";
  EXPECT_EQ(grown({requests + labels + "method=\"GET\",code=\"200\"}"}), 7);
  EXPECT_EQ(grown({requests + labels + "method=\"PUT\",code=\"200\"}"}), 3);
  EXPECT_EQ(grown({requests + "service=\"none\",route=\"unmatched\",method=\"GET\",code=\"404\"}"}), 5);
  EXPECT_EQ(grown({requests + "service=\"none\",route=\"unmatched\",method=\"GET\",code=\"400\"}"}), 1);
  EXPECT_EQ(grown({"outrigger_requests_total"}), 16);
  EXPECT_EQ(grown({"outrigger_request_duration_seconds_count{direction=\"inbound\",service=\"orders\"}"}), 10);
  EXPECT_EQ(grown({"outrigger_problems_total{problem=\"no-route\"}"}), 5);
  EXPECT_EQ(scrape.at("outrigger_requests_in_flight{direction=\"inbound\"}"), "0");
  EXPECT_EQ(scrape.at("outrigger_instances{service=\"orders\",state=\"healthy\"}"), "1");
  EXPECT_EQ(scrape.at("outrigger_instances{service=\"orders\",state=\"draining\"}"), "0");

  // The sidecar has the same templates, and the times between.
  // (It counts a request once that is settled, which is after its answer.)
  ASSERT_TRUE(eventually("the sidecar's counts", [&] {
    return Scrape(sidecar.health_port()).at(requests + labels + "method=\"PUT\",code=\"200\"}") == "3";
  }));
  const Scrape below(sidecar.health_port());
  EXPECT_EQ(below.at(requests + labels + "method=\"PUT\",code=\"200\"}"), "3");
  EXPECT_GE(below.sum({requests + labels + "method=\"GET\",code=\"200\"}"}), 7);
  const std::string answered = below.at("outrigger_service_duration_seconds_count{direction=\"inbound\",service=\"orders\"}");
  EXPECT_EQ(below.at("outrigger_queue_wait_seconds_count{direction=\"inbound\",service=\"orders\"}"), answered);
  for (const char* family : {"redeliveries_total", "outcome_unknown_total", "expired_total", "cancelled_total"}) {
    EXPECT_EQ(below.of(family, "orders"), "0") << family;
  }
  EXPECT_TRUE(sidecar.process().terminate());
  EXPECT_TRUE(gateway.process().terminate());
}

TEST_F(Metrics, both_pages_pass_promtool_in_text_and_say_openmetrics_when_asked) {
  OUTRIGGER_NEEDS_PROMTOOL();
  Gateway gateway(valkey());
  MeteredSidecar sidecar(valkey(), "orders", service_, "4");
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));
  gateway.get("/nowhere");

  for (const std::uint16_t port : {gateway.health_port(), sidecar.health_port()}) {
    const Scrape text(port);
    EXPECT_EQ(text.content_type, "text/plain; version=0.0.4; charset=utf-8");
    EXPECT_TRUE(passes_promtool(text.text, valkey().directory()));
    EXPECT_EQ(text.text.find("# EOF"), std::string::npos);
    EXPECT_NE(text.at("process_resident_memory_bytes"), "(none)");
    EXPECT_EQ(text.series("outrigger_build_info{version=\""), 1u);
    const Scrape open(port, {{"Accept", "application/openmetrics-text;version=1.0.0"}});
    EXPECT_EQ(open.content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    EXPECT_TRUE(open.text.ends_with("\n# EOF\n"));
    EXPECT_NE(open.text.find("# TYPE outrigger_requests counter\n"), std::string::npos);
  }

  // The sample rules: valid, and of families that are there.
  const std::string rules = OUTRIGGER_SOURCE_DIR "/config/prometheus/rules.yaml";
  ChildProcess check({.command = {"promtool", "check", "rules", rules}, .environment = {}, .directory = {}});
  EXPECT_TRUE(check.wait_for_exit());
  EXPECT_EQ(check.status(), 0) << check.err();
  std::ifstream file(rules);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const std::string pages = Scrape(gateway.health_port()).text + Scrape(sidecar.health_port()).text;
  const std::regex family("[:a-z]?outrigger_[a-z_]+");
  std::size_t found = 0;
  for (std::sregex_iterator at(text.begin(), text.end(), family), end; at != end; ++at) {
    if (at->str().starts_with(':')) continue;  // the name of a recording rule
    ++found;
    EXPECT_NE(pages.find("# TYPE " + at->str() + " "), std::string::npos) << at->str();
  }
  EXPECT_GT(found, 10u);
  EXPECT_TRUE(sidecar.process().terminate());
  EXPECT_TRUE(gateway.process().terminate());
}

TEST_F(Metrics, hostile_clients_services_and_frames_make_a_bounded_page) {
  std::mt19937 random(20240613);
  ScriptedService hostile([](const RawRequest& request, ScriptedService::Connection& connection) {
    const int status = 200 + static_cast<int>(std::hash<std::string>()(request.target) % 800);
    connection.send(make_response(std::to_string(status) + " x", {}, request.method == "HEAD" ? "" : "x"));
  });
  Gateway gateway(valkey());
  MeteredSidecar sidecar(valkey(), "orders", hostile, "64");
  ASSERT_TRUE(eventually("the route", [&] { return gateway.get("/orders/x").status >= 200 && gateway.get("/orders/x").status != 404; }));

  // Clients: paths nobody ever saw, methods nobody knows, statuses no service should send.
  static constexpr std::array<const char*, 12> kMethods{"GET",  "POST",     "PUT",  "DELETE", "PATCH",  "OPTIONS",
                                                        "LOCK", "PROPFIND", "COPY", "MKCOL",  "SEARCH", "REPORT"};
  constexpr int kRequests = 3000;
  RawClient client(gateway.port());
  for (int i = 0; i < kRequests; ++i) {
    const std::string path = (i % 3 == 0 ? "/" : "/orders/") + std::to_string(random()) + "/" + std::to_string(random());
    client.send(make_request(kMethods[random() % kMethods.size()], path, {{"Host2", std::to_string(random())}}));
    const RawResponse response = client.read_response();
    ASSERT_EQ(response.problem, "") << i;
  }
  for (int i = 0; i < 50; ++i) gateway.ask("M" + std::to_string(random()) + " / HTTP/1.1\r\nHost: a\r\n\r\n");

  // Somebody who may write frames: a new service in each of thousands.
  const auto names = frames::QueueNames::make({});
  for (int i = 0; i < 3000; ++i) {
    frames::InstanceFrame frame;
    char instance[21];
    std::snprintf(instance, sizeof instance, "%020x", i + 1);
    frame.instance = instance;
    frame.seq = 1;
    frame.service = "a" + std::to_string(random());
    frame.service_version = "1." + std::to_string(i);
    frame.queues = {names->request_queue(frame.service), names->request_queue(frame.service, frame.service_version)};
    frame.group = names->consumer_group();
    frame.inbox = names->inbox(frame.service, frame.instance);
    frame.state = frames::InstanceState::healthy;
    frame.interval_ms = 60'000;
    const auto encoded = frames::encode(frame);
    ASSERT_TRUE(encoded.has_value());
    const frames::EntryFields entry = encoded->fields();
    ASSERT_EQ(entry.size(), 3u);
    const frames::EntryField* fields = entry.data();
    valkey().cli({"XADD", names->control(), "*", fields[0].name, fields[0].value, fields[1].name, fields[1].value,
                  fields[2].name, fields[2].value});
  }

  ASSERT_TRUE(eventually("the frames to be read", [&] {
    return std::stoi("0" + Scrape(gateway.health_port()).at("outrigger_services_not_shown")) > 2500;
  }));
  const Scrape scrape(gateway.health_port());
  // 10 methods (9 and _OTHER) for what is not matched, each with few codes; and orders' share.
  EXPECT_EQ(scrape.values("outrigger_requests_total", "service"), (std::set<std::string>{"none", "orders"}));
  EXPECT_EQ(scrape.values("outrigger_requests_total", "route"), (std::set<std::string>{"unmatched", "/orders/{path}", "other"}))
      << "more statuses than a service may have series: the rest is `other`";
  EXPECT_LE(scrape.values("outrigger_requests_total", "method").size(), 10u);
  EXPECT_LE(scrape.series("outrigger_requests_total"), kSeriesPerService + 100 + 100);
  EXPECT_GE(scrape.sum({"outrigger_requests_total"}), kRequests + 50);
  EXPECT_LE(scrape.values("outrigger_instances", "service").size(), kServices + 1);
  EXPECT_LE(scrape.values("outrigger_queue_length", "service").size(), kServices);
  EXPECT_LE(scrape.values("outrigger_request_duration_seconds", "service").size(), kServices + 1);
  // Who was there first keeps its place, and all of them are somewhere.
  EXPECT_EQ(scrape.of("queue_lag", "orders"), "0");
  EXPECT_EQ(scrape.at("outrigger_instances{service=\"orders\",state=\"healthy\"}"), "1");
  EXPECT_EQ(scrape.sum({"outrigger_instances", "state=\"healthy\""}), 3001);
  EXPECT_LT(scrape.text.size(), 2u << 20);
  if (has_promtool()) {
    EXPECT_TRUE(passes_promtool(scrape.text, valkey().directory()));
  }
  EXPECT_EQ(get(gateway.health_port(), "/livez").status, 200);
  EXPECT_TRUE(sidecar.process().terminate());
  EXPECT_TRUE(gateway.process().terminate());
}

TEST_F(Metrics, scrape_does_not_wait_for_a_bus_that_hangs_and_liveness_not_at_all) {
  Gateway gateway(valkey());
  MeteredSidecar sidecar(valkey(), "orders", service_, "4");
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));
  ASSERT_EQ(Scrape(gateway.health_port()).of("queue_lag_known", "orders"), "1");

  valkey().suspend();
  const Scrape scrape(gateway.health_port());
  valkey().resume();

  EXPECT_EQ(scrape.of("queue_lag_known", "orders"), "0");
  EXPECT_EQ(scrape.of("queue_lag", "orders"), "(none)");
  EXPECT_EQ(scrape.at("outrigger_scrapes_incomplete_total"), "1");
  EXPECT_EQ(scrape.at("outrigger_scrape_workers_missing"), "0");
  EXPECT_TRUE(sidecar.process().terminate());
  EXPECT_TRUE(gateway.process().terminate());
}

}  // namespace
}  // namespace outrigger::tests
