// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/metrics/exporter.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string_view>
#include <thread>

namespace netchan::metrics {
namespace {

constexpr unsigned kConnections = 32;    // a handful of scrapers and people; more is a mistake or an attack
constexpr unsigned kIdleSeconds = 10;    // a connection that says nothing for so long is closed
constexpr std::size_t kRequest = 8192;   // octets that one connection may make us hold

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

SocketAddress socket_address(const wire::Address& a, std::uint16_t port) {
  SocketAddress out;
  if (a.is_v4()) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET, v4.sin_port = htons(port);
    std::memcpy(&v4.sin_addr, a.octets.data() + 12, 4);
    std::memcpy(&out.storage, &v4, out.size = sizeof v4);
  } else {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6, v6.sin6_port = htons(port);
    std::memcpy(&v6.sin6_addr, a.octets.data(), 16);
    std::memcpy(&out.storage, &v6, out.size = sizeof v6);
  }
  return out;
}

std::string name(const wire::Address& a, std::uint16_t port) {
  char text[INET6_ADDRSTRLEN];
  if (a.is_v4()) return std::string(inet_ntop(AF_INET, a.octets.data() + 12, text, sizeof text)) + ":" + std::to_string(port);
  return "[" + std::string(inet_ntop(AF_INET6, a.octets.data(), text, sizeof text)) + "]:" + std::to_string(port);
}

const char* cure(int error) {
  switch (error) {
    case EADDRINUSE: return "; another program serves there (`ss -ltnp` shows which)";
    case EADDRNOTAVAIL: return "; no interface has that address";
    case EACCES: return "; ports below 1024 need a privilege that netchand does not have: choose another";
    case EAFNOSUPPORT: return "; this kernel has no IPv6";
    default: return "";
  }
}

int listening_socket(const wire::Address& a, std::uint16_t port) {
  const int fd = socket(a.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int one = 1;
  const SocketAddress address = socket_address(a, port);
  if (fd >= 0) {
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (!a.is_v4()) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, address.get(), address.size) == 0 && listen(fd, kConnections) == 0) return fd;
  }
  const int error = errno;
  if (fd >= 0) close(fd);
  throw std::runtime_error("metrics.listen: cannot serve on " + name(a, port) + ": " + std::strerror(error) + cure(error));
}

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

}  // namespace

struct Exporter::Server {
  const Registry& registry;
  wire::Address address;
  std::uint16_t port;
  std::function<std::string()> status;
  void (*before_serving)();

  MHD_Daemon* http = nullptr;  // owns the listening socket
  int stop = -1, epoll = -1;
  std::thread thread{};

  ~Server() {
    if (thread.joinable()) {
      eventfd_write(stop, 1);
      thread.join();
    }
    if (http != nullptr) MHD_stop_daemon(http);
    if (epoll >= 0) close(epoll);
    if (stop >= 0) close(stop);
  }

  void serve() {
    if (before_serving != nullptr) before_serving();
    for (;;) {
      MHD_UNSIGNED_LONG_LONG wait = 0;
      const int timeout = MHD_get_timeout(http, &wait) == MHD_YES ? static_cast<int>(std::min(wait, 60'000ull)) : -1;
      epoll_event events[2];
      const int n = epoll_wait(epoll, events, 2, timeout);
      for (int i = 0; i < n; ++i)
        if (events[i].data.fd == stop) return;
      MHD_run(http);
    }
  }

  std::string page() const {
    return "<!doctype html><meta charset=\"utf-8\"><title>netchand</title>\n<pre>" + escape(status ? status() : "") +
           "</pre>\n<p><a href=\"/metrics\">metrics</a>\n";
  }

  static MHD_Result queue(MHD_Connection* c, unsigned code, const char* type, const std::string& body) {
    // libmicrohttpd copies the body; it is not written to.
    MHD_Response* r = MHD_create_response_from_buffer(body.size(), const_cast<char*>(body.data()), MHD_RESPMEM_MUST_COPY);
    if (r == nullptr) return MHD_NO;
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    if (code == MHD_HTTP_METHOD_NOT_ALLOWED) MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    const MHD_Result result = MHD_queue_response(c, code, r);  // of a HEAD only the header is sent
    MHD_destroy_response(r);
    return result;
  }

  MHD_Result answer(MHD_Connection* c, std::string_view uri, std::string_view method) const {
    constexpr const char* kText = "text/plain; charset=utf-8";
    try {
      if (method != MHD_HTTP_METHOD_GET && method != MHD_HTTP_METHOD_HEAD) return queue(c, 405, kText, "Only GET and HEAD.\n");
      if (uri == "/metrics") return queue(c, 200, "text/plain; version=0.0.4; charset=utf-8", registry.text());
      if (uri == "/") return queue(c, 200, "text/html; charset=utf-8", page());
      return queue(c, 404, kText, "There are / and /metrics.\n");
    } catch (const std::exception& e) {  // none may pass through libmicrohttpd's C frames
      return queue(c, 500, kText, std::string(e.what()) + "\n");
    }
  }

  // Called once when the header is there (nothing is said yet, so that a body can be taken in), then until it is answered.
  static MHD_Result request(void* self, MHD_Connection* c, const char* uri, const char* method, const char*, const char*,
                            std::size_t* body_size, void** seen) {
    if (*seen == nullptr) return *seen = self, MHD_YES;
    if (*body_size != 0) return *body_size = 0, MHD_YES;  // of a POST: not wanted
    return static_cast<const Server*>(self)->answer(c, uri, method);
  }
};

Exporter::Exporter(const Registry& registry, const wire::Address& address, std::uint16_t port, std::function<std::string()> status,
                   void (*before_serving)())
    : server_(new Server{registry, address, port, std::move(status), before_serving}) {}

Exporter::~Exporter() = default;

void Exporter::start() {
  Server& s = *server_;
  const int fd = listening_socket(s.address, s.port);
  if (s.port == 0) {
    sockaddr_in6 bound{};  // the port stands in the same place in both families
    socklen_t size = sizeof bound;
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size) == 0) s.port = ntohs(bound.sin6_port);
  }
  s.http = MHD_start_daemon(MHD_USE_EPOLL, 0, nullptr, nullptr, Server::request, &s, MHD_OPTION_LISTEN_SOCKET, fd,
                            MHD_OPTION_CONNECTION_LIMIT, kConnections, MHD_OPTION_CONNECTION_TIMEOUT, kIdleSeconds,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, kRequest, MHD_OPTION_END);
  if (s.http == nullptr) {
    close(fd);
    throw std::runtime_error("metrics.listen: libmicrohttpd cannot start on " + name(s.address, s.port));
  }
  s.stop = eventfd(0, EFD_CLOEXEC);
  s.epoll = epoll_create1(EPOLL_CLOEXEC);
  if (s.stop < 0 || s.epoll < 0) throw std::runtime_error(std::string("metrics: ") + std::strerror(errno));
  for (const int watched : {s.stop, MHD_get_daemon_info(s.http, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd}) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = watched;
    if (epoll_ctl(s.epoll, EPOLL_CTL_ADD, watched, &event) != 0) throw std::runtime_error(std::string("metrics: ") + std::strerror(errno));
  }
  // Signals belong to the main thread: a thread inherits the mask that it is born under.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  s.thread = std::thread([&s] { s.serve(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

std::uint16_t Exporter::port() const { return server_->port; }

}  // namespace netchan::metrics
