// HeaderPolicy: which header fields speak about identity and are therefore never believed when a client sends them, and
// which are set instead. First stage of a request's path: what it removes, nobody else has looked at. Immutable; any
// thread.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/base/header_list.h"
#include "bridge/base/result.h"
#include "bridge/identity/principal.h"

namespace outrigger::identity {

// The fields' names as a set: what is reserved, and what identity is told by. The defaults are the documented ones.
struct HeaderNames {
  std::vector<std::string> reserved_prefixes = {"X-StellaOps-", "X-Stella-"};
  std::vector<std::string> reserved_names = {"sub", "tid", "scope", "scp", "cnf"};
  std::string prefix = "X-StellaOps-";      // of -Tenant, -Project, -Actor, -Scopes, -Identity-Envelope; reserved, too
  std::string legacy_prefix = "X-Stella-";  // of the twins of the first four; reserved, too, whether they are set or not
  bool sets_legacy = true;
};

class HeaderPolicy {
 public:
  // That of the default names.
  HeaderPolicy();

  // Prefixes reserve every name that begins with them, names only themselves; case does not matter. Error `invalid`,
  // naming the entry, if one is empty, longer than a field name may be here (256), or not a field name.
  static base::Result<HeaderPolicy> make(const HeaderNames& names);

  // True if `name`, in any spelling, is reserved. Every character but letters and digits counts as `-`: CGI, WSGI and
  // their likes turn each of them into `_`, so that `X_StellaOps.Tenant` and `X-StellaOps-Tenant` are one variable
  // there.
  bool is_reserved(std::string_view name) const;

  // Removes the reserved fields from headers or trailers; returns how many. Also call it on trailers when they come:
  // a service may merge them into its headers. Fields set on behalf of the caller are added afterwards, and after
  // what `Connection` names was removed, else a client could have them taken out again (RFC 9110 section 7.6.1).
  std::size_t strip_reserved(base::HeaderList& fields) const;

  // What a client would like to be, as the fields that tell identity said it before they were stripped. Only exact names
  // count, in any case; of the prefix, else of the legacy prefix. Several that differ are joined with a comma, which is no
  // tenant and no scope.
  std::string requested_tenant(const base::HeaderList& fields) const { return requested(fields, tenant_); }
  std::string requested_scopes(const base::HeaderList& fields) const { return requested(fields, scopes_); }

  // Adds the fields of `principal`; one that has no value is not added. REQUIRES strip_reserved.
  void add_identity(base::HeaderList& fields, const Principal& principal) const;

  // Answers: removes what is between the gateway and services only, the envelope's fields in any spelling.
  void strip_from_answer(base::HeaderList& fields) const;

  // X-StellaOps-Tenant, -Scopes, -Identity-Envelope.
  const std::string& tenant_name() const { return tenant_.name; }
  const std::string& scopes_name() const { return scopes_.name; }
  std::string envelope_name() const { return names_.prefix + "Identity-Envelope"; }

 private:
  struct FieldNames {
    std::string name;
    std::string legacy;
  };
  static std::string requested(const base::HeaderList& fields, const FieldNames& names);
  void add_field(base::HeaderList& fields, const FieldNames& names, std::string_view value) const;
  struct Entry {
    std::string text;  // as normalised by is_reserved
    bool is_prefix;
  };
  base::Result<void> assign(const HeaderNames& names);
  void add(std::string_view text, bool is_prefix);

  HeaderNames names_;
  FieldNames tenant_, project_, actor_, scopes_;
  std::vector<Entry> entries_;
  std::array<bool, 256> first_characters_{};  // normalised first characters of entries_: most names end here
};

}  // namespace outrigger::identity
