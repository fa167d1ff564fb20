#include "bridge/frames/queue_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace outrigger::frames {
namespace {

using base::Code;

QueueNames names_of(NameConfig config) {
  return QueueNames::make(std::move(config)).value();
}

TEST(QueueNames, defaults_are_those_of_the_document) {
  const QueueNames names = names_of({});

  EXPECT_EQ(names.control(), "router:control");
  EXPECT_EQ(names.request_queue("billing"), "router:requests:billing");
  EXPECT_EQ(names.request_queue("billing", "1.0"), "router:requests:billing:1.0");
  EXPECT_EQ(names.request_queue("billing", "", "eu"), "router:requests:billing@eu");
  EXPECT_EQ(names.request_queue("billing", "1.0", "eu"), "router:requests:billing:1.0@eu");
  EXPECT_EQ(names.inbox("billing", "i1"), "router:inbox:billing:i1");
  EXPECT_EQ(names.reply_stream("g1", 2, 7), "router:responses:g1.2.7");
  EXPECT_EQ(names.endpoints_key("billing", "h1"), "router:endpoints:billing:h1");
  EXPECT_EQ(names.alive_channel("billing", "i1"), "router:alive:billing:i1");
  EXPECT_EQ(names.cancel_channel("billing"), "router:cancel:billing");
  EXPECT_EQ(names.cancelled_set("billing"), "router:cancelled:billing");
  EXPECT_EQ(names.notify_channel("router:requests:billing"), "router:notify:router:requests:billing");
  EXPECT_EQ(names.dead_stream("billing"), "router:dead:billing");
  EXPECT_EQ(names.rate_bucket("per-tenant", "all"), "router:rate:per-tenant:all");
  EXPECT_EQ(names.consumer_group(), "router-gateway");
}

TEST(QueueNames, key_prefix_changes_every_default) {
  const QueueNames names = names_of({.key_prefix = "acme"});

  EXPECT_EQ(names.control(), "acme:control");
  EXPECT_EQ(names.reply_stream("g", 0, 1), "acme:responses:g.0.1");
  EXPECT_TRUE(names.is_inbox("acme:inbox:a:b"));
  EXPECT_FALSE(names.is_inbox("router:inbox:a:b"));
}

TEST(QueueNames, other_database_marks_channels_only) {
  const QueueNames names = names_of({.database = 3});

  EXPECT_EQ(names.alive_channel("a", "i"), "router:alive:a:i:3");
  EXPECT_EQ(names.cancel_channel("a"), "router:cancel:a:3");
  EXPECT_EQ(names.notify_channel("q"), "router:notify:q:3");
  EXPECT_EQ(names.cancelled_set("a"), "router:cancelled:a");
  EXPECT_EQ(names.inbox("a", "i"), "router:inbox:a:i");
}

TEST(QueueNames, cluster_hash_tags_put_the_service_in_braces) {
  const QueueNames names = names_of({.cluster_hash_tags = true});

  EXPECT_EQ(names.request_queue("billing", "1.0", "eu"), "router:requests:{billing}:1.0@eu");
  EXPECT_EQ(names.inbox("billing", "i"), "router:inbox:{billing}:i");
  EXPECT_EQ(names.notify_channel(names.request_queue("billing")), "router:notify:router:requests:{billing}");
  EXPECT_TRUE(names.is_request_queue("router:requests:{billing}"));
}

TEST(QueueNames, all_buckets_of_rate_limits_have_one_hash_tag) {
  const QueueNames names = names_of({.cluster_hash_tags = true});

  EXPECT_EQ(names.rate_bucket("a", "1"), "router:rate:{rate}a:1");
  EXPECT_EQ(names.rate_bucket("b", "2"), "router:rate:{rate}b:2");
}

TEST(QueueNames, configured_template_is_used) {
  const QueueNames names = names_of({.request_queue_template = "q/{service}/work"});

  EXPECT_EQ(names.request_queue("a", "1"), "q/a/work:1");
  EXPECT_TRUE(names.is_request_queue("q/a/work:1"));
  EXPECT_FALSE(names.is_request_queue("router:requests:a"));
}

TEST(QueueNames, names_of_another_kind_are_told_apart) {
  const QueueNames names = names_of({});

  EXPECT_TRUE(names.is_reply_stream("router:responses:g.0.1"));
  EXPECT_TRUE(names.is_endpoints_key("router:endpoints:a:h"));
  EXPECT_FALSE(names.is_reply_stream("router:requests:a"));
  EXPECT_FALSE(names.is_reply_stream("router:responses"));
  EXPECT_FALSE(names.is_reply_stream("router:responses:"));
  EXPECT_FALSE(names.is_inbox("session:1"));
  EXPECT_FALSE(names.is_inbox(""));
}

TEST(QueueNames, names_with_other_bytes_are_refused) {
  const QueueNames names = names_of({});

  EXPECT_FALSE(names.is_inbox("router:inbox:a b"));
  EXPECT_FALSE(names.is_inbox("router:inbox:a\r\nDEL x"));
  EXPECT_FALSE(names.is_inbox(std::string("router:inbox:a\0b", 16)));
  EXPECT_FALSE(names.is_inbox("router:inbox:caf\xC3\xA9"));
  EXPECT_FALSE(names.is_inbox("router:inbox:" + std::string(500, 'x')));
  EXPECT_TRUE(names.is_inbox("router:inbox:" + std::string(499, 'x')));
}

TEST(QueueNames, bad_configuration_is_refused_by_name) {
  const auto fault_of = [](NameConfig config) {
    base::Result<QueueNames> names = QueueNames::make(std::move(config));
    if (names) return std::string("accepted");
    EXPECT_EQ(names.error().code, Code::invalid);
    return names.error().detail;
  };
  using testing::HasSubstr;

  EXPECT_THAT(fault_of({.request_queue_template = "router:requests"}), HasSubstr("RequestQueueTemplate"));
  EXPECT_THAT(fault_of({.request_queue_template = "{service}:requests"}), HasSubstr("before its first placeholder"));
  EXPECT_THAT(fault_of({.request_queue_template = "q:{service}:{region}"}), HasSubstr("placeholders"));
  EXPECT_THAT(fault_of({.request_queue_template = "q:{service"}), HasSubstr("braces"));
  EXPECT_THAT(fault_of({.request_queue_template = "q:service}"}), HasSubstr("braces"));
  EXPECT_THAT(fault_of({.inbox_template = "in box:{service}:{instance}"}), HasSubstr("InboxQueueTemplate"));
  EXPECT_THAT(fault_of({.dead_template = "d:{service}:{service}"}), HasSubstr("DeadQueueTemplate"));
  EXPECT_THAT(fault_of({.control = "con{trol}"}), HasSubstr("ControlQueueName"));
  EXPECT_THAT(fault_of({.key_prefix = "a b"}), HasSubstr("printable"));
  EXPECT_THAT(fault_of({.consumer_group = ""}), HasSubstr("ConsumerGroup"));
  EXPECT_THAT(fault_of({.database = -1}), HasSubstr("Database"));
}

TEST(QueueNames, kinds_that_could_be_mistaken_for_each_other_are_refused) {
  base::Result<QueueNames> names = QueueNames::make({.response_prefix = "router"});

  ASSERT_FALSE(names);
  EXPECT_THAT(names.error().detail, testing::HasSubstr("ResponseQueueName makes names that may be those of"));
}

TEST(QueueNames, forms_of_identifiers) {
  EXPECT_TRUE(is_rate_limit_name("per-tenant_1.x"));
  EXPECT_TRUE(is_rate_limit_name(std::string(64, 'L')));
  for (const std::string& bad : {std::string(), std::string(65, 'a'), std::string("a:b"), std::string("a{b"), std::string("a b")}) {
    EXPECT_FALSE(is_rate_limit_name(bad)) << bad;
  }
  EXPECT_TRUE(is_service_name("a"));
  EXPECT_TRUE(is_service_name("0billing.v2_x-y"));
  EXPECT_TRUE(is_service_name(std::string(63, 'a')));
  for (const std::string& bad :
       {std::string(), std::string(64, 'a'), std::string("-a"), std::string("A"), std::string("a:b"),
        std::string("a@b"), std::string("a b"), std::string("caf\xC3\xA9"), std::string("a{b")}) {
    EXPECT_FALSE(is_service_name(bad)) << bad;
  }
  EXPECT_TRUE(is_version_or_region("1.0.0+build_7-X"));
  EXPECT_TRUE(is_version_or_region(std::string(32, '1')));
  for (const std::string& bad : {std::string(), std::string(33, '1'), std::string("1:0"), std::string("eu@1")}) {
    EXPECT_FALSE(is_version_or_region(bad)) << bad;
  }
  EXPECT_TRUE(is_process_id("0123456789abcdef0123"));
  EXPECT_FALSE(is_process_id("0123456789ABCDEF0123"));
  EXPECT_FALSE(is_process_id("0123456789abcdef012"));
  EXPECT_TRUE(is_request_id(std::string(16, 'a')));
  EXPECT_TRUE(is_request_id(std::string(64, '-')));
  EXPECT_FALSE(is_request_id(std::string(15, 'a')));
  EXPECT_FALSE(is_request_id(std::string(65, 'a')));
  EXPECT_FALSE(is_request_id("0123456789abcde:"));
  EXPECT_TRUE(is_metadata_hash("x"));
  EXPECT_FALSE(is_metadata_hash("a:b"));
}

TEST(QueueNames, services_are_found_in_the_names_of_keys) {
  const QueueNames names = names_of({});
  EXPECT_EQ(names.dead_stream_pattern(), "router:dead:*");
  EXPECT_EQ(names.service_of_dead_stream("router:dead:billing-admin"), "billing-admin");
  for (const char* other : {"router:dead:", "router:dead:Billing", "router:dead:a:b", "router:inbox:a", "router", ""}) {
    EXPECT_EQ(names.service_of_dead_stream(other), std::nullopt) << other;
  }
  EXPECT_EQ(names.request_queue_pattern(), "router:requests:**");
  EXPECT_EQ(names.request_queue_pattern("billing"), "router:requests:billing*");
  for (const char* queue : {"", ":1.0", "@eu", ":1.0@eu"}) {
    EXPECT_EQ(names.service_of_request_queue(std::string("router:requests:billing") + queue), "billing");
  }
  EXPECT_EQ(names.service_of_request_queue("router:requests:billing-admin"), "billing-admin");
  EXPECT_EQ(names.service_of_request_queue("router:requests:billing/x"), std::nullopt);
}

TEST(QueueNames, services_are_found_whatever_the_template) {
  const QueueNames names = names_of({.request_queue_template = "q[1]*:{service}-work",
                                     .dead_template = "d?:{service}-dead",
                                     .cluster_hash_tags = true});
  EXPECT_EQ(names.dead_stream_pattern(), "d\\?:{*}-dead");
  EXPECT_EQ(names.service_of_dead_stream("d?:{a-dead}-dead"), "a-dead");
  EXPECT_EQ(names.service_of_dead_stream("d?:a-dead"), std::nullopt);
  EXPECT_EQ(names.request_queue_pattern("a"), "q\\[1\\]\\*:{a}-work*");
  EXPECT_EQ(names.service_of_request_queue(names.request_queue("a-work", "1", "eu")), "a-work");

  const QueueNames plain = names_of({.request_queue_template = "q:{service}-work"});
  EXPECT_EQ(plain.service_of_request_queue("q:a-work-work"), "a-work");
  EXPECT_EQ(plain.service_of_request_queue("q:a-work@eu"), "a");
}

}  // namespace
}  // namespace outrigger::frames
