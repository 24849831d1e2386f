// How the instances of a service are checked: its check settings, and what is made of them once for
// all of its instances. Made by the prober when the first instance with such settings comes, shared
// by all that have the same, gone after the last. Never changed once made.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/checker/loop/loop.hpp"
#include "engine/checker/probing/body_match.hpp"
#include "engine/checker/probing/outcome.hpp"
#include "engine/checker/probing/tls_client.hpp"
#include "engine/checker/settings.hpp"

namespace ballast::checker {

struct Recipe {
  CheckSettings settings;
  RequestText request;  // of an HTTP check
  // What an HTTP body must have; null: nobody looks.
  std::unique_ptr<const BodyRule> body;
  // Where the check's streams are opened: the loop, or what stands before it for these settings.
  Streams* streams = nullptr;
  std::shared_ptr<const TlsClient> tls;  // null: nothing is encrypted
  // A connection that an exchange lets be kept serves the next check. If not, but watched, it is
  // replaced by the next check's.
  bool reuses = false;
  bool watches = false;
};

// `plain` and `encrypted` must outlive the recipe. If something cannot be made, `streams` is null
// and the checks have no result.
[[nodiscard]] std::shared_ptr<const Recipe> make_recipe(Streams& plain, Streams& encrypted,
                                                        const CheckSettings& settings);

// The recipes in use. Instances with the same settings share one.
class RecipeBook {
 public:
  // `loop` and `encrypted` must outlive the book, and the book whoever has a recipe of it.
  RecipeBook(Loop& loop, Streams& encrypted) : loop_(loop), encrypted_(encrypted) {}
  ~RecipeBook();
  RecipeBook(const RecipeBook&) = delete;
  RecipeBook& operator=(const RecipeBook&) = delete;

  [[nodiscard]] std::shared_ptr<const Recipe> get(const CheckSettings& settings);

 private:
  void sweep();

  Loop& loop_;
  Streams& encrypted_;
  std::vector<std::shared_ptr<const Recipe>> recipes_;
  std::optional<Timers::Id> sweep_;
};

// Whom a TLS handshake asks for, and believes to have: what is configured for that, else the host
// that HTTP asks for, else the instance's own name or address, always without a port.
[[nodiscard]] std::string peer_name(const CheckSettings& check, const InstanceSettings& instance);

}  // namespace ballast::checker
