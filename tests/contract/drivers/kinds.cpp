// The drivers that need nothing but this machine.
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <iterator>
#include <sstream>

#include "drivers/fake/fake_driver.h"
#include "tests/contract/drivers/subject.h"

namespace skep::test {
namespace {

using drivers::StartRequest;

class FakeSubject final : public Subject {
 public:
  FakeSubject() {
    drivers::fake::ModelOptions options;
    options.images = {"base"};
    host_ = std::make_shared<drivers::fake::FakeHost>(options);
  }
  std::unique_ptr<drivers::Driver> make_driver(const std::string& owner) override {
    drivers::fake::FakeDriverOptions options;
    options.owner_tag = owner;
    return drivers::fake::make_fake_driver(host_, options);
  }
  StartRequest request(const std::string& id, Behaviour behaviour) override {
    drivers::fake::LifeScript life;
    if (behaviour == Behaviour::never_joins) life.join.reset();
    if (behaviour == Behaviour::dies) life.dies = milliseconds(20);
    if (behaviour == Behaviour::ends_with_7) {
      life.agent_ends = milliseconds(20);
      life.agent_exit_code = 7;
    }
    host_->with_model([&](drivers::fake::HostModel& model, Instant) {
      model.script_life(ExecutorId(id), life);
      if (behaviour == Behaviour::ignores_term)
        model.script_next(drivers::fake::Verb::stop, {drivers::fake::Fault::none, hours(1)});
    });
    return plain_request(id);
  }
  std::vector<std::string> residue() override {
    std::size_t count = 0;
    host_->with_model(
        [&](drivers::fake::HostModel& model, Instant now) { count = model.count_sandboxes(now); });
    return std::vector<std::string>(count, "a sandbox");
  }
  int times_made(const std::string& id) override {
    int times = 0;
    host_->with_model(
        [&](drivers::fake::HostModel& model, Instant) { times = model.times_made(ExecutorId(id)); });
    return times;
  }

 private:
  std::shared_ptr<drivers::fake::FakeHost> host_;
};

}  // namespace

namespace {

/// SKEP_TEST_KINDS: others, separated by spaces: a run of all is long.
std::vector<std::string> wanted_kinds() {
  const char* wanted = std::getenv("SKEP_TEST_KINDS");
  std::istringstream words(wanted == nullptr ? "fake process" : wanted);
  return {std::istream_iterator<std::string>(words), std::istream_iterator<std::string>()};
}

std::string why_not(const std::string& kind) {
  if (kind == "fake" || kind == "process") return "";
  if (kind == "users" && ::geteuid() != 0) return "only root can give executors users of their own";
  const auto report = make_subject(kind)->make_driver("owner-a")->probe();
  return report && report->is_usable ? "" : report ? report->detail : report.error().message;
}

}  // namespace

const std::vector<std::string>& subject_kinds() {
  static const std::vector<std::string> kinds = [] {
    std::vector<std::string> all;
    for (const std::string& kind : wanted_kinds()) {
      const std::string why = why_not(kind);
      if (why.empty()) all.push_back(kind);
      if (!why.empty()) std::cout << "SKIPPED: " << kind << ": " << why << std::endl;
    }
    return all;
  }();
  return kinds;
}

std::unique_ptr<Subject> make_subject(const std::string& kind) {
  using Kind = ProcessSubject::Kind;
  if (kind == "fake") return std::make_unique<FakeSubject>();
  return std::make_unique<ProcessSubject>(true, kind == "namespaces" ? Kind::namespaces
                                                : kind == "users"    ? Kind::namespaces_and_users
                                                                     : Kind::plain);
}

}  // namespace skep::test
