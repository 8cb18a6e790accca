// The container driver's machine: an engine of this test program's own, and a folder.
#pragma once

#include "drivers/container/container_driver.h"
#include "tests/contract/drivers/subject.h"
#include "tests/support/container_engine.h"

namespace skep::test {

class ContainerSubject final : public Subject {
 public:
  /// "docker" or "podman", which must not be skipped.
  explicit ContainerSubject(const std::string& kind);
  ~ContainerSubject() override;
  ContainerSubject(const ContainerSubject&) = delete;
  ContainerSubject& operator=(const ContainerSubject&) = delete;
  std::unique_ptr<drivers::Driver> make_driver(const std::string& owner) override;
  drivers::StartRequest request(const std::string& id, Behaviour behaviour = Behaviour::connects) override;
  std::vector<std::string> residue() override;
  int times_made(const std::string& id) override;

  /// A request whose agent is this shell script; it runs in its work space inside the container.
  drivers::StartRequest script_request(const std::string& id, const std::string& script);
  drivers::ContainerDriverOptions options(const std::string& owner);
  std::string root() const { return folder.path("executors"); }
  std::string control(const std::string& owner, const std::string& id) const {
    return root() + "/" + owner + "/run/" + id + "/control";
  }
  /// What an executor's script left in /skep/control/NAME, which it shares with this host.
  std::string told(const std::string& id, const std::string& name) const;

  const TestEngine& engine;
  TempFolder folder;

 private:
  std::vector<std::string> residue_now();
  std::set<std::string> owners_, ids_;
};

}  // namespace skep::test
