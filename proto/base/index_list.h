// SPDX-License-Identifier: BSD-2-Clause
//
// IndexList: an intrusive doubly linked list whose links are 32-bit indices, so that it can be copied, stored in a
// snapshot and mapped elsewhere. The records lie in an array of the caller's; `links` says where record i keeps the
// link of this list, so one record can be in several lists:
//
//   struct Slot { IndexLink ready, age; };
//   const auto ready_link = [&](std::uint32_t i) -> IndexLink& { return slots[i].ready; };
//   if (!ready_link(7).linked()) ready.push_back(ready_link, 7);
//
// Every call is O(1). A list may be empty in memory only after construction: zeroed memory is not an empty list.
#pragma once

#include <cstdint>

#include "proto/base/check.h"

namespace netchan {

inline constexpr std::uint32_t kNoIndex = 0xffffffff;

struct IndexLink {
  static constexpr std::uint32_t kOut = 0xfffffffe;  // in `previous`: a member of no list

  std::uint32_t next = kNoIndex;
  std::uint32_t previous = kOut;
  constexpr bool linked() const { return previous != kOut; }
};

class IndexList {
 public:
  constexpr std::uint32_t front() const { return first_; }  // kNoIndex when empty
  constexpr std::uint32_t back() const { return last_; }
  constexpr std::uint32_t size() const { return size_; }
  constexpr bool empty() const { return size_ == 0; }

  template <class Links>
  constexpr void push_back(const Links& links, std::uint32_t i) {
    insert_between(links, last_, i, kNoIndex);
  }
  template <class Links>
  constexpr void push_front(const Links& links, std::uint32_t i) {
    insert_between(links, kNoIndex, i, first_);
  }
  template <class Links>
  constexpr void insert_before(const Links& links, std::uint32_t i, std::uint32_t next) {
    DCHECK(links(next).linked());
    insert_between(links, links(next).previous, i, next);
  }
  template <class Links>
  constexpr void insert_after(const Links& links, std::uint32_t i, std::uint32_t previous) {
    DCHECK(links(previous).linked());
    insert_between(links, previous, i, links(previous).next);
  }

  template <class Links>
  constexpr void remove(const Links& links, std::uint32_t i) {
    IndexLink& link = links(i);
    DCHECK(link.linked() && size_ > 0);
    (link.previous == kNoIndex ? first_ : links(link.previous).next) = link.next;
    (link.next == kNoIndex ? last_ : links(link.next).previous) = link.previous;
    link = IndexLink{};
    --size_;
  }

  template <class Links>
  constexpr std::uint32_t pop_front(const Links& links) {  // kNoIndex when empty
    const std::uint32_t i = first_;
    if (i != kNoIndex) remove(links, i);
    return i;
  }

  // Walks the whole list and CHECKs that it hangs together; for tests.
  template <class Links>
  void check(const Links& links) const {
    std::uint32_t n = 0, previous = kNoIndex;
    for (std::uint32_t i = first_; i != kNoIndex; previous = i, i = links(i).next) {
      NETCHAN_CHECK(links(i).previous == previous);
      NETCHAN_CHECK(++n <= size_);
    }
    NETCHAN_CHECK(n == size_ && last_ == previous);
  }

 private:
  template <class Links>
  constexpr void insert_between(const Links& links, std::uint32_t previous, std::uint32_t i, std::uint32_t next) {
    DCHECK(!links(i).linked());
    links(i) = {next, previous};
    (previous == kNoIndex ? first_ : links(previous).next) = i;
    (next == kNoIndex ? last_ : links(next).previous) = i;
    ++size_;
  }

  std::uint32_t first_ = kNoIndex;
  std::uint32_t last_ = kNoIndex;
  std::uint32_t size_ = 0;
};

}  // namespace netchan
