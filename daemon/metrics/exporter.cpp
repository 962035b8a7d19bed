// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/metrics/exporter.h"

#include <arpa/inet.h>
#include <civetweb.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string_view>

namespace netchan::metrics {
namespace {

std::string escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') out += "&amp;";
    else if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else out += c;
  }
  return out;
}

std::string endpoint(const wire::Address& a, std::uint16_t port) {
  char text[INET6_ADDRSTRLEN];
  if (a.is_v4()) return std::string(inet_ntop(AF_INET, a.octets.data() + 12, text, sizeof text)) + ":" + std::to_string(port);
  return "[" + std::string(inet_ntop(AF_INET6, a.octets.data(), text, sizeof text)) + "]:" + std::to_string(port);
}

// civetweb says only that it cannot bind; a socket of our own, gone at once, says why.
int bind_error(const wire::Address& a, std::uint16_t port) {
  const int fd = socket(a.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  const int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  int result;
  if (a.is_v4()) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET, v4.sin_port = htons(port);
    std::memcpy(&v4.sin_addr, a.octets.data() + 12, 4);
    result = bind(fd, reinterpret_cast<const sockaddr*>(&v4), sizeof v4);
  } else {
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6, v6.sin6_port = htons(port);
    std::memcpy(&v6.sin6_addr, a.octets.data(), 16);
    result = bind(fd, reinterpret_cast<const sockaddr*>(&v6), sizeof v6);
  }
  if (result == 0) result = listen(fd, 1);  // two sockets may bind with SO_REUSEADDR; only one may listen
  const int error = result == 0 ? 0 : errno;
  close(fd);
  return error;
}

const char* cure(int error) {
  switch (error) {
    case EADDRINUSE: return "; another program serves there (`ss -ltnp` shows which)";
    case EADDRNOTAVAIL: return "; no interface has that address";
    case EACCES: return "; ports below 1024 need privileges that netchand does not have: choose another";
    case EAFNOSUPPORT: return "; this kernel has no IPv6";
    default: return "";
  }
}

}  // namespace

struct Exporter::Server {
  const Registry& registry;
  wire::Address address;
  std::uint16_t port;
  std::function<std::string()> status;
  void (*before_serving)();
  std::string last_error{};  // of civetweb, while it starts
  mg_context* context = nullptr;

  static Server& of(const mg_connection* c) { return *static_cast<Server*>(mg_get_user_data(mg_get_context(c))); }

  static void answer(mg_connection* c, int code, const char* reason, const char* type, const std::string& body, bool head) {
    mg_printf(c,
              "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n"
              "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
              code, reason, type, body.size());
    if (!head) mg_write(c, body.data(), body.size());
  }

  static int request(mg_connection* c) {
    constexpr const char* kText = "text/plain; charset=utf-8";
    Server& self = of(c);
    const mg_request_info& info = *mg_get_request_info(c);
    const std::string_view method = info.request_method, uri = info.local_uri;
    const bool head = method == "HEAD";
    try {
      if (!head && method != "GET") answer(c, 405, "Method Not Allowed", kText, "Only GET and HEAD.\n", false);
      else if (uri == "/metrics") answer(c, 200, "OK", "text/plain; version=0.0.4; charset=utf-8", self.registry.text(), head);
      else if (uri == "/") answer(c, 200, "OK", "text/html; charset=utf-8", self.page(), head);
      else answer(c, 404, "Not Found", kText, "There are / and /metrics.\n", head);
    } catch (const std::exception& e) {  // none may pass through civetweb's C frames
      answer(c, 500, "Internal Server Error", kText, std::string(e.what()) + "\n", head);
    }
    return 200;  // answered
  }

  std::string page() const {
    return "<!doctype html><meta charset=\"utf-8\"><title>netchand</title>\n<pre>" + escape(status ? status() : "") +
           "</pre>\n<p><a href=\"/metrics\">metrics</a>\n";
  }
};

Exporter::Exporter(const Registry& registry, const wire::Address& address, std::uint16_t port, std::function<std::string()> status,
                   void (*before_serving)())
    : server_(new Server{registry, address, port, std::move(status), before_serving}) {}

Exporter::~Exporter() {
  if (server_->context != nullptr) mg_stop(server_->context);
}

void Exporter::start() {
  Server& s = *server_;
  const std::string where = endpoint(s.address, s.port);
  if (const int error = bind_error(s.address, s.port))
    throw std::runtime_error("metrics.listen: cannot serve on " + where + ": " + std::strerror(error) + cure(error));

  mg_init_library(0);
  mg_callbacks callbacks{};
  callbacks.begin_request = Server::request;
  callbacks.init_thread = [](const mg_context* context, int) -> void* {
    const Server& self = *static_cast<const Server*>(mg_get_user_data(context));
    if (self.before_serving != nullptr) self.before_serving();
    return nullptr;
  };
  callbacks.log_message = [](const mg_connection* c, const char* message) {
    if (mg_get_context(c) != nullptr && Server::of(c).context == nullptr) Server::of(c).last_error = message;
    return 1;  // not to a file of civetweb's own
  };
  // Two threads: a scraper that stalls does not lock the other reader out. Connections are short, so that an idle one holds
  // no thread, and a request that does not come ends after 5 s.
  const char* options[] = {"listening_ports", where.c_str(), "num_threads", "2", "enable_keep_alive", "no",
                           "request_timeout_ms", "5000", "tcp_nodelay", "1", nullptr};
  // Signals belong to the main thread: threads born here inherit the mask.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  s.context = mg_start(&callbacks, &s, options);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (s.context == nullptr) throw std::runtime_error("metrics.listen: cannot serve on " + where + ": " + s.last_error);
  mg_server_port bound{};
  if (s.port == 0 && mg_get_server_ports(s.context, 1, &bound) == 1) s.port = static_cast<std::uint16_t>(bound.port);
}

std::uint16_t Exporter::port() const { return server_->port; }

}  // namespace netchan::metrics
