// SPDX-License-Identifier: BSD-2-Clause
//
// Capabilities: main keeps the few that binding, steering and routes need (NET_ADMIN, NET_RAW, BPF, IPC_LOCK and, for listen
// ports under 1024, NET_BIND_SERVICE); workers and the exporter keep none. libcap-ng is named only here.
#pragma once

namespace netchan::control {

// Main's thread, before any other starts: drops everything else, and the bounding set with it; no new privileges.
// Throws std::runtime_error when one that is needed is not there, saying which and how to give it.
void keep_needed_capabilities();

// The calling thread: drops all. Where the kernel refuses, the process ends, saying so.
void drop_thread_capabilities();

}  // namespace netchan::control
