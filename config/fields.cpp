// SPDX-License-Identifier: BSD-2-Clause
#include "config/fields.h"

#include <optional>
#include <type_traits>

namespace netchan::config {
namespace {

// ---- from a member to the functions that set and show it ----------------------------------------------------------------

template <class T>
struct MemberOf;
template <class Owner, class T>
struct MemberOf<T Owner::*> {
  using owner = Owner;
  using type = T;
};

// A path of members: at<&Tcp::params, &FlowParams::ttl>.
template <auto First, auto... Rest>
auto& at(auto& owner) {
  if constexpr (sizeof...(Rest) == 0) return owner.*First;
  else return at<Rest...>(owner.*First);
}

template <class T>
void assign(T& to, const Value& v) {
  if constexpr (std::is_same_v<T, Duration>) to = Duration::nanoseconds(static_cast<std::int64_t>(std::get<std::uint64_t>(v)));
  else if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) to = static_cast<T>(std::get<std::uint64_t>(v));
  else to = std::get<T>(v);
}
template <class T>
void assign(std::optional<T>& to, const Value& v) {
  to = std::get<T>(v);
}
template <class T>
void assign(std::vector<T>& to, const Value& v) {
  assign(to.emplace_back(), v);
}

template <class T>
std::vector<Value> values(const T& from) {
  if constexpr (std::is_same_v<T, Duration>) return {static_cast<std::uint64_t>(from.ns)};
  else if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) return {static_cast<std::uint64_t>(from)};
  else if constexpr (std::is_same_v<T, std::string>) return from.empty() ? std::vector<Value>{} : std::vector<Value>{from};
  else if constexpr (std::is_same_v<T, PortRange>) return from.first == 0 ? std::vector<Value>{} : std::vector<Value>{from};
  else return {from};
}
template <class T>
std::vector<Value> values(const std::optional<T>& from) {
  return from ? values(*from) : std::vector<Value>{};
}
template <class T>
std::vector<Value> values(const std::vector<T>& from) {
  std::vector<Value> out;
  for (const T& one : from) out.push_back(values(one).front());
  return out;
}

template <class T>
constexpr bool is_list = false;
template <class T>
constexpr bool is_list<std::vector<T>> = true;

template <auto... Path>
constexpr Field field(std::string_view key, Kind kind, Limits limits, std::string_view sentence) {
  constexpr auto first = [](auto head, auto...) { return head; }(Path...);
  using Owner = typename MemberOf<std::remove_const_t<decltype(first)>>::owner;
  Field f;
  f.key = key, f.kind = kind, f.limits = limits, f.sentence = sentence;
  f.list = is_list<std::remove_cvref_t<decltype(at<Path...>(std::declval<Owner&>()))>>;
  f.put = [](void* owner, const Value& v) { assign(at<Path...>(*static_cast<Owner*>(owner)), v); };
  f.get = [](const void* owner) { return values(at<Path...>(*static_cast<const Owner*>(owner))); };
  return f;
}
template <auto... Path>
constexpr Field field(std::string_view key, Kind kind, std::string_view sentence) {
  return field<Path...>(key, kind, Limits{}, sentence);
}

template <auto Member>
constexpr Field section(std::string_view key, const Section& of, std::string_view sentence) {
  using Owner = typename MemberOf<decltype(Member)>::owner;
  using T = typename MemberOf<decltype(Member)>::type;
  Field f;
  f.key = key, f.sentence = sentence, f.section = &of, f.list = is_list<T>;
  f.open = [](void* owner) -> void* {
    T& member = static_cast<Owner*>(owner)->*Member;
    if constexpr (is_list<T>) return &member.emplace_back();
    else return &member;
  };
  return f;
}

constexpr Field not_yet(std::string_view key) {
  Field f;
  f.key = key, f.presence = Presence::not_yet;
  return f;
}

constexpr Limits words(std::span<const Word> w) { return {.words = w}; }
constexpr Limits range(std::uint64_t least, std::uint64_t most) { return {.least = least, .most = most}; }
constexpr Limits time(Duration least, Duration most, bool off = false) {
  return {.least = static_cast<std::uint64_t>(least.ns), .most = static_cast<std::uint64_t>(most.ns), .off = off};
}
constexpr std::uint64_t KiB = 1ull << 10, MiB = 1ull << 20, GiB = 1ull << 30, TiB = 1ull << 40;
constexpr Duration us(std::int64_t n) { return Duration::microseconds(n); }
constexpr Duration ms(std::int64_t n) { return Duration::milliseconds(n); }
constexpr Duration s(std::int64_t n) { return Duration::seconds(n); }

// ---- words, in the order of their enumerators ---------------------------------------------------------------------------

constexpr Word kVersions[] = {{"1"}};
constexpr Word kModes[] = {{"auto"}, {"zero-copy"}, {"copy"}, {"generic"}};
constexpr Word kRxChecksums[] = {{"auto"}, {"verify"}, {"accept-partial"}, {"off"}};
constexpr Word kIdles[] = {{"spin"}, {"adaptive"}, {"sleep"}};
constexpr Word kHugePages[] = {{"auto"}, {"yes"}, {"no"}};
constexpr Word kChunks[] = {{"2048"}, {"4096"}};
constexpr Word kMemoryModes[] = {{"isolated"}, {"shared", true}};
constexpr Word kNoClients[] = {{"refuse"}, {"drop"}, {"hold"}};
constexpr Word kOnClientExits[] = {{"reset"}, {"fin"}, {"hold"}};
constexpr Word kCongestions[] = {{"cubic"}, {"newreno"}};
constexpr Word kAcknowledges[] = {{"received"}, {"consumed"}};
constexpr Word kStalls[] = {{"keep"}, {"acknowledge"}, {"reset"}};

// A fixed set of numbers reads as words and is stored as the number that it is.
constexpr Field as_number(Field f, void (*put)(void*, const Value&), std::vector<Value> (*get)(const void*)) {
  f.put = put, f.get = get;
  return f;
}

// ---- the table ------------------------------------------------------------------------------------------------------------

const Interface kInterfaceDefaults;
constexpr Field kInterface[] = {
    field<&Interface::name>("name", Kind::interface, "The kernel's name of the interface.").required().shown("eth0"),
    field<&Interface::mode>("mode", Kind::word, words(kModes),
                            "How frames reach AF_XDP: zero-copy and copy insist on the driver's native mode, generic works "
                            "with every driver and is slowest; auto takes the best that works. `netchan_port_mode` shows "
                            "what became of it."),
    field<&Interface::rx_checksum>("rx_checksum", Kind::word, words(kRxChecksums),
                                   "What to believe of received TCP checksums. accept-partial also takes frames whose sum a "
                                   "virtual driver left unfinished; auto does so for virtual drivers only and verifies "
                                   "all others; off looks at none."),
    field<&Interface::ring_size>("ring_size", Kind::number, {.least = 64, .most = 32768, .power_of_two = true},
                                 "Entries of each queue's fill, rx, tx and completion ring; the chunks in them come from "
                                 "memory.size."),
    as_number(field<&Interface::vlan>("vlan", Kind::number, range(1, 4094),
                            "Steer the frames of this VLAN, and only they; without it, untagged frames. An interface may have "
                            "several entries with different VLANs; flows name one as `interface: eth0.100`."),
              [](void* i, const Value& v) { static_cast<Interface*>(i)->vlan = static_cast<std::uint16_t>(std::get<std::uint64_t>(v)); },
              [](const void*) { return std::vector<Value>{}; })
        .shown("100"),
};
const Section kInterfaceSection{kInterface, &kInterfaceDefaults};

const Workers kWorkersDefaults;
constexpr Field kWorkers[] = {
    field<&Workers::cores>("cores", Kind::number, range(0, 4095),
                           "The cores that workers are pinned to, one worker each; queues are dealt to them in turn. Without "
                           "it: one worker on the first core that the process may use.")
        .shown("[2, 3]"),
    field<&Workers::idle>("idle", Kind::word, words(kIdles),
                          "What a worker without work does: spin keeps its core busy for the lowest latency, sleep waits in "
                          "the kernel at once, adaptive spins for a while first."),
    field<&Workers::spin>("spin", Kind::duration, time(us(1), ms(100)), "How long adaptive spins before it sleeps."),
};
const Section kWorkersSection{kWorkers, &kWorkersDefaults};

const Memory kMemoryDefaults;
constexpr Field kMemory[] = {
    // The multiple lets the whole be cut into huge pages.
    field<&Memory::size>("size", Kind::size, {.least = 2 * MiB, .most = TiB, .multiple_of = 2 * MiB},
                         "Packet memory, allocated at start and shared by all queues."),
    as_number(field<&Memory::chunk>("chunk", Kind::word, words(kChunks),
                                    "Octets of each of its pieces; a frame must fit into one, less 256 octets. (A zero-copy "
                                    "driver may demand 4096 for an MTU above 1500.)"),
              [](void* m, const Value& v) { static_cast<Memory*>(m)->chunk = std::get<std::uint64_t>(v) == 0 ? 2048 : 4096; },
              [](const void* m) {
                return std::vector<Value>{std::uint64_t{static_cast<const Memory*>(m)->chunk == 2048 ? 0u : 1u}};
              }),
    field<&Memory::hugepages>("hugepages", Kind::word, words(kHugePages),
                              "Whether packet memory is made of huge pages: yes insists, auto takes them when enough are free."),
    field<&Memory::per_client>("per_client", Kind::size, {.least = 8 * KiB, .most = TiB},
                               "What one client may hold for the logs of its streams: one half for sending and one for "
                               "receiving, each divided evenly among the workers. Not part of `size`."),
    field<&Memory::streams_per_client>("streams_per_client", Kind::number, range(1, 65536),
                                       "Streams that one client may have with each worker. Each has at least 1KiB of "
                                       "per_client for each direction."),
};
const Section kMemorySection{kMemory, &kMemoryDefaults};

constexpr Limits kBuffer{.least = 4 * KiB, .most = GiB, .power_of_two = true};  // RFC 7323 (2.3): no window is larger
constexpr Limits kCap{.least = 1, .most = 10'000'000, .off = true};
const Tcp kTcpDefaults;
constexpr Field kTcp[] = {
    as_number(field<&Tcp::backlog>("listen", Kind::endpoint,
                                    "Accept connections here; 0.0.0.0 is every IPv4 address of the interface, [::] every "
                                    "IPv6 address. A flow either listens or connects. Programs on this same host cannot "
                                    "reach it: their packets never pass the interface."),
              [](void* t, const Value& v) { static_cast<Tcp*>(t)->listen = true, static_cast<Tcp*>(t)->endpoints.push_back(std::get<Endpoint>(v)); },
              [](const void*) { return std::vector<Value>{}; })
        .only(Side::listen)
        .one_or_list()
        .shown("\"10.0.0.2:9000\""),
    as_number(field<&Tcp::backlog>("connect", Kind::endpoint, "The server that clients' connections go to."),
              [](void* t, const Value& v) { static_cast<Tcp*>(t)->endpoints.push_back(std::get<Endpoint>(v)); },
              [](const void*) { return std::vector<Value>{}; })
        .only(Side::connect)
        .shown("\"10.0.0.9:7000\""),
    field<&Tcp::destinations>("destinations", Kind::destination,
                              "Where else clients may connect to. A flow that connects has `connect`, `destinations` or both.")
        .only(Side::connect)
        .shown("[\"10.0.1.0/24:7000-7999\"]"),
    field<&Tcp::local_ports>("local_ports", Kind::ports,
                             "The local ports of its connections, one each; they are taken from the kernel for as long as "
                             "netchand runs. A flow that connects needs them.")
        .only(Side::connect)
        .shown("40000-40999"),
    field<&Tcp::source>("source", Kind::address, "The local address of its connections. Without it: as the kernel's routes say.")
        .only(Side::connect)
        .shown("\"10.0.0.2\""),
    field<&Tcp::allow>("allow", Kind::prefix,
                       "The sources that may connect; without it, all. The host's firewall does not see these packets.")
        .only(Side::listen)
        .shown("[\"10.0.0.0/24\"]"),
    field<&Tcp::backlog>("backlog", Kind::number, range(1, 4096), "Connections that may wait for their handshake to end.")
        .only(Side::listen),
    field<&Tcp::syn_rate>("syn_rate", Kind::number, kCap,
                          "New connections a second that peers may begin, all of them together; more are dropped and counted.")
        .only(Side::listen),
    field<&Tcp::max_connections>("max_connections", Kind::number, kCap,
                                 "Connections at one time, half-open ones included; more are dropped and counted.")
        .only(Side::listen),
    field<&Tcp::send_buffer>("send_buffer", Kind::size, kBuffer, "The most that each stream's log of what it sends may grow to: it holds all that is not acknowledged yet. It "
                             "starts small and grows with demand, while per_client has room."),
    field<&Tcp::receive_buffer>("receive_buffer", Kind::size, kBuffer,
                                "The most that each stream's log of what it received may grow to: its largest window. It "
                                "starts small and grows with demand, while per_client has room. For full speed it must hold "
                                "what the peer sends in one round trip."),
    field<&Tcp::params, &atcp::FlowParams::congestion>("congestion", Kind::word, words(kCongestions),
                                                       "Congestion control (RFC 9438, RFC 6582)."),
    field<&Tcp::params, &atcp::FlowParams::acknowledge>(
        "acknowledge", Kind::word, words(kAcknowledges),
        "When an octet is acknowledged to the peer: received means that netchand holds it for the client, consumed that the "
        "client has taken it."),
    field<&Tcp::params, &atcp::FlowParams::stall>(
        "stall", Kind::word, words(kStalls),
        "With acknowledge: consumed, what becomes of octets that the client has not taken for `stall_after`: keep leaves them "
        "unacknowledged, so that the peer repeats them; acknowledge acknowledges them as if received, until the client has "
        "caught up; reset resets the connection."),
    field<&Tcp::params, &atcp::FlowParams::stall_after>("stall_after", Kind::duration, time(ms(10), s(3600)),
                                                        "How long octets must have waited for `stall`."),
    field<&Tcp::params, &atcp::FlowParams::keepalive>("keepalive", Kind::duration, time(s(1), s(86'400), true),
                                                      "Probe a silent peer after so long."),
    field<&Tcp::params, &atcp::FlowParams::user_timeout>("user_timeout", Kind::duration, time(s(1), s(86'400)),
                                                         "Reset a connection whose data stays unacknowledged for so long."),
    field<&Tcp::params, &atcp::FlowParams::connect_timeout>("connect_timeout", Kind::duration, time(ms(100), s(600)),
                                                            "Give up on a handshake that nobody answers."),
    field<&Tcp::params, &atcp::FlowParams::fin_wait_2>(
        "fin_wait_2", Kind::duration, time(s(1), s(3600)),
        "How long a connection that the client has closed waits for the peer to close, too."),
    field<&Tcp::params, &atcp::FlowParams::delayed_ack>("delayed_ack", Kind::duration, time(ms(1), ms(500)),
                                                        "The longest that an acknowledgment waits for company (RFC 1122: 500ms)."),
    field<&Tcp::params, &atcp::FlowParams::rto_min>("rto_min", Kind::duration, time(ms(1), s(60)),
                                                    "The shortest retransmission timeout. Below the peer's delayed "
                                                    "acknowledgment it sends in vain."),
    field<&Tcp::params, &atcp::FlowParams::rto_initial>("rto_initial", Kind::duration, time(ms(10), s(60)),
                                                        "The retransmission timeout before a round trip was measured (RFC 6298)."),
    field<&Tcp::params, &atcp::FlowParams::rto_max>("rto_max", Kind::duration, time(s(1), s(3600)),
                                                    "The longest retransmission timeout, however often it doubles."),
    field<&Tcp::params, &atcp::FlowParams::ttl>("ttl", Kind::number, range(1, 255), "The IP time to live of what it sends."),
    field<&Tcp::params, &atcp::FlowParams::dscp>("dscp", Kind::number, range(0, 63), "The IP differentiated-services codepoint."),
    field<&Tcp::params, &atcp::FlowParams::timestamps>("timestamps", Kind::flag, "Offer TCP timestamps (RFC 7323)."),
    field<&Tcp::params, &atcp::FlowParams::sack>("sack", Kind::flag, "Offer selective acknowledgment (RFC 2018)."),
    field<&Tcp::params, &atcp::FlowParams::window_scaling>("window_scaling", Kind::flag,
                                                           "Offer windows above 64KiB (RFC 7323)."),
};
const Section kTcpSection{kTcp, &kTcpDefaults};

const Clients kClientsDefaults;
constexpr Field kClients[] = {
    field<&Clients::users>("users", Kind::account, "Users whose programs may attach.").shown("[trader]"),
    field<&Clients::groups>("groups", Kind::account, "Groups whose members may attach.").shown("[desk]"),
    field<&Clients::memory>("memory", Kind::word, words(kMemoryModes),
                            "isolated copies payload once between packet memory and the client's own logs."),
};
const Section kClientsSection{kClients, &kClientsDefaults};

const Flow kFlowDefaults;
constexpr Field kFlow[] = {
    field<&Flow::name>("name", Kind::name, "What clients attach to, and the `flow` label of its metrics.").required().shown("orders", "upstream"),
    field<&Flow::interface>("interface", Kind::entry,
                            "Where it lives. Without it: the interface that has the address, or the route to it.")
        .shown("eth0.100"),
    section<&Flow::tcp>("tcp", kTcpSection, "A flow of TCP connections.").required(),
    section<&Flow::clients>("clients", kClientsSection,
                            "Who may attach. Neither users nor groups: only root and netchand's own user."),
    field<&Flow::no_client>("no_client", Kind::word, words(kNoClients),
                            "What a peer meets that connects while no client is attached: refuse resets it, drop answers "
                            "nothing, hold completes the handshake and keeps the connection for the next client."),
    field<&Flow::on_client_exit>("on_client_exit", Kind::word, words(kOnClientExits),
                                 "What becomes of a client's connections when it ends without closing them: reset, fin sends "
                                 "what it had committed and closes, hold keeps them for `hold_for` so that a client of the "
                                 "same user may resume them."),
    field<&Flow::hold_for>("hold_for", Kind::duration, time(s(1), s(86'400)),
                           "How long on_client_exit: hold and no_client: hold keep a connection; then it is reset."),
    not_yet("pgm"),
};
const Section kFlowSection{kFlow, &kFlowDefaults};

const Metrics kMetricsDefaults;
constexpr Field kMetrics[] = {
    field<&Metrics::listen>("listen", Kind::endpoint, "Serve /metrics for Prometheus and a status page here; without it, nowhere.")
        .shown("\"127.0.0.1:9469\""),
};
const Section kMetricsSection{kMetrics, &kMetricsDefaults};

const Control kControlDefaults;
constexpr Field kControl[] = {
    field<&Control::socket>("socket", Kind::path, "The administrators' socket. It is not served in this version."),
    field<&Control::group>("group", Kind::account, "The group that may use it, beside root; not used in this version.").shown("netchan-admin"),
};
const Section kControlSection{kControl, &kControlDefaults};

const ClientSocket kClientSocketDefaults;
constexpr Field kClientSocket[] = {
    field<&ClientSocket::socket>("socket", Kind::path, "The clients' socket."),
    field<&ClientSocket::group>("group", Kind::account,
                                "The group that may connect to it; without it, everybody (each flow still asks who).")
        .shown("netchan"),
};
const Section kClientSocketSection{kClientSocket, &kClientSocketDefaults};

constexpr Field version() {
  Field f;
  f.key = "version", f.kind = Kind::word, f.limits = words(kVersions), f.presence = Presence::required;
  f.sentence = "The version of this file's format.";
  f.put = [](void*, const Value&) {};
  f.get = [](const void*) { return std::vector<Value>{std::uint64_t{0}}; };
  return f;
}

constexpr Field kTop[] = {
    version(),
    section<&Config::interfaces>("interfaces", kInterfaceSection,
                                 "The interfaces that netchand steers flows away from. All else on them stays with the kernel."),
    section<&Config::workers>("workers", kWorkersSection, "The threads that do the work."),
    section<&Config::memory>("memory", kMemorySection, "Memory; `netchand --check` prints how it adds up."),
    section<&Config::flows>("flows", kFlowSection, "The flows: what is taken from the kernel and given to clients."),
    section<&Config::metrics>("metrics", kMetricsSection, "Figures for people and machines."),
    section<&Config::control>("control", kControlSection, "The administrators' way in."),
    section<&Config::clients>("client_socket", kClientSocketSection, "The clients' way in."),
};

void find(const Section& in, const std::string& path, std::string_view key, std::vector<std::string>& out) {
  for (const Field& f : in.fields) {
    if (f.key == key && f.presence != Presence::not_yet) out.push_back(path);
    if (f.section) find(*f.section, path + (path.empty() ? "" : ".") + std::string(f.key), key, out);
  }
}

}  // namespace

const Section kRoot{kTop, nullptr};

std::vector<std::string> sections_with(std::string_view key) {
  std::vector<std::string> out;
  find(kRoot, "", key, out);
  return out;
}

}  // namespace netchan::config
