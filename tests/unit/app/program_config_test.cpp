#include <filesystem>
#include <fstream>
#include <sstream>

#include "gateway-edge/gateway_command.h"
#include "sidecar/sidecar_command.h"

// Both programs from arguments, environment and file to their structures.
namespace outrigger {
namespace {

using namespace std::chrono_literals;
using app::Environment;
using app::ExitNow;
using gateway::GatewayConfig;
using sidecar::SidecarConfig;
using testing::HasSubstr;

// The gateway's file of the system whose names we keep.
constexpr const char* kOriginalFile = R"yaml(
Gateway:
  Transports:
    Messaging:
      Enabled: true
      ConnectionString: "valkey:6379"
      Database: 0
      RequestQueueTemplate: "router:requests:{service}"
      ResponseQueueName: "router:responses"
      ConsumerGroup: "router-gateway"
      RequestTimeout: "30s"
      LeaseDuration: "5m"
      BatchSize: 10
      HeartbeatInterval: "10s"
)yaml";

// One file for both programs.
constexpr const char* kSharedFile = R"yaml(
Gateway:
  Listen: ["0.0.0.0:8080"]
  Workers: 0                      # 0 = one per core
  Node: { Name: "", Region: "" }
  Transports:
    Messaging: &messaging         # the block of MISSION.md; the same block serves the sidecar
      Enabled: true               # false with nothing else to serve: an error that says so
      Transport: valkey           # any other value is an error that lists the allowed ones
      ConnectionString: "valkey:6379"
      Database: 0
      valkey: {}                  # nested ConnectionString, Database, QueueWaitTimeoutSeconds of the original are accepted, too
      RequestQueueTemplate: "router:requests:{service}"   # `:{version}` and `@{region}` are appended to what it expands to
      ResponseQueueName: "router:responses"               # prefix of the reply streams
      ConsumerGroup: "router-gateway"                     # the group on every request queue, announced in HELLO
      RequestTimeout: "30s"       # a route's own value wins
      LeaseDuration: "15s"        # documented example 5m is honoured
      BatchSize: 0                # caps COUNT; 0 = free slots
      HeartbeatInterval: "10s"    # announced in frames; thresholds follow the announced one
      KeyPrefix: "router"         # each name of PROTOCOL.md is also a key of its own: ControlQueueName, DeadQueueTemplate, ...
      WakeMode: block             # or notify
      ClusterHashTags: false
      MaxQueueDepth: 10000
      Redelivery: safe            # or always (plain at-least-once)
      MaxAttempts: 3
  Auth: { AllowAnonymous: true, EnableLegacyHeaders: true, AllowScopeHeader: false, EnableTenantOverride: false }
  Limits: { BodyBytes: 8MiB, HeaderBytes: 64KiB, HeaderCount: 200, TargetBytes: 16KiB }
Sidecar:
  Service: { Name: billing, Version: "1.0.0", Region: "", Upstream: "http://127.0.0.1:8080", Mount: "/billing",
             HealthPath: "", OpenApiPath: "", UnlistedPaths: forward, RewriteLocation: true }
  MaxInFlight: 64
  Messaging: *messaging
  Egress: { Listen: "" }
)yaml";

using Arguments = std::vector<const char*>;

std::variant<GatewayConfig, ExitNow> gateway_from(Arguments arguments, const std::string& file = "",
                                                  const Environment& environment = {}) {
  arguments.insert(arguments.begin(), {"outrigger-gateway", "-c", "-"});
  std::istringstream input(file);
  return gateway::load_gateway(static_cast<int>(arguments.size()), arguments.data(), environment, input);
}

std::variant<SidecarConfig, ExitNow> sidecar_from(Arguments arguments, const std::string& file = "",
                                                  const Environment& environment = {}) {
  arguments.insert(arguments.begin(), {"outrigger-sidecar", "-c", "-"});
  std::istringstream input(file);
  return sidecar::load_sidecar(static_cast<int>(arguments.size()), arguments.data(), environment, input);
}

template <class Config>
Config config_in(const std::variant<Config, ExitNow>& loaded) {
  const ExitNow* exit = std::get_if<ExitNow>(&loaded);
  EXPECT_EQ(exit, nullptr) << exit->err;
  return exit == nullptr ? std::get<Config>(loaded) : Config{};
}

template <class Config>
ExitNow exit_in(const std::variant<Config, ExitNow>& loaded) {
  const ExitNow* exit = std::get_if<ExitNow>(&loaded);
  EXPECT_NE(exit, nullptr);
  return exit == nullptr ? ExitNow{} : *exit;
}

// Service and upstream, without which no sidecar starts.
const Arguments kBilling{"--service", "billing", "--upstream", "http://127.0.0.1:3000"};

Arguments billing_and(const Arguments& more) {
  Arguments all = kBilling;
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::string messaging_error(const std::string& line) {
  const ExitNow exit = exit_in(gateway_from({}, "Gateway:\n  Transports:\n    Messaging:\n      " + line + "\n"));
  EXPECT_EQ(exit.code, 1);
  return exit.err;
}

std::string service_error(const std::string& line) {
  return exit_in(sidecar_from({"--mode", "validate"}, "Sidecar:\n  Service:\n    " + line + "\n")).err;
}

// What --mode show printed, without the comments that say where values came from.
std::string without_origins(const std::string& shown) {
  std::string values;
  std::istringstream lines(shown);
  for (std::string line; std::getline(lines, line);) values += line.substr(0, line.find("  # ")) + "\n";
  return values;
}

TEST(GatewayConfig, original_file_is_accepted_as_written) {
  // config/original.yaml is the same block.
  std::ifstream in(OUTRIGGER_SOURCE_DIR "/config/original.yaml");
  const std::string sample(std::istreambuf_iterator<char>(in), {});
  std::istringstream lines(kOriginalFile);
  for (std::string line; std::getline(lines, line);) {
    if (line == "    Messaging:") continue;  // it has an anchor there
    EXPECT_THAT(sample, HasSubstr(line + "\n"));
  }
  const GatewayConfig config = config_in(gateway_from({}, kOriginalFile));

  EXPECT_EQ(config.messaging.valkey.host, "valkey");
  EXPECT_EQ(config.messaging.valkey.port, 6379);
  EXPECT_EQ(config.messaging.names.request_queue_template, "router:requests:{service}");
  EXPECT_EQ(config.messaging.names.response_prefix, "router:responses");
  EXPECT_EQ(config.messaging.names.consumer_group, "router-gateway");
  EXPECT_EQ(config.messaging.request_timeout, 30s);
  EXPECT_EQ(config.messaging.lease_duration, 5min);
  EXPECT_EQ(config.messaging.batch_size, 10);
  EXPECT_EQ(config.messaging.heartbeat_interval, 10s);
}

TEST(GatewayConfig, shared_file_is_accepted_as_written) {
  const GatewayConfig config = config_in(gateway_from({}, kSharedFile));

  EXPECT_EQ(app::to_string(config.listen.at(0)), "0.0.0.0:8080");
  EXPECT_EQ(config.messaging.lease_duration, 15s);
  EXPECT_EQ(config.messaging.max_queue_depth, 10000U);
  EXPECT_EQ(config.messaging.max_attempts, 3);
  EXPECT_TRUE(config.auth.enable_legacy_headers);
  EXPECT_FALSE(config.auth.allow_scope_header);
  EXPECT_EQ(config.limits.body_bytes, 8U << 20);
  EXPECT_EQ(config.limits.header_count, 200U);
}

TEST(SidecarConfig, shared_file_is_accepted_as_written) {
  const SidecarConfig config = config_in(sidecar_from({}, kSharedFile));

  EXPECT_EQ(config.service.name, "billing");
  EXPECT_EQ(config.service.version, "1.0.0");
  EXPECT_EQ(config.service.upstream.host, "127.0.0.1");
  EXPECT_EQ(config.service.upstream.port, 8080);
  EXPECT_EQ(config.service.mount, "/billing");
  EXPECT_EQ(config.service.unlisted_paths, sidecar::UnlistedPaths::forward);
  EXPECT_EQ(config.max_in_flight, 64);
  EXPECT_EQ(config.messaging.names.key_prefix, "router");
  EXPECT_FALSE(config.egress_listen.has_value());
  EXPECT_EQ(app::to_string(*config.process.admin), "unix:/run/outrigger/billing.sock");
}

TEST(ProgramConfig, annotated_sample_shows_the_defaults) {
  const std::string sample_path = std::string(OUTRIGGER_SOURCE_DIR) + "/config/outrigger.yaml";
  std::ifstream sample(sample_path);
  const std::string text(std::istreambuf_iterator<char>(sample), {});
  ASSERT_FALSE(text.empty());

  EXPECT_EQ(exit_in(gateway_from({"--mode", "validate"}, text)).out, "configuration OK\n");
  EXPECT_EQ(exit_in(sidecar_from({"--mode", "validate"}, text)).out, "configuration OK\n");
  EXPECT_EQ(without_origins(exit_in(gateway_from({"--mode", "show"}, text)).out),
            without_origins(exit_in(gateway_from({"--mode", "show"})).out));
  EXPECT_EQ(without_origins(exit_in(sidecar_from({"--mode", "show"}, text)).out),
            without_origins(exit_in(sidecar_from(billing_and({"--mode", "show"}))).out));
}

TEST(ProgramConfig, every_sample_is_read_by_the_programs_it_is_for) {
  std::size_t samples = 0;
  for (const auto& entry : std::filesystem::directory_iterator(OUTRIGGER_SOURCE_DIR "/config")) {
    if (entry.path().extension() != ".yaml") continue;
    ++samples;
    std::ifstream in(entry.path());
    const std::string text(std::istreambuf_iterator<char>(in), {});
    const bool has_service = text.find("\n  Service:") != std::string::npos;
    const ExitNow of_gateway = exit_in(gateway_from({"--mode", "validate"}, text));
    const ExitNow of_sidecar = exit_in(
        sidecar_from(has_service ? Arguments{"--mode", "validate"} : billing_and({"--mode", "validate"}), text));
    for (const ExitNow& exit : {of_gateway, of_sidecar}) {
      EXPECT_EQ(exit.code, 0) << entry.path();
      EXPECT_EQ(exit.out, "configuration OK\n") << entry.path();
      EXPECT_EQ(exit.err, "") << entry.path();
    }
  }
  EXPECT_GE(samples, 4U);
}

TEST(ProgramConfig, annotated_sample_has_every_key) {
  std::ifstream sample(std::string(OUTRIGGER_SOURCE_DIR) + "/config/outrigger.yaml");
  const std::string text(std::istreambuf_iterator<char>(sample), {});
  GatewayConfig gateway_config;
  SidecarConfig sidecar_config;
  app::ConfigTable table;
  gateway::declare_gateway(table, gateway_config);
  sidecar::declare_sidecar(table, sidecar_config);
  for (const app::ConfigKey& key : table.keys()) {
    EXPECT_THAT(text, HasSubstr(" " + key.path.substr(key.path.rfind(':') + 1) + ":")) << key.path;
    EXPECT_NE(key.help, "") << key.path;
  }
}

TEST(ProgramConfig, generated_documents_say_what_the_programs_say) {
  const auto content = [](const std::string& file) {
    std::ifstream in(OUTRIGGER_SOURCE_DIR "/" + file);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  constexpr const char* kAdvice = "differs from the table of keys; run scripts/generate";
  // Equality alone: gtest's account of a difference in documents of this size takes longer than anyone reads.
  const ExitNow schema = exit_in(gateway_from({"--mode", "schema"}));
  EXPECT_EQ(schema.code, 0);
  EXPECT_TRUE(content("config/outrigger.schema.json") == schema.out) << "config/outrigger.schema.json " << kAdvice;

  const std::string page = content("docs/configuration.md");
  const std::string marker = "<!-- generated -->\n\n";
  ASSERT_NE(page.find(marker), std::string::npos);
  const ExitNow reference = exit_in(gateway_from({"--mode", "reference"}));
  EXPECT_EQ(reference.code, 0);
  EXPECT_TRUE(page.substr(page.find(marker) + marker.size()) == reference.out) << "docs/configuration.md " << kAdvice;

  // Either program says the same, whatever it is given beside.
  EXPECT_TRUE(exit_in(sidecar_from({"--mode", "schema"}, "Sidecar: broken")).out == schema.out);
  EXPECT_TRUE(exit_in(sidecar_from({"--mode", "reference", "--region", "eu"})).out == reference.out);
}

TEST(ProgramConfig, schema_and_reference_show_every_key_of_the_table) {
  const std::string schema = exit_in(gateway_from({"--mode", "schema"})).out;
  for (const char* part : {"\"$schema\": \"https://json-schema.org/draft/2020-12/schema\"",
                           "\"additionalProperties\": false", "\"ConnectionStringFile\"", "\"QueueWaitTimeoutSeconds\"",
                           "\"default\": \"8MiB\"", "\"default\": 10000", "\"default\": true"}) {
    EXPECT_THAT(schema, HasSubstr(part));
  }
  const std::string reference = exit_in(gateway_from({"--mode", "reference"})).out;
  for (const char* part :
       {"### Gateway:Limits\n", "### Sidecar:Messaging\n",
        "| **HeaderCount**<br>`Gateway__Limits__HeaderCount` | 1 to 2000 | `200` | Most header fields",
        "<br>`--listen ADDR` | list of addresses | `0.0.0.0:8080` |", "| `safe`, `always` | `safe` |",
        "`ConnectionStringFile` names a file with it"}) {
    EXPECT_THAT(reference, HasSubstr(part));
  }
}

TEST(ProgramConfig, unknown_names_in_the_other_programs_section_are_errors) {
  EXPECT_EQ(exit_in(gateway_from({}, "Sidecar: { Servce: {} }")).err,
            "standard input:1:12: unknown key 'Sidecar:Servce'; did you mean 'Service'?\n");
  EXPECT_EQ(exit_in(sidecar_from(kBilling, "Gateway: { Worker: 1 }")).err,
            "standard input:1:12: unknown key 'Gateway:Worker'; did you mean 'Workers'?\n");
  config_in(gateway_from({}, "Sidecar: { MaxInFlight: many }"));
  config_in(sidecar_from(kBilling, "Gateway: { Workers: many }", {{"Gateway__Listen__1", "x"}}));
}

TEST(GatewayConfig, pre_drain_wait_is_part_of_the_drain_time) {
  EXPECT_EQ(config_in(gateway_from({}, "")).pre_drain_wait, 0s);
  EXPECT_EQ(config_in(gateway_from({}, "Gateway: { Process: { PreDrainWait: 5s } }")).pre_drain_wait, 5s);
  EXPECT_THAT(exit_in(gateway_from({}, "Gateway: { Process: { PreDrainWait: 26s } }")).err,
              HasSubstr("is longer than Gateway:Process:DrainTime"));
}

TEST(GatewayConfig, configuration_in_effect_is_kept_for_operators) {
  const GatewayConfig config = config_in(gateway_from({"--listen", "127.0.0.1:1"}, "Gateway: { Workers: 3 }"));
  EXPECT_THAT(config.process.shown, HasSubstr("\"Gateway:Workers\""));
  EXPECT_THAT(config.process.shown, HasSubstr("flag --listen"));
  EXPECT_THAT(config.process.shown, testing::Not(HasSubstr("Sidecar:")));
}

TEST(GatewayConfig, flags_and_environment) {
  const GatewayConfig config = config_in(gateway_from(
      {"--listen", "127.0.0.1:0", "--listen", "unix:/g", "--valkey", "unix:///v?db=2", "--workers", "3"}, kSharedFile,
      {{"Gateway__Transports__Messaging__ConnectionString", "ignored:1"},
       {"Gateway__Transports__Messaging__LeaseDuration", "7s"},
       {"Gateway__Auth__EnableLegacyHeaders", "False"}}));

  EXPECT_EQ(config.listen.size(), 2U);
  EXPECT_EQ(config.messaging.valkey.unix_path, "/v");
  EXPECT_EQ(config.workers, 3);
  EXPECT_EQ(config.messaging.lease_duration, 7s);
  EXPECT_FALSE(config.auth.enable_legacy_headers);
  // The flag's database wins over `Database: 0` of the file.
  EXPECT_EQ(config.messaging.valkey.database, 2);
  EXPECT_EQ(config.messaging.names.database, 2);
}

TEST(SidecarConfig, flags) {
  const SidecarConfig config = config_in(sidecar_from(billing_and(
      {"--service-version", "2.1", "--region", "eu-1", "--mount", "/pay/", "--egress", "127.0.0.1:5180",
       "--health-path", "/up?full=1", "--openapi-path", "/api.json", "--max-in-flight", "9", "--valkey", "h:1"})));

  EXPECT_EQ(config.service.version, "2.1");
  EXPECT_EQ(config.service.region, "eu-1");
  EXPECT_EQ(config.service.mount, "/pay");
  EXPECT_EQ(app::to_string(*config.egress_listen), "127.0.0.1:5180");
  EXPECT_EQ(config.service.health_path, "/up?full=1");
  EXPECT_EQ(config.service.openapi_path, "/api.json");
  EXPECT_EQ(config.max_in_flight, 9);
  EXPECT_EQ(config.messaging.valkey.host, "h");
}

TEST(SidecarConfig, mount_follows_the_name_and_may_be_the_root) {
  EXPECT_EQ(config_in(sidecar_from(kBilling)).service.mount, "/billing");
  EXPECT_EQ(config_in(sidecar_from(billing_and({"--mount", "/"}))).service.mount, "/");
  for (const char* mount : {"host:example.com", "host:*.example.com", "host:example.com/api", "/api/v1"}) {
    EXPECT_EQ(config_in(sidecar_from(billing_and({"--mount", mount}))).service.mount, mount);
  }
  EXPECT_EQ(config_in(sidecar_from(billing_and({"--mount", "host:example.com/"}))).service.mount, "host:example.com");
}

TEST(SidecarConfig, service_and_upstream_are_required) {
  const ExitNow exit = exit_in(sidecar_from({}));
  EXPECT_EQ(exit.code, 1);
  EXPECT_EQ(exit.err,
            "Sidecar:Service:Name: is required: set it in the file or the environment, or use --service\n"
            "Sidecar:Service:Upstream: is required: set it in the file or the environment, or use --upstream\n");
}

TEST(SidecarConfig, service_values_have_grammars) {
  for (const char* name :
       {"''", "Billing", "-x", "a/b", "a:b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}) {
    EXPECT_THAT(service_error(std::string("Name: ") + name), HasSubstr("is not a service name: 1 to 63 of a-z"))
        << name;
  }
  for (const char* version : {"''", "1 0", "1:0", "1@0", "123456789012345678901234567890123"}) {
    EXPECT_THAT(service_error(std::string("Version: ") + version), HasSubstr("must be 1 to 32 of letters, digits"))
        << version;
  }
  EXPECT_THAT(service_error("Region: 'a b'"), HasSubstr("Sidecar:Service:Region: 'a b' must be 1 to 32"));
  EXPECT_THAT(service_error("UnlistedPaths: drop"), HasSubstr("'drop' is not allowed; allowed: forward, refuse"));
  EXPECT_THAT(service_error("HealthPath: up"), HasSubstr("'up' must begin with '/'"));
  EXPECT_THAT(service_error("OpenApiPath: '/a b'"), HasSubstr("has a character that must be percent-encoded"));
  EXPECT_THAT(service_error("Mount: billing"), HasSubstr("'billing' must begin with '/'"));
  EXPECT_THAT(service_error("Mount: 'host:exa mple'"), HasSubstr("names no host that can be"));
  EXPECT_THAT(service_error("Mount: host:example.com:8080"), HasSubstr("must not name a port"));
  EXPECT_THAT(service_error("Mount: host:example.com/a%2fb"), HasSubstr("must be a plain path such as /billing"));
  EXPECT_THAT(service_error("Mount: /docs/x"), HasSubstr("'/docs/x' is at /docs, which the gateway answers itself"));
  EXPECT_THAT(service_error("Mount: host:h/openapi.json"), HasSubstr("which the gateway answers itself"));
  for (const char* mount : {"/a//b", "//", "/a/../b", "/..", "/a/.", "/a?b", "/a%2fb"}) {
    EXPECT_THAT(service_error(std::string("Mount: ") + mount), HasSubstr("must be a plain path such as /billing"))
        << mount;
  }
}

TEST(SidecarConfig, upstream_is_plain_http_to_a_host) {
  const auto upstream = [](const char* url) {
    return config_in(sidecar_from({"--service", "b", "--upstream", url})).service.upstream;
  };
  EXPECT_EQ(upstream("http://localhost").port, 80);
  EXPECT_EQ(upstream("HTTP://localhost:81/").port, 81);
  EXPECT_EQ(upstream("http://[::1]:81").host, "::1");
  for (const auto& [url, why] :
       std::vector<std::pair<std::string, std::string>>{{"https://h", "must be http://host[:port] (the service"},
                                                        {"h:80", "must be http://host[:port] (the service"},
                                                        {"http://h/api", "without a path"},
                                                        {"http://u:p@h", "must not contain user or password"},
                                                        {"http://:80", "the host is missing"},
                                                        {"http://h:0", "the port must be a number from 1"},
                                                        {"http://h:x", "the port must be a number"}}) {
    EXPECT_THAT(service_error("Upstream: '" + url + "'"), HasSubstr(why)) << url;
  }
}

TEST(MessagingConfig, wake_mode_is_block_unless_asked_for) {
  EXPECT_EQ(config_in(sidecar_from(kBilling)).messaging.wake_mode, frames::WakeMode::block);
  const SidecarConfig config =
      config_in(sidecar_from(kBilling, {}, {{"Sidecar__Messaging__WakeMode", "notify"}}));
  EXPECT_EQ(config.messaging.wake_mode, frames::WakeMode::notify);
}

TEST(MessagingConfig, wrong_values_are_refused_with_a_reason) {
  EXPECT_THAT(messaging_error("Enabled: false"), HasSubstr("Enabled: false, but messaging is the only transport"));
  EXPECT_THAT(messaging_error("Transport: rabbit"), HasSubstr("'rabbit' is not allowed; allowed: valkey"));
  EXPECT_THAT(messaging_error("ConnectionString: 'valkeys://h'"), HasSubstr("TLS to the server is not available"));
  EXPECT_THAT(messaging_error("WakeMode: poll"), HasSubstr("allowed: block, notify"));
  EXPECT_THAT(messaging_error("Redelivery: never"), HasSubstr("allowed: safe, always"));
  EXPECT_THAT(messaging_error("ConnectionString: 'h,abortConnect=false'"),
              HasSubstr("4:25: Gateway:Transports:Messaging:"
                        "ConnectionString: the option 'abortConnect' is not supported"));
  EXPECT_THAT(messaging_error("KeyPrefix: 'a b'"), HasSubstr("must be 1 to 64 of letters"));
  EXPECT_THAT(messaging_error("MaxAttempts: 0"), HasSubstr("'0' is out of range: 1 to 100"));
  EXPECT_THAT(messaging_error("LeaseDuration: 1ms"), HasSubstr("out of range: 100ms to 1h"));
  EXPECT_THAT(messaging_error("RequestQueueTemplate: 'q'"),
              HasSubstr("4:29: Gateway:Transports:Messaging:RequestQueueTemplate: must have each of its placeholders"));
  EXPECT_THAT(messaging_error("InboxQueueTemplate: 'q:{service}'"), HasSubstr("InboxQueueTemplate: must have each"));
}

TEST(MessagingConfig, database_of_url_and_key_must_agree_within_one_source) {
  EXPECT_THAT(messaging_error("{ ConnectionString: 'valkey://h/3', Database: 0 }"),
              HasSubstr("Database: 0, but the ConnectionString beside it says database 3; leave one of them out"));
  const std::string file = "Gateway: { Transports: { Messaging: { ConnectionString: 'valkey://h/3' } } }";
  EXPECT_EQ(config_in(gateway_from({}, file)).messaging.valkey.database, 3);
  EXPECT_EQ(
      config_in(gateway_from({}, file, {{"Gateway__Transports__Messaging__Database", "5"}})).messaging.valkey.database,
      5);
}

TEST(MessagingConfig, nested_block_of_the_original_is_read) {
  const GatewayConfig config =
      config_in(gateway_from({},
                             "Gateway: { Transports: { Messaging: { valkey: { ConnectionString: "
                             "'h:7000', Database: 4, QueueWaitTimeoutSeconds: 2 } } } }"));
  EXPECT_EQ(config.messaging.valkey.port, 7000);
  EXPECT_EQ(config.messaging.valkey.database, 4);
  EXPECT_EQ(config.messaging.queue_wait_timeout, 2s);
}

TEST(MessagingConfig, names_follow_the_prefix_unless_set) {
  const auto names =
      config_in(gateway_from({},
                             "Gateway: { Transports: { Messaging: { KeyPrefix: acme, ClusterHashTags: true, "
                             "DeadQueueTemplate: 'lost:{service}' } } }"))
          .messaging.names;
  EXPECT_EQ(names.control, "acme:control");
  EXPECT_EQ(names.request_queue_template, "acme:requests:{service}");
  EXPECT_EQ(names.dead_template, "lost:{service}");
  EXPECT_TRUE(names.cluster_hash_tags);
}

TEST(ProgramConfig, show_hides_passwords_and_prints_derived_names) {
  const std::string shown = exit_in(gateway_from({"--mode", "show", "--valkey", "valkey://ann:hush@h/1"})).out;
  EXPECT_THAT(shown, HasSubstr("ConnectionString: valkey://***@h:6379/1  # --valkey\n"));
  EXPECT_THAT(shown, HasSubstr("ControlQueueName: router:control  # default\n"));
  EXPECT_EQ(shown.find("hush"), std::string::npos);
  EXPECT_EQ(shown.find("Sidecar"), std::string::npos);
}

TEST(ProgramConfig, what_show_prints_reads_back_to_the_same) {
  const std::string shown =
      exit_in(
          gateway_from({"--mode", "show", "--listen", "a:1", "--listen", "unix:/b", "--workers", "3"},
                       "Gateway: { Transports: { Messaging: { KeyPrefix: acme, Database: 2, LeaseDuration: 1h } } }",
                       {{"Gateway__Process__AdminToken", "hush"}, {"Gateway__AccessLog", "off"}}))
          .out;
  EXPECT_THAT(shown, HasSubstr("Listen: [a:1, unix:/b]  # --listen\n"));
  EXPECT_THAT(shown, HasSubstr("LeaseDuration: 1h  # standard input:1:"));
  EXPECT_THAT(shown, HasSubstr("AdminToken: \"***\"  # environment variable Gateway__Process__AdminToken\n"));
  EXPECT_THAT(shown, HasSubstr("ControlQueueName: acme:control  # follows from other keys\n"));
  EXPECT_THAT(shown, HasSubstr("RequestTimeout: 30s  # default\n"));
  EXPECT_EQ(shown.find("hush"), std::string::npos);
  EXPECT_EQ(without_origins(exit_in(gateway_from({"--mode", "show"}, shown)).out), without_origins(shown));

  const std::string of_sidecar = exit_in(sidecar_from(billing_and({"--mode", "show"}))).out;
  EXPECT_EQ(without_origins(exit_in(sidecar_from({"--mode", "show"}, of_sidecar)).out), without_origins(of_sidecar));
}

TEST(GatewayConfig, anonymous_requests_cannot_be_refused_without_tokens) {
  const ExitNow exit = exit_in(gateway_from({}, "Gateway: { Auth: { AllowAnonymous: false } }"));
  EXPECT_EQ(exit.code, 1);
  EXPECT_THAT(exit.err, HasSubstr("Gateway:Auth:AllowAnonymous: false, but no tokens are verified (Gateway:Auth:Mode)"));
}

std::string auth_error(const std::string& auth, const std::string& more = {}) {
  const ExitNow exit = exit_in(gateway_from({}, "Gateway: { Auth: { " + auth + " }" + more + " }"));
  EXPECT_EQ(exit.code, 1) << auth;
  return exit.err;
}

TEST(GatewayConfig, tokens_are_verified_where_there_are_issuers_unless_told_otherwise) {
  const std::string issuer = "Issuers: [ { Issuer: \"https://id.test\" } ]";
  EXPECT_FALSE(config_in(gateway_from({}, "")).auth.verifies());
  EXPECT_TRUE(config_in(gateway_from({}, "Gateway: { Auth: { " + issuer + ", AllowAnonymous: false } }")).auth.verifies());
  EXPECT_FALSE(config_in(gateway_from({}, "Gateway: { Auth: { " + issuer + ", Mode: passthrough } }")).auth.verifies());
  EXPECT_THAT(auth_error("Mode: verify"), HasSubstr("Gateway:Auth:Mode: verify, but there are no Gateway:Auth:Issuers"));
  EXPECT_THAT(auth_error(issuer + ", Mode: passthrough, AllowAnonymous: false"),
              HasSubstr("nobody could be let in"));
}

TEST(GatewayConfig, issuer_has_one_source_of_keys_and_algorithms_that_go_with_it) {
  const auto error = [](const std::string& issuer) { return auth_error("Issuers: [ { " + issuer + " } ]"); };
  EXPECT_THAT(error("Audiences: [a]"), HasSubstr(":1:31: Gateway:Auth:Issuers:0:Issuer: is missing"));
  EXPECT_THAT(error("Issuer: id, JwksFile: /a, JwksUrl: \"https://b\""), HasSubstr("more than one of JwksFile, JwksUrl"));
  EXPECT_THAT(error("Issuer: id"), HasSubstr("is no URL to discover keys at: give JwksFile"));
  EXPECT_THAT(error("Issuer: id, JwksUrl: \"file:///a\""), HasSubstr("must begin with https:// or http://"));
  EXPECT_THAT(error("Issuer: id, JwksFile: /a, Algorithms: [none]"), HasSubstr("'none' is not one of RS256"));
  EXPECT_THAT(error("Issuer: id, JwksFile: /a, Algorithms: [HS256]"), HasSubstr("HS256 needs a Secret"));
  const std::string secret = "Issuer: id, Secret: 01234567890123456789012345678901";
  EXPECT_THAT(error(secret), HasSubstr("must name HS256, HS384 or HS512"));
  EXPECT_THAT(error(secret + ", Algorithms: [RS256]"), HasSubstr("RS256 does not go with a Secret"));
  EXPECT_THAT(error(secret + ", Algorithms: [HS512]"), HasSubstr("Gateway:Auth:Issuers:0:Secret"));
  EXPECT_THAT(error("Issuer: id, JwksFile: /a, ClockSkew: 61s"), HasSubstr("out of range: 0 to 1m"));
  EXPECT_EQ(error(secret + ", Algorithms: [HS512]").find("0123456789"), std::string::npos);
  EXPECT_THAT(auth_error("Issuers: [ { Issuer: a, JwksFile: /a }, { Issuer: a, JwksFile: /b } ]"), HasSubstr("is there twice"));
}

TEST(GatewayConfig, rules_that_nobody_could_keep_are_refused) {
  const auto error = [](const std::string& rule) {
    return auth_error("Issuers: [ { Issuer: \"https://id.test\" } ], Rules: [ { " + rule + " } ]");
  };
  EXPECT_THAT(error("AllowAnonymous: true"), HasSubstr("set mode: override"));
  EXPECT_THAT(error("AllowAnonymous: true, Mode: override, Scopes: [a]"), HasSubstr("contradicts scopes and claims"));
  EXPECT_THAT(error("Path: orders"), HasSubstr("does not begin with /"));
  EXPECT_THAT(error("Method: get"), HasSubstr("is no method in capitals"));
  EXPECT_THAT(auth_error("Rules: [ { Scopes: [a] } ]"), HasSubstr("Gateway:Auth:Rules:0: asks for a token, but none is verified"));
  EXPECT_THAT(auth_error("Services: [ { ForwardCookie: never } ]"), HasSubstr("Services:0:Service: is missing"));
}

TEST(GatewayConfig, envelope_prefixes_and_rates_are_looked_at_before_anything_starts) {
  EXPECT_THAT(auth_error("Envelope: { Keys: [ { Id: a, Secret: short } ] }"), HasSubstr("Gateway:Auth:Envelope:Keys:0:Id"));
  EXPECT_THAT(auth_error("HeaderPrefix: \"X Y\""), HasSubstr("is not a field name"));
  EXPECT_THAT(auth_error("HeaderPrefix: \"x-stella-\""), HasSubstr("each field would be there twice"));
  EXPECT_THAT(auth_error("", ", RateLimit: { Rules: [ { Name: a } ] }"), HasSubstr("Limit must be above 0"));
  EXPECT_THAT(auth_error("", ", RateLimit: { Rules: [ { Limit: 1 } ] }"), HasSubstr("Name must be 1 to 64"));
  EXPECT_THAT(auth_error("", ", RateLimit: { Rules: [ { Name: a, Limit: 1, Per: [ip] } ] }"),
              HasSubstr("'ip' is not one of service, route, tenant, subject"));
}

TEST(GatewayConfig, node_name_fits_a_pods_and_stays_on_its_line) {
  const std::string longest(63, 'a');
  EXPECT_EQ(config_in(gateway_from({}, "Gateway: { Node: { Name: " + longest + " } }")).node.name, longest);
  for (const std::string& name : {longest + "a", std::string("a b"), std::string("a\\nb"), std::string("a@b")}) {
    EXPECT_THAT(exit_in(gateway_from({}, "Gateway: { Node: { Name: \"" + name + "\" } }")).err,
                HasSubstr("must be at most 63 of letters, digits"))
        << name;
  }
}

TEST(ProgramConfig, keys_without_effect_are_named_when_they_are_set) {
  const std::string file = "Sidecar: { Egress: { Listen: \"127.0.0.1:5180\" } }";
  const ExitNow exit = exit_in(sidecar_from(billing_and({"--mode", "validate"}), file));
  EXPECT_EQ(exit.code, 0);
  EXPECT_EQ(exit.err, "warning: standard input:1:30: Sidecar:Egress:Listen has no effect in this version\n");
  EXPECT_THAT(exit_in(sidecar_from(billing_and({"--mode", "validate", "--egress", "127.0.0.1:5180"}))).err,
              HasSubstr("warning: --egress: Sidecar:Egress:Listen has no effect in this version"));
  EXPECT_EQ(exit_in(gateway_from({"--mode", "validate"}, kSharedFile)).err, "");
}

TEST(ProgramConfig, help_lists_every_flag) {
  const std::string gateway_help = exit_in(gateway_from({"--help"})).out;
  for (const char* flag : {"--listen", "--valkey", "--workers", "--health", "--admin", "--drain-time"}) {
    EXPECT_THAT(gateway_help, HasSubstr(flag));
  }
  const std::string sidecar_help = exit_in(sidecar_from({"--help"})).out;
  for (const char* flag :
       {"--service NAME", "--upstream URL", "--valkey URL", "--service-version V", "--region R", "--mount PATH",
        "--egress ADDR", "--health-path P", "--openapi-path P", "--max-in-flight N"}) {
    EXPECT_THAT(sidecar_help, HasSubstr(flag));
  }
}

// A value that the key takes, and that is not its default; empty: it has only one so far.
std::string another_value(const app::ConfigKey& key) {
  const std::string name = key.path.substr(key.path.rfind(':') + 1);
  if (name == "Enabled" || name == "Transport" || name == "AllowAnonymous") return {};
  switch (key.kind) {
    case app::ValueKind::boolean:
      return key.fallback == "true" ? "false" : "true";
    case app::ValueKind::choice:
      return key.choices.back() == key.fallback ? key.choices.front() : key.choices.back();
    case app::ValueKind::integer:
      return std::to_string(key.maximum);
    case app::ValueKind::duration:
      return std::to_string(key.minimum + 1) + "ms";
    case app::ValueKind::size:
      return std::to_string(key.minimum + 1);
    case app::ValueKind::address:
      return "unix:/other";
    case app::ValueKind::text:
      break;
  }
  return name == "TrustedProxies"                                    ? "10.0.0.0/8"
         : name == "Upstream"                                          ? "http://other"
         : name == "Repeatable"                                      ? "POST /other"
         : name == "ConnectionString"                                ? "other:1"
         : name == "Mount" || name.find("Path") != std::string::npos ? "/other"
         : key.fallback.find("router:") == 0                         ? "other" + key.fallback.substr(6)
                                                                     : "other";
}

// Each key, in the file, in the environment and by its flag: --mode show says that it is in effect, and from where;
// each wins over what was given before.
TEST(ProgramConfig, every_key_takes_another_value_from_each_source) {
  GatewayConfig gateway_config;
  SidecarConfig sidecar_config;
  app::ConfigTable table;
  gateway::declare_gateway(table, gateway_config);
  sidecar::declare_sidecar(table, sidecar_config);
  const std::vector<std::tuple<std::string, std::string, std::string>> kRequired = {
      {"Sidecar:Service:Name", "Sidecar__Service__Name", "a"},
      {"Sidecar:Service:Upstream", "Sidecar__Service__Upstream", "http://b"}};
  for (const app::ConfigKey& key : table.keys()) {
    const std::string other = another_value(key);
    if (other.empty() || key.is_pattern) continue;  // of items: config_reader_test
    const bool is_gateway = key.path.compare(0, 8, "Gateway:") == 0;
    const auto show = [&](Arguments flags, const std::string& file, const Environment& environment) {
      flags.insert(flags.begin(), {"--mode", "show"});
      Environment variables = environment;
      for (const auto& [path, variable_name, value] : kRequired) {
        if (!is_gateway && key.path != path) variables.emplace_back(variable_name, value);
      }
      return is_gateway ? exit_in(gateway_from(flags, file, variables)) : exit_in(sidecar_from(flags, file, variables));
    };
    std::string variable = key.path;
    for (std::size_t at; (at = variable.find(':')) != std::string::npos;) variable.replace(at, 1, "__");
    const std::string file = "'" + key.path + "': '" + other + "'\n";
    const Environment environment{{variable, other}};
    const std::string column = std::to_string(key.path.size() + 5);

    const ExitNow by_file = show({}, file, {});
    EXPECT_EQ(by_file.code, 0) << key.path << ": " << by_file.err;
    EXPECT_THAT(by_file.out, HasSubstr("  # standard input:1:" + column + "\n")) << key.path;
    const ExitNow by_environment = show({}, file, environment);
    EXPECT_EQ(by_environment.code, 0) << key.path << ": " << by_environment.err;
    EXPECT_THAT(by_environment.out, HasSubstr("  # environment variable " + variable + "\n")) << key.path;
    EXPECT_EQ(by_environment.out.find("# standard input"), std::string::npos) << key.path;
    EXPECT_EQ(without_origins(by_environment.out), without_origins(by_file.out)) << key.path;
    EXPECT_NE(without_origins(by_file.out), without_origins(show({}, "", {}).out)) << key.path;
    if (key.flag_name.empty()) continue;
    const ExitNow by_flag = show({key.flag_name.c_str(), other.c_str()}, file, environment);
    EXPECT_EQ(by_flag.code, 0) << key.path << ": " << by_flag.err;
    EXPECT_THAT(by_flag.out, HasSubstr("  # " + key.flag_name + "\n")) << key.path;
    EXPECT_EQ(without_origins(by_flag.out), without_origins(by_file.out)) << key.path;
  }
}

}  // namespace
}  // namespace outrigger
