#include "tools/qdrant_find.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "tools/qdrant_ids.h"
#include "tools/qdrant_pages.h"

struct finder {
	struct qdrant_places *places;
	const struct qdrant_notes *notes;
	struct pfs_reason *reason;
};

struct names {
	char **names;
	size_t count;
};

static void names_free(struct names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->names[i]);
	free(names->names);
	*names = (struct names){0};
}

/* Numbers by their value, before other names. */
static int compare_names(const void *a, const void *b)
{
	const char *x = *(char *const *)a, *y = *(char *const *)b;
	size_t xn = strspn(x, "0123456789"), yn = strspn(y, "0123456789");

	if (!x[xn] && !y[yn] && xn != yn)
		return xn < yn ? -1 : 1;
	return strcmp(x, y);
}

/* The names in a directory but the hidden ones, sorted. -ENOENT when it is not there. */
static int list(struct names *names, const char *directory)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;
	int err = 0;

	*names = (struct names){0};
	if (!dir)
		return -errno;
	while (!err && (entry = readdir(dir))) {
		char **grown;

		if (entry->d_name[0] == '.')
			continue;
		grown = reallocarray(names->names, names->count + 1, sizeof(*grown));
		if (grown)
			names->names = grown;
		if (grown && (grown[names->count] = strdup(entry->d_name)))
			names->count++;
		else
			err = -ENOMEM;
	}
	closedir(dir);
	if (err)
		names_free(names);
	else if (names->count)
		qsort(names->names, names->count, sizeof(*names->names), compare_names);
	return err;
}

static bool ends_with(const char *name, const char *end)
{
	size_t len = strlen(name), n = strlen(end);

	return len >= n && strcmp(name + len - n, end) == 0;
}

static bool is_number(const char *name)
{
	return *name && strspn(name, "0123456789") == strlen(name);
}

/* ---- segments ---- */

static bool is_segment(const char *directory)
{
	static const char *const files[] = {
		"id_tracker.mappings",	       "id_tracker.versions", "mutable_id_tracker.mappings",
		"mutable_id_tracker.versions", "segment.json",	      "version.info",
	};

	if (qdrant_is_directory(directory, QDRANT_PAGES_NAME))
		return true;
	for (size_t i = 0; i < pfs_array_len(files); i++) {
		if (qdrant_is_file(directory, files[i]))
			return true;
	}
	return false;
}

/* The directory that holds the files of the segment at path: itself, or inside a snapshot. NULL in
 * *out: it is no segment. */
static int resolve_segment(const char *path, char **out)
{
	static const char *const inside[] = {"files", "snapshot/files"};

	*out = NULL;
	if (is_segment(path)) {
		*out = strdup(path);
		return *out ? 0 : -ENOMEM;
	}
	for (size_t i = 0; i < pfs_array_len(inside); i++) {
		char *candidate = qdrant_path(path, inside[i]);

		if (!candidate)
			return -ENOMEM;
		if (is_segment(candidate)) {
			*out = candidate;
			return 0;
		}
		free(candidate);
	}
	return 0;
}

static int add_segment(struct finder *f, char *directory)
{
	struct qdrant_places *places = f->places;
	struct qdrant_place *grown =
		reallocarray(places->segments, places->count + 1, sizeof(*grown));

	if (!grown || places->count + 1 >= QDRANT_SEGMENTS_MAX) {
		free(directory);
		return -ENOMEM;
	}
	places->segments = grown;
	grown[places->count++] =
		(struct qdrant_place){directory, (uint32_t)places->shard_count - 1};
	return 0;
}

static int add_shard(struct finder *f, const char *directory, bool whole)
{
	struct qdrant_places *places = f->places;
	struct qdrant_shard *grown =
		reallocarray(places->shards, places->shard_count + 1, sizeof(*grown));
	struct qdrant_shard shard = {.whole = whole};

	if (!grown)
		return -ENOMEM;
	places->shards = grown;
	shard.directory = strdup(directory);
	shard.wal = qdrant_path(directory, "wal");
	grown[places->shard_count++] = shard;
	return shard.directory && shard.wal ? 0 : -ENOMEM;
}

/* Adds what lies at a name in a directory of segments. */
static int take_segment(struct finder *f, const char *parent, const char *name)
{
	char *path = qdrant_path(parent, name), *segment = NULL;
	int err = path ? 0 : -ENOMEM;

	if (!err && ends_with(name, ".tar") && qdrant_is_file(parent, name)) {
		err = pfs_refuse(f->reason, -EINVAL,
				 "%s: a packed segment of a snapshot: unpack it first: mkdir "
				 "%.*s && tar xf %s -C %.*s && rm %s",
				 path, (int)strlen(path) - 4, path, path, (int)strlen(path) - 4,
				 path, path);
	} else if (!err && qdrant_is_directory(parent, name)) {
		err = resolve_segment(path, &segment);
		if (!err && segment && ends_with(name, ".deleted")) {
			qdrant_note(f->notes, "%s: marked as deleted: passed over, as Qdrant does",
				    path);
		} else if (!err && segment && !qdrant_is_file(segment, "version.info")) {
			qdrant_note(f->notes,
				    "%s: was not completed (has no version.info): passed over, as "
				    "Qdrant does; name it itself to import it",
				    path);
		} else if (!err && segment) {
			err = add_segment(f, segment);
			segment = NULL;
		}
	}
	free(segment);
	free(path);
	return err;
}

/* ---- shards and collections ---- */

static int take_shard(struct finder *f, const char *shard, const char *segments)
{
	struct names names;
	int err = list(&names, segments);

	if (err)
		return err == -ENOMEM
			       ? err
			       : pfs_refuse(f->reason, err, "%s: %s", segments, strerror(-err));
	err = add_shard(f, shard, true);
	for (size_t i = 0; !err && i < names.count; i++)
		err = take_segment(f, segments, names.names[i]);
	names_free(&names);
	return err;
}

/* The shards of a collection: directories with numbers as names. */
static int take_shards(struct finder *f, const char *collection)
{
	struct names names;
	int err = list(&names, collection);

	if (err)
		return err == -ENOMEM
			       ? err
			       : pfs_refuse(f->reason, err, "%s: %s", collection, strerror(-err));
	for (size_t i = 0; !err && i < names.count; i++) {
		char *shard, *segments = NULL;

		if (!is_number(names.names[i]))
			continue;
		shard = qdrant_path(collection, names.names[i]);
		segments = shard ? qdrant_path(shard, "segments") : NULL;
		if (!segments)
			err = -ENOMEM;
		else if (qdrant_is_directory(shard, "segments"))
			err = take_shard(f, shard, segments);
		free(segments);
		free(shard);
	}
	names_free(&names);
	return err;
}

/* A single segment: the shard that it is of is the one above, if it looks like one. */
static int take_single(struct finder *f, char *segment, const char *path)
{
	char *shard = qdrant_path(path, "../..");
	int err = shard ? add_shard(f, shard, false) : -ENOMEM;

	free(shard);
	if (err) {
		free(segment);
		return err;
	}
	return add_segment(f, segment);
}

static int find(struct finder *f, const char *path)
{
	char *segment, *segments;
	int err = resolve_segment(path, &segment);

	if (err)
		return err;
	if (segment)
		return take_single(f, segment, path);
	if (qdrant_is_directory(path, "segments")) {
		segments = qdrant_path(path, "segments");
		err = segments ? take_shard(f, path, segments) : -ENOMEM;
		free(segments);
		return err;
	}
	return take_shards(f, path);
}

/* Says what may be meant by a path at which there is no segment. */
static int refuse_path(const struct finder *f, const char *path)
{
	if (qdrant_is_directory(path, "collections"))
		return pfs_refuse(
			f->reason, -EINVAL,
			"%s: all of Qdrant's storage: name one collection, %s/collections/"
			"NAME",
			path, path);
	if (qdrant_is_file(path, "tracker.dat") || qdrant_is_file(path, "page_0.dat"))
		return pfs_refuse(f->reason, -EINVAL,
				  "%s: the payload storage inside a segment: name the segment's "
				  "directory, which holds it",
				  path);
	if (f->places->shard_count)
		return pfs_refuse(f->reason, -ENOENT, "%s: there is no segment in it", path);
	return pfs_refuse(f->reason, -ENOENT,
			  "%s: neither a collection, a shard nor a segment of Qdrant (a segment "
			  "holds %s/)",
			  path, QDRANT_PAGES_NAME);
}

int qdrant_find(struct qdrant_places *places, const char *path, const struct qdrant_notes *notes,
		struct pfs_reason *reason)
{
	struct finder finder = {.places = places, .notes = notes, .reason = reason};
	struct stat st;
	int err = 0;

	memset(places, 0, sizeof(*places));
	if (stat(path, &st))
		return pfs_refuse(reason, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return pfs_refuse(reason, -ENOTDIR,
				  "%s: not a directory: unpack a snapshot first (tar xf), and name "
				  "the directory",
				  path);
	err = find(&finder, path);
	if (!err && !places->count)
		err = refuse_path(&finder, path);
	if (err)
		qdrant_places_free(places);
	return err;
}

void qdrant_places_free(struct qdrant_places *places)
{
	for (size_t i = 0; i < places->count; i++)
		free(places->segments[i].segment);
	for (size_t i = 0; i < places->shard_count; i++) {
		free(places->shards[i].directory);
		free(places->shards[i].wal);
	}
	free(places->segments);
	free(places->shards);
	memset(places, 0, sizeof(*places));
}
