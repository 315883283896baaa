// Asio's own code, compiled once: the other files see declarations only.
#include <asio/impl/src.hpp>
