// SPDX-License-Identifier: BSD-2-Clause
//
// netchand: arguments, and the one place where start-up and operator errors end (three kinds of error: docs/architecture.md).
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <string>

#include "config/config.h"
#include "daemon/base/log.h"
#include "daemon/main/daemon.h"

namespace {

constexpr int kExitConfiguration = 78;  // EX_CONFIG: the unit does not restart on it

netchan::log::Level level_of(const std::string& name) {
  using netchan::log::Level;
  if (name == "error") return Level::error;
  if (name == "warning") return Level::warning;
  if (name == "notice") return Level::notice;
  return name == "debug" ? Level::debug : Level::info;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"netchand: network channels over AF_XDP"};
  std::string file = "/etc/netchan/netchan.yaml", level = "info";
  bool check = false, default_file = false, schema = false, reference = false;
  app.add_option("-c,--config", file, "configuration file")->capture_default_str();
  app.add_flag("--check", check, "check the configuration, print its memory arithmetic, and exit");
  app.add_flag("--default-config", default_file, "print the commented default configuration and exit");
  app.add_flag("--config-schema", schema, "print the configuration's JSON schema and exit");
  app.add_flag("--config-reference", reference, "print the configuration's reference page (Markdown) and exit");
  app.add_option("--log-level", level, "error, warning, notice, info or debug")
      ->capture_default_str()
      ->check(CLI::IsMember({"error", "warning", "notice", "info", "debug"}));
  app.set_version_flag("--version", "netchand " NETCHAN_VERSION);
  CLI11_PARSE(app, argc, argv);
  netchan::log::set_level(level_of(level));

  if (default_file || schema || reference) {
    if (default_file) std::fputs(netchan::config::default_file().c_str(), stdout);
    if (schema) std::fputs(netchan::config::json_schema().c_str(), stdout);
    if (reference) std::fputs(netchan::config::reference_page().c_str(), stdout);
    return 0;
  }
  try {
    netchan::config::Config config = netchan::config::load(file);
    if (check) {
      std::fputs(netchan::config::memory_arithmetic(config).c_str(), stdout);
      return 0;
    }
    netchan::Daemon daemon(std::move(config));
    return daemon.run();
  } catch (const netchan::config::Error& e) {
    std::fputs(e.what(), stderr);
    std::fprintf(stderr, "netchand: %zu error%s in the configuration\n", e.count(), e.count() == 1 ? "" : "s");
    return kExitConfiguration;
  } catch (const std::exception& e) {
    netchan::log::error(e.what());
    return 1;
  }
}
