/* AddressSanitizer's interface, which does nothing where it is not compiled in. */
#ifndef PFS_FUZZ_ASAN_H
#define PFS_FUZZ_ASAN_H

#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif

#ifdef WITH_ASAN
void __asan_poison_memory_region(void const volatile *addr, size_t size);
void __asan_unpoison_memory_region(void const volatile *addr, size_t size);
#define NO_ASAN __attribute__((no_sanitize_address))
#else
#define __asan_poison_memory_region(addr, size) ((void)(addr), (void)(size))
#define __asan_unpoison_memory_region(addr, size) ((void)(addr), (void)(size))
#define NO_ASAN
#endif

#endif
