#include "vmm/virtio/common_config.h"

#include <bit>
#include <cstddef>

#include "vmm/virtio/interrupts.h"

namespace dvm::vmm {
namespace {

using virtio::CommonConfig;

QueueSetup* selected_queue(VirtioPciState& state) {
  return state.queue_select < state.queue_count ? &state.queues[state.queue_select] : nullptr;
}

// Set-up is over for a queue that is enabled; the driver must not touch it (§4.1.4.3.2).
QueueSetup* queue_in_setup(VirtioPciState& state) {
  QueueSetup* queue = selected_queue(state);
  return queue != nullptr && queue->ready == 0 ? queue : nullptr;
}

// §4.1.5.1.2.1: a vector that does not exist is refused by NO_VECTOR.
u16 accepted_vector(const VirtioPciState& state, u64 value) {
  return value < state.msix.vectors ? static_cast<u16>(value) : kNoVector;
}

constexpr u32 feature_word(u64 features, u32 select) {
  return select < 2 ? static_cast<u32>(features >> (32 * select)) : 0;
}

void write_driver_features(VirtioPciState& state, u32 value) {
  // Once FEATURES_OK is set, no new bits are accepted (§3.1.1 step 5).
  const u32 select = state.driver_feature_select;
  if (select >= 2 || (state.status & virtio::kStatusFeaturesOk) != 0) return;
  const u64 word = u64{0xffff'ffff} << (32 * select);
  state.driver_features = (state.driver_features & ~word) | (u64{value} << (32 * select));
}

bool features_acceptable(const VirtioPciState& state) {
  return (state.driver_features & ~state.offered_features) == 0 &&
         (state.driver_features & virtio::kFeatureVersion1) != 0;  // §6.2
}

// Bits are only ever added (§2.1.1); zero asks for a reset. FEATURES_OK stays clear when the
// features are not acceptable (§2.2.2), DRIVER_OK when they were not settled.
bool write_status(VirtioPciState& state, u8 value) {
  if (value == 0) {
    state.reset_pending = 1;
    return true;
  }
  if (state.reset_pending != 0) return false;
  u8 added = value & virtio::kStatusByDriver & static_cast<u8>(~state.status);
  if (!features_acceptable(state)) added &= static_cast<u8>(~virtio::kStatusFeaturesOk);
  state.status |= added & static_cast<u8>(~virtio::kStatusDriverOk);
  if ((state.status & virtio::kStatusFeaturesOk) != 0) {
    state.status |= added & virtio::kStatusDriverOk;
  }
  return false;
}

void write_queue_size(VirtioPciState& state, u16 value) {
  QueueSetup* queue = queue_in_setup(state);
  // The driver may only reduce it, to another power of two (§4.1.4.3.2).
  if (queue != nullptr && std::has_single_bit(value) && value <= queue->max_size) {
    queue->size = value;
  }
}

void write_queue_enable(VirtioPciState& state, u64 value) {
  QueueSetup* queue = queue_in_setup(state);
  // Queues are set up after the features are settled (§3.1.1 step 7); zero must not be written.
  if (queue == nullptr || value != 1 || (state.status & virtio::kStatusFeaturesOk) == 0) return;
  queue->ready = 1;
  queue->event_idx = (state.driver_features & virtio::kFeatureEventIdx) != 0 ? 1 : 0;
  queue->indirect = (state.driver_features & virtio::kFeatureIndirect) != 0 ? 1 : 0;
}

void write_queue_address(VirtioPciState& state, u64 offset, u32 value) {
  QueueSetup* queue = queue_in_setup(state);
  if (queue == nullptr) return;
  const u64 which = (offset - offsetof(CommonConfig, queue_desc)) / 8;
  u64& address = which == 0 ? queue->desc : which == 1 ? queue->avail : queue->used;
  const u32 shift = offset % 8 == 0 ? 0 : 32;
  address = (address & ~(u64{0xffff'ffff} << shift)) | (u64{value} << shift);
}

void write32(VirtioPciState& state, u64 offset, u32 value) {
  switch (offset) {
    case offsetof(CommonConfig, device_feature_select): state.device_feature_select = value; break;
    case offsetof(CommonConfig, driver_feature_select): state.driver_feature_select = value; break;
    case offsetof(CommonConfig, driver_feature): write_driver_features(state, value); break;
    default:
      if (offset >= offsetof(CommonConfig, queue_desc) && offset % 4 == 0 &&
          offset < offsetof(CommonConfig, queue_notify_data)) {
        write_queue_address(state, offset, value);
      }
  }
}

void write16(VirtioPciState& state, u64 offset, u16 value) {
  switch (offset) {
    case offsetof(CommonConfig, config_msix_vector):
      state.config_vector = accepted_vector(state, value);
      break;
    case offsetof(CommonConfig, queue_select): state.queue_select = value; break;
    case offsetof(CommonConfig, queue_size): write_queue_size(state, value); break;
    case offsetof(CommonConfig, queue_msix_vector):
      if (QueueSetup* queue = selected_queue(state)) {
        queue->vector = accepted_vector(state, value);
      }
      break;
    case offsetof(CommonConfig, queue_enable): write_queue_enable(state, value); break;
    default: break;
  }
}

}  // namespace

CommonConfig virtio_common_config(const VirtioPciState& state) {
  CommonConfig config{};
  config.device_feature_select = state.device_feature_select;
  config.device_feature = feature_word(state.offered_features, state.device_feature_select);
  config.driver_feature_select = state.driver_feature_select;
  config.driver_feature = feature_word(state.driver_features, state.driver_feature_select);
  config.config_msix_vector = state.config_vector;
  config.num_queues = state.queue_count;
  config.device_status = state.status;
  config.config_generation = state.config_generation;
  config.queue_select = state.queue_select;
  if (state.queue_select >= state.queue_count) return config;  // size 0: no such queue
  const QueueSetup& queue = state.queues[state.queue_select];
  config.queue_size = queue.size;
  config.queue_msix_vector = queue.vector;
  config.queue_enable = queue.ready;
  config.queue_notify_off = state.queue_select;
  config.queue_desc = queue.desc;
  config.queue_driver = queue.avail;
  config.queue_device = queue.used;
  return config;
}

bool virtio_common_write(VirtioPciState& state, u64 offset, u8 size, u64 value) {
  switch (size) {
    case 1:
      return offset == offsetof(CommonConfig, device_status) &&
             write_status(state, static_cast<u8>(value));
    case 2: write16(state, offset, static_cast<u16>(value)); break;
    case 4: write32(state, offset, static_cast<u32>(value)); break;
    case 8:
      if (offset % 8 == 0 && offset >= offsetof(CommonConfig, queue_desc)) {
        write32(state, offset, static_cast<u32>(value));
        write32(state, offset + 4, static_cast<u32>(value >> 32));
      }
      break;
    default: break;
  }
  return false;
}

void virtio_reset(VirtioPciState& state) {
  for (QueueSetup& queue : state.queues) queue = make_queue_setup(queue.max_size);
  ++state.generation;
  state.reset_pending = 0;
  state.driver_features = 0;
  state.device_feature_select = 0;
  state.driver_feature_select = 0;
  state.queue_select = 0;
  state.config_vector = kNoVector;
  state.status = 0;
  virtio_drop_interrupts(state);
}

}  // namespace dvm::vmm
