// Handlers of a bus that write down what they are told, and a frame to publish.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bridge/messaging/bus.h"

namespace outrigger::tests {

struct RecordingGroupHandler final : messaging::GroupReaderHandler {
  struct Delivered {
    std::string queue;
    messaging::EntryId id;
    std::vector<std::pair<std::string, std::string>> fields;
  };
  void on_reader_connected(const std::string& its_incarnation) override {
    ++connected;
    incarnation = its_incarnation;
  }
  void on_delivered(const std::string& queue, std::span<const messaging::EntryView> entries) override {
    for (const messaging::EntryView& entry : entries) {
      auto& one = delivered.emplace_back(Delivered{queue, entry.id, {}});
      for (const frames::EntryField& field : entry.fields) one.fields.emplace_back(field.name, field.value);
    }
  }
  void on_read_done() override { ++done; }
  void on_queue_missing() override { ++missing; }
  void on_reader_lost() override { ++lost; }

  std::vector<messaging::EntryId> ids() const {
    std::vector<messaging::EntryId> found;
    for (const Delivered& one : delivered) found.push_back(one.id);
    return found;
  }

  std::vector<Delivered> delivered;
  std::string incarnation;
  int connected = 0;
  int done = 0;
  int missing = 0;
  int lost = 0;
};

struct RecordingCursorHandler final : messaging::CursorReaderHandler {
  void on_entries(const std::string& stream, std::span<const messaging::EntryView> entries) override {
    for (const messaging::EntryView& entry : entries) seen.emplace_back(stream, entry.id);
  }
  std::vector<std::pair<std::string, messaging::EntryId>> seen;
};

struct RecordingBusObserver final : messaging::BusObserver {
  void on_bus_connected(bool is_new_incarnation) override {
    ++connected;
    new_incarnations += is_new_incarnation ? 1 : 0;
  }
  void on_bus_lost(const base::Error&) override { ++lost; }
  int connected = 0;
  int new_incarnations = 0;
  int lost = 0;
};

inline frames::EncodedFrame make_frame(std::string head = "{}", std::string_view body = {}) {
  return {frames::FrameType::request, std::move(head), body};
}

}  // namespace outrigger::tests
