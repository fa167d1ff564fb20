#include "bridge/identity/principal.h"

namespace outrigger::identity {
namespace {

VerifiedToken token_of(std::vector<Claim> claims) {
  VerifiedToken token;
  token.issuer = "https://id.test";
  token.expires_s = 1'900'000'000;
  token.claims = std::move(claims);
  return token;
}
base::Result<Principal> derive(std::vector<Claim> claims, const ClaimNames& names = {}) {
  return derive_principal(token_of(std::move(claims)), names);
}
std::string problem_of(std::vector<Claim> claims) {
  const auto principal = derive(std::move(claims));
  return principal ? "" : principal.error().detail;
}
using Texts = std::vector<std::string>;

TEST(Principal, is_derived_from_the_documented_claims) {
  const auto ann = derive({{"sub", {"ann"}},
                           {"stellaops:tenant", {"acme"}},
                           {"stellaops:project", {"apollo"}},
                           {"scope", {"orders:read  orders:write"}},
                           {"scp", {"orders:read", "admin"}},
                           {"stellaops:allowed_tenants", {"acme umbra", "zeta"}},
                           {"address", {}}});
  ASSERT_TRUE(ann);
  EXPECT_FALSE(ann->is_anonymous);
  EXPECT_EQ(ann->issuer, "https://id.test");
  EXPECT_EQ(ann->subject, "ann");
  EXPECT_EQ(ann->actor, "ann");
  EXPECT_EQ(ann->tenant, "acme");
  EXPECT_EQ(ann->project, "apollo");
  EXPECT_EQ(ann->scopes, (Texts{"orders:read", "admin", "orders:write"}));
  EXPECT_EQ(ann->allowed_tenants, (Texts{"acme", "umbra", "zeta"}));
  EXPECT_EQ(ann->expires_s, 1'900'000'000);
  EXPECT_TRUE(ann->has_scope("admin"));
  EXPECT_FALSE(ann->has_scope("adm"));
  ASSERT_NE(ann->find_claim("address"), nullptr);
  EXPECT_EQ(ann->find_claim("Address"), nullptr);
}

TEST(Principal, tenant_of_an_array_is_one_with_its_spaces) {
  const auto ann = derive({{"stellaops:allowed_tenants", {"acme corp", "zeta"}, /*is_list=*/true}});
  ASSERT_TRUE(ann);
  EXPECT_EQ(ann->allowed_tenants, (Texts{"acme corp", "zeta"}));
  const auto bob = derive({{"stellaops:allowed_tenants", {"acme corp"}}});
  ASSERT_TRUE(bob);
  EXPECT_EQ(bob->allowed_tenants, (Texts{"acme", "corp"}));
}

TEST(Principal, tenant_is_tid_where_there_is_no_other_and_actor_a_client_without_subject) {
  const auto machine = derive({{"tid", {"acme"}}, {"client_id", {"batch"}}});
  ASSERT_TRUE(machine);
  EXPECT_EQ(machine->tenant, "acme");
  EXPECT_EQ(machine->actor, "batch");
  EXPECT_EQ(machine->subject, "");
  const auto both = derive({{"tid", {"other"}}, {"stellaops:tenant", {"acme"}}, {"sub", {"ann"}}, {"client_id", {"batch"}}});
  ASSERT_TRUE(both);
  EXPECT_EQ(both->tenant, "acme");
  EXPECT_EQ(both->actor, "ann");
}

TEST(Principal, claim_without_a_usable_value_is_refused_not_passed_over) {
  EXPECT_EQ(problem_of({{"stellaops:tenant", {""}}, {"tid", {"acme"}}}),
            "claim \"stellaops:tenant\" is empty, too long, or not printable ASCII");
  EXPECT_EQ(problem_of({{"stellaops:tenant", {}}, {"tid", {"acme"}}}), "claim \"stellaops:tenant\" has no value");
  EXPECT_EQ(problem_of({{"tid", {"a", "b"}}}), "claim \"tid\" has several values");
  EXPECT_EQ(problem_of({{"tid", {"a", "a"}}}), "");
  for (const std::string& value : Texts{"a\r\nX-Admin: 1", "a\nb", std::string("a\0b", 3), "t\xc3\xa9", " a", "a ", "\t",
                                  std::string(513, 'a'), "a\x7f"}) {
    for (const char* claim : {"sub", "tid", "stellaops:tenant", "stellaops:project", "client_id"}) {
      EXPECT_NE(problem_of({{claim, {value}}}), "") << claim << " " << value;
    }
    if (value == " a" || value == "a ") continue;  // lists are separated by spaces
    for (const char* claim : {"scp", "scope", "stellaops:allowed_tenants"}) {
      EXPECT_NE(problem_of({{claim, {value}}}), "") << claim << " " << value;
    }
  }
  EXPECT_NE(problem_of({{"scope", {"a\"b"}}}), "");
  EXPECT_NE(problem_of({{"scope", {"a\\b"}}}), "");
}

TEST(Principal, nobody_real_is_called_anonymous) {
  EXPECT_EQ(problem_of({{"sub", {"anonymous"}}}), "claim \"sub\" is the name of those without a token");
  EXPECT_EQ(anonymous_principal().actor, "anonymous");
  EXPECT_TRUE(anonymous_principal().is_anonymous);
}

TEST(Principal, scopes_are_bounded_in_all) {
  std::string scopes;
  for (int i = 0; i < 1000; ++i) scopes += " scope-" + std::to_string(i);
  EXPECT_EQ(problem_of({{"scope", {scopes}}}), "claim \"scp\" has more than 8 KiB of scopes");
}

TEST(Principal, names_of_claims_are_a_set_that_can_be_another) {
  ClaimNames names;
  names.tenant = {"org"};
  names.project = {"proj"};
  names.actor = {"preferred_username"};
  names.scopes = {"permissions"};
  names.allowed_tenants = "orgs";
  const auto ann = derive({{"sub", {"7"}}, {"preferred_username", {"ann"}}, {"org", {"acme"}}, {"tid", {"no"}}, {"proj", {"p"}},
                           {"permissions", {"a", "b"}}, {"scope", {"c"}}, {"orgs", {"acme"}}},
                          names);
  ASSERT_TRUE(ann);
  EXPECT_EQ(ann->subject, "7");
  EXPECT_EQ(ann->actor, "ann");
  EXPECT_EQ(ann->tenant, "acme");
  EXPECT_EQ(ann->project, "p");
  EXPECT_EQ(ann->scopes, (Texts{"a", "b"}));
  EXPECT_EQ(ann->allowed_tenants, (Texts{"acme"}));
}

}  // namespace
}  // namespace outrigger::identity
