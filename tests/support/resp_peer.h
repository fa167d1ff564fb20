// What a server at Valkey's address may say, scripted, on the test's own loop: it reads whole commands, answers what
// the script returns, and counts. It shares no code with bridge/valkey.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/net/connection.h"
#include "bridge/net/listener.h"

namespace outrigger::tests {

using Words = std::vector<std::string>;

inline std::string bulk(std::string_view text) {
  return "$" + std::to_string(text.size()) + "\r\n" + std::string(text) + "\r\n";
}

class RespPeer {
 public:
  // Answers one command; empty: says nothing.
  using Script = std::function<std::string(const Words& command)>;

  RespPeer(net::EventLoop& loop, const net::Endpoint& at) : loop_(loop) {
    auto listener =
        net::Listener::open(loop, at, {}, [this](net::Accepted accepted) { accept(std::move(accepted.transport)); });
    CHECK(listener.has_value());
    listener_ = std::move(*listener);
  }

  // A healthy server, but for what the test overrides: by the command's words, joined with blanks; the longest of its
  // beginnings that is in `overrides` counts.
  std::map<std::string, std::string> overrides;
  // Asked first; nothing: the overrides answer. An empty answer is silence, for say_to() to break.
  std::function<std::optional<std::string>(const Words& command)> script;
  std::string greeting;         // said to every client at once
  bool closes_at_once = false;  // after the greeting
  int connections = 0;
  std::vector<Words> commands;

  int count(std::string_view name) const {
    int count = 0;
    for (const Words& command : commands) count += command[0] == name ? 1 : 0;
    return count;
  }
  // To the client that sent `command` (its first word) last; false if there is none.
  bool say_to(std::string_view command, std::string_view bytes) {
    for (const auto& client : clients_) {
      if (client->last_command != command || client->connection->is_closed()) continue;
      client->connection->write(std::string(bytes));
      return true;
    }
    return false;
  }
  // A message to everybody who subscribed. Returns how many.
  int tell(std::string_view channel) {
    int told = 0;
    for (const auto& client : clients_) {
      if (!client->channels.contains(std::string(channel)) || client->connection->is_closed()) continue;
      client->connection->write("*3\r\n" + bulk("message") + bulk(channel) + bulk(""));
      ++told;
    }
    return told;
  }
  void close_subscribers() {
    for (const auto& client : clients_) {
      if (!client->channels.empty()) client->connection->close();
    }
  }
  void close_all() {
    for (auto& client : clients_) client->connection->close();
    for (auto& client : clients_) loop_.release(std::move(client));
    clients_.clear();
  }

  std::string answer(const Words& command) const {
    if (script) {
      if (auto scripted = script(command)) return *std::move(scripted);
    }
    std::string text;
    const std::string* found = nullptr;
    for (const std::string& word : command) {
      text += (text.empty() ? "" : " ") + word;
      if (const auto at = overrides.find(text); at != overrides.end()) found = &at->second;
    }
    return found != nullptr ? *found : healthy(command);
  }
  // The server's clock goes as the loop's does.
  std::int64_t now_ms() const {
    return 1'700'000'000'000 +
           std::chrono::duration_cast<std::chrono::milliseconds>(loop_.clock().monotonic().time_since_epoch()).count();
  }
  std::string healthy(const Words& command) const {
    const std::string& name = command[0];
    if (name == "CLIENT" && command[1] == "ID") return ":7\r\n";
    if (name == "TIME") return "*2\r\n" + bulk(std::to_string(now_ms() / 1000)) + bulk(std::to_string(now_ms() % 1000 * 1000));
    if (name == "XADD") return bulk(std::to_string(now_ms()) + "-1");
    if (name == "PING") return "+PONG\r\n";
    if (name == "EVAL" || name == "XACK" || name == "XDEL") return ":1\r\n";
    if (name == "GET") return "$-1\r\n";
    if (name == "XREADGROUP" || name == "XREAD") {
      return std::find(command.begin(), command.end(), "BLOCK") == command.end() ? "*-1\r\n" : "";
    }
    if (name == "SUBSCRIBE" || name == "UNSUBSCRIBE") {
      return "*3\r\n" + bulk(name == "SUBSCRIBE" ? "subscribe" : "unsubscribe") + bulk(command[1]) + ":1\r\n";
    }
    if (name == "PUBLISH") return ":0\r\n";
    if (name == "INFO" && command[1] == "server") {
      return bulk("# Server\r\nredis_version:7.2.4\r\nvalkey_version:8.0.1\r\nrun_id:aaaa\r\n");
    }
    if (name == "INFO" && command[1] == "persistence") return bulk("# Persistence\r\nloading:0\r\n");
    if (name == "INFO" && command[1] == "cluster") return bulk("# Cluster\r\ncluster_enabled:0\r\n");
    if (name == "INFO" && command[1] == "replication")
      return bulk("# Replication\r\nrole:master\r\nmaster_replid:bbbb\r\n");
    if (name == "INFO") return bulk("# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n");
    return "+OK\r\n";
  }

 private:
  struct Client final : net::ConnectionHandler {
    explicit Client(RespPeer& owner) : peer(owner) {}
    void on_data(std::string_view bytes) override {
      unread.append(bytes);
      Words command;
      while (take_command(command)) {
        peer.commands.push_back(command);
        last_command = command[0];
        const std::string reply = peer.answer(command);
        if (command[0] == "SUBSCRIBE" && reply.starts_with('*')) channels.insert(command[1]);
        if (command[0] == "UNSUBSCRIBE") channels.erase(command[1]);
        if (!reply.empty()) connection->write(reply);
      }
    }
    void on_end() override { connection->close(); }
    void on_closed(const base::Error&) override {}

    // One array of bulk strings.
    bool take_command(Words& command) {
      std::size_t at = 0;
      const auto number = [&](char type, std::size_t& value) {
        const std::size_t end = unread.find("\r\n", at);
        if (end == std::string::npos || unread[at] != type) return false;
        value = std::stoul(unread.substr(at + 1, end - at - 1));
        at = end + 2;
        return true;
      };
      std::size_t count = 0;
      if (unread.empty() || !number('*', count)) return false;
      command.clear();
      for (std::size_t i = 0; i < count; ++i) {
        std::size_t size = 0;
        if (at >= unread.size() || !number('$', size) || unread.size() < at + size + 2) return false;
        command.push_back(unread.substr(at, size));
        at += size + 2;
      }
      unread.erase(0, at);
      return true;
    }

    RespPeer& peer;
    std::unique_ptr<net::Connection> connection;
    std::string unread;
    std::string last_command;
    std::set<std::string> channels;
  };

  void accept(std::unique_ptr<net::Transport> transport) {
    ++connections;
    auto client = std::make_unique<Client>(*this);
    client->connection = std::make_unique<net::Connection>(loop_, std::move(transport), *client);
    if (!greeting.empty()) client->connection->write(greeting);
    if (closes_at_once) client->connection->close_when_flushed();
    clients_.push_back(std::move(client));
  }

  net::EventLoop& loop_;
  std::unique_ptr<net::Listener> listener_;
  std::vector<std::unique_ptr<Client>> clients_;
};

}  // namespace outrigger::tests
