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
    const auto& all = config_.interfaces;
    for (std::size_t i = 0; i < all.size(); ++i)
      for (std::size_t j = 0; j < i; ++j)
        if (!all[i].name.empty() && all[i].label() == all[j].label()) {
          complain(at("interfaces", i) + ".name", quote(all[i].label()) + " is listed twice",
                   "keep one of the two; the other is in " + line(at("interfaces", j) + ".name"));
          break;
        } else if (!all[i].name.empty() && all[i].name == all[j].name) {
          one_device(i, j);
          break;
        }
  }

  // Entries of one device with different VLANs share its program and sockets.
  void one_device(std::size_t i, std::size_t j) {
    const Interface &a = config_.interfaces[i], &b = config_.interfaces[j];
    const auto same = [&](const char* key, bool equal) {
      if (equal || broken_.touches(at("interfaces", i)) || broken_.touches(at("interfaces", j))) return;
      complain(at("interfaces", i) + "." + key, quote(key) + " of " + quote(a.name) + " differs from the entry in " + line(at("interfaces", j) + ".name"),
               "the VLANs of one interface share its queues: write the same in both");
    };
    same("mode", a.mode == b.mode);
    same("rx_checksum", a.rx_checksum == b.rx_checksum);
    same("ring_size", a.ring_size == b.ring_size);
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
    const bool listens = given(tcp + ".listen");
    const char* const outward = given(tcp + ".connect") ? ".connect" : ".destinations";
    const bool connects = given(tcp + outward);
    if (listens == connects) {
      complain(connects ? tcp + outward : tcp, listens ? "a flow cannot both listen and connect" : "the flow neither listens nor connects",
               listens ? "make two flows of it" : "add `listen: ADDRESS:PORT` or `connect: ADDRESS:PORT`");
      return;
    }
    if (f.tcp.endpoints.empty() && f.tcp.destinations.empty()) {
      complain(tcp + (listens ? ".listen" : outward), quote(listens ? "listen" : "destinations") + " lists nothing",
               listens ? "write at least one ADDRESS:PORT" : "write at least one PREFIX:PORTS, or add `connect: ADDRESS:PORT`");
      return;
    }
    sides(tcp, listens ? Side::listen : Side::connect);
    listens ? listen_addresses(f.tcp, tcp) : connect_addresses(f.tcp, tcp);
    timeouts(f.tcp.params, tcp);
    dependents(f, path);
    if (connects && !given(tcp + ".local_ports"))
      complain(tcp, "a flow that connects needs local ports of its own", "add `local_ports: 40000-40999`, one port for each connection");
  }

  void interface(const Flow& f, const std::string& path) {
    std::vector<std::string_view> names;
    std::vector<std::string> labels;
    for (const Interface& known : config_.interfaces) labels.push_back(known.label());
    names.assign(labels.begin(), labels.end());
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

  static const char* family(const wire::Address& a) { return a.is_v4() ? "IPv4" : "IPv6"; }
  static const char* other_family(const wire::Address& a) { return a.is_v4() ? "IPv6" : "IPv4"; }

  void listen_addresses(const Tcp& t, const std::string& tcp) {
    bool good = true;
    for (std::size_t i = 0; i < t.endpoints.size(); ++i) {
      good &= usable(t.endpoints[i].address, at(tcp + ".listen", i), true);
      for (std::size_t j = 0; j < i; ++j)
        if (t.endpoints[i].port == t.endpoints[j].port && overlap(t.endpoints[i].address, t.endpoints[j].address)) {
          complain(at(tcp + ".listen", i), show_endpoint(t.endpoints[i]) + " is listed already" +
                   (t.endpoints[i].address == t.endpoints[j].address ? "" : ", by " + show_endpoint(t.endpoints[j])), "remove one of the two");
          break;
        }
    }
    if (!good) return;
    for (std::size_t i = 0; i < t.allow.size(); ++i) {
      const wire::Address& allowed = t.allow[i].address;
      if (std::none_of(t.endpoints.begin(), t.endpoints.end(), [&](const Endpoint& e) { return e.address.is_v4() == allowed.is_v4(); }))
        complain(at(tcp + ".allow", i), std::string("no source of that prefix can reach an ") + other_family(allowed) + " address",
                 allowed.is_v4() ? "write an IPv6 prefix, such as 2001:db8::/32" : "write an IPv4 prefix, such as 10.0.0.0/24");
    }
  }

  void connect_addresses(const Tcp& t, const std::string& tcp) {
    if (t.source && !usable(*t.source, tcp + ".source", false)) return;
    const auto from_source = [&](const wire::Address& to, const std::string& path) {
      if (t.source && t.source->is_v4() != to.is_v4())
        complain(path, std::string("no ") + family(to) + " address can be reached from the " + family(*t.source) + " address " + show_address(*t.source),
                 "write a source of the same family, or make a flow for each family");
    };
    for (const Endpoint& e : t.endpoints)
      if (usable(e.address, tcp + ".connect", false)) from_source(e.address, tcp + ".connect");
    for (std::size_t i = 0; i < t.destinations.size(); ++i) {
      const Prefix& p = t.destinations[i].prefix;
      const std::string path = at(tcp + ".destinations", i);
      // A short prefix holds more than hosts; one that holds none is a slip.
      if (p.length < 128 && p.address.is_unspecified()) from_source(p.address, path);
      else if (usable(p.address, path, false)) from_source(p.address, path);
    }
  }

  bool usable(const wire::Address& a, const std::string& path, bool wildcard) {
    std::string why, to_do;
    const bool v4 = a.is_v4();
    const std::uint8_t first = a.octets[v4 ? 12 : 0];
    wire::Address loopback6{};
    loopback6.octets[15] = 1;
    if (a.is_unspecified() && !wildcard) {
      why = show_address(a) + " is no address that packets can come from or go to", to_do = "write the address itself";
    } else if (v4 ? first == 127 : a == loopback6) {
      why = show_address(a) + " is this host's loopback, whose packets never pass an interface";
      to_do = "write an address of one of the interfaces; programs on this host use kernel sockets";
    } else if (!v4 && first == 0xfe && (a.octets[1] & 0xc0) == 0x80) {
      why = show_address(a) + " is a link-local address, which is another host's on each interface";
      to_do = "write a global address, or a unique local one (fd00::/8)";
    } else if (v4 ? first >= 224 || (first == 0 && !a.is_unspecified()) : first == 0xff) {
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

  // Settings that mean nothing without another one. With its default such a one may stand: the default file shows it so.
  void dependents(const Flow& f, const std::string& path) {
    const Flow usual;
    const atcp::FlowParams &p = f.tcp.params, &d = usual.tcp.params;
    const auto needs = [&](const char* key, bool changed, const char* other) {
      const std::string whole = path + "." + key;
      if (changed && given(whole)) complain(whole, quote(key) + " does nothing without " + other, "add that, or remove this");
    };
    needs("hold_for", f.hold_for != usual.hold_for && f.on_client_exit != OnClientExit::hold && f.no_client != NoClient::hold,
          "`on_client_exit: hold` or `no_client: hold`");
    needs("tcp.stall", p.stall != d.stall && p.acknowledge != atcp::Acknowledge::consumed, "`acknowledge: consumed`");
    needs("tcp.stall_after", p.stall_after != d.stall_after && p.stall == atcp::Stall::keep, "`stall: acknowledge` or `stall: reset`");
    // Nobody but listeners meets a peer that comes by itself.
    if (f.no_client != usual.no_client && !f.tcp.listen)
      complain(path + ".no_client", "`no_client` is for flows that listen, and this one connects", "remove it");
  }

  // ---- two flows

  void two_flows(std::size_t i, std::size_t j) {
    const Flow &a = config_.flows[i], &b = config_.flows[j];
    const auto path = [](std::size_t n, const char* key) { return at("flows", n) + key; };
    if (!b.name.empty() && a.name == b.name)
      complain(path(j, ".name"), "there are two flows " + quote(b.name),
               "clients find a flow by its name: rename one; the other is in " + line(path(i, ".name")));
    if (!given(path(i, ".tcp")) || !given(path(j, ".tcp")) || broken_.touches(path(i, ".tcp")) || broken_.touches(path(j, ".tcp"))) return;
    const bool apart = !a.interface.empty() && !b.interface.empty() && a.interface != b.interface;
    for (const Local& x : locals(a.tcp, path(i, ".tcp")))
      for (const Local& y : locals(b.tcp, path(j, ".tcp")))
        if (meet(x, y, apart)) two_locals(x, y, a, apart);
  }

  // What a flow owns on this host: addresses and ports of which it is the only user. An address that only the routes know is
  // unspecified.
  struct Local {
    wire::Address address;
    PortRange ports;
    bool listener;
    std::string path;
  };
  static std::vector<Local> locals(const Tcp& t, const std::string& tcp) {
    std::vector<Local> out;
    if (t.listen) {
      for (std::size_t i = 0; i < t.endpoints.size(); ++i)
        out.push_back({t.endpoints[i].address, {t.endpoints[i].port, t.endpoints[i].port}, true, at(tcp + ".listen", i)});
      return out;
    }
    if (t.local_ports.first == 0) return out;  // not given: said already
    const auto add = [&](const wire::Address& a) {
      if (std::none_of(out.begin(), out.end(), [&](const Local& l) { return l.address == a; })) out.push_back({a, t.local_ports, false, tcp + ".local_ports"});
    };
    const auto any = [](const wire::Address& of) { return of.is_v4() ? wire::Address::v4(0) : wire::Address{}; };
    if (t.source) add(*t.source);
    else {
      for (const Endpoint& e : t.endpoints) add(any(e.address));
      for (const Destination& d : t.destinations) add(any(d.prefix.address));
    }
    return out;
  }

  // Listeners of one address on different interfaces share what the kernel gives. A wildcard and an address cannot: the kernel
  // gives the port of all addresses or of one. Addresses that only the routes know differ between interfaces.
  static bool meet(const Local& x, const Local& y, bool apart) {
    if (x.ports.first > y.ports.last || y.ports.first > x.ports.last || !overlap(x.address, y.address)) return false;
    if (apart && x.listener && y.listener && x.address == y.address) return false;
    const bool unknown = (!x.listener && x.address.is_unspecified()) || (!y.listener && y.address.is_unspecified());
    const bool wildcard = (x.listener && x.address.is_unspecified()) || (y.listener && y.address.is_unspecified());
    return !apart || !unknown || wildcard;
  }

  void two_locals(const Local& x, const Local& y, const Flow& a, bool apart) {
    const std::string to = " to flow " + quote(a.name) + " in " + line(x.path);
    const std::uint16_t first = std::max(x.ports.first, y.ports.first), last = std::min(x.ports.last, y.ports.last);
    if (x.listener && y.listener)
      complain(y.path, show_endpoint({y.address, first}) + " belongs" + (x.address == y.address ? "" : ", by " + show_endpoint({x.address, first}) + ",") + to,
               apart ? "on different interfaces two flows can have one address and port, or both the wildcard, but not one the wildcard: choose another port, or list the addresses"
                     : "one address and port can have one flow: choose another port or address");
    else
      complain(y.path, (first == last ? "local port " + std::to_string(first) + " belongs"
                                      : "local ports " + std::to_string(first) + "-" + std::to_string(last) + " belong") + to,
               "choose ports that do not meet, or give the flows different local addresses");
  }

  static bool overlap(const wire::Address& a, const wire::Address& b) {
    return a == b || (a.is_v4() == b.is_v4() && (a.is_unspecified() || b.is_unspecified()));
  }

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
    const std::uint64_t streams = m.streams_per_client, smallest = streams * 2 * kSmallestLog;
    if (smallest > sum.arena * 2)
      complain(given("memory.streams_per_client") || !given("memory.per_client") ? "memory.streams_per_client" : "memory.per_client",
               "a client's memory is too small for its streams: " + std::to_string(streams) + " streams x (" + show_size(kSmallestLog) + " send + " +
               show_size(kSmallestLog) + " receive) = " + show_size(smallest) + ", but " + show_size(m.per_client) + " per client" +
               (sum.workers == 1 ? "" : " / " + std::to_string(sum.workers) + " workers = " + show_size(sum.arena * 2)) + " is less",
               "write `per_client: " + show_size(smallest * sum.workers) + "` or more under `memory`, or fewer streams_per_client");
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
