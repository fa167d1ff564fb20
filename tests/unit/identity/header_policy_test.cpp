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

HeaderNames names_of(std::vector<std::string> prefixes, std::vector<std::string> names) {
  HeaderNames all;
  all.reserved_prefixes = std::move(prefixes);
  all.reserved_names = std::move(names);
  return all;
}

TEST(HeaderPolicy, configured_lists_replace_the_defaults) {
  HeaderNames names = names_of({"X-Acme_"}, {"role"});
  names.prefix = "X-Who-";
  names.legacy_prefix = "X-Was-";
  const auto policy = HeaderPolicy::make(names);

  ASSERT_TRUE(policy);
  EXPECT_TRUE(policy->is_reserved("x_acme-tenant"));
  EXPECT_TRUE(policy->is_reserved("ROLE"));
  EXPECT_FALSE(policy->is_reserved("X-StellaOps-Tenant"));
  EXPECT_FALSE(policy->is_reserved("sub"));
}

TEST(HeaderPolicy, what_is_set_is_reserved_whatever_the_lists_say) {
  HeaderNames names = names_of({}, {});
  names.prefix = "X-Who-";
  names.sets_legacy = false;
  const auto policy = HeaderPolicy::make(names);

  ASSERT_TRUE(policy);
  EXPECT_TRUE(policy->is_reserved("X_Who_Actor"));
  EXPECT_TRUE(policy->is_reserved("X-Stella-Actor"));
  EXPECT_EQ(policy->envelope_name(), "X-Who-Identity-Envelope");
}

TEST(HeaderPolicy, entries_that_would_strip_everything_or_nothing_are_refused) {
  EXPECT_FALSE(HeaderPolicy::make(names_of({""}, {})));
  EXPECT_FALSE(HeaderPolicy::make(names_of({}, {""})));
  EXPECT_FALSE(HeaderPolicy::make(names_of({}, {std::string(257, 'x')})));
  HeaderNames without_prefix;
  without_prefix.prefix = "";
  EXPECT_FALSE(HeaderPolicy::make(without_prefix));
  const auto blank = HeaderPolicy::make(names_of({"X Acme"}, {}));
  ASSERT_FALSE(blank);
  EXPECT_EQ(blank.error().code, base::Code::invalid);
  EXPECT_NE(blank.error().detail.find("X Acme"), std::string::npos);
}

std::string lines_of(const base::HeaderList& fields) {
  std::string lines;
  for (const base::HeaderField field : fields) lines.append(field.name).append(": ").append(field.value).append("\n");
  return lines;
}

TEST(HeaderPolicy, identity_is_told_by_fields_and_their_twins_and_what_is_not_known_is_not_there) {
  Principal principal;
  principal.actor = "ann";
  principal.tenant = "acme";
  principal.scopes = {"orders:read", "orders:write"};
  base::HeaderList fields;
  HeaderPolicy().add_identity(fields, principal);
  EXPECT_EQ(lines_of(fields),
            "X-StellaOps-Tenant: acme\nX-Stella-Tenant: acme\nX-StellaOps-Actor: ann\nX-Stella-Actor: ann\n"
            "X-StellaOps-Scopes: orders:read orders:write\nX-Stella-Scopes: orders:read orders:write\n");

  HeaderNames names;
  names.sets_legacy = false;
  names.prefix = "X-Who-";
  principal.project = "p";
  base::HeaderList others;
  HeaderPolicy::make(names)->add_identity(others, principal);
  EXPECT_EQ(lines_of(others),
            "X-Who-Tenant: acme\nX-Who-Project: p\nX-Who-Actor: ann\nX-Who-Scopes: orders:read orders:write\n");
}

TEST(HeaderPolicy, nobody_in_particular_is_told_as_such) {
  base::HeaderList fields;
  HeaderPolicy().add_identity(fields, anonymous_principal());
  EXPECT_EQ(lines_of(fields), "X-StellaOps-Actor: anonymous\nX-Stella-Actor: anonymous\n");
}

TEST(HeaderPolicy, requests_for_another_identity_are_read_from_exact_names_only) {
  const HeaderPolicy policy;
  base::HeaderList fields;
  fields.add("X_StellaOps_Tenant", "a");
  fields.add("X-StellaOps.Scopes", "b");
  EXPECT_EQ(policy.requested_tenant(fields), "");
  EXPECT_EQ(policy.requested_scopes(fields), "");
  fields.add("x-stella-tenant", "c");
  fields.add("x-stellaops-SCOPES", "d e");
  EXPECT_EQ(policy.requested_tenant(fields), "c");
  EXPECT_EQ(policy.requested_scopes(fields), "d e");
  fields.add("X-StellaOps-Tenant", "f");
  fields.add("X-StellaOps-Tenant", "f");
  EXPECT_EQ(policy.requested_tenant(fields), "f");
  fields.add("X-StellaOps-Tenant", "g");
  EXPECT_EQ(policy.requested_tenant(fields), "f,g");
}

TEST(HeaderPolicy, envelopes_do_not_leave_in_answers) {
  base::HeaderList answer;
  for (const char* name : {"X-StellaOps-Identity-Envelope", "x_stellaops_identity_envelope_signature",
                           "X-Stella-Identity-Envelope-Kid", "X-STELLAOPS-IDENTITY.ENVELOPE", "X-StellaOps-Tenant", "Scope",
                           "Identity-Envelope", "X-StellaOps-Identity-Envelop"}) {
    answer.add(name, "v");
  }
  HeaderPolicy().strip_from_answer(answer);
  EXPECT_EQ(lines_of(answer), "X-StellaOps-Tenant: v\nScope: v\nIdentity-Envelope: v\nX-StellaOps-Identity-Envelop: v\n");
}

}  // namespace
}  // namespace outrigger::identity
