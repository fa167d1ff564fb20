#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "bridge/app/admin.h"
#include "bridge/app/config_reader.h"
#include "bridge/app/config_reference.h"

// Lists of objects in the configuration.
namespace outrigger::app {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

enum class Colour { red, green };

struct Item {
  std::string name = "nobody";
  std::string secret;
  Colour colour = Colour::red;
  std::chrono::milliseconds pause = 10s;
  bool is_on = false;
  int count = 3;
  std::vector<std::string> words;
  bool unused = false;
};

void declare_item(ConfigTable& table, const std::string& path, Item& item) {
  table.add_text(path + ":Name", item.name, "A name.");
  table.add_text(path + ":Secret", item.secret, "A secret.").secret();
  table.add_choice<Colour>(path + ":Colour", item.colour, {{"red", Colour::red}, {"green", Colour::green}},
                           "A choice.");
  table.add_duration(path + ":Inner:Pause", item.pause, 1ms, 1min, "A pause.");
  table.add_boolean(path + ":Inner:IsOn", item.is_on, "A switch.");
  table.add_integer(path + ":Count", item.count, 1, 9, "A number.").alias(path + ":old:Count");
  table.add_texts(path + ":Words", item.words, "Words.", [](const std::string& word) -> base::Result<void> {
    if (word != "bad") return {};
    return base::Error{base::Code::invalid, "'bad' is no word"};
  });
  table.add_boolean(path + ":Unused", item.unused, "For later.").no_effect();
}

class ConfigItemsTest : public testing::Test {
 protected:
  ConfigItemsTest() {
    table_.add_text("Top:Before", before_, "A text.");
    table_.add_items("Top:Items", items_, 3, "What there is.", declare_item);
    table_.add_text("Top:After", after_, "A text.");
    table_.add_items("Yonder:Items", others_, 3, "Another program's.", declare_item);
    table_.ignore_values_below("Yonder");
  }

  std::vector<std::string> read(std::string yaml, Environment environment = {}) {
    reading_ = read_config(table_, {"f.yaml", std::move(yaml), std::move(environment), {}});
    return reading_.errors();
  }
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const Item& item : items_) names.push_back(item.name);
    return names;
  }

  std::string before_;
  std::string after_;
  std::vector<Item> items_;
  std::vector<Item> others_;
  ConfigTable table_;
  ConfigReading reading_;
};

TEST_F(ConfigItemsTest, nothing_given_is_an_empty_list) {
  for (const char* file : {"", "Top:\n", "Top: { Items: }", "Top: { Items: [] }"}) {
    EXPECT_THAT(read(file), ElementsAre()) << file;
    EXPECT_TRUE(items_.empty()) << file;
  }
}

TEST_F(ConfigItemsTest, every_kind_is_read_and_the_rest_of_an_item_is_default) {
  EXPECT_THAT(read("top:\n"
                   "  items:\n"
                   "    - NAME: a\n"
                   "      Secret: hush\n"
                   "      Colour: GREEN\n"
                   "      Inner: { pause: 2s }\n"
                   "      Inner:IsOn: true\n"
                   "      Count: 4\n"
                   "      Words: [x, y]\n"
                   "    -\n"
                   "    - { old: { Count: 5 }, Words: z }\n"),
              ElementsAre());
  EXPECT_THAT(names(), ElementsAre("a", "nobody", "nobody"));
  EXPECT_EQ(items_[0].secret, "hush");
  EXPECT_EQ(items_[0].colour, Colour::green);
  EXPECT_EQ(items_[0].pause, 2s);
  EXPECT_TRUE(items_[0].is_on);
  EXPECT_EQ(items_[0].count, 4);
  EXPECT_THAT(items_[0].words, ElementsAre("x", "y"));
  EXPECT_EQ(items_[1].count, 3);
  EXPECT_EQ(items_[2].count, 5);
  EXPECT_THAT(items_[2].words, ElementsAre("z"));
}

TEST_F(ConfigItemsTest, json_anchors_and_merge_keys) {
  EXPECT_THAT(read("{\"Top\": {\"Items\": [{\"Name\": \"a\"}, {\"Words\": [\"x\"]}]}}"), ElementsAre());
  EXPECT_THAT(names(), ElementsAre("a", "nobody"));
  EXPECT_THAT(read("Yonder: { Items: &items [&first { Name: a, Count: 4 }, { <<: *first, Name: b }] }\n"
                   "'Top:Items': *items\n"),
              ElementsAre());
  EXPECT_THAT(names(), ElementsAre("a", "b"));
  EXPECT_EQ(items_[1].count, 4);
  EXPECT_FALSE(read("Top: { Items: &items [*items] }").empty());
}

TEST_F(ConfigItemsTest, errors_of_an_item_have_their_place) {
  EXPECT_THAT(read("Top:\n"
                   "  Items:\n"
                   "    - Name: fine\n"
                   "      Nmae: x\n"
                   "      Colour: blue\n"
                   "    - Pause: 2s\n"
                   "      Words: [a, bad]\n"
                   "      Inner: { Pause: 30, IsOnn: true }\n"
                   "  Name: x\n"),
              ElementsAre("f.yaml:4:7: unknown key 'Top:Items:0:Nmae'; did you mean 'Name'?",
                          "f.yaml:5:15: Top:Items:0:Colour: 'blue' is not allowed; allowed: red, green",
                          "f.yaml:6:7: unknown key 'Top:Items:1:Pause'; did you mean 'Top:Items[]:Inner:Pause'?",
                          "f.yaml:7:14: Top:Items:1:Words: 'bad' is no word",
                          "f.yaml:8:23: Top:Items:1:Inner:Pause: '30' has no unit: write 250ms, 30s, 5m or 1h",
                          "f.yaml:8:27: unknown key 'Top:Items:1:Inner:IsOnn'; did you mean 'IsOn'?",
                          "f.yaml:9:3: unknown key 'Top:Name'; did you mean 'Top:Items[]:Name'?"));
  EXPECT_THAT(names(), ElementsAre("fine", "nobody"));
  EXPECT_THAT(read("Top: { Secret: x, 0: y }"),
              ElementsAre("f.yaml:1:8: unknown key 'Top:Secret'; did you mean 'Top:Items[]:Secret'?",
                          "f.yaml:1:19: unknown key 'Top:0'; known here: After, Before, Items"));
}

TEST_F(ConfigItemsTest, wrong_shapes) {
  EXPECT_THAT(read("Top: { Items: x }"), ElementsAre("f.yaml:1:8: Top:Items needs a list of sections, not one value"));
  EXPECT_THAT(read("Top: { Items: { Name: x } }"),
              ElementsAre("f.yaml:1:8: Top:Items needs a list of sections, not a section"));
  EXPECT_THAT(read("Top: { Items: [{}, x, [y]] }"),
              ElementsAre("f.yaml:1:20: Top:Items:1 is a section: keys and values belong below it",
                          "f.yaml:1:23: Top:Items:2 is a section: keys and values belong below it"));
  EXPECT_THAT(read("Top: { 'Items:0:Name': x }"),
              ElementsAre("f.yaml:1:8: Top:Items is a list: its items belong below it, each with a dash"));
  EXPECT_THAT(read("Top: { Items: [{ Name: [x] }] }"),
              ElementsAre("f.yaml:1:18: Top:Items:0:Name needs one value, not a list"));
}

TEST_F(ConfigItemsTest, twice_is_an_error) {
  EXPECT_THAT(read("Top: { Items: [{ Name: x, name: y }] }"),
              ElementsAre("f.yaml:1:27: Top:Items:0:Name is given twice, also at f.yaml:1:18"));
  EXPECT_THAT(read("Top: { Items: [{ Count: 1, old: { Count: 2 } }] }"),
              ElementsAre("f.yaml:1:42: Top:Items:0:old:Count is given twice, also at f.yaml:1:25"));
  EXPECT_THAT(read("Top: { Items: [{}] }\nTop:Items: [{}]\n"),
              ElementsAre("f.yaml:2:1: Top:Items is given twice, also at f.yaml:1:15"));
  EXPECT_THAT(
      read("", {{"Top__Items__0__Name", "x"}, {"TOP__ITEMS__00__NAME", "y"}}),
      ElementsAre("environment variable TOP__ITEMS__00__NAME: Top:Items:0:Name is given twice, also at environment "
                  "variable Top__Items__0__Name"));
}

TEST_F(ConfigItemsTest, too_many_items_name_the_bound) {
  EXPECT_THAT(read("Top: { Items: [{}, {}, {}] }", {{"Top__Items__2__Name", "c"}}), ElementsAre());
  EXPECT_THAT(names(), ElementsAre("nobody", "nobody", "c"));
  EXPECT_THAT(read("Top: { Items: [{}, {}, {}, {}, {}] }", {{"Top__Items__3__Name", "x"}}),
              ElementsAre("f.yaml:1:28: Top:Items has more than 3 items",
                          "environment variable Top__Items__3__Name: Top:Items has more than 3 items"));
  EXPECT_THAT(read("Yonder: { Items: [{}, {}, {}, {}] }"),
              ElementsAre("f.yaml:1:31: Yonder:Items has more than 3 items"));
}

TEST_F(ConfigItemsTest, environment_merges_by_number_and_key) {
  EXPECT_THAT(read("Top: { Items: [{ Name: a, Count: 4, Words: [x, y] }, { Name: b }] }",
                   {{"top__items__0__COUNT", "5"},
                    {"Top__Items__0__Words__1", "z"},
                    {"Top__Items__2__Name", "c"},
                    {"Top__Items__2__Words__0", "w"},
                    {"Top__Items__1__Inner__Pause", "1s"}}),
              ElementsAre());
  EXPECT_THAT(names(), ElementsAre("a", "b", "c"));
  EXPECT_EQ(items_[0].count, 5);
  EXPECT_THAT(items_[0].words, ElementsAre("x", "z"));
  EXPECT_EQ(items_[1].pause, 1s);
  EXPECT_THAT(items_[2].words, ElementsAre("w"));
}

TEST_F(ConfigItemsTest, environment_errors) {
  EXPECT_THAT(read("Top: { Items: [{}] }", {{"Top__Items__2__Name", "x"}, {"Yonder__Items__2__Name", "y"}}),
              ElementsAre("environment variable Top__Items__2__Name: Top:Items has no item 1 before this one"));
  EXPECT_THAT(
      read("", {{"Top__Items", "x"},
                {"Top__Items__0", "x"},
                {"Top__Items__x__Name", "x"},
                {"Top__Items__-1__Name", "x"},
                {"Top__Items__[]__Name", "x"},
                {"Top__Items__99999999999999999999__Name", "x"},
                {"Top__Items__0__Nmae", "x"},
                {"Top__Items__0__Inner", "x"},
                {"Top__Items__0__Name__0", "x"},
                {"Top__Items__0__Words__1", "x"},
                {"Yonder__Items__0__Nmae", "x"}}),
      ElementsAre(
          "environment variable Top__Items: Top:Items is a list: set the keys of its items (__0__...)",
          "environment variable Top__Items__0: Top:Items:0 is a section: set the keys below it",
          "environment variable Top__Items__x__Name: Top:Items is a list: below it stands the number of an item (__0)",
          "environment variable Top__Items__-1__Name: Top:Items is a list: below it stands the number of an item (__0)",
          "environment variable Top__Items__[]__Name: Top:Items is a list: below it stands the number of an item (__0)",
          "environment variable Top__Items__99999999999999999999__Name: Top:Items is a list: below it stands the "
          "number of "
          "an item (__0)",
          "environment variable Top__Items__0__Nmae: unknown key 'Top:Items:0:Nmae'; did you mean 'Name'?",
          "environment variable Top__Items__0__Inner: Top:Items:0:Inner is a section: set the keys below it",
          "environment variable Top__Items__0__Name__0: Top:Items:0:Name is a key: nothing can stand below it",
          "environment variable Yonder__Items__0__Nmae: unknown key 'Yonder:Items:0:Nmae'; did you mean 'Name'?",
          "environment variable Top__Items__0__Words__1: Top:Items:0:Words has no item 0 before this one"));
}

TEST_F(ConfigItemsTest, secrets_of_items_come_from_files) {
  const auto path = std::filesystem::path(testing::TempDir()) / ("outrigger_item_secret_" + std::to_string(getpid()));
  std::ofstream(path) << "pass word\n";
  EXPECT_THAT(read("Top: { Items: [{ SecretFile: '" + path.string() + "' }, { Secret: x }] }",
                   {{"Top__Items__1__SecretFile", path.string()}}),
              ElementsAre());
  std::filesystem::remove(path);
  EXPECT_EQ(items_[0].secret, "pass word");
  EXPECT_EQ(items_[1].secret, "pass word");
  EXPECT_THAT(
      read("Top: { Items: [{ SecretFile: /nowhere/secret }] }"),
      ElementsAre("f.yaml:1:30: Top:Items:0:SecretFile: cannot open the file '/nowhere/secret': No such file or "
                  "directory"));
}

TEST_F(ConfigItemsTest, a_later_reading_begins_anew) {
  EXPECT_THAT(read("Top: { Items: [{ Name: a, Count: 4 }, { Name: b }, { Name: c }] }"), ElementsAre());
  const std::size_t keys = table_.keys().size();
  EXPECT_THAT(read("Top: { Items: [{ Name: d }] }"), ElementsAre());
  EXPECT_THAT(names(), ElementsAre("d"));
  EXPECT_EQ(items_[0].count, 3);
  EXPECT_LT(table_.keys().size(), keys);
  EXPECT_EQ(table_.find("Top:Items:1:Name"), nullptr);
  EXPECT_THAT(read("", {{"Top__Items__0__Name", "e"}, {"Top__Items__1__Name", "f"}}), ElementsAre());
  EXPECT_THAT(names(), ElementsAre("e", "f"));
  EXPECT_THAT(read(""), ElementsAre());
  EXPECT_TRUE(items_.empty());
}

TEST_F(ConfigItemsTest, keys_of_items_are_found_and_have_origins) {
  EXPECT_THAT(read("Top:\n  Items:\n    - Name: a\n", {{"Top__Items__0__Count", "4"}, {"Top__Items__1__Name", "b"}}),
              ElementsAre());
  ASSERT_NE(table_.find("Top:Items:1:Name"), nullptr);
  EXPECT_THAT(table_.find("Top:Items:1:Name")->get(), ElementsAre("b"));
  EXPECT_EQ(table_.find("Top:Items:1:Name")->fallback, "nobody");
  EXPECT_TRUE(table_.find("Top:Items[]:Name")->is_pattern);
  EXPECT_EQ(reading_.level_of("Top:Items:0:Name"), ConfigLevel::file);
  EXPECT_EQ(reading_.level_of("Top:Items:0:Count"), ConfigLevel::environment);
  EXPECT_EQ(reading_.level_of("Top:Items:0:Secret"), ConfigLevel::fallback);

  reading_.fail("Top:Items:0:Name", "bad");
  reading_.fail("Top:Items:0:Secret", "is required");
  reading_.fail("Top:Items:1:Secret", "is required");
  reading_.fail("Top:Items:1:Name", "is the same as that of item 0");
  reading_.fail("Top:Items", "too few");
  EXPECT_THAT(reading_.errors(),
              ElementsAre("f.yaml:3:5: Top:Items: too few", "f.yaml:3:7: Top:Items:0:Secret: is required",
                          "f.yaml:3:13: Top:Items:0:Name: bad",
                          "environment variable Top__Items__1__Name: Top:Items:1:Secret: is required",
                          "environment variable Top__Items__1__Name: Top:Items:1:Name: is the same as that of item 0"));
}

TEST_F(ConfigItemsTest, ignored_lists_have_their_names_checked_and_stay_empty) {
  EXPECT_THAT(read("Yonder: { Items: [{ Name: x, Colour: blue }] }", {{"Yonder__Items__2__Name", "y"}}), ElementsAre());
  EXPECT_TRUE(others_.empty());
  EXPECT_THAT(read("Yonder: { Items: [{ Nmae: x }, y] }"),
              ElementsAre("f.yaml:1:21: unknown key 'Yonder:Items:0:Nmae'; did you mean 'Name'?",
                          "f.yaml:1:32: Yonder:Items:1 is a section: keys and values belong below it"));
}

TEST_F(ConfigItemsTest, other_keys_are_passed_over_in_items_too) {
  table_.pass_over_other_keys();
  EXPECT_THAT(read("Top: { Items: [{ Name: a, Nmae: b }] }", {{"Top__Items__0__Thing", "x"}}), ElementsAre());
  EXPECT_THAT(names(), ElementsAre("a"));
}

TEST_F(ConfigItemsTest, keys_without_effect_are_named) {
  EXPECT_THAT(read("Top: { Items: [{}, { Unused: true }] }"), ElementsAre());
  EXPECT_THAT(reading_.warnings(), ElementsAre("f.yaml:1:30: Top:Items:1:Unused has no effect in this version"));
}

TEST_F(ConfigItemsTest, print_reads_back_and_hides_secrets) {
  EXPECT_EQ(print_config(table_), "Top:\n  Before: \"\"\n  Items: []\n  After: \"\"\n");
  EXPECT_THAT(read("Top:\n  Items: [{ Name: 'true', Secret: hush, Words: [x, '# y'] }, { Inner: { Pause: 40s } }]\n  "
                   "After: z\n"),
              ElementsAre());
  const std::string printed = print_config(table_);
  const std::string with_origins = print_config(table_, &reading_);

  EXPECT_EQ(printed, R"(Top:
  Before: ""
  Items:
    - Name: true
      Secret: "***"
      Colour: red
      Inner:
        Pause: 10s
        IsOn: false
      Count: 3
      Words: [x, "# y"]
      Unused: false
    - Name: nobody
      Secret: ""
      Colour: red
      Inner:
        Pause: 40s
        IsOn: false
      Count: 3
      Words: []
      Unused: false
  After: z
)");
  EXPECT_THAT(with_origins, HasSubstr("    - Name: true  # f.yaml:2:"));
  EXPECT_THAT(with_origins, HasSubstr("    - Name: nobody  # default\n"));
  EXPECT_THAT(read(with_origins), ElementsAre());
  EXPECT_EQ(print_config(table_), printed);
  EXPECT_THAT(names(), ElementsAre("true", "nobody"));
}

TEST_F(ConfigItemsTest, operators_see_the_items_and_no_patterns) {
  EXPECT_THAT(read("Top: { Items: [{ Name: a, Secret: hush }] }"), ElementsAre());
  const std::string shown = describe_config(table_, reading_);
  const auto all = nlohmann::json::parse(shown);
  EXPECT_EQ(all["Top:Items:0:Name"]["value"], "a");
  EXPECT_EQ(all["Top:Items:0:Secret"]["value"], "***");
  EXPECT_EQ(shown.find("[]:"), std::string::npos);
}

TEST_F(ConfigItemsTest, schema_has_the_list_with_its_items) {
  EXPECT_THAT(read("Top: { Items: [{}, {}] }"), ElementsAre());  // the schema is that of the table nevertheless
  const auto schema = nlohmann::json::parse(print_schema(table_));
  const auto& top = schema["properties"]["Top"]["properties"];
  EXPECT_EQ(top.size(), 3U);
  const auto& list = top["Items"];
  EXPECT_EQ(list["type"], nlohmann::json({"array", "null"}));
  EXPECT_EQ(list["maxItems"], 3);
  EXPECT_EQ(list["description"], "What there is.");
  EXPECT_EQ(list["default"], nlohmann::json::array());
  EXPECT_EQ(list["items"]["type"], nlohmann::json({"object", "null"}));
  EXPECT_EQ(list["items"]["additionalProperties"], false);
  const auto& item = list["items"]["properties"];
  EXPECT_EQ(item["Name"]["default"], "nobody");
  EXPECT_EQ(item["Colour"]["enum"], nlohmann::json({"red", "green"}));
  EXPECT_EQ(item["Inner"]["additionalProperties"], false);
  EXPECT_EQ(item["Inner"]["properties"]["Pause"]["default"], "10s");
  EXPECT_EQ(item["old"]["properties"]["Count"]["description"], "The same as Top:Items[]:Count.");
  EXPECT_EQ(item["SecretFile"]["type"], "string");
  EXPECT_EQ(item["Words"]["anyOf"][0]["type"], "array");
}

TEST_F(ConfigItemsTest, reference_has_a_table_for_the_items) {
  EXPECT_THAT(read("Top: { Items: [{}, {}] }"), ElementsAre());
  const std::string reference = print_reference(table_);
  EXPECT_THAT(reference, HasSubstr("\n### Top:Items[]\n\nWhat there is. A list of at most 3; in a variable's name the "
                                   "number of the item, from 0, stands where the 0 is.\n\n| key,"));
  EXPECT_THAT(reference, HasSubstr("| **Name**<br>`Top__Items__0__Name` | text | `nobody` | A name. |\n"));
  EXPECT_THAT(reference, HasSubstr("\n### Top:Items[]:Inner\n\n| key,"));
  EXPECT_THAT(reference, HasSubstr("`Top__Items__0__Inner__Pause`"));
  EXPECT_EQ(reference.find("Items:0"), std::string::npos);
}

using ConfigItemsDeathTest = ConfigItemsTest;

TEST_F(ConfigItemsDeathTest, lists_have_no_default_and_items_neither_flags_nor_lists) {
  std::vector<Item> filled(1);
  std::vector<Item> list;
  std::string text;
  EXPECT_DEATH(table_.add_items("Top:Filled", filled, 1, "", declare_item), "target.empty");
  EXPECT_DEATH(table_.add_items("Top:Flags", list, 1, "",
                                [&](ConfigTable& table, const std::string& path, Item& item) {
                                  table.add_text(path + ":Name", item.name, "").flag("--name", "NAME");
                                }),
               "flag_name");
  EXPECT_DEATH(table_.add_items("Top:Lists", list, 1, "",
                                [&](ConfigTable& table, const std::string& path, Item& item) {
                                  table.add_text(path + ":Name", item.name, "");
                                  std::vector<Item> inner;
                                  table.add_items(path + ":Inner", inner, 1, "", declare_item);
                                }),
               "lists_before");
}

}  // namespace
}  // namespace outrigger::app
