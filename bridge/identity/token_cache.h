// TokenCache: what was made of tokens that were verified lately, so that a client's next request costs a hash instead
// of a signature. One per worker, on its thread. Found by the SHA-256 of the whole token, all 32 bytes of it: nobody
// can make another token that is taken for one in here, and no token is kept.
#pragma once

#include <cstddef>
#include <cstring>
#include <list>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "bridge/base/clock.h"
#include "bridge/identity/sha256.h"

namespace outrigger::identity {

// Tokens of as many users in a worker at once. One of 1.7 KB, with 60 roles, takes 3 KB here; the worst that an issuer can
// sign, 16 KB of numbers in an array, 263 KB.
inline constexpr std::size_t kCachedTokens = 4096;

// T is what a token stands for, immutable and shared with the requests that are under way.
template <class T>
class TokenCache {
 public:
  // REQUIRES capacity > 0.
  explicit TokenCache(std::size_t capacity = kCachedTokens) : capacity_(capacity) {}

  // nullptr: not known, or no longer valid (and then forgotten).
  std::shared_ptr<const T> find(std::string_view token, base::WallMillis now) {
    const auto entry = entries_.find(sha256(token));
    if (entry == entries_.end()) return nullptr;
    if (now >= entry->second->valid_until) {
      uses_.erase(entry->second);
      entries_.erase(entry);
      return nullptr;
    }
    uses_.splice(uses_.begin(), uses_, entry->second);
    return entry->second->value;
  }

  // valid_until: `exp`; from then on find() does not give it out. The one that was not asked for
  // longest makes room.
  void insert(std::string_view token, std::shared_ptr<const T> value, base::WallMillis valid_until) {
    const Sha256 hash = sha256(token);
    if (const auto entry = entries_.find(hash); entry != entries_.end()) {
      uses_.erase(entry->second);
      entries_.erase(entry);
    } else if (entries_.size() >= capacity_) {
      entries_.erase(uses_.back().hash);
      uses_.pop_back();
    }
    uses_.push_front({hash, std::move(value), valid_until});
    entries_.emplace(hash, uses_.begin());
  }

  // When keys or rules changed: what was accepted by the old ones may not be by the new.
  void clear() {
    entries_.clear();
    uses_.clear();
  }

  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    Sha256 hash;
    std::shared_ptr<const T> value;
    base::WallMillis valid_until;
  };
  // The bytes are evenly spread already. Who wants collisions here must try 2^n tokens for n bits, each signed by us.
  struct FirstBytes {
    std::size_t operator()(const Sha256& hash) const {
      std::size_t first;
      std::memcpy(&first, hash.data(), sizeof first);
      return first;
    }
  };

  std::size_t capacity_;
  std::list<Entry> uses_;  // the latest in front
  std::unordered_map<Sha256, typename std::list<Entry>::iterator, FirstBytes> entries_;
};

}  // namespace outrigger::identity
