// HeaderPolicy: which header fields speak about identity and are therefore never believed when a client sends them.
// First stage of a request's path: what it removes, nobody else has looked at. Immutable; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/base/header_list.h"
#include "bridge/base/result.h"

namespace outrigger::identity {

class HeaderPolicy {
 public:
  // The defaults: prefixes X-StellaOps-, X-Stella-; names sub, tid, scope, scp, cnf.
  HeaderPolicy();

  // `prefixes` reserve every name that begins with them, `names` only themselves; case does not matter. Error
  // `invalid`, naming the entry, if one is empty, longer than a field name may be here (256), or not a field name.
  static base::Result<HeaderPolicy> make(const std::vector<std::string>& prefixes,
                                         const std::vector<std::string>& names);

  // True if `name`, in any spelling, is reserved. Every character but letters and digits counts as `-`: CGI, WSGI and
  // their likes turn each of them into `_`, so that `X_StellaOps.Tenant` and `X-StellaOps-Tenant` are one variable
  // there.
  bool is_reserved(std::string_view name) const;

  // Removes the reserved fields from headers or trailers; returns how many. Also call it on trailers when they come:
  // a service may merge them into its headers. Fields set on behalf of the caller are added afterwards, and after
  // what `Connection` names was removed, else a client could have them taken out again (RFC 9110 section 7.6.1).
  std::size_t strip_reserved(base::HeaderList& fields) const;

 private:
  struct Entry {
    std::string text;  // as normalised by is_reserved
    bool is_prefix;
  };
  void add(std::string_view text, bool is_prefix);

  std::vector<Entry> entries_;
  std::array<bool, 256> first_characters_{};  // normalised first characters of entries_: most names end here
};

}  // namespace outrigger::identity
