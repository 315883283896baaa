// Which sanitizer this is built with: gcc and clang tell it in ways of their own.
#pragma once

#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define DVM_WITH_TSAN 1
#endif
#if __has_feature(address_sanitizer)
#define DVM_WITH_ASAN 1
#endif
#endif
#ifdef __SANITIZE_THREAD__
#define DVM_WITH_TSAN 1
#endif
#ifdef __SANITIZE_ADDRESS__
#define DVM_WITH_ASAN 1
#endif
