// SPDX-License-Identifier: BSD-2-Clause
//
// The configuration as the daemon uses it: plain values, already checked. It is filled by load() from YAML through the one
// field table (config/fields.h), which also gives --check, the commented default file and the error texts.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "proto/atcp/params.h"
#include "proto/base/time.h"
#include "proto/wire/flow_key.h"
#include "proto/wire/packet.h"

namespace netchan::config {

enum class Mode : std::uint8_t { automatic, zero_copy, copy, generic };
enum class RxChecksum : std::uint8_t { automatic, verify, accept_partial, off };
enum class Idle : std::uint8_t { spin, adaptive, sleep };
enum class HugePages : std::uint8_t { automatic, yes, no };
enum class MemoryMode : std::uint8_t { isolated, shared };
enum class NoClient : std::uint8_t { refuse, drop, hold };
enum class OnClientExit : std::uint8_t { reset, fin, hold };

struct Place {  // where a value stands in the file: for errors found later, when the system is looked at
  int line = 0, column = 0;
};

struct Interface {
  std::string name;
  std::uint16_t vlan = 0;            // 0: untagged frames, else the frames of that VLAN, and only they
  Mode mode = Mode::automatic;
  RxChecksum rx_checksum = RxChecksum::automatic;
  std::uint32_t ring_size = 2048;
  Place place;

  // As a flow names it: "eth0" is its untagged frames, "eth0.100" those of VLAN 100. No two of `interfaces` share one.
  std::string label() const { return vlan == 0 ? name : name + "." + std::to_string(vlan); }
};

struct Workers {
  std::vector<std::uint32_t> cores;  // empty: one worker on the first core that the process may use
  Idle idle = Idle::adaptive;
  Duration spin = Duration::microseconds(50);
};

struct Memory {
  std::uint64_t size = 64ull << 20;
  std::uint32_t chunk = 4096;
  HugePages hugepages = HugePages::automatic;
  std::uint64_t per_client = 32ull << 20;  // logs of one client, both directions together
  std::uint32_t streams_per_client = 1024;  // with each worker
};

struct Endpoint {
  wire::Address address;
  std::uint16_t port = 0;
};

struct Prefix {
  wire::Address address;
  std::uint8_t length = 128;
};

struct PortRange {
  std::uint16_t first = 0, last = 0;
};

// Where clients may connect to beside the flow's own server: any of these addresses and ports.
struct Destination {
  Prefix prefix;
  PortRange ports;
};

struct Tcp {
  bool listen = false;               // else connect
  std::vector<Endpoint> endpoints;   // listen: one or more local ones; connect: the server, unless only `destinations` are given
  std::vector<Destination> destinations;  // connect only
  PortRange local_ports;             // connect only
  std::optional<wire::Address> source;
  std::vector<Prefix> allow;         // listen only; empty: everyone
  std::uint32_t send_buffer = 256 << 10;     // octets that each stream's logs may grow to, powers of two
  std::uint32_t receive_buffer = 256 << 10;
  std::uint32_t backlog = 1024;
  std::uint32_t syn_rate = 0;        // listen only; a second, of all workers together; 0: no limit
  std::uint32_t max_connections = 0;  // listen only; of all workers together; 0: no limit
  atcp::FlowParams params;

  const Endpoint& endpoint() const { return endpoints.front(); }  // a connect flow with `destinations` alone has none
};

struct Clients {
  std::vector<std::string> users, groups;  // both empty: only root and the daemon's own user
  MemoryMode memory = MemoryMode::isolated;
};

struct Flow {
  std::string name;
  std::string interface;             // an Interface::label(); empty: the one that has the address (or the route)
  Tcp tcp;
  Clients clients;
  NoClient no_client = NoClient::refuse;
  OnClientExit on_client_exit = OnClientExit::reset;
  Duration hold_for = Duration::seconds(30);  // on_client_exit: hold
  Place place;
};

struct Metrics {
  std::optional<Endpoint> listen;    // none: no exporter
};

struct Control {
  std::string socket = "/run/netchan/control.sock";
  std::string group;
};

struct ClientSocket {
  std::string socket = "/run/netchan/netchan.sock";
  std::string group;
};

struct Config {
  std::string file;                  // its name, as it is shown in messages
  std::string text;                  // its octets, for errors found later
  std::map<std::string, Place, std::less<>> places;  // of every value that the file gives: "flows[0].tcp.source"
  std::vector<Interface> interfaces;
  Workers workers;
  Memory memory;
  std::vector<Flow> flows;
  Metrics metrics;
  Control control;
  ClientSocket clients;

  // Where the value of that path stands; if the file does not give it, where what surrounds it stands.
  Place place(std::string_view path) const;
};

// What the checks may know of the machine that the file is for. What is not known is not checked, or assumed and said.
struct Machine {
  std::vector<std::uint32_t> cores;                          // that a process may use; empty: not known
  std::map<std::string, std::uint32_t, std::less<>> queues;  // receive queues by interface; absent: not known, 1 is assumed
  std::uint64_t memory = 0;                                  // octets of RAM; 0: not known

  static Machine here();  // of this process, in its network namespace
};

// All errors of a file at once; what() is the whole text: for each `file:line:column: what`, the line, a caret, what to do.
class Error : public std::runtime_error {
 public:
  Error(const std::string& text, std::size_t count) : std::runtime_error(text), count_(count) {}
  std::size_t count() const { return count_; }

 private:
  std::size_t count_;
};

// load() checks the file against this machine, parse() against what it is told of one. Both throw Error.
Config load(const std::string& path);
Config load(const std::string& path, const Machine&);
Config parse(const std::string& text, const std::string& name, const Machine& = {});
std::string reference_page();  // Markdown: every key with its limits, default and sentence
std::string json_schema();     // draft 2020-12, for editors
std::string default_file();  // commented YAML, every field with its default; it loads as it is

// What --check prints: areas, windows, quotas.
std::string memory_arithmetic(const Config&, const Machine&);
std::string memory_arithmetic(const Config&);  // for this machine
// "file:line:column: message" with the line and a caret, for errors found after loading.
std::string explain(const Config&, Place, const std::string& message, const std::string& what_to_do);

}  // namespace netchan::config
