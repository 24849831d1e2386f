// What a test is compiled with. Under a sanitizer everything is ten times as slow and compiled for
// speed of compiling: a test that only repeats itself to be surer repeats itself less there, and
// one that a sanitizer can add nothing to takes samples. The release build runs everything.
#pragma once

#if defined(__SANITIZE_THREAD__)
#define BALLAST_THREAD_SANITIZED 1
#elif defined(__SANITIZE_ADDRESS__)
#define BALLAST_ADDRESS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BALLAST_THREAD_SANITIZED 1
#elif __has_feature(address_sanitizer)
#define BALLAST_ADDRESS_SANITIZED 1
#endif
#endif

namespace ballast::tests {

#ifdef BALLAST_THREAD_SANITIZED
inline constexpr bool kThreadSanitized = true;
#else
inline constexpr bool kThreadSanitized = false;
#endif
#ifdef BALLAST_ADDRESS_SANITIZED
inline constexpr bool kAddressSanitized = true;
#else
inline constexpr bool kAddressSanitized = false;
#endif
inline constexpr bool kSanitized = kThreadSanitized || kAddressSanitized;

}  // namespace ballast::tests
