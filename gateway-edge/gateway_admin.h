// What the gateway's admin listener shows and does: /routes, /instances, /resync. The process's own routes are the Admin's.
#pragma once

#include "bridge/app/admin.h"
#include "gateway-edge/control.h"

namespace outrigger::gateway {

// `control` outlives the listener of `admin`.
void add_gateway_routes(app::Admin& admin, Control& control);

}  // namespace outrigger::gateway
