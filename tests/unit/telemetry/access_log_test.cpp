#include "bridge/telemetry/access_log.h"

#include <gtest/gtest.h>

namespace outrigger::telemetry {
namespace {

using namespace std::chrono_literals;

std::string line_of(AccessFormat format, const AccessRecord& record) {
  std::string line;
  append_access(line, format, record);
  return line;
}

AccessRecord full_record() {
  AccessRecord record;
  record.start = base::WallMillis(1738311300123);
  record.method = "GET";
  record.path = "/billing/1";
  record.minor_version = 1;
  record.status = 200;
  record.code_details = "via_upstream";
  record.bytes_received = 7;
  record.bytes_sent = 42;
  record.duration = 12'900us;
  record.service_time = 9ms;
  record.forwarded_for = "192.0.2.1";
  record.user_agent = "curl/8";
  record.request_id = "req";
  record.authority = "example.test";
  record.upstream_host = "host";
  record.upstream_cluster = "cluster";
  record.route = "/billing/{id}";
  record.trace_id = "trace";
  record.span_id = "span";
  record.service = "billing";
  record.instance = "instance";
  record.correlation_id = "correlation";
  record.attempt = 2;
  record.queue_wait = 3ms;
  record.subject = "alice";
  return record;
}

TEST(AccessLog, json_has_every_key_in_order) {
  EXPECT_EQ(
      line_of(AccessFormat::json, full_record()),
      R"({"start_time":"2025-01-31T08:15:00.123Z","method":"GET","path":"/billing/1","protocol":"HTTP/1.1",)"
      R"("response_code":200,"response_flags":null,"response_code_details":"via_upstream","bytes_received":7,)"
      R"("bytes_sent":42,"duration":12,"upstream_service_time":9,"x_forwarded_for":"192.0.2.1","user_agent":"curl/8",)"
      R"("request_id":"req","authority":"example.test","upstream_host":"host","upstream_cluster":"cluster",)"
      R"("route_name":"/billing/{id}","trace_id":"trace","span_id":"span","service":"billing",)"
      R"("instance_id":"instance","correlation_id":"correlation","delivery_attempt":2,"queue_wait_ms":3,)"
      R"("subject":"alice"})");
}

TEST(AccessLog, unset_is_null_in_json) {
  EXPECT_EQ(line_of(AccessFormat::json, {}),
            R"({"start_time":"1970-01-01T00:00:00.000Z","method":null,"path":null,"protocol":null,"response_code":0,)"
            R"("response_flags":null,"response_code_details":null,"bytes_received":0,"bytes_sent":0,"duration":0,)"
            R"("upstream_service_time":null,"x_forwarded_for":null,"user_agent":null,"request_id":null,)"
            R"("authority":null,"upstream_host":null,"upstream_cluster":null,"route_name":null,"trace_id":null,)"
            R"("span_id":null,"service":null,"instance_id":null,"correlation_id":null,"delivery_attempt":null,)"
            R"("queue_wait_ms":null,"subject":null})");
}

TEST(AccessLog, text_is_the_default_line_of_envoy) {
  EXPECT_EQ(line_of(AccessFormat::text, full_record()),
            R"([2025-01-31T08:15:00.123Z] "GET /billing/1 HTTP/1.1" 200 - 7 42 12 9 "192.0.2.1" "curl/8" "req" )"
            R"("example.test" "host")");
}

TEST(AccessLog, unset_is_a_dash_in_text) {
  AccessRecord record;
  record.minor_version = 0;
  record.flags = flag::kDownstreamClosed;
  EXPECT_EQ(line_of(AccessFormat::text, record),
            R"([1970-01-01T00:00:00.000Z] "- - HTTP/1.0" 0 DC 0 0 0 - "-" "-" "-" "-" "-")");
}

TEST(AccessLog, brief_is_for_people) {
  AccessRecord record = full_record();
  EXPECT_EQ(line_of(AccessFormat::brief, record), "08:15:00.123 200 GET /billing/1 12.9 ms billing");
  record.flags = flag::kNoHealthyUpstream;
  record.code_details = "no-instance";
  EXPECT_EQ(line_of(AccessFormat::brief, record), "08:15:00.123 200 GET /billing/1 12.9 ms billing (no-instance)");
}

TEST(AccessLog, times_of_different_seconds_do_not_mix) {
  AccessRecord record;
  record.start = base::WallMillis(1738311300999);
  EXPECT_NE(line_of(AccessFormat::text, record).find("[2025-01-31T08:15:00.999Z]"), std::string::npos);
  record.start = base::WallMillis(1738311301000);
  EXPECT_NE(line_of(AccessFormat::text, record).find("[2025-01-31T08:15:01.000Z]"), std::string::npos);
}

// What clients send must neither end a value nor a line, nor reach a terminal as a command.
TEST(AccessLog, text_of_clients_cannot_forge_a_record) {
  AccessRecord record = full_record();
  record.path = "/x\" 200\n{\"start_time\":1}\r\x1b[2J\x7f\xc2\x9b";
  record.user_agent = record.path;
  record.service = record.path;
  for (const AccessFormat format : {AccessFormat::json, AccessFormat::text, AccessFormat::brief}) {
    const std::string line = line_of(format, record);
    for (const char* raw : {"\n", "\r", "\x1b", "\x7f", "\xc2\x9b"}) {
      EXPECT_EQ(line.find(raw), std::string::npos) << line;
    }
    EXPECT_NE(line.find(R"(/x\" 200\u000a{\"start_time\":1}\u000d\u001b[2J\u007f\u009b)"), std::string::npos) << line;
  }
}

}  // namespace
}  // namespace outrigger::telemetry
