// What every program says of itself: build_info and the process_* families that each Prometheus client has, read from
// /proc when asked.
#pragma once

#include "bridge/telemetry/metrics.h"

namespace outrigger::app {

void write_process_metrics(telemetry::MetricsWriter& out);

}  // namespace outrigger::app
