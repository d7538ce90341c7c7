/* Rank 2: the files of dictionaries (FORMAT.md, "dict-XXXXXXXX"): reading what either copy still
 * has, and writing a new one durably. What is done with dictionaries is not known here. */
#ifndef PFS_DICT_H
#define PFS_DICT_H

#include "storage/format.h"
#include "storage/io.h"

struct pfs_dict_file {
	uint32_t number;
	uint32_t len;
	uint64_t raw, packed; /* of samples that it was not made from; 0: not known */
	int64_t created_ns;
	uint8_t *bytes;	    /* malloc'ed, the owner frees them */
	unsigned bad_parts; /* reading: of two headers and two dictionaries, how many are damaged */
};

/* Whether name is that of a dictionary's file. */
bool pfs_dict_is_name(const char *name, uint32_t *number);

/* Reads the dictionary with this number. -ENOENT: no such file. -EUCLEAN: neither copy serves.
 * -EIO, -ENOMEM. On an error out->bytes is NULL. Nothing is logged. */
int pfs_dict_read(struct pfs_dir *dir, const uint8_t uuid[PFS_UUID_LEN], uint32_t number,
		  struct pfs_dict_file *out);

/* Makes the file durable under its name (D1, but for the superblock), in place of one that is
 * there. *synced, if not NULL: false when it was a sync that failed. On an error there may be a
 * file or not, and its name may not be durable. */
int pfs_dict_write(struct pfs_dir *dir, const uint8_t uuid[PFS_UUID_LEN],
		   const struct pfs_dict_file *dict, bool *synced);

#endif
