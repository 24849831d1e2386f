// What is accepted as a file of targets, and what is said of everything else.
#include "engine/checker/discovery/file_targets.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace ballast::checker {
namespace {

Discovered parse(const std::string& text) {
  return parse_file_targets("targets.json", text);
}

std::string error_of(const std::string& text) {
  const Discovered found = parse(text);
  CHECK(found.instances.empty());
  CHECK(found.note.empty());
  return found.error;
}

std::string with_labels(const std::string& labels) {
  return R"([{"targets": ["10.0.0.1:80"], "labels": {)" + labels + "}}]";
}

TEST_CASE("targets come with their labels, in the order of their addresses") {
  const Discovered found = parse(R"([
    {"labels": {"__ballast_weight": "5", "tier": "1", "zone": "b", "job": "web"},
     "targets": ["10.0.0.9:80", "[::1]:8080"]},
    {"targets": ["10.0.0.1:80"], "labels": {"__ballast_admin": "drain"}},
    {"targets": []},
    {"targets": ["10.0.0.2:80"]}
  ])");
  CHECK(found.error == "");
  REQUIRE(found.instances.size() == 4);
  std::vector<std::string> texts;
  for (const auto& instance : found.instances) {
    texts.push_back(instance.text);
    CHECK(instance.endpoint.to_text() == instance.text);
    const bool of_first = instance.text == "10.0.0.9:80" || instance.text == "[::1]:8080";
    CHECK(instance.weight == (of_first ? 5 : 1));
    CHECK(instance.tier == (of_first ? 1 : 0));
    CHECK(instance.zone == (of_first ? "b" : ""));
    CHECK((instance.admin == shm::Admin::drain) == (instance.text == "10.0.0.1:80"));
  }
  const Discovered again = parse(R"([
    {"targets": ["10.0.0.2:80"]},
    {"targets": ["10.0.0.1:80"], "labels": {"__ballast_admin": "drain"}},
    {"targets": ["[::1]:8080", "10.0.0.9:80"],
     "labels": {"__ballast_weight": "5", "tier": "1", "zone": "b"}}
  ])");
  CHECK(again.instances == found.instances);
}

TEST_CASE("of a target that is named twice the first counts") {
  const Discovered found = parse(R"([
    {"targets": ["10.0.0.1:80", "10.0.0.1:80"], "labels": {"weight": "2"}},
    {"targets": ["10.0.0.1:80"], "labels": {"weight": "7"}}])");
  REQUIRE(found.instances.size() == 1);
  CHECK(found.instances.front().weight == 2);
}

TEST_CASE("a prefixed label counts before a plain one, and other people's are passed over") {
  const auto instance = [](const std::string& labels) {
    const Discovered found = parse(with_labels(labels));
    REQUIRE_MESSAGE(found.error.empty(), found.error);
    REQUIRE(found.instances.size() == 1);
    return found.instances.front();
  };
  CHECK(instance(R"("__ballast_weight": "3", "weight": "9")").weight == 3);
  CHECK(instance(R"("weight": "9", "__ballast_weight": "3")").weight == 3);
  CHECK(instance(R"("tier": "frontend", "weight": "heavy", "zone": "rue de Rivoli")").tier == 0);
  CHECK(instance(R"("tier": "frontend")").weight == 1);
  // Nor do other people's weights go by our limits.
  CHECK(instance(R"("weight": "5000")").weight == 1);
  CHECK(instance(R"("weight": "0", "tier": "17")").weight == 1);
  CHECK(instance(R"("zone": "rue de Rivoli")").zone == "");
  CHECK(instance(R"("zone": "a", "admin": "drain")").admin == shm::Admin::ready);
}

TEST_CASE("no targets are an empty set, and an empty file is none") {
  for (const char* text : {"[]", "[{}]", R"([{"targets": [], "labels": {}}])", " [ ]\n"}) {
    CAPTURE(text);
    const Discovered found = parse(text);
    CHECK(found.error == "");
    CHECK(found.instances.empty());
    CHECK(found.note == "targets.json names no target");
  }
  CHECK(error_of("") == "targets.json: the file is empty; write [] for no targets");
  CHECK(error_of(" \n\t ") == "targets.json: the file is empty; write [] for no targets");
}

TEST_CASE("what is wrong is named with its line") {
  CHECK(error_of("[\n {\"targets\": [\n\"10.0.0.1:80\",\n\"10.0.0.2\"]}]") ==
        "targets.json:4: target \"10.0.0.2\" is not ADDRESS:PORT; a file has addresses, names are "
        "for DNS sources");
  CHECK(error_of("{}") ==
        "targets.json:1: an object instead of an array of groups: "
        R"([{"targets": ["ADDRESS:PORT"]}])");
  CHECK(error_of("\n[\"10.0.0.1:80\"]") ==
        R"(targets.json:2: a string instead of a group: {"targets": ["ADDRESS:PORT"]})");
  CHECK(error_of(R"([{"target": []}])") ==
        R"(targets.json:1: unknown key "target": a group has "targets" and "labels")");
  CHECK(error_of(R"([{"targets": "10.0.0.1:80"}])") ==
        R"(targets.json:1: "targets" is a string: write ["ADDRESS:PORT"])");
  CHECK(error_of(R"([{"targets": [80]}])") ==
        R"(targets.json:1: a number among the targets: write "ADDRESS:PORT")");
  CHECK(error_of(R"([{"targets": [["10.0.0.1:80"]]}])") ==
        R"(targets.json:1: an array among the targets: write "ADDRESS:PORT")");
  CHECK(error_of(R"([{"labels": []}])") ==
        R"(targets.json:1: "labels" is an array: write {"NAME": "VALUE"})");
  CHECK(error_of(with_labels(R"("weight": 5)")) ==
        R"(targets.json:1: label "weight" is a number: write a string, in quotes)");
  CHECK(error_of(with_labels(R"("__ballast_weight": "1001")")) ==
        R"(targets.json:1: label "__ballast_weight" is "1001": it may be 1 to 1000)");
  CHECK(error_of(with_labels(R"("__ballast_tier": "high")")) ==
        R"(targets.json:1: label "__ballast_tier" is "high": it may be 0 to 3)");
  CHECK(error_of(with_labels(R"("__ballast_wieght": "5")")).find("unknown label") !=
        std::string::npos);
  CHECK(
      error_of(with_labels(R"("__ballast_admin": "gone")")) ==
      R"(targets.json:1: label "__ballast_admin" is "gone": it may be ready, drain or maintenance)");
  CHECK(error_of(with_labels(R"("__ballast_zone": "a b")")).find("a zone has letters") !=
        std::string::npos);
}

TEST_CASE("half a file is no file, wherever it is cut") {
  const std::string whole =
      R"([{"targets": ["10.0.0.1:80", "10.0.0.2:80"], "labels": {"weight": "3"}}])";
  CHECK(parse(whole).error == "");
  for (std::size_t n = 0; n < whole.size(); ++n) {
    CAPTURE(n);
    CHECK(error_of(whole.substr(0, n)) != "");
  }
  CHECK(error_of(whole + "]").find("targets.json:1: not JSON: syntax error") == 0);
  CHECK(error_of(whole + whole) != "");
}

TEST_CASE("errors are short and have nothing in them that could spoil a log") {
  const std::string error =
      error_of("[{\"targets\": [\"\\u001b[31m\\n" + std::string(100'000, 'x') + "\"]}]");
  CHECK(error.size() < 300);
  CHECK(error.find('\n') == std::string::npos);
  CHECK(error.find('\x1b') == std::string::npos);
  CHECK(error_of("[\n\x1b\x01" + std::string(100'000, 'x')).size() < 500);
  CHECK(error_of("targets:\n - 10.0.0.1:80\n") != "");
}

TEST_CASE("60,000 targets are read, one more is refused") {
  const auto file_of = [](std::size_t count) {
    std::string text = R"([{"targets": [)";
    for (std::size_t i = 0; i < count; ++i) {
      if (i > 0) text += ",\n";
      text += "\"10." + std::to_string(i >> 16) + "." + std::to_string(i >> 8 & 255U) + "." +
              std::to_string(i & 255U) + ":8080\"";
    }
    return text + "]}]";
  };
  const Discovered most = parse(file_of(kMaxInstances));
  CHECK(most.error == "");
  CHECK(most.instances.size() == kMaxInstances);
  CHECK(error_of(file_of(kMaxInstances + 1)) == "targets.json:60001: more than 60000 targets");
}

TEST_CASE("depth and size have their limits") {
  CHECK(error_of(std::string(1'000'000, '[')) != "");
  CHECK(error_of(std::string(kMaxTargetFileBytes + 1, ' ')) == "targets.json: more than 16 MiB");
}

}  // namespace
}  // namespace ballast::checker
