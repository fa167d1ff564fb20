#include "bridge/frames/frame_codec.h"

#include "bridge/base/limits.h"
#include "tests/unit/frames/frame_samples.h"

namespace outrigger::frames {
namespace {

using base::Code;
using testing::HasSubstr;
namespace limits = base::limits;

Request small_request() {
  Request request;
  request.id = "8c6f0e2d4b1a49d7";
  request.method = "GET";
  request.target = "/";
  request.scheme = "http";
  request.reply_to = "router:responses:0d6e5b4a39281706f5e4.0.1";
  request.deadline_ms = 1;
  request.bus = "r.m";
  return request;
}

constexpr std::string_view kRequestHead =
    R"({"id":"8c6f0e2d4b1a49d7","method":"GET","target":"/","scheme":"http","headers":[],)"
    R"("reply_to":"router:responses:0d6e5b4a39281706f5e4.0.1","deadline_ms":1,"bus":"r.m","max_attempts":3})";

// kRequestHead with one part replaced; the part must be there.
std::string request_head(std::string_view part, std::string_view replacement) {
  std::string head(kRequestHead);
  const std::size_t at = head.find(part);
  CHECK(at != std::string::npos);
  return head.replace(at, part.size(), replacement);
}

class FrameDecoding : public testing::Test {
 protected:
  base::Result<Frame> decode(OwnedEntry entry) { return decode_any(decoder_, entry); }
  base::Result<Frame> decode_request(std::string head) {
    return decode({{"v", "1"}, {"t", "3"}, {"h", std::move(head)}});
  }
  // The error's code and detail.
  std::string fault_of(const base::Result<Frame>& result) {
    if (result) return "decoded";
    return std::string(name_of(result.error().code)) + ": " + result.error().detail;
  }
  std::string request_fault(std::string_view part, std::string_view replacement) {
    return fault_of(decode_request(request_head(part, replacement)));
  }

  FrameDecoder decoder_{default_names()};
};

TEST(FrameEncoding, body_field_is_absent_when_empty) {
  Request request = small_request();
  const base::Result<EncodedFrame> without = encode(request);
  EXPECT_EQ(without->fields().size(), 3u);
  EXPECT_EQ(without->head, kRequestHead);

  request.body = "x";
  const base::Result<EncodedFrame> with = encode(request);
  ASSERT_EQ(with->fields().size(), 4u);
  EXPECT_EQ(with->fields().data()[3].name, "b");
  EXPECT_EQ(with->fields().data()[3].value.data(), request.body.data());
}

TEST(FrameEncoding, high_bytes_become_code_points) {
  Request request = small_request();
  request.headers.add("x", "\xE9\xC3\xA9\t\"\\\x80\xFF");

  const base::Result<EncodedFrame> encoded = encode(request);

  EXPECT_THAT(encoded->head, HasSubstr("[[\"x\",\"\xC3\xA9\xC3\x83\xC2\xA9\\t\\\"\\\\\xC2\x80\xC3\xBF\"]]"));
}

TEST(FrameEncoding, bytes_that_no_http_message_has_are_refused) {
  const auto fault_of = [](auto change) {
    Request request = small_request();
    change(request);
    const base::Result<EncodedFrame> encoded = encode(request);
    return encoded ? "encoded" : std::string(name_of(encoded.error().code)) + ": " + encoded.error().detail;
  };

  EXPECT_THAT(fault_of([](Request& r) { r.headers.add("x", "a\r\nb: c"); }), HasSubstr("invalid: headers"));
  EXPECT_THAT(fault_of([](Request& r) { r.headers.add("x", std::string(1, '\0')); }), HasSubstr("invalid: headers"));
  EXPECT_THAT(fault_of([](Request& r) { r.headers.add("x y", "a"); }), HasSubstr("invalid: headers"));
  EXPECT_THAT(fault_of([](Request& r) { r.headers.add("", "a"); }), HasSubstr("invalid: headers"));
  EXPECT_THAT(fault_of([](Request& r) { r.headers.add("caf\xE9", "a"); }), HasSubstr("invalid: headers"));
  EXPECT_THAT(fault_of([](Request& r) { r.method = "GE T"; }), HasSubstr("invalid: method"));
  EXPECT_THAT(fault_of([](Request& r) { r.target = "/a b"; }), HasSubstr("invalid: target"));
  EXPECT_THAT(fault_of([](Request& r) { r.deadline_ms = -1; }), HasSubstr("invalid: deadline_ms"));
}

TEST(FrameEncoding, head_limit_is_exact) {
  Request request = small_request();
  request.target += std::string(limits::kFrameHeadBytes - kRequestHead.size(), 'a');
  const base::Result<EncodedFrame> fits = encode(request);
  ASSERT_TRUE(fits);
  EXPECT_EQ(fits->head.size(), limits::kFrameHeadBytes);

  request.target += 'a';
  const base::Result<EncodedFrame> is_over = encode(request);
  ASSERT_FALSE(is_over);
  EXPECT_EQ(is_over.error().code, Code::too_large);
}

TEST(FrameEncoding, entry_limit_is_exact) {
  Request request = small_request();
  request.body = std::string(limits::kFrameEntryBytes - kRequestHead.size() - 6, 'x');  // v 1 t 3 h b
  EXPECT_TRUE(encode(request));

  request.body += 'x';
  const base::Result<EncodedFrame> is_over = encode(request);
  ASSERT_FALSE(is_over);
  EXPECT_EQ(is_over.error().code, Code::too_large);
}

TEST(FrameEncoding, control_frames_and_cancel_have_the_smaller_limit) {
  ResyncRequest resync{"0d6e5b4a39281706f5e4", "", std::string(limits::kControlFrameBytes, 'x')};
  const base::Result<EncodedFrame> encoded = encode(resync);
  ASSERT_FALSE(encoded);
  EXPECT_EQ(encoded.error().code, Code::too_large);

  const base::Result<std::string> cancel =
      encode_cancel({"8c6f0e2d4b1a49d7", std::string(limits::kControlFrameBytes, 'x')});
  ASSERT_FALSE(cancel);
  EXPECT_EQ(cancel.error().code, Code::too_large);
}

TEST_F(FrameDecoding, limits_hold_whatever_was_sent) {
  const std::string spaces(limits::kFrameHeadBytes - kRequestHead.size(), ' ');
  EXPECT_TRUE(decode_request(std::string(kRequestHead) + spaces));
  EXPECT_THAT(fault_of(decode_request(std::string(kRequestHead) + spaces + " ")), HasSubstr("too-large"));

  const std::string head(kRequestHead);
  const std::string body(limits::kFrameEntryBytes - head.size() - 6, 'x');
  EXPECT_TRUE(decode({{"v", "1"}, {"t", "3"}, {"h", head}, {"b", body}}));
  EXPECT_THAT(fault_of(decode({{"v", "1"}, {"t", "3"}, {"h", head}, {"b", body + "x"}})), HasSubstr("too-large"));
  EXPECT_THAT(fault_of(decode({{"v", "1"}, {"t", "3"}, {"h", head}, {"b", body}, {"x", ""}})), HasSubstr("too-large"));
  EXPECT_THAT(
      fault_of(decode({{"v", "1"}, {"t", "1"}, {"h", "{}"}, {"b", std::string(limits::kControlFrameBytes, 'x')}})),
      HasSubstr("too-large"));
  EXPECT_EQ(decoder_.decode_message(std::string(limits::kControlFrameBytes + 1, ' ')).error().code, Code::too_large);
}

TEST_F(FrameDecoding, unknown_version_or_type_is_unsupported) {
  const std::string head(kRequestHead);
  for (const char* version : {"0", "2", "999999"}) {
    EXPECT_EQ(decode({{"v", version}, {"t", "3"}, {"h", head}}).error().code, Code::unsupported) << version;
  }
  // CANCEL never stands in a stream; 259 would be 3 in one byte.
  for (const char* type : {"0", "7", "10", "31", "35", "255", "259", "999999"}) {
    EXPECT_EQ(decode({{"v", "1"}, {"t", type}, {"h", head}}).error().code, Code::unsupported) << type;
  }
  // What a later version's head looks like is not ours to judge.
  EXPECT_EQ(decode({{"v", "2"}, {"t", "3"}, {"h", "not JSON"}}).error().code, Code::unsupported);
  EXPECT_EQ(decode({{"v", "1"}, {"t", "77"}}).error().code, Code::unsupported);
}

TEST_F(FrameDecoding, bad_fields_are_malformed) {
  const std::string head(kRequestHead);
  EXPECT_EQ(fault_of(decode({})), "malformed: field v or t is missing");
  EXPECT_EQ(fault_of(decode({{"v", "1"}, {"h", head}})), "malformed: field v or t is missing");
  EXPECT_EQ(fault_of(decode({{"v", "1"}, {"t", "3"}})), "malformed: field h is missing");
  EXPECT_EQ(fault_of(decode({{"v", "1"}, {"t", "3"}, {"h", head}, {"h", head}})), "malformed: field h stands twice");
  for (const char* number : {"", "x", "3x", " 3", "-3", "+3", "3.0", "12345678901234567890"}) {
    EXPECT_EQ(fault_of(decode({{"v", "1"}, {"t", number}, {"h", head}})), "malformed: field v or t is not a number")
        << number;
    EXPECT_EQ(fault_of(decode({{"v", number}, {"t", "3"}, {"h", head}})), "malformed: field v or t is not a number")
        << number;
  }
}

TEST_F(FrameDecoding, head_that_is_no_object_is_malformed) {
  for (const char* head :
       {"", " ", "[]", "null", "7", "\"x\"", "{", "{}}", "{\"id\"}", "{\"id\":1,}", "{} {}", "\xFF\xFE"}) {
    EXPECT_THAT(fault_of(decode_request(head)), HasSubstr("malformed: head is not a JSON object")) << head;
  }
  EXPECT_THAT(fault_of(decode_request("{\"later\":" + std::string(5000, '[') + std::string(5000, ']') + "}")),
              HasSubstr("malformed"));
}

TEST_F(FrameDecoding, missing_member_is_named) {
  ASSERT_TRUE(decode_request(std::string(kRequestHead)));
  for (const char* member : {"id", "method", "target", "scheme", "headers", "reply_to", "deadline_ms", "bus"}) {
    const std::string name = std::string("\"") + member + "\"";
    EXPECT_EQ(request_fault(name, "\"other\""), std::string("malformed: member ") + member + " is missing");
  }
}

TEST_F(FrameDecoding, wrong_type_is_named) {
  EXPECT_EQ(request_fault("\"GET\"", "7"), "malformed: member method is not a string");
  EXPECT_EQ(request_fault("\"GET\"", "null"), "malformed: member method is not a string");
  EXPECT_EQ(request_fault("[]", "{}"), "malformed: member headers is not an array");
  EXPECT_EQ(request_fault("[]", "[[\"a\"]]"), "malformed: member headers has an item that is no pair");
  EXPECT_EQ(request_fault("[]", "[[\"a\",\"b\",\"c\"]]"), "malformed: member headers has an item that is no pair");
  EXPECT_EQ(request_fault("[]", "[\"a\",\"b\"]"), "malformed: member headers has an item that is no pair");
  EXPECT_EQ(request_fault("[]", "[[\"a\",1]]"), "malformed: member headers has an item that is no string");
  EXPECT_EQ(request_fault("\"max_attempts\":3", "\"repeatable\":1"),
            "malformed: member repeatable is not true or false");
  EXPECT_EQ(request_fault("\"max_attempts\":3", "\"streamed\":true"), "malformed: member streamed is not an object");
}

TEST_F(FrameDecoding, number_out_of_range_is_named) {
  for (const char* number : {"0", "-1", "1.5", "1e3", "\"1\"", "9007199254740992", "18446744073709551615", "null"}) {
    EXPECT_EQ(request_fault("\"deadline_ms\":1", std::string("\"deadline_ms\":") + number),
              "malformed: member deadline_ms is not an integer in its range")
        << number;
  }
  EXPECT_EQ(request_fault("\"max_attempts\":3", "\"max_attempts\":1001"),
            "malformed: member max_attempts is not an integer in its range");
  EXPECT_EQ(request_fault("\"max_attempts\":3", "\"streamed\":{\"length\":-1}"),
            "malformed: member streamed is not an integer in its range");
  EXPECT_TRUE(decode_request(request_head("\"deadline_ms\":1", "\"deadline_ms\":9007199254740991")));
}

TEST_F(FrameDecoding, origin_has_all_its_members_in_their_forms) {
  const auto fault = [&](const std::string& origin) {
    return request_fault("\"max_attempts\":3", "\"origin\":" + origin);
  };
  const std::string id = "\"id\":\"8c6f0e2d4b1a49d7a35c7e9f10b2d4c6\"";
  const std::string why = "malformed: member origin has a member that is missing or not of its form";
  EXPECT_EQ(fault("[]"), "malformed: member origin is not an object");
  EXPECT_EQ(fault("{}"), why);
  EXPECT_EQ(fault("{\"dead\":\"1-2\"," + id + ",\"reason\":\"exhausted\"}"), why);
  EXPECT_EQ(fault("{\"dead\":\"1\"," + id + ",\"reason\":\"exhausted\",\"first_seen\":1}"), why);
  EXPECT_EQ(fault("{\"dead\":\"1-2\",\"id\":\"short\",\"reason\":\"exhausted\",\"first_seen\":1}"), why);
  EXPECT_EQ(fault("{\"dead\":\"1-2\"," + id + ",\"reason\":\"a b\",\"first_seen\":1}"), why);
  EXPECT_EQ(fault("{\"dead\":\"1-2\"," + id + ",\"reason\":\"exhausted\",\"first_seen\":-1}"),
            "malformed: member origin is not an integer in its range");

  const std::string good = "{\"dead\":\"1-2\"," + id + ",\"reason\":\"exhausted\",\"first_seen\":7,\"later\":[]}";
  const auto frame = decode_request(request_head("\"max_attempts\":3", "\"origin\":" + good));
  ASSERT_TRUE(frame);
  EXPECT_EQ(std::get<Request>(*frame).origin,
            (Origin{"1-2", "8c6f0e2d4b1a49d7a35c7e9f10b2d4c6", "exhausted", 7}));
}

TEST_F(FrameDecoding, known_member_twice_is_malformed) {
  EXPECT_EQ(request_fault("\"method\":\"GET\"", "\"method\":\"GET\",\"method\":\"PUT\""),
            "malformed: member method stands twice");
}

TEST_F(FrameDecoding, strings_are_bytes) {
  const base::Result<Frame> frame =
      decode_request(request_head("[]", "[[\"x\",\"\xC3\xA9\\u00e9\xC2\x80\\u00ff\\t\"]]"));

  ASSERT_TRUE(frame);
  EXPECT_EQ(std::get<Request>(*frame).headers[0].value, "\xE9\xE9\x80\xFF\t");
}

TEST_F(FrameDecoding, strings_that_cannot_be_their_kind_are_malformed) {
  const std::string bad_value = "malformed: member headers has a value with bytes that may not be there";
  const std::string bad_name = "malformed: member headers has a name that is no token";
  EXPECT_EQ(request_fault("[]", "[[\"x\",\"\\u0100\"]]"), bad_value);
  EXPECT_EQ(request_fault("[]", "[[\"x\",\"\xE2\x82\xAC\"]]"), bad_value);
  EXPECT_EQ(request_fault("[]", "[[\"x\",\"\\ud83d\\ude00\"]]"), bad_value);
  EXPECT_EQ(request_fault("[]", "[[\"x\",\"a\\r\\nb: c\"]]"), bad_value);
  EXPECT_EQ(request_fault("[]", "[[\"x\",\"\\u0000\"]]"), bad_value);
  EXPECT_EQ(request_fault("[]", "[[\"\",\"a\"]]"), bad_name);
  EXPECT_EQ(request_fault("[]", "[[\"x:\",\"a\"]]"), bad_name);
  EXPECT_EQ(request_fault("[]", "[[\"content-length \",\"1\"]]"), bad_name);
  EXPECT_EQ(request_fault("[]", "[[\"\\u00e9\",\"a\"]]"), bad_name);
  EXPECT_EQ(request_fault("\"GET\"", "\"G T\""), "malformed: member method has bytes that may not be there");
  EXPECT_EQ(request_fault("\"GET\"", "\"\""), "malformed: member method is empty");
  EXPECT_EQ(request_fault("\"/\"", "\"/ HTTP/1.1\""), "malformed: member target has bytes that may not be there");
  EXPECT_EQ(request_fault("\"http\"", "\"ftp\""), "malformed: member scheme is not of its form");
  EXPECT_EQ(request_fault("8c6f0e2d4b1a49d7", "short"), "malformed: member id is not of its form");
}

TEST_F(FrameDecoding, foreign_names_are_forbidden) {
  const std::string fault = "forbidden: member reply_to is not a name of its kind";
  for (const char* name : {"session:1", "router:requests:billing", "router:responses:", "router:responses:a b"}) {
    EXPECT_EQ(request_fault("router:responses:0d6e5b4a39281706f5e4.0.1", name), fault) << name;
  }
  EXPECT_EQ(fault_of(decode(
                {{"v", "1"},
                 {"t", "32"},
                 {"h", R"({"id":"8c6f0e2d4b1a49d7","instance":"4f1c0a9b7d3e5f6a8b2c","attempt":1,"inbox":"x"})"}})),
            "forbidden: member inbox is not a name of its kind");
  EXPECT_EQ(fault_of(decode({{"v", "1"},
                             {"t", "9"},
                             {"h", R"({"instance":"4f1c0a9b7d3e5f6a8b2c","seq":2,"service":"a","metadata_hash":"h",)"
                                   R"("metadata_key":"router:inbox:a:b"})"}})),
            "forbidden: member metadata_key is not a name of its kind");
}

std::string hello_head(std::string_view queues, std::string_view state, std::string_view protocol) {
  return std::string(R"({"instance":"4f1c0a9b7d3e5f6a8b2c","seq":1,"service":"a","queues":)")
      .append(queues)
      .append(R"(,"group":"g","inbox":"router:inbox:a:b","state":")")
      .append(state)
      .append(R"(","interval_ms":1,"wake":"block","protocol":)")
      .append(protocol)
      .append("}");
}

TEST_F(FrameDecoding, hello_is_checked_inside_its_arrays_and_objects) {
  const auto fault = [this](std::string_view queues, std::string_view state, std::string_view protocol) {
    return fault_of(decode({{"v", "1"}, {"t", "1"}, {"h", hello_head(queues, state, protocol)}}));
  };
  constexpr std::string_view kProtocol = R"({"min":1,"max":2})";

  EXPECT_EQ(fault("[]", "healthy", kProtocol), "decoded");
  EXPECT_EQ(fault(R"(["router:requests:a","session:1"])", "healthy", kProtocol),
            "forbidden: member queues has a name that is not of its kind");
  EXPECT_EQ(fault("[1]", "healthy", kProtocol), "malformed: member queues has an item that is no string");
  std::string many = "[\"router:requests:a\"";
  for (int i = 0; i < 16; ++i) many += ",\"router:requests:a\"";
  EXPECT_EQ(fault(many + "]", "healthy", kProtocol), "malformed: member queues has too many items");
  EXPECT_EQ(fault("[]", "sleepy", kProtocol), "malformed: member state is not known");
  EXPECT_EQ(fault("[]", "healthy", R"({"min":1})"), "malformed: member protocol is not an object with min and max");
  EXPECT_EQ(fault("[]", "healthy", R"({"min":2,"max":1})"), "malformed: member protocol has min above max");
  EXPECT_EQ(fault("[]", "healthy", R"([1,1])"), "malformed: member protocol is not an object with min and max");
}

std::string response_head(std::string_view result) {
  return std::string(
             R"({"id":"8c6f0e2d4b1a49d7","instance":"4f1c0a9b7d3e5f6a8b2c","attempt":1,"seq":0,"headers":[],"end":true,)")
      .append(result)
      .append("}");
}

TEST_F(FrameDecoding, response_has_a_status_or_a_fault) {
  const auto response = [this](std::string_view result) {
    return decode({{"v", "1"}, {"t", "4"}, {"h", response_head(result)}});
  };

  EXPECT_EQ(std::get<Response>(*response(R"("status":204)")).status, 204);
  EXPECT_EQ(std::get<Response>(*response(R"("fault":"timeout")")).fault, Fault::timeout);
  EXPECT_EQ(std::get<Response>(*response(R"("fault":"of-a-later-kind")")).fault, Fault::outcome_unknown);
  // Older sidecars do not say how long it waited.
  EXPECT_EQ(std::get<Response>(*response(R"("status":204)")).queue_ms, std::nullopt);
  EXPECT_EQ(std::get<Response>(*response(R"("status":204,"queue_ms":0)")).queue_ms, 0u);
  EXPECT_EQ(fault_of(response(R"("x":1)")), "malformed: member status is missing");
  EXPECT_EQ(fault_of(response(R"("status":200,"fault":"timeout")")), "malformed: member status stands beside a fault");
  EXPECT_EQ(fault_of(response(R"("fault":1)")), "malformed: member fault is not a string");
  for (const char* status : {R"("status":100)", R"("status":1000)", R"("status":0)", R"("status":"200")"}) {
    EXPECT_EQ(fault_of(response(status)), "malformed: member status is not an integer in its range") << status;
  }
}

TEST_F(FrameDecoding, streamed_request_has_no_body_beside_it) {
  const std::string head = request_head("\"max_attempts\":3", "\"streamed\":{}");
  const base::Result<Frame> frame = decode_request(head);
  ASSERT_TRUE(frame);
  EXPECT_EQ(std::get<Request>(*frame).streamed, StreamedBody{});
  EXPECT_EQ(std::get<Request>(*frame).max_attempts, 3u);

  EXPECT_EQ(fault_of(decode({{"v", "1"}, {"t", "3"}, {"h", head}, {"b", "x"}})),
            "malformed: member streamed stands beside a body");
}

TEST_F(FrameDecoding, wake_mode_of_a_caller_is_optional_and_a_later_one_is_none) {
  const auto wake = [this](std::string_view member) {
    const base::Result<Frame> frame = decode_request(request_head("\"deadline_ms\":1", std::string(member) + "\"deadline_ms\":1"));
    return frame ? std::string(name_of(std::get<Request>(*frame).wake)) : fault_of(frame);
  };
  EXPECT_EQ(wake(""), "block");
  EXPECT_EQ(wake(R"("wake":"block",)"), "block");
  EXPECT_EQ(wake(R"("wake":"notify",)"), "notify");
  EXPECT_EQ(wake(R"("wake":"later",)"), "block");
  EXPECT_EQ(wake(R"("wake":1,)"), "malformed: member wake is not a string");
}

TEST_F(FrameDecoding, frame_does_not_refer_to_its_input) {
  OwnedEntry entry{{"v", "1"}, {"t", "3"}, {"h", request_head("[]", "[[\"a\",\"b\"]]")}, {"b", "body"}};
  const base::Result<Frame> frame = decode(entry);
  for (auto& [name, value] : entry) value.assign(value.size(), '#');
  ASSERT_FALSE(decode(entry));

  EXPECT_EQ(std::get<Request>(*frame).headers[0].name, "a");
  EXPECT_EQ(std::get<Request>(*frame).body, "body");
}

TEST_F(FrameDecoding, look_says_nothing_more_and_never_stands_in_a_stream) {
  const base::Result<Message> look = decoder_.decode_message(encode_look());
  ASSERT_TRUE(look);
  EXPECT_TRUE(std::holds_alternative<Look>(*look));
  EXPECT_TRUE(decoder_.decode_message(R"({"v":1,"t":35,"later":"members"})"));
  const std::vector<EntryField> entry{{"v", "1"}, {"t", "35"}, {"h", "{}"}};
  EXPECT_EQ(decoder_.decode(entry).error().code, Code::unsupported);
}

TEST_F(FrameDecoding, cancel_is_checked) {
  const auto fault = [this](std::string_view text) {
    const base::Result<Message> cancel = decoder_.decode_message(text);
    return cancel ? "decoded" : std::string(name_of(cancel.error().code)) + ": " + cancel.error().detail;
  };

  EXPECT_EQ(fault(R"({"v":1,"t":7,"id":"8c6f0e2d4b1a49d7"})"), "decoded");
  EXPECT_EQ(fault(R"({"v":2,"t":7,"id":"8c6f0e2d4b1a49d7"})"), "unsupported: member v is not one of ours");
  EXPECT_EQ(fault(R"({"v":1,"t":3,"id":"8c6f0e2d4b1a49d7"})"), "unsupported: member t is not one of ours");
  EXPECT_EQ(fault(R"({"t":7,"id":"8c6f0e2d4b1a49d7"})"), "malformed: member v is missing");
  EXPECT_EQ(fault(R"({"v":1,"t":7})"), "malformed: member id is missing");
  EXPECT_THAT(fault("hello"), HasSubstr("malformed: head is not a JSON object"));
}

TEST(FrameNames, faults_are_written_as_documented) {
  EXPECT_EQ(name_of(Fault::service_unreachable), "service-unreachable");
  EXPECT_EQ(name_of(Fault::outcome_unknown), "outcome-unknown");
  EXPECT_EQ(name_of(InstanceState::draining), "draining");
  EXPECT_EQ(name_of(WakeMode::notify), "notify");
  EXPECT_EQ(name_of(FrameType::goodbye), "GOODBYE");
}

}  // namespace
}  // namespace outrigger::frames
