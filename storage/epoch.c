#include "storage/epoch.h"

#include <urcu/urcu-bp.h>

#include "storage/base.h"

#ifdef PFS_TSAN
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
static char left_a_section, waited; /* addresses only */
#endif

void pfs_epoch_enter(void)
{
	urcu_bp_read_lock();
#ifdef PFS_TSAN
	__tsan_acquire(&waited);
#endif
}

void pfs_epoch_leave(void)
{
#ifdef PFS_TSAN
	__tsan_release(&left_a_section);
#endif
	urcu_bp_read_unlock();
}

void pfs_epoch_wait(void)
{
#ifdef PFS_TSAN
	__tsan_release(&waited);
#endif
	urcu_bp_synchronize_rcu();
#ifdef PFS_TSAN
	__tsan_acquire(&left_a_section);
#endif
}
