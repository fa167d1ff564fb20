// Fills a ConfigTable from flags, environment and a YAML file, and remembers where each value came from so that every
// message can point there. Start-up only, one thread. The YAML library stays inside config_reader.cpp.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bridge/app/config_table.h"

namespace outrigger::app {

using Environment = std::vector<std::pair<std::string, std::string>>;

struct FlagValue {
  std::string flag;  // "--listen"
  std::string path;  // of the key it sets
  std::vector<std::string> values;
};

struct ConfigSources {
  std::string file_name;  // for messages
  std::string file_text;  // YAML; empty: no file
  Environment environment;
  std::vector<FlagValue> flags;
};

// Ascending precedence.
enum class ConfigLevel : std::uint8_t { fallback, file, environment, flag };

struct ConfigOrigin {
  ConfigLevel level = ConfigLevel::fallback;
  std::string name;  // file, variable or flag
  int line = 0;      // of a file, from 1
  int column = 0;
};

// What read_config found. Semantic checks add their own errors with fail(), and so share the origins.
class ConfigReading {
 public:
  static constexpr std::size_t kMostErrors = 100;  // a file that is none at all has one in every line

  // Reports `message` about the key at `path`, at the place that set it; about one of an item that does not have it, where
  // the item begins. Beyond kMostErrors they are only counted.
  void fail(std::string_view path, std::string message);
  void fail(ConfigOrigin origin, std::string message);
  ConfigLevel level_of(std::string_view path) const { return origin_of(path).level; }
  // Of a key, or a list of objects or one of its items ("Gateway:Auth:Issuers:0").
  ConfigOrigin origin_of(std::string_view path) const;
  bool has_errors() const { return !errors_.empty(); }
  bool is_full() const { return errors_.size() == kMostErrors; }
  // True if a value given as a flag is among what is wrong.
  bool blames_a_flag() const;
  // One line each: those of the file in its order, then environment, flags, and keys that are missing.
  std::vector<std::string> errors() const;
  // One line per key that is set to something, without effect in this version.
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  friend class ConfigReader;
  struct Failure {
    ConfigOrigin origin;
    std::string message;
  };
  std::map<std::string, ConfigOrigin, std::less<>> origins_;
  std::vector<Failure> errors_;
  std::size_t unlisted_errors_ = 0;
  std::vector<std::string> warnings_;
};

// Fills the table's targets: flags over environment over file over defaults. Lists of objects get new items in each
// reading, made of what file and environment say of the same number. Everything wrong is reported, not only the first;
// targets of wrong values keep their defaults. Takes any bytes for a file, and reads no other file than those that
// `...File` keys of secrets name.
ConfigReading read_config(ConfigTable& table, const ConfigSources& sources);

// The values in effect as YAML that read_config accepts, secrets redacted; without what is ignored. With a reading, each
// has its origin in a comment.
std::string print_config(const ConfigTable& table, const ConfigReading* reading = nullptr);

}  // namespace outrigger::app
