// SPDX-License-Identifier: BSD-2-Clause
//
// The rings' and the log's arithmetic in one thread, and the rings between two threads (ThreadSanitizer runs this; it
// sees only one mapping, so both sides share this memory).
#include <doctest/doctest.h>

#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "proto/shm/log.h"
#include "proto/shm/news_ring.h"
#include "proto/shm/touch_ring.h"

using namespace netchan;
using namespace netchan::shm;

TEST_CASE("a news ring is full at its size, and entries come in order over many laps") {
  std::vector<NewsSlot> slots(8);
  std::atomic<std::uint32_t> consumed{0};
  NewsProducer producer(slots.data(), 3, &consumed);
  NewsConsumer consumer(slots.data(), 3, &consumed);
  NewsEntry entry;
  std::uint64_t in = 0, out = 0;
  for (int lap = 0; lap < 100; ++lap) {
    while (producer.publish({News::data, static_cast<std::uint32_t>(in), 5, in, in}) == NewsProducer::Outcome::done)
      ++in;
    CHECK(in - out == 8);
    for (int n = 0; n <= lap % 8; ++n) {
      REQUIRE(consumer.take(entry));
      CHECK(entry.position == out++);
      CHECK(entry.generation == 5);
    }
    consumer.tell();
  }
}

TEST_CASE("an index of the news ring that is ahead or goes back is a lie") {
  for (const std::uint32_t lie : {9u, 1u << 31, 0xffffffffu}) {
    std::vector<NewsSlot> slots(8);
    std::atomic<std::uint32_t> consumed{0};
    NewsProducer producer(slots.data(), 3, &consumed);
    for (std::uint32_t i = 0; i < 8; ++i)
      REQUIRE(producer.publish({News::data, 0, 0, i, 0}) == NewsProducer::Outcome::done);
    consumed = lie;
    CHECK(producer.publish({News::data, 0, 0, 8, 0}) == NewsProducer::Outcome::lie);
  }
}

TEST_CASE("a touch ring takes what was pushed; a word that is neither new nor a lap old is a lie") {
  std::vector<TouchWord> words(4);
  std::atomic<std::uint32_t> consumed{0};
  TouchProducer producer(words.data(), 2, &consumed);
  TouchConsumer consumer(words.data(), 2, &consumed);
  Touch touch;
  CHECK_FALSE(consumer.waiting());
  for (std::uint32_t i = 0; i < 1000; ++i) {
    const std::uint32_t burst = 1 + i % 4;
    for (std::uint32_t n = 0; n < burst; ++n) REQUIRE(producer.push(i % 1000, i));
    if (burst == 4) CHECK_FALSE(producer.push(1, 1));
    for (std::uint32_t n = 0; n < burst; ++n) {
      REQUIRE(consumer.take(touch) == TouchConsumer::Outcome::taken);
      CHECK(touch.stream == i % 1000);
      CHECK(touch.generation_low == Touch::low(i));
    }
    CHECK(consumer.take(touch) == TouchConsumer::Outcome::none);
    consumer.tell();
  }
  for (auto& w : words) w.store(0x123456789abcdef0);
  CHECK(consumer.waiting());
  CHECK(consumer.take(touch) == TouchConsumer::Outcome::lie);
}

TEST_CASE("a word of zeros is a lie once the slot has been used") {
  std::vector<TouchWord> words(2);
  std::atomic<std::uint32_t> consumed{0};
  TouchProducer producer(words.data(), 1, &consumed);
  TouchConsumer consumer(words.data(), 1, &consumed);
  Touch touch;
  for (int i = 0; i < 2; ++i) {
    REQUIRE(producer.push(0, 0));
    REQUIRE(consumer.take(touch) == TouchConsumer::Outcome::taken);
  }
  words[0] = 0;
  CHECK(consumer.take(touch) == TouchConsumer::Outcome::lie);
}

TEST_CASE("copies into and out of a log wrap where positions say") {
  std::vector<std::byte> log(64);
  std::mt19937 random(3);
  std::uint64_t position = (std::uint64_t{1} << 63) - 100;  // far from the start, over the middle of the range
  for (int i = 0; i < 1000; ++i) {
    std::vector<std::byte> in(random() % 65), out(in.size());
    for (auto& b : in) b = static_cast<std::byte>(random());
    copy_in(log.data(), log.size(), position, in);
    copy_out(log.data(), log.size(), position, out);
    REQUIRE(in == out);
    for (std::size_t n = 0; n < in.size(); ++n) REQUIRE(log[(position + n) % 64] == in[n]);
    const LogStretch s = stretch(position, in.size(), 64);
    CHECK(s.first_size + s.second_size == in.size());
    position += in.size();
  }
}

TEST_CASE("two threads: news carry data that is there when they are seen") {
  constexpr std::uint64_t kEntries = 200'000;
  std::vector<NewsSlot> slots(64);
  std::vector<std::uint64_t> log(256);
  alignas(64) std::atomic<std::uint32_t> consumed{0};
  NewsConsumer consumer(slots.data(), 6, &consumed);
  std::thread producer_thread([&] {
    NewsProducer producer(slots.data(), 6, &consumed);
    for (std::uint64_t i = 0; i < kEntries; ++i) {
      log[i % 256] = i;
      while (producer.publish({News::data, 1, 1, i, 0}) != NewsProducer::Outcome::done) std::this_thread::yield();
    }
  });
  std::uint64_t expected = 0;
  bool wrong = false;
  for (NewsEntry entry; expected < kEntries;) {
    if (!consumer.take(entry)) {
      std::this_thread::yield();
      continue;
    }
    if (entry.position != expected || log[expected % 256] != expected) wrong = true;
    ++expected;
    consumer.tell();
  }
  producer_thread.join();
  CHECK_FALSE(wrong);
}
