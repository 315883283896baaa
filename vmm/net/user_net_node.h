// A node's part in a user network, whose packets another process carries (dvm-net): it answers the
// driver's commands, which the driver waits for, and passes notifications on.
#pragma once

#include "vmm/net/net_device.h"

namespace dvm::vmm {

class UserNetNode final : public QueueServer {
 public:
  UserNetNode(Machine& machine, u32 function) : device_(machine, function) {}

  void serve(u16 queue, bool again) override {
    switch (device_.kind(queue)) {
      case NetQueue::control: return device_.serve_control(queue, again);
      case NetQueue::receive:
      case NetQueue::transmit:
        if (again) device_.republish(queue);
        return device_.tell_server(queue);
      case NetQueue::none: return;
    }
  }

 private:
  NetDevice device_;
};

}  // namespace dvm::vmm
