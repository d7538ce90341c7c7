/* Reading slots and verifying their containers ahead of the scan, on all processors: the scan takes
 * what was found in the order of the slots, and looks itself at everything that is not as it should
 * be. Nothing is changed here, so that what is seen ahead is what the scan would see. */
#include <stdlib.h>

#include "storage/replay.h"
#include "storage/team.h"

/* Slots of a job: what is found of them stays in the cache of a processor until it is taken. */
#define PIECE 2048u
#define PIECES_AHEAD 8u

struct piece {
	struct pfs_page *page;
	uint32_t first, count;
};

struct pfs_ahead {
	const struct pfs_replay_state *state;
	struct pfs_team *team;
	struct piece *pieces;
	size_t piece_count;
	size_t next; /* the piece that is taken next */
	struct pfs_ahead_slot found[PIECES_AHEAD][PIECE];
};

static void look_at(const struct pfs_ahead *a, struct pfs_page *page, uint32_t number,
		    struct pfs_ahead_slot *found)
{
	struct pfs_slot_disk disk;
	struct pfs_loaded loaded;

	found->seen = PFS_AHEAD_ODD;
	if (pfs_page_copy(page, &disk, pfs_slot_offset(number), sizeof(disk)) != 0)
		return;
	if (pfs_is_zero(&disk, sizeof(disk))) {
		found->seen = PFS_AHEAD_FREE;
		return;
	}
	if (pfs_load_slot(page, &disk, &loaded) != 0 || !pfs_slot_is_live(&loaded.slot) ||
	    (loaded.c.seq >= a->state->window &&
	     pfs_is_named(a->state, loaded.slot.kind, loaded.slot.tag)))
		return;
	*found = (struct pfs_ahead_slot){
		.seen = PFS_AHEAD_GOOD,
		.kind = (uint8_t)loaded.slot.kind,
		.dict = loaded.c.dict,
		.tag = loaded.slot.tag,
		.raw_len = loaded.c.raw_len,
		.len = loaded.slot.len,
	};
}

static void look_at_piece(void *arg, size_t job)
{
	struct pfs_ahead *a = arg;
	const struct piece *piece = &a->pieces[job];

	for (uint32_t i = 0; i < piece->count; i++)
		look_at(a, piece->page, piece->first + i, &a->found[job % PIECES_AHEAD][i]);
}

static int cut_in_pieces(struct pfs_ahead *a, struct pfs_pager *pager)
{
	size_t count = 0;

	for (uint32_t n = pfs_pager_next(pager, 0); n; n = pfs_pager_next(pager, n)) {
		const struct pfs_page *page = pfs_pager_find(pager, n);

		count += page ? (page->slot_count + PIECE - 1) / PIECE : 0;
	}
	a->pieces = malloc((count + 1) * sizeof(*a->pieces));
	if (!a->pieces)
		return -ENOMEM;
	for (uint32_t n = pfs_pager_next(pager, 0); n; n = pfs_pager_next(pager, n)) {
		struct pfs_page *page = pfs_pager_find(pager, n);

		for (uint32_t i = 0; page && i < page->slot_count; i += PIECE)
			a->pieces[a->piece_count++] = (struct piece){
				page, i, (uint32_t)pfs_min_u64(PIECE, page->slot_count - i)};
	}
	return 0;
}

int pfs_ahead_begin(struct pfs_ahead **out, const struct pfs_replay_state *state)
{
	struct pfs_store *store = state->store;
	struct pfs_ahead *a = calloc(1, sizeof(*a));
	int err;

	*out = NULL;
	if (!a)
		return -ENOMEM;
	a->state = state;
	err = cut_in_pieces(a, store->pager);
	if (!err)
		err = pfs_team_new(&a->team, store->manual ? 0 : PIECES_AHEAD - 1);
	if (err) {
		free(a->pieces);
		free(a);
		return err;
	}
	pfs_team_begin(a->team, look_at_piece, a, a->piece_count, PIECES_AHEAD);
	*out = a;
	return 0;
}

const struct pfs_ahead_slot *pfs_ahead_next(struct pfs_ahead *a, uint32_t *count)
{
	size_t job = a->next++;

	pfs_team_wait(a->team, job);
	*count = a->pieces[job].count;
	return a->found[job % PIECES_AHEAD];
}

void pfs_ahead_end(struct pfs_ahead *a)
{
	if (!a)
		return;
	pfs_team_end(a->team);
	pfs_team_free(a->team);
	free(a->pieces);
	free(a);
}
