#include "bridge/identity/header_policy.h"

namespace outrigger::identity {
namespace {

TEST(HeaderPolicy, reserved_names_are_recognised_in_every_spelling) {
  const HeaderPolicy policy;
  for (const std::string_view name : {"X-StellaOps-Tenant",
                                      "x-stellaops-tenant",
                                      "X-STELLAOPS-TENANT",
                                      "x_stellaops_tenant",
                                      "X-StellaOps_Tenant",
                                      "X_StellaOps-Tenant",
                                      "x-StElLaOpS-",
                                      "X-StellaOps-Identity-Envelope",
                                      "X-StellaOps--Tenant",
                                      "X-Stella-Tenant",
                                      "X_STELLA_ACTOR",
                                      "x.stellaops.tenant",
                                      "X~StellaOps!Tenant",
                                      "sub",
                                      "SUB",
                                      "Sub",
                                      "tid",
                                      "TID",
                                      "scope",
                                      "SCOPE",
                                      "Scope",
                                      "scp",
                                      "sCp",
                                      "cnf",
                                      "CNF"}) {
    EXPECT_TRUE(policy.is_reserved(name)) << name;
  }
}

TEST(HeaderPolicy, other_names_are_left_alone) {
  const HeaderPolicy policy;
  for (const std::string_view name : {"",
                                      "x",
                                      "s",
                                      "t",
                                      "c",
                                      "X-Stella",
                                      "X-StellaOps",
                                      "XStellaOps-Tenant",
                                      "X-Stell-Tenant",
                                      "X-Request-Id",
                                      "subs",
                                      "su",
                                      "subject",
                                      "sub-",
                                      "-sub",
                                      "scopes",
                                      "Content-Type",
                                      "Cookie",
                                      "TE",
                                      "Traceparent",
                                      "X-Forwarded-For"}) {
    EXPECT_FALSE(policy.is_reserved(name)) << name;
  }
}

TEST(HeaderPolicy, stripping_counts_and_keeps_order_of_the_rest) {
  base::HeaderList fields;
  for (const std::string_view name : {"Host", "x_stellaops_tenant", "Accept", "SCOPE", "scope", "Cookie"}) {
    fields.add(name, "v");
  }

  const std::size_t removed = HeaderPolicy().strip_reserved(fields);

  EXPECT_EQ(removed, 3U);
  ASSERT_EQ(fields.size(), 3U);
  EXPECT_EQ(fields[0].name, "Host");
  EXPECT_EQ(fields[1].name, "Accept");
  EXPECT_EQ(fields[2].name, "Cookie");
}

TEST(HeaderPolicy, trailers_are_stripped_like_headers) {
  base::HeaderList trailers;
  trailers.add("Checksum", "abc");
  trailers.add("X_Stella-Tenant", "evil");

  EXPECT_EQ(HeaderPolicy().strip_reserved(trailers), 1U);
  EXPECT_EQ(trailers.size(), 1U);
}

TEST(HeaderPolicy, configured_lists_replace_the_defaults) {
  const auto policy = HeaderPolicy::make({"X-Acme_"}, {"role"});

  ASSERT_TRUE(policy);
  EXPECT_TRUE(policy->is_reserved("x_acme-tenant"));
  EXPECT_TRUE(policy->is_reserved("ROLE"));
  EXPECT_FALSE(policy->is_reserved("X-StellaOps-Tenant"));
  EXPECT_FALSE(policy->is_reserved("sub"));
}

TEST(HeaderPolicy, entries_that_would_strip_everything_or_nothing_are_refused) {
  EXPECT_FALSE(HeaderPolicy::make({""}, {}));
  EXPECT_FALSE(HeaderPolicy::make({}, {""}));
  EXPECT_FALSE(HeaderPolicy::make({}, {std::string(257, 'x')}));
  const auto blank = HeaderPolicy::make({"X Acme"}, {});
  ASSERT_FALSE(blank);
  EXPECT_EQ(blank.error().code, base::Code::invalid);
  EXPECT_NE(blank.error().detail.find("X Acme"), std::string::npos);
}

}  // namespace
}  // namespace outrigger::identity
