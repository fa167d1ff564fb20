// AddressBook: where each service can be reached, as of now. Made by the registry's owner, immutable, swapped whole.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace outrigger::router {

class AddressBook {
 public:
  struct Entry {
    std::string queue;                   // narrowest address with a usable instance
    std::vector<std::string> instances;  // that read it
    bool notify = false;                 // some of them announced wake mode `notify`
  };

  void add(std::string service, Entry entry) { entries_.insert_or_assign(std::move(service), std::move(entry)); }
  // nullptr: no usable instance.
  const Entry* find(std::string_view service) const {
    const auto at = entries_.find(service);
    return at == entries_.end() ? nullptr : &at->second;
  }

 private:
  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace outrigger::router
