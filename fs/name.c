#include "fs/name.h"

int pfs_name_key(struct pfs_key *key, const char *name, enum pfs_name_use use, bool strict)
{
	int err;

	key->kind = PFS_KEY_NONE;
	if (strcmp(name, PFS_NAME_RESERVED) == 0)
		return use == PFS_NAME_MAKE ? -EPERM : -ENOENT;
	err = pfs_key_parse(key, name, strlen(name));
	if (err)
		return err;
	if (strict && use == PFS_NAME_MAKE && !pfs_key_is_point(key)) {
		key->kind = PFS_KEY_NONE;
		return -EINVAL;
	}
	return 0;
}
