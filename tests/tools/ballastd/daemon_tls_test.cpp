// A running ballastd that checks a real nginx over HTTPS: whom it asks for, whom it believes, what
// it shows of itself, and that it comes back with the session it had. What nginx saw is read in its
// access log; what ballastd made of it, in the lines of its own.
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/certificates.hpp"
#include "tests/support/nginx.hpp"
#include "tests/support/skip.hpp"
#include "tests/tools/ballastd/daemon_process.hpp"

using ballast::tests::Authority;
using ballast::tests::Nginx;
using ballast::tests::Pem;
using ballast::tests::port_free_everywhere;
using ballast::tests::Process;
using ballast::tests::Setting;
using ballast::tests::TempDir;
using ballast::tests::write_file;

namespace {

// Two authorities, what the first has signed, and an nginx that shows "other.example" to whoever
// does not ask for "good.example", and demands a certificate of the first authority.
struct Site {
  Site() {
    const Pem good = authority.sign({"good", {"DNS:good.example"}});
    const Pem other = authority.sign({"other", {"DNS:other.example"}});
    const Pem client = authority.sign({"the checker", {}});
    write_file(path(), "good.pem", good.certificate + good.key);
    write_file(path(), "other.pem", other.certificate + other.key);
    write_file(path(), "client.pem", client.certificate + client.key);
    write_file(path(), "ca.pem", authority.certificate());
    write_file(path(), "stranger.pem", stranger.certificate());
    start();
  }

  void start() { server = std::make_unique<Nginx>(http(), port); }

  [[nodiscard]] std::string path() const { return directory.path(); }
  [[nodiscard]] std::string log() const { return path() + "/access.log"; }

  [[nodiscard]] std::string http() const {
    std::string text =
        "log_format seen '$uri sni=$ssl_server_name $ssl_protocol reused=$ssl_session_reused "
        "client=$ssl_client_verify,$ssl_client_s_dn alpn=$ssl_alpn_protocol $status';\n"
        "ssl_client_certificate " +
        path() +
        "/ca.pem;\n"
        "ssl_verify_client on;\n";
    for (const auto& [at, protocol] :
         {std::pair{port, "TLSv1.3"}, std::pair{old_port, "TLSv1.2"}}) {
      for (const std::string name : {"other", "good"}) {
        text += "server { listen 127.0.0.1:" + std::to_string(at) + " ssl http2; server_name " +
                name + ".example; ssl_protocols " + protocol + ";\n  ssl_certificate " + path() +
                "/" + name + ".pem; ssl_certificate_key " + path() + "/" + name +
                ".pem;\n  access_log " + log() + " seen; location / { return 200 " + name +
                "; } }\n";
      }
    }
    return text;
  }

  // A service that is checked as these lines of its table `tls` say, at /NAME, reconnecting each
  // time.
  [[nodiscard]] std::string service(const std::string& name, std::uint16_t at,
                                    const std::string& tls, const std::string& interval) const {
    const std::string table = "service." + name;
    return "[" + table + "]\ninstances = [\"127.0.0.1:" + std::to_string(at) + "\"]\n" +  //
           "[" + table + ".check]\npath = \"/" + name + "\"\nhost = \"good.example\"\n" +
           "body_contains = \"good\"\nkeep_alive = false\nfast_interval = \"20ms\"\n" +
           "fall = 20\ninterval = \"" + interval + "\"\ntimeout = \"" + interval + "\"\n" + "[" +
           table + ".check.tls]\n" + tls;
  }
  [[nodiscard]] std::string tls(const std::string& ca, const std::string& server_name,
                                bool shows_certificate = true) const {
    return "ca_file = \"" + path() + "/" + ca + ".pem\"\nserver_name = \"" + server_name + "\"\n" +
           (shows_certificate ? "certificate_file = \"" + path() + "/client.pem\"\n" : "");
  }

  // Waits for a request in nginx's log that has all of this.
  void wait_for(const std::vector<std::string>& parts) const {
    const auto limit =
        std::chrono::steady_clock::now() + std::chrono::milliseconds(ballast::tests::kLimitMs);
    std::string all;
    while (std::chrono::steady_clock::now() < limit) {
      std::ifstream file(log());
      all.clear();
      for (std::string line; std::getline(file, line);) {
        const bool has = std::all_of(parts.begin(), parts.end(), [&](const std::string& part) {
          return line.find(part) != std::string::npos;
        });
        if (has) return;
        if (all.size() < 5000) all += line + "\n";
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    FAIL("nginx has seen no request with " << parts[0] << " ... " << parts.back() << ":\n" << all);
  }

  TempDir directory;
  Authority authority{"An Authority"};
  Authority stranger{"A Stranger"};
  std::uint16_t port = port_free_everywhere();
  std::uint16_t old_port = port_free_everywhere();
  std::unique_ptr<Nginx> server;
};

void expect(const std::string& line, const std::string& part) {
  CHECK_MESSAGE(line.find(part) != std::string::npos, line);
}

}  // namespace

TEST_CASE("a real nginx that demands a certificate is asked for by name, and resumes sessions") {
  if (ballast::tests::find_nginx().empty())
    return ballast::tests::skip("no nginx (apt install nginx)");
  Site site;
  const Setting setting;
  setting.write(site.service("new", site.port, site.tls("ca", "good.example"), "500ms") +
                site.service("old", site.old_port, site.tls("ca", "good.example"), "500ms"));
  Process daemon(setting.run());
  daemon.wait_for("instance_up");
  daemon.wait_for("instance_up");
  for (const auto& [name, protocol] :
       {std::pair{"/new", "TLSv1.3"}, std::pair{"/old", "TLSv1.2"}}) {
    for (const std::string reused : {"reused=. ", "reused=r "}) {
      site.wait_for({name, protocol, "sni=good.example", reused, "client=SUCCESS,CN=the checker",
                     "alpn=http/1.1 200"});
    }
  }

  site.server.reset();  // SIGKILL
  expect(daemon.wait_for("instance_down"), "reason=connect_refused");
  expect(daemon.wait_for("instance_down"), "reason=connect_refused");
  site.start();
  daemon.wait_for("instance_up");
  daemon.wait_for("instance_up");
  daemon.signal(SIGTERM);
  CHECK(daemon.wait_for_exit() == 0);
}

TEST_CASE("a real nginx that is not believed, or does not believe us, is down and says why") {
  if (ballast::tests::find_nginx().empty())
    return ballast::tests::skip("no nginx (apt install nginx)");
  const Site site;
  const Setting setting;
  struct Wrong {
    std::string name;
    std::string tls;
    std::string reason;
    std::string note;
  };
  for (const Wrong& wrong : {
           Wrong{"authority", site.tls("stranger", "good.example"), "reason=bad_certificate",
                 "unable to get local issuer certificate (CN \\\"good\\\")"},
           Wrong{"name", site.tls("ca", "elsewhere.example"), "reason=bad_certificate",
                 "it is not for \\\"elsewhere.example\\\" (CN \\\"other\\\")"},
           Wrong{"nobody", site.tls("ca", "good.example", false), "reason=bad_status",
                 "detail=400"},
       }) {
    CAPTURE(wrong.name);
    setting.write(site.service(wrong.name, site.port, wrong.tls, "20s"));
    Process daemon(setting.run());
    const std::string line = daemon.wait_for("instance_down");
    expect(line, wrong.reason);
    expect(line, wrong.note);
    daemon.signal(SIGTERM);
    CHECK(daemon.wait_for_exit() == 0);
  }
}
