// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/worker/mailbox.h"

namespace netchan::worker {

void Mailbox::send(Command&& command) {
  if (!overflow_.empty() || !commands_.push(std::move(command))) overflow_.push_back(std::move(command));
  worker_bell_.ring();
}

void Mailbox::retry() {
  while (!overflow_.empty() && commands_.push(std::move(overflow_.front()))) overflow_.pop_front();
  if (!overflow_.empty()) worker_bell_.ring();
}

bool Mailbox::report(Report&& r) {
  const bool sent = reports_.push(std::move(r));
  main_bell_.ring();
  return sent;
}

void Mailbox::set_sleeping(bool asleep) {
  sleeping_.store(asleep ? 1 : 0, std::memory_order_relaxed);
  // Partner: the fence in wake_if_sleeping. Either the other worker sees the flag, or this one sees its frame.
  if (asleep) std::atomic_thread_fence(std::memory_order_seq_cst);
}

void Mailbox::wake_if_sleeping() {
  std::atomic_thread_fence(std::memory_order_seq_cst);  // partner: set_sleeping
  if (sleeping_.load(std::memory_order_relaxed) != 0) worker_bell_.ring();
}

}  // namespace netchan::worker
