// SPDX-License-Identifier: BSD-2-Clause
#include "config/checks.h"

#include <set>

#include "config/fields.h"
#include "config/memory.h"
#include "config/values.h"

namespace netchan::config {
namespace {

std::string at(std::string_view list, std::size_t i) { return std::string(list) + "[" + std::to_string(i) + "]"; }

class Checker {
 public:
  Checker(const Config& config, const Machine& machine, const Broken& broken, Complaints& complaints)
      : config_(config), machine_(machine), broken_(broken), complaints_(complaints) {}

  void run() {
    interfaces();
    workers();
    for (std::size_t i = 0; i < config_.flows.size(); ++i) flow(i);
    for (std::size_t i = 0; i < config_.flows.size(); ++i)
      for (std::size_t j = 0; j < i; ++j) two_flows(j, i);
    if (config_.control.socket == config_.clients.socket && given("client_socket.socket"))
      complain("client_socket.socket", "clients and administrators cannot share a socket", "write another path than control.socket's");
    else if (config_.control.socket == config_.clients.socket)
      complain("control.socket", "clients and administrators cannot share a socket", "write another path than client_socket.socket's");
    memory();
  }

 private:
  void complain(const std::string& path, std::string what, std::string to_do) {
    complaints_.add(config_.place(path), std::move(what), std::move(to_do));
  }
  bool given(const std::string& path) const { return config_.places.contains(path); }
  std::string line(const std::string& path) const { return "line " + std::to_string(config_.place(path).line); }

  void interfaces() {
    for (std::size_t i = 0; i < config_.interfaces.size(); ++i)
      for (std::size_t j = 0; j < i; ++j)
        if (!config_.interfaces[i].name.empty() && config_.interfaces[i].name == config_.interfaces[j].name) {
          complain(at("interfaces", i) + ".name", quote(config_.interfaces[i].name) + " is listed twice",
                   "keep one of the two; the other is in " + line(at("interfaces", j) + ".name"));
          break;
        }
  }

  void workers() {
    std::set<std::uint32_t> seen;
    const auto& may = machine_.cores;
    for (std::size_t i = 0; i < config_.workers.cores.size(); ++i) {
      if (broken_.touches("workers.cores")) return;  // the list has holes: places would be wrong
      const std::uint32_t core = config_.workers.cores[i];
      const std::string path = at("workers.cores", i);
      if (!seen.insert(core).second)
        complain(path, "core " + std::to_string(core) + " is listed twice", "give each worker a core of its own");
      else if (!may.empty() && std::find(may.begin(), may.end(), core) == may.end())
        complain(path, "core " + std::to_string(core) + " is not one that netchand may use here",
                 "choose from " + ranges(may) + " (/sys/devices/system/cpu/online, `taskset -p`)");
    }
  }

  static std::string ranges(const std::vector<std::uint32_t>& sorted) {
    std::string out;
    for (std::size_t i = 0; i < sorted.size();) {
      std::size_t last = i;
      while (last + 1 < sorted.size() && sorted[last + 1] == sorted[last] + 1) ++last;
      out += (out.empty() ? "" : ",") + std::to_string(sorted[i]) + (last > i ? "-" + std::to_string(sorted[last]) : "");
      i = last + 1;
    }
    return out;
  }

  // ---- one flow

  void flow(std::size_t i) {
    const Flow& f = config_.flows[i];
    const std::string path = at("flows", i), tcp = path + ".tcp";
    if (!broken_.touches("interfaces")) interface(f, path);
    if (!given(tcp) || broken_.touches(tcp)) return;
    const bool listens = given(tcp + ".listen"), connects = given(tcp + ".connect");
    if (listens == connects) {
      complain(connects ? tcp + ".connect" : tcp, listens ? "a flow cannot both listen and connect" : "the flow neither listens nor connects",
               listens ? "make two flows of it" : "add `listen: ADDRESS:PORT` or `connect: ADDRESS:PORT`");
      return;
    }
    sides(tcp, listens ? Side::listen : Side::connect);
    addresses(f.tcp, tcp);
    timeouts(f.tcp.params, tcp);
    if (connects && !given(tcp + ".local_ports"))
      complain(tcp, "a flow that connects needs local ports of its own", "add `local_ports: 40000-40999`, one port for each connection");
  }

  void interface(const Flow& f, const std::string& path) {
    std::vector<std::string_view> names;
    for (const Interface& known : config_.interfaces) names.push_back(known.name);
    if (names.empty()) {
      complain(path + ".name", "a flow needs an interface, and `interfaces` lists none", "add the interface that it lives on");
    } else if (!f.interface.empty() && std::find(names.begin(), names.end(), f.interface) == names.end()) {
      const auto meant = nearest(f.interface, names);
      complain(path + ".interface", quote(f.interface) + " is not among `interfaces`",
               meant.empty() ? "add it there" : "did you mean " + quote(meant) + "? Else add it there");
    }
  }

  void sides(const std::string& tcp, Side side) {
    const auto root = [](const Section& in, std::string_view key) {
      return std::find_if(in.fields.begin(), in.fields.end(), [key](const Field& f) { return f.key == key; })->section;
    };
    for (const Field& f : root(*root(kRoot, "flows"), "tcp")->fields) {
      const std::string path = tcp + "." + std::string(f.key);
      if (f.side != Side::both && f.side != side && given(path))
        complain(path, quote(f.key) + " is for flows that " + (f.side == Side::listen ? "listen" : "connect") + ", and this one " +
                 (side == Side::listen ? "listens" : "connects"), "remove it");
    }
  }

  void addresses(const Tcp& t, const std::string& tcp) {
    const std::string endpoint = tcp + (t.listen ? ".listen" : ".connect");
    if (!usable(t.endpoint().address, endpoint, t.listen)) return;
    if (t.source && !usable(*t.source, tcp + ".source", false)) return;
    for (std::size_t i = 0; i < t.allow.size(); ++i)
      if (t.allow[i].address.is_v4() != t.endpoint().address.is_v4())
        complain(at(tcp + ".allow", i), "no source of that prefix can reach an IPv4 address", "write an IPv4 prefix, such as 10.0.0.0/24");
  }

  bool usable(const wire::Address& a, const std::string& path, bool wildcard) {
    std::string why, to_do;
    if (!a.is_v4()) {
      why = "IPv6 flows are not in this version of netchan", to_do = "write an IPv4 address";
    } else if (a.is_unspecified() && !wildcard) {
      why = show_address(a) + " is no address that packets can come from or go to", to_do = "write the address itself";
    } else if (a.octets[12] == 127) {
      why = show_address(a) + " is this host's loopback, whose packets never pass an interface";
      to_do = "write an address of one of the interfaces; programs on this host use kernel sockets";
    } else if (a.octets[12] >= 224 || (a.octets[12] == 0 && !a.is_unspecified())) {
      why = "no TCP connection can have the address " + show_address(a), to_do = "write a host's address";
    }
    if (!why.empty()) complain(path, why, to_do);
    return why.empty();
  }

  void timeouts(const atcp::FlowParams& p, const std::string& tcp) {
    const auto order = [&](Duration low, const char* low_key, Duration high, const char* high_key) {
      if (low <= high) return;
      const std::string path = tcp + "." + (given(tcp + "." + low_key) ? low_key : high_key);
      const auto shown = [](Duration d) { return show(Kind::duration, {}, static_cast<std::uint64_t>(d.ns)); };
      complain(path, quote(low_key) + " (" + shown(low) + ") is above " + quote(high_key) + " (" + shown(high) + ")",
               "lower the one or raise the other");
    };
    order(p.rto_min, "rto_min", p.rto_initial, "rto_initial");
    order(p.rto_initial, "rto_initial", p.rto_max, "rto_max");
  }

  // ---- two flows

  void two_flows(std::size_t i, std::size_t j) {
    const Flow &a = config_.flows[i], &b = config_.flows[j];
    const auto path = [](std::size_t n, const char* key) { return at("flows", n) + key; };
    if (!b.name.empty() && a.name == b.name)
      complain(path(j, ".name"), "there are two flows " + quote(b.name),
               "clients find a flow by its name: rename one; the other is in " + line(path(i, ".name")));
    const PortRange ra = local_ports(a.tcp), rb = local_ports(b.tcp);
    const std::uint16_t first = std::max(ra.first, rb.first), last = std::min(ra.last, rb.last);
    if (ra.first == 0 || rb.first == 0 || first > last) return;  // 0: not given, or not read
    const bool listeners = a.tcp.listen && b.tcp.listen;
    const bool apart = !a.interface.empty() && !b.interface.empty() && a.interface != b.interface;
    if (apart && !listeners) return;  // the port of a listener is taken from the kernel, and that once for all interfaces
    if (!overlap(local_address(a.tcp), local_address(b.tcp))) return;
    if (broken_.touches(path(i, ".tcp")) || broken_.touches(path(j, ".tcp"))) return;
    const std::string to = " to flow " + quote(a.name) + " in " + line(path(i, ports_key(a.tcp)));
    if (listeners)
      complain(path(j, ports_key(b.tcp)), show_endpoint(b.tcp.endpoint()) + " belongs" + (a.tcp.endpoint().address == b.tcp.endpoint().address ? "" : ", by " + show_endpoint(a.tcp.endpoint()) + ",") + to,
               apart ? "one address and port can have one flow, in this version also on different interfaces: choose another port or address"
                     : "one address and port can have one flow: choose another port or address");
    else
      complain(path(j, ports_key(b.tcp)),
               (first == last ? "local port " + std::to_string(first) + " belongs"
                              : "local ports " + std::to_string(first) + "-" + std::to_string(last) + " belong") + to,
               "choose ports that do not meet, or give the flows different local addresses");
  }

  static PortRange local_ports(const Tcp& t) { return t.listen ? PortRange{t.endpoint().port, t.endpoint().port} : t.local_ports; }
  static const char* ports_key(const Tcp& t) { return t.listen ? ".tcp.listen" : ".tcp.local_ports"; }
  static wire::Address local_address(const Tcp& t) { return t.listen ? t.endpoint().address : t.source.value_or(wire::Address{}); }
  static bool overlap(const wire::Address& a, const wire::Address& b) { return a == b || a.is_unspecified() || b.is_unspecified(); }

  // ---- memory

  void memory() {
    if (broken_.touches("memory") || broken_.touches("interfaces") || broken_.touches("workers")) return;
    const Memory& m = config_.memory;
    const MemorySum sum = add_up(config_, machine_);
    if (machine_.memory != 0 && m.size > machine_.memory)
      complain("memory.size", "memory.size (" + show_size(m.size) + ") is more than this machine has (" + std::to_string(machine_.memory >> 20) + "MiB)",
               "write less");
    if (sum.most_wanted() > sum.chunks_per_worker) {
      const auto worker = static_cast<std::size_t>(std::find(sum.wanted.begin(), sum.wanted.end(), sum.most_wanted()) - sum.wanted.begin());
      std::uint64_t needed = sum.most_wanted() * sum.workers * m.chunk;
      needed = (needed + (2u << 20) - 1) / (2u << 20) * (2u << 20);
      complain("memory.size", "packet memory is too small for the rings: " + show_size(m.size) + " / " + std::to_string(m.chunk) + " octets / " +
               std::to_string(sum.workers) + (sum.workers == 1 ? " worker = " : " workers = ") + std::to_string(sum.chunks_per_worker) +
               " chunks, but the fill and tx rings of " + std::to_string(sum.queues[worker]) + (sum.queues[worker] == 1 ? " queue" : " queues") +
               " of worker " + std::to_string(worker) + " take " + std::to_string(sum.most_wanted()),
               "write `size: " + show_size(needed) + "` or more under `memory`, or a smaller `ring_size` for the interfaces" +
               (sum.assumed_queues ? " (one queue was assumed where the interface is not known here)" : ""));
    }
    for (std::size_t i = 0; i < config_.flows.size(); ++i) {
      const std::string tcp = at("flows", i) + ".tcp";
      if (!given(tcp) || broken_.touches(tcp)) continue;
      const Tcp& t = config_.flows[i].tcp;
      const bool sends_more = t.send_buffer > t.receive_buffer;
      const std::uint64_t log = std::max(t.send_buffer, t.receive_buffer);
      if (log <= sum.arena) continue;
      const std::string key = sends_more ? "send_buffer" : "receive_buffer";
      complain(given(tcp + "." + key) || !given("memory.per_client") ? tcp + "." + key : "memory.per_client",
               "not one stream fits into a client's memory: " + key + " is " + show_size(log) + ", but " + show_size(m.per_client) +
               " per client / 2 directions" + (sum.workers == 1 ? "" : " / " + std::to_string(sum.workers) + " workers") + " = " + show_size(sum.arena),
               "write `per_client: " + show_size(log * 2 * sum.workers) + "` or more under `memory`, or a smaller " + key);
    }
  }

  const Config& config_;
  const Machine& machine_;
  const Broken& broken_;
  Complaints& complaints_;
};

}  // namespace

void check(const Config& config, const Machine& machine, const Broken& broken, Complaints& complaints) {
  Checker(config, machine, broken, complaints).run();
}

}  // namespace netchan::config
