// How a fenced failure becomes known: its generation is retired, then every group that the dead was
// a member of is told.
#pragma once

#include "fabric/fabric_state.h"

namespace dvm::fabric {

// Announces the fenced failure of `who`: exactly once, whoever dies on the way, as every part is
// idempotent and the stage is moved on last. For the one that holds the manager's role (two at once
// could let two runners recover). False: a group's lock is held, perhaps by one that is to be
// fenced next; come back later.
bool announce_failure(FabricState& fabric, InstanceTable& instances, InstanceId who,
                      InstanceId self);

}  // namespace dvm::fabric
