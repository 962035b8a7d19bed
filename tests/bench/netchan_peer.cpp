// SPDX-License-Identifier: BSD-2-Clause
//
// The client's side of the benchmarks: what kernel_peer.cpp does, over libnetchan. TARGET is a flow; a listening flow
// accepts, a connecting one dials. See peer.h. The source flushes every --batch messages and whenever it must wait.
#include <netchan/netchan.h>

#include "tests/bench/peer.h"

using namespace netchan::bench;

namespace {

void check(std::int64_t status, const char* what) {
  if (status < 0) die(std::string(what) + ": " + nc_strerror(static_cast<int>(status)));
}

struct Session {
  nc_channel* channel = nullptr;
  nc_flow* flow = nullptr;

  explicit Session(const Options& o) {
    check(nc_channel_open(nullptr, &channel), "nc_channel_open");
    const int status = nc_attach(channel, o.target.c_str(), &flow);
    if (status < 0) die("nc_attach: " + std::string(nc_strerror(status)) + ": " + nc_channel_error(channel));
    std::fprintf(stderr, "ready\n");
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session() { nc_channel_close(channel); }

  std::vector<nc_stream*> open_all(int count) {
    std::vector<nc_stream*> all;
    while (std::ssize(all) < count) {
      nc_stream* stream = nullptr;
      // Dials go out in bundles: the daemon takes some 1000 commands a second from each user.
      const int status = nc_flow_is_listener(flow) ? nc_accept_wait(flow, &stream, nullptr, 30000) : nc_dial(flow, &stream);
      if (status == NC_AGAIN) {
        wait(false);
        continue;
      }
      check(status, "opening");
      all.push_back(stream);
    }
    nc_stream_info info{};
    info.size = sizeof info;
    for (nc_stream* stream : all)
      while (check(nc_stream_get_info(stream, &info), "nc_stream_get_info"), info.state == NC_STREAM_OPENING) wait(false);
    return all;
  }

  nc_stream* open_one() {
    nc_stream* stream = nullptr;
    if (nc_flow_is_listener(flow)) check(nc_accept_wait(flow, &stream, nullptr, 30000), "nc_accept_wait");
    else check(nc_dial_wait(flow, &stream, 30000), "nc_dial_wait");
    return stream;
  }

  // Until something has happened; what, the caller finds out by trying again.
  void wait(bool spin) {
    nc_event events[16];
    check(nc_channel_poll(channel, events, 16, spin ? 0 : 1000), "nc_channel_poll");
  }
};

void end_stream(Session& s, nc_stream* stream) {
  check(nc_shutdown(stream), "nc_shutdown");
  nc_span spans[2];
  for (int n; (n = nc_peek(stream, spans)) != NC_END;) {
    if (n == NC_RESET) die("the peer reset the connection");
    for (int i = 0; i < n; ++i) check(nc_consume(stream, spans[i].size), "nc_consume");
    s.wait(false);
  }
  nc_close(stream);
}

void source(const Options& o) {
  Session s(o);
  nc_stream* stream = s.open_one();
  std::vector<std::byte> message(o.size);
  std::uint64_t n = 0;
  const double start = now(), end = start + o.seconds;
  for (bool more = true; more;) {
    for (std::size_t b = 0; b < o.batch; ++b, ++n) {
      number(message.data(), n);
      for (std::size_t sent = 0; sent < o.size;) {
        const std::int64_t taken = nc_send(stream, message.data() + sent, o.size - sent, 0);
        if (taken == NC_FULL) {
          s.wait(o.spin);
          continue;
        }
        check(taken, "nc_send");
        sent += static_cast<std::size_t>(taken);
      }
    }
    check(nc_channel_flush(s.channel), "nc_channel_flush");
    more = now() < end;
  }
  end_stream(s, stream);
  report_flow(o, n * o.size, now() - start);
}

void sink(const Options& o) {
  Session s(o);
  nc_stream* stream = s.open_one();
  Walker walker(o.size);
  nc_span spans[2];
  for (;;) {
    const int n = nc_peek(stream, spans);
    if (n == NC_END) break;
    if (n == NC_AGAIN || n == 0) {
      s.wait(o.spin);
      continue;
    }
    check(n, "nc_peek");
    std::size_t size = 0;
    for (int i = 0; i < n; ++i) {
      walker.take(static_cast<const std::byte*>(spans[i].octets), spans[i].size);
      size += spans[i].size;
    }
    check(nc_consume(stream, size), "nc_consume");
  }
  walker.finish();
  end_stream(s, stream);
  report_flow(o, walker.octets(), walker.seconds());
}

void spread(const Options& o) {
  Session s(o);
  const std::vector<nc_stream*> streams = s.open_all(o.count);
  std::vector<std::byte> message(o.size);
  std::uint64_t n = 0, sent = 0;
  const double start = now(), end = start + o.seconds;
  for (bool more = true; more; ++n) {
    number(message.data(), n);
    for (std::size_t i = 0; i < streams.size() && more; ++i) {
      while (nc_send(streams[i], message.data(), o.size, 0) == NC_FULL) s.wait(o.spin);
      ++sent;
      if (i % o.batch == o.batch - 1) {
        check(nc_channel_flush(s.channel), "nc_channel_flush");
        more = now() < end;
      }
    }
    check(nc_channel_flush(s.channel), "nc_channel_flush");
    more = more && now() < end;
  }
  const double seconds = now() - start;
  for (nc_stream* stream : streams) end_stream(s, stream);
  report_flow(o, sent * o.size, seconds);
}

void gather(const Options& o) {
  Session s(o);
  nc_event events[256];
  std::uint64_t octets = 0;
  double first = 0, last = 0;
  const auto take = [&](nc_stream* stream) {
    nc_span spans[2];
    int n;
    while ((n = nc_peek(stream, spans)) > 0) {
      last = now();
      if (octets == 0) first = last;
      for (int i = 0; i < n; ++i) {
        octets += spans[i].size;
        check(nc_consume(stream, spans[i].size), "nc_consume");
      }
    }
    return n == NC_END || n == NC_RESET;
  };
  for (int ended = 0; ended < o.count;) {
    const int n = nc_channel_poll(s.channel, events, 256, o.spin ? 0 : -1);
    check(n, "nc_channel_poll");
    for (int i = 0; i < n; ++i) {
      nc_stream* stream = events[i].stream;
      if (events[i].kind == NC_EVENT_DAEMON_GONE) die("the daemon is gone");
      const auto end = [&] {
        nc_close(stream);
        ++ended;
        for (int j = i + 1; j < n; ++j)
          if (events[j].stream == stream) events[j].stream = nullptr;
      };
      if (events[i].kind == NC_EVENT_ACCEPTABLE)
        while (nc_accept(s.flow, &stream, nullptr) == NC_OK) {
          if (take(stream)) end();
        }
      else if (stream && take(stream)) end();
    }
  }
  nc_channel_poll(s.channel, events, 256, 200);
  report_flow(o, octets, last - first);
}

// One stream's turn of the echo: as much as fits. True: the stream is over.
bool echo_some(nc_stream* stream) {
  nc_span spans[2];
  for (;;) {
    const int n = nc_peek(stream, spans);
    if (n == NC_END || n == NC_RESET) return true;
    if (n <= 0) return false;
    const std::int64_t taken = nc_send(stream, spans[0].octets, spans[0].size, 0);
    if (taken == NC_RESET || taken == NC_CLOSED) return true;
    if (taken <= 0) return false;  // full: WRITABLE comes
    check(nc_consume(stream, static_cast<std::size_t>(taken)), "nc_consume");
  }
}

void echo(const Options& o) {
  Session s(o);
  int ended = 0;
  if (!nc_flow_is_listener(s.flow)) s.open_one();
  nc_event events[64];
  while (ended < o.count) {
    const int n = nc_channel_poll(s.channel, events, 64, o.spin ? 0 : -1);
    check(n, "nc_channel_poll");
    for (int i = 0; i < n; ++i) {
      nc_stream* stream = events[i].stream;
      if (events[i].kind == NC_EVENT_DAEMON_GONE) die("the daemon is gone");
      if (events[i].kind == NC_EVENT_ACCEPTABLE) {
        while (nc_accept(s.flow, &stream, nullptr) == NC_OK) {
          // Octets that came before the accept have their own event, unless they came with it.
          if (echo_some(stream)) nc_close(stream), ++ended;
        }
      } else if (stream && echo_some(stream)) {
        nc_close(stream);
        ++ended;
        for (int j = i + 1; j < n; ++j)
          if (events[j].stream == stream) events[j].stream = nullptr;  // the handle is gone
      }
    }
  }
  // nc_close promises that what is committed is still sent; the channel stays for that long.
  nc_channel_poll(s.channel, events, 64, 200);
}

void ping(const Options& o) {
  Session s(o);
  nc_stream* stream = s.open_one();
  std::vector<std::byte> message(o.size), answer(o.size);
  RoundTrips trips;
  std::uint64_t n = 0;
  for (double start = now(), at = start; at < start + o.seconds;) {
    number(message.data(), n++);
    check(nc_send(stream, message.data(), o.size, NC_FLUSH), "nc_send");
    for (std::size_t got = 0; got < o.size;) {
      std::int64_t r;
      if (o.spin) {
        r = nc_recv(stream, answer.data() + got, o.size - got, 0);
        if (r == NC_AGAIN) {
          s.wait(true);
          continue;
        }
      } else {
        r = nc_recv_wait(stream, answer.data() + got, o.size - got, 5000);
      }
      check(r, "nc_recv");
      if (r == 0) die("the echo ended");
      got += static_cast<std::size_t>(r);
    }
    if (answer != message) die("the echo differs");
    const double after = now();
    trips.add(after - at);
    at = after;
  }
  end_stream(s, stream);
  trips.report();
}

}  // namespace

int main(int argc, char** argv) {
  const Options o = parse(argc, argv);
  if (o.mode == "source") source(o);
  else if (o.mode == "sink") sink(o);
  else if (o.mode == "echo") echo(o);
  else if (o.mode == "ping") ping(o);
  else if (o.mode == "spread") spread(o);
  else if (o.mode == "gather") gather(o);
  else die("unknown mode " + o.mode);
}
