#include "bridge/http1/message.h"

namespace outrigger::http1 {

int status_of(ParseProblem problem) {
  switch (problem) {
    case ParseProblem::none:
      return 200;
    case ParseProblem::bad_request:
      return 400;
    case ParseProblem::timed_out:
      return 408;
    case ParseProblem::body_too_large:
      return 413;
    case ParseProblem::uri_too_long:
      return 414;
    case ParseProblem::headers_too_large:
      return 431;
    case ParseProblem::overloaded:
      return 503;
    case ParseProblem::unsupported:
      return 501;
    case ParseProblem::version:
      return 505;
  }
  return 400;
}

std::string_view name_of(ParseProblem problem) {
  switch (problem) {
    case ParseProblem::none:
      return "none";
    case ParseProblem::bad_request:
      return "bad_request";
    case ParseProblem::timed_out:
      return "timed_out";
    case ParseProblem::body_too_large:
      return "body_too_large";
    case ParseProblem::uri_too_long:
      return "uri_too_long";
    case ParseProblem::headers_too_large:
      return "headers_too_large";
    case ParseProblem::overloaded:
      return "overloaded";
    case ParseProblem::unsupported:
      return "unsupported";
    case ParseProblem::version:
      return "version";
  }
  return "bad_request";
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 101:
      return "Switching Protocols";
    case 103:
      return "Early Hints";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 203:
      return "Non-Authoritative Information";
    case 204:
      return "No Content";
    case 205:
      return "Reset Content";
    case 206:
      return "Partial Content";
    case 300:
      return "Multiple Choices";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 303:
      return "See Other";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 406:
      return "Not Acceptable";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 411:
      return "Length Required";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 416:
      return "Range Not Satisfiable";
    case 417:
      return "Expectation Failed";
    case 421:
      return "Misdirected Request";
    case 422:
      return "Unprocessable Content";
    case 425:
      return "Too Early";
    case 426:
      return "Upgrade Required";
    case 428:
      return "Precondition Required";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 451:
      return "Unavailable For Legal Reasons";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "";
  }
}

}  // namespace outrigger::http1
