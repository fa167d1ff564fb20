#include "bridge/cli/sample_service.h"

#include "bridge/base/log.h"

namespace outrigger::cli {
namespace {

constexpr char kDocument[] = R"json({
  "openapi": "3.0.3",
  "info": {"title": "Sample service of outrigger dev", "version": "1.0.0"},
  "paths": {
    "/hello": {"get": {"summary": "Says hello", "operationId": "hello",
      "responses": {"200": {"description": "A greeting"}}}},
    "/hello/{name}": {"get": {"summary": "Says hello to somebody", "operationId": "helloName",
      "parameters": [{"name": "name", "in": "path", "required": true, "schema": {"type": "string"}}],
      "responses": {"200": {"description": "A greeting"}}}},
    "/headers": {"get": {"summary": "Shows the request as the service sees it", "operationId": "headers",
      "responses": {"200": {"description": "One header field per line"}}}},
    "/echo": {"post": {"summary": "Gives the body back", "operationId": "echo",
      "requestBody": {"content": {"application/octet-stream": {}}},
      "responses": {"200": {"description": "The body"}}}}
  }
})json";

http1::ResponseHead head_of(int status, std::string_view type) {
  http1::ResponseHead head;
  head.status = status;
  head.headers.add("Content-Type", type);
  return head;
}

}  // namespace

class SampleService::Echo final : public http1::ExchangeHandler {
 public:
  explicit Echo(http1::Exchange& exchange) : exchange_(exchange) {}
  void on_body(std::string_view bytes) override { body_.append(bytes); }
  void on_request_end() override {
    exchange_.send(head_of(200, exchange_.request().headers.find("Content-Type").value_or("application/octet-stream")),
                   std::move(body_));
  }
  void on_aborted(const base::Error&) override {}

 private:
  http1::Exchange& exchange_;
  std::string body_;
};

base::Result<std::unique_ptr<SampleService>> SampleService::open(net::EventLoop& loop) {
  std::unique_ptr<SampleService> service(new SampleService);
  auto server = http1::HttpServer::open(loop, net::Endpoint::tcp("127.0.0.1", 0), {}, *service);
  if (!server) return server.error();
  service->server_ = std::move(*server);
  return service;
}

void SampleService::on_request(http1::Exchange& exchange) {
  const http1::RequestHead& request = exchange.request();
  const std::string_view path = std::string_view(request.target).substr(0, request.target.find('?'));
  const bool is_read = request.method == "GET" || request.method == "HEAD";
  if (path == "/openapi.json" && is_read) {
    exchange.send(head_of(200, "application/json"), kDocument);
  } else if (path == "/hello" && is_read) {
    exchange.send(head_of(200, "application/json"), "{\"hello\":\"world\"}\n");
  } else if (path.starts_with("/hello/") && is_read) {
    std::string text = "{\"hello\":\"";
    base::append_json_escaped(text, path.substr(7));
    exchange.send(head_of(200, "application/json"), text + "\"}\n");
  } else if (path == "/headers" && is_read) {
    std::string text = request.method + " " + request.target + "\n";
    for (const base::HeaderField field : request.headers) {
      text.append(field.name).append(": ").append(field.value).append("\n");
    }
    exchange.send(head_of(200, "text/plain; charset=utf-8"), std::move(text));
  } else if (path == "/echo" && request.method == "POST") {
    exchange.set_handler(std::make_unique<Echo>(exchange));
    exchange.accept_body();
  } else {
    exchange.send(head_of(404, "text/plain; charset=utf-8"), "try /hello, /hello/{name}, /headers, POST /echo\n");
  }
}

}  // namespace outrigger::cli
