// What every program says of itself: build_info and the process_* families that each Prometheus client has, read from
// /proc when asked, and the state of its bus.
#pragma once

#include <cstdint>

#include "bridge/messaging/bus.h"
#include "bridge/telemetry/metrics.h"

namespace outrigger::app {

void write_process_metrics(telemetry::MetricsWriter& out);

struct BusNumbers {
  bool is_connected = false;
  std::uint64_t reconnects = 0;
  telemetry::DurationHistogram round_trips{telemetry::Buckets::round_trips};
};
// `status` is that of one bus where a program has several, `numbers` of all together.
void write_bus_metrics(telemetry::MetricsWriter& out, const messaging::BusStatus& status, const BusNumbers& numbers);

}  // namespace outrigger::app
