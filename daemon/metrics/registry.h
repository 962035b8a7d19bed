// SPDX-License-Identifier: BSD-2-Clause
//
// Registry: who has counters registers them here, with labels; a scrape reads them. The datapath's counters are plain
// single-writer atomics (0.3 ns an increment; prometheus-cpp's own cost 10-14 ns), so a metric costs nothing until it is
// asked for. prometheus-cpp is named in registry.cpp only. 100,000 series take 100 ms a scrape: labels are bounded (worker,
// interface, queue, flow, reason), never a peer's address.
//
// Names: netchan_<row>_<counter>_total; base units; a help text for each. Any thread may register and any may scrape: the
// callbacks run on the scraping thread, one scrape at a time, and may only read what another thread may read at any time.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bpf/steer_abi.h"
#include "proto/base/counters.h"
#include "proto/wire/drop.h"

namespace netchan::metrics {

using Labels = std::vector<std::pair<std::string, std::string>>;

// Where a collector puts its values during a scrape.
class Sink {
 public:
  virtual void counter(const std::string& name, std::string_view help, const Labels&, double) = 0;
  virtual void gauge(const std::string& name, std::string_view help, const Labels&, double) = 0;

 protected:
  ~Sink() = default;
};

struct Registered;  // the registry's inside

// What was registered leaves with this. Once it is gone no scrape reads it any more (the destructor waits for one under way).
// May outlive its registry.
class [[nodiscard]] Registration {
 public:
  Registration() = default;
  Registration(std::weak_ptr<Registered> in, std::uint64_t id) : in_(std::move(in)), id_(id) {}
  Registration(Registration&& other) noexcept : in_(std::exchange(other.in_, {})), id_(other.id_) {}
  Registration& operator=(Registration&& other) noexcept {
    std::swap(in_, other.in_);
    std::swap(id_, other.id_);
    return *this;
  }
  ~Registration();

 private:
  std::weak_ptr<Registered> in_;
  std::uint64_t id_ = 0;
};

class Registry {
 public:
  Registry();
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // Each counter of a row as netchan_<prefix>_<name>_total. The row outlives the registration.
  template <class Row>
  Registration add_row(const std::string& prefix, Labels labels, const Row& row) {
    return add_collector([start = "netchan_" + prefix + "_", labels = std::move(labels), &row](Sink& sink) {
      for (std::size_t i = 0; i < Row::kCount; ++i)
        sink.counter(start + std::string(Row::kInfo[i].name) + "_total", Row::kInfo[i].help, labels,
                     static_cast<double>(Row::at(row, i).get()));
    });
  }

  // netchan_drops_total{where="worker", <labels>, reason}, and beside it what the writer counted as a whole:
  // netchan_drops_sum_total{where="worker", <labels>}. The reasons' sum must equal it.
  Registration add_drops(Labels labels, const wire::DropCounters&);

  // netchan_steer_packets_total{interface, verdict}; verdicts that drop are also netchan_drops_total{where="xdp"}. A call
  // into the kernel a scrape.
  using Verdicts = std::array<std::uint64_t, STEER_VERDICT_COUNT>;
  Registration add_verdicts(const std::string& interface, std::function<Verdicts()> read);

  // netchan_port_mode{interface, queue, mode} = 1: the mode in use.
  Registration add_port_mode(const std::string& interface, std::uint32_t queue, std::string_view mode);

  // The name is the whole name, with netchan_ and, of a counter, _total.
  Registration add_counter(std::string name, std::string help, Labels, std::function<double()>);
  Registration add_gauge(std::string name, std::string help, Labels, std::function<double()>);

  // For sets that change: called at each scrape.
  Registration add_collector(std::function<void(Sink&)>);

  std::string text() const;  // Prometheus' text exposition format, version 0.0.4

 private:
  std::shared_ptr<Registered> registered_;
};

}  // namespace netchan::metrics
