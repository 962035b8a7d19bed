// SPDX-License-Identifier: BSD-2-Clause
//
// netchan-cat: makes a flow stdin and stdout, as nc does with a socket.
//
//   netchan-cat [-k] [-d] [-s SOCKET] [-w SECONDS] [-c ADDRESS:PORT] [-v] FLOW
//
// A listening flow serves one connection (-k: one after the other, for ever), a connecting one dials (-c: that destination). The end of stdin
// becomes a FIN, the peer's FIN the end of stdout; it ends when both have happened. Octets are copied once each way:
// read() goes straight into the send log, write() comes straight out of the receive log.
//
// Exit: 0 done, 1 refused, reset or a system error, 2 usage, 3 netchand is gone, 4 nobody came within -w.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netchan/netchan.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

enum Exit { exit_done = 0, exit_failed = 1, exit_usage = 2, exit_daemon_gone = 3, exit_timeout = 4 };

struct Options {
  const char* flow = nullptr;
  const char* socket = nullptr;
  int wait_ms = -1;
  sockaddr_storage destination{};  // of -c; its family is 0 without
  bool keep = false, no_stdin = false, verbose = false;
};

int report(const char* what, int status, const nc_channel* channel) {
  const int error = errno;
  const char* words = nc_channel_error(channel);
  std::fprintf(stderr, "netchan-cat: %s: %s%s%s\n", what,
               status == NC_SYSTEM && *words == 0 ? std::strerror(error) : nc_strerror(status), *words != 0 ? ": " : "",
               words);
  if (status == NC_DAEMON_GONE) return exit_daemon_gone;
  return status == NC_TIMEOUT ? exit_timeout : exit_failed;
}

// stdout: never blocks us, so that a reader who waits for our peer's answer cannot make us wait for each other.
class Output {
 public:
  Output() {
    struct stat st {};
    if (::fstat(STDOUT_FILENO, &st) != 0 || !(S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode))) return;
    // An open file description of our own: O_NONBLOCK on the shared one would surprise the other holders.
    const int own = ::open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (own >= 0)
      fd_ = own;
    else
      most_ = PIPE_BUF;  // what poll promises for a blocking pipe
  }
  int fd() const { return fd_; }
  void close() const {  // the reader sees the end while we may still be sending
    ::close(STDOUT_FILENO);
    if (fd_ != STDOUT_FILENO) ::close(fd_);
  }
  // Octets written, 0: not now, -1: error.
  ssize_t write(const void* octets, std::size_t size) const {
    const ssize_t n = ::write(fd_, octets, size < most_ ? size : most_);
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : n;
  }

 private:
  int fd_ = STDOUT_FILENO;
  std::size_t most_ = 8u << 20;
};

class Cat {
 public:
  Cat(nc_channel* channel, nc_stream* stream, const Output& output, bool read_stdin, bool last)
      : channel_(channel), stream_(stream), output_(output), last_(last), stdin_open_(read_stdin) {}

  int run() {  // an Exit
    const int fd = nc_channel_fd(channel_);
    while (stdin_open_ || !sent_all_ || stdout_open_) {
      int status = send();
      if (status == 0) status = receive();
      if (status == 0) status = events();
      if (status < 0) return failed(status);
      if (status > 0) return exit_failed;  // said already
      if (moved_) {
        moved_ = false;
        continue;
      }
      if (finished()) break;
      // Sleep on whatever can be moved. An end that waits for the other side is not watched.
      pollfd wait[] = {{fd, POLLIN, 0},
                       {stdin_open_ && !log_full_ ? STDIN_FILENO : -1, POLLIN, 0},
                       {output_waiting_ ? output_.fd() : -1, POLLOUT, 0}};
      if (::poll(wait, 3, -1) < 0 && errno != EINTR) return system("poll");
      stdin_ready_ = (wait[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0;
    }
    return exit_done;
  }

 private:
  bool finished() const { return !stdin_open_ && sent_all_ && !stdout_open_; }

  int system(const char* what) {
    std::fprintf(stderr, "netchan-cat: %s: %s\n", what, std::strerror(errno));
    return exit_failed;
  }

  int failed(int status) {
    if (status == NC_RESET) {
      nc_stream_info info;
      info.size = sizeof info;
      nc_stream_get_info(stream_, &info);
      std::fprintf(stderr, "netchan-cat: the connection is gone: %s\n", nc_close_reason_text(info.reason));
      return exit_failed;
    }
    return report("stream", status, channel_);
  }

  // stdin into the send log.
  int send() {
    if (!stdin_open_) {
      if (!sent_all_) {
        sent_all_ = true;
        const int status = nc_shutdown(stream_);
        return status == NC_CLOSED ? 0 : status;
      }
      return 0;
    }
    if (!stdin_ready_) return 0;
    void* at = nullptr;
    std::size_t size = 0;
    const int status = nc_reserve(stream_, 1, &at, &size);
    log_full_ = status == NC_FULL;
    if (log_full_) return 0;
    if (status != 0) return status;
    const ssize_t n = ::read(STDIN_FILENO, at, size);
    stdin_ready_ = false;
    if (n < 0) return errno == EINTR || errno == EAGAIN ? 0 : system("stdin");
    moved_ = true;
    if (n == 0) {
      stdin_open_ = false;
      return 0;
    }
    // A full read: a file, most likely, so there is more, and it is read without asking poll first.
    stdin_ready_ = static_cast<std::size_t>(n) == size && stdin_is_file();
    return nc_commit(stream_, static_cast<std::size_t>(n), NC_FLUSH);
  }

  bool stdin_is_file() {
    if (stdin_kind_ < 0) {
      struct stat st {};
      stdin_kind_ = ::fstat(STDIN_FILENO, &st) == 0 && S_ISREG(st.st_mode) ? 1 : 0;
    }
    return stdin_kind_ == 1;
  }

  // The receive log to stdout.
  int receive() {
    output_waiting_ = false;
    if (!stdout_open_) return 0;
    nc_span spans[2];
    const int n = nc_peek(stream_, spans);
    if (n == NC_AGAIN) return 0;
    if (n == NC_END) {
      stdout_open_ = false;
      if (last_) output_.close();
      return 0;
    }
    if (n < 0) return n;
    const ssize_t written = output_.write(spans[0].octets, spans[0].size);
    if (written < 0) return errno == EPIPE ? int{exit_failed} : system("stdout");  // the reader has what it wanted
    output_waiting_ = static_cast<std::size_t>(written) < spans[0].size;
    moved_ = moved_ || written > 0;
    nc_consume(stream_, static_cast<std::size_t>(written));
    return 0;
  }

  int events() {
    nc_event batch[16];
    const int n = nc_channel_poll(channel_, batch, 16, 0);
    for (int i = 0; i < n; ++i) {
      if (batch[i].stream != stream_) continue;
      moved_ = true;
      if (batch[i].kind == NC_EVENT_WRITABLE) log_full_ = false;
    }
    return n < 0 && !finished() ? n : 0;
  }

  nc_channel* channel_;
  nc_stream* stream_;
  const Output& output_;
  bool last_;
  bool stdin_open_, stdin_ready_ = false, stdout_open_ = true, sent_all_ = false;
  bool log_full_ = false, output_waiting_ = false;
  bool moved_ = false;  // something was done: look again before sleeping
  int stdin_kind_ = -1;
};

// ADDRESS:PORT or [ADDRESS]:PORT, numbers only.
bool parse_destination(const char* text, sockaddr_storage& to) {
  const char* colon = std::strrchr(text, ':');
  if (colon == nullptr) return false;
  char* end = nullptr;
  const unsigned long port = std::strtoul(colon + 1, &end, 10);
  if (colon[1] == 0 || *end != 0 || port == 0 || port > 65535) return false;
  const bool v6 = *text == '[' && colon[-1] == ']';
  const std::size_t length = static_cast<std::size_t>(colon - text) - (v6 ? 2 : 0);
  char address[INET6_ADDRSTRLEN]{};
  if (length >= sizeof address) return false;
  std::memcpy(address, text + (v6 ? 1 : 0), length);
  if (v6) {
    sockaddr_in6 a{};
    a.sin6_family = AF_INET6;
    a.sin6_port = htons(static_cast<std::uint16_t>(port));
    std::memcpy(&to, &a, sizeof a);
    return ::inet_pton(AF_INET6, address, &reinterpret_cast<sockaddr_in6&>(to).sin6_addr) == 1;
  }
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(static_cast<std::uint16_t>(port));
  std::memcpy(&to, &a, sizeof a);
  return ::inet_pton(AF_INET, address, &reinterpret_cast<sockaddr_in&>(to).sin_addr) == 1;
}

int dial(nc_flow* flow, nc_stream** stream, const Options& options) {
  const auto* to = reinterpret_cast<const sockaddr*>(&options.destination);
  return to->sa_family == 0 ? nc_dial_wait(flow, stream, options.wait_ms)
                            : nc_dial_to_wait(flow, to, sizeof options.destination, stream, options.wait_ms);
}

void print_peer(const sockaddr_storage& peer) {
  char text[INET6_ADDRSTRLEN] = "?";
  std::uint16_t port = 0;
  if (peer.ss_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &peer, sizeof v4);
    ::inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    port = ntohs(v4.sin_port);
  } else if (peer.ss_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, &peer, sizeof v6);
    ::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
    port = ntohs(v6.sin6_port);
  }
  std::fprintf(stderr, "netchan-cat: connection from %s port %u\n", text, unsigned{port});
}

int serve(nc_channel* channel, nc_flow* flow, const Options& options) {
  const Output output;
  for (;;) {
    nc_stream* stream = nullptr;
    sockaddr_storage peer{};
    const bool listener = nc_flow_is_listener(flow) != 0;
    const int status =
        listener ? nc_accept_wait(flow, &stream, &peer, options.wait_ms) : dial(flow, &stream, options);
    if (status < 0) return report(options.flow, status, channel);
    if (options.verbose && listener) print_peer(peer);
    const bool last = !options.keep || !listener;
    const int result = Cat(channel, stream, output, !options.no_stdin, last).run();
    nc_close(stream);
    if (last || result == exit_daemon_gone) return result;
  }
}

int usage(const char* problem) {
  std::fprintf(stderr,
               "%s%susage: netchan-cat [-k] [-d] [-s SOCKET] [-w SECONDS] [-c ADDRESS:PORT] [-v] FLOW\n"
               "  -k  keep on: serve connections of a listening flow one after the other\n"
               "  -d  do not read stdin: the peer sees the end at once\n"
               "  -s  netchand's client socket (default $NETCHAN_SOCKET, else " NC_DEFAULT_SOCKET
               ")\n"
               "  -w  give up when no connection is there after so many seconds\n"
               "  -c  connect to this destination of the flow instead of its own server\n"
               "  -v  say who connects\n",
               problem, *problem != 0 ? "\n" : "");
  return exit_usage;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int o; (o = ::getopt(argc, argv, "kds:w:c:vh")) != -1;) {
    char* end = nullptr;
    switch (o) {
      case 'k':
        options.keep = true;
        break;
      case 'd':
        options.no_stdin = true;
        break;
      case 's':
        options.socket = optarg;
        break;
      case 'c':
        if (!parse_destination(optarg, options.destination)) return usage("-c wants ADDRESS:PORT, an IPv6 address in brackets");
        break;
      case 'v':
        options.verbose = true;
        break;
      case 'w': {
        const long seconds = std::strtol(optarg, &end, 10);
        if (*optarg == 0 || *end != 0 || seconds < 0 || seconds > INT_MAX / 1000)
          return usage("-w wants a number of seconds");
        options.wait_ms = static_cast<int>(seconds) * 1000;
        break;
      }
      default:
        return usage("");
    }
  }
  if (argc - optind != 1) return usage("which flow?");
  options.flow = argv[optind];
  ::signal(SIGPIPE, SIG_IGN);

  nc_channel_options channel_options{};
  channel_options.size = sizeof channel_options;
  channel_options.socket_path = options.socket;
  nc_channel* channel = nullptr;
  nc_flow* flow = nullptr;
  int status = nc_channel_open(&channel_options, &channel);
  if (status < 0) return report("netchand", status, nullptr);
  status = nc_attach(channel, options.flow, &flow);
  const int result = status < 0 ? report(options.flow, status, channel) : serve(channel, flow, options);
  nc_channel_close(channel);
  return result;
}
