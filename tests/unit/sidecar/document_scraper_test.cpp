// The scraper on real sockets, but on a clock of the test: a minute between two questions takes none.
#include "sidecar/document_scraper.h"

#include <unistd.h>

#include <filesystem>
#include <map>

#include "tests/support/fake_clock.h"
#include "tests/support/fake_service.h"

namespace outrigger::sidecar {
namespace {

using namespace std::chrono_literals;
using tests::FakeService;
using Outcome = DocumentScraper::Outcome;
using Lines = std::vector<std::string>;

std::string document_with(const std::string& paths) {
  return R"({"openapi":"3.1.0","info":{},"paths":{)" + paths + "}}";
}
const std::string kOrders = document_with(R"("/orders":{"get":{}})");
const std::string kInvoices = document_with(R"("/invoices":{"get":{}})");

class DocumentScraperTest : public ::testing::Test {
 protected:
  struct Page {
    int status = 200;
    std::string body = {};
    std::string etag = {};
    std::string location = {};
    std::string last_modified = {};
    bool is_silent = false;
  };

  DocumentScraperTest() {
    std::filesystem::create_directories(folder_);
    const auto answer = [this](FakeService&, FakeService::Seen& seen) {
      asked_.push_back(seen.head.target);
      validators_ = std::string(seen.head.headers.find("If-None-Match").value_or("-")) + " " +
                    std::string(seen.head.headers.find("If-Modified-Since").value_or("-"));
      const auto at = pages_.find(seen.head.target);
      if (at == pages_.end()) return FakeService::reply(seen, 404, "");
      const Page& page = at->second;
      if (page.is_silent) return;
      http1::ResponseHead head;
      const bool is_known = !page.etag.empty() && seen.head.headers.find("If-None-Match").value_or("") == page.etag;
      head.status = is_known ? 304 : page.status;
      if (!page.etag.empty()) head.headers.add("ETag", page.etag);
      if (!page.location.empty()) head.headers.add("Location", page.location);
      if (!page.last_modified.empty()) head.headers.add("Last-Modified", page.last_modified);
      seen.exchange->send(head, is_known ? "" : page.body);
    };
    service_ = std::make_unique<FakeService>(fake_.loop, answer, http1::HttpServerOptions{}, at_);
  }
  ~DocumentScraperTest() override {
    scraper_.reset();
    std::filesystem::remove_all(folder_);
  }

  // Makes the scraper and waits for its first round.
  ::testing::AssertionResult start(std::string path = {}, base::Duration interval = 60s) {
    make_scraper(std::move(path), interval);
    return return_to_service();
  }
  void make_scraper(std::string path = {}, base::Duration interval = 60s) {
    openapi::ServiceMetadata metadata;
    metadata.service = "billing";
    scraper_ = std::make_unique<DocumentScraper>(
        fake_.loop, DocumentScraper::Options{at_, "service.test", std::move(path), interval, metadata},
        [this](const Scraped& scraped) { announced_.push_back(scraped); });
  }
  ::testing::AssertionResult return_to_service() {
    bool is_over = false;
    scraper_->resume([&is_over](bool) { is_over = true; });
    return run_until("the first round", [&is_over] { return is_over; });
  }
  // Lets `interval` go by and waits for the round it brings.
  ::testing::AssertionResult after(base::Duration interval) {
    const base::WallMillis before = status().at;
    fake_.advance(interval);
    return run_until("another round", [&] { return status().at != before; });
  }
  // Lets time go by in small steps until `condition` holds.
  ::testing::AssertionResult advance_until(const std::string& what, const std::function<bool()>& condition) {
    const base::TimePoint give_up = base::system_clock().monotonic() + 20s;
    while (!condition()) {
      if (base::system_clock().monotonic() > give_up) return ::testing::AssertionFailure() << "waited for " << what;
      fake_.advance(250ms);
      fake_.settle(100);
    }
    return ::testing::AssertionSuccess();
  }
  // Turns while the clock stands still; the sockets are real, so it may take a moment.
  ::testing::AssertionResult run_until(const std::string& what, const std::function<bool()>& condition) {
    const base::TimePoint give_up = base::system_clock().monotonic() + 20s;
    while (!condition()) {
      if (base::system_clock().monotonic() > give_up) return ::testing::AssertionFailure() << "waited for " << what;
      fake_.settle();
    }
    return ::testing::AssertionSuccess();
  }

  const DocumentScraper::Status& status() const { return scraper_->status(); }
  // What was announced last.
  Lines endpoints() const {
    const auto metadata = openapi::decode_metadata(announced_.back().metadata.bytes, announced_.back().metadata.hash);
    if (!metadata) return {metadata.error().detail};
    if (metadata->catch_all) return {"every path"};
    Lines lines;
    for (const auto& endpoint : metadata->endpoints) lines.push_back(endpoint.method + " " + endpoint.path);
    return lines;
  }
  Lines asked() { return std::exchange(asked_, {}); }

  tests::FakeLoop fake_;
  const std::string folder_ = std::filesystem::temp_directory_path() / ("outrigger-scraper-" + std::to_string(getpid()));
  const net::Endpoint at_ = net::Endpoint::unix_socket(folder_ + "/s.sock");
  std::map<std::string, Page> pages_;
  Lines asked_;
  std::string validators_;
  std::vector<Scraped> announced_;
  std::unique_ptr<FakeService> service_;
  std::unique_ptr<DocumentScraper> scraper_;
};

TEST_F(DocumentScraperTest, usual_paths_are_asked_in_order_until_one_has_a_document) {
  pages_["/openapi.json"] = {200, "<!DOCTYPE html><html></html>"};  // of a single-page application
  pages_["/v3/api-docs"] = {200, kOrders};
  ASSERT_TRUE(start());

  EXPECT_EQ(asked(), (Lines{"/openapi.json", "/openapi.yaml", "/swagger.json", "/swagger/v1/swagger.json", "/v3/api-docs"}));
  EXPECT_EQ(endpoints(), Lines{"GET /orders"});
  EXPECT_EQ(status().outcome, Outcome::read);
  EXPECT_EQ(status().path, "/v3/api-docs");

  ASSERT_TRUE(after(60s));
  EXPECT_EQ(asked(), Lines{"/v3/api-docs"});  // remembered
  EXPECT_EQ(status().outcome, Outcome::unchanged);
  EXPECT_EQ(announced_.size(), 1U);
}

TEST_F(DocumentScraperTest, service_without_a_document_gets_every_path_and_is_asked_again_less_often) {
  ASSERT_TRUE(start());
  EXPECT_EQ(asked().size(), 7U);
  EXPECT_EQ(endpoints(), Lines{"every path"});
  EXPECT_EQ(status().outcome, Outcome::absent);

  fake_.advance(500s);
  EXPECT_EQ(asked(), Lines{});
  pages_["/api-docs"] = {200, kOrders};
  ASSERT_TRUE(advance_until("the document", [this] { return announced_.size() == 2; }));
  EXPECT_EQ(endpoints(), Lines{"GET /orders"});
}

TEST_F(DocumentScraperTest, configured_path_is_the_only_one) {
  pages_["/openapi.json"] = {200, kOrders};
  ASSERT_TRUE(start("/docs/api?format=json"));
  EXPECT_EQ(asked(), Lines{"/docs/api?format=json"});
  EXPECT_EQ(endpoints(), Lines{"every path"});
  EXPECT_EQ(status().why, "/docs/api?format=json: status 404");
}

TEST_F(DocumentScraperTest, yaml_and_swagger_2_are_announced_as_json_of_3) {
  pages_["/swagger.json"] = {200, "swagger: 2.0\nbasePath: /v1\npaths:\n  /orders:\n    get: {}\n"};
  ASSERT_TRUE(start());

  EXPECT_EQ(endpoints(), Lines{"GET /v1/orders"});
  EXPECT_EQ(status().version, "2.0");
  EXPECT_EQ(openapi::decode_metadata(announced_[0].metadata.bytes, {})->document.substr(0, 1), "{");
}

TEST_F(DocumentScraperTest, validators_save_the_document) {
  pages_["/openapi.json"] = {200, kOrders, "\"1\"", "", "Mon, 01 Jan 2024 00:00:00 GMT"};
  ASSERT_TRUE(start());
  EXPECT_EQ(validators_, "- -");

  ASSERT_TRUE(after(60s));
  EXPECT_EQ(validators_, "\"1\" Mon, 01 Jan 2024 00:00:00 GMT");
  EXPECT_EQ(status().outcome, Outcome::unchanged);

  pages_["/openapi.json"] = {200, kInvoices, "\"2\""};
  ASSERT_TRUE(after(60s));
  EXPECT_EQ(endpoints(), Lines{"GET /invoices"});
  ASSERT_TRUE(after(60s));
  EXPECT_EQ(validators_, "\"2\" -");
}

TEST_F(DocumentScraperTest, not_modified_that_nobody_asked_for_is_no_document) {
  pages_["/openapi.json"] = {304};
  ASSERT_TRUE(start());
  EXPECT_EQ(endpoints(), Lines{"every path"});
}

TEST_F(DocumentScraperTest, whatever_comes_later_the_last_good_document_stays_and_the_reason_is_told) {
  const struct {
    Page page;
    Outcome outcome;
    std::string why;
  } cases[] = {
      {{200, "{\"openapi\":"}, Outcome::broken, "/openapi.json: not JSON"},
      {{200, "- a\n- b"}, Outcome::broken, "/openapi.json: neither"},
      {{200, document_with(R"("orders":{})")}, Outcome::broken, "does not begin with /"},
      {{200, std::string(openapi::kDocumentBytes + 1, ' ')}, Outcome::broken, "/openapi.json: "},
      {{200, std::string(200, '[') + std::string(200, ']')}, Outcome::broken, "nested deeper"},
      {{404}, Outcome::absent, "/openapi.json: status 404"},
      {{401}, Outcome::absent, "/openapi.json: status 401"},
      {{500}, Outcome::unavailable, "/openapi.json: status 500"},
      {{429}, Outcome::unavailable, "/openapi.json: status 429"},
  };
  pages_["/openapi.json"] = {200, kOrders};
  ASSERT_TRUE(start());
  for (const auto& one : cases) {
    pages_["/openapi.json"] = one.page;
    ASSERT_TRUE(after(60s)) << one.why;
    EXPECT_EQ(status().outcome, one.outcome) << status().why;
    EXPECT_NE(status().why.find(one.why), std::string::npos) << status().why;
    EXPECT_EQ(status().endpoints, 1U);
    EXPECT_EQ(announced_.size(), 1U);
    pages_["/openapi.json"] = {200, kOrders};
    ASSERT_TRUE(advance_until("it to be in order", [this] { return status().why.empty(); }));
  }
}

TEST_F(DocumentScraperTest, broken_document_is_not_replaced_by_that_of_another_path) {
  pages_["/openapi.json"] = {200, kOrders};
  ASSERT_TRUE(start());
  pages_["/openapi.json"] = {200, "{"};
  pages_["/swagger.json"] = {200, kInvoices};
  asked();
  ASSERT_TRUE(after(60s));
  EXPECT_EQ(asked(), Lines{"/openapi.json"});
  EXPECT_EQ(endpoints(), Lines{"GET /orders"});

  pages_.erase("/openapi.json");  // it has moved
  ASSERT_TRUE(after(60s));
  EXPECT_EQ(endpoints(), Lines{"GET /invoices"});
}

TEST_F(DocumentScraperTest, first_document_that_is_not_to_be_had_yet_is_asked_for_again_soon) {
  pages_["/openapi.json"] = {503};
  ASSERT_TRUE(start({}, 0s));  // also where no interval is set
  EXPECT_EQ(endpoints(), Lines{"every path"});
  EXPECT_EQ(status().outcome, Outcome::unavailable);

  ASSERT_TRUE(after(1s));
  EXPECT_EQ(status().outcome, Outcome::unavailable);
  pages_["/openapi.json"] = {200, kOrders};
  const base::WallMillis before = status().at;
  fake_.advance(1s);
  EXPECT_EQ(status().at, before);  // the pause has doubled
  ASSERT_TRUE(after(1s));
  EXPECT_EQ(endpoints(), Lines{"GET /orders"});

  asked();
  fake_.advance(1h);
  EXPECT_EQ(asked(), Lines{});
}

TEST_F(DocumentScraperTest, service_that_does_not_answer_costs_one_deadline) {
  pages_["/openapi.json"].is_silent = true;
  make_scraper();
  std::optional<bool> is_there;
  scraper_->resume([&is_there](bool answer) { is_there = answer; });
  ASSERT_TRUE(run_until("the question", [this] { return !asked_.empty(); }));
  fake_.advance(10s);
  ASSERT_TRUE(run_until("the first round", [&is_there] { return is_there.has_value(); }));

  EXPECT_EQ(is_there, true);
  EXPECT_EQ(asked().size(), 1U);
  EXPECT_EQ(status().outcome, Outcome::unavailable);
  EXPECT_EQ(endpoints(), Lines{"every path"});
}

TEST_F(DocumentScraperTest, service_that_returns_is_asked_at_once_and_what_is_known_is_announced) {
  pages_["/openapi.json"] = {200, kOrders, "\"1\""};
  ASSERT_TRUE(start({}, 0s));
  scraper_->pause();
  fake_.advance(1h);
  asked();

  ASSERT_TRUE(return_to_service());
  EXPECT_EQ(asked(), Lines{"/openapi.json"});
  EXPECT_EQ(announced_.size(), 2U);
  EXPECT_EQ(endpoints(), Lines{"GET /orders"});
}

TEST_F(DocumentScraperTest, pause_at_any_moment_of_a_round_silences_it) {
  pages_["/openapi.json"] = {200, kOrders};
  // Each time a turn later: being asked, answered, read beside the loop, announced. How far it is then is up to the
  // machine; that nothing follows is not.
  for (int turns = 0; turns < 40; ++turns) {
    make_scraper();
    announced_.clear();
    int calls = 0;
    scraper_->resume([&calls](bool) { ++calls; });
    fake_.settle(turns);
    const int calls_before = calls;
    const std::size_t announced_before = announced_.size();
    scraper_->pause();
    fake_.advance(10min);
    EXPECT_EQ(calls, calls_before);
    EXPECT_EQ(announced_.size(), announced_before);
  }
  ASSERT_TRUE(return_to_service());
  EXPECT_EQ(endpoints(), Lines{"GET /orders"});
}

TEST_F(DocumentScraperTest, redirects_and_links_on_the_same_service_are_followed) {
  for (const std::string location : {"/docs/v1.json", "http://SERVICE.test:80/docs/v1.json", "docs/v1.json",
                                     "./docs/v1.json", "//service.test/docs/v1.json#top"}) {
    pages_ = {{"/openapi.json", {302, "", "", location}}, {"/docs/v1.json", {200, kOrders}}};
    announced_.clear();
    ASSERT_TRUE(start());
    EXPECT_EQ(endpoints(), Lines{"GET /orders"}) << location;
  }
  pages_ = {{"/.well-known/openapi", {200, R"({"openapi":"/docs/v1.json","etag":"x","generated_at":"now"})"}},
            {"/docs/v1.json", {200, kOrders}}};
  announced_.clear();
  ASSERT_TRUE(start());
  EXPECT_EQ(endpoints(), Lines{"GET /orders"});
  EXPECT_EQ(status().path, "/.well-known/openapi");
}

TEST_F(DocumentScraperTest, nothing_leads_to_another_service_or_round_in_circles) {
  for (const std::string location :
       {"http://other.test/openapi.json", "https://service.test/x", "//other.test/x", "http://service.test:81/x",
        "file:///etc/passwd", "", "/a b"}) {
    pages_ = {{"/openapi.json", {302, "", "", location}}};
    announced_.clear();
    ASSERT_TRUE(start());
    EXPECT_EQ(endpoints(), Lines{"every path"}) << location;
    EXPECT_EQ(asked().size(), 7U) << location;
  }
  pages_ = {{"/openapi.json", {302, "", "", "/openapi.json"}}};
  ASSERT_TRUE(start());
  EXPECT_EQ(asked().size(), 10U);
  pages_ = {{"/openapi.json", {200, R"({"openapi":"/openapi.json"})"}}};
  ASSERT_TRUE(start());
  EXPECT_EQ(asked().size(), 8U);
  EXPECT_EQ(endpoints(), Lines{"every path"});
}

}  // namespace
}  // namespace outrigger::sidecar
