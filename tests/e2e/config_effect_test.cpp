// Every key of the configuration, changed, has an effect that can be seen from outside the programs: first the block
// that files of the original have, each key in the file, in the environment and as a flag where there is one; then our
// own keys. Each change is seen as a difference to a run without it. Prints what was seen as a table.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>

#include "bridge/identity/base64url.h"
#include "tests/e2e/programs.h"
#include "tests/support/token_maker.h"

namespace outrigger::tests {
namespace {

using namespace std::chrono_literals;

enum class Form { none, file, environment, flag };

// The block as the original's example has it, but for where Valkey is.
const std::vector<std::pair<std::string, std::string>> kOriginal = {
    {"Enabled", "true"},
    {"ConnectionString", "SERVER"},
    {"Database", "0"},
    {"RequestQueueTemplate", "router:requests:{service}"},
    {"ResponseQueueName", "router:responses"},
    {"ConsumerGroup", "router-gateway"},
    {"RequestTimeout", "30s"},
    {"LeaseDuration", "5m"},
    {"BatchSize", "10"},
    {"HeartbeatInterval", "10s"}};

constexpr char kDocument[] =
    R"({"openapi":"3.0.3","info":{"title":"t","version":"1"},"paths":{"/listed":{"get":{"responses":{}}}}})";

struct Change {
  std::string key;  // of the Messaging block, in form `file` of both programs; else a whole path
  std::string value;
  Form form = Form::none;
  Environment always;  // what a run without the change has, too
};

std::string variable(std::string path) {
  for (std::size_t at; (at = path.find(':')) != std::string::npos;) path.replace(at, 1, "__");
  return path;
}

std::uint16_t port_in(const std::string& log, const std::string& what) {
  const std::string address = "address=127.0.0.1:";
  const std::size_t at = log.find(address, log.find(what));
  return at == std::string::npos ? 0 : static_cast<std::uint16_t>(std::atoi(log.c_str() + at + address.size()));
}

// An issuer's; its set is in DIRECTORY/keys.json.
const TokenMaker& published_key() {
  static const TokenMaker maker = TokenMaker::ec("one");
  return maker;
}

// A server, a second one that is used only if the configuration says so, a service, and both programs reading one file.
class Stage {
 public:
  explicit Stage(const Change& change) : file_(server_.directory() + "/config.yaml") {
    std::string value = change.value;
    const std::vector<std::pair<std::string, std::string>> places = {{"SERVER", server_.url()},
                                                                     {"SECOND", second_.url()},
                                                                     {"DIRECTORY", server_.directory()},
                                                                     {"SERVICE", service_.url()}};
    Environment environment = change.always;
    for (const auto& [name, text] : places) {
      if (const std::size_t at = value.find(name); at != std::string::npos) value.replace(at, name.size(), text);
      for (auto& [variable, set] : environment) {
        if (const std::size_t at = set.find(name); at != std::string::npos) set.replace(at, name.size(), text);
      }
    }
    service_.set_document(kDocument);
    std::ofstream(server_.directory() + "/keys.json") << published_key().jwks();
    write_file(change.form == Form::file ? change.key : "", value);
    std::vector<std::string> flags;
    if (change.form == Form::environment && change.key.find(':') == std::string::npos) {
      for (const char* section : {"Gateway__Transports__Messaging__", "Sidecar__Messaging__"}) {
        environment.emplace_back(section + change.key, value);
      }
    } else if (change.form == Form::environment) {
      std::erase_if(environment, [&](const auto& each) { return each.first == variable(change.key); });
      environment.emplace_back(variable(change.key), value);
    } else if (change.form == Form::flag) {
      flags = {change.key, value};
    }
    // Each reads its own section and no more than the names of the other's.
    sidecar_ = start(OUTRIGGER_SIDECAR, environment, flags);
    gateway_ = start(OUTRIGGER_GATEWAY, environment, flags);
  }

  // Waits until the service can be reached.
  void wait_for_route(const std::string& target = "/billing/", const Fields& fields = {}) {
    ASSERT_TRUE(gateway_->wait_for_line("gateway listens"));
    port_ = port_in(gateway_->err(), "gateway listens");
    const std::string request = make_request("GET", target, fields);
    ASSERT_TRUE(eventually("200 from " + target, [&] { return ask(port_, request).status == 200; }));
  }

  ValkeyServer& server() { return server_; }
  ValkeyServer& second() { return second_; }
  ScriptedService& service() { return service_; }
  ChildProcess& gateway() { return *gateway_; }
  ChildProcess& sidecar() { return *sidecar_; }
  std::uint16_t port() const { return port_; }

  void hold_requests() {
    service_.set_script([](const RawRequest& request, ScriptedService::Connection& connection) {
      connection.hold();
      ScriptedService::echo(request, connection);
    });
  }
  // A request that is at the service and stays there until release().
  std::unique_ptr<Asking> ask_and_hold(const std::string& method = "POST") {
    hold_requests();
    auto asking = std::make_unique<Asking>(port_, make_request(method, "/billing/held"));
    EXPECT_TRUE(eventually("a request at the service", [this] { return service_.held() > 0; }));
    return asking;
  }

  // The first of the names that exists.
  std::string first_key(std::initializer_list<const char*> names) {
    for (const char* name : names) {
      if (server_.cli({"EXISTS", name}) == "1") return name;
    }
    return "none";
  }
  // What keys of this pattern have in front of the first `:` behind their prefix.
  bool has_key_like(const char* pattern) { return !server_.cli({"KEYS", pattern}).empty(); }
  // The argument behind `name` of the last read of work that brought something, from the server's own record.
  std::string of_reads(const std::string& name) {
    const std::string log = server_.cli({"SLOWLOG", "GET", "-1"});
    const std::size_t at = log.find("XREADGROUP\n");
    const std::size_t word = log.find("\n" + name + "\n", at);
    if (at == std::string::npos || word == std::string::npos) return "none";
    const std::size_t from = word + name.size() + 2;
    return log.substr(from, log.find('\n', from) - from);
  }
  // The number behind `member` in the frames of a stream.
  std::string in_frames(const std::string& stream, const std::string& member) {
    const std::string frames = server_.cli({"XRANGE", stream, "-", "+"});
    const std::size_t at = frames.find("\"" + member + "\":");
    if (at == std::string::npos) return "none";
    const std::size_t from = at + member.size() + 3;
    return frames.substr(from, frames.find_first_of(",}", from) - from);
  }

 private:
  std::unique_ptr<ChildProcess> start(const char* program, const Environment& environment,
                                      const std::vector<std::string>& flags) {
    ChildProcess::Options options;
    options.command = {program, "--config", file_};
    options.command.insert(options.command.end(), flags.begin(), flags.end());
    options.environment = environment;
    return std::make_unique<ChildProcess>(std::move(options));
  }

  void write_file(const std::string& key, const std::string& value) {
    std::ofstream file(file_);
    file << "Gateway:\n  Listen: ['127.0.0.1:0']\n  Workers: 1\n"
            "  Process: { Health: 'off', Admin: 'off', LogFormat: text }\n"
            "  Transports:\n    Messaging: &messaging\n";
    for (const auto& [name, text] : kOriginal) {
      if (key != "valkey:" + name) {
        file << "      " << name << ": '" << (name == key ? value : text == "SERVER" ? server_.url() : text) << "'\n";
      }
    }
    if (key.find("valkey:") == 0) file << "      valkey: { " << key.substr(7) << ": '" << value << "' }\n";
    file << "Sidecar:\n  Service: { Name: billing, Upstream: '" << service_.url() << "' }\n"
         << "  Messaging: *messaging\n  Process: { Health: 'off', Admin: 'off', LogFormat: text }\n";
  }

  // Everything that is said to it is on record.
  ValkeyServer server_{{.arguments = {"--slowlog-log-slower-than", "0", "--slowlog-max-len", "100000"}}};
  ValkeyServer second_;
  ScriptedService service_;
  std::string file_;
  std::unique_ptr<ChildProcess> gateway_;
  std::unique_ptr<ChildProcess> sidecar_;
  std::uint16_t port_ = 0;
};

using See = std::function<std::string(Stage&)>;

struct Case {
  std::string key;
  std::string value;
  See see;
  std::string before;  // what is seen without the change; empty: nothing can be seen of that
  std::string after;
  Environment always = {};
};

const char* name_of(Form form) {
  switch (form) {
    case Form::none:
      return "-";
    case Form::file:
      return "file";
    case Form::environment:
      return "environment";
    case Form::flag:
      return "flag";
  }
  return "";
}

class ConfigEffect : public ::testing::Test {
 protected:
  void SetUp() override { OUTRIGGER_NEEDS_VALKEY(); }
  static void TearDownTestSuite() {
    std::printf("| key | value | given in | without it | with it |\n| --- | --- | --- | --- | --- |\n");
    for (const std::string& row : rows_) std::printf("%s\n", row.c_str());
  }

  static std::string seen(const Case& of, const Change& change) {
    Stage stage(change);
    const std::string what = of.see(stage);
    stage.service().release();
    return what;
  }

  // The change, in each of these forms, is seen; without it something else is.
  static void check(const Case& of, std::initializer_list<Form> forms) {
    SCOPED_TRACE(of.key + "=" + of.value);
    if (!of.before.empty()) {
      ASSERT_NE(of.before, of.after);
      EXPECT_EQ(seen(of, {"", "", Form::none, of.always}), of.before) << "without the change";
    }
    for (const Form form : forms) {
      const std::string what = seen(of, {of.key, of.value, form, of.always});
      EXPECT_EQ(what, of.after) << name_of(form);
      rows_.push_back("| " + of.key + " | " + of.value + " | " + name_of(form) + " | " + of.before + " | " + what +
                      " |");
    }
  }

  static inline std::vector<std::string> rows_;
};

// --- what can be seen -----------------------------------------------------------------------------------------------

std::string server_in_use(Stage& stage) {
  stage.wait_for_route();
  return stage.second().cli({"DBSIZE"}) != "0" ? "the second server has the streams"
                                               : "the first server has the streams";
}

std::string database_in_use(Stage& stage) {
  stage.wait_for_route();
  std::string used;
  for (const char* database : {"db0", "db1"}) {
    if (!stage.server().info("keyspace", database).empty())
      used += used.empty() ? database : std::string(", ") + database;
  }
  return "keys in " + used;
}

std::string request_stream(Stage& stage) {
  stage.wait_for_route();
  for (const char* stream :
       {"work:billing", "router:requests:billing", "router:requests:billing@eu", "router:requests:{billing}"}) {
    const std::string added = stage.server().field({"XINFO", "STREAM", stream}, "entries-added");
    if (!added.empty() && added != "0") return std::string("requests on ") + stream;
  }
  return "none";
}

std::string reply_stream(Stage& stage) {
  stage.wait_for_route();
  return stage.has_key_like("answers:*")            ? "answers on answers:*"
         : stage.has_key_like("router:responses:*") ? "answers on router:responses:*"
                                                    : "none";
}

std::string group(Stage& stage) {
  stage.wait_for_route();
  return "group " + stage.server().field({"XINFO", "GROUPS", "router:requests:billing"}, "name");
}

std::string timeout(Stage& stage) {
  stage.wait_for_route();
  const auto asking = stage.ask_and_hold();
  const std::string deadline = stage.in_frames("router:requests:billing", "deadline_ms");
  const std::string id = stage.server().cli({"XRANGE", "router:requests:billing", "-", "+", "COUNT", "1"});
  if (std::atoll(deadline.c_str()) - std::atoll(id.c_str()) > 10'000) {
    stage.service().release();
    return std::to_string(asking->answer().status) + " after as long as it takes";
  }
  const RawResponse answer = asking->answer();
  EXPECT_GE(asking->took(), 650ms);  // the time of the loop's turn that it counts from may be a little older
  return std::to_string(answer.status) + " " + code_of(answer);
}

std::string renewals(Stage& stage) {
  stage.wait_for_route();
  const auto asking = stage.ask_and_hold();
  // XCLAIM is what renews; XPENDING goes with it, and comes from looks around for what others left.
  EXPECT_TRUE(eventually("signs of life", [&] {
    return stage.server().calls_of("xclaim") >= 2 || stage.server().calls_of("xpending") >= 8;
  }));
  const bool is_renewed = stage.server().calls_of("xclaim") >= 2;
  stage.service().release();
  EXPECT_EQ(asking->answer().status, 200);
  return is_renewed ? "a running request is renewed twice within a few looks" : "no renewal meanwhile";
}

See read_argument(const std::string& name) {
  return [name](Stage& stage) {
    stage.wait_for_route();
    return name + " " + stage.of_reads(name);
  };
}

std::string announced_interval(Stage& stage) {
  stage.wait_for_route();
  return "HELLO says " + stage.in_frames("router:control", "interval_ms") + " ms";
}

See existing(std::initializer_list<const char*> names) {
  return [names = std::vector<const char*>(names)](Stage& stage) -> std::string {
    stage.wait_for_route();
    for (const char* name : names) {
      if (stage.has_key_like(name)) return std::string("key ") + name;
    }
    return "none";
  };
}

See channel(std::initializer_list<const char*> patterns) {
  return [patterns = std::vector<const char*>(patterns)](Stage& stage) -> std::string {
    stage.wait_for_route();
    for (const char* pattern : patterns) {
      if (!stage.server().cli({"PUBSUB", "CHANNELS", pattern}).empty()) return std::string("channel ") + pattern;
    }
    return "none";
  };
}

See status_of(std::string request) {
  return [request = std::move(request)](Stage& stage) {
    stage.wait_for_route();
    const RawResponse answer = ask(stage.port(), request);
    return std::to_string(answer.status) + (answer.status == 200 ? "" : " " + code_of(answer));
  };
}

See said_by_gateway(std::initializer_list<const char*> texts) {
  return [texts = std::vector<const char*>(texts)](Stage& stage) -> std::string {
    stage.wait_for_route();
    for (const char* text : texts) {
      if (stage.gateway().err().find(text) != std::string::npos) return std::string("log: ") + text;
    }
    return "none";
  };
}

// --- the block of the original
// ----------------------------------------------------------------------------------------

TEST_F(ConfigEffect, enabled) {
  for (const Form form : {Form::file, Form::environment}) {
    Stage stage({"Enabled", "false", form, {}});
    for (ChildProcess* program : {&stage.gateway(), &stage.sidecar()}) {
      program->expect_status(1);
      ASSERT_TRUE(program->wait_for_exit());
      EXPECT_NE(program->err().find("messaging is the only transport: there would be nothing to serve"),
                std::string::npos)
          << program->err();
    }
    rows_.push_back(std::string("| Enabled | false | ") + name_of(form) +
                    " | serves | exit 1: messaging is the only transport, there would be nothing to serve |");
  }
}

TEST_F(ConfigEffect, connection_string) {
  const char* first = "the first server has the streams";
  const char* second = "the second server has the streams";
  check({"ConnectionString", "SECOND", server_in_use, first, second}, {Form::file, Form::environment});
  check({"valkey:ConnectionString", "SECOND", server_in_use, "", second}, {Form::file});
  check({"--valkey", "SECOND", server_in_use, "", second}, {Form::flag});
}

TEST_F(ConfigEffect, database) {
  check({"Database", "1", database_in_use, "keys in db0", "keys in db1"}, {Form::file, Form::environment});
  check({"valkey:Database", "1", database_in_use, "", "keys in db1"}, {Form::file});
  check({"--valkey", "SERVER?db=1", database_in_use, "", "keys in db1"}, {Form::flag});
}

TEST_F(ConfigEffect, request_queue_template) {
  check({"RequestQueueTemplate", "work:{service}", request_stream, "requests on router:requests:billing",
         "requests on work:billing"},
        {Form::file, Form::environment});
}

TEST_F(ConfigEffect, response_queue_name) {
  check({"ResponseQueueName", "answers", reply_stream, "answers on router:responses:*", "answers on answers:*"},
        {Form::file, Form::environment});
}

TEST_F(ConfigEffect, consumer_group) {
  check({"ConsumerGroup", "workers", group, "group router-gateway", "group workers"}, {Form::file, Form::environment});
}

TEST_F(ConfigEffect, request_timeout) {
  check({"RequestTimeout", "700ms", timeout, "200 after as long as it takes", "504 timeout"},
        {Form::file, Form::environment});
}

TEST_F(ConfigEffect, lease_duration) {
  check({"LeaseDuration", "600ms", renewals, "no renewal meanwhile",
         "a running request is renewed twice within a few looks"},
        {Form::file, Form::environment});
}

TEST_F(ConfigEffect, batch_size) {
  check({"BatchSize", "3", read_argument("COUNT"), "COUNT 10", "COUNT 3"}, {Form::file, Form::environment});
}

TEST_F(ConfigEffect, heartbeat_interval) {
  check({"HeartbeatInterval", "300ms", announced_interval, "HELLO says 10000 ms", "HELLO says 300 ms"},
        {Form::file, Form::environment});
}

// --- our own keys
// -------------------------------------------------------------------------------------------------------

TEST_F(ConfigEffect, names_at_valkey) {
  const std::vector<Case> cases = {
      {"KeyPrefix", "acme", existing({"acme:control", "router:control"}), "key router:control", "key acme:control"},
      {"ControlQueueName", "hello", existing({"hello", "router:control"}), "key router:control", "key hello"},
      {"InboxQueueTemplate", "post:{service}:{instance}", existing({"post:billing:*", "router:inbox:*"}),
       "key router:inbox:*", "key post:billing:*"},
      {"EndpointsKeyTemplate", "about:{service}:{hash}", existing({"about:billing:*", "router:endpoints:*"}),
       "key router:endpoints:*", "key about:billing:*"},
      {"AliveChannelTemplate", "here:{service}:{instance}", channel({"here:billing:*", "router:alive:*"}),
       "channel router:alive:*", "channel here:billing:*"},
      {"ClusterHashTags", "true", request_stream, "requests on router:requests:billing",
       "requests on router:requests:{billing}"}};
  for (const Case& of : cases) check(of, {Form::environment});
}

TEST_F(ConfigEffect, waking) {
  const auto reads = [](Stage& stage) {
    stage.wait_for_route();
    return "BLOCK " + stage.of_reads("BLOCK") + ", HELLO says " + stage.in_frames("router:control", "wake");
  };
  check({"WakeMode", "notify", reads, "BLOCK 5000, HELLO says \"block\"", "BLOCK none, HELLO says \"notify\""},
        {Form::environment});
  const Environment notified{{"Gateway__Transports__Messaging__WakeMode", "notify"},
                             {"Sidecar__Messaging__WakeMode", "notify"}};
  check({"NotifyChannelTemplate", "bell:{queue}",
         channel({"bell:router:requests:billing", "router:notify:router:requests:billing"}),
         "channel router:notify:router:requests:billing", "channel bell:router:requests:billing", notified},
        {Form::environment});
}

// A request of another incarnation of the bus, or of one whose time is over, put into the queue by hand: it becomes a letter.
void give_up(Stage& stage, int number, const std::string& deadline_ms, const std::string& body_bytes = "1") {
  const std::string head = R"({"id":"000000000000000)" + std::to_string(number) +
                           R"(","method":"POST","target":"/","scheme":"http","headers":[],)"
                           R"("reply_to":"router:responses:00000000000000000000.0.1","deadline_ms":)" +
                           deadline_ms + R"(,"bus":"other/other"})";
  stage.server().cli({"EVAL",
                      "return redis.call('XADD', KEYS[1], '*', 'v', '1', 't', '3', 'h', ARGV[1], 'b', string.rep('x', ARGV[2]))",
                      "1", "router:requests:billing", head, body_bytes});
}
constexpr char kFarAway[] = "4102444800000";  // 2100

TEST_F(ConfigEffect, dead_letters) {
  const auto where = [](Stage& stage) {
    stage.wait_for_route();
    give_up(stage, 1, kFarAway);
    std::string key;
    EXPECT_TRUE(eventually("a letter", [&] {
      key = stage.first_key({"morgue:billing", "router:dead:billing"});
      return key != "none";
    }));
    return "letters in " + key;
  };
  const auto kept = [](const char* body_bytes) {
    return [body_bytes](Stage& stage) {
      stage.wait_for_route();
      for (int i = 1; i <= 3; ++i) give_up(stage, i, kFarAway, body_bytes);
      EXPECT_TRUE(eventually("three letters", [&] {
        return stage.server().field({"XINFO", "STREAM", "router:dead:billing"}, "entries-added") == "3";
      }));
      return stage.server().cli({"XLEN", "router:dead:billing"}) + " of 3 kept";
    };
  };
  const auto expired = [](Stage& stage) {
    stage.wait_for_route();
    give_up(stage, 1, "1");
    EXPECT_TRUE(eventually("it to be dropped", [&] {
      return stage.server().field({"XINFO", "GROUPS", "router:requests:billing"}, "lag") == "0" &&
             stage.server().cli({"XPENDING", "router:requests:billing", "router-gateway"}).starts_with("0");
    }));
    return std::string(stage.first_key({"router:dead:billing"}) == "none" ? "dropped" : "kept");
  };
  check({"DeadQueueTemplate", "morgue:{service}", where, "letters in router:dead:billing", "letters in morgue:billing"},
        {Form::environment});
  check({"Sidecar:Messaging:DeadLetters:MaxCount", "1", kept("1"), "3 of 3 kept", "1 of 3 kept"}, {Form::environment});
  check({"Sidecar:Messaging:DeadLetters:MaxBytes", "1MiB", kept("600000"), "3 of 3 kept", "1 of 3 kept"}, {Form::environment});
  check({"Sidecar:Messaging:DeadLetters:Expired", "true", expired, "dropped", "kept"}, {Form::environment});
}

TEST_F(ConfigEffect, rate_limits) {
  Environment rule;
  for (const auto& [name, value] : {std::pair{"Name", "all"}, {"Scope", "environment"}, {"Limit", "1000"}, {"Window", "1h"}}) {
    rule.emplace_back(std::string("Gateway__RateLimit__Rules__0__") + name, value);
  }
  check({"RateKeyTemplate", "pace:{limit}:{bucket}", existing({"pace:all:*", "router:rate:all:*"}), "key router:rate:all:*",
         "key pace:all:*", rule},
        {Form::environment});
}

TEST_F(ConfigEffect, cancel) {
  const auto client_leaves = [](Stage& stage) {
    stage.wait_for_route();
    stage.hold_requests();
    {
      RawClient client(stage.port());
      client.send(make_request("POST", "/billing/held"));
      EXPECT_TRUE(eventually("a request at the service", [&] { return stage.service().held() > 0; }));
    }
    std::string key;
    EXPECT_TRUE(eventually("what was cancelled", [&] {
      key = stage.first_key({"left:billing", "router:cancelled:billing"});
      return key != "none";
    }));
    return "kept in " + key;
  };
  check({"CancelledSetTemplate", "left:{service}", client_leaves, "kept in router:cancelled:billing", "kept in left:billing"},
        {Form::environment});
  check({"CancelChannelTemplate", "leaves:{service}", channel({"leaves:billing", "router:cancel:billing"}),
         "channel router:cancel:billing", "channel leaves:billing"},
        {Form::environment});
}

TEST_F(ConfigEffect, delivery) {
  check({"valkey:QueueWaitTimeoutSeconds", "1", read_argument("BLOCK"), "BLOCK 5000", "BLOCK 1000"}, {Form::file});
  check({"Sidecar:MaxInFlight", "4", read_argument("COUNT"), "COUNT 10", "COUNT 2"}, {Form::environment});
  const auto attempts = [](Stage& stage) {
    stage.wait_for_route();
    const auto asking = stage.ask_and_hold();
    const std::string most = stage.in_frames("router:requests:billing", "max_attempts");
    stage.service().release();
    return "REQUEST says " + most;
  };
  check({"MaxAttempts", "1", attempts, "REQUEST says 3", "REQUEST says 1"}, {Form::environment});
  const auto second_request = [](Stage& stage) {
    stage.wait_for_route();
    const auto first = stage.ask_and_hold();
    Asking second(stage.port(), make_request("POST", "/billing/second"));
    EXPECT_TRUE(eventually("the second request", [&] { return second.is_answered() || stage.service().held() == 2; }));
    stage.service().release();
    return std::to_string(second.answer().status) + " " + code_of(second.answer());
  };
  check({"MaxQueueDepth", "1", second_request, "200 ", "503 queue-full"}, {Form::environment});
  const auto killed = [](Stage& stage) {
    stage.wait_for_route();
    const auto asking = stage.ask_and_hold();
    ScriptedService twin;
    const Sidecar heir(stage.server(), "billing", twin, {{"Sidecar__Messaging__Redelivery", "always"}});
    stage.sidecar().kill_hard();
    return std::to_string(asking->answer().status) + " " + code_of(asking->answer());
  };
  check({"Redelivery", "always", killed, "", "200 "}, {Form::environment});
}

TEST_F(ConfigEffect, gateway) {
  const std::string many = make_request("GET", "/billing/", Fields(20, {"X-Field", "value"}));
  const std::string long_field = make_request("GET", "/billing/", {{"X-Field", std::string(2000, 'x')}});
  const std::string long_target = make_request("GET", "/billing/" + std::string(500, 'x'));
  const std::string body = make_request("POST", "/billing/", {}, "twelve bytes");
  const auto access_record = [](Stage& stage) {
    stage.wait_for_route();
    EXPECT_TRUE(eventually("a record", [&] { return !stage.gateway().out().empty(); }));
    return std::string("a record begins with ") + stage.gateway().out()[0];
  };
  const auto listens = [](Stage& stage) {
    EXPECT_TRUE(stage.gateway().wait_for_line("gateway listens"));
    const bool is_unix = stage.gateway().err().find("address=unix:") != std::string::npos;
    return std::string(is_unix ? "listens on a unix socket" : "listens on TCP");
  };
  const auto format = [](Stage& stage) {
    EXPECT_TRUE(stage.gateway().wait_for_line("gateway"));
    EXPECT_TRUE(stage.gateway().terminate());
    return std::string(stage.gateway().err().find("\"message\":") == std::string::npos ? "log lines in text"
                                                                                       : "log lines in JSON");
  };
  const std::vector<Case> cases = {
      {"Gateway:Listen:0", "unix:DIRECTORY/gateway.sock", listens, "listens on TCP", "listens on a unix socket"},
      {"Gateway:Workers", "2", said_by_gateway({"workers=1", "workers=2"}), "log: workers=1", "log: workers=2"},
      {"Gateway:Node:Name", "east-1", said_by_gateway({"outrigger-gateway@east-1: ", "outrigger-gateway: "}),
       "log: outrigger-gateway: ", "log: outrigger-gateway@east-1: "},
      {"Gateway:Node:Region",
       "eu",
       request_stream,
       "requests on router:requests:billing",
       "requests on router:requests:billing@eu",
       {{"Sidecar__Service__Region", "eu"}}},
      {"Gateway:Limits:BodyBytes", "5", status_of(body), "200", "413 body-too-large"},
      {"Gateway:Limits:HeaderBytes", "1KiB", status_of(long_field), "200", "431 headers-too-large"},
      {"Gateway:Limits:HeaderCount", "10", status_of(many), "200", "431 headers-too-large"},
      {"Gateway:Limits:TargetBytes", "256", status_of(long_target), "200", "414 uri-too-long"},
      {"Gateway:AccessLog", "text", access_record, "a record begins with {", "a record begins with ["},
      {"Gateway:Process:LogFormat", "json", format, "log lines in text", "log lines in JSON"},
      {"Gateway:Process:Health", "127.0.0.1:0", said_by_gateway({"health listener is open", "gateway listens"}),
       "log: gateway listens", "log: health listener is open"}};
  for (const Case& of : cases) check(of, {Form::environment});
}

// --- identity, rate limits, proxies ---------------------------------------------------------------------------------

constexpr char kSecret[] = "shared-secret-of-the-tests-0123456789abcdef";
const Environment kTrusting = {{"Gateway__Auth__Issuers__0__Issuer", "https://id.test"},
                               {"Gateway__Auth__Issuers__0__Audiences", "orders"},
                               {"Gateway__Auth__Issuers__0__Secret", kSecret},
                               {"Gateway__Auth__Issuers__0__Algorithms", "HS256"}};
const Environment kSigning = {{"Gateway__Auth__Envelope__Keys__0__Id", "k1"},
                              {"Gateway__Auth__Envelope__Keys__0__Secret", kSecret}};

Environment operator+(Environment environment, const Environment& more) {
  environment.insert(environment.end(), more.begin(), more.end());
  return environment;
}

// A token of the one issuer; `more` members with a comma before.
std::string token(const std::string& more = {}, const std::string& audience = "orders") {
  return TokenMaker::secret(kSecret).token(R"({"iss":"https://id.test","aud":")" + audience +
                                           R"(","exp":4102444800,"sub":"ann")" + more + "}");
}
Fields bearer(const std::string& token) {
  return {{"Authorization", "Bearer " + token}};
}

// What the service is told in field `name`.
See told(const std::string& name, const Fields& fields) {
  return [name, fields](Stage& stage) {
    stage.wait_for_route();
    EXPECT_EQ(ask(stage.port(), make_request("GET", "/billing/seen", fields)).status, 200);
    return name + ": " + stage.service().last_request().field(name);
  };
}
// The status of a request with these fields, once there is a route for those with `waiting`.
See answered(const Fields& fields, const Fields& waiting = {}, const std::string& route = "/billing/") {
  return [fields, waiting, route](Stage& stage) {
    stage.wait_for_route(route, waiting);
    const RawResponse answer = ask(stage.port(), make_request("GET", "/billing/seen", fields));
    return std::to_string(answer.status) + (answer.status == 200 ? "" : " " + code_of(answer));
  };
}

TEST_F(ConfigEffect, identity) {
  const Fields ann = bearer(token());
  const Fields scoped = {{"Authorization", "Bearer " + token(R"(,"scope":"a b")")}, {"X-StellaOps-Scopes", "a"}};
  const Fields elsewhere = {
      {"Authorization", "Bearer " + token(R"(,"tid":"acme","stellaops:allowed_tenants":"globex","others":"globex")")},
      {"X-StellaOps-Tenant", "globex"}};
  const Fields rich =
      bearer(token(R"(,"org":"acme","tid":"no","team":"apollo","email":"ann@acme","permissions":"all")"));
  const Fields cookie = {{"Cookie", "a=1"}};
  const auto soon = [](Stage& stage) {
    stage.wait_for_route();
    const auto now = std::chrono::duration_cast<std::chrono::seconds>(base::system_clock().wall()).count();
    const Fields fields = bearer(token(",\"nbf\":" + std::to_string(now + 45)));
    return std::to_string(ask(stage.port(), make_request("GET", "/billing/", fields)).status);
  };
  const auto cached = [](Stage& stage) {
    stage.wait_for_route();
    for (int i = 0; i < 4; ++i) {
      const Fields one_of_two = bearer(token(",\"n\":" + std::to_string(i % 2)));
      EXPECT_EQ(ask(stage.port(), make_request("GET", "/billing/", one_of_two)).status, 200);
    }
    const std::uint16_t health = port_in(stage.gateway().err(), "health listener is open");
    return metric(health, "outrigger_authentications_total{result=\"cached\"}") + " of 4 found";
  };
  const auto lifetime = [](Stage& stage) {
    stage.wait_for_route();
    const RawRequest request = stage.service().last_request();
    const auto at = [&](const char* end) {
      return std::atoll(request.field("X-StellaOps-Identity-Envelope" + std::string(end)).c_str());
    };
    return std::to_string(at("-Exp") - at("-Iat")) + " s";
  };
  const auto signer = [](Stage& stage) {
    stage.wait_for_route();
    const auto text = identity::decode_base64url(stage.service().last_request().field("X-StellaOps-Identity-Envelope"));
    return text ? text->substr(0, text->find(',')) : std::string("none");
  };
  const std::string no_one = "401 unauthenticated";
  const std::vector<Case> cases = {
      {"Gateway:Auth:Mode", "passthrough", answered(bearer("a.b.c")), no_one, "200", kTrusting},
      {"Gateway:Auth:AllowAnonymous", "false", answered({}, ann), "200", no_one, kTrusting},
      {"Gateway:Auth:EnableLegacyHeaders", "false", told("X-Stella-Actor", ann), "X-Stella-Actor: ann",
       "X-Stella-Actor: ", kTrusting},
      {"Gateway:Auth:AllowScopeHeader", "true", answered(scoped), "403 forbidden", "200", kTrusting},
      {"Gateway:Auth:EnableTenantOverride", "true", told("X-StellaOps-Tenant", elsewhere), "X-StellaOps-Tenant: acme",
       "X-StellaOps-Tenant: globex", kTrusting},
      {"Gateway:Auth:DenyByDefault", "true", answered(ann, {}, "/billing/open/"), "200", "403 forbidden",
       kTrusting + Environment{{"Gateway__Auth__Rules__0__Service", "billing"},
                               {"Gateway__Auth__Rules__0__Path", "/open/*"},
                               {"Gateway__Auth__Rules__0__Mode", "override"},
                               {"Gateway__Auth__Rules__0__AllowAnonymous", "true"}}},
      {"Gateway:Auth:HeaderPrefix", "X-Acme-", told("X-Acme-Actor", ann), "X-Acme-Actor: ", "X-Acme-Actor: ann",
       kTrusting},
      {"Gateway:Auth:LegacyHeaderPrefix", "X-Old-", told("X-Old-Actor", ann), "X-Old-Actor: ", "X-Old-Actor: ann",
       kTrusting},
      {"Gateway:Auth:ReservedPrefixes", "X-Acme-", told("X-Acme-Role", {{"x_acme_role", "1"}, {"X-Acme-Role", "1"}}),
       "X-Acme-Role: 1", "X-Acme-Role: "},
      {"Gateway:Auth:ReservedNames", "X-Role", told("X-Role", {{"X-Role", "1"}}), "X-Role: 1", "X-Role: "},
      {"Gateway:Auth:Claims:Tenant", "org", told("X-StellaOps-Tenant", rich), "X-StellaOps-Tenant: no",
       "X-StellaOps-Tenant: acme", kTrusting},
      {"Gateway:Auth:Claims:Project", "team", told("X-StellaOps-Project", rich),
       "X-StellaOps-Project: ", "X-StellaOps-Project: apollo", kTrusting},
      {"Gateway:Auth:Claims:Actor", "email", told("X-StellaOps-Actor", rich), "X-StellaOps-Actor: ann",
       "X-StellaOps-Actor: ann@acme", kTrusting},
      {"Gateway:Auth:Claims:Scopes", "permissions", told("X-StellaOps-Scopes", rich),
       "X-StellaOps-Scopes: ", "X-StellaOps-Scopes: all", kTrusting},
      {"Gateway:Auth:Claims:AllowedTenants", "none", answered(elsewhere), "200", "403 forbidden",
       kTrusting + Environment{{"Gateway__Auth__EnableTenantOverride", "true"}}},
      {"Gateway:Auth:CachedTokens", "1", cached, "2 of 4 found", "0 of 4 found",
       kTrusting + Environment{{"Gateway__Process__Health", "127.0.0.1:0"}}},
      {"Gateway:Auth:ForwardAuthorization", "never", told("Authorization", {{"Authorization", "Basic YTpi"}}),
       "Authorization: Basic YTpi", "Authorization: "},
      {"Gateway:Auth:ForwardCookie", "never", told("Cookie", cookie), "Cookie: a=1", "Cookie: "},
      {"Gateway:Auth:Services:0:ForwardAuthorization",
       "never",
       told("Authorization", {{"Authorization", "Basic YTpi"}}),
       "Authorization: Basic YTpi",
       "Authorization: ",
       {{"Gateway__Auth__Services__0__Service", "billing"}}},
      {"Gateway:Auth:Services:0:ForwardCookie",
       "never",
       told("Cookie", cookie),
       "Cookie: a=1",
       "Cookie: ",
       {{"Gateway__Auth__Services__0__Service", "billing"}}},
      {"Gateway:Auth:Issuers:0:Issuer", "https://other.test", answered(ann), "200", no_one, kTrusting},
      {"Gateway:Auth:Issuers:0:Audiences", "billing", answered(bearer(token({}, "billing"))), no_one, "200", kTrusting},
      {"Gateway:Auth:Issuers:0:Secret", std::string(kSecret) + "x", answered(ann), "200", no_one, kTrusting},
      {"Gateway:Auth:Issuers:0:ClockSkew", "60s", soon, "401", "200", kTrusting},
      {"Gateway:Auth:Rules:0:Scopes", "admin", answered(ann, bearer(token(R"(,"scope":"admin")"))), "200",
       "403 forbidden", kTrusting},
      {"Gateway:Auth:Envelope:Lifetime", "2m", lifetime, "60 s", "120 s", kSigning},
      {"Gateway:Auth:Envelope:Issuer", "east", signer, R"({"iss":"outrigger")", R"({"iss":"east")", kSigning},
      {"Gateway:Auth:Envelope:Keys:0:Id", "k2", told("X-StellaOps-Identity-Envelope-Kid", {}),
       "X-StellaOps-Identity-Envelope-Kid: k1", "X-StellaOps-Identity-Envelope-Kid: k2", kSigning}};
  for (const Case& of : cases) check(of, {Form::environment});
}

TEST_F(ConfigEffect, sources_of_keys) {
  const Environment issuer = {{"Gateway__Auth__Issuers__0__Issuer", "http://id.test"},
                              {"Gateway__Auth__Issuers__0__Audiences", "orders"}};
  // The service is the issuer, too, from the gateway's second try on.
  const auto publish = [](Stage& stage) {
    stage.service().set_script(
        [url = stage.service().url()](const RawRequest& request, ScriptedService::Connection& connection) {
          if (request.target == "/keys") return connection.send(make_response("200 OK", {}, published_key().jwks()));
          if (request.target == "/about") {
            const std::string about = R"({"issuer":"http://id.test","jwks_uri":")" + url + R"(/keys"})";
            return connection.send(make_response("200 OK", {}, about));
          }
          ScriptedService::echo(request, connection);
        });
  };
  const auto believed = [publish](Stage& stage) -> std::string {
    publish(stage);
    const std::string token =
        published_key().token(R"({"iss":"http://id.test","aud":"orders","exp":4102444800,"sub":"ann"})");
    stage.wait_for_route("/billing/", bearer(token));
    return stage.service().last_request().field("X-StellaOps-Actor");
  };
  const auto fetched_again = [believed](Stage& stage) {
    EXPECT_EQ(believed(stage), "ann");
    stage.service().forget_requests();
    EXPECT_TRUE(eventually("the next fetch", [&] {
      const auto requests = stage.service().requests();
      return std::any_of(requests.begin(), requests.end(), [](const auto& each) { return each.target == "/keys"; });
    }));
    return std::string("fetched again within seconds");
  };
  const std::string path = "Gateway:Auth:Issuers:0:";
  check({path + "JwksFile", "DIRECTORY/keys.json", believed, "", "ann", issuer}, {Form::environment});
  check({path + "JwksUrl", "SERVICE/keys", believed, "", "ann", issuer}, {Form::environment});
  check({path + "DiscoveryUrl", "SERVICE/about", believed, "", "ann", issuer}, {Form::environment});
  check({"Gateway:Auth:KeyRefreshInterval", "10s", fetched_again, "", "fetched again within seconds",
         issuer + Environment{{"Gateway__Auth__Issuers__0__JwksUrl", "SERVICE/keys"}}},
        {Form::environment});
}

TEST_F(ConfigEffect, rate_limit_rules) {
  const Fields ann = bearer(token(R"(,"tid":"acme")"));
  // Two a day, for ann's tenant alone: what waits for the route uses none of them.
  const std::string rule = "Gateway__RateLimit__Rules__0__";
  const Environment two_a_day =
      kTrusting +
      Environment{{rule + "Name", "two"}, {rule + "Tenant", "acme"}, {rule + "Limit", "2"}, {rule + "Window", "48h"}};
  const auto verdicts = [ann](Stage& stage) {
    stage.wait_for_route();
    std::string all;
    for (const char* target : {"/billing/listed", "/billing/a", "/billing/b"}) {
      all += (all.empty() ? "" : " ") + std::to_string(ask(stage.port(), make_request("GET", target, ann)).status);
    }
    return all;
  };
  const auto reset = [ann](Stage& stage) {
    stage.wait_for_route();
    const RawResponse answer = ask(stage.port(), make_request("GET", "/billing/", ann));
    return "all there again in " +
           std::to_string((std::atoi(answer.header("X-RateLimit-Reset").c_str()) + 1800) / 3600) + " h";
  };
  const auto counted = [ann](Stage& stage) {
    stage.wait_for_route();
    EXPECT_EQ(ask(stage.port(), make_request("GET", "/billing/", ann)).status, 200);
    return std::string(stage.has_key_like("router:rate:*") ? "counted at Valkey" : "counted in memory");
  };
  // One that comes while Valkey says nothing, and is one too many.
  const auto silence = [ann](Stage& stage) {
    stage.wait_for_route();
    for (int i = 0; i < 2; ++i) EXPECT_EQ(ask(stage.port(), make_request("GET", "/billing/", ann)).status, 200);
    stage.server().suspend();
    Asking third(stage.port(), make_request("GET", "/billing/", ann));
    const Stopwatch watch;
    EXPECT_TRUE(eventually("half a second", [&] { return watch.elapsed() > 500ms; }));
    stage.server().resume();
    return std::to_string(third.answer().status);
  };
  const std::vector<Case> cases = {
      {"Gateway:RateLimit:Timeout", "10s", silence, "200", "429",
       two_a_day + Environment{{rule + "Scope", "environment"}}},
      {"Gateway:RateLimit:Rules:0:Scope", "environment", counted, "counted in memory", "counted at Valkey", two_a_day},
      {"Gateway:RateLimit:Rules:0:Per", "route", verdicts, "200 200 429", "200 200 200", two_a_day},
      {"Gateway:RateLimit:Rules:0:Service", "orders", verdicts, "200 200 429", "200 200 200", two_a_day},
      {"Gateway:RateLimit:Rules:0:Route", "/billing/listed", verdicts, "200 200 429", "200 200 200", two_a_day},
      {"Gateway:RateLimit:Rules:0:Tenant", "globex", verdicts, "200 200 429", "200 200 200", two_a_day},
      {"Gateway:RateLimit:Rules:0:Limit", "1", verdicts, "200 200 429", "200 429 429", two_a_day},
      {"Gateway:RateLimit:Rules:0:Burst", "1", verdicts, "200 200 429", "200 429 429", two_a_day},
      {"Gateway:RateLimit:Rules:0:Window", "24h", reset, "all there again in 24 h", "all there again in 12 h",
       two_a_day}};
  for (const Case& of : cases) check(of, {Form::environment});
}

TEST_F(ConfigEffect, trusted_proxies) {
  check({"Gateway:TrustedProxies", "127.0.0.1", told("X-Forwarded-For", {{"X-Forwarded-For", "203.0.113.9"}}),
         "X-Forwarded-For: 127.0.0.1", "X-Forwarded-For: 203.0.113.9, 127.0.0.1"},
        {Form::environment});
}

TEST_F(ConfigEffect, sidecar) {
  const auto unlisted = [](Stage& stage) {
    stage.wait_for_route("/billing/listed");
    const RawResponse answer = get(stage.port(), "/billing/unlisted");
    return std::to_string(answer.status) + " " + code_of(answer);
  };
  const auto mounted = [](Stage& stage) {
    EXPECT_TRUE(stage.gateway().wait_for_line("gateway listens"));
    std::string found;
    EXPECT_TRUE(eventually("a route", [&] {
      const std::uint16_t port = port_in(stage.gateway().err(), "gateway listens");
      for (const char* target : {"/pay/", "/orders/", "/billing/"}) {
        if (get(port, target).status == 200) found = target;
      }
      return !found.empty();
    }));
    return "200 at " + found;
  };
  const auto asked_for_health = [](Stage& stage) {
    EXPECT_TRUE(eventually("a question", [&] { return stage.service().was_asked_for("/up"); }));
    return std::string("the service is asked for /up");
  };
  const auto asked_for_document = [](Stage& stage) {
    stage.wait_for_route();
    return std::string(stage.service().was_asked_for("/api.json") ? "the service is asked for /api.json"
                                                                  : "the service is asked for the usual paths");
  };
  const auto drained = [](Stage& stage) {
    stage.wait_for_route();
    const auto asking = stage.ask_and_hold("GET");
    EXPECT_TRUE(stage.sidecar().terminate());
    const bool was_cut = stage.sidecar().err().find("the drain time is over") != std::string::npos;
    stage.gateway().kill_hard();  // nobody is left to answer: the client need not wait for its deadline
    return std::string(was_cut ? "log: the drain time is over" : "it waited");
  };
  // What a POST to `target` says of itself on its way.
  const auto marked = [](const char* target, Fields fields) {
    return [target, fields](Stage& stage) {
      stage.wait_for_route();
      stage.hold_requests();
      Asking asking(stage.port(), make_request("POST", target, fields, "x"));
      EXPECT_TRUE(eventually("a request at the service", [&] { return stage.service().held() > 0; }));
      const std::string frames = stage.server().cli({"XRANGE", "router:requests:billing", "-", "+"});
      const std::size_t post = frames.find("\"method\":\"POST\"");
      EXPECT_NE(post, std::string::npos);
      const bool is_marked = frames.substr(post, frames.find('\n', post) - post).find("\"repeatable\":true") != std::string::npos;
      stage.service().release();
      return std::string("\"repeatable\":true: ") + (is_marked ? "yes" : "no");
    };
  };
  const auto lines = [](Stage& stage) {
    stage.wait_for_route();
    EXPECT_TRUE(stage.sidecar().terminate());
    return std::string(stage.sidecar().err().find(" info ") == std::string::npos ? "no line of level info"
                                                                                 : "lines of level info");
  };
  const std::vector<Case> cases = {
      {"Sidecar:Service:Version", "2.0", existing({"router:requests:billing:2.0", "router:requests:billing:1.0.0"}),
       "key router:requests:billing:1.0.0", "key router:requests:billing:2.0"},
      {"Sidecar:Service:Region", "eu", existing({"router:requests:billing@eu", "router:requests:billing"}),
       "key router:requests:billing", "key router:requests:billing@eu"},
      {"Sidecar:Service:Name", "orders", mounted, "200 at /billing/", "200 at /orders/"},
      {"Sidecar:Service:Mount", "/pay", mounted, "200 at /billing/", "200 at /pay/"},
      {"Sidecar:Service:UnlistedPaths", "refuse", unlisted, "200 ", "404 no-route"},
      {"Sidecar:Service:Repeatable__0", "POST /again", marked("/billing/again", {}), "\"repeatable\":true: no",
       "\"repeatable\":true: yes"},
      {"Sidecar:Service:IdempotencyKey", "true", marked("/billing/pay", {{"Idempotency-Key", "k1"}}),
       "\"repeatable\":true: no", "\"repeatable\":true: yes"},
      {"Sidecar:Service:HealthPath", "/up", asked_for_health, "", "the service is asked for /up"},
      {"Sidecar:Service:OpenApiPath", "/api.json", asked_for_document, "the service is asked for the usual paths",
       "the service is asked for /api.json"},
      {"Sidecar:Process:DrainTime", "300ms", drained, "", "log: the drain time is over"},
      {"Sidecar:Process:LogLevel", "warn", lines, "lines of level info", "no line of level info"}};
  for (const Case& of : cases) check(of, {Form::environment});
}

}  // namespace
}  // namespace outrigger::tests
