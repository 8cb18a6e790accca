// What the loop needs of a farm in virtual time. Farm (simulation/farm.h) is behind it in the program; in
// unit tests a queue with a few servers is.
#pragma once

#include <functional>
#include <memory>

#include "simulation/farm.h"

namespace skep::simulation::whatif {

class VirtualFarm {
 public:
  virtual ~VirtualFarm() = default;
  virtual Instant now() const = 0;
  virtual void run_until(Instant end) = 0;
  virtual std::size_t unfinished_jobs() const = 0;
  virtual bool has_arrivals_left() const = 0;
  virtual std::uint64_t events() const = 0;
  /// Executors that exist now; their `gone` is now. The witness was not told of them.
  virtual std::vector<ExecutorLife> living() const = 0;
  /// Why time passes no more; empty while it does.
  virtual std::string problem() const = 0;
};

/// Load and witness outlive what it makes.
using MakeFarm = std::function<std::unique_ptr<VirtualFarm>(Plan, Load&, Witness&)>;

}  // namespace skep::simulation::whatif
