// How a process of a job ended, by its exit code; a killed one has none.
#pragma once

namespace dvm::mapreduce {

inline constexpr int kExitInOrder = 0;
inline constexpr int kExitNoPlace = 2;  // it could not join the fabric: tried again
inline constexpr int kExitMistake = 3;  // a result did not fit its place: the run has failed

}  // namespace dvm::mapreduce
