#include "storage/epoch.h"

#include <urcu/urcu-bp.h>

#if defined(__SANITIZE_THREAD__)
#define TOLD_TO_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TOLD_TO_TSAN 1
#endif
#endif

#ifdef TOLD_TO_TSAN
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
static char left_a_section, waited; /* addresses only */
#endif

void pfs_epoch_enter(void)
{
	urcu_bp_read_lock();
#ifdef TOLD_TO_TSAN
	__tsan_acquire(&waited);
#endif
}

void pfs_epoch_leave(void)
{
#ifdef TOLD_TO_TSAN
	__tsan_release(&left_a_section);
#endif
	urcu_bp_read_unlock();
}

void pfs_epoch_wait(void)
{
#ifdef TOLD_TO_TSAN
	__tsan_release(&waited);
#endif
	urcu_bp_synchronize_rcu();
#ifdef TOLD_TO_TSAN
	__tsan_acquire(&left_a_section);
#endif
}
