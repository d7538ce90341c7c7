/* Rank 0: the version that -V of both programs prints. */
#ifndef PFS_VERSION_H
#define PFS_VERSION_H

#define PFS_VERSION "0.1.0"

#endif
