// Judges one service after the other: its strategy, its instances, its checks and its protections.
// Instances count over all services, and a name is looked up once, so one reader serves a file.
#pragma once

#include <cstddef>
#include <map>
#include <string>

#include "tools/ballastd/config.hpp"
#include "tools/ballastd/config_walk.hpp"

namespace ballast::tools {

class ServiceReader {
 public:
  // All three must outlive the reader. `settings.zone` must be known already.
  ServiceReader(ConfigWalk& walk, const ConfigEnvironment& environment, checker::Settings& settings)
      : walk_(walk), environment_(environment), settings_(settings) {}

  // Adds the service to the settings, right or wrong: errors are with the walk.
  void read(const std::string& name, const ConfigValue& value);

 private:
  void read_instances(const ConfigValue& list, checker::ServiceSettings& service);
  // Returns the value that holds the address, or null when the instance is unusable.
  const ConfigValue* read_instance(const ConfigValue& item, checker::InstanceSettings& instance);
  [[nodiscard]] Parsed<shm::Endpoint> parse(const std::string& address);
  void read_check_address(const ConfigValue& item, checker::InstanceSettings& instance);
  void read_zone(const ConfigValue& item, checker::InstanceSettings& instance);

  ConfigWalk& walk_;
  const ConfigEnvironment& environment_;
  checker::Settings& settings_;
  std::map<std::string, Parsed<shm::Endpoint>> resolved_;
  std::size_t instances_ = 0;
  bool zone_refused_ = false;  // saying it once is enough
};

// The parts of a service's table; each in a unit of its own. `where` is the table as people write
// it, "service.checkout".
void read_check(ConfigWalk& walk, const ConfigValue& service, const std::string& where,
                checker::CheckSettings& check);
// The keys of a check that is an HTTP request.
void read_http_check(ConfigWalk& walk, const ConfigValue& table, checker::CheckSettings& check);
// The keys of a check by gRPC's health protocol.
void read_grpc_check(ConfigWalk& walk, const ConfigValue& table, checker::CheckSettings& check);
// How a check is encrypted; `check` has been read but for that.
void read_tls(ConfigWalk& walk, const ConfigValue& check_table, const std::string& where,
              checker::CheckSettings& check);
// What is said and expected, of kind "tcp" or "udp".
void read_steps(ConfigWalk& walk, const ConfigValue& table, checker::CheckSettings& check);
// The keys of a check that is a command, and of one that asks an agent.
void read_command(ConfigWalk& walk, const ConfigValue& table, checker::CheckSettings& check);
void read_agent_check(ConfigWalk& walk, const ConfigValue& table, checker::CheckSettings& check);
// The agent beside the check, which must have been read.
void read_agent(ConfigWalk& walk, const ConfigValue& service, const std::string& where,
                checker::ServiceSettings& out);
// A time that is not given follows a shorter interval down, so that setting one key is enough; one
// that is given must not be longer.
void judge_against_interval(ConfigWalk& walk, const ConfigValue& table, const char* key,
                            checker::Milliseconds interval, checker::Milliseconds& out);
// Strategy and what goes with it.
void read_strategy(ConfigWalk& walk, const ConfigValue& service, engine::Policy& policy);
// Where instances come from besides the configuration.
void read_sources(ConfigWalk& walk, const ConfigValue& service, const std::string& where,
                  checker::ServiceSettings& out);
// Breaker, limits, outlier detection and the like.
void read_protection(ConfigWalk& walk, const ConfigValue& service, const std::string& where,
                     checker::ServiceSettings& out);

}  // namespace ballast::tools
