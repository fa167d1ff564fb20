// What the workers know of the services: immutable, made by the control loop, swapped whole. A request keeps the view it
// started with.
#pragma once

#include <memory>
#include <string>

#include "bridge/router/address_book.h"
#include "bridge/router/route_table.h"
#include "gateway-edge/access_table.h"

namespace outrigger::gateway {

struct RoutingView {
  bool is_known = false;  // the bus was asked; before that a path without a route may well have one
  std::shared_ptr<const router::RouteTable> routes;
  std::shared_ptr<const AccessTable> access;  // of the same metadata as `routes`
  std::shared_ptr<const router::AddressBook> addresses;
  std::shared_ptr<const std::string> openapi_json;
  std::string openapi_etag;
  std::string generated_at;  // RFC 3339
};

}  // namespace outrigger::gateway
