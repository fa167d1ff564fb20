// Connections of the bus against a real server: losing them, finding them again, and servers not to work with.
#include "bridge/base/limits.h"
#include "tests/integration/valkey/valkey_test.h"

namespace outrigger::tests {
namespace {

using namespace std::chrono_literals;

template <class Test>
class ConnectionTest : public Test {
 protected:
  // The id of the connection whose CLIENT SETNAME is `name`, as CLIENT LIST has it; empty if there is none.
  std::string client_id(const std::string& name) {
    const std::string list = "\n" + this->server_->cli({"CLIENT", "LIST"});
    const std::size_t at = list.find(" name=" + name + " ");
    if (at == std::string::npos) return {};
    const std::size_t from = list.rfind("\nid=", at) + 4;
    return list.substr(from, list.find(' ', from) - from);
  }
  bool run_until(const std::string& what, const std::function<bool()>& condition) {
    const auto result = this->loop_.run_until(what, condition);
    EXPECT_TRUE(result);
    return static_cast<bool>(result);
  }
};
using ValkeyConnection = ConnectionTest<ValkeyTest>;
using ValkeyWakeConnection = ConnectionTest<ValkeyWakeTest>;
OUTRIGGER_IN_BOTH_WAKE_MODES(ValkeyWakeConnection);

TEST_F(ValkeyConnection, comes_back_within_3_s_of_a_crash_with_a_new_incarnation) {
  RecordingBusObserver observer;
  bus_->add_observer(observer);
  const std::string before = bus_->incarnation();
  const Id id = add();
  ASSERT_EQ(server_->cli({"SAVE"}), "OK");

  server_->kill_hard();
  run_until("the loss", [&] { return observer.lost == 1; });
  EXPECT_FALSE(bus_->is_connected());
  pass_time(1s);  // so that the back-off has grown
  server_->start_again();
  const base::TimePoint started = base::system_clock().monotonic();
  run_until("the bus", [&] { return bus_->is_connected(); });

  EXPECT_LT(base::system_clock().monotonic() - started, 3s);
  EXPECT_EQ(observer.new_incarnations, 1);
  EXPECT_NE(bus_->incarnation(), before);
  EXPECT_GE(bus_->connected_since(), started - 10ms);
  // The same entries under a new incarnation: what the snapshot brought back may have been executed since.
  EXPECT_TRUE(server_->cli({"XRANGE", queue_, "-", "+"}).starts_with(text(id)));
  bus_->remove_observer(observer);
}

TEST_F(ValkeyConnection, empty_server_is_a_new_incarnation) {
  RecordingBusObserver observer;
  bus_->add_observer(observer);
  add();

  server_->restart_empty();
  run_until("the bus", [&] { return observer.connected == 1; });

  EXPECT_EQ(observer.new_incarnations, 1);
  const auto nil = publish(*bus_, queue_, false);
  ASSERT_TRUE(nil.has_value());
  EXPECT_EQ(*nil, std::nullopt);
  bus_->remove_observer(observer);
}

TEST_F(ValkeyConnection, what_was_written_has_an_unknown_outcome_and_what_was_not_is_told_so) {
  std::string written;
  server_->suspend();
  bus_->publish(queue_, make_frame(), {.may_create = true},
                [&](auto result) { written = result ? "done" : base::name_of(result.error().code); });
  pass_time(20ms);
  EXPECT_EQ(written, "");

  server_->kill_hard();
  run_until("the loss", [&] { return !bus_->is_connected(); });

  EXPECT_EQ(written, base::name_of(base::Code::outcome_unknown));
  EXPECT_EQ(fault<std::optional<Id>>([&](auto done) { bus_->publish(queue_, make_frame(), {}, std::move(done)); }),
            base::name_of(base::Code::closed));
  EXPECT_EQ(fault<Ids>([&](auto done) {
              bus_->take(queue_, {{1, 1}}, false, std::move(done));
            }),
            base::name_of(base::Code::closed));
}

TEST_P(ValkeyWakeConnection, killed_connection_of_each_kind_comes_back_alone) {
  make_group();
  RecordingBusObserver observer;
  bus_->add_observer(observer);
  RecordingGroupHandler group_handler;
  RecordingCursorHandler cursor_handler;
  std::vector<bool> alive_changes;
  const auto reader = bus_->make_group_reader("a", group_handler);
  const auto cursor = bus_->make_cursor_reader({{"router:control", {}}}, cursor_handler);
  const auto alive = bus_->make_subscription({"router:alive:billing:a"},
                                                   [&](bool is_alive) { alive_changes.push_back(is_alive); }, {});
  const auto all_up = [&] {
    return bus_->is_connected() && reader->is_connected() && alive->is_confirmed() && !client_id("test:cursor").empty();
  };
  run_until("all connections", all_up);
  reader->read({queue_}, 1);
  pass_time(10ms);

  std::vector<std::string> kinds{"commands", "reader", "cursor", "alive"};
  if (GetParam() == frames::WakeMode::notify) kinds.emplace_back("notify");
  for (const std::string& kind : kinds) {
    const std::string id = client_id("test:" + kind);
    ASSERT_EQ(server_->cli({"CLIENT", "KILL", "ID", id}), "1") << kind;
    run_until(kind, [&] {
      const std::string now = client_id("test:" + kind);
      return !now.empty() && now != id && all_up();
    });
  }

  EXPECT_EQ(observer.lost, 1);
  EXPECT_EQ(observer.connected, 1);
  EXPECT_EQ(observer.new_incarnations, 0);
  EXPECT_EQ(group_handler.lost, 1);
  EXPECT_EQ(group_handler.done, 0);
  EXPECT_EQ(alive_changes, (std::vector<bool>{true, false, true}));
  EXPECT_TRUE(publish(*bus_, "router:control").has_value());
  reader->read({queue_}, 1);
  const Id sent = add();
  run_until("both entries", [&] { return cursor_handler.seen.size() == 1 && group_handler.delivered.size() == 1; });
  EXPECT_EQ(group_handler.ids(), Ids{sent});
  bus_->remove_observer(observer);
}

TEST_F(ValkeyConnection, clock_is_the_servers) {
  const std::string time = server_->cli({"TIME"});
  const std::int64_t server_ms = std::stoll(time) * 1000 + std::stoll(time.substr(time.find('\n') + 1)) / 1000;
  loop_.loop.run_turn(net::EventLoop::Wait::no);  // the loop's time is read once per turn

  EXPECT_LT(std::abs(bus_->now_ms() - server_ms), bus_->clock_error_ms() + 500);
  EXPECT_LT(bus_->clock_error_ms(), 1000);
  const Id id = add();
  EXPECT_LT(std::abs(bus_->now_ms() - static_cast<std::int64_t>(id.ms)), bus_->clock_error_ms() + 500);
}

TEST_F(ValkeyConnection, server_that_stops_for_longer_than_the_reply_deadline_is_left) {
  RecordingBusObserver observer;
  bus_->add_observer(observer);
  std::string outcome;
  server_->suspend();

  bus_->publish(queue_, make_frame(), {.may_create = true},
                [&](auto result) { outcome = result ? "done" : base::name_of(result.error().code); });
  run_until("the deadline", [&] { return observer.lost == 1; });
  server_->resume();
  run_until("the bus", [&] { return bus_->is_connected(); });

  EXPECT_EQ(outcome, base::name_of(base::Code::outcome_unknown));
  EXPECT_EQ(observer.new_incarnations, 0);
  EXPECT_EQ(length(), "1");  // it was carried out late: "unknown" was the truth
  bus_->remove_observer(observer);
}

TEST_F(ValkeyConnection, short_stop_of_the_server_is_waited_for) {
  RecordingBusObserver observer;
  bus_->add_observer(observer);
  std::optional<bool> outcome;
  server_->suspend();

  bus_->publish(queue_, make_frame(), {.may_create = true}, [&](auto result) { outcome = result.has_value(); });
  pass_time(300ms);
  EXPECT_EQ(outcome, std::nullopt);
  server_->resume();
  run_until("the reply", [&] { return outcome.has_value(); });

  EXPECT_EQ(outcome, true);
  EXPECT_EQ(observer.lost, 0);
  bus_->remove_observer(observer);
}

TEST_F(ValkeyConnection, server_that_is_loading_is_waited_for) {
  server_->cli({"EVAL", "for i = 1, 500 do redis.call('SET', 'key' .. i, i) end", "0"});
  ASSERT_EQ(server_->cli({"SAVE"}), "OK");
  server_->kill_hard();
  run_until("the loss", [&] { return !bus_->is_connected(); });
  server_->start_again({"--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024"},
                       ValkeyServer::Ready::listening);
  ASSERT_TRUE(server_->cli({"PING"}).starts_with("(error) LOADING"));

  run_until("the bus", [&] { return bus_->is_connected(); });

  EXPECT_EQ(server_->cli({"PING"}), "PONG");
  EXPECT_EQ(server_->cli({"DBSIZE"}), "500");
}

TEST_F(ValkeyConnection, replica_is_refused_until_it_is_promoted) {
  bus_.reset();
  ASSERT_EQ(server_->cli({"REPLICAOF", "127.0.0.1", "1"}), "OK");

  bus_ = make_bus(address_of(server_->url()));
  pass_time(200ms);
  EXPECT_FALSE(bus_->is_connected());
  EXPECT_EQ(bus_->incarnation(), "");

  server_->cli({"REPLICAOF", "NO", "ONE"});
  run_until("the bus", [&] { return bus_->is_connected(); });
}

TEST_P(ValkeyWakeConnection, demotion_ends_it_and_promotion_is_a_new_incarnation) {
  make_group();
  RecordingGroupHandler handler;
  const auto reader = bus_->make_group_reader("a", handler);
  run_until("the reader", [&] { return reader->is_connected(); });
  reader->read({queue_}, 1);
  pass_time(20ms);
  const std::string before = bus_->incarnation();

  server_->cli({"REPLICAOF", "127.0.0.1", "1"});
  run_until("the reader's end", [&] { return handler.lost == 1; });
  EXPECT_NE(fault<std::optional<Id>>([&](auto done) { bus_->publish(queue_, make_frame(), {}, std::move(done)); }), "");
  run_until("the bus' end", [&] { return !bus_->is_connected(); });
  server_->cli({"REPLICAOF", "NO", "ONE"});
  run_until("both", [&] { return bus_->is_connected() && reader->is_connected(); });

  EXPECT_NE(bus_->incarnation(), before);
  EXPECT_EQ(reader->incarnation(), bus_->incarnation());
  EXPECT_EQ(handler.missing + handler.done, 0);
}

TEST_F(ValkeyConnection, wrong_password_is_not_connected_until_it_is_right) {
  server_->cli({"ACL", "SETUSER", "app", "on", ">old", "allkeys", "allchannels", "allcommands"});
  valkey::ValkeyAddress address = address_of(server_->url());
  address.user = "app";
  address.password = "new";
  const auto bus = make_bus(address);
  pass_time(200ms);
  EXPECT_FALSE(bus->is_connected());

  server_->cli({"ACL", "SETUSER", "app", ">new"});
  run_until("the bus", [&] { return bus->is_connected(); });

  EXPECT_TRUE(publish(*bus, queue_).has_value());
}

TEST_F(ValkeyConnection, missing_password_is_not_connected) {
  bus_.reset();
  server_->cli({"PING"});
  ASSERT_EQ(server_->cli({"CONFIG", "SET", "requirepass", "secret"}), "OK");

  bus_ = make_bus(address_of(server_->url()));
  pass_time(200ms);
  EXPECT_FALSE(bus_->is_connected());

  valkey::ValkeyAddress address = address_of(server_->url());
  address.password = "secret";
  const auto bus = make_bus(address);
  run_until("the bus", [&] { return bus->is_connected(); });
}

TEST_F(ValkeyConnection, forbidden_keys_and_commands_are_told_and_the_connection_stays) {
  server_->cli({"ACL", "SETUSER", "app", "on", ">pw", "~router:requests:billing", "&*", "+@all", "-xclaim"});
  valkey::ValkeyAddress address = address_of(server_->url());
  address.user = "app";
  address.password = "pw";
  const auto bus = make_bus(address);
  run_until("the bus", [&] { return bus->is_connected(); });
  RecordingBusObserver observer;
  bus->add_observer(observer);

  EXPECT_TRUE(publish(*bus, queue_).has_value());
  EXPECT_EQ(fault<std::optional<Id>>([&](auto done) {
              bus->publish("router:requests:other", make_frame(), {.may_create = true}, std::move(done));
            }),
            base::name_of(base::Code::forbidden));
  EXPECT_EQ(fault<std::optional<std::string>>([&](auto done) { bus->get("router:key", std::move(done)); }),
            base::name_of(base::Code::forbidden));
  EXPECT_EQ(observer.lost, 0);
  bus->remove_observer(observer);
}

TEST_F(ValkeyConnection, reply_above_the_limit_ends_the_connection_not_the_process) {
  RecordingBusObserver observer;
  bus_->add_observer(observer);
  server_->cli(
      {"SETRANGE", "router:key", std::to_string(base::limits::kReadBatchBytes + 16 * base::limits::kMiB), "x"});

  EXPECT_EQ(fault<std::optional<std::string>>([&](auto done) { bus_->get("router:key", std::move(done)); }),
            base::name_of(base::Code::outcome_unknown));
  EXPECT_EQ(observer.lost, 1);
  run_until("the bus", [&] { return bus_->is_connected(); });

  EXPECT_EQ(observer.new_incarnations, 0);
  bus_->remove_observer(observer);
}

TEST_F(ValkeyConnection, tcp_and_another_database_work_too) {
  ValkeyServer::Options options;
  options.transport = ValkeyServer::Transport::tcp;
  ValkeyServer server(options);
  const auto bus = make_bus(address_of(server.url() + "/3"));
  run_until("the bus", [&] { return bus->is_connected(); });

  EXPECT_TRUE(publish(*bus, queue_).has_value());

  EXPECT_EQ(server.cli({"EXISTS", queue_}), "0");
  server.cli({"SELECT", "3"});
  EXPECT_EQ(server.cli({"EXISTS", queue_}), "1");
}

}  // namespace
}  // namespace outrigger::tests
