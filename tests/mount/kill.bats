# kill -9 of the daemon under a mixed load, again and again: kill.c says what is done and what must be true.
#
#	KILL_ROUNDS  how many (make check-kill: 1000)
#	KILL_SEED    repeats the choices of a run that failed (not its timing)

load lib

setup() {
	if ((${KILL_ROUNDS:=15} > 15)); then
		limit=$((KILL_ROUNDS * 4))
	fi
	setup_dirs
}

@test "kill -9 again and again: acknowledged changes are there, those under way happened or not" {
	local program
	program=$(helper kill "$root"/tests/mount/kill_{client,compare,ctl}.c)
	"$program" "$build" "$T/kill" "$KILL_ROUNDS" ${KILL_SEED:+"$KILL_SEED"} >"$T/out" 3>&- ||
		{ cat "$T/out"; fail "see above"; }
	# The figures, also where only failures are shown.
	sed -n '$s/^/# /p' "$T/out" >&3
}
