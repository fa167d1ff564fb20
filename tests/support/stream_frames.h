// Frames in and out of the streams of a MemoryServer, for tests that play one side by hand.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "bridge/frames/frame_codec.h"
#include "tests/support/memory_bus.h"

namespace outrigger::tests {

template <class F>
MemoryServer::Fields fields_of(const F& frame) {
  const auto encoded = frames::encode(frame);
  EXPECT_TRUE(encoded.has_value());
  MemoryServer::Fields fields;
  for (const frames::EntryField& field : encoded->fields()) fields.emplace_back(field.name, field.value);
  return fields;
}

template <class F>
std::vector<F> frames_in(MemoryServer& server, const frames::QueueNames& names, const std::string& stream) {
  frames::FrameDecoder decoder(names);
  std::vector<F> found;
  for (const auto& entry : server.entries(stream)) {
    std::vector<frames::EntryField> fields;
    for (const auto& [name, value] : entry.fields) fields.push_back({name, value});
    auto frame = decoder.decode(fields);
    if (frame && std::holds_alternative<F>(*frame)) found.push_back(std::get<F>(*std::move(frame)));
  }
  return found;
}

}  // namespace outrigger::tests
