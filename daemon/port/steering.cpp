// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/port/steering.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <steer.skel.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <stdexcept>
#include <vector>

#include "daemon/base/unique_fd.h"
#include "daemon/port/bpf_log.h"
#include "daemon/port/device.h"
#include "daemon/port/hook.h"
#include "proto/base/check.h"

namespace netchan::port {

// Keys are hashed and compared as octets: no padding.
static_assert(sizeof(steer_listener) == 20 && sizeof(steer_local) == 20 && sizeof(steer_connect) == 36 &&
              sizeof(steer_flow) == 40 && sizeof(steer_block) == 20 && sizeof(steer_settings) == 4);

namespace {

struct CloseSkeleton {
  void operator()(steer_bpf* s) const { steer_bpf__destroy(s); }
};

steer_address to_key(const wire::Address& a) {
  steer_address key;
  std::memcpy(key.octets, a.octets.data(), sizeof key.octets);
  return key;
}

steer_listener listener_key(const wire::Address& local, std::uint16_t local_port, std::uint16_t vlan) {
  return {to_key(local), htons(local_port), htons(vlan)};
}
steer_connect connect_key(const wire::Address& local, const wire::Address& remote, std::uint16_t remote_port,
                          std::uint16_t vlan) {
  return {to_key(local), to_key(remote), htons(remote_port), htons(vlan)};
}
steer_flow flow_key(const wire::FlowKey& k) {
  return {to_key(k.local),      to_key(k.remote), htons(k.local_port),
          htons(k.remote_port), htons(k.vlan),    static_cast<std::uint8_t>(k.protocol), 0};
}
steer_local local_key(const wire::Address& local, std::uint16_t vlan) { return {to_key(local), htons(vlan), 0}; }

constexpr unsigned kBlock = 64;  // ports of a steer_block

// The bits of one block's ports that lie in [first, last].
std::uint64_t block_bits(unsigned block, unsigned first, unsigned last) {
  const unsigned begin = std::max(first, block * kBlock), end = std::min(last, block * kBlock + kBlock - 1);
  return ~std::uint64_t{0} >> (kBlock - 1 - (end - begin)) << (begin % kBlock);
}

template <class Key, class Value>
bool insert(const bpf_map* map, const Key& key, const Value& value, const char* what) {
  if (bpf_map__update_elem(map, &key, sizeof key, &value, sizeof value, BPF_NOEXIST) == 0) return true;
  if (errno == EEXIST) return false;
  throw std::runtime_error(std::string("steering: adding ") + what + ": " +
                           (errno == E2BIG ? "the map is full" : std::strerror(errno)));
}
template <class Key>
bool erase(const bpf_map* map, const Key& key) {
  return bpf_map__delete_elem(map, &key, sizeof key, 0) == 0;
}
void require_new(bool inserted, const char* what) {
  if (!inserted) throw std::runtime_error(std::string("steering: ") + what + " belongs to another flow already");
}

}  // namespace

struct Steering::Loaded {
  std::unique_ptr<steer_bpf, CloseSkeleton> skeleton;
  UniqueFd copy;  // of the program, by renew()
  AttachedHook hook;
  std::uint32_t program_id = 0;

  // What `settings` is derived from: how many keys of each kind.
  std::map<std::uint32_t, std::uint32_t> keys_by_kind;

  static std::uint32_t tag_kind(std::uint16_t vlan) { return vlan == 0 ? STEER_HAS_UNTAGGED : STEER_HAS_TAGGED; }
  void key_added(steer_kind kind, std::uint16_t vlan) {
    ++keys_by_kind[kind];
    ++keys_by_kind[tag_kind(vlan)];
    publish();
  }
  void key_removed(steer_kind kind, std::uint16_t vlan) {
    for (const std::uint32_t k : {static_cast<std::uint32_t>(kind), tag_kind(vlan)}) {
      const auto it = keys_by_kind.find(k);
      CHECK(it != keys_by_kind.end());
      if (--it->second == 0) keys_by_kind.erase(it);
    }
    publish();
  }
  void publish() {
    steer_settings s{};
    for (const auto& [kind, count] : keys_by_kind) s.kinds |= kind;
    const std::uint32_t zero = 0;
    CHECK(bpf_map__update_elem(skeleton->maps.settings, &zero, sizeof zero, &s, sizeof s, BPF_ANY) == 0);
  }
};

Steering::Steering(const std::string& interface, std::uint32_t ifindex, Mode mode) : loaded_(std::make_unique<Loaded>()) {
  const BpfLog bpf_log;
  auto fail = [&](const char* step) {
    std::string text = interface + ": " + step + ": " + std::strerror(errno);
    if (errno == EPERM) text += "; CAP_BPF and CAP_NET_ADMIN are needed";
    if (!bpf_log.warnings().empty()) text += "\n" + bpf_log.warnings();
    throw std::runtime_error(text);
  };
  loaded_->skeleton.reset(steer_bpf__open());
  if (!loaded_->skeleton) fail("reading the XDP program");
  const std::uint32_t queues = Device::open(interface).most_queues;
  if (queues > STEER_MAX_QUEUES) bpf_map__set_max_entries(loaded_->skeleton->maps.sockets, queues);
  if (steer_bpf__load(loaded_->skeleton.get()) != 0) fail("loading the XDP program");

  bpf_prog_info info{};
  std::uint32_t length = sizeof info;
  if (bpf_obj_get_info_by_fd(program_fd(), &info, &length) == 0) loaded_->program_id = info.id;
  loaded_->hook = attach_hook(interface, ifindex, program_fd(), mode);
}

Steering::~Steering() = default;

bool Steering::attached_generic() const { return loaded_->hook.generic; }
void Steering::renew() {
  const bpf_program* program = loaded_->skeleton->progs.steer;
  bpf_prog_load_opts options{};
  options.sz = sizeof options;
  options.expected_attach_type = bpf_program__expected_attach_type(program);
  options.prog_flags = bpf_program__flags(program) | BPF_F_XDP_HAS_FRAGS;  // its section's: xdp.frags
  UniqueFd copy(bpf_prog_load(BPF_PROG_TYPE_XDP, bpf_program__name(program), "Dual BSD/GPL" /* as in steer.bpf.c */,
                              bpf_program__insns(program), bpf_program__insn_cnt(program), &options));
  bpf_link_update_opts update{};
  update.sz = sizeof update;
  bpf_prog_info info{};
  std::uint32_t length = sizeof info;
  if (copy.get() < 0 || bpf_link_update(link_fd(), copy.get(), &update) != 0)
    throw std::runtime_error(std::string("renewing the XDP program: ") + std::strerror(errno));
  loaded_->copy = std::move(copy);
  if (bpf_obj_get_info_by_fd(loaded_->copy.get(), &info, &length) == 0) loaded_->program_id = info.id;
}

bool Steering::attached() const {
  bpf_link_info info{};
  std::uint32_t length = sizeof info;
  return bpf_obj_get_info_by_fd(link_fd(), &info, &length) == 0 && info.xdp.ifindex != 0;
}
int Steering::program_fd() const { return bpf_program__fd(loaded_->skeleton->progs.steer); }
int Steering::link_fd() const { return loaded_->hook.link.get(); }
std::uint32_t Steering::program_id() const { return loaded_->program_id; }

void Steering::add_listener(const wire::Address& local, std::uint16_t local_port, std::uint16_t vlan, std::uint32_t flow) {
  const auto key = listener_key(local, local_port, vlan);
  require_new(insert(loaded_->skeleton->maps.listeners, key, steer_owner{flow}, "a listener"), "the listening address");
  loaded_->key_added(local.is_unspecified() ? STEER_HAS_WILDCARDS : STEER_HAS_LISTENERS, vlan);
}
void Steering::remove_listener(const wire::Address& local, std::uint16_t local_port, std::uint16_t vlan) {
  if (erase(loaded_->skeleton->maps.listeners, listener_key(local, local_port, vlan)))
    loaded_->key_removed(local.is_unspecified() ? STEER_HAS_WILDCARDS : STEER_HAS_LISTENERS, vlan);
}

void Steering::add_connect(const wire::Address& local, const wire::Address& remote, std::uint16_t remote_port,
                           std::uint16_t vlan, std::uint16_t first_local_port, std::uint16_t last_local_port) {
  const auto key = connect_key(local, remote, remote_port, vlan);
  const steer_port_range range{first_local_port, last_local_port};
  require_new(insert(loaded_->skeleton->maps.connects, key, range, "a connect rule"), "this remote, from this address,");
  loaded_->key_added(STEER_HAS_CONNECTS, vlan);
}
void Steering::remove_connect(const wire::Address& local, const wire::Address& remote, std::uint16_t remote_port,
                              std::uint16_t vlan) {
  if (erase(loaded_->skeleton->maps.connects, connect_key(local, remote, remote_port, vlan)))
    loaded_->key_removed(STEER_HAS_CONNECTS, vlan);
}

void Steering::add_range(const wire::Address& local, std::uint16_t vlan, std::uint16_t first, std::uint16_t last) {
  const bpf_map* map = loaded_->skeleton->maps.blocks;
  const auto each = [&](auto step) {
    for (unsigned b = first / kBlock; b <= last / kBlock; ++b) {
      const steer_block key{to_key(local), static_cast<std::uint16_t>(b), htons(vlan)};
      std::uint64_t bits = 0;
      bpf_map__lookup_elem(map, &key, sizeof key, &bits, sizeof bits, 0);
      step(key, bits, block_bits(b, first, last));
    }
  };
  each([](const steer_block&, std::uint64_t bits, std::uint64_t wanted) { require_new((bits & wanted) == 0, "one of the local ports"); });
  std::uint32_t done = 0;
  try {
    each([&](const steer_block& key, std::uint64_t bits, std::uint64_t wanted) {
      const std::uint64_t both = bits | wanted;
      if (bpf_map__update_elem(map, &key, sizeof key, &both, sizeof both, BPF_ANY) != 0)
        throw std::runtime_error(std::string("steering: adding local ports: ") + (errno == E2BIG ? "the map is full" : std::strerror(errno)));
      ++done;
    });
  } catch (...) {
    if (done > 0) clear_range(local, vlan, first, static_cast<std::uint16_t>(std::min<unsigned>(last, (first / kBlock + done) * kBlock - 1)));
    throw;
  }
  loaded_->key_added(STEER_HAS_BLOCKS, vlan);
}
void Steering::remove_range(const wire::Address& local, std::uint16_t vlan, std::uint16_t first, std::uint16_t last) {
  if (clear_range(local, vlan, first, last)) loaded_->key_removed(STEER_HAS_BLOCKS, vlan);
}
// false: none of these ports was there.
bool Steering::clear_range(const wire::Address& local, std::uint16_t vlan, std::uint16_t first, std::uint16_t last) {
  const bpf_map* map = loaded_->skeleton->maps.blocks;
  bool found = false;
  for (unsigned b = first / kBlock; b <= last / kBlock; ++b) {
    const steer_block key{to_key(local), static_cast<std::uint16_t>(b), htons(vlan)};
    std::uint64_t bits = 0;
    if (bpf_map__lookup_elem(map, &key, sizeof key, &bits, sizeof bits, 0) != 0) continue;
    found = found || (bits & block_bits(b, first, last)) != 0;
    bits &= ~block_bits(b, first, last);
    bits == 0 ? bpf_map__delete_elem(map, &key, sizeof key, 0) : bpf_map__update_elem(map, &key, sizeof key, &bits, sizeof bits, BPF_ANY);
  }
  return found;
}

void Steering::add_flow(const wire::FlowKey& key, std::uint32_t flow) {
  require_new(insert(loaded_->skeleton->maps.flows, flow_key(key), steer_owner{flow}, "a flow"), "the tuple");
  loaded_->key_added(STEER_HAS_FLOWS, key.vlan);
}
void Steering::remove_flow(const wire::FlowKey& key) {
  if (erase(loaded_->skeleton->maps.flows, flow_key(key))) loaded_->key_removed(STEER_HAS_FLOWS, key.vlan);
}

void Steering::add_address(const wire::Address& local, std::uint16_t vlan) {
  insert(loaded_->skeleton->maps.addresses, local_key(local, vlan), std::uint8_t{1}, "an address");
}
void Steering::remove_address(const wire::Address& local, std::uint16_t vlan) {
  erase(loaded_->skeleton->maps.addresses, local_key(local, vlan));
}

void Steering::set_socket(std::uint32_t queue, int xsk_fd) {
  if (bpf_map__update_elem(loaded_->skeleton->maps.sockets, &queue, sizeof queue, &xsk_fd, sizeof xsk_fd, BPF_ANY) != 0)
    throw std::runtime_error("steering: the socket of queue " + std::to_string(queue) + ": " + std::strerror(errno));
}
void Steering::clear_socket(std::uint32_t queue) {
  bpf_map__delete_elem(loaded_->skeleton->maps.sockets, &queue, sizeof queue, 0);
}

std::array<std::uint64_t, STEER_VERDICT_COUNT> Steering::verdicts() const {
  std::array<std::uint64_t, STEER_VERDICT_COUNT> sums{};
  const int cpus = libbpf_num_possible_cpus();
  CHECK(cpus > 0);
  std::vector<std::uint64_t> by_cpu(static_cast<std::size_t>(cpus));
  for (std::uint32_t v = 0; v < STEER_VERDICT_COUNT; ++v) {
    if (bpf_map__lookup_elem(loaded_->skeleton->maps.verdicts, &v, sizeof v, by_cpu.data(),
                             by_cpu.size() * sizeof by_cpu[0], 0) != 0)
      continue;
    for (const std::uint64_t n : by_cpu) sums[v] += n;
  }
  return sums;
}

}  // namespace netchan::port
