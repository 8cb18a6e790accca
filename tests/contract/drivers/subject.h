// A driver and the machine that it works on, as the contract suite sees them: the same for every driver.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "drivers/api/driver.h"
#include "drivers/process/process_driver.h"
#include "tests/support/temp_folder.h"

namespace skep::test {

enum class Behaviour {
  connects,      // its agent connects and stays
  never_joins,   // its agent runs and never connects
  ignores_term,  // connects, and does not end when it is asked to
  ends_with_7,   // its agent connects, then ends with exit code 7; the sandbox stays
  dies,          // the whole sandbox ends by itself
};

class Subject {
 public:
  virtual ~Subject() = default;
  /// A new driver over the same machine: as after a restart of agentd.
  virtual std::unique_ptr<drivers::Driver> make_driver(const std::string& owner) = 0;
  virtual drivers::StartRequest request(const std::string& id, Behaviour behaviour = Behaviour::connects) = 0;
  /// What is left on the machine of everything that was started: empty when all of it is gone.
  virtual std::vector<std::string> residue() = 0;
  /// How often a sandbox was really made under that id.
  virtual int times_made(const std::string& id) = 0;
};

/// The kinds of subjects that this program tests, as far as they can run here; each program has its own.
const std::vector<std::string>& subject_kinds();
/// One of subject_kinds().
std::unique_ptr<Subject> make_subject(const std::string& kind);

/// What is the same in every request of a test.
drivers::StartRequest plain_request(const std::string& id);
/// A shell script that behaves so; `death` ends the whole sandbox from inside.
std::string script_of(Behaviour behaviour, const std::string& death);

/// The process driver's machine: a folder of its own.
class ProcessSubject final : public Subject {
 public:
  enum class Kind { plain, namespaces, namespaces_and_users };
  explicit ProcessSubject(bool uses_cgroups = true, Kind kind = Kind::plain);
  ~ProcessSubject() override;
  ProcessSubject(const ProcessSubject&) = delete;
  ProcessSubject& operator=(const ProcessSubject&) = delete;
  std::unique_ptr<drivers::Driver> make_driver(const std::string& owner) override;
  std::unique_ptr<drivers::Driver> make_driver(const std::string& owner, Duration kill_deadline);
  drivers::ProcessDriverOptions options(const std::string& owner) const;
  drivers::StartRequest request(const std::string& id, Behaviour behaviour = Behaviour::connects) override;
  std::vector<std::string> residue() override;
  int times_made(const std::string& id) override;

  /// A request whose agent is this shell script; it runs in its work directory.
  drivers::StartRequest script_request(const std::string& id, const std::string& script);
  std::string root() const { return folder.path("executors"); }
  /// What a build sees as its work directory.
  std::string work(const std::string& id) const {
    return root() + "/" + id + (kind_ == Kind::plain ? "/" : "/upper/skep/") + "work";
  }
  std::vector<std::string> cgroup_folders(const std::string& owner, const std::string& id) const;
  /// Command lines of living processes that belong to this machine's executors, by environment or command
  /// line.
  std::vector<std::string> processes() const;

  TempFolder folder;

 private:
  bool uses_cgroups_;
  Kind kind_;
  std::set<std::string> owners_, ids_;
};

std::string joined(const std::vector<std::string>& lines);
std::string bin(const std::string& program);

/// Where a test's executors are absent and destroyed without an error.
void destroy_all(drivers::Driver& driver, const std::vector<std::string>& ids);
/// The phase that inspect() shows in the end.
bool reaches(drivers::Driver& driver, const std::string& id, AgentPhase phase);
bool reaches(drivers::Driver& driver, const std::string& id, drivers::InstanceState state);

}  // namespace skep::test
