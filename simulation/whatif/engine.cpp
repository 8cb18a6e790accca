#include "simulation/whatif/engine.h"

namespace skep::simulation::whatif {
namespace {

class Engine : public VirtualFarm {
 public:
  Engine(Plan plan, Load& load, Witness& witness) : farm_(std::move(plan), load, witness) {}
  Instant now() const override { return farm_.now(); }
  void run_until(Instant end) override { farm_.run_until(end); }
  std::size_t unfinished_jobs() const override { return farm_.unfinished_jobs(); }
  bool has_arrivals_left() const override { return farm_.has_arrivals_left(); }
  std::uint64_t events() const override { return farm_.events(); }
  std::vector<ExecutorLife> living() const override { return farm_.living(); }
  std::string problem() const override { return farm_.problem(); }

 private:
  Farm farm_;
};

}  // namespace

MakeFarm engine() {
  return [](Plan plan, Load& load, Witness& witness) -> std::unique_ptr<VirtualFarm> {
    return std::make_unique<Engine>(std::move(plan), load, witness);
  };
}

}  // namespace skep::simulation::whatif
