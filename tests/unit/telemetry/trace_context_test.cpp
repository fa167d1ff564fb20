#include "bridge/telemetry/trace_context.h"

namespace outrigger::telemetry {
namespace {

constexpr std::string_view kTraceId = "0af7651916cd43dd8448eb211c80319c";
constexpr std::string_view kParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

bool is_continued(std::string_view traceparent) {
  return accept(traceparent, "").trace_id() == kTraceId;
}

std::string tracestate_after(std::string_view tracestate) {
  return accept(kParent, tracestate).tracestate();
}

std::string members(int count) {
  std::string list;
  for (int i = 0; i < count; ++i) list += (i == 0 ? "k" : ",k") + std::to_string(i) + "=v";
  return list;
}

TEST(TraceContext, valid_parent_is_continued_with_a_new_span) {
  const TraceContext context = accept(kParent, "a=1");

  EXPECT_EQ(context.trace_id(), kTraceId);
  EXPECT_EQ(context.parent_span_id(), "b7ad6b7169203331");
  EXPECT_NE(context.span_id(), "b7ad6b7169203331");
  EXPECT_EQ(context.traceparent().size(), 55U);
  EXPECT_EQ(context.traceparent().substr(52), "-01");
  EXPECT_EQ(context.tracestate(), "a=1");
  EXPECT_TRUE(context.is_sampled());
}

TEST(TraceContext, none_or_invalid_parent_starts_a_root_without_the_old_tracestate) {
  base::HeaderList headers;
  headers.add("tracestate", "a=1");

  const TraceContext context = accept(headers);

  EXPECT_TRUE(accept(context.traceparent(), "").trace_id() == context.trace_id());  // what we make is valid
  EXPECT_EQ(context.parent_span_id(), "");
  EXPECT_EQ(context.tracestate(), "");
  EXPECT_NE(accept("", "").trace_id(), accept("", "").trace_id());
}

TEST(TraceContext, grammar_of_traceparent_is_strict) {
  EXPECT_TRUE(is_continued(kParent));
  EXPECT_TRUE(is_continued("  00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\t"));
  EXPECT_TRUE(is_continued("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
  EXPECT_TRUE(is_continued("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes"));
  for (const std::string_view bad : {
           "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",      // 00 ends after the flags
           "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",  //
           "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",  // not separated
           "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",       // forbidden version
           "0x-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",       //
           "CC-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",       // upper case
           "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",       //
           "00-0af7651916cd43dd8448eb211c80319c-B7ad6b7169203331-01",       //
           "00-00000000000000000000000000000000-b7ad6b7169203331-01",       // all zero
           "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",       //
           "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-.1",       //
           "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",        // short
           "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",       //
           "00-0af7651916cd43dd8448eb211c80319c.b7ad6b7169203331-01",       //
           "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331.01",       //
       }) {
    EXPECT_FALSE(is_continued(bad)) << bad;
  }
}

TEST(TraceContext, several_traceparents_are_invalid_even_if_equal) {
  base::HeaderList headers;
  headers.add("traceparent", kParent);
  headers.add("TraceParent", kParent);
  headers.add("tracestate", "a=1");

  const TraceContext context = accept(headers);

  EXPECT_NE(context.trace_id(), kTraceId);
  EXPECT_EQ(context.tracestate(), "");
}

TEST(TraceContext, flags_of_the_future_are_cleared_sampling_stays) {
  const auto flags = [](std::string flags_in) {
    return std::string(
        accept("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-" + flags_in, "").traceparent().substr(53));
  };

  EXPECT_EQ(flags("00"), "00");
  EXPECT_EQ(flags("01"), "01");
  EXPECT_EQ(flags("ff"), "03");
  EXPECT_EQ(flags("fc"), "00");
}

TEST(TraceContext, tracestate_fields_are_joined_in_order) {
  base::HeaderList headers;
  headers.add("TraceParent", kParent);
  headers.add("TraceState", "a=1");
  headers.add("other", "x");
  headers.add("tracestate", " b=2 ,, c=3\t");
  headers.add("tracestate", "");
  headers.add("TRACESTATE", "d=4");

  EXPECT_EQ(accept(headers).tracestate(), "a=1,b=2,c=3,d=4");
}

TEST(TraceContext, tracestate_limits_and_grammar) {
  EXPECT_EQ(tracestate_after(members(32)), members(32));
  EXPECT_EQ(tracestate_after(members(33)), "");

  const std::string long_list = "a=" + std::string(256, 'x') + ",b=" + std::string(256, 'y') + ",c=z";
  EXPECT_EQ(tracestate_after(long_list), long_list);
  EXPECT_EQ(tracestate_after("a=" + std::string(257, 'x')), "");

  const std::string key256(256, 'k');
  EXPECT_EQ(tracestate_after(key256 + "=1"), key256 + "=1");
  EXPECT_EQ(tracestate_after(key256 + "k=1"), "");
  const std::string tenant(241, 't');
  EXPECT_EQ(tracestate_after(tenant + "@" + std::string(14, 's') + "=1"), tenant + "@" + std::string(14, 's') + "=1");
  EXPECT_EQ(tracestate_after(tenant + "t@s=1"), "");
  EXPECT_EQ(tracestate_after("t@" + std::string(15, 's') + "=1"), "");

  for (const std::string_view good : {"a=1,a=2", "0t@s=v", "a_-*/0=v !~", "a= v"}) {
    EXPECT_EQ(tracestate_after(good), good);
  }
  for (const std::string_view bad : {"a", "=1", "a=", "A=1", "0a=1", "a.b=1", "a =1", "a=1=2", "a=\x01", "a=\xc3\xa4",
                                     "@s=1", "t@=1", "t@0s=1", "a@b@c=1", "a=1,b"}) {
    EXPECT_EQ(accept(kParent, bad).trace_id(), kTraceId) << bad;  // traceparent survives
    EXPECT_EQ(tracestate_after(bad), "") << bad;
  }
}

TEST(TraceContext, children_keep_everything_but_the_span) {
  const TraceContext parent = accept(kParent, "a=1");

  const TraceContext child = parent.child();

  EXPECT_EQ(child.trace_id(), parent.trace_id());
  EXPECT_EQ(child.parent_span_id(), parent.span_id());
  EXPECT_NE(child.span_id(), parent.span_id());
  EXPECT_EQ(child.tracestate(), "a=1");
}

TEST(TraceContext, writing_replaces_every_spelling_in_lower_case) {
  base::HeaderList headers;
  headers.add("Traceparent", "junk");
  headers.add("Host", "h");
  headers.add("TRACESTATE", "junk=1");
  const TraceContext with_state = accept(kParent, "a=1");
  const TraceContext without_state = accept(kParent, "");

  with_state.write_to(headers);

  ASSERT_EQ(headers.size(), 3U);
  EXPECT_EQ(headers[1].name, "traceparent");
  EXPECT_EQ(headers[1].value, with_state.traceparent());
  EXPECT_EQ(headers[2].name, "tracestate");
  EXPECT_EQ(headers[2].value, "a=1");

  without_state.write_to(headers);

  EXPECT_EQ(headers.count("tracestate"), 0U);
  EXPECT_EQ(headers.find("traceparent"), without_state.traceparent());
}

TEST(TraceContext, roots_may_be_unsampled) {
  EXPECT_TRUE(TraceContext::root().is_sampled());
  EXPECT_FALSE(TraceContext::root(false).is_sampled());
}

}  // namespace
}  // namespace outrigger::telemetry
