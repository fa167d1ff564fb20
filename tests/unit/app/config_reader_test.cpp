#include "bridge/app/config_reader.h"

#include <cstdio>
#include <filesystem>
#include <fstream>

namespace outrigger::app {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

enum class Colour { red, green };

struct Sample {
  std::string name = "nobody";
  int count = 3;
  bool is_on = false;
  std::chrono::milliseconds pause = 10s;
  std::size_t bytes = 1024;
  Colour colour = Colour::red;
  std::vector<ListenAddress> listen{{"h", 1, ""}};
  std::string password;
  std::string ignored;
};

class ConfigReaderTest : public testing::Test {
 protected:
  ConfigReaderTest() {
    table_.add_text("Top:Name", sample_.name, "A name.");
    table_.add_integer("Top:Inner:Count", sample_.count, 1, 9, "A number.").alias("Top:Inner:old:Count");
    table_.add_boolean("Top:Inner:IsOn", sample_.is_on, "A switch.");
    table_.add_duration("Top:Inner:Pause", sample_.pause, 1ms, 1min, "A pause.");
    table_.add_size("Top:Bytes", sample_.bytes, 1, 4096, "A size.");
    table_.add_choice<Colour>("Top:Colour", sample_.colour, {{"red", Colour::red}, {"green", Colour::green}},
                              "A choice.");
    table_.add_addresses("Top:Listen", sample_.listen, "Addresses.");
    table_.add_text("Top:Password", sample_.password, "A secret.").secret();
    table_.add_text("Other:Thing", sample_.ignored, "Another program's.");
    table_.ignore_values_below("Other");
  }

  std::vector<std::string> read(std::string yaml, Environment environment = {}, std::vector<FlagValue> flags = {}) {
    const ConfigReading reading = read_config(table_, {"f.yaml", std::move(yaml), environment, flags});
    return reading.errors();
  }
  std::vector<std::string> listen() const {
    std::vector<std::string> texts;
    for (const ListenAddress& address : sample_.listen) texts.push_back(to_string(address));
    return texts;
  }

  Sample sample_;
  ConfigTable table_;
};

TEST_F(ConfigReaderTest, nothing_given_keeps_defaults) {
  EXPECT_THAT(read(""), ElementsAre());
  EXPECT_THAT(read("# only a comment\n"), ElementsAre());
  EXPECT_THAT(read("---\n"), ElementsAre());
  EXPECT_EQ(sample_.count, 3);
  EXPECT_EQ(table_.find("Top:Inner:Pause")->fallback, "10s");
  EXPECT_EQ(table_.find("Top:Listen")->fallback, "h:1");
}

TEST_F(ConfigReaderTest, every_kind_is_read_in_any_case_of_keys) {
  EXPECT_THAT(read("top:\n  NAME: x\n  inner: { count: 4, IsON: true, pause: 2s }\n  Bytes: 2KiB\n  colour: GREEN\n"
                   "  Listen: ['a:1', 'unix:/b']\n  Password: p\n"),
              ElementsAre());
  EXPECT_EQ(sample_.name, "x");
  EXPECT_EQ(sample_.count, 4);
  EXPECT_TRUE(sample_.is_on);
  EXPECT_EQ(sample_.pause, 2s);
  EXPECT_EQ(sample_.bytes, 2048U);
  EXPECT_EQ(sample_.colour, Colour::green);
  EXPECT_THAT(listen(), ElementsAre("a:1", "unix:/b"));
  EXPECT_EQ(sample_.password, "p");
}

TEST_F(ConfigReaderTest, null_values) {
  EXPECT_THAT(read("Top:\n  Inner:\n  Name:\n"), ElementsAre());
  EXPECT_EQ(sample_.name, "");
  EXPECT_THAT(read("Top:\n  Bytes:\n"),
              ElementsAre("f.yaml:2:3: Top:Bytes: '' is not a size: write 8MiB, 64KiB, 1MB or a number of bytes"));
}

TEST_F(ConfigReaderTest, all_errors_of_a_file_in_its_order_and_good_values_beside_them) {
  EXPECT_THAT(
      read("Top:\n"
           "  Inner:\n"
           "    Count: 12\n"
           "    Pause: 30\n"
           "    Cuont: 1\n"
           "  Colour: blue\n"
           "  Name: fine\n"
           "  Listen: [x]\n"),
      ElementsAre("f.yaml:3:12: Top:Inner:Count: '12' is out of range: 1 to 9",
                  "f.yaml:4:12: Top:Inner:Pause: '30' has no unit: write 250ms, 30s, 5m or 1h",
                  "f.yaml:5:5: unknown key 'Top:Inner:Cuont'; did you mean 'Count'?",
                  "f.yaml:6:11: Top:Colour: 'blue' is not allowed; allowed: red, green",
                  "f.yaml:8:11: Top:Listen: 'x' is not HOST:PORT or unix:PATH: the port is missing (HOST:PORT)"));
  EXPECT_EQ(sample_.name, "fine");
  EXPECT_EQ(sample_.count, 3);
}

TEST_F(ConfigReaderTest, unknown_keys_are_guessed_nearby_then_elsewhere_then_listed) {
  EXPECT_THAT(read("Topp: {}\n"), ElementsAre("f.yaml:1:1: unknown key 'Topp'; did you mean 'Top'?"));
  EXPECT_THAT(read("Top: { IsOn: true }\n"),
              ElementsAre("f.yaml:1:8: unknown key 'Top:IsOn'; did you mean 'Top:Inner:IsOn'?"));
  EXPECT_THAT(read("Top: { Inner: { Zebra: 1 } }\n"),
              ElementsAre("f.yaml:1:17: unknown key 'Top:Inner:Zebra'; known here: Count, IsOn, old, Pause"));
}

TEST_F(ConfigReaderTest, wrong_shapes) {
  EXPECT_THAT(read("just text"), ElementsAre("f.yaml:1:1: the file is a section: keys and values belong below it"));
  EXPECT_THAT(read("Top: 3"), ElementsAre("f.yaml:1:1: Top is a section: keys and values belong below it"));
  EXPECT_THAT(read("Top: { Name: [a] }"), ElementsAre("f.yaml:1:8: Top:Name needs one value, not a list"));
  EXPECT_THAT(read("Top: { Name: {a: b} }"), ElementsAre("f.yaml:1:8: Top:Name needs one value, not a section"));
  EXPECT_THAT(read("Top: { Listen: {a: b} }"),
              ElementsAre("f.yaml:1:8: Top:Listen needs a list of values, not a section"));
  EXPECT_THAT(read("Top: { Listen: [[a]] }"), ElementsAre("f.yaml:1:17: Top:Listen: each item must be one value"));
  EXPECT_THAT(read("Top: { Listen: [] }"),
              ElementsAre("f.yaml:1:16: Top:Listen: the list is empty; it needs at least one address"));
  EXPECT_THAT(read("Top: { [a]: b }"), ElementsAre("f.yaml:1:8: a key must be a name"));
  EXPECT_THAT(read("Top: {}\n---\nTop: {}\n"),
              ElementsAre("f.yaml:3:1: a second YAML document; all keys belong into one"));
}

// The library finds empty documents before it, without end.
TEST_F(ConfigReaderTest, comma_that_begins_a_document_ends_with_an_error) {
  for (const char* file : {",[\n", ", a", ",", "\n,{\n"}) {
    const auto errors = read(file);
    ASSERT_EQ(errors.size(), 1U) << file;
    EXPECT_THAT(errors[0], testing::HasSubstr(": a document cannot begin with this")) << file;
  }
}

TEST_F(ConfigReaderTest, broken_yaml_has_a_place) {
  const auto errors = read("Top:\n  Name: [a\n");
  ASSERT_EQ(errors.size(), 1U);
  EXPECT_THAT(errors[0], testing::StartsWith("f.yaml:3:1: "));
  EXPECT_EQ(read("Top: *nowhere").size(), 1U);
  EXPECT_EQ(read(std::string(100000, '[')).size(), 1U);
}

TEST_F(ConfigReaderTest, twice_is_an_error_also_by_case_and_alias) {
  EXPECT_THAT(read("Top:\n  Name: a\n  name: b\n"),
              ElementsAre("f.yaml:3:3: Top:Name is given twice, also at f.yaml:2:3"));
  EXPECT_THAT(read("Top:\n  Inner:\n    Count: 1\n    old: { Count: 2 }\n"),
              ElementsAre("f.yaml:4:19: Top:Inner:old:Count is given twice, also at f.yaml:3:12"));
  EXPECT_THAT(
      read("", {{"Top__Name", "a"}, {"TOP__NAME", "b"}}),
      ElementsAre("environment variable TOP__NAME: Top:Name is given twice, also at environment variable Top__Name"));
}

TEST_F(ConfigReaderTest, alias_names_are_read) {
  EXPECT_THAT(read("Top: { Inner: { Old: { Count: 5 } } }"), ElementsAre());
  EXPECT_EQ(sample_.count, 5);
}

TEST_F(ConfigReaderTest, anchors_and_merge_keys) {
  EXPECT_THAT(read("Other: { Thing: &text hello }\n"
                   "Top:\n"
                   "  Name: *text\n"
                   "  Inner:\n"
                   "    <<: { Count: 8, Pause: 7s }\n"
                   "    Count: 9\n"),
              ElementsAre());
  EXPECT_EQ(sample_.name, "hello");
  EXPECT_EQ(sample_.count, 9);
  EXPECT_EQ(sample_.pause, 7s);
  EXPECT_THAT(read("Top: { <<: x }"),
              ElementsAre("f.yaml:1:8: '<<' needs a section to merge (an alias such as *messaging)"));
  EXPECT_FALSE(read("Top: &top { <<: *top }").empty());  // ends, and says so
}

TEST_F(ConfigReaderTest, keys_with_colons_are_paths) {
  EXPECT_THAT(read("'Top:Inner:Count': 5\nTop:Name: x\nTop:\n  inner:pause: 3s\n"), ElementsAre());
  EXPECT_EQ(sample_.count, 5);
  EXPECT_EQ(sample_.name, "x");
  EXPECT_EQ(sample_.pause, 3s);
  EXPECT_THAT(read("Top:Inner: { Count: 4 }"), ElementsAre());
  EXPECT_EQ(sample_.count, 4);
  EXPECT_THAT(read("Top:Inner:Cuont: 5\n"),
              ElementsAre("f.yaml:1:1: unknown key 'Top:Inner:Cuont'; did you mean 'Count'?"));
  EXPECT_THAT(read("Top:Name: x\nTop: { Name: y }\n"),
              ElementsAre("f.yaml:2:14: Top:Name is given twice, also at f.yaml:1:11"));
  EXPECT_EQ(read("'Top:': x\n':Top': x\n':': x").size(), 3U);
}

TEST_F(ConfigReaderTest, json_is_read) {
  EXPECT_THAT(read("{\"Top\": {\"Name\": \"a\\u00e9\", \"Inner\": {\"Count\": 5, \"IsOn\": true},\n\t\"Listen\": "
                   "[\"a:1\"], \"Password\": null}}"),
              ElementsAre());
  EXPECT_EQ(sample_.name, "a\u00e9");
  EXPECT_EQ(sample_.count, 5);
  EXPECT_TRUE(sample_.is_on);
  EXPECT_THAT(listen(), ElementsAre("a:1"));
}

TEST_F(ConfigReaderTest, byte_order_mark_is_skipped_and_nul_refused) {
  EXPECT_THAT(read("\xEF\xBB\xBFTop: { Name: x }"), ElementsAre());
  EXPECT_EQ(sample_.name, "x");
  EXPECT_THAT(read(std::string("Top:\n  Name: a\0b\n", 18)),
              ElementsAre("f.yaml:2:10: a NUL byte: this is not YAML in UTF-8"));
  EXPECT_THAT(read(std::string("\xFF\xFET\0o\0", 6)), ElementsAre("f.yaml:1:4: a NUL byte: this is not YAML in UTF-8"));
}

TEST_F(ConfigReaderTest, errors_beyond_a_hundred_are_counted) {
  std::string file = "Top:\n";
  for (int i = 0; i < 250; ++i) file += "  nothing" + std::to_string(i) + ": 1\n";
  const auto errors = read(file);
  ASSERT_EQ(errors.size(), 101U);
  EXPECT_THAT(errors[99], testing::StartsWith("f.yaml:101:3: unknown key 'Top:nothing99'"));
  EXPECT_EQ(errors[100], "and 150 more");
}

// A few lines that would unfold into 10^8 keys.
TEST_F(ConfigReaderTest, merge_keys_have_a_limit) {
  std::string file = "Other:\n  a0: &a0 {";
  for (int i = 0; i < 10; ++i) file += "k" + std::to_string(i) + ": 1, ";
  file += "}\n";
  for (int level = 1; level < 8; ++level) {
    const std::string below = "*a" + std::to_string(level - 1);
    file += "  a" + std::to_string(level) + ": &a" + std::to_string(level) + " {<<: [" + below;
    for (int i = 0; i < 9; ++i) file += ", " + below;
    file += "]}\n";
  }
  const auto errors = read(file + "Top: { <<: *a7 }\n");
  EXPECT_THAT(errors, testing::Contains(testing::HasSubstr("bring more than 10000 keys")));
}

TEST_F(ConfigReaderTest, ignored_sections_have_their_names_checked_and_their_values_left_alone) {
  EXPECT_THAT(read("Other: { Thing: x }", {{"Other__Thing", "y"}}), ElementsAre());
  EXPECT_EQ(sample_.ignored, "");
  EXPECT_THAT(read("Other: { Thong: x }", {{"Other__Thang", "y"}}),
              ElementsAre("f.yaml:1:10: unknown key 'Other:Thong'; did you mean 'Thing'?",
                          "environment variable Other__Thang: unknown key 'Other:Thang'; did you mean 'Thing'?"));
}

TEST_F(ConfigReaderTest, flags_win_over_environment_over_file) {
  const std::string file = "Top: { Name: file, Bytes: 1, Inner: { Count: 1 } }";
  EXPECT_THAT(read(file, {{"Top__Name", "environment"}, {"Top__Bytes", "2"}}, {{"--name", "Top:Name", {"flag"}}}),
              ElementsAre());
  EXPECT_EQ(sample_.name, "flag");
  EXPECT_EQ(sample_.bytes, 2U);
  EXPECT_EQ(sample_.count, 1);
}

TEST_F(ConfigReaderTest, origin_is_where_the_value_in_effect_came_from) {
  ConfigReading reading = read_config(
      table_, {"f.yaml", "Top:\n  Name: a\n", {{"Top__Bytes", "2"}}, {{"--count", "Top:Inner:Count", {"2"}}}});
  EXPECT_EQ(reading.level_of("Top:Name"), ConfigLevel::file);
  EXPECT_EQ(reading.level_of("Top:Bytes"), ConfigLevel::environment);
  EXPECT_EQ(reading.level_of("Top:Inner:Count"), ConfigLevel::flag);
  EXPECT_EQ(reading.level_of("Top:Colour"), ConfigLevel::fallback);
  EXPECT_FALSE(reading.has_errors());

  reading.fail("Top:Colour", "missing");
  reading.fail("Top:Name", "bad");
  reading.fail("Top:Bytes", "bad");
  EXPECT_FALSE(reading.blames_a_flag());
  reading.fail("Top:Inner:Count", "bad");
  EXPECT_TRUE(reading.blames_a_flag());
  EXPECT_THAT(reading.errors(),
              ElementsAre("f.yaml:2:9: Top:Name: bad", "environment variable Top__Bytes: Top:Bytes: bad",
                          "--count: bad", "Top:Colour: missing"));
}

TEST_F(ConfigReaderTest, environment_names) {
  EXPECT_THAT(read("", {{"PATH", "x"}, {"TOP", "x"}, {"TOP_NAME", "x"}, {"top__inner__COUNT", "5"}}), ElementsAre());
  EXPECT_EQ(sample_.count, 5);
  EXPECT_THAT(
      read("", {{"Top__Inner", "x"}, {"Top__Nmae", "x"}, {"Top__Inner__Count__0", "1"}, {"Top__", "x"}}),
      ElementsAre("environment variable Top__Inner: Top:Inner is a section: set the keys below it",
                  "environment variable Top__Nmae: unknown key 'Top:Nmae'; did you mean 'Name'?",
                  "environment variable Top__Inner__Count__0: Top:Inner:Count is a key: nothing can stand below it",
                  "environment variable Top__: unknown key 'Top:'; known here: Bytes, Colour, Inner, Listen, Name, "
                  "Password, PasswordFile"));
}

TEST_F(ConfigReaderTest, environment_replaces_and_extends_list_items) {
  EXPECT_THAT(read("Top: { Listen: ['a:1', 'b:2'] }", {{"Top__Listen__2", "d:4"}, {"Top__Listen__1", "c:3"}}),
              ElementsAre());
  EXPECT_THAT(listen(), ElementsAre("a:1", "c:3", "d:4"));
  EXPECT_THAT(read("", {{"Top__Listen", "e:5"}}), ElementsAre());
  EXPECT_THAT(listen(), ElementsAre("e:5"));
  EXPECT_THAT(read("", {{"Top__Listen__1", "c:3"}}),
              ElementsAre("environment variable Top__Listen__1: Top:Listen has no item 0 before this one"));
  EXPECT_THAT(
      read("", {{"Top__Listen__x", "c:3"}}),
      ElementsAre("environment variable Top__Listen__x: Top:Listen is a key: nothing can stand below it but the "
                  "number of an item (__0)"));
  EXPECT_THAT(
      read("", {{"Top__Listen__0", "c:3"}, {"Top__Listen", "c:3"}}),
      ElementsAre("environment variable Top__Listen__0: Top:Listen is given twice, also at environment variable "
                  "Top__Listen"));
}

class SecretFile {
 public:
  explicit SecretFile(const std::string& content)
      : path_(std::filesystem::path(testing::TempDir()) / ("outrigger_secret_" + std::to_string(getpid()))) {
    std::ofstream(path_, std::ios::binary) << content;
  }
  ~SecretFile() { std::filesystem::remove(path_); }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

TEST_F(ConfigReaderTest, secrets_come_from_files_without_the_last_newline) {
  const SecretFile unix_line("pass word\n");
  EXPECT_THAT(read("Top: { PasswordFile: '" + unix_line.path() + "' }"), ElementsAre());
  EXPECT_EQ(sample_.password, "pass word");
  const SecretFile windows_line("two\n\r\n");
  EXPECT_THAT(read("Top: { Password: x }", {{"Top__PasswordFile", windows_line.path()}}), ElementsAre());
  EXPECT_EQ(sample_.password, "two\n");
}

TEST_F(ConfigReaderTest, secret_files_fail_with_their_reason) {
  EXPECT_THAT(
      read("Top: { PasswordFile: /nowhere/secret }"),
      ElementsAre("f.yaml:1:22: Top:PasswordFile: cannot open the file '/nowhere/secret': No such file or directory"));
  EXPECT_THAT(read("Top:\n  Password: x\n  PasswordFile: /nowhere/secret\n"),
              ElementsAre("f.yaml:3:17: Top:PasswordFile is given twice, also at f.yaml:2:13"));
  EXPECT_THAT(
      read("Top: { NameFile: /nowhere/name }"),
      ElementsAre("f.yaml:1:8: unknown key 'Top:NameFile'; known here: Bytes, Colour, Inner, Listen, Name, Password, "
                  "PasswordFile"));
  EXPECT_THAT(read("Top: { PasswordFile: '' }"),
              ElementsAre("f.yaml:1:22: Top:PasswordFile: the name of the file is empty"));
  EXPECT_THAT(read("Top: { PasswordFile: / }"),
              ElementsAre("f.yaml:1:22: Top:PasswordFile: cannot read the file '/': Is a directory"));
  for (const char* nothing : {"", "\n", "\r\n"}) {
    const SecretFile empty(nothing);
    EXPECT_THAT(read("", {{"Top__PasswordFile", empty.path()}}),
                ElementsAre("environment variable Top__PasswordFile: Top:PasswordFile: the file '" + empty.path() +
                            "' is empty"));
  }
  const SecretFile large(std::string(70000, 'x'));
  EXPECT_THAT(read("Top: { PasswordFile: '" + large.path() + "' }"),
              ElementsAre("f.yaml:1:22: Top:PasswordFile: the file '" + large.path() +
                          "' is larger than 64 KiB: not a secret"));
}

TEST_F(ConfigReaderTest, print_reads_back_and_hides_secrets) {
  EXPECT_THAT(read("Top: { Name: 'true', Password: hush, Listen: ['a:1', '[::1]:2'], Inner: { Pause: 40s } }"),
              ElementsAre());
  const std::string printed = print_config(table_);

  EXPECT_EQ(printed.find("hush"), std::string::npos);
  EXPECT_EQ(printed.find("Other"), std::string::npos);
  sample_.name = "";
  sample_.listen.clear();
  sample_.pause = 1s;
  EXPECT_THAT(read(printed), ElementsAre());
  EXPECT_EQ(sample_.name, "true");
  EXPECT_EQ(sample_.pause, 40s);
  EXPECT_THAT(listen(), ElementsAre("a:1", "[::1]:2"));
  EXPECT_EQ(sample_.password, "***");
}

}  // namespace
}  // namespace outrigger::app
