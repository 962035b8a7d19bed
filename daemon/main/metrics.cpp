// SPDX-License-Identifier: BSD-2-Clause
//
// The composition's last joint: which rows of counters are exported under which names and labels, and the status page.
#include "daemon/base/log.h"
#include "daemon/control/privileges.h"
#include "daemon/main/daemon.h"

namespace netchan {

static constexpr const char* kChunksHelp = "Chunks by place; their sum is netchan_memory_chunks.";

void Daemon::open_metrics() {
  const auto keep = [this](metrics::Registration r) { registrations_.push_back(std::move(r)); };
  const auto chunks = [&](metrics::Labels labels, auto read) {
    keep(registry_.add_gauge("netchan_chunks", kChunksHelp, std::move(labels),
                             [read] { return static_cast<double>(read()); }));
  };
  for (std::uint32_t w = 0; w < workers_.size(); ++w) {
    const worker::Worker& worker = *workers_[w];
    const metrics::Labels label = {{"worker", std::to_string(w)}};
    keep(registry_.add_row("worker", label, worker.counters()));
    keep(registry_.add_row("atcp", label, worker.atcp_counters()));
    keep(registry_.add_row("netalloc", label, caches_[w]->counters()));
    keep(registry_.add_drops(label, worker.drops()));
    keep(registry_.add_gauge("netchan_worker_connections", "Connections that the worker's engine holds.", label,
                             [&worker] { return static_cast<double>(worker.connections()); }));
    keep(registry_.add_gauge("netchan_worker_asleep", "1 while the worker sleeps.", label,
                             [&worker] { return worker.asleep() ? 1.0 : 0.0; }));
    // Windows are reservations: promised <= reserved <= the quotas of the clients, and nothing is promised twice.
    const auto memory = [&](const char* what, const char* help, const Counter& octets) {
      keep(registry_.add_gauge(std::string("netchan_worker_") + what + "_bytes", help, label,
                               [&octets] { return static_cast<double>(octets.get()); }));
    };
    memory("receive_reserved", "Receive logs of clients' streams, and of connections that are opening.", worker.client_memory().receive_reserved);
    memory("send_reserved", "Send logs of clients' streams.", worker.client_memory().send_reserved);
    memory("receive_promised", "Windows promised to peers, each stream's as of about the last second.", worker.client_memory().receive_promised);
    keep(registry_.add_gauge("netchan_receive_overcommit", "Windows that may be promised for each octet of receive log.", label, [] { return 1.0; }));
    // Every chunk is in one of these places (or in work for a moment): their sum is netchan_memory_chunks.
    chunks({{"place", "cache"}, label[0]}, [&worker] { return worker.free_chunks(); });
    chunks({{"place", "foreign"}, label[0]}, [&worker] { return worker.foreign_chunks(); });
    keep(registry_.add_counter("netchan_worker_cpu_seconds_total", "CPU time of the worker's thread.", label,
                               [&worker] { return static_cast<double>(worker.cpu_ns()) * 1e-9; }));
  }
  chunks({{"place", "homeward"}}, [this] { return home_rings_->in_flight(); });
  chunks({{"place", "handoff"}}, [this] { return handoff_->in_flight(); });
  keep(registry_.add_row("route", {}, routes_->counters()));
  keep(registry_.add_row("session", {}, sessions_->counters()));
  keep(registry_.add_row("violation", {}, sessions_->violations()));
  keep(registry_.add_gauge("netchan_memory_chunks", "Chunks of the UMEM.", {},
                           [this] { return static_cast<double>(umem_->chunk_count()); }));
  keep(registry_.add_gauge("netchan_memory_hugepages", "1 when the UMEM lies in huge pages.", {},
                           [this] { return umem_->hugepages() ? 1.0 : 0.0; }));
  keep(registry_.add_gauge("netchan_build_info", "1; the version is in the label.", {{"version", NETCHAN_VERSION}},
                           [] { return 1.0; }));
  if (!config_.metrics.listen) return;
  exporter_ = std::make_unique<metrics::Exporter>(registry_, config_.metrics.listen->address, config_.metrics.listen->port,
                                                  [this] { return status_page(); }, control::drop_thread_capabilities);
}

// One port's rows. They leave before the port does.
std::vector<metrics::Registration> Interfaces::register_port(const worker::WorkerPort& p) {
  std::vector<metrics::Registration> all;
  const port::Port& port = *p.port;
  const metrics::Labels label = {{"interface", port.spec().interface}, {"queue", std::to_string(port.spec().queue)}};
  const auto chunks = [&](const char* place, const Counter& count) {
    all.push_back(registry_.add_gauge("netchan_chunks", kChunksHelp, {{"place", place}, label[0], label[1]},
                                      [&count] { return static_cast<double>(count.get()); }));
  };
  all.push_back(registry_.add_row("port", label, port.counters()));
  chunks("fill", p.chunks->fill);
  chunks("rx", p.chunks->rx);
  chunks("tx", p.chunks->tx);
  all.push_back(registry_.add_port_mode(port.spec().interface, port.spec().queue, port::name(port.effective_mode())));
  all.push_back(registry_.add_collector([&port, label](metrics::Sink& sink) {
    const port::KernelStatistics s = port.kernel_statistics();
    const auto put = [&](const char* name, const char* help, std::uint64_t value) {
      sink.counter(std::string("netchan_port_kernel_") + name + "_total", help, label, static_cast<double>(value));
    };
    put("rx_dropped", "Frames that the kernel dropped: no chunk, or longer than one.", s.rx_dropped);
    put("rx_ring_full", "Frames that found the rx ring full.", s.rx_ring_full);
    put("fill_ring_empty", "Times the kernel found the fill ring empty.", s.fill_ring_empty);
    put("rx_invalid", "Invalid fill addresses.", s.rx_invalid);
    put("tx_invalid", "Invalid transmit descriptors.", s.tx_invalid);
  }));
  return all;
}

// Runs on the exporter's threads: reads only what is fixed after start, counters, and what Interfaces lends.
std::string Daemon::status_page() const {
  std::string page = "netchand " NETCHAN_VERSION "\n\n";
  for (std::uint32_t w = 0; w < workers_.size(); ++w) {
    const worker::Worker& worker = *workers_[w];
    page += "worker " + std::to_string(w) + ": core " + std::to_string(worker.spec().core) + ", " +
            std::to_string(worker.connections()) + " connections, " + std::to_string(worker.free_chunks()) + " free chunks, " +
            std::to_string(worker.drops().total.get()) + " drops\n";
    page += interfaces_->status(w);
  }
  page += "\nflows\n";
  for (const config::Flow& f : config_.flows) page += "  " + f.name + (f.tcp.listen ? ": listens\n" : ": connects\n");
  page += "\nmetrics: /metrics\n";
  return page;
}

}  // namespace netchan
