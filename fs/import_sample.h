/* Rank 0: the first documents of an import, from which a store that has no dictionary gets one.
 *
 * They are copied as they come, up to PFS_TRAIN_FROM_BYTES, over as many pieces of the stream as it
 * takes. Those of one piece can wait for the dictionary, because it is not answered before; what
 * earlier pieces brought is in the store by then, packed without. Not for several threads at once.
 */
#ifndef PFS_IMPORT_SAMPLE_H
#define PFS_IMPORT_SAMPLE_H

#include "storage/store.h"

struct pfs_import_sample {
	bool wanted; /* the store needs a dictionary, and there was none to be had so far */
	uint8_t *bytes;
	size_t *lens;
	size_t used, count;
};

/* Not wanted where the store has a dictionary, may have none, or can make none, or when there is no
 * memory: then everything works without. */
void pfs_import_sample_begin(struct pfs_import_sample *sample, struct pfs_store *store);
void pfs_import_sample_end(struct pfs_import_sample *sample);

/* Copies a document, when it is wanted and there is room. */
void pfs_import_sample_add(struct pfs_import_sample *sample, const void *data, size_t len);

/* Makes the dictionary when the sample is enough for one. Whether that succeeds or not, no other
 * is tried. An error of the store comes again with what is put next. */
void pfs_import_sample_train(struct pfs_import_sample *sample, struct pfs_store *store);

#endif
