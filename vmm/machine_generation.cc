// Which of those that went on from the same instant this machine is: vmm/devices/generation_id.h.
#include <sys/random.h>

#include "vmm/machine_steps.h"

namespace dvm::vmm {

Status Machine::renew_generation(bool announced) {
  GenerationId id;
  if (::getrandom(id.data(), id.size(), 0) != static_cast<ssize_t>(id.size()))
    return sys_error("getrandom");
  step(state_->generation, kGenerationLine, generation_id_irq,
       [&](GenerationIdState& s) { generation_id_renew(s, id, announced); });
  return {};
}

}  // namespace dvm::vmm
