// The presets against the real servers that they are made for: up while they serve, down when they
// are killed, and nothing that they take amiss.
#include <doctest/doctest.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "engine/checker/probing/prober.hpp"
#include "tests/support/loops.hpp"
#include "tests/support/probing.hpp"
#include "tests/support/server_process.hpp"
#include "tests/support/skip.hpp"

namespace ballast::checker {
namespace {

using tests::Probing;
using tests::ServerProcess;

// The first of these programs that is there; empty: none is.
std::string find_program(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    if (access(path.c_str(), X_OK) == 0) return path;
  }
  return {};
}

CheckSettings preset(Preset which) {
  CheckSettings check = tests::quick();
  check.kind = CheckKind::tcp;
  check.preset = which;
  return check;
}

// Up after the first check that passes, stays up, and down once it is gone.
void expect_life_and_death(ServerProcess& server, const CheckSettings& check) {
  Probing bench(Backend::automatic);
  bench.add(1, server.endpoint(), check);
  bench.until([&] { return !bench.verdicts[1].empty() && bench.verdicts[1].back().healthy; });
  const std::size_t flips = bench.verdicts[1].size();
  bench.until_checks(1, bench.checks[1].size() + 20);
  CHECK(bench.verdicts[1].size() == flips);
  server.kill();
  bench.until_verdicts(1, flips + 1);
  CHECK_FALSE(bench.verdicts[1].back().healthy);
  CHECK(bench.verdicts[1].back().check.reason == Reason::connect_refused);
}

TEST_CASE("Redis, with and without a password; its connection is kept and watched") {
  const std::string redis = find_program({"/usr/bin/redis-server"});
  if (redis.empty()) return tests::skip("no redis-server");
  for (const bool password : {false, true}) {
    ServerProcess server;
    std::vector<std::string> argv{redis,    "--port",    std::to_string(server.port()),
                                  "--bind", "127.0.0.1", "--save",
                                  "",       "--dir",     server.directory()};
    if (password) argv.insert(argv.end(), {"--requirepass", "secret"});
    server.start(argv);
    CheckSettings check = preset(Preset::redis);
    expect_life_and_death(server, check);

    // The death of one is seen at once, without an interval.
    if (password) continue;
    ServerProcess other;
    argv[2] = std::to_string(other.port());
    argv[8] = other.directory();
    other.start(argv);
    check.interval = check.fast_interval = std::chrono::hours(1);
    Probing bench(Backend::automatic);
    bench.add(1, other.endpoint(), check);
    bench.until_verdicts(1, 1);
    CHECK(bench.prober->stats().kept == 1);
    other.kill();
    bench.until_verdicts(1, 2);
    CHECK_FALSE(bench.verdicts[1][1].healthy);
  }
}

TEST_CASE("PostgreSQL, whether it knows us or not") {
  const std::string bin = "/usr/lib/postgresql/15/bin/";
  if (find_program({bin + "initdb"}).empty()) return tests::skip("no PostgreSQL 15");
  ServerProcess server;
  const std::string data = server.directory() + "/data";
  server.prepare({bin + "initdb", "-N", "-D", data, "-A", "trust", "-U", "owner", "--no-locale"});
  server.start({bin + "postgres", "-D", data, "-p", std::to_string(server.port()), "-k",
                server.directory(), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"});
  expect_life_and_death(server, preset(Preset::postgres));
}

TEST_CASE("MariaDB") {
  const std::string mariadb = find_program({"/usr/sbin/mariadbd", "/usr/sbin/mysqld"});
  if (mariadb.empty()) return tests::skip("no mariadbd");
  ServerProcess server;
  server.start({mariadb, "--no-defaults", "--datadir=" + server.directory(), "--skip-grant-tables",
                "--bind-address=127.0.0.1", "--port=" + std::to_string(server.port()),
                "--socket=" + server.directory() + "/s", "--pid-file=" + server.directory() + "/p",
                "--max-connect-errors=5", "--innodb-fast-shutdown=2"});
  expect_life_and_death(server, preset(Preset::mysql));
}

}  // namespace
}  // namespace ballast::checker
