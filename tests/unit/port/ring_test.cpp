// SPDX-License-Identifier: BSD-2-Clause
//
// The ring classes over plain memory; the test plays the kernel.
#include "daemon/port/ring.h"

#include <doctest/doctest.h>

#include <array>

using namespace netchan::port;

namespace {

template <class Slot>
struct Memory {
  std::array<Slot, 4> slots{};
  std::uint32_t producer = 0, consumer = 0, flags = 0;

  RingMapping mapping() {
    RingMapping m;
    m.producer = &producer;
    m.consumer = &consumer;
    m.flags = &flags;
    m.slots = slots.data();
    m.mask = 3;
    return m;
  }
};

}  // namespace

TEST_CASE("a producer ring shows what it holds only at submit, and has room again when the kernel has consumed") {
  Memory<std::uint64_t> memory;
  FillRing ring(memory.mapping());
  CHECK(ring.room(1) == 4);
  for (std::uint32_t i = 0; i < 4; ++i) ring.slot(i) = 100 + i;
  CHECK(memory.producer == 0);
  ring.submit(4);
  CHECK(memory.producer == 4);
  CHECK(ring.room(1) == 0);
  CHECK(ring.outstanding() == 4);

  memory.consumer = 3;
  CHECK(ring.room(1) == 3);
  CHECK(ring.outstanding() == 1);
  ring.slot(0) = 200;
  CHECK(memory.slots[0] == 200);  // the first slot again
  CHECK(memory.slots[3] == 103);  // not consumed yet, not touched
}

TEST_CASE("room is read from the kernel only when the last known value does not suffice") {
  Memory<std::uint64_t> memory;
  FillRing ring(memory.mapping());
  ring.submit(2);
  memory.consumer = 2;
  CHECK(ring.room(2) == 2);  // enough without looking
  CHECK(ring.room(3) == 4);
}

TEST_CASE("a consumer ring hands out in order, and the kernel sees the slots free only after release") {
  Memory<std::uint64_t> memory;
  CompletionRing ring(memory.mapping());
  CHECK(ring.filled(1) == 0);
  memory.slots = {7, 8, 9, 10};
  memory.producer = 3;
  CHECK(ring.filled(8) == 3);
  CHECK(ring.slot(0) == 7);
  CHECK(ring.slot(2) == 9);
  CHECK(memory.consumer == 0);
  ring.release(2);
  CHECK(memory.consumer == 2);
  CHECK(ring.slot(0) == 9);
  CHECK(ring.seen() == 1);
}

TEST_CASE("indices run through 2^32 without anything happening") {
  Memory<std::uint64_t> memory;
  CompletionRing completed(memory.mapping());
  Memory<std::uint64_t> fill_memory;
  FillRing fill(fill_memory.mapping());
  memory.producer = 0xffff'fffe;
  completed.release(completed.filled(1));  // as if 2^32 - 2 slots had gone by
  CHECK(completed.filled(1) == 0);
  memory.producer += 3;
  CHECK(completed.filled(8) == 3);
  completed.release(3);
  CHECK(memory.consumer == 1);

  fill.submit(0xffff'fffe);
  fill_memory.consumer = 0xffff'fffe;
  CHECK(fill.outstanding() == 0);
  CHECK(fill.room(4) == 4);
  fill.submit(4);
  CHECK(fill_memory.producer == 2);
  CHECK(fill.room(1) == 0);
}

TEST_CASE("the need-wakeup flag is the kernel's, read anew each time") {
  Memory<xdp_desc> memory;
  TxRing ring(memory.mapping());
  CHECK_FALSE(ring.needs_wakeup());
  memory.flags = XDP_RING_NEED_WAKEUP;
  CHECK(ring.needs_wakeup());
}
