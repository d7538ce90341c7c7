/* The files of dictionaries, and who names them. */
#include <stdlib.h>

#include "storage/check.h"
#include "storage/dict.h"

int pfs_check_add_dict(struct pfs_check *check, uint32_t number)
{
	size_t cap = check->dict_cap ? check->dict_cap * 2 : 16;
	struct pfs_checked_dict *grown;

	if (check->dict_count == check->dict_cap) {
		grown = realloc(check->dicts, cap * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		check->dicts = grown;
		check->dict_cap = cap;
	}
	check->dicts[check->dict_count++] = (struct pfs_checked_dict){.number = number};
	if (number > check->dict_named)
		check->dict_named = number;
	return 0;
}

static int by_number(const void *a, const void *b)
{
	const struct pfs_checked_dict *x = a, *y = b;

	return pfs_order(x->number, y->number);
}

static int check_dict(struct pfs_check *check, struct pfs_checked_dict *dict)
{
	struct pfs_dict_file file;
	char where[32];
	int err = pfs_dict_read(check->dir, check->super.uuid, dict->number, &file);

	snprintf(where, sizeof(where), PFS_DICT_NAME_FMT, dict->number);
	if (!err) {
		err = pfs_codec_dict_new(&dict->codec, file.bytes, file.len);
		free(file.bytes);
	}
	if (err == -ENOMEM)
		return err;
	if (err) {
		check->fault = (struct pfs_fault){.kind = PFS_FAULT_DICT, .number = dict->number};
		pfs_check_say(check, true, where, 0, NULL,
			      "no copy of the dictionary is good; what needs it can't be read");
	} else if (file.bad_parts) {
		pfs_check_say(
			check, true, where, 0, NULL,
			"a copy of the dictionary is damaged, the other one is used; the next "
			"opening writes both again");
	}
	return 0;
}

int pfs_check_dicts(struct pfs_check *check)
{
	int err = 0;

	if (check->dict_count)
		qsort(check->dicts, check->dict_count, sizeof(*check->dicts), by_number);
	for (size_t i = 0; i < check->dict_count && !err; i++)
		err = check_dict(check, &check->dicts[i]);
	return err;
}

struct pfs_checked_dict *pfs_check_find_dict(struct pfs_check *check, uint32_t number)
{
	struct pfs_checked_dict key = {.number = number};

	if (check->dict_count == 0)
		return NULL;
	return bsearch(&key, check->dicts, check->dict_count, sizeof(key), by_number);
}

void pfs_check_dict_numbers(struct pfs_check *check)
{
	if (check->dict_named <= check->super.dict_highest)
		return;
	check->fault.kind = PFS_FAULT_SET;
	pfs_check_say(check, true, PFS_SUPER_NAME, 152, NULL,
		      "there is a dictionary %u, and the highest number that was given is %u",
		      check->dict_named, check->super.dict_highest);
}

void pfs_check_free_dicts(struct pfs_check *check)
{
	for (size_t i = 0; i < check->dict_count; i++)
		pfs_codec_dict_free(check->dicts[i].codec);
	free(check->dicts);
	check->dicts = NULL;
	check->dict_count = check->dict_cap = 0;
}
