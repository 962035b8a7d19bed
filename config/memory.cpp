// SPDX-License-Identifier: BSD-2-Clause
#include "config/memory.h"

#include <algorithm>

#include "config/values.h"
#include "proto/atcp/engine.h"

namespace netchan::config {
namespace {

std::string count(std::uint64_t n, const std::string& what) { return std::to_string(n) + " " + what + (n == 1 ? "" : "s"); }

// Entries of one device with different VLANs share its queues.
bool again(const Config& config, const Interface& i) {
  const auto first = std::find_if(config.interfaces.begin(), config.interfaces.end(), [&](const Interface& o) { return o.name == i.name; });
  return &*first != &i;
}

std::string label(std::string_view text) {
  std::string out(text);
  out.resize(std::max<std::size_t>(out.size() + 1, 18), ' ');
  return out;
}

}  // namespace

std::uint32_t queues_of(const Machine& machine, const Interface& i) {
  const auto known = machine.queues.find(i.name);
  return known == machine.queues.end() ? 1 : std::max(known->second, 1u);
}

std::uint64_t MemorySum::most_wanted() const { return *std::max_element(wanted.begin(), wanted.end()); }

MemorySum add_up(const Config& config, const Machine& machine) {
  MemorySum sum;
  sum.workers = static_cast<std::uint32_t>(std::max<std::size_t>(config.workers.cores.size(), 1));
  sum.chunks = config.memory.size / config.memory.chunk;
  sum.chunks_per_worker = sum.chunks / sum.workers;
  sum.wanted.resize(sum.workers);
  sum.queues.resize(sum.workers);
  std::uint32_t dealt = 0;
  for (const Interface& i : config.interfaces) {
    if (again(config, i)) continue;
    sum.assumed_queues |= machine.queues.find(i.name) == machine.queues.end();
    for (std::uint32_t q = 0; q < queues_of(machine, i); ++q, ++dealt) {
      sum.wanted[dealt % sum.workers] += 2ull * i.ring_size;
      ++sum.queues[dealt % sum.workers];
    }
  }
  sum.arena = config.memory.per_client / 2 / sum.workers;
  return sum;
}

atcp::Limits engine_limits(const Config& config) {
  atcp::Limits limits;
  const atcp::Limits usual;
  limits.listeners = 1;
  for (const Flow& f : config.flows) {
    if (f.tcp.listen) limits.listeners += static_cast<std::uint32_t>(f.tcp.endpoints.size());
    limits.backlog = std::max(limits.backlog, f.tcp.backlog);
  }
  limits.connections = std::max(usual.connections, config.memory.streams_per_client + limits.backlog);
  // The shared pools grow with them: a connection's share stays what it is.
  limits.segment_records = limits.connections * (usual.segment_records / usual.connections);
  limits.ranges = limits.connections * (usual.ranges / usual.connections);
  return limits;
}

std::string memory_arithmetic(const Config& config, const Machine& machine) {
  const MemorySum sum = add_up(config, machine);
  const bool one_worker = sum.workers == 1;
  std::string out = label("packet memory") + show_size(config.memory.size) + " = " + std::to_string(sum.chunks) + " chunks of " +
                    std::to_string(config.memory.chunk) + " octets";
  if (!one_worker) out += ", " + std::to_string(sum.chunks_per_worker) + " for each of " + count(sum.workers, "worker");
  out += "\n";
  for (const Interface& i : config.interfaces) {
    if (again(config, i)) continue;
    const std::uint64_t queues = queues_of(machine, i), rings = 2ull * i.ring_size;
    out += label("  " + i.name) + count(queues, "queue");
    if (machine.queues.find(i.name) == machine.queues.end()) out += " (assumed: not known here)";
    out += " x (" + std::to_string(i.ring_size) + " fill + " + std::to_string(i.ring_size) + " tx) = " + std::to_string(queues * rings) + " chunks\n";
  }
  for (std::uint32_t w = 0; w < sum.workers && !config.interfaces.empty(); ++w)
    out += label("  worker " + std::to_string(w)) + count(sum.queues[w], "queue") + ": " + std::to_string(sum.wanted[w]) +
           " chunks in rings, " + std::to_string(sum.chunks_per_worker - std::min(sum.chunks_per_worker, sum.wanted[w])) +
           " left for frames in hand\n";
  out += label("client memory") + show_size(config.memory.per_client) + " for each client";
  out += one_worker ? " / 2 directions" : " / 2 directions / " + count(sum.workers, "worker");
  out += " = " + show_size(sum.arena) + "\n";
  out += label("  streams") + "at most " + std::to_string(config.memory.streams_per_client) + " of a client with a worker, of " +
         show_size(kSmallestLog) + " send and " + show_size(kSmallestLog) + " receive while they are small\n";
  for (const Flow& f : config.flows) {
    const std::uint64_t log = std::max(f.tcp.send_buffer, f.tcp.receive_buffer);
    out += label("  " + f.name) + show_size(f.tcp.send_buffer) + " send, " + show_size(f.tcp.receive_buffer) +
           " receive (the largest window) at most for each stream: " + std::to_string(sum.arena / log) +
           " fully grown ones of a client fit" + (one_worker ? "\n" : " with a worker\n");
  }
  const atcp::Limits limits = engine_limits(config);
  const std::uint64_t engine = atcp::Engine::memory_size(limits);
  const auto mib = [](std::uint64_t octets) { return std::to_string((octets + (1 << 20) - 1) >> 20) + "MiB"; };
  out += label("engines") + mib(engine) + " for " + std::to_string(limits.connections) + " connections";
  out += one_worker ? "\n" : " x " + count(sum.workers, "worker") + " = " + mib(engine * sum.workers) + "\n";
  return out;
}

std::string memory_arithmetic(const Config& config) { return memory_arithmetic(config, Machine::here()); }

}  // namespace netchan::config
